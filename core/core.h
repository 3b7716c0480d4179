/* SPDX-License-Identifier: Apache-2.0
 * What runs where: the scheduler as a pure library. Events go in by the functions below, decisions come out by the
 * actions. It reads no clock, opens nothing, prints nothing; the same code decides in vined and in the simulator.
 *
 * Files, top to bottom: core.c (events and the decisions of one turn), check.c (the invariants), match.c (which task on
 * which node), task.c (the life of one), class.c (queues of tasks alike), node.c, index.c (nodes by room), heap.c.
 *
 * One thread. Numbers of tasks, nodes and attempts are the caller's: never 0, never used again. Actions are called from within
 * core_decide() only, never from within an event; what an action tells is already true, so it may call events in turn. */
#ifndef CORE_H
#define CORE_H

#include "common/base.h"

struct core;

struct core_task_spec {
	uint32_t cores;   /* 0: 1 */
	uint64_t memory;  /* 0: any */
	int64_t priority; /* higher first */
	unsigned losses;  /* nodes lost under it before this start; from the crash limit on it is held */
};

struct core_node_spec {
	uint32_t cores;
	uint64_t memory;
	uint32_t task_limit; /* tasks at once, whatever their cores; 0: no limit */
};

enum core_reason {                         /* why a task is not running; core_reason_text() */
		   CORE_REASON_NONE,       /* it runs, or is over */
		   CORE_REASON_NO_NODE,    /* no node is connected */
		   CORE_REASON_NODES_BUSY, /* nodes that could run it are full */
		   CORE_REASON_TOO_LARGE,  /* no connected node is large enough */
		   CORE_REASON_ADOPTION,   /* it may be running on a node that is not back yet */
		   CORE_REASON_CRASHES,    /* held: nodes were lost under it too often */
};

struct core_actions {
	/* Run this task there. `attempt` comes from next_attempt. */
	void (*start)(void *arg, uint64_t task, uint64_t node, uint64_t attempt);
	/* End an attempt: cancelled, or fenced because another one counts. */
	void (*stop)(void *arg, uint64_t task, uint64_t node, uint64_t attempt, bool is_fenced);
	/* A task is over without a result from a node: it was cancelled before it ran, or its node was lost after that. */
	void (*cancelled)(void *arg, uint64_t task);
	/* Nodes were lost under it `losses` times: it is held. */
	void (*held)(void *arg, uint64_t task, unsigned losses);
	/* The next attempt's number: greater than all before. Calls nothing of the core. */
	uint64_t (*next_attempt)(void *arg);
};

struct core_options {
	unsigned crash_limit; /* lost nodes under one task before it is held; 0: 3 */
};

struct core *core_new(const struct core_actions *actions, void *arg, const struct core_options *o);
void core_free(struct core *c);
DEFINE_FREEP(struct core, core_free)

/* ---- tasks. -EEXIST, -ENOENT where a number is wrong. A task that is over is forgotten. Higher priority first, then first
 * come, first served; a task whose attempt was lost goes before the others of its priority. */
int core_task_add(struct core *c, uint64_t task, const struct core_task_spec *spec);
/* At a restart: the task is recorded as running under `attempt` on `node`, which may not be there yet; it waits for
 * core_node_add + core_attempt_adopt, for core_attempt_lost, or for core_node_lost. Its room is kept meanwhile. */
int core_task_add_running(struct core *c, uint64_t task, const struct core_task_spec *spec, uint64_t node,
			  uint64_t attempt);
/* Queued: `cancelled` follows. Running: `stop` follows, and then its result counts as any other. */
int core_task_cancel(struct core *c, uint64_t task);

/* ---- nodes. A node that comes back within its time-out is not lost: tell nothing. */
int core_node_add(struct core *c, uint64_t node, const struct core_node_spec *spec);
/* No new task there until core_node_resume; what runs there goes on. */
int core_node_suspend(struct core *c, uint64_t node);
int core_node_resume(struct core *c, uint64_t node, const struct core_node_spec *spec);
/* Its attempts are over; their tasks run again elsewhere (not charged to the user's retries). */
int core_node_lost(struct core *c, uint64_t node);

/* ---- attempts.
 * adopt: a returning node lists it. 0: it counts; -ESTALE: another attempt counts or the task is over: the caller fences it;
 * -ENOENT: that node is not there. */
int core_attempt_adopt(struct core *c, uint64_t task, uint64_t node, uint64_t attempt);
/* A result has come, from whichever attempt, known or not. 0: it is the first, the task is over, and if another attempt was
 * running it gets a fenced `stop`; -ESTALE: drop it. */
int core_attempt_ended(struct core *c, uint64_t task, uint64_t attempt);
/* A node that is there does not know an attempt it was given (it was restarted without its record): the task runs again. */
int core_attempt_lost(struct core *c, uint64_t task, uint64_t attempt);
/* The same where the task is not to blame: it does not count as lost. Suspend the node first, or it may come there again. */
int core_attempt_returned(struct core *c, uint64_t task, uint64_t attempt);

/* Makes decisions until none is left, or `most` have been made (0: no limit); returns how many. Call it once a turn. */
size_t core_decide(struct core *c, size_t most);

/* ---- looking in */
enum core_reason core_task_reason(const struct core *c, uint64_t task);
const char *core_reason_text(enum core_reason r);

struct core_numbers {
	uint64_t queued, running, held, nodes, cores, cores_free;
	uint64_t largest_cores, largest_memory; /* what the open node of most cores offers */
};
void core_numbers(const struct core *c, struct core_numbers *n);

/* Checks every invariant (free >= 0, no task runs twice, sums agree); aborts when one is broken. For tests; O(everything). */
void core_check(const struct core *c);

#endif
