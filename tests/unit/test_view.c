/* SPDX-License-Identifier: Apache-2.0
 * The steps that make a namespace, each test in a child of its own. */
#include "tests/unit/unit.h"

#include "common/base.h"
#include "common/path.h"
#include "vinefs/keeper/keeper.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
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

/* ---- what views are made of */

static char *below(const char *name)
{
	return path_join(unit_tmpdir(), name);
}

static void make_dir(const char *name)
{
	_free_ char *path = below(name);
	MUST(mkdir(path, 0755) == 0);
}

static void make_text(const char *name, const char *text)
{
	_free_ char *path = below(name);
	MUST(path_write(path, text, strlen(text), 0644, false) == 0);
}

static bool reads(const char *name, const char *text)
{
	_free_ char *path = below(name);
	return is_text(path, text);
}

/* Paths are below the test's directory, unless `data`. */
static int step(uint32_t op, uint32_t flags, const char *f, const char *t, const char *data)
{
	_free_ char *a = f ? below(f) : NULL, *b = t ? below(t) : NULL;
	return do_one((struct view_step){.op = op, .flags = flags, .from = a, .to = b, .data = data});
}

static int try_write(const char *name)
{
	_free_ char *path = below(name);
	_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : 0;
}

static unsigned long flags_of(const char *name)
{
	struct statvfs fs;
	_free_ char *path = below(name);
	MUST(statvfs(path, &fs) == 0);
	return fs.f_flag;
}

/* A directory with another one mounted in it, to be seen elsewhere. */
static void bind_directories(void)
{
	enter(0);
	make_dir("d");
	make_dir("d/sub");
	make_dir("inner");
	make_dir("seen");
	make_text("inner/f", "inner");
	make_text("d/f", "outer");
	MUST(step(VIEW_BIND, VIEW_WRITABLE, "inner", "d/sub", NULL) == 0);
	MUST(step(VIEW_BIND, 0, "d", "seen", NULL) == 0);
	MUST(reads("seen/f", "outer") && !reads("seen/sub/f", "inner") && try_write("seen/f") == -EROFS);
	MUST(step(VIEW_UNMOUNT, 0, NULL, "seen", NULL) == 0 && !reads("seen/f", "outer"));
	MUST(step(VIEW_BIND, VIEW_RECURSIVE, "d", "seen", NULL) == 0);
	MUST(reads("seen/sub/f", "inner") && try_write("seen/f") == -EROFS && try_write("seen/sub/f") == -EROFS);
	/* The one that it was made from is as it was. */
	MUST(try_write("d/f") == 0 && try_write("d/sub/f") == 0);
	MUST(step(VIEW_UNMOUNT, 0, NULL, "seen", NULL) == 0);
	MUST(step(VIEW_BIND, VIEW_RECURSIVE | VIEW_WRITABLE, "d", "seen", NULL) == 0);
	MUST(try_write("seen/f") == 0 && try_write("seen/sub/f") == 0);
	MUST(flags_of("seen") & ST_NOSUID && flags_of("seen") & ST_NODEV);
	MUST(step(VIEW_READONLY, 0, NULL, "seen", NULL) == 0);
	MUST(try_write("seen/f") == -EROFS && try_write("seen/sub/f") == 0);
	MUST(step(VIEW_READONLY, VIEW_RECURSIVE, NULL, "seen", NULL) == 0 && try_write("seen/sub/f") == -EROFS);
}

TEST(a_directory_is_bound_with_or_without_what_is_mounted_in_it)
{
	begin();
	if (!holds_in_child(bind_directories))
		SKIP("no namespaces");
}

static void bind_devices(void)
{
	enter(0);
	make_dir("dev");
	_free_ char *dev = below("dev"), *null = below("dev/null");
	MUST(do_one((struct view_step){.op = VIEW_BIND, .flags = VIEW_RECURSIVE, .from = "/dev", .to = dev}) == 0);
	MUST(open(null, O_WRONLY) < 0 && errno == EACCES);
	MUST(step(VIEW_UNMOUNT, 0, NULL, "dev", NULL) == 0);
	MUST(do_one((struct view_step){.op = VIEW_BIND,
				       .flags = VIEW_RECURSIVE | VIEW_WRITABLE | VIEW_DEVICES,
				       .from = "/dev",
				       .to = dev}) == 0);
	_close_ int fd = open(null, O_WRONLY | O_CLOEXEC);
	MUST(fd >= 0 && write(fd, "x", 1) == 1);
}

