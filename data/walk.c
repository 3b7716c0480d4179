/* SPDX-License-Identifier: Apache-2.0 */
#include "data/walk.h"

#include "common/buf.h"
#include "common/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define SLICE 16u /* names that a thread looks at before others may have the rest of a directory */
#define SLOW_SLICE \
	2u /* where each takes a millisecond: so others are found to help, and none is at it alone at the end */
#define THREADS_MOST 64u  /* that wait for a slow source */
#define OPEN_MOST 64u     /* directories whose names were read and not looked at yet */
#define SLOW_NSEC 200000u /* an operation that waits for a server: another thread is worth its while */

/* The names of a directory. */
struct listing {
	DIR *d;
	char *path;
	uint32_t directory;
	struct buf names; /* one behind the other, each with its NUL */
	size_t at, n;     /* the first that no thread has taken; how many are left */
	unsigned n_users; /* threads at it */
	struct listing *next;
};

/* Directories to read, the first found first, and before the names that were read already, up to a bound of open ones: so a deep place is found while there is
 * much else to do, and at the end nobody waits for one step after the other. A thread that finds nothing waits until another one has put something there or all are idle. */
struct walk {
	const struct walk_job *job;
	pthread_mutex_t lock;
	pthread_cond_t change;
	uint32_t *todo;
	size_t at, n, room; /* the first that no thread has taken; the end of them */
	struct listing *listings;
	unsigned n_busy, n_threads, n_open;
	bool is_slow; /* its source was, the last time */
	pthread_t threads[THREADS_MOST];
	int result;
};

/* What one directory held, until it is handed to the builder. */
struct batch {
	struct entry *entries;
	char **names, **targets;
	size_t n, room;
};

static void batch_fini(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++) {
		free(b->names[i]);
		free(b->targets[i]);
	}
	free(b->entries);
	free(b->names);
	free(b->targets);
}

static void batch_put(struct batch *b, const struct entry *e, const char *name, char *target)
{
	if (b->n == b->room) {
		b->room = b->room ? b->room * 2 : 32;
		b->entries = xrealloc(b->entries, b->room * sizeof *b->entries);
		b->names = xrealloc(b->names, b->room * sizeof *b->names);
		b->targets = xrealloc(b->targets, b->room * sizeof *b->targets);
	}
	b->entries[b->n] = *e;
	b->names[b->n] = xstrdup(name);
	b->targets[b->n++] = target;
}

static void walk_report(struct walk *w, struct seal_report *to, const char *directory, const char *name,
			const char *what)
{
	pthread_mutex_lock(&w->lock);
	seal_report_add(to, "%s%s%s%s%s: %s", w->job->path, *directory ? "/" : "", directory, *name ? "/" : "", name,
			what);
	pthread_mutex_unlock(&w->lock);
}

static const char *left_out(mode_t mode)
{
	return S_ISSOCK(mode)                   ? "a socket, left out"
	       : S_ISFIFO(mode)                 ? "a FIFO, left out"
	       : S_ISCHR(mode) || S_ISBLK(mode) ? "a device, left out"
						: "of an unknown type, left out";
}

/* NULL with errno if it cannot be read; a link whose target changes in length is read again. */
static char *read_target(int directory, const char *name, size_t size)
{
	for (size_t room = size + 2;; room *= 2) {
		char *target = xmalloc(room);
		ssize_t n = readlinkat(directory, name, target, room);
		if (n > 0 && (size_t)n < room) {
			target[n] = 0;
			return target;
		}
		free(target);
		if (n <= 0) {
			errno = n < 0 ? errno : EINVAL;
			return NULL;
		}
	}
}

static bool is_wanted(const struct walk *w, const char *directory, const char *name)
{
	if (!w->job->is_wanted)
		return true;
	_free_ char *path = path_join(directory, name);
	return w->job->is_wanted(w->job->arg, *directory ? path : name);
}

