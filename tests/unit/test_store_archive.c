// SPDX-License-Identifier: Apache-2.0
// What is over goes to archive.sqlite, or for good; what is not stays.
#include "tests/unit/store_world.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *archive_path(void)
{
	static char path[512];
	snprintf(path, sizeof path, "%s/archive.sqlite", unit_tmpdir());
	return path;
}

static int64_t ask_archive(const char *sql)
{
	return ask_file(archive_path(), sql);
}

static void open_keeping(uint64_t keep_usec)
{
	char text[512];
	ASSERT_EQ(open_error(text), 0);
	store_keep(store, keep_usec);
	loop = loop_new();
	ASSERT_EQ(store_start(store, loop), 0);
	n_called = n_first = last_error = 0;
}

/* Until a question is answered so. */
static bool comes(int64_t (*who)(const char *sql), const char *sql, int64_t answer)
{
	for (int i = 0; i < DEADLINE_TURNS; i++) {
		if (who(sql) == answer)
			return true;
		loop_turn(loop, 20);
	}
	return false;
}

static void submit(uint64_t id, uint64_t run, uint64_t n_elements, uint64_t item, uint8_t mode)
{
	char body[40];
	struct store_task *t = store_alloc(store, sizeof *t);
	struct store_binding *b = store_alloc(store, sizeof *b);
	int n = snprintf(body, sizeof body, "/tmp%cprogram-%d", 0, (int)run);
	*b = (struct store_binding){.item = item, .path = "/x", .mode = mode};
	*t = (struct store_task){.id = id,
				 .run = run,
				 .key = "",
				 .tag = "a tag",
				 .command = bytes(body, (uint32_t)n + 1),
				 .environment = bytes("A=1", 4),
				 .shape = 4,
				 .bindings = b,
				 .n_bindings = item > 0,
				 .array = {.n = n_elements, .step = 1}};
	store_put(store, &(struct store_op){.kind = STORE_SUBMIT, .on_stored = on_stored, .submit = {t, 1}});
}

static void finish_of(uint64_t run, uint64_t from, uint64_t n)
{
	uint64_t *ids = store_alloc(store, n * sizeof *ids);
	for (uint64_t i = 0; i < n; i++) {
		ids[i] = from + i;
		store_put(store,
			  &(struct store_op){.kind = STORE_START,
					     .attempt = {.task = ids[i], .attempt = 1, .node = 7, .attempts = 1}});
		store_put(store, &(struct store_op){.kind = STORE_RESULT,
						    .result = {.task = ids[i],
							       .run = run,
							       .attempt = 1,
							       .node = 7,
							       .how = 1,
							       .reason = "",
							       .out = {"out", 3},
							       .out_size = 3}});
	}
	store_put(store, &(struct store_op){.kind = STORE_DONE, .on_stored = on_stored, .tasks = {ids, n}});
	store_flush(store);
	int before = n_called;
	for (int i = 0; i < DEADLINE_TURNS && n_called == before; i++)
		loop_turn(loop, 20);
}

static void finish(uint64_t from, uint64_t n)
{
	finish_of(0, from, n);
}

static void put_item(uint64_t id, uint64_t run, uint64_t producer)
{
	store_put(store, &(struct store_op){.kind = STORE_ITEM,
					    .item = {.id = id,
						     .run = run,
						     .name = store_text(store, run ? "temp:x" : "file:/x"),
						     .signature = "",
						     .producer = producer}});
}

static void put_made_item(uint64_t id, uint64_t run, uint64_t producer, bool is_forgotten)
{
	struct store_item i = {.id = id, .run = run, .name = "temp:x", .signature = "", .producer = producer};
	digest_bytes("x", 1, &i.tree);
	i.is_forgotten = is_forgotten;
	store_put(store, &(struct store_op){.kind = STORE_ITEM, .item = i});
}

static void put_named_run(uint64_t id, const char *name)
{
	store_put(store, &(struct store_op){.kind = STORE_RUN, .run = {id, store_text(store, name), false}});
}

