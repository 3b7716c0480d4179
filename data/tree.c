/* SPDX-License-Identifier: Apache-2.0
 * After tree_take() these hold, and nothing below checks them again:
 * 1. Node 0 is a directory or alone; the others are exactly the children of the directories before them, in order.
 * 2. A directory's children are sorted by raw bytes, without doubles; names are single components.
 * 3. Every content number, blob number, text offset and extent lies inside its table or blob.
 * 4. Every blob's address is that of its size and chunk digests; a file's own blob has the file's address. */
#include "data/format.h"

#include "common/path.h"

#include <stdio.h>
#include <unistd.h>

#define INDEX_MAX ((uint64_t)4 << 30)

struct tree {
	uint8_t *memory; /* the whole .vti; of a draft its names section */
	size_t n_memory;
	const struct tree_node *nodes;
	const struct tree_content *contents;
	const char *text;
	const struct tree_extent *extents;
	const struct tree_blob *blobs;
	const uint8_t *chunks;
	uint64_t size, n_chunks;
	uint32_t n_nodes, n_contents, n_blobs, text_size;
	struct digest id, layout_id;
};

/* ---- names */

static bool is_mode_good(const struct tree_node *n)
{
	return !(n->mode & ~01777u) && n->mtime_nsec < 1000000000u && !n->reserved;
}

/* The text of node i must begin where the one before ended; *at moves behind it. */
static bool check_text(const struct tree *t, uint32_t i, uint32_t *at)
{
	const struct tree_node *n = &t->nodes[i];
	uint64_t end = (uint64_t)n->name + n->name_size;
	if (n->name != *at || end >= t->text_size || t->text[end] || (i == 0) != (n->name_size == 0))
		return false;
	const char *name = t->text + n->name;
	if (i && (memchr(name, '/', n->name_size) || path_check(name, n->name_size) < 0))
		return false;
	end++;
	if (n->type == TREE_LINK) {
		if (n->first != end || !n->n || end + n->n >= t->text_size || memchr(t->text + end, 0, n->n) ||
		    t->text[end + n->n])
			return false;
		end += (uint64_t)n->n + 1;
	}
	*at = (uint32_t)end;
	return true;
}

static int compare_names(const char *a, size_t n_a, const char *b, size_t n_b)
{
	int c = memcmp(a, b, min(n_a, n_b));
	return c ? c : (n_a > n_b) - (n_a < n_b);
}

static bool check_directory(const struct tree *t, uint32_t i, uint32_t *next)
{
	const struct tree_node *d = &t->nodes[i];
	uint32_t n_directories = 0;
	if (d->first != *next || d->n > t->n_nodes - *next)
		return false;
	for (uint32_t k = d->first; k < d->first + d->n; k++) {
		const struct tree_node *n = &t->nodes[k], *before = n - 1;
		if (n->parent != i)
			return false;
		n_directories += n->type == TREE_DIRECTORY;
		if (k > d->first &&
		    compare_names(t->text + before->name, before->name_size, t->text + n->name, n->name_size) >= 0)
			return false;
	}
	*next += d->n;
	return n_directories == d->n_directories;
}

static bool check_file(const struct tree *t, const struct tree_node *n, uint32_t *seen, uint64_t *size)
{
	if (n->first > *seen || n->first >= t->n_contents || n->n || n->n_directories)
		return false;
	*seen += n->first == *seen;
	return !add_overflows(*size, t->contents[n->first].size, size);
}

/* Nothing lies deeper than a path can say: whoever walks a tree by recursion relies on it. */
static bool check_depth(const struct tree *t)
{
	_free_ uint16_t *length = calloc(t->n_nodes, sizeof *length);
	if (!length)
		return false;
	for (uint32_t i = 1; i < t->n_nodes; i++) {
		unsigned n = length[t->nodes[i].parent] + 1u + t->nodes[i].name_size;
		if (n > DATA_PATH_MAX)
			return false;
		length[i] = (uint16_t)n;
	}
	return true;
}

