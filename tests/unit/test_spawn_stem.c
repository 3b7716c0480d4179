/* SPDX-License-Identifier: Apache-2.0
 * Stems, the jobs done in them, views that are kept, and tasks that are recorded; each as root, if the test is, and as an ordinary user. */
#include "tests/unit/keeper_world.h"

#include "common/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- stems */

static void tell_again(struct bench *b)
{
	ASSERT_EQ(b->n_stem_fds, 3);
	kill(b->vinefs, SIGKILL);
	meet(b);
	hear_all_held(b);
	ASSERT_EQ(b->n_stems, 2);
	ASSERT_EQ(b->stem.mount, 1);
	ASSERT_EQ(b->stem.error, 0);
	ASSERT_EQ(b->n_stem_fds, 2);
	run_plainly(b, 1, "exit 3");
	wait_for_end(b);
	ASSERT_EQ(WEXITSTATUS(b->last.status), 3);
}

TEST(the_stem_is_told_again_to_a_new_vinefs)
{
	by_everyone(tell_again);
}

static void change_stems(struct bench *b)
{
	run_plainly(b, 1, "echo 1 >ready; while [ ! -e end ]; do sleep 0.01; done; exit 4");
	ASSERT_STR(wait_for_content(b, "ready"), "1\n");
	ASSERT(make_stem(b, 9));
	ASSERT_EQ(b->n_stem_fds, 3);
	run_plainly(b, 2, "exit 5");
	wait_for_end(b);
	ASSERT_EQ(WEXITSTATUS(b->last.status), 5);
	shell_in_view(b, 3, "true", (struct hand_start){.stem = 1});
	wait_for_end(b);
	ASSERT_EQ(b->last.type, KEEPER_FAILED);
	ASSERT_EQ(b->last.error, ESTALE);
	free(make_file(b, "end", ""));
	wait_for_end(b);
	ASSERT_EQ(WEXITSTATUS(b->last.status), 4);
}

TEST(tasks_of_an_old_stem_go_on_and_new_ones_need_the_new)
{
	by_everyone(change_stems);
}

TEST(without_rights_to_namespaces_that_is_told_and_tasks_run_as_they_did)
{
	struct bench b = begin("--grace-msec=1000");
	/* What stands in the way of the mount, whoever it is. */
	free(make_file(&b, KEEPER_NODE_MOUNT, ""));
	ASSERT(!make_stem(&b, 1));
	ASSERT(b.stem.error > 0);
	ASSERT_EQ(b.n_stem_fds, 0);
	shell(&b, 1, "exit 6");
	wait_for_end(&b);
	ASSERT_EQ(WEXITSTATUS(b.last.status), 6);
	b.stem.mount = 1;
	shell_in_view(&b, 2, "true", (struct hand_start){.stem = 1});
	wait_for_end(&b);
	ASSERT_EQ(b.last.error, ESTALE);
	finish(&b);
}

/* ---- jobs and kept views */

static void do_job(struct bench *b, uint64_t number, struct hand_start s)
{
	s.attempt = number;
	s.stem = s.stem ? s.stem : b->stem.mount;
	s.environment = (const char *const[]){"PATH=/usr/bin:/bin"};
	s.n_environment = 1;
	send_by_hand(b, &s, hand_send_do);
}

static void wait_for_job(struct bench *b)
{
	unsigned n = b->n_done;
	while (b->n_done == n)
		hear(b);
}

