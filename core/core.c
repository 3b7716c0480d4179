/* SPDX-License-Identifier: Apache-2.0
 *
 * Invariants, which core_check() asserts by these numbers:
 *
 * 1. Each task of the table is in one state; n_in_state[] counts them; none is OVER.
 * 2. A task is in a lane if and only if it is QUEUED, and in the list of a node if and only if its state has a node (STAGING,
 *    ADOPTION, ADOPTION_CANCELLED, RUNNING, STOPPING).
 * 3. Of each task at most one attempt counts; unless a node lies no attempt counts for two tasks.
 * 4. What a node has in use is the sum over its tasks, no core or GPU is handed out twice; room is never negative; where nothing
 *    was adopted and no offer shrank, use is within the offer.
 * 5. A node that is not present has only tasks that wait for adoption, and offers nothing.
 * 6. An open node that is not blocked is in `free` with exactly its room (not at its task limit, not while it is kept), in
 *    `whole` with its offer; no other is. cores and cores_free are the sums.
 * 7. A lane's tasks are of its class, the numbers of queued tasks sum up; a lane with a tree is not empty.
 * 8. A lane that is not empty and whose class is not stopped is in `anywhere`, or in the bracket of each holder of its tree, and
 *    in `late` too if its first task has waited long enough; any other is in none of them. If it is not blocked it is in `fresh`.
 * 9. A blocked lane fits on no node that it may go to, but for those in `grown` and `asked`, and the one that is kept.
 * 10. What runs of a category, and what is used of a counter, is the sum over the tasks with a node; a class knows whether it is
 *     stopped.
 * 11. An item is THERE if and only if it has a source or its tree is whole somewhere; n_users counts the tasks that are not over
 *     nor DONE and name it as an input.
 * 12. A task is WAITING if and only if an input is not THERE, and counts those.
 * 13. A replica is in its node's map and its tree's array; it has bytes, or they are on the way, or it is pinned to a group.
 * 14. n_in and a source's n_active count the moves under way; none is over its limit. Who is told to fetch something has a token, or
 *     neighbours; these are nodes that give, and know of which moves they are. Of one tree at most one move is the reader: it has a
 *     token or is in line for one. A move that is not under way is in the wants of its node, parked at its tree or source, or woken.
 * 15. A second attempt belongs to a RUNNING task, on another node; n_seconds counts them. Besides these no task runs twice.
 */
#include "core/core_internal.h"

#define CRASH_LIMIT 3
#define FETCHES 4
#define TOKEN_USEC UINT64_C(60000000)
#define RATE UINT64_C(125000000)
#define LATE_AT_ONCE 4096u

struct core *core_new(const struct core_actions *actions, void *arg, const struct core_options *o)
{
	assert(actions->start && actions->stop && actions->cancelled && actions->held && actions->next_attempt);
	struct core *c = NEW(struct core);
	c->actions = *actions;
	c->arg = arg;
	if (o)
		c->o = *o;
	c->o.crash_limit = c->o.crash_limit ? c->o.crash_limit : CRASH_LIMIT;
	c->o.fetches = c->o.fetches ? c->o.fetches : FETCHES;
	c->random = (c->o.seed ? c->o.seed : 1) * UINT64_C(0x9e3779b97f4a7c15);
	c->o.token_usec = c->o.token_usec ? c->o.token_usec : TOKEN_USEC;
	c->rate = c->o.rate ? c->o.rate : RATE;
	c->n_dims = CORE_DIM_NAMED;
	c->anywhere.n_dims = c->late.n_dims = c->free.n_dims = c->whole.n_dims = c->n_dims;
	for (size_t i = 0; i < CORE_PATIENT; i++)
		list_init(&c->patient[i]);
	list_init(&c->grown);
	list_init(&c->asked);
	list_init(&c->hungry);
	list_init(&c->slow);
	for (size_t i = 0; i < CORE_WANTS; i++)
		list_init(&c->wanting[i]);
	list_init(&c->woken);
	list_init(&c->lonely);
	return c;
}

static void drop_replicas(struct core *c, struct core_node *n)
{
	struct core_replica *r;
	for (size_t i = 0; (r = map_next(&n->replicas, &i));) {
		struct core_tree *t = r->tree;
		if (r->move)
			core_move_end(c, r->move);
		bool was_whole = r->is_whole;
		core_replica_free(c, r);
		if (was_whole)
			core_move_orphaned(c, t);
		core_supply_settle_all(c, t);
		core_tree_put(c, t);
	}
}

