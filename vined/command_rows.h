/* SPDX-License-Identifier: Apache-2.0
 * What answers to QUERY are made of; command.c, command_tasks.c and command_why.c share it. */
#ifndef VINED_COMMAND_ROWS_H
#define VINED_COMMAND_ROWS_H

#include "vined/command.h"

/* Cells one after the other, each ended by NUL. */
struct rows {
	struct command *command;
	struct buf cells;
	uint32_t n_cells, n_rows, most;
	bool is_cut;
};

/* False if there are enough rows. */
bool rows_begin(struct rows *t);
void rows_put(struct rows *t, const char *fmt, ...) _printf_(2, 3);
void rows_put_number(struct rows *t, uint64_t n);
/* "": no time. */
void rows_put_time(struct rows *t, int64_t usec);

/* ---- command_tasks.c. Selectors: "17", "RUN", "RUN/WORD", "RUN/1-9", "RUN@failed" (or "@failed" of all runs), "tag:WORD" or "RUN@tag:WORD", "" all.
 * A WORD is what a task is called within its run: its key, an element's index, or its number. */
#define TASK_COLUMNS                                                                                                   \
	"task", "run", "tag", "state", "node", "attempts", "how", "status", "reason", "submitted", "name", "exceeded", \
		"err_size", "wall_usec", "started", "local_size", "moved_size", "peer_size", "source_size",            \
		"client_size"
/* command_tag.c: the ids of up to `most` tasks of this tag; run 0: of all runs. 0 or -errno. Reads all that there are. */
int rows_find_tag(struct rows *t, uint64_t run, const char *tag, uint32_t most, struct buf *ids);
int rows_list_tasks(struct rows *t, const char *selector);

/* worst: the largest exit status of those that are over. */
#define COUNT_COLUMNS "run", "waiting", "running", "held", "done", "failed", "cancelled", "worst"
int rows_list_counts(struct rows *t, const char *selector);

/* Why tasks of a run, or all, wait: by reason, the commonest first. Of many only some are asked: `asked`. */
#define WAITING_COLUMNS "reason", "tasks", "task", "asked"
int rows_list_waiting(struct rows *t, const char *selector);

/* ---- command_where.c: of each node that is connected whether a task could run there. could: now, later or no; there, size_there: of its inputs. */
#define WHERE_COLUMNS "node", "could", "reason", "cores_free", "running", "there", "size_there"
int rows_list_where(struct rows *t, const char *selector);

/* ---- command_events.c: what happened */
#define EVENT_COLUMNS "position", "at_usec", "event", "task", "run", "node", "item", "text"
#define EVENT_N_COLUMNS 8u
int rows_list_events(struct rows *t, const char *selector);
/* ---- command_why.c: of one task by its number. What it asked for (cores, memory, disk, limit_usec; 0: nothing) and used, its first word, how many of its
 * run wait and run, and how long those beside it took (median_usec; 0: too few are over). */
#define WHY_COLUMNS                                                                                                  \
	"task", "state", "reason", "item", "made_by", "node", "program", "cores", "memory", "disk", "limit_usec",    \
		"peak_memory", "peak_disk", "local_size", "moved_size", "run_waiting", "run_running", "median_usec", \
		"cure", "peer_size", "source_size", "client_size", "from"
int rows_list_why(struct rows *t, const char *selector);
/* ---- command_flow.c: what is on its way, the fastest first (rate and sizes in bytes; a second; rest of the tree, from all); of each tree of which bytes came
 * by whence they did, the newest first; and of all. Selectors: what their names have in them. */
#define TRANSFER_COLUMNS "from", "to", "item", "tree", "origin", "rate", "done", "rest", "since_sec"
int rows_list_transfers(struct rows *t, const char *selector);
#define BYTES_COLUMNS "item", "tree", "size", "nodes", "from_nodes", "from_sources", "from_clients"
int rows_list_bytes(struct rows *t, const char *selector);
#define MOVED_COLUMNS "from_nodes", "from_sources", "from_clients", "needed", "transfers"
int rows_list_moved(struct rows *t, const char *selector);

/* ---- command_top.c, for a screen that is drawn again and again: each answer costs some milliseconds at most. Selectors: "MOST" rows; nodes and
 * items: "MOST SORT FIND" (driver_top.h); tasks: "MOST running|waiting|failed [RUN]" or "MOST node NAME"; holders: "MOST item NAME". */
#define TOP_COLUMNS                                                                                                    \
	"cluster", "name", "version", "address", "state", "uptime_sec", "nodes", "known_nodes", "cores", "cores_free", \
		"queued", "running", "held", "untaken", "runs", "clients", "submitted", "over", "is_settled",          \
		"for_inputs", "staging", "fetches", "items"
int rows_list_top(struct rows *t, const char *selector);
#define TOP_NODE_COLUMNS                                                                                             \
	"node", "state", "tier", "address", "cores_used", "cores", "memory_used", "memory", "running", "task_limit", \
		"gpus", "cache", "trees", "fetches"
int rows_list_top_nodes(struct rows *t, const char *selector);
#define TOP_RUN_COLUMNS "run", "unfinished", "running", "untaken", "is_attached"
int rows_list_top_runs(struct rows *t, const char *selector);
#define TOP_TASK_COLUMNS                                                                                            \
	"task", "run", "name", "state", "node", "reason", "how", "attempts", "status", "started_usec", "wall_usec", \
		"cores", "memory"
int rows_list_top_tasks(struct rows *t, const char *selector);
#define TOP_ITEM_COLUMNS "item", "run", "state", "size", "nodes", "tasks", "made_by"
int rows_list_top_items(struct rows *t, const char *selector);
#define TOP_HOLDER_COLUMNS "node", "size", "total"
int rows_list_top_holders(struct rows *t, const char *selector);

/* ---- command_report.c: page by page; its head says how a selector names one. */
#define REPORT_TASK_COLUMNS                                                                                           \
	"task", "run", "name", "tag", "category", "state", "node", "how", "status", "exceeded", "reason", "attempts", \
		"submitted_usec", "started_usec", "ended_usec", "wall_usec", "cpu_usec", "peak_memory", "memory",     \
		"peak_disk", "disk", "cores", "gpus", "local_size", "moved_size", "peer_size", "source_size",         \
		"client_size", "next"
int rows_report_tasks(struct rows *t, const char *selector);

#define REPORT_INPUT_COLUMNS "item", "size", "tasks", "next"
int rows_report_inputs(struct rows *t, const char *selector);

#define SETTING_COLUMNS "name", "value", "of"
int rows_report_settings(struct rows *t, const char *selector);
/* What tasks that are not over, and those that can be asked for again, declare of an absolute path: it, or directories that it lies in. holders: the first
 * nodes that have all of it. */
#define PATH_COLUMNS "item", "run", "state", "size", "made_by", "tasks", "nodes", "holders"
int rows_list_path(struct rows *t, const char *selector);

/* ---- command_stage.c: what `vine stage` asked for, node by node. state: there, coming, waits, evicted, away or cannot. */
#define STAGED_COLUMNS "item", "run", "tree", "node", "state", "size", "total", "pinned", "all", "reason"
int rows_list_staged(struct rows *t, const char *selector);

#endif
