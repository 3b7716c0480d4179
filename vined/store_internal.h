/* SPDX-License-Identifier: Apache-2.0
 * What the store's files share. */
#ifndef VINED_STORE_INTERNAL_H
#define VINED_STORE_INTERNAL_H

#include "common/list.h"
#include "common/map.h"
#include "vined/store.h"

#include <pthread.h>
#include <sqlite3.h>

#define STORE_BODIES 512 /* remembered commands and environments */

/* ---- store_sql.c */
struct store_migrations {
	const char *const *at; /* at[i] leads from version i to i + 1 */
	int n;
};
extern const struct store_migrations store_migrations;

/* -errno with e->text. A reader never writes. */
int store_sql_open(const char *path, bool is_reader, bool exclusive, sqlite3 **db, struct conf_error *e);
/* Brings the schema up to the last version, after copying the file to PATH.vN. */
int store_sql_migrate(sqlite3 *db, const char *path, const struct store_migrations *m, struct conf_error *e);
/* -errno for what sqlite3 last said. */
int store_sql_errno(sqlite3 *db);
int store_sql_exec(sqlite3 *db, const char *sql);
/* Prepares texts[0..n) for good. */
int store_sql_prepare(sqlite3 *db, const char *const *texts, sqlite3_stmt **statements, size_t n);
void store_sql_finalize(sqlite3_stmt **statements, size_t n);
/* Binds `n` integers as ?1 ... ?n. */
void store_sql_bind(sqlite3_stmt *s, size_t n, const int64_t *values);
/* Steps a statement that returns no row, resets it, forgets what was bound. 0 or -errno. */
int store_sql_step(sqlite3 *db, sqlite3_stmt *s);
void store_sql_reset(sqlite3_stmt *s);

/* ---- store_write.c: the writer thread's */
struct store_writer;
struct store_writer *store_writer_new(sqlite3 *db);
void store_writer_free(struct store_writer *w);
/* One transaction for all batches of the list; 0 or -errno, and nothing is written then. */
int store_writer_commit(struct store_writer *w, const struct list *batches);

/* ---- store_read.c */
struct store_reader;
struct store_reader *store_reader_new(sqlite3 *db);
void store_reader_free(struct store_reader *r);

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
	struct timer retry; /* kept operations whose commit failed */
	struct store *store;
};

struct store {
	char cluster[UUID_TEXT_SIZE];
	uint64_t boot;
	sqlite3 *db, *reader_db; /* the same in exclusive mode */
	struct store_writer *writer;
	struct store_reader *reader;
	struct loop *loop;

	/* the loop's thread */
	struct store_batch *open; /* being filled */
	struct list retries;
	size_t backlog;
	bool is_failing;

	/* under the lock */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct list given;
	bool is_stopping;

	pthread_t thread;
	bool is_running;
};

#endif
