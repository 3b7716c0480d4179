/* SPDX-License-Identifier: Apache-2.0
 * What is made of a tree's bytes: nothing appears under its name before all of it is there. */
#include "common/path.h"
#include "libvineclient/client.h"
#include "libvineclient/fetch.h"
#include "libvineclient/task.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- where the bytes go */

static int write_fully(struct fetch *f, const void *p, size_t n, bool is_placed, uint64_t place)
{
	for (size_t done = 0; done < n;) {
		const char *from = (const char *)p + done;
		ssize_t w =
			is_placed ? pwrite(f->fd, from, n - done, (off_t)(place + done)) : write(f->fd, from, n - done);
		if (w < 0 && errno != EINTR) {
			int e = errno;
			return error_set(e, "file %s: its bytes cannot be written: %s", f->name, strerror(e));
		}
		done += w > 0 ? (size_t)w : 0;
	}
	return 0;
}

/* Of the blob's chunks, as they come, the part that is the file's. */
static int put_in_order(struct fetch *f, _unused_ uint64_t chunk, const void *p, size_t n)
{
	uint64_t from = max(f->at, f->offset), to = min(f->at + n, f->offset + f->size);
	int r = from < to ? write_fully(f, (const char *)p + (from - f->at), (size_t)(to - from), false, 0) : 0;
	f->at += n;
	return r;
}

static int put_in_place(struct fetch *f, uint64_t chunk, const void *p, size_t n)
{
	size_t size;
	uint64_t place = fetch_place(f, chunk, &size);
	assert(size == n);
	return write_fully(f, p, n, true, place);
}

/* A tree that is one file, to fd. */
static int read_file(struct fetch *f, int fd)
{
	const struct tree_node *root = tree_node(f->tree, 0);
	if (root->type != TREE_FILE)
		return error_set(EISDIR, "file %s: it is a directory, which vine_fetch_to() brings", f->name);
	const struct tree_extent *e = tree_extent(f->tree, root->first);
	f->size = tree_content(f->tree, root->first)->size;
	if (!f->size)
		return 0;
	const struct tree_blob *b = tree_blob(f->tree, e->blob);
	uint64_t first = e->offset / b->chunk_size, last = (e->offset + f->size - 1) / b->chunk_size;
	f->fd = fd;
	f->offset = e->offset;
	f->at = first * b->chunk_size;
	f->put = put_in_order;
	return fetch_chunks(f, b->first_chunk + first, b->first_chunk + last + 1);
}

/* ---- a directory: its bytes lie in a file without a name while it is made */

static int read_spool(void *arg, const struct tree_blob *blob, uint64_t offset, void *p, size_t n)
{
	struct fetch *f = arg;
	size_t size;
	uint64_t place = fetch_place(f, blob->first_chunk, &size) + offset;
	for (size_t done = 0; done < n;) {
		ssize_t r = pread(f->fd, (char *)p + done, n - done, (off_t)(place + done));
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? -errno : -EIO;
		done += (size_t)r;
	}
	return 0;
}

static int open_spool(const char *beside)
{
	_free_ char *name = xasprintf("%s.XXXXXX", beside);
	int fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(name);
	return fd;
}

static int export_tree(struct fetch *f, const char *into)
{
	const struct blob_reader reader = {.arg = f, .read = read_spool};
	struct seal_report errors = {0};
	_close_ int directory = open(into, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = directory < 0 ? -errno : tree_export(f->tree, &reader, directory, &errors);
	if (r < 0)
		error_set(-r, "file %s: it cannot be written to %s: %s", f->name, into,
			  errors.n ? errors.lines[0] : strerror(-r));
	seal_report_fini(&errors);
	return r;
}

static int make_directory(struct fetch *f, const char *beside)
{
	_close_ int spool = open_spool(beside);
	if (spool < 0 || mkdir(beside, 0700) < 0) {
		int e = spool < 0 ? -spool : errno;
		return error_set(e, "file %s: %s cannot be made: %s", f->name, beside, strerror(e));
	}
	f->fd = spool;
	f->put = put_in_place;
	int r = fetch_chunks(f, 0, tree_n_chunks(f->tree));
	return r < 0 ? r : export_tree(f, beside);
}

static int make_file(struct fetch *f, const char *beside)
{
	const struct tree_node *n = tree_node(f->tree, 0);
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = n->mtime_sec, .tv_nsec = n->mtime_nsec}};
	_close_ int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		int e = errno;
		return error_set(e, "file %s: %s cannot be made: %s", f->name, beside, strerror(e));
	}
	int r = read_file(f, fd);
	if (!r && (fchmod(fd, n->mode) < 0 || futimens(fd, times) < 0))
		r = error_set(errno, "file %s: %s: %s", f->name, beside, strerror(errno));
	return r;
}

/* Directories forbid what is done in them. */
static int open_up(const char *path, _unused_ const struct stat *st, int type, _unused_ struct FTW *at)
{
	if (type == FTW_D || type == FTW_DNR)
		chmod(path, 0700);
	return 0;
}

static int remove_one(const char *path, _unused_ const struct stat *st, _unused_ int type, _unused_ struct FTW *at)
{
	remove(path);
	return 0;
}

static void remove_all(const char *path)
{
	nftw(path, open_up, 32, FTW_PHYS);
	nftw(path, remove_one, 32, FTW_PHYS | FTW_DEPTH);
}

/* A file takes the place of a file, a directory that of an empty one. */
static int publish(struct fetch *f, const char *beside, const char *path)
{
	if (rename(beside, path) == 0)
		return 0;
	int e = errno;
	bool is_taken = e == ENOTEMPTY || e == EEXIST || e == EISDIR || e == ENOTDIR;
	return error_set(e, "file %s: %s: %s", f->name, path,
			 is_taken ? "something else is there already: move it away, or give another name"
				  : strerror(e));
}

static int make_at(struct fetch *f, const char *path)
{
	uint64_t random;
	secret_random(&random, sizeof random);
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		n--;
	_free_ char *target = xstrndup(path, n);
	const char *base = path_base(target);
	_free_ char *beside =
		xasprintf("%.*s.vine-%016llx.%.200s", (int)(base - target), target, (unsigned long long)random, base);
	int r = tree_node(f->tree, 0)->type == TREE_FILE ? make_file(f, beside) : make_directory(f, beside);
	if (!r)
		r = publish(f, beside, target);
	if (r < 0)
		remove_all(beside);
	return r;
}

/* ---- the calls */

int64_t vine_fetch(struct vine *v, struct vine_file *file, int fd)
{
	_cleanup_(fetch_fini) struct fetch f;
	int r = session_enter(v);
	if (r < 0) {
		f = (struct fetch){.fd = -1};
		return r;
	}
	r = fetch_begin(v, file, &f);
	if (!r)
		r = read_file(&f, fd);
	session_leave(v);
	return r < 0 ? r : (int64_t)f.size;
}

int vine_fetch_to(struct vine *v, struct vine_file *file, const char *path)
{
	_cleanup_(fetch_fini) struct fetch f = {.fd = -1};
	if (!path || !*path)
		return error_set(EINVAL, "file %s: the path where it shall be is empty", file->item);
	int r = session_enter(v);
	if (r < 0)
		return r;
	r = fetch_begin(v, file, &f);
	if (!r)
		r = make_at(&f, path);
	session_leave(v);
	return r;
}
