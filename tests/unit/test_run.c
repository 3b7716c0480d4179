/* SPDX-License-Identifier: Apache-2.0
 * Attempts, with the test in the keeper's place at the other end of the pair. */
#include "tests/unit/run_world.h"

#include <sys/resource.h>
#include <sys/xattr.h>

TEST(a_start_gets_a_sandbox_and_what_vine_says_of_itself)
{
	struct bench b = begin();
	open_run(&b, 1 << 30);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	ASSERT_EQ(b.n_listed, 1);
	start(&b, 7, "");
	const struct keeper_request *q = hear(&b);
	ASSERT_EQ(q->type, KEEPER_START);
	ASSERT_EQ(q->attempt, 7);
	ASSERT_EQ(q->task, 107);
	ASSERT_EQ(q->n_argv, 2);
	_free_ char *cwd = path_join(unit_tmpdir(), "s/7/cwd");
	_free_ char *pwd = xasprintf("PWD=%s", cwd);
	_free_ char *tmp = xasprintf("TMPDIR=%s/s/7/tmp", unit_tmpdir());
	_free_ char *mark = xasprintf("VINE_SANDBOX=%s/s/7", unit_tmpdir());
	ASSERT(has_text(&b, cwd) && has_text(&b, pwd) && has_text(&b, tmp) && has_text(&b, mark));
	ASSERT(has_text(&b, "VINE_TASK=107") && has_text(&b, "VINE_ATTEMPT=7") && has_text(&b, "A=1"));
	ASSERT(!has_text(&b, "TMPDIR=/elsewhere") && !has_text(&b, "VINE_KEEPER_FD=3"));
	ASSERT(is_there("s/7/cwd") && is_there("s/7/tmp"));
	/* Said again, it is the same attempt: the next request is another's. */
	start(&b, 7, "");
	start(&b, 8, "/some/where");
	ASSERT_EQ(hear(&b)->attempt, 8);
	ASSERT(has_text(&b, "PWD=/some/where"));
	finish(&b);
}

TEST(an_end_carries_status_usage_and_the_beginning_of_the_output)
{
	struct bench b = begin();
	struct wire_ended m;
	open_run(&b, 1 << 30);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	start(&b, 7, NULL);
	hear(&b);
	write_output("s/7/out", RUN_HEAD_SIZE + 10);
	write_output("s/7/err", 3);
	ASSERT(!run_next_ended(b.run, &m, &b.heads));
	report(&b, (struct keeper_report){.type = KEEPER_ENDED,
					  .attempt = 7,
					  .task = 107,
					  .status = 5 << 8,
					  .cpu_usec = 11,
					  .wall_usec = 22});
	ASSERT_EQ(b.n_ended, 1);
	ASSERT(run_next_ended(b.run, &m, &b.heads));
	ASSERT_EQ(m.attempt, 7);
	ASSERT_EQ(m.task, 107);
	ASSERT_EQ(m.how, 1);
	ASSERT_EQ(m.status, 5);
	ASSERT_EQ(m.cpu_usec, 11);
	ASSERT_EQ(m.wall_usec, 22);
	ASSERT_STR(m.reason, "");
	ASSERT_EQ(m.out_size, RUN_HEAD_SIZE + 10);
	ASSERT_EQ(m.out.n, RUN_HEAD_SIZE);
	ASSERT_EQ(m.err.n, 3);
	ASSERT_EQ(memcmp(m.err.at, "ooo", 3), 0);
	/* Not delivered: it is given again. */
	ASSERT(!run_next_ended(b.run, &m, &b.heads));
	run_untaken(b.run, 7);
	ASSERT(run_next_ended(b.run, &m, &b.heads));
	run_taken(b.run, 7);
	ASSERT_EQ(hear(&b)->type, KEEPER_TAKEN);
	/* Longer than its beginning: the output stays, the rest goes. */
	ASSERT(poll_until_gone("s/7/cwd"));
	uint64_t size = 0;
	int fd = run_open_output(b.run, 7, 1, &size);
	ASSERT(fd >= 0);
	ASSERT_EQ(size, RUN_HEAD_SIZE + 10);
	close_fd(fd);
	finish(&b);
}

