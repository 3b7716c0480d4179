/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/driver_internal.h"

#include "common/log.h"

#include <stdio.h>

#define RUN_LINGERS_USEC UINT64_C(3600000000)

/* ---- runs */

struct run *run_new(struct driver *d, const struct store_run *s)
{
	struct run *r = NEW(struct run);
	assert(s->id && s->name[0] && !map_get_text(&d->runs, s->name));
	r->driver = d;
	r->id = s->id;
	r->name = xstrdup(s->name);
	r->is_attached = s->is_attached;
	list_init(&r->unfinished);
	list_init(&r->orphans);
	list_init(&r->sessions);
	list_init(&r->temps);
	list_init(&r->categories);
	list_init(&r->arrays);
	list_init(&r->waiters);
	map_put_text(&d->runs, r->name, r);
	settings_arrive(r);
	return r;
}

/* What its tasks made is forgotten, so that it can be. */
static void forget_temps(struct run *r)
{
	while (!list_is_empty(&r->temps))
		item_forget(r->driver, list_first(&r->temps, struct item, link));
}

void run_free(struct run *r)
{
	assert(!r->n_unfinished && !r->n_ended && list_is_empty(&r->temps));
	list_foreach (&r->sessions, struct session, link, s)
		session_free(s);
	waiters_free(r);
	settings_leave(r);
	buf_fini(&r->gone);
	timer_stop(&r->is_gone);
	timer_stop(&r->is_over);
	map_remove_text(&r->driver->runs, r->name);
	free(r->name);
	free(r);
}

static bool is_over(const struct run *r)
{
	return !r->n_holds && !r->n_unfinished && !r->n_ended;
}

static void on_over(struct timer *t)
{
	struct run *r = container_of(t, struct run, is_over);
	assert(is_over(r));
	log_debug("run %s: over: what its tasks made is forgotten", r->name);
	forget_temps(r);
	items_fade(r->driver);
	run_free(r);
}

/* A run with nothing unacknowledged is only a row, read again when someone asks for it; one whose tasks made something stays for a
 * while, so that a client that was killed can go on. */
void run_release(struct run *r)
{
	if (!is_over(r))
		return;
	if (list_is_empty(&r->temps))
		run_free(r);
	else if (r->lifetime != LIFETIME_FOREVER && !r->is_over.loop)
		timer_start(&r->is_over, r->driver->o.loop, RUN_LINGERS_USEC, on_over);
}

struct run *run_hold(struct run *r)
{
	r->n_holds++;
	timer_stop(&r->is_over);
	return r;
}

void run_unhold(struct run *r)
{
	assert(r->n_holds > 0);
	r->n_holds--;
	run_release(r);
}

const char *driver_run_name(const struct run *r)
{
	return r->name;
}

/* ---- cancelling */

static void on_cancel_stored(struct store_op *op, int error);

/* Takes ownership of the promise; `ids` are tasks of the run. */
static void cancel(struct run *r, uint64_t *ids, size_t n, struct promise *p)
{
	struct store *s = r->driver->o.store;
	void **arg = store_alloc(s, 2 * sizeof *arg);
	arg[0] = run_hold(r);
	arg[1] = p;
	store_put(s, &(struct store_op){.kind = STORE_CANCEL,
					.is_kept = !p,
					.on_stored = on_cancel_stored,
					.arg = arg,
					.tasks = {ids, n}});
}

static void on_cancel_stored(struct store_op *op, int error)
{
	void **arg = op->arg;
	struct run *r = arg[0];
	struct driver *d = r->driver;
	for (size_t i = 0; i < op->tasks.n && !error; i++) {
		struct task *t = task_find(d, op->tasks.at[i]);
		struct array *a = t ? NULL : array_of_pending(r, op->tasks.at[i]);
		if (a)
			array_cancel(a, op->tasks.at[i]);
		if (!t || t->state >= STORE_ENDED || t->is_cancelled)
			continue;
		t->is_cancelled = true;
		core_task_cancel(d->core, t->id);
	}
	promise_stored(arg[1], error);
	run_unhold(r);
}

