// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/store_world.h"

#include "vined/schema.sql.h"
#include "vined/schema_5.sql.h"
#include "vined/store_salvage.h"

#include <sys/stat.h>

TEST(a_newer_schema_is_refused_in_words)
{
	char text[512];
	open_store();
	close_store();
	run_sql("PRAGMA user_version = 99");
	ASSERT_EQ(open_error(text), -EPROTONOSUPPORT);
	ASSERT(strstr(text, "newer vined") && strstr(text, "schema 99"));
}

TEST(a_foreign_database_and_no_database_are_refused)
{
	char text[512];
	run_sql("CREATE TABLE x (y)");
	ASSERT_EQ(open_error(text), -EUCLEAN);
	ASSERT(strstr(text, "not a database of vined"));
	FILE *f = fopen(db_path(), "w");
	fputs("this is a text file and no database at all, is it?", f);
	fclose(f);
	ASSERT(open_error(text) < 0);
	ASSERT(strstr(text, db_path()));
}

TEST(a_migration_copies_the_file_before)
{
	static const struct store_step steps[] = {{.texts = {"CREATE TABLE a (x)", "INSERT INTO a VALUES (1)"}},
						  {.texts = {"DROP TABLE a"}}};
	char copy[600];
	struct conf_error e = {""};
	struct stat st;
	sqlite3 *db = NULL;
	ASSERT_EQ(store_sql_open(db_path(), false, false, &db, &e), 0);
	ASSERT_EQ(store_migrate(db, db_path(), &(struct store_migrations){steps, 1, NULL}, &e), 0);
	snprintf(copy, sizeof copy, "%s.v1", db_path());
	ASSERT(stat(copy, &st) < 0);
	ASSERT_EQ(store_migrate(db, db_path(), &(struct store_migrations){steps, 2, NULL}, &e), 0);
	ASSERT_EQ(stat(copy, &st), 0);
	sqlite3_close(db);
	ASSERT_EQ(rename(copy, db_path()), 0);
	ASSERT_EQ(ask("SELECT x FROM a"), 1);
}

TEST(a_failed_migration_leaves_the_old_schema)
{
	static const struct store_step steps[] = {{.texts = {"CREATE TABLE a (x)"}},
						  {.texts = {"CREATE TABLE b (x)", "CREATE TABLE a (y)"}}};
	struct conf_error e = {""};
	sqlite3 *db = NULL;
	ASSERT_EQ(store_sql_open(db_path(), false, false, &db, &e), 0);
	ASSERT_EQ(store_migrate(db, db_path(), &(struct store_migrations){steps, 1, NULL}, &e), 0);
	ASSERT(store_migrate(db, db_path(), &(struct store_migrations){steps, 2, NULL}, &e) < 0);
	sqlite3_close(db);
	ASSERT_EQ(ask("SELECT count(*) FROM sqlite_master"), 1);
	ASSERT_EQ(ask("PRAGMA user_version"), 1);
}

/* ---- version 2, as vined wrote it */