static void check_end(struct bench *b, struct keeper_report r, int how, int status, const char *reason)
{
	static uint64_t attempt;
	struct wire_ended m;
	r.attempt = ++attempt;
	start(b, attempt, NULL);
	hear(b);
	report(b, r);
	ASSERT(run_next_ended(b->run, &m, &b->heads));
	ASSERT_EQ(m.how, how);
	ASSERT_EQ(m.status, status);
	ASSERT_STR(m.reason, reason);
	run_taken(b->run, attempt);
	hear(b);
}

TEST(each_kind_of_end_has_its_word)
{
	struct bench b = begin();
	open_run(&b, 1 << 30);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	check_end(&b, (struct keeper_report){.type = KEEPER_ENDED, .status = SIGKILL}, 2, SIGKILL, "");
	check_end(&b,
		  (struct keeper_report){
			  .type = KEEPER_FAILED, .error = ENOENT, .step = KEEPER_STEP_EXEC, .what = "/x/y"},
		  3, ENOENT, "exec /x/y: No such file or directory");
	check_end(&b,
		  (struct keeper_report){
			  .type = KEEPER_FAILED, .error = EACCES, .step = KEEPER_STEP_DIRECTORY, .what = "/d"},
		  3, EACCES, "directory /d: Permission denied");
	check_end(
		&b,
		(struct keeper_report){.type = KEEPER_FAILED, .error = ENOSPC, .step = KEEPER_STEP_RECORD, .what = "r"},
		6, ENOSPC, "the node could not begin it: the record of it: r: No space left on device");
	check_end(
		&b,
		(struct keeper_report){.type = KEEPER_FAILED, .error = ENOMEM, .step = KEEPER_STEP_EXEC, .what = "/x"},
		6, ENOMEM, "the node could not begin it: exec /x: Cannot allocate memory");
	check_end(&b, (struct keeper_report){.type = KEEPER_LOST}, 4, 0,
		  "the node was stopped, or its keeper died, while it ran");
	ASSERT(poll_until_gone("s/1") && poll_until_gone("s/6"));
	finish(&b);
}

TEST(a_sandbox_that_cannot_be_made_is_the_nodes_own_fault)
{
	struct bench b = begin();
	struct wire_ended m;
	open_run(&b, 1 << 30);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	write_output("s/7", 0);
	start(&b, 7, NULL);
	ASSERT(run_next_ended(b.run, &m, &b.heads));
	ASSERT_EQ(m.how, 6);
	ASSERT_EQ(m.status, ENOTDIR);
	ASSERT(strstr(m.reason, "the node could not begin it: its sandbox: /") == m.reason);
	ASSERT(strstr(m.reason, "/s/7: Not a directory") != NULL);
	finish(&b);
}

TEST(what_the_keeper_lists_is_held_and_other_sandboxes_go)
{
	struct bench b = begin();
	struct wire_ended m;
	uint32_t n;
	_free_ char *stale = path_join(unit_tmpdir(), "s/99/cwd");
	ASSERT_EQ(path_make_dirs(stale, 0700), 0);
	open_run(&b, 1 << 30);
	report(&b, (struct keeper_report){.type = KEEPER_STARTED, .attempt = 1, .task = 11, .pid = 5});
	report(&b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = 2, .task = 12});
	ASSERT_EQ(b.n_ended, 0);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	_free_ struct wire_held *held = run_held(b.run, &n);
	ASSERT_EQ(n, 2);
	ASSERT_EQ(held[0].task + held[1].task, 23);
	ASSERT(run_next_ended(b.run, &m, &b.heads));
	ASSERT_EQ(m.attempt, 2);
	ASSERT(poll_until_gone("s/99"));
	finish(&b);
}

TEST(a_stop_is_passed_on_and_a_fenced_attempt_is_forgotten)
{
	struct bench b = begin();
	struct wire_ended m;
	uint32_t n;
	open_run(&b, 1 << 30);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	start(&b, 1, NULL);
	hear(&b);
	run_stop(b.run, &(struct wire_stop){.attempt = 1, .grace_usec = 1500});
	const struct keeper_request *q = hear(&b);
	ASSERT_EQ(q->type, KEEPER_KILL);
	ASSERT_EQ(q->signo, SIGTERM);
	ASSERT_EQ(q->grace_msec, 2);
	run_stop(b.run, &(struct wire_stop){.attempt = 1, .grace_usec = 1500, .fenced = true});
	ASSERT_EQ(hear(&b)->signo, SIGKILL);
	free(run_held(b.run, &n));
	ASSERT_EQ(n, 0);
	/* Its sandbox goes when nothing can be in it any more, and its end is nobody's. */
	ASSERT(is_there("s/1"));
	report(&b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = 1});
	ASSERT_EQ(hear(&b)->type, KEEPER_TAKEN);
	ASSERT(!run_next_ended(b.run, &m, &b.heads));
	ASSERT(poll_until_gone("s/1"));
	finish(&b);
}

