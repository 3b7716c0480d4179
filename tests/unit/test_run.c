/* SPDX-License-Identifier: Apache-2.0
 * Attempts, with the test in the keeper's place at the other end of the pair. */
#include "tests/unit/unit.h"

#include "common/buf.h"
#include "common/path.h"
#include "vinefs/keeper/keeper.h"
#include "vinefs/run/run.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEADLINE_TURNS 2000

struct bench {
	struct loop *loop;
	struct run *run;
	int keeper;
	unsigned n_listed, n_ended, n_gone, n_orphaned;
	struct buf heads;
	struct buf request;
};

static void on_listed(void *owner)
{
	((struct bench *)owner)->n_listed++;
}

static void on_ended(void *owner)
{
	((struct bench *)owner)->n_ended++;
}

static void on_gone(void *owner)
{
	((struct bench *)owner)->n_gone++;
}

static void on_orphaned(void *owner)
{
	((struct bench *)owner)->n_orphaned++;
}

static void open_run(struct bench *b, uint64_t keep_size)
{
	static const struct run_ops ops = {on_listed, on_ended, on_gone, on_orphaned};
	int pair[2];
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	b->keeper = pair[0];
	struct run_options o = {.state = unit_tmpdir(),
				.keeper = pair[1],
				.keep_usec = 3600 * (uint64_t)1000000,
				.keep_size = keep_size,
				.ops = &ops,
				.owner = b};
	b->run = run_new(b->loop, &o);
	ASSERT(b->run != NULL);
}

static void report(struct bench *b, struct keeper_report r)
{
	r.length = sizeof r;
	ASSERT_EQ(send(b->keeper, &r, sizeof r, MSG_NOSIGNAL), sizeof r);
	ASSERT_EQ(loop_turn(b->loop, 0), 0);
}

static struct bench begin(void)
{
	struct bench b = {.loop = loop_new()};
	return b;
}

static void finish(struct bench *b)
{
	run_free(b->run);
	close_fd(b->keeper);
	loop_free(b->loop);
	buf_fini(&b->heads);
	buf_fini(&b->request);
}

/* The next request whole, and its texts behind it. */
static const struct keeper_request *hear(struct bench *b)
{
	uint32_t length = 0;
	buf_consume(&b->request, b->request.n);
	ASSERT_EQ(recv(b->keeper, &length, sizeof length, MSG_PEEK | MSG_WAITALL), sizeof length);
	uint8_t *at = buf_reserve(&b->request, length);
	ASSERT_EQ(recv(b->keeper, at, length, MSG_WAITALL), length);
	buf_grew(&b->request, length);
	return (const struct keeper_request *)(const void *)b->request.at;
}

static bool has_text(const struct bench *b, const char *text)
{
	return memmem(b->request.at, b->request.n, text, strlen(text) + 1) != NULL;
}

static void start(struct bench *b, uint64_t attempt, const char *directory)
{
	static const char *const argv[] = {"prog", "arg"};
	static const char *const environment[] = {"A=1", "TMPDIR=/elsewhere", "VINE_KEEPER_FD=3"};
	struct wire_start m = {.attempt = attempt,
			       .task = attempt + 100,
			       .argv = {.at = argv, .n = 2},
			       .environment = {.at = environment, .n = 3},
			       .directory = directory};
	run_start(b->run, &m);
}

static bool is_there(const char *name)
{
	_free_ char *path = path_join(unit_tmpdir(), name);
	return access(path, F_OK) == 0;
}

static bool poll_until_gone(const char *name)
{
	for (int i = 0; i < DEADLINE_TURNS * 5 && is_there(name); i++)
		usleep(1000);
	return !is_there(name);
}

static void write_output(const char *name, size_t n)
{
	_free_ char *path = path_join(unit_tmpdir(), name);
	_free_ char *text = xcalloc(1, n + 1);
	memset(text, 'o', n);
	ASSERT_EQ(path_write(path, text, n, 0600, false), 0);
}

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
		  3, EACCES, "working directory /d: Permission denied");
	check_end(
		&b,
		(struct keeper_report){.type = KEEPER_FAILED, .error = ENOSPC, .step = KEEPER_STEP_RECORD, .what = "r"},
		4, ENOSPC, "the node could not start it: r: No space left on device");
	check_end(&b, (struct keeper_report){.type = KEEPER_LOST}, 4, 0,
		  "the node was stopped, or its keeper died, while it ran");
	ASSERT(poll_until_gone("s/1") && poll_until_gone("s/5"));
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
	ASSERT_EQ(hear(&b)->type, KEEPER_TAKEN);
	free(run_held(b.run, &n));
	ASSERT_EQ(n, 0);
	/* Its late end is nobody's. */
	report(&b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = 1});
	ASSERT(!run_next_ended(b.run, &m, &b.heads));
	ASSERT(poll_until_gone("s/1"));
	finish(&b);
}

TEST(kept_output_is_bounded_and_the_oldest_goes_first)
{
	struct bench b = begin();
	struct wire_ended m;
	open_run(&b, 3 * RUN_HEAD_SIZE);
	report(&b, (struct keeper_report){.type = KEEPER_LISTED});
	for (uint64_t i = 1; i <= 3; i++) {
		_free_ char *out = xasprintf("s/%d/out", (int)i);
		start(&b, i, NULL);
		hear(&b);
		write_output(out, RUN_HEAD_SIZE + 1);
		report(&b, (struct keeper_report){.type = KEEPER_ENDED, .attempt = i});
		ASSERT(run_next_ended(b.run, &m, &b.heads));
		run_taken(b.run, i);
		hear(&b);
	}
	ASSERT(poll_until_gone("s/1"));
	ASSERT(is_there("s/2/out") && is_there("s/3/out"));
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
