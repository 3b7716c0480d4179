/* SPDX-License-Identifier: Apache-2.0
 * The steps that make a namespace, each test in a child of its own. */
#include "tests/unit/unit.h"

#include "common/base.h"
#include "common/path.h"
#include "vinefs/keeper/keeper.h"

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOT_ALLOWED 77

/* Within a child, that says by its status where it went wrong. */
#define MUST(x)                                                                                       \
	do {                                                                                          \
		if (!(x)) {                                                                           \
			fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #x, strerror(errno)); \
			_exit(1);                                                                     \
		}                                                                                     \
	} while (0)

static char from[4096], to[4096];

static void make(const char *path, const char *text, mode_t mode)
{
	const struct timespec times[2] = {{.tv_sec = 1000, .tv_nsec = 5}, {.tv_sec = 1000, .tv_nsec = 5}};
	ASSERT_EQ(path_write(path, text, strlen(text), mode, false), 0);
	ASSERT_EQ(chmod(path, mode), 0);
	ASSERT_EQ(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* Two files that look the same. */
static void begin(void)
{
	snprintf(from, sizeof from, "%s/from", unit_tmpdir());
	snprintf(to, sizeof to, "%s/to", unit_tmpdir());
	make(from, "cached", 0751);
	make(to, "served", 0751);
}

static bool is_text(const char *path, const char *text)
{
	size_t n = 0;
	_free_ char *have = path_read(path, 100, &n);
	return have && streq(have, text);
}

static int do_one(struct view_step s)
{
	unsigned n;
	return view_do(&s, 1, &n);
}

static int bind_to(const char *path, uint32_t flags)
{
	return do_one((struct view_step){.op = VIEW_BIND, .flags = flags, .from = path, .to = to});
}

static unsigned n_threads(void)
{
	struct stat st;
	return stat("/proc/self/task", &st) == 0 ? (unsigned)st.st_nlink - 2 : 1;
}

static void enter(uint32_t flags)
{
	int r = do_one((struct view_step){.op = VIEW_UNSHARE, .flags = geteuid() ? VIEW_USER : flags});
	/* -EINVAL: ThreadSanitizer has a thread of its own, and a user namespace is for who has one only. */
	if (r == -EPERM || r == -ENOSPC || (r == -EINVAL && n_threads() > 1))
		_exit(NOT_ALLOWED);
	MUST(r == 0);
}

/* In a child; false: namespaces are not allowed here. */
static bool holds_in_child(void (*run)(void))
{
	int status = 0;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		run();
		_exit(0);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_ALLOWED)
		return false;
	ASSERT_EQ(status, 0);
	return true;
}

static void bind_alike(void)
{
	struct statvfs fs;
	enter(0);
	MUST(bind_to(from, VIEW_ALIKE) == 0);
	MUST(is_text(to, "cached"));
	MUST(open(to, O_WRONLY) < 0 && (errno == EROFS || errno == EACCES));
	MUST(chmod(to, 0600) < 0 && errno == EROFS);
	MUST(statvfs(to, &fs) == 0 && fs.f_flag & ST_RDONLY && fs.f_flag & ST_NOSUID && fs.f_flag & ST_NODEV);
}

TEST(a_file_that_looks_the_same_is_bound_read_only_and_nobody_else_sees_it)
{
	begin();
	if (!holds_in_child(bind_alike))
		SKIP("no namespaces");
	ASSERT(is_text(to, "served"));
	ASSERT_EQ(access(to, R_OK), 0);
}

static void keep_user(void)
{
	uid_t uid = getuid();
	gid_t gid = getgid();
	enter(VIEW_USER);
	MUST(getuid() == uid && getgid() == gid);
	MUST(setgroups(0, NULL) < 0 && errno == EPERM);
	MUST(bind_to(from, VIEW_ALIKE) == 0 && is_text(to, "cached"));
}

TEST(in_a_user_namespace_one_is_who_one_was)
{
	begin();
	if (!holds_in_child(keep_user))
		SKIP("no user namespaces");
}

static void bind_others(void)
{
	char path[4200];
	struct stat st;
	enter(0);
	static const struct other {
		const char *name, *text;
		mode_t mode;
		long nsec;
	} others[] = {{"size", "longer than it", 0751, 5}, {"mode", "cached", 0750, 5}, {"time", "cached", 0751, 6}};
	for (size_t i = 0; i < countof(others); i++) {
		const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000, .tv_nsec = others[i].nsec}};
		snprintf(path, sizeof path, "%s.%s", from, others[i].name);
		MUST(path_write(path, others[i].text, strlen(others[i].text), 0600, false) == 0);
		MUST(chmod(path, others[i].mode) == 0 && utimensat(AT_FDCWD, path, times, 0) == 0);
		MUST(bind_to(path, VIEW_ALIKE) == -ESTALE);
	}
	snprintf(path, sizeof path, "%s.link", from);
	MUST(symlink(from, path) == 0 && bind_to(path, VIEW_ALIKE) == -ESTALE);
	snprintf(path, sizeof path, "%s.second", from);
	MUST(link(from, path) == 0 && bind_to(path, VIEW_ALIKE) == -ESTALE && unlink(path) == 0);
	snprintf(path, sizeof path, "%s.none", from);
	MUST(bind_to(path, VIEW_ALIKE) == -ENOENT);
	MUST(is_text(to, "served") && lstat(to, &st) == 0);
}

