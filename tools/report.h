/* SPDX-License-Identifier: Apache-2.0
 * What a report says of a run, or of all: sums that grow as tasks are told, in any order and any number; memory is bounded. report_data.c asks the
 * cluster, report_sums.c adds up, report_rank.c keeps what is worth naming, report_series.c and report_hist.c are sums over time and by size;
 * report_html.c with report_parts.c, report_svg.c, report_time.c and report_text.c makes the page, report_json.c the same as JSON. */
#ifndef TOOLS_REPORT_H
#define TOOLS_REPORT_H

#include "tools/report_series.h"
#include "tools/tools.h"

struct vine;

enum report_state {
	REPORT_WAITING,
	REPORT_RUNNING,
	REPORT_HELD,
	REPORT_DONE,
	REPORT_FAILED,
	REPORT_CANCELLED,
	REPORT_STATES
};
extern const char *const report_states[REPORT_STATES];

/* A row; texts are borrowed. Times are microseconds since 1970, 0: none. */
struct report_task {
	uint64_t id, status, attempts, submitted_usec, started_usec, ended_usec, wall_usec, cpu_usec, peak_memory,
		memory, peak_disk, disk, cores, gpus, local_size, moved_size,
		peer_size, source_size, client_size;
	const char *run, *name, *tag, *category, *state, *node, *how, *exceeded, *reason;
};

#define REPORT_LABEL 96
struct report_named { /* a task worth naming */
	uint64_t id, value;
	char label[REPORT_LABEL]; /* as one types it: RUN/17 or 17 */
	char node[48];
	uint64_t wait_usec, run_usec, cpu_usec, cores, moved_size, peak_memory;
	enum report_state state;
};

/* ---- one bar of the timeline */
struct report_bar {
	uint64_t id, started_usec, ended_usec, wall_usec;
	uint32_t node, lane;
	enum report_state state;
	char label[REPORT_LABEL];
};

struct report_node {
	const char *name; /* the names' */
	uint32_t number;  /* of the name */
	uint64_t n_tasks, n_failed, busy_usec, local_size, moved_size, peer_size, source_size, client_size;
	struct series *running, *failed;
};

#define REPORT_EXAMPLES 3
#define REPORT_CAUSE_NODES 6
struct report_cause {
	const char *text;
	uint64_t n;
	struct report_named examples[REPORT_EXAMPLES]; /* those with the lowest numbers */
	size_t n_examples;
	uint32_t nodes[REPORT_CAUSE_NODES];
	uint64_t n_at[REPORT_CAUSE_NODES];
	size_t n_nodes;
	uint64_t n_elsewhere; /* on further nodes */
};

/* Tasks alike, by category: what they asked for and what they took. */
struct report_group {
	const char *name;
	uint64_t n, cores, memory, disk; /* the most that was asked */
	uint64_t wall_cores_usec, cpu_usec;
	struct hist peak_memory, peak_disk;
};

struct report_input {
	const char *name;
	uint64_t size, n_tasks;
};

#define REPORT_BARS 4000u  /* beyond them the timeline is binned */
#define REPORT_NODES 1000u /* that are told apart */
#define REPORT_CAUSES 100u
#define REPORT_GROUPS 24u
#define REPORT_INPUTS 100000u
#define REPORT_SLOWEST 15u

struct report {
	char *run; /* "": all of the cluster */
	uint64_t now_usec;
	struct table cluster, nodes, waiting, settings;

	uint64_t n[REPORT_STATES];
	uint64_t n_again;               /* tasks that were begun more than once */
	uint64_t first_usec, last_usec; /* submitted, ended (now, of what is not over) */
	uint64_t local_size, moved_size, peer_size, source_size, client_size, cpu_usec, wall_usec, cores_usec;
	struct timeline time;
	struct series *over_time[REPORT_STATES]; /* how many; those that ended: so far */
	struct hist wait, run_time, around;      /* around: of the time on a node what was not the command's own */
	struct names node_names, cause_names, group_names, input_names;
	struct buf node_list, cause_list, group_list, input_list; /* struct report_X */
	uint64_t n_other_causes, n_other_inputs;
	struct buf bar_list; /* struct report_bar; emptied for good when there are too many */
	bool has_too_many_bars;
	struct report_named slowest[REPORT_SLOWEST];
	size_t n_slowest;
};

#define REPORT_LIST(r, what) ((struct report_##what *)(void *)(r)->what##_list.at)
static inline size_t report_n_nodes(const struct report *r)
{
	return r->node_list.n / sizeof(struct report_node);
}
static inline size_t report_n_causes(const struct report *r)
{
	return r->cause_list.n / sizeof(struct report_cause);
}
static inline size_t report_n_groups(const struct report *r)
{
	return r->group_list.n / sizeof(struct report_group);
}
static inline size_t report_n_inputs(const struct report *r)
{
	return r->input_list.n / sizeof(struct report_input);
}
static inline size_t report_n_bars(const struct report *r)
{
	return r->bar_list.n / sizeof(struct report_bar);
}
uint64_t report_all(const struct report *r);

/* ---- report_sums.c */
void report_init(struct report *r, const char *run, uint64_t now_usec);
void report_fini(struct report *r);
void report_add_task(struct report *r, const struct report_task *t);
void report_add_input(struct report *r, const char *name, uint64_t size, uint64_t n_tasks);
/* When all has been told, once: sorts what is shown sorted, and puts bars into lanes. */
void report_finish(struct report *r);

/* ---- report_rank.c: for report_sums.c */
enum report_state report_state_of(const struct report_task *t);
void report_name(struct report_named *to, const struct report_task *t, uint64_t value);
void report_rank_slowest(struct report *r, const struct report_task *t, uint64_t run_usec);
void report_rank_cause(struct report *r, const struct report_task *t, uint32_t node);
/* What failures have in common: "exit status 3", "killed by signal 9", ... with names and numbers left out. To be freed. */
char *report_cause_text(const struct report_task *t);

/* ---- report_data.c: asks for all of it. 0, or the exit status after saying what is wrong. */
int report_ask(const struct conf_table *t, struct vine *v, struct report *r);

/* ---- report_html.c, report_json.c */
void report_html(const struct report *r, struct buf *to);
void report_json(const struct report *r, struct buf *to);

#endif
