/* SPDX-License-Identifier: Apache-2.0
 * Which attempts have run for much longer than the others of their category did, and so get a second one (task.c, match.c).
 * Those of one category begin in the order in which they lie in its list: one timer looks at the first. */
#include "core/core_internal.h"

#define ENOUGH 10u                   /* ended before anything is concluded */
#define LEAST_USEC UINT64_C(1000000) /* what takes less is not worth it */
#define MOST_USEC (UINT64_MAX / 2)

static bool may_have(const struct core_category *g)
{
	return g && g->spec.slow;
}

static void set_timer(struct core *c, struct core_category *g)
{
	const struct core_hold *first = list_first(&g->running, struct core_hold, running);
	if (!may_have(g) || !first || g->walls.n < ENOUGH)
		core_timer_stop(c, &g->slow);
	else
		core_timer_set(c, &g->slow, CORE_TIMER_SLOW, first->began_usec + g->slow_usec);
}

void core_slow_begun(struct core *c, struct core_task *t)
{
	struct core_category *g = t->class->category;
	t->held->began_usec = c->now_usec;
	if (!may_have(g) || t->is_second)
		return;
	bool was_empty = list_is_empty(&g->running);
	list_append(&g->running, &t->held->running);
	if (was_empty)
		set_timer(c, g);
}

void core_slow_due(struct core *c, struct core_category *g)
{
	struct core_hold *h;
	while ((h = list_first(&g->running, struct core_hold, running)) && may_have(g) &&
	       h->began_usec + g->slow_usec <= c->now_usec) {
		list_remove(&h->running);
		list_append(&c->slow, &h->running);
	}
	set_timer(c, g);
}

/* Half of them took less; buckets are a quarter too large at most. */
static uint64_t median(const struct core_learned *l)
{
	uint64_t n_below = 0;
	unsigned i = 0;
	while (i < CORE_SAMPLES - 1 && (n_below += l->counts[i]) * 2 < l->n)
		i++;
	return core_bucket_end(i);
}

static void set_slow(struct core_category *g)
{
	uint64_t usec = g->walls.n ? median(&g->walls) : 0;
	if (mul_overflows(usec, g->spec.slow, &g->slow_usec) || g->slow_usec > MOST_USEC)
		g->slow_usec = MOST_USEC;
	g->slow_usec = max(g->slow_usec, LEAST_USEC);
}

void core_slow_ended(struct core *c, const struct core_task *t)
{
	struct core_category *g = t->class->category;
	if (!may_have(g) || t->state != CORE_STATE_RUNNING || !t->held->began_usec)
		return;
	core_learn(&g->walls, c->now_usec - t->held->began_usec);
	/* The more there were the less does one more change. */
	if (g->walls.n < 64 || g->walls.n % 16 == 0)
		set_slow(g);
	set_timer(c, g);
}

void core_slow_set(struct core *c, struct core_category *g)
{
	struct core_hold *h;
	set_slow(g);
	while (!may_have(g) && (h = list_first(&g->running, struct core_hold, running)))
		list_remove(&h->running);
	set_timer(c, g);
}
