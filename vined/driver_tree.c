/* SPDX-License-Identifier: Apache-2.0
 * Trees as the core numbers them, and which node has how much of them. A tree is in memory while an item is it or a node has some
 * of it. */
#include "vined/driver_internal.h"

#include <stdio.h>

#define RECORD_USEC 5000000u
#define RECORD_MOST 1024u /* replicas of one operation */

static struct tree *tree_new(struct driver *d, uint64_t size)
{
	struct tree *t = NEW(struct tree);
	t->number = ++d->last_tree;
	t->size = size;
	list_init(&t->replicas);
	list_init(&t->sole);
	return t;
}

void tree_identify(struct driver *d, struct tree *t, const struct digest *digest)
{
	assert(!t->digest.algorithm && digest->algorithm);
	t->digest = *digest;
	digest_text(digest, t->text);
	map_put_text(&d->trees_by_digest, t->text, t);
}

struct tree *tree_get(struct driver *d, const struct digest *digest, uint64_t size)
{
	char text[DIGEST_TEXT_SIZE];
	struct tree *t = map_get_text(&d->trees_by_digest, digest_text(digest, text));
	if (!t) {
		t = tree_new(d, size);
		tree_identify(d, t, digest);
	}
	if (!t->size)
		t->size = size;
	return t;
}

void tree_resize(struct driver *d, struct tree *t, uint64_t size)
{
	if (!size || size == t->size)
		return;
	t->size = size;
	core_tree_is_sized(d->core, t->number, size);
	hold_settle(d, t);
}

struct tree *tree_make(struct driver *d, uint64_t size)
{
	return tree_new(d, size);
}

static void replica_free(struct replica *r)
{
	r->node->resident_size -= r->size;
	list_remove(&r->of_tree);
	list_remove(&r->dirty);
	map_remove(&r->node->replicas, r->tree->number);
	free(r);
}

/* What no node told the digest of cannot be asked for again by another item. */
void tree_put(struct driver *d, struct tree *t)
{
	if (t->n_items)
		return;
	if (!t->digest.algorithm) {
		list_foreach (&t->replicas, struct replica, of_tree, r) {
			core_replica_set(d->core, r->node->id, t->number, 0);
			replica_free(r);
		}
	}
	if (!list_is_empty(&t->replicas))
		return;
	if (t->digest.algorithm)
		map_remove_text(&d->trees_by_digest, t->text);
	list_remove(&t->sole);
	profile_forget(d, t);
	free(t);
}

/* ---- replicas */

static void on_record(struct timer *t)
{
	struct driver *d = container_of(t, struct driver, record);
	replicas_record(d);
}

static void mark_dirty(struct driver *d, struct replica *r)
{
	if (!r->tree->digest.algorithm || r->node == d->past)
		return;
	list_remove(&r->dirty);
	list_append(&d->dirty, &r->dirty);
	if (!d->record.loop)
		timer_start(&d->record, d->o.loop, RECORD_USEC, on_record);
}

/* Not kept: nodes know the truth, and it is for people only. */
void replicas_record(struct driver *d)
{
	struct store *s = d->o.store;
	while (!list_is_empty(&d->dirty)) {
		struct store_replica *at = store_alloc(s, RECORD_MOST * sizeof *at);
		struct replica *r;
		size_t n = 0;
		while (n < RECORD_MOST && (r = list_first(&d->dirty, struct replica, dirty))) {
			list_remove(&r->dirty);
			at[n++] = (struct store_replica){.node = r->node->id, .size = r->size, .tree = r->tree->digest};
		}
		store_put(s, &(struct store_op){.kind = STORE_REPLICAS, .replicas = {at, n}});
	}
}

static void record_gone(struct driver *d, const struct replica *r)
{
	if (!r->tree->digest.algorithm || r->node == d->past)
		return;
	struct store_replica *at = store_alloc(d->o.store, sizeof *at);
	*at = (struct store_replica){.node = r->node->id, .tree = r->tree->digest};
	store_put(d->o.store, &(struct store_op){.kind = STORE_REPLICAS, .replicas = {at, 1}});
}

void replica_set(struct node *n, struct tree *t, uint64_t size)
{
	struct driver *d = n->driver;
	struct replica *r = map_get(&n->replicas, t->number);
	if (!r && !size)
		return;
	if (!r) {
		r = NEW(struct replica);
		*r = (struct replica){.node = n, .tree = t};
		list_init(&r->of_tree);
		list_init(&r->dirty);
		list_append(&t->replicas, &r->of_tree);
		map_put(&n->replicas, t->number, r);
	}
	bool is_same = r->size == size;
	n->resident_size += size - r->size;
	r->size = size;
	if (is_same)
		return;
	core_replica_set(d->core, n->id, t->number, size);
	if (!size) {
		record_gone(d, r);
		replica_free(r);
		hold_settle(d, t);
		tree_put(d, t);
		return;
	}
	hold_settle(d, t);
	mark_dirty(d, r);
	if (n != d->past && size >= t->size)
		past_gives(d, t);
}

/* is_told: the core knows already. */
void replicas_drop(struct node *n, bool is_told)
{
	struct replica *r;
	for (size_t i = 0; (r = map_next(&n->replicas, &i));) {
		struct tree *t = r->tree;
		if (!is_told)
			core_replica_set(n->driver->core, n->id, t->number, 0);
		replica_free(r);
		hold_settle(n->driver, t);
		tree_put(n->driver, t);
	}
}
