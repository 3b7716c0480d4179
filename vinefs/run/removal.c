/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/run/removal.h"

#include "common/log.h"
#include "vinefs/run/attempt.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define NICE 5          /* behind all that answers somebody, but not starved by a full node's tasks */
#define DEPTH_MOST 32   /* directories open at once; what lies deeper is moved up first */
#define NAMES_MOST 1000 /* tried for what is moved up */
#define RETRY_SEC 1
#define SPARES_MOST 32
#define SPARE ".spare-"

struct job {
	uint64_t attempt;
	const char *part; /* NULL: all of it */
};

struct removal {
	pthread_mutex_t lock; /* held for the queue and the spares, never while deleting */
	pthread_cond_t changed;
	pthread_t thread;
	struct job *jobs;
	size_t n, room;
	uint64_t spares[SPARES_MOST]; /* the attempts that they were of */
	unsigned n_spares;
	uint64_t allowed[SPARES_MOST]; /* the last ones */
	unsigned n_allowed;            /* ever */
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

/* ---- sandboxes that are used again */

/* What can be changed of a directory or file besides its content. */
struct traits {
	struct stat st;
	char names[256]; /* of its attributes */
	ssize_t n_names; /* -1 is as good as any number: there are none, or too many */
	long flags;
};

/* False: nobody knows. */
static bool read_traits(int fd, struct traits *t)
{
	t->flags = 0;
	if (fd < 0 || fstat(fd, &t->st))
		return false;
	t->n_names = flistxattr(fd, t->names, sizeof t->names);
	ioctl(fd, FS_IOC_GETFLAGS, &t->flags);
	t->flags &= ~(long)(FS_EXTENT_FL | FS_INDEX_FL);
	return true;
}

/* As what is made there is, but for its mode: that can be set again. */
static bool is_as_made(int fd, const struct traits *like, struct traits *t)
{
	return read_traits(fd, t) && t->flags == like->flags && t->n_names == like->n_names &&
	       (t->n_names <= 0 || memcmp(t->names, like->names, (size_t)t->n_names) == 0) &&
	       t->st.st_uid == like->st.st_uid && t->st.st_gid == like->st.st_gid;
}

static bool set_mode(int fd, const struct traits *t, mode_t mode)
{
	return (t->st.st_mode & 07777) == mode || fchmod(fd, mode) == 0;
}

static bool empty_directory(struct clearing *c, int fd, const struct traits *like)
{
	struct traits t;
	/* One that was large stays so. */
	if (!is_as_made(fd, like, &t) || t.st.st_size > max((off_t)t.st.st_blksize, (off_t)4096)) {
		close_fd(fd);
		return false;
	}
	bool is_private = set_mode(fd, &t, 0700);
	clear(c, fd, 0);
	return is_private && !c->error && !c->n_moved;
}

/* Whoever still reads what stood in a file must not meet what comes: the lease is had by the only one who has it open. */
static bool empty_file(int dir, const char *name, const struct traits *like)
{
	struct traits t;
	_close_ int fd = openat(dir, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (!is_as_made(fd, like, &t) || !S_ISREG(t.st.st_mode) || t.st.st_nlink != 1 ||
	    fcntl(fd, F_SETLEASE, F_WRLCK))
		return false;
	bool is_done = (!t.st.st_size || ftruncate(fd, 0) == 0) && set_mode(fd, &t, 0600);
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return is_done;
}

static bool is_listed(const char *const *names, const char *name)
{
	while (*names && !streq(*names, name))
		names++;
	return *names != NULL;
}

/* All but what a new one has goes. False: it can only be deleted. */
static bool empty_sandbox(struct removal *r, const char *name)
{
	struct clearing c = {.removal = r};
	struct traits like, t;
	_close_ int top = c.top = open_directory(r->sandboxes, name);
	if (!read_traits(r->sandboxes, &like) || !is_as_made(top, &like, &t))
		return false;
	for (size_t i = 0; attempt_directories[i]; i++)
		if (!empty_directory(&c, open_directory(top, attempt_directories[i]), &like))
			return false;
	int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		close_fd(fd);
	for (const struct dirent *e; d && !is_over(r) && (e = readdir(d));)
		if (!streq(e->d_name, ".") && !streq(e->d_name, "..") && !is_listed(attempt_directories, e->d_name) &&
		    !(is_listed(attempt_files, e->d_name) && empty_file(top, e->d_name, &like)))
			remove_entry(&c, top, e->d_name, 0);
	if (d)
		closedir(d);
	return d && !c.error && !c.n_moved && !is_over(r);
}

static void spare_name(uint64_t attempt, char name[32])
{
	snprintf(name, 32, SPARE "%" PRIu64, attempt);
}

static bool is_allowed(const struct removal *r, uint64_t attempt)
{
	for (size_t i = 0; i < SPARES_MOST; i++)
		if (r->allowed[i] == attempt)
			return true;
	return false;
}

void removal_allow(struct removal *r, uint64_t attempt)
{
	pthread_mutex_lock(&r->lock);
	r->allowed[r->n_allowed++ % SPARES_MOST] = attempt;
	pthread_mutex_unlock(&r->lock);
}

static bool make_spare(struct removal *r, uint64_t attempt, const char *name)
{
	char spare[32];
	spare_name(attempt, spare);
	pthread_mutex_lock(&r->lock);
	bool has_room = r->n_spares < SPARES_MOST && is_allowed(r, attempt);
	pthread_mutex_unlock(&r->lock);
	if (!has_room || !empty_sandbox(r, name))
		return false;
	pthread_mutex_lock(&r->lock);
	/* This thread alone adds to them. */
	assert(r->n_spares < SPARES_MOST);
	bool is_renamed = renameat(r->sandboxes, name, r->sandboxes, spare) == 0;
	if (is_renamed)
		r->spares[r->n_spares++] = attempt;
	pthread_mutex_unlock(&r->lock);
	return is_renamed;
}

bool removal_reuse(struct removal *r, uint64_t attempt)
{
	char spare[32], name[32];
	uint64_t was = 0;
	pthread_mutex_lock(&r->lock);
	if (r->n_spares)
		was = r->spares[--r->n_spares];
	pthread_mutex_unlock(&r->lock);
	if (!was)
		return false;
	spare_name(was, spare);
	snprintf(name, sizeof name, "%" PRIu64, attempt);
	if (renameat(r->sandboxes, spare, r->sandboxes, name) == 0)
		return true;
	/* The attempt has one already; this one goes when the node starts again. */
	return false;
}

/* Those of a process before this one: who knows of which version. */
static void remove_old_spares(struct removal *r)
{
	int fd = openat(r->sandboxes, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		close_fd(fd);
	for (const struct dirent *e; d && !is_over(r) && (e = readdir(d));)
		if (has_prefix(e->d_name, SPARE))
			remove_tree(r, r->sandboxes, e->d_name);
	if (d)
		closedir(d);
}

static int do_job(struct removal *r, const struct job *j)
{
	char name[32];
	snprintf(name, sizeof name, "%" PRIu64, j->attempt);
	if (!j->part)
		return make_spare(r, j->attempt, name) ? 0 : remove_tree(r, r->sandboxes, name);
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
	remove_old_spares(r);
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
