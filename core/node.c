/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core_internal.h"

struct core_node *core_node_find(const struct core *c, uint64_t number)
{
	return map_get(&c->nodes, number);
}

struct core_node *core_node_new(struct core *c, uint64_t number)
{
	assert(number);
	struct core_node *n = NEW(struct core_node);
	n->number = number;
	list_init(&n->tasks);
	void *before = map_put(&c->nodes, number, n);
	assert(!before);
	(void)before;
	return n;
}

void core_node_free(struct core *c, struct core_node *n)
{
	assert(list_is_empty(&n->tasks) && !n->is_open && !n->is_present);
	assert(!n->free.link.at && !n->whole.link.at);
	map_remove(&c->nodes, n->number);
	free(n);
}

/* What is left; nothing if more is used than there is, as after an adoption or a return with a smaller offer. */
static uint64_t left(uint64_t all, uint64_t used)
{
	return all > used ? all - used : 0;
}

void core_node_changed(struct core *c, struct core_node *n)
{
	bool is_full = n->spec.task_limit && n->n_tasks >= n->spec.task_limit;
	uint64_t cores = n->is_open && !is_full ? left(n->spec.cores, n->used_cores) : 0;
	uint64_t memory = cores ? left(n->spec.memory, n->used_memory) : 0;
	if (cores > n->free.cores || memory > n->free.memory) {
		c->grown_cores = max(c->grown_cores, cores);
		c->grown_memory = max(c->grown_memory, memory);
	}
	c->cores_free += cores - n->free.cores;
	core_index_set(&c->free, &n->free, cores, memory, n->number);
	uint64_t whole = n->is_open ? n->spec.cores : 0;
	c->cores += whole - n->whole.cores;
	if (whole != n->whole.cores || n->spec.memory != n->whole.memory)
		core_index_set(&c->whole, &n->whole, whole, n->spec.memory, n->number);
}

void core_node_reserve(struct core *c, struct core_node *n, const struct core_class *k)
{
	n->used_cores += k->cores;
	n->used_memory += k->memory;
	n->n_tasks++;
	core_node_changed(c, n);
}

void core_node_release(struct core *c, struct core_node *n, const struct core_class *k)
{
	assert(n->n_tasks && n->used_cores >= k->cores);
	n->used_cores -= k->cores;
	n->used_memory -= k->memory;
	n->n_tasks--;
	core_node_changed(c, n);
}
