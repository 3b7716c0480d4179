/* SPDX-License-Identifier: Apache-2.0
 * Most queues only ever see one priority: its tasks lie in the queue itself, others cost memory when they come. */
#include "core/core_internal.h"

struct core_level {
	struct core_link link;
	int64_t priority;
	struct list tasks;
};

struct core_levels {
	struct map by_priority;
	struct core_heap order;
};

void core_queue_init(struct core_queue *q)
{
	*q = (struct core_queue){0};
	list_init(&q->tasks);
}

static struct core_level *first_level(const struct core_queue *q)
{
	return container_of(core_heap_first(&q->more->order), struct core_level, link);
}

static struct core_level *add_level(struct core_queue *q, int64_t priority)
{
	struct core_level *l = NEW(struct core_level);
	l->priority = priority;
	l->link.major = core_key_of(priority);
	list_init(&l->tasks);
	map_put(&q->more->by_priority, (uint64_t)priority, l);
	core_heap_put(&q->more->order, &l->link);
	return l;
}

static struct list *get_level(struct core_queue *q, int64_t priority)
{
	const struct core_task *first = list_first(&q->tasks, struct core_task, link);
	if (!q->more && (!first || first->priority == priority))
		return &q->tasks;
	if (!q->more) {
		q->more = NEW(struct core_levels);
		list_splice(&add_level(q, first->priority)->tasks, &q->tasks);
	}
	struct core_level *l = map_get(&q->more->by_priority, (uint64_t)priority);
	return &(l ? l : add_level(q, priority))->tasks;
}

void core_queue_put(struct core_queue *q, struct core_task *t, bool is_again)
{
	assert(list_is_empty(&t->link));
	struct list *tasks = get_level(q, t->priority);
	if (is_again)
		list_prepend(tasks, &t->link);
	else
		list_append(tasks, &t->link);
	q->n++;
}

static void drop_level(struct core_queue *q, struct core_level *l)
{
	core_heap_remove(&q->more->order, &l->link);
	map_remove(&q->more->by_priority, (uint64_t)l->priority);
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
	const struct list *tasks = q->more ? &first_level(q)->tasks : &q->tasks;
	return q->n ? list_first(tasks, struct core_task, link) : NULL;
}

static size_t check_level(const struct list *tasks, const struct core_lane *lane)
{
	size_t n = 0;
	const struct core_task *first = list_first(tasks, struct core_task, link);
	list_foreach (tasks, const struct core_task, link, t) {
		if (t->lane != lane || t->priority != first->priority || t->state != CORE_STATE_QUEUED)
			abort();
		n++;
	}
	return n;
}

size_t core_queue_check(const struct core_queue *q, const struct core_lane *lane)
{
	size_t n = check_level(&q->tasks, lane);
	if (q->more && n)
		abort();
	for (size_t i = 0; q->more && i < q->more->order.n; i++) {
		const struct core_level *l = container_of(q->more->order.items[i].link, struct core_level, link);
		size_t n_here = check_level(&l->tasks, lane);
		if (!n_here || list_first(&l->tasks, struct core_task, link)->priority != l->priority)
			abort();
		n += n_here;
	}
	if (n != q->n)
		abort();
	return n;
}
