/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core_internal.h"

void core_place_start(struct core *c, struct core_task *t)
{
	struct core_node *n = t->node;
	uint64_t number = t->number & ~CORE_SECOND;
	uint64_t attempt = c->actions.next_attempt(c->arg);
	assert(attempt > c->last_attempt && t->state == CORE_STATE_STAGING);
	c->last_attempt = attempt;
	t->attempt = attempt;
	int e = core_task_step(c, t, CORE_EVENT_START);
	assert(!e);
	(void)e;
	core_slow_begun(c, t);
	c->starting = t;
	c->actions.start(c->arg, number, n->number, attempt);
	c->starting = NULL;
}

static bool is_enough(const struct core_task *t, const struct core_replica *r)
{
	return t->when == CORE_WHEN_LAZY || (r && (r->is_whole || (t->when == CORE_WHEN_HOT && r->is_hot)));
}

/* Brings what is not there yet, and starts it if nothing is to be waited for. */
static void supply(struct core *c, struct core_task *t, struct core_node *n)
{
	for (uint32_t i = 0; c->actions.fetch && i < t->n_inputs; i++) {
		struct core_item *it = t->items[i];
		struct core_replica *r = core_replica_find(n, it->tree);
		if (r && r->is_whole)
			continue;
		r = core_replica_get(c, n, it->tree);
		bool is_gating = !is_enough(t, r);
		core_move_want(c, r, it, is_gating ? CORE_RANK_GATING : CORE_RANK_HOT)->is_needed = true;
		if (!is_gating)
			continue;
		if (!t->waits)
			core_waits_new(t);
		core_waits_add(t, &r->waits);
	}
	if (!t->waits)
		core_place_start(c, t);
}

void core_place(struct core *c, struct core_task *t, struct core_node *n)
{
	int e = core_task_step_to(c, t, CORE_EVENT_PLACE, n);
	assert(!e);
	(void)e;
	supply(c, t, n);
}

void core_place_second(struct core *c, struct core_task *t, struct core_node *n)
{
	supply(c, core_task_second(c, t, n), n);
}

void core_place_arrived(struct core *c, struct core_replica *r)
{
	list_foreach (&r->waits, struct core_wait, link, w) {
		struct core_task *t = w->task;
		if (is_enough(t, r) && core_wait_is_over(w))
			core_order(c, CORE_ORDER_START, t->number, t->node->number, 0);
	}
}
