/* SPDX-License-Identifier: Apache-2.0
 *
 * Robin Hood probing with backward-shift deletion. Invariants:
 * 1. room is 0 or a power of two, and at least one slot is empty (value NULL).
 * 2. Between a value's home (hash & (room - 1)) and its slot there is no empty slot, and none whose value is
 *    nearer to its own home: so a search ends at the first value that is nearer than the sought one would be.
 * 3. A number's hash is a bijection of it: equal hashes are equal keys, and no key is stored. Strings lie in a
 *    second array behind the slots, so that maps of numbers stay at 16 bytes a slot. */
#include "common/map.h"

#include <sys/auxv.h>

#define ROOM_LEAST 16
#define NOWHERE SIZE_MAX

struct map_slot {
	uint64_t hash;
	void *value; /* NULL: empty */
};

static const char **texts(const struct map *m)
{
	assert(m->seed);
	return (const char **)(void *)(m->slots + m->room);
}

static uint64_t hash_number(uint64_t key)
{
	key ^= key >> 32;
	key *= 0xd6e8feb86659fd93u;
	key ^= key >> 32;
	key *= 0xd6e8feb86659fd93u;
	return key ^ key >> 32;
}

static uint64_t fold(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;
	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_text(uint64_t seed, const char *key)
{
	size_t n = strlen(key);
	uint64_t secret = seed ^ 0x9e3779b97f4a7c15u;
	uint64_t hash = fold(seed ^ n, 0xa0761d6478bd642fu);
	for (; n >= 8; n -= 8, key += 8)
		hash = fold(hash ^ get_le64(key), secret);
	uint64_t tail = 0;
	memcpy(&tail, key, n);
	hash = fold(hash ^ tail, secret);
	return hash_number(hash ^ seed);
}

/* The kernel gives every process 16 random bytes: no state, no lock, no system call. */
static uint64_t process_seed(void)
{
	uint64_t word[2] = {0x243f6a8885a308d3u, 0x13198a2e03707344u};
	const void *random = (const void *)getauxval(AT_RANDOM);
	if (random)
		memcpy(word, random, sizeof word);
	return fold(word[0], word[1] | 1) | 1;
}

static size_t distance(const struct map *m, size_t at)
{
	return (at - m->slots[at].hash) & (m->room - 1);
}

void map_fini(struct map *m)
{
	free(m->slots);
	*m = (struct map){0};
}

static size_t find(const struct map *m, uint64_t hash, const char *text)
{
	if (!m->n)
		return NOWHERE;
	assert(!text == !m->seed);
	size_t mask = m->room - 1;
	size_t at = hash & mask;
	for (size_t far = 0; m->slots[at].value && distance(m, at) >= far; far++, at = (at + 1) & mask)
		if (m->slots[at].hash == hash && (!text || streq(texts(m)[at], text)))
			return at;
	return NOWHERE;
}

/* The key is not in the map. Whoever is nearer to home gives way to who is farther. */
static void place(struct map *m, struct map_slot slot, const char *text)
{
	size_t mask = m->room - 1;
	size_t at = slot.hash & mask;
	for (size_t far = 0; m->slots[at].value; far++, at = (at + 1) & mask) {
		size_t theirs = distance(m, at);
		if (theirs >= far)
			continue;
		struct map_slot other = m->slots[at];
		m->slots[at] = slot;
		slot = other;
		if (m->seed) {
			const char *other_text = texts(m)[at];
			texts(m)[at] = text;
			text = other_text;
		}
		far = theirs;
	}
	m->slots[at] = slot;
	if (m->seed)
		texts(m)[at] = text;
}

static void resize(struct map *m, size_t room)
{
	assert((room & (room - 1)) == 0 && room > m->n);
	struct map old = *m;
	m->room = room;
	m->slots = xcalloc(room, sizeof(struct map_slot) + (m->seed ? sizeof(char *) : 0));
	for (size_t i = 0; i < old.room; i++)
		if (old.slots[i].value)
			place(m, old.slots[i], m->seed ? texts(&old)[i] : NULL);
	free(old.slots);
}

/* Such that it is neither full nor empty enough to be moved again soon. */
static size_t room_for(size_t n)
{
	size_t room = ROOM_LEAST;
	while (room < n * 3)
		room *= 2;
	return room;
}

static void *put(struct map *m, uint64_t hash, const char *text, void *value)
{
	assert(value);
	size_t at = find(m, hash, text);
	if (at != NOWHERE) {
		void *before = m->slots[at].value;
		m->slots[at].value = value;
		if (text)
			texts(m)[at] = text;
		return before;
	}
	if (m->n + 1 > m->room / 8 * 7)
		resize(m, max(m->room * 2, (size_t)ROOM_LEAST));
	else if (m->room > ROOM_LEAST && m->n + 1 < m->room / 8)
		resize(m, room_for(m->n + 1));
	place(m, (struct map_slot){hash, value}, text);
	m->n++;
	return NULL;
}

/* Never moves to a smaller array (the next put does), so that map_next goes on where it was. */
static void *take(struct map *m, size_t at)
{
	if (at == NOWHERE)
		return NULL;
	void *value = m->slots[at].value;
	size_t mask = m->room - 1;
	for (size_t next = (at + 1) & mask; m->slots[next].value && distance(m, next);
	     at = next, next = (next + 1) & mask) {
		m->slots[at] = m->slots[next];
		if (m->seed)
			texts(m)[at] = texts(m)[next];
	}
	m->slots[at].value = NULL;
	if (!--m->n)
		map_fini(m);
	return value;
}

void *map_put(struct map *m, uint64_t key, void *value)
{
	assert(!m->seed);
	return put(m, hash_number(key), NULL, value);
}

void *map_get(const struct map *m, uint64_t key)
{
	size_t at = find(m, hash_number(key), NULL);
	return at == NOWHERE ? NULL : m->slots[at].value;
}

void *map_remove(struct map *m, uint64_t key)
{
	return take(m, find(m, hash_number(key), NULL));
}

void *map_put_text(struct map *m, const char *key, void *value)
{
	assert(key);
	if (!m->room)
		m->seed = process_seed();
	assert(m->seed);
	return put(m, hash_text(m->seed, key), key, value);
}

void *map_get_text(const struct map *m, const char *key)
{
	size_t at = find(m, hash_text(m->seed, key), key);
	return at == NOWHERE ? NULL : m->slots[at].value;
}

void *map_remove_text(struct map *m, const char *key)
{
	return take(m, find(m, hash_text(m->seed, key), key));
}

/* Walks downwards and round, from below an empty slot back to it: a removal moves only values that were seen, for no
 * run of values crosses that slot. *i holds the slot in its upper half and the steps made in its lower. */
void *map_next(const struct map *m, size_t *i)
{
	_Static_assert(sizeof(size_t) == 8, "two halves of a size_t");
	if (!m->n)
		return NULL;
	assert(m->room <= UINT32_MAX);
	if (!*i)
		while (m->slots[*i >> 32].value)
			*i += 1ull << 32;
	size_t empty = *i >> 32;
	while ((*i & UINT32_MAX) + 1 < m->room) {
		++*i;
		size_t at = (empty - (*i & UINT32_MAX)) & (m->room - 1);
		if (m->slots[at].value)
			return m->slots[at].value;
	}
	return NULL;
}