static void bind_in_stem(struct bench *b)
{
	_free_ char *from = make_file(b, "from", "bound\n"), *to = make_file(b, "to", "bare\n");
	_free_ char *none = path_join(b->state, "none");
	struct view_step steps[] = {{.op = VIEW_BIND, .from = from, .to = to},
				    {.op = VIEW_BIND, .from = none, .to = to}};
	do_job(b, 77, (struct hand_start){.steps = steps, .n_steps = 1});
	wait_for_job(b);
	ASSERT_EQ(b->done.attempt, 77);
	ASSERT_EQ(b->done.error, 0);
	ASSERT_EQ(b->done.status, 0);
	/* In the stem, and so in each view that descends from it; not on the host. */
	run_plainly(b, 1, "cat to");
	wait_for_end(b);
	ASSERT_STR(content(b, "out1"), "bound\n");
	ASSERT_STR(content(b, "to"), "bare\n");
	do_job(b, 78, (struct hand_start){.steps = steps, .n_steps = 2});
	wait_for_job(b);
	ASSERT_EQ(b->done.error, ENOENT);
	ASSERT_EQ(b->done.step, KEEPER_STEP_VIEW);
	ASSERT_EQ(b->done.status, 1);
	ASSERT_STR(b->done.what, none);
	steps[0].op = VIEW_UNMOUNT;
	do_job(b, 79, (struct hand_start){.steps = steps, .n_steps = 1});
	wait_for_job(b);
	run_plainly(b, 2, "cat to");
	wait_for_end(b);
	ASSERT_STR(content(b, "out2"), "bound\n");
	do_job(b, 80, (struct hand_start){.steps = steps, .n_steps = 1, .stem = 5});
	wait_for_job(b);
	ASSERT_EQ(b->done.error, ESTALE);
}

TEST(what_a_job_mounts_in_the_stem_is_in_later_views)
{
	by_everyone(bind_in_stem);
}

static void run_in_stem(struct bench *b)
{
	char text[64];
	int fd = make_pipe(b);
	_free_ char *out = path_join(b->state, "job");
	struct hand_start s = {.argv = (const char *const[]){"sh", "-c", "echo $$; exit 9"}, .n_argv = 3, .out = out};
	do_job(b, 1, s);
	wait_for_job(b);
	ASSERT_EQ(b->done.error, 0);
	ASSERT_EQ(WEXITSTATUS(b->done.status), 9);
	ASSERT(atoi(content(b, "job")) > 1);
	s.argv = (const char *const[]){"no-such-program"};
	s.n_argv = 1;
	do_job(b, 2, s);
	wait_for_job(b);
	ASSERT_EQ(b->done.error, ENOENT);
	ASSERT_EQ(b->done.step, KEEPER_STEP_EXEC);
	/* Two at a time, and the keeper takes what runs with it. */
	_free_ char *script = xasprintf("cd %s; exec 9>pipe; echo $$ >&9; echo 1 >running; exec sleep 1000", b->state);
	s.argv = (const char *const[]){"sh", "-c", script};
	s.n_argv = 3;
	do_job(b, 3, s);
	ASSERT_STR(wait_for_content(b, "running"), "1\n");
	s.argv = (const char *const[]){"true"};
	s.n_argv = 1;
	do_job(b, 4, s);
	wait_for_job(b);
	ASSERT_EQ(b->done.attempt, 4);
	kill(b->keeper, SIGTERM);
	while (!b->n_gone)
		hear(b);
	ASSERT(is_deserted(fd, text));
	close_fd(fd);
}

TEST(jobs_run_programs_in_the_stem_side_by_side_and_end_with_the_keeper)
{
	by_everyone(run_in_stem);
}

/* One that sees what lay at `from` when its first steps were done, or when they were done for another. */
static void show_kept(struct bench *b, uint64_t attempt, uint64_t kept)
{
	_free_ char *from = path_join(b->state, "from"), *to = xasprintf("%s/root%s/to", b->state, b->state);
	struct view *v = view_new(b);
	view_add(v, (struct view_step){.op = VIEW_BIND, .from = from, .to = to});
	struct hand_start s = view_done(v);
	s.kept = kept;
	s.n_kept = s.n_steps - 1;
	shell_in_view(b, attempt, "cat to; echo $$; exit 2", s);
	wait_for_end(b);
	ASSERT_EQ(WEXITSTATUS(b->last.status), 2);
	view_free(v);
}

static void replace(struct bench *b, const char *text)
{
	_free_ char *new = make_file(b, "new", text), *from = path_join(b->state, "from");
	ASSERT_EQ(rename(new, from), 0);
}

