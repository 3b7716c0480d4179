/* SPDX-License-Identifier: Apache-2.0
 * A tournament: leaves 0..room-1 lie at room..2*room-1 of an array in which i is the parent of 2i and 2i+1. Each record holds the
 * smallest key below it, the union of features and the greatest of each amount, so a search leaves out every
 * subtree in which nothing can cover what is asked or nothing is better than what was found. Beside each lies which leaf has that
 * key: mostly the first of all covers what is asked, and nothing else is looked at.
 *
 * All is one piece of memory: the records from 1 on, what the leaves are, the winners, the leaves to spare. */
#include "core/core_internal.h"

#define LINE 64u
#define LEVELS 4u  /* what is further up is seldom changed, or at hand */
#define EFFORT 64u /* records looked at, while one of equal major is known */
enum { MAJOR, MINOR, FEATURES, AMOUNTS };

static uint32_t stride(const struct core_bracket *b)
{
	return AMOUNTS + b->n_dims;
}

/* Of the usual five amounts a record is one line of the processor's cache. */
static uint64_t *record(const struct core_bracket *b, uint32_t i)
{
	uint64_t *first = (uint64_t *)(((uintptr_t)b->memory + LINE - 1) & ~(uintptr_t)(LINE - 1));
	return first + (size_t)(i - 1) * stride(b);
}

static void **leaves(const struct core_bracket *b)
{
	return (void **)(void *)record(b, 2 * b->room);
}

static uint32_t *winners(const struct core_bracket *b)
{
	return (uint32_t *)(void *)(leaves(b) + b->room);
}

static uint32_t *spare(const struct core_bracket *b)
{
	return winners(b) + b->room;
}

static size_t memory_size(const struct core_bracket *b)
{
	size_t records = (size_t)(2 * b->room - 1) * stride(b) * sizeof *b->memory;
	return LINE + records + b->room * (sizeof(void *) + 2 * sizeof(uint32_t));
}

/* The leaf of the smallest key below. */
static uint32_t winner(const struct core_bracket *b, uint32_t i)
{
	return i >= b->room ? i - b->room : winners(b)[i];
}

static void set_empty(const struct core_bracket *b, uint32_t i)
{
	uint64_t *r = record(b, i);
	memset(r, 0, stride(b) * sizeof *r);
	r[MAJOR] = r[MINOR] = UINT64_MAX;
}

static bool is_less(const uint64_t *a, const uint64_t *b)
{
	return a[MAJOR] != b[MAJOR] ? a[MAJOR] < b[MAJOR] : a[MINOR] < b[MINOR];
}

/* Whether it changed: if not, nothing above does. */
static bool join(const struct core_bracket *b, uint32_t i)
{
	const uint64_t *x = record(b, 2 * i), *y = record(b, 2 * i + 1);
	uint64_t *to = record(b, i);
	bool is_second = is_less(y, x);
	const uint64_t *first = is_second ? y : x;
	uint32_t leaf = winner(b, 2 * i + is_second);
	uint64_t changed = (to[MAJOR] ^ first[MAJOR]) | (to[MINOR] ^ first[MINOR]) | (winners(b)[i] ^ leaf);
	winners(b)[i] = leaf;
	to[MAJOR] = first[MAJOR];
	to[MINOR] = first[MINOR];
	uint64_t features = x[FEATURES] | y[FEATURES];
	changed |= to[FEATURES] ^ features;
	to[FEATURES] = features;
	for (uint32_t k = AMOUNTS; k < stride(b); k++) {
		uint64_t most = max(x[k], y[k]);
		changed |= to[k] ^ most;
		to[k] = most;
	}
	return changed != 0;
}

static void rise(const struct core_bracket *b, uint32_t leaf)
{
	for (uint32_t i = (b->room + leaf) / 2; i && join(b, i);)
		i /= 2;
}

void core_bracket_fini(struct core_bracket *b)
{
	free(b->memory);
	*b = (struct core_bracket){0};
}

