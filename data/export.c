/* SPDX-License-Identifier: Apache-2.0 */
#include "data/data.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define COPY_SIZE (1u << 20)

ssize_t tree_read_file(const struct tree *t, uint32_t i, const struct blob_reader *r, uint64_t offset, void *p,
		       size_t n)
{
	const struct tree_node *node = tree_node(t, i);
	if (node->type != TREE_FILE)
		return node->type == TREE_DIRECTORY ? -EISDIR : -EINVAL;
	uint64_t size = tree_content(t, node->first)->size;
	const struct tree_extent *e = tree_extent(t, node->first);
	if (offset >= size || !n)
		return 0;
	n = (size_t)min((uint64_t)n, size - offset);
	int got = r->read(r->arg, tree_blob(t, e->blob), e->offset + offset, p, n);
	return got < 0 ? got : (ssize_t)n;
}

struct export
{
	const struct tree *tree;
	const struct blob_reader *reader;
	struct seal_report *errors;
	uint8_t *room;
	unsigned n_failed;
};

static int failed(struct export *x, uint32_t i, int error)
{
	char text[128];
	_free_ char *path = tree_path(x->tree, i);
	seal_report_add(x->errors, "%s: %s", path, strerror_r(-error, text, sizeof text));
	x->n_failed++;
	return error;
}

static bool is_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Blocks of zeros become holes, so that a sparse file does not grow on its way through. */
static int copy_bytes(struct export *x, uint32_t i, int fd)
{
	uint64_t size = tree_file_size(x->tree, i);
	for (uint64_t at = 0; at < size;) {
		ssize_t n = tree_read_file(x->tree, i, x->reader, at, x->room, COPY_SIZE);
		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		for (size_t done = is_zero(x->room, (size_t)n) ? (size_t)n : 0; done < (size_t)n;) {
			ssize_t w = pwrite(fd, x->room + done, (size_t)n - done, (off_t)(at + done));
			if (w < 0 && errno != EINTR)
				return -errno;
			done += w > 0 ? (size_t)w : 0;
		}
		at += (uint64_t)n;
	}
	return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

static int set_times(int directory, const char *name, const struct tree_node *n)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = n->mtime_sec, .tv_nsec = n->mtime_nsec}};
	return utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int export_file(struct export *x, uint32_t i, int directory)
{
	const struct tree_node *n = tree_node(x->tree, i);
	const char *name = tree_name(x->tree, i);
	_close_ int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int r = copy_bytes(x, i, fd);
	if (r == 0 && fchmod(fd, n->mode) < 0)
		r = -errno;
	return r;
}

/* Its own mode and time come last: they may forbid, or be changed by, what is written into it. */
static int export_directory(struct export *x, uint32_t i, int directory);

static int export_node(struct export *x, uint32_t i, int parent)
{
	const struct tree_node *n = tree_node(x->tree, i);
	const char *name = tree_name(x->tree, i);
	int r = 0;
	if (n->type == TREE_FILE) {
		r = export_file(x, i, parent);
	} else if (n->type == TREE_LINK) {
		r = symlinkat(tree_target(x->tree, i), parent, name) < 0 ? -errno : 0;
	} else {
		if (mkdirat(parent, name, 0700) < 0)
			return failed(x, i, -errno);
		_close_ int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return failed(x, i, -errno);
		r = export_directory(x, i, fd);
	}
	if (r == 0)
		r = set_times(parent, name, n);
	return r < 0 ? failed(x, i, r) : 0;
}

static int export_directory(struct export *x, uint32_t i, int directory)
{
	const struct tree_node *n = tree_node(x->tree, i);
	for (uint32_t k = n->first; k < n->first + n->n; k++)
		export_node(x, k, directory);
	return fchmod(directory, n->mode) < 0 ? -errno : 0;
}

int tree_export(const struct tree *t, const struct blob_reader *r, int directory, struct seal_report *errors)
{
	if (tree_node(t, 0)->type != TREE_DIRECTORY)
		return -ENOTDIR;
	_free_ uint8_t *room = xmalloc(COPY_SIZE);
	struct export x = {.tree = t, .reader = r, .errors = errors, .room = room};
	int e = export_directory(&x, 0, directory);
	if (e == 0)
		e = set_times(directory, ".", tree_node(t, 0));
	return e < 0 ? e : x.n_failed ? -EIO : 0;
}
