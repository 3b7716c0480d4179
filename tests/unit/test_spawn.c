/* SPDX-License-Identifier: Apache-2.0
 * Tasks in views: their processes, what they are left with, how they end; by_everyone: each as root, if the test is, and as an ordinary user. */
#include "tests/unit/keeper_world.h"

#include "common/path.h"
#include "vinefs/keeper/parts.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- processes */

static void be_second(struct bench *b)
{
	run_plainly(b, 1, "echo $$ $PPID; ls /proc >all; grep -c '^[0-9]' all; exit 7");
	wait_for_end(b);
	ASSERT_EQ(b->n_ended, 1);
	ASSERT(WIFEXITED(b->last.status));
	ASSERT_EQ(WEXITSTATUS(b->last.status), 7);
	/* The shell and ls besides the init. */
	ASSERT_STR(content(b, "out1"), "2 1\n3\n");
	ASSERT(b->last.peak_memory > 0 && b->last.wall_usec > 0);
}

TEST(a_task_in_a_view_is_alone_with_its_init_and_its_status_comes_back)
{
	by_everyone(be_second);
}

static void end_by_signal(struct bench *b)
{
	static const int signals[] = {SIGKILL, SIGTERM, SIGSEGV, SIGUSR1};
	for (size_t i = 0; i < countof(signals); i++) {
		char script[32];
		snprintf(script, sizeof script, "kill -%d $$", signals[i]);
		run_plainly(b, i + 1, script);
		wait_for_end(b);
		ASSERT_EQ(b->n_ended, i + 1);
		ASSERT(WIFSIGNALED(b->last.status));
		ASSERT_EQ(WTERMSIG(b->last.status), signals[i]);
	}
}

TEST(a_task_that_dies_of_a_signal_is_told_so)
{
	by_everyone(end_by_signal);
}

static void leave_daemon(struct bench *b)
{
	char text[64];
	int fd = make_pipe(b);
	run_plainly(b, 1,
		    "setsid setsid sh -c 'exec 9>pipe; echo here >&9; touch ready; trap \"\" TERM HUP; while :; do "
		    "sleep 100; done' & "
		    "while [ ! -e ready ]; do sleep 0.01; done");
	wait_for_end(b);
	ASSERT_EQ(b->last.status, 0);
	ASSERT(is_deserted(fd, text));
	ASSERT_STR(text, "here\n");
	close_fd(fd);
}

TEST(a_daemon_of_two_sessions_is_gone_before_the_end_is_told)
{
	by_everyone(leave_daemon);
}

static void ignore_term(struct bench *b)
{
	char text[64];
	int fd = make_pipe(b);
	run_plainly(b, 1, "exec 9>pipe; trap 'echo term >term' TERM; echo 1 >ready; while :; do sleep 0.02; done");
	ASSERT_STR(wait_for_content(b, "ready"), "1\n");
	ask(b, KEEPER_KILL, 1, SIGTERM, 60000);
	ASSERT_STR(wait_for_content(b, "term"), "term\n");
	ASSERT_EQ(b->n_ended, 0);
	ask(b, KEEPER_KILL, 1, SIGCONT, 100);
	wait_for_end(b);
	ASSERT(WIFSIGNALED(b->last.status));
	ASSERT_EQ(WTERMSIG(b->last.status), SIGKILL);
	ASSERT(is_deserted(fd, text));
	close_fd(fd);
}

TEST(one_that_ignores_sigterm_is_killed_after_its_grace_with_all_it_has)
{
	by_everyone(ignore_term);
}

static void hear_signals(struct bench *b)
{
	static const struct {
		int signo;
		const char *name;
	} all[] = {{SIGINT, "INT"}, {SIGHUP, "HUP"}, {SIGUSR1, "USR1"}, {SIGUSR2, "USR2"}, {SIGTERM, "TERM"}};
	run_plainly(b, 1,
		    "for s in INT HUP USR1 USR2 TERM; do trap \"echo $s >heard-$s\" $s; done; echo 1 >ready; "
		    "while [ ! -e end ]; do sleep 0.01; done; exit 5");
	ASSERT_STR(wait_for_content(b, "ready"), "1\n");
	for (size_t i = 0; i < countof(all); i++) {
		char name[32];
		ask(b, KEEPER_KILL, 1, all[i].signo, 0);
		snprintf(name, sizeof name, "heard-%s", all[i].name);
		ASSERT(strncmp(wait_for_content(b, name), all[i].name, strlen(all[i].name)) == 0);
	}
	free(make_file(b, "end", ""));
	wait_for_end(b);
	ASSERT_EQ(WEXITSTATUS(b->last.status), 5);
}

