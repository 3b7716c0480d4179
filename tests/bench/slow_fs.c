/* SPDX-License-Identifier: Apache-2.0
 * A shared filesystem of the benchmarks' own, read-only: 1 ms an operation, 64 of them at once, 50 MB/s in all. What was asked once is remembered by the
 * kernel for 30 s, misses too, and pages are kept from open to open: kinder than most.
 *
 *   slow_fs MOUNTPOINT -f -o source=DIR,max_threads=64      until it is unmounted; DIR is absolute
 *
 * Several hosts that share it are several of these with account=FILE: in it are when the wire that all share is free again, the bytes that went over it and the
 * operations, as three numbers of 64 bits. rate=N: that wire's bytes a second; own_rate=N: of the link of this host alone. */
#define FUSE_USE_VERSION 35
#include "common/base.h"

#include <dirent.h>
#include <fcntl.h>
#include <fuse.h>
#include <limits.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum { AT_ONCE = 64, OPERATION_NSEC = 1000000, RATE = 50000000 };

/* The numbers of `account`, or this process's own. */
struct account {
	uint64_t free_nsec; /* when the last byte promised so far is through */
	uint64_t n_bytes, n_operations;
};

struct slow {
	char *dir, *account_file;
	unsigned rate, own_rate; /* bytes a second; own 0: no limit of its own */
	sem_t room;
	struct account alone, *account;
	uint64_t own_free_nsec;
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

/* When n bytes are through that take their turn on this wire now. Other processes have it too. */
static uint64_t take_turn(uint64_t *free_nsec, uint64_t now, size_t n, unsigned rate)
{
	uint64_t free_at = __atomic_load_n(free_nsec, __ATOMIC_RELAXED), through;
	do
		through = max(free_at, now) + (uint64_t)n * 1000000000u / rate;
	while (!__atomic_compare_exchange_n(free_nsec, &free_at, through, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return through;
}

/* One operation that moves n bytes: its millisecond, and its turn on the wires. */
static void take_time(size_t n)
{
	struct slow *s = self();
	while (sem_wait(&s->room) < 0)
		assert(errno == EINTR);
	uint64_t now = now_nsec(), through = now + OPERATION_NSEC;
	__atomic_add_fetch(&s->account->n_operations, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&s->account->n_bytes, n, __ATOMIC_RELAXED);
	if (n)
		through = max(through, take_turn(&s->account->free_nsec, now, n, s->rate));
	if (n && s->own_rate)
		through = max(through, take_turn(&s->own_free_nsec, now, n, s->own_rate));
	sleep_until(through);
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

/* -errno. A file that is new is empty, and all zeros. */
static int open_account(struct slow *s)
{
	s->account = &s->alone;
	if (!s->account_file)
		return 0;
	int fd = open(s->account_file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof *s->account) < 0)
		return -errno;
	void *at = mmap(NULL, sizeof *s->account, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int r = at == MAP_FAILED ? -errno : 0;
	close(fd);
	s->account = at;
	return r;
}

int main(int argc, char **argv)
{
	static const struct fuse_opt options[] = {{"source=%s", offsetof(struct slow, dir), 0},
						  {"account=%s", offsetof(struct slow, account_file), 0},
						  {"rate=%u", offsetof(struct slow, rate), 0},
						  {"own_rate=%u", offsetof(struct slow, own_rate), 0},
						  FUSE_OPT_END};
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct slow s = {.rate = RATE};
	if (fuse_opt_parse(&args, &s, options, NULL) < 0 || !s.dir || s.dir[0] != '/' || !s.rate) {
		fprintf(stderr,
			"usage: slow_fs MOUNTPOINT -f -o source=DIR,max_threads=64[,account=FILE,rate=N,own_rate=N]\n");
		return 125;
	}
	int opened = open_account(&s);
	if (opened < 0) {
		fprintf(stderr, "slow_fs: %s: %s\n", s.account_file, strerror(-opened));
		return 125;
	}
	sem_init(&s.room, 0, AT_ONCE);
	int r = fuse_main(args.argc, args.argv, &operations, &s);
	fuse_opt_free_args(&args);
	free(s.dir);
	free(s.account_file);
	return r;
}
