/* SPDX-License-Identifier: Apache-2.0
 * By which tree a queued task looks for its node: that of its rare inputs which the node with most of its bytes has most of. The
 * number of nodes does not count here, that of inputs and of their holders, at most CORE_RARE each, does.
 *
 * Look-ahead: a task whose output another one waits for, and which is larger than what it reads itself, goes by a group: not bytes
 * but a note of where the makers of that other one's inputs went. The first goes anywhere, the rest follow it, or do not, exactly
 * as if the output they save moving were an input that lies there. */
#include "core/core_internal.h"

static uint64_t size_at(const struct core_replica *r)
{
	return r->move ? r->tree->size : r->size;
}

uint64_t core_anchor_score(const struct core_task *t, const struct core_node *n)
{
	uint64_t score = 0;
	for (uint32_t i = 0; i < t->n_inputs; i++) {
		const struct core_replica *r = core_replica_find(n, t->items[i]->tree);
		score += r ? size_at(r) : 0;
	}
	return score;
}

static struct core_tree *largest(const struct core_task *t, bool is_rare_only)
{
	struct core_tree *best = NULL;
	for (uint32_t i = 0; i < t->n_inputs; i++) {
		struct core_tree *tree = t->items[i]->tree;
		if (tree->size && (!is_rare_only || !tree->is_wide) && (!best || tree->size > best->size))
			best = tree;
	}
	return best;
}

/* The node that has most bytes of rare inputs; NULL if nobody has any. */
static const struct core_node *best_holder(struct core *c, const struct core_task *t)
{
	const struct core_node *best = NULL;
	c->n_scored++;
	core_warm_holders(t);
	for (uint32_t i = 0; i < t->n_inputs; i++) {
		const struct core_tree *tree = t->items[i]->tree;
		for (uint32_t k = 0; !tree->is_wide && k < tree->n_holders; k++) {
			struct core_node *n = tree->holders[k]->node;
			n->score = n->score_of == c->n_scored ? n->score : 0;
			n->score_of = c->n_scored;
			n->score += size_at(tree->holders[k]);
			if (n->is_offered && (!best || n->score > best->score))
				best = n;
		}
	}
	return best;
}

static uint64_t size_on(const struct core_tree *tree, const struct core_node *n)
{
	for (uint32_t i = 0; !tree->is_wide && i < tree->n_holders; i++)
		if (tree->holders[i]->node == n)
			return size_at(tree->holders[i]);
	return 0;
}

static struct core_tree *by_inputs(struct core *c, const struct core_task *t)
{
	struct core_tree *rare = largest(t, true);
	if (!rare)
		return largest(t, false);
	if (t->n_inputs == 1)
		return rare;
	const struct core_node *n = best_holder(c, t);
	uint64_t most = 0;
	for (uint32_t i = 0; n && i < t->n_inputs; i++) {
		uint64_t size = size_on(t->items[i]->tree, n);
		if (size > most) {
			most = size;
			rare = t->items[i]->tree;
		}
	}
	return rare;
}

static struct core_tree *group_of(struct core *c, const struct core_task *t, uint64_t own_size)
{
	for (uint32_t i = 0; i < t->n_outputs; i++) {
		const struct core_item *made = t->items[t->n_inputs + i];
		if (list_is_empty(&made->waits) || made->tree->size <= own_size)
			continue;
		struct core_task *consumer = list_first(&made->waits, struct core_wait, link)->task;
		struct core_tree **group = &consumer->waits->group;
		if (!*group) {
			*group = core_tree_get(c, CORE_GROUP | consumer->number);
			(*group)->is_owned = true;
			(*group)->size = made->tree->size;
		}
		return *group;
	}
	return NULL;
}

/* Where one of the makers went, for the others. */
void core_anchor_note(struct core *c, const struct core_task *maker, struct core_node *n)
{
	for (uint32_t i = 0; i < maker->n_outputs; i++) {
		const struct core_item *made = maker->items[maker->n_inputs + i];
		struct core_wait *w = list_first(&made->waits, struct core_wait, link);
		if (w && w->task->waits->group)
			core_replica_get(c, n, w->task->waits->group)->is_pinned = true;
	}
}

/* The consumer came after its makers. */
void core_anchor_follow(struct core *c, const struct core_task *consumer)
{
	if (c->o.is_blind || c->o.has_no_foresight)
		return;
	for (uint32_t i = 0; i < consumer->n_inputs; i++) {
		struct core_task *maker = consumer->items[i]->producer;
		if (!maker || list_is_empty(&consumer->items[i]->waits))
			continue;
		struct core_tree *t = NULL;
		if (maker->state == CORE_STATE_QUEUED)
			t = core_anchor_find(c, maker);
		else if (core_task_has_node(maker) && group_of(c, maker, 0))
			core_anchor_note(c, maker, maker->node);
		if (!t || t == maker->lane->tree)
			continue;
		core_lane_remove(c, maker);
		core_lane_put(c, core_lane_get(c, maker->class, t), maker, maker->losses || maker->attempt);
	}
}

void core_anchor_leave_group(struct core *c, struct core_task *t)
{
	struct core_tree *g = t->waits ? steal(t->waits->group) : NULL;
	if (!g)
		return;
	g->is_owned = false;
	while (g->n_holders)
		core_replica_free(c, g->holders[g->n_holders - 1]);
	core_tree_put(c, g);
}

struct core_tree *core_anchor_find(struct core *c, struct core_task *t)
{
	if (c->o.is_blind || core_class_is_limited(t->class))
		return NULL;
	struct core_tree *own = t->n_inputs ? by_inputs(c, t) : NULL;
	struct core_tree *group =
		c->o.has_no_foresight || !t->n_outputs ? NULL : group_of(c, t, own && !own->is_wide ? own->size : 0);
	return group ? group : own;
}