TEST(devices_work_only_where_that_is_wanted)
{
	begin();
	if (!holds_in_child(bind_devices))
		SKIP("no namespaces");
}

/* As kernels before 5.12 answer. */
static void forbid_mount_setattr(void)
{
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 442, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog whole = {.len = countof(program), .filter = program};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole))
		_exit(NOT_ALLOWED);
}

static void bind_on_old_kernel(void)
{
	forbid_mount_setattr();
	bind_alike();
}

static void bind_noexec_on_old_kernel(void)
{
	forbid_mount_setattr();
	bind_from_noexec();
}

static void bind_directories_on_old_kernel(void)
{
	forbid_mount_setattr();
	bind_directories();
}

TEST(an_older_kernel_binds_read_only_too)
{
	begin();
	if (!holds_in_child(bind_on_old_kernel))
		SKIP("no namespaces, or no seccomp");
	begin();
	holds_in_child(bind_noexec_on_old_kernel);
	begin();
	holds_in_child(bind_directories_on_old_kernel);
}

static void fill_directory(void)
{
	struct stat st;
	char target[64] = "";
	enter(0);
	make_dir("host");
	make_dir("host/a");
	make_dir("seen");
	make_text("host/a/f", "in a");
	make_text("host/g", "beside");
	_free_ char *link = below("host/l"), *host = below("host");
	MUST(symlink("a/f", link) == 0 && chmod(host, 0710) == 0);
	MUST(step(VIEW_DIRECTORY, 0, NULL, "host/new/b", NULL) == -EROFS);
	MUST(step(VIEW_FILE, 0, NULL, "host/file", NULL) == -EROFS);
	MUST(step(VIEW_LINK, 0, "x", "host/link", NULL) == -EROFS);
	MUST(step(VIEW_TMPFS, VIEW_FILLED, "host", "host", NULL) == 0);
	MUST(reads("host/a/f", "in a") && reads("host/g", "beside") && reads("host/l", "in a"));
	MUST(readlink(link, target, sizeof target - 1) == 3 && streq(target, "a/f"));
	MUST(stat(host, &st) == 0 && (st.st_mode & 07777) == 0710);
	/* Now it can get what it lacked; what is bound into it is the host's as before. */
	MUST(step(VIEW_DIRECTORY, 0, NULL, "host/new/b", NULL) == 0);
	MUST(step(VIEW_DIRECTORY, 0, NULL, "host/new/b", NULL) == 0);
	MUST(step(VIEW_FILE, 0, NULL, "host/deep/er/file", NULL) == 0);
	MUST(step(VIEW_FILE, 0, NULL, "host/deep/er/file", NULL) == 0);
	MUST(step(VIEW_FILE, 0, NULL, "host/deep", NULL) == -EISDIR);
	MUST(step(VIEW_DIRECTORY, 0, NULL, "host/deep/er/file", NULL) == -ENOTDIR);
	MUST(step(VIEW_LINK, 0, "x", "host/new/link", NULL) == 0);
	MUST(step(VIEW_LINK, 0, "x", "host/new/link", NULL) == -EEXIST);
	MUST(step(VIEW_DIRECTORY, 0, NULL, "host/a/no", NULL) == -EROFS);
	MUST(step(VIEW_BIND, 0, "host/g", "host/deep/er/file", NULL) == 0 && reads("host/deep/er/file", "beside"));
	MUST(step(VIEW_UNMOUNT, 0, NULL, "host", NULL) == 0);
	MUST(!reads("host/deep/er/file", "beside") && reads("host/a/f", "in a"));
}

