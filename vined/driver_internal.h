/* SPDX-License-Identifier: Apache-2.0
 * What the driver's files share. */
#ifndef VINED_DRIVER_INTERNAL_H
#define VINED_DRIVER_INTERNAL_H

#include "common/map.h"
#include "core/core.h"
#include "vined/dense.h"
#include "vined/driver.h"
#include "vined/driver_data.h"
#include "vined/driver_feed.h"
#include "vined/driver_look.h"

/* Names that the core knows as well, or soon will: there may be only so many. */
struct names {
	char *at[CORE_FEATURES]; /* NULL: free */
	size_t n_holds[CORE_FEATURES];
};

struct driver {
	struct driver_options o;
	struct core *core;
	struct before_sleep before_sleep;
	struct timer again; /* one more turn, at once */
	struct timer due;   /* the core has something to do though nothing happens */
	uint64_t due_usec;  /* on the loop's clock; UINT64_MAX: never */
	uint64_t last_task, last_run, last_node, last_attempt, last_shape, last_item, last_tree;
	struct dense tasks;    /* without an acknowledged result, or with an output that may be needed again */
	struct map runs;       /* by name */
	struct map runs_by_id; /* while loading */
	struct map nodes, nodes_by_uuid;
	struct map nodes_by_address; /* where nodes ask each other; those that can be asked */
	struct map shapes;           /* by text */
	struct map shapes_by_id;     /* while loading */
	struct map items, items_by_key;
	struct item **item_slots; /* tasks name items by 32 bits; of a free slot the next free one, as a number */
	uint32_t n_item_slots, free_slot; /* 0: there is none */
	struct map keeps;                 /* of each shared path the output that is made there, or was last, by name */
	struct map grants;                /* driver_keep.c, by task */
	struct map trees_by_digest;
	struct map sources; /* by the first component of their paths */
	struct map fellows; /* driver_fellows.c, by item */
	struct map counters, category_settings;
	struct map awaited_settings; /* of runs that are not in memory, by run */
	struct names kinds, features;
	struct buf seen;           /* struct sight: fetches of nodes that see the item themselves */
	struct list fading;        /* items that nobody may need any more */
	struct list dirty;         /* replicas that changed since they were recorded */
	struct list pledging;      /* nodes that are to be told what to hold */
	struct list offers, given; /* driver_offer.c */
	struct list stages;        /* driver_stage.c */
	uint64_t last_stage;
	uint64_t profiles_size;
	struct list leaving;      /* driver_leave.c */
	struct list sole_changed; /* trees that may have become some node's alone, or not be so any more */
	struct timer sole;
	struct timer record;
	struct map deadlines; /* of tasks that were not begun, by their numbers */
	struct timer wall;
	uint64_t (*wall_clock)(void); /* a test's; NULL: the real one */
	int64_t wall_offset_usec;     /* wall clock minus loop's clock, as last seen */
	struct node *past;            /* driver_past.c; NULL: it is over */
	void (*on_event)(void *arg, const struct run *r, const struct wire_event *e);
	void *on_event_arg;
	struct feed feed;
	struct flows *flows; /* driver_flow.c */
	uint64_t n_ended;
	size_t n_connected; /* nodes */
	struct map arrays;
	struct list hungry; /* arrays */
	struct buf strays;  /* driver_stray.c */
	struct timer stray;
	uint64_t n_pending; /* elements of arrays */
	struct buf unfit;   /* struct unfit: of the database, what cannot run; driver_load.c */
};

struct task {
	uint64_t id;
	struct run *run;
	struct session *session; /* who gets its result; NULL: nobody is there */
	struct list link;        /* in one of its run's or session's lists */
	struct shape *shape;
	struct tries *tries; /* NULL: it was never begun */
	uint64_t command, environment;
	uint16_t n_inputs, n_outputs, n_items; /* n_items: places, whether they are used or not */
	uint8_t state;                         /* enum store_state */
	bool is_cancelled : 1, has_tag : 1, is_late : 1, has_deadline : 1, is_element : 1;
	bool is_counted : 1; /* in n_unfinished of what it names */
	uint32_t items[];    /* slots of inputs, then of outputs; then come its array and the tag */
};

