/* SPDX-License-Identifier: Apache-2.0 */
#include "data/builder.h"

#include "common/buf.h"
#include "common/map.h"
#include "data/format.h"

#include <pthread.h>

struct content {
	struct tree_content as;
	uint32_t blob;
	uint32_t twin; /* the next of the same first 8 bytes of address, + 1 */
	uint64_t offset;
	uint32_t number; /* in the tree, + 1 */
};

struct builder {
	pthread_mutex_t lock; /* entries and text, while entries are added */
	struct entry *entries;
	uint32_t n, room;
	struct buf text;
	uint32_t *order; /* children of all directories, each one's contiguous and sorted */
	struct content *contents;
	uint32_t n_contents, contents_room;
	struct map by_address; /* first 8 bytes of an address -> content + 1 */
	struct tree_blob *blobs;
	uint32_t n_blobs, blobs_room;
	struct buf chunks;
	uint64_t n_chunks;
};

/* ---- entries */

struct builder *builder_new(void)
{
	struct builder *b = NEW(struct builder);
	pthread_mutex_init(&b->lock, NULL);
	const struct entry root = {.type = TREE_DIRECTORY, .mode = 0755};
	const char *name = "";
	builder_add(b, BUILDER_ROOT, &root, &name, NULL, 1);
	return b;
}

void builder_free(struct builder *b)
{
	if (!b)
		return;
	pthread_mutex_destroy(&b->lock);
	free(b->entries);
	buf_fini(&b->text);
	free(b->order);
	free(b->contents);
	map_fini(&b->by_address);
	free(b->blobs);
	buf_fini(&b->chunks);
	free(b);
}

static uint32_t put_name(struct builder *b, const char *name)
{
	uint32_t at = (uint32_t)b->text.n;
	buf_put(&b->text, name, strlen(name) + 1);
	return at;
}

int64_t builder_add(struct builder *b, uint32_t parent, const struct entry *e, const char *const *names,
		    const char *const *targets, size_t n)
{
	size_t bytes = 0;
	for (size_t i = 0; i < n; i++)
		bytes += strlen(names[i]) + 1 + (targets && targets[i] ? strlen(targets[i]) + 1 : 0);
	pthread_mutex_lock(&b->lock);
	int64_t first = b->n;
	if (n >= UINT32_MAX - b->n || bytes >= UINT32_MAX - b->text.n) {
		pthread_mutex_unlock(&b->lock);
		return -EOVERFLOW;
	}
	if (n > b->room - b->n) {
		b->room = (uint32_t)min((uint64_t)UINT32_MAX, max((uint64_t)b->room * 2, (uint64_t)b->n + n + 64));
		b->entries = xrealloc(b->entries, b->room * sizeof *b->entries);
	}
	for (size_t i = 0; i < n; i++) {
		struct entry *to = &b->entries[b->n++];
		*to = e[i];
		assert(strlen(names[i]) <= UINT8_MAX);
		to->parent = parent;
		to->name_size = (uint8_t)strlen(names[i]);
		to->name = put_name(b, names[i]);
		to->content = BUILDER_NONE;
		if (to->type == TREE_LINK) {
			to->target_size = (uint32_t)strlen(targets[i]);
			to->target = put_name(b, targets[i]);
		}
	}
	pthread_mutex_unlock(&b->lock);
	return first;
}

struct entry *builder_entry(struct builder *b, uint32_t i)
{
	assert(i < b->n);
	return &b->entries[i];
}

uint32_t builder_n_entries(const struct builder *b)
{
	return b->n;
}

const char *builder_name(const struct builder *b, uint32_t i)
{
	assert(i < b->n);
	return (const char *)b->text.at + b->entries[i].name;
}

char *builder_path(const struct builder *b, uint32_t i)
{
	size_t n = 0;
	for (uint32_t k = i; k; k = b->entries[k].parent)
		n += b->entries[k].name_size + 1u;
	char *path = xmalloc(n + 1);
	path[n ? n - 1 : 0] = 0;
	for (uint32_t k = i; k; k = b->entries[k].parent) {
		n -= b->entries[k].name_size + 1u;
		memcpy(path + n, builder_name(b, k), b->entries[k].name_size);
		if (n)
			path[n - 1] = '/';
	}
	return path;
}

/* ---- order */

static int compare_entries(const void *a, const void *b, void *arg)
{
	const struct builder *of = arg;
	const struct entry *x = &of->entries[*(const uint32_t *)a], *y = &of->entries[*(const uint32_t *)b];
	size_t least = min(x->name_size, y->name_size);
	int c = memcmp(of->text.at + x->name, of->text.at + y->name, least);
	return c ? c : (int)x->name_size - (int)y->name_size;
}

