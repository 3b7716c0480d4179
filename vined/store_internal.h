/* SPDX-License-Identifier: Apache-2.0
 * What the store's files share. */
#ifndef VINED_STORE_INTERNAL_H
#define VINED_STORE_INTERNAL_H

#include "common/list.h"
#include "common/map.h"
#include "vined/store.h"
#include "vined/store_set.h"

#include <pthread.h>
#include <sqlite3.h>

#define STORE_BODIES 512 /* remembered commands and environments */

#define STORE_PAGE_SIZE 4096
#define STORE_SUM_SIZE 8             /* bytes at the end of each page */
#define STORE_CHECKED_ID 0x56696e73u /* the application id of a database whose pages have sums: "Vins" */

/* ---- store_vfs.c */
/* The name of the filesystem to open databases with. */
const char *store_vfs(void);
uint64_t store_page_sum(const uint8_t *page, uint64_t offset);
bool store_page_is_sound(const uint8_t *page, uint64_t offset);
/* What the file's header says of it. */
bool store_page_has_sums(const uint8_t *header);

/* ---- store_migrate.c */
struct store_step {
	const char *texts[5]; /* executed one after the other in one transaction; NULL ends them */
	bool is_last;         /* it leads to the last version at once */
};
struct store_migrations {
	const struct store_step *steps; /* steps[0] leads from nothing to version n, steps[i] from version i to i + 1 */
	int n;
	const char *views; /* for people; made anew with each change */
};
extern const struct store_migrations store_migrations;

/* Brings the schema up to the last version, after copying the file to PATH.vN. */
int store_migrate(sqlite3 *db, const char *path, const struct store_migrations *m, struct conf_error *e);

/* ---- store_sql.c */

/* The highest number ever given, also when its row is gone: what = "max(id) FROM tasks". */
#define STORE_LAST(name, what) \
	"SELECT max(ifnull((SELECT value FROM meta WHERE name = 'last_" name "'), 0), ifnull((SELECT " what "), 0))"

/* -errno with e->text. A reader never writes. */
int store_sql_open(const char *path, bool is_reader, bool exclusive, sqlite3 **db, struct conf_error *e);
/* -errno for what sqlite3 last said. */
int store_sql_errno(sqlite3 *db);
int store_sql_exec(sqlite3 *db, const char *sql);
/* The first column of the first row. 0, -ENOENT or -errno. */
int store_sql_number(sqlite3 *db, const char *sql, int64_t *value);
/* Prepares texts[0..n) for good. */
int store_sql_prepare(sqlite3 *db, const char *const *texts, sqlite3_stmt **statements, size_t n);
void store_sql_finalize(sqlite3_stmt **statements, size_t n);
/* Binds `n` integers as ?1 ... ?n. */
void store_sql_bind(sqlite3_stmt *s, size_t n, const int64_t *values);
/* Steps a statement that returns no row, resets it, forgets what was bound. 0 or -errno. */
int store_sql_step(sqlite3 *db, sqlite3_stmt *s);
void store_sql_reset(sqlite3_stmt *s);
/* e->text is "PATH: WHAT: why"; returns `error`. */
int store_sql_say(struct conf_error *e, int error, const char *path, const char *what);

static inline uint64_t store_number(sqlite3_stmt *q, int at)
{
	return (uint64_t)sqlite3_column_int64(q, at);
}

/* Valid until the statement's next step. */
static inline const char *store_column_text(sqlite3_stmt *q, int at)
{
	const char *t = sqlite3_column_bytes(q, at) ? (const char *)sqlite3_column_text(q, at) : NULL;
	return t ? t : "";
}

/* ---- store_write.c: the writer thread's */
struct store_writer;
struct store_writer *store_writer_new(sqlite3 *db, uint64_t boot);
void store_writer_free(struct store_writer *w);
/* One transaction for all batches of the list; 0 or -errno, and nothing is written then. */
int store_writer_commit(struct store_writer *w, const struct list *batches);
/* A transaction by hand: end commits it if r is 0, else rolls it back. */
int store_writer_begin(struct store_writer *w);
int store_writer_end(struct store_writer *w, int r);

/* ---- store_wal.c: the writer thread's */
void store_wal_watch(struct store *s);
void store_wal_care(struct store *s, bool is_idle);

/* ---- store_copy.c */
/* Rows of `select` (?1 first, ?2 end) into a table with as many columns, replacing those of the same key; adds to *n. 0 or -errno. */
int store_copy(sqlite3 *from, const char *select, uint64_t first, uint64_t end, sqlite3 *to, const char *table,
	       uint64_t *n);

