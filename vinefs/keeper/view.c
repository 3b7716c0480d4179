/* SPDX-License-Identifier: Apache-2.0
 * Namespaces and what is mounted in them: the steps of keeper.h. libc only, for the keeper does this between fork and exec. */
#include "vinefs/keeper/parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TMPFS 0x01021994
/* So many inodes has each tmpfs of ours and no other: that is how a later process, too, tells it from the host's. */
#define OUR_INODES 65521
#define RETRIES 3
/* Calls that have one number on every architecture, and are not in every header. */
#define SYS_OPEN_TREE 428
#define SYS_MOVE_MOUNT 429
#define SYS_MOUNT_SETATTR 442
#define KEPT_FLAGS (ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC)

_Static_assert((int)ST_RDONLY == (int)MS_RDONLY && (int)ST_NOSUID == (int)MS_NOSUID && (int)ST_NODEV == (int)MS_NODEV &&
		       (int)ST_NOEXEC == (int)MS_NOEXEC,
	       "what statvfs(3) tells is what mount(2) takes");

static bool is_given(const char *text)
{
	return text && *text;
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = 0;
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		r = -errno;
	close(fd);
	return r;
}

/* Without setgroups the kernel lets an ordinary user map his own gid; without more, no other. */
static int map_self(unsigned uid, unsigned gid)
{
	char text[40];
	/* Of a process that may not be dumped /proc/self is root's. */
	prctl(PR_SET_DUMPABLE, 1);
	int r = put("/proc/self/setgroups", "deny");
	snprintf(text, sizeof text, "%u %u 1", uid, uid);
	if (!r)
		r = put("/proc/self/uid_map", text);
	snprintf(text, sizeof text, "%u %u 1", gid, gid);
	return r ? r : put("/proc/self/gid_map", text);
}

static int do_unshare(const struct view_step *s)
{
	unsigned uid = geteuid(), gid = getegid();
	bool is_user = s->flags & VIEW_USER;
	assert(!s->from && !s->to);
	if (unshare(CLONE_NEWNS | (is_user ? CLONE_NEWUSER : 0)) < 0)
		return -errno;
	int r = is_user ? map_self(uid, gid) : 0;
	if (r)
		return r;
	return mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ? -errno : 0;
}