void builder_order(struct builder *b)
{
	assert(!b->order);
	b->order = xcalloc(b->n, sizeof *b->order);
	for (uint32_t i = 1; i < b->n; i++)
		if (b->entries[i].type)
			b->entries[b->entries[i].parent].n++;
	uint32_t at = 0;
	for (uint32_t i = 0; i < b->n; i++) {
		b->entries[i].first = at;
		at += b->entries[i].n;
		b->entries[i].n = 0;
	}
	for (uint32_t i = 1; i < b->n; i++) {
		struct entry *parent = &b->entries[b->entries[i].parent];
		if (b->entries[i].type)
			b->order[parent->first + parent->n++] = i;
	}
	for (uint32_t i = 0; i < b->n; i++)
		if (b->entries[i].n > 1)
			qsort_r(&b->order[b->entries[i].first], b->entries[i].n, sizeof *b->order, compare_entries, b);
}

static void walk_push(struct builder_walk *w, uint32_t directory)
{
	if (w->depth == w->room) {
		w->room = w->room ? w->room * 2 : 64;
		w->stack = xrealloc(w->stack, w->room * 2 * sizeof *w->stack);
	}
	w->stack[w->depth * 2] = directory;
	w->stack[w->depth * 2 + 1] = 0;
	w->depth++;
}

void builder_walk_init(struct builder_walk *w, struct builder *b)
{
	assert(b->order);
	*w = (struct builder_walk){.builder = b};
	walk_push(w, BUILDER_ROOT);
}

int64_t builder_walk_next(struct builder_walk *w)
{
	struct builder *b = w->builder;
	while (w->depth) {
		uint32_t *top = &w->stack[(w->depth - 1) * 2];
		const struct entry *d = &b->entries[top[0]];
		if (top[1] == d->n) {
			w->depth--;
			return BUILDER_LEAVE;
		}
		uint32_t child = b->order[d->first + top[1]++];
		if (b->entries[child].type == TREE_FILE)
			return child;
		if (b->entries[child].type == TREE_DIRECTORY)
			walk_push(w, child);
	}
	return BUILDER_END;
}

void builder_walk_fini(struct builder_walk *w)
{
	free(steal(w->stack));
}

/* ---- contents and blobs */

uint32_t builder_content(struct builder *b, uint64_t size, const struct digest *address, bool *is_new)
{
	uint64_t key = get_le64(address->byte);
	uintptr_t first = (uintptr_t)map_get(&b->by_address, key);
	for (uintptr_t i = first; i; i = b->contents[i - 1].twin)
		if (memcmp(b->contents[i - 1].as.address, address->byte, DIGEST_SIZE) == 0) {
			*is_new = false;
			return (uint32_t)(i - 1);
		}
	if (b->n_contents == b->contents_room) {
		b->contents_room = b->contents_room ? b->contents_room * 2 : 256;
		b->contents = xrealloc(b->contents, b->contents_room * sizeof *b->contents);
	}
	struct content *c = &b->contents[b->n_contents++];
	*c = (struct content){.as = {.size = size}, .blob = TREE_NO_BLOB, .twin = (uint32_t)first};
	memcpy(c->as.address, address->byte, DIGEST_SIZE);
	map_put(&b->by_address, key, (void *)(uintptr_t)b->n_contents);
	*is_new = true;
	return b->n_contents - 1;
}

uint32_t builder_blob(struct builder *b, enum tree_blob_kind kind, const struct blob_chunks *chunks)
{
	assert(chunks->n == data_n_chunks(chunks->size, chunks->chunk_size));
	if (b->n_blobs == b->blobs_room) {
		b->blobs_room = b->blobs_room ? b->blobs_room * 2 : 64;
		b->blobs = xrealloc(b->blobs, b->blobs_room * sizeof *b->blobs);
	}
	struct tree_blob *to = &b->blobs[b->n_blobs];
	*to = (struct tree_blob){
		.size = chunks->size, .first_chunk = b->n_chunks, .chunk_size = chunks->chunk_size, .kind = kind};
	memcpy(to->address, chunks->address.byte, DIGEST_SIZE);
	for (uint32_t i = 0; i < chunks->n; i++)
		buf_put(&b->chunks, chunks->chunks[i].byte, DIGEST_SIZE);
	b->n_chunks += chunks->n;
	return b->n_blobs++;
}

void builder_extent(struct builder *b, uint32_t content, uint32_t blob, uint64_t offset)
{
	assert(content < b->n_contents && blob < b->n_blobs);
	b->contents[content].blob = blob;
	b->contents[content].offset = offset;
}

/* ---- writing */

struct output {
	struct buf nodes, contents, text, extents;
	uint32_t *queue; /* entries by node number */
	uint32_t n_contents;
	uint64_t size;
	bool is_draft;
};

static void output_fini(struct output *o)
{
	buf_fini(&o->nodes);
	buf_fini(&o->contents);
	buf_fini(&o->text);
	buf_fini(&o->extents);
	free(o->queue);
}

/* Which files have equal contents is not known yet: each has its own. */
static uint32_t output_draft_content(struct output *o, const struct entry *e)
{
	const struct tree_content c = {.size = e->signature.size};
	buf_put(&o->contents, &c, sizeof c);
	o->size += c.size;
	return o->n_contents++;
}

static uint32_t output_content(struct output *o, struct builder *b, uint32_t content)
{
	struct content *c = &b->contents[content];
	if (!c->number) {
		assert(!c->as.size || c->blob != TREE_NO_BLOB);
		c->number = ++o->n_contents;
		buf_put(&o->contents, &c->as, sizeof c->as);
		const struct tree_extent e = {.offset = c->offset, .blob = c->blob};
		buf_put(&o->extents, &e, sizeof e);
	}
	o->size += c->as.size;
	return c->number - 1;
}