/* What only a task has that was begun. */
struct tries {
	struct task *task;
	struct list link;     /* in its node's, while an attempt counts */
	struct node *node;    /* where it runs; NULL: nowhere */
	uint64_t attempt;     /* the latest; 0: none yet */
	uint64_t settled;     /* the last whose node said how it went, though the task goes on; 0: none */
	struct node *lost_by; /* the last that could not say how its attempt ended */
	uint32_t attempts;
	uint32_t joins; /* the node's join that listed it */
	uint16_t losses, failures;
	bool is_again; /* it has its result and runs for an output that was lost */
};

struct array_path {
	char *text;
	uint8_t mode;
};

/* driver_array.c */
struct array {
	struct list link;     /* in its run's */
	struct list hungry;   /* in the driver's, when it may have more to give */
	struct task *pattern; /* never entered: what its elements have in common */
	struct session *session;
	uint64_t id, n, next, first_index, step;
	struct map given; /* beyond next, by place + 1 */
	uint64_t deadline_usec;
	int64_t priority;
	uint32_t running;          /* at once; 0: any number */
	uint32_t n_live, n_queued; /* given and not over; of those not begun */
	uint64_t n_elements;       /* in memory */
	struct array_path *paths;  /* of the inputs */
	bool is_cancelled;         /* those that are pending end, some at a time */
	bool is_ending;            /* some of them are on their way to the disk */
};

/* A client attached to a run, or expected back. */
struct session {
	struct list link; /* in its run's, newest last */
	struct run *run;
	uint64_t id;               /* the client's instance */
	struct conn *conn;         /* NULL: away */
	size_t n_tasks;            /* its own: unfinished, or not acknowledged */
	struct list results, sent; /* to be sent; sent and not acknowledged */
	struct promise *attaching; /* nothing is sent before it is answered; NULL: it is */
	struct timer is_gone;
};

enum run_lifetime { LIFETIME_RUN, LIFETIME_TASK, LIFETIME_FOREVER };

struct run {
	struct driver *driver;
	uint64_t id;
	char *name;
	bool is_attached; /* its tasks are cancelled when its client is gone */
	bool is_stored;
	unsigned n_attached;             /* connections */
	unsigned n_holds, n_submits;     /* n_submits: on their way to the disk */
	bool is_abandoned;               /* its client did not come back: nobody waits for its results */
	struct list unfinished, orphans; /* running or queued; ended while there was no session */
	size_t n_unfinished, n_ended;    /* n_unfinished: elements of arrays that are pending, too */
	struct list arrays;
	struct list categories; /* driver_set.c */
	struct list sessions;
	struct buf gone;            /* sessions that left something behind; driver_session.c */
	struct timer is_gone;       /* the client's time to come back */
	struct list temps;          /* items that tasks of it make, until they are forgotten */
	enum run_lifetime lifetime; /* of those */
	struct timer is_over;       /* then they are forgotten */
	struct list waiters;        /* driver_over.c */
	unsigned n_waiters;
	uint64_t cancelled_to; /* arrays up to this number were cancelled as a whole */
	bool is_taking;        /* results for them are on their way to the disk */
};

