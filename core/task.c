/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core_internal.h"

/* Where a task of each state is. */
enum place { PLACE_NONE, PLACE_QUEUE, PLACE_NODE };

static const enum place places[CORE_STATES] = {
	[CORE_STATE_QUEUED] = PLACE_QUEUE,
	[CORE_STATE_ADOPTION] = PLACE_NODE,
	[CORE_STATE_ADOPTION_CANCELLED] = PLACE_NODE,
	[CORE_STATE_RUNNING] = PLACE_NODE,
	[CORE_STATE_STOPPING] = PLACE_NODE,
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
	STEP(QUEUED,             START,          RUNNING,            NONE),
	STEP(QUEUED,             CANCEL,         CANCELLED,          CANCELLED),
	STEP(QUEUED,             ADOPT_OTHER,    RUNNING,            NONE),
	STEP(QUEUED,             ENDED_OTHER,    OVER,               NONE),

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

	STEP(CANCELLED,          CANCEL,         CANCELLED,          NONE),
	STEP(CANCELLED,          ENDED_OTHER,    OVER,               NONE),
};
/* clang-format on */

struct core_task *core_task_find(const struct core *c, uint64_t number)
{
	return map_get(&c->tasks, number);
}

static void enter(struct core *c, struct core_task *t, enum core_state next)
{
	t->state = next;
	c->n_in_state[next]++;
	if (places[next] == PLACE_QUEUE) {
		core_class_queue(c, t, t->losses || t->attempt);
	} else if (places[next] == PLACE_NODE) {
		assert(t->node && t->attempt);
		list_append(&t->node->tasks, &t->link);
		core_node_reserve(c, t->node, t->class);
	}
}

static void leave(struct core *c, struct core_task *t)
{
	assert(c->n_in_state[t->state]);
	c->n_in_state[t->state]--;
	if (places[t->state] == PLACE_QUEUE) {
		core_class_unqueue(c, t);
	} else if (places[t->state] == PLACE_NODE) {
		list_remove(&t->link);
		core_node_release(c, steal(t->node), t->class);
	}
}

struct core_task *core_task_new(struct core *c, uint64_t number, const struct core_task_spec *spec)
{
	assert(number);
	struct core_task *t = NEW(struct core_task);
	t->number = number;
	t->priority = spec->priority;
	t->losses = spec->losses;
	t->arrival = ++c->n_arrived;
	t->class = core_class_get(c, spec->cores ? spec->cores : 1, spec->memory);
	list_init(&t->link);
	void *before = map_put(&c->tasks, number, t);
	assert(!before);
	(void)before;
	return t;
}

void core_task_begin(struct core *c, struct core_task *t, struct core_node *n, uint64_t attempt)
{
	assert(t->state == CORE_STATE_OVER && !n == !attempt);
	t->node = n;
	t->attempt = attempt;
	enter(c, t, n ? CORE_STATE_ADOPTION : t->losses < c->crash_limit ? CORE_STATE_QUEUED : CORE_STATE_HELD);
}

void core_task_free(struct core *c, struct core_task *t)
{
	leave(c, t);
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

int core_task_step(struct core *c, struct core_task *t, enum core_event e)
{
	assert(t->state != CORE_STATE_OVER);
	const struct step *s = &steps[t->state][e];
	if (!s->is_legal)
		return -ESTALE;
	struct core_order order = {
		.kind = s->order, .task = t->number, .node = t->node ? t->node->number : 0, .attempt = t->attempt};
	if (s->order != CORE_ORDER_NONE)
		buf_put(&c->orders, &order, sizeof order);
	if (s->next == CORE_STATE_OVER) {
		core_task_forget(c, t);
		return 0;
	}
	if (places[t->state] == PLACE_NODE && places[s->next] == PLACE_NODE) {
		c->n_in_state[t->state]--;
		c->n_in_state[s->next]++;
		t->state = s->next;
		return 0;
	}
	leave(c, t);
	enter(c, t, s->next);
	return 0;
}