/* Runs it to its end, which vined takes. */
static void run_whole(struct bench *b, uint64_t attempt)
{
	struct wire_ended m;
	report(b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = attempt});
	ASSERT(run_next_ended(b->run, &m, &b->heads));
	run_taken(b->run, attempt);
	hear(b);
}

TEST(kept_output_is_bounded_and_the_oldest_goes_first_but_not_at_once)
{
	struct bench b = begin();
	uint64_t now = 1000000;
	loop_set_clock(b.loop, fake_now_usec, &now);
	open_run(&b, 3 * RUN_HEAD_SIZE);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	for (uint64_t i = 1; i <= 3; i++) {
		_free_ char *out = xasprintf("s/%d/out", (int)i);
		start(&b, i, NULL);
		hear(&b);
		write_output(out, RUN_HEAD_SIZE + 1);
		run_whole(&b, i);
	}
	now += 9000000;
	ASSERT_EQ(loop_turn(b.loop, 0), 0);
	ASSERT(poll_until_gone("s/3/cwd"));
	ASSERT(is_there("s/1/out") && is_there("s/2/out") && is_there("s/3/out"));
	now += 2000000;
	ASSERT_EQ(loop_turn(b.loop, 0), 0);
	ASSERT(poll_until_gone("s/1"));
	ASSERT(is_there("s/2/out") && is_there("s/3/out"));
	finish(&b);
}

TEST(the_newest_output_is_kept_however_large_it_is)
{
	struct bench b = begin();
	uint64_t now = 1000000;
	loop_set_clock(b.loop, fake_now_usec, &now);
	open_run(&b, 0);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	for (uint64_t i = 1; i <= 2; i++) {
		_free_ char *out = xasprintf("s/%d/out", (int)i);
		start(&b, i, NULL);
		hear(&b);
		write_output(out, RUN_HEAD_SIZE + 1);
		run_whole(&b, i);
		now += 1000000;
	}
	now += 60000000;
	ASSERT_EQ(loop_turn(b.loop, 0), 0);
	ASSERT(poll_until_gone("s/1"));
	ASSERT(is_there("s/2/out"));
	now += 3600 * (uint64_t)1000000;
	ASSERT_EQ(loop_turn(b.loop, 0), 0);
	ASSERT(poll_until_gone("s/2"));
	finish(&b);
}

TEST(an_end_waits_for_a_descriptor_to_read_its_output_with)
{
	struct bench b = begin();
	struct wire_ended m;
	struct rlimit whole, none;
	uint64_t now = 1000000;
	loop_set_clock(b.loop, fake_now_usec, &now);
	open_run(&b, 1 << 30);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	start(&b, 7, NULL);
	hear(&b);
	write_output("s/7/out", 3);
	report(&b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = 7});
	ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &whole), 0);
	none = whole;
	none.rlim_cur = 3;
	ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
	bool is_given = run_next_ended(b.run, &m, &b.heads);
	ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &whole), 0);
	ASSERT(!is_given);
	ASSERT_EQ(b.n_ended, 1);
	now += 1100000;
	ASSERT_EQ(loop_turn(b.loop, 0), 0);
	ASSERT_EQ(b.n_ended, 2);
	ASSERT(run_next_ended(b.run, &m, &b.heads));
	ASSERT_EQ(m.out.n, 3);
	ASSERT_STR(m.reason, "");
	finish(&b);
}

