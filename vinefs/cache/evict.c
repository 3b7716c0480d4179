/* SPDX-License-Identifier: Apache-2.0
 * What goes first: blobs of no tree, then trees by last use, then, if there is no other way, last copies; then cold chunks of trees that are kept
 * chunk by chunk; in the end indexes that nobody has bytes of. */
#include "vinefs/cache/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define CHILL_WHOLE ((uint64_t)16 << 20) /* a cold blob up to this goes as a whole */
#define BUSY_TRIES 25
#define BUSY_MSEC 20
#define AGAIN_TRIES 1000

struct want {
	uint64_t size, n_inodes; /* still wanted */
	uint64_t freed, n_freed;
	bool is_busy; /* something could not go just now */
};

static bool is_enough(const struct want *w)
{
	return w->freed >= w->size && w->n_freed >= w->n_inodes;
}

static uint64_t inodes_of(enum blob_state state)
{
	return state == BLOB_PART ? 2 : 1;
}

void evict_withdraw(struct cache *c, struct blob *b)
{
	c->n_going++;
	blob_withdraw(c, b);
}

void evict_remove(struct cache *c, struct blob *b, enum blob_state state)
{
	char path[DIGEST_TEXT_SIZE + 8];
	assert(b->is_moving && state != BLOB_ABSENT);
	if (state == BLOB_PART) {
		part_remove(c, b);
	} else {
		blob_path(b, path);
		unlinkat(c->blobs_fd, path, 0);
		path[2] = 0;
		unlinkat(c->blobs_fd, path, AT_REMOVEDIR); /* if it was the last: directories are inodes too */
	}
	cache_lock(c);
	cache_count(c, -(int64_t)b->allocated, -(int64_t)inodes_of(state));
	b->allocated = 0;
	assert(c->n_going);
	c->n_going--;
	c->refused_usec = 0;
	blob_moved(c, b);
	blob_drop(c, b);
	cache_unlock(c);
}

/* ---- blobs. Those that are to go are withdrawn under the lock, in batches, and removed without it. */

struct batch {
	struct blob *blobs[BATCH];
	enum blob_state states[BATCH];
	unsigned n;
};

static bool is_loose(const struct blob *b)
{
	return !b->n_wanted && !b->n_held && atomic_load(&b->state) != BLOB_ABSENT;
}

static void batch_add(struct cache *c, struct batch *out, struct blob *b, struct want *w)
{
	assert(out->n < BATCH);
	if (!blob_try_move(b)) {
		w->is_busy = true;
		return;
	}
	enum blob_state state = (enum blob_state)atomic_load(&b->state);
	evict_withdraw(c, b);
	w->freed += b->allocated;
	w->n_freed += inodes_of(state);
	out->blobs[out->n] = b;
	out->states[out->n++] = state;
}

static void batch_remove(struct cache *c, struct batch *out)
{
	while (out->n) {
		out->n--;
		evict_remove(c, out->blobs[out->n], out->states[out->n]);
	}
}

/* With is_all more than is wanted: half a tree is of no use. */
static void evict_loose(struct cache *c, struct want *w, bool is_all)
{
	struct batch out = {.n = 0};
	do {
		batch_remove(c, &out);
		size_t i = 0;
		cache_lock(c);
		for (struct blob *b; out.n < BATCH && (is_all || !is_enough(w)) && (b = map_next(&c->blobs, &i));)
			if (is_loose(b))
				batch_add(c, &out, b, w);
		cache_unlock(c);
	} while (out.n);
}

/* ---- trees */

static bool is_evictable(const struct known *k)
{
	return k->is_wanted && !k->n_leases && !k->is_pinned;
}

/* Locked: the tree used longest ago. */
static struct known *oldest(struct cache *c, bool with_last)
{
	struct known *found = NULL, *k;
	for (size_t i = 0; (k = map_next(&c->trees, &i));)
		if (is_evictable(k) && (with_last || !k->is_last) && (!found || k->used_usec < found->used_usec))
			found = k;
	return found;
}

