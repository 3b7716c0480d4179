/* SPDX-License-Identifier: Apache-2.0
 * A giver with a cache, and askers on connections to it, all in one loop. */
#ifndef UNIT_GIVE_WORLD_H
#define UNIT_GIVE_WORLD_H

#include "tests/unit/ends.h"
#include "tests/unit/fetch_world.h"
#include "vinefs/fetch/swarm.h"
#include "vinefs/fetch/swarm_have.h"
#include "vinefs/serve.h"

struct giver {
	struct fetch_world world;
	struct serve *serve;
	struct digest id, layout;
	struct world_copy copy;
	uint64_t n_chunks;
};

struct client {
	struct giver *giver;
	struct conn *near, *far; /* his end, the giver's */
	bool is_open, is_closed;
};

/* A READ_SOME of one's own. */
struct want {
	struct call call;
	unsigned codecs; /* set before */
	struct client *client;
	unsigned n_replies, n_ends;
	int error;
	struct wire_some some;
	char text[256], address[NET_TEXT_SIZE];
	struct buf ticket;
	struct buf bytes;
	bool is_held;
	unsigned order; /* of ending, among all */
};

/* A WATCH_CHUNKS. */
struct watch_some {
	struct call call;
	struct have_reader reader;
	unsigned n_index, n_parts, n_all, n_replies, n_ends, n_lost;
	int error;
	bool is_held;
	uint64_t n_bytes;
	uint64_t n_told;
	uint8_t *has; /* chunks; those of the giver, at most */
	uint64_t n_chunks;
};

/* Has sealed all of `path`. */
void giver_open(struct giver *g, const char *path);
/* Knows the index alone of what `path` would be. */
void giver_open_empty(struct giver *g, const char *path);
/* These chunks come. */
void giver_fill(struct giver *g, uint64_t from, uint64_t to);
void giver_close(struct giver *g);
void client_open(struct client *a, struct giver *g);
void client_close(struct client *a);

void want_start(struct want *w, struct client *a, uint64_t first, const uint8_t *set, size_t n, unsigned rank);
/* All of the tree's chunks, of which there are at most 8192. */
void want_any(struct want *w, struct client *a, unsigned rank);
void want_one(struct want *w, struct client *a, uint64_t chunk, unsigned rank);
/* Of the index. */
void want_part(struct want *w, struct client *a, const uint8_t *set, size_t n);
/* Of an index of this size: all parts' digests. */
void ask_parts(struct client *a, struct buf *digests, uint64_t size);
/* It has ended, and what came of it is what the tree has there. */
bool want_is_good(const struct want *w);
void want_fini(struct want *w);

void watch_some_start(struct watch_some *w, struct client *a);
void watch_some_fini(struct watch_some *w);

#endif
