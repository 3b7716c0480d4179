// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/store_world.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

TEST(what_is_submitted_again_leaves_no_body_behind)
{
	struct wire_bytes b;
	open_store();
	put_run(1, "sweep");
	put_task(10, "k1", "true");
	store_flush(store);
	wait_for(2);
	ASSERT_EQ(ask("SELECT count(*) FROM commands"), 2);
	put_task(11, "k1", "false");
	put_task(12, "k2", "false");
	store_flush(store);
	wait_for(4);
	ASSERT_EQ(ask("SELECT count(*) FROM commands"), 3);
	ASSERT_EQ(ask("SELECT count(*) FROM tasks WHERE command NOT IN (SELECT id FROM commands)"), 0);
	close_store();
	/* What this process has never seen is added before the key is found to be known. */
	open_store();
	put_task(13, "k1", "true");
	store_flush(store);
	wait_for(1);
	ASSERT_EQ(ask("SELECT count(*) FROM commands"), 3);
	put_task(14, "", "true");
	store_flush(store);
	wait_for(2);
	ASSERT_EQ(store_read_body(store, stored[0].command_id, &b), 0);
	ASSERT_STR((const char *)b.at + 5, "true");
	ASSERT_EQ(store_read_body(store, stored[0].environment_id, &b), 0);
	close_store();
}

static void check_body(uint64_t id, uint64_t n)
{
	struct wire_bytes b;
	char word[24];
	snprintf(word, sizeof word, "task-%llu", (unsigned long long)n);
	ASSERT_EQ(store_read_body(store, id, &b), 0);
	ASSERT_STR((const char *)b.at + 5, word);
}

/* The first task's environment is number 1, so task n's command is n + 1. */
TEST(bodies_read_ahead_are_those_that_were_asked_for)
{
	enum { N = 700 };
	struct wire_bytes one, other;
	char word[24];
	open_store();
	put_run(1, "sweep");
	for (uint64_t i = 1; i <= N; i++) {
		snprintf(word, sizeof word, "task-%llu", (unsigned long long)i);
		put_task(i, "", word);
	}
	store_flush(store);
	wait_for(N + 1);
	close_store();
	run_sql("DELETE FROM commands WHERE id IN (300, 301)");
	open_store();
	for (uint64_t i = 1; i <= N; i++)
		if (i != 299 && i != 300)
			check_body(i + 1, i);
	for (uint64_t i = N; i > 400; i--)
		check_body(i + 1, i);
	ASSERT_EQ(store_read_body(store, 300, &one), -ENOENT);
	ASSERT_EQ(store_read_body(store, N + 2, &one), -ENOENT);
	/* The last two stay, however many come in behind the second. */
	check_body(101, 100);
	ASSERT_EQ(store_read_body(store, 1, &one), 0);
	ASSERT_EQ(store_read_body(store, 102, &other), 0);
	ASSERT_STR((const char *)one.at, "A=1");
	ASSERT_STR((const char *)other.at + 5, "task-101");
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
	ASSERT_EQ(s.at[0].shape, 4);
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
	ASSERT_EQ(ask("SELECT attempt FROM attempts WHERE task = 10"), 5);
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
	struct seen s;
	load(&s);
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
