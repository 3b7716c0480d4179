/* SPDX-License-Identifier: Apache-2.0
 * Most queues only ever see one priority: that level lies in the queue itself, the others cost memory when they come. */
#include "core/core_internal.h"

struct core_levels {
	struct map by_priority;
	struct core_heap order;
};

void core_queue_init(struct core_queue *q)
{
	*q = (struct core_queue){0};
	list_init(&q->one.tasks);
}

static struct core_level *first_level(const struct core_queue *q)
{
	if (!q->more)
		return (struct core_level *)&q->one;
	return container_of(core_heap_first(&q->more->order), struct core_level, link);
}

static void add_level(struct core_queue *q, struct core_level *l)
{
	l->link.major = core_key_of(l->priority);
	map_put(&q->more->by_priority, (uint64_t)l->priority, l);
	core_heap_put(&q->more->order, &l->link);
}

static struct core_level *get_level(struct core_queue *q, int64_t priority)
{
	if (!q->n)
		q->one.priority = priority;
	if (!q->more && q->one.priority == priority)
		return &q->one;
	if (!q->more) {
		q->more = NEW(struct core_levels);
		add_level(q, &q->one);
	}
	struct core_level *l = map_get(&q->more->by_priority, (uint64_t)priority);
	if (!l) {
		l = NEW(struct core_level);
		l->priority = priority;
		list_init(&l->tasks);
		add_level(q, l);
	}
	return l;
}

void core_queue_put(struct core_queue *q, struct core_task *t, bool is_again)
{
	assert(list_is_empty(&t->link));
	struct core_level *l = get_level(q, t->priority);
	if (is_again)
		list_prepend(&l->tasks, &t->link);
	else
		list_append(&l->tasks, &t->link);
	q->n++;
}

static void drop_level(struct core_queue *q, struct core_level *l)
{
	core_heap_remove(&q->more->order, &l->link);
	map_remove(&q->more->by_priority, (uint64_t)l->priority);
	if (l != &q->one)
		free(l);
	if (q->more->order.n)
		return;
	core_heap_fini(&q->more->order);
	map_fini(&q->more->by_priority);
	free(steal(q->more));
}

void core_queue_remove(struct core_queue *q, struct core_task *t)
{
	assert(q->n && !list_is_empty(&t->link));
	list_remove(&t->link);
	q->n--;
	if (!q->more)
		return;
	struct core_level *l = map_get(&q->more->by_priority, (uint64_t)t->priority);
	assert(l);
	if (list_is_empty(&l->tasks))
		drop_level(q, l);
}

struct core_task *core_queue_first(const struct core_queue *q)
{
	return q->n ? list_first(&first_level(q)->tasks, struct core_task, link) : NULL;
}

size_t core_queue_check(const struct core_queue *q, const struct core_lane *lane)
{
	size_t n = 0, n_levels = q->more ? q->more->order.n : 1;
	for (size_t i = 0; i < n_levels; i++) {
		const struct core_level *l =
			q->more ? container_of(q->more->order.items[i], struct core_level, link) : &q->one;
		if (q->more && list_is_empty(&l->tasks))
			abort();
		list_foreach (&l->tasks, const struct core_task, link, t) {
			if (t->lane != lane || t->priority != l->priority || t->state != CORE_STATE_QUEUED)
				abort();
			n++;
		}
	}
	if (n != q->n)
		abort();
	return n;
}