struct node {
	struct driver *driver;
	uint64_t id;
	char *uuid, *name, *tier, *kernel, *address;
	struct conn *conn; /* NULL: not connected */
	uint64_t instance;
	struct core_node_spec spec; /* its lists are its own, their names the driver's */
	enum { NODE_ABSENT, NODE_PRESENT, NODE_SUSPENDED } in_core;
	bool has_data;
	struct list running; /* tries */
	size_t n_running;
	struct map replicas;     /* by the tree's number */
	uint64_t resident_size;  /* of them */
	uint64_t asked_usec;     /* when it last asked for bytes of an offer; on the loop's clock */
	struct buf pledges;      /* struct wire_pledge: to be told at the end of the turn */
	struct list pledging;    /* among those to be told */
	struct map fetches;      /* items on the way, by number */
	uint32_t joins, reports; /* reports: of all its replicas */
	struct timer is_lost;
	struct timer unsure; /* runs while it has not said since JOIN which of its replicas it still has */
	/* Connected, but given no tasks: it could not begin one, or does not read what it is sent. */
	char *rest_reason;  /* NULL: it does not rest */
	uint64_t rest_usec; /* how long it rested the last time; 0: its last task ended well */
	struct timer rest;
	bool is_stuffed;
	uint32_t minor;      /* of what it speaks */
	struct leave *leave; /* driver_leave.c; NULL: it stays */
	struct map profiles; /* that it knows, by the tree's number: how long they are */
};

/* What tasks ask for, each kind once. */
struct shape {
	struct store_shape row; /* its texts are its own */
	char *key;
	size_t n_tasks;
	struct core_amount named[CORE_NAMED], counters[CORE_COUNTERS];
	const char *features[CORE_FEATURES];
	size_t n_named, n_counters, n_features;
	char *names;             /* what they point to */
	bool is_recorded;        /* it has a row */
	bool has_names, is_told; /* has_names: they are held; is_told: the core knows them, and forgets none */
};

/* A tree as the core numbers it. One that no node told the digest of stands for what a node sees at a shared path. */
struct tree {
	uint64_t number;
	struct digest digest; /* algorithm 0: none */
	char text[DIGEST_TEXT_SIZE];
	uint64_t size; /* of all of it, as far as known */
	size_t n_items;
	struct list replicas;
	bool is_staged;      /* for ever: somebody wants, or wanted it on nodes */
	uint32_t n_needs;    /* items, and uploads, that have it from nodes alone */
	struct node *holder; /* who was told to hold it for them; NULL: nobody */
	struct buf profile;  /* its hot set, as in HOT_SET: driver_profile.c */
	struct node *last;   /* who was told to be the only one that has it; NULL: nobody */
	struct list sole;    /* among those that are to be looked at for that */
};

struct replica {
	struct list of_tree, dirty;
	struct node *node;
	struct tree *tree;
	uint64_t size;
	uint32_t report; /* the node's last that named it */
};

/* In the store: the signature of a temp that was made where nodes without data see it. */
#define ITEM_SEEN "seen"

/* Numbers of sources; those of shared paths follow. */
enum {
	SOURCE_NODE = 1, /* each node has it itself */
	SOURCE_SEEN = 2, /* made where every node without a cache sees it */
};

enum item_kind { ITEM_FILE, ITEM_NODE, ITEM_TREE, ITEM_TEMP };

struct item {
	uint64_t id;
	struct run *run;   /* whose it is: of what a task of it makes; else NULL */
	struct list link;  /* fading, or among its run's temps */
	struct tree *tree; /* NULL: not known */
	uint64_t size;
	uint64_t producer;     /* the task that makes it; 0: none */
	uint64_t producer_key; /* hash of that task's key; 0: it has none */
	uint64_t source;       /* as the core knows it; 0: nowhere */
	uint64_t reader;       /* the node that reads it there, of one whose tree is not known; 0: none */
	uint32_t slot;
	uint32_t n_refs;       /* tasks that name it and are not over, or may run again */
	uint32_t n_readers;    /* of those: that need it to run */
	uint32_t n_unfinished; /* of those: that are not over, also on their way to the disk */
	uint32_t n_stages;     /* wishes to have it on nodes */
	uint8_t kind;
	bool is_forgotten, is_failed,
		is_recorded;          /* is_recorded: it has a row; what a task makes gets it with that one's */
	bool is_over;                 /* its maker has its result */
	bool is_left;                 /* nodes were told that another one reads it */
	bool is_needing;              /* counted in its tree's n_needs */
	const char *name, *signature; /* within key */
	char *trouble;                /* why it can never be had from where it was to come; NULL */
	char key[];
};