static void keep_views(struct bench *b)
{
	free(make_file(b, "to", "bare\n"));
	replace(b, "first\n");
	show_kept(b, 1, 5);
	replace(b, "second\n");
	show_kept(b, 2, 5);
	show_kept(b, 3, 6);
	show_kept(b, 4, 0);
	ASSERT_STR(content(b, "out1"), "first\n2\n");
	ASSERT_STR(content(b, "out2"), "first\n2\n");
	ASSERT_STR(content(b, "out3"), "second\n2\n");
	ASSERT_STR(content(b, "out4"), "second\n2\n");
	struct keeper_request q = {.length = sizeof q, .type = KEEPER_UNKEEP, .kept = 5};
	say(b, &q, sizeof q);
	replace(b, "third\n");
	show_kept(b, 5, 5);
	ASSERT_STR(content(b, "out5"), "third\n2\n");
	/* The oldest unused goes when there are more than 64, and 6 is used meanwhile. */
	for (uint64_t i = 0; i < 64; i++) {
		show_kept(b, 100 + i, 100 + i);
		show_kept(b, 200 + i, 6);
	}
	ASSERT_STR(content(b, "out263"), "second\n2\n");
	replace(b, "fourth\n");
	show_kept(b, 6, 5);
	ASSERT_STR(content(b, "out6"), "fourth\n2\n");
	/* Of another stem there is nothing. */
	ASSERT(make_stem(b, 2));
	show_kept(b, 7, 6);
	ASSERT_STR(content(b, "out7"), "fourth\n2\n");
}

TEST(the_first_steps_of_a_kept_view_are_done_once)
{
	by_everyone(keep_views);
}

/* The node's mount, which nobody serves here. */
static void wait_in_vain(struct bench *b)
{
	_free_ char *from = xasprintf("%s/" KEEPER_NODE_MOUNT "/tree", b->state);
	struct view *v = view_new(b);
	view_add(v, (struct view_step){.op = VIEW_BIND, .from = from, .to = v->root});
	struct hand_start s = view_done(v);
	s.view_msec = 100;
	shell_in_view(b, 1, "true", s);
	wait_for_end(b);
	ASSERT_EQ(b->last.type, KEEPER_FAILED);
	ASSERT_EQ(b->last.error, ETIMEDOUT);
	ASSERT_EQ(b->last.step, KEEPER_STEP_VIEW);
	/* What takes its time later is no concern of the view's: the time of the next one, which is given up, ends after this one's. */
	s.view_msec = 3000;
	v->steps[1] = (struct view_step){.op = VIEW_READONLY, .to = v->root};
	shell_in_view(b, 2, "echo 1 >ready; while [ ! -e end ]; do sleep 0.01; done; exit 8", s);
	ASSERT_STR(wait_for_content(b, "ready"), "1\n");
	v->steps[1] = (struct view_step){.op = VIEW_BIND, .from = from, .to = v->root};
	shell_in_view(b, 3, "true", s);
	wait_for_end(b);
	ASSERT_EQ(b->last.attempt, 3);
	do_job(b, 7, (struct hand_start){.steps = &v->steps[1], .n_steps = 1, .view_msec = 100});
	wait_for_job(b);
	ASSERT_EQ(b->done.attempt, 7);
	ASSERT_EQ(b->done.error, ETIMEDOUT);
	free(make_file(b, "end", ""));
	wait_for_end(b);
	ASSERT_EQ(WEXITSTATUS(b->last.status), 8);
	view_free(v);
}

static void bound_numbers(struct bench *b)
{
	const struct keeper_limit most = {.resource = KEEPER_LIMIT_PIDS, .value = 777};
	struct utsname u;
	unsigned major = 0, minor = 0;
	if (uname(&u) || sscanf(u.release, "%u.%u", &major, &minor) != 2 || major * 100 + minor < 614)
		SKIP("this kernel numbers the processes of all namespaces together");
	struct view *v = view_new(b);
	struct hand_start s = view_done(v);
	s.limits = &most;
	s.n_limits = 1;
	shell_in_view(b, 1, "cat /proc/sys/kernel/pid_max", s);
	view_free(v);
	wait_for_end(b);
	ASSERT_STR(content(b, "out1"), "777\n");
}

TEST(the_processes_of_a_view_can_have_a_highest_number)
{
	by_everyone(bound_numbers);
}

TEST(steps_that_take_too_long_are_given_up)
{
	by_everyone(wait_in_vain);
}

/* ---- the host's mounts */

