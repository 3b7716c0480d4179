/* SPDX-License-Identifier: Apache-2.0
 * Limits by control groups: against directories of plain files, and by the kernel where it lets us. */
#include "tests/unit/limits_world.h"

#include "vinefs/run/limits_internal.h"

#include <sys/file.h>
#include <sys/utsname.h>

/* ---- cgroups, as files */

TEST(an_attempt_gets_a_group_of_version_2_with_its_limits)
{
	struct bench b;
	begin(&b, "2");
	struct wire_start m = start(64 * MIB, 0);
	struct limits_plan p = plan_of(&b, &m, 10);
	_free_ char *group = group_of(&b, "");
	_free_ char *procs = path_join(group, "cgroup.procs");
	_free_ char *memory = read_of(&b, "", "memory.max"), *swap = read_of(&b, "", "memory.swap.max");
	_free_ char *oom = read_of(&b, "", "memory.oom.group"), *pids = read_of(&b, "", "pids.max");
	ASSERT_STR(limits_how(b.limits), "cgroup v2: memory processes");
	ASSERT_EQ(p.n_cgroups, 1);
	ASSERT_STR(p.cgroups[0], procs);
	ASSERT_STR(memory, "67108864");
	ASSERT_STR(swap, "0");
	ASSERT_STR(oom, "1");
	/* Two are ours. */
	ASSERT_STR(pids, "12");
	limits_plan_fini(&p);
	finish(&b);
}

TEST(without_a_limit_of_memory_none_is_set)
{
	struct bench b;
	begin(&b, "2");
	struct wire_start m = start(0, 0);
	struct limits_plan p = plan_of(&b, &m, 0);
	_free_ char *memory = read_of(&b, "", "memory.max"), *pids = read_of(&b, "", "pids.max");
	ASSERT_STR(memory, "(none)");
	/* Of processes there is always one: the node's. */
	ASSERT(strtoull(pids, NULL, 10) >= 64);
	limits_plan_fini(&p);
	finish(&b);
}

/* On kernels that number the processes of each PID namespace by themselves. */
TEST(alone_in_a_namespace_with_an_init_it_has_a_group_only_for_limits_that_were_asked_for)
{
	struct bench b;
	struct utsname u;
	unsigned major = 0, minor = 0;
	begin(&b, "2");
	uname(&u);
	bool is_new = sscanf(u.release, "%u.%u", &major, &minor) == 2 && major * 100 + minor >= 614;
	for (unsigned i = 0; i < 3; i++) {
		struct wire_start m = start(i == 1 ? 64 * MIB : 0, 0);
		struct limits_plan p;
		struct limits_usage used;
		ASSERT_EQ(limits_begin(b.limits, &m, i == 2 ? 500 : 0, true, &p), 0);
		ASSERT_EQ(p.n_cgroups, is_new && !i ? 0 : 1);
		ASSERT_EQ(p.n_limits, is_new ? 1 : 0);
		if (is_new)
			ASSERT_EQ(p.limits[0].resource, KEEPER_LIMIT_PIDS);
		if (is_new && i == 2)
			ASSERT(p.limits[0].value > 502 && p.limits[0].value < 1000);
		limits_plan_fini(&p);
		limits_end(b.limits, ATTEMPT, &used);
	}
	finish(&b);
}

static bool is_there(const struct bench *b, const char *name)
{
	_free_ char *path = path_join(b->cgroup, name);
	return access(path, F_OK) == 0;
}