/* Locked: its blobs are loose now, but those that others want. */
static void unwant(struct cache *c, struct known *k)
{
	assert(is_evictable(k));
	k->is_wanted = false;
	for (uint32_t i = 0; i < k->n_blobs; i++) {
		assert(k->blobs[i]->n_wanted);
		k->blobs[i]->n_wanted--;
	}
	known_save(c, k);
}

static void evict_trees(struct cache *c, struct want *w, bool with_last)
{
	while (!is_enough(w)) {
		cache_lock(c);
		struct known *k = oldest(c, with_last);
		if (k)
			unwant(c, k);
		cache_unlock(c);
		if (!k)
			return;
		evict_loose(c, w, true);
	}
}

int cache_evict(struct cache *c, const struct digest *id)
{
	struct want w = {.size = UINT64_MAX, .n_inodes = UINT64_MAX};
	cache_lock(c);
	struct known *k = known_get(c, id);
	bool is_free = k && !k->n_leases && !k->is_pinned;
	for (uint32_t i = 0; is_free && i < k->n_blobs; i++)
		is_free = !k->blobs[i]->n_held;
	if (is_free && is_evictable(k))
		unwant(c, k);
	cache_unlock(c);
	if (!is_free)
		return k ? -EBUSY : -ENOENT;
	evict_loose(c, &w, true);
	return 0;
}

/* ---- indexes of trees that nobody holds, names or has bytes of: last of all */

static bool is_index_loose(const struct known *k)
{
	return !k->is_wanted && !k->n_leases && !k->is_pinned && !k->open;
}

static bool is_named(struct cache *c, const struct known *k)
{
	const struct cache_name_entry *n;
	for (size_t i = 0; (n = map_next(&c->names, &i));)
		if (digest_is_equal(&n->id, &k->id))
			return true;
	return false;
}

static struct known *oldest_index(struct cache *c)
{
	struct known *found = NULL, *k;
	for (size_t i = 0; (k = map_next(&c->trees, &i));)
		if (is_index_loose(k) && (!found || k->used_usec < found->used_usec) && !is_named(c, k))
			found = k;
	return found;
}

static void evict_indexes(struct cache *c, struct want *w)
{
	char path[DIGEST_TEXT_SIZE + 8];
	cache_lock(c);
	for (struct known *k; !is_enough(w) && !c->leaving[0] && (k = oldest_index(c));) {
		/* Until its file is gone nobody publishes it again. */
		memcpy(c->leaving, k->text, sizeof c->leaving);
		snprintf(path, sizeof path, "%s.vti", k->text);
		w->freed += cache_round(k->index_size);
		w->n_freed++;
		catalog_drop_tree(c->catalog, &k->id);
		known_free(c, k);
		cache_unlock(c);
		unlinkat(c->trees_fd, path, 0);
		cache_lock(c);
		c->leaving[0] = 0;
		pthread_cond_broadcast(&c->moved);
	}
	cache_unlock(c);
}

/* ---- cold chunks */

/* Locked: the next blob of a chunk-wise tree that nobody else wants. The hands go round once per call at most. */
static struct blob *next_to_chill(struct cache *c, uint64_t *steps)
{
	struct known *k;
	for (size_t i = 0; (k = map_next(&c->trees, &i));) {
		if (!k->is_wanted || k->is_pinned || !known_is_chunkwise(c, k))
			continue;
		while (*steps && k->n_blobs) {
			struct blob *b = k->blobs[k->hand++ % k->n_blobs];
			--*steps;
			if (atomic_load(&b->state) != BLOB_ABSENT && b->n_wanted == 1 && !b->n_held)
				return b;
		}
	}
	return NULL;
}

static bool cool_down(struct blob *b)
{
	bool was_warm = false;
	for (uint64_t i = 0; i <= b->n_chunks / 64; i++)
		was_warm |= atomic_exchange(&b->touched[i], 0) != 0;
	return was_warm;
}

