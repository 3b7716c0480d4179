/* SPDX-License-Identifier: Apache-2.0
 * Looking in: items and who has them, and where the output of an attempt lies. */
#include "vined/driver_internal.h"

#include <stdio.h>

static const char *item_state(const struct driver *d, const struct item *i, size_t n_whole)
{
	const struct task *maker = i->producer ? task_find(d, i->producer) : NULL;
	if (i->is_failed)
		return "failed";
	if (i->is_forgotten)
		return "forgotten";
	if (i->source || n_whole)
		return "there";
	if (maker && task_is_going(maker))
		return "expected";
	return i->tree ? "lost" : "expected";
}

static size_t count_whole(const struct driver *d, const struct tree *t)
{
	size_t n = 0;
	if (!t)
		return 0;
	list_foreach (&t->replicas, const struct replica, of_tree, r)
		n += r->node != d->past && r->size >= t->size;
	return n;
}

static void describe(const struct driver *d, const struct item *i, struct driver_item *out)
{
	size_t n_whole = count_whole(d, i->tree);
	*out = (struct driver_item){
		.id = i->id,
		.size = i->tree && i->tree->size ? i->tree->size : i->size,
		.producer = i->producer,
		.name = i->name,
		.run = i->run ? i->run->name : "",
		.tree = i->tree ? i->tree->text : "",
		.state = item_state(d, i, n_whole),
		.n_replicas = n_whole,
		.n_tasks = i->n_refs,
	};
}

bool driver_next_item(const struct driver *d, size_t *at, struct driver_item *out)
{
	const struct item *i = map_next(&d->items, at);
	if (i)
		describe(d, i, out);
	return i;
}

bool driver_next_made(const struct driver *d, size_t *at, const char *name, struct driver_item *out)
{
	const struct run *r;
	while ((r = map_next(&d->runs, at))) {
		const struct item *i = item_find(r, name);
		if (!i || i->run != r)
			continue;
		describe(d, i, out);
		return true;
	}
	return false;
}

size_t driver_item_replicas(const struct driver *d, uint64_t item,
			    void (*on_replica)(void *, const struct driver_replica *), void *arg)
{
	const struct item *i = map_get(&d->items, item);
	size_t n = 0;
	if (!i || !i->tree)
		return 0;
	list_foreach (&i->tree->replicas, const struct replica, of_tree, r) {
		if (r->node == d->past)
			continue;
		on_replica(arg, &(struct driver_replica){
					.node = r->node->name, .size = r->size, .total = max(i->tree->size, r->size)});
		n++;
	}
	return n;
}

static int find_node(struct driver *d, uint64_t task, uint64_t id, struct conn **c, char reason[256])
{
	const struct node *n = map_get(&d->nodes, id);
	if (n && n->conn) {
		*c = n->conn;
		return 0;
	}
	snprintf(reason, 256, "task %llu: its output lies on node %s, which is not connected", (unsigned long long)task,
		 n ? n->name : "(unknown)");
	return -EHOSTUNREACH;
}

int driver_find_output(struct driver *d, uint64_t task, uint64_t *attempt, uint8_t which, struct conn **c,
		       struct wire_bytes *head, char reason[256])
{
	struct store_result e;
	struct store_task row;
	int r = store_read_result(d->o.store, task, &e, &row);
	if (!r && (!*attempt || *attempt == e.attempt)) {
		*attempt = e.attempt;
		*head = which == 2 ? e.err : e.out;
		if (which <= 2 && head->n == (which == 2 ? e.err_size : e.out_size))
			return 1;
		return find_node(d, task, e.node, c, reason);
	}
	if (r && (r != -ENOENT || !row.id)) {
		snprintf(reason, 256, "task %llu: %s", (unsigned long long)task,
			 r == -ENOENT ? "there is none" : strerror(-r));
		return r;
	}
	const struct task *t = task_find(d, task);
	const struct node *n = t ? task_node(t) : NULL;
	if (!n || (*attempt && *attempt != task_attempt(t))) {
		snprintf(reason, 256, "task %llu: %s", (unsigned long long)task,
			 *attempt ? "there is no such attempt" : "it has no output, it does not run yet");
		return -ENODATA;
	}
	*attempt = task_attempt(t);
	return find_node(d, task, n->id, c, reason);
}