/* ---- driver_task.c */
struct task *task_new(struct run *r, uint64_t id, struct shape *shape, size_t n_items, const char *tag,
		      struct array *a);
/* NULL: it is no element. */
struct array *task_array(const struct task *t);
/* Puts it where all are found, once it is stored. */
void task_enter(struct task *t, const struct store_task *s);
/* Takes it out of all lists and maps; also one that was never entered. */
void task_free(struct task *t);
/* Acknowledged: gone, unless an output of it may be needed again. */
void task_delivered(struct task *t);
/* It is over: what it named is given back, unless it may run again. */
void task_let_go(struct task *t);
const char *task_tag(const struct task *t);
struct task *task_find(const struct driver *d, uint64_t id);
/* Input or output k; and its next one, with the hold on it: inputs first. */
struct item *task_item(const struct task *t, size_t k);
void task_name_item(struct task *t, struct item *i, bool is_out);
/* It is stored and will never run: it ends with the reason, and so does what needs what it was to make. */
void task_refuse(struct task *t, int error, const char *reason);
/* Where it runs, or NULL. */
struct node *task_node(const struct task *t);
uint64_t task_attempt(const struct task *t);
struct tries *task_tries(struct task *t);
void task_set_node(struct task *t, struct node *n, uint64_t attempt);
/* Records the attempt that counts now. */
void task_record_start(struct task *t);
/* The node has no attempt of it any more. */
void task_record_lost(struct task *t, bool is_held);
/* Tells the core of it; at a restart with the node and attempt it is recorded with. */
int task_tell_core(struct task *t, int64_t priority, struct node *n, uint64_t attempt);
/* It runs, or will: it has no result yet, or runs again for an output. */
bool task_is_going(const struct task *t);

/* ---- driver_shape.c: each with a hold on it. NULL with the reason: too much of something. */
struct shape *shape_get(struct driver *d, const struct wire_task *t, struct shape *last, char reason[256]);
struct shape *shape_load(struct driver *d, const struct store_shape *s);
/* Puts its row, if it has none. */
void shape_record(struct driver *d, struct shape *s);
struct shape *shape_ref(struct shape *s);
void shape_unref(struct driver *d, struct shape *s);
/* Its number in the table, with a hold on it, or -E2BIG. */
int names_hold(struct names *n, const char *name, size_t most);
void names_fini(struct names *n);

/* ---- driver_item.c */
/* Finds or makes it for a task, with a hold on it: of a shared path that another task of the run makes, what that one makes. NULL with the
 * reason. */
struct item *item_get(struct run *r, const struct wire_binding *b, uint64_t task, char reason[256]);
/* A shared path as the run's own output. NULL: none was claimed. */
struct item *item_find_own(const struct run *r, const char *name);
bool item_is_keep(const struct item *i);
/* The same by name alone. NULL: it is no name. */
struct item *item_get_quietly(struct run *r, const char *name, uint64_t size);
struct item *item_load(struct driver *d, struct run *r, const struct store_item *s);
/* Of those that are every run's, with a hold on it. NULL: it is no name of one. */
struct item *item_get_shared(struct driver *d, const char *name, const char *signature);
struct item *item_find(const struct run *r, const char *name);
/* Its row as it is now; texts are the store's open batch's. */
struct store_item item_row(struct driver *d, const struct item *i);
void item_record(struct driver *d, struct item *i);
void item_ref(struct item *i);
/* was_read: by a task that was stored. */
void item_unref(struct driver *d, struct item *i, bool was_read);
void item_forget(struct driver *d, struct item *i);
/* Frees those that nobody needs. */
void items_fade(struct driver *d);
void item_free(struct driver *d, struct item *i);
/* It is this tree. */
void item_set_tree(struct driver *d, struct item *i, struct tree *t);
/* Nodes see it themselves: those without data, and what lies at a shared path all. */
void item_is_seen(struct driver *d, struct item *i);
/* An output of it may be needed again. */
bool item_is_kept(const struct item *i);
bool item_is_there(const struct item *i);
uint64_t item_key_hash(const char *key);
/* Of a shared path, as the core knows it: where it is read. */
uint64_t item_source_of(struct driver *d, const char *path);

