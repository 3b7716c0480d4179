/* SPDX-License-Identifier: Apache-2.0
 * A directory that the task saw merged has what it did not touch in the tree below alone. That is written beside what it wrote. Done again after a crash it goes on: what is there
 * counts as the task's, and looks just as that would. */
#include "vinefs/run/outputs_internal.h"

#include "common/path.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

struct fill {
	const struct outputs_work *work;
	const struct names *wanted;
	size_t n_base;
	int root;
	struct fetch_tree *tree;
	uint8_t *room;
	struct buf *why;
};

/* ---- reading, for this thread */

struct reading {
	struct fetch_read read;
	pthread_mutex_t lock;
	pthread_cond_t change;
	void *to;
	ssize_t n;
	bool is_over;
};

static void on_read(struct fetch_read *r, const void *p, ssize_t n)
{
	struct reading *x = container_of(r, struct reading, read);
	pthread_mutex_lock(&x->lock);
	if (n > 0)
		memcpy(x->to, p, (size_t)n);
	x->n = n;
	x->is_over = true;
	pthread_cond_signal(&x->change);
	pthread_mutex_unlock(&x->lock);
}

/* `blob` may be a draft's node. Every read has a deadline of its own. */
static int read_now(struct fetch_tree *t, uint32_t blob, uint64_t offset, void *p, size_t n)
{
	assert(n && n <= FETCH_READ_MAX);
	struct reading x = {.read = {.tree = t, .blob = blob, .n = (uint32_t)n, .offset = offset, .on_done = on_read},
			    .lock = PTHREAD_MUTEX_INITIALIZER,
			    .change = PTHREAD_COND_INITIALIZER,
			    .to = p};
	fetch_read_start(&x.read);
	pthread_mutex_lock(&x.lock);
	while (!x.is_over)
		pthread_cond_wait(&x.change, &x.lock);
	pthread_mutex_unlock(&x.lock);
	return x.n < 0 ? (int)x.n : 0;
}

static int read_blob(void *arg, const struct tree_blob *blob, uint64_t offset, void *p, size_t n)
{
	struct fetch_tree *t = arg;
	return read_now(t, (uint32_t)(blob - tree_blob(fetch_index(t), 0)), offset, p, n);
}

static ssize_t read_node(struct fetch_tree *t, uint32_t node, uint64_t offset, void *p, size_t n)
{
	const struct blob_reader reader = {t, read_blob};
	if (!fetch_is_draft(t))
		return tree_read_file(fetch_index(t), node, &reader, offset, p, n);
	n = (size_t)min((uint64_t)n, tree_file_size(fetch_index(t), node) - offset);
	int r = read_now(t, node, offset, p, n);
	return r < 0 ? r : (ssize_t)n;
}

/* ---- writing */

static int copy_bytes(const struct fill *x, uint32_t node, int fd)
{
	uint64_t size = tree_file_size(fetch_index(x->tree), node);
	for (uint64_t at = 0; at < size;) {
		if (work_is_cancelled(x->work))
			return -ECANCELED;
		ssize_t n = read_node(x->tree, node, at, x->room, FETCH_READ_MAX);
		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		for (ssize_t done = 0; done < n;) {
			ssize_t put = pwrite(fd, x->room + done, (size_t)(n - done), (off_t)at + done);
			if (put < 0 && errno != EINTR)
				return -errno;
			done += max(put, (ssize_t)0);
		}
		at += (uint64_t)n;
	}
	return 0;
}

static int set_look(int fd, const struct tree_node *n)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = n->mtime_sec, .tv_nsec = n->mtime_nsec}};
	return fchmod(fd, n->mode) < 0 || futimens(fd, times) < 0 ? -errno : 0;
}

