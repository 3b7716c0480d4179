/* SPDX-License-Identifier: Apache-2.0
 * What the files of the writer thread share. */
#ifndef VINED_STORE_WRITER_H
#define VINED_STORE_WRITER_H

#include "vined/store_internal.h"
#include "vined/store_read.h"

#define STORE_INTERNED 1024 /* ids of commands, and as many of environments, remembered by their digest */
#define STORE_ROWS 32       /* bindings that one statement writes: half the price of one at a time */

enum {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_RUN,
	SQL_NODE,
	SQL_ADD_BODY,
	SQL_NO_BODY,
	SQL_FIND_KEY,
	SQL_FIND_ARRAY_KEY,
	SQL_SESSION,
	SQL_ARRAY_SESSION,
	SQL_TASK,
	SQL_ARRAY,
	SQL_BINDING,
	SQL_BINDINGS,
	SQL_SPAN,
	SQL_START,
	SQL_LOST,
	SQL_CANCEL,
	SQL_GRANT,
	SQL_RESULT,
	SQL_HEADS,
	SQL_LEFTOVERS,
	SQL_DONE,
	SQL_SHAPE,
	SQL_ITEM,
	SQL_REPLICA,
	SQL_NO_REPLICA,
	SQL_SETTING,
	SQL_NO_SETTING,
	SQL_EVENT,
	SQL_LEAVE,
	SQL_MOVED,
	SQL_LAST_RUN,
	SQL_FORGET_RUN,
	SQL_FORGET_SETTINGS,
	SQL_FIND_ENDS,
	SQL_ENDS,
	SQL_FORGET_ENDS,
	SQL_N,
};

struct store_interned {
	struct digest digest;
	uint64_t id;
};

struct store_span { /* numbers that went to one run, one after the other */
	uint64_t first, n, run;
};

struct store_writer {
	sqlite3 *db;
	sqlite3_stmt *sql[SQL_N];
	int64_t user, now_usec; /* wall clock, for people */
	uint64_t last_place, last_command;
	bool has_array_keys;
	bool has_forgotten;     /* rows wait to be deleted */
	struct store_span span; /* the last row of submits; n 0: a new one begins */
	/* apart, so that a million commands leave the environments alone */
	struct store_bodies {
		struct store_interned known[STORE_INTERNED];
		/* the last one looked up: tasks of one submit mostly share their environment */
		struct wire_bytes last;
		uint64_t last_id;
	} commands, environments;
	/* store_ends.c, by run; `counter` reads what has no row */
	struct map sums;
	struct list changed;
	struct store_rows *counter;
	/* gathered for SQL_BINDINGS */
	size_t n_rows;
	struct store_row_binding {
		uint64_t id;
		const struct store_binding *at;
	} rows[STORE_ROWS];
};

static inline void store_bind_text(sqlite3_stmt *s, int at, const char *text)
{
	sqlite3_bind_text(s, at, text ? text : "", -1, SQLITE_STATIC);
}

static inline void store_bind_bytes(sqlite3_stmt *s, int at, const struct wire_bytes *b)
{
	/* A NULL pointer would be stored as NULL. */
	sqlite3_bind_blob(s, at, b->n ? b->at : "", (int)b->n, SQLITE_STATIC);
}

/* A digest that is not known yet is an empty blob. */
static inline void store_bind_digest(sqlite3_stmt *s, int at, const struct digest *d)
{
	_Static_assert(sizeof *d == 1 + DIGEST_SIZE, "algorithm and bytes are stored as they lie");
	sqlite3_bind_blob(s, at, d, d->algorithm ? (int)sizeof *d : 0, SQLITE_STATIC);
}

/* ---- store_write.c */
int store_put_item(struct store_writer *w, const struct store_item *i);

/* ---- store_ends.c */
/* A result that has just been put, the first of its task. */
int store_sums_add(struct store_writer *w, const struct store_result *e);
/* Before the commit. */
int store_sums_flush(struct store_writer *w);
/* What is remembered is not so: the transaction failed; or of a run, whose rows go. */
void store_sums_forget(struct store_writer *w);
void store_sums_drop(struct store_writer *w, uint64_t run);
enum store_end store_end_of(const struct store_result *e);
/* As `vine run` would end. */
uint32_t store_status_of(const struct store_result *e);

/* ---- store_submit.c */
int store_put_submit(struct store_writer *w, struct store_task *at, size_t n);
/* What was remembered of a transaction is not there: it failed. */
void store_submit_forget(struct store_writer *w);
/* The bytes of bodies looked up go with their batch. */
void store_submit_end(struct store_writer *w);

#endif