/* ---- driver_keep.c */
bool keep_is_output(const struct wire_binding *b);
/* The task makes what the binding names from now on; with a hold on it. NULL with *error and the reason. */
struct item *keep_claim(struct run *r, uint64_t task, const struct wire_binding *b, const char *key, int *error,
			char reason[256]);
/* While loading: what a task was granted before. */
void grant_load(struct driver *d, const struct store_task *s);
void grant_end(struct driver *d, uint64_t task);
/* The hash of the key of the task that makes it. */
uint64_t key_of_maker(struct item *i);

/* ---- driver_tree.c */
struct tree *tree_get(struct driver *d, const struct digest *digest, uint64_t size);
struct tree *tree_make(struct driver *d, uint64_t size);
void tree_identify(struct driver *d, struct tree *t, const struct digest *digest);
void tree_put(struct driver *d, struct tree *t);
/* A node that has it says how large it is: others may have guessed. */
void tree_resize(struct driver *d, struct tree *t, uint64_t size);
void replica_set(struct node *n, struct tree *t, uint64_t size);
void replicas_drop(struct node *n, bool is_told);
void replicas_record(struct driver *d);

/* ---- driver_fetch.c: the core's actions about bytes */
void fetch_begin(void *arg, const struct core_fetch *f);
void fetch_stop(void *arg, uint64_t node, uint64_t item);
/* Ends those of nodes that see the item themselves; false: there were none. Not from within an action. */
bool fetch_see(struct driver *d);
/* It came anew and may know of none that it was told. */
void fetches_restart(struct node *n);
void fetches_drop(struct node *n);
/* Why it could not bring it here when it last tried; NULL: it does not try, or has not failed. */
const char *fetch_trouble(const struct node *n, const struct item *i);

/* ---- driver_fellows.c */
/* That node, and `n`, read an item of which nobody knows the tree. */
void fellows_join(const struct item *i, const struct node *reader, const struct node *n);
void fellows_forget(struct driver *d, uint64_t item);

/* ---- driver_hold.c */
/* Its tree, source or name has changed, or it goes. */
void hold_item(struct driver *d, struct item *i, bool is_going);
/* It is needed once more, or no more. */
void hold_need(struct driver *d, struct tree *t);
void hold_release(struct driver *d, struct tree *t);
/* A node has all of it, or not any more: a node is looked for, if one must be. */
void hold_settle(struct driver *d, struct tree *t);
/* The node has told all that it has: it is told all that it is to hold. */
void hold_tell_all(struct node *n);
void holds_flush(struct driver *d);
/* A person wants it there (is_over: not any more). */
void hold_pin(struct node *n, const struct tree *t, bool is_over);

/* ---- driver_stage.c */
/* False: it is no setting of ours. */
bool stage_load(struct driver *d, const char *name, const char *value);
/* All that it names is there, as far as it is. */
void stages_load_end(struct driver *d);
/* It has said what it has. */
void stages_node_came(struct node *n);
/* A node has all of it, or not any more. */
void stages_settle(struct driver *d, struct tree *t);
/* Somebody wants it brought there. */
bool stages_want(const struct node *n, const struct tree *t);
void stages_free(struct driver *d);

/* ---- driver_profile.c: what is read first of trees */
bool profile_is_known(const struct item *i);
/* It is about to be told to fetch this: what is read first of it comes before. */
void profile_tell(struct node *n, const struct item *i);
void profile_forget(struct driver *d, struct tree *t);

