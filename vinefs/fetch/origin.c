/* SPDX-License-Identifier: Apache-2.0
 * A chunk is read where its files should be, in one go, and digested. Only if that does not give the chunk is each file looked at alone: whether another
 * file of the tree has the same content, and if none has, which one has changed and how. */
#include "vinefs/fetch/internal.h"

#include "common/path.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* ---- the filesystem */

/* What a filesystem itself calls stale is its own trouble (a handle that its server has forgotten), no news of a file. */
#define HANDLE_STALE EREMOTEIO

static int own_trouble(int error)
{
	return error == -ESTALE ? -HANDLE_STALE : error;
}

static int system_open(void *arg _unused_, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? own_trouble(-errno) : fd;
}

static int read_fully(int fd, uint64_t offset, uint8_t *p, size_t n)
{
	for (size_t have = 0; have < n;) {
		ssize_t got = pread(fd, p + have, n - have, (off_t)(offset + have));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? own_trouble(-errno) : -ESTALE;
		have += (size_t)got;
	}
	return 0;
}

static int system_read(void *arg _unused_, int root, const char *path, uint64_t offset, void *p, size_t n,
		       struct stat *st)
{
	*st = (struct stat){0};
	_close_ int own = *path ? path_open_beneath(root, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0) : -1;
	if (*path && own < 0)
		return own_trouble(own);
	int fd = *path ? own : root;
	if (fstat(fd, st) < 0)
		return own_trouble(-errno);
	if (!S_ISREG(st->st_mode))
		return -ESTALE;
	/* What follows has jobs of its own, if it is wanted: the kernel would read up to twice as much as it is asked for. */
	if (own >= 0 && n)
		posix_fadvise(own, 0, 0, POSIX_FADV_RANDOM);
	return read_fully(fd, offset, p, n);
}

const struct fetch_files origin_filesystem = {.open = system_open, .read = system_read};

/* ---- telling */

static const char *say_error(int error, char *room, size_t n)
{
	return strerror_r(error == -HANDLE_STALE ? ESTALE : -error, room, n);
}

static char *file_path(const struct origin *o, uint32_t node)
{
	_free_ char *below = tree_path(o->index, node);
	return *below ? path_join(o->path, below) : xstrdup(o->path);
}

static bool is_gone(int error)
{
	return error == -ENOENT || error == -ENOTDIR || error == -ESTALE || error == -ELOOP || error == -EXDEV ||
	       error == -EISDIR;
}

/* Says what became of a file, and returns what its readers get. */
static int tell(struct origin *o, uint32_t node, int error, const struct stat *st)
{
	char was[80], is[80], text[128];
	const struct tree_node *n = tree_node(o->index, node);
	unsigned long long size = tree_file_size(o->index, node);
	free(o->text);
	free(o->about);
	o->about = file_path(o, node);
	put_time(was, sizeof was, n->mtime_sec, n->mtime_nsec);
	put_time(is, sizeof is, st->st_mtim.tv_sec, (uint32_t)st->st_mtim.tv_nsec);
	if (!is_gone(error)) {
		o->text = xasprintf("%s: %s", o->about, say_error(error, text, sizeof text));
		return error == -HANDLE_STALE ? error : -EIO;
	}
	if (!st->st_mode)
		o->text = xasprintf("%s is gone: it was %llu bytes of %s when it was sealed", o->about, size, was);
	else if (!S_ISREG(st->st_mode))
		o->text = xasprintf("%s is no file any more: it was %llu bytes of %s when it was sealed", o->about,
				    size, was);
	else
		o->text = xasprintf(
			"%s has changed since it was sealed: it was %llu bytes of %s, it is %llu bytes of %s%s",
			o->about, size, was, (unsigned long long)st->st_size, is,
			(unsigned long long)st->st_size == size && streq(was, is) ? ", with other contents" : "");
	return -ESTALE;
}

/* ---- a chunk of files */

/* What is wanted of a blob. */
struct want {
	uint64_t low, high; /* within the blob */
	uint8_t *p;
	struct digest digest;
	uint32_t blob;
};

static int read_node(const struct origin *o, int root, uint32_t node, uint64_t offset, void *p, size_t n,
		     struct stat *st)
{
	_free_ char *path = tree_path(o->index, node);
	return o->files->read(o->files->arg, root, path, offset, p, n, st);
}

/* The part of a content that is wanted; false: none. */
static bool overlap(const struct origin *o, const struct want *w, uint32_t content, uint64_t *low, uint64_t *high)
{
	uint64_t at = tree_extent(o->index, content)->offset;
	*low = max(at, w->low);
	*high = min(at + tree_content(o->index, content)->size, w->high);
	return *low < *high;
}

static bool is_wanted(const struct want *w)
{
	struct digest found;
	digest_bytes(w->p, (size_t)(w->high - w->low), &found);
	return digest_is_equal(&found, &w->digest);
}

