/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core_internal.h"

#define NARROW (CORE_RARE / 2) /* a wide tree is rare again with so many holders */

struct core_tree *core_tree_find(const struct core *c, uint64_t number)
{
	return map_get(&c->trees, number);
}

struct core_tree *core_tree_get(struct core *c, uint64_t number)
{
	struct core_tree *t = core_tree_find(c, number);
	if (t)
		return t;
	t = NEW(struct core_tree);
	t->number = number;
	t->id = ++c->n_ids;
	list_init(&t->lanes);
	t->local.n_dims = c->n_dims;
	list_init(&t->items);
	list_init(&t->parked);
	map_put(&c->trees, number, t);
	return t;
}

void core_tree_put(struct core *c, struct core_tree *t)
{
	if (t->n_holders || !list_is_empty(&t->lanes) || t->is_owned || !list_is_empty(&t->items))
		return;
	assert(list_is_empty(&t->parked) && !t->reader);
	map_remove(&c->trees, t->number);
	free(t->holders);
	free(t);
}

static void settle_lanes(struct core *c, struct core_tree *t)
{
	list_foreach (&t->lanes, struct core_lane, of_tree, l)
		core_lane_unblock(c, l);
}

/* ---- in the brackets of its holders */

static void put_local(struct core_tree *t, struct core_replica *r, const struct core_vector *asked)
{
	struct core_key key = {t->major, ++r->node->n_rotated};
	r->local_at = core_bracket_put(&r->node->local, r, key, asked);
}

static void change_local(struct core_tree *t, struct core_replica *r, const struct core_vector *asked)
{
	struct core_bracket *b = &r->node->local;
	struct core_key key = {t->major, core_bracket_key(b, r->local_at).minor};
	core_bracket_set(b, r->local_at, key, asked);
}

void core_tree_settle(struct core *c, struct core_tree *t)
{
	struct core_vector sum;
	bool was_local = t->is_local, is_local = core_bracket_sum(&t->local, &sum);
	if (!t->n_holders)
		return;
	assert(t->local.n_dims == c->n_dims);
	t->is_local = is_local;
	t->major = core_bracket_best(&t->local).major;
	for (uint32_t i = 0; i < t->n_holders; i++) {
		struct core_replica *r = t->holders[i];
		if (is_local && was_local)
			change_local(t, r, &sum);
		else if (is_local)
			put_local(t, r, &sum);
		else if (was_local)
			core_bracket_remove(&r->node->local, r->local_at), r->local_at = 0;
	}
}

/* After each turn: the same tree several times in a row is cheaper, and starves the others of the node (95 % local instead of 99.6 where trees are few). */
void core_replica_rotate(struct core_replica *r)
{
	if (!r->local_at)
		return;
	core_bracket_set(&r->node->local, r->local_at, (struct core_key){r->tree->major, ++r->node->n_rotated}, NULL);
}

struct core_replica *core_replica_find(const struct core_node *n, const struct core_tree *t)
{
	return map_get(&n->replicas, t->number);
}

struct core_replica *core_replica_get(struct core *c, struct core_node *n, struct core_tree *t)
{
	struct core_replica *r = core_replica_find(n, t);
	if (r)
		return r;
	r = NEW(struct core_replica);
	*r = (struct core_replica){
		.tree = t, .node = n, .at = t->n_holders, .is_bad = core_bad_is(c, t->number, n->number)};
	list_init(&r->waits);
	if (t->n_holders == t->room) {
		t->room = max(t->room * 2, 2u);
		t->holders = xrealloc(t->holders, t->room * sizeof(struct core_replica *));
	}
	t->holders[t->n_holders++] = r;
	map_put(&n->replicas, t->number, r);
	c->n_replicas++;
	struct core_vector asked;
	if (t->is_local && core_bracket_sum(&t->local, &asked)) {
		put_local(t, r, &asked);
		core_node_grew(c, n); /* lanes that were blocked have not asked it */
	}
	if (t->n_holders > CORE_RARE && !t->is_wide) {
		t->is_wide = true;
		settle_lanes(c, t);
	} else if (t->n_holders == 1) {
		settle_lanes(c, t);
	}
	return r;
}

/* They change places. */
static void put_at(struct core_replica *r, uint32_t at)
{
	struct core_replica **holders = r->tree->holders, *other = holders[at];
	holders[r->at] = other;
	other->at = r->at;
	holders[at] = r;
	r->at = at;
}

static void set_whole(struct core_replica *r, bool is_whole)
{
	struct core_tree *t = r->tree;
	if (is_whole && !r->is_whole)
		put_at(r, t->n_whole++);
	else if (!is_whole && r->is_whole)
		put_at(r, --t->n_whole);
	r->is_whole = is_whole;
}

void core_replica_free(struct core *c, struct core_replica *r)
{
	struct core_tree *t = r->tree;
	assert(!r->move && list_is_empty(&r->waits) && t->holders[r->at] == r);
	if (r->local_at)
		core_bracket_remove(&r->node->local, r->local_at);
	set_whole(r, false);
	put_at(r, t->n_holders - 1);
	t->n_holders--;
	if (!t->n_holders)
		t->is_local = false;
	map_remove(&r->node->replicas, t->number);
	c->n_replicas--;
	free(r);
	/* Without holders its lanes leave its bracket, which is in no other any more. */
	if (!t->n_holders || (t->is_wide && t->n_holders <= NARROW)) {
		t->is_wide = false;
		settle_lanes(c, t);
	}
}

void core_replica_put(struct core *c, struct core_replica *r)
{
	if (!r->size && !r->move && !r->is_pinned && list_is_empty(&r->waits))
		core_replica_free(c, r);
}

void core_replica_sized(struct core_replica *r, uint64_t size)
{
	r->size = size;
	set_whole(r, size && size >= r->tree->size);
}

void core_tree_sized(struct core *c, struct core_tree *t, uint64_t size)
{
	if (!size || size == t->size)
		return;
	bool is_larger = size > t->size;
	t->size = size;
	/* From the end that loses none to the other as it goes. */
	for (uint32_t i = 0; i < t->n_holders; i++) {
		struct core_replica *r = t->holders[is_larger ? t->n_holders - 1 - i : i];
		core_replica_sized(r, r->size);
	}
	settle_lanes(c, t);
}
