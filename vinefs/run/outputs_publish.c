/* SPDX-License-Identifier: Apache-2.0
 * Threads of the pool, on a filesystem that others share and that may stand still. Invariant: under the target's name lies what was there before, or all of the new, synced; only where directories cannot be exchanged
 * (NFS) it is absent for the moment between two renames. */
#include "vinefs/run/outputs_internal.h"

#include "common/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define COPY_SIZE (1u << 20)
#define LOOKED_MOST 10000u /* names beside the target, in search of leftovers */
#define MARK ".vine-"

uint64_t publish_now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* ---- removing, whatever it is */

static int remove_all(int directory, const char *name, unsigned depth)
{
	if (unlinkat(directory, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* It may be one that its owner must not write to. */
	struct stat st;
	if (fstat(fd, &st) == 0 && (st.st_mode & 0700) != 0700)
		fchmod(fd, (st.st_mode & 07777) | 0700);
	DIR *d = depth ? fdopendir(fd) : NULL;
	if (!d) {
		close_fd(fd);
		return -ELOOP;
	}
	for (const struct dirent *e; (e = readdir(d));)
		if (!streq(e->d_name, ".") && !streq(e->d_name, ".."))
			remove_all(dirfd(d), e->d_name, depth - 1);
	closedir(d);
	return unlinkat(directory, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int open_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	_free_ char *parent = xstrndup(path, max((size_t)(slash - path), (size_t)1));
	int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void publish_remove(struct publish *p)
{
	_close_ int fd = open_parent(p->beside);
	if (fd >= 0)
		remove_all(fd, path_base(p->beside), 256);
}

/* ---- beside the target */

struct source {
	struct blob_reader reader;
	struct publish *publish;
};

static int read_blob(void *arg, const struct tree_blob *blob, uint64_t offset, void *p, size_t n)
{
	const struct source *s = arg;
	s->publish->n_moves++;
	return s->publish->is_cancelled ? -ECANCELED : s->reader.read(s->reader.arg, blob, offset, p, n);
}

static int sync_fd(struct publish *p, int fd)
{
	p->n_moves++;
	return p->is_cancelled ? -ECANCELED : fsync(fd) < 0 ? -errno : 0;
}

static int write_all(int fd, const uint8_t *p, size_t n, uint64_t offset)
{
	for (size_t done = 0; done < n;) {
		ssize_t put = pwrite(fd, p + done, n - done, (off_t)(offset + done));
		if (put < 0 && errno != EINTR)
			return -errno;
		done += put > 0 ? (size_t)put : 0;
	}
	return 0;
}

static int write_file(struct publish *p, const struct tree *t, const struct blob_reader *from)
{
	const struct tree_node *n = tree_node(t, 0);
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = n->mtime_sec, .tv_nsec = n->mtime_nsec}};
	_free_ uint8_t *room = xmalloc(COPY_SIZE);
	uint64_t size = tree_file_size(t, 0);
	_close_ int fd = open(p->beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : 0;
	for (uint64_t at = 0; at < size && r == 0;) {
		ssize_t got = tree_read_file(t, 0, from, at, room, COPY_SIZE);
		r = got <= 0 ? (got < 0 ? (int)got : -EIO) : write_all(fd, room, (size_t)got, at);
		at += (uint64_t)max(got, (ssize_t)0);
	}
	if (r == 0 && (fchmod(fd, n->mode) < 0 || futimens(fd, times) < 0))
		r = -errno;
	return r == 0 ? sync_fd(p, fd) : r;
}

/* A tree that was exported has no more levels than names. */
static int sync_below(struct publish *p, int directory)
{
	int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	int r = d ? 0 : -errno;
	for (const struct dirent *e; r == 0 && (e = readdir(d));) {
		struct stat st;
		if (streq(e->d_name, ".") || streq(e->d_name, "..") ||
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISLNK(st.st_mode))
			continue;
		_close_ int child = openat(dirfd(d), e->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		/* What we wrote and may not read (mode 0200) goes with the directory. */
		if (child >= 0)
			r = S_ISDIR(st.st_mode) ? sync_below(p, child) : sync_fd(p, child);
	}
	if (r == 0)
		r = sync_fd(p, directory);
	if (d)
		closedir(d);
	else
		close_fd(fd);
	return r;
}

static int write_directory(struct publish *p, const struct tree *t, const struct blob_reader *from)
{
	struct seal_report errors = {0};
	if (mkdir(p->beside, 0700) < 0)
		return -errno;
	_close_ int fd = open(p->beside, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? -errno : tree_export(t, from, fd, &errors);
	if (errors.n)
		p->reason = xstrdup(errors.lines[0]);
	seal_report_fini(&errors);
	return r == 0 ? sync_below(p, fd) : r;
}

/* The target is not to lose what only looks like it. */
static int check_target(struct publish *p, bool is_directory, bool *is_there)
{
	struct stat st;
	*is_there = lstat(p->target, &st) == 0;
	if (!*is_there)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISDIR(st.st_mode) == is_directory)
		return 0;
	free(p->reason);
	p->reason = xstrdup(is_directory ? "something is there that is no directory, and the output is one"
					 : "a directory is there, and the output is a file");
	return is_directory ? -ENOTDIR : -EISDIR;
}

static int make_parents(struct publish *p)
{
	char text[128];
	const char *slash = strrchr(p->target, '/');
	_free_ char *parent = xstrndup(p->target, (size_t)(slash - p->target));
	struct stat st;
	int r = !*parent || stat(parent, &st) == 0 ? 0 : -errno;
	/* One that cannot be looked at may well be there. */
	if (r != -ENOENT)
		return r;
	r = path_make_dirs(parent, 0777);
	if (r < 0)
		p->reason = xasprintf("%s cannot be made: %s", parent, strerror_r(-r, text, sizeof text));
	return r;
}

static bool lies_in(const char *path, const char *directory)
{
	size_t n = strlen(directory);
	return strncmp(path, directory, n) == 0 && (!path[n] || path[n] == '/' || directory[n - 1] == '/');
}

/* The node writes with its own rights, which reach its cache, its state and the cluster's secret; by links, too. */
static int check_guarded(struct publish *p, const char *place)
{
	for (size_t i = 0; p->guarded && p->guarded[i]; i++)
		if (lies_in(place, p->guarded[i]) || lies_in(p->guarded[i], place)) {
			p->reason = xstrdup("the node keeps its own files there");
			return -EPERM;
		}
	return 0;
}

static int check_parents(struct publish *p)
{
	const char *slash = strrchr(p->target, '/');
	_free_ char *parent = xstrndup(p->target, max((size_t)(slash - p->target), (size_t)1));
	int r = check_guarded(p, p->target);
	if (r == 0)
		r = make_parents(p);
	_free_ char *real = r == 0 ? realpath(parent, NULL) : NULL;
	if (r < 0 || !real)
		return r < 0 ? r : -errno;
	_free_ char *place = path_join(real, slash + 1);
	return check_guarded(p, place);
}

void publish_write(struct publish *p)
{
	struct source source = {.publish = p};
	const struct blob_reader from = {&source, read_blob};
	bool is_there;
	p->n_moves++;
	int r = check_parents(p);
	if (r == 0)
		r = cache_tree_open(p->cache, &p->tree, &p->open);
	if (r == 0) {
		const struct tree *t = cache_tree_index(p->open);
		bool is_directory = tree_node(t, 0)->type == TREE_DIRECTORY;
		cache_tree_reader(p->open, &source.reader);
		publish_remove(p);
		r = check_target(p, is_directory, &is_there);
		if (r == 0)
			r = is_directory ? write_directory(p, t, &from) : write_file(p, t, &from);
	}
	p->error = r;
	if (r < 0 && p->open)
		publish_remove(p);
}

/* ---- in its place */

static int swap_directories(const struct publish *p)
{
	if (renameat2(AT_FDCWD, p->beside, AT_FDCWD, p->target, RENAME_EXCHANGE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	_free_ char *old = xasprintf("%s.old", p->beside);
	if (rename(p->target, old) < 0)
		return -errno;
	if (rename(p->beside, p->target) == 0)
		return rename(old, p->beside) < 0 ? -errno : 0;
	int r = -errno;
	return rename(old, p->target) < 0 ? -errno : r;
}

/* Whatever others have left beside it: none of them is granted any more. */
static void remove_leftovers(struct publish *p)
{
	const char *name = path_base(p->target);
	size_t n_name = strlen(name);
	int fd = open_parent(p->target);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	unsigned n = 0;
	for (const struct dirent *e; d && n++ < LOOKED_MOST && !p->is_cancelled && (e = readdir(d));) {
		if (!has_prefix(e->d_name, MARK))
			continue;
		const char *end = e->d_name + strlen(MARK);
		end += strspn(end, "0123456789");
		bool is_of_it = *end == '.' && strncmp(end + 1, name, n_name) == 0 &&
				(!end[1 + n_name] || streq(end + 1 + n_name, ".old"));
		if (is_of_it)
			remove_all(dirfd(d), e->d_name, 256);
		p->n_moves++;
	}
	if (d)
		closedir(d);
	else
		close_fd(fd);
}

void publish_rename(struct publish *p)
{
	bool is_directory = tree_node(cache_tree_index(p->open), 0)->type == TREE_DIRECTORY, is_there;
	p->n_moves++;
	int r = check_target(p, is_directory, &is_there);
	/* The last look at the clock before the one call that counts. */
	if (r == 0 && (p->is_cancelled || publish_now_usec() >= p->until_usec))
		r = p->is_cancelled ? -ECANCELED : -ETIME;
	if (r == 0 && is_directory && is_there)
		r = swap_directories(p);
	else if (r == 0 && rename(p->beside, p->target) < 0)
		r = -errno;
	p->error = r;
	if (r < 0)
		return;
	_close_ int parent = open_parent(p->target);
	p->error = parent < 0 ? parent : sync_fd(p, parent);
	remove_leftovers(p);
	if (is_directory && is_there)
		publish_remove(p);
}