TEST(a_run_that_is_over_goes_and_one_that_is_not_stays)
{
	open_keeping(0);
	put_named_run(1, "over");
	put_named_run(2, "sweep");
	put_item(5, 1, 10);
	submit(10, 1, 0, 5, 3);
	submit(11, 1, 100, 0, 0);
	submit(200, 2, 0, 0, 0);
	submit(201, 1, 0, 0, 0);
	store_flush(store);
	wait_for(4);
	finish(10, 101);
	finish(200, 1);
	/* One of its tasks is not over. */
	loop_turn(loop, 20);
	finish(201, 1);
	ASSERT(comes(ask, "SELECT count(*) FROM tasks", 0));
	ASSERT(comes(ask, "SELECT count(*) FROM submits", 0));
	ASSERT_EQ(ask("SELECT (SELECT count(*) FROM arrays) + (SELECT count(*) FROM bindings) + (SELECT count(*) FROM "
		      "attempts) "
		      "+ (SELECT count(*) FROM results) + (SELECT count(*) FROM heads)"),
		  0);
	ASSERT(comes(ask, "SELECT count(*) FROM commands", 0));
	ASSERT_EQ(ask_archive("SELECT count(*) FROM v_tasks WHERE run = 'over' AND how = 'exited'"), 102);
	ASSERT_EQ(ask_archive("SELECT task FROM v_bindings WHERE item = 'temp:x' AND mode = 'out'"), 10);
	ASSERT_EQ(ask_archive("SELECT count(*) FROM heads WHERE out = x'6f7574'"), 103);
	ASSERT_EQ(ask_archive("SELECT count(*) FROM commands"), 3);
	close_store();
	/* No number is given again, and what is left of the run has gone with the restart. */
	struct seen s;
	open_store();
	load(&s);
	ASSERT_EQ(s.loader.last_task, 201);
	ASSERT_EQ(s.loader.last_run, 2);
	ASSERT_EQ(s.loader.last_item, 5);
	ASSERT_EQ(s.n_items, 0);
	ASSERT_EQ(ask("SELECT count(*) FROM runs"), 0);
	ASSERT(comes(ask, "SELECT count(*) FROM items", 0));
	close_store();
}

TEST(what_has_gone_of_a_run_is_not_summed_up_with_what_comes_later)
{
	struct store_ends ends = {0};
	open_keeping(0);
	put_named_run(1, "sweep");
	submit(10, 1, 100, 0, 0);
	store_flush(store);
	wait_for(1);
	finish_of(1, 10, 99);
	ASSERT_EQ(store_count_ended(store, 0, 1, &ends), 0);
	ASSERT_EQ(ends.n[STORE_END_GOOD], 99);
	finish_of(1, 109, 1);
	ASSERT(comes(ask, "SELECT count(*) FROM arrays", 0));
	ASSERT_EQ(ask("SELECT count(*) FROM ends"), 0);
	submit(200, 1, 3, 0, 0);
	store_flush(store);
	wait_for(4);
	finish_of(1, 200, 2);
	ends = (struct store_ends){0};
	ASSERT_EQ(store_count_ended(store, 0, 1, &ends), 0);
	ASSERT_EQ(ends.n[STORE_END_GOOD], 2);
	ASSERT_EQ(ask("SELECT good FROM ends"), 2);
	close_store();
}

TEST(a_run_stays_as_long_as_one_of_its_tasks_is_not_over)
{
	open_keeping(0);
	put_named_run(1, "sweep");
	put_named_run(2, "over");
	submit(10, 1, 0, 0, 0);
	submit(11, 1, 0, 0, 0);
	submit(20, 2, 0, 0, 0);
	store_flush(store);
	wait_for(3);
	finish(10, 1);
	finish(20, 1);
	ASSERT(comes(ask, "SELECT count(*) FROM tasks WHERE run = 2", 0));
	ASSERT_EQ(ask("SELECT count(*) FROM tasks WHERE run = 1"), 2);
	ASSERT_EQ(ask("SELECT count(*) FROM results WHERE task = 10"), 1);
	finish(11, 1);
	ASSERT(comes(ask, "SELECT count(*) FROM tasks", 0));
	close_store();
}