/* ---- driver_leave.c: nodes that go, or are to */
bool leave_load(struct driver *d, const char *name, const char *value);
/* What only it has is brought to others. */
bool node_is_leaving(const struct node *n);
/* Why it is given no tasks; NULL: it is. */
const char *leave_resting(const struct node *n);
/* It is the holder of a tree that is needed. */
void leave_holds(struct node *n, struct tree *t);
/* It has joined: is_new: as another process than before. */
void leave_joined(struct node *n, bool is_new);
/* Its connection is gone. */
void leave_gone(struct node *n);
/* At the end of each turn. */
void leaves_look(struct driver *d);
/* A copy that was to come there and was stopped with what else wanted it there; `t` NULL: there is none. */
void leaves_bring(struct node *to, const struct tree *t);
void leave_free(struct node *n);
void leaves_stop(struct driver *d); /* copies, and who waits for them */
/* By its name or id, one that is connected before others. */
struct node *node_find(const struct driver *d, const char *name);

/* ---- driver_offer.c */
/* False: it was not fetched for an offer. */
bool offer_fetched(struct node *n, const struct wire_fetched *m);
void offers_node_came(struct driver *d);
void offers_node_left(struct node *n);
void offers_free(struct driver *d);

/* ---- driver_array.c */
struct array *array_new(struct task *pattern, const struct store_task *s);
void array_free(struct array *a);
void array_claim(struct array *a, struct session *s);
uint64_t array_pending(const struct array *a);
uint64_t array_index(const struct task *t);
/* The text with each {index} replaced; yours to free. */
char *array_expand(const char *text, uint64_t index);
/* An element that is recorded; NULL: it was given before. */
struct task *array_give(struct array *a, const struct store_task *s);
/* Gives the core more. */
void arrays_feed(struct driver *d);
void array_begun(struct task *t);
void array_ended(struct task *t, bool was_begun);
void array_element_freed(struct array *a);
struct array *array_of_pending(const struct run *r, uint64_t id);
void array_cancel(struct array *a, uint64_t id);
/* All that are pending. */
void array_abandon(struct array *a);
size_t array_pending_ids(const struct array *a, uint64_t *ids);
/* Paths go into `texts`. */
void array_inputs(const struct task *t, struct wire_input *inputs, struct buf *texts);

/* ---- driver_past.c: at a restart, it holds what the nodes that are not back yet may hold */
#define PAST_NODE (UINT64_MAX >> 1)
void past_has(struct driver *d, struct tree *t);
/* A node that is there has it. */
void past_gives(struct driver *d, struct tree *t);
void past_end(struct driver *d);

/* ---- driver_load.c: once operations may be put, ends what cannot run. */
void load_end(struct driver *d);

/* ---- driver_start.c */
int send_start(struct task *t);
struct wire_input start_input(const struct item *i, const char *path, uint8_t mode, uint8_t flags);
/* As a shape and a result have them, a line each; *to is the caller's to free, and *copy, in which they lie. */
struct wire_texts split_lines(const char *lines, const char ***to, char **copy);

/* ---- driver_deadline.c */
void deadline_set(struct task *t, uint64_t wall_usec);
void deadline_end(struct task *t);
uint64_t wall_usec(const struct driver *d);

/* ---- driver_again.c */
/* Answers and frees the promise if all of it is recorded under its keys. */
bool submit_again(struct run *r, const struct wire_submit *m, uint64_t session, struct promise *p);

/* ---- driver_stray.c */
/* While loading: an item of a run that is over, which nobody can name any more. */
void stray_found(struct driver *d, uint64_t item);
void strays_forget(struct driver *d);

