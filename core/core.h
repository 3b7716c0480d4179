/* SPDX-License-Identifier: Apache-2.0
 * What runs where and what moves: the scheduler as a pure library. Events go in by the functions below, decisions come out by the
 * actions. It reads no clock, opens nothing, prints nothing; the same code decides in vined and in the simulator.
 *
 * Files, top to bottom: core.c (events of tasks and nodes), attempt.c (of attempts), data.c (of core_data.h), decide.c (the
 * decisions of one turn), check.c (the invariants), why.c (reasons and numbers), match.c (which task on which node), warm.c (what
 * the processor will need next), place.c (what a placed task needs there), move.c (transfers), neighbour.c (whom they are told),
 * source.c (how many read one at once), supply.c (what an item's coming or
 * failing means), task.c (the life of one), second.c (two attempts of one), wait.c (for items), anchor.c (by which tree it looks
 * for its node), item.c, health.c
 * (nodes judged), category.c (categories, counters, users), slow.c (who gets a second attempt), class.c (tasks alike), node.c,
 * tree.c (who holds what), lane.c (queues of tasks alike), queue.c, learn.c (first allocations), timer.c, names.c, heap.c,
 * bracket.c (core_index.h). core_data.h is the part of this face that speaks of items, trees and transfers.
 *
 * One thread. Numbers of tasks, nodes, items, trees and attempts are the caller's: never 0, never used again. Actions are called
 * from within core_decide() only, never from within an event; what an action tells is already true, so it may call events in
 * turn. Texts and arrays are borrowed for the call. A zero in a spec asks for nothing. */
#ifndef CORE_H
#define CORE_H

#include "common/base.h"

struct core;

/* So much of something by name. At most CORE_NAMED kinds of named resources in one cluster, CORE_FEATURES features. */
#define CORE_NAMED 16
#define CORE_FEATURES 64
#define CORE_COUNTERS 4 /* of one task */

struct core_amount {
	const char *name;
	uint64_t amount;
};

enum core_when {                   /* a task with inputs starts */
		 CORE_WHEN_LAZY,   /* as soon as it has a place; the bytes come meanwhile */
		 CORE_WHEN_HOT,    /* when the caller says of each input that what it gates is there */
		 CORE_WHEN_STAGED, /* when all bytes of all inputs are there */
};

struct core_task_spec {
	uint32_t cores;   /* 0: 1 */
	uint64_t memory;  /* 0: any, or what its category has learned */
	int64_t priority; /* higher first */
	unsigned losses;  /* nodes lost under it before this start; from the crash limit on it is held */
	uint32_t gpus;
	uint64_t disk; /* 0: as memory */
	const struct core_amount *named, *counters;
	size_t n_named, n_counters;
	const char *const *features;
	size_t n_features;
	const char *category;
	uint64_t user;
	uint64_t wall_usec;               /* it goes only where a node stays so long */
	uint64_t deadline_usec;           /* on the axis of core_set_time: not begun by then, it fails; 0: none */
	const uint64_t *inputs, *outputs; /* items, declared before */
	size_t n_inputs, n_outputs;
	enum core_when when;
	bool holds; /* where it would fail it is held, and core_task_why() says for what */
};

struct core_node_spec {
	uint32_t cores;
	uint64_t memory;
	uint32_t task_limit; /* tasks at once, whatever their cores; 0: no limit */
	uint32_t gpus;
	uint64_t disk;
	const struct core_amount *named;
	size_t n_named;
	const char *const *features;
	size_t n_features;
	uint64_t end_usec; /* it goes away then; 0: it stays */
	uint64_t rack;     /* nodes of one rack are near each other; 0: not said */
};

enum core_reason {                           /* why a task is not running; core_reason_text() */
		   CORE_REASON_NONE,         /* it runs, or is over */
		   CORE_REASON_NO_NODE,      /* no node is connected */
		   CORE_REASON_NODES_BUSY,   /* nodes that could run it are full */
		   CORE_REASON_TOO_LARGE,    /* no connected node is large enough */
		   CORE_REASON_ADOPTION,     /* it may be running on a node that is not back yet */
		   CORE_REASON_CRASHES,      /* held: nodes were lost under it too often */
		   CORE_REASON_FEATURE,      /* no connected node has what it asks for by name */
		   CORE_REASON_WALL_TIME,    /* no connected node stays long enough */
		   CORE_REASON_CATEGORY,     /* as many of its category run as may */
		   CORE_REASON_COUNTER,      /* a counter of the cluster is used up */
		   CORE_REASON_INPUT,        /* an input is not made yet */
		   CORE_REASON_INPUT_LOST,   /* an input was lost and is made again */
		   CORE_REASON_INPUT_FAILED, /* an input will never be there */
		   CORE_REASON_HOLDER_BUSY, /* the nodes that have its input are full, and it is worth waiting a little */
		   CORE_REASON_STAGING,     /* it has a node; its inputs are on the way there */
		   CORE_REASON_DEADLINE,    /* it was not begun in time */
		   CORE_REASON_TURN,        /* its turn comes with the next decisions */
		   CORE_REASONS
};

