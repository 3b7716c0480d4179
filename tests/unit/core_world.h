/* SPDX-License-Identifier: Apache-2.0
 * A world for the scheduler's tests that writes down every action. WORLD(w) makes one, with its core in `c`, checked and
 * freed at the end of the test. */
#ifndef TESTS_UNIT_CORE_WORLD_H
#define TESTS_UNIT_CORE_WORLD_H

#include "core/core_internal.h"

#include "tests/unit/unit.h"

enum said_kind {
	SAID_START = 1,
	SAID_STOP,
	SAID_FENCE,
	SAID_CANCELLED,
	SAID_HELD,
	SAID_FAILED,
	SAID_FETCH,
	SAID_FETCH_STOP
};

struct said {
	enum said_kind kind;
	uint64_t task, node, attempt;
	struct core_why why;
	struct core_fetch fetch;          /* its peers are in peers */
	uint64_t peer, peers[CORE_PEERS]; /* peer: the first */
};

#define MB (UINT64_C(1) << 20)

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
	w->said[w->n++] = (struct said){.kind = kind, .task = task, .node = node, .attempt = attempt};
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

static inline void on_failed(void *arg, uint64_t task, const struct core_why *why)
{
	struct world *w = arg;
	say(w, SAID_FAILED, task, 0, 0);
	w->said[w->n - 1].why = *why;
}

/* task: the item */
static inline void on_fetch(void *arg, const struct core_fetch *f)
{
	struct world *w = arg;
	say(w, SAID_FETCH, f->item, f->node, 0);
	w->said[w->n - 1].fetch = *f;
	w->said[w->n - 1].peer = f->n_peers ? f->peers[0] : 0;
	if (f->n_peers)
		memcpy(w->said[w->n - 1].peers, f->peers, f->n_peers * sizeof f->peers[0]);
}

static inline void on_fetch_stop(void *arg, uint64_t node, uint64_t item)
{
	say(arg, SAID_FETCH_STOP, item, node, 0);
}

/* With data, and the same as a caller has it who knows of none. */
static const struct core_actions actions = {
	.start = on_start,
	.stop = on_stop,
	.cancelled = on_cancelled,
	.held = on_held,
	.next_attempt = next_attempt,
	.failed = on_failed,
	.fetch = on_fetch,
	.fetch_stop = on_fetch_stop,
};
static _unused_ const struct core_actions plain_actions = {
	.start = on_start,
	.stop = on_stop,
	.cancelled = on_cancelled,
	.held = on_held,
	.next_attempt = next_attempt,
};

static inline void world_init(struct world *w)
{
	memset(w, 0, sizeof *w);
	w->core = core_new(&actions, w, NULL);
}

/* Another core with these options. */
static inline void world_options(struct world *w, const struct core_actions *a, const struct core_options *o)
{
	core_free(w->core);
	w->core = core_new(a, w, o);
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
	ASSERT_EQ(core_node_add(c, node, &(struct core_node_spec){.cores = cores, .memory = memory}), 0);
}

static inline void item(struct core *c, uint64_t number, uint64_t size, uint64_t source, uint64_t tree)
{
	const struct core_item_spec spec = {.size = size, .source = source, .tree = tree};
	ASSERT_EQ(core_item_add(c, number, &spec), 0);
}

static inline void task(struct core *c, uint64_t number, uint64_t input, uint64_t output, enum core_when when)
{
	const struct core_task_spec spec = {
		.inputs = &input, .n_inputs = input != 0, .outputs = &output, .n_outputs = output != 0, .when = when};
	ASSERT_EQ(core_task_add(c, number, &spec), 0);
}

static inline void add_running(struct core *c, uint64_t task, uint64_t node, uint64_t attempt)
{
	ASSERT_EQ(core_task_add_running(c, task, &(struct core_task_spec){.cores = 1}, node, attempt), 0);
}

#endif
