/* SPDX-License-Identifier: Apache-2.0
 * What `vine top` knows: rows of vined's answers as numbers and texts, and what follows from two of them, one after the other (how many tasks end
 * a second, how long a run will take). Knows neither terminal nor connection. Texts are as others gave them, so not fit to be printed as they are. */
#ifndef TOOLS_TOP_MODEL_H
#define TOOLS_TOP_MODEL_H

#include "tools/counts.h"
#include "tools/tools.h"

#define TOP_ROWS 200u   /* of a list, at most */
#define TOP_HISTORY 60u /* rates that are kept */
#define TOP_REASONS 12u
#define TOP_TEXT 256

struct top_cluster {
	char name[TOP_TEXT], version[32], address[TOP_TEXT], state[TOP_TEXT];
	uint64_t uptime_sec, nodes, known_nodes, cores, cores_free, queued, running, held, runs;
	uint64_t submitted, over, for_inputs, staging, fetches, items;
	bool is_settled;
};

struct top_reason {
	char text[TOP_TEXT];
	uint64_t n, task, asked;
};

struct top_run {
	char name[TOP_TEXT];
	uint64_t unfinished, running, untaken;
	bool is_attached;
	/* What is asked more seldom. */
	bool has_counts;
	struct counts counts;
	uint64_t counted_usec, counted_unfinished;
	double rate; /* tasks that end a second; 0: not known */
};

struct top_node {
	char name[TOP_TEXT], state[TOP_TEXT], tier[32], address[TOP_TEXT];
	uint64_t cores_used, cores, memory_used, memory, running, task_limit, gpus, cache, trees, fetches;
};

struct top_task {
	uint64_t id, attempts, status, started_usec, wall_usec, cores, memory;
	char run[TOP_TEXT], name[TOP_TEXT], state[16], node[TOP_TEXT], reason[TOP_TEXT], how[16];
};

struct top_item {
	char name[TOP_TEXT], run[TOP_TEXT], state[16];
	uint64_t size, nodes, tasks, made_by;
};

/* Bytes of an item that come to a node from one who gives them. */
struct top_transfer {
	char from[TOP_TEXT], to[TOP_TEXT], item[TOP_TEXT], origin[16];
	uint64_t rate, done, rest; /* rest: of the item, whoever gives it */
};

/* Since the cluster was made. */
struct top_moved {
	uint64_t nodes, sources, clients, needed;
};

/* This machine's cache, of which the node's door tells. */
struct top_cache {
	bool is_there, is_sick;
	char path[TOP_TEXT], reason[TOP_TEXT];
	uint64_t size, quota, trees, damaged;
};

struct top_model {
	bool is_there;               /* anything was answered yet */
	char trouble[TOP_TEXT];      /* why nothing is answered now; "": it is */
	uint64_t at_usec, runs_usec; /* of the cluster's row, and of the runs'; monotonic */
	struct top_cluster cluster;
	struct counts counts;  /* of all tasks */
	uint64_t counted_over; /* of the cluster's row when they were asked */
	bool has_counts;
	struct top_reason reasons[TOP_REASONS];
	size_t n_reasons;
	struct top_run runs[TOP_ROWS];
	struct top_node nodes[TOP_ROWS];
	struct top_task tasks[TOP_ROWS];
	struct top_item items[TOP_ROWS];
	struct top_transfer transfers[TOP_ROWS];
	size_t n_runs, n_nodes, n_tasks, n_items, n_transfers;
	struct top_moved moved;
	struct top_cache cache;
	/* Tasks that ended a second, the newest last. */
	double rates[TOP_HISTORY];
	size_t n_rates;
	struct buf detail;        /* lines */
	char detail_of[TOP_TEXT]; /* the task or item they are about */
};

struct top_model *top_model_new(void);
struct top_model *top_model_copy(const struct top_model *m);
void top_model_free(struct top_model *m);
DEFINE_FREEP(struct top_model, top_model_free)

/* As vine_row_fn; arg is the model. A column that is not known is passed over, one that is missing leaves 0. Each list is emptied before by top_model_begin(). */
enum top_list_kind {
	TOP_REASONS_LIST,
	TOP_RUNS_LIST,
	TOP_NODES_LIST,
	TOP_TASKS_LIST,
	TOP_ITEMS_LIST,
	TOP_TRANSFERS_LIST
};
void top_model_begin(struct top_model *m, enum top_list_kind kind);
int top_on_cluster(void *arg, size_t n, const char *const names[], const char *const cells[]);
int top_on_reason(void *arg, size_t n, const char *const names[], const char *const cells[]);
int top_on_run(void *arg, size_t n, const char *const names[], const char *const cells[]);
int top_on_node(void *arg, size_t n, const char *const names[], const char *const cells[]);
int top_on_task(void *arg, size_t n, const char *const names[], const char *const cells[]);
int top_on_item(void *arg, size_t n, const char *const names[], const char *const cells[]);
int top_on_transfer(void *arg, size_t n, const char *const names[], const char *const cells[]);
int top_on_moved(void *arg, size_t n, const char *const names[], const char *const cells[]);

/* What was known before goes on: the rates; and of runs their rates and counts. After the row, or the rows, are in m. */
void top_follow_cluster(struct top_model *m, const struct top_model *before);
void top_follow_runs(struct top_model *m, const struct top_model *before);

/* "sweep/17", or "17" of one that has no name. */
const char *top_task_label(const struct top_task *t, char to[TOP_TEXT]);
bool top_is_over(const struct top_task *t);
/* waiting, held, running, done, failed, cancelled */
const char *top_task_state(const struct top_task *t);
/* NULL: it is not among those that are known. */
const struct top_run *top_find_run(const struct top_model *m, const char *name);
/* How many tasks it has, and how many of them are over; 0 while that was not asked. */
uint64_t top_run_tasks(const struct top_run *r);
uint64_t top_run_over(const struct top_run *r);
/* Seconds until it is over as it goes now; 0: not known. */
uint64_t top_rest_sec(const struct top_run *r);

/* Seconds until all of its item is there as it comes now; 0: not known. */
uint64_t top_transfer_sec(const struct top_model *m, const struct top_transfer *t);

#endif
