/* SPDX-License-Identifier: Apache-2.0
 * A task that waits lies in the list of each item that is not there, and counts: an item that comes costs its own waiters only. */
#include "core/core_internal.h"

bool core_wait_has_all(const struct core_task *t)
{
	for (uint32_t i = 0; i < t->n_inputs; i++)
		if (t->items[i]->state != CORE_ITEM_THERE)
			return false;
	return true;
}

const struct core_item *core_wait_failed(const struct core_task *t)
{
	for (uint32_t i = 0; i < t->n_inputs; i++)
		if (t->items[i]->state == CORE_ITEM_FAILED)
			return t->items[i];
	return NULL;
}

struct core_waits *core_waits_new(struct core_task *t)
{
	assert(!t->waits);
	t->waits = xcalloc(1, sizeof *t->waits + t->n_inputs * sizeof t->waits->at[0]);
	return t->waits;
}

void core_waits_add(struct core_task *t, struct list *to)
{
	struct core_wait *w = &t->waits->at[t->waits->n++];
	assert(t->waits->n <= t->n_inputs);
	w->task = t;
	list_init(&w->link);
	list_append(to, &w->link);
	t->waits->n_left++;
}

bool core_wait_is_over(struct core_wait *w)
{
	assert(w->task->waits && w->task->waits->n_left);
	list_remove(&w->link);
	return --w->task->waits->n_left == 0;
}

void core_wait_begin(struct core_task *t)
{
	core_waits_new(t);
	for (uint32_t i = 0; i < t->n_inputs; i++)
		if (t->items[i]->state != CORE_ITEM_THERE)
			core_waits_add(t, &t->items[i]->waits);
	assert(t->waits->n_left);
}

void core_wait_end(struct core_task *t)
{
	for (uint32_t i = 0; t->waits && i < t->waits->n; i++)
		list_remove(&t->waits->at[i].link);
	free(steal(t->waits));
}
