/* SPDX-License-Identifier: Apache-2.0
 * What vined remembers, in SQLite, and the only place that speaks SQL.
 *
 * Files, from top to bottom: store.c (opening, batches, the writer thread); store_write.c, store_submit.c and store_ends.c (operations as statements, sums);
 * store_archive.c and store_archive_move.c (what is over goes); store_load.c and store_survey.c (all, at start), store_read.c (bodies, results,
 * bindings), store_rows.c (lists), store_past.c (what happened), store_columns.c (rows as structs); store_migrate.c (schema and migrations); store_wal.c (the write-ahead log
 * is folded back); store_copy.c, store_sql.c (the connection); store_vfs.c (pages have checksums). Beside them, for a damaged
 * database: store_salvage.c over store_pages.c over store_log.c.
 *
 * 1. The loop's thread puts operations into a batch; the writer thread owns the writing connection and commits all that has
 *    gathered while it was busy: at once when idle, in groups under load.
 * 2. on_stored is called on the loop's thread, in the order of store_put, once the operation is on disk (error 0) or its commit has
 *    failed (-errno). What is promised to others is promised from there.
 * 3. An operation that is_kept is tried again until it is stored, and never hears of an error. It may overtake nothing that
 *    matters: every statement looks at the task's state first, so an operation that comes late or twice changes nothing. */
#ifndef VINED_STORE_H
#define VINED_STORE_H

#include "common/conf.h"
#include "common/loop.h"
#include "common/metrics.h"
#include "common/secret.h"
#include "common/wire.h"

struct store;

enum store_state { /* of a task; in the database, so numbers stay */
		   STORE_QUEUED = 0,
		   STORE_RUNNING = 1,
		   STORE_HELD = 2,
		   STORE_ENDED = 3,
		   STORE_DELIVERED = 4,
};

enum { STORE_CANCELLED = 5 }; /* a result's `how` beyond those of ENDED */

struct store_node {
	uint64_t id;
	const char *uuid, *name;
};

struct store_run {
	uint64_t id;
	const char *name;
	bool is_attached;
};

/* What tasks ask for, each kind once: the driver finds or makes it, and gives it its number. Texts in the form "name=amount ..." and
 * "word ...", sorted, so that equal ones are equal. */
struct store_shape {
	uint64_t id;
	uint32_t cores, gpus, retries;
	uint64_t memory, disk, wall_usec;
	uint8_t staging;                                          /* as on the wire */
	const char *named, *counters, *features, *category, *how; /* how: "NAME=value", a line each */
};

/* A name that tasks' bindings refer to. `run` 0: every run's (a shared path, a tree). */
struct store_item {
	uint64_t id, run;
	const char *name, *signature;
	uint64_t size;
	struct digest tree; /* zero: not known yet */
	uint64_t producer;  /* the task that makes it; 0: none */
	bool is_lost, is_forgotten;
};

#define STORE_BINDINGS_MAX 65536u /* of one task: who submits refuses more */

struct store_binding {
	uint64_t item;
	const char *path; /* by loading NULL: store_read_bindings() tells it shortly before the task runs */
	uint8_t mode;     /* 1 ro, 2 rw, 3 out */
	uint8_t flags;    /* as on the wire; by loading 0 */
	/* by store_read_bindings() */
	const char *name, *signature; /* of the item; empty: it is not known any more */
};

/* Tasks alike with numbers in a row, stored as one row; an element has a row of its own from its first START or end on. */
struct store_array {
	uint64_t first_index, step, n; /* n 0: no array */
	uint32_t running;
};

struct store_task {
	uint64_t id; /* on_stored: the id it has, an older one if the key was known; of an array: its first */
	uint64_t run;
	const char *key, *tag;
	uint64_t session; /* of the client that submitted it last; 0: not known */
	struct wire_bytes command, environment;
	uint64_t shape; /* its number; put before it, or known */
	int64_t priority;
	uint64_t deadline_usec; /* wall clock; 0: none */
	const struct store_binding *bindings;
	size_t n_bindings;
	const struct store_item *outputs; /* rows that come into being with the task; not if its key was known */
	size_t n_outputs;
	struct store_array array;
	uint64_t array_of, index; /* of an element: the array's id, and which */
	/* set when it was stored, or by loading */
	bool is_new;
	uint64_t command_id, environment_id;
	/* by loading */
	enum store_state state;
	bool is_cancelled;
	uint64_t attempt, node, result;
	uint32_t attempts, losses, failures; /* failures: of its own, which used up retries */
	uint64_t granted, within_usec; /* the attempt that was last granted its keeps, and for how long; 0: none */
};