TEST(a_run_stays_for_as_long_as_it_is_kept)
{
	open_keeping((uint64_t)3600 * 1000000);
	put_named_run(1, "sweep");
	put_named_run(2, "other");
	submit(10, 1, 0, 0, 0);
	submit(20, 2, 0, 0, 0);
	store_flush(store);
	wait_for(2);
	finish(10, 1);
	finish(20, 1);
	close_store();
	/* As if the second had been over long ago. */
	ASSERT_EQ(ask("SELECT count(*) FROM results"), 2);
	run_sql("UPDATE runs SET created_usec = 5; UPDATE results SET ended_usec = 5 WHERE task = 20");
	open_keeping((uint64_t)3600 * 1000000);
	ASSERT(comes(ask, "SELECT count(*) FROM tasks WHERE run = 2", 0));
	ASSERT_EQ(ask("SELECT count(*) FROM tasks WHERE run = 1"), 1);
	close_store();
}

/* Should it be lost, it has to be made again. */
TEST(a_run_stays_while_another_names_what_it_made)
{
	open_keeping(0);
	put_named_run(1, "maker");
	put_named_run(2, "sweep");
	put_named_run(3, "over");
	put_item(5, 0, 10);
	submit(10, 1, 0, 5, 3);
	submit(20, 2, 0, 5, 1);
	submit(30, 3, 0, 0, 0);
	store_flush(store);
	wait_for(3);
	finish(10, 1);
	finish(30, 1);
	ASSERT(comes(ask, "SELECT count(*) FROM tasks WHERE run = 3", 0));
	ASSERT_EQ(ask("SELECT count(*) FROM tasks WHERE run = 1"), 1);
	finish(20, 1);
	ASSERT(comes(ask, "SELECT count(*) FROM tasks", 0));
	close_store();
}

/* Whoever comes back for it may have to have it made again. */
TEST(a_run_stays_while_it_has_something_that_is_to_stay_for_ever)
{
	open_keeping(0);
	for (uint64_t run = 1; run <= 3; run++) {
		const char *const names[] = {"sweep", "failed", "over"};
		put_named_run(run, names[run - 1]);
		put_item(5 + run, run, 10 * run);
		submit(10 * run, run, 0, 5 + run, 3);
		if (run < 3)
			store_put(store,
				  &(struct store_op){.kind = STORE_SETTING, .setting = {run, "lifetime", "forever"}});
	}
	put_made_item(6, 1, 10, false);
	store_flush(store);
	wait_for(3);
	for (uint64_t run = 1; run <= 3; run++)
		finish(10 * run, 1);
	ASSERT(comes(ask, "SELECT count(*) FROM tasks WHERE run > 1", 0));
	ASSERT_EQ(ask("SELECT count(*) FROM tasks WHERE run = 1"), 1);
	close_store();
	struct seen s;
	open_store();
	load(&s);
	ASSERT_EQ(s.n_items, 1);
	put_made_item(6, 1, 10, true);
	close_store();
	open_keeping(0);
	ASSERT(comes(ask, "SELECT count(*) FROM tasks", 0));
	close_store();
}

TEST(a_forgotten_run_goes_at_once_and_for_good)
{
	struct store_run run;
	open_store();
	put_named_run(1, "gone");
	put_named_run(2, "sweep");
	put_item(5, 1, 10);
	submit(10, 1, 5000, 5, 3);
	submit(6000, 2, 0, 0, 0);
	store_put(store, &(struct store_op){.kind = STORE_SETTING, .setting = {1, "lifetime", "1d"}});
	store_flush(store);
	wait_for(2);
	finish(10, 5000);
	store_put(store, &(struct store_op){.kind = STORE_FORGET, .on_stored = on_stored, .run = {.id = 1}});
	store_flush(store);
	wait_for(4);
	ASSERT_EQ(store_find_run(store, "gone", &run), -ENOENT);
	ASSERT_EQ(ask("SELECT count(*) FROM v_tasks WHERE run = 'gone'"), 0);
	/* Its name may be given again at once. */
	put_named_run(3, "gone");
	ASSERT(comes(ask, "SELECT count(*) FROM results", 0));
	ASSERT(comes(ask, "SELECT count(*) FROM submits", 1));
	ASSERT(comes(ask, "SELECT count(*) FROM items", 0));
	ASSERT(comes(ask, "SELECT count(*) FROM commands", 2));
	ASSERT_EQ(ask("SELECT count(*) FROM settings"), 0);
	ASSERT_EQ(ask("SELECT count(*) FROM tasks"), 1);
	ASSERT(access(archive_path(), F_OK) < 0);
	close_store();
}

