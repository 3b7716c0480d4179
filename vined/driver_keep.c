/* SPDX-License-Identifier: Apache-2.0
 * Outputs at shared paths: which task makes what lies there, and which of its attempts may put it there.
 *
 * 1. Of each path one unfinished task is the maker, whichever run it is of. What it makes is its run's: who reads the path in that run waits
 *    for it, others read what they saw.
 * 2. A grant is durable before the node hears of it. While an attempt may still use one, no other attempt of its task gets one: for as long as
 *    the node said, on this process' clock; after a restart for that long again, since what the clock did meanwhile is not known.
 * 3. Whose result counts is not decided here: the first that is committed. */
#include "vined/driver_internal.h"

#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>

#define MODE_OUT 3
#define WITHIN_MOST_USEC UINT64_C(3600000000)

struct grant {
	uint64_t task, attempt, until_usec; /* on the loop's clock */
};

/* ---- makers */

bool keep_is_output(const struct wire_binding *b)
{
	return b->mode == MODE_OUT && has_prefix(b->item, "file:");
}

/* 0, or why nobody may make it now. */
static int check_claim(const struct item *i, char reason[256])
{
	if (!i->is_over)
		snprintf(reason, 256, "item '%.100s': task %" PRIu64 " makes it already: wait for it, or cancel it",
			 i->name, i->producer);
	else if (i->n_unfinished)
		snprintf(reason, 256,
			 "item '%.100s': tasks that are not over (%u) read what task %" PRIu64
			 " made there: submit it after them",
			 i->name, i->n_unfinished, i->producer);
	else
		return 0;
	return i->is_over ? -EBUSY : -EEXIST;
}

struct item *keep_claim(struct run *r, uint64_t task, const struct wire_binding *b, const char *key, int *error,
			char reason[256])
{
	struct driver *d = r->driver;
	uint64_t hash = item_key_hash(key);
	struct item *own = item_find_own(r, b->item), *last = map_get_text(&d->keeps, b->item);
	/* The same key once more is the same task. */
	bool is_again = own && own->producer && hash && hash == key_of_maker(own);
	/* Whoever made it last, in another run nobody is asked who reads it. */
	if (last && (!last->producer || (last->is_over && last->run != r)))
		last = NULL;
	if (!is_again && last && (*error = check_claim(last, reason)))
		return NULL;
	if (!is_again && own && own->producer && (*error = check_claim(own, reason)))
		return NULL;
	/* What was made before goes by its number alone from now on. */
	if (!is_again && own && own->producer)
		item_forget(d, own);
	struct item *i = item_get(r, b, task, reason);
	if (!i) {
		*error = -EINVAL;
		return NULL;
	}
	if (!i->producer) {
		i->producer = task;
		i->producer_key = hash;
	}
	map_remove_text(&d->keeps, i->name);
	map_put_text(&d->keeps, i->name, i);
	return i;
}

/* ---- grants */

void grant_end(struct driver *d, uint64_t task)
{
	free(map_remove(&d->grants, task));
}

static void put_grant(struct driver *d, uint64_t task, uint64_t attempt, uint64_t within_usec)
{
	struct grant *g = map_get(&d->grants, task);
	uint64_t until_usec = loop_now_usec(d->o.loop) + within_usec;
	if (!g) {
		g = NEW(struct grant);
		g->task = task;
		map_put(&d->grants, task, g);
	}
	g->until_usec = g->attempt == attempt ? max(g->until_usec, until_usec) : until_usec;
	g->attempt = attempt;
}

void grant_load(struct driver *d, const struct store_task *s)
{
	if (s->granted && s->state < STORE_ENDED)
		put_grant(d, s->id, s->granted, min(s->within_usec, WITHIN_MOST_USEC));
}

static const struct item *find_output(const struct task *t, uint64_t id)
{
	for (size_t k = t->n_inputs; k < (size_t)t->n_inputs + t->n_outputs; k++) {
		const struct item *i = task_item(t, k);
		if (i->id == id && i->producer == t->id && item_is_keep(i))
			return i;
	}
	return NULL;
}

static void on_granted(struct store_op *op, int error)
{
	if (error)
		promise_stored(op->arg, error);
	else if (!op->attempt.is_granted)
		promise_status(op->arg, ESTALE, "task %" PRIu64 ": another attempt counts, or it is over",
			       op->attempt.task);
	else
		promise_stored(op->arg, 0);
}

/* Another attempt may still do what it was granted: 0, or how long. */
static uint64_t time_of_other(const struct driver *d, const struct wire_keep *m)
{
	const struct grant *g = map_get(&d->grants, m->task);
	uint64_t now = loop_now_usec(d->o.loop);
	return g && g->attempt != m->attempt && g->until_usec > now ? g->until_usec - now : 0;
}

void driver_keep(struct node *n, const struct wire_keep *m, struct promise *p)
{
	struct driver *d = n->driver;
	const struct task *t = task_find(d, m->task);
	bool counts = t && task_is_going(t) && task_node(t) == n && m->attempt && task_attempt(t) == m->attempt;
	uint64_t rest_usec = time_of_other(d, m);
	if (!counts) {
		log_info("node %s: attempt %" PRIu64 " of task %" PRIu64 " may not publish: it does not count", n->name,
			 m->attempt, m->task);
		promise_status(p, ESTALE, "task %" PRIu64 ": this attempt does not count any more", m->task);
	} else if (!find_output(t, m->item)) {
		promise_status(p, EINVAL, "task %" PRIu64 ": item %" PRIu64 " is no output of it at a shared path",
			       m->task, m->item);
	} else if (t->state >= STORE_ENDED) {
		promise_status(p, EALREADY, "task %" PRIu64 ": it was published, and runs again for what was lost",
			       m->task);
	} else if (!m->within_usec || m->within_usec > WITHIN_MOST_USEC) {
		promise_status(p, EINVAL,
			       "KEEP: it is to be done within %" PRIu64 " microseconds; 1 to an hour are possible",
			       m->within_usec);
	} else if (rest_usec) {
		promise_status(p, EAGAIN,
			       "task %" PRIu64 ": an attempt before this one may still publish: ask again in %" PRIu64
			       " ms",
			       m->task, rest_usec / 1000 + 1);
	} else {
		/* From now on: the node counts from before, when it asked. */
		put_grant(d, t->id, m->attempt, m->within_usec);
		store_put(d->o.store,
			  &(struct store_op){
				  .kind = STORE_GRANT,
				  .on_stored = on_granted,
				  .arg = p,
				  .attempt = {.task = t->id, .attempt = m->attempt, .within_usec = m->within_usec}});
	}
}