/* ---- driver_set.c */
void category_name(struct run *r, const char *category, char text[256]);
/* Of a run that is not in memory: until it is. */
void setting_await(struct driver *d, uint64_t run, const char *name, const char *value);
void settings_arrive(struct run *r);
/* Puts that all arrays there are of it are cancelled. */
void setting_cancelled(struct run *r, bool is_kept);
void setting_load(struct driver *d, struct run *r, const char *name, const char *value);
/* The run leaves memory; what was set of it can be read again. */
void settings_leave(struct run *r);
void settings_forget(struct driver *d);
/* Of what the counter has; false: nobody has set it. */
bool counter_total(const struct driver *d, const char *name, uint64_t *total);

/* ---- driver_why.c */
void why_text(const struct driver *d, const struct task *t, const struct core_why *why, char reason[256]);

/* ---- driver_feed.c */
/* Once they are recorded: what is told here is in the tables, too. */
void feed_started(struct store_op *op, int error);
void feed_ended(struct driver *d, const struct store_result *e);
void feed_event(struct driver *d, const char *what);
void feed_begin(struct driver *d);
void feed_free(struct driver *d);

/* ---- driver_event.c */
void event_tell(struct driver *d, const struct run *r, const char *what, uint64_t task, const struct node *n,
		const char *reason);

/* ---- driver_flow.c */
void flows_new(struct driver *d); /* with the sums of those before */
void flows_free(struct driver *d);

/* ---- driver_run.c */
struct run *run_new(struct driver *d, const struct store_run *s);
void run_release(struct run *r); /* frees it if nobody needs it */
struct run *run_hold(struct run *r);
void run_unhold(struct run *r);
/* Up to this number. */
void run_cancel_arrays(struct run *r, uint64_t to);
/* Begins the client's time if it is needed and not running yet. */
void run_watch_client(struct run *r);
void run_free(struct run *r);
/* Its row, if storing it failed before. */
void run_store_again(struct run *r);

/* ---- driver_session.c */
bool run_has_client(const struct run *r);
/* Who gets what a client with this number submitted; NULL: nobody is there. */
struct session *session_for(struct run *r, uint64_t id, bool is_loading);
void task_claim(struct task *t, struct session *s);
void task_claim_by_id(struct task *t, uint64_t id, bool is_loading);
void task_reclaim(struct task *t, uint64_t id);
/* It has ended: puts it where its session's connection will find it. */
void task_queue_result(struct task *t);
int session_attach(struct run *r, uint64_t id, struct conn *c, struct promise *p);
/* The run's row is on disk, or not: who attaches to it is answered. */
void session_stored(struct run *r, int error);
void session_leave(struct run *r, const struct conn *c, bool may_return);
void session_await(struct session *s); /* its time to come back begins */
void session_free(struct session *s);
bool session_has_room(const struct session *s);

/* ---- driver_node.c */
struct node *node_new(struct driver *d, const struct store_node *s);
void node_free(struct node *n);
void node_wait(struct node *n); /* from here it has its time-out to come (back) */
/* Gives it no tasks for a while, longer each time until one ends well. */
void node_rest(struct node *n, const char *reason);
void node_did_well(struct node *n);
/* It has said all that it has. */
void node_has_reported(struct node *n);
/* Why it is given no tasks though it is connected; NULL: it is. */
const char *node_resting(const struct node *n);
/* After something was sent to it: one that does not read gets no more until it does. */
void node_sent(struct node *n);
/* Whether it is given tasks may have changed. */
void node_settle(struct node *n);
/* A node that could run the task if it did not rest; NULL: none. */
const struct node *node_find_resting(const struct driver *d, const struct task *t);

/* ---- driver_result.c */
/* Nobody waits for what has ended, nor for what will. */
void run_abandon_results(struct run *r);
/* Stores a result that vined itself gives. */
void task_end(struct task *t, uint8_t how, uint32_t status, const char *reason);

/* ---- driver_over.c */
/* What ends now and is no session's need not be delivered. */
bool run_takes_results(const struct run *r);
/* Something of it is over, or delivered, or nobody's now. */
void run_note(struct run *r);
void waiters_free(struct run *r);

/* ---- driver_send.c */
void result_send(struct task *t, const struct store_result *e, uint32_t attempts);

#endif