static const char version_2[] =
	"CREATE TABLE meta (\n"
	"	name TEXT PRIMARY KEY,\n"
	"	value NOT NULL\n"
	") WITHOUT ROWID;\n"
	"CREATE TABLE nodes (\n"
	"	id INTEGER PRIMARY KEY,\n"
	"	uuid TEXT NOT NULL UNIQUE,\n"
	"	name TEXT NOT NULL\n"
	");\n"
	"CREATE TABLE runs (\n"
	"	id INTEGER PRIMARY KEY,\n"
	"	user INTEGER NOT NULL,\n"
	"	name TEXT NOT NULL UNIQUE,\n"
	"	attached INTEGER NOT NULL, -- its tasks are cancelled when its client is gone\n"
	"	created_usec INTEGER NOT NULL\n"
	");\n"
	"CREATE TABLE commands (\n"
	"	id INTEGER PRIMARY KEY,\n"
	"	digest BLOB NOT NULL UNIQUE,\n"
	"	body BLOB NOT NULL\n"
	");\n"
	"CREATE TABLE tasks (\n"
	"	id INTEGER PRIMARY KEY,\n"
	"	run INTEGER NOT NULL,\n"
	"	user INTEGER NOT NULL,\n"
	"	state INTEGER NOT NULL, -- enum store_state\n"
	"	cancelled INTEGER NOT NULL,\n"
	"	command INTEGER NOT NULL,\n"
	"	environment INTEGER NOT NULL,\n"
	"	cores INTEGER NOT NULL,\n"
	"	memory INTEGER NOT NULL,\n"
	"	priority INTEGER NOT NULL,\n"
	"	attempt INTEGER NOT NULL, -- the latest; 0: none\n"
	"	node INTEGER NOT NULL, -- where the latest runs or ran\n"
	"	attempts INTEGER NOT NULL,\n"
	"	losses INTEGER NOT NULL,\n"
	"	result INTEGER NOT NULL, -- 0: none\n"
	"	submitted_usec INTEGER NOT NULL,\n"
	"	key TEXT NOT NULL,\n"
	"	tag TEXT NOT NULL\n"
	");\n"
	"CREATE UNIQUE INDEX tasks_key ON tasks (run, key) WHERE key <> '';\n"
	"CREATE TABLE results (\n"
	"	id INTEGER PRIMARY KEY,\n"
	"	task INTEGER NOT NULL,\n"
	"	attempt INTEGER NOT NULL,\n"
	"	node INTEGER NOT NULL,\n"
	"	how INTEGER NOT NULL,\n"
	"	status INTEGER NOT NULL,\n"
	"	reason TEXT NOT NULL,\n"
	"	ended_usec INTEGER NOT NULL,\n"
	"	wall_usec INTEGER NOT NULL,\n"
	"	cpu_usec INTEGER NOT NULL,\n"
	"	peak_memory INTEGER NOT NULL,\n"
	"	out_size INTEGER NOT NULL,\n"
	"	err_size INTEGER NOT NULL,\n"
	"	out BLOB NOT NULL,\n"
	"	err BLOB NOT NULL\n"
	");\n"
	"CREATE VIEW v_tasks AS\n"
	"SELECT t.id AS task, r.name AS run, t.user, t.tag, t.key,\n"
	"	CASE t.state WHEN 0 THEN 'queued' WHEN 1 THEN 'running' WHEN 2 THEN 'held'\n"
	"		WHEN 3 THEN 'ended' ELSE 'delivered' END AS state,\n"
	"	t.attempts, n.name AS node,\n"
	"	CASE e.how WHEN 1 THEN 'exited' WHEN 2 THEN 'killed' WHEN 3 THEN 'not started'\n"
	"		WHEN 4 THEN 'lost' WHEN 5 THEN 'cancelled' END AS how,\n"
	"	e.status, e.reason, e.wall_usec / 1e6 AS wall_sec, e.cpu_usec / 1e6 AS cpu_sec, e.peak_memory,\n"
	"	datetime(t.submitted_usec / 1000000, 'unixepoch') AS submitted,\n"
	"	datetime(e.ended_usec / 1000000, 'unixepoch') AS ended\n"
	"FROM tasks t JOIN runs r ON r.id = t.run\n"
	"	LEFT JOIN results e ON e.id = t.result\n"
	"	LEFT JOIN nodes n ON n.id = t.node;\n"
	"CREATE VIEW v_nodes AS\n"
	"SELECT n.id AS node, n.name, n.uuid FROM nodes n;\n"
	"ALTER TABLE tasks ADD COLUMN session INTEGER NOT NULL DEFAULT 0;"
	"PRAGMA application_id = 1449750117; PRAGMA user_version = 2; PRAGMA journal_mode = WAL;";