struct store_result {
	uint64_t task, attempt, node;
	uint64_t run; /* when it is put: the task's */
	uint8_t how;
	uint32_t status;
	const char *reason;
	uint64_t wall_usec, cpu_usec, peak_memory, out_size, err_size;
	struct wire_bytes out, err;
	uint8_t exceeded;
	uint64_t peak_disk, local_size, moved_size, n_left, written_size;
	uint64_t peer_size, source_size, client_size; /* of moved_size */
	const char *left; /* a line each */
	bool is_taken;    /* nobody is to get it: it counts as delivered */
	bool is_first;    /* on_stored: this one counts; false: the task had a result before */
	uint64_t id;      /* on_stored and by reading: its place in the order */
};

enum store_kind {
	STORE_NOTHING, /* stored when all before it is */
	STORE_RUN,
	STORE_NODE,
	STORE_SUBMIT,
	STORE_START,  /* a dispatch, or an adopted attempt */
	STORE_LOST,   /* the attempt is over without a result: queued again, or held */
	STORE_CANCEL, /* the user wants it ended */
	STORE_GRANT,  /* this attempt may publish; on_stored: is_granted */
	STORE_RESULT,
	STORE_DONE, /* the client has these results */
	STORE_SHAPE,
	STORE_ITEM, /* new, or what became of it; before the tasks that name it. What a task makes is new with its SUBMIT */
	STORE_REPLICAS, /* so much of a tree on a node; put seldom, for people: nodes know the truth */
	STORE_SETTING,
	STORE_EVENT,  /* for people: what no other table tells */
	STORE_MOVED,  /* sums of bytes, in the place of those before */
	STORE_FORGET, /* a run (run.id) that is over, with all of it; on_stored as soon as that is decided for good, the rows go in small steps */
};

struct store_replica {
	uint64_t node, size; /* 0: none */
	struct digest tree;
};

struct store_event {
	uint64_t task, node, item; /* 0: about none */
	const char *what, *text; /* node-joined, node-lost, attempt-lost, task-held, task-retried, fetch-failed, ... */
};

struct store_op {
	enum store_kind kind;
	bool is_kept;
	void (*on_stored)(struct store_op *op, int error); /* may be NULL */
	void *arg;
	union { /* everything these point to comes from store_alloc or store_text */
		struct store_run run;
		struct store_node node;
		struct {
			struct store_task *at;
			size_t n;
		} submit;
		struct {
			uint64_t task, attempt, node;
			uint32_t attempts, losses, failures;
			bool is_held;
			bool is_settled;      /* LOST: its node has said how it went, and is not waited for */
			uint64_t within_usec; /* GRANT */
			bool is_granted;      /* on_stored: false: another attempt is recorded, or a result */
		} attempt;
		struct store_shape shape;
		struct store_item item;
		struct {
			struct store_replica *at;
			size_t n;
		} replicas;
		struct {
			uint64_t run;             /* 0: the cluster's */
			const char *name, *value; /* value empty: taken away */
		} setting;
		struct store_event event;
		const char *moved;
		struct store_result result;
		struct {
			uint64_t *at;
			size_t n;
		} tasks; /* CANCEL, DONE */
	};
	struct list link; /* the store's */
};

struct store_options {
	const char *path;
	bool exclusive; /* one connection without shared memory: for filesystems where WAL has none */
};

/* Opens or makes it, brings its schema up, raises the boot number and makes that durable. -errno with e->text. */
int store_open(struct store **s, const struct store_options *o, struct conf_error *e);
void store_free(struct store *s);
DEFINE_FREEP(struct store, store_free)

const char *store_cluster(const struct store *s);
uint64_t store_boot(const struct store *s);
/* What STORE_MOVED said last before it was opened; "": nothing. */
const char *store_moved(const struct store *s);

/* Runs that were over so long ago go into archive.sqlite beside the database, by small steps when there is nothing else to write. Without this
 * call, before store_start(), none goes. */
void store_keep(struct store *s, uint64_t keep_usec);
/* While somebody is attached to a run it does not go, however long it has been over. After store_start. */
void store_hold_run(struct store *s, uint64_t run, bool is_held);

/* From here on the writer thread runs and operations may be put. */
int store_start(struct store *s, struct loop *l);

/* Memory for an operation that has not been put yet; it lives until on_stored has returned. */
void *store_alloc(struct store *s, size_t n);
const char *store_text(struct store *s, const char *text);

/* Copies `op`. Nothing happens before store_flush(), which hands over what was put; call it at the end of a turn. */
void store_put(struct store *s, const struct store_op *op);
void store_flush(struct store *s);

/* How long what was handed over waited to be on disk; for metrics. */
const struct metrics_times *store_commit_times(const struct store *s);
/* Commits fail, and are tried again. */
bool store_is_failing(const struct store *s);

/* Bytes put and not stored yet: who takes requests refuses new ones when this is too much. */
size_t store_backlog(const struct store *s);

/* Waits until the writer has committed what it was given, and ends it; what it has to say arrives with the loop's next turn. */
void store_finish(struct store *s);

#endif
