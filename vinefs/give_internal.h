/* SPDX-License-Identifier: Apache-2.0
 * A chunk that is asked for, for give.c (whose turn it is, and which chunk) and give_send.c (its bytes). Private to them. */
#ifndef VINEFS_GIVE_INTERNAL_H
#define VINEFS_GIVE_INTERNAL_H

#include "vinefs/plain.h"
#include "vinefs/serve_internal.h"

enum { CODEC_ZSTD = 1, CODEC_TICKET = 2 }; /* as wire.def has READ_SOME.codecs */

struct asker {
	struct list link;
	struct conn *conn;
	unsigned n_bulk;     /* that are given to him just now */
	uint64_t served;     /* the turn of his last one */
	uint64_t pending;    /* bytes that were still under way when that was last looked at, and what was sent since */
	uint64_t gone;       /* those that were not, since the beginning */
	uint64_t moved_usec; /* when some went, or it began */
	bool is_draining;    /* some bulk is under way, or may be */
	struct meter meter;
};

struct gift {
	struct list link;    /* of those that wait, or of those that are given */
	struct serve *owner; /* NULL: nobody waits for it any more; it goes when the pool is done with it */
	struct cache *cache;
	struct asker *asker;
	uint64_t id;
	struct digest tree, layout;
	uint64_t first;
	uint8_t *wanted;
	size_t n_wanted;
	enum swarm_rank rank;
	uint8_t codecs;
	bool is_index;
	bool is_giving, is_working, is_streaming, is_paused;
	unsigned n_tries;
	struct shelf_user user;
	struct sheaf_user coming; /* of an index that is not whole */
	uint64_t chunk;
	uint32_t blob;
	uint64_t offset;
	struct fetch_work work;
	struct stream stream;
	uint8_t *bytes;
	size_t n, sent;
	bool is_to_be_packed, is_packed; /* by zstd */
	size_t n_packed;                 /* what that made of it; 0: it was not tried */
	struct plain_ticket ticket;      /* in place of a stream, and of `bytes` */
	int fd;                          /* -1: the bytes are read */
	uint64_t moved_usec; /* when it was begun, or something of it was last sent, or it was made to pause */
	int error;
};

/* Its asker has been told where to fetch it, and has not come yet. */
static inline bool gift_is_offered(const struct gift *g)
{
	return g->ticket.owner && !g->ticket.guest;
}

static inline bool gift_is_urgent(const struct gift *g)
{
	return g->rank == SWARM_NOW;
}

/* ---- give.c: each may free g */

void gift_end(struct gift *g);
void gift_fail(struct gift *g, int error); /* to be told */
void gift_again(struct gift *g);           /* what was chosen is not here after all: another */
void gift_free(struct gift *g);            /* what the pool was still busy with when it ended */
/* How many bytes of it may be added to what is under way? */
size_t gift_room(const struct gift *g);
/* A look is due: something waits. */
void give_look_later(struct serve *s);

/* ---- give_send.c */

/* What was chosen is read and sent. */
void gift_begin(struct gift *g);
/* Goes on with one that paused, or has room. */
void gift_send(struct gift *g);

/* ---- give_zstd.c */

/* Is it to be tried? */
bool zstd_is_worth(const struct gift *g);
/* Pool: g->bytes were read. */
void zstd_run(struct gift *g);
/* Loop: what came of it is remembered. */
void zstd_ran(struct gift *g);

#endif
