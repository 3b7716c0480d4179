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
	struct node *node;
	uint64_t item;
	unsigned n_failed;  /* in a row */
	struct timer pause; /* before the core hears of a failure, which asks again at once */
	bool is_over;       /* nobody has asked since it failed */
	char *reason;       /* of the last failure; NULL: it has not failed */
};

#define PAUSE_USEC 50000u
#define PAUSE_MOST_USEC 5000000u

/* ---- the core's actions */

static void send_fetch(struct node *n, struct item *i, const struct core_fetch *f)
{
	struct driver *d = n->driver;
	struct wire_peer peers[CORE_PEERS];
	uint32_t n_peers = 0;
	uint64_t now_usec = loop_now_usec(d->o.loop);
	/* Told both a node asks peers alone, which need not have all of it; those who bring it ask it, too. */
	for (size_t k = 0; !f->source && k < f->n_peers; k++) {
		const struct node *p = map_get(&d->nodes, f->peers[k]);
		if (p && p->conn && p->has_data)
			peers[n_peers++] = (struct wire_peer){.name = p->name, .address = p->address};
	}
	assert(f->n_peers || f->source || f->is_pinned);
	if (f->source)
		i->reader = n->id;
	conn_send(n->conn, WIRE_FETCH,
		  &(struct wire_fetch){
			  .item = i->id,
			  .tree = i->tree ? i->tree->digest : (struct digest){0},
			  .size = f->size,
			  .source = f->source                  ? i->name
				    : f->is_relayed && i->tree ? "client:"
							       : "",
			  .signature = i->signature,
			  .token_usec = f->deadline_usec > now_usec ? f->deadline_usec - now_usec : 0,
			  .peers = {peers, n_peers},
			  .is_gating = f->is_gating,
			  .rank = (uint8_t)f->rank,
			  .pin = f->is_pinned,
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
	struct awaited *w = map_get(&n->fetches, i->id);
	if (!w) {
		w = NEW(struct awaited);
		w->node = n;
		w->item = i->id;
		map_put(&n->fetches, i->id, w);
	}
	w->is_over = false;
	if (n->conn)
		send_fetch(n, i, f);
}

static void free_awaited(struct awaited *w)
{
	timer_stop(&w->pause);
	free(w->reason);
	free(w);
}

/* Whoever starts with it next need not wait for this node. */
static void end_reading(const struct node *n, uint64_t item)
{
	struct item *i = map_get(&n->driver->items, item);
	if (i && i->reader == n->id)
		i->reader = 0;
}

/* False: the node was not asked for it. */
static bool end_fetch(struct node *n, uint64_t item)
{
	end_reading(n, item);
	struct awaited *w = map_remove(&n->fetches, item);
	bool is_awaited = w && !w->is_over;
	if (w)
		free_awaited(w);
	return is_awaited;
}

static void on_paused(struct timer *t)
{
	struct awaited *w = container_of(t, struct awaited, pause);
	w->is_over = true;
	core_fetch_failed(w->node->driver->core, w->node->id, w->item, false);
}

static bool pause_fetch(struct node *n, uint64_t item)
{
	struct awaited *w = map_get(&n->fetches, item);
	uint64_t usec = PAUSE_USEC << min(w ? w->n_failed : 0, 10u);
	if (!w || w->is_over || w->pause.loop)
		return false;
	end_reading(n, item);
	w->n_failed++;
	timer_start(&w->pause, n->driver->o.loop, min(usec, (uint64_t)PAUSE_MOST_USEC), on_paused);
	return true;
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
	for (size_t k = 0; (w = map_next(&before, &k)); free_awaited(w))
		if (!w->is_over)
			core_fetch_failed(n->driver->core, n->id, w->item, false);
	map_fini(&before);
}

void fetches_drop(struct node *n)
{
	struct awaited *w;
	for (size_t k = 0; (w = map_next(&n->fetches, &k));)
		free_awaited(w);
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
			/* In this order what is whole is so all the time. */
			if (w->total < t->size)
				tree_resize(d, t, w->total);
			replica_set(n, t, w->size);
			tree_resize(d, t, w->total);
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
		hold_tell_all(n);
		node_has_reported(n);
	}
}

/* Who waits to hear which tree it is, and has all of it, is told nothing by the core. */
static void tell_holders(const struct node *from, const struct item *i)
{
	list_foreach (&i->tree->replicas, const struct replica, of_tree, r) {
		if (r->node == from || !r->node->conn || !r->node->has_data || r->size < i->tree->size)
			continue;
		conn_send(r->node->conn, WIRE_FETCH,
			  &(struct wire_fetch){.item = i->id,
					       .tree = i->tree->digest,
					       .size = i->tree->size,
					       .source = "",
					       .signature = i->signature,
					       .rank = CORE_RANK_BACKGROUND});
		node_sent(r->node);
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
		if (i->is_left && i->tree->digest.algorithm)
			tell_holders(n, i);
	}
	bool is_it = i->tree == t || !i->tree->digest.algorithm;
	uint64_t size = max(m->size, i->tree->size);
	if (is_it)
		replica_set(n, i->tree, max(size, UINT64_C(1)));
	if (i->tree != t)
		tree_put(d, t);
	return is_it;
}

const char *fetch_trouble(const struct node *n, const struct item *i)
{
	const struct awaited *w = map_get(&n->fetches, i->id);
	return w ? w->reason : NULL;
}

static void fail(struct node *n, struct item *i, const char *reason, bool is_final)
{
	struct driver *d = n->driver;
	struct store *s = d->o.store;
	char text[256];
	struct awaited *w = map_get(&n->fetches, i->id);
	if (w) {
		free(w->reason);
		w->reason = xstrdup(reason);
	}
	/* It may go on for days: of what fails again and again the 1st, 2nd, 4th, 8th ... are told. */
	if (w && !is_final && w->n_failed & (w->n_failed - 1))
		return;
	snprintf(text, sizeof text, "%.80s: %.150s", i->name, reason);
	log_info("node %s: cannot fetch %s", n->name, text);
	store_put(s, &(struct store_op){.kind = STORE_EVENT,
					.event = {.node = n->id,
						  .item = i->id,
						  .what = store_text(s, "fetch-failed"),
						  .text = store_text(s, text)}});
	feed_event(d, "fetch-failed");
	if (!is_final)
		return;
	free(i->trouble);
	i->trouble = xstrdup(reason);
	core_fetch_failed(d->core, n->id, i->id, true);
}

void driver_fetched(struct node *n, const struct wire_fetched *m)
{
	struct driver *d = n->driver;
	struct item *i = map_get(&d->items, m->item);
	if (!i && offer_fetched(n, m))
		return;
	/* One that was stopped meanwhile may have come all the same: REPLICAS tells. */
	if (!i || n->in_core == NODE_ABSENT)
		return;
	bool is_tried_again = m->error ? !m->is_final : !m->tree.algorithm;
	if (is_tried_again ? !pause_fetch(n, m->item) : !end_fetch(n, m->item))
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

void driver_peer_bad(struct node *n, const struct wire_peer_bad *m)
{
	static const char *const texts[] = {
		[CORE_FAULT_WRONG] = "gave wrong bytes and is not asked for it any more",
		[CORE_FAULT_UNREACHABLE] = "cannot be reached",
		[CORE_FAULT_SILENT] = "is silent",
		[CORE_FAULT_SLOW] = "is slow",
	};
	struct driver *d = n->driver;
	char tree[DIGEST_TEXT_SIZE], text[256];
	const struct node *other = *m->address ? map_get_text(&d->nodes_by_address, m->address) : NULL;
	if (!m->tree.algorithm || !other || other == n || m->what >= countof(texts) || !texts[m->what])
		return;
	const struct tree *t = map_get_text(&d->trees_by_digest, digest_text(&m->tree, tree));
	if (core_peer_bad(d->core, t ? t->number : 0, other->id, n->id, (enum core_fault)m->what))
		return;
	snprintf(text, sizeof text, "tree %.16s: node %.64s %s: %.80s", tree, other->name, texts[m->what], m->reason);
	log_warn("node %s: %s", n->name, text);
	event_tell(d, NULL, "peer-bad", 0, n, text);
}
