/* SPDX-License-Identifier: Apache-2.0 */
#include "data/assembler.h"

#define PACK_MOST (DATA_PACK_FULL + DATA_SMALL_MAX)

struct member {
	uint32_t entry, content;
	uint64_t offset, size;
	struct digest address;
	bool is_missing; /* its bytes are not in the pack yet */
};

struct assembler {
	struct builder *builder;
	const struct seal_store *store;
	int (*load)(void *arg, uint32_t entry, uint64_t size, const struct digest *address, void *p);
	void *arg;
	uint8_t *pack; /* of whole pages, so that a store may hand it to a disk as it is */
	size_t pack_size;
	struct member *members;
	size_t n, room, n_missing;
};

struct assembler *assembler_new(struct builder *b, const struct seal_store *store,
				int (*load)(void *, uint32_t, uint64_t, const struct digest *, void *), void *arg)
{
	struct assembler *a = NEW(struct assembler);
	a->builder = b;
	a->store = store;
	a->load = load;
	a->arg = arg;
	a->pack = aligned_alloc(4096, PACK_MOST);
	if (!a->pack)
		abort();
	return a;
}

void assembler_free(struct assembler *a)
{
	if (!a)
		return;
	free(a->pack);
	free(a->members);
	free(a);
}

/* What a pack is remembered by: its members' addresses in order. */
static void digest_members(const struct assembler *a, struct digest *key)
{
	_cleanup_(digest_stream_freep) struct digest_stream *s = digest_stream_new();
	for (size_t i = 0; i < a->n; i++)
		digest_stream_add(s, a->members[i].address.byte, DIGEST_SIZE);
	digest_stream_end(s, key);
}

static int load_missing(struct assembler *a)
{
	for (size_t i = 0; i < a->n; i++) {
		struct member *m = &a->members[i];
		if (!m->is_missing)
			continue;
		int r = a->load(a->arg, m->entry, m->size, &m->address, a->pack + m->offset);
		if (r < 0)
			return r;
	}
	return 0;
}

static int store_pack(struct assembler *a, struct blob_chunks *c)
{
	void *blob;
	c->size = a->pack_size;
	c->chunk_size = DATA_PACK_CHUNK;
	c->n = (uint32_t)data_n_chunks(c->size, c->chunk_size);
	c->chunks = xcalloc(c->n, sizeof *c->chunks);
	digest_chunks(a->pack, a->pack_size, c->chunk_size, 1, c->chunks);
	data_address(c->size, c->chunk_size, c->chunks, &c->address);
	int r = a->store->begin(a->store->arg, c->size, &blob);
	if (r < 0)
		return r;
	r = a->store->write(a->store->arg, blob, 0, a->pack, a->pack_size);
	if (r < 0) {
		a->store->abort(a->store->arg, blob);
		return r;
	}
	return a->store->commit(a->store->arg, blob, c);
}

static int close_pack(struct assembler *a)
{
	struct blob_chunks c = {0};
	struct digest key;
	int r = 0;
	if (!a->n)
		return 0;
	digest_members(a, &key);
	bool is_held = a->n_missing && a->store->recall_blob && a->store->recall_blob(a->store->arg, &key, &c) &&
		       c.size == a->pack_size;
	if (!is_held) {
		free(steal(c.chunks));
		r = load_missing(a);
		if (r == 0)
			r = store_pack(a, &c);
		if (r == 0 && a->store->learn_blob)
			a->store->learn_blob(a->store->arg, &key, &c);
	}
	if (r == 0) {
		uint32_t blob = builder_blob(a->builder, TREE_BLOB_PACK, &c);
		for (size_t i = 0; i < a->n; i++)
			builder_extent(a->builder, a->members[i].content, blob, a->members[i].offset);
	}
	free(c.chunks);
	a->pack_size = a->n = a->n_missing = 0;
	return r;
}

int assembler_small(struct assembler *a, uint32_t entry, uint64_t size, const struct digest *address, const void *bytes)
{
	bool is_new;
	assert(size <= DATA_SMALL_MAX);
	uint32_t content = builder_content(a->builder, size, address, &is_new);
	builder_entry(a->builder, entry)->content = content;
	if (!is_new || !size)
		return 0;
	if (a->n == a->room) {
		a->room = a->room ? a->room * 2 : 256;
		a->members = xrealloc(a->members, a->room * sizeof *a->members);
	}
	a->members[a->n++] = (struct member){.entry = entry,
					     .content = content,
					     .offset = a->pack_size,
					     .size = size,
					     .address = *address,
					     .is_missing = !bytes};
	a->n_missing += !bytes;
	assert(a->pack_size + size <= PACK_MOST);
	if (bytes)
		memcpy(a->pack + a->pack_size, bytes, size);
	a->pack_size += size;
	return a->pack_size >= DATA_PACK_FULL ? close_pack(a) : 0;
}

void assembler_large(struct assembler *a, uint32_t entry, const struct blob_chunks *chunks)
{
	bool is_new;
	uint32_t content = builder_content(a->builder, chunks->size, &chunks->address, &is_new);
	builder_entry(a->builder, entry)->content = content;
	if (is_new)
		builder_extent(a->builder, content, builder_blob(a->builder, TREE_BLOB_FILE, chunks), 0);
}

int assembler_leave(struct assembler *a)
{
	return a->pack_size >= DATA_PACK_HALF ? close_pack(a) : 0;
}

int assembler_end(struct assembler *a)
{
	return close_pack(a);
}
