/* SPDX-License-Identifier: Apache-2.0
 * A child tells in a pipe how far it came. */
#include "common/probe_try.h"

#include "common/path.h"
#include "common/probe.h"

#include <fcntl.h>
#include <ftw.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void finish(int to, int error, const char *step, uint64_t found)
{
	struct trial t = {.error = error, .found = found};
	snprintf(t.step, sizeof t.step, "%s", step);
	ssize_t n = write(to, &t, sizeof t);
	_exit(n != sizeof t);
}

#define TRY(call, step)                             \
	do {                                        \
		if ((call) < 0)                     \
			finish(to, errno, step, 0); \
	} while (0)

/* Runs it in a child; what the child says, or that it said nothing. */
static struct trial try_it(uint64_t (*trial)(int to, const char *dir, unsigned flags), const char *dir, unsigned flags)
{
	struct trial t = {.error = EIO, .step = "the trial ended without a word"};
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return (struct trial){.error = errno, .step = "pipe"};
	pid_t pid = fork();
	if (pid == 0) {
		/* Its own maps in /proc belong to root as long as it may not be looked into. */
		prctl(PR_SET_DUMPABLE, 1);
		finish(ends[1], 0, "", trial(ends[1], dir, flags));
	}
	close_fd(ends[1]);
	struct trial got;
	if (pid > 0 && read(ends[0], &got, sizeof got) == sizeof got)
		t = got;
	close_fd(ends[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return pid < 0 ? (struct trial){.error = EAGAIN, .step = "fork"} : t;
}

static int write_text(const char *path, const char *text)
{
	_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -1 : 0;
}

bool probe_needs_user(void)
{
	return geteuid() != 0 || prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN) != 1;
}

/* As the keeper will. */
static void enter_namespaces(int to)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	bool is_user = probe_needs_user();
	char map[64];
	TRY(unshare(is_user ? CLONE_NEWUSER | CLONE_NEWNS : CLONE_NEWNS), "unshare");
	if (is_user) {
		TRY(write_text("/proc/self/setgroups", "deny"), "setgroups");
		snprintf(map, sizeof map, "%u %u 1", uid, uid);
		TRY(write_text("/proc/self/uid_map", map), "uid_map");
		snprintf(map, sizeof map, "%u %u 1", gid, gid);
		TRY(write_text("/proc/self/gid_map", map), "gid_map");
	}
	TRY(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "make / private");
}

static uint64_t do_user_namespace(int to, const char *dir, unsigned flags)
{
	assert(!flags);
	enter_namespaces(to);
	TRY(mount(dir, dir, NULL, MS_BIND | MS_REC, NULL), "bind");
	return 0;
}

struct trial try_user_namespace(const char *dir)
{
	return try_it(do_user_namespace, dir, 0);
}

static uint64_t do_pid_namespace(int to, const char *dir, unsigned flags)
{
	int status = -1;
	assert(*dir == '/' && !flags);
	enter_namespaces(to);
	TRY(unshare(CLONE_NEWPID), "unshare");
	pid_t pid = fork();
	TRY(pid, "fork");
	if (pid == 0)
		_exit(getpid() != 1);
	TRY(waitpid(pid, &status, 0), "wait");
	if (status)
		finish(to, EIO, "the first process there is not number 1", 0);
	return 0;
}

struct trial try_pid_namespace(const char *dir)
{
	return try_it(do_pid_namespace, dir, 0);
}

static uint64_t do_overlay(int to, const char *dir, unsigned flags)
{
	static const char *const parts[] = {"lower", "upper", "work", "merged"};
	char options[192];
	bool is_user = probe_needs_user();
	enter_namespaces(to);
	TRY(chdir(dir), "chdir");
	for (size_t i = 0; i < countof(parts); i++)
		TRY(mkdir(parts[i], 0700), "mkdir");
	TRY(close_fd(open("lower/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) + 1, "create");
	TRY(mkdir("lower/dir", 0700), "mkdir");
	snprintf(options, sizeof options, "lowerdir=lower,upperdir=upper,workdir=work%s%s,%s",
		 flags & TRY_XINO ? ",xino=on" : "", flags & TRY_VOLATILE ? ",volatile" : "",
		 is_user ? "userxattr" : "redirect_dir=off,metacopy=off,index=off");
	TRY(mount("overlay", "merged", "overlay", MS_NOSUID | MS_NODEV, options), "mount");
	/* Whiteouts and opaque marks are what fails when the options are wrong. */
	TRY(rename("merged/file", "merged/other"), "rename");
	TRY(rmdir("merged/dir"), "rmdir");
	TRY(mkdir("merged/dir", 0700), "mkdir over a removed one");
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	assert(st && where);
	if (type == FTW_D || type == FTW_DNR)
		chmod(path, 0700);
	remove(path);
	return 0;
}

struct trial try_overlay(const char *dir, unsigned flags)
{
	_free_ char *scratch = xasprintf("%s/.vine-probe-XXXXXX", dir);
	if (!mkdtemp(scratch))
		return (struct trial){.error = errno, .step = "make a directory to try it in"};
	struct trial t = try_it(do_overlay, scratch, flags);
	/* The kernel leaves directories that nobody may enter, one below the other: each round opens one more. */
	for (int round = 0; round < 8 && access(scratch, F_OK) == 0; round++)
		nftw(scratch, remove_one, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	return t;
}

/* The words of FUSE's first request that tell what the kernel can do: after a head of 40 bytes major, minor, readahead and the flags in two halves. */
#define INIT_FLAGS 13
#define INIT_FLAGS_MORE 14
#define INIT_SIZE 65536u
#define INIT_MSEC 2000

static uint64_t do_fuse(int to, const char *dir, unsigned flags)
{
	char options[128];
	static uint32_t init[INIT_SIZE / sizeof(uint32_t)];
	uid_t uid = geteuid();
	gid_t gid = getegid();
	assert(!flags);
	enter_namespaces(to);
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	TRY(fd, "open /dev/fuse");
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%u,group_id=%u,default_permissions", fd, uid,
		 gid);
	TRY(mount("vine-probe", dir, "fuse", MS_NOSUID | MS_NODEV | MS_RDONLY, options), "mount fuse in it");
	struct pollfd p = {.fd = fd, .events = POLLIN};
	TRY(poll(&p, 1, INIT_MSEC) - 1, "its first request");
	TRY(read(fd, init, sizeof init), "read from it");
	return init[INIT_FLAGS] | (uint64_t)init[INIT_FLAGS_MORE] << 32;
}

struct trial try_fuse(const char *dir)
{
	return try_it(do_fuse, dir, 0);
}

static uint64_t do_seccomp(int to, const char *dir, unsigned flags)
{
	struct sock_filter allow = {.code = BPF_RET | BPF_K, .k = SECCOMP_RET_ALLOW};
	const struct sock_fprog program = {.len = 1, .filter = &allow};
	assert(*dir && !flags);
	TRY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
	long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
	TRY(fd, "seccomp");
	return 0;
}

struct trial try_seccomp(const char *dir)
{
	return try_it(do_seccomp, dir, 0);
}
