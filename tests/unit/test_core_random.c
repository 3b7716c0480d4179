/* SPDX-License-Identifier: Apache-2.0
 * The scheduler under random events, with core_check() and a model that knows which attempts really live. */
#include "core/core_internal.h"

#include "tests/unit/unit.h"

#include <stdio.h>

#define N_NODES 12
#define N_ATTEMPTS 6

/* What the model knows of a task: which attempts really live on which node, whatever the core believes. */
struct task {
	uint64_t number;
	struct core_task_spec spec;
	struct attempt {
		uint64_t attempt, node;
		bool is_told_to_stop;
	} attempts[N_ATTEMPTS];
	bool is_cancelled;
	struct list link;
};

struct model {
	struct core *core;
	struct map tasks;
	struct list alive;
	uint64_t state, n_tasks, last_attempt, n_ended, n_cancelled;
	struct {
		struct core_node_spec spec;
		bool is_known, is_open;
	} nodes[N_NODES + 1];
};

static uint64_t roll(struct model *m, uint64_t n)
{
	return (unit_random(&m->state) >> 11) % n;
}

static struct task *model_task(struct model *m, uint64_t number)
{
	struct task *t = map_get(&m->tasks, number);
	ASSERT(t);
	return t;
}

static void model_over(struct model *m, struct task *t)
{
	list_remove(&t->link);
	map_remove(&m->tasks, t->number);
	free(t);
}

static struct attempt *model_attempt(struct task *t, uint64_t attempt)
{
	for (size_t i = 0; i < N_ATTEMPTS; i++)
		if (t->attempts[i].attempt == attempt)
			return &t->attempts[i];
	return NULL;
}

static void model_start(void *arg, uint64_t task, uint64_t node, uint64_t attempt)
{
	struct model *m = arg;
	struct task *t = model_task(m, task);
	ASSERT(node >= 1 && node <= N_NODES && m->nodes[node].is_open);
	ASSERT(!t->is_cancelled);
	ASSERT(t->spec.cores <= m->nodes[node].spec.cores && t->spec.memory <= m->nodes[node].spec.memory);
	ASSERT_EQ(attempt, m->last_attempt);
	/* Attempts of lost nodes may still be running out there; of nodes that are there, none may. */
	for (size_t i = 0; i < N_ATTEMPTS; i++)
		ASSERT(!t->attempts[i].attempt || !m->nodes[t->attempts[i].node].is_known);
	struct attempt *a = model_attempt(t, 0);
	if (!a)
		a = &t->attempts[0]; /* the oldest was on a lost node: forget that it lives */
	*a = (struct attempt){.attempt = attempt, .node = node};
}

static void model_stop(void *arg, uint64_t task, uint64_t node, uint64_t attempt, bool is_fenced)
{
	struct model *m = arg;
	ASSERT(node >= 1 && node <= N_NODES);
	if (is_fenced) {
		ASSERT(!map_get(&m->tasks, task));
		return;
	}
	struct attempt *a = model_attempt(model_task(m, task), attempt);
	ASSERT(a && a->node == node);
	ASSERT(model_task(m, task)->is_cancelled);
	a->is_told_to_stop = true;
}

static void model_cancelled(void *arg, uint64_t task)
{
	struct model *m = arg;
	struct task *t = model_task(m, task);
	ASSERT(t->is_cancelled);
	m->n_cancelled++;
	model_over(m, t);
}

static void model_held(void *arg, uint64_t task, unsigned losses)
{
	struct model *m = arg;
	ASSERT(losses >= 3);
	model_task(m, task);
}

static uint64_t model_next(void *arg)
{
	return ++((struct model *)arg)->last_attempt;
}

static const struct core_actions model_actions = {
	.start = model_start,
	.stop = model_stop,
	.cancelled = model_cancelled,
	.held = model_held,
	.next_attempt = model_next,
};

static struct task *pick_task(struct model *m)
{
	uint64_t lowest = m->n_tasks > 300 ? m->n_tasks - 300 : 0;
	for (unsigned i = 0; i < 20; i++) {
		struct task *t = map_get(&m->tasks, lowest + roll(m, 301));
		if (t)
			return t;
	}
	return list_first(&m->alive, struct task, link);
}

static void add_random_task(struct model *m)
{
	struct task *t = NEW(struct task);
	t->number = ++m->n_tasks;
	t->spec.cores = (uint32_t)(1 + roll(m, 6));
	t->spec.memory = roll(m, 3) ? 0 : 8 * roll(m, 5);
	t->spec.priority = (int64_t)roll(m, 4) - 2;
	t->spec.losses = (unsigned)(roll(m, 20) ? roll(m, 3) : 3); /* the last one is held from the start */
	list_init(&t->link);
	list_append(&m->alive, &t->link);
	map_put(&m->tasks, t->number, t);
	if (roll(m, 20)) {
		ASSERT_EQ(core_task_add(m->core, t->number, &t->spec), 0);
		return;
	}
	uint64_t node = 1 + roll(m, N_NODES);
	t->attempts[0] = (struct attempt){.attempt = ++m->last_attempt, .node = node};
	ASSERT_EQ(core_task_add_running(m->core, t->number, &t->spec, node, m->last_attempt), 0);
}

