/* SPDX-License-Identifier: Apache-2.0
 * The start. What lies on disk decides what is there; the catalog adds what files cannot say. Leftovers of a death in the middle go. */
#include "vinefs/cache/internal.h"

#include "common/log.h"
#include "common/path.h"
#include "common/secret.h"

#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_TRIES 60
#define LOCK_PAUSE_NSEC 50000000

/* ---- the directory itself */

static int say(struct cache *c, struct conf_error *e, int r, const char *what)
{
	assert(r < 0);
	snprintf(e->text, sizeof e->text, "cache %s: %s: %s", c->path, what, strerror(-r));
	return r;
}

/* Before anything is written: a directory of a newer program is not touched, and one in use is not shared. */
static int check_version(struct cache *c, struct conf_error *e)
{
	char text[32] = "";
	_close_ int fd = openat(c->root, "VERSION", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return 1;
	if (fd < 0 || read(fd, text, sizeof text - 1) < 0)
		return say(c, e, -errno, "VERSION");
	long version = strtol(text, NULL, 10);
	if (version == CACHE_VERSION)
		return 0;
	if (version <= 0)
		return 1; /* half written, or not ours: ours from now on */
	snprintf(e->text, sizeof e->text,
		 "cache %s: made by a newer program (version %ld, this one knows %d): left alone; choose another "
		 "directory or upgrade",
		 c->path, version, CACHE_VERSION);
	return -EPROTONOSUPPORT;
}

static int put_text(int dir, const char *name, const char *text)
{
	char tmp[32];
	snprintf(tmp, sizeof tmp, "%s.new", name);
	_close_ int fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	size_t n = strlen(text);
	if (write(fd, text, n) != (ssize_t)n || renameat(dir, tmp, dir, name) < 0)
		return -(errno ? errno : ENOSPC);
	return 0;
}

static int open_node_id(struct cache *c)
{
	_close_ int fd = openat(c->root, "node-id", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd < 0 ? 0 : read(fd, c->node_id, sizeof c->node_id - 1);
	c->node_id[n > 0 ? n : 0] = 0;
	c->node_id[strcspn(c->node_id, "\n")] = 0;
	if (strlen(c->node_id) == UUID_TEXT_SIZE - 1 && strspn(c->node_id, "0123456789abcdef-") == UUID_TEXT_SIZE - 1)
		return 0;
	char text[sizeof c->node_id + 2];
	secret_uuid(c->node_id);
	snprintf(text, sizeof text, "%s\n", c->node_id);
	return put_text(c->root, "node-id", text);
}

static int open_directories(struct cache *c, struct conf_error *e)
{
	static const char *const names[] = {"b", "p", "t", "q", "tmp", "s"};
	int *const fds[] = {&c->blobs_fd, &c->parts_fd, &c->trees_fd, &c->quarantine_fd, &c->tmp_fd, NULL};
	for (unsigned i = 0; i < countof(names); i++) {
		if (mkdirat(c->root, names[i], 0700) < 0 && errno != EEXIST)
			return say(c, e, -errno, names[i]);
		if (!fds[i])
			continue;
		*fds[i] = openat(c->root, names[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (*fds[i] < 0)
			return say(c, e, -errno, names[i]);
	}
	return 0;
}

/* One that was killed holds it until its last thread has come back from the disk. */
static int lock_root(struct cache *c)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NSEC};
	for (int i = 0; flock(c->root, LOCK_EX | LOCK_NB) < 0; i++) {
		if (errno != EWOULDBLOCK || i == LOCK_TRIES)
			return errno == EWOULDBLOCK ? -EBUSY : -errno;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int open_root(struct cache *c, struct conf_error *e)
{
	int r = path_make_dirs(c->path, 0700);
	if (r < 0)
		return say(c, e, r, "make the directory");
	c->root = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->root < 0)
		return say(c, e, -errno, "open the directory");
	r = lock_root(c);
	if (r < 0)
		return say(c, e, r, "in use by another process");
	r = check_version(c, e);
	if (r < 0)
		return r;
	if (r == 1) {
		char text[16];
		snprintf(text, sizeof text, "%d\n", CACHE_VERSION);
		r = put_text(c->root, "VERSION", text);
	}
	if (r == 0)
		r = open_node_id(c);
	return r < 0 ? say(c, e, r, "write VERSION and node-id") : open_directories(c, e);
}

/* ---- what lies in it */

/* Calls on_name for each name but . and .. of a directory. */
static int each_name(int dir, void (*on_name)(struct cache *c, int dir, const char *name), struct cache *c)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		int r = -errno;
		close_fd(fd);
		return r;
	}
	for (struct dirent *at; (at = readdir(d));)
		if (!streq(at->d_name, ".") && !streq(at->d_name, ".."))
			on_name(c, dir, at->d_name);
	closedir(d);
	return 0;
}

static void remove_leftover(struct cache *c, int dir, const char *name)
{
	(void)c;
	if (unlinkat(dir, name, 0) < 0 && errno == EISDIR)
		unlinkat(dir, name, AT_REMOVEDIR);
}

/* What was to be renamed beside VERSION, the catalog and `sources`, which fetch keeps here. */
static void remove_unfinished(struct cache *c, int dir, const char *name)
{
	static const char *const patterns[] = {"VERSION.new", "node-id.new", "catalog.db.try", "sources.??????"};
	for (unsigned i = 0; i < countof(patterns); i++)
		if (fnmatch(patterns[i], name, 0) == 0)
			remove_leftover(c, dir, name);
}

/* True if the name is 64 hex digits and then `end`. */
static bool is_named(const char *name, const char *end, struct digest *d)
{
	char text[DIGEST_TEXT_SIZE];
	if (strlen(name) != DIGEST_TEXT_SIZE - 1 + strlen(end) || !streq(name + DIGEST_TEXT_SIZE - 1, end))
		return false;
	memcpy(text, name, sizeof text - 1);
	text[sizeof text - 1] = 0;
	/* One spelling only: lower case. */
	return digest_parse(text, d) == 0 && !strpbrk(text, "ABCDEF");
}

static void find_blob(struct cache *c, int dir, const char *name)
{
	struct digest d;
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (!is_named(name, "", &d) || !S_ISREG(st.st_mode)) {
		remove_leftover(c, dir, name);
		return;
	}
	struct blob *b = blob_need(c, &d);
	/* No tree knows it yet: its shape comes later, and must agree. */
	b->found_size = (uint64_t)st.st_size;
	b->allocated = (uint64_t)st.st_blocks * 512;
	atomic_store(&b->state, BLOB_WHOLE);
	cache_count(c, (int64_t)b->allocated, 1);
}

static void find_blobs(struct cache *c, int dir, const char *name)
{
	_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && strlen(name) == 2)
		each_name(fd, find_blob, c);
	else
		remove_leftover(c, dir, name);
}

