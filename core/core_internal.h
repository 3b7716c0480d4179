/* SPDX-License-Identifier: Apache-2.0
 * What the core's files share; core.c has the invariants. Higher files call lower ones only, in the order of core.h; what a lower
 * one finds out for a higher one it leaves in a queue of struct core: grown nodes, fresh lanes, orders, timers. */
#ifndef CORE_INTERNAL_H
#define CORE_INTERNAL_H

#include "common/base.h"
#include "common/buf.h"
#include "common/list.h"
#include "common/map.h"
#include "core/core_index.h"

/* ---- nodes */
#define CORE_WANTS 5u

/* Hot first: whoever looks for a node for a task reads one line of it. */
struct core_node {
	uint64_t number, score, score_of;
	uint64_t cores_free, cores_whole; /* what it counts for in the sums */
	uint32_t n_tasks, task_limit;
	uint32_t free_at, whole_at; /* in c->free and c->whole */
	bool is_present;            /* else only known from recorded attempts */
	bool is_open;               /* present and not suspended */
	bool is_mute;               /* no bytes come from it */
	bool is_offered;            /* open, not blocked: counted in the sums and in `whole` */
	bool is_special;            /* it has GPUs or something named */
	bool is_idle;               /* in c->free, and in neither c->grown nor c->asked */
	uint8_t health;
	struct list grown;         /* in c->grown or c->asked */
	struct core_bracket local; /* replicas of trees that have lanes in theirs */
	uint64_t n_turns, n_rotated;
	struct list tasks;
	struct core_vector whole, used;
	struct map replicas;           /* by the tree's number */
	struct list wants[CORE_WANTS]; /* moves to it that have not begun: by rank, then those that failed before */
	struct list wanting;           /* in c->wanting of the first that may begin */
	struct list serves;            /* neighbours that it is, to moves */
	uint32_t n_serves, n_in[2];    /* n_in: under way to it, of any rank; that tasks wait for */
	uint64_t rack, seen;           /* seen: by which choice of neighbours */
	struct core_rack *in_rack;
	uint32_t rack_at;
	/* ---- neighbour.c */
	uint64_t slow_usec;              /* until then it is named last */
	uint64_t blamed_by, blamed_usec; /* who could not reach it */
	struct core_timer shunned;       /* runs while it is not named */
	uint64_t gpus;                   /* bits in use */
	uint64_t *cores;                 /* the same; NULL until the first start */
	/* ---- health.c */
	uint32_t n_well, n_ill;
	uint64_t blocked_usec;
	struct core_timer blocked;
};

/* Nodes that are near each other. */
struct core_rack {
	uint64_t number;
	struct core_node **nodes;
	uint32_t n, room;
};

struct core_class;
struct core_lane;
struct core_task;
struct core_tree;
struct core_item;
struct core_node *core_node_find(const struct core *c, uint64_t number);
struct core_node *core_node_new(struct core *c, uint64_t number);
void core_node_free(struct core *c, struct core_node *n);
/* After any change of offer, state or use: indexes and sums follow, and growth is noted. */
void core_node_changed(struct core *c, struct core_node *n);
/* How much of each it has left, or nothing if no task may go there. */
bool core_node_room(const struct core *c, const struct core_node *n, struct core_vector *room);
/* Its room follows what was taken or given back. */
void core_node_settle(struct core *c, struct core_node *n);
int core_node_offer(struct core *c, struct core_node *n, const struct core_node_spec *s);
int core_node_fill_named(struct core *c, struct core_vector *v, const struct core_amount *named, size_t n_named,
			 const char *const *features, size_t n_features);
/* The need of a task that would start now: its wall time as an end. */
struct core_vector core_vector_at(const struct core *c, const struct core_vector *need);
bool core_node_covers(const struct core *c, const struct core_node *n, const struct core_vector *need);
void core_node_reserve(struct core *c, struct core_node *n, struct core_task *t);
void core_node_release(struct core *c, struct core_node *n, struct core_task *t);
void core_node_grew(struct core *c, struct core_node *n);
/* In or out of c->grown or c->asked; to NULL: out of both. */
void core_node_ask(struct core *c, struct core_node *n, struct list *to);
/* Who needs so much might find room at a node that will not ask for it by itself. */
bool core_node_any_idle(const struct core *c, const struct core_vector *need);