static const char rows_of_2[] =
	"INSERT INTO meta VALUES ('cluster', '6b3f2a10-0000-4000-8000-0123456789ab'), ('boot', 4);"
	"INSERT INTO nodes VALUES (7, 'uuid-7', 'w7');"
	"INSERT INTO runs VALUES (1, 1000, 'sweep', 0, 11), (2, 1000, 'old', 0, 12);"
	"INSERT INTO commands VALUES (1, x'01', x'2f746d70007472756500'), (2, x'02', x'413d3100');"
	"INSERT INTO tasks VALUES "
	"(10, 1, 1000, 0, 0, 1, 2, 2, 1048576, -3, 0, 0, 0, 0, 0, 100, 'k10', 'a tag', 99),"
	"(11, 1, 1000, 1, 0, 1, 2, 1, 0, 0, 4398046511105, 7, 1, 0, 0, 101, '', '', 99),"
	"(12, 1, 1000, 2, 0, 1, 2, 1, 0, 0, 4398046511106, 7, 3, 3, 0, 102, '', '', 99),"
	"(13, 1, 1000, 0, 1, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 103, '', '', 99),"
	"(14, 1, 1000, 3, 0, 1, 2, 2, 1048576, 0, 4398046511107, 7, 1, 0, 2, 104, '', '', 99),"
	"(15, 1, 1000, 3, 0, 1, 2, 1, 0, 0, 4398046511108, 7, 1, 0, 1, 105, '', '', 99),"
	"(16, 2, 1000, 4, 0, 1, 2, 1, 0, 0, 4398046511109, 7, 1, 0, 3, 106, '', '', 99);"
	"INSERT INTO results VALUES "
	"(1, 15, 4398046511108, 7, 1, 3, '', 200, 5, 6, 7, 3, 0, x'6f6e65', x''),"
	"(2, 14, 4398046511107, 7, 2, 9, 'killed', 201, 5, 6, 7, 0, 0, x'', x''),"
	"(3, 16, 4398046511109, 7, 1, 0, '', 202, 5, 6, 7, 0, 0, x'', x'');";

static void check_tasks(struct seen *s)
{
	static const uint64_t order[] = {10, 11, 12, 13, 15, 14};
	ASSERT_EQ(s->n_tasks, 6);
	for (int i = 0; i < 6; i++)
		ASSERT_EQ(s->at[i].id, order[i]);
	ASSERT_EQ(s->at[0].priority, -3);
	ASSERT_EQ(s->at[0].session, 99);
	ASSERT_EQ(s->at[1].state, STORE_RUNNING);
	ASSERT_EQ(s->at[1].attempt, 4398046511105);
	ASSERT_EQ(s->at[1].node, 7);
	ASSERT_EQ(s->at[2].state, STORE_HELD);
	ASSERT_EQ(s->at[2].losses, 3);
	ASSERT(s->at[3].is_cancelled);
	ASSERT_EQ(s->at[4].state, STORE_ENDED);
}

