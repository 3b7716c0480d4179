/* SPDX-License-Identifier: Apache-2.0
 * The events of core_data.h. */
#include "core/core_internal.h"

#define TRIES 8u /* of one move, then its tasks look for another node */

int core_item_add(struct core *c, uint64_t item, const struct core_item_spec *spec)
{
	if (core_item_find(c, item))
		return -EEXIST;
	/* Its size may be the first that is heard of its tree's: what was whole may be less than that. */
	core_supply_settle_all(c, core_item_new(c, item, spec)->tree);
	return 0;
}

int core_item_is_tree(struct core *c, uint64_t item, uint64_t tree, uint64_t size)
{
	assert(tree && tree < CORE_GROUP);
	struct core_item *i = core_item_find(c, item);
	if (!i)
		return -ENOENT;
	if (!(i->tree->number & CORE_ANONYMOUS) && i->tree->number != tree)
		return -EEXIST;
	struct core_tree *t = core_tree_get(c, tree);
	if (i->tree != t)
		core_move_unpark(c, i->tree, UINT32_MAX);
	core_tree_sized(c, t, size);
	core_item_set_tree(c, i, t);
	core_supply_settle_all(c, t);
	return 0;
}

int core_item_has_source(struct core *c, uint64_t item, uint64_t source)
{
	struct core_item *i = core_item_find(c, item);
	if (!i)
		return -ENOENT;
	i->source = source;
	core_move_unpark(c, i->tree, UINT32_MAX);
	core_supply_settle(c, i);
	return 0;
}

int core_item_failed(struct core *c, uint64_t item)
{
	struct core_item *i = core_item_find(c, item);
	if (!i)
		return -ENOENT;
	core_supply_fail(c, i);
	return 0;
}

int core_item_forget(struct core *c, uint64_t item)
{
	struct core_item *i = core_item_find(c, item);
	if (!i || i->is_forgotten)
		return -ENOENT;
	i->is_forgotten = true;
	core_item_put(c, i);
	return 0;
}

int core_replica_set(struct core *c, uint64_t node, uint64_t tree, uint64_t size)
{
	struct core_node *n = core_node_find(c, node);
	assert(tree && tree < CORE_GROUP);
	if (!n || !n->is_present)
		return -ENOENT;
	struct core_tree *t = size ? core_tree_get(c, tree) : core_tree_find(c, tree);
	struct core_replica *r = !t ? NULL : size ? core_replica_get(c, n, t) : core_replica_find(n, t);
	if (!r)
		return 0;
	bool was_whole = r->is_whole;
	core_replica_sized(r, size);
	if (r->is_whole && !was_whole) {
		core_move_arrived(c, r);
		core_place_arrived(c, r);
	}
	core_replica_put(c, r);
	core_supply_settle_all(c, t);
	core_tree_put(c, t);
	return 0;
}

static struct core_replica *find_replica(const struct core *c, uint64_t node, uint64_t item)
{
	const struct core_node *n = core_node_find(c, node);
	const struct core_item *i = core_item_find(c, item);
	return n && i ? core_replica_find(n, i->tree) : NULL;
}

int core_replica_hot(struct core *c, uint64_t node, uint64_t item)
{
	struct core_replica *r = find_replica(c, node, item);
	if (!r)
		return -ENOENT;
	r->is_hot = true;
	core_place_arrived(c, r);
	return 0;
}

int core_fetch_failed(struct core *c, uint64_t node, uint64_t item, bool is_final)
{
	struct core_replica *r = find_replica(c, node, item);
	if (!r || !r->move || !r->move->is_begun)
		return -ESTALE;
	struct core_move *m = r->move;
	struct core_item *i = m->item;
	bool is_sources = m->source != NULL;
	core_move_again(c, m);
	if (is_final && is_sources) {
		i->source = 0;
		core_supply_settle(c, i);
		if (!i->producer && !i->tree->n_whole)
			core_item_failed(c, item);
	} else if (++m->n_tries >= TRIES) {
		/* The tasks look for another node; the bytes come or not, nobody waits for them. */
		m->n_tries = 0;
		core_health_count(c, r->node, false);
		list_foreach (&r->waits, struct core_wait, link, w)
			core_order(c, CORE_ORDER_RETURN, w->task->number, node, 0);
	}
	return 0;
}
