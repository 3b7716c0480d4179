/* SPDX-License-Identifier: Apache-2.0
 * Of a large tree that differs from one that is here by little, that little alone is asked for: parts of its index that are another tree's too, and chunks that lie in another blob.
 * What is taken is verified as if it came from a neighbour, so a wrong guess costs a reading. */
#include "vinefs/fetch/internal.h"
#include "vinefs/fetch/pull.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define MISSES 8u             /* parts from the beginning of which not one is the same: it is another tree altogether */
#define COPY_MOST (64u << 20) /* bytes of chunks: beyond that neighbours may be as fast as the disk */
#define CHUNKS_MOST (1u << 20)

/* ---- parts of the index */

/* A file that has changed leaves an index as long as it was; one more or less moves what lies behind it. */
static bool is_near(uint64_t a, uint64_t b)
{
	return max(a, b) - min(a, b) <= min(a, b) / 8;
}

static void choose(struct pull *p)
{
	const uint64_t size = p->index.size;
	struct cache_list list;
	cache_list(p->cache, &list);
	p->n_alike = 0;
	for (unsigned is_other = 0; is_other < 2; is_other++)
		for (size_t i = 0; i < list.n && p->n_alike < ALIKE_MOST; i++) {
			const struct cache_tree_info *t = &list.at[i];
			if ((t->index_size != size) == is_other && is_near(t->index_size, size))
				p->alike[p->n_alike++] = t->id;
		}
	cache_list_fini(&list);
}

static bool read_part(int fd, uint8_t *p, size_t n, uint64_t offset)
{
	for (size_t have = 0; have < n;) {
		ssize_t got = pread(fd, p + have, n - have, (off_t)(offset + have));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		have += (size_t)got;
	}
	return true;
}