TEST(output_that_cannot_be_read_is_not_taken_for_none)
{
	struct bench b = begin();
	struct wire_ended m;
	_free_ char *out = path_join(unit_tmpdir(), "s/7/out"), *err = path_join(unit_tmpdir(), "s/7/err");
	_free_ char *sandbox = path_join(unit_tmpdir(), "s/8"), *aside = path_join(unit_tmpdir(), "aside");
	open_run(&b, 1 << 30);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	start(&b, 7, NULL);
	hear(&b);
	ASSERT_EQ(symlink("/etc/passwd", out), 0);
	ASSERT_EQ(mkfifo(err, 0600), 0);
	report(&b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = 7});
	ASSERT(run_next_ended(b.run, &m, &b.heads));
	ASSERT_EQ(m.how, 1);
	ASSERT_EQ(m.out_size + m.err_size, 0);
	ASSERT_STR(m.reason, "its output cannot be read: out: it has put something else there; "
			     "its output cannot be read: err: it has put something else there");
	/* What could perhaps be read later stays. */
	start(&b, 8, NULL);
	hear(&b);
	ASSERT_EQ(rename(sandbox, aside), 0);
	write_output("s/8", 1);
	report(&b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = 8});
	ASSERT(run_next_ended(b.run, &m, &b.heads));
	ASSERT(strstr(m.reason, "its output cannot be read: out: Not a directory") == m.reason);
	ASSERT_EQ(unlink(sandbox), 0);
	ASSERT_EQ(rename(aside, sandbox), 0);
	write_output("s/8/out", 4);
	run_taken(b.run, 8);
	hear(&b);
	ASSERT(poll_until_gone("s/8/cwd"));
	uint64_t size = 0;
	close_fd(run_open_output(b.run, 8, 1, &size));
	ASSERT_EQ(size, 4);
	finish(&b);
}

TEST(nothing_beyond_a_link_is_deleted)
{
	struct bench b = begin();
	_free_ char *mine = path_join(unit_tmpdir(), "mine"), *sandbox = path_join(unit_tmpdir(), "s/7");
	_free_ char *aside = path_join(unit_tmpdir(), "aside"), *inner = path_join(unit_tmpdir(), "s/8/cwd/l");
	_free_ char *tmp = path_join(unit_tmpdir(), "s/9/tmp"), *inside = path_join(mine, "cwd");
	ASSERT_EQ(mkdir(mine, 0700), 0);
	open_run(&b, 1 << 30);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	for (uint64_t i = 7; i <= 9; i++) {
		start(&b, i, NULL);
		hear(&b);
	}
	write_output("mine/out", RUN_HEAD_SIZE + 1);
	write_output("s/9/out", RUN_HEAD_SIZE + 1);
	ASSERT_EQ(mkdir(inside, 0700), 0);
	write_output("mine/cwd/thesis", 3);
	ASSERT(rename(sandbox, aside) == 0 && symlink(mine, sandbox) == 0 && symlink(mine, inner) == 0);
	ASSERT(rmdir(tmp) == 0 && symlink(mine, tmp) == 0);
	for (uint64_t i = 7; i <= 9; i++)
		run_whole(&b, i);
	ASSERT(poll_until_gone("s/8") && poll_until_gone("s/9/tmp"));
	uint64_t size;
	ASSERT(run_open_output(b.run, 7, 1, &size) < 0);
	ASSERT(is_there("mine/cwd/thesis") && is_there("mine/out"));
	finish(&b);
}

static ino_t inode_of(const char *name)
{
	struct stat st;
	_free_ char *path = path_join(unit_tmpdir(), name);
	return lstat(path, &st) ? 0 : st.st_ino;
}

TEST(a_sandbox_is_emptied_and_used_again)
{
	struct bench b = begin();
	parts.usage.is_gone = true;
	open_run(&b, 1 << 30);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	start(&b, 7, NULL);
	hear(&b);
	ino_t sandbox = inode_of("s/7"), cwd = inode_of("s/7/cwd");
	_free_ char *changed = path_join(unit_tmpdir(), "s/7/cwd"), *home = path_join(unit_tmpdir(), "s/7/home");
	ASSERT(chmod(changed, 0777) == 0 && mkdir(home, 0700) == 0);
	write_output("s/7/cwd/left", 3);
	write_output("s/7/out", 3);
	write_output("s/7/err", 0);
	_free_ char *read = path_join(unit_tmpdir(), "s/7/out");
	int reader = open(read, O_RDONLY | O_CLOEXEC);
	ino_t out = inode_of("s/7/out"), err = inode_of("s/7/err");
	run_whole(&b, 7);
	ASSERT(poll_until_gone("s/7"));
	start(&b, 8, NULL);
	hear(&b);
	struct stat st;
	_free_ char *again = path_join(unit_tmpdir(), "s/8/cwd");
	ASSERT(inode_of("s/8") == sandbox && inode_of("s/8/cwd") == cwd && stat(again, &st) == 0);
	ASSERT_EQ(st.st_mode & 07777, 0700);
	ASSERT(!is_there("s/8/cwd/left") && !is_there("s/8/home") && is_there("s/8/tmp"));
	/* Whoever reads the old output does not meet the new. */
	ASSERT(inode_of("s/8/out") != out && inode_of("s/8/err") == err);
	close_fd(reader);
	finish(&b);
}

