/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core_internal.h"

struct core_item *core_item_find(const struct core *c, uint64_t number)
{
	return map_get(&c->items, number);
}

static void join_tree(struct core *c, struct core_item *i, struct core_tree *t)
{
	i->tree = t;
	list_append(&t->items, &i->of_tree);
	if (!t->size)
		core_tree_sized(c, t, i->size);
}

struct core_item *core_item_new(struct core *c, uint64_t item, const struct core_item_spec *spec)
{
	assert(item && item < CORE_GROUP && spec->tree < CORE_GROUP);
	struct core_item *i = NEW(struct core_item);
	*i = (struct core_item){.number = item, .size = spec->size, .source = spec->source};
	list_init(&i->waits);
	list_init(&i->of_tree);
	map_put(&c->items, item, i);
	join_tree(c, i, core_tree_get(c, spec->tree ? spec->tree : CORE_ANONYMOUS | item));
	i->state = i->source || i->tree->n_whole ? CORE_ITEM_THERE : CORE_ITEM_EXPECTED;
	return i;
}

void core_item_free(struct core *c, struct core_item *i)
{
	assert(list_is_empty(&i->waits) && !i->n_users);
	struct core_tree *t = i->tree;
	list_remove(&i->of_tree);
	c->n_missing -= i->state == CORE_ITEM_LOST || i->state == CORE_ITEM_FAILED;
	map_remove(&c->items, i->number);
	free(i);
	core_tree_put(c, t);
}

void core_item_put(struct core *c, struct core_item *i)
{
	if (!i->is_forgotten || i->n_moves)
		return;
	if (!i->n_refs)
		core_item_free(c, i);
	else if (i->n_refs == 1 && i->producer)
		core_order(c, CORE_ORDER_FORGET, i->producer->number, 0, 0);
}

static void drop_move(struct core *c, struct core_move *m)
{
	core_move_stop(c, m);
	core_move_end(c, m);
}

/* Bytes, and what comes, are the new tree's from here on. What comes twice comes once: as the new tree's. */
static void hand_over(struct core *c, struct core_replica *from, struct core_tree *to)
{
	struct core_replica *r = core_replica_get(c, from->node, to);
	bool was_reader = from->move && from->tree->reader == from->move;
	if (was_reader)
		from->tree->reader = NULL;
	if (from->move && !r->move) {
		r->move = steal(from->move);
		r->move->replica = r;
		if (was_reader && !to->reader)
			to->reader = r->move;
	} else if (from->move) {
		struct core_move *m = core_move_want(c, r, from->move->item, from->move->rank);
		m->is_needed |= from->move->is_needed;
		m->is_pinned |= from->move->is_pinned;
		drop_move(c, from->move);
	}
	assert(!from->move);
	list_splice(&r->waits, &from->waits);
	r->is_hot |= from->is_hot;
	core_replica_sized(r, max(r->size, from->size));
	if (r->is_whole && r->move)
		drop_move(c, r->move);
	core_place_arrived(c, r);
	core_replica_free(c, from);
	core_replica_put(c, r);
}

static void move_lane(struct core *c, struct core_lane *l, struct core_tree *to)
{
	struct core_lane *other = core_lane_get(c, l->class, to);
	for (size_t n = l->queue.n; n; n--) {
		struct core_task *t = core_queue_first(&l->queue);
		core_lane_remove(c, t); /* frees it with the last one */
		core_lane_put(c, other, t, false);
	}
}

void core_item_set_tree(struct core *c, struct core_item *i, struct core_tree *t)
{
	struct core_tree *from = i->tree;
	if (from == t)
		return;
	list_remove(&i->of_tree);
	join_tree(c, i, t);
	assert(list_is_empty(&from->items) && list_is_empty(&from->parked));
	from->is_owned = true; /* not freed under our hands */
	while (!list_is_empty(&from->lanes))
		move_lane(c, list_first(&from->lanes, struct core_lane, of_tree), t);
	while (from->n_holders)
		hand_over(c, from->holders[from->n_holders - 1], t);
	from->is_owned = false;
	core_tree_put(c, from);
}
