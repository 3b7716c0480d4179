/* SPDX-License-Identifier: Apache-2.0
 * What the files that answer others share: serve.c (READ_INDEX and READ_CHUNKS, whole ranges), serve_shelf.c (the trees they are read from), give.c (READ_SOME: whose turn it is, which chunk), give_send.c (and its bytes), give_watch.c (WATCH_CHUNKS), give_verify.c (what is told of only once it was verified), give_parts.c (parts of indexes). All of it on the loop's thread; disks are read in
 * the pool. */
#ifndef VINEFS_SERVE_INTERNAL_H
#define VINEFS_SERVE_INTERNAL_H

#include "common/buf.h"
#include "vinefs/fetch/swarm.h"
#include "vinefs/give_meter.h"
#include "vinefs/serve.h"

struct serve {
	struct loop *loop;
	struct fetch *fetch;
	struct cache *cache;
	struct fetch_peers *peers; /* NULL: not yet, or not any more */
	struct plain *plain;       /* NULL: all is encrypted */
	const char *name;
	uint64_t given_size; /* since the start */
	/* serve_shelf.c */
	struct list trees; /* used last at the end */
	unsigned n_trees;
	struct timer timer; /* of trees that nobody uses, and of who takes nothing */
	/* serve.c */
	struct list active, waiting; /* struct request */
	unsigned n_active, n_waiting;
	bool is_beginning;
	/* give.c */
	struct list askers, queued, giving;  /* struct asker, struct gift twice */
	unsigned n_queued, n_bulk, n_urgent; /* of `giving`: those of all other ranks; for readers who wait */
	bool is_giving;
	uint64_t turn;
	struct meter meter; /* of all bulk: gone so far; still under way when that was last looked at */
	uint64_t gone, pending, looked_usec, plain_gone;
	uint64_t read_usec;    /* when somebody asked for a reader who waits; 0: never */
	uint64_t reading_usec; /* since when somebody did so again and again */
	struct timer looker;
	/* give_watch.c */
	struct list watches; /* of trees of which the index is coming */
	unsigned n_watches;
	/* give_parts.c */
	struct list sheaves, asked_parts;
};

/* ---- serve_shelf.c: a tree that is read from */

struct shelf {
	struct list link;
	struct serve *owner; /* NULL: it goes with its last user, in the pool */
	struct digest id;
	struct fetch_open open;
	struct fetch_tree *tree; /* NULL: not yet */
	struct list users;       /* that wait for it */
	unsigned n_users;
	uint64_t used_usec;
	uint64_t served;                         /* the turn of the last chunk given of it */
	struct swarm_given *given, *given_parts; /* NULL: nothing was */
	struct news *news;                       /* give_watch.c: for whoever watches it; NULL: nobody does */
	/* give_zstd.c: tries; bytes before and after */
	uint64_t n_zstd, zstd_before, zstd_after;
	/* give_parts.c */
	uint64_t index_size;
	uint8_t *part_digests; /* NULL: not known */
};

/* Who uses a shelf, or waits until it is open. Zeroed before. */
struct shelf_user {
	struct list link;
	struct shelf *shelf; /* NULL: of none */
	/* Once, unless shelf_join() said that it is open. With an error it uses it no more. */
	void (*on_open)(struct shelf_user *u, int error);
	bool is_waiting;
};

/* 0: open (u->shelf->tree), or on_open comes. -ENOENT: it is not here. */
int shelf_join(struct serve *s, struct shelf_user *u, const struct digest *id);
/* Safe on one that uses none. */
void shelf_leave(struct shelf_user *u);
void shelves_close(struct serve *s);

static inline struct cache_tree *shelf_cache_tree(const struct shelf *b)
{
	return fetch_cache_tree(b->tree);
}
/* Where a chunk lies: its blob, the place in it, and its size. */
uint32_t shelf_place(const struct shelf *b, uint64_t chunk, uint64_t *offset, size_t *size);
/* "this tree is not here", for people. */
const char *serve_why(int error);
void serve_refuse(struct serve *s, struct conn *c, uint64_t id, const struct digest *tree, int error);
/* Those who take nothing are given up. */
void serve_end_stuck(struct serve *s);

/* ---- give.c and give_send.c */

void give_ask(struct serve *s, struct conn *c, uint64_t id, const struct wire_read_some *m);
bool give_cancel(struct serve *s, const struct conn *c, uint64_t id);
void give_close(struct serve *s, const struct conn *c);
void give_end_stuck(struct serve *s);
void give_drop_tickets(struct serve *s);
/* How long a chunk of this size is on its way to others just now. */
uint64_t give_chunk_usec(const struct serve *s, uint64_t size);

/* ---- give_watch.c */

void watch_ask(struct serve *s, struct conn *c, uint64_t id, const struct wire_watch_chunks *m);
bool watch_cancel(struct serve *s, const struct conn *c, uint64_t id);
void watch_close(struct serve *s, const struct conn *c);

/* ---- give_parts.c: an index in parts */

#define PART_SIZE (128u << 10)

void give_parts_ask(struct serve *s, struct conn *c, uint64_t id, const struct wire_read_index_parts *m);
bool parts_cancel(struct serve *s, const struct conn *c, uint64_t id);
void parts_close(struct serve *s, const struct conn *c);

/* b->index_size. 0, -errno. */
int shelf_measure_index(const struct serve *s, struct shelf *b);

/* Whoever uses an index that is being pulled. Zeroed before. */
struct sheaf_user {
	struct list link;
	struct sheaf *sheaf;                                  /* NULL: of none */
	void (*on_part)(struct sheaf_user *u, uint64_t part); /* NULL: not told */
	/* 0: it is whole, shelf_join() is next; or it does not come. It uses it no more. */
	void (*on_over)(struct sheaf_user *u, int error);
};

/* -ENOENT: it is not on its way. */
int sheaf_join(struct serve *s, struct sheaf_user *u, const struct digest *id);
void sheaf_leave(struct sheaf_user *u);
void sheaves_close(struct serve *s);
/* Of all of them: their number; 0: not known yet. */
uint64_t sheaf_n_parts(const struct sheaf_user *u);
bool sheaf_has(const struct sheaf_user *u, uint64_t part);
/* A part of those wanted and here, and its bytes, yours to free. -ENODATA. */
int sheaf_choose(struct sheaf_user *u, uint64_t first, const uint8_t *wanted, size_t n_wanted, uint64_t *part,
		 uint8_t **bytes, size_t *n);

#endif
