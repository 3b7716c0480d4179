/* SPDX-License-Identifier: Apache-2.0
 * Two attempts of one task. The second is a task of its own with the same inputs and no outputs, of which nobody outside knows: its
 * number has the highest bit but one set. Whoever ends first ends both; where the first is lost the second takes its place. */
#include "core/core_internal.h"

struct core_task *core_task_other(const struct core_task *t)
{
	return t->held ? t->held->other : NULL;
}

struct core_task *core_task_second(struct core *c, struct core_task *t, struct core_node *n)
{
	assert(t->state == CORE_STATE_RUNNING && !t->is_second && !t->held->other && t->node != n);
	struct core_task *s = xcalloc(1, sizeof *s + t->n_inputs * sizeof(struct core_item *));
	s->number = t->number | CORE_SECOND;
	s->arrival = t->arrival;
	s->priority = t->priority;
	s->class = t->class;
	s->class->n_tasks++;
	s->when = t->when;
	s->is_second = true;
	s->n_inputs = t->n_inputs;
	for (uint32_t i = 0; i < t->n_inputs; i++) {
		s->items[i] = t->items[i];
		s->items[i]->n_refs++;
	}
	list_init(&s->link);
	map_put(&c->tasks, s->number, s);
	c->n_seconds++;
	s->node = n;
	core_task_enter(c, s, CORE_STATE_STAGING);
	s->held->other = t;
	t->held->other = s;
	return s;
}

void core_task_end_second(struct core *c, struct core_task *s, bool is_fenced)
{
	struct core_task *t = s->held->other;
	assert(s->is_second && t->held->other == s);
	t->held->other = NULL;
	c->n_seconds--;
	if (is_fenced && s->state == CORE_STATE_RUNNING)
		core_order(c, CORE_ORDER_FENCE, t->number, s->node->number, s->attempt);
	core_task_forget(c, s);
}

/* The second one is the one from here on, with the room that it has. */
static void take_place(struct core *c, struct core_task *t, struct core_task *s)
{
	list_remove(&t->link);
	core_node_release(c, t->node, t);
	t->held = steal(s->held);
	t->held->task = t;
	t->held->other = NULL;
	t->node = steal(s->node);
	t->attempt = s->attempt;
	list_remove(&s->link);
	list_append(&t->node->tasks, &t->link);
	c->n_seconds--;
	c->n_in_state[s->state]--;
	c->n_in_state[CORE_STATE_OVER]++;
	s->state = CORE_STATE_OVER;
	core_task_forget(c, s);
}

/* Whether that was all: a second attempt that goes nowhere is forgotten, one that runs takes the place of a lost one. */
bool core_second_leaves(struct core *c, struct core_task *t, enum core_event e, enum core_state next)
{
	struct core_task *other = core_task_other(t);
	if (!other || next == CORE_STATE_RUNNING)
		return false;
	if (t->is_second) {
		core_task_end_second(c, t, false);
		return true;
	}
	bool is_lost = e == CORE_EVENT_LOST || e == CORE_EVENT_LOST_TOO_OFTEN;
	if (is_lost && other->state == CORE_STATE_RUNNING) {
		take_place(c, t, other);
		return true;
	}
	core_task_end_second(c, other, true);
	return false;
}
