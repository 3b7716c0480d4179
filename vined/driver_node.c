/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/driver_internal.h"

#include "common/log.h"

#include <stdio.h>

struct node *node_new(struct driver *d, const struct store_node *s)
{
	struct node *n = NEW(struct node);
	assert(s->id && !map_get(&d->nodes, s->id));
	n->driver = d;
	n->id = s->id;
	n->uuid = xstrdup(s->uuid);
	n->name = xstrdup(s->name);
	n->tier = xstrdup("");
	n->kernel = xstrdup("");
	list_init(&n->running);
	map_put(&d->nodes, n->id, n);
	map_put_text(&d->nodes_by_uuid, n->uuid, n);
	return n;
}

void node_free(struct node *n)
{
	assert(list_is_empty(&n->running));
	timer_stop(&n->is_lost);
	map_remove(&n->driver->nodes, n->id);
	map_remove_text(&n->driver->nodes_by_uuid, n->uuid);
	free(n->uuid);
	free(n->name);
	free(n->tier);
	free(n->kernel);
	free(n);
}

static void on_lost(struct timer *t)
{
	struct node *n = container_of(t, struct node, is_lost);
	assert(!n->conn);
	if (n->n_running)
		log_warn("node %s: lost: not back in time; %zu tasks run again elsewhere", n->name, n->n_running);
	else
		log_info("node %s: not back in time; it had no tasks", n->name);
	list_foreach (&n->running, struct task, node_link, task) {
		task->losses++;
		task_record_lost(task, false);
	}
	core_node_lost(n->driver->core, n->id);
	n->in_core = NODE_ABSENT;
}

/* Also at a restart, for nodes that have attempts on record: a node that never returns must not hold them for ever. */
void node_wait(struct node *n)
{
	if (!n->is_lost.loop && !n->conn)
		timer_start(&n->is_lost, n->driver->o.loop, n->driver->o.node_timeout_usec, on_lost);
}

/* The number that tasks refer to must be known before any of them does; operations are stored in order, so it is. */
static void record_node(struct node *n)
{
	struct store *s = n->driver->o.store;
	store_put(s, &(struct store_op){.kind = STORE_NODE,
					.is_kept = true,
					.node = {n->id, store_text(s, n->uuid), store_text(s, n->name)}});
}

static struct node *find_or_make(struct driver *d, const char *uuid, const char *name)
{
	struct node *n = map_get_text(&d->nodes_by_uuid, uuid);
	if (!n) {
		n = node_new(d, &(struct store_node){++d->last_node, uuid, name});
		record_node(n);
	} else if (!streq(n->name, name)) {
		free(n->name);
		n->name = xstrdup(name);
		record_node(n);
	}
	return n;
}

static void fence(struct node *n, uint64_t attempt)
{
	const struct wire_stop m = {.attempt = attempt, .fenced = true};
	log_info("node %s: attempt %llu is fenced: it does not count any more", n->name, (unsigned long long)attempt);
	conn_send(n->conn, WIRE_STOP, &m);
}

static void adopt(struct node *n, const struct wire_held *h)
{
	struct core *c = n->driver->core;
	struct task *t = map_get(&n->driver->tasks, h->task);
	if (!t || t->state >= STORE_ENDED || core_attempt_adopt(c, t->id, n->id, h->attempt)) {
		fence(n, h->attempt);
		return;
	}
	if (t->node != n || t->attempt != h->attempt) {
		/* Its dispatch was not recorded, or it had been given up. */
		t->attempts += t->attempt != h->attempt;
		task_set_node(t, n, h->attempt);
		task_record_start(t);
	}
	t->joins = n->joins;
}

/* What is recorded as running there and was not listed never arrived, or was forgotten with the node's record. */
static void give_up_unlisted(struct node *n)
{
	list_foreach (&n->running, struct task, node_link, t) {
		if (t->joins == n->joins)
			continue;
		uint64_t attempt = t->attempt;
		log_info("node %s: does not know attempt %llu of task %llu, which runs again", n->name,
			 (unsigned long long)attempt, (unsigned long long)t->id);
		task_record_lost(t, false);
		core_attempt_lost(n->driver->core, t->id, attempt);
	}
}

static void describe(struct node *n, const struct wire_join *j)
{
	free(n->tier);
	free(n->kernel);
	n->tier = xstrdup(j->tier);
	n->kernel = xstrdup(j->kernel);
	n->spec = (struct core_node_spec){j->cores, j->memory, j->task_limit};
}

/* A node that was present all along may have come back with another offer. */
static void enter_core(struct node *n)
{
	struct core *c = n->driver->core;
	int r;
	if (n->in_core == NODE_PRESENT)
		core_node_suspend(c, n->id);
	if (n->in_core == NODE_ABSENT)
		r = core_node_add(c, n->id, &n->spec);
	else
		r = core_node_resume(c, n->id, &n->spec);
	assert(r == 0);
	n->in_core = NODE_PRESENT;
}

struct node *driver_join(struct driver *d, struct conn *c, const char *name, uint64_t instance,
			 const struct wire_join *j, char reason[256])
{
	struct node *n = find_or_make(d, j->node, name);
	struct conn *old = n->conn;
	if (old && old != c && n->instance != instance) {
		snprintf(reason, 256,
			 "node id %s is in use by %s: two nodes share one state directory, or a copy of it", n->uuid,
			 conn_peer_name(old));
		return NULL;
	}
	/* First the new one: closing the old one must not look like losing the node. */
	n->conn = c;
	n->instance = instance;
	n->joins++;
	timer_stop(&n->is_lost);
	if (old && old != c)
		conn_abort(old, ECONNRESET, "replaced by a newer connection of the same node");
	describe(n, j);
	enter_core(n);
	for (uint32_t i = 0; i < j->attempts.n; i++)
		adopt(n, &j->attempts.at[i]);
	give_up_unlisted(n);
	log_info("node %s: joined from %s: %u cores, tier %s, %u attempts", n->name, conn_peer_name(c), j->cores,
		 j->tier, j->attempts.n);
	return n;
}

void driver_leave(struct node *n, const struct conn *c)
{
	/* It has been replaced already. */
	if (n->conn != c)
		return;
	n->conn = NULL;
	core_node_suspend(n->driver->core, n->id);
	n->in_core = NODE_SUSPENDED;
	node_wait(n);
}

bool driver_next_node(const struct driver *d, size_t *i, struct driver_node *out)
{
	const struct node *n = map_next(&d->nodes, i);
	if (!n)
		return false;
	*out = (struct driver_node){
		.name = n->name,
		.uuid = n->uuid,
		.tier = n->tier,
		.kernel = n->kernel,
		.address = n->conn ? conn_peer_name(n->conn) : "",
		.is_connected = n->conn != NULL,
		.cores = n->spec.cores,
		.task_limit = n->spec.task_limit,
		.memory = n->spec.memory,
		.n_running = n->n_running,
	};
	return true;
}