static bool is_alike(const struct stat *a, const struct stat *b)
{
	return S_ISREG(a->st_mode) && a->st_mode == b->st_mode && a->st_nlink == b->st_nlink &&
	       a->st_size == b->st_size && a->st_uid == b->st_uid && a->st_gid == b->st_gid &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* The kernel answers many mounts on names that nobody has looked up yet with ENOENT, now and then: so they are looked up before, and it is asked again. */
static int mount_on(const char *from, const char *to, const char *type, unsigned long flags, const char *data)
{
	for (int i = 0;; i++) {
		struct stat st;
		bool is_there = stat(to, &st) == 0;
		if (!type)
			is_there &= stat(from, &st) == 0;
		if (mount(from, to, type, flags, data) == 0)
			return 0;
		if (errno != ENOENT || i == RETRIES || !is_there)
			return -errno;
	}
}

/* As kernels before 5.12 can: one mount, and flags that it has must be named again, for without them a user namespace may not. */
static int restrict_one(const char *to, unsigned long flags)
{
	struct statvfs fs;
	if (statvfs(to, &fs) < 0)
		return -errno;
	flags |= fs.f_flag & KEPT_FLAGS;
	return mount(NULL, to, NULL, MS_REMOUNT | MS_BIND | flags, NULL) < 0 ? -errno : 0;
}

/* \040 is a space. */
static void unescape(char *text)
{
	char *to = text;
	for (const char *at = text; *at; to++) {
		bool is_octal = at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] && at[3];
		*to = is_octal ? (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0')) : *at;
		at += is_octal ? 4 : 1;
	}
	*to = 0;
}

/* What cannot be reached (another mount is over it, a directory above is closed to us) is out of the task's reach, too. */
static int restrict_all(const char *to, unsigned long flags)
{
	char line[2 * PATH_MAX], at[PATH_MAX], real[PATH_MAX];
	int r = restrict_one(to, flags);
	FILE *f = !r && realpath(to, real) ? fopen("/proc/self/mountinfo", "re") : NULL;
	size_t n = f ? strlen(real) : 0;
	while (f && !r && fgets(line, sizeof line, f)) {
		if (sscanf(line, "%*s %*s %*s %*s %4095s", at) != 1)
			continue;
		unescape(at);
		if (strncmp(at, real, n) == 0 && at[n] == '/')
			r = restrict_one(at, flags);
		if (r == -EINVAL || r == -ENOENT || r == -ENOTDIR || r == -EACCES)
			r = 0;
	}
	if (!f && !r)
		r = -errno;
	if (f)
		fclose(f);
	return r;
}

/* What is mounted on `to` gets these flags besides those it has. Unlike statvfs(2) this asks no daemon. */
static int restrict_mount(const char *to, unsigned long flags, bool is_recursive)
{
	const struct {
		uint64_t set, clear, propagation, user;
	} attributes = {.set = flags & KEPT_FLAGS};
	if (syscall(SYS_MOUNT_SETATTR, AT_FDCWD, to, is_recursive ? 0x8000 /* AT_RECURSIVE */ : 0, &attributes,
		    sizeof attributes) == 0)
		return 0;
	if (errno != ENOSYS)
		return -errno;
	return is_recursive ? restrict_all(to, flags) : restrict_one(to, flags);
}

static int check_alike(const struct view_step *s)
{
	struct stat from, to;
	struct statvfs fs;
	if (lstat(s->from, &from) < 0 || lstat(s->to, &to) < 0 || statvfs(s->from, &fs) < 0)
		return -errno;
	if (!is_alike(&from, &to))
		return -ESTALE;
	/* Libraries are mapped to be executed whatever their mode says. */
	return fs.f_flag & ST_NOEXEC ? -EACCES : 0;
}

static int do_bind(const struct view_step *s)
{
	bool is_recursive = s->flags & VIEW_RECURSIVE;
	unsigned long flags =
		(s->flags & VIEW_DEVICES ? 0 : MS_NOSUID | MS_NODEV) | (s->flags & VIEW_WRITABLE ? 0 : MS_RDONLY);
	int r = s->flags & VIEW_ALIKE ? check_alike(s) : 0;
	if (!r)
		r = mount_on(s->from, s->to, NULL, MS_BIND | (is_recursive ? MS_REC : 0), NULL);
	if (r || !flags)
		return r;
	r = restrict_mount(s->to, flags, is_recursive);
	if (r)
		umount2(s->to, MNT_DETACH | UMOUNT_NOFOLLOW);
	return r;
}

/* ---- roots and other tmpfs */

static int mount_tmpfs(const char *to, const char *data)
{
	char options[PATH_MAX];
	const char *given = is_given(data) ? data : "size=1m";
	int n = snprintf(options, sizeof options, "%s,nr_inodes=%d%s", given, OUR_INODES,
			 strstr(given, "mode=") ? "" : ",mode=755");
	if (n >= (int)sizeof options)
		return -ENAMETOOLONG;
	return mount_on("vine", to, "tmpfs", MS_NOSUID | MS_NODEV, options);
}

/* One child of the working directory into the tmpfs `to`. One that went meanwhile is not missed. */
static int fill_in(const char *name, unsigned type, const char *to)
{
	char path[PATH_MAX], target[PATH_MAX];
	struct stat st;
	if (snprintf(path, sizeof path, "%s/%s", to, name) >= (int)sizeof path)
		return -ENAMETOOLONG;
	/* What is mounted there may be dead, or far away: it is asked for its type only if its directory did not tell. */
	if (type == DT_UNKNOWN && fstatat(AT_FDCWD, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (type == DT_UNKNOWN)
		type = IFTODT(st.st_mode);
	if (type == DT_LNK) {
		ssize_t n = readlink(name, target, sizeof target - 1);
		target[n > 0 ? n : 0] = 0;
		return n <= 0 || symlink(target, path) == 0 ? 0 : -errno;
	}
	int fd = type == DT_DIR ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (type == DT_DIR ? mkdir(path, 0755) < 0 : fd < 0)
		return -errno;
	if (fd >= 0)
		close(fd);
	if (mount(name, path, NULL, MS_BIND | MS_REC, NULL) == 0)
		return 0;
	int error = errno;
	if (error == ENOENT)
		return type == DT_DIR ? rmdir(path) : unlink(path);
	return -error;
}

/* The children of the directory `from` (closed by this) bound into the tmpfs on `to`. */
static int fill(int from, const char *to)
{
	DIR *d = fdopendir(from);
	int r = d && fchdir(from) == 0 ? 0 : -errno;
	/* If it lies below one of them, the recursive bind of that one leaves it out. */
	if (!r && mount(NULL, to, NULL, MS_UNBINDABLE, NULL) < 0)
		r = -errno;
	for (const struct dirent *e; !r && (e = readdir(d));)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = fill_in(e->d_name, e->d_type, to);
	if (!r && mount(NULL, to, NULL, MS_PRIVATE, NULL) < 0)
		r = -errno;
	if (d)
		closedir(d);
	else
		close(from);
	return r;
}

static int do_tmpfs_of(const char *from, const char *to, const char *data)
{
	struct stat st;
	int fd = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = fstat(fd, &st) < 0 ? -errno : mount_tmpfs(to, data);
	if (r) {
		close(fd);
		return r;
	}
	r = fill(fd, to);
	if (!r && chmod(to, st.st_mode & 07777) < 0)
		r = -errno;
	/* An ordinary user cannot give it to another, and need not. */
	if (!r && chown(to, st.st_uid, st.st_gid) < 0 && errno != EPERM && errno != EINVAL)
		r = -errno;
	return r;
}

static int do_root(const struct view_step *s)
{
	return do_tmpfs_of("/", s->to, s->data);
}

static int do_tmpfs(const struct view_step *s)
{
	if (!(s->flags & VIEW_FILLED))
		return mount_tmpfs(s->to, s->data);
	return is_given(s->from) ? do_tmpfs_of(s->from, s->to, s->data) : -EINVAL;
}

static int check_ours(const char *directory)
{
	struct statfs fs;
	if (statfs(directory, &fs) < 0)
		return -errno;
	return fs.f_type == TMPFS && fs.f_files == OUR_INODES ? 0 : -EROFS;
}

/* Whether `path`, whose last slash stands at `slash`, is there; if not, that it may be made: 1, 0 or -errno. */
static int look(char *path, char *slash)
{
	struct stat st;
	if (stat(path, &st) == 0)
		return 1;
	if (errno != ENOENT)
		return -errno;
	*slash = 0;
	int r = check_ours(slash == path ? "/" : path);
	*slash = '/';
	return r;
}

/* The directories above path's last name, and that one too if it is to be one. Returns as look() does for the last. */
static int make_above(char *path, bool is_all)
{
	char *last = path;
	for (char *at = path, *next; *at; at = next) {
		next = strchrnul(at + 1, '/');
		bool is_last = !*next;
		char end = *next;
		*next = 0;
		int r = look(path, at);
		last = at;
		if (r == 0 && (!is_last || is_all))
			r = mkdir(path, 0755) == 0 || errno == EEXIST ? 1 : -errno;
		*next = end;
		if (r < 0 || is_last)
			return r;
	}
	return last == path ? -EINVAL : 1;
}

/* A copy to work on: -errno if it is no absolute path without slashes at its end. */
static int copy_path(const char *from, char to[PATH_MAX])
{
	size_t n = strlen(from);
	if (n >= PATH_MAX)
		return -ENAMETOOLONG;
	while (n > 1 && from[n - 1] == '/')
		n--;
	memcpy(to, from, n);
	to[n] = 0;
	return *from == '/' && n > 1 ? 0 : -EINVAL;
}

static int do_directory(const struct view_step *s)
{
	char path[PATH_MAX];
	struct stat st;
	int r = copy_path(s->to, path);
	if (!r)
		r = make_above(path, true);
	if (r < 0)
		return r;
	return stat(path, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static int do_file(const struct view_step *s)
{
	char path[PATH_MAX];
	struct stat st;
	int r = copy_path(s->to, path);
	if (!r)
		r = make_above(path, false);
	if (r > 0)
		return stat(path, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? -EISDIR : 0;
	int fd = r ? -1 : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return r ? r : -errno;
	close(fd);
	return 0;
}

static int do_link(const struct view_step *s)
{
	char path[PATH_MAX];
	if (!is_given(s->from))
		return -EINVAL;
	int r = copy_path(s->to, path);
	if (!r)
		r = make_above(path, false);
	if (r)
		return r < 0 ? r : -EEXIST;
	return symlink(s->from, path) < 0 ? -errno : 0;
}

/* ---- the rest */

static int do_overlay(const struct view_step *s)
{
	struct stat st;
	if (!is_given(s->data))
		return -EINVAL;
	if (stat(s->to, &st) < 0)
		return -errno;
	return mount_on("overlay", s->to, "overlay", MS_NOSUID | MS_NODEV, s->data);
}

static int do_readonly(const struct view_step *s)
{
	return restrict_mount(s->to, MS_RDONLY, s->flags & VIEW_RECURSIVE);
}

static int do_unmount(const struct view_step *s)
{
	return umount2(s->to, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
}

static int do_pivot(const struct view_step *s)
{
	if (chdir(s->to) < 0)
		return -errno;
	if (syscall(SYS_pivot_root, ".", ".") == 0)
		return umount2(".", MNT_DETACH) < 0 || chdir("/") < 0 ? -errno : 0;
	if (errno != EINVAL)
		return -errno;
	/* The root that a node without disks was started with cannot be exchanged, only covered. */
	if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

static int do_proc(const struct view_step *s)
{
	return mount_on("proc", s->to, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

/* ---- what tasks' processes are in */

int view_join(int mount_ns, int user_ns)
{
	if (user_ns >= 0 && setns(user_ns, CLONE_NEWUSER) < 0)
		return -errno;
	return setns(mount_ns, CLONE_NEWNS) < 0 ? -errno : 0;
}

int view_join_host(int mount_ns, const char *mnt)
{
	unsigned n;
	struct view_step apart = {.op = VIEW_UNSHARE};
	int host = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC), r = host < 0 ? -errno : view_join(mount_ns, -1);
	int tree = r ? -1
		     : (int)syscall(SYS_OPEN_TREE, AT_FDCWD, mnt,
				    1 /* OPEN_TREE_CLONE */ | O_CLOEXEC | 0x8000 /* AT_RECURSIVE */);
	/* Before 5.2 the stem has to do as it is. */
	bool is_old = !r && tree < 0 && errno == ENOSYS;
	if (!r && tree < 0 && !is_old)
		r = -errno;
	if (!r && !is_old)
		r = view_join(host, -1);
	if (!r && !is_old)
		r = view_do(&apart, 1, &n);
	if (!r && !is_old && syscall(SYS_MOVE_MOUNT, tree, "", AT_FDCWD, mnt, 4 /* MOVE_MOUNT_F_EMPTY_PATH */) < 0)
		r = -errno;
	if (tree >= 0)
		close(tree);
	if (host >= 0)
		close(host);
	return r;
}

int view_leave(bool with_pids)
{
	/* Nothing in the stem is shared, so nothing in a copy of it is: it hears of the host's mounts and tells of none. */
	if (!with_pids)
		return unshare(CLONE_NEWNS) < 0 ? -errno : 0;
	/* Shared memory and queues of System V would outlive the task, and be others'. A kernel may have been built without them. */
	if (unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC) == 0)
		return 0;
	return errno == EINVAL && unshare(CLONE_NEWNS | CLONE_NEWPID) == 0 ? 0 : -errno;
}

static int enter_stem(bool *is_user)
{
	unsigned n;
	struct view_step s = {.op = VIEW_UNSHARE, .flags = *is_user ? VIEW_USER : 0};
	int r = view_do(&s, 1, &n);
	/* Root of a container that may not mount is an ordinary user in this. */
	if (r != -EPERM || *is_user)
		return r;
	*is_user = true;
	return enter_stem(is_user);
}

/* Where the host's root is shared, in here it is its slave. */
static bool is_root_slave(void)
{
	char line[PATH_MAX], at[PATH_MAX];
	bool is_slave = false;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "%*s %*s %*s %*s %4095s", at) == 1 && strcmp(at, "/") == 0)
			is_slave = strstr(line, " master:") != NULL;
	if (f)
		fclose(f);
	return is_slave;
}

int view_make_stem(const char *mnt, int fds[3], unsigned *traits, const char **what)
{
	char options[128];
	bool is_user = geteuid() != 0;
	int r = enter_stem(&is_user);
	*traits = (is_user ? STEM_HAS_USER : 0) | (is_user || is_root_slave() ? 0 : STEM_IS_DEAF);
	*what = is_user ? "unshare a user and a mount namespace" : "unshare a mount namespace";
	if (r)
		return r;
	*what = "open its namespaces";
	fds[0] = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	fds[1] = open(is_user ? "/proc/self/ns/user" : "/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (fds[0] < 0 || fds[1] < 0)
		return -errno;
	/* Opened in the user namespace that mounts it, or the kernel refuses. */
	*what = "open /dev/fuse";
	fds[2] = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fds[2] < 0)
		return -errno;
	*what = mnt;
	if (mkdir(mnt, 0700) < 0 && errno != EEXIST)
		return -errno;
	*what = "mount /dev/fuse";
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%u,group_id=%u,default_permissions%s", fds[2],
		 (unsigned)getuid(), (unsigned)getgid(), is_user ? "" : ",allow_other");
	return mount("vine", mnt, "fuse.vine", MS_RDONLY | MS_NOSUID | MS_NODEV, options) < 0 ? -errno : 0;
}

/* ---- steps */

struct op {
	int (*run)(const struct view_step *);
	bool has_from;
};

static const struct op ops[] = {
	[VIEW_UNSHARE] = {.run = do_unshare},
	[VIEW_BIND] = {.run = do_bind, .has_from = true},
	[VIEW_ROOT] = {.run = do_root},
	[VIEW_TMPFS] = {.run = do_tmpfs},
	[VIEW_DIRECTORY] = {.run = do_directory},
	[VIEW_FILE] = {.run = do_file},
	[VIEW_LINK] = {.run = do_link, .has_from = true},
	[VIEW_OVERLAY] = {.run = do_overlay},
	[VIEW_READONLY] = {.run = do_readonly},
	[VIEW_UNMOUNT] = {.run = do_unmount},
	[VIEW_PIVOT] = {.run = do_pivot},
	[VIEW_PROC] = {.run = do_proc},
};

static int do_step(const struct view_step *s)
{
	const struct op *op = s->op && s->op < sizeof ops / sizeof *ops ? &ops[s->op] : NULL;
	if (!op || (op->has_from && !is_given(s->from)) || (s->op != VIEW_UNSHARE && !is_given(s->to)))
		return -EINVAL;
	return op->run(s);
}

int view_do(struct view_step *steps, unsigned n, unsigned *n_done)
{
	for (*n_done = 0; *n_done < n; ++*n_done) {
		struct view_step *s = &steps[*n_done];
		s->error = do_step(s);
		if (s->error && !(s->flags & VIEW_OPTIONAL))
			return s->error;
	}
	return 0;
}

const char *view_path(const struct view_step *s)
{
	struct stat st;
	bool is_from = s->op == VIEW_BIND && is_given(s->from) && lstat(s->from, &st) < 0;
	return is_from || !is_given(s->to) ? (s->from ? s->from : "") : s->to;
}
