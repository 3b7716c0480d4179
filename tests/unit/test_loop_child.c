/* SPDX-License-Identifier: Apache-2.0 */
#include "common/loop_internal.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t real_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* Turns until *n reaches `goal`; false when the deadline came first. */
static bool turn_until(struct loop *l, const int *n, int goal)
{
	uint64_t end = real_usec() + UNIT_PATIENCE_USEC;
	while (*n < goal && real_usec() < end)
		if (loop_turn(l, 100) < 0)
			return false;
	return *n >= goal;
}

/* ---- signals */

static int signals_heard, signal_last;

static void on_test_signal(int signo, void *arg)
{
	signals_heard++;
	signal_last = signo;
	ASSERT_EQ((intptr_t)arg, signo);
}

TEST(signals_arrive_as_events_by_their_number)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	signals_heard = 0;
	ASSERT_EQ(loop_on_signal(l, SIGUSR1, on_test_signal, (void *)(intptr_t)SIGUSR1), 0);
	ASSERT_EQ(loop_on_signal(l, SIGUSR2, on_test_signal, (void *)(intptr_t)SIGUSR2), 0);
	ASSERT_EQ(kill(getpid(), SIGUSR1), 0);
	ASSERT(turn_until(l, &signals_heard, 1));
	ASSERT_EQ(signal_last, SIGUSR1);
	ASSERT_EQ(kill(getpid(), SIGUSR2), 0);
	ASSERT(turn_until(l, &signals_heard, 2));
	ASSERT_EQ(signal_last, SIGUSR2);
}

TEST(signals_that_cannot_be_events_are_refused)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	static const int bad[] = {0, -1, _NSIG, SIGKILL, SIGSTOP, SIGCHLD};
	for (size_t i = 0; i < countof(bad); i++)
		ASSERT_EQ(loop_on_signal(l, bad[i], on_test_signal, NULL), -EINVAL);
}

/* ---- children */

struct kid {
	struct child child;
	int status, n_heard;
	int *count;
	uint64_t cpu_usec;
	struct kid *victim;
	int gate; /* closing it ends the child */
};

static void on_kid(struct child *c, int status, const struct rusage *usage)
{
	struct kid *k = container_of(c, struct kid, child);
	k->n_heard++;
	k->status = status;
	k->cpu_usec = (uint64_t)usage->ru_utime.tv_usec + (uint64_t)usage->ru_utime.tv_sec * 1000000u;
	if (k->count)
		++*k->count;
	if (k->victim)
		child_stop(&k->victim->child);
}

/* A child that waits for its gate and exits with `status`. */
static void spawn(struct kid *k, struct loop *l, int status, int *count)
{
	int ends[2];
	ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	ASSERT(pid >= 0);
	if (!pid) {
		char c;
		close(ends[1]);
		_exit(read(ends[0], &c, 1) == 0 ? status : 99);
	}
	close(ends[0]);
	*k = (struct kid){.count = count, .gate = ends[1]};
	ASSERT_EQ(child_start(&k->child, l, pid, on_kid), 0);
}

static struct loop *loop_for_children(bool has_pidfd)
{
	struct loop *l = loop_new();
	if (!has_pidfd)
		ASSERT_EQ(loop_child_forgo_pidfd(l), 0);
	else if (!l->has_pidfd)
		unit_skip("no pidfd on this kernel");
	return l;
}

static void check_children(bool has_pidfd)
{
	enum { N = 20 };
	struct kid kids[N];
	int count = 0;
	_cleanup_(loop_freep) struct loop *l = loop_for_children(has_pidfd);
	for (int i = 0; i < N; i++)
		spawn(&kids[i], l, i, &count);
	ASSERT_EQ(loop_turn(l, 0), 0);
	ASSERT_EQ(count, 0);
	/* Children hold the write ends of the gates of those forked before them: the last goes first. */
	for (int i = N - 1; i >= 0; i--)
		close(kids[i].gate);
	ASSERT(turn_until(l, &count, N));
	for (int i = 0; i < N; i++) {
		ASSERT_EQ(kids[i].n_heard, 1);
		ASSERT(WIFEXITED(kids[i].status));
		ASSERT_EQ(WEXITSTATUS(kids[i].status), i);
		ASSERT(!kids[i].child.loop);
		ASSERT_EQ(kill(kids[i].child.pid, 0), -1);
	}
}

TEST(every_child_is_reaped_and_told_once)
{
	check_children(true);
}

TEST(every_child_is_reaped_and_told_once_without_pidfds)
{
	check_children(false);
}

