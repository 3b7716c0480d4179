/* SPDX-License-Identifier: Apache-2.0
 * Where a lane that is not empty can be found:
 *
 *   anywhere  in c->anywhere: it goes by no tree, by one that nobody has, or by one that everybody has
 *   local     in its tree's bracket, and the tree in that of each of its holders
 *   late      local, for longer than the bytes would travel: in c->late as well, until it is empty
 *
 * and in c->fresh until it is known to fit nowhere. A lane whose class is stopped is in none of them. */
#include "core/core_internal.h"

#define HOLDERS_MOST 64u

static uint64_t key_of(const struct core_class *k, const struct core_tree *tree)
{
	return (uint64_t)tree->id << 32 | k->id;
}

struct core_lane *core_lane_get(struct core *c, struct core_class *k, struct core_tree *tree)
{
	struct core_lane *l = tree ? map_get(&c->lanes, key_of(k, tree)) : k->base;
	if (l)
		return l;
	l = NEW(struct core_lane);
	l->class = k;
	l->tree = tree;
	core_queue_init(&l->queue);
	list_init(&l->link);
	list_init(&l->turn);
	list_init(&l->of_tree);
	if (tree) {
		list_append(&tree->lanes, &l->of_tree);
		map_put(&c->lanes, key_of(k, tree), l);
	} else {
		k->base = l;
	}
	return l;
}

void core_lane_free(struct core *c, struct core_lane *l)
{
	assert(!l->queue.n && !l->is_fresh && !l->anywhere_at && !l->late_at && !l->local_at && !l->is_patient);
	assert(!l->is_hungry);
	assert(c->kept_for != l);
	if (l->tree)
		map_remove(&c->lanes, key_of(l->class, l->tree));
	else
		l->class->base = NULL;
	list_remove(&l->of_tree);
	list_remove(&l->link);
	free(l);
}

bool core_lane_is_anywhere(const struct core_lane *l)
{
	return !l->tree || l->tree->is_wide || !l->tree->n_holders;
}

struct core_key core_lane_key(const struct core_lane *l)
{
	const struct core_task *t = core_queue_first(&l->queue);
	assert(t);
	return (struct core_key){core_key_of(t->priority), t->arrival};
}

uint64_t core_lane_wait_usec(const struct core *c, const struct core_lane *l)
{
	return l->tree ? (uint64_t)((double)l->tree->size * 1e6 / (double)c->rate) : 0;
}

static void set_at(const struct core *c, struct core_bracket *b, uint32_t *at, struct core_lane *l, bool is_in,
		   struct core_key key)
{
	if (is_in && *at) {
		core_bracket_set(b, *at, key, NULL);
	} else if (is_in) {
		struct core_vector v;
		core_vector_not(&v, &l->class->need, c->n_dims);
		*at = core_bracket_put(b, l, key, &v);
	} else if (*at) {
		core_bracket_remove(b, *at);
		*at = 0;
	}
}

/* ---- everywhere it belongs */

static void end_patience(struct core *c, struct core_lane *l)
{
	if (!l->is_patient)
		return;
	unsigned bucket = l->bucket;
	l->is_patient = false;
	list_remove(&l->turn);
	if (list_is_empty(&c->patient[bucket]))
		c->has_patient[bucket / 64] &= ~(UINT64_C(1) << bucket % 64);
}

static void end_hunger(struct core_lane *l)
{
	if (!l->is_hungry)
		return;
	l->is_hungry = false;
	list_remove(&l->turn);
}

/* A holder that has too little, even when nothing runs there, is none to wait for. Of many one will do. */
static bool has_fitting_holder(const struct core *c, const struct core_lane *l)
{
	const struct core_vector need = core_vector_at(c, &l->class->need);
	if (l->tree->n_holders > HOLDERS_MOST)
		return true;
	for (uint32_t i = 0; i < l->tree->n_holders; i++) {
		const struct core_node *n = l->tree->holders[i]->node;
		if (n->is_offered && core_vector_covers(&n->whole, &need, c->n_dims))
			return true;
	}
	return false;
}

/* The clock runs from when it could first have gone elsewhere. */
static void begin_patience(struct core *c, struct core_lane *l)
{
	unsigned bucket = core_bucket_of(core_lane_wait_usec(c, l));
	/* For what takes no time to bring nobody waits. */
	l->is_late = !core_bucket_end(bucket) || !has_fitting_holder(c, l);
	if (l->is_late) {
		l->is_blocked = false;
		return;
	}
	end_hunger(l);
	l->is_patient = true;
	l->bucket = (uint8_t)bucket;
	l->late_usec = c->now_usec + core_bucket_end(bucket);
	list_append(&c->patient[bucket], &l->turn);
	c->has_patient[bucket / 64] |= UINT64_C(1) << bucket % 64;
}

/* In late those come first that leave their holders most to do; about, so that seldom does a task more or less change it. */
static struct core_key late_key(const struct core_lane *l, struct core_key key)
{
	key.minor = UINT64_MAX - 1 - core_bucket_of(l->queue.n * 1024 / max(l->tree->n_holders, 1u));
	return key;
}