static bool check_names(const struct tree *t)
{
	uint32_t at = 0, next = 1, seen = 0;
	uint64_t size = 0;
	/* A root that is a file or a link is a tree of one node. */
	if (!t->n_nodes || t->nodes[0].parent || (t->nodes[0].type != TREE_DIRECTORY && t->n_nodes != 1))
		return false;
	/* Texts first: comparing siblings' names reads ahead of the node at hand. */
	for (uint32_t i = 0; i < t->n_nodes; i++)
		if (!is_mode_good(&t->nodes[i]) || !check_text(t, i, &at))
			return false;
	for (uint32_t i = 0; i < t->n_nodes; i++) {
		const struct tree_node *n = &t->nodes[i];
		if (i >= next) /* nobody's child: it might be its own */
			return false;
		bool ok = n->type == TREE_DIRECTORY ? check_directory(t, i, &next)
			  : n->type == TREE_FILE    ? check_file(t, n, &seen, &size)
						    : n->type == TREE_LINK && !n->n_directories;
		if (!ok)
			return false;
	}
	return at == t->text_size && next == t->n_nodes && seen == t->n_contents && size == t->size && check_depth(t);
}

/* ---- layout */

static bool check_blob(const struct tree *t, const struct tree_blob *b, uint64_t *chunk)
{
	uint32_t wanted = b->kind == TREE_BLOB_FILE   ? data_chunk_size(b->size)
			  : b->kind == TREE_BLOB_PACK ? DATA_PACK_CHUNK
						      : 0;
	if (!wanted || !b->size || b->chunk_size != wanted || b->first_chunk != *chunk)
		return false;
	uint64_t n = data_n_chunks(b->size, b->chunk_size);
	if (n > t->n_chunks - *chunk)
		return false;
	_free_ struct digest *chunks = calloc(n, sizeof *chunks);
	if (!chunks)
		return false;
	for (uint64_t i = 0; i < n; i++)
		tree_chunk_digest(t, *chunk + i, &chunks[i]);
	struct digest address;
	data_address(b->size, b->chunk_size, chunks, &address);
	*chunk += n;
	return memcmp(address.byte, b->address, DIGEST_SIZE) == 0;
}

static bool check_extent(const struct tree *t, uint32_t content)
{
	const struct tree_extent *e = &t->extents[content];
	const struct tree_content *c = &t->contents[content];
	if (e->reserved)
		return false;
	if (!c->size)
		return e->blob == TREE_NO_BLOB && !e->offset;
	if (e->blob >= t->n_blobs)
		return false;
	const struct tree_blob *b = &t->blobs[e->blob];
	if (b->kind == TREE_BLOB_FILE)
		return !e->offset && c->size == b->size && memcmp(c->address, b->address, DIGEST_SIZE) == 0;
	return e->offset <= b->size && c->size <= b->size - e->offset;
}

static bool check_layout(const struct tree *t)
{
	uint64_t chunk = 0;
	for (uint32_t i = 0; i < t->n_blobs; i++)
		if (!check_blob(t, &t->blobs[i], &chunk))
			return false;
	for (uint32_t i = 0; i < t->n_contents; i++)
		if (!check_extent(t, i))
			return false;
	return chunk == t->n_chunks;
}

/* ---- loading */

/* Takes `n` things of `size` bytes at *at out of a section that ends at `end`; NULL if they do not fit. */
static const void *carve(const uint8_t **at, const uint8_t *end, uint64_t n, size_t size)
{
	uint64_t want;
	if (mul_overflows(n, size, &want) || want > (uint64_t)(end - *at))
		return NULL;
	const void *p = *at;
	*at += want;
	return p;
}

