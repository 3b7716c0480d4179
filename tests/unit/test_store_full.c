// SPDX-License-Identifier: Apache-2.0
// A disk that is full, or fails: what is new is refused, results wait and arrive, and what can be read goes on being read.
#include "tests/unit/store_world.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void limit_files(rlim_t size)
{
	struct rlimit l;
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &l);
	l.rlim_cur = size;
	setrlimit(RLIMIT_FSIZE, &l);
}

static off_t size_of(const char *suffix)
{
	struct stat st;
	_free_ char *path = xasprintf("%s%s", db_path(), suffix);
	return stat(path, &st) < 0 ? 0 : st.st_size;
}

static void put_kept_result(uint64_t task)
{
	store_put(store, &(struct store_op){.kind = STORE_RESULT,
					    .is_kept = true,
					    .on_stored = on_stored,
					    .result = {.task = task,
						       .attempt = 5,
						       .how = 1,
						       .reason = "",
						       .out = bytes("late", 4),
						       .out_size = 4}});
}

TEST(on_a_full_disk_results_wait_and_arrive_in_their_order)
{
	struct store_result e;
	struct wire_bytes b;
	open_store();
	put_run(1, "sweep");
	for (uint64_t id = 10; id < 20; id++)
		put_task(id, "", "true");
	store_flush(store);
	wait_for(11);
	limit_files((rlim_t)size_of("-wal"));
	for (uint64_t id = 10; id < 20; id++) {
		put_start(id, 5, 1);
		put_kept_result(id);
		store_flush(store);
		loop_turn(loop, 20);
	}
	put_task(30, "k", "refused");
	store_flush(store);
	wait_for(12);
	ASSERT(last_error < 0);
	ASSERT(store_backlog(store) > 0);
	/* Meanwhile what is there is read: tasks go on being started. */
	ASSERT_EQ(store_read_body(store, stored[0].command_id ? stored[0].command_id : 1, &b), 0);
	ASSERT_EQ(store_read_result(store, 10, &e, NULL), -ENOENT);
	struct store_task t;
	ASSERT_EQ(store_read_result(store, 15, &e, &t), -ENOENT);
	ASSERT_EQ(t.id, 15);
	limit_files(RLIM_INFINITY);
	for (int i = 0; i < DEADLINE_TURNS && store_backlog(store); i++)
		loop_turn(loop, 20);
	ASSERT_EQ(n_called, 22);
	ASSERT_EQ(last_error, 0);
	ASSERT_EQ(ask("SELECT count(*) FROM results"), 10);
	ASSERT_EQ(ask("SELECT count(*) FROM results r JOIN results s ON s.task > r.task AND s.place < r.place"), 0);
	ASSERT_EQ(ask("SELECT count(*) FROM tasks"), 10);
	put_task(30, "k", "taken");
	store_flush(store);
	wait_for(23);
	ASSERT(stored[0].is_new);
	close_store();
}

/* What a commit wrote before it failed is not taken for a task, nor for a command that is known. */
TEST(what_failed_leaves_nothing_behind)
{
	struct seen s;
	open_store();
	put_run(1, "sweep");
	store_flush(store);
	wait_for(1);
	limit_files((rlim_t)size_of("-wal"));
	put_task(10, "k", "new command");
	store_flush(store);
	wait_for(2);
	ASSERT(last_error < 0);
	limit_files(RLIM_INFINITY);
	put_task(11, "k", "new command");
	store_flush(store);
	wait_for(3);
	ASSERT_EQ(last_error, 0);
	ASSERT(stored[0].is_new);
	close_store();
	open_store();
	load(&s);
	ASSERT_EQ(s.n_tasks, 1);
	ASSERT_EQ(s.at[0].id, 11);
	ASSERT_EQ(ask("SELECT count(*) FROM tasks t JOIN commands c ON c.id = t.command"), 1);
	ASSERT_EQ(ask("SELECT sum(n) FROM submits"), 1);
	close_store();
}

/* ---- the write-ahead log */

static void put_large(uint64_t *id)
{
	static char text[8000];
	memset(text, 'y', sizeof text - 1);
	for (int i = 0; i < 200; i++) {
		snprintf(text, 20, "%d", (int)*id);
		text[strlen(text)] = 'y';
		struct store_task *t = store_alloc(store, sizeof *t);
		*t = (struct store_task){.id = (*id)++,
					 .run = 1,
					 .key = "",
					 .tag = "",
					 .command = bytes(text, sizeof text),
					 .environment = bytes("A=1", 4)};
		store_put(store, &(struct store_op){.kind = STORE_SUBMIT, .submit = {t, 1}});
	}
	store_put(store, &(struct store_op){.kind = STORE_NOTHING, .on_stored = on_stored});
	store_flush(store);
	int before = n_called;
	for (int i = 0; i < DEADLINE_TURNS && n_called == before; i++)
		loop_turn(loop, 20);
	ASSERT_EQ(n_called, before + 1);
}

TEST(the_log_is_folded_back_and_does_not_grow)
{
	uint64_t id = 1;
	open_store();
	put_run(1, "sweep");
	store_flush(store);
	wait_for(1);
	for (int i = 0; i < 60; i++)
		put_large(&id);
	/* 96 MB went through it. */
	ASSERT(size_of("") > (off_t)60 << 20);
	ASSERT(size_of("-wal") < (off_t)40 << 20);
	close_store();
}

/* It cannot be folded back past what a reader still sees, but commits go on, and it begins anew once the reader is gone. */
TEST(a_reader_that_stays_does_not_stop_commits)
{
	uint64_t id = 1;
	sqlite3 *db = NULL;
	open_store();
	put_run(1, "sweep");
	store_flush(store);
	wait_for(1);
	put_large(&id);
	ASSERT_EQ(sqlite3_open_v2(db_path(), &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	ASSERT_EQ(sqlite3_exec(db, "BEGIN; SELECT count(*) FROM tasks", NULL, NULL, NULL), SQLITE_OK);
	for (int i = 0; i < 40; i++)
		put_large(&id);
	ASSERT(size_of("-wal") > (off_t)60 << 20);
	ASSERT_EQ(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	for (int i = 0; i < 20; i++)
		put_large(&id);
	/* Its file is cut when it begins anew. */
	ASSERT(size_of("-wal") <= (off_t)64 << 20);
	close_store();
}