/* As somebody on the host would, where the keeper is. */
static bool mount_on_host(const struct bench *b, const char *name)
{
	_free_ char *path = path_join(b->state, name), *ns = xasprintf("/proc/%d/ns/mnt", b->keeper);
	int status;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		int fd = open(ns, O_RDONLY | O_CLOEXEC);
		/* A sanitizer may have given it a thread: its directory is not to be that one's, too. */
		_exit(unshare(CLONE_FS) || setns(fd, CLONE_NEWNS) || mount("tmpfs", path, "tmpfs", 0, "mode=777"));
	}
	return waitpid(pid, &status, 0) == pid && status == 0;
}

static bool is_mounted_on_host(const struct bench *b, const char *name)
{
	_free_ char *path = xasprintf("/proc/%d/mountinfo", b->keeper), *what = xasprintf(" %s/%s ", b->state, name);
	size_t n = 0;
	_free_ char *text = path_read(path, 1 << 20, &n);
	return text && strstr(text, what);
}

static void see_mounts(struct bench *b)
{
	make_directory(b, "automount");
	make_directory(b, "own");
	_free_ char *own = path_join(b->state, "own");
	struct view_step tmpfs = {.op = VIEW_TMPFS, .to = own};
	do_job(b, 1, (struct hand_start){.steps = &tmpfs, .n_steps = 1});
	wait_for_job(b);
	ASSERT_EQ(b->done.error, 0);
	run_plainly(b, 1,
		    "echo 1 >ready; while ! grep -q /automount /proc/self/mountinfo; do sleep 0.01; done; grep -c /own "
		    "/proc/self/mountinfo");
	ASSERT_STR(wait_for_content(b, "ready"), "1\n");
	ASSERT(!is_mounted_on_host(b, "own") && !is_mounted_on_host(b, "root"));
	ASSERT(!is_mounted_on_host(b, KEEPER_NODE_MOUNT));
	ASSERT(mount_on_host(b, "automount"));
	wait_for_end(b);
	ASSERT_STR(content(b, "out1"), "1\n");
}

TEST(what_the_host_mounts_appears_in_views_and_nothing_of_theirs_there)
{
	if (getuid() || prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN) != 1)
		SKIP("root alone can mount for the host");
	by_everyone(see_mounts);
}

TEST(where_nothing_is_shared_a_later_view_has_the_mounts_of_root_all_the_same)
{
	if (getuid() || prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN) != 1)
		SKIP("root alone can mount for the host");
	struct bench b = begin_where("--grace-msec=1000", 0, true);
	if (!make_stem(&b, 1)) {
		finish(&b);
		SKIP("no namespaces, or no FUSE");
	}
	make_directory(&b, "root");
	make_directory(&b, "later");
	ASSERT(mount_on_host(&b, "later"));
	const char *script = "echo x >later/x; grep -c /later /proc/self/mountinfo; grep -c '/" KEEPER_NODE_MOUNT
			     " .* fuse.vine ' /proc/self/mountinfo";
	run_plainly(&b, 1, script);
	wait_for_end(&b);
	ASSERT_STR(content(&b, "err1"), "");
	ASSERT_STR(content(&b, "out1"), "1\n1\n");
	ASSERT(!is_mounted_on_host(&b, KEEPER_NODE_MOUNT) && !is_mounted_on_host(&b, "root"));
	finish(&b);
}

/* ---- records */

static bool can_record(void)
{
	struct seccomp_notif_sizes sizes;
	return syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) == 0;
}

static bool has_line(const char *text, const char *kind, const char *path)
{
	_free_ char *line = xasprintf("%s %s\t", kind, path);
	const char *at = strstr(text, line);
	return at && (at == text || at[-1] == '\n') && !strstr(at + 1, line);
}

static bool has_file(const struct bench *b, const char *text, const char *kind, const char *name)
{
	_free_ char *path = path_join(b->state, name);
	return has_line(text, kind, path);
}