/* A new shape for the same leaves. */
static void resize(struct core_bracket *b, uint32_t room, uint32_t n_dims)
{
	struct core_bracket old = *b;
	b->room = room;
	b->n_dims = n_dims;
	b->memory = xmalloc(memory_size(b));
	for (uint32_t i = 0; i < old.n_spare; i++)
		spare(b)[i] = spare(&old)[i];
	for (uint32_t i = 0; i < room; i++) {
		set_empty(b, room + i);
		leaves(b)[i] = i < old.room ? leaves(&old)[i] : NULL;
		if (i < old.room)
			memcpy(record(b, room + i), record(&old, old.room + i), stride(&old) * sizeof(uint64_t));
	}
	for (uint32_t i = room; i-- > old.room;)
		spare(b)[b->n_spare++] = i;
	for (uint32_t i = room; --i;) {
		set_empty(b, i);
		winners(b)[i] = UINT32_MAX;
		join(b, i);
	}
	free(old.memory);
}

void core_bracket_widen(struct core_bracket *b, uint32_t n_dims)
{
	assert(n_dims >= b->n_dims && n_dims <= CORE_DIMS);
	if (b->room)
		resize(b, b->room, n_dims);
	b->n_dims = n_dims;
}

uint32_t core_bracket_put(struct core_bracket *b, void *what, struct core_key key, const struct core_vector *v)
{
	assert(what && b->n_dims);
	if (!b->n_spare)
		resize(b, b->room ? b->room * 2 : 1, b->n_dims);
	uint32_t leaf = spare(b)[--b->n_spare];
	assert(!leaves(b)[leaf]);
	leaves(b)[leaf] = what;
	b->n++;
	core_bracket_set(b, leaf + 1, key, v);
	return leaf + 1;
}

void core_bracket_set(struct core_bracket *b, uint32_t at, struct core_key key, const struct core_vector *v)
{
	assert(at && at <= b->room && leaves(b)[at - 1]);
	uint64_t *r = record(b, b->room + at - 1);
	if (!v && r[MAJOR] == key.major && r[MINOR] == key.minor)
		return;
	r[MAJOR] = key.major;
	r[MINOR] = key.minor;
	if (v) {
		r[FEATURES] = v->features;
		memcpy(r + AMOUNTS, v->at, b->n_dims * sizeof(uint64_t));
	}
	rise(b, at - 1);
}

void core_bracket_remove(struct core_bracket *b, uint32_t at)
{
	assert(at && at <= b->room && leaves(b)[at - 1]);
	leaves(b)[at - 1] = NULL;
	spare(b)[b->n_spare++] = at - 1;
	set_empty(b, b->room + at - 1);
	rise(b, at - 1);
	if (!--b->n) {
		uint32_t n_dims = b->n_dims;
		core_bracket_fini(b);
		b->n_dims = n_dims;
	}
}

struct core_key core_bracket_best(const struct core_bracket *b)
{
	return b->n ? (struct core_key){record(b, 1)[MAJOR], record(b, 1)[MINOR]}
		    : (struct core_key){UINT64_MAX, UINT64_MAX};
}

void *core_bracket_first(const struct core_bracket *b)
{
	return b->n ? leaves(b)[winner(b, 1)] : NULL;
}

void *core_bracket_at(const struct core_bracket *b, uint32_t at)
{
	return at && at <= b->room ? leaves(b)[at - 1] : NULL;
}

void core_bracket_warm(const struct core_bracket *b)
{
	if (b->n && b->room > 1) {
		__builtin_prefetch(winners(b) + 1);
		for (uint32_t i = 0; i < min(b->room, 16u); i += LINE / sizeof(void *))
			__builtin_prefetch(leaves(b) + i);
	} else if (b->n) {
		__builtin_prefetch(record(b, 1));
		__builtin_prefetch(leaves(b));
	}
}