TEST(signals_reach_the_task_through_its_init)
{
	by_everyone(hear_signals);
}

static void kill_at_once(struct bench *b)
{
	char text[64];
	int fd = make_pipe(b);
	run_plainly(
		b, 1,
		"exec 9>pipe; for i in 1 2 3 4 5 6 7 8; do setsid sleep 1000 & done; echo 1 >ready; exec sleep 1000");
	ASSERT_STR(wait_for_content(b, "ready"), "1\n");
	ask(b, KEEPER_KILL, 1, SIGKILL, 0);
	wait_for_end(b);
	ASSERT_EQ(WTERMSIG(b->last.status), SIGKILL);
	/* That the first process is dead is not enough. */
	ASSERT(is_deserted(fd, text));
	close_fd(fd);
	for (uint64_t i = 2; i < 40; i++) {
		run_plainly(b, i, "sleep 1000");
		ask(b, KEEPER_KILL, i, i % 2 ? SIGKILL : SIGTERM, 0);
		wait_for_end(b);
		ASSERT(WIFSIGNALED(b->last.status));
	}
}

TEST(a_killed_one_ends_when_all_its_processes_have_and_it_may_be_killed_at_any_time)
{
	by_everyone(kill_at_once);
}

static void kill_helpers(struct bench *b)
{
	char text[64];
	int fd = make_pipe(b);
	for (uint64_t attempt = 1; attempt <= 2; attempt++) {
		_free_ char *script =
			xasprintf("exec 9>pipe; setsid sleep 1000 & echo 1 >ready%lu; exec sleep 1000", attempt);
		_free_ char *ready = xasprintf("ready%lu", attempt);
		run_plainly(b, attempt, script);
		ASSERT_STR(wait_for_content(b, ready), "1\n");
		while (b->n_started < attempt)
			hear(b);
		_free_ char *path = xasprintf("/proc/%d/task/%d/children", b->started.pid, b->started.pid);
		size_t n;
		_free_ char *init = path_read(path, 100, &n);
		ASSERT(init && atoi(init) > 1);
		kill(attempt == 1 ? b->started.pid : atoi(init), SIGKILL);
		wait_for_end(b);
		ASSERT_EQ(b->n_ended, attempt);
		ASSERT_EQ(WTERMSIG(b->last.status), SIGKILL);
		ASSERT(is_deserted(fd, text));
	}
	close_fd(fd);
}

TEST(when_its_first_process_or_its_init_is_killed_all_of_it_ends)
{
	by_everyone(kill_helpers);
}

static void lose_keeper(struct bench *b)
{
	char text[64];
	int fd = make_pipe(b);
	run_plainly(b, 1, "exec 9>pipe; setsid sleep 1000 & echo 1 >ready; exec sleep 1000");
	ASSERT_STR(wait_for_content(b, "ready"), "1\n");
	kill(b->keeper, SIGKILL);
	waitpid(b->keeper, NULL, 0);
	for (int64_t end = now_msec() + DEADLINE_MSEC; !is_deserted(fd, text) && now_msec() < end;)
		usleep(1000);
	ASSERT(is_deserted(fd, text));
	close_fd(fd);
	start_keeper(b, "--grace-msec=1000");
	ASSERT_EQ(b->n_lost, 1);
}

TEST(a_view_dies_with_a_killed_keeper)
{
	by_everyone(lose_keeper);
}

static void measure(struct bench *b)
{
	run_plainly(b, 1,
		    "(head -c 60000000 /dev/zero | tail -c 60000000 >/dev/null; i=0; while [ $i -lt 50000 ]; do "
		    "i=$((i+1)); done)");
	wait_for_end(b);
	ASSERT_EQ(b->last.status, 0);
	ASSERT(b->last.peak_memory > 50000000);
	ASSERT(b->last.cpu_usec > 1000);
}

TEST(the_usage_of_its_descendants_is_counted)
{
	by_everyone(measure);
}

/* ---- what it is left with */

