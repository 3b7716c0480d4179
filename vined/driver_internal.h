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
	struct list link;      /* in one of its run's lists */
	struct list node_link; /* in its node's, while an attempt counts */
	char *tag;             /* NULL: none */
	uint64_t attempt;      /* the latest; 0: none yet */
	struct node *node;     /* where it runs; NULL: nowhere */
	uint64_t memory;
	uint64_t command, environment;
	uint32_t cores, attempts, losses;
	uint32_t joins; /* the node's join that listed it */
	uint8_t state;  /* enum store_state */
	bool is_cancelled;
};

struct run {
	struct driver *driver;
	uint64_t id;
	char *name;
	bool is_attached; /* its tasks are cancelled when its client is gone */
	bool is_stored;
	unsigned n_holds;
	struct list unfinished, results, sent; /* running or queued; to be sent; sent and not acknowledged */
	size_t n_unfinished, n_ended;
	struct conn *conn;    /* who gets the results */
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

/* ---- driver_node.c */
struct node *node_new(struct driver *d, const struct store_node *s);
void node_free(struct node *n);
void node_wait(struct node *n); /* from here it has its time-out to come (back) */

/* ---- driver_result.c */
/* Stores a result that vined itself gives. */
void task_end(struct task *t, uint8_t how, uint32_t status, const char *reason);

#endif