/* By number, since tasks may end while this is on its way to the disk. Of elements that are pending it is enough to know up to which. */
static void cancel_all(struct run *r, struct promise *p)
{
	uint64_t n_pending = 0;
	size_t n = 0;
	list_foreach (&r->arrays, const struct array, link, a)
		n_pending += array_pending(a);
	assert(n_pending <= r->n_unfinished);
	uint64_t *ids = store_alloc(r->driver->o.store, (r->n_unfinished - n_pending) * sizeof *ids);
	list_foreach (&r->unfinished, struct task, link, t)
		ids[n++] = t->id;
	assert(n == r->n_unfinished - n_pending);
	if (n_pending)
		setting_cancelled(r, !p);
	cancel(r, ids, n, p);
}

enum field { FIELD_TAG, FIELD_CATEGORY, FIELD_KEY, FIELDS };

static const char *const fields[FIELDS] = {"tag:", "category:", "key:"};

struct found {
	const struct run *run;
	struct buf ids;
};

static void on_found(void *arg, uint64_t id, uint64_t n)
{
	struct found *f = arg;
	for (uint64_t i = 0; i < n; i++, id++) {
		const struct task *t = task_find(f->run->driver, id);
		if (t ? t->state < STORE_ENDED : array_of_pending(f->run, id) != NULL)
			buf_put(&f->ids, &id, sizeof id);
	}
}

/* Keys are in the store alone. */
static void cancel_by_key(struct run *r, const char *key, struct promise *p)
{
	struct store *s = r->driver->o.store;
	struct found f = {.run = r};
	int error = store_find_tasks(s, r->id, STORE_KEY, key, on_found, &f);
	if (error < 0 && error != -ENOENT) {
		promise_status(p, -error, "run %s: cannot look for key %.128s: %s", r->name, key, strerror(-error));
	} else {
		uint64_t *ids = store_alloc(s, f.ids.n);
		if (f.ids.n)
			memcpy(ids, f.ids.at, f.ids.n);
		cancel(r, ids, f.ids.n / sizeof *ids, p);
	}
	buf_fini(&f.ids);
}

static void cancel_selected(struct run *r, const char *selector, struct promise *p)
{
	struct driver *d = r->driver;
	int field = -1;
	for (int i = 0; i < FIELDS; i++)
		if (has_prefix(selector, fields[i]))
			field = i;
	if (field < 0) {
		promise_status(p, EINVAL, "selector '%.128s': tag:WORD, category:WORD or key:WORD", selector);
		return;
	}
	const char *word = selector + strlen(fields[field]);
	if (field == FIELD_KEY) {
		cancel_by_key(r, word, p);
		return;
	}
	uint64_t *ids = store_alloc(d->o.store, r->n_unfinished * sizeof *ids);
	size_t n = 0;
	list_foreach (&r->unfinished, struct task, link, t) {
		const char *has = field == FIELD_TAG ? task_tag(t) : t->shape->row.category;
		if (streq(has, word))
			ids[n++] = t->id;
	}
	list_foreach (&r->arrays, const struct array, link, a) {
		const struct task *t = a->pattern;
		if (streq(field == FIELD_TAG ? task_tag(t) : t->shape->row.category, word))
			n += array_pending_ids(a, ids + n);
	}
	cancel(r, ids, n, p);
}

void run_cancel_arrays(struct run *r, uint64_t to)
{
	r->cancelled_to = max(r->cancelled_to, to);
	list_foreach (&r->arrays, struct array, link, a) {
		if (a->id <= to)
			array_abandon(a);
	}
}

void driver_abandon(struct run *r, const struct wire_abandon *m, struct promise *p)
{
	const struct wire_u64s *tasks = &m->tasks;
	if (!tasks->n) {
		if (*m->selector)
			cancel_selected(r, m->selector, p);
		else
			cancel_all(r, p);
		return;
	}
	uint64_t *ids = store_alloc(r->driver->o.store, tasks->n * sizeof *ids);
	size_t n = 0;
	for (uint32_t i = 0; i < tasks->n; i++) {
		const struct task *t = task_find(r->driver, tasks->at[i]);
		if (t ? t->run == r && t->state < STORE_ENDED : array_of_pending(r, tasks->at[i]) != NULL)
			ids[n++] = tasks->at[i];
	}
	cancel(r, ids, n, p);
}

static void on_client_gone(struct timer *t)
{
	struct run *r = container_of(t, struct run, is_gone);
	if (run_has_client(r))
		return;
	log_info("run %s: its client is gone: %zu tasks are cancelled, %zu results dropped", r->name, r->n_unfinished,
		 r->n_ended);
	run_abandon_results(r);
	if (r->n_unfinished)
		cancel_all(r, NULL);
}

