/* SPDX-License-Identifier: Apache-2.0
 * Bytes on their way: the core's actions as messages, and what nodes say of what they have.
 *
 * A node without data (the runner of processes alone) sees shared paths itself: what it is to fetch is there at once. */
#include "vined/driver_internal.h"

#include "common/log.h"

#include <stdio.h>

struct sight {
	uint64_t node, item;
};

/* What a node was told to fetch. */
struct awaited {
	uint64_t item;
};

/* ---- the core's actions */

static void send_fetch(struct node *n, const struct item *i, const struct core_fetch *f)
{
	struct driver *d = n->driver;
	struct wire_peer peers[CORE_PEERS];
	uint32_t n_peers = 0;
	uint64_t now_usec = loop_now_usec(d->o.loop);
	for (size_t k = 0; k < f->n_peers; k++) {
		const struct node *p = map_get(&d->nodes, f->peers[k]);
		if (p && p->conn && p->has_data)
			peers[n_peers++] = (struct wire_peer){.name = p->name, .address = p->address};
	}
	/* Only the past has it, or nodes that are away: the core plans anew when those are back or lost. */
	if (!n_peers && !f->source)
		return;
	conn_send(n->conn, WIRE_FETCH,
		  &(struct wire_fetch){
			  .item = i->id,
			  .tree = i->tree ? i->tree->digest : (struct digest){0},
			  .size = f->size,
			  .source = f->source ? i->name : "",
			  .signature = i->signature,
			  .token_usec = f->deadline_usec > now_usec ? f->deadline_usec - now_usec : 0,
			  .peers = {peers, n_peers},
			  .is_gating = f->is_gating,
		  });
	node_sent(n);
}

void fetch_begin(void *arg, const struct core_fetch *f)
{
	struct driver *d = arg;
	struct node *n = map_get(&d->nodes, f->node);
	struct item *i = map_get(&d->items, f->item);
	assert(n);
	if (!i)
		return;
	/* The core is amid a decision about this transfer: it ends after that. */
	if (!n->has_data) {
		buf_put(&d->seen, &(struct sight){n->id, i->id}, sizeof(struct sight));
		return;
	}
	if (!map_get(&n->fetches, i->id)) {
		struct awaited *w = NEW(struct awaited);
		w->item = i->id;
		map_put(&n->fetches, i->id, w);
	}
	if (n->conn)
		send_fetch(n, i, f);
}

static bool end_fetch(struct node *n, uint64_t item)
{
	struct awaited *w = map_remove(&n->fetches, item);
	free(w);
	return w;
}

void fetch_stop(void *arg, uint64_t node, uint64_t item)
{
	struct driver *d = arg;
	struct node *n = map_get(&d->nodes, node);
	if (n && end_fetch(n, item) && n->conn)
		conn_send(n->conn, WIRE_FETCH_STOP, &(struct wire_fetch_stop){.item = item});
}

bool fetch_see(struct driver *d)
{
	struct buf seen = d->seen;
	const struct sight *at = (const void *)seen.at;
	size_t n_seen = seen.n / sizeof *at;
	d->seen = (struct buf){0};
	for (size_t k = 0; k < n_seen; k++) {
		struct node *n = map_get(&d->nodes, at[k].node);
		struct item *i = map_get(&d->items, at[k].item);
		if (!n || !i || n->in_core == NODE_ABSENT)
			continue;
		if (!i->tree)
			item_set_tree(d, i, tree_make(d, i->size));
		replica_set(n, i->tree, max(i->tree->size, UINT64_C(1)));
	}
	buf_fini(&seen);
	return n_seen;
}

/* The core asks again for each, elsewhere if need be. */
void fetches_restart(struct node *n)
{
	struct map before = n->fetches;
	struct awaited *w;
	n->fetches = (struct map){0};
	for (size_t k = 0; (w = map_next(&before, &k)); free(w))
		core_fetch_failed(n->driver->core, n->id, w->item, false);
	map_fini(&before);
}

void fetches_drop(struct node *n)
{
	struct awaited *w;
	for (size_t k = 0; (w = map_next(&n->fetches, &k));)
		free(w);
	map_fini(&n->fetches);
}

/* ---- what nodes say */

static void drop_unnamed(struct node *n)
{
	struct replica *r;
	/* What is removed lies behind: a walk that begins anew ends when nothing is left to remove. */
	for (size_t k = 0; (r = map_next(&n->replicas, &k));) {
		if (r->report != n->reports)
			replica_set(n, r->tree, 0);
	}
}

void driver_replicas(struct node *n, const struct wire_replicas *m)
{
	struct driver *d = n->driver;
	if (n->in_core == NODE_ABSENT)
		return;
	n->reports += m->is_all;
	for (uint32_t k = 0; k < m->trees.n; k++) {
		const struct wire_replica *w = &m->trees.at[k];
		if (!w->tree.algorithm)
			continue;
		struct tree *t = tree_get(d, &w->tree, w->total);
		struct replica *r = map_get(&n->replicas, t->number);
		if (w->size) {
			replica_set(n, t, w->size);
			r = map_get(&n->replicas, t->number);
			r->report = n->reports;
		} else if (r) {
			/* The tree may go with it. */
			replica_set(n, t, 0);
		} else {
			tree_put(d, t);
		}
	}
	if (m->is_all) {
		drop_unnamed(n);
		node_has_reported(n);
	}
}

/* False: the node brought another tree than the item is. */
static bool learn_tree(struct node *n, struct item *i, const struct wire_fetched *m)
{
	struct driver *d = n->driver;
	struct tree *t = tree_get(d, &m->tree, m->size);
	if (!i->tree) {
		item_set_tree(d, i, t);
		item_record(d, i);
	}
	bool is_it = i->tree == t || !i->tree->digest.algorithm;
	uint64_t size = max(m->size, i->tree->size);
	if (is_it)
		replica_set(n, i->tree, max(size, UINT64_C(1)));
	if (i->tree != t)
		tree_put(d, t);
	return is_it;
}

static void fail(struct node *n, const struct item *i, const char *reason, bool is_final)
{
	struct driver *d = n->driver;
	struct store *s = d->o.store;
	char text[256];
	snprintf(text, sizeof text, "%.80s: %.150s", i->name, reason);
	log_info("node %s: cannot fetch %s", n->name, text);
	store_put(s, &(struct store_op){.kind = STORE_EVENT,
					.event = {.node = n->id,
						  .item = i->id,
						  .what = store_text(s, "fetch-failed"),
						  .text = store_text(s, text)}});
	core_fetch_failed(d->core, n->id, i->id, is_final);
}

void driver_fetched(struct node *n, const struct wire_fetched *m)
{
	struct driver *d = n->driver;
	struct item *i = map_get(&d->items, m->item);
	/* One that was stopped meanwhile may have come all the same: REPLICAS tells. */
	if (!i || !end_fetch(n, m->item) || n->in_core == NODE_ABSENT)
		return;
	if (m->error)
		fail(n, i, *m->reason ? m->reason : strerror((int)min(m->error, (int64_t)INT16_MAX)), m->is_final);
	else if (!m->tree.algorithm)
		fail(n, i, "the node does not say which tree it is", false);
	else if (!learn_tree(n, i, m))
		fail(n, i, "it is not the tree that it was", true);
}

void driver_hot(struct node *n, const struct wire_hot *m)
{
	if (n->in_core != NODE_ABSENT)
		core_replica_hot(n->driver->core, n->id, m->item);
}