/* Unlocked, by its mover, and ends the move. */
static void chill(struct cache *c, struct blob *b, struct want *w)
{
	enum blob_state state = (enum blob_state)atomic_load(&b->state);
	bool is_small = state != BLOB_PART && b->allocated <= CHILL_WHOLE;
	if ((is_small && !cool_down(b)) || state == BLOB_DOUBTFUL) {
		cache_lock(c);
		evict_withdraw(c, b);
		w->freed += b->allocated;
		w->n_freed += inodes_of(state);
		cache_unlock(c);
		evict_remove(c, b, state);
		return;
	}
	if (!is_small && (state == BLOB_PART || part_from_whole(c, b) == 0))
		w->freed += part_chill(c, b, w->size > w->freed ? w->size - w->freed : CACHE_BLOCK);
	cache_lock(c);
	blob_moved(c, b);
	cache_unlock(c);
}

static void evict_cold(struct cache *c, struct want *w)
{
	uint64_t steps = 0;
	struct known *k;
	cache_lock(c);
	for (size_t i = 0; (k = map_next(&c->trees, &i));)
		steps += known_is_chunkwise(c, k) ? 2 * (uint64_t)k->n_blobs : 0;
	while (!is_enough(w)) {
		struct blob *b = next_to_chill(c, &steps);
		if (!b)
			break;
		if (!blob_try_move(b)) {
			w->is_busy = true;
			continue;
		}
		cache_unlock(c);
		chill(c, b, w);
		cache_lock(c);
	}
	cache_unlock(c);
}

/* ---- all of it */

/* Until something has moved. True if others are removing what will be room soon. */
static bool wait_a_little(struct cache *c)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (long)BUSY_MSEC * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	cache_lock(c);
	bool is_going = c->n_going != 0;
	pthread_cond_timedwait(&c->moved, &c->lock, &until);
	cache_unlock(c);
	return is_going;
}

bool evict_some(struct cache *c, uint64_t size, uint64_t n_inodes)
{
	struct want w = {.size = size, .n_inodes = n_inodes};
	for (int i = 0; i < BUSY_TRIES; i++) {
		cache_lock(c);
		w.is_busy = c->n_going != 0;
		cache_unlock(c);
		evict_loose(c, &w, false);
		if (!is_enough(&w))
			evict_trees(c, &w, false);
		if (!is_enough(&w))
			evict_trees(c, &w, true);
		if (!is_enough(&w))
			evict_cold(c, &w);
		/* Who writes what could have gone is done soon. */
		if (w.freed || w.n_freed || !w.is_busy)
			break;
		if (wait_a_little(c))
			return true;
	}
	cache_lock(c);
	c->n_evictions += w.freed || w.n_freed;
	c->evicted_size += w.freed;
	cache_unlock(c);
	return w.freed || w.n_freed;
}

bool evict_again(struct cache *c, uint64_t size, uint64_t n_inodes, unsigned *n_tries)
{
	if (*n_tries < AGAIN_TRIES) {
		*n_tries = evict_some(c, size, n_inodes) ? *n_tries + 1 : AGAIN_TRIES;
		return true;
	}
	/* Bytes were not enough, nor what others made room for meanwhile. */
	struct want w = {.size = size, .n_inodes = n_inodes};
	evict_indexes(c, &w);
	return w.n_freed != 0;
}

void evict_firm(struct cache *c, uint64_t *size, uint64_t *n_inodes)
{
	struct known *k;
	struct blob *b;
	*size = 0;
	*n_inodes = 0;
	for (size_t i = 0; (b = map_next(&c->blobs, &i));)
		b->is_firm = b->n_held != 0;
	for (size_t i = 0; (k = map_next(&c->trees, &i));) {
		bool is_firm = k->n_leases || k->is_pinned || k->open;
		*size += is_firm ? cache_round(k->index_size) : 0;
		*n_inodes += is_firm;
		if (k->is_pinned || (k->n_leases && !known_is_chunkwise(c, k)))
			for (uint32_t n = 0; n < k->n_blobs; n++)
				k->blobs[n]->is_firm = true;
	}
	for (size_t i = 0; (b = map_next(&c->blobs, &i));) {
		enum blob_state state = (enum blob_state)atomic_load(&b->state);
		if (!b->is_firm || state == BLOB_ABSENT)
			continue;
		*size += b->allocated;
		*n_inodes += inodes_of(state);
	}
}
