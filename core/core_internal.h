/* SPDX-License-Identifier: Apache-2.0
 * What the core's files share; core.c has the invariants. Higher files call lower ones only: core, check, match, task, class,
 * node, index, heap. */
#ifndef CORE_INTERNAL_H
#define CORE_INTERNAL_H

#include "common/base.h"
#include "common/buf.h"
#include "common/list.h"
#include "common/map.h"
#include "core/core.h"

/* ---- heap: the smallest (major, minor) first. A link is in at most one heap; its keys change outside of it,
 * or core_heap_moved() is told. */
struct core_link {
	uint64_t major, minor;
	size_t at; /* its place in the heap's array + 1; 0: in none */
};

struct core_heap {
	struct core_link **items;
	size_t n, room;
};

void core_heap_fini(struct core_heap *h);
void core_heap_put(struct core_heap *h, struct core_link *l);
void core_heap_remove(struct core_heap *h, struct core_link *l);
void core_heap_moved(struct core_heap *h, struct core_link *l);
void core_heap_check(const struct core_heap *h);

static inline struct core_link *core_heap_first(const struct core_heap *h)
{
	return h->n ? h->items[0] : NULL;
}

/* ---- index: rooms of nodes by cores, and among those of equal cores by memory. */
#define CORE_BUCKETS 1024u

struct core_room {
	struct core_link link; /* in the heap of its bucket */
	uint64_t cores, memory;
};

/* Bucket i holds rooms of i cores, the last one those of as many or more. */
struct core_index {
	struct core_heap buckets[CORE_BUCKETS];
	uint64_t filled[CORE_BUCKETS / 64]; /* a bit for each bucket that is not empty */
};

void core_index_fini(struct core_index *x);
/* Puts, moves, or (with no cores) takes out a room; `number` decides between equals. */
void core_index_set(struct core_index *x, struct core_room *r, uint64_t cores, uint64_t memory, uint64_t number);
/* The room of most cores, then most memory, that has at least so much of both; NULL if none has. */
struct core_room *core_index_find(const struct core_index *x, uint64_t cores, uint64_t memory);
void core_index_check(const struct core_index *x);

/* ---- nodes */
struct core_node {
	uint64_t number;
	struct core_node_spec spec;
	bool is_present; /* else only known from recorded attempts */
	bool is_open;    /* present and not suspended */
	uint64_t used_cores, used_memory, n_tasks;
	struct list tasks;
	struct core_room free, whole; /* in the core's two indexes if it is open and they are not empty */
};

struct core_class;
struct core_node *core_node_find(const struct core *c, uint64_t number);
struct core_node *core_node_new(struct core *c, uint64_t number);
void core_node_free(struct core *c, struct core_node *n);
/* After any change of spec, state or use: both indexes and the sums follow, and growth is noted for blocked classes. */
void core_node_changed(struct core *c, struct core_node *n);
void core_node_reserve(struct core *c, struct core_node *n, const struct core_class *k);
void core_node_release(struct core *c, struct core_node *n, const struct core_class *k);

/* ---- classes: tasks alike for placement, queued by priority and then arrival. */
struct core_class {
	uint32_t cores;
	uint64_t memory;
	struct core_class *next; /* of the same hash */
	size_t n_tasks, n_queued;
	struct map levels;      /* priority: struct core_level */
	struct core_heap order; /* of levels */
	struct core_link ready; /* in c->ready if something is queued and it is not blocked */
	struct list blocked;    /* in c->blocked */
};

struct core_level {
	struct core_link link;
	int64_t priority;
	struct list tasks;
};

struct core_task;
struct core_class *core_class_get(struct core *c, uint32_t cores, uint64_t memory);
/* The last task of a class frees it. */
void core_class_put(struct core *c, struct core_class *k);
void core_class_queue(struct core *c, struct core_task *t, bool is_again);
void core_class_unqueue(struct core *c, struct core_task *t);
struct core_task *core_class_first(const struct core_class *k);
void core_class_block(struct core *c, struct core_class *k);
void core_class_unblock(struct core *c, struct core_class *k);
uint64_t core_class_hash(uint32_t cores, uint64_t memory);

/* ---- tasks */
enum core_state {
	CORE_STATE_OVER, /* not in the table any more */
	CORE_STATE_QUEUED,
	CORE_STATE_ADOPTION,           /* recorded as running; its node has not said so yet */
	CORE_STATE_ADOPTION_CANCELLED, /* the same, to be stopped then */
	CORE_STATE_RUNNING,
	CORE_STATE_STOPPING, /* cancelled; its result will come */
	CORE_STATE_HELD,
	CORE_STATE_CANCELLED, /* over as soon as `cancelled` was called */
	CORE_STATES
};

enum core_event {
	CORE_EVENT_START,
	CORE_EVENT_CANCEL,
	CORE_EVENT_ADOPT, /* the attempt that counts */
	CORE_EVENT_ADOPT_OTHER,
	CORE_EVENT_ENDED,
	CORE_EVENT_ENDED_OTHER,
	CORE_EVENT_LOST,
	CORE_EVENT_LOST_TOO_OFTEN,
	CORE_EVENTS
};

/* What core_decide() is to call; `task` may be over by then, and what is no longer true is dropped. */
enum core_order_kind { CORE_ORDER_NONE, CORE_ORDER_STOP, CORE_ORDER_FENCE, CORE_ORDER_CANCELLED, CORE_ORDER_HELD };

struct core_order {
	enum core_order_kind kind;
	uint64_t task, node, attempt;
};

struct core_task {
	uint64_t number, attempt, arrival;
	int64_t priority;
	struct core_class *class;
	struct core_level *level; /* while it is queued */
	struct core_node *node;   /* while it has an attempt that counts */
	struct list link;         /* in the level or the node */
	enum core_state state;
	unsigned losses;
};

struct core_task *core_task_find(const struct core *c, uint64_t number);
/* Its first state is QUEUED, or ADOPTION with a node. */
struct core_task *core_task_new(struct core *c, uint64_t number, const struct core_task_spec *spec);
void core_task_begin(struct core *c, struct core_task *t, struct core_node *n, uint64_t attempt);
void core_task_forget(struct core *c, struct core_task *t);
void core_task_free(struct core *c, struct core_task *t); /* leaves it in the table */
bool core_task_allows(const struct core_task *t, enum core_event e);
bool core_task_has_node(const struct core_task *t);
/* Takes the step of the table, or -ESTALE if it has none. The task may be gone afterwards. */
int core_task_step(struct core *c, struct core_task *t, enum core_event e);

/* ---- match */
/* The next task to start and where; false if nothing fits anywhere. */
bool core_match_next(struct core *c, struct core_task **t, struct core_node **n);

struct core {
	struct core_actions actions;
	void *arg;
	unsigned crash_limit;
	struct map tasks, nodes, classes;
	struct core_heap ready;             /* classes that may fit somewhere, by their first task */
	struct list blocked;                /* classes that fit nowhere until room grows */
	uint64_t grown_cores, grown_memory; /* the most that any node has got since; 0 cores: nothing grew */
	struct core_index free, whole;
	struct buf orders;
	uint64_t n_arrived, last_attempt;
	uint64_t n_in_state[CORE_STATES];
	uint64_t n_present, n_open, cores, cores_free;
	bool is_deciding;
};

#endif
