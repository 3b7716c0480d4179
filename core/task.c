/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core_internal.h"

/* Where a task of each state is. */
enum place { PLACE_NONE, PLACE_QUEUE, PLACE_NODE };

static const enum place places[CORE_STATES] = {
	[CORE_STATE_QUEUED] = PLACE_QUEUE,  [CORE_STATE_STAGING] = PLACE_NODE,
	[CORE_STATE_ADOPTION] = PLACE_NODE, [CORE_STATE_ADOPTION_CANCELLED] = PLACE_NODE,
	[CORE_STATE_RUNNING] = PLACE_NODE,  [CORE_STATE_STOPPING] = PLACE_NODE,
};

struct step {
	bool is_legal;
	enum core_state next;
	enum core_order_kind order;
};

/* Fencing: an attempt that was never adopted needs no order, its node lists it when it is back and is told then.
 * Stopping: a node that comes back may not have heard of the stop, so adopting repeats it. */
#define STEP(from, event, next, order) \
	[CORE_STATE_##from][CORE_EVENT_##event] = {true, CORE_STATE_##next, CORE_ORDER_##order}
/* clang-format off */
static const struct step steps[CORE_STATES][CORE_EVENTS] = {
	STEP(WAITING,            READY,          QUEUED,             NONE),
	STEP(WAITING,            CANCEL,         CANCELLED,          CANCELLED),
	STEP(WAITING,            ADOPT_OTHER,    RUNNING,            NONE),
	STEP(WAITING,            ENDED_OTHER,    OVER,               NONE),
	STEP(WAITING,            FAIL,           FAILED,             FAILED),

	STEP(QUEUED,             PLACE,          STAGING,            NONE),
	STEP(QUEUED,             AWAIT,          QUEUED,             NONE),
	STEP(QUEUED,             CANCEL,         CANCELLED,          CANCELLED),
	STEP(QUEUED,             ADOPT_OTHER,    RUNNING,            NONE),
	STEP(QUEUED,             ENDED_OTHER,    OVER,               NONE),
	STEP(QUEUED,             FAIL,           FAILED,             FAILED),

	STEP(STAGING,            START,          RUNNING,            NONE),
	STEP(STAGING,            CANCEL,         CANCELLED,          CANCELLED),
	STEP(STAGING,            ADOPT_OTHER,    RUNNING,            NONE),
	STEP(STAGING,            ENDED_OTHER,    OVER,               NONE),
	STEP(STAGING,            LOST,           QUEUED,             NONE),
	STEP(STAGING,            FAIL,           FAILED,             FAILED),

	STEP(ADOPTION,           CANCEL,         ADOPTION_CANCELLED, NONE),
	STEP(ADOPTION,           ADOPT,          RUNNING,            NONE),
	STEP(ADOPTION,           ENDED,          OVER,               NONE),
	STEP(ADOPTION,           ENDED_OTHER,    OVER,               NONE),
	STEP(ADOPTION,           LOST,           QUEUED,             NONE),
	STEP(ADOPTION,           LOST_TOO_OFTEN, HELD,               HELD),

	STEP(ADOPTION_CANCELLED, CANCEL,         ADOPTION_CANCELLED, NONE),
	STEP(ADOPTION_CANCELLED, ADOPT,          STOPPING,           STOP),
	STEP(ADOPTION_CANCELLED, ENDED,          OVER,               NONE),
	STEP(ADOPTION_CANCELLED, ENDED_OTHER,    OVER,               NONE),
	STEP(ADOPTION_CANCELLED, LOST,           CANCELLED,          CANCELLED),
	STEP(ADOPTION_CANCELLED, LOST_TOO_OFTEN, CANCELLED,          CANCELLED),

	STEP(RUNNING,            CANCEL,         STOPPING,           STOP),
	STEP(RUNNING,            ADOPT,          RUNNING,            NONE),
	STEP(RUNNING,            ENDED,          OVER,               NONE),
	STEP(RUNNING,            ENDED_OTHER,    OVER,               FENCE),
	STEP(RUNNING,            LOST,           QUEUED,             NONE),
	STEP(RUNNING,            LOST_TOO_OFTEN, HELD,               HELD),

	STEP(STOPPING,           CANCEL,         STOPPING,           NONE),
	STEP(STOPPING,           ADOPT,          STOPPING,           STOP),
	STEP(STOPPING,           ENDED,          OVER,               NONE),
	STEP(STOPPING,           ENDED_OTHER,    OVER,               FENCE),
	STEP(STOPPING,           LOST,           CANCELLED,          CANCELLED),
	STEP(STOPPING,           LOST_TOO_OFTEN, CANCELLED,          CANCELLED),

	STEP(HELD,               CANCEL,         CANCELLED,          CANCELLED),
	STEP(HELD,               ADOPT_OTHER,    RUNNING,            NONE),
	STEP(HELD,               ENDED_OTHER,    OVER,               NONE),
	STEP(HELD,               RELEASE,        QUEUED,             NONE),

	STEP(CANCELLED,          CANCEL,         CANCELLED,          NONE),
	STEP(CANCELLED,          ENDED_OTHER,    OVER,               NONE),

	STEP(FAILED,             CANCEL,         CANCELLED,          CANCELLED),
	STEP(FAILED,             ENDED_OTHER,    OVER,               NONE),

	STEP(DONE,               AGAIN,          QUEUED,             NONE),
};
/* clang-format on */

static void set_user(struct core_task *t, bool is_user)
{
	if (t->is_user == is_user)
		return;
	t->is_user = is_user;
	for (uint32_t i = 0; i < t->n_inputs; i++)
		t->items[i]->n_users += is_user ? 1 : UINT64_MAX;
}

struct core_task *core_task_find(const struct core *c, uint64_t number)
{
	return map_get(&c->tasks, number);
}

void core_order(struct core *c, enum core_order_kind kind, uint64_t task, uint64_t node, uint64_t attempt)
{
	struct core_order o = {.kind = kind, .task = task, .node = node, .attempt = attempt};
	buf_put(&c->orders, &o, sizeof o);
}

/* Where others fail. */
static bool is_held_back(const struct core *c, const struct core_task *t)
{
	return t->holds || !c->actions.failed;
}

/* Its place in the queue, or what it waits for, or why it will never run. */
static enum core_state queue_or_wait(struct core *c, struct core_task *t)
{
	if (!t->n_inputs || core_wait_has_all(t))
		return CORE_STATE_QUEUED;
	if (!core_wait_failed(t))
		return CORE_STATE_WAITING;
	t->reason = CORE_REASON_INPUT_FAILED;
	if (is_held_back(c, t)) {
		core_order(c, CORE_ORDER_HELD, t->number, 0, 0);
		return CORE_STATE_HELD;
	}
	core_order(c, CORE_ORDER_FAILED, t->number, 0, 0);
	return CORE_STATE_FAILED;
}

static void begin_waiting(struct core *c, struct core_task *t)
{
	core_wait_begin(t);
	core_anchor_follow(c, t);
	for (uint32_t i = 0; i < t->n_inputs; i++)
		if (t->items[i]->state == CORE_ITEM_LOST)
			core_order(c, CORE_ORDER_AGAIN, t->items[i]->number, 0, 0);
}

void core_task_enter(struct core *c, struct core_task *t, enum core_state next)
{
	if (next == CORE_STATE_QUEUED)
		next = queue_or_wait(c, t);
	t->state = (uint8_t)next;
	c->n_in_state[next]++;
	set_user(t, next != CORE_STATE_DONE);
	if (places[next] == PLACE_NODE) {
		assert(t->node);
		list_append(&t->node->tasks, &t->link);
		core_node_reserve(c, t->node, t);
	} else if (next == CORE_STATE_QUEUED) {
		core_lane_put(c, core_lane_get(c, t->class, core_anchor_find(c, t)), t, t->losses || t->attempt);
	} else if (next == CORE_STATE_WAITING) {
		begin_waiting(c, t);
	}
}

static void leave(struct core *c, struct core_task *t)
{
	assert(c->n_in_state[t->state]);
	c->n_in_state[t->state]--;
	if (t->state == CORE_STATE_WAITING)
		core_anchor_leave_group(c, t);
	core_wait_end(t);
	if (places[t->state] == PLACE_QUEUE) {
		core_lane_remove(c, t);
	} else if (places[t->state] == PLACE_NODE) {
		list_remove(&t->link);
		core_node_release(c, steal(t->node), t);
	}
}

/* Borrows the items; -ENOENT if one is not declared. */
static int name_items(struct core *c, struct core_task *t, const struct core_task_spec *spec)
{
	for (size_t i = 0; i < spec->n_inputs + spec->n_outputs; i++) {
		bool is_input = i < spec->n_inputs;
		struct core_item *it =
			core_item_find(c, is_input ? spec->inputs[i] : spec->outputs[i - spec->n_inputs]);
		if (!it || it->is_forgotten)
			return -ENOENT;
		if (!is_input && (it->producer || it->source))
			return -EEXIST;
		t->items[i] = it;
	}
	t->n_inputs = (uint32_t)spec->n_inputs;
	t->n_outputs = (uint32_t)spec->n_outputs;
	for (uint32_t i = 0; i < t->n_inputs + t->n_outputs; i++)
		t->items[i]->n_refs++;
	for (uint32_t i = 0; i < t->n_outputs; i++)
		t->items[t->n_inputs + i]->producer = t;
	return 0;
}

int core_task_new(struct core *c, uint64_t number, const struct core_task_spec *spec, struct core_task **to)
{
	assert(number && number < CORE_GROUP);
	size_t n_items = spec->n_inputs + spec->n_outputs;
	_free_ struct core_task *t = xcalloc(1, sizeof *t + n_items * sizeof(struct core_item *));
	struct core_class *k;
	int e = core_class_get(c, spec, &k);
	if (e)
		return e;
	e = n_items ? name_items(c, t, spec) : 0;
	if (e) {
		core_class_put(c, k);
		return e;
	}
	t->number = number;
	t->priority = spec->priority;
	t->losses = (uint16_t)min(spec->losses, (unsigned)UINT16_MAX);
	t->when = (uint8_t)spec->when;
	t->holds = spec->holds;
	t->class = k;
	t->arrival = core_user_turn(c, k->user);
	list_init(&t->link);
	if (spec->deadline_usec) {
		t->deadline = NEW(struct core_deadline);
		t->deadline->task = t;
		core_timer_set(c, &t->deadline->timer, CORE_TIMER_DEADLINE, spec->deadline_usec);
	}
	void *before = map_put(&c->tasks, number, t);
	assert(!before);
	(void)before;
	*to = steal(t);
	return 0;
}

void core_task_begin(struct core *c, struct core_task *t, struct core_node *n, uint64_t attempt)
{
	assert(t->state == CORE_STATE_OVER && !n == !attempt);
	t->node = n;
	t->attempt = attempt;
	t->reason = CORE_REASON_CRASHES;
	core_task_enter(c, t,
			n                              ? CORE_STATE_ADOPTION
			: t->losses < c->o.crash_limit ? CORE_STATE_QUEUED
						       : CORE_STATE_HELD);
}

static void end_deadline(struct core *c, struct core_task *t)
{
	if (t->deadline)
		core_timer_stop(c, &t->deadline->timer);
	free(steal(t->deadline));
}

void core_task_free(struct core *c, struct core_task *t)
{
	leave(c, t);
	set_user(t, false);
	end_deadline(c, t);
	for (uint32_t i = 0; i < t->n_outputs; i++)
		t->items[t->n_inputs + i]->producer = NULL;
	for (uint32_t i = 0; i < t->n_inputs + t->n_outputs; i++) {
		t->items[i]->n_refs--;
		core_item_put(c, t->items[i]);
	}
	core_class_put(c, t->class);
	free(t);
}

void core_task_forget(struct core *c, struct core_task *t)
{
	map_remove(&c->tasks, t->number);
	core_task_free(c, t);
}

bool core_task_allows(const struct core_task *t, enum core_event e)
{
	return steps[t->state][e].is_legal;
}

bool core_task_has_node(const struct core_task *t)
{
	return places[t->state] == PLACE_NODE;
}

bool core_task_is_kept(const struct core_task *t)
{
	for (uint32_t i = 0; i < t->n_outputs; i++) {
		const struct core_item *made = t->items[t->n_inputs + i];
		if ((!made->is_forgotten || made->n_refs > 1) && !made->source && made->state == CORE_ITEM_THERE)
			return true;
	}
	return false;
}

/* From one state with a node to another it keeps its room there. */
static void stay(struct core *c, struct core_task *t, enum core_state next)
{
	c->n_in_state[t->state]--;
	c->n_in_state[next]++;
	t->state = (uint8_t)next;
	core_wait_end(t);
	if (next != CORE_STATE_RUNNING)
		list_remove(&t->held->running);
}

int core_task_step_to(struct core *c, struct core_task *t, enum core_event e, struct core_node *n)
{
	assert(t->state != CORE_STATE_OVER);
	const struct step *s = &steps[t->state][e];
	if (!s->is_legal)
		return -ESTALE;
	enum core_state next = s->next;
	if (core_second_leaves(c, t, e, next))
		return 0;
	enum core_order_kind order = s->order;
	/* Nobody can release or cancel what was over: who needs what it was to make must not wait for that. */
	if (next == CORE_STATE_HELD && t->is_again && !is_held_back(c, t)) {
		t->reason = CORE_REASON_CRASHES;
		next = CORE_STATE_FAILED;
		order = CORE_ORDER_FAILED;
	}
	if (next == CORE_STATE_FAILED && is_held_back(c, t)) {
		next = CORE_STATE_HELD;
		order = CORE_ORDER_HELD;
	}
	if (order != CORE_ORDER_NONE)
		core_order(c, order, t->number, core_task_has_node(t) ? t->node->number : 0, t->attempt);
	if (next == CORE_STATE_HELD && e != CORE_EVENT_FAIL)
		t->reason = CORE_REASON_CRASHES;
	if (e == CORE_EVENT_AGAIN)
		t->is_again = true;
	if (next == CORE_STATE_OVER && core_task_is_kept(t))
		next = CORE_STATE_DONE;
	if (next == CORE_STATE_RUNNING || next == CORE_STATE_DONE)
		end_deadline(c, t);
	if (next == CORE_STATE_OVER) {
		core_task_forget(c, t);
		return 0;
	}
	if (core_task_has_node(t) && places[next] == PLACE_NODE && (!n || n == t->node)) {
		stay(c, t, next);
		return 0;
	}
	leave(c, t);
	if (n)
		t->node = n;
	core_task_enter(c, t, next);
	return 0;
}

int core_task_step(struct core *c, struct core_task *t, enum core_event e)
{
	return core_task_step_to(c, t, e, NULL);
}

/* What was only to be started there is not charged with the loss. */
int core_task_lose(struct core *c, struct core_task *t)
{
	if (t->state == CORE_STATE_STAGING)
		return core_task_step(c, t, CORE_EVENT_LOST);
	t->losses++;
	return core_task_step(c, t, t->losses < c->o.crash_limit ? CORE_EVENT_LOST : CORE_EVENT_LOST_TOO_OFTEN);
}
