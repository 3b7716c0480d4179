/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core_internal.h"

/* Higher priorities come first in a heap whose smallest key comes first. */
static uint64_t key_of(int64_t priority)
{
	return ~((uint64_t)priority ^ UINT64_C(1) << 63);
}

uint64_t core_class_hash(uint32_t cores, uint64_t memory)
{
	return (memory + 1) * 0x9e3779b97f4a7c15u ^ (uint64_t)cores * 0xd6e8feb86659fd93u;
}

struct core_class *core_class_get(struct core *c, uint32_t cores, uint64_t memory)
{
	uint64_t hash = core_class_hash(cores, memory);
	struct core_class *same = map_get(&c->classes, hash);
	for (struct core_class *k = same; k; k = k->next) {
		if (k->cores == cores && k->memory == memory) {
			k->n_tasks++;
			return k;
		}
	}
	struct core_class *k = NEW(struct core_class);
	*k = (struct core_class){.cores = cores, .memory = memory, .next = same, .n_tasks = 1};
	list_init(&k->blocked);
	map_put(&c->classes, hash, k);
	return k;
}

void core_class_put(struct core *c, struct core_class *k)
{
	assert(k->n_tasks);
	if (--k->n_tasks)
		return;
	assert(!k->n_queued && !k->ready.at && !k->order.n);
	uint64_t hash = core_class_hash(k->cores, k->memory);
	struct core_class *first = map_get(&c->classes, hash);
	if (first == k) {
		if (k->next)
			map_put(&c->classes, hash, k->next);
		else
			map_remove(&c->classes, hash);
	} else {
		while (first->next != k)
			first = first->next;
		first->next = k->next;
	}
	list_remove(&k->blocked);
	map_fini(&k->levels);
	core_heap_fini(&k->order);
	free(k);
}

static struct core_level *first_level(const struct core_class *k)
{
	struct core_link *first = core_heap_first(&k->order);
	return first ? container_of(first, struct core_level, link) : NULL;
}

struct core_task *core_class_first(const struct core_class *k)
{
	struct core_level *l = first_level(k);
	return l ? list_first(&l->tasks, struct core_task, link) : NULL;
}

/* Its place among the ready classes is its first task's. */
static void changed(struct core *c, struct core_class *k)
{
	const struct core_task *t = core_class_first(k);
	if (!t || !list_is_empty(&k->blocked)) {
		if (k->ready.at)
			core_heap_remove(&c->ready, &k->ready);
		if (!t)
			list_remove(&k->blocked);
		return;
	}
	k->ready.major = key_of(t->priority);
	k->ready.minor = t->arrival;
	if (k->ready.at)
		core_heap_moved(&c->ready, &k->ready);
	else
		core_heap_put(&c->ready, &k->ready);
}

static struct core_level *get_level(struct core_class *k, int64_t priority)
{
	struct core_level *l = map_get(&k->levels, (uint64_t)priority);
	if (!l) {
		l = NEW(struct core_level);
		l->priority = priority;
		l->link.major = key_of(priority);
		list_init(&l->tasks);
		map_put(&k->levels, (uint64_t)priority, l);
		core_heap_put(&k->order, &l->link);
	}
	return l;
}

void core_class_queue(struct core *c, struct core_task *t, bool is_again)
{
	assert(!t->level && list_is_empty(&t->link));
	struct core_class *k = t->class;
	t->level = get_level(k, t->priority);
	if (is_again)
		list_prepend(&t->level->tasks, &t->link);
	else
		list_append(&t->level->tasks, &t->link);
	k->n_queued++;
	if (core_class_first(k) == t)
		changed(c, k);
}

void core_class_unqueue(struct core *c, struct core_task *t)
{
	assert(t->level && t->class->n_queued);
	struct core_class *k = t->class;
	struct core_level *l = steal(t->level);
	bool was_first = core_class_first(k) == t;
	list_remove(&t->link);
	k->n_queued--;
	if (list_is_empty(&l->tasks)) {
		core_heap_remove(&k->order, &l->link);
		map_remove(&k->levels, (uint64_t)l->priority);
		free(l);
	}
	if (was_first)
		changed(c, k);
}

void core_class_block(struct core *c, struct core_class *k)
{
	assert(k->n_queued && list_is_empty(&k->blocked));
	list_append(&c->blocked, &k->blocked);
	changed(c, k);
}

void core_class_unblock(struct core *c, struct core_class *k)
{
	assert(k->n_queued);
	list_remove(&k->blocked);
	changed(c, k);
}
