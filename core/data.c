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
		core_move_unpark(c, i->tree);
	core_tree_sized(c, t, size);
	core_item_set_tree(c, i, t);
	core_supply_settle_all(c, t);
	return 0;
}

void core_tree_is_sized(struct core *c, uint64_t tree, uint64_t size)
{
	struct core_tree *t = core_tree_find(c, tree);
	if (!t || !size || t->size == size)
		return;
	core_tree_sized(c, t, size);
	for (uint32_t i = 0; i < t->n_holders; i++) {
		struct core_replica *r = t->holders[i];
		if (!r->is_whole)
			continue;
		if (r->move)
			core_move_arrived(c, r);
		core_place_arrived(c, r);
	}
	core_supply_settle_all(c, t);
}

int core_item_has_source(struct core *c, uint64_t item, uint64_t source)
{
	struct core_item *i = core_item_find(c, item);
	if (!i)
		return -ENOENT;
	i->source = source;
	core_move_unpark(c, i->tree);
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
	/* It has found out itself. */
	if (size < r->size)
		core_bad_forget(c, r);
	core_replica_sized(r, size);
	if (r->is_whole && !was_whole) {
		core_move_arrived(c, r);
		core_place_arrived(c, r);
	} else if (was_whole && !r->is_whole) {
		core_move_orphaned(c, t);
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
	/* Those who still bring it themselves have promised nothing. */
	bool is_failure = is_sources || core_neighbours_have_all(m);
	if (is_failure)
		core_move_again(c, m);
	else
		core_move_look_again(c, m);
	if (is_final && is_sources) {
		i->source = 0;
		core_supply_settle(c, i);
		if (!i->producer && !i->tree->n_whole)
			core_item_failed(c, item);
	} else if (is_failure && m->n_tries % TRIES == 0) {
		/* The tasks look for another node; the bytes come or not, nobody waits for them. */
		core_health_count(c, r->node, false);
		list_foreach (&r->waits, struct core_wait, link, w)
			core_order(c, CORE_ORDER_RETURN, w->task->number, node, 0);
	}
	return 0;
}

/* What no task needs either goes; what has come of it stays as far as the node keeps it. */
static int end_bringing(struct core *c, struct core_replica *r)
{
	struct core_move *m = r ? r->move : NULL;
	if (!m)
		return 0;
	struct core_tree *t = r->tree;
	m->is_pinned = false;
	if (m->is_needed)
		return 0;
	core_move_stop(c, m);
	core_move_end(c, m);
	core_replica_put(c, r);
	core_tree_put(c, t);
	return 0;
}

int core_item_bring(struct core *c, uint64_t item, uint64_t node, unsigned flags)
{
	struct core_node *n = core_node_find(c, node);
	struct core_item *i = core_item_find(c, item);
	if (!n || !n->is_present || !i || !c->actions.fetch)
		return -ENOENT;
	struct core_replica *r = core_replica_find(n, i->tree);
	if (flags & CORE_BRING_OVER)
		return end_bringing(c, r);
	if (r && r->is_whole) {
		if (flags & CORE_BRING_PIN)
			core_order(c, CORE_ORDER_PIN, item, node, 0);
		return -EALREADY;
	}
	r = core_replica_get(c, n, i->tree);
	struct core_move *m = core_move_want(c, r, i, flags & CORE_BRING_COPY ? CORE_RANK_COPY : CORE_RANK_BACKGROUND);
	m->is_pinned |= (flags & CORE_BRING_PIN) != 0;
	return 0;
}
