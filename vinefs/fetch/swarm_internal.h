/* SPDX-License-Identifier: Apache-2.0
 * What the swarm's files share. Invariants:
 * 1. A chunk is open (may be asked for), held (in the set of one request whose giver has not chosen), under way (chosen, or come and not verified) or here.
 * 2. A chunk is held by `owner`, a request that waits, and that request's set has its bit. `n_live` of a request counts what it holds; what only its giver has is in its set, too, and not held: when another gets it, the giver has others that it gives first.
 * 3. `open[rank]` has the bits of open chunks of this rank, `held` of held ones; both are counted by block, so that what is empty costs nothing.
 * 4. `count[]` is a number of PLANES bits for each chunk, one bit in each plane: how many neighbours have it. So the rarest of a set are found word by word. */
#ifndef FETCH_SWARM_INTERNAL_H
#define FETCH_SWARM_INTERNAL_H

#include "vinefs/fetch/swarm.h"

#define BLOCK_WORDS (SWARM_WANTED_MAX / sizeof(uint64_t)) /* a set lies in one block */
#define PLANES 6u
static_assert(SWARM_NEIGHBOURS_MOST < 1u << PLANES, "a chunk's neighbours are counted in so many bits");
#define WAITING_MOST 2u /* requests to one neighbour whose chunk it has not chosen: the second only for SWARM_NOW */
#define OPEN_MOST 3u    /* of all kinds */
#define REQUESTS_MOST 128u
static_assert(SWARM_NEIGHBOURS_MOST * OPEN_MOST <= REQUESTS_MOST, "every neighbour's fit");
#define RATE_SLOTS 8u
#define RATE_SLOT_USEC 50000u

enum chunk_state { CHUNK_OPEN, CHUNK_HELD, CHUNK_UNDER_WAY, CHUNK_HERE };

struct chunk {
	uint8_t state : 2;
	uint8_t has_come : 1; /* and is not verified */
	uint8_t rank : 3;
	uint8_t owner; /* of a held one: the request */
};

struct request {
	uint64_t number; /* 0: none */
	int neighbour;
	enum swarm_rank rank;
	uint64_t asked_usec, chosen_usec;
	uint64_t chunk;   /* SWARM_NONE: its giver has not chosen */
	uint64_t doubles; /* this chunk, which is under way from elsewhere; SWARM_NONE */
	uint64_t word;    /* of the set's first */
	size_t n_words;
	uint64_t *set;
	unsigned n_live;
};

struct neighbour {
	bool is_used;
	uint64_t *have;
	uint64_t n_have;
	uint16_t *n_in_block; /* open ones of `have` */
	uint64_t n_open;      /* of all blocks */
	unsigned n_waiting, n_coming;
	double wait_usec;   /* from asking to choosing; 0: not known */
	double pace;        /* microseconds a byte, from choosing on; 0: not known */
	uint64_t last_usec; /* something came */
};

struct swarm {
	struct swarm_options o;
	uint64_t window_usec; /* just now */
	uint64_t n_words, n_blocks, random;
	struct chunk *chunks;
	uint64_t *open[SWARM_RANKS], *held, *count[PLANES];
	uint16_t *n_open[SWARM_RANKS], *n_held; /* by block */
	uint64_t n_opens[SWARM_RANKS];
	uint64_t n_missing, n_urgent;
	struct neighbour neighbours[SWARM_NEIGHBOURS_MOST];
	unsigned n_neighbours, n_numbers; /* that are used; that ever were */
	struct request requests[REQUESTS_MOST];
	unsigned n_requests;
	uint64_t n_asked; /* ever */
	uint64_t came_size[RATE_SLOTS], rate_slot;
};

/* From 0 to n - 1. */
static inline uint64_t swarm_random(uint64_t *state, uint64_t n)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint64_t)(((__uint128_t)(*state * 0x2545f4914f6cdd1dull) * n) >> 64);
}

static inline bool bit_get(const uint64_t *words, uint64_t i)
{
	return words[i / 64] >> (i % 64) & 1;
}

static inline void bit_put(uint64_t *words, uint64_t i, bool is_set)
{
	uint64_t bit = 1ull << (i % 64);
	words[i / 64] = is_set ? words[i / 64] | bit : words[i / 64] & ~bit;
}

static inline uint64_t block_of(uint64_t chunk)
{
	return chunk / 64 / BLOCK_WORDS;
}

/* How many words it has. */
static inline size_t block_size(const struct swarm *s, uint64_t block)
{
	return min((size_t)(s->n_words - block * BLOCK_WORDS), (size_t)BLOCK_WORDS);
}

void swarm_set_state(struct swarm *s, uint64_t chunk, enum chunk_state state);
/* What the request holds is open again. */
void swarm_let_go(struct swarm *s, const struct request *r);
/* Bytes a second of all neighbours together, at their best lately. */
double swarm_total_rate(struct swarm *s, uint64_t now_usec);

/* ---- swarm_pace.c */

double swarm_median_pace(const struct swarm *s, const struct neighbour *but); /* microseconds a byte; 0: not known */
/* From asking for a chunk until it is here. */
double swarm_expected_usec(const struct swarm *s, const struct neighbour *n);
/* Until it has come; what is late takes as long again as it is late. */
double swarm_left_usec(const struct swarm *s, const struct request *r, uint64_t now_usec);

#endif