/* One reason and what it is about; what is not about it is 0 or NULL. */
struct core_why {
	enum core_reason reason;
	uint64_t item, node, producer; /* producer: the task that makes the item */
	const char *name;              /* of the category, counter or resource; valid until the next event */
};

struct core_fetch;

struct core_actions {
	/* Run this task there. `attempt` comes from next_attempt. */
	void (*start)(void *arg, uint64_t task, uint64_t node, uint64_t attempt);
	/* End an attempt: cancelled, or fenced because another one counts. */
	void (*stop)(void *arg, uint64_t task, uint64_t node, uint64_t attempt, bool is_fenced);
	/* A task is over without a result from a node: it was cancelled before it ran, or its node was lost after that. */
	void (*cancelled)(void *arg, uint64_t task);
	/* It is held: nodes were lost under it `losses` times, or it would have failed. One that was over and made again what was
	 * lost is not held, it fails. */
	void (*held)(void *arg, uint64_t task, unsigned losses);
	/* The next attempt's number: greater than all before. Calls nothing of the core. */
	uint64_t (*next_attempt)(void *arg);

	/* The rest may be NULL: then nothing of the kind is decided, and what would have failed is held. */

	/* A task is over without a result: an input of it will never be there, or its deadline has passed. Of one that had its result:
	 * what it was to make again will never be there, for one of these reasons or too many lost nodes. */
	void (*failed)(void *arg, uint64_t task, const struct core_why *why);
	/* Bring a tree to a node, core_data.h; and: nobody needs that any more, or its token has run out. */
	void (*fetch)(void *arg, const struct core_fetch *f);
	void (*fetch_stop)(void *arg, uint64_t node, uint64_t item);
};

struct core_options {
	unsigned crash_limit; /* lost nodes under one task before it is held; 0: 3 */
	unsigned patience; /* starts of others that a task too large for what is free lets pass, then a node is kept for
				       it; 0: 64 and two a node */
	uint64_t rate;     /* bytes a second of a transfer, until some were measured; 0: 125 MB/s */
	unsigned fetches;  /* at once into one node; 0: 4. For what tasks wait for there are four times as many more */
	uint64_t
		token_usec; /* a source's token is good for so long, more if the bytes take longer or come; a transfer of which nothing has come for so long is told other neighbours; 0: 60 s */
	uint64_t seed;      /* of the choice of neighbours; 0: always the same */
	bool is_blind, has_no_foresight; /* for comparison: the best free node; no look-ahead */
};

struct core *core_new(const struct core_actions *actions, void *arg, const struct core_options *o);
void core_free(struct core *c);
DEFINE_FREEP(struct core, core_free)

/* ---- time: usec on an axis of the caller's, which never runs back. Without it no wait ends by time. */
void core_set_time(struct core *c, uint64_t now_usec);
/* When core_decide() has something to do though nothing happens; UINT64_MAX: never. */
uint64_t core_next_due(const struct core *c);

/* ---- tasks. -EEXIST, -ENOENT where a number is wrong, -E2BIG where there are too many named resources, features or counters; then
 * nothing has happened. A task that is over is forgotten. Higher priority first; of equal ones each user gets its share; of one
 * user first come, first served; a task whose attempt was lost goes before the others of its priority. */
int core_task_add(struct core *c, uint64_t task, const struct core_task_spec *spec);
/* At a restart: the task is recorded as running under `attempt` on `node`, which may not be there yet; it waits for
 * core_node_add + core_attempt_adopt, for core_attempt_lost, or for core_node_lost. Its room is kept meanwhile. */
int core_task_add_running(struct core *c, uint64_t task, const struct core_task_spec *spec, uint64_t node,
			  uint64_t attempt);
/* Queued: `cancelled` follows. Running: `stop` follows, and then its result counts as any other. */
int core_task_cancel(struct core *c, uint64_t task);
/* It is held no longer, its losses are forgotten. -ESTALE: it is not held. */
int core_task_release(struct core *c, uint64_t task);

/* ---- nodes. A node that comes back within its time-out is not lost: tell nothing. */
int core_node_add(struct core *c, uint64_t node, const struct core_node_spec *spec);
/* It offers something else from now on; what runs there keeps what it has. */
int core_node_set(struct core *c, uint64_t node, const struct core_node_spec *spec);
/* No new task there until core_node_resume; what runs there goes on. So is a node drained, too. */
int core_node_suspend(struct core *c, uint64_t node);
int core_node_resume(struct core *c, uint64_t node, const struct core_node_spec *spec);
/* Its attempts are over; their tasks run again elsewhere (not charged to the user's retries). */
int core_node_lost(struct core *c, uint64_t node);