/* A command that is submitted again while its last user leaves. */
TEST(a_command_that_is_named_again_stays)
{
	struct wire_bytes b;
	open_store();
	put_named_run(1, "gone");
	put_named_run(2, "sweep");
	for (uint64_t i = 0; i < 50; i++) {
		uint64_t id = 10000 * (i + 1);
		submit(id, 1, 3000, 0, 0);
		store_flush(store);
		wait_for(1);
		n_called = 0;
		finish(id, 3000);
		store_put(store, &(struct store_op){.kind = STORE_FORGET, .run = {.id = 1}});
		put_named_run(1, "gone");
		n_called = 0;
		submit(id + 5000, 2, 0, 0, 0);
		store_flush(store);
		wait_for(1);
		ASSERT_EQ(store_read_body(store, stored[0].command_id, &b), 0);
		n_called = 0;
	}
	ASSERT(comes(ask, "SELECT count(*) FROM submits", 50));
	ASSERT_EQ(ask("SELECT count(*) FROM tasks WHERE command NOT IN (SELECT id FROM commands) "
		      "OR environment NOT IN (SELECT id FROM commands)"),
		  0);
	close_store();
}

/* One connection for all: nothing else may look until it is closed. */
TEST(in_exclusive_mode_runs_go_too)
{
	struct conf_error e = {""};
	ASSERT_EQ(store_open(&store, &(struct store_options){db_path(), true}, &e), 0);
	store_keep(store, 0);
	loop = loop_new();
	ASSERT_EQ(store_start(store, loop), 0);
	n_called = 0;
	put_named_run(1, "over");
	submit(10, 1, 0, 0, 0);
	store_flush(store);
	wait_for(1);
	finish(10, 1);
	struct store_task t;
	struct store_result r;
	int error = 0;
	for (int i = 0; i < DEADLINE_TURNS && !error; i++) {
		loop_turn(loop, 20);
		error = store_read_result(store, 10, &r, &t);
	}
	ASSERT_EQ(error, -ENOENT);
	close_store();
	ASSERT_EQ(ask_archive("SELECT count(*) FROM v_tasks WHERE run = 'over'"), 1);
}

/* ---- kill -9 in the middle */

static void archive_until_killed(void)
{
	open_keeping(0);
	for (;;)
		loop_turn(loop, 20);
}

TEST(a_crash_while_runs_move_loses_none_and_leaves_none_to_do_again)
{
	struct seen s;
	unit_tmpdir();
	open_store();
	for (uint64_t run = 1; run <= 8; run++) {
		char name[20];
		snprintf(name, sizeof name, "run-%d", (int)run);
		put_named_run(run, name);
		submit(run * 10000, run, 4500, 0, 0);
		store_flush(store);
		wait_for(1);
		finish(run * 10000, 4500);
		n_called = 0;
	}
	close_store();
	for (int round = 0; round < 30; round++) {
		pid_t pid = fork();
		if (pid == 0)
			archive_until_killed();
		usleep(30000 + (useconds_t)round * 7000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		open_store();
		load(&s);
		ASSERT_EQ(s.n_tasks, 0);
		close_store();
	}
	open_keeping(0);
	ASSERT(comes(ask, "SELECT count(*) FROM submits", 0));
	close_store();
	ASSERT_EQ(ask("SELECT count(*) FROM results"), 0);
	ASSERT_EQ(ask_archive("SELECT count(*) FROM results"), 8 * 4500);
	ASSERT_EQ(ask_archive("SELECT count(*) FROM v_tasks WHERE state = 'delivered' AND run LIKE 'run-%'"), 8 * 4500);
}

TEST(a_run_that_somebody_is_attached_to_stays)
{
	open_keeping(0);
	store_hold_run(store, 1, true);
	put_named_run(1, "attached");
	put_named_run(2, "over");
	submit(10, 1, 0, 0, 0);
	submit(11, 2, 0, 0, 0);
	store_flush(store);
	wait_for(2);
	finish(10, 2);
	ASSERT(comes(ask, "SELECT count(*) FROM tasks WHERE id = 11", 0));
	ASSERT_EQ(ask("SELECT count(*) FROM tasks WHERE id = 10"), 1);
	store_hold_run(store, 1, false);
	ASSERT(comes(ask, "SELECT count(*) FROM tasks", 0));
	close_store();
}