static void walk_one(struct walk *w, struct batch *batch, int fd, const char *directory, const char *name)
{
	struct seal_progress *p = w->job->progress;
	struct stat st;
	char text[128];
	if (!is_wanted(w, directory, name))
		return;
	if (strlen(directory) + strlen(name) + 2 > DATA_PATH_MAX) {
		walk_report(w, w->job->errors, directory, name, "a path of more than 4095 bytes");
		return;
	}
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		walk_report(w, w->job->errors, directory, name, strerror_r(errno, text, sizeof text));
		return;
	}
	struct entry e = {.mode = st.st_mode & 01777,
			  .mtime_sec = st.st_mtim.tv_sec,
			  .mtime_nsec = (uint32_t)st.st_mtim.tv_nsec,
			  .type = S_ISREG(st.st_mode)   ? TREE_FILE
				  : S_ISDIR(st.st_mode) ? TREE_DIRECTORY
				  : S_ISLNK(st.st_mode) ? TREE_LINK
							: 0};
	signature_of(&st, &e.signature);
	if (!e.type) {
		walk_report(w, w->job->notes, directory, name, left_out(st.st_mode));
		return;
	}
	if (st.st_mode & 06000 && e.type == TREE_FILE)
		walk_report(w, w->job->notes, directory, name, "setuid or setgid, cleared");
	char *target = NULL;
	if (e.type == TREE_LINK) {
		target = read_target(fd, name, (size_t)st.st_size);
		if (!target) {
			walk_report(w, w->job->errors, directory, name, strerror_r(errno, text, sizeof text));
			return;
		}
	}
	if (e.type == TREE_FILE) {
		__atomic_fetch_add(&p->files_found, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&p->bytes_found, (uint64_t)st.st_size, __ATOMIC_RELAXED);
	}
	batch_put(batch, &e, name, target);
}

static bool is_cancelled(const struct walk *w)
{
	return w->job->is_cancelled && __atomic_load_n(w->job->is_cancelled, __ATOMIC_RELAXED);
}

/* Directories first, where the source tells: what lies below them is to be found soon. */
static int read_names(const struct walk *w, struct listing *l)
{
	_cleanup_(buf_fini) struct buf others = {0};
	for (;;) {
		errno = 0;
		const struct dirent *e = readdir(l->d);
		if (!e) {
			int r = -errno;
			buf_put(&l->names, others.at, others.n);
			return r;
		}
		if (streq(e->d_name, ".") || streq(e->d_name, ".."))
			continue;
		if (is_cancelled(w))
			return -ECANCELED;
		buf_put(e->d_type == DT_DIR ? &l->names : &others, e->d_name, strlen(e->d_name) + 1);
		l->n++;
	}
}

static DIR *open_directory(const struct walk *w, const char *path)
{
	_close_ int fd = *path ? path_open_beneath(w->job->root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)
			       : openat(w->job->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		errno = *path ? -fd : errno;
		return NULL;
	}
	DIR *d = fdopendir(fd);
	if (d)
		steal_fd(&fd);
	return d;
}

static void walk_push(struct walk *w, uint32_t directory)
{
	if (w->n == w->room) {
		w->room = w->room ? w->room * 2 : 64;
		w->todo = xrealloc(w->todo, w->room * sizeof *w->todo);
	}
	w->todo[w->n++] = directory;
}

static char *path_of(struct walk *w, uint32_t directory)
{
	pthread_mutex_lock(&w->lock);
	char *path = builder_path(w->job->builder, directory);
	pthread_mutex_unlock(&w->lock);
	return path;
}

/* The builder is only added to with the lock held: paths are read from it meanwhile. */
static int walk_hand_over(struct walk *w, uint32_t directory, const struct batch *batch)
{
	pthread_mutex_lock(&w->lock);
	int64_t first = builder_add(w->job->builder, directory, batch->entries, (const char *const *)batch->names,
				    (const char *const *)batch->targets, batch->n);
	for (size_t i = 0; i < batch->n && first >= 0; i++)
		if (batch->entries[i].type == TREE_DIRECTORY)
			walk_push(w, (uint32_t)first + (uint32_t)i);
	pthread_cond_broadcast(&w->change);
	pthread_mutex_unlock(&w->lock);
	return first < 0 ? (int)first : 0;
}

static void listing_free(struct listing *l)
{
	assert(!l->n_users);
	if (l->d)
		closedir(l->d);
	buf_fini(&l->names);
	free(l->path);
	free(l);
}

/* What could be read before an error is looked at all the same: the report lists all that is unreadable. */
static int walk_directory(struct walk *w, uint32_t directory)
{
	struct listing *l = NEW(struct listing);
	char text[128];
	l->directory = directory;
	l->path = path_of(w, directory);
	l->d = open_directory(w, l->path);
	int r = l->d ? read_names(w, l) : -errno;
	if (r < 0 && r != -ECANCELED)
		walk_report(w, w->job->errors, l->path, "", strerror_r(-r, text, sizeof text));
	if (r == -ECANCELED || !l->n) {
		listing_free(l);
		return r == -ECANCELED ? r : 0;
	}
	pthread_mutex_lock(&w->lock);
	l->next = w->listings;
	w->listings = l;
	w->n_open++;
	pthread_cond_broadcast(&w->change);
	pthread_mutex_unlock(&w->lock);
	return 0;
}