/* ---- attempts.
 * adopt: a returning node lists it. 0: it counts; -ESTALE: another attempt counts or the task is over: the caller fences it;
 * -ENOENT: that node is not there. */
int core_attempt_adopt(struct core *c, uint64_t task, uint64_t node, uint64_t attempt);
/* A result has come, from whichever attempt, known or not. 0: it is the first, the task is over, and if another attempt was
 * running it gets a fenced `stop`; -ESTALE: drop it. Tell before it which trees its outputs are: an output that has none by then
 * fails, and with it what needs it. */
int core_attempt_ended(struct core *c, uint64_t task, uint64_t attempt);
/* A node that is there does not know an attempt it was given (it was restarted without its record): the task runs again. */
int core_attempt_lost(struct core *c, uint64_t task, uint64_t attempt);
/* The same where the task is not to blame: it does not count as lost. Suspend the node first, or it may come there again. So is
 * a user's retry told, too, which the caller counts. */
int core_attempt_returned(struct core *c, uint64_t task, uint64_t attempt);
/* It used up what it was given of memory or disk: it runs again with all that its category allows. -ENOSPC: it had that
 * already, or its spec said how much: tell its end. */
int core_attempt_exhausted(struct core *c, uint64_t task, uint64_t attempt);

/* Which cores and GPUs of its node an attempt has: bits, in words of 64; NULL: none. Within `start` that one's, later the first's. */
struct core_place {
	const uint64_t *cores; /* n_words of them */
	size_t n_words;
	uint64_t gpus;
	uint64_t memory, disk; /* what it was given; 0: any */
};
int core_attempt_place(const struct core *c, uint64_t task, struct core_place *p);

/* ---- limits, users and what was measured. Names come into being by being used. */
struct core_category_spec {
	uint64_t running;      /* at once; 0: any number */
	uint64_t memory, disk; /* the most that a task of it is given that names none; 0: nothing is kept for it */
	bool learns; /* begin with what most of them were seen to need, and give the most to who exhausts it */
	/* Once ten have ended: who has run so many times as long as half of them did, and a second at least, gets a second attempt
	 * (`start` again) where nothing else needs the room. The first result counts, the other attempt gets a fenced `stop`; where one
	 * of them is lost the other goes on. 0: none. */
	unsigned slow;
};
void core_category_set(struct core *c, const char *name, const struct core_category_spec *spec);
/* What a task of it was seen to use. */
void core_category_measured(struct core *c, const char *name, uint64_t memory, uint64_t disk);
/* What was set and learned of it. -ENOENT; -EBUSY: there are tasks of it. */
int core_category_forget(struct core *c, const char *name);
void core_counter_set(struct core *c, const char *name, uint64_t total);
/* A user of weight 2 gets twice the turns of one of weight 1, which is where everyone begins. */
void core_user_set(struct core *c, uint64_t user, uint32_t weight);
/* How an attempt on this node went, as far as the node is to blame. One whose attempts go wrong much more often than the others'
 * is put on probation (one task at a time), then left out for a while; see core_node_health(). */
void core_node_judge(struct core *c, uint64_t node, bool went_well);

/* Makes decisions until none is left, or `most` have been made (0: no limit); returns how many. Call it once a turn. */
size_t core_decide(struct core *c, size_t most);

/* ---- looking in */
enum core_reason core_task_reason(const struct core *c, uint64_t task);
int core_task_why(const struct core *c, uint64_t task, struct core_why *why);
const char *core_reason_text(enum core_reason r);

enum core_health { CORE_HEALTH_GOOD, CORE_HEALTH_PROBATION, CORE_HEALTH_BLOCKED };
enum core_health core_node_health(const struct core *c, uint64_t node);

/* What of a node is not in use. False: it takes no tasks. */
struct core_room {
	uint64_t cores, memory, disk, gpus;
	uint32_t n_tasks; /* that run there */
	bool is_full;     /* of as many tasks as it takes at once */
};
bool core_room_of(const struct core *c, uint64_t node, struct core_room *room);

struct core_numbers {
	uint64_t queued, running, held, nodes, cores, cores_free;
	uint64_t largest_cores, largest_memory; /* what the open node of most cores offers */
	uint64_t waiting, staging;              /* for inputs that others make; for bytes that come */
	uint64_t items, trees, replicas, fetches;
	uint64_t tokens;  /* fetches that may read a source just now */
	uint64_t seconds; /* second attempts, which are not in `running` */
};
void core_numbers(const struct core *c, struct core_numbers *n);

/* Checks every invariant (free >= 0, no task runs twice, sums agree); aborts when one is broken. For tests; O(everything). */
void core_check(const struct core *c);

#include "core/core_data.h"

#endif