static void set_local(struct core *c, struct core_lane *l, bool is_local, struct core_key key)
{
	const struct core_bracket *local = &l->tree->local;
	struct core_vector before, after;
	bool was_local = l->local_at;
	bool had_any = core_bracket_sum(local, &before);
	uint64_t major = core_bracket_best(local).major;
	set_at(c, &l->tree->local, &l->local_at, l, is_local, key);
	/* What holders are told of the tree is seldom changed by one lane. */
	bool has_any = core_bracket_sum(local, &after);
	if (had_any != has_any ||
	    (has_any && (major != core_bracket_best(local).major || !core_vector_equals(&before, &after, c->n_dims))))
		core_tree_settle(c, l->tree);
	if (is_local && !was_local) {
		begin_patience(c, l);
	} else if (!is_local && was_local) {
		end_patience(c, l);
		l->is_late = false;
	}
}

static void set_fresh(struct core *c, struct core_lane *l, bool is_fresh, struct core_key key)
{
	bool was_fresh = l->is_fresh;
	l->is_fresh = is_fresh;
	if (!is_fresh) {
		if (was_fresh)
			core_heap_remove(&c->fresh, &l->fresh);
		return;
	}
	l->fresh.major = key.major;
	l->fresh.minor = key.minor;
	if (was_fresh)
		core_heap_moved(&c->fresh, &l->fresh);
	else
		core_heap_put(&c->fresh, &l->fresh);
}

static void set_hungry(struct core *c, struct core_lane *l)
{
	bool is_hungry = l->is_blocked && (l->anywhere_at || l->late_at);
	if (!is_hungry) {
		end_hunger(l);
	} else if (!l->is_hungry) {
		assert(!l->is_patient);
		l->is_hungry = true;
		l->served = c->n_started;
		list_append(&c->hungry, &l->turn);
	}
}

void core_lane_settle(struct core *c, struct core_lane *l)
{
	bool is_in = l->queue.n && !l->class->is_stopped;
	bool is_anywhere = is_in && core_lane_is_anywhere(l);
	bool is_local = is_in && !is_anywhere;
	struct core_key key = {0};
	if (is_in)
		key = core_lane_key(l);
	set_at(c, &c->anywhere, &l->anywhere_at, l, is_anywhere, key);
	if (l->tree)
		set_local(c, l, is_local, key);
	set_at(c, &c->late, &l->late_at, l, l->is_late, l->is_late ? late_key(l, key) : key);
	set_fresh(c, l, is_in && !l->is_blocked, key);
	set_hungry(c, l);
}

struct core_lane *core_patient_first(const struct core *c)
{
	struct core_lane *best = NULL;
	for (unsigned w = 0; w < CORE_PATIENT / 64; w++) {
		for (uint64_t left = c->has_patient[w]; left; left &= left - 1) {
			const struct list *list = &c->patient[w * 64 + (unsigned)__builtin_ctzll(left)];
			struct core_lane *l = list_first(list, struct core_lane, turn);
			if (!best || l->late_usec < best->late_usec)
				best = l;
		}
	}
	return best;
}

void core_lane_late(struct core *c, struct core_lane *l)
{
	assert(l->local_at && !l->is_late);
	end_patience(c, l);
	/* Who may go to more nodes than before has not been asked about them; mostly none has room. */
	l->is_late = true;
	l->is_blocked &= !core_node_any_idle(c, &l->class->need);
	core_lane_settle(c, l);
}

/* Out of all brackets and in again with what its class needs now. */
void core_lane_renew(struct core *c, struct core_lane *l)
{
	bool was_stopped = l->class->is_stopped;
	l->class->is_stopped = true;
	core_lane_settle(c, l);
	l->class->is_stopped = was_stopped;
	core_lane_unblock(c, l);
}

void core_lane_block(struct core *c, struct core_lane *l)
{
	assert(l->queue.n && l->is_fresh);
	l->is_blocked = true;
	set_fresh(c, l, false, (struct core_key){0});
	set_hungry(c, l);
}

void core_lane_unblock(struct core *c, struct core_lane *l)
{
	l->is_blocked = false;
	core_lane_settle(c, l);
}

void core_lane_served(struct core *c, struct core_lane *l)
{
	if (!l->is_hungry)
		return;
	l->served = c->n_started;
	list_remove(&l->turn);
	list_append(&c->hungry, &l->turn);
}

/* ---- tasks */

void core_lane_put(struct core *c, struct core_lane *l, struct core_task *t, bool is_again)
{
	if (!l->queue.n) {
		l->is_blocked = !core_node_any_idle(c, &l->class->need);
		if (core_class_is_watched(l->class))
			list_append(&l->class->lanes, &l->link);
	}
	core_queue_put(&l->queue, t, is_again);
	t->lane = l;
	l->class->n_queued++;
	if (core_queue_first(&l->queue) == t)
		core_lane_settle(c, l);
}

void core_lane_remove(struct core *c, struct core_task *t)
{
	struct core_lane *l = steal(t->lane);
	struct core_tree *tree = l->tree;
	bool was_first = core_queue_first(&l->queue) == t;
	core_queue_remove(&l->queue, t);
	assert(l->class->n_queued);
	l->class->n_queued--;
	if (was_first)
		core_lane_settle(c, l);
	if (l->queue.n)
		return;
	if (c->kept_for == l)
		core_keep_end(c);
	if (tree) {
		core_lane_free(c, l);
		core_tree_put(c, tree);
	} else {
		list_remove(&l->link);
	}
}
