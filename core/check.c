/* SPDX-License-Identifier: Apache-2.0
 * The invariants of core.c, by their numbers. */
#include "core/core_internal.h"

/* NDEBUG must not turn this file into nothing. */
#define require(x)               \
	do {                     \
		if (!(x))        \
			abort(); \
	} while (0)

static void check_waits(const struct core_task *t)
{
	uint32_t n_linked = 0;
	for (uint32_t i = 0; i < t->waits->n; i++) {
		require(t->waits->at[i].task == t);
		n_linked += !list_is_empty(&t->waits->at[i].link);
	}
	require(n_linked == t->waits->n_left); /* 12 */
	require(t->state == CORE_STATE_STAGING || t->waits->n_left);
}

static void check_pair(const struct core *c, const struct core_task *t)
{
	const struct core_task *other = core_task_other(t), *first = t->is_second ? other : t; /* 15 */
	require(t->is_second == ((t->number & CORE_SECOND) != 0));
	require(!t->is_second || (other && !t->n_outputs && core_task_find(c, t->number & ~CORE_SECOND) == other));
	if (!other)
		return;
	require(core_task_other(other) == t && other->is_second != t->is_second && other->node != t->node);
	require(first->state == CORE_STATE_RUNNING && list_is_empty(&first->held->running));
}

static void check_task(const struct core *c, const struct core_task *t, struct map *attempts)
{
	bool has_node = core_task_has_node(t);
	require(t->state > CORE_STATE_OVER && t->state < CORE_STATES);                    /* 1 */
	require(list_is_empty(&t->link) == (t->state != CORE_STATE_QUEUED && !has_node)); /* 2 */
	require(t->class->n_tasks && core_class_hash(&t->class->key) == t->class->hash);
	require(!t->held == !has_node);
	require(!t->waits || t->state == CORE_STATE_WAITING || t->state == CORE_STATE_STAGING);
	require(t->waits || t->state != CORE_STATE_WAITING);
	require(t->is_user == (t->state != CORE_STATE_DONE));
	check_pair(c, t);
	if (t->waits)
		check_waits(t);
	if (has_node) {
		require(core_node_find(c, t->node->number) == t->node);
		if (t->state != CORE_STATE_STAGING) {
			require(t->attempt && !map_put(attempts, t->attempt, (void *)t)); /* 3 */
		}
	} else if (t->state == CORE_STATE_QUEUED) {
		require(t->lane->class == t->class && t->lane->queue.n);
	}
}

static void check_tasks(const struct core *c)
{
	uint64_t n_in_state[CORE_STATES] = {0}, n_seconds = 0;
	struct map attempts = {0};
	const struct core_task *t;
	for (size_t i = 0; (t = map_next(&c->tasks, &i));) {
		check_task(c, t, &attempts);
		n_in_state[t->state]++;
		n_seconds += t->is_second;
	}
	require(n_seconds == c->n_seconds);
	require(!memcmp(n_in_state, c->n_in_state, sizeof n_in_state));
	map_fini(&attempts);
}

/* ---- nodes */

static void check_rooms(const struct core *c, const struct core_node *n)
{
	struct core_vector room = {0};
	bool has_room = core_node_room(c, n, &room);
	require(n->is_offered == (n->is_open && n->health != CORE_HEALTH_BLOCKED)); /* 6 */
	require(!n->free_at == !(has_room && n != c->kept));
	require(!n->whole_at == !(n->is_offered && n->whole.at[CORE_DIM_CORES]));
	require(n->cores_free == (has_room ? room.at[CORE_DIM_CORES] : 0));
	require(n->cores_whole == (n->whole_at ? n->whole.at[CORE_DIM_CORES] : 0));
	require(n->is_idle == (n->free_at && list_is_empty(&n->grown)));
	if (n->free_at)
		require(core_bracket_at(&c->free, n->free_at) == n);
	core_bracket_check(&n->local);
}

static void check_use(const struct core_node *n)
{
	struct core_vector used = {0};
	uint64_t n_tasks = 0, gpus = 0, cores[CORE_WORDS] = {0};
	list_foreach (&n->tasks, const struct core_task, link, t) {
		require(t->node == n && t->held);
		require(n->is_present || t->state == CORE_STATE_ADOPTION || /* 5 */
			t->state == CORE_STATE_ADOPTION_CANCELLED);
		for (size_t i = 0; i < CORE_DIMS; i++)
			used.at[i] += i < t->held->n_dims ? t->held->at[i] : 0;
		require(!(gpus & t->held->gpus)); /* 4 */
		gpus |= t->held->gpus;
		for (size_t i = 0; i < t->held->n_words; i++) {
			require(!(cores[i] & core_hold_cores(t->held)[i]));
			cores[i] |= core_hold_cores(t->held)[i];
		}
		n_tasks++;
	}
	require(!memcmp(&used, &n->used, sizeof used) && n_tasks == n->n_tasks && gpus == n->gpus);
	require(!n->cores || !memcmp(cores, n->cores, sizeof cores));
}

