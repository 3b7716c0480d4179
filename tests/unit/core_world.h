/* SPDX-License-Identifier: Apache-2.0
 * A world for the scheduler's tests that writes down every action. WORLD(w) makes one, with its core in `c`, checked and
 * freed at the end of the test. */
#ifndef TESTS_UNIT_CORE_WORLD_H
#define TESTS_UNIT_CORE_WORLD_H

#include "core/core_internal.h"

#include "tests/unit/unit.h"

enum said_kind { SAID_START = 1, SAID_STOP, SAID_FENCE, SAID_CANCELLED, SAID_HELD };

struct said {
	enum said_kind kind;
	uint64_t task, node, attempt;
};

struct world {
	struct core *core;
	struct said said[4096];
	size_t n, read;
	uint64_t attempt;
	bool ends_at_once; /* tasks, before `start` has returned */
};

static inline void say(struct world *w, enum said_kind kind, uint64_t task, uint64_t node, uint64_t attempt)
{
	ASSERT(w->n < countof(w->said));
	w->said[w->n++] = (struct said){kind, task, node, attempt};
}

static inline void on_start(void *arg, uint64_t task, uint64_t node, uint64_t attempt)
{
	struct world *w = arg;
	say(w, SAID_START, task, node, attempt);
	if (w->ends_at_once)
		ASSERT_EQ(core_attempt_ended(w->core, task, attempt), 0);
}

static inline void on_stop(void *arg, uint64_t task, uint64_t node, uint64_t attempt, bool is_fenced)
{
	say(arg, is_fenced ? SAID_FENCE : SAID_STOP, task, node, attempt);
}

static inline void on_cancelled(void *arg, uint64_t task)
{
	say(arg, SAID_CANCELLED, task, 0, 0);
}

static inline void on_held(void *arg, uint64_t task, unsigned losses)
{
	say(arg, SAID_HELD, task, losses, 0);
}

static inline uint64_t next_attempt(void *arg)
{
	return ++((struct world *)arg)->attempt;
}

static const struct core_actions actions = {on_start, on_stop, on_cancelled, on_held, next_attempt};

static inline void world_init(struct world *w)
{
	memset(w, 0, sizeof *w);
	w->core = core_new(&actions, w, NULL);
}

static inline void world_fini(struct world *w)
{
	core_check(w->core);
	core_free(w->core);
}

#define WORLD(w)                              \
	_cleanup_(world_fini) struct world w; \
	world_init(&w);                       \
	struct core *c = w.core

static inline void decide(struct world *w)
{
	core_check(w->core);
	core_decide(w->core, 0);
	core_check(w->core);
}

/* The next action, which must be of this kind and task. */
static inline struct said expect(struct world *w, enum said_kind kind, uint64_t task)
{
	ASSERT(w->read < w->n);
	struct said s = w->said[w->read++];
	ASSERT_EQ(s.kind, kind);
	ASSERT_EQ(s.task, task);
	return s;
}

static inline void expect_nothing(struct world *w)
{
	ASSERT_EQ(w->read, w->n);
}

static inline void add_task(struct core *c, uint64_t task, uint32_t cores, uint64_t memory, int64_t priority)
{
	ASSERT_EQ(core_task_add(c, task,
				&(struct core_task_spec){.cores = cores, .memory = memory, .priority = priority}),
		  0);
}

static inline void add_node(struct core *c, uint64_t node, uint32_t cores, uint64_t memory)
{
	ASSERT_EQ(core_node_add(c, node, &(struct core_node_spec){cores, memory, 0}), 0);
}

static inline void add_running(struct core *c, uint64_t task, uint64_t node, uint64_t attempt)
{
	ASSERT_EQ(core_task_add_running(c, task, &(struct core_task_spec){.cores = 1}, node, attempt), 0);
}

#endif
