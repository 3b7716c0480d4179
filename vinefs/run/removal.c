/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/run/removal.h"

#include "common/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NICE 5          /* behind all that answers somebody, but not starved by a full node's tasks */
#define DEPTH_MOST 32   /* directories open at once; what lies deeper is moved up first */
#define NAMES_MOST 1000 /* tried for what is moved up */
#define RETRY_SEC 1

struct job {
	uint64_t attempt;
	const char *part; /* NULL: all of it */
};

struct removal {
	pthread_mutex_t lock; /* held for the queue only, never while deleting */
	pthread_cond_t changed;
	pthread_t thread;
	struct job *jobs;
	size_t n, room;
	int sandboxes;
	bool is_over;
};

/* One directory on its way out. */
struct clearing {
	struct removal *removal;
	int top;
	unsigned n_moved; /* up to `top`, ever */
	int error;        /* the first */
};

static bool is_over(struct removal *r)
{
	return __atomic_load_n(&r->is_over, __ATOMIC_RELAXED);
}

static bool is_transient(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}

/* A task may have taken its own rights away; the directory is ours to open again. chmod(2) by name would follow a link. */
static int open_directory(int dir, const char *name)
{
	struct stat st;
	_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == EACCES) {
		_close_ int place = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		char path[64];
		snprintf(path, sizeof path, "/proc/self/fd/%d", place);
		if (place < 0 || chmod(path, 0700))
			return -errno;
		fd = openat(place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if ((st.st_mode & 0700) != 0700 && fchmod(fd, 0700))
		return -errno;
	return steal_fd(&fd);
}

static void note(struct clearing *c, int error)
{
	assert(error <= 0);
	if (!c->error && error != -ENOENT)
		c->error = error;
}

static int move_up(struct clearing *c, int dir, const char *name)
{
	char new[32];
	/* What moves must be writable itself. */
	close_fd(open_directory(dir, name));
	for (unsigned tries = 0; tries < NAMES_MOST; tries++) {
		snprintf(new, sizeof new, "vine-removal-%u", c->n_moved++);
		if (renameat(dir, name, c->top, new) == 0)
			return 0;
		/* Taken, by a full directory or a file. */
		if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
			break;
	}
	return -errno;
}

static void clear(struct clearing *c, int fd, unsigned depth);

static void remove_entry(struct clearing *c, int dir, const char *name, unsigned depth)
{
	if (unlinkat(dir, name, 0) == 0)
		return;
	if (errno != EISDIR) {
		note(c, -errno);
		return;
	}
	/* One that is empty, or that something is mounted on, is not opened. */
	if (unlinkat(dir, name, AT_REMOVEDIR) == 0)
		return;
	if (errno != ENOTEMPTY && errno != EEXIST) {
		note(c, -errno);
		return;
	}
	if (depth == DEPTH_MOST) {
		note(c, move_up(c, dir, name));
		return;
	}
	int fd = open_directory(dir, name);
	if (fd < 0) {
		note(c, fd);
		return;
	}
	clear(c, fd, depth + 1);
	unlinkat(dir, name, AT_REMOVEDIR);
}

/* Deletes what is in a directory, and closes it. */
static void clear(struct clearing *c, int fd, unsigned depth)
{
	assert(fd >= 0 && depth <= DEPTH_MOST);
	DIR *d = fdopendir(fd);
	if (!d) {
		note(c, -errno);
		close_fd(fd);
		return;
	}
	for (const struct dirent *e; !is_over(c->removal) && (e = readdir(d));)
		if (!streq(e->d_name, ".") && !streq(e->d_name, ".."))
			remove_entry(c, fd, e->d_name, depth);
	closedir(d);
}

/* 0 or -errno. */
static int remove_tree(struct removal *r, int dir, const char *name)
{
	struct clearing c = {.removal = r};
	unsigned n_moved;
	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	_close_ int top = c.top = open_directory(dir, name);
	if (top < 0)
		return top;
	do {
		n_moved = c.n_moved;
		int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		clear(&c, fd, 0);
	} while (c.n_moved > n_moved && !c.error && !is_over(r));
	if (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	return c.error ? c.error : -errno;
}

static int do_job(struct removal *r, const struct job *j)
{
	char name[32];
	snprintf(name, sizeof name, "%" PRIu64, j->attempt);
	if (!j->part)
		return remove_tree(r, r->sandboxes, name);
	_close_ int sandbox = open_directory(r->sandboxes, name);
	/* What stands in its place goes with the whole. */
	if (sandbox < 0)
		return sandbox == -ENOENT || sandbox == -ENOTDIR || sandbox == -ELOOP ? 0 : sandbox;
	return remove_tree(r, sandbox, j->part);
}

static void wait_a_moment(struct removal *r)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += RETRY_SEC;
	while (!is_over(r) && pthread_cond_timedwait(&r->changed, &r->lock, &until) == 0)
		continue;
}

static void *work(void *arg)
{
	struct removal *r = arg;
	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
	pthread_mutex_lock(&r->lock);
	while (!is_over(r)) {
		if (!r->n) {
			pthread_cond_wait(&r->changed, &r->lock);
			continue;
		}
		struct job j = r->jobs[--r->n];
		pthread_mutex_unlock(&r->lock);
		int error = do_job(r, &j);
		if (error && !is_transient(error) && !is_over(r))
			log_warn("the sandbox of attempt %" PRIu64 " cannot be removed: %s", j.attempt,
				 strerror(-error));
		if (is_transient(error))
			removal_add(r, j.attempt, j.part);
		pthread_mutex_lock(&r->lock);
		if (is_transient(error))
			wait_a_moment(r);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

struct removal *removal_new(int sandboxes)
{
	struct removal *r = NEW(struct removal);
	pthread_condattr_t by_clock;
	assert(sandboxes >= 0);
	r->sandboxes = sandboxes;
	pthread_mutex_init(&r->lock, NULL);
	pthread_condattr_init(&by_clock);
	pthread_condattr_setclock(&by_clock, CLOCK_MONOTONIC);
	pthread_cond_init(&r->changed, &by_clock);
	pthread_condattr_destroy(&by_clock);
	int error = pthread_create(&r->thread, NULL, work, r);
	if (error) {
		free(r);
		errno = error;
		return NULL;
	}
	return r;
}

void removal_free(struct removal *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	__atomic_store_n(&r->is_over, true, __ATOMIC_RELAXED);
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	assert(r->n <= r->room);
	free(r->jobs);
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

void removal_add(struct removal *r, uint64_t attempt, const char *part)
{
	assert(attempt);
	pthread_mutex_lock(&r->lock);
	if (r->n == r->room)
		r->jobs = xrealloc(r->jobs, (r->room = max(2 * r->room, (size_t)64)) * sizeof *r->jobs);
	r->jobs[r->n++] = (struct job){.attempt = attempt, .part = part};
	pthread_cond_signal(&r->changed);
	pthread_mutex_unlock(&r->lock);
}
