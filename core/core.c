/* SPDX-License-Identifier: Apache-2.0
 *
 * Invariants, which core_check() asserts by these numbers:
 *
 * 1. Each task of the table is in one state; n_in_state[] counts them; none is OVER.
 * 2. A task is in a level of its class if and only if it is QUEUED, and in the list of a node if and only if its
 *    state has a node (ADOPTION, ADOPTION_CANCELLED, RUNNING, STOPPING). So no task runs twice.
 * 3. Of each task at most one attempt counts; unless a node lies no attempt counts for two tasks.
 * 4. What a node has in use is the sum over its tasks; room is never negative; where nothing was adopted and no offer
 *    shrank, use is within the offer.
 * 5. A node that is not present has only tasks that wait for adoption, and offers nothing.
 * 6. An open node is in the index `free` with exactly its room (nothing at its task limit), in `whole` with its offer; no other is.
 * 7. A class has a level for each priority that is queued and none else; the classes' numbers of queued tasks sum up.
 * 8. A class with queued tasks is either in `ready`, under the priority and arrival of its first task, or blocked;
 *    one without is in neither.
 * 9. A blocked class fits on no node, unless room has grown since and grown_cores and grown_memory say so.
 * 10. cores and cores_free are sums over the open nodes.
 */
#include "core/core_internal.h"

#define CRASH_LIMIT 3

struct core *core_new(const struct core_actions *actions, void *arg, const struct core_options *o)
{
	assert(actions->start && actions->stop && actions->cancelled && actions->held && actions->next_attempt);
	struct core *c = NEW(struct core);
	c->actions = *actions;
	c->arg = arg;
	c->crash_limit = o && o->crash_limit ? o->crash_limit : CRASH_LIMIT;
	list_init(&c->blocked);
	return c;
}

void core_free(struct core *c)
{
	if (!c)
		return;
	assert(!c->is_deciding);
	struct core_task *t;
	for (size_t i = 0; (t = map_next(&c->tasks, &i));)
		core_task_free(c, t);
	struct core_node *n;
	for (size_t i = 0; (n = map_next(&c->nodes, &i));)
		free(n);
	assert(!c->classes.n && !c->ready.n && list_is_empty(&c->blocked));
	map_fini(&c->tasks);
	map_fini(&c->nodes);
	map_fini(&c->classes);
	core_heap_fini(&c->ready);
	core_index_fini(&c->free);
	core_index_fini(&c->whole);
	buf_fini(&c->orders);
	free(c);
}

/* ---- tasks */

int core_task_add(struct core *c, uint64_t task, const struct core_task_spec *spec)
{
	if (core_task_find(c, task))
		return -EEXIST;
	core_task_begin(c, core_task_new(c, task, spec), NULL, 0);
	return 0;
}

int core_task_add_running(struct core *c, uint64_t task, const struct core_task_spec *spec, uint64_t node,
			  uint64_t attempt)
{
	assert(node && attempt);
	if (core_task_find(c, task))
		return -EEXIST;
	struct core_node *n = core_node_find(c, node);
	if (!n)
		n = core_node_new(c, node);
	struct core_task *t = core_task_new(c, task, spec);
	c->last_attempt = max(c->last_attempt, attempt);
	core_task_begin(c, t, n, attempt);
	return 0;
}

int core_task_cancel(struct core *c, uint64_t task)
{
	struct core_task *t = core_task_find(c, task);
	return t ? core_task_step(c, t, CORE_EVENT_CANCEL) : -ENOENT;
}

/* ---- nodes */

static void set_node(struct core *c, struct core_node *n, bool is_present, bool is_open)
{
	c->n_present += (uint64_t)is_present - n->is_present;
	c->n_open += (uint64_t)is_open - n->is_open;
	n->is_present = is_present;
	n->is_open = is_open;
	core_node_changed(c, n);
}

int core_node_add(struct core *c, uint64_t node, const struct core_node_spec *spec)
{
	struct core_node *n = core_node_find(c, node);
	if (n && n->is_present)
		return -EEXIST;
	if (!n)
		n = core_node_new(c, node);
	n->spec = *spec;
	set_node(c, n, true, true);
	return 0;
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
	n->spec = *spec;
	set_node(c, n, true, true);
	return 0;
}

static int lose(struct core *c, struct core_task *t)
{
	t->losses++;
	return core_task_step(c, t, t->losses < c->crash_limit ? CORE_EVENT_LOST : CORE_EVENT_LOST_TOO_OFTEN);
}

int core_node_lost(struct core *c, uint64_t node)
{
	struct core_node *n = core_node_find(c, node);
	if (!n)
		return -ENOENT;
	set_node(c, n, false, false);
	struct core_task *t;
	/* From the last: each goes to the front of its queue, so that they come again in the order in which they began. */
	while (!list_is_empty(&n->tasks)) {
		t = list_entry(n->tasks.prev, struct core_task, link);
		int e = lose(c, t);
		assert(!e);
		(void)e;
	}
	core_node_free(c, n);
	return 0;
}

/* ---- attempts */

static bool is_its_own(const struct core_task *t, uint64_t attempt)
{
	return core_task_has_node(t) && t->attempt == attempt;
}

int core_attempt_adopt(struct core *c, uint64_t task, uint64_t node, uint64_t attempt)
{
	struct core_node *n = core_node_find(c, node);
	if (!n || !n->is_present)
		return -ENOENT;
	struct core_task *t = core_task_find(c, task);
	if (!t || !attempt)
		return -ESTALE;
	if (is_its_own(t, attempt) && t->node == n)
		return core_task_step(c, t, CORE_EVENT_ADOPT);
	if (!core_task_allows(t, CORE_EVENT_ADOPT_OTHER))
		return -ESTALE;
	t->node = n;
	t->attempt = attempt;
	return core_task_step(c, t, CORE_EVENT_ADOPT_OTHER);
}

