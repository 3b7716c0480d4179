/* SPDX-License-Identifier: Apache-2.0
 * Namespaces and what is mounted in them: the steps of keeper.h. libc only, for the keeper does this between fork and exec. */
#include "vinefs/keeper/keeper.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

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

static int do_bind(const struct view_step *s)
{
	struct stat from, to;
	struct statvfs fs;
	assert(s->from && s->to);
	/* Both are looked up before, besides: the kernel answers many mounts on names that nobody has looked up yet with ENOENT, now and then. */
	if (lstat(s->from, &from) < 0 || lstat(s->to, &to) < 0 || statvfs(s->from, &fs) < 0)
		return -errno;
	if (s->flags & VIEW_ALIKE && !is_alike(&from, &to))
		return -ESTALE;
	/* Libraries are mapped to be executed whatever their mode says. */
	if (s->flags & VIEW_ALIKE && fs.f_flag & ST_NOEXEC)
		return -EACCES;
	if (mount(s->from, s->to, NULL, MS_BIND, NULL) < 0)
		return -errno;
	/* What the filesystem forbids must be named again: without it a user namespace may not. */
	unsigned long flags =
		MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | (fs.f_flag & ST_NOEXEC ? MS_NOEXEC : 0);
	if (mount(NULL, s->to, NULL, flags, NULL) == 0)
		return 0;
	int r = -errno;
	umount2(s->to, MNT_DETACH | UMOUNT_NOFOLLOW);
	return r;
}

int view_do(struct view_step *steps, unsigned n, unsigned *n_done)
{
	static int (*const run[])(const struct view_step *) = {[VIEW_UNSHARE] = do_unshare, [VIEW_BIND] = do_bind};
	for (*n_done = 0; *n_done < n; ++*n_done) {
		struct view_step *s = &steps[*n_done];
		bool is_known = s->op && s->op < sizeof run / sizeof *run;
		s->error = is_known ? run[s->op](s) : -EINVAL;
		if (s->error && !(s->flags & VIEW_OPTIONAL))
			return s->error;
	}
	return 0;
}
