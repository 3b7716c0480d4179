/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/store_internal.h"

#include "vined/schema.sql.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define SQL_APPLICATION_ID 1449750117 /* "Vine" */

static const char *const migrations[] = {
	schema_sql,
	/* Whose the result is, when several clients are attached to a run. */
	"ALTER TABLE tasks ADD COLUMN session INTEGER NOT NULL DEFAULT 0",
};
const struct store_migrations store_migrations = {migrations, countof(migrations)};

int store_sql_errno(sqlite3 *db)
{
	int r = sqlite3_errcode(db);
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

/* The first column of the first row; `otherwise` when there is none. */
static int64_t get_number(sqlite3 *db, const char *sql, int64_t otherwise)
{
	sqlite3_stmt *s = NULL;
	int64_t value = otherwise;
	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
		value = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return value;
}

static int say(struct conf_error *e, int error, const char *path, const char *what)
{
	assert(error < 0);
	snprintf(e->text, sizeof e->text, "%s: %s: %s", path, what, strerror(-error));
	return error;
}

int store_sql_open(const char *path, bool is_reader, bool exclusive, sqlite3 **db, struct conf_error *e)
{
	/* In exclusive mode both threads use one connection, so that needs its mutex. */
	int flags = (is_reader ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) |
		    (exclusive ? SQLITE_OPEN_FULLMUTEX : SQLITE_OPEN_NOMUTEX) | SQLITE_OPEN_NOFOLLOW;
	mode_t old = umask(077);
	int r = sqlite3_open_v2(path, db, flags, NULL);
	if (r == SQLITE_OK) {
		sqlite3_extended_result_codes(*db, 1);
		sqlite3_busy_timeout(*db, 10000);
		r = 0;
		if (exclusive)
			r = store_sql_exec(*db, "PRAGMA locking_mode = EXCLUSIVE");
		if (!r && !is_reader)
			r = store_sql_exec(*db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
						"PRAGMA temp_store = MEMORY");
	} else {
		r = *db ? store_sql_errno(*db) : -ENOMEM;
	}
	umask(old);
	if (!r)
		return 0;
	sqlite3_close(*db);
	*db = NULL;
	if (r == -EUCLEAN)
		return say(e, r, path, "no database that can be read; move it away and vined begins a new one");
	return say(e, r, path, "cannot open the database");
}

/* A consistent copy, WAL included, that appears under its name only when it is whole. */
static int copy_before(sqlite3 *db, const char *path, int version, struct conf_error *e)
{
	_free_ char *copy = xasprintf("%s.v%d", path, version);
	_free_ char *unfinished = xasprintf("%s.tmp", copy);
	unlink(unfinished);
	char *sql = sqlite3_mprintf("VACUUM INTO %Q", unfinished);
	int r = store_sql_exec(db, sql);
	sqlite3_free(sql);
	if (!r && rename(unfinished, copy) < 0)
		r = -errno;
	return r ? say(e, r, copy, "cannot copy the database before changing its schema") : 0;
}

int store_sql_migrate(sqlite3 *db, const char *path, const struct store_migrations *m, struct conf_error *e)
{
	int version = (int)get_number(db, "PRAGMA user_version", -1);
	if (version < 0)
		return say(e, -EUCLEAN, path, "no database that can be read; move it away and vined begins a new one");
	if (version > m->n) {
		snprintf(e->text, sizeof e->text,
			 "%s: made by a newer vined (schema %d, this one knows %d): upgrade vined, or start it with "
			 "another "
			 "--state",
			 path, version, m->n);
		return -EPROTONOSUPPORT;
	}
	if (version == 0 && get_number(db, "SELECT count(*) FROM sqlite_master", 0) > 0)
		return say(e, -EUCLEAN, path, "not a database of vined; move it away and vined begins a new one");
	if (version > 0 && version < m->n) {
		int r = copy_before(db, path, version, e);
		if (r)
			return r;
	}
	for (; version < m->n; version++) {
		char sql[80];
		snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
			 SQL_APPLICATION_ID, version + 1);
		int r = store_sql_exec(db, "BEGIN IMMEDIATE");
		if (!r)
			r = store_sql_exec(db, m->at[version]);
		if (!r)
			r = store_sql_exec(db, sql);
		if (r) {
			sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
			return say(e, r, path, "cannot change the database's schema");
		}
	}
	return 0;
}