static int walk_slice(struct walk *w, const struct listing *l, size_t at, size_t n)
{
	_cleanup_(batch_fini) struct batch batch = {0};
	for (const char *name = (const char *)l->names.at + at; n; n--, name += strlen(name) + 1) {
		if (is_cancelled(w))
			return -ECANCELED;
		walk_one(w, &batch, dirfd(l->d), l->path, name);
	}
	return walk_hand_over(w, l->directory, &batch);
}

/* Locked. The one with the fewest threads at it, since a filesystem may look up one name of a directory at a time; of those the longest, which takes longest. */
static struct listing **choose_listing(struct walk *w)
{
	struct listing **best = &w->listings;
	for (struct listing **each = best; *each; each = &(*each)->next)
		if ((*each)->n_users < (*best)->n_users ||
		    ((*each)->n_users == (*best)->n_users && (*each)->n > (*best)->n))
			best = each;
	return best;
}

/* Locked. */
static struct listing *take_slice(struct walk *w, size_t *at, size_t *n)
{
	struct listing **place = choose_listing(w), *l = *place;
	assert(l->n);
	*at = l->at;
	*n = min(l->n, (size_t)(w->is_slow ? SLOW_SLICE : SLICE));
	for (size_t i = 0; i < *n; i++)
		l->at += strlen((const char *)l->names.at + l->at) + 1;
	l->n -= *n;
	l->n_users++;
	if (!l->n)
		*place = l->next;
	return l;
}

/* Locked, but not meanwhile. */
static int walk_some(struct walk *w, size_t *n)
{
	size_t at = 0;
	bool is_full = w->n_open >= OPEN_MOST || w->at == w->n;
	struct listing *l = w->listings && is_full ? take_slice(w, &at, n) : NULL;
	uint32_t directory = l ? 0 : w->todo[w->at++];
	*n = l ? *n : 2; /* to open it, to read it */
	pthread_mutex_unlock(&w->lock);
	int r = l ? walk_slice(w, l, at, *n) : walk_directory(w, directory);
	pthread_mutex_lock(&w->lock);
	if (l && !--l->n_users && !l->n) {
		w->n_open--;
		listing_free(l);
	}
	return r;
}

static uint64_t now_nsec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *walk_thread(void *arg);

/* Locked. */
static void add_thread(struct walk *w)
{
	if (w->n_threads < THREADS_MOST && pthread_create(&w->threads[w->n_threads], NULL, walk_thread, w) == 0)
		w->n_threads++;
}

/* Locked. */
static bool has_more(const struct walk *w)
{
	return w->at < w->n || w->listings;
}

static void *walk_thread(void *arg)
{
	struct walk *w = arg;
	pthread_mutex_lock(&w->lock);
	for (;;) {
		while (!has_more(w) && w->n_busy && !w->result)
			pthread_cond_wait(&w->change, &w->lock);
		if (!has_more(w) || w->result)
			break;
		uint64_t began = now_nsec();
		size_t n;
		w->n_busy++;
		int r = walk_some(w, &n);
		w->n_busy--;
		if (r < 0 && !w->result)
			w->result = r;
		w->is_slow = now_nsec() - began > n * SLOW_NSEC;
		/* All are at work and there is more. */
		if (w->is_slow && w->n_busy >= w->n_threads && has_more(w))
			add_thread(w);
		pthread_cond_broadcast(&w->change);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

int walk_run(const struct walk_job *job)
{
	struct walk w = {.job = job, .lock = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER};
	walk_push(&w, BUILDER_ROOT);
	pthread_mutex_lock(&w.lock);
	for (unsigned n = 1; n < job->n_threads; n++)
		add_thread(&w);
	pthread_mutex_unlock(&w.lock);
	walk_thread(&w);
	/* Nobody is busy: no more are added. After an error some still are, and may add. */
	for (unsigned n = 0;; n++) {
		pthread_mutex_lock(&w.lock);
		bool is_last = n == w.n_threads;
		pthread_mutex_unlock(&w.lock);
		if (is_last)
			break;
		pthread_join(w.threads[n], NULL);
	}
	while (w.listings) {
		struct listing *l = w.listings;
		w.listings = l->next;
		listing_free(l);
	}
	free(w.todo);
	return w.result ? w.result : job->errors->n ? -EIO : 0;
}