TEST(what_looks_otherwise_is_not_bound)
{
	begin();
	if (!holds_in_child(bind_others))
		SKIP("no namespaces");
}

static void bind_from_noexec(void)
{
	char directory[4200], path[4300];
	struct statvfs fs;
	enter(0);
	snprintf(directory, sizeof directory, "%s.d", from);
	snprintf(path, sizeof path, "%s/file", directory);
	MUST(mkdir(directory, 0700) == 0);
	MUST(mount("tmpfs", directory, "tmpfs", MS_NOEXEC, "size=64k") == 0);
	const struct timespec times[2] = {{.tv_sec = 1000, .tv_nsec = 5}, {.tv_sec = 1000, .tv_nsec = 5}};
	MUST(path_write(path, "cached", 6, 0751, false) == 0);
	MUST(chmod(path, 0751) == 0 && utimensat(AT_FDCWD, path, times, 0) == 0);
	MUST(bind_to(path, VIEW_ALIKE) == -EACCES);
	MUST(bind_to(path, 0) == 0 && is_text(to, "cached"));
	MUST(statvfs(to, &fs) == 0 && fs.f_flag & ST_NOEXEC);
}

TEST(what_could_not_be_executed_is_not_bound_over_what_could)
{
	begin();
	if (!holds_in_child(bind_from_noexec))
		SKIP("no namespaces");
}

static void go_on(void)
{
	unsigned n;
	enter(0);
	struct view_step steps[] = {
		{.op = VIEW_BIND, .flags = VIEW_OPTIONAL, .from = "/none", .to = to},
		{.op = VIEW_BIND, .flags = VIEW_ALIKE | VIEW_OPTIONAL, .from = from, .to = to},
		{.op = VIEW_BIND, .from = "/none", .to = to},
		{.op = VIEW_BIND, .from = to, .to = from},
	};
	MUST(view_do(steps, countof(steps), &n) == -ENOENT);
	MUST(n == 2 && steps[0].error == -ENOENT && steps[1].error == 0 && steps[3].error == 0);
	MUST(is_text(to, "cached") && is_text(from, "cached"));
	MUST(do_one((struct view_step){.op = 99}) == -EINVAL && do_one((struct view_step){.op = 0}) == -EINVAL);
}

TEST(an_optional_step_may_fail_and_any_other_ends_it)
{
	begin();
	if (!holds_in_child(go_on))
		SKIP("no namespaces");
}