static void free_names(struct core *c)
{
	struct core_category *g;
	struct core_counter *k;
	struct core_user *u;
	struct core_source *s;
	for (size_t i = 0; (g = map_next(&c->categories, &i)); free(g)) {
		free(g->memory.counts);
		free(g->disk.counts);
		free(g->walls.counts);
		free(g->name);
	}
	for (size_t i = 0; (k = map_next(&c->counters, &i)); free(k))
		free(k->name);
	for (size_t i = 0; (u = map_next(&c->users, &i));)
		free(u);
	for (size_t i = 0; (s = map_next(&c->sources, &i));)
		free(s);
	core_names_fini(&c->kinds);
	core_names_fini(&c->features);
}

static void fini_indexes(struct core *c)
{
	struct map *maps[] = {&c->tasks, &c->nodes,   &c->classes,    &c->lanes,    &c->items, &c->trees,
			      &c->users, &c->sources, &c->categories, &c->counters, &c->racks};
	for (size_t i = 0; i < countof(maps); i++)
		map_fini(maps[i]);
	core_heap_fini(&c->fresh);
	core_heap_fini(&c->due);
	core_bracket_fini(&c->anywhere);
	core_bracket_fini(&c->late);
	core_bracket_fini(&c->free);
	core_bracket_fini(&c->whole);
	buf_fini(&c->orders);
	buf_fini(&c->bad);
}

static void set_node(struct core *c, struct core_node *n, bool is_present, bool is_open)
{
	c->n_present += (uint64_t)is_present - n->is_present;
	c->n_open += (uint64_t)is_open - n->is_open;
	n->is_present = is_present;
	n->is_open = is_open;
	core_node_changed(c, n);
}

void core_free(struct core *c)
{
	if (!c)
		return;
	assert(!c->is_deciding);
	struct core_task *t;
	struct core_node *n;
	struct core_item *it;
	for (size_t i = 0; (t = map_next(&c->tasks, &i));)
		core_task_free(c, t);
	for (size_t i = 0; (n = map_next(&c->nodes, &i));) {
		set_node(c, n, false, false);
		core_neighbours_leave(c, n);
		drop_replicas(c, n);
	}
	for (size_t i = 0; (n = map_next(&c->nodes, &i));)
		core_node_free(c, n);
	for (size_t i = 0; (it = map_next(&c->items, &i));)
		core_item_free(c, it);
	assert(!c->classes.n && !c->fresh.n && !c->trees.n && !c->anywhere.n && !c->late.n && !c->n_moves);
	free_names(c);
	fini_indexes(c);
	free(c);
}

/* ---- time */

/* Who waits for a tree that it has may be told of it. */
static void gives_again(struct core *c, const struct core_node *n)
{
	const struct core_replica *r;
	for (size_t i = 0; (r = map_next(&n->replicas, &i));)
		if (r->is_whole)
			core_move_unpark(c, r->tree);
}

static void wake(struct core *c, struct core_timer *timer)
{
	struct core_task *t;
	core_timer_stop(c, timer);
	switch (timer->kind) {
	case CORE_TIMER_DEADLINE:
		t = container_of(timer, struct core_deadline, timer)->task;
		if (!core_task_allows(t, CORE_EVENT_FAIL))
			break;
		t->reason = CORE_REASON_DEADLINE;
		core_task_step(c, t, CORE_EVENT_FAIL);
		break;
	case CORE_TIMER_TOKEN:
		core_move_due(c, container_of(timer, struct core_move, token));
		break;
	case CORE_TIMER_SLOW:
		core_slow_due(c, container_of(timer, struct core_category, slow));
		break;
	case CORE_TIMER_BLOCKED:
		core_health_unblock(c, container_of(timer, struct core_node, blocked));
		break;
	case CORE_TIMER_SWEEP:
		core_supply_sweep(c);
		break;
	case CORE_TIMER_SHUNNED:
		gives_again(c, container_of(timer, struct core_node, shunned));
		break;
	}
}

void core_set_time(struct core *c, uint64_t now_usec)
{
	struct core_link *first;
	c->now_usec = max(c->now_usec, now_usec);
	while ((first = core_heap_first(&c->due)) && first->major <= c->now_usec)
		wake(c, container_of(first, struct core_timer, link));
	/* The rest with the next call, which is due at once: where a million begin to be late together nobody waits for all. */
	struct core_lane *l;
	for (unsigned i = 0; i < LATE_AT_ONCE && (l = core_patient_first(c)) && l->late_usec <= c->now_usec; i++)
		core_lane_late(c, l);
}