TEST(groups_of_a_node_that_is_gone_go_and_those_of_one_that_is_between_two_vinefs_do_not)
{
	struct bench b;
	struct stat st;
	struct groups g;
	begin(&b, "2");
	fstat(b.sandboxes, &st);
	_free_ char *own = xasprintf("vine-w9.%llx/5", (unsigned long long)st.st_ino);
	const char *const made[] = {own, "vine-gone.1/5", "vine-alive.1/5"};
	for (size_t i = 0; i < countof(made); i++) {
		_free_ char *path = path_join(b.cgroup, made[i]);
		ASSERT_EQ(path_make_dirs(path, 0755), 0);
	}
	_free_ char *alive = path_join(b.cgroup, "vine-alive.1");
	int lock = open(alive, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ASSERT_EQ(flock(lock, LOCK_EX), 0);
	groups_init(&g, b.cgroup, "w9", b.sandboxes);
	groups_clear(&g);
	for (size_t i = 0; i < countof(made); i++)
		ASSERT(is_there(&b, made[i]));
	groups_clear(&g);
	ASSERT(is_there(&b, own) && is_there(&b, "vine-alive.1/5") && !is_there(&b, "vine-gone.1"));
	groups_fini(&g);
	close_fd(lock);
	finish(&b);
}

TEST(what_the_kernel_killed_is_told_at_the_end_though_nobody_looked)
{
	struct bench b;
	begin(&b, "2");
	struct wire_start m = start(2048 * MIB, 0);
	struct limits_usage u;
	struct limits_plan p = plan_of(&b, &m, 0);
	put_of(&b, "", "memory.events", "low 0\nhigh 0\nmax 31\noom 1\noom_kill 2\noom_group_kill 1\n");
	put_of(&b, "", "memory.peak", "2147483648\n");
	put_of(&b, "", "cpu.stat", "usage_usec 4321\nuser_usec 1\nsystem_usec 2\n");
	limits_end(b.limits, ATTEMPT, &u);
	ASSERT_EQ(u.exceeded, LIMITS_MEMORY);
	ASSERT_STR(u.text, "it wanted more than its 2G of memory (cgroup v2), on node w3");
	ASSERT_EQ(u.peak_memory, 2048 * MIB);
	ASSERT_EQ(u.cpu_usec, 4321);
	ASSERT_EQ(b.n_told, 0);
	limits_plan_fini(&p);
	finish(&b);
}

TEST(one_that_the_machine_ran_out_of_memory_for_was_not_over_its_limit)
{
	struct bench b;
	begin(&b, "2");
	struct wire_start m = start(2048 * MIB, 0);
	struct limits_usage u;
	struct limits_plan p = plan_of(&b, &m, 0);
	put_of(&b, "", "memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 1\n");
	limits_end(b.limits, ATTEMPT, &u);
	ASSERT_EQ(u.exceeded, LIMITS_NONE);
	limits_plan_fini(&p);
	finish(&b);
}

TEST(a_refused_fork_is_told_while_it_runs_and_once)
{
	struct bench b;
	begin(&b, "2");
	struct wire_start m = start(0, 0);
	struct limits_usage u;
	pid_t pid = child(idle, 0);
	begin_and_watch(&b, &m, 10, pid);
	put_of(&b, "", "pids.events", "max 3\n");
	ASSERT(turn_until_told(&b));
	ASSERT_EQ(b.attempt, ATTEMPT);
	ASSERT_EQ(b.kind, LIMITS_PROCESSES);
	ASSERT_STR(b.text, "it wanted more than its 10 processes and threads at once (cgroup v2), on node w3");
	turn_a_while(&b);
	ASSERT_EQ(b.n_told, 1);
	limits_end(b.limits, ATTEMPT, &u);
	ASSERT_EQ(u.exceeded, LIMITS_PROCESSES);
	ASSERT_STR(u.text, b.text);
	end_child(pid);
	finish(&b);
}

TEST(version_1_has_a_group_for_each_controller_that_is_needed)
{
	struct bench b;
	begin(&b, "memory pids freezer");
	struct wire_start m = start(64 * MIB, 0);
	struct limits_usage u;
	struct limits_plan p = plan_of(&b, &m, 10);
	_free_ char *memory = read_of(&b, "memory", "memory.limit_in_bytes"), *pids = read_of(&b, "pids", "pids.max");
	ASSERT_STR(limits_how(b.limits), "cgroup v1: memory processes");
	ASSERT_EQ(p.n_cgroups, 2);
	ASSERT_STR(memory, "67108864");
	ASSERT_STR(pids, "12");
	put_of(&b, "memory", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
	put_of(&b, "memory", "memory.max_usage_in_bytes", "67108864\n");
	limits_end(b.limits, ATTEMPT, &u);
	ASSERT_EQ(u.exceeded, LIMITS_MEMORY);
	ASSERT_STR(u.text, "it wanted more than its 64M of memory (cgroup v1), on node w3");
	ASSERT_EQ(u.peak_memory, 64 * MIB);
	limits_plan_fini(&p);
	finish(&b);
}

TEST(what_has_no_controller_is_looked_at)
{
	struct bench b;
	begin(&b, "memory");
	ASSERT_STR(limits_how(b.limits), "cgroup v1: memory; by looking: processes");
	struct wire_start m = start(0, 0);
	pid_t pid = child(fork_children, 20);
	begin_and_watch(&b, &m, 10, pid);
	ASSERT(turn_until_told(&b));
	ASSERT_EQ(b.kind, LIMITS_PROCESSES);
	end_child(pid);
	finish(&b);
}

TEST(one_that_began_before_this_process_is_limited_as_before)
{
	struct bench b;
	begin(&b, "2");
	static const char *const how[] = {"view=none", "processes=5"};
	struct wire_start m = start(64 * MIB, 0);
	struct limits_usage u;
	m.how = (struct wire_texts){.at = how, .n = 2};
	struct limits_plan p = plan_of(&b, &m, 5);
	limits_plan_fini(&p);
	limits_free(b.limits);
	open_limits(&b, b.cgroup);
	put_of(&b, "", "pids.events", "max 1\n");
	pid_t pid = child(idle, 0);
	limits_watch(b.limits, &m, false, pid, loop_now_usec(b.loop));
	ASSERT(turn_until_told(&b));
	ASSERT(strstr(b.text, "its 5 processes") != NULL);
	end_child(pid);
	limits_end(b.limits, ATTEMPT, &u);
	/* And one that ended meanwhile. */
	put_of(&b, "", "memory.events", "max 1\noom_kill 1\n");
	m.how.n = 0;
	put_of(&b, "", "pids.events", "max 0\n");
	limits_watch(b.limits, &m, false, 0, 0);
	limits_end(b.limits, ATTEMPT, &u);
	ASSERT_EQ(u.exceeded, LIMITS_MEMORY);
	finish(&b);
}

/* ---- the kernel's own */

static bool has_kernel(struct bench *b)
{
	open_limits(b, NULL);
	struct wire_start m = start(64 * MIB, 0);
	struct limits_plan p = plan_of(b, &m, 20);
	bool is_there = p.n_cgroups > 0;
	limits_plan_fini(&p);
	return is_there;
}

static void join(const struct limits_plan *p)
{
	char text[16];
	snprintf(text, sizeof text, "%d", getpid());
	for (uint32_t i = 0; i < p->n_cgroups; i++) {
		_close_ int fd = open(p->cgroups[i], O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, text, strlen(text)) < 0)
			_exit(1);
	}
}

static struct limits_plan joined;

static void join_and_scatter(int n)
{
	join(&joined);
	for (int i = 0; i < n; i++) {
		if (fork() == 0) {
			setsid();
			return;
		}
	}
}

static bool is_gone(pid_t pid)
{
	for (unsigned i = 0; i < UNIT_PATIENCE_SEC * 100; i++) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return true;
		usleep(10000);
	}
	return false;
}