/* ---- store_archive.c: the writer thread's, when it has nothing to commit */
struct store_archive;
struct store_archive *store_archive_new(struct store *s, const char *path);
void store_archive_free(struct store_archive *a);
/* Returns in how many microseconds it wants to be called again. */
uint64_t store_archive_step(struct store_archive *a);

/* ---- store_read.c */
struct store_reader;
struct store_reader *store_reader_new(sqlite3 *db);
void store_reader_free(struct store_reader *r);

/* ---- store_rows.c */
struct store_rows;
struct store_rows *store_rows_new(sqlite3 *db);
void store_rows_free(struct store_rows *r);
struct store_ends;
/* Of a run, from its results; adds to *e. 0 or -errno. */
int store_rows_count(struct store_rows *r, uint64_t run, struct store_ends *e);
#define STORE_FIND_ENDS "SELECT good, failed, cancelled, worst FROM ends WHERE run = ?1"
void store_get_ends(sqlite3_stmt *q, struct store_ends *e);

/* ---- store_past.c */
struct store_past;
struct store_past *store_past_new(sqlite3 *db);
void store_past_free(struct store_past *p);

/* ---- store_columns.c */
/* The first thirteen columns of a listing of tasks; what else it has is the caller's. */
struct store_row store_column_row(sqlite3_stmt *q);
/* Columns 0 to 8 of a task's or array's row, in the order of STORE_TASK_COLUMNS; and 9 to 12 of an array's. */
#define STORE_TASK_COLUMNS "id, run, shape, command, environment, priority, deadline_usec, session, tag"
#define STORE_ARRAY_COLUMNS STORE_TASK_COLUMNS ", n, first_index, step, running"
void store_get_task(sqlite3_stmt *q, struct store_task *t);
void store_get_array(sqlite3_stmt *q, struct store_task *t);
/* `t` is an array; makes it the element that has this id. */
void store_make_element(struct store_task *t, uint64_t id);
/* Columns 0 to 9 of attempts. */
#define STORE_ATTEMPT_COLUMNS "task, state, cancelled, attempts, losses, failures, node, attempt, granted, within_usec"
void store_get_attempt(sqlite3_stmt *q, struct store_task *t);
/* Columns 0 to 9 of items, 0 to 12 of shapes. */
#define STORE_ITEM_COLUMNS "id, run, size, producer, lost, forgotten, tree, name, signature"
/* Items of runs that are to stay until they are forgotten: of what was made, and of nothing else, the name is of use. */
#define STORE_LASTING_RUNS "SELECT run FROM settings WHERE name = 'lifetime' AND value = 'forever'"
#define STORE_LASTING \
	"run IN (" STORE_LASTING_RUNS ") AND producer AND NOT forgotten AND (tree <> x'' OR signature <> '')"
#define STORE_SHAPE_COLUMNS \
	"id, cores, gpus, memory, disk, wall_usec, retries, staging, named, counters, features, category, how"
void store_get_item(sqlite3_stmt *q, struct store_item *i);
void store_get_shape(sqlite3_stmt *q, struct store_shape *s);

struct store_block {
	struct list link;
	size_t used, room;
	uint8_t at[];
};

struct store_batch {
	struct post post;
	struct list link;
	struct list ops;
	struct list blocks; /* what the operations point to */
	size_t size;
	int error;
	uint64_t given_usec; /* monotonic */
	struct timer retry;  /* kept operations whose commit failed */
	struct store *store;
};

struct store {
	char cluster[UUID_TEXT_SIZE], moved[120];
	uint64_t boot;
	char *path;
	bool is_keeping;
	uint64_t keep_usec;
	sqlite3 *db, *reader_db; /* the same in exclusive mode */
	struct store_writer *writer;
	struct store_reader *reader;
	struct store_rows *rows;
	struct store_past *past;
	struct store_archive *archive;
	struct store_set untold; /* items that loading did not tell: whoever runs now has never heard of them */
	struct loop *loop;

	/* the loop's thread */
	struct store_batch *open; /* being filled */
	struct list retries;
	size_t backlog;
	bool is_failing;
	struct metrics_times commits;

	/* under the lock */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct list given;
	bool is_stopping;

	pthread_t thread;
	bool is_running;

	/* the writer thread */
	int wal_pages, wal_tried;
	bool is_wal_large;
	uint64_t chore_usec; /* monotonic, when the last one was done */
};

#endif