/* 14 */
static void check_move(const struct core *c, const struct core_move *m)
{
	unsigned n_live = 0;
	for (size_t i = 0; m->neighbours && i < CORE_NEIGHBOURS; i++) {
		const struct core_neighbour *b = &m->neighbours[i];
		if (!b->node)
			continue;
		n_live++;
		require(b->move == m && !list_is_empty(&b->of_node) && b->node != m->replica->node);
		require(core_node_gives(b->node) && core_node_find(c, b->node->number) == b->node);
	}
	require(n_live == m->n_live && (m->is_begun || (!n_live && !m->source && !m->is_gating)));
	require(m->is_begun || !list_is_empty(&m->link));
	require(!m->is_begun || m->source || n_live || !list_is_empty(&m->link));
	require(!m->woken_by || !m->is_begun);
	require(m->rank >= CORE_RANK_GATING && m->rank <= CORE_RANK_COPY);
}

static void check_moves(const struct core *c, const struct core_node *n)
{
	unsigned n_in = 0, n_gating = 0, n_serves = 0;
	const struct core_replica *r;
	for (size_t i = 0; (r = map_next(&n->replicas, &i));) {
		require(r->node == n && r->tree->holders[r->at] == r &&
			core_tree_find(c, r->tree->number) == r->tree); /* 13 */
		require(r->size || r->move || r->is_pinned);
		require(list_is_empty(&r->waits) || r->move);
		require(r->is_whole == (r->size && r->size >= r->tree->size));
		require(!r->move || (r->move->replica == r && !r->is_whole));
		if (!r->move)
			continue;
		check_move(c, r->move);
		n_in += r->move->is_begun;
		n_gating += r->move->is_gating;
	}
	list_foreach (&n->serves, const struct core_neighbour, of_node, b) {
		require(b->node == n && b->move->is_begun);
		n_serves++;
	}
	require(n_in == n->n_in[0] && n_gating == n->n_in[1] && n_serves == n->n_serves);
	require(n_in - n_gating <= c->o.fetches && n_gating <= 4 * c->o.fetches);
	require(!n->rack == !n->in_rack && (!n->in_rack || n->in_rack->nodes[n->rack_at] == n));
}

static bool has_slot(const struct core *c, const struct core_node *n, const struct core_move *m)
{
	return m->rank == CORE_RANK_GATING ? n->n_in[1] < 4 * c->o.fetches : n->n_in[0] - n->n_in[1] < c->o.fetches;
}

/* Nobody is forgotten who may begin. */
static void check_wanting(const struct core *c, const struct core_node *n)
{
	bool may = false;
	for (size_t i = 0; i < CORE_WANTS; i++) {
		const struct core_move *m = list_first(&n->wants[i], struct core_move, link);
		may |= m && has_slot(c, n, m);
	}
	require(!may || !n->is_present || !list_is_empty(&n->wanting));
}

static void check_nodes(const struct core *c)
{
	uint64_t n_present = 0, n_open = 0, cores = 0, cores_free = 0, n_replicas = 0, n_idle = 0;
	const struct core_node *n;
	for (size_t i = 0; (n = map_next(&c->nodes, &i));) {
		require(n->is_present || !n->is_open);
		check_use(n);
		check_rooms(c, n);
		check_moves(c, n);
		check_wanting(c, n);
		n_present += n->is_present;
		n_open += n->is_open;
		n_idle += n->is_idle;
		cores += n->cores_whole;
		cores_free += n->cores_free;
		n_replicas += n->replicas.n;
	}
	require(n_present == c->n_present && n_open == c->n_open && n_replicas == c->n_replicas);
	require(n_idle == c->n_idle && cores == c->cores && cores_free == c->cores_free);
	require(!c->kept == !c->kept_for);
	core_bracket_check(&c->free);
	core_bracket_check(&c->whole);
}

/* ---- lanes and classes */

static bool is_asked(const struct core_node *n)
{
	return !list_is_empty(&n->grown);
}

static void check_blocked(const struct core *c, const struct core_lane *l)
{
	const struct core_node *n;
	for (size_t i = 0; (n = map_next(&c->nodes, &i));) {
		bool may_go = !l->local_at || l->is_late || core_replica_find(n, l->tree);
		require(!may_go || is_asked(n) || !core_node_covers(c, n, &l->class->need)); /* 9 */
	}
}

static size_t check_lane(const struct core *c, const struct core_lane *l)
{
	bool is_in = l->queue.n && !l->class->is_stopped; /* 8 */
	bool is_anywhere = is_in && core_lane_is_anywhere(l), is_local = is_in && !is_anywhere;
	require(!l->anywhere_at == !is_anywhere && !l->local_at == !is_local);
	require(!l->late_at == !l->is_late && (!l->is_late || is_local));
	require(l->is_patient == (is_local && !l->is_late));
	require(l->is_hungry == (l->is_blocked && (l->anywhere_at || l->late_at)));
	require(list_is_empty(&l->turn) == (!l->is_patient && !l->is_hungry));
	require(!l->fresh.at == !l->is_fresh && l->is_fresh == (is_in && !l->is_blocked));
	require(l->queue.n || !l->tree); /* 7 */
	require(list_is_empty(&l->link) == (!l->queue.n || !core_class_is_watched(l->class)));
	require(!is_local || core_bracket_at(&l->tree->local, l->local_at) == l);
	if (l->fresh.at) {
		struct core_key key = core_lane_key(l);
		require(l->fresh.major == key.major && l->fresh.minor == key.minor);
	}
	if (is_in && l->is_blocked)
		check_blocked(c, l);
	return core_queue_check(&l->queue, l);
}

