// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/unit.h"

#include "vined/store_internal.h"
#include "vined/store_read.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_TURNS 1000

static struct loop *loop;
static struct store *store;
static int n_called, last_error;
static struct store_task stored[8];
static bool first[8];
static int n_first;

static const char *db_path(void)
{
	static char path[512];
	snprintf(path, sizeof path, "%s/vined.db", unit_tmpdir());
	return path;
}

static int open_error(char text[512])
{
	struct conf_error e = {""};
	int r = store_open(&store, &(struct store_options){db_path(), false}, &e);
	snprintf(text, 512, "%s", e.text);
	return r;
}

static void open_store(void)
{
	char text[512];
	ASSERT_EQ(open_error(text), 0);
	loop = loop_new();
	ASSERT(loop);
	ASSERT_EQ(store_start(store, loop), 0);
	n_called = n_first = last_error = 0;
}

static void close_store(void)
{
	store_finish(store);
	loop_turn(loop, 0);
	store_free(store);
	loop_free(loop);
	store = NULL;
	loop = NULL;
}

static void wait_for(int n)
{
	for (int i = 0; i < DEADLINE_TURNS && n_called < n; i++)
		loop_turn(loop, 20);
	ASSERT_EQ(n_called, n);
}

static void on_stored(struct store_op *op, int error)
{
	n_called++;
	last_error = error;
	if (error)
		return;
	for (size_t i = 0; op->kind == STORE_SUBMIT && i < op->submit.n && i < 8; i++)
		stored[i] = op->submit.at[i];
	if (op->kind == STORE_RESULT)
		first[n_first++] = op->result.is_first;
}

static void put_run(uint64_t id, const char *name)
{
	store_put(store, &(struct store_op){.kind = STORE_RUN,
					    .on_stored = on_stored,
					    .run = {id, store_text(store, name), false}});
}

static struct wire_bytes bytes(const char *p, uint32_t n)
{
	char *copy = store_alloc(store, n);
	memcpy(copy, p, n);
	return (struct wire_bytes){copy, n};
}

static void put_task(uint64_t id, const char *key, const char *argument)
{
	char body[300];
	int n = snprintf(body, sizeof body, "/tmp%c%s", 0, argument);
	struct store_task *t = store_alloc(store, sizeof *t);
	*t = (struct store_task){.id = id,
				 .run = 1,
				 .key = store_text(store, key),
				 .tag = store_text(store, "a tag"),
				 .command = bytes(body, (uint32_t)n + 1),
				 .environment = bytes("A=1\0B=2", 8),
				 .cores = 2,
				 .memory = 1 << 20,
				 .priority = -3};
	store_put(store, &(struct store_op){.kind = STORE_SUBMIT, .on_stored = on_stored, .submit = {t, 1}});
}

static void put_start(uint64_t task, uint64_t attempt, uint32_t attempts)
{
	store_put(store,
		  &(struct store_op){.kind = STORE_START,
				     .is_kept = true,
				     .attempt = {.task = task, .attempt = attempt, .node = 7, .attempts = attempts}});
}

static void put_result(uint64_t task, uint64_t attempt, const char *out)
{
	store_put(store, &(struct store_op){.kind = STORE_RESULT,
					    .on_stored = on_stored,
					    .result = {.task = task,
						       .attempt = attempt,
						       .node = 7,
						       .how = 1,
						       .status = 3,
						       .reason = "",
						       .out_size = strlen(out),
						       .out = bytes(out, (uint32_t)strlen(out))}});
}

/* ---- what a second reader sees */

