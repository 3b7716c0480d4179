/* SPDX-License-Identifier: Apache-2.0
 * The decisions of one turn: first what is owed to earlier events, then transfers, then tasks. */
#include "core/core_internal.h"

static bool tell_failed(struct core *c, struct core_task *t)
{
	struct core_why why;
	uint64_t number = t->number;
	core_task_why(c, number, &why);
	core_supply_end(c, t);
	/* Another output of what was over may be there, and be lost later. */
	if (t->is_again)
		core_task_step(c, t, CORE_EVENT_ENDED_OTHER);
	else
		core_task_forget(c, t);
	c->actions.failed(c->arg, number, &why);
	return true;
}

static bool carry_out_data(struct core *c, const struct core_order *o, struct core_task *t)
{
	struct core_item *i = core_item_find(c, o->task);
	bool is_staging = t && t->state == CORE_STATE_STAGING;
	switch (o->kind) {
	case CORE_ORDER_FAILED:
		return t && t->state == CORE_STATE_FAILED && tell_failed(c, t);
	case CORE_ORDER_START:
		if (is_staging && t->waits && !t->waits->n_left)
			core_place_start(c, t);
		return is_staging;
	case CORE_ORDER_RETURN:
		return is_staging && t->node->number == o->node && !core_task_step(c, t, CORE_EVENT_LOST);
	case CORE_ORDER_FAIL:
		/* Another item may be the same tree, and can be had. */
		if (!is_staging || !core_wait_failed(t))
			return false;
		t->reason = CORE_REASON_INPUT_FAILED;
		return !core_task_step(c, t, CORE_EVENT_FAIL);
	case CORE_ORDER_AGAIN:
		if (i)
			core_supply_again(c, i);
		return i != NULL;
	case CORE_ORDER_FORGET:
		if (!t || t->state != CORE_STATE_DONE || core_task_is_kept(t))
			return false;
		core_task_forget(c, t);
		return true;
	case CORE_ORDER_FETCH_STOP:
		c->actions.fetch_stop(c->arg, o->node, o->task);
		return true;
	case CORE_ORDER_PIN:
		core_move_tell_pin(c, o);
		return true;
	default:
		return false;
	}
}

/* Calls what an order asks for if it is still true; whatever it needs is looked up before, since a task that was
 * told about may be gone when the action returns. */
static bool carry_out(struct core *c, const struct core_order *o)
{
	struct core_task *t = core_task_find(c, o->task);
	const struct core_node *n = core_node_find(c, o->node);
	switch (o->kind) {
	case CORE_ORDER_NONE:
		return false;
	case CORE_ORDER_STOP:
		if (!t || t->state != CORE_STATE_STOPPING || t->attempt != o->attempt)
			return false;
		c->actions.stop(c->arg, o->task, o->node, o->attempt, false);
		return true;
	case CORE_ORDER_FENCE:
		if (!n)
			return false;
		c->actions.stop(c->arg, o->task, o->node, o->attempt, true);
		return true;
	case CORE_ORDER_CANCELLED:
		if (!t || t->state != CORE_STATE_CANCELLED)
			return false;
		core_supply_end(c, t);
		core_task_forget(c, t);
		c->actions.cancelled(c->arg, o->task);
		return true;
	case CORE_ORDER_HELD:
		if (!t || t->state != CORE_STATE_HELD)
			return false;
		c->actions.held(c->arg, o->task, t->losses);
		return true;
	default:
		return carry_out_data(c, o, t);
	}
}

static bool take_order(struct core *c)
{
	bool is_done = false;
	while (c->orders.n && !is_done) {
		struct core_order o;
		memcpy(&o, c->orders.at, sizeof o);
		buf_consume(&c->orders, sizeof o);
		is_done = carry_out(c, &o);
	}
	return is_done;
}

size_t core_decide(struct core *c, size_t most)
{
	assert(!c->is_deciding);
	c->is_deciding = true;
	c->n_warm = 0;
	size_t n = 0;
	while ((!most || n < most) &&
	       (take_order(c) || core_move_next(c) || core_match_next(c) || core_match_second(c)))
		n++;
	c->is_deciding = false;
	return n;
}