/* ---- health */
void core_health_count(struct core *c, struct core_node *n, bool went_well);
uint32_t core_health_limit(const struct core_node *n);
void core_health_unblock(struct core *c, struct core_node *n);

/* ---- categories, counters, users */
#define CORE_SAMPLES CORE_BUCKETS /* of measured amounts */

struct core_learned {
	uint32_t *counts; /* NULL: nothing was measured */
	uint64_t n, first;
};

struct core_category {
	char *name;
	uint64_t id; /* from 1 on, as it came */
	struct core_category_spec spec;
	uint64_t n_running;
	struct core_learned memory, disk;
	struct list classes;
	/* ---- slow.c */
	struct core_learned walls; /* how long they ran */
	struct list running;       /* that may get a second attempt, oldest first */
	uint64_t slow_usec;
	struct core_timer slow; /* when the oldest has run for that long */
};

struct core_counter {
	char *name;
	uint64_t id;
	uint64_t total, used;
	struct list uses; /* of struct core_counted */
};

struct core_counted {
	struct list link;
	struct core_class *class;
	struct core_counter *counter;
	uint64_t amount;
};

struct core_user {
	uint64_t number, last; /* the turn of its latest task */
	uint32_t weight;
};

struct core_category *core_category_get(struct core *c, const char *name);
struct core_counter *core_counter_get(struct core *c, const char *name);
struct core_user *core_user_get(struct core *c, uint64_t number);
uint64_t core_user_turn(struct core *c, struct core_user *u);
/* Of a class, or NULL: what keeps it from running anywhere. */
const char *core_category_stop(const struct core_class *k);
const struct core_counter *core_counter_stop(const struct core_class *k);
void core_category_take(struct core *c, struct core_class *k);
void core_category_give(struct core *c, struct core_class *k);

/* ---- learn */
void core_learn(struct core_learned *l, uint64_t amount);
/* What a first attempt is given where the most is `most`. */
uint64_t core_learn_first(const struct core_learned *l, uint64_t most);

/* ---- slow: who is to get a second attempt */
void core_slow_begun(struct core *c, struct core_task *t);
void core_slow_ended(struct core *c, const struct core_task *t);
void core_slow_set(struct core *c, struct core_category *g); /* its spec has changed */
void core_slow_due(struct core *c, struct core_category *g);

/* ---- classes: tasks alike for placement. */
struct core_class_key {
	struct core_vector need; /* memory and disk 0 where the category says */
	uint64_t category, user;
	uint64_t is_most; /* with all that the category allows */
	uint64_t n_counters;
	struct {
		uint64_t counter, amount;
	} counters[CORE_COUNTERS];
};

struct core_class {
	struct core_class_key key;
	uint64_t hash;
	uint32_t id;
	struct core_vector need; /* of what starts now */
	struct core_class *next; /* of the same hash */
	struct core_category *category;
	struct core_user *user;
	struct core_counted *counted; /* key.n_counters of them */
	struct list link;             /* in its category */
	size_t n_tasks, n_queued;
	struct list lanes;      /* of a watched one, those that are not empty */
	struct core_lane *base; /* of tasks without inputs to go by */
	bool is_stopped;        /* its lanes know that its category or a counter is used up */
};

/* Something outside may change what its lanes may do. */
static inline bool core_class_is_watched(const struct core_class *k)
{
	return k->category || k->key.n_counters;
}

int core_class_get(struct core *c, const struct core_task_spec *spec, struct core_class **k);
/* The same tasks with all that the category allows; NULL if it was that already. */
struct core_class *core_class_most(struct core *c, struct core_class *k);
/* The last task of a class frees it. */
void core_class_put(struct core *c, struct core_class *k);
uint64_t core_class_hash(const struct core_class_key *key);
uint64_t core_class_hash_word(uint64_t hash, uint64_t word);
/* Its category has learned, or changed. */
void core_class_renew(struct core *c, struct core_class *k);
bool core_class_is_limited(const struct core_class *k);
bool core_class_is_stopped(const struct core_class *k);

/* ---- queues of tasks by priority, then as they came. */
struct core_queue {
	size_t n;
	struct list tasks;        /* of the one priority there is */
	struct core_levels *more; /* of several; then `tasks` is empty */
};