int core_attempt_ended(struct core *c, uint64_t task, uint64_t attempt)
{
	struct core_task *t = core_task_find(c, task);
	if (!t || !attempt)
		return -ESTALE;
	return core_task_step(c, t, is_its_own(t, attempt) ? CORE_EVENT_ENDED : CORE_EVENT_ENDED_OTHER);
}

int core_attempt_lost(struct core *c, uint64_t task, uint64_t attempt)
{
	struct core_task *t = core_task_find(c, task);
	return t && is_its_own(t, attempt) ? lose(c, t) : -ESTALE;
}

int core_attempt_returned(struct core *c, uint64_t task, uint64_t attempt)
{
	struct core_task *t = core_task_find(c, task);
	return t && is_its_own(t, attempt) ? core_task_step(c, t, CORE_EVENT_LOST) : -ESTALE;
}

/* ---- decisions */

/* Calls what an order asks for if it is still true; whatever it needs is looked up before, since a task that was
 * told about may be gone when the action returns. */
static bool carry_out(struct core *c, const struct core_order *o)
{
	struct core_task *t = core_task_find(c, o->task);
	const struct core_node *n = core_node_find(c, o->node);
	switch (o->kind) {
	case CORE_ORDER_NONE:
		return false;
	case CORE_ORDER_STOP:
		if (!t || t->state != CORE_STATE_STOPPING || t->attempt != o->attempt)
			return false;
		c->actions.stop(c->arg, o->task, o->node, o->attempt, false);
		return true;
	case CORE_ORDER_FENCE:
		if (!n)
			return false;
		c->actions.stop(c->arg, o->task, o->node, o->attempt, true);
		return true;
	case CORE_ORDER_CANCELLED:
		if (!t)
			return false;
		assert(t->state == CORE_STATE_CANCELLED); /* no step leads elsewhere but to its end */
		core_task_forget(c, t);
		c->actions.cancelled(c->arg, o->task);
		return true;
	case CORE_ORDER_HELD:
		if (!t || t->state != CORE_STATE_HELD)
			return false;
		c->actions.held(c->arg, o->task, t->losses);
		return true;
	}
	return false;
}

static bool take_order(struct core *c)
{
	bool is_done = false;
	while (c->orders.n && !is_done) {
		struct core_order o;
		memcpy(&o, c->orders.at, sizeof o);
		buf_consume(&c->orders, sizeof o);
		is_done = carry_out(c, &o);
	}
	return is_done;
}

static bool start_one(struct core *c)
{
	struct core_task *t;
	struct core_node *n;
	if (!core_match_next(c, &t, &n))
		return false;
	uint64_t attempt = c->actions.next_attempt(c->arg);
	assert(attempt > c->last_attempt);
	c->last_attempt = attempt;
	t->node = n;
	t->attempt = attempt;
	int e = core_task_step(c, t, CORE_EVENT_START);
	assert(!e);
	(void)e;
	c->actions.start(c->arg, t->number, n->number, attempt);
	return true;
}

size_t core_decide(struct core *c, size_t most)
{
	assert(!c->is_deciding);
	c->is_deciding = true;
	size_t n = 0;
	while ((!most || n < most) && (take_order(c) || start_one(c)))
		n++;
	c->is_deciding = false;
	return n;
}

/* ---- looking in */

enum core_reason core_task_reason(const struct core *c, uint64_t task)
{
	const struct core_task *t = core_task_find(c, task);
	if (!t)
		return CORE_REASON_NONE;
	switch (t->state) {
	case CORE_STATE_ADOPTION:
		return CORE_REASON_ADOPTION;
	case CORE_STATE_HELD:
		return CORE_REASON_CRASHES;
	case CORE_STATE_QUEUED:
		if (!c->n_open)
			return CORE_REASON_NO_NODE;
		if (!core_index_find(&c->whole, t->class->cores, t->class->memory))
			return CORE_REASON_TOO_LARGE;
		return CORE_REASON_NODES_BUSY;
	default:
		return CORE_REASON_NONE;
	}
}

const char *core_reason_text(enum core_reason r)
{
	static const char *const texts[] = {
		[CORE_REASON_NONE] = "it does not wait",
		[CORE_REASON_NO_NODE] = "no node is connected",
		[CORE_REASON_NODES_BUSY] = "the nodes that could run it are full",
		[CORE_REASON_TOO_LARGE] = "no connected node has as many cores or as much memory",
		[CORE_REASON_ADOPTION] = "it may be running on a node that is not back yet",
		[CORE_REASON_CRASHES] = "it is held: nodes were lost under it too often",
	};
	return (size_t)r < countof(texts) ? texts[r] : "unknown";
}

void core_numbers(const struct core *c, struct core_numbers *n)
{
	const uint64_t *in = c->n_in_state;
	const struct core_room *largest = core_index_find(&c->whole, 1, 0);
	*n = (struct core_numbers){
		.queued = in[CORE_STATE_QUEUED],
		.running = in[CORE_STATE_RUNNING] + in[CORE_STATE_STOPPING] + in[CORE_STATE_ADOPTION] +
			   in[CORE_STATE_ADOPTION_CANCELLED],
		.held = in[CORE_STATE_HELD],
		.nodes = c->n_present,
		.cores = c->cores,
		.cores_free = c->cores_free,
		.largest_cores = largest ? largest->cores : 0,
		.largest_memory = largest ? largest->memory : 0,
	};
}