static void check_child_ended_before_start(bool has_pidfd)
{
	int count = 0;
	_cleanup_(loop_freep) struct loop *l = loop_for_children(has_pidfd);
	struct kid k = {.count = &count};
	pid_t pid = fork();
	if (!pid)
		_exit(5);
	/* It is dead, its signal gone, when the loop first hears of it. */
	siginfo_t info;
	ASSERT_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	ASSERT_EQ(loop_turn(l, 0), 0);
	ASSERT_EQ(child_start(&k.child, l, pid, on_kid), 0);
	ASSERT(turn_until(l, &count, 1));
	ASSERT_EQ(WEXITSTATUS(k.status), 5);
}

TEST(a_child_that_ended_before_it_was_added_is_told)
{
	check_child_ended_before_start(true);
}

TEST(a_child_that_ended_before_it_was_added_is_told_without_pidfds)
{
	check_child_ended_before_start(false);
}

static void check_stopped_child(bool has_pidfd)
{
	int count = 0;
	struct kid kids[2];
	_cleanup_(loop_freep) struct loop *l = loop_for_children(has_pidfd);
	for (int i = 0; i < 2; i++)
		spawn(&kids[i], l, i, &count);
	kids[0].victim = &kids[1];
	kids[1].victim = &kids[0];
	for (int i = 1; i >= 0; i--) {
		close(kids[i].gate);
		siginfo_t info;
		ASSERT_EQ(waitid(P_PID, (id_t)kids[i].child.pid, &info, WEXITED | WNOWAIT), 0);
	}
	ASSERT(turn_until(l, &count, 1));
	ASSERT_EQ(loop_turn(l, 0), 0);
	ASSERT_EQ(count, 1);
	struct kid *other = kids[0].n_heard ? &kids[1] : &kids[0];
	ASSERT_EQ(waitpid(other->child.pid, NULL, 0), other->child.pid);
	child_stop(&other->child);
}

TEST(a_stopped_child_is_not_told_and_not_reaped)
{
	check_stopped_child(true);
}

TEST(a_stopped_child_is_not_told_and_not_reaped_without_pidfds)
{
	check_stopped_child(false);
}

static void check_killed_child(bool has_pidfd)
{
	int count = 0;
	struct kid k;
	_cleanup_(loop_freep) struct loop *l = loop_for_children(has_pidfd);
	spawn(&k, l, 0, &count);
	ASSERT_EQ(kill(k.child.pid, SIGKILL), 0);
	ASSERT(turn_until(l, &count, 1));
	ASSERT(WIFSIGNALED(k.status));
	ASSERT_EQ(WTERMSIG(k.status), SIGKILL);
	close(k.gate);
}

TEST(a_killed_child_is_told_with_its_signal)
{
	check_killed_child(true);
}

TEST(a_killed_child_is_told_with_its_signal_without_pidfds)
{
	check_killed_child(false);
}

TEST(a_child_that_someone_else_reaped_is_told_as_unknown)
{
	int count = 0;
	struct kid k;
	_cleanup_(loop_freep) struct loop *l = loop_for_children(true);
	spawn(&k, l, 0, &count);
	close(k.gate);
	ASSERT_EQ(waitpid(k.child.pid, NULL, 0), k.child.pid);
	ASSERT(turn_until(l, &count, 1));
	ASSERT_EQ(k.status, -1);
	ASSERT(!WIFEXITED(k.status) && !WIFSIGNALED(k.status));
}

TEST(a_process_that_is_not_there_cannot_be_watched)
{
	_cleanup_(loop_freep) struct loop *l = loop_for_children(true);
	pid_t pid = fork();
	if (!pid)
		_exit(0);
	ASSERT_EQ(waitpid(pid, NULL, 0), pid);
	struct kid k = {0};
	ASSERT_EQ(child_start(&k.child, l, pid, on_kid), -ESRCH);
	child_stop(&k.child);
}

TEST(every_descriptor_of_a_loop_is_close_on_exec)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	int count = 0;
	struct kid k;
	ASSERT_EQ(loop_on_signal(l, SIGUSR1, on_test_signal, NULL), 0);
	spawn(&k, l, 0, &count);
	const int all[] = {l->epoll, l->wake.fd, l->signal_watch.fd, k.child.watch.fd};
	for (size_t i = 0; i < countof(all); i++)
		ASSERT_EQ(fcntl(all[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	close(k.gate);
	ASSERT(turn_until(l, &count, 1));
}