void core_queue_init(struct core_queue *q);
void core_queue_put(struct core_queue *q, struct core_task *t, bool is_again);
void core_queue_remove(struct core_queue *q, struct core_task *t);
struct core_task *core_queue_first(const struct core_queue *q);
size_t core_queue_check(const struct core_queue *q, const struct core_lane *lane);

/* ---- lanes: the queued tasks of one class that go by the same tree, if any. */
struct core_lane {
	struct core_class *class;
	struct core_tree *tree; /* NULL: the class's base */
	struct core_queue queue;
	uint32_t anywhere_at, late_at;
	uint32_t local_at;   /* in its tree's bracket, which is in those of its holders */
	bool is_blocked : 1; /* it fits on no node that it may go to, but for those in c->grown and c->asked */
	bool is_late : 1;    /* its first task has waited for the tree's holders long enough */
	bool is_patient : 1, is_hungry : 1, is_fresh : 1; /* in which list it is; in the heap */
	uint8_t bucket;                                   /* how long it waits: which of c->patient it is in */
	struct core_link fresh;                           /* in c->fresh unless it is blocked */
	/* In c->patient while it waits for holders; in c->hungry if blocked, least recently served first. */
	struct list turn;
	union {
		uint64_t late_usec; /* patient until then */
		uint64_t served;    /* hungry: c->n_started when it was last served, or blocked */
	};
	struct list link; /* in its class, if that is watched and it is not empty */
	struct list of_tree;
};

struct core_lane *core_lane_get(struct core *c, struct core_class *k, struct core_tree *tree);
void core_lane_free(struct core *c, struct core_lane *l);
void core_lane_put(struct core *c, struct core_lane *l, struct core_task *t, bool is_again);
void core_lane_remove(struct core *c, struct core_task *t);
/* Puts it into the brackets in which it belongs now, and out of the others. */
void core_lane_settle(struct core *c, struct core_lane *l);
void core_lane_block(struct core *c, struct core_lane *l);
void core_lane_unblock(struct core *c, struct core_lane *l);
void core_lane_served(struct core *c, struct core_lane *l);
struct core_key core_lane_key(const struct core_lane *l);
bool core_lane_is_anywhere(const struct core_lane *l);
/* The one whose time to wait for holders is over first; NULL: none waits. */
struct core_lane *core_patient_first(const struct core *c);
void core_lane_late(struct core *c, struct core_lane *l);
void core_lane_renew(struct core *c, struct core_lane *l);
/* No node is kept for a large task any more. */
void core_keep_end(struct core *c);
/* How long its first task waits for a holder. */
uint64_t core_lane_wait_usec(const struct core *c, const struct core_lane *l);

/* ---- trees: who holds what. A tree that nobody knows by number yet has its item's, with the highest bit set. */
#define CORE_RARE 32 /* a tree with more holders is everywhere, as far as scoring goes */
#define CORE_ANONYMOUS (UINT64_C(1) << 63)
#define CORE_GROUP (UINT64_C(1) << 62) /* not bytes, but where the makers of one task's inputs went */
#define CORE_SECOND CORE_GROUP         /* of tasks: a second attempt */

struct core_replica {
	struct core_tree *tree;
	struct core_node *node;
	uint64_t size;     /* there */
	uint32_t at;       /* in tree->holders */
	uint32_t local_at; /* in the node's bracket */
	bool is_whole, is_hot;
	bool is_pinned;         /* of a group */
	bool is_bad;            /* it gave wrong bytes: nobody is told to ask for it */
	struct core_move *move; /* it is on the way; NULL: it is not */
	struct list waits;      /* of tasks placed there that wait for it */
};

struct core_tree {
	uint64_t number, size;
	struct core_replica **holders; /* on the way, too; the n_whole whole ones first */
	uint32_t n_holders, room, n_whole;
	uint32_t id;               /* with a class's, the key of a lane */
	bool is_wide;              /* has been on more than CORE_RARE nodes */
	bool is_local;             /* its bracket is in those of its holders */
	bool is_owned;             /* a group whose task still waits */
	uint64_t major;            /* what the holders' brackets have of it */
	struct core_bracket local; /* of lanes that wait for holders */
	struct list lanes, items;
	struct list parked;       /* moves that wait for somebody who has it or reads it */
	struct core_move *reader; /* has its source's token, or is in line for it; NULL: none */
};

