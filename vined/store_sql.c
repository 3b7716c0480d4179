/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/store_internal.h"

#include <stdio.h>
#include <sys/stat.h>

#define CACHE_KIB 32768 /* the writer's; what is read at random is small */
#define READER_CACHE_KIB 8192

int store_sql_errno(sqlite3 *db)
{
	int r = sqlite3_extended_errcode(db);
	if (r == SQLITE_IOERR_DATA)
		return -EUCLEAN;
	switch (r & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_TOOBIG:
		return -EFBIG;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_PERM:
		return -EACCES;
	default:
		break;
	}
	int e = sqlite3_system_errno(db);
	return e > 0 ? -e : -EIO;
}

int store_sql_exec(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : store_sql_errno(db);
}

int store_sql_prepare(sqlite3 *db, const char *const *texts, sqlite3_stmt **statements, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		assert(texts[i] && !statements[i]);
		if (sqlite3_prepare_v3(db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &statements[i], NULL))
			return store_sql_errno(db);
	}
	return 0;
}

void store_sql_finalize(sqlite3_stmt **statements, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		sqlite3_finalize(statements[i]);
		statements[i] = NULL;
	}
}

void store_sql_bind(sqlite3_stmt *s, size_t n, const int64_t *values)
{
	assert(n <= (size_t)sqlite3_bind_parameter_count(s));
	for (size_t i = 0; i < n; i++)
		sqlite3_bind_int64(s, (int)i + 1, values[i]);
}

void store_sql_reset(sqlite3_stmt *s)
{
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
}

int store_sql_step(sqlite3 *db, sqlite3_stmt *s)
{
	int r = sqlite3_step(s);
	assert(r != SQLITE_ROW);
	int error = r == SQLITE_DONE ? 0 : store_sql_errno(db);
	store_sql_reset(s);
	return error;
}

int store_sql_number(sqlite3 *db, const char *sql, int64_t *value)
{
	sqlite3_stmt *s = NULL;
	int r = sqlite3_prepare_v2(db, sql, -1, &s, NULL) ? store_sql_errno(db) : 0;
	if (!r) {
		int step = sqlite3_step(s);
		if (step == SQLITE_ROW)
			*value = sqlite3_column_int64(s, 0);
		else
			r = step == SQLITE_DONE ? -ENOENT : store_sql_errno(db);
	}
	sqlite3_finalize(s);
	return r;
}

int store_sql_say(struct conf_error *e, int error, const char *path, const char *what)
{
	assert(error < 0);
	if (error == -EUCLEAN)
		snprintf(e->text, sizeof e->text,
			 "%s: %s: it is damaged, or no database of vined. `vined --salvage` with the same --state "
			 "copies what can be "
			 "read into a new one; or move it away and vined begins a new one",
			 path, what);
	else
		snprintf(e->text, sizeof e->text, "%s: %s: %s", path, what, strerror(-error));
	return error;
}

/* What is deleted is overwritten by what comes next; to zero it first costs a write for each page. */
static int configure(sqlite3 *db, bool is_reader, bool exclusive)
{
	char sql[200];
	int r = 0;
	if (exclusive)
		r = store_sql_exec(db, "PRAGMA locking_mode = EXCLUSIVE");
	/* Of a file that is new, or about to be written anew. SQLite before 3.32 knows nothing of it: no sums then. */
	int n_sum = STORE_SUM_SIZE;
	if (!is_reader)
		sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &n_sum);
	snprintf(sql, sizeof sql, "PRAGMA cache_size = -%d; PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON",
		 is_reader ? READER_CACHE_KIB : CACHE_KIB);
	if (!r)
		r = store_sql_exec(db, sql);
	if (!r && !is_reader)
		r = store_sql_exec(db,
				   "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = OFF;"
				   "PRAGMA journal_size_limit = 67108864");
	return r;
}

int store_sql_open(const char *path, bool is_reader, bool exclusive, sqlite3 **db, struct conf_error *e)
{
	/* In exclusive mode both threads use one connection, so that needs its mutex. */
	int flags = (is_reader ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) |
		    (exclusive ? SQLITE_OPEN_FULLMUTEX : SQLITE_OPEN_NOMUTEX) | SQLITE_OPEN_NOFOLLOW;
	mode_t old = umask(077);
	int r = sqlite3_open_v2(path, db, flags, store_vfs());
	if (r == SQLITE_OK) {
		sqlite3_extended_result_codes(*db, 1);
		sqlite3_busy_timeout(*db, 10000);
		r = configure(*db, is_reader, exclusive);
	} else {
		r = *db ? store_sql_errno(*db) : -ENOMEM;
	}
	umask(old);
	if (!r)
		return 0;
	sqlite3_close(*db);
	*db = NULL;
	return store_sql_say(e, r, path, "cannot open the database");
}