uint64_t core_next_due(const struct core *c)
{
	const struct core_link *first = core_heap_first(&c->due);
	const struct core_lane *l = core_patient_first(c);
	return min(first ? first->major : UINT64_MAX, l ? l->late_usec : UINT64_MAX);
}

/* ---- tasks */

int core_task_add(struct core *c, uint64_t task, const struct core_task_spec *spec)
{
	struct core_task *t;
	if (core_task_find(c, task))
		return -EEXIST;
	int e = core_task_new(c, task, spec, &t);
	if (!e)
		core_task_begin(c, t, NULL, 0);
	return e;
}

int core_task_add_running(struct core *c, uint64_t task, const struct core_task_spec *spec, uint64_t node,
			  uint64_t attempt)
{
	assert(node && attempt);
	struct core_task *t;
	if (core_task_find(c, task))
		return -EEXIST;
	int e = core_task_new(c, task, spec, &t);
	if (e)
		return e;
	struct core_node *n = core_node_find(c, node);
	if (!n)
		n = core_node_new(c, node);
	c->last_attempt = max(c->last_attempt, attempt);
	core_task_begin(c, t, n, attempt);
	return 0;
}

int core_task_cancel(struct core *c, uint64_t task)
{
	struct core_task *t = core_task_find(c, task);
	return t && t->state != CORE_STATE_DONE ? core_task_step(c, t, CORE_EVENT_CANCEL) : -ENOENT;
}

int core_task_release(struct core *c, uint64_t task)
{
	struct core_task *t = core_task_find(c, task);
	if (!t)
		return -ENOENT;
	if (!core_task_allows(t, CORE_EVENT_RELEASE))
		return -ESTALE;
	t->losses = 0;
	return core_task_step(c, t, CORE_EVENT_RELEASE);
}

/* ---- nodes */

int core_node_add(struct core *c, uint64_t node, const struct core_node_spec *spec)
{
	struct core_node *n = core_node_find(c, node);
	if (n && n->is_present)
		return -EEXIST;
	bool is_new = !n;
	if (is_new)
		n = core_node_new(c, node);
	int e = core_node_offer(c, n, spec);
	if (e && is_new)
		core_node_free(c, n);
	if (!e) {
		n->is_mute = false;
		set_node(c, n, true, true);
	}
	return e;
}

int core_node_set(struct core *c, uint64_t node, const struct core_node_spec *spec)
{
	struct core_node *n = core_node_find(c, node);
	if (!n || !n->is_present)
		return -ENOENT;
	int e = core_node_offer(c, n, spec);
	if (!e)
		core_node_changed(c, n);
	return e;
}

int core_node_suspend(struct core *c, uint64_t node)
{
	struct core_node *n = core_node_find(c, node);
	if (!n || !n->is_present)
		return -ENOENT;
	set_node(c, n, true, false);
	return 0;
}

int core_node_resume(struct core *c, uint64_t node, const struct core_node_spec *spec)
{
	struct core_node *n = core_node_find(c, node);
	if (!n || !n->is_present)
		return -ENOENT;
	int e = core_node_offer(c, n, spec);
	if (!e)
		set_node(c, n, true, true);
	return e;
}

int core_node_serve(struct core *c, uint64_t node, bool serves)
{
	struct core_node *n = core_node_find(c, node);
	if (!n || !n->is_present)
		return -ENOENT;
	if (n->is_mute == !serves)
		return 0;
	n->is_mute = !serves;
	if (n->is_mute) {
		core_neighbours_leave(c, n);
		core_move_unread(c, n);
	} else {
		gives_again(c, n);
	}
	return 0;
}

int core_node_lost(struct core *c, uint64_t node)
{
	struct core_node *n = core_node_find(c, node);
	if (!n)
		return -ENOENT;
	set_node(c, n, false, false);
	/* From the last: each goes to the front of its queue, so that they come again in the order in which they began. */
	while (!list_is_empty(&n->tasks)) {
		int e = core_task_lose(c, list_entry(n->tasks.prev, struct core_task, link));
		assert(!e);
		(void)e;
	}
	core_neighbours_leave(c, n);
	drop_replicas(c, n);
	core_node_free(c, n);
	return 0;
}
