/* SPDX-License-Identifier: Apache-2.0
 * The past: a node of the core's alone. After a restart nobody knows where outputs are until the nodes have come back and said so; until
 * the node time-out is over the past has them, gives each up to the first node that does, and is then lost like any node. So the core
 * makes again what nobody has and something needs, by the rule it has for every node. It takes no tasks and sends no bytes. */
#include "vined/driver_internal.h"

#include "common/log.h"

static void on_over(struct timer *t)
{
	struct node *n = container_of(t, struct node, is_lost);
	struct driver *d = n->driver;
	if (n->replicas.n)
		log_warn("%zu outputs are on no node that came back: they are made again when something needs them",
			 n->replicas.n);
	past_end(d);
}

static void begin(struct driver *d)
{
	struct node *n = NEW(struct node);
	n->driver = d;
	n->id = PAST_NODE;
	n->name = xstrdup("");
	list_init(&n->running);
	list_init(&n->pledging);
	int r = core_node_add(d->core, n->id, &(struct core_node_spec){.cores = 1, .task_limit = 1});
	assert(!r);
	r = core_node_suspend(d->core, n->id);
	assert(!r);
	r = core_node_serve(d->core, n->id, false);
	assert(!r);
	(void)r;
	timer_start(&n->is_lost, d->o.loop, d->o.node_timeout_usec, on_over);
	d->past = n;
}

void past_has(struct driver *d, struct tree *t)
{
	if (!d->past)
		begin(d);
	replica_set(d->past, t, max(t->size, UINT64_C(1)));
}

void past_gives(struct driver *d, struct tree *t)
{
	if (d->past)
		replica_set(d->past, t, 0);
}

void past_end(struct driver *d)
{
	struct node *n = steal(d->past);
	if (!n)
		return;
	timer_stop(&n->is_lost);
	core_node_lost(d->core, n->id);
	replicas_drop(n, true);
	map_fini(&n->replicas);
	buf_fini(&n->pledges);
	list_remove(&n->pledging);
	free(n->name);
	free(n);
}