static int map_names(struct tree *t, const uint8_t *at, size_t n)
{
	const uint8_t *end = at + n;
	const struct format_names *h = carve(&at, end, 1, sizeof *h);
	if (!h || h->reserved || h->reserved_too)
		return -EBADMSG;
	t->n_nodes = h->n_nodes;
	t->n_contents = h->n_contents;
	t->text_size = h->text_size;
	t->size = h->size;
	t->nodes = carve(&at, end, t->n_nodes, sizeof *t->nodes);
	t->contents = t->nodes ? carve(&at, end, t->n_contents, sizeof *t->contents) : NULL;
	t->text = t->contents ? carve(&at, end, t->text_size, 1) : NULL;
	return t->text && at == end && check_names(t) ? 0 : -EBADMSG;
}

static int map_layout(struct tree *t, const uint8_t *at, size_t n)
{
	const uint8_t *end = at + n;
	const struct format_layout *h = carve(&at, end, 1, sizeof *h);
	if (!h || h->reserved[0] || h->reserved[1] || h->n_contents != t->n_contents)
		return -EBADMSG;
	t->n_blobs = h->n_blobs;
	t->n_chunks = h->n_chunks;
	t->extents = carve(&at, end, t->n_contents, sizeof *t->extents);
	t->blobs = t->extents ? carve(&at, end, t->n_blobs, sizeof *t->blobs) : NULL;
	t->chunks = t->blobs ? carve(&at, end, t->n_chunks, DIGEST_SIZE) : NULL;
	return t->chunks && at == end && check_layout(t) ? 0 : -EBADMSG;
}

static int tree_map(struct tree *t, size_t n, const struct digest *id)
{
	const struct format_head *h = (const struct format_head *)(const void *)t->memory;
	if (n < sizeof *h || memcmp(h->magic, FORMAT_MAGIC, sizeof h->magic) != 0)
		return -EBADMSG;
	if (h->version != FORMAT_VERSION || h->algorithm != DIGEST_SHA256)
		return -EPROTONOSUPPORT;
	uint64_t rest = n - sizeof *h;
	/* Sections hold structs of 8-byte members: names are padded to 8. */
	uint64_t padded = (h->names_size + 7) & ~(uint64_t)7;
	if (h->names_size > rest || padded > rest || h->layout_size != rest - padded)
		return -EBADMSG;
	const uint8_t *names = t->memory + sizeof *h, *layout = names + padded;
	for (const uint8_t *pad = names + h->names_size; pad < layout; pad++)
		if (*pad)
			return -EBADMSG;
	format_address(names, h->names_size, &t->id);
	format_address(layout, h->layout_size, &t->layout_id);
	if (memcmp(t->id.byte, h->names_address, DIGEST_SIZE) != 0 ||
	    memcmp(t->layout_id.byte, h->layout_address, DIGEST_SIZE) != 0)
		return -EBADMSG;
	int r = map_names(t, names, h->names_size);
	if (r == 0)
		r = map_layout(t, layout, h->layout_size);
	if (r == 0 && id && !digest_is_equal(id, &t->id))
		r = -ESTALE;
	return r;
}

int tree_take(void *p, size_t n, const struct digest *id, struct tree **out)
{
	_cleanup_(tree_freep) struct tree *t = NEW(struct tree);
	t->memory = p;
	t->n_memory = n;
	int r = tree_map(t, n, id);
	if (r == 0)
		*out = steal(t);
	return r;
}

int tree_take_draft(void *p, size_t n, struct tree **out)
{
	_cleanup_(tree_freep) struct tree *t = NEW(struct tree);
	t->memory = p;
	t->n_memory = n;
	format_address(p, n, &t->id);
	int r = map_names(t, p, n);
	if (r == 0)
		*out = steal(t);
	return r;
}

int tree_read(int fd, const struct digest *id, struct tree **out)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > INDEX_MAX)
		return -EBADMSG;
	size_t n = (size_t)st.st_size;
	_free_ uint8_t *p = malloc(n ? n : 1);
	if (!p)
		return -ENOMEM;
	for (size_t have = 0; have < n;) {
		ssize_t got = pread(fd, p + have, n - have, (off_t)have);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EBADMSG;
		have += (size_t)got;
	}
	return tree_take(steal(p), n, id, out);
}

void tree_free(struct tree *t)
{
	if (!t)
		return;
	free(t->memory);
	free(t);
}

