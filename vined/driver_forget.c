/* SPDX-License-Identifier: Apache-2.0
 * What nobody will name again: a run that is over, or items that no unfinished task names, also none on its way to the disk. */
#include "vined/driver_internal.h"

static void on_forgotten(struct store_op *op, int error)
{
	promise_stored(op->arg, error);
}

/* Of a run that lives for ever, as one of `vine submit` does, nobody need come for them: to forget it is to want none. */
static bool may_drop_results(const struct run *r)
{
	return r->lifetime == LIFETIME_FOREVER && !run_has_client(r);
}

static void forget_run(struct run *r, struct promise *p)
{
	struct driver *d = r->driver;
	struct store *s = d->o.store;
	if (r->n_unfinished || r->n_submits) {
		promise_status(
			p, EBUSY,
			"run %s is not over: %zu tasks are to run; vine wait %s waits for them, vine cancel %s ends "
			"them",
			r->name, r->n_unfinished, r->name, r->name);
		return;
	}
	if (r->n_ended && !may_drop_results(r)) {
		promise_status(
			p, EBUSY,
			"run %s is over, but %zu results are to be acknowledged by the program that submitted it",
			r->name, r->n_ended);
		return;
	}
	if (r->n_ended)
		run_abandon_results(r);
	/* That was about those: what is submitted under its name from now on is another run's. */
	r->is_abandoned = false;
	while (!list_is_empty(&r->temps))
		item_forget(d, list_first(&r->temps, struct item, link));
	/* Whoever submits to it again makes it anew. */
	r->is_stored = false;
	store_put(s, &(struct store_op){.kind = STORE_FORGET,
					.on_stored = on_forgotten,
					.arg = p,
					.run = {r->id, store_text(s, r->name), r->is_attached}});
}

void driver_forget(struct run *r, const struct wire_forget *m, struct promise *p)
{
	struct driver *d = r->driver;
	if (!m->items.n) {
		forget_run(r, p);
		return;
	}
	for (uint32_t i = 0; i < m->items.n; i++) {
		const struct item *it = item_find(r, m->items.at[i]);
		if (!it || !it->run || !it->producer)
			promise_status(p, ENOENT, "item '%.128s': no task of run %s makes it", m->items.at[i], r->name);
		else if (it->n_unfinished)
			promise_status(p, EBUSY,
				       "item '%.128s': tasks that are not over make or read it (%u): forget it after "
				       "them, or cancel them",
				       m->items.at[i], it->n_unfinished);
		else
			continue;
		return;
	}
	for (uint32_t i = 0; i < m->items.n; i++) {
		struct item *it = item_find(r, m->items.at[i]);
		if (it)
			item_forget(d, it);
	}
	store_put(d->o.store, &(struct store_op){.kind = STORE_NOTHING, .on_stored = on_forgotten, .arg = p});
}
