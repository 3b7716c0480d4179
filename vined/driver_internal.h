/* SPDX-License-Identifier: Apache-2.0
 * What the driver's files share. */
#ifndef VINED_DRIVER_INTERNAL_H
#define VINED_DRIVER_INTERNAL_H

#include "common/map.h"
#include "core/core.h"
#include "vined/driver.h"
#include "vined/driver_look.h"

struct driver {
	struct driver_options o;
	struct core *core;
	struct before_sleep before_sleep;
	struct timer again; /* one more turn, at once */
	uint64_t last_task, last_run, last_node, last_attempt;
	struct map tasks;      /* without an acknowledged result */
	struct map runs;       /* by name */
	struct map runs_by_id; /* while loading */
	struct map nodes, nodes_by_uuid;
	uint64_t n_ended;
};

struct task {
	uint64_t id;
	struct run *run;
	struct session *session; /* who gets its result; NULL: nobody is there */
	struct list link;        /* in one of its run's or session's lists */
	struct list node_link;   /* in its node's, while an attempt counts */
	char *tag;               /* NULL: none */
	uint64_t attempt;        /* the latest; 0: none yet */
	struct node *node;       /* where it runs; NULL: nowhere */
	uint64_t memory;
	uint64_t command, environment;
	uint32_t cores, attempts, losses;
	uint32_t joins;       /* the node's join that listed it */
	struct node *lost_by; /* the last that could not say how its attempt ended */
	uint8_t state;        /* enum store_state */
	bool is_cancelled;
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

struct run {
	struct driver *driver;
	uint64_t id;
	char *name;
	bool is_attached; /* its tasks are cancelled when its client is gone */
	bool is_stored;
	unsigned n_holds;
	bool is_abandoned;               /* its client did not come back: nobody waits for its results */
	struct list unfinished, orphans; /* running or queued; ended while there was no session */
	size_t n_unfinished, n_ended;
	struct list sessions;
	struct buf gone;      /* sessions that left something behind; driver_session.c */
	struct timer is_gone; /* the client's time to come back */
};

struct node {
	struct driver *driver;
	uint64_t id;
	char *uuid, *name, *tier, *kernel;
	struct conn *conn; /* NULL: not connected */
	uint64_t instance;
	struct core_node_spec spec;
	enum { NODE_ABSENT, NODE_PRESENT, NODE_SUSPENDED } in_core;
	struct list running;
	size_t n_running;
	uint32_t joins;
	struct timer is_lost;
	/* Connected, but given no tasks: it could not begin one, or does not read what it is sent. */
	char *rest_reason;  /* NULL: it does not rest */
	uint64_t rest_usec; /* how long it rested the last time; 0: its last task ended well */
	struct timer rest;
	bool is_stuffed;
};

/* ---- driver.c */
struct task *task_new(struct driver *d, const struct store_task *t, struct run *r);
void task_free(struct task *t); /* takes it out of all lists and maps */
void task_set_node(struct task *t, struct node *n, uint64_t attempt);
/* Records the attempt that counts now. */
void task_record_start(struct task *t);
/* The node has no attempt of it any more. */
void task_record_lost(struct task *t, bool is_held);

/* ---- driver_run.c */
struct run *run_new(struct driver *d, const struct store_run *s);
void run_release(struct run *r); /* frees it if nobody needs it */
/* Begins the client's time if it is needed and not running yet. */
void run_watch_client(struct run *r);
void run_free(struct run *r);

/* ---- driver_session.c */
bool run_has_client(const struct run *r);
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

/* ---- driver_node.c */
struct node *node_new(struct driver *d, const struct store_node *s);
void node_free(struct node *n);
void node_wait(struct node *n); /* from here it has its time-out to come (back) */
/* Gives it no tasks for a while, longer each time until one ends well. */
void node_rest(struct node *n, const char *reason);
void node_did_well(struct node *n);
/* After something was sent to it: one that does not read gets no more until it does. */
void node_sent(struct node *n);
/* A node that could run the task if it did not rest; NULL: none. */
const struct node *node_find_resting(const struct driver *d, const struct task *t);

/* ---- driver_result.c */
/* Nobody waits for what has ended, nor for what will. */
void run_abandon_results(struct run *r);
/* Stores a result that vined itself gives. */
void task_end(struct task *t, uint8_t how, uint32_t status, const char *reason);

#endif