/* ---- looking in */

const struct digest *tree_id(const struct tree *t)
{
	return &t->id;
}

const struct digest *tree_layout_id(const struct tree *t)
{
	return &t->layout_id;
}

const void *tree_bytes(const struct tree *t, size_t *n)
{
	*n = t->n_memory;
	return t->memory;
}

uint32_t tree_n_nodes(const struct tree *t)
{
	return t->n_nodes;
}

uint64_t tree_size(const struct tree *t)
{
	return t->size;
}

const struct tree_node *tree_node(const struct tree *t, uint32_t i)
{
	assert(i < t->n_nodes);
	return &t->nodes[i];
}

const char *tree_name(const struct tree *t, uint32_t i)
{
	return t->text + tree_node(t, i)->name;
}

const char *tree_target(const struct tree *t, uint32_t i)
{
	assert(tree_node(t, i)->type == TREE_LINK);
	return t->text + t->nodes[i].first;
}

uint64_t tree_file_size(const struct tree *t, uint32_t i)
{
	assert(tree_node(t, i)->type == TREE_FILE);
	return t->contents[t->nodes[i].first].size;
}

int64_t tree_child(const struct tree *t, uint32_t directory, const char *name, size_t n)
{
	const struct tree_node *d = tree_node(t, directory);
	if (d->type != TREE_DIRECTORY)
		return -ENOTDIR;
	uint32_t low = d->first, high = d->first + d->n;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct tree_node *at = &t->nodes[middle];
		int c = compare_names(name, n, t->text + at->name, at->name_size);
		if (c == 0)
			return middle;
		if (c < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return -ENOENT;
}

int64_t tree_find(const struct tree *t, const char *path)
{
	int64_t at = 0;
	while (*path && at >= 0) {
		size_t n = strcspn(path, "/");
		if (n)
			at = tree_child(t, (uint32_t)at, path, n);
		path += n + (path[n] == '/');
	}
	return at;
}

char *tree_path(const struct tree *t, uint32_t i)
{
	size_t n = 0;
	for (uint32_t k = i; k; k = t->nodes[k].parent)
		n += t->nodes[k].name_size + 1u;
	char *path = xmalloc(n + 1);
	path[n ? n - 1 : 0] = 0;
	for (uint32_t k = i; k; k = t->nodes[k].parent) {
		n -= t->nodes[k].name_size + 1u;
		memcpy(path + n, t->text + t->nodes[k].name, t->nodes[k].name_size);
		if (n)
			path[n - 1] = '/';
	}
	return path;
}

uint32_t tree_n_contents(const struct tree *t)
{
	return t->n_contents;
}

const struct tree_content *tree_content(const struct tree *t, uint32_t content)
{
	assert(content < t->n_contents);
	return &t->contents[content];
}

const struct tree_extent *tree_extent(const struct tree *t, uint32_t content)
{
	assert(content < t->n_contents && t->extents); /* a draft has none */
	return &t->extents[content];
}

uint32_t tree_n_blobs(const struct tree *t)
{
	return t->n_blobs;
}

const struct tree_blob *tree_blob(const struct tree *t, uint32_t blob)
{
	assert(blob < t->n_blobs);
	return &t->blobs[blob];
}

uint64_t tree_n_chunks(const struct tree *t)
{
	return t->n_chunks;
}

uint32_t tree_blob_of(const struct tree *t, uint64_t chunk)
{
	uint32_t low = 0, high = tree_n_blobs(t);
	assert(chunk < tree_n_chunks(t));
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;
		if (tree_blob(t, middle)->first_chunk <= chunk)
			low = middle;
		else
			high = middle;
	}
	return low;
}

void tree_chunk_digest(const struct tree *t, uint64_t chunk, struct digest *d)
{
	assert(chunk < t->n_chunks);
	d->algorithm = DIGEST_SHA256;
	memcpy(d->byte, t->chunks + chunk * DIGEST_SIZE, DIGEST_SIZE);
}