/* How many parts it has of those that are not found yet. */
static uint64_t take_parts(struct pull_index *x, int trees, const struct digest *id)
{
	char text[DIGEST_TEXT_SIZE], path[DIGEST_TEXT_SIZE + 16];
	uint64_t n_taken = 0;
	snprintf(path, sizeof path, "t/%s.vti", digest_text(id, text));
	_close_ int fd = openat(trees, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	for (uint64_t i = 0, n_missed = 0; fd >= 0 && i < x->n_parts && (n_taken || n_missed < MISSES); i++) {
		uint64_t offset = i * x->part_size;
		size_t n = (size_t)min((uint64_t)x->part_size, x->size - offset);
		struct digest d;
		if (x->is_found[i])
			continue;
		if (!read_part(fd, x->bytes + offset, n, offset))
			break;
		digest_bytes(x->bytes + offset, n, &d);
		x->is_found[i] = memcmp(d.byte, x->digests + i * DIGEST_SIZE, DIGEST_SIZE) == 0;
		n_taken += x->is_found[i];
		n_missed += !x->is_found[i];
	}
	return n_taken;
}

static void run_parts(struct fetch_work *w)
{
	struct pull *p = container_of(w, struct pull, work);
	unsigned n = 0;
	for (unsigned i = 0; i < p->n_alike; i++)
		if (take_parts(&p->index, cache_directory(p->cache), &p->alike[i]))
			p->alike[n++] = p->alike[i];
	p->n_alike = n;
}

static void on_parts(struct fetch_work *w, bool is_run)
{
	struct pull *p = container_of(w, struct pull, work);
	struct pull_index *x = &p->index;
	if (!is_run)
		p->n_alike = 0;
	if (!pull_worked(p, is_run))
		return;
	/* Nobody was asked for anything meanwhile, who could have ended it. */
	assert(x->swarm);
	for (uint64_t i = 0; i < x->n_parts; i++)
		if (x->is_found[i])
			index_parts_has(p, i);
	index_parts_rest(p);
}

void alike_parts(struct pull *p)
{
	choose(p);
	if (!p->n_alike) {
		index_parts_rest(p);
		return;
	}
	p->index.is_found = xcalloc((size_t)p->index.n_parts, sizeof *p->index.is_found);
	pull_work(p, run_parts, on_parts);
}

/* ---- chunks */

static bool is_absent(const struct cache_tree *t, uint64_t chunk)
{
	return cache_tree_residency(t, chunk) == CACHE_ABSENT;
}

static uint64_t key_of(const struct tree *t, uint64_t chunk, struct digest *d)
{
	tree_chunk_digest(t, chunk, d);
	return get_le64(d->byte);
}

/* Bytes that were copied; 0: it cannot be had from there. */
static int copy_chunk(struct cache_tree *to, uint64_t chunk, struct cache_tree *from, uint64_t from_chunk,
		      uint8_t *room)
{
	const struct tree *t = cache_tree_index(from);
	uint32_t number = tree_blob_of(t, from_chunk);
	const struct tree_blob *b = tree_blob(t, number);
	uint64_t offset = (from_chunk - b->first_chunk) * b->chunk_size;
	size_t n = pull_size_of(t, from_chunk);
	int r = cache_tree_read(from, number, offset, room, n, true);
	if (r == -EUCLEAN) {
		cache_tree_verify(from, from_chunk, 1);
		r = cache_tree_read(from, number, offset, room, n, true);
	}
	if (r || n != pull_size_of(cache_tree_index(to), chunk))
		return 0;
	r = cache_tree_write(to, chunk, room, n);
	return r == -EBADMSG ? 0 : r ? r : (int)n;
}

/* Chunks of `from` by their digests: those that are there. */
static void note_chunks(struct map *m, const struct cache_tree *from)
{
	const struct tree *t = cache_tree_index(from);
	struct digest d;
	for (uint64_t i = 0; i < tree_n_chunks(t); i++)
		if (!is_absent(from, i))
			map_put(m, key_of(t, i, &d), (void *)(uintptr_t)(i + 1));
}

static int64_t copy_all(struct cache_tree *to, struct cache_tree *from, size_t most)
{
	const struct tree *t = cache_tree_index(to);
	_cleanup_(map_fini) struct map by_digest = {0};
	_free_ uint8_t *room = malloc(FETCH_READ_MAX);
	int64_t n = 0;
	if (!room)
		return 0;
	note_chunks(&by_digest, from);
	for (uint64_t i = 0; i < tree_n_chunks(t) && (size_t)n < most; i++) {
		struct digest d, its;
		if (!is_absent(to, i))
			continue;
		uintptr_t at = (uintptr_t)map_get(&by_digest, key_of(t, i, &d));
		if (!at || (key_of(cache_tree_index(from), at - 1, &its), !digest_is_equal(&d, &its)))
			continue;
		int r = copy_chunk(to, i, from, at - 1, room);
		if (r < 0)
			break;
		n += r;
	}
	return n;
}

static bool is_anything_absent(const struct cache_tree *t)
{
	for (uint64_t i = 0; i < tree_n_chunks(cache_tree_index(t)); i++)
		if (is_absent(t, i))
			return true;
	return false;
}

void alike_chunks(struct pull *p)
{
	struct cache_tree *to = fetch_cache_tree(p->tree), *from;
	p->n_copied = 0;
	for (unsigned i = 0; i < p->n_alike && p->n_copied < COPY_MOST && is_anything_absent(to); i++) {
		if (cache_tree_open(p->cache, &p->alike[i], &from))
			continue;
		if (tree_n_chunks(cache_tree_index(from)) <= CHUNKS_MOST)
			p->n_copied += (uint64_t)copy_all(to, from, COPY_MOST - (size_t)p->n_copied);
		cache_tree_close(from);
	}
}

void alike_tell(struct pull *p)
{
	for (uint64_t i = 0; p->n_copied && i < tree_n_chunks(fetch_index(p->tree)); i++)
		stock_came(p->tree->stock, i);
}