void core_bracket_warm_at(const struct core_bracket *b, uint32_t at)
{
	assert(at <= b->room);
	uint32_t i = at ? b->room + at - 1 : 0;
	for (unsigned level = 0; i > 1 && level < LEVELS; i /= 2, level++) {
		__builtin_prefetch(record(b, i));
		__builtin_prefetch(record(b, i ^ 1));
	}
}

void core_bracket_warm_first(const struct core_bracket *b)
{
	core_bracket_warm_at(b, b->n ? winner(b, 1) + 1 : 0);
}

bool core_bracket_sum(const struct core_bracket *b, struct core_vector *v)
{
	if (!b->n)
		return false;
	v->features = record(b, 1)[FEATURES];
	memcpy(v->at, record(b, 1) + AMOUNTS, b->n_dims * sizeof(uint64_t));
	return true;
}

struct core_key core_bracket_key(const struct core_bracket *b, uint32_t at)
{
	assert(at && at <= b->room);
	const uint64_t *r = record(b, b->room + at - 1);
	return (struct core_key){r[MAJOR], r[MINOR]};
}

static bool covers(const struct core_bracket *b, const uint64_t *r, const struct core_vector *ask)
{
	bool is_enough = (r[FEATURES] & ask->features) == ask->features;
	for (uint32_t k = 0; k < b->n_dims; k++)
		is_enough &= r[AMOUNTS + k] >= ask->at[k];
	return is_enough;
}

bool core_bracket_may(const struct core_bracket *b, const struct core_vector *ask)
{
	return b->n && covers(b, record(b, 1), ask);
}

struct search {
	const struct core_vector *ask;
	core_bracket_accepts accepts;
	const uint64_t *after; /* a key */
	uint64_t best[2];
	uint32_t leaf;
	uint32_t n_left; /* records to look at; then only a better major counts */
};

static void find_below(const struct core_bracket *b, uint32_t i, struct search *s)
{
	const uint64_t *r = record(b, i);
	if (!is_less(r, s->best) || (!s->n_left && s->leaf && r[MAJOR] >= s->best[MAJOR]) || !covers(b, r, s->ask))
		return;
	s->n_left -= s->n_left > 0;
	if (i >= b->room) {
		if (s->after && !is_less(s->after, r))
			return;
		if (s->accepts && !s->accepts(leaves(b)[i - b->room], s->ask))
			return;
		s->leaf = i - b->room + 1;
		s->best[MAJOR] = r[MAJOR];
		s->best[MINOR] = r[MINOR];
		return;
	}
	uint32_t first = 2 * i + is_less(record(b, 2 * i + 1), record(b, 2 * i));
	find_below(b, first, s);
	find_below(b, first ^ 1, s);
}

void *core_bracket_find(const struct core_bracket *b, const struct core_vector *ask, const struct core_key *after,
			core_bracket_accepts accepts)
{
	uint64_t key[2];
	struct search s = {.ask = ask, .accepts = accepts, .best = {UINT64_MAX, UINT64_MAX}, .n_left = UINT32_MAX};
	if (!b->n)
		return NULL;
	void *first = core_bracket_first(b);
	if (!after && covers(b, record(b, b->room + winner(b, 1)), ask) && (!accepts || accepts(first, ask)))
		return first;
	if (after) {
		key[MAJOR] = after->major;
		key[MINOR] = after->minor;
		s.after = key;
	}
	find_below(b, 1, &s);
	return s.leaf ? leaves(b)[s.leaf - 1] : NULL;
}

void *core_bracket_find_soon(const struct core_bracket *b, const struct core_vector *ask)
{
	struct search s = {.ask = ask, .best = {UINT64_MAX, UINT64_MAX}, .n_left = EFFORT};
	if (b->n)
		find_below(b, 1, &s);
	return s.leaf ? leaves(b)[s.leaf - 1] : NULL;
}

void core_bracket_check(const struct core_bracket *b)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < b->room; i++)
		n += leaves(b)[i] != NULL;
	if (n != b->n || n + b->n_spare != b->room)
		abort();
	for (uint32_t i = b->room; i > 1;)
		if (join(b, --i))
			abort();
}