static bool is_cancelled(const struct origin *o)
{
	return o->is_cancelled && __atomic_load_n(o->is_cancelled, __ATOMIC_RELAXED);
}

/* All from where it should be. */
static int read_plainly(const struct origin *o, int root, const struct want *w)
{
	const struct members *m = o->members;
	struct stat st;
	for (uint32_t i = m->first[w->blob]; i < m->first[w->blob + 1]; i++) {
		uint64_t low, high, at = tree_extent(o->index, m->order[i])->offset;
		if (at >= w->high)
			break;
		if (!overlap(o, w, m->order[i], &low, &high))
			continue;
		if (is_cancelled(o))
			return -ECANCELED;
		int r = read_node(o, root, m->node[m->order[i]], low - at, w->p + (low - w->low), (size_t)(high - low),
				  &st);
		if (r < 0)
			return r;
	}
	return is_wanted(w) ? 0 : -ESTALE;
}

/* Is this file still what it was? The wanted part of it goes into w->p then. A large file is known by the chunk alone. */
static int try_node(const struct origin *o, int root, const struct want *w, uint32_t node, struct stat *st)
{
	const struct tree_content *c = tree_content(o->index, tree_node(o->index, node)->first);
	uint64_t low, high, at = tree_extent(o->index, tree_node(o->index, node)->first)->offset;
	struct digest address;
	overlap(o, w, tree_node(o->index, node)->first, &low, &high);
	if (tree_blob(o->index, w->blob)->kind == TREE_BLOB_FILE) {
		int r = read_node(o, root, node, low - at, w->p + (low - w->low), (size_t)(high - low), st);
		return r < 0 || is_wanted(w) ? r : -ESTALE;
	}
	_free_ uint8_t *all = malloc((size_t)c->size);
	if (!all)
		return -ENOMEM;
	int r = read_node(o, root, node, 0, all, (size_t)c->size, st);
	if (r < 0)
		return r;
	data_address_of(all, (size_t)c->size, &address);
	if (memcmp(address.byte, c->address, DIGEST_SIZE) != 0)
		return -ESTALE;
	memcpy(w->p + (low - w->low), all + (low - at), (size_t)(high - low));
	return 0;
}

static int read_content(struct origin *o, int root, const struct want *w, uint32_t content)
{
	uint32_t first = o->members->node[content];
	struct stat st = {0}, other;
	int r = try_node(o, root, w, first, &st);
	/* Copies have the same bytes. */
	for (uint32_t i = first + 1; r < 0 && i < tree_n_nodes(o->index); i++) {
		const struct tree_node *n = tree_node(o->index, i);
		if (n->type != TREE_FILE || n->first != content)
			continue;
		if (is_cancelled(o))
			return -ECANCELED;
		if (try_node(o, root, w, i, &other) == 0)
			return 0;
	}
	return r < 0 ? tell(o, first, r, &st) : 0;
}

static int read_carefully(struct origin *o, int root, const struct want *w)
{
	const struct members *m = o->members;
	memset(w->p, 0, (size_t)(w->high - w->low));
	for (uint32_t i = m->first[w->blob]; i < m->first[w->blob + 1]; i++) {
		uint64_t low, high;
		int r = overlap(o, w, m->order[i], &low, &high) ? read_content(o, root, w, m->order[i]) : 0;
		if (r < 0)
			return r;
	}
	if (is_wanted(w))
		return 0;
	o->text = xasprintf("%s: its files do not make up what its index says", o->path);
	return -EIO;
}

/* ---- a chunk of an archive: streamed into a store that catches it. Blobs are known by their size until they end */

struct catch
{
	const struct want *want;
	uint64_t size; /* of the blob it is in */
	bool is_found;
};

struct caught {
	uint64_t size;
	uint8_t *p; /* NULL: not of the right size */
};

static int catch_begin(void *arg, uint64_t size, void **blob)
{
	const struct catch *c = arg;
	struct caught *b = NEW(struct caught);
	b->size = size;
	if (size == c->size)
		b->p = xcalloc(1, (size_t)(c->want->high - c->want->low));
	*blob = b;
	return 0;
}

static int catch_write(void *arg, void *blob, uint64_t offset, const void *p, size_t n)
{
	const struct want *w = ((const struct catch *)arg)->want;
	struct caught *b = blob;
	uint64_t low = max(offset, w->low), high = min(offset + n, w->high);
	if (b->p && low < high)
		memcpy(b->p + (low - w->low), (const uint8_t *)p + (low - offset), (size_t)(high - low));
	return 0;
}

static void catch_abort(void *arg _unused_, void *blob)
{
	struct caught *b = blob;
	free(b->p);
	free(b);
}

static int catch_commit(void *arg, void *blob, const struct blob_chunks *chunks _unused_)
{
	struct catch *c = arg;
	struct caught *b = blob;
	if (b->p && !c->is_found) {
		memcpy(c->want->p, b->p, (size_t)(c->want->high - c->want->low));
		__atomic_store_n(&c->is_found, is_wanted(c->want), __ATOMIC_RELAXED);
	}
	catch_abort(arg, blob);
	/* The rest is not needed. */
	return c->is_found ? -ECANCELED : 0;
}