/* Also at a restart, and when a submit is stored after its client has gone: whoever adds tasks calls this. */
void run_watch_client(struct run *r)
{
	bool is_needed = r->n_unfinished || r->n_ended;
	if (r->is_attached && is_needed && !run_has_client(r) && !r->is_gone.loop)
		timer_start(&r->is_gone, r->driver->o.loop, r->driver->o.client_timeout_usec, on_client_gone);
}

/* ---- attaching */

static void answer_attached(struct run *r, struct promise *p)
{
	promise_keep(p, WIRE_ATTACHED,
		     &(struct wire_attached){.run = r->name, .pending = r->n_unfinished + r->n_ended});
}

static void on_run_stored(struct store_op *op, int error)
{
	void **arg = op->arg;
	struct run *r = arg[0];
	r->is_stored |= !error;
	session_stored(r, error);
	if (error)
		promise_stored(arg[1], error);
	else
		answer_attached(r, arg[1]);
	run_unhold(r);
}

/* Again for every request until one has come through: the row is put once all the same. */
static void store_run_row(struct run *r, struct promise *p)
{
	struct store *s = r->driver->o.store;
	void **arg = store_alloc(s, 2 * sizeof *arg);
	arg[0] = run_hold(r);
	arg[1] = p;
	store_put(s, &(struct store_op){.kind = STORE_RUN,
					.on_stored = on_run_stored,
					.arg = arg,
					.run = {r->id, store_text(s, r->name), r->is_attached}});
}

void run_store_again(struct run *r)
{
	if (!r->is_stored)
		store_run_row(r, NULL);
}

static void on_setting(void *arg, uint64_t id, const char *name, const char *value)
{
	struct run *r = arg;
	assert(r->id == id);
	setting_load(r->driver, r, name, value);
}

/* 0, -ENOENT or -EIO. */
static int find_run(struct driver *d, const char *name, struct run **out)
{
	struct store_run s;
	int r = 0;
	*out = map_get_text(&d->runs, name);
	if (!*out)
		r = store_find_run(d->o.store, name, &s);
	if (!*out && !r) {
		*out = run_new(d, &s);
		(*out)->is_stored = true;
		store_read_settings(d->o.store, s.id, on_setting, *out);
	}
	return r;
}

static struct run *make_run(struct driver *d, const struct wire_attach *a)
{
	char text[40];
	struct run *found = NULL;
	struct store_run s = {++d->last_run, a->run, false};
	if (!a->run[0]) {
		s.name = text;
		s.is_attached = a->results;
		snprintf(text, sizeof text, "run-%llu", (unsigned long long)s.id);
		/* Someone may have given that name to a run of his own. */
		while (find_run(d, text, &found) == 0) {
			run_release(found);
			snprintf(text, sizeof text, "run-%llu-%llx", (unsigned long long)s.id,
				 (unsigned long long)loop_now_usec(d->o.loop));
		}
	}
	return run_new(d, &s);
}

struct run *driver_attach(struct driver *d, const struct wire_attach *a, uint64_t session, struct conn *c,
			  struct promise *p)
{
	struct run *r = NULL;
	int error = a->run[0] ? find_run(d, a->run, &r) : -ENOENT;
	if (error && (error != -ENOENT || a->must_exist)) {
		promise_status(p, -error, "run %s: %s", a->run, error == -ENOENT ? "there is none" : strerror(-error));
		return NULL;
	}
	if (!r)
		r = make_run(d, a);
	run_hold(r);
	if (a->results && session_attach(r, session, c, steal(p))) {
		run_unhold(r);
		return NULL;
	}
	if (!r->n_attached++)
		store_hold_run(d->o.store, r->id, true);
	if (!r->is_stored)
		store_run_row(r, p);
	else
		answer_attached(r, p);
	return r;
}

void driver_detach(struct run *r, const struct conn *c, bool may_return)
{
	session_leave(r, c, may_return);
	assert(r->n_attached);
	if (!--r->n_attached)
		store_hold_run(r->driver->o.store, r->id, false);
	run_watch_client(r);
	run_unhold(r);
}

uint64_t driver_find_run(struct driver *d, const char *name, size_t *n_unfinished, size_t *n_ended)
{
	const struct run *r = map_get_text(&d->runs, name);
	struct store_run s;
	*n_unfinished = r ? r->n_unfinished : 0;
	*n_ended = r ? r->n_ended : 0;
	if (r)
		return r->id;
	return store_find_run(d->o.store, name, &s) == 0 ? s.id : 0;
}
