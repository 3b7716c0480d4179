/* SPDX-License-Identifier: Apache-2.0
 * How many tasks of a run wait and run, and which. What runs is found by nodes, of which there are far fewer than of tasks; the rest is
 * what is left, so that nobody walks a million tasks to count them. */
#include "vined/driver_internal.h"

#define LOOKS_MOST 50000u /* at tasks that are not of the kind that is asked for */

static bool is_meant(const struct run *r, uint64_t run)
{
	return !run || r->id == run;
}

static uint64_t count_running(const struct driver *d, uint64_t run)
{
	const struct node *n;
	uint64_t count = 0;
	for (size_t i = 0; (n = map_next(&d->nodes, &i));) {
		list_foreach (&n->running, const struct tries, link, t)
			count += is_meant(t->task->run, run) && t->task->state == STORE_RUNNING;
	}
	return count;
}

/* There are hardly ever any: then nothing is walked. */
static uint64_t count_held(const struct driver *d, uint64_t run)
{
	struct core_numbers c;
	const struct run *r;
	uint64_t count = 0;
	core_numbers(d->core, &c);
	if (!c.held || !run)
		return c.held;
	for (size_t i = 0; (r = map_next(&d->runs, &i));) {
		if (!is_meant(r, run))
			continue;
		list_foreach (&r->unfinished, const struct task, link, t)
			count += t->state == STORE_HELD;
	}
	return count;
}

void driver_count(const struct driver *d, uint64_t run, struct driver_counts *n)
{
	const struct run *r;
	uint64_t unfinished = 0;
	for (size_t i = 0; (r = map_next(&d->runs, &i));)
		unfinished += is_meant(r, run) ? r->n_unfinished : 0;
	*n = (struct driver_counts){.running = count_running(d, run), .held = count_held(d, run)};
	n->running = min(n->running, unfinished);
	n->held = min(n->held, unfinished - n->running);
	n->waiting = unfinished - n->running - n->held;
}

struct listing {
	size_t n, most, n_looks;
	void (*on_task)(void *arg, uint64_t id);
	void *arg;
};

static bool is_full(const struct listing *l)
{
	return l->n >= l->most || l->n_looks >= LOOKS_MOST;
}

static void tell(struct listing *l, uint64_t id)
{
	l->on_task(l->arg, id);
	l->n++;
}

static void list_running(const struct driver *d, uint64_t run, struct listing *l)
{
	const struct node *n;
	for (size_t i = 0; !is_full(l) && (n = map_next(&d->nodes, &i));) {
		list_foreach (&n->running, const struct tries, link, t) {
			if (is_full(l))
				break;
			if (is_meant(t->task->run, run) && t->task->state == STORE_RUNNING)
				tell(l, t->task->id);
		}
	}
}

static void list_others(const struct run *r, unsigned which, struct listing *l)
{
	/* Arrays first: before a single task that waits there may be all that run. */
	list_foreach (&r->arrays, const struct array, link, a) {
		bool is_asked = which & DRIVER_WAITING && !a->is_cancelled;
		for (uint64_t place = a->next; place < a->n && is_asked && !is_full(l); place++) {
			bool is_pending = array_of_pending(r, a->id + place) != NULL;
			l->n_looks += !is_pending;
			if (is_pending)
				tell(l, a->id + place);
		}
	}
	list_foreach (&r->unfinished, const struct task, link, t) {
		if (is_full(l))
			return;
		bool is_wanted = !t->is_cancelled && ((t->state == STORE_QUEUED && which & DRIVER_WAITING) ||
						      (t->state == STORE_HELD && which & DRIVER_HELD));
		l->n_looks += !is_wanted;
		if (is_wanted)
			tell(l, t->id);
	}
}

void driver_list(const struct driver *d, uint64_t run, unsigned which, size_t most,
		 void (*on_task)(void *arg, uint64_t id), void *arg)
{
	struct listing l = {.most = most, .on_task = on_task, .arg = arg};
	const struct run *r;
	if (which & DRIVER_RUNNING)
		list_running(d, run, &l);
	for (size_t i = 0; which != DRIVER_RUNNING && !is_full(&l) && (r = map_next(&d->runs, &i));) {
		if (is_meant(r, run))
			list_others(r, which, &l);
	}
}

const char *driver_run_lifetime(const struct driver *d, const char *name)
{
	static const char *const words[] = {
		[LIFETIME_RUN] = "run", [LIFETIME_TASK] = "task", [LIFETIME_FOREVER] = "forever"};
	const struct run *r = map_get_text(&d->runs, name);
	assert(!r || r->lifetime < countof(words));
	return r ? words[r->lifetime] : "";
}
