/* SPDX-License-Identifier: Apache-2.0
 * What catalog.c, which writes, and catalog_read.c share. */
#ifndef CACHE_CATALOG_INTERNAL_H
#define CACHE_CATALOG_INTERNAL_H

#include "common/list.h"
#include "vinefs/cache/catalog.h"

#include <pthread.h>
#include <sqlite3.h>

#define CATALOG_N_OPS 7

struct reader {
	struct reader *next;
	sqlite3 *db;
	sqlite3_stmt *file, *key;
};

struct catalog {
	char *path;
	sqlite3 *db; /* the writer's, once its thread runs */
	sqlite3_stmt *statements[CATALOG_N_OPS];
	pthread_t thread;
	/* ---- under the lock */
	pthread_mutex_t lock;
	pthread_cond_t given, written;
	struct list ops;
	unsigned n_ops;
	uint64_t n_given, n_written;
	bool is_flushing, is_stopping;
	int error;
	struct reader *readers; /* idle ones */
	unsigned n_readers;
};

/* -errno for what sqlite3 last said. */
int catalog_sql_errno(sqlite3 *db);
int catalog_sql_exec(sqlite3 *db, const char *sql);
void catalog_free_readers(struct catalog *c);

#endif