static size_t check_class(const struct core *c, const struct core_class *k)
{
	size_t n_queued = 0;
	require(k->is_stopped == core_class_is_stopped(k)); /* 10 */
	list_foreach (&k->lanes, const struct core_lane, link, l) {
		require(l->class == k);
		n_queued += l->queue.n;
	}
	require(!core_class_is_watched(k) || n_queued == k->n_queued);
	return k->base ? check_lane(c, k->base) : 0;
}

static void check_classes(const struct core *c)
{
	uint64_t n_queued = 0, n_of_classes = 0, n_tasks = 0;
	const struct core_lane *l;
	for (size_t i = 0; (l = map_next(&c->lanes, &i));)
		n_queued += check_lane(c, l);
	const struct core_class *first;
	for (size_t i = 0; (first = map_next(&c->classes, &i));) {
		for (const struct core_class *k = first; k; k = k->next) {
			n_queued += check_class(c, k);
			n_of_classes += k->n_queued;
			n_tasks += k->n_tasks;
		}
	}
	require(n_queued == n_of_classes && n_queued == c->n_in_state[CORE_STATE_QUEUED] &&
		n_tasks == c->tasks.n); /* 7 */
	core_heap_check(&c->fresh);
	core_heap_check(&c->due);
	core_bracket_check(&c->anywhere);
	core_bracket_check(&c->late);
}

static void check_limits(const struct core *c)
{
	const struct core_category *g;
	const struct core_counter *k;
	const struct core_task *t;
	uint64_t n_running = 0, n_counted = 0, used = 0;
	for (size_t i = 0; (t = map_next(&c->tasks, &i));) {
		n_counted += core_task_has_node(t) && t->class->category;
		for (size_t j = 0; core_task_has_node(t) && j < t->class->key.n_counters; j++)
			used += t->class->counted[j].amount;
	}
	for (size_t i = 0; (g = map_next(&c->categories, &i));)
		n_running += g->n_running;
	for (size_t i = 0; (k = map_next(&c->counters, &i));)
		used -= k->used;
	require(n_running == n_counted && !used); /* 10 */
}

/* ---- items and trees */

static void check_items(const struct core *c)
{
	const struct core_item *i;
	uint64_t n_users = 0;
	for (size_t k = 0; (i = map_next(&c->items, &k));) {
		bool is_there = i->source || i->tree->n_whole;
		require(i->state == CORE_ITEM_FAILED || (i->state == CORE_ITEM_THERE) == is_there); /* 11 */
		require(list_is_empty(&i->waits) || (i->state != CORE_ITEM_THERE && i->state != CORE_ITEM_FAILED));
		require(core_tree_find(c, i->tree->number) == i->tree && !list_is_empty(&i->of_tree));
		n_users += i->n_users;
	}
	const struct core_task *t;
	for (size_t k = 0; (t = map_next(&c->tasks, &k));)
		n_users -= t->is_user ? t->n_inputs : 0;
	require(!n_users);
}

static void check_trees(const struct core *c)
{
	const struct core_tree *t;
	uint64_t n_replicas = 0;
	for (size_t k = 0; (t = map_next(&c->trees, &k));) {
		uint32_t n_whole = 0;
		for (uint32_t i = 0; i < t->n_holders; i++) {
			require(t->holders[i]->tree == t && t->holders[i]->at == i); /* 13 */
			n_whole += t->holders[i]->is_whole;
			require(t->holders[i]->is_whole == (i < t->n_whole));
			require(!t->holders[i]->local_at == !t->is_local);
			require(!t->is_local ||
				core_bracket_at(&t->holders[i]->node->local, t->holders[i]->local_at) == t->holders[i]);
		}
		require(n_whole == t->n_whole);
		require(!t->reader || (t->reader->replica->tree == t && t->reader->replica->move == t->reader));
		require(!t->reader || t->reader->source || t->reader->woken_by || !list_is_empty(&t->reader->link));
		require(t->is_local == (t->local.n > 0)); /* 8 */
		core_bracket_check(&t->local);
		require(t->is_wide ? t->n_holders > CORE_RARE / 2 : t->n_holders <= CORE_RARE);
		n_replicas += t->n_holders;
	}
	require(n_replicas == c->n_replicas);
	const struct core_source *s;
	uint64_t n_tokens = 0;
	for (size_t k = 0; (s = map_next(&c->sources, &k));) {
		require(s->n_active <= s->limit || s->was_lowered); /* 14 */
		n_tokens += s->n_active;
	}
	require(n_tokens == c->n_tokens);
}

void core_check(const struct core *c)
{
	check_tasks(c);
	check_nodes(c);
	check_classes(c);
	check_limits(c);
	check_items(c);
	check_trees(c);
}
