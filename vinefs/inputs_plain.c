/* SPDX-License-Identifier: Apache-2.0
 * Where there is no mount a tree is written out once per node, STATE/unpacked/ID, made beside and renamed: so what has its name is complete, and outlives this process. Nobody may write to it. */
#include "vinefs/inputs_internal.h"

#include "common/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_SIZE (1u << 20)
#define WRITERS 0222u

/* ---- in the pool */

static int remove_one(const char *path, const struct stat *st _unused_, int type _unused_, struct FTW *at _unused_)
{
	return remove(path) < 0 && errno != ENOENT ? -errno : 0;
}

static int allow_one(const char *path, const struct stat *st, int type, struct FTW *at _unused_)
{
	return type == FTW_D && !(st->st_mode & S_IWUSR) && chmod(path, st->st_mode | S_IRWXU) < 0 ? -errno : 0;
}

/* All of it is ours, and no link is followed. */
static void remove_all(const char *path)
{
	nftw(path, allow_one, 16, FTW_PHYS);
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int write_file(const struct tree *t, const struct blob_reader *r, const char *path)
{
	const struct tree_node *n = tree_node(t, 0);
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = n->mtime_sec, .tv_nsec = n->mtime_nsec}};
	_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	_free_ uint8_t *room = xmalloc(COPY_SIZE);
	uint64_t at = 0;
	if (fd < 0)
		return -errno;
	while (at < tree_file_size(t, 0)) {
		ssize_t got = tree_read_file(t, 0, r, at, room, COPY_SIZE);
		if (got <= 0)
			return got < 0 ? (int)got : -EIO;
		if (pwrite(fd, room, (size_t)got, (off_t)at) != got)
			return errno ? -errno : -ENOSPC;
		at += (uint64_t)got;
	}
	return fchmod(fd, n->mode & ~WRITERS) < 0 || futimens(fd, times) < 0 ? -errno : 0;
}

/* Directories last, since theirs is what lets it be done at all. */
static int forbid_writing(const struct tree *t, const char *directory)
{
	for (uint32_t i = tree_n_nodes(t); i-- > 0;) {
		const struct tree_node *n = tree_node(t, i);
		_free_ char *below = tree_path(t, i);
		_free_ char *path = *below ? path_join(directory, below) : xstrdup(directory);
		if (n->type != TREE_LINK && n->mode & WRITERS && chmod(path, n->mode & ~WRITERS) < 0)
			return -errno;
	}
	return 0;
}

static int write_tree(const struct tree *t, const struct blob_reader *r, const char *path, struct seal_report *errors)
{
	if (mkdir(path, 0700) < 0)
		return -errno;
	_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int e = fd < 0 ? -errno : tree_export(t, r, fd, errors);
	return e ? e : forbid_writing(t, path);
}

static int unpack(struct used *u, const char *to)
{
	const struct tree *t = fetch_index(u->handle);
	struct blob_reader reader;
	_free_ char *beside = xasprintf("%s.new", to);
	cache_tree_reader(fetch_cache_tree(u->handle), &reader);
	remove_all(beside);
	int r = path_make_dirs(u->owner->unpacked, 0700);
	if (!r)
		r = u->is_file ? write_file(t, &reader, beside) : write_tree(t, &reader, beside, &u->report);
	/* A directory that cannot be written to cannot be renamed by everybody: its own mode comes last. */
	mode_t mode = tree_node(t, 0)->mode & ~WRITERS;
	if (!r && !u->is_file && chmod(beside, 0700) < 0)
		r = -errno;
	if (!r && rename(beside, to) < 0)
		r = -errno;
	if (!r && chmod(to, mode) < 0)
		r = -errno;
	if (r)
		remove_all(beside);
	return r;
}

static void run_unpack(struct fetch_work *w)
{
	struct used *u = container_of(w, struct used, work);
	struct stat st;
	u->work_error = 0;
	if (lstat(u->unpacked, &st) == 0)
		return;
	u->work_error = unpack(u, u->unpacked);
	if (!u->work_error && lstat(u->unpacked, &st) == 0)
		u->changed = st.st_ctim;
}

static void on_unpacked(struct fetch_work *w, bool is_run)
{
	struct used *u = container_of(w, struct used, work);
	char reason[600];
	u->is_working = false;
	if (u->is_freed || !is_run) {
		if (u->is_freed)
			used_dispose(u);
		return;
	}
	/* From here on it is what it is, whatever becomes of the cache. */
	fetch_close(steal(u->handle));
	if (!u->work_error) {
		used_set_ready(u);
		return;
	}
	snprintf(reason, sizeof reason, "it cannot be unpacked to %.300s: %.200s", u->unpacked,
		 u->report.n ? u->report.lines[0] : strerror(-u->work_error));
	free(steal(u->unpacked));
	used_fail(u, u->work_error, true, reason);
}