static void output_node(struct output *o, struct builder *b, uint32_t i, const uint32_t *numbers, uint32_t *next)
{
	const struct entry *e = &b->entries[o->queue[i]];
	struct tree_node n = {.name = (uint32_t)o->text.n,
			      .name_size = e->name_size,
			      .type = e->type,
			      .mode = e->mode & 01777u,
			      .mtime_sec = e->mtime_sec,
			      .mtime_nsec = e->mtime_nsec,
			      .parent = numbers[e->parent]};
	buf_put(&o->text, b->text.at + e->name, e->name_size + 1u);
	if (e->type == TREE_LINK) {
		n.first = (uint32_t)o->text.n;
		n.n = e->target_size;
		buf_put(&o->text, b->text.at + e->target, e->target_size + 1u);
	} else if (e->type == TREE_FILE) {
		assert(o->is_draft || e->content != BUILDER_NONE);
		n.first = o->is_draft ? output_draft_content(o, e) : output_content(o, b, e->content);
	} else {
		n.first = *next;
		n.n = e->n;
		for (uint32_t k = 0; k < e->n; k++)
			n.n_directories += b->entries[b->order[e->first + k]].type == TREE_DIRECTORY;
		*next += e->n;
	}
	buf_put(&o->nodes, &n, sizeof n);
}

/* Breadth first: a directory's children join the queue when its own turn comes. */
static uint32_t output_nodes(struct output *o, struct builder *b)
{
	o->queue = xcalloc(b->n, sizeof *o->queue);
	_free_ uint32_t *numbers = xcalloc(b->n, sizeof *numbers);
	uint32_t n = 1, next = 1;
	for (uint32_t i = 0; i < n; i++) {
		const struct entry *e = &b->entries[o->queue[i]];
		numbers[o->queue[i]] = i;
		if (e->type == TREE_DIRECTORY)
			for (uint32_t k = 0; k < e->n; k++)
				o->queue[n++] = b->order[e->first + k];
		output_node(o, b, i, numbers, &next);
	}
	return n;
}

static void pad_to_8(struct buf *b)
{
	static const uint8_t zeros[8];
	buf_put(b, zeros, -b->n & 7);
}

/* The names section; its nodes are left in o->queue. */
static int output_names(struct output *o, struct builder *b, struct buf *names)
{
	struct format_names h = {.n_nodes = output_nodes(o, b)};
	if (o->text.n > UINT32_MAX)
		return -EOVERFLOW;
	h.n_contents = o->n_contents;
	h.text_size = (uint32_t)o->text.n;
	h.size = o->size;
	buf_put(names, &h, sizeof h);
	buf_put(names, o->nodes.at, o->nodes.n);
	buf_put(names, o->contents.at, o->contents.n);
	buf_put(names, o->text.at, o->text.n);
	return 0;
}

int builder_draft(struct builder *b, struct tree **out, struct signature **signatures)
{
	assert(b->order);
	_cleanup_(output_fini) struct output o = {.is_draft = true};
	_cleanup_(buf_fini) struct buf names = {0};
	int r = output_names(&o, b, &names);
	if (r == 0)
		r = tree_take_draft(steal(names.base), names.n, out);
	if (r < 0)
		return r;
	*signatures = xcalloc(tree_n_nodes(*out), sizeof **signatures);
	for (uint32_t i = 0; i < tree_n_nodes(*out); i++)
		(*signatures)[i] = b->entries[o.queue[i]].signature;
	return 0;
}

int builder_finish(struct builder *b, void **vti, size_t *n)
{
	assert(b->order);
	_cleanup_(output_fini) struct output o = {0};
	_cleanup_(buf_fini) struct buf names = {0}, layout = {0}, all = {0};
	int r = output_names(&o, b, &names);
	if (r < 0)
		return r;

	const struct format_layout lh = {.n_blobs = b->n_blobs, .n_contents = o.n_contents, .n_chunks = b->n_chunks};
	buf_put(&layout, &lh, sizeof lh);
	buf_put(&layout, o.extents.at, o.extents.n);
	buf_put(&layout, b->blobs, b->n_blobs * sizeof *b->blobs);
	buf_put(&layout, b->chunks.at, b->chunks.n);

	struct format_head head = {.magic = FORMAT_MAGIC,
				   .version = FORMAT_VERSION,
				   .algorithm = DIGEST_SHA256,
				   .names_size = names.n,
				   .layout_size = layout.n};
	struct digest address;
	format_address(names.at, names.n, &address);
	memcpy(head.names_address, address.byte, DIGEST_SIZE);
	format_address(layout.at, layout.n, &address);
	memcpy(head.layout_address, address.byte, DIGEST_SIZE);
	buf_put(&all, &head, sizeof head);
	buf_put(&all, names.at, names.n);
	pad_to_8(&all);
	buf_put(&all, layout.at, layout.n);
	*n = all.n;
	*vti = steal(all.base);
	return 0;
}
