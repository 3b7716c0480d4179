/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core_internal.h"

void core_timer_set(struct core *c, struct core_timer *t, enum core_timer_kind kind, uint64_t at_usec)
{
	assert(!t->link.at || t->kind == kind);
	t->kind = kind;
	if (t->link.at && t->link.major == at_usec)
		return;
	t->link.major = at_usec;
	t->link.minor = ++c->n_timers;
	if (t->link.at)
		core_heap_moved(&c->due, &t->link);
	else
		core_heap_put(&c->due, &t->link);
}

void core_timer_stop(struct core *c, struct core_timer *t)
{
	if (t->link.at)
		core_heap_remove(&c->due, &t->link);
}
