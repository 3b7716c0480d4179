/* SPDX-License-Identifier: Apache-2.0
 * A swarm of chunks of one size, and what it asks for. */
#ifndef UNIT_SWARM_ASKS_H
#define UNIT_SWARM_ASKS_H

#include "vinefs/fetch/swarm.h"

#define SIZE 65536u

static inline uint32_t size_of(void *arg, uint64_t chunk)
{
	(void)arg;
	(void)chunk;
	return SIZE;
}

static inline struct swarm *new_swarm(uint64_t n_chunks)
{
	return swarm_new(
		&(const struct swarm_options){.n_chunks = n_chunks, .size_of = size_of, .rank = SWARM_BULK, .seed = 1});
}

static inline int next(struct swarm *s, uint64_t now_usec, struct swarm_wish *wish)
{
	uint64_t due;
	return swarm_next(s, now_usec, wish, &due);
}

static inline bool is_wanted(const struct swarm_wish *w, uint64_t chunk)
{
	return chunk >= w->first && chunk - w->first < 8 * w->n &&
	       (w->wanted[(chunk - w->first) / 8] >> (chunk - w->first) % 8 & 1);
}

static inline unsigned n_wanted(const struct swarm_wish *w)
{
	unsigned n = 0;
	for (size_t i = 0; i < w->n; i++)
		n += (unsigned)__builtin_popcount(w->wanted[i]);
	return n;
}

static inline uint64_t first_wanted(const struct swarm_wish *w)
{
	for (uint64_t i = w->first;; i++)
		if (is_wanted(w, i))
			return i;
}

#endif
