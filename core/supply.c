/* SPDX-License-Identifier: Apache-2.0
 * What an item's coming, going and failing means for others. Chains of failures and of recoveries go through the orders: each
 * decision takes one step, however long the chain. */
#include "core/core_internal.h"

#define SWEEP_USEC 1000000

static void wake(struct core *c, struct core_item *i)
{
	while (!list_is_empty(&i->waits)) {
		struct core_wait *w = list_first(&i->waits, struct core_wait, link);
		struct core_task *t = w->task;
		if (core_wait_is_over(w))
			core_task_step(c, t, CORE_EVENT_READY);
	}
}

static void set_state(struct core *c, struct core_item *i, enum core_item_state state)
{
	c->n_missing -= i->state == CORE_ITEM_LOST || i->state == CORE_ITEM_FAILED;
	i->state = (uint8_t)state;
	c->n_missing += i->state == CORE_ITEM_LOST || i->state == CORE_ITEM_FAILED;
}

void core_supply_settle(struct core *c, struct core_item *i)
{
	if (i->state == CORE_ITEM_FAILED)
		return;
	bool is_there = i->source || i->tree->n_whole;
	if (is_there && i->state != CORE_ITEM_THERE) {
		set_state(c, i, CORE_ITEM_THERE);
		wake(c, i);
	} else if (!is_there && i->state == CORE_ITEM_THERE) {
		set_state(c, i, CORE_ITEM_LOST);
		if (i->n_users)
			core_order(c, CORE_ORDER_AGAIN, i->number, 0, 0);
	}
}

void core_supply_settle_all(struct core *c, struct core_tree *t)
{
	list_foreach (&t->items, struct core_item, of_tree, i)
		core_supply_settle(c, i);
}

/* Who waits on a node for its bytes fails like who waits for it to be made. */
static void fail_staging(struct core *c, struct core_item *i)
{
	for (uint32_t k = 0; k < i->tree->n_holders; k++) {
		struct core_replica *r = i->tree->holders[k];
		list_foreach (&r->waits, struct core_wait, link, w)
			core_order(c, CORE_ORDER_FAIL, w->task->number, i->number, 0);
	}
}

static uint64_t count_waits(const struct core_item *i)
{
	uint64_t n = 0;
	list_foreach (&i->waits, const struct core_wait, link, w)
		n++;
	return n;
}

/* Who was queued when an input was lost finds that out when it is placed, which one that fits nowhere never is. No item knows its
 * queued tasks, so all tasks are looked at: not more often than each second, whatever fails. */
void core_supply_sweep(struct core *c)
{
	struct core_task *t;
	for (size_t i = 0; (t = map_next(&c->tasks, &i));) {
		if (t->state != CORE_STATE_QUEUED || !core_wait_failed(t))
			continue;
		t->reason = CORE_REASON_INPUT_FAILED;
		core_task_step(c, t, CORE_EVENT_FAIL);
	}
}

void core_supply_fail(struct core *c, struct core_item *i)
{
	set_state(c, i, CORE_ITEM_FAILED);
	fail_staging(c, i);
	if (i->producer && i->n_users > count_waits(i) && !c->sweep.link.at)
		core_timer_set(c, &c->sweep, CORE_TIMER_SWEEP, c->now_usec + SWEEP_USEC);
	while (!list_is_empty(&i->waits)) {
		struct core_task *t = list_first(&i->waits, struct core_wait, link)->task;
		t->reason = CORE_REASON_INPUT_FAILED;
		int e = core_task_step(c, t, CORE_EVENT_FAIL);
		assert(!e);
		(void)e;
	}
}

void core_supply_end(struct core *c, const struct core_task *t)
{
	for (uint32_t i = 0; i < t->n_outputs; i++) {
		struct core_item *made = t->items[t->n_inputs + i];
		if (made->state != CORE_ITEM_THERE && made->state != CORE_ITEM_FAILED)
			core_supply_fail(c, made);
	}
}

void core_supply_again(struct core *c, struct core_item *i)
{
	if (i->state == CORE_ITEM_LOST && i->n_users && i->producer && i->producer->state == CORE_STATE_DONE)
		core_task_step(c, i->producer, CORE_EVENT_AGAIN);
}