/* Under its name only when it is whole. */
static int make_file(const struct fill *x, uint32_t node, int directory, const char *name)
{
	char path[32];
	_close_ int fd = openat(directory, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : copy_bytes(x, node, fd);
	if (r == 0)
		r = set_look(fd, tree_node(fetch_index(x->tree), node));
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (r == 0 && linkat(AT_FDCWD, path, directory, name, AT_SYMLINK_FOLLOW) < 0)
		r = -errno;
	return r;
}

static int make_one(const struct fill *x, const struct found *f)
{
	const struct tree *t = fetch_index(x->tree);
	uint32_t node = (uint32_t)f->lower;
	const char *slash = strrchr(f->path, '/'), *name = path_base(f->path);
	_free_ char *parent = xstrndup(f->path, slash ? (size_t)(slash - f->path) : 0);
	_close_ int fd = *parent ? path_open_beneath(x->root, parent, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)
				 : openat(x->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return *parent ? fd : -errno;
	if (S_ISREG(f->mode))
		return make_file(x, node, fd, name);
	int r = S_ISLNK(f->mode) ? symlinkat(tree_target(t, node), fd, name) : mkdirat(fd, name, 0700);
	if (r < 0)
		return -errno;
	const struct tree_node *n = tree_node(t, node);
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = n->mtime_sec, .tv_nsec = n->mtime_nsec}};
	return S_ISLNK(f->mode) && utimensat(fd, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static bool is_wanted(const struct fill *x, const struct found *f)
{
	return !x->wanted || strlen(f->path) <= x->n_base || glob_wants(x->wanted, f->path + x->n_base);
}

static int fill_one(const struct fill *x, const struct found *f);

static int fill_children(const struct fill *x, const struct found *f)
{
	const struct tree_node *n = tree_node(fetch_index(x->tree), (uint32_t)f->lower);
	struct found above = *f; /* by now */
	int r = 0;
	above.is_above = true;
	for (uint32_t i = n->first; i < n->first + n->n && r == 0; i++) {
		struct found child;
		r = find_child(&above, x->root, tree_name(fetch_index(x->tree), i), &child);
		if (r == -ENOENT) { /* the task removed it */
			r = 0;
			continue;
		}
		if (r == 0 && is_wanted(x, &child))
			r = fill_one(x, &child);
		found_fini(&child);
	}
	return r;
}

/* What is written into a directory changes its time, which is the task's or the tree's. */
static int fill_directory(const struct fill *x, const struct found *f)
{
	struct stat st;
	_close_ int fd = *f->path ? path_open_beneath(x->root, f->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)
				  : openat(x->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return *f->path && fd < 0 ? fd : -errno;
	int r = fill_children(x, f);
	if (r < 0)
		return r;
	if (!f->is_above)
		return set_look(fd, tree_node(fetch_index(x->tree), (uint32_t)f->lower));
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, st.st_mtim};
	return futimens(fd, times) < 0 ? -errno : 0;
}

static int fill_one(const struct fill *x, const struct found *f)
{
	if (f->lower < 0)
		return 0;
	int r = f->is_above ? 0 : make_one(x, f);
	if (r == 0 && S_ISDIR(f->mode))
		r = fill_directory(x, f);
	if (r < 0 && !x->why->n)
		buf_printf(x->why, "%s, of the input that it lay over: %s", f->path, strerror(-r));
	return r;
}

/* Directories on the way that the tree alone has. */
static int fill_parents(const struct fill *x, const struct found *f)
{
	struct found at = {.place = f->place, .path = xstrdup(""), .is_above = true, .lower = 0}, next;
	int r = 0;
	for (const char *rest = f->path, *slash; (slash = strchr(rest, '/')) && r == 0; rest = slash + 1) {
		_free_ char *name = xstrndup(rest, (size_t)(slash - rest));
		r = find_child(&at, x->root, name, &next);
		if (r == 0 && !next.is_above)
			r = make_one(x, &next);
		if (r < 0)
			break;
		found_fini(&at);
		at = next;
		at.is_above = true;
	}
	found_fini(&at);
	return r;
}

int fill_output(const struct outputs_work *w, const struct found *f, const struct names *wanted, struct buf *why)
{
	if (f->lower == LOWER_UNKNOWN)
		say_unknown(f->place, why);
	if (f->lower < 0)
		return f->lower == LOWER_UNKNOWN ? -ENODATA : 0;
	_free_ uint8_t *room = xmalloc(FETCH_READ_MAX);
	_close_ int root = place_open(w, f->place, O_PATH);
	const struct fill x = {.work = w,
			       .wanted = wanted && wanted->n ? wanted : NULL,
			       .n_base = strlen(f->path) + (*f->path != 0),
			       .root = root,
			       .tree = f->place->tree,
			       .room = room,
			       .why = why};
	int r = f->is_above ? 0 : fill_parents(&x, f);
	return r < 0 ? r : fill_one(&x, f);
}
