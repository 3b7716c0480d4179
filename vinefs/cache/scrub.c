/* SPDX-License-Identifier: Apache-2.0
 * Rounds over all trees in the order of their ids; a blob that several share is read once a round. What no tree knows has no digests to be checked by. */
#include "vinefs/cache/internal.h"

#define CHUNK_MOST (1u << 20)

struct pass {
	struct cache *cache;
	uint8_t *room;
	uint64_t budget, size; /* size: read so far */
	uint64_t n_damaged;
	unsigned round; /* 0: shared blobs are read however often they come */
};

/* Locked: the first tree at or after `text`. */
static struct known *next_tree(struct cache *c, const char *text)
{
	struct known *found = NULL, *k;
	for (size_t i = 0; (k = map_next(&c->trees, &i));)
		if (strcmp(k->text, text) >= 0 && (!found || strcmp(k->text, found->text) < 0))
			found = k;
	return found;
}

/* Was it read in this round, by way of another tree? If not it is from now on. */
static bool is_seen(struct pass *p, struct blob *b, bool is_first_chunk)
{
	if (!p->round || !is_first_chunk)
		return false;
	bool is_again = b->n_seen == p->round;
	b->n_seen = p->round;
	return is_again;
}

/* From `chunk` on, within the budget; returns where it stopped: the number of chunks if the tree is done. */
static uint64_t check_tree(struct pass *p, struct cache_tree *t, uint64_t chunk)
{
	const struct tree *index = cache_tree_index(t);
	uint64_t n = tree_n_chunks(index);
	while (chunk < n && (p->size < p->budget || !p->size)) {
		uint32_t number = held_blob_of(t, chunk);
		struct blob *b = held_blob(t, number);
		uint64_t first = tree_blob(index, number)->first_chunk;
		if (is_seen(p, b, chunk == first)) {
			chunk = first + b->n_chunks;
			continue;
		}
		int r = held_check(t, chunk, p->room, true);
		if (r)
			p->size += blob_chunk_size(b, chunk - first);
		p->n_damaged += r == -EBADMSG;
		chunk++;
	}
	return chunk;
}

static void mark_verified(struct cache *c, const struct digest *id)
{
	cache_lock(c);
	struct known *k = known_get(c, id);
	if (k) {
		k->verified_usec = cache_now_usec();
		known_save(c, k);
	}
	cache_unlock(c);
}

/* Locked: the first tree at or after the place, which becomes its own. */
static bool find_place(struct cache *c, struct cache_scrub_place *place, struct digest *id, uint64_t *used_usec)
{
	const struct known *k = next_tree(c, place->tree);
	if (!k)
		return false;
	if (!streq(k->text, place->tree)) {
		memcpy(place->tree, k->text, sizeof place->tree);
		place->chunk = place->n_damaged = 0;
	}
	*id = k->id;
	*used_usec = k->used_usec;
	return true;
}

/* Scrubbing is no use of a tree. */
static void restore_used(struct cache *c, const struct digest *id, uint64_t used_usec)
{
	cache_lock(c);
	struct known *k = known_get(c, id);
	if (k && !k->open && !k->n_leases)
		k->used_usec = used_usec;
	cache_unlock(c);
}

/* False: there is no tree after this place. */
static bool scrub_tree(struct pass *p, struct cache_scrub_place *place)
{
	struct cache *c = p->cache;
	struct cache_tree *t;
	struct digest id;
	uint64_t used_usec;
	cache_lock(c);
	bool is_found = find_place(c, place, &id, &used_usec);
	cache_unlock(c);
	if (!is_found)
		return false;
	if (cache_tree_open(c, &id, &t) == 0) {
		uint64_t before = p->n_damaged, n = tree_n_chunks(cache_tree_index(t));
		place->chunk = check_tree(p, t, min(place->chunk, n));
		place->n_damaged += p->n_damaged - before;
		bool is_done = place->chunk == n;
		cache_tree_close(t);
		restore_used(c, &id, used_usec);
		if (!is_done)
			return true;
		if (!place->n_damaged)
			mark_verified(c, &id);
	}
	/* Behind this id and before every other: digits and then letters, of one length. */
	place->tree[strlen(place->tree) - 1]++;
	place->chunk = place->n_damaged = 0;
	return true;
}

/* What has just come was verified as it came; to read it from the disk it would have to be written there first. */
static bool is_put_off(struct cache *c)
{
	struct cache_scrub_place *s = &c->scrub;
	uint64_t n_stored = atomic_load(&c->n_stored);
	bool is_busy = n_stored != s->n_stored;
	s->n_stored = n_stored;
	s->n_put_off = is_busy && s->n_put_off < CACHE_SCRUB_WAITS ? s->n_put_off + 1 : 0;
	return s->n_put_off;
}

int64_t cache_scrub(struct cache *c, uint64_t budget)
{
	if (is_put_off(c))
		return 0;
	_free_ uint8_t *room = xmalloc(CHUNK_MOST);
	struct pass p = {.cache = c, .room = room, .budget = budget};
	int n_rounds = 0;
	/* It may begin anywhere: two ends of the list are one whole round. */
	while (!p.size || p.size < budget) {
		if (!c->scrub.round)
			c->scrub.round = 1;
		p.round = c->scrub.round;
		if (scrub_tree(&p, &c->scrub))
			continue;
		c->scrub.tree[0] = 0;
		c->scrub.round++;
		if (p.size || ++n_rounds == 2)
			break;
	}
	return (int64_t)p.size;
}

int cache_verify(struct cache *c, const struct digest *id, uint64_t *n_damaged)
{
	_free_ uint8_t *room = xmalloc(CHUNK_MOST);
	struct pass p = {.cache = c, .room = room, .budget = UINT64_MAX};
	struct cache_tree *t;
	int r = cache_tree_open(c, id, &t);
	*n_damaged = 0;
	if (r < 0)
		return r;
	uint64_t end = check_tree(&p, t, 0);
	assert(end == tree_n_chunks(cache_tree_index(t)));
	(void)end;
	cache_tree_close(t);
	*n_damaged = p.n_damaged;
	if (!p.n_damaged)
		mark_verified(c, id);
	return 0;
}
