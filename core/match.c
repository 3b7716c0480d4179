/* SPDX-License-Identifier: Apache-2.0
 * Two-sided matching. A lane that nobody has been asked about (fresh) looks for a node: a holder of its tree, or the node with most
 * room. One that fits nowhere is blocked, and costs nothing until a node that it may go to gets room. A node that got room
 * looks for a lane: its own first, then those that go anywhere, then those that have waited for others long enough. Neither side's
 * cost depends on how many there are of the other.
 *
 * While there are fresh lanes, the nodes with new room are asked for their best blocked lane, which becomes fresh too, so that
 * priorities hold between the two. */
#include "core/core_internal.h"

/* Every so many turns of a node the other kind goes first: so nothing waits behind an endless stream of what lies better. */
#define TURNS 8u
#define PROBES 8u
#define PATIENCE 64u

/* ---- a lane looks for a node */

static struct core_node *find_holder(const struct core *c, const struct core_lane *l, const struct core_tree *tree)
{
	struct core_node *best = NULL;
	const struct core_task *t = core_queue_first(&l->queue);
	uint64_t most = 0;
	unsigned n_scored = 0;
	uint32_t n = min(tree->n_holders, tree->is_wide ? PROBES : CORE_RARE);
	for (uint32_t i = 0; i < n && n_scored < PROBES; i++) {
		uint64_t at = tree->is_wide ? (c->n_started * PROBES + i) % tree->n_holders : i;
		struct core_node *node = tree->holders[at]->node;
		if (!core_node_covers(c, node, &l->class->need))
			continue;
		n_scored++;
		uint64_t score = t->n_inputs > 1 ? core_anchor_score(t, node) : 0;
		bool is_better = !best || score > most || (score == most && node->cores_free > best->cores_free);
		if (is_better) {
			best = node;
			most = score;
		}
	}
	return best;
}

/* Tasks of a limited class lie in its base: their first one's input is looked at now. */
static const struct core_tree *tree_of_first(const struct core *c, const struct core_lane *l)
{
	const struct core_task *t = core_queue_first(&l->queue);
	const struct core_tree *best = NULL;
	for (uint32_t i = 0; !c->o.is_blind && i < t->n_inputs; i++) {
		const struct core_tree *tree = t->items[i]->tree;
		if (!tree->is_wide && tree->n_holders && (!best || tree->size > best->size))
			best = tree;
	}
	return best;
}

static struct core_node *find_node(const struct core *c, const struct core_lane *l)
{
	struct core_vector room, need = core_vector_at(c, &l->class->need);
	if (c->kept_for == l && core_node_room(c, c->kept, &room) && core_vector_covers(&room, &need, c->n_dims))
		return c->kept;
	if (!core_bracket_may(&c->free, &need))
		return NULL;
	const struct core_tree *tree = l->tree ? l->tree : tree_of_first(c, l);
	struct core_node *n = tree && tree->n_holders ? find_holder(c, l, tree) : NULL;
	if (n || (l->local_at && !l->is_late))
		return n;
	return core_bracket_find(&c->free, &need, NULL, NULL);
}

/* ---- a node looks for a lane */

static bool is_at_home(const struct core_lane *l, const struct core_node *n)
{
	return !l->tree || !l->tree->n_holders || core_replica_find(n, l->tree);
}

/* Of equal priority rather one whose tree is there, if it is among the first few. */
static struct core_lane *find_anywhere(const struct core *c, const struct core_node *n, const struct core_vector *ask)
{
	struct core_lane *first = core_bracket_find(&c->anywhere, ask, NULL, NULL), *l = first;
	for (unsigned i = 0; l && i < 4; i++) {
		if (is_at_home(l, n))
			return l;
		struct core_key key = core_bracket_key(&c->anywhere, l->anywhere_at);
		l = core_bracket_find(&c->anywhere, ask, &key, NULL);
		if (l && core_bracket_key(&c->anywhere, l->anywhere_at).major != key.major)
			break;
	}
	return first;
}

/* What a tree's lanes need least no single one of them may be content with, unless there is but one. */
static bool has_lane(const void *what, const struct core_vector *ask)
{
	const struct core_bracket *local = &((const struct core_replica *)what)->tree->local;
	return local->n == 1 || core_bracket_find(local, ask, NULL, NULL);
}

static struct core_lane *find_local(const struct core_node *n, const struct core_vector *ask, struct core_replica **r)
{
	*r = n->local.n ? core_bracket_find(&n->local, ask, NULL, has_lane) : NULL;
	if (!*r)
		return NULL;
	const struct core_bracket *local = &(*r)->tree->local;
	return local->n == 1 ? core_bracket_first(local) : core_bracket_find(local, ask, NULL, NULL);
}

static struct core_lane *find_late(const struct core *c, const struct core_vector *ask)
{
	return core_bracket_find_soon(&c->late, ask);
}

