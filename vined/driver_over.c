/* SPDX-License-Identifier: Apache-2.0
 * Who waits until a run, or a task, is over: answered once, when it is or when the time is over, so that waiting costs nothing meanwhile.
 *
 * What is to stay until it is forgotten (LIFETIME_FOREVER) has been submitted by who went away: nobody but one that waits wants its
 * results, and he only that they are there. So while somebody waits, those that are no session's count as delivered as they are
 * stored, and those that ended before follow by steps: a million of them are forgotten without one being read or sent. */
#include "vined/driver_internal.h"

#include <stdio.h>

#define MOST_USEC UINT64_C(20000000)
#define STEP 10000u          /* results that one commit takes */
#define OTHERS_USEC 1000000u /* for a session to take what is its own, when all is over */

struct waiter {
	struct list link; /* in its run's */
	struct run *run;  /* held */
	uint64_t task;    /* 0: all of the run */
	struct promise *promise;
	struct timer until;
	bool is_last; /* only others' results are left, and its time is short */
};

/* ---- waiting */

bool run_takes_results(const struct run *r)
{
	return r->n_waiters && r->lifetime == LIFETIME_FOREVER;
}

static bool is_task_over(const struct run *r, uint64_t id)
{
	const struct task *t = task_find(r->driver, id);
	return t ? t->state >= STORE_ENDED : !array_of_pending(r, id);
}

static void answer(struct promise *p, bool is_over)
{
	static const char *const column = "over";
	const char *cell = is_over ? "yes" : "no";
	promise_keep(p, WIRE_ROWS, &(struct wire_rows){.columns = {&column, 1}, .cells = {&cell, 1}});
}

static void end(struct waiter *w, bool is_over)
{
	struct run *r = w->run;
	assert(r->n_waiters);
	r->n_waiters--;
	list_remove(&w->link);
	timer_stop(&w->until);
	answer(w->promise, is_over);
	free(w);
	run_unhold(r);
}

static bool is_over(const struct waiter *w)
{
	return w->task ? is_task_over(w->run, w->task) : !w->run->n_unfinished;
}

/* Results that are taken yet, so that who has waited can forget the run. */
static bool is_left(const struct waiter *w)
{
	const struct run *r = w->run;
	return !w->task && run_takes_results(r) && (r->is_taking || !list_is_empty(&r->orphans));
}

static void on_late(struct timer *t)
{
	struct waiter *w = container_of(t, struct waiter, until);
	end(w, w->is_last || (is_over(w) && !is_left(w)));
}

static void look(struct waiter *w)
{
	const struct run *r = w->run;
	if (!is_over(w))
		return;
	if (w->task || !run_takes_results(r) || !r->n_ended) {
		end(w, true);
	} else if (!w->is_last && !is_left(w) && run_has_client(r)) {
		w->is_last = true;
		timer_start(&w->until, r->driver->o.loop, OTHERS_USEC, on_late);
	}
}

/* ---- results that nobody else wants */

static void on_taken(struct store_op *op, int error)
{
	struct run *r = op->arg;
	assert(!error);
	(void)error;
	r->is_taking = false;
	for (size_t i = 0; i < op->tasks.n; i++) {
		struct task *t = task_find(r->driver, op->tasks.at[i]);
		if (t && t->state == STORE_ENDED && !t->session)
			task_delivered(t);
	}
	run_note(r);
	run_unhold(r);
}

static void take_step(struct run *r)
{
	struct store *s = r->driver->o.store;
	uint64_t *ids = store_alloc(s, STEP * sizeof *ids);
	size_t n = 0;
	list_foreach (&r->orphans, const struct task, link, t) {
		if (n == STEP)
			break;
		ids[n++] = t->id;
	}
	r->is_taking = true;
	store_put(s, &(struct store_op){.kind = STORE_DONE,
					.is_kept = true,
					.on_stored = on_taken,
					.arg = run_hold(r),
					.tasks = {ids, n}});
}

void run_note(struct run *r)
{
	if (!r->n_waiters)
		return;
	run_hold(r);
	if (run_takes_results(r) && !r->is_taking && !list_is_empty(&r->orphans))
		take_step(r);
	list_foreach (&r->waiters, struct waiter, link, w)
		look(w);
	run_unhold(r);
}

/* ---- asking */

/* "17" or "sweep", as it was found by QUERY before. NULL: it is not in memory, so it is over. */
static struct run *find(struct driver *d, const char *name, uint64_t *task)
{
	struct run *r;
	*task = strspn(name, "0123456789") == strlen(name) ? strtoull(name, NULL, 10) : 0;
	if (!*task)
		return map_get_text(&d->runs, name);
	const struct task *t = task_find(d, *task);
	if (t)
		return t->run;
	for (size_t i = 0; (r = map_next(&d->runs, &i));) {
		if (array_of_pending(r, *task))
			return r;
	}
	return NULL;
}

void driver_await(struct driver *d, const char *selector, struct promise *p)
{
	char *name;
	uint64_t task, usec = strtoull(selector, &name, 10);
	if (name == selector || *name != ' ' || !name[1]) {
		promise_status(p, EINVAL, "over '%.128s': give microseconds, a blank, and a run or a task's number",
			       selector);
		return;
	}
	struct run *r = find(d, name + 1, &task);
	if (!r) {
		answer(p, true);
		return;
	}
	struct waiter *w = NEW(struct waiter);
	*w = (struct waiter){.run = run_hold(r), .task = task, .promise = p};
	list_init(&w->link);
	list_append(&r->waiters, &w->link);
	r->n_waiters++;
	timer_start(&w->until, d->o.loop, min(usec, MOST_USEC), on_late);
	run_note(r);
}

void waiters_free(struct run *r)
{
	list_foreach (&r->waiters, struct waiter, link, w) {
		r->n_waiters--;
		list_remove(&w->link);
		timer_stop(&w->until);
		promise_status(w->promise, ECANCELED, "%s", "vined stops");
		free(w);
	}
}
