/* SPDX-License-Identifier: Apache-2.0
 * The giver's half of the swarm. */
#include "vinefs/fetch/swarm_internal.h"

struct swarm_given {
	uint64_t n_chunks;
	uint64_t random;
	uint16_t *times; /* a chunk was given away; stays at the most that it can say */
};

struct swarm_given *swarm_given_new(uint64_t n_chunks, uint64_t seed)
{
	_cleanup_(swarm_given_freep) struct swarm_given *g = NEW(struct swarm_given);
	g->n_chunks = n_chunks;
	g->random = seed | 1;
	g->times = calloc(max(n_chunks, (uint64_t)1), sizeof *g->times);
	return g->times ? steal(g) : NULL;
}

void swarm_given_free(struct swarm_given *g)
{
	if (!g)
		return;
	free(g->times);
	free(g);
}

uint64_t swarm_pick(struct swarm_given *g, uint64_t first, const uint8_t *wanted, size_t n,
		    bool (*is_here)(void *arg, uint64_t chunk), void *arg)
{
	uint64_t best = SWARM_NONE, n_ties = 0;
	for (size_t i = 0; i < n && first < g->n_chunks && 8 * i < g->n_chunks - first; i++)
		for (unsigned bits = wanted[i]; bits; bits &= bits - 1) {
			uint64_t chunk = first + 8 * i + (unsigned)__builtin_ctz(bits);
			if (chunk >= g->n_chunks)
				break;
			if (best != SWARM_NONE && g->times[chunk] > g->times[best])
				continue;
			if (!is_here(arg, chunk))
				continue;
			if (best == SWARM_NONE || g->times[chunk] < g->times[best])
				n_ties = 0;
			/* The k-th of those that are equal is taken with 1 / k: each alike. */
			if (swarm_random(&g->random, ++n_ties) == 0)
				best = chunk;
		}
	if (best != SWARM_NONE && g->times[best] < UINT16_MAX)
		g->times[best]++;
	return best;
}

void swarm_ungive(struct swarm_given *g, uint64_t chunk)
{
	if (chunk < g->n_chunks && g->times[chunk])
		g->times[chunk]--;
}