/* A result, mostly of an attempt that lives, sometimes of one that nobody knows or that has been lost. */
static void end_random_attempt(struct model *m)
{
	struct task *t = pick_task(m);
	if (!t)
		return;
	const struct attempt *a = &t->attempts[roll(m, N_ATTEMPTS)];
	uint64_t attempt = roll(m, 50) ? a->attempt : 1 + roll(m, m->last_attempt + 1);
	if (!attempt)
		return;
	ASSERT_EQ(core_attempt_ended(m->core, t->number, attempt), 0);
	ASSERT_EQ(core_attempt_ended(m->core, t->number, attempt), -ESTALE);
	m->n_ended++;
	model_over(m, t);
}

/* A node that is back lists what it runs: what the core does not adopt is killed there. */
static void list_attempts(struct model *m, uint64_t node)
{
	list_foreach (&m->alive, struct task, link, t) {
		for (size_t i = 0; i < N_ATTEMPTS; i++) {
			struct attempt *a = &t->attempts[i];
			if (!a->attempt || a->node != node)
				continue;
			if (!roll(m, 10)) {
				core_attempt_lost(m->core, t->number, a->attempt);
				*a = (struct attempt){0};
			} else if (core_attempt_adopt(m->core, t->number, node, a->attempt) < 0) {
				*a = (struct attempt){0};
			}
		}
	}
}

static void change_random_node(struct model *m)
{
	uint64_t i = 1 + roll(m, N_NODES);
	struct core_node_spec spec = {0};
	spec.cores = (uint32_t)roll(m, 9);
	spec.memory = 8 * roll(m, 9);
	spec.task_limit = (uint32_t)roll(m, 4) * 3;
	if (!m->nodes[i].is_known) {
		ASSERT_EQ(core_node_add(m->core, i, &spec), 0);
		m->nodes[i].is_known = m->nodes[i].is_open = true;
		m->nodes[i].spec = spec;
		list_attempts(m, i);
	} else if (!roll(m, 4)) {
		ASSERT_EQ(core_node_lost(m->core, i), 0);
		m->nodes[i].is_known = m->nodes[i].is_open = false;
	} else if (m->nodes[i].is_open) {
		ASSERT_EQ(core_node_suspend(m->core, i), 0);
		m->nodes[i].is_open = false;
	} else {
		ASSERT_EQ(core_node_resume(m->core, i, &spec), 0);
		m->nodes[i].is_open = true;
		m->nodes[i].spec = spec;
		list_attempts(m, i);
	}
}

static void random_event(struct model *m)
{
	uint64_t what = roll(m, 100);
	if (what < 30 && m->tasks.n < 200) {
		add_random_task(m);
	} else if (what < 75) {
		end_random_attempt(m);
	} else if (what < 80) {
		struct task *t = pick_task(m);
		if (t && core_task_cancel(m->core, t->number) == 0)
			t->is_cancelled = true;
	} else if (what < 84) {
		change_random_node(m);
	} else {
		core_decide(m->core, roll(m, 5));
	}
}

/* With a node large enough and no more losses everything that is not held comes to an end. */
static void run_dry(struct model *m)
{
	for (uint64_t i = 1; i <= N_NODES; i++) {
		core_node_lost(m->core, i);
		m->nodes[i].is_known = m->nodes[i].is_open = true;
		m->nodes[i].spec = (struct core_node_spec){.cores = 64, .memory = 1000};
		ASSERT_EQ(core_node_add(m->core, i, &m->nodes[i].spec), 0);
	}
	list_foreach (&m->alive, struct task, link, t) {
		memset(t->attempts, 0, sizeof t->attempts);
		if (core_task_reason(m->core, t->number) == CORE_REASON_CRASHES) {
			ASSERT_EQ(core_task_cancel(m->core, t->number), 0);
			t->is_cancelled = true;
		}
	}
	for (unsigned turn = 0; turn < 300 && m->tasks.n; turn++) {
		core_decide(m->core, 0);
		core_check(m->core);
		list_foreach (&m->alive, struct task, link, t) {
			if (!t->attempts[0].attempt)
				continue;
			ASSERT_EQ(core_attempt_ended(m->core, t->number, t->attempts[0].attempt), 0);
			m->n_ended++;
			model_over(m, t);
		}
	}
	ASSERT_EQ(m->tasks.n, 0);
}

static void run_model(uint64_t seed, unsigned n_events, unsigned check_each)
{
	struct model *m = NEW(struct model);
	m->state = seed * 0x9e3779b97f4a7c15u + 1;
	list_init(&m->alive);
	m->core = core_new(&model_actions, m, NULL);
	for (unsigned i = 0; i < n_events; i++) {
		random_event(m);
		if (i % check_each == 0)
			core_check(m->core);
	}
	run_dry(m);
	ASSERT_EQ(m->n_ended + m->n_cancelled, m->n_tasks);
	struct core_numbers n;
	core_numbers(m->core, &n);
	ASSERT_EQ(n.queued + n.running + n.held, 0);
	ASSERT_EQ(n.cores_free, n.cores);
	core_free(m->core);
	map_fini(&m->tasks);
	free(m);
}

/* A failing seed is the last one printed; CORE_SEED=N runs it alone, with every event checked. */
TEST(random_events_break_no_invariant_and_every_task_ends)
{
	unit_run_seeds(&(struct unit_seeds){.name = "CORE_SEED",
					    .n_seeds = 50,
					    .n_soak = 500,
					    .n_steps = 20000,
					    .n_dense = 3,
					    .check_each = 16},
		       run_model);
}