struct core_tree *core_tree_get(struct core *c, uint64_t number);
struct core_tree *core_tree_find(const struct core *c, uint64_t number);
/* The best priority of its lanes or what they need least changed: the brackets of its holders follow. */
void core_tree_settle(struct core *c, struct core_tree *t);
/* A node has served it: the other trees there come first next time. */
void core_replica_rotate(struct core_replica *r);
/* If nothing refers to it. */
void core_tree_put(struct core *c, struct core_tree *t);
void core_tree_sized(struct core *c, struct core_tree *t, uint64_t size);
struct core_replica *core_replica_find(const struct core_node *n, const struct core_tree *t);
struct core_replica *core_replica_get(struct core *c, struct core_node *n, struct core_tree *t);
void core_replica_free(struct core *c, struct core_replica *r);
void core_replica_put(struct core *c, struct core_replica *r); /* if nothing is there and nothing comes */
void core_replica_sized(struct core_replica *r, uint64_t size);

/* ---- items */
enum core_item_state { CORE_ITEM_EXPECTED, CORE_ITEM_THERE, CORE_ITEM_LOST, CORE_ITEM_FAILED };

struct core_item {
	uint64_t number, size, source;
	struct core_tree *tree;
	struct core_task *producer;
	struct list waits;   /* of tasks that wait for it */
	struct list of_tree; /* in tree->items */
	uint64_t n_users;    /* tasks not over that name it as an input */
	uint64_t n_refs;     /* and those that are remembered, and its producer */
	uint64_t n_moves;
	uint8_t state;
	bool is_forgotten;
};

struct core_wait {
	struct list link;
	struct core_task *task;
};

struct core_waits {
	struct core_tree *group; /* of the tasks that make its inputs */
	uint32_t n, n_left;
	struct core_wait at[];
};

struct core_item *core_item_find(const struct core *c, uint64_t number);
struct core_item *core_item_new(struct core *c, uint64_t item, const struct core_item_spec *spec);
void core_item_free(struct core *c, struct core_item *i);
void core_item_put(struct core *c, struct core_item *i); /* if nothing names it */
/* Its tree's replicas become those of another tree. */
void core_item_set_tree(struct core *c, struct core_item *i, struct core_tree *t);

/* ---- supply */
/* After anything that may have made it come or go: who waits is told, who made it is asked again. */
void core_supply_settle(struct core *c, struct core_item *i);
void core_supply_settle_all(struct core *c, struct core_tree *t);
void core_supply_fail(struct core *c, struct core_item *i);
/* Fails what is queued and needs an item that failed. */
void core_supply_sweep(struct core *c);
/* A task is over: what it was to make and did not will never be. */
void core_supply_end(struct core *c, const struct core_task *t);
/* Makes what was lost once more. */
void core_supply_again(struct core *c, struct core_item *i);

/* ---- waits */
bool core_wait_has_all(const struct core_task *t);
void core_wait_begin(struct core_task *t); /* for the items that are not there */
void core_wait_end(struct core_task *t);
struct core_waits *core_waits_new(struct core_task *t); /* for replicas; as many as it has inputs */
void core_waits_add(struct core_task *t, struct list *to);
bool core_wait_is_over(struct core_wait *w); /* and none of the task's is left */
const struct core_item *core_wait_failed(const struct core_task *t);

/* ---- anchor: the tree whose holders a task goes by; NULL: none. */
struct core_tree *core_anchor_find(struct core *c, struct core_task *t);
uint64_t core_anchor_score(const struct core_task *t, const struct core_node *n);
/* Of a task that waits: those that make its inputs and are queued go by its group from now on. */
void core_anchor_follow(struct core *c, const struct core_task *consumer);
void core_anchor_note(struct core *c, const struct core_task *maker, struct core_node *n);
void core_anchor_leave_group(struct core *c, struct core_task *t);

