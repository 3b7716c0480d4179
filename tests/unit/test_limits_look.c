/* SPDX-License-Identifier: Apache-2.0
 * Limits by looking: at real processes and files; and wall time. */
#include "tests/unit/limits_world.h"

#include <pthread.h>

static void use_and_fork(int mib)
{
	use_memory(mib);
	fork_children(8);
}

static void *sit(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void start_threads(int n)
{
	pthread_t t;
	for (int i = 0; i < n; i++)
		if (pthread_create(&t, NULL, sit, NULL))
			_exit(1);
}

/* ThreadSanitizer's own thread and memory would be counted. */
#ifdef __SANITIZE_THREAD__
#define IS_MORE_THAN_IT_SEEMS true
#else
#define IS_MORE_THAN_IT_SEEMS false
#endif

/* ---- by looking */

TEST(memory_of_a_process_and_its_children_is_seen)
{
	struct bench b;
	if (IS_MORE_THAN_IT_SEEMS)
		SKIP("a sanitizer has memory and threads of its own");
	begin(&b, "");
	struct wire_start m = start(40 * MIB, 0);
	struct limits_usage u;
	pid_t pid = child(use_memory, 60);
	begin_and_watch(&b, &m, 0, pid);
	ASSERT(turn_until_told(&b));
	ASSERT_EQ(b.kind, LIMITS_MEMORY);
	ASSERT(strstr(b.text, "it used 6") == b.text);
	ASSERT(strstr(b.text, "M of memory, more than its 40M, on node w3") != NULL);
	limits_end(b.limits, ATTEMPT, &u);
	ASSERT(u.peak_memory >= 60 * MIB && u.peak_memory < 80 * MIB * UNIT_SLOWER);
	end_child(pid);
	finish(&b);
}

/* Each its own. */
static void fork_and_use(int mib)
{
	fork_children(4);
	use_memory(mib);
}

TEST(what_processes_use_together_is_seen)
{
	struct bench b;
	begin(&b, "");
	struct wire_start m = start(100 * MIB * UNIT_SLOWER, 0);
	struct limits_usage u;
	pid_t pid = child(fork_and_use, 30 * (int)UNIT_SLOWER);
	begin_and_watch(&b, &m, 0, pid);
	ASSERT(turn_until_told(&b));
	ASSERT_EQ(b.kind, LIMITS_MEMORY);
	limits_end(b.limits, ATTEMPT, &u);
	ASSERT(u.peak_memory >= 150 * MIB * UNIT_SLOWER && u.peak_memory < 220 * MIB * UNIT_SLOWER);
	end_child(pid);
	finish(&b);
}

TEST(what_processes_share_counts_once)
{
	struct bench b;
	begin(&b, "");
	struct wire_start m = start(160 * MIB * UNIT_SLOWER, 0);
	struct limits_usage u;
	pid_t pid = child(use_and_fork, 60);
	begin_and_watch(&b, &m, 0, pid);
	turn_a_while(&b);
	ASSERT_EQ(b.n_told, 0);
	limits_end(b.limits, ATTEMPT, &u);
	ASSERT(u.peak_memory >= 60 * MIB && u.peak_memory < 160 * MIB * UNIT_SLOWER);
	end_child(pid);
	finish(&b);
}

TEST(threads_count_as_processes_do)
{
	struct bench b;
	begin(&b, "");
	struct wire_start m = start(0, 0);
	pid_t pid = child(start_threads, 20);
	begin_and_watch(&b, &m, 10, pid);
	ASSERT(turn_until_told(&b));
	ASSERT_EQ(b.kind, LIMITS_PROCESSES);
	ASSERT_STR(b.text, "it had more than its 10 processes and threads at once, on node w3");
	end_child(pid);
	finish(&b);
}

TEST(as_many_processes_as_it_may_have_are_not_too_many)
{
	struct bench b;
	if (IS_MORE_THAN_IT_SEEMS)
		SKIP("a sanitizer has memory and threads of its own");
	begin(&b, "");
	struct wire_start m = start(0, 0);
	struct limits_usage u;
	pid_t pid = child(fork_children, 9);
	begin_and_watch(&b, &m, 10, pid);
	turn_a_while(&b);
	ASSERT_EQ(b.n_told, 0);
	limits_end(b.limits, ATTEMPT, &u);
	ASSERT_EQ(u.exceeded, LIMITS_NONE);
	ASSERT_STR(u.text, "");
	end_child(pid);
	finish(&b);
}

/* What the keeper inherits is known by its environment: here this process is the keeper, and its child looks. */
static int look_from_below(int told)
{
	struct bench b;
	begin(&b, "");
	char *const argv[] = {(char *)(uintptr_t) "sleep", (char *)(uintptr_t) "1000", NULL};
	_free_ char *s = unit_path("s");
	char *environment[] = {xasprintf("VINE_SANDBOX=%s/%u", s, ATTEMPT), NULL};
	struct wire_start m = start(0, 0);
	pid_t pid = child(idle, 0);
	for (int i = 0; i < 6; i++) {
		if (fork() == 0) {
			if (fork() == 0) {
				setsid();
				execve("/bin/sleep", argv, environment);
			}
			_exit(0);
		}
		wait(NULL);
	}
	begin_and_watch(&b, &m, 2, pid);
	bool is_told = turn_until_told(&b);
	return write(told, is_told && b.kind == LIMITS_PROCESSES ? "y" : "n", 1) == 1 ? 0 : 1;
}

TEST(what_has_left_its_parents_is_found)
{
	int ends[2], status, n = 0;
	char c = 0;
	ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pid_t pid = fork();
	if (pid == 0)
		_exit(look_from_below(ends[1]));
	ASSERT_EQ(read(ends[0], &c, 1), 1);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	/* Its own end has not ended what it left. */
	FILE *f = fopen("/proc/self/task/self/children", "re");
	if (f)
		fclose(f);
	_free_ char *path = xasprintf("/proc/self/task/%d/children", getpid());
	f = fopen(path, "re");
	for (int each; f && fscanf(f, "%d", &each) == 1; n++)
		kill(each, SIGKILL);
	if (f)
		fclose(f);
	while (waitpid(-1, NULL, 0) > 0)
		continue;
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	close_fd(ends[0]);
	close_fd(ends[1]);
	ASSERT_EQ(c, 'y');
	ASSERT(n >= 6);
}

/* ---- disk */

static char *sandbox_path(const char *name)
{
	_free_ char *s = unit_path("s");
	return xasprintf("%s/%u/%s", s, ATTEMPT, name);
}

static void fill(const char *name, size_t size, bool is_sparse)
{
	_free_ char *path = sandbox_path(name);
	_free_ char *bytes = xcalloc(1, size);
	_close_ int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	ASSERT(fd >= 0);
	memset(bytes, 'x', size);
	if (is_sparse)
		ASSERT_EQ(ftruncate(fd, (off_t)size), 0);
	else
		ASSERT_EQ(write(fd, bytes, size), (ssize_t)size);
}

static void make_sandbox(void)
{
	_free_ char *cwd = sandbox_path("cwd/deep/er");
	ASSERT_EQ(path_make_dirs(cwd, 0700), 0);
}

TEST(a_sandbox_that_grows_over_its_disk_is_told)
{
	struct bench b;
	begin(&b, "");
	struct wire_start m = start(0, 2 * MIB);
	struct limits_usage u;
	pid_t pid = child(idle, 0);
	make_sandbox();
	begin_and_watch(&b, &m, 0, pid);
	fill("cwd/a", MIB, false);
	turn_a_while(&b);
	ASSERT_EQ(b.n_told, 0);
	fill("cwd/deep/er/b", 2 * MIB, false);
	ASSERT(turn_until_told(&b));
	ASSERT_EQ(b.kind, LIMITS_DISK);
	ASSERT(strstr(b.text, "its sandbox took 3M, more than its 2M of disk, on node w3") != NULL);
	limits_end(b.limits, ATTEMPT, &u);
	ASSERT(u.peak_disk >= 3 * MIB && u.peak_disk < 4 * MIB);
	end_child(pid);
	finish(&b);
}

TEST(holes_and_second_names_take_no_disk)
{
	struct bench b;
	begin(&b, "");
	struct wire_start m = start(0, 2 * MIB);
	pid_t pid = child(idle, 0);
	make_sandbox();
	fill("cwd/a", MIB, false);
	fill("cwd/sparse", 100 * MIB, true);
	_free_ char *a = sandbox_path("cwd/a");
	for (int i = 0; i < 5; i++) {
		_free_ char *name = xasprintf("cwd/deep/%d", i);
		_free_ char *path = sandbox_path(name);
		ASSERT_EQ(link(a, path), 0);
	}
	begin_and_watch(&b, &m, 0, pid);
	turn_a_while(&b);
	ASSERT_EQ(b.n_told, 0);
	end_child(pid);
	finish(&b);
}

/* ---- wall time */

static uint64_t clock_usec(void *arg)
{
	return *(uint64_t *)arg;
}

TEST(wall_time_is_counted_from_its_start_over_a_restart_too)
{
	struct bench b;
	begin(&b, "");
	uint64_t now = 1000000000;
	struct limits_usage u;
	struct wire_start m = {.attempt = ATTEMPT, .wall_usec = 5000000};
	loop_set_clock(b.loop, clock_usec, &now);
	ASSERT_EQ(loop_turn(b.loop, 0), 0);
	/* It ran for four of its five seconds. */
	limits_watch(b.limits, &m, false, getpid(), now - 4000000);
	ASSERT_EQ(loop_turn(b.loop, 0), 0);
	ASSERT_EQ(b.n_told, 0);
	now += 1000001;
	ASSERT(turn_until_told(&b));
	ASSERT_EQ(b.kind, LIMITS_WALL);
	ASSERT_STR(b.text, "it ran longer than its 5s, on node w3");
	limits_end(b.limits, ATTEMPT, &u);
	ASSERT_EQ(u.exceeded, LIMITS_WALL);
	loop_set_clock(b.loop, NULL, NULL);
	finish(&b);
}
