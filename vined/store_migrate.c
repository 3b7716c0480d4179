/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/store_internal.h"

#include "vined/schema.sql.h"
#include "vined/schema_5.sql.h"
#include "vined/schema_6.sql.h"
#include "vined/upgrade_2.sql.h"
#include "vined/upgrade_3.sql.h"
#include "vined/upgrade_4.sql.h"
#include "vined/upgrade_5.sql.h"
#include "vined/views.sql.h"

#include <stdio.h>
#include <unistd.h>

#define SQL_APPLICATION_ID 0x56696e65u /* "Vine" */

static const struct store_step steps[] = {
	{.texts = {schema_sql, schema_5_sql, schema_6_sql}},
	/* Whose the result is, when several clients are attached to a run. */
	{.texts = {"ALTER TABLE tasks ADD COLUMN session INTEGER NOT NULL DEFAULT 0"}},
	{.texts = {upgrade_2_sql, schema_sql, schema_5_sql, upgrade_3_sql, schema_6_sql}, .is_last = true},
	/* Where every command is another, each commit changed as many pages of it as there were commands. */
	{.texts = {"DROP INDEX IF EXISTS commands_digest"}},
	{.texts = {upgrade_4_sql, schema_5_sql, upgrade_5_sql}},
	{.texts = {schema_6_sql}},
};
const struct store_migrations store_migrations = {steps, countof(steps), views_sql};

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
	return r ? store_sql_say(e, r, copy, "cannot copy the database before changing its schema") : 0;
}

/* How many bytes of each page are ours; -1 where SQLite cannot tell. */
static int reserved(sqlite3 *db)
{
#ifdef SQLITE_FCNTL_RESERVE_BYTES
	int n = -1;
	if (sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &n) == SQLITE_OK)
		return n;
#endif
	return -1;
}

static int take_step(sqlite3 *db, const struct store_step *step, int version, const char *views)
{
	char sql[80];
	snprintf(sql, sizeof sql, "PRAGMA application_id = %u; PRAGMA user_version = %d",
		 reserved(db) == STORE_SUM_SIZE ? STORE_CHECKED_ID : SQL_APPLICATION_ID, version);
	int r = store_sql_exec(db, "BEGIN IMMEDIATE");
	for (size_t i = 0; i < countof(step->texts) && step->texts[i] && !r; i++)
		r = store_sql_exec(db, step->texts[i]);
	if (!r && views)
		r = store_sql_exec(db, views);
	if (!r)
		r = store_sql_exec(db, sql);
	if (!r)
		r = store_sql_exec(db, "COMMIT");
	if (r)
		sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

static int check_version(sqlite3 *db, const char *path, const struct store_migrations *m, int *version,
			 struct conf_error *e)
{
	int64_t number = 0, n_tables = 0;
	int r = store_sql_number(db, "PRAGMA user_version", &number);
	if (!r)
		r = store_sql_number(db, "SELECT count(*) FROM sqlite_master", &n_tables);
	if (r)
		return store_sql_say(e, r, path, "cannot read the database");
	if (number > m->n) {
		snprintf(e->text, sizeof e->text,
			 "%s: made by a newer vined (schema %lld, this one knows %d): upgrade vined, or start it with "
			 "another --state",
			 path, (long long)number, m->n);
		return -EPROTONOSUPPORT;
	}
	if (number < 0 || (number == 0 && n_tables > 0)) {
		snprintf(e->text, sizeof e->text,
			 "%s: not a database of vined; move it away and vined begins a new one", path);
		return -EUCLEAN;
	}
	*version = (int)number;
	return 0;
}

int store_migrate(sqlite3 *db, const char *path, const struct store_migrations *m, struct conf_error *e)
{
	int version = 0;
	int r = check_version(db, path, m, &version, e);
	if (!r && version > 0 && version < m->n)
		r = copy_before(db, path, version, e);
	/* Its pages get room for their sums. */
	if (!r && version > 0 && version < m->n && (r = store_sql_exec(db, "VACUUM")))
		return store_sql_say(e, r, path, "cannot rewrite the database");
	while (!r && version < m->n) {
		bool is_last = !version || m->steps[version].is_last;
		int next = is_last ? m->n : version + 1;
		r = take_step(db, &m->steps[version], next, next == m->n ? m->views : NULL);
		if (r)
			return store_sql_say(e, r, path, "cannot change the database's schema");
		version = next;
	}
	return r;
}