/* ---- tasks */
enum core_state {
	CORE_STATE_OVER,    /* not in the table any more */
	CORE_STATE_WAITING, /* for items */
	CORE_STATE_QUEUED,
	CORE_STATE_STAGING,            /* it has its room on a node; bytes come */
	CORE_STATE_ADOPTION,           /* recorded as running; its node has not said so yet */
	CORE_STATE_ADOPTION_CANCELLED, /* the same, to be stopped then */
	CORE_STATE_RUNNING,
	CORE_STATE_STOPPING, /* cancelled; its result will come */
	CORE_STATE_HELD,
	CORE_STATE_CANCELLED, /* over as soon as `cancelled` was called */
	CORE_STATE_FAILED,    /* over as soon as `failed` was called */
	CORE_STATE_DONE,      /* ended well; remembered for what it made */
	CORE_STATES
};

enum core_event {
	CORE_EVENT_PLACE,
	CORE_EVENT_START,
	CORE_EVENT_READY, /* all its inputs are there */
	CORE_EVENT_AWAIT, /* one is not any more; it looks for itself what holds it up */
	CORE_EVENT_CANCEL,
	CORE_EVENT_ADOPT, /* the attempt that counts */
	CORE_EVENT_ADOPT_OTHER,
	CORE_EVENT_ENDED,
	CORE_EVENT_ENDED_OTHER,
	CORE_EVENT_LOST,
	CORE_EVENT_LOST_TOO_OFTEN,
	CORE_EVENT_FAIL,
	CORE_EVENT_AGAIN, /* what it made was lost */
	CORE_EVENT_RELEASE,
	CORE_EVENTS
};

/* What core_decide() is to call; `task` may be over by then, and what is no longer true is dropped. */
enum core_order_kind {
	CORE_ORDER_NONE,
	CORE_ORDER_STOP,
	CORE_ORDER_FENCE,
	CORE_ORDER_CANCELLED,
	CORE_ORDER_HELD,
	CORE_ORDER_FAILED,
	CORE_ORDER_START, /* staged: its bytes are there */
	CORE_ORDER_FETCH_STOP,
	CORE_ORDER_PIN,
	CORE_ORDER_FAIL,   /* of a task with a place: node is the item */
	CORE_ORDER_RETURN, /* it does not get its bytes there */
	CORE_ORDER_AGAIN,  /* make an item once more */
	CORE_ORDER_FORGET, /* what it made is not needed any more */
};

struct core_order {
	enum core_order_kind kind;
	uint64_t task, node, attempt; /* FETCH_STOP, PIN, AGAIN: task is the item */
};

#define CORE_WORDS 16u /* a node of more cores than fit gets no bits for the rest */

/* What it has taken of its node. */
struct core_hold {
	struct core_task *task, *other; /* whose; its second attempt, or the task of which it is that */
	struct list running;            /* in its category or in c->slow, while it may get a second attempt */
	uint64_t began_usec;            /* 0: nobody knows */
	uint64_t gpus;
	uint32_t n_dims, n_words;
	uint64_t at[]; /* n_dims amounts, then n_words of cores */
};

static inline uint64_t *core_hold_cores(const struct core_hold *h)
{
	return (uint64_t *)h->at + h->n_dims;
}

struct core_deadline {
	struct core_timer timer;
	struct core_task *task;
};

/* Its first 64 bytes are all that queues look at. */
struct core_task {
	uint64_t number, attempt, arrival;
	int64_t priority;
	struct core_class *class;
	union {
		struct core_lane *lane; /* while it is queued */
		struct core_node *node; /* while it has room on one */
	};
	struct list link;         /* in the lane or the node */
	struct core_waits *waits; /* for items or, on a node, for replicas */
	struct core_hold *held;   /* what it has taken of its node */
	struct core_deadline *deadline;
	uint32_t n_inputs, n_outputs;
	uint16_t losses;
	uint8_t state, reason;
	uint8_t when;
	bool is_user;              /* counted in its inputs' n_users */
	bool is_second;            /* attempt of another task: held->other */
	bool holds;                /* what would fail is held */
	bool is_again;             /* it was over once, and runs for what was lost */
	struct core_item *items[]; /* inputs, then outputs */
};