TEST(a_database_of_version_2_goes_on)
{
	char copy[600], sql[200];
	struct seen s;
	struct stat st;
	struct store_result e;
	struct store_shape shape;
	struct store_run run;
	run_sql(version_2);
	run_sql(rows_of_2);
	open_store();
	ASSERT_EQ(store_boot(store), 5);
	ASSERT_EQ(ask("SELECT count(*) FROM sqlite_master WHERE name = 'commands_digest'"), 0);
	ASSERT_STR(store_cluster(store), "6b3f2a10-0000-4000-8000-0123456789ab");
	load(&s);
	check_tasks(&s);
	/* What two tasks asked for alike is one shape. */
	ASSERT_EQ(s.n_shapes, 2);
	ASSERT_EQ(s.at[0].shape, s.at[5].shape);
	ASSERT_EQ(store_read_shape(store, s.at[0].shape, &shape), 0);
	ASSERT_EQ(shape.cores, 2);
	ASSERT_EQ(shape.memory, 1048576);
	ASSERT_EQ(shape.staging, 1);
	ASSERT_EQ(store_read_result(store, 15, &e, NULL), 0);
	ASSERT_EQ(e.status, 3);
	ASSERT_STR((const char *)e.out.at, "one");
	ASSERT_EQ(s.loader.last_task, 16);
	ASSERT_EQ(s.loader.last_run, 2);
	ASSERT_EQ(store_find_run(store, "old", &run), 0);
	/* Its keys are known, and what ends now comes after what has ended. */
	put_task(20, "k10", "true");
	put_result(11, 4398046511105, "");
	store_flush(store);
	wait_for(2);
	ASSERT(!stored[0].is_new);
	ASSERT_EQ(stored[0].id, 10);
	close_store();
	open_store();
	load(&s);
	ASSERT_EQ(s.at[5].id, 11);
	close_store();
	snprintf(copy, sizeof copy, "%s.v2", db_path());
	ASSERT_EQ(stat(copy, &st), 0);
	snprintf(sql, sizeof sql, "SELECT count(*) FROM sqlite_master WHERE name LIKE 'old_%%'");
	ASSERT_EQ(ask(sql), 0);
}

/* ---- version 4: what changed since; the other tables are as they were */

static const char tables_of_4[] =
	"CREATE TABLE shapes (id INTEGER PRIMARY KEY, cores INTEGER NOT NULL, gpus INTEGER NOT NULL, memory INTEGER "
	"NOT NULL,"
	" disk INTEGER NOT NULL, wall_usec INTEGER NOT NULL, retries INTEGER NOT NULL, staging INTEGER NOT NULL,"
	" named TEXT NOT NULL, counters TEXT NOT NULL, features TEXT NOT NULL, category TEXT NOT NULL);"
	"CREATE TABLE bindings (id INTEGER PRIMARY KEY, item INTEGER NOT NULL, mode INTEGER NOT NULL, path TEXT NOT "
	"NULL);"
	"CREATE TABLE attempts (task INTEGER PRIMARY KEY, state INTEGER NOT NULL, cancelled INTEGER NOT NULL,"
	" attempts INTEGER NOT NULL, losses INTEGER NOT NULL, failures INTEGER NOT NULL, node INTEGER NOT NULL,"
	" attempt INTEGER NOT NULL, started_usec INTEGER NOT NULL);"
	"CREATE TABLE results (task INTEGER PRIMARY KEY, delivered INTEGER NOT NULL, place INTEGER NOT NULL,"
	" node INTEGER NOT NULL, attempt INTEGER NOT NULL, how INTEGER NOT NULL, status INTEGER NOT NULL,"
	" exceeded INTEGER NOT NULL, ended_usec INTEGER NOT NULL, wall_usec INTEGER NOT NULL, cpu_usec INTEGER NOT "
	"NULL,"
	" peak_memory INTEGER NOT NULL, peak_disk INTEGER NOT NULL, local_size INTEGER NOT NULL,"
	" moved_size INTEGER NOT NULL, out_size INTEGER NOT NULL, err_size INTEGER NOT NULL, reason TEXT NOT NULL);"
	"CREATE VIEW v_tasks AS SELECT t.id AS task, s.cores, e.how FROM tasks t LEFT JOIN shapes s ON s.id = t.shape "
	"LEFT JOIN attempts a ON a.task = t.id LEFT JOIN results e ON e.task = t.id;"
	"PRAGMA application_id = 1449750117; PRAGMA user_version = 4; PRAGMA journal_mode = WAL;";