/* An index that the catalog does not list is read; a damaged one goes into quarantine. */
static void find_tree(struct cache *c, int dir, const char *name)
{
	struct digest id;
	struct stat st;
	_cleanup_(tree_freep) struct tree *t = NULL;
	if (!is_named(name, ".vti", &id) || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode)) {
		remove_leftover(c, dir, name);
		return;
	}
	struct known *k = known_get(c, &id);
	if (k) {
		k->is_found = true;
		return;
	}
	if (known_read(c, &id, &t) < 0)
		return;
	_free_ struct catalog_blob *blobs = known_blobs_of(t);
	k = known_add(c, &id, blobs, tree_n_blobs(t), (uint64_t)st.st_size);
	k->is_found = true;
	known_want(c, k);
}

static void remember_tree(void *arg, const struct catalog_tree *t)
{
	struct cache *c = arg;
	if (known_get(c, &t->id))
		return;
	struct known *k = known_add(c, &t->id, t->blobs, t->n_blobs, t->index_size);
	k->used_usec = t->used_usec;
	k->verified_usec = t->verified_usec;
	k->is_pinned = t->is_pinned;
	c->clock_usec = max(c->clock_usec, t->used_usec);
	if (t->is_wanted) {
		k->is_wanted = true;
		for (uint32_t i = 0; i < k->n_blobs; i++)
			k->blobs[i]->n_wanted++;
	}
}

static void remember_name(void *arg, const char *name, const struct digest *id)
{
	struct cache *c = arg;
	struct cache_name_entry *n = xcalloc(1, sizeof *n + strlen(name) + 1);
	memcpy(n->name, name, strlen(name) + 1);
	n->id = *id;
	free(map_put_text(&c->names, n->name, n));
}

