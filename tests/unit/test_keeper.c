/* SPDX-License-Identifier: Apache-2.0
 * Attempts, the record, vinefs' deaths and the orderly end, with tasks that have no view. */
#include "tests/unit/keeper_world.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(a_task_runs_and_its_status_and_output_come_back)
{
	struct bench b = begin("--grace-msec=1000");
	shell(&b, 1, "echo hello; echo oops >&2; exit 7");
	while (!b.n_ended)
		hear(&b);
	ASSERT_EQ(b.n_started, 1);
	ASSERT_EQ(b.last.attempt, 1);
	ASSERT_EQ(b.last.task, 1001);
	ASSERT(WIFEXITED(b.last.status));
	ASSERT_EQ(WEXITSTATUS(b.last.status), 7);
	ASSERT(b.last.peak_memory > 0);
	ASSERT(b.last.wall_usec > 0);
	ASSERT_STR(content(&b, "out1"), "hello\n");
	ASSERT_STR(content(&b, "err1"), "oops\n");
	finish(&b);
}

TEST(a_command_that_is_not_there_fails_with_its_errno_and_name)
{
	struct bench b = begin("--grace-msec=1000");
	start(&b, 1, (const char *[]){"/x/y"}, 1, "/bin");
	while (!b.n_failed)
		hear(&b);
	ASSERT_EQ(b.last.error, ENOENT);
	ASSERT_EQ(b.last.step, KEEPER_STEP_EXEC);
	ASSERT_STR(b.last.what, "/x/y");
	/* The task's own PATH counts. */
	start(&b, 2, (const char *[]){"sh", "-c", "true"}, 3, "/nowhere");
	while (b.n_failed < 2)
		hear(&b);
	ASSERT_STR(b.last.what, "sh");
	finish(&b);
}

TEST(no_descriptor_signal_mask_or_standard_input_of_ours_reaches_a_task)
{
	struct bench b = begin("--grace-msec=1000");
	shell(&b, 1,
	      "ls /proc/self/fd | tr '\\n' ' '; grep -E 'SigBlk|SigIgn' /proc/self/status >&2; read x || echo end");
	while (!b.n_ended)
		hear(&b);
	/* 3 is the directory that ls reads. */
	ASSERT_STR(content(&b, "out1"), "0 1 2 3 end\n");
	ASSERT(strstr(content(&b, "err1"), "SigBlk:\t0000000000000000") != NULL);
	ASSERT(strstr(content(&b, "err1"), "SigIgn:\t0000000000000000") != NULL);
	finish(&b);
}

TEST(a_killed_task_gets_its_signal_and_after_the_grace_the_last_one)
{
	struct bench b = begin("--grace-msec=1000");
	shell(&b, 1, "trap 'echo term' TERM; echo $$ >pid; while :; do sleep 0.02; done");
	ASSERT(read_pid(&b, "pid") > 0);
	/* On a busy machine it may hear the first one late: the grace ends when it has. */
	ask(&b, KEEPER_KILL, 1, SIGTERM, 60000);
	for (int64_t end = now_msec() + DEADLINE_MSEC; !*content(&b, "out1") && now_msec() < end; usleep(1000))
		ASSERT(!b.n_ended);
	ask(&b, KEEPER_KILL, 1, SIGCONT, 100);
	while (!b.n_ended)
		hear(&b);
	ASSERT(WIFSIGNALED(b.last.status));
	ASSERT_EQ(WTERMSIG(b.last.status), SIGKILL);
	ASSERT_STR(content(&b, "out1"), "term\n");
	finish(&b);
}

TEST(what_a_task_leaves_behind_ends_with_it)
{
	struct bench b = begin("--grace-msec=1000");
	shell(&b, 1,
	      "sleep 1000 & echo $! >group; setsid sh -c 'echo $$ >session; exec sleep 1000' & "
	      "while [ ! -s session ]; do sleep 0.01; done");
	pid_t group = read_pid(&b, "group"), session = read_pid(&b, "session");
	ASSERT(group > 0 && session > 0);
	while (!b.n_ended)
		hear(&b);
	ASSERT(poll_until_gone(group));
	ASSERT(poll_until_gone(session));
	finish(&b);
}