struct core_task *core_task_find(const struct core *c, uint64_t number);
int core_task_new(struct core *c, uint64_t number, const struct core_task_spec *spec, struct core_task **t);
/* Its first state is QUEUED, WAITING or HELD, or ADOPTION with a node. */
void core_task_begin(struct core *c, struct core_task *t, struct core_node *n, uint64_t attempt);
void core_task_forget(struct core *c, struct core_task *t);
/* From none; its place in the queue or on its node, or what it waits for. */
void core_task_enter(struct core *c, struct core_task *t, enum core_state next);
void core_task_free(struct core *c, struct core_task *t); /* leaves it in the table */
bool core_task_allows(const struct core_task *t, enum core_event e);
bool core_task_has_node(const struct core_task *t);
/* It is remembered after its end for what it made. */
bool core_task_is_kept(const struct core_task *t);
/* Takes the step of the table, or -ESTALE if it has none. The task may be gone afterwards. */
int core_task_step(struct core *c, struct core_task *t, enum core_event e);
/* PLACE, and adopting from where it had no node. */
int core_task_step_to(struct core *c, struct core_task *t, enum core_event e, struct core_node *n);
/* Its node is lost, or knows nothing of it. */
int core_task_lose(struct core *c, struct core_task *t);
/* Another attempt of the same task on this node; it ends with the task, or is fenced or lost before. */
struct core_task *core_task_second(struct core *c, struct core_task *t, struct core_node *n);
struct core_task *core_task_other(const struct core_task *t);
void core_task_end_second(struct core *c, struct core_task *second, bool is_fenced);
/* Before a step of either: whether that was all there was to do. */
bool core_second_leaves(struct core *c, struct core_task *t, enum core_event e, enum core_state next);
void core_order(struct core *c, enum core_order_kind kind, uint64_t task, uint64_t node, uint64_t attempt);

/* ---- warm: before a node is asked; before the holders of a task's inputs are */
void core_warm(struct core *c);
void core_warm_holders(const struct core_task *t);

/* ---- place, match */
void core_place(struct core *c, struct core_task *t, struct core_node *n);
void core_place_start(struct core *c, struct core_task *t);
/* More of a replica is there: who waits for it may start. */
void core_place_arrived(struct core *c, struct core_replica *r);
void core_place_second(struct core *c, struct core_task *t, struct core_node *n);
/* Places one task; false if nothing fits anywhere. */
bool core_match_next(struct core *c);

/* The same for a second attempt, when nothing else can be placed. */
bool core_match_second(struct core *c);

struct core {
	struct core_actions actions;
	void *arg;
	struct core_options o;
	uint64_t now_usec;
	struct core_heap due;
	struct list patient[CORE_PATIENT];
	uint64_t has_patient[CORE_PATIENT / 64];
	uint64_t n_timers;
	struct core_names kinds, features;
	uint32_t n_dims;
	struct map tasks, nodes, classes, lanes, items, trees, sources, users;
	struct map categories, counters; /* by name */
	struct core_heap fresh;          /* lanes that may fit somewhere, by their first task */
	struct core_bracket anywhere, late;
	struct core_bracket free, whole; /* nodes */
	struct list grown;               /* nodes with room that blocked lanes have not been asked about */
	struct list asked;               /* the same, to be asked again when no lane is fresh */
	struct list hungry;
	struct list slow;       /* holds of attempts that are to get a second one */
	struct core_node *kept; /* no task goes there but of kept_for, the lane that waits for a large room */
	struct core_lane *kept_for;
	struct list wanting[CORE_WANTS]; /* nodes with wants that may begin, by the first of these */
	struct list woken;               /* moves for which there is a token */
	struct list lonely;              /* moves under way with few neighbours, or that are to be told something */
	struct map racks;
	struct buf bad;            /* replicas that gave wrong bytes; neighbour.c */
	uint64_t random, n_chosen; /* n_chosen: choices of neighbours */
	struct buf orders;
	uint64_t n_arrived, n_started, last_attempt, turn;
	uint32_t n_ids;
	uint64_t n_missing;      /* items that were lost or failed */
	struct core_timer sweep; /* for queued tasks that need a failed item; supply.c */
	unsigned n_warm;         /* nodes to ask until core_warm() looks ahead again */
	uint64_t n_scored, n_moves, n_fetched, n_replicas;
	uint64_t rate;
	uint64_t n_in_state[CORE_STATES];
	uint64_t n_present, n_open, n_idle, cores, cores_free;
	uint64_t n_judged, n_ill, n_seconds;
	uint64_t n_tokens;                /* of all sources, with those that fetch */
	const struct core_task *starting; /* while `start` is called */
	bool is_deciding;
};

#include "core/core_moves.h"

#endif