TEST(what_still_runs_at_the_end_is_killed_with_its_group)
{
	struct bench b;
	begin(&b, "");
	struct limits_usage u;
	limits_free(b.limits);
	if (!has_kernel(&b)) {
		finish(&b);
		SKIP("no cgroup can be written");
	}
	limits_end(b.limits, ATTEMPT, &u);
	struct wire_start m = start(64 * MIB, 0);
	joined = plan_of(&b, &m, 20);
	_free_ char *first = xstrdup(joined.cgroups[0]);
	/* It makes groups in its own. */
	for (size_t i = 0; i < joined.n_cgroups; i++) {
		_free_ char *group = xstrndup(joined.cgroups[i], strlen(joined.cgroups[i]) - strlen("cgroup.procs"));
		_free_ char *below = path_join(group, "below"), *last = path_join(below, "last");
		ASSERT_EQ(mkdir(below, 0700) | mkdir(last, 0700), 0);
	}
	pid_t pid = child(join_and_scatter, 4);
	limits_watch(b.limits, &m, false, pid, loop_now_usec(b.loop));
	limits_end(b.limits, ATTEMPT, &u);
	ASSERT(is_gone(pid));
	/* The group goes when the last has ended. */
	for (unsigned i = 0; i < UNIT_PATIENCE_SEC * 50 && access(first, F_OK) == 0; i++)
		ASSERT_EQ(loop_turn(b.loop, 20), 0);
	ASSERT(access(first, F_OK) < 0);
	limits_plan_fini(&joined);
	limits_free(b.limits);
	b.limits = NULL;
	/* And the node's own. */
	*strstr(strstr(first, "/vine-") + 1, "/") = 0;
	ASSERT(access(first, F_OK) < 0);
	finish(&b);
}