TEST(a_new_vinefs_hears_of_running_and_of_ended_attempts)
{
	enum { N = 100 };
	struct bench b = begin("--grace-msec=1000");
	for (uint64_t i = 1; i <= N; i++)
		shell(&b, i, "while [ ! -e go ]; do sleep 0.05; done; exit 3");
	while (b.n_started < N)
		hear(&b);
	for (int round = 0; round < 3; round++) {
		b.n_started = 0;
		kill(b.vinefs, SIGKILL);
		meet(&b);
		while (!b.n_listed)
			hear(&b);
		ASSERT_EQ(b.n_started, N);
		ASSERT_EQ(b.n_ended, 0);
	}
	char path[4200];
	snprintf(path, sizeof path, "%s/go", b.state);
	/* They end while nobody listens. */
	kill(b.vinefs, SIGKILL);
	close_fd(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	meet(&b);
	while (!b.n_listed || b.n_ended < N)
		hear(&b);
	/* Those taken are not told again, the others are. */
	for (uint64_t i = 1; i <= N / 2; i++)
		ask(&b, KEEPER_TAKEN, i, 0, 0);
	shell(&b, 1000, "true");
	while (b.n_ended < N + 1)
		hear(&b);
	b.n_ended = 0;
	kill(b.vinefs, SIGKILL);
	meet(&b);
	while (!b.n_listed)
		hear(&b);
	ASSERT_EQ(b.n_ended, N / 2 + 1);
	ASSERT(b.last.status == 0 || WEXITSTATUS(b.last.status) == 3);
	finish(&b);
}

TEST(tasks_die_with_a_killed_keeper_and_are_lost_to_the_next)
{
	struct bench b = begin("--grace-msec=1000");
	shell(&b, 1, "exit 5");
	while (!b.n_ended)
		hear(&b);
	shell(&b, 2, "setsid sh -c 'echo $$ >session; exec sleep 1000' & echo $$ >pid; sleep 1000");
	pid_t pid = read_pid(&b, "pid"), session = read_pid(&b, "session");
	kill(b.keeper, SIGKILL);
	waitpid(b.keeper, NULL, 0);
	ASSERT(poll_until_gone(pid));
	b.n_ended = b.n_lost = 0;
	start_keeper(&b, "--grace-msec=1000");
	ASSERT_EQ(b.n_ended, 1);
	ASSERT_EQ(b.n_lost, 1);
	ASSERT(poll_until_gone(session));
	finish(&b);
}

TEST(a_torn_last_entry_of_the_record_does_no_harm)
{
	struct bench b = begin("--grace-msec=1000");
	shell(&b, 1, "exit 5");
	while (!b.n_ended)
		hear(&b);
	kill(b.keeper, SIGKILL);
	waitpid(b.keeper, NULL, 0);
	char path[4200];
	struct stat st;
	snprintf(path, sizeof path, "%s/keeper.log", b.state);
	ASSERT_EQ(stat(path, &st), 0);
	ASSERT_EQ(truncate(path, st.st_size - 10), 0);
	b.n_ended = 0;
	start_keeper(&b, "--grace-msec=1000");
	/* The end is torn off, the start is known. */
	ASSERT_EQ(b.n_lost, 1);
	finish(&b);
}

TEST(a_program_that_cannot_be_recorded_never_begins)
{
	enum { N = 100 };
	struct bench b = begin("--grace-msec=1000");
	struct rlimit limit;
	struct stat st;
	char path[4200];
	snprintf(path, sizeof path, "%s/keeper.log", b.state);
	ASSERT_EQ(stat(path, &st), 0);
	ASSERT_EQ(prlimit(b.keeper, RLIMIT_FSIZE, NULL, &limit), 0);
	struct rlimit full = {.rlim_cur = (rlim_t)st.st_size, .rlim_max = limit.rlim_max};
	ASSERT_EQ(prlimit(b.keeper, RLIMIT_FSIZE, &full, NULL), 0);
	snprintf(path, sizeof path, ": >%s/began", b.state);
	for (uint64_t i = 1; i <= N; i++)
		shell(&b, i, path);
	while (b.n_failed < N)
		hear(&b);
	ASSERT_EQ(b.n_started, 0);
	ASSERT_EQ(b.last.error, EFBIG);
	ASSERT_EQ(b.last.step, KEEPER_STEP_RECORD);
	ASSERT(strstr(b.last.what, "/keeper.log") != NULL);
	/* With room again, the next one begins as if nothing had been. */
	ASSERT_EQ(prlimit(b.keeper, RLIMIT_FSIZE, &limit, NULL), 0);
	shell(&b, N + 1, "exit 4");
	while (!b.n_ended)
		hear(&b);
	ASSERT_EQ(WEXITSTATUS(b.last.status), 4);
	snprintf(path, sizeof path, "%s/began", b.state);
	ASSERT(access(path, F_OK) != 0);
	finish(&b);
}

TEST(one_attempt_too_many_is_refused_and_costs_nobody_else)
{
	struct bench b = begin("--grace-msec=1000");
	char path[4200];
	struct stat st;
	snprintf(path, sizeof path, "%s/keeper.log", b.state);
	shell(&b, 1, "exit 5");
	while (!b.n_ended)
		hear(&b);
	kill(b.keeper, SIGKILL);
	waitpid(b.keeper, NULL, 0);
	/* As many as it takes, made from the one there is: the head, the attempt's start, its end. */
	ASSERT_EQ(stat(path, &st), 0);
	size_t n = ((size_t)st.st_size - 72) / 2;
	char *record = xmalloc(72 + n * KEEPER_ATTEMPTS_MAX);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_EQ(pread(fd, record, 72, 0), 72);
	for (uint64_t i = 0; i < KEEPER_ATTEMPTS_MAX; i++) {
		char *at = record + 72 + i * n;
		ASSERT_EQ(pread(fd, at, n, (off_t)(72 + n)), n);
		((struct keeper_report *)(void *)at)->attempt = i + 1;
	}
	ASSERT_EQ(pwrite(fd, record, 72 + n * KEEPER_ATTEMPTS_MAX, 0), 72 + n * KEEPER_ATTEMPTS_MAX);
	close_fd(fd);
	free(record);
	start_keeper(&b, "--grace-msec=1000");
	shell(&b, KEEPER_ATTEMPTS_MAX + 1, "true");
	while (!b.n_failed)
		hear(&b);
	ASSERT_EQ(b.last.attempt, KEEPER_ATTEMPTS_MAX + 1);
	ASSERT_EQ(b.last.step, KEEPER_STEP_RECORD);
	finish(&b);
}

TEST(an_orderly_stop_loses_what_it_ends_and_leaves_nothing)
{
	struct bench b = begin("--grace-msec=300");
	shell(&b, 1, "trap '' TERM; echo $$ >stubborn; while :; do sleep 0.02; done");
	shell(&b, 2, "echo $$ >pid; exec sleep 1000");
	pid_t stubborn = read_pid(&b, "stubborn"), pid = read_pid(&b, "pid");
	finish(&b);
	ASSERT_EQ(b.n_lost, 2);
	ASSERT_EQ(b.n_ended, 0);
	ASSERT_EQ(b.n_stopping, 1);
	ASSERT(poll_until_gone(stubborn));
	ASSERT(poll_until_gone(pid));
}

TEST(a_large_command_line_passes_and_too_large_a_word_is_refused_by_exec)
{
	struct bench b = begin("--grace-msec=1000");
	enum { N = 12 };
	char *word = xmalloc(100000);
	memset(word, 'x', 99999);
	word[99999] = 0;
	const char *argv[N + 4] = {"sh", "-c", "echo $# ${#1}", "sh"};
	for (int i = 0; i < N; i++)
		argv[4 + i] = word;
	start(&b, 1, argv, N + 4, "/usr/bin:/bin");
	while (!b.n_ended)
		hear(&b);
	ASSERT_STR(content(&b, "out1"), "12 99999\n");
	free(word);
	word = xmalloc(200001);
	memset(word, 'x', 200000);
	word[200000] = 0;
	argv[4] = word;
	start(&b, 2, argv, 5, "/usr/bin:/bin");
	while (!b.n_failed)
		hear(&b);
	ASSERT_EQ(b.last.error, E2BIG);
	free(word);
	finish(&b);
}

TEST(nonsense_from_a_vinefs_costs_that_vinefs_its_life_only)
{
	struct bench b = begin("--grace-msec=1000");
	shell(&b, 1, "echo $$ >pid; exec sleep 1000");
	pid_t pid = read_pid(&b, "pid");
	say(&b, "\377\377\377\377nonsense", 12);
	meet(&b);
	while (!b.n_listed)
		hear(&b);
	ASSERT_EQ(kill(pid, 0), 0);
	finish(&b);
}
