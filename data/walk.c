/* SPDX-License-Identifier: Apache-2.0 */
#include "data/walk.h"

#include "common/buf.h"
#include "common/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

/* Directories to read, as a stack: depth first keeps it small. A thread that finds it empty waits until another one
 * has put something there or all are idle. */
struct walk {
	const struct walk_job *job;
	pthread_mutex_t lock;
	pthread_cond_t change;
	uint32_t *todo;
	size_t n, room;
	unsigned n_busy;
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

static void walk_one(struct walk *w, struct batch *batch, int fd, const char *directory, const char *name)
{
	struct seal_progress *p = w->job->progress;
	struct stat st;
	char text[128];
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

static int read_names(struct walk *w, struct batch *batch, DIR *d, const char *directory)
{
	for (;;) {
		errno = 0;
		const struct dirent *e = readdir(d);
		if (!e)
			return -errno;
		if (streq(e->d_name, ".") || streq(e->d_name, ".."))
			continue;
		if (is_cancelled(w))
			return -ECANCELED;
		walk_one(w, batch, dirfd(d), directory, e->d_name);
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

static int walk_directory(struct walk *w, uint32_t directory)
{
	_free_ char *path = path_of(w, directory);
	_cleanup_(batch_fini) struct batch batch = {0};
	char text[128];
	DIR *d = open_directory(w, path);
	int r = d ? read_names(w, &batch, d, path) : -errno;
	if (d)
		closedir(d);
	if (r < 0 && r != -ECANCELED) {
		walk_report(w, w->job->errors, path, "", strerror_r(-r, text, sizeof text));
		r = 0; /* go on: the report lists all that is unreadable */
	}
	return r < 0 ? r : walk_hand_over(w, directory, &batch);
}

static void *walk_thread(void *arg)
{
	struct walk *w = arg;
	pthread_mutex_lock(&w->lock);
	for (;;) {
		while (!w->n && w->n_busy && !w->result)
			pthread_cond_wait(&w->change, &w->lock);
		if (!w->n || w->result)
			break;
		uint32_t directory = w->todo[--w->n];
		w->n_busy++;
		pthread_mutex_unlock(&w->lock);
		int r = walk_directory(w, directory);
		pthread_mutex_lock(&w->lock);
		w->n_busy--;
		if (r < 0 && !w->result)
			w->result = r;
		pthread_cond_broadcast(&w->change);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

int walk_run(const struct walk_job *job)
{
	struct walk w = {.job = job, .lock = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER};
	pthread_t threads[16];
	unsigned n = 0;
	walk_push(&w, BUILDER_ROOT);
	while (n + 1 < min(job->n_threads, (unsigned)countof(threads)) &&
	       pthread_create(&threads[n], NULL, walk_thread, &w) == 0)
		n++;
	walk_thread(&w);
	while (n)
		pthread_join(threads[--n], NULL);
	free(w.todo);
	return w.result ? w.result : job->errors->n ? -EIO : 0;
}
