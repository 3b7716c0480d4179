/* SPDX-License-Identifier: Apache-2.0
 * What vined remembers, in SQLite, and the only place that speaks SQL.
 *
 * Files: store.c (opening, batches, the writer thread), store_write.c (operations as statements), store_read.c (loading, results,
 * rows), store_sql.c (the connection, schema and migrations).
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

struct store_task {
	uint64_t id; /* on_stored: the id it has, an older one if the key was known */
	uint64_t run;
	const char *key, *tag;
	uint64_t session; /* of the client that submitted it last; 0: not known */
	struct wire_bytes command, environment;
	uint32_t cores;
	uint64_t memory;
	int64_t priority;
	/* set when it was stored, or by loading */
	bool is_new;
	uint64_t command_id, environment_id;
	/* by loading */
	enum store_state state;
	bool is_cancelled;
	uint64_t attempt, node, result;
	uint32_t attempts, losses;
};

struct store_result {
	uint64_t task, attempt, node;
	uint8_t how;
	uint32_t status;
	const char *reason;
	uint64_t wall_usec, cpu_usec, peak_memory, out_size, err_size;
	struct wire_bytes out, err;
	bool is_first; /* on_stored: this one counts; false: the task had a result before */
	uint64_t id;   /* on_stored and by reading: its place in the order */
};

enum store_kind {
	STORE_NOTHING, /* stored when all before it is */
	STORE_RUN,
	STORE_NODE,
	STORE_SUBMIT,
	STORE_START,  /* a dispatch, or an adopted attempt */
	STORE_LOST,   /* the attempt is over without a result: queued again, or held */
	STORE_CANCEL, /* the user wants it ended */
	STORE_RESULT,
	STORE_DONE, /* the client has these results */
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
			uint32_t attempts, losses;
			bool is_held;
		} attempt;
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

/* From here on the writer thread runs and operations may be put. */
int store_start(struct store *s, struct loop *l);

/* Memory for an operation that has not been put yet; it lives until on_stored has returned. */
void *store_alloc(struct store *s, size_t n);
const char *store_text(struct store *s, const char *text);

/* Copies `op`. Nothing happens before store_flush(), which hands over what was put; call it at the end of a turn. */
void store_put(struct store *s, const struct store_op *op);
void store_flush(struct store *s);

/* Bytes put and not stored yet: who takes requests refuses new ones when this is too much. */
size_t store_backlog(const struct store *s);

/* Waits until the writer has committed what it was given, and ends it; what it has to say arrives with the loop's next turn. */
void store_finish(struct store *s);

#endif