static int tell_archive(struct origin *o, int error, const struct seal_report *errors)
{
	char text[128];
	free(o->text);
	free(o->about);
	o->about = xstrdup(o->path);
	o->text = errors->n ? xstrdup(errors->lines[0])
		  : error == -ESTALE
			  ? xasprintf("%s has changed since it was sealed: it holds other files now", o->path)
			  : xasprintf("%s: %s", o->path, strerror_r(-error, text, sizeof text));
	return is_gone(error) ? -ESTALE : error == -ENOSPC || error == -ECANCELED ? error : -EIO;
}

/* Large files have a blob of their own in any order; a pack is what lay side by side. */
static int tell_repacked(struct origin *o)
{
	o->is_repacked = true;
	free(o->text);
	free(o->about);
	o->about = xstrdup(o->path);
	o->text = xasprintf("%s holds this tree, but not in the order in which this node has packed its small files: "
			    "they come from "
			    "the directory only, or from the cache",
			    o->path);
	return -EIO;
}

static bool is_same_tree(const struct origin *o, void *vti, size_t n)
{
	_cleanup_(tree_freep) struct tree *t = NULL;
	return tree_take(vti, n, tree_id(o->index), &t) == 0;
}

static int read_archive(struct origin *o, int fd, const struct want *w)
{
	struct catch c = {.want = w, .size = tree_blob(o->index, w->blob)->size};
	const struct seal_store store = {
		.arg = &c, .begin = catch_begin, .write = catch_write, .commit = catch_commit, .abort = catch_abort};
	const struct seal_options options = {.store = &store, .is_cancelled = o->is_cancelled};
	_cleanup_(seal_report_fini) struct seal_report errors = {.n = 0}, notes = {.n = 0};
	void *vti = NULL;
	size_t n = 0;
	bool is_pack = tree_blob(o->index, w->blob)->kind == TREE_BLOB_PACK;
	if (is_pack && o->is_repacked)
		return tell_repacked(o);
	int r = seal_archive(fd, o->path, &options, &vti, &n, &errors, &notes);
	if (c.is_found) {
		free(vti);
		return 0;
	}
	if (r == 0 && is_same_tree(o, vti, n) && is_pack)
		return tell_repacked(o);
	return tell_archive(o, r == 0 ? -ESTALE : r, &errors);
}

int origin_refill(struct origin *o, const struct seal_store *store)
{
	_cleanup_(seal_report_fini) struct seal_report errors = {.n = 0}, notes = {.n = 0};
	_cleanup_(tree_freep) struct tree *t = NULL;
	const struct seal_options options = {.store = store, .is_cancelled = o->is_cancelled};
	void *vti = NULL;
	size_t n = 0;
	_close_ int fd = o->files->open(o->files->arg, o->path);
	int r = fd < 0 ? fd : seal_archive(fd, o->path, &options, &vti, &n, &errors, &notes);
	if (r == 0)
		r = tree_take(vti, n, tree_id(o->index), &t);
	if (r < 0)
		return tell_archive(o, r, &errors);
	o->is_repacked = !digest_is_equal(tree_layout_id(t), tree_layout_id(o->index));
	return o->is_repacked ? -ENODATA : 0;
}

/* ---- a chunk */

static int open_root(struct origin *o)
{
	char text[128];
	int root = o->files->open(o->files->arg, o->path);
	if (root >= 0)
		return root;
	o->about = xstrdup(o->path);
	o->text =
		xasprintf("%s: %s", o->path, is_gone(root) ? "the source is gone" : say_error(root, text, sizeof text));
	return is_gone(root) ? -ESTALE : root == -HANDLE_STALE ? root : -EIO;
}

static int read_once(struct origin *o, const struct want *w)
{
	_close_ int root = open_root(o);
	if (root < 0)
		return root;
	if (o->kind == FETCH_ARCHIVE)
		return read_archive(o, root, w);
	int r = read_plainly(o, root, w);
	return r == 0 || r == -ECANCELED ? r : read_carefully(o, root, w);
}

int origin_read(struct origin *o, uint32_t blob, uint64_t chunk, uint8_t *p, size_t n)
{
	const struct tree_blob *b = tree_blob(o->index, blob);
	struct want w = {.p = p, .blob = blob, .low = (chunk - b->first_chunk) * b->chunk_size};
	assert(!o->text && chunk >= b->first_chunk && w.low + n <= b->size);
	w.high = w.low + n;
	tree_chunk_digest(o->index, chunk, &w.digest);
	int r = read_once(o, &w);
	if (r != -HANDLE_STALE)
		return r;
	/* By its path it may be there all the same. */
	free(steal(o->text));
	free(steal(o->about));
	r = read_once(o, &w);
	return r == -HANDLE_STALE ? -EIO : r;
}