static void record_task(struct bench *b)
{
	make_directory(b, "s");
	make_directory(b, "s/1");
	make_directory(b, "d");
	free(make_file(b, "in", "read\n"));
	free(make_file(b, "d/gone", ""));
	struct view *v = view_new(b);
	struct hand_start s = view_done(v);
	s.flags = KEEPER_RECORDED;
	shell_in_view(b, 1,
		      "cat in; cat ./in >//dev/null; cd d; cat ../in none; echo x >new; mv new newer; rm gone; echo y "
		      ">'a\nb'; "
		      "(cd ..; setsid sh -c 'cat in') ; exit 3",
		      s);
	wait_for_end(b);
	ASSERT_EQ(b->n_ended, 1);
	ASSERT_EQ(WEXITSTATUS(b->last.status), 3);
	ASSERT_STR(content(b, "out1"), "read\nread\nread\n");
	const char *record = content(b, "s/1/record");
	ASSERT(has_file(b, record, "r", "in"));
	ASSERT(has_file(b, record, "w", "d/new"));
	ASSERT(has_file(b, record, "d", "d/new"));
	ASSERT(has_file(b, record, "m", "d/newer"));
	ASSERT(has_file(b, record, "d", "d/gone"));
	ASSERT(has_file(b, record, "w", "d/a\\012b"));
	ASSERT(has_line(record, "w", "/dev/null"));
	ASSERT(has_line(record, "x", "/usr/bin/cat") || has_line(record, "x", "/bin/cat"));
	ASSERT(!has_file(b, record, "r", "d/none"));
	view_free(v);
}

TEST(a_recorded_task_leaves_a_list_of_what_it_opened)
{
	if (!can_record())
		SKIP("no user notification of seccomp");
	by_everyone(record_task);
}

static void kill_recorded(struct bench *b)
{
	char text[64];
	int fd = make_pipe(b);
	make_directory(b, "s");
	make_directory(b, "s/1");
	struct view *v = view_new(b);
	struct hand_start s = view_done(v);
	s.flags = KEEPER_RECORDED;
	shell_in_view(b, 1,
		      "exec 9>pipe; for i in 1 2 3 4; do (while :; do cat ready none; done) >/dev/null 2>&1 & done; "
		      "echo 1 >ready; while :; do cat ready; done >/dev/null",
		      s);
	ASSERT_STR(wait_for_content(b, "ready"), "1\n");
	ask(b, KEEPER_KILL, 1, SIGKILL, 0);
	wait_for_end(b);
	ASSERT_EQ(WTERMSIG(b->last.status), SIGKILL);
	ASSERT(is_deserted(fd, text));
	close_fd(fd);
	view_free(v);
}

TEST(a_recorded_task_is_killed_as_any_other)
{
	if (!can_record())
		SKIP("no user notification of seccomp");
	by_everyone(kill_recorded);
}

/* ---- all of it */

/* 0: it may not be looked into. */
static unsigned count_open(const struct bench *b)
{
	_free_ char *path = xasprintf("/proc/%d/fd", b->keeper);
	DIR *d = opendir(path);
	unsigned n = 0;
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static void go_on_and_on(struct bench *b)
{
	unsigned n = 0;
	free(make_file(b, "to", "bare\n"));
	replace(b, "first\n");
	make_directory(b, "s");
	for (uint64_t round = 0; round < 20; round++) {
		uint64_t attempt = 10 * round + 1;
		_free_ char *name = xasprintf("s/%lu", attempt);
		make_directory(b, name);
		shell_in_view(b, attempt, "exit 1", (struct hand_start){.flags = KEEPER_RECORDED});
		wait_for_end(b);
		show_kept(b, attempt + 1, 5);
		do_job(b, round + 1, (struct hand_start){.argv = (const char *const[]){"true"}, .n_argv = 1});
		wait_for_job(b);
		ASSERT(make_stem(b, 100 + round));
		run_plainly(b, attempt + 2, "sleep 1000");
		ask(b, KEEPER_KILL, attempt + 2, SIGKILL, 0);
		wait_for_end(b);
		if (!round)
			n = count_open(b);
	}
	/* The keeper may look for what a task has left just now, with a file of /proc open. */
	unsigned n_last = count_open(b);
	for (int64_t end = now_msec() + DEADLINE_MSEC; n_last > n && now_msec() < end; usleep(1000))
		n_last = count_open(b);
	ASSERT(n_last <= n);
}

TEST(no_descriptor_is_left_by_tasks_jobs_and_stems)
{
	by_everyone(go_on_and_on);
}