static const char rows_of_4[] =
	"INSERT INTO meta VALUES ('cluster', '6b3f2a10-0000-4000-8000-0123456789ab'), ('boot', 4);"
	"INSERT INTO nodes VALUES (7, 1000, 'uuid-7', 'w7');"
	"INSERT INTO runs VALUES (1, 1000, 'sweep', 0, 0, 11);"
	"INSERT INTO submits VALUES (10, 3, 1, 0);"
	"INSERT INTO commands VALUES (1, x'01', x'2f746d70007472756500'), (2, x'02', x'413d3100');"
	"INSERT INTO shapes VALUES (3, 2, 1, 1048576, 5, 6, 7, 2, 'a=1', 'lic=2', 'avx', 'big');"
	"INSERT INTO items VALUES (5, 0, 1000, 9, 0, 0, 0, x'', 'file:/data/x', '1:2:3');"
	"INSERT INTO tasks VALUES (10, 1, 1000, 3, 1, 2, -3, 0, 99, 100, 'a tag', 'k10'),"
	" (11, 1, 1000, 3, 1, 2, 0, 0, 99, 101, '', ''), (12, 1, 1000, 3, 1, 2, 0, 0, 99, 102, '', '');"
	"INSERT INTO bindings VALUES (655360, 5, 1, '/in/x'), (720896, 5, 2, 'y');"
	"INSERT INTO attempts VALUES (11, 1, 0, 2, 1, 1, 7, 4398046511105, 300), (12, 1, 0, 1, 0, 0, 7, 4398046511106, "
	"301);"
	"INSERT INTO results VALUES (12, 0, 1, 7, 4398046511106, 2, 9, 1, 400, 5, 6, 7, 8, 9, 10, 3, 0, 'killed');"
	"INSERT INTO heads VALUES (12, x'6f6e65', x'');";

static void check_4(struct seen *s)
{
	const struct store_binding *at;
	struct store_result e;
	struct store_shape shape;
	size_t n;
	ASSERT_EQ(s->n_tasks, 3);
	ASSERT_EQ(s->at[1].state, STORE_RUNNING);
	ASSERT_EQ(s->at[1].attempts, 2);
	ASSERT_EQ(s->at[1].failures, 1);
	ASSERT_EQ(s->at[1].granted, 0);
	ASSERT_EQ(store_read_shape(store, 3, &shape), 0);
	ASSERT_EQ(shape.retries, 7);
	ASSERT_STR(shape.category, "big");
	ASSERT_STR(shape.how, "");
	ASSERT_EQ(store_read_bindings(store, 11, &at, &n), 0);
	ASSERT_EQ(n, 1);
	ASSERT_STR(at[0].path, "y");
	ASSERT_EQ(at[0].mode, 2);
	ASSERT_EQ(at[0].flags, 0);
	ASSERT_EQ(store_read_result(store, 12, &e, NULL), 0);
	ASSERT_EQ(e.moved_size, 10);
	ASSERT_EQ(e.peer_size, 0);
	ASSERT_STR(e.reason, "killed");
	ASSERT_STR(e.left, "");
	ASSERT_STR((const char *)e.out.at, "one");
}

TEST(a_database_of_version_4_goes_on)
{
	char copy[600];
	struct seen s;
	struct stat st;
	run_sql(schema_sql);
	run_sql(tables_of_4);
	run_sql(rows_of_4);
	open_store();
	ASSERT_EQ(store_boot(store), 5);
	load(&s);
	check_4(&s);
	close_store();
	ASSERT_EQ(ask("SELECT count(*) FROM v_tasks WHERE options IS NULL AND n_left IS NULL"), 3);
	ASSERT_EQ(ask("SELECT count(*) FROM sqlite_master WHERE name LIKE 'old_%'"), 0);
	snprintf(copy, sizeof copy, "%s.v4", db_path());
	ASSERT_EQ(stat(copy, &st), 0);
	ASSERT_EQ(ask("PRAGMA user_version"), 6);
}