static int64_t ask(const char *sql)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;
	int64_t n = -1;
	// A reader alone may not recover what a killed writer left.
	if (sqlite3_open_v2(db_path(), &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
	    sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
		n = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	sqlite3_close(db);
	return n;
}

static int64_t n_seen;

static void on_stored_look(struct store_op *op, int error)
{
	on_stored(op, error);
	n_seen = ask("SELECT count(*) FROM runs");
}

TEST(what_is_reported_stored_is_committed)
{
	open_store();
	store_put(store, &(struct store_op){.kind = STORE_RUN,
					    .on_stored = on_stored_look,
					    .run = {1, store_text(store, "sweep"), false}});
	ASSERT_EQ(ask("SELECT count(*) FROM runs"), 0);
	store_flush(store);
	wait_for(1);
	ASSERT_EQ(n_seen, 1);
	ASSERT_EQ(store_backlog(store), 0);
	close_store();
}

TEST(the_boot_number_rises_and_the_cluster_stays)
{
	char cluster[UUID_TEXT_SIZE];
	open_store();
	ASSERT_EQ(store_boot(store), 1);
	ASSERT_EQ(ask("SELECT value FROM meta WHERE name = 'boot'"), 1);
	snprintf(cluster, sizeof cluster, "%s", store_cluster(store));
	ASSERT_EQ(strlen(cluster), 36);
	close_store();
	open_store();
	ASSERT_EQ(store_boot(store), 2);
	ASSERT_STR(store_cluster(store), cluster);
	close_store();
}

TEST(a_key_submitted_twice_is_there_once)
{
	open_store();
	put_run(1, "sweep");
	put_task(10, "k1", "true");
	store_flush(store);
	wait_for(2);
	ASSERT(stored[0].is_new);
	put_task(11, "k1", "false");
	store_flush(store);
	wait_for(3);
	ASSERT(!stored[0].is_new);
	ASSERT_EQ(stored[0].id, 10);
	put_task(12, "", "true");
	put_task(13, "", "true");
	store_flush(store);
	wait_for(5);
	ASSERT(stored[0].is_new);
	ASSERT_EQ(ask("SELECT count(*) FROM tasks"), 3);
	close_store();
}

TEST(a_key_is_known_within_its_own_batch)
{
	open_store();
	put_run(1, "sweep");
	put_task(10, "k1", "true");
	put_task(11, "k1", "true");
	store_flush(store);
	wait_for(3);
	ASSERT_EQ(stored[0].id, 10);
	ASSERT_EQ(ask("SELECT count(*) FROM tasks"), 1);
	close_store();
}

TEST(equal_commands_are_stored_once_and_read_back)
{
	struct wire_bytes b;
	open_store();
	put_run(1, "sweep");
	for (uint64_t i = 0; i < 100; i++)
		put_task(10 + i, "", i % 2 ? "true" : "false");
	store_flush(store);
	wait_for(101);
	ASSERT_EQ(ask("SELECT count(*) FROM commands"), 3);
	ASSERT_EQ(store_read_body(store, stored[0].command_id, &b), 0);
	ASSERT_EQ(b.n, 10);
	ASSERT_STR((const char *)b.at + 5, "true");
	ASSERT_EQ(store_read_body(store, stored[0].environment_id, &b), 0);
	ASSERT_EQ(b.n, 8);
	ASSERT_EQ(store_read_body(store, 999, &b), -ENOENT);
	close_store();
}

TEST(of_two_results_the_first_counts)
{
	struct store_result e;
	struct store_task t;
	open_store();
	put_run(1, "sweep");
	put_task(10, "", "true");
	put_start(10, 5, 1);
	put_result(10, 5, "one");
	put_result(10, 6, "two");
	put_start(10, 9, 2);
	store_flush(store);
	wait_for(4);
	ASSERT_EQ(n_first, 2);
	ASSERT(first[0] && !first[1]);
	ASSERT_EQ(store_read_result(store, 10, &e, &t), 0);
	ASSERT_EQ(e.attempt, 5);
	ASSERT_EQ(e.out.n, 3);
	ASSERT_STR((const char *)e.out.at, "one");
	ASSERT_EQ(t.state, STORE_ENDED);
	ASSERT_STR(t.tag, "a tag");
	ASSERT_EQ(store_read_result(store, 11, &e, NULL), -ENOENT);
	close_store();
}

/* ---- restart */

struct seen {
	int n_nodes, n_runs, n_tasks;
	struct store_task at[16];
	struct store_loader loader;
};

static void see_node(void *arg, const struct store_node *n)
{
	struct seen *s = arg;
	s->n_nodes++;
	ASSERT_STR(n->name, "w7");
}

static void see_run(void *arg, const struct store_run *r)
{
	struct seen *s = arg;
	s->n_runs++;
	ASSERT_STR(r->name, "sweep");
}

static void see_task(void *arg, const struct store_task *t)
{
	struct seen *s = arg;
	if (s->n_tasks < 16)
		s->at[s->n_tasks] = *t;
	s->n_tasks++;
}

static void load(struct seen *s)
{
	*s = (struct seen){.loader = {see_node, see_run, see_task, s, 0, 0, 0}};
	ASSERT_EQ(store_load(store, &s->loader), 0);
}

TEST(a_restart_reads_the_same)
{
	struct seen s;
	open_store();
	put_run(1, "sweep");
	put_run(2, "other");
	store_put(store, &(struct store_op){.kind = STORE_NODE,
					    .node = {7, store_text(store, "uuid-7"), store_text(store, "w7")}});
	for (uint64_t i = 10; i < 16; i++)
		put_task(i, "", "true");
	put_start(11, 5, 1);
	put_result(13, 6, "13 ends first");
	put_result(12, 7, "then 12");
	put_result(14, 8, "and 14, which is acknowledged");
	store_put(store, &(struct store_op){.kind = STORE_DONE, .tasks = {(uint64_t[]){14}, 1}});
	store_put(store, &(struct store_op){.kind = STORE_CANCEL, .tasks = {(uint64_t[]){15}, 1}});
	store_flush(store);
	wait_for(11);
	close_store();
	open_store();
	load(&s);
	ASSERT_EQ(s.n_nodes, 1);
	ASSERT_EQ(s.n_runs, 1);
	ASSERT_EQ(s.n_tasks, 5);
	const uint64_t order[] = {10, 11, 15, 13, 12};
	for (int i = 0; i < 5; i++)
		ASSERT_EQ(s.at[i].id, order[i]);
	ASSERT_EQ(s.at[0].state, STORE_QUEUED);
	ASSERT_EQ(s.at[0].cores, 2);
	ASSERT_EQ(s.at[0].memory, 1 << 20);
	ASSERT_EQ(s.at[0].priority, -3);
	ASSERT_EQ(s.at[1].state, STORE_RUNNING);
	ASSERT_EQ(s.at[1].attempt, 5);
	ASSERT_EQ(s.at[1].node, 7);
	ASSERT(s.at[2].is_cancelled);
	ASSERT_EQ(s.loader.last_task, 15);
	ASSERT_EQ(s.loader.last_run, 2);
	ASSERT_EQ(s.loader.last_node, 7);
	close_store();
}

TEST(the_views_for_people_can_be_read)
{
	open_store();
	put_run(1, "sweep");
	put_task(10, "", "true");
	store_flush(store);
	wait_for(2);
	ASSERT_EQ(ask("SELECT count(*) FROM v_tasks WHERE run = 'sweep' AND state = 'queued'"), 1);
	ASSERT_EQ(ask("SELECT count(*) FROM v_nodes"), 0);
	close_store();
}

/* ---- versions */

static void run_sql(const char *sql)
{
	sqlite3 *db = NULL;
	ASSERT_EQ(sqlite3_open(db_path(), &db), SQLITE_OK);
	ASSERT_EQ(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

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
	static const char *const steps[] = {"CREATE TABLE a (x); INSERT INTO a VALUES (1)", "DROP TABLE a"};
	char copy[600];
	struct conf_error e = {""};
	struct stat st;
	sqlite3 *db = NULL;
	ASSERT_EQ(store_sql_open(db_path(), false, false, &db, &e), 0);
	ASSERT_EQ(store_sql_migrate(db, db_path(), &(struct store_migrations){steps, 1}, &e), 0);
	snprintf(copy, sizeof copy, "%s.v1", db_path());
	ASSERT(stat(copy, &st) < 0);
	ASSERT_EQ(store_sql_migrate(db, db_path(), &(struct store_migrations){steps, 2}, &e), 0);
	ASSERT_EQ(stat(copy, &st), 0);
	sqlite3_close(db);
	ASSERT_EQ(rename(copy, db_path()), 0);
	ASSERT_EQ(ask("SELECT x FROM a"), 1);
}

TEST(a_failed_migration_leaves_the_old_schema)
{
	static const char *const steps[] = {"CREATE TABLE a (x)", "CREATE TABLE b (x); CREATE TABLE a (y)"};
	struct conf_error e = {""};
	sqlite3 *db = NULL;
	ASSERT_EQ(store_sql_open(db_path(), false, false, &db, &e), 0);
	ASSERT_EQ(store_sql_migrate(db, db_path(), &(struct store_migrations){steps, 1}, &e), 0);
	ASSERT(store_sql_migrate(db, db_path(), &(struct store_migrations){steps, 2}, &e) < 0);
	sqlite3_close(db);
	ASSERT_EQ(ask("SELECT count(*) FROM sqlite_master"), 1);
	ASSERT_EQ(ask("PRAGMA user_version"), 1);
}

/* ---- a disk that fails */

static void limit_files(rlim_t size)
{
	struct rlimit l;
	getrlimit(RLIMIT_FSIZE, &l);
	l.rlim_cur = size;
	setrlimit(RLIMIT_FSIZE, &l);
}

TEST(a_failed_commit_breaks_its_promises_and_keeps_the_rest)
{
	struct store_result e;
	signal(SIGXFSZ, SIG_IGN);
	open_store();
	put_run(1, "sweep");
	put_task(10, "", "true");
	store_flush(store);
	wait_for(2);
	limit_files(4096);
	put_start(10, 5, 1);
	put_task(11, "k", "lost");
	put_result(10, 5, "lost too");
	store_flush(store);
	wait_for(4);
	ASSERT(last_error < 0);
	ASSERT(store_backlog(store) > 0);
	ASSERT_EQ(store_read_result(store, 10, &e, NULL), -ENOENT);
	limit_files(RLIM_INFINITY);
	/* What was kept is stored by itself; what was promised is asked for again. */
	for (int i = 0; i < DEADLINE_TURNS && store_backlog(store) > 0; i++)
		loop_turn(loop, 20);
	ASSERT_EQ(ask("SELECT attempt FROM tasks WHERE id = 10"), 5);
	ASSERT_EQ(ask("SELECT count(*) FROM tasks"), 1);
	put_task(12, "k", "lost");
	put_result(10, 5, "found");
	store_flush(store);
	wait_for(6);
	ASSERT_EQ(last_error, 0);
	ASSERT(first[0]);
	ASSERT_EQ(store_read_result(store, 10, &e, NULL), 0);
	ASSERT_STR((const char *)e.out.at, "found");
	close_store();
}

/* ---- kill -9 in the middle */

/* Submits one task after the other and tells the number of each through the pipe once it is stored. */
static void submit_for_ever(int to)
{
	loop = loop_new();
	struct conf_error e;
	if (store_open(&store, &(struct store_options){db_path(), false}, &e) || store_start(store, loop))
		_exit(1);
	n_called = 0;
	struct seen s = {.loader = {see_node, see_run, see_task, &s, 0, 0, 0}};
	if (store_load(store, &s.loader))
		_exit(1);
	put_run(1, "sweep");
	for (uint64_t id = s.loader.last_task + 1;; id++) {
		int before = n_called;
		put_task(id, "", id % 2 ? "true" : "false");
		store_flush(store);
		while (n_called == before || last_error)
			loop_turn(loop, 20);
		if (write(to, &id, sizeof id) != sizeof id)
			_exit(0);
	}
}

TEST(after_kill_9_all_that_was_acknowledged_is_there)
{
	uint64_t id = 0, last = 0;
	unit_tmpdir(); // made here, not in the children
	for (int round = 0; round < 10; round++) {
		int fds[2];
		ASSERT_EQ(pipe(fds), 0);
		pid_t pid = fork();
		if (pid == 0)
			submit_for_ever(fds[1]);
		close(fds[1]);
		for (int n = 0; n < 5 + round * 7; n++)
			if (read(fds[0], &id, sizeof id) == sizeof id)
				last = id;
		kill(pid, SIGKILL);
		/* What was told between the last read and the end counts, too. */
		while (read(fds[0], &id, sizeof id) == sizeof id)
			last = id;
		waitpid(pid, NULL, 0);
		close(fds[0]);
		ASSERT(last > 0);
		ASSERT(ask("SELECT max(id) FROM tasks") >= (int64_t)last);
	}
	struct seen s;
	open_store();
	ASSERT_EQ(store_boot(store), 11);
	load(&s);
	ASSERT((uint64_t)s.n_tasks >= last && (uint64_t)s.n_tasks <= last + 10);
	ASSERT_EQ(ask("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
	close_store();
}