static void look_around(struct bench *b)
{
	run_plainly(b, 1,
		    "ls /proc/self/fd | tr '\\n' ' '; grep -E 'SigBlk|SigIgn|CapEff|CapPrm|CapInh|CapBnd|CapAmb' "
		    "/proc/self/status >&2; "
		    "read x || echo end; umask; readlink /proc/1/exe || echo closed; kill -9 1; kill -9 -1; "
		    "echo still");
	wait_for_end(b);
	ASSERT_STR(content(b, "out1"), "0 1 2 3 end\n0022\nclosed\nstill\n");
	const char *err = content(b, "err1");
	ASSERT(strstr(err, "SigBlk:\t0000000000000000") && strstr(err, "SigIgn:\t0000000000000000"));
	/* Of root: CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID NET_BIND_SERVICE NET_RAW IPC_OWNER SYS_NICE SYS_RESOURCE. */
	uint64_t caps = b->uid ? 0 : 0x180a4ff;
	for (unsigned i = 0; i < 64 && !has_user_namespace(b); i++)
		if (prctl(PR_CAPBSET_READ, i) != 1)
			caps &= ~(UINT64_C(1) << i);
	for (const char *const *name = (const char *const[]){"CapEff", "CapPrm", "CapBnd", NULL}; *name; name++) {
		_free_ char *line = xasprintf("%s:\t%016" PRIx64, *name, caps);
		ASSERT(strstr(err, line) != NULL);
	}
	ASSERT(strstr(err, "CapInh:\t0000000000000000") && strstr(err, "CapAmb:\t0000000000000000"));
}

TEST(nothing_of_ours_is_open_to_it_and_no_power_over_the_node_is_left)
{
	by_everyone(look_around);
}

static void be_limited(struct bench *b)
{
	const struct keeper_limit limits[] = {{RLIMIT_NOFILE, 77}, {RLIMIT_CORE, 0}};
	const uint64_t core = 1;
	_free_ char *group = make_file(b, "group", ""), *in = make_file(b, "in", "from a file\n");
	const char *const groups[] = {group};
	struct view *v = view_new(b);
	struct hand_start s = view_done(v);
	s.in = in;
	s.mask = 027;
	s.cores = &core;
	s.n_cores = 1;
	s.limits = limits;
	s.n_limits = countof(limits);
	s.cgroups = groups;
	s.n_cgroups = 1;
	shell_in_view(b, 1, "cat; umask; ulimit -n; ulimit -c; grep Cpus_allowed_list /proc/self/status", s);
	wait_for_end(b);
	ASSERT_STR(content(b, "out1"), "from a file\n0027\n77\n0\nCpus_allowed_list:\t0\n");
	/* As the host numbers it. */
	ASSERT_EQ(atoi(content(b, "group")), b->started.pid);
	_free_ char *none = path_join(b->state, "none");
	s.in = none;
	shell_in_view(b, 2, "true", s);
	wait_for_end(b);
	ASSERT_EQ(b->last.step, KEEPER_STEP_INPUT);
	ASSERT_EQ(b->last.error, ENOENT);
	ASSERT_STR(b->last.what, none);
	view_free(v);
}

TEST(it_has_the_input_mask_cores_limits_and_cgroups_that_it_was_given)
{
	by_everyone(be_limited);
}

static void see_path(struct bench *b)
{
	_free_ char *data = make_file(b, "data", "precious\n");
	_free_ char *place = xasprintf("%s/root/opt-of-nobody/v1/etc/data", b->state);
	struct view *v = view_new(b);
	view_add(v, (struct view_step){.op = VIEW_FILE, .to = place});
	view_add(v, (struct view_step){.op = VIEW_BIND, .from = data, .to = place});
	view_add(v, (struct view_step){.op = VIEW_READONLY, .to = v->root});
	struct hand_start s = view_done(v);
	shell_in_view(
		b, 1,
		"cat /opt-of-nobody/v1/etc/data; (echo x >/opt-of-nobody/v1/etc/data) 2>&1 | grep -c 'Read-only'; "
		"(mkdir /new) 2>&1 | grep -c 'Read-only'; echo mine >result",
		s);
	wait_for_end(b);
	ASSERT_STR(content(b, "err1"), "");
	ASSERT_STR(content(b, "out1"), "precious\n1\n1\n");
	ASSERT_STR(content(b, "data"), "precious\n");
	ASSERT_STR(content(b, "result"), "mine\n");
	ASSERT(access("/opt-of-nobody", F_OK) != 0);
	view_free(v);
}

TEST(a_path_that_the_host_lacks_is_there_and_read_only)
{
	by_everyone(see_path);
}

