/* SPDX-License-Identifier: Apache-2.0
 * The most urgent task that fits somewhere, on the node that has most free. A class is asked once whether it
 * fits; if not it is set aside until some node has got more room, so that neither the tasks behind it nor its own
 * thousands cost anything meanwhile. */
#include "core/core_internal.h"

/* Once for all the events of a turn: the number of blocked classes counts here, that of tasks and nodes does not. */
static void unblock(struct core *c)
{
	list_foreach (&c->blocked, struct core_class, blocked, k)
		if (k->cores <= c->grown_cores && k->memory <= c->grown_memory)
			core_class_unblock(c, k);
	c->grown_cores = c->grown_memory = 0;
}

bool core_match_next(struct core *c, struct core_task **t, struct core_node **n)
{
	if (c->grown_cores)
		unblock(c);
	for (struct core_link *first; (first = core_heap_first(&c->ready));) {
		struct core_class *k = container_of(first, struct core_class, ready);
		struct core_room *r = core_index_find(&c->free, k->cores, k->memory);
		if (r) {
			*t = core_class_first(k);
			*n = container_of(r, struct core_node, free);
			return true;
		}
		core_class_block(c, k);
	}
	return false;
}