TEST(a_sandbox_of_which_something_may_still_run_is_not_used_again)
{
	struct bench b = begin();
	parts.usage.is_gone = false;
	open_run(&b, 1 << 30);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	start(&b, 7, NULL);
	hear(&b);
	run_whole(&b, 7);
	ASSERT(poll_until_gone("s/7"));
	ASSERT(!is_there("s/.spare-7"));
	finish(&b);
}

TEST(a_sandbox_that_was_changed_beyond_its_content_is_not_used_again)
{
	struct bench b = begin();
	parts.usage.is_gone = true;
	open_run(&b, 1 << 30);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	for (uint64_t i = 7; i <= 8; i++) {
		start(&b, i, NULL);
		hear(&b);
	}
	_free_ char *cwd = path_join(unit_tmpdir(), "s/7/cwd"), *tmp = path_join(unit_tmpdir(), "s/8/tmp");
	if (setxattr(cwd, "user.mark", "x", 1, 0))
		SKIP("no attributes here");
	ASSERT(rmdir(tmp) == 0);
	write_output("s/8/tmp", 1);
	run_whole(&b, 7);
	run_whole(&b, 8);
	ASSERT(poll_until_gone("s/7") && poll_until_gone("s/8"));
	start(&b, 9, NULL);
	hear(&b);
	_free_ char *made = path_join(unit_tmpdir(), "s/9/cwd");
	ASSERT(getxattr(made, "user.mark", NULL, 0) < 0 && errno == ENODATA);
	ASSERT(!is_there("s/.spare-7") && !is_there("s/.spare-8"));
	finish(&b);
}

TEST(a_directory_of_any_depth_is_deleted)
{
	enum { DEPTH = 3000 };
	struct bench b = begin();
	open_run(&b, 1 << 30);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	start(&b, 7, NULL);
	hear(&b);
	_free_ char *cwd = path_join(unit_tmpdir(), "s/7/cwd");
	int at = open(cwd, O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < DEPTH; i++) {
		ASSERT(mkdirat(at, "vine-removal-0", 0700) == 0 && mkdirat(at, "side", 0500) == 0);
		int next = openat(at, "vine-removal-0", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close_fd(at);
		at = next;
	}
	close_fd(at);
	run_whole(&b, 7);
	ASSERT(poll_until_gone("s/7"));
	finish(&b);
}

TEST(too_long_a_command_and_an_empty_one_end_without_the_keeper)
{
	struct bench b = begin();
	struct wire_ended m;
	open_run(&b, 1 << 30);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	char *word = xmalloc(KEEPER_REQUEST_MAX);
	memset(word, 'x', KEEPER_REQUEST_MAX - 1);
	word[KEEPER_REQUEST_MAX - 1] = 0;
	const char *argv[] = {"prog", word};
	run_start(b.run, &(struct wire_start){.attempt = 1, .task = 1, .argv = {.at = argv, .n = 2}});
	ASSERT(run_next_ended(b.run, &m, &b.heads));
	ASSERT_EQ(m.how, 3);
	ASSERT_EQ(m.status, E2BIG);
	run_start(b.run, &(struct wire_start){.attempt = 2, .task = 2});
	ASSERT(run_next_ended(b.run, &m, &b.heads));
	ASSERT_EQ(m.status, EINVAL);
	free(word);
	finish(&b);
}

TEST(a_keeper_that_goes_is_noticed)
{
	struct bench b = begin();
	open_run(&b, 1 << 30);
	b.keeper = close_fd(b.keeper);
	for (int i = 0; i < DEADLINE_TURNS && !b.n_orphaned; i++)
		loop_turn(b.loop, 10);
	ASSERT_EQ(b.n_orphaned, 1);
	finish(&b);
}