static void join_and_use(int mib)
{
	join(&joined);
	if (fork() == 0) {
		use_memory(mib);
		_exit(0);
	}
}

TEST(the_kernels_limit_of_memory_is_told)
{
	struct bench b;
	begin(&b, "");
	struct limits_usage u;
	limits_free(b.limits);
	if (!has_kernel(&b) || !strstr(limits_how(b.limits), "memory") ||
	    strstr(limits_how(b.limits), "looking: memory")) {
		finish(&b);
		SKIP("no cgroup limits memory here");
	}
	limits_end(b.limits, ATTEMPT, &u);
	struct wire_start m = start(64 * MIB, 0);
	joined = plan_of(&b, &m, 20);
	pid_t pid = child(join_and_use, 200);
	limits_watch(b.limits, &m, false, pid, loop_now_usec(b.loop));
	ASSERT(turn_until_told(&b));
	ASSERT_EQ(b.kind, LIMITS_MEMORY);
	ASSERT(strstr(b.text, "it wanted more than its 64M of memory (cgroup v") == b.text);
	limits_end(b.limits, ATTEMPT, &u);
	ASSERT(u.peak_memory > 50 * MIB && u.peak_memory <= 64 * MIB);
	ASSERT(is_gone(pid));
	limits_plan_fini(&joined);
	finish(&b);
}

static void join_and_bomb(int n)
{
	join(&joined);
	for (int i = 0; i < n; i++)
		if (fork() == 0)
			return;
}

TEST(the_kernels_limit_of_processes_is_told)
{
	struct bench b;
	begin(&b, "");
	struct limits_usage u;
	limits_free(b.limits);
	if (!has_kernel(&b) || strstr(limits_how(b.limits), "looking: processes")) {
		finish(&b);
		SKIP("no cgroup limits processes here");
	}
	limits_end(b.limits, ATTEMPT, &u);
	struct wire_start m = start(0, 0);
	joined = plan_of(&b, &m, 5);
	pid_t pid = child(join_and_bomb, 30);
	limits_watch(b.limits, &m, false, pid, loop_now_usec(b.loop));
	ASSERT(turn_until_told(&b));
	ASSERT_EQ(b.kind, LIMITS_PROCESSES);
	limits_end(b.limits, ATTEMPT, &u);
	ASSERT(is_gone(pid));
	limits_plan_fini(&joined);
	finish(&b);
}