/* By these commands are known as such. */
static void set_digests(void)
{
	static const struct wire_bytes bodies[] = {{"/tmp\0true", 10}, {"A=1", 4}};
	for (size_t i = 0; i < countof(bodies); i++) {
		struct digest d;
		char sql[200];
		digest_bytes(bodies[i].at, bodies[i].n, &d);
		int n = snprintf(sql, sizeof sql, "UPDATE commands SET digest = x'");
		for (size_t k = 0; k < DIGEST_SIZE; k++)
			n += snprintf(sql + n, sizeof sql - (size_t)n, "%02x", d.byte[k]);
		snprintf(sql + n, sizeof sql - (size_t)n, "' WHERE id = %zu", i + 1);
		run_sql(sql);
	}
}

TEST(a_database_of_version_4_is_salvaged_whole)
{
	char fresh[600];
	struct seen s;
	struct conf_error e = {""};
	struct store_salvaged salvaged;
	run_sql(schema_sql);
	run_sql(tables_of_4);
	run_sql(rows_of_4);
	set_digests();
	snprintf(fresh, sizeof fresh, "%s.fresh", db_path());
	ASSERT_EQ(store_salvage(db_path(), fresh, &salvaged, &e), 0);
	ASSERT_EQ(salvaged.n_rows_lost, 0);
	ASSERT_EQ(salvaged.n_held, 0);
	for (size_t i = 0; i < salvaged.n_tables; i++)
		ASSERT_EQ(salvaged.tables[i].n_pages_lost, 0);
	ASSERT_EQ(rename(fresh, db_path()), 0);
	open_store();
	load(&s);
	check_4(&s);
	close_store();
}

/* One text for both, so that no version is made in two ways. */
static void check_schema(void)
{
	char path[600], sql[900];
	open_store();
	close_store();
	snprintf(path, sizeof path, "%s.migrated", db_path());
	ASSERT_EQ(rename(db_path(), path), 0);
	open_store();
	close_store();
	snprintf(sql, sizeof sql,
		 "ATTACH '%s' AS m; CREATE TABLE differs AS "
		 "SELECT name, sql FROM main.sqlite_master WHERE name NOT LIKE 'sqlite%%' EXCEPT SELECT name, sql FROM "
		 "m.sqlite_master",
		 path);
	run_sql(sql);
	ASSERT_EQ(ask("SELECT count(*) FROM differs"), 0);
	ASSERT(ask("SELECT count(*) FROM sqlite_master") > 20);
}

TEST(a_new_database_and_one_from_version_2_have_the_same_schema)
{
	run_sql(version_2);
	run_sql(rows_of_2);
	check_schema();
}

/* As it was made by the version before. */
static void make_5(void)
{
	run_sql(schema_sql);
	run_sql(schema_5_sql);
	run_sql("PRAGMA application_id = 1449750117; PRAGMA user_version = 5; PRAGMA journal_mode = WAL;"
		"INSERT INTO meta VALUES ('cluster', '6b3f2a10-0000-4000-8000-0123456789ab'), ('boot', 4);"
		"INSERT INTO results VALUES (12, 1, 1, 7, 5, 1, 0, 0, 400, 5, 6, 7, 8, 9, 10, 3, 0, '', 0, 0);");
}

TEST(a_result_of_version_5_came_from_nowhere_that_is_known)
{
	struct store_result e;
	make_5();
	open_store();
	ASSERT_EQ(store_read_result(store, 12, &e, NULL), 0);
	ASSERT_EQ(e.moved_size, 10);
	ASSERT_EQ(e.peer_size + e.source_size + e.client_size, 0);
	close_store();
	ASSERT_EQ(ask("SELECT peer_size + source_size + client_size FROM results"), 0);
}

TEST(a_new_database_and_one_from_version_5_have_the_same_schema)
{
	make_5();
	check_schema();
}

TEST(a_new_database_and_one_from_version_4_have_the_same_schema)
{
	run_sql(schema_sql);
	run_sql(tables_of_4);
	run_sql(rows_of_4);
	check_schema();
}
