/* SPDX-License-Identifier: Apache-2.0
 * A shared filesystem of the benchmarks' own, read-only: 1 ms an operation, 64 of them at once, 50 MB/s in all. What was asked once is remembered by the
 * kernel for 30 s, misses too, and pages are kept from open to open: kinder than most.
 *
 *   slow_fs MOUNTPOINT -f -o source=DIR,max_threads=64      until it is unmounted; DIR is absolute */
#define FUSE_USE_VERSION 35
#include "common/base.h"

#include <dirent.h>
#include <fcntl.h>
#include <fuse.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum { AT_ONCE = 64, OPERATION_NSEC = 1000000, NSEC_PER_KB = 20000 /* 50 MB/s */ };

struct slow {
	char *dir;
	sem_t room;
	pthread_mutex_t lock;
	uint64_t wire_free_nsec; /* when the last byte promised so far is through */
};

static struct slow *self(void)
{
	return fuse_get_context()->private_data;
}

static char *place(const char *path, char at[PATH_MAX])
{
	int n = snprintf(at, PATH_MAX, "%s%s", self()->dir, path);
	assert(n > 0 && n < PATH_MAX);
	return at;
}

static uint64_t now_nsec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sleep_until(uint64_t nsec)
{
	struct timespec t = {.tv_sec = (time_t)(nsec / 1000000000u), .tv_nsec = (long)(nsec % 1000000000u)};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

/* One operation that moves n bytes: its millisecond, and its turn on the wire that all share. */
static void take_time(size_t n)
{
	struct slow *s = self();
	while (sem_wait(&s->room) < 0)
		assert(errno == EINTR);
	uint64_t now = now_nsec();
	pthread_mutex_lock(&s->lock);
	uint64_t through = max(s->wire_free_nsec, now) + (uint64_t)n * NSEC_PER_KB / 1000;
	s->wire_free_nsec = n ? through : s->wire_free_nsec;
	pthread_mutex_unlock(&s->lock);
	sleep_until(max(now + OPERATION_NSEC, n ? through : 0));
	sem_post(&s->room);
}

static int result(long r)
{
	return r < 0 ? -errno : (int)r;
}

static void *slow_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	/* The kernel's default of 12 would be the bound on read-ahead. */
	conn->max_background = AT_ONCE;
	conn->congestion_threshold = AT_ONCE;
	cfg->entry_timeout = cfg->attr_timeout = cfg->negative_timeout = 30;
	cfg->kernel_cache = 1;
	cfg->use_ino = 1;
	return self();
}

static int slow_getattr(const char *path, struct stat *st, struct fuse_file_info *f)
{
	char at[PATH_MAX];
	take_time(0);
	return result(f ? fstat((int)f->fh, st) : lstat(place(path, at), st));
}

static int slow_readlink(const char *path, char *to, size_t n)
{
	char at[PATH_MAX];
	take_time(0);
	ssize_t r = readlink(place(path, at), to, n - 1);
	if (r >= 0)
		to[r] = 0;
	return r < 0 ? -errno : 0;
}

static int slow_readdir(const char *path, void *to, fuse_fill_dir_t fill, off_t offset _unused_,
			struct fuse_file_info *f _unused_, enum fuse_readdir_flags flags _unused_)
{
	char at[PATH_MAX];
	take_time(0);
	DIR *d = opendir(place(path, at));
	if (!d)
		return -errno;
	for (const struct dirent *each; (each = readdir(d));) {
		/* Some kernels and libraries believe in the type alone. */
		struct stat st = {.st_ino = each->d_ino, .st_mode = DTTOIF(each->d_type)};
		if (fill(to, each->d_name, &st, 0, 0))
			break;
	}
	closedir(d);
	return 0;
}

static int slow_open(const char *path, struct fuse_file_info *f)
{
	char at[PATH_MAX];
	take_time(0);
	if ((f->flags & O_ACCMODE) != O_RDONLY)
		return -EROFS;
	int fd = open(place(path, at), O_RDONLY | O_CLOEXEC);
	f->fh = (uint64_t)fd;
	return fd < 0 ? -errno : 0;
}

static int slow_read(const char *path _unused_, char *to, size_t n, off_t offset, struct fuse_file_info *f)
{
	ssize_t got = pread((int)f->fh, to, n, offset);
	int r = result(got);
	take_time(got > 0 ? (size_t)got : 0);
	return r;
}

static int slow_release(const char *path _unused_, struct fuse_file_info *f)
{
	return result(close((int)f->fh));
}

static int slow_statfs(const char *path, struct statvfs *st)
{
	char at[PATH_MAX];
	take_time(0);
	return result(statvfs(place(path, at), st));
}

static const struct fuse_operations operations = {
	.init = slow_init,
	.getattr = slow_getattr,
	.readlink = slow_readlink,
	.readdir = slow_readdir,
	.open = slow_open,
	.read = slow_read,
	.release = slow_release,
	.statfs = slow_statfs,
};

int main(int argc, char **argv)
{
	static const struct fuse_opt options[] = {{"source=%s", offsetof(struct slow, dir), 0}, FUSE_OPT_END};
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct slow s = {.lock = PTHREAD_MUTEX_INITIALIZER};
	if (fuse_opt_parse(&args, &s, options, NULL) < 0 || !s.dir || s.dir[0] != '/') {
		fprintf(stderr, "usage: slow_fs MOUNTPOINT -f -o source=DIR,max_threads=64\n");
		return 125;
	}
	sem_init(&s.room, 0, AT_ONCE);
	int r = fuse_main(args.argc, args.argv, &operations, &s);
	fuse_opt_free_args(&args);
	free(s.dir);
	return r;
}
