/* SPDX-License-Identifier: Apache-2.0
 * The events of attempts: of the one that counts, of a second one (slow.c), and of others that turn up. */
#include "core/core_internal.h"

static bool is_its_own(const struct core_task *t, uint64_t attempt)
{
	return core_task_has_node(t) && t->state != CORE_STATE_STAGING && t->attempt == attempt;
}

/* The task, or its second attempt if it is that one's; NULL: it is nobody's. */
static struct core_task *find_its_own(const struct core *c, uint64_t task, uint64_t attempt)
{
	struct core_task *t = core_task_find(c, task);
	if (!t || is_its_own(t, attempt))
		return t;
	struct core_task *other = core_task_other(t);
	return other && is_its_own(other, attempt) ? other : NULL;
}

int core_attempt_adopt(struct core *c, uint64_t task, uint64_t node, uint64_t attempt)
{
	struct core_node *n = core_node_find(c, node);
	if (!n || !n->is_present)
		return -ENOENT;
	struct core_task *t = core_task_find(c, task), *own = find_its_own(c, task, attempt);
	if (!t || !attempt)
		return -ESTALE;
	if (own && own->node == n)
		return own == t ? core_task_step(c, t, CORE_EVENT_ADOPT) : 0;
	if (!core_task_allows(t, CORE_EVENT_ADOPT_OTHER))
		return -ESTALE;
	t->attempt = attempt;
	return core_task_step_to(c, t, CORE_EVENT_ADOPT_OTHER, n);
}

int core_attempt_ended(struct core *c, uint64_t task, uint64_t attempt)
{
	struct core_task *t = core_task_find(c, task);
	if (!t || !attempt)
		return -ESTALE;
	struct core_task *own = find_its_own(c, task, attempt);
	enum core_event e = own == t ? CORE_EVENT_ENDED : CORE_EVENT_ENDED_OTHER;
	if (!core_task_allows(t, e))
		return -ESTALE;
	if (own)
		core_slow_ended(c, own);
	if (own && own != t)
		core_task_end_second(c, own, false);
	core_supply_end(c, t);
	return core_task_step(c, t, e);
}

int core_attempt_lost(struct core *c, uint64_t task, uint64_t attempt)
{
	struct core_task *t = find_its_own(c, task, attempt);
	if (!t)
		return -ESTALE;
	core_health_count(c, t->node, false);
	return core_task_lose(c, t);
}

int core_attempt_returned(struct core *c, uint64_t task, uint64_t attempt)
{
	struct core_task *t = find_its_own(c, task, attempt);
	return t ? core_task_step(c, t, CORE_EVENT_LOST) : -ESTALE;
}

int core_attempt_exhausted(struct core *c, uint64_t task, uint64_t attempt)
{
	struct core_task *t = find_its_own(c, task, attempt);
	if (!t || !core_task_allows(t, CORE_EVENT_LOST))
		return -ESTALE;
	if (t->is_second) {
		core_task_end_second(c, t, false);
		return 0;
	}
	struct core_class *before = t->class, *most = core_class_most(c, before);
	if (!most)
		return -ENOSPC;
	if (core_task_other(t))
		core_task_end_second(c, core_task_other(t), true);
	t->class = most;
	int e = core_task_step(c, t, CORE_EVENT_LOST);
	core_class_put(c, before);
	return e;
}

int core_attempt_place(const struct core *c, uint64_t task, struct core_place *p)
{
	const struct core_task *t = core_task_find(c, task);
	if (t && c->starting && c->starting->is_second && core_task_other(t) == c->starting)
		t = c->starting;
	if (!t || !t->held)
		return -ENOENT;
	*p = (struct core_place){
		.cores = t->held->n_words ? core_hold_cores(t->held) : NULL,
		.n_words = t->held->n_words,
		.gpus = t->held->gpus,
		.memory = t->held->at[CORE_DIM_MEMORY],
		.disk = t->held->at[CORE_DIM_DISK],
	};
	return 0;
}
