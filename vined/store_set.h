/* SPDX-License-Identifier: Apache-2.0
 * A set of numbers that lie close together, a bit each. Zero-initialised is empty; `base` may be set before the first is added. */
#ifndef VINED_STORE_SET_H
#define VINED_STORE_SET_H

#include "common/base.h"

struct store_set {
	uint64_t *at;
	size_t room; /* words */
	uint64_t base;
};

static inline void store_set_fini(struct store_set *s)
{
	free(s->at);
	*s = (struct store_set){0};
}

static inline void store_set_add(struct store_set *s, uint64_t id)
{
	assert(id >= s->base);
	size_t word = (size_t)((id - s->base) / 64);
	if (word >= s->room) {
		size_t room = max(word + 1, s->room * 2);
		s->at = xrealloc(s->at, room * sizeof *s->at);
		memset(s->at + s->room, 0, (room - s->room) * sizeof *s->at);
		s->room = room;
	}
	s->at[word] |= (uint64_t)1 << (id - s->base) % 64;
}

static inline bool store_set_has(const struct store_set *s, uint64_t id)
{
	uint64_t word = (id - s->base) / 64;
	return id >= s->base && word < s->room && s->at[word] >> (id - s->base) % 64 & 1;
}

static inline void store_set_remove(struct store_set *s, uint64_t id)
{
	if (store_set_has(s, id))
		s->at[(id - s->base) / 64] &= ~((uint64_t)1 << (id - s->base) % 64);
}

/* The first number from `id` on, or UINT64_MAX. */
static inline uint64_t store_set_next(const struct store_set *s, uint64_t id)
{
	uint64_t at = id > s->base ? id - s->base : 0;
	for (uint64_t word = at / 64; word < s->room; word++, at = word * 64) {
		uint64_t rest = s->at[word] >> at % 64;
		if (rest)
			return s->base + at + (uint64_t)__builtin_ctzll(rest);
	}
	return UINT64_MAX;
}

#endif