TEST(a_directory_of_the_host_is_filled_into_a_tmpfs_and_gets_what_it_lacks)
{
	begin();
	if (!holds_in_child(fill_directory))
		SKIP("no namespaces");
	_free_ char *path = below("host/new");
	ASSERT(access(path, F_OK) != 0);
}

static void exchange_root(void)
{
	struct stat inside, before;
	char target[4096];
	enter(0);
	make_dir("root");
	make_text("f", "still");
	_free_ char *mark = below("root/vine-test/mark");
	MUST(stat("/usr", &before) == 0);
	MUST(step(VIEW_ROOT, 0, NULL, "root", NULL) == 0);
	MUST(step(VIEW_DIRECTORY, 0, NULL, "root/vine-test/empty", NULL) == 0);
	MUST(path_write(mark, "mark", 4, 0644, false) == 0);
	MUST(step(VIEW_PIVOT, 0, NULL, "root", NULL) == 0);
	MUST(is_text("/vine-test/mark", "mark"));
	/* The host is there, with what lies below the new root's own place; that alone is empty. */
	MUST(stat("/usr", &inside) == 0 && inside.st_ino == before.st_ino && inside.st_dev == before.st_dev);
	MUST(reads("f", "still") && access(mark, F_OK) != 0);
	MUST(do_one((struct view_step){.op = VIEW_DIRECTORY, .to = "/vine-test/later"}) == 0);
	MUST(do_one((struct view_step){.op = VIEW_READONLY, .to = "/"}) == 0);
	MUST(mkdir("/vine-test/late", 0755) < 0 && errno == EROFS);
	MUST(getcwd(target, sizeof target) && streq(target, "/"));
}

TEST(a_new_root_has_the_hosts_directories_and_more)
{
	begin();
	if (!holds_in_child(exchange_root))
		SKIP("no namespaces");
}

/* A root that is no mount point cannot be exchanged, like that of a node without disks. */
static void cover_root(void)
{
	enter(0);
	make_dir("small");
	make_dir("small/root");
	_free_ char *small = below("small");
	MUST(chroot(small) == 0 && chdir("/") == 0);
	MUST(do_one((struct view_step){.op = VIEW_TMPFS, .to = "/root"}) == 0);
	MUST(do_one((struct view_step){.op = VIEW_FILE, .to = "/root/file"}) == 0);
	MUST(do_one((struct view_step){.op = VIEW_PIVOT, .to = "/root"}) == 0);
	MUST(access("/file", F_OK) == 0 && access("/root", F_OK) != 0);
}

TEST(a_root_that_cannot_be_exchanged_is_covered)
{
	begin();
	if (!holds_in_child(cover_root))
		SKIP("no namespaces");
}

static void refuse_nonsense(void)
{
	enter(0);
	_free_ char *slash = below("to/");
	MUST(step(VIEW_BIND, 0, NULL, "to", NULL) == -EINVAL && step(VIEW_BIND, 0, "from", NULL, NULL) == -EINVAL);
	MUST(step(VIEW_OVERLAY, 0, NULL, "to", NULL) == -EINVAL && step(VIEW_OVERLAY, 0, NULL, "to", "x=y") != 0);
	MUST(step(VIEW_TMPFS, VIEW_FILLED, NULL, "to", NULL) == -EINVAL);
	MUST(step(VIEW_TMPFS, VIEW_FILLED, "from", "to", NULL) == -ENOTDIR);
	MUST(step(VIEW_READONLY, 0, NULL, "to", NULL) != 0 && step(VIEW_UNMOUNT, 0, NULL, "to", NULL) != 0);
	MUST(do_one((struct view_step){.op = VIEW_DIRECTORY, .to = "relative"}) == -EINVAL);
	MUST(do_one((struct view_step){.op = VIEW_DIRECTORY, .to = slash}) == -ENOTDIR);
	MUST(do_one((struct view_step){.op = VIEW_PIVOT, .to = "/none"}) == -ENOENT);
	MUST(is_text(to, "served"));
}

TEST(a_step_that_lacks_something_is_refused)
{
	begin();
	if (!holds_in_child(refuse_nonsense))
		SKIP("no namespaces");
}