static void remember_doubt(void *arg, const struct digest *id)
{
	char text[DIGEST_TEXT_SIZE];
	struct cache *c = arg;
	struct blob *b = blob_get(c, digest_text(id, text));
	if (b && atomic_load(&b->state) == BLOB_WHOLE)
		atomic_store(&b->state, BLOB_DOUBTFUL);
}

/* ---- both together */

static void drop_lost_trees(struct cache *c)
{
	struct known *k;
	for (size_t i = 0; (k = map_next(&c->trees, &i));)
		if (!k->is_found) {
			catalog_drop_tree(c->catalog, &k->id);
			known_free(c, k);
		}
}

/* A file of another size than its trees say was cut by a crash of the machine. */
static void drop_cut_blobs(struct cache *c)
{
	struct blob *b;
	char path[DIGEST_TEXT_SIZE + 8];
	for (size_t i = 0; (b = map_next(&c->blobs, &i));) {
		if (atomic_load(&b->state) == BLOB_ABSENT ||
		    (b->chunk_size ? b->found_size == b->size : b->found_size != 0))
			continue;
		log_warn("cache %s: blob %s is cut: removed", c->path, b->text);
		blob_path(b, path);
		unlinkat(c->blobs_fd, path, 0);
		cache_count(c, -(int64_t)b->allocated, -1);
		b->allocated = 0;
		atomic_store(&b->state, BLOB_ABSENT);
		blob_drop(c, b);
	}
}

/* The boot id rule. */
static int doubt_all(struct cache *c)
{
	struct blob *b;
	size_t n = 0;
	_free_ struct digest *doubts = xcalloc(c->blobs.n, sizeof *doubts);
	for (size_t i = 0; (b = map_next(&c->blobs, &i));) {
		if (atomic_load(&b->state) != BLOB_WHOLE)
			continue;
		atomic_store(&b->state, BLOB_DOUBTFUL);
		doubts[n++] = b->address;
	}
	return catalog_begin_boot(c->catalog, c->settings.boot_id, doubts, n);
}

static void find_part(struct cache *c, int dir, const char *name)
{
	char text[DIGEST_TEXT_SIZE];
	struct digest d;
	struct blob *b = is_named(name, ".part", &d) ? blob_get(c, digest_text(&d, text)) : NULL;
	if (is_named(name, ".map", &d))
		return; /* with its part */
	if (b && atomic_load(&b->state) == BLOB_ABSENT && part_load(c, b, c->is_trusted) == 0)
		return;
	/* A blob that died between its last chunk and b/ has both: the map and the whole. */
	remove_leftover(c, dir, name);
}

static void drop_lone_map(struct cache *c, int dir, const char *name)
{
	char text[DIGEST_TEXT_SIZE];
	struct digest d;
	if (!is_named(name, ".map", &d))
		return;
	struct blob *b = blob_get(c, digest_text(&d, text));
	if (!b || atomic_load(&b->state) != BLOB_PART)
		remove_leftover(c, dir, name);
}

static int recover_all(struct cache *c)
{
	bool is_new, is_new_boot;
	_free_ char *path = path_join(c->path, "catalog.db");
	int r = each_name(c->tmp_fd, remove_leftover, c);
	if (r == 0)
		r = each_name(c->root, remove_unfinished, c);
	if (r == 0)
		r = catalog_open(path, c->settings.boot_id, &c->catalog, &is_new, &is_new_boot);
	if (r < 0)
		return r;
	c->is_trusted = !is_new && !is_new_boot;
	r = catalog_load_trees(c->catalog, remember_tree, c);
	if (r == 0)
		r = each_name(c->trees_fd, find_tree, c);
	drop_lost_trees(c);
	if (r == 0)
		r = catalog_load_names(c->catalog, remember_name, c);
	if (r == 0)
		r = each_name(c->blobs_fd, find_blobs, c);
	drop_cut_blobs(c);
	if (r == 0)
		r = c->is_trusted ? catalog_load_doubts(c->catalog, remember_doubt, c) : doubt_all(c);
	if (r == 0)
		r = each_name(c->parts_fd, find_part, c);
	return r == 0 ? each_name(c->parts_fd, drop_lone_map, c) : r;
}

int recover_open(struct cache *c, struct conf_error *e)
{
	int r = open_root(c, e);
	if (r < 0)
		return r;
	r = recover_all(c);
	return r < 0 ? say(c, e, r, "recover") : 0;
}