static void fail_to_begin(struct bench *b)
{
	_free_ char *none = path_join(b->state, "none");
	struct view *v = view_new(b);
	view_add(v, (struct view_step){.op = VIEW_BIND, .from = none, .to = v->root});
	shell_in_view(b, 1, "touch began", view_done(v));
	wait_for_end(b);
	ASSERT_EQ(b->last.type, KEEPER_FAILED);
	ASSERT_EQ(b->last.step, KEEPER_STEP_VIEW);
	ASSERT_EQ(b->last.error, ENOENT);
	ASSERT_STR(b->last.what, none);
	/* In the init, and in the task. */
	v->steps[1] = (struct view_step){.op = VIEW_READONLY, .to = v->root};
	v->proc[1] = 'q';
	shell_in_view(b, 2, "touch began", (struct hand_start){.steps = v->steps, .n_steps = v->n});
	wait_for_end(b);
	ASSERT_EQ(b->last.step, KEEPER_STEP_VIEW);
	ASSERT_STR(b->last.what, "/qroc");
	view_free(v);
	v = view_new(b);
	struct hand_start s = view_done(v);
	s.directory = "/nowhere/at/all";
	shell_in_view(b, 3, "touch began", s);
	wait_for_end(b);
	ASSERT_EQ(b->last.step, KEEPER_STEP_DIRECTORY);
	s.directory = NULL;
	s.argv = (const char *const[]){"no-such-program"};
	s.n_argv = 1;
	shell_in_view(b, 4, "", s);
	wait_for_end(b);
	ASSERT_EQ(b->last.step, KEEPER_STEP_EXEC);
	ASSERT_EQ(b->last.error, ENOENT);
	view_free(v);
	ASSERT_STR(content(b, "began"), "");
	_free_ char *began = path_join(b->state, "began");
	ASSERT(access(began, F_OK) != 0);
}

TEST(what_cannot_begin_says_where_and_why)
{
	by_everyone(fail_to_begin);
}

static void write_beside(struct bench *b)
{
	static const char *const names[] = {"lower", "upper", "work", "mount"};
	for (size_t i = 0; i < countof(names); i++)
		make_directory(b, names[i]);
	free(make_file(b, "lower/kept", "old\n"));
	free(make_file(b, "lower/gone", "old\n"));
	_free_ char *options =
		xasprintf("lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work,xino=on,volatile%s", b->state, b->state,
			  b->state, has_user_namespace(b) ? ",userxattr" : ",redirect_dir=off,metacopy=off,index=off");
	_free_ char *to = path_join(b->state, "mount");
	struct view *v = view_new(b);
	v->steps[0] = (struct view_step){.op = VIEW_OVERLAY, .to = to, .data = options};
	view_add(v, (struct view_step){.op = VIEW_PROC, .to = v->proc});
	shell_in_view(b, 1,
		      "cd mount && echo new >>kept && rm gone && mkdir -p d/e && rmdir d/e && mkdir d/e && mv kept "
		      "d/moved && ls -R | tr '\\n' ' '",
		      (struct hand_start){.steps = v->steps, .n_steps = v->n});
	wait_for_end(b);
	ASSERT_STR(content(b, "err1"), "");
	ASSERT_EQ(b->last.status, 0);
	ASSERT_STR(content(b, "out1"), ".: d  ./d: e moved  ./d/e: ");
	ASSERT_STR(content(b, "lower/kept"), "old\n");
	ASSERT_STR(content(b, "upper/d/moved"), "old\nnew\n");
	view_free(v);
}

TEST(an_overlay_takes_the_writes_and_the_lower_stays)
{
	by_everyone(write_beside);
}

static void stop_in_order(struct bench *b)
{
	char text[64];
	int fd = make_pipe(b);
	run_plainly(b, 1, "exec 9>pipe; trap '' TERM; echo 1 >ready; while :; do sleep 0.02; done");
	ASSERT_STR(wait_for_content(b, "ready"), "1\n");
	kill(b->keeper, SIGTERM);
	while (!b->n_gone)
		hear(b);
	ASSERT_EQ(b->n_lost, 1);
	ASSERT(is_deserted(fd, text));
	close_fd(fd);
}

TEST(an_orderly_stop_ends_views_too)
{
	by_everyone(stop_in_order);
}

/* ---- descriptors */

/* As kernels before 5.9 answer. */
static bool forbid_close_range(void)
{
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 436, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog whole = {.len = countof(program), .filter = program};
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole) == 0;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* In a child: of fifty descriptors three are kept. */
static void close_most(bool is_old)
{
	for (int fd = 10; fd < 60; fd++)
		if (dup2(0, fd) != fd)
			_exit(2);
	if (is_old && !forbid_close_range())
		_exit(77);
	spawn_close_others((int[]){42, -1, 1, 17, 30}, 5);
	for (int fd = 3; fd < 60; fd++)
		if (is_open(fd) != (fd == 17 || fd == 30 || fd == 42))
			_exit(3);
	_exit(is_open(0) && is_open(1) && is_open(2) ? 0 : 4);
}

TEST(all_descriptors_but_those_needed_are_closed_on_old_kernels_too)
{
	for (int is_old = 0; is_old < 2; is_old++) {
		int status;
		fflush(NULL);
		pid_t pid = fork();
		if (pid == 0)
			close_most(is_old);
		ASSERT_EQ(waitpid(pid, &status, 0), pid);
		if (status == 77 << 8)
			SKIP("no seccomp");
		ASSERT_EQ(status, 0);
	}
}