/* ---- loop */

void used_unpack(struct used *u)
{
	char id[DIGEST_TEXT_SIZE];
	assert(u->handle && !u->unpacked);
	u->unpacked = path_join(u->owner->unpacked, digest_text(&u->id, id));
	u->is_file = tree_node(fetch_index(u->handle), 0)->type == TREE_FILE;
	u->state = USED_UNPACKING;
	u->is_working = true;
	u->work = (struct fetch_work){.run = run_unpack, .on_done = on_unpacked};
	fetch_work(u->owner->settings.fetch, &u->work);
}

/* ---- whether tasks have left it as it was */

static bool is_later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

/* A user's task may give itself the right to write. When something was changed cannot be set back as the time that it shows can. */
static int check(const char *path, struct timespec *changed)
{
	char *const paths[] = {(char *)(uintptr_t)path, NULL};
	FTS *f = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	int r = f ? 0 : -errno;
	for (const FTSENT *e; !r && (e = fts_read(f));) {
		const struct stat *st = e->fts_statp;
		bool is_known = e->fts_info == FTS_D || e->fts_info == FTS_F || e->fts_info == FTS_SL;
		if (e->fts_info == FTS_DP)
			continue;
		if (is_known && e->fts_level == 0 && !changed->tv_sec)
			*changed = st->st_ctim;
		if (!is_known || (!S_ISLNK(st->st_mode) && st->st_mode & WRITERS) || is_later(&st->st_ctim, changed))
			r = -ESTALE;
	}
	if (f)
		fts_close(f);
	return r;
}

static void run_check(struct fetch_work *w)
{
	struct used *u = container_of(w, struct used, work);
	u->work_error = check(u->unpacked, &u->changed);
}

static void on_checked(struct fetch_work *w, bool is_run)
{
	struct used *u = container_of(w, struct used, work);
	u->is_working = false;
	if (u->is_freed || !is_run) {
		if (u->is_freed)
			used_dispose(u);
		return;
	}
	if (!u->work_error) {
		used_set_ready(u);
		return;
	}
	log_warn("%s: a task has changed it, or it cannot be read; it is unpacked anew", u->unpacked);
	plain_remove(u);
	free(steal(u->unpacked));
	used_start_again(u);
}

void plain_check(struct used *u)
{
	assert(u->state == USED_READY && u->unpacked && !u->is_working);
	u->state = USED_UNPACKING;
	u->is_working = true;
	u->work = (struct fetch_work){.run = run_check, .on_done = on_checked};
	fetch_work(u->owner->settings.fetch, &u->work);
}

/* ---- its end */

struct removing {
	struct fetch_work work;
	char *path;
};

static void run_remove(struct fetch_work *w)
{
	remove_all(container_of(w, struct removing, work)->path);
}

static void on_removed(struct fetch_work *w, bool is_run _unused_)
{
	struct removing *r = container_of(w, struct removing, work);
	free(r->path);
	free(r);
}

void plain_remove(struct used *u)
{
	struct removing *r = NEW(struct removing);
	/* Another name first: who comes next makes its own. */
	r->path = xasprintf("%s.old-%" PRIu64, u->unpacked, ++u->owner->last_job);
	r->work = (struct fetch_work){.run = run_remove, .on_done = on_removed};
	if (rename(u->unpacked, r->path) < 0)
		log_errno(errno, "rename %s", u->unpacked);
	fetch_work(u->owner->settings.fetch, &r->work);
}

/* What processes before have left: complete trees, and beginnings. */
void plain_open(struct inputs *in)
{
	DIR *d = opendir(in->unpacked);
	const struct dirent *e;
	while (d && (e = readdir(d))) {
		struct digest id;
		struct stat st;
		_free_ char *path = path_join(in->unpacked, e->d_name);
		if (digest_parse(e->d_name, &id) == 0 && lstat(path, &st) == 0) {
			used_on_unpacked(in, &id, path, S_ISREG(st.st_mode));
		} else if (*e->d_name != '.') {
			struct removing *r = NEW(struct removing);
			r->path = steal(path);
			r->work = (struct fetch_work){.run = run_remove, .on_done = on_removed};
			fetch_work(in->settings.fetch, &r->work);
		}
	}
	if (d)
		closedir(d);
}
