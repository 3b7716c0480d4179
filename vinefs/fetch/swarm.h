/* SPDX-License-Identifier: Apache-2.0
 * Which chunk from whom: decided here and nowhere else, for the nodes and for the simulator. Knows neither connections nor clocks nor bytes. decisions/0013 says how.
 *
 * A swarm is what one node brings of one tree (or of its index: then "chunk" is a part of that). The asker's half says what may be asked of a neighbour now; the giver's half says which of these it gives. Numbers of neighbours are the swarm's.
 * Times are microseconds on any axis that does not run back. */
#ifndef FETCH_SWARM_H
#define FETCH_SWARM_H

#include "common/base.h"

#define SWARM_NONE UINT64_MAX
#define SWARM_WANTED_MAX 1024u    /* bytes of a request's set */
#define SWARM_NEIGHBOURS_MOST 32u /* at once */

enum swarm_rank { SWARM_NOW /* a reader waits */, SWARM_GATING, SWARM_HOT, SWARM_BULK, SWARM_COPY, SWARM_RANKS };

/* ---- the asker */

struct swarm;

struct swarm_options {
	uint64_t n_chunks;
	/* Bytes of a chunk. */
	uint32_t (*size_of)(void *arg, uint64_t chunk);
	void *arg;
	enum swarm_rank rank; /* of all that nothing else was said of */
	uint64_t seed;        /* of ties */
	uint64_t window_usec; /* bytes under way at most, in time at the measured rate; 0: 30 ms */
};

/* Bytes under way from now on, as of swarm_options; 0: those. */
void swarm_set_window(struct swarm *s, uint64_t usec);
/* NULL: memory is out. */
struct swarm *swarm_new(const struct swarm_options *o);
void swarm_free(struct swarm *s);
DEFINE_FREEP(struct swarm, swarm_free)

/* It is here (verified), or not any more. What is here was never asked for, or has come from elsewhere, or from whom it was asked. */
void swarm_has(struct swarm *s, uint64_t chunk);
void swarm_lacks(struct swarm *s, uint64_t chunk);
bool swarm_is_here(const struct swarm *s, uint64_t chunk);
uint64_t swarm_n_missing(const struct swarm *s);
/* It is wanted with this rank from now on, if that is before the one that it has. */
void swarm_prefer(struct swarm *s, uint64_t chunk, enum swarm_rank rank);
/* The first missing chunk from `from` on that no neighbour has and that is not under way; SWARM_NONE. */
uint64_t swarm_nobodys(const struct swarm *s, uint64_t from);
/* While some reader's chunk is missing nothing of a later rank is asked for: how many SWARM_NOW there are. */
uint64_t swarm_n_urgent(const struct swarm *s);

/* Its number, or -ENOSPC: there are too many, -ENOMEM. It has nothing so far. */
int swarm_join(struct swarm *s);
/* Nothing of it comes any more: its requests are over; its number is used again. */
void swarm_leave(struct swarm *s, int neighbour);
void swarm_has_all(struct swarm *s, int neighbour);
void swarm_has_chunk(struct swarm *s, int neighbour, uint64_t chunk);
/* It said that it has not what it was asked for: forgotten until it says so anew. */
void swarm_lacks_chunk(struct swarm *s, int neighbour, uint64_t chunk);
bool swarm_may_have(const struct swarm *s, int neighbour, uint64_t chunk);

/* What READ_SOME says. */
struct swarm_wish {
	uint64_t first;
	size_t n; /* bytes of `wanted` */
	uint8_t wanted[SWARM_WANTED_MAX];
	enum swarm_rank rank;
	uint64_t number; /* of the request, for what follows */
};

/* What to ask of whom next: fills in the wish and returns the neighbour, or -EAGAIN: nothing now (all is under way, or enough; `due_usec`: when to ask again though nothing happens). The wish counts as asked.
 * Ask until it says -EAGAIN, whenever something happened: a neighbour came or got a chunk, a request was answered, came or failed, a chunk is here, wrong or preferred. To one neighbour go at most two requests at once, one that is served and one that waits; for SWARM_NOW, if all are taken, one more. */
int swarm_next(struct swarm *s, uint64_t now_usec, struct swarm_wish *wish, uint64_t *due_usec);
/* The giver has chosen. False: it is not wanted from there any more (it is here, or comes from somewhere sooner): cancel it, the request is over. */
bool swarm_chosen(struct swarm *s, uint64_t number, uint64_t chunk, uint64_t now_usec);
/* All its bytes have come (they may be verified yet), so many, beginning with `chosen`. The chunk counts as under way until swarm_has or swarm_wrong. */
void swarm_came(struct swarm *s, uint64_t number, uint64_t size, uint64_t now_usec);
/* It ended without: refused, lost. What it wanted may be asked of others. */
void swarm_failed(struct swarm *s, uint64_t number, uint64_t now_usec);
/* What had come was not the chunk: it may be asked of others. */
void swarm_wrong(struct swarm *s, uint64_t chunk);

/* A request that brings nothing any more (its chunk has come from elsewhere; all that it asked for is here or under way): over with that, cancel it. 0: there is none. To be asked after swarm_has and swarm_chosen. */
uint64_t swarm_useless(struct swarm *s);

/* As measured: bytes a second that come from it; 0: not known. And how late its requests are against those of the others: 1 as all. */
uint64_t swarm_rate(const struct swarm *s, int neighbour);
double swarm_lateness(const struct swarm *s, int neighbour, uint64_t now_usec);

/* ---- the giver */

/* How often each chunk was given away. */
struct swarm_given;

/* NULL: memory is out. */
struct swarm_given *swarm_given_new(uint64_t n_chunks, uint64_t seed);
void swarm_given_free(struct swarm_given *g);
DEFINE_FREEP(struct swarm_given, swarm_given_free)
/* Of those wanted and here, one of which least were given away (counted as given with that), or SWARM_NONE. */
uint64_t swarm_pick(struct swarm_given *g, uint64_t first, const uint8_t *wanted, size_t n,
		    bool (*is_here)(void *arg, uint64_t chunk), void *arg);
/* It was not given after all. */
void swarm_ungive(struct swarm_given *g, uint64_t chunk);

#endif