/* *r: the replica it was found by; NULL: by none. */
static struct core_lane *find_lane(const struct core *c, const struct core_node *n, struct core_replica **r)
{
	*r = NULL;
	struct core_vector room;
	if (!n->cores_free || !core_node_room(c, n, &room))
		return NULL;
	if (room.at[CORE_DIM_TIME] != UINT64_MAX)
		room.at[CORE_DIM_TIME] -= min(room.at[CORE_DIM_TIME], c->now_usec);
	if (n == c->kept)
		return core_vector_covers(&room, &c->kept_for->class->need, c->n_dims) ? c->kept_for : NULL;
	struct core_vector ask;
	core_vector_not(&ask, &room, c->n_dims);
	bool is_other_turn = n->n_turns % TURNS == TURNS - 1;
	struct core_lane *local = find_local(n, &ask, r);
	if (local && !is_other_turn && local->tree->major <= core_bracket_best(&c->anywhere).major)
		return local;
	struct core_lane *any = c->anywhere.n ? find_anywhere(c, n, &ask) : NULL;
	if (local && any)
		return is_other_turn || core_lane_key(any).major < local->tree->major ? any : local;
	if (local)
		return local;
	if (any && n->n_turns % TURNS != TURNS / 2)
		return any;
	struct core_lane *late = find_late(c, &ask);
	return late ? late : any;
}

/* ---- a node is kept for a large task */

static struct core_node *find_kept(const struct core *c, const struct core_lane *l)
{
	const struct core_vector need = core_vector_at(c, &l->class->need);
	struct core_node *best = NULL, *n = core_bracket_find(&c->whole, &need, NULL, NULL);
	for (unsigned i = 0; n && i < PROBES; i++) {
		if (!best || n->cores_free > best->cores_free)
			best = n;
		struct core_key key = core_bracket_key(&c->whole, n->whole_at);
		n = core_bracket_find(&c->whole, &need, &key, NULL);
	}
	return best;
}

/* Of all that fits nowhere the least recently served, once many others have passed it by. */
static void keep_one(struct core *c)
{
	struct core_lane *l = list_first(&c->hungry, struct core_lane, turn);
	uint64_t patience = c->o.patience ? c->o.patience : PATIENCE + 2 * c->n_open;
	if (c->kept || !l || c->n_started - l->served <= patience)
		return;
	core_lane_served(c, l);
	if (core_lane_key(l).major > core_bracket_best(&c->anywhere).major)
		return; /* more urgent ones take what there is: that is no injustice */
	struct core_node *n = find_kept(c, l);
	if (!n)
		return;
	c->kept = n;
	c->kept_for = l;
	core_node_settle(c, n);
	core_node_grew(c, n);
}

/* ---- together */

static void take(struct core *c, struct core_lane *l, struct core_node *n, struct core_replica *r)
{
	struct core_task *t = core_queue_first(&l->queue);
	if (c->n_missing && !core_wait_has_all(t)) {
		core_task_step(c, t, CORE_EVENT_AWAIT);
		return;
	}
	c->n_started++;
	c->turn = max(c->turn, t->arrival);
	n->n_turns++;
	core_lane_served(c, l);
	if (r)
		core_replica_rotate(r);
	core_anchor_note(c, t, n);
	if (c->kept_for == l && c->kept == n)
		core_keep_end(c);
	core_place(c, t, n);
}

/* The first node with new room that finds a lane, taken from `grown`; those that find none have nothing to ask for. */
static struct core_lane *next_grown(struct core *c, struct core_node **n, struct core_replica **r)
{
	struct core_lane *l = NULL;
	while (!l && (*n = list_first(&c->grown, struct core_node, grown))) {
		core_warm(c);
		l = find_lane(c, *n, r);
		core_node_ask(c, *n, NULL);
	}
	return l;
}

/* Each node with new room brings its best lane among the fresh ones; if that comes before all of these it is served at once. */
static bool ask_grown(struct core *c)
{
	struct core_node *n;
	struct core_replica *r;
	struct core_lane *l;
	while ((l = next_grown(c, &n, &r))) {
		const struct core_link *first = core_heap_first(&c->fresh);
		struct core_key key = {first->major, first->minor};
		if (l->is_blocked && core_key_is_less(core_lane_key(l), key)) {
			core_node_ask(c, n, &c->grown);
			take(c, l, n, r);
			return true;
		}
		if (l->is_blocked)
			core_lane_unblock(c, l);
		core_node_ask(c, n, &c->asked);
	}
	return false;
}

static bool place_grown(struct core *c)
{
	struct core_node *n;
	struct core_replica *r;
	list_splice(&c->grown, &c->asked);
	struct core_lane *l = next_grown(c, &n, &r);
	if (!l)
		return false;
	core_node_ask(c, n, &c->grown);
	take(c, l, n, r);
	return true;
}

bool core_match_next(struct core *c)
{
	keep_one(c);
	while (c->fresh.n) {
		if (ask_grown(c))
			return true;
		struct core_lane *l = container_of(core_heap_first(&c->fresh), struct core_lane, fresh);
		struct core_node *n = find_node(c, l);
		if (n) {
			take(c, l, n, NULL);
			return true;
		}
		core_lane_block(c, l);
	}
	return place_grown(c);
}

/* ---- second attempts: only where nothing else could use the room. */

static struct core_node *find_second(const struct core *c, const struct core_task *t)
{
	const struct core_vector need = core_vector_at(c, &t->class->need);
	struct core_node *n = core_bracket_find(&c->free, &need, NULL, NULL);
	if (n != t->node)
		return n;
	struct core_key key = core_bracket_key(&c->free, n->free_at);
	return core_bracket_find(&c->free, &need, &key, NULL);
}

bool core_match_second(struct core *c)
{
	struct core_hold *h;
	for (unsigned i = 0; i < PROBES && c->free.n && (h = list_first(&c->slow, struct core_hold, running)); i++) {
		struct core_node *n = h->task->class->is_stopped ? NULL : find_second(c, h->task);
		list_remove(&h->running);
		if (n) {
			core_place_second(c, h->task, n);
			return true;
		}
		list_append(&c->slow, &h->running);
	}
	return false;
}
