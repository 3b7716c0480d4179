/* SPDX-License-Identifier: Apache-2.0
 * What fetch's files share. Invariants:
 * 1. The loop owns sources, stocks, fills and waiting reads; a pool thread touches what its job names, and nobody else does so until the job's on_done.
 * 2. There is at most one fill for a chunk of a tree, and all who want the chunk wait on it.
 * 3. Bytes that come from a source are digested before anyone gets them.
 * 4. A read is in the pool, or posted, or waits on at least one fill. */
#ifndef FETCH_INTERNAL_H
#define FETCH_INTERNAL_H

#include "common/map.h"
#include "vinefs/fetch/fetch.h"
#include "vinefs/fetch/piece.h"
#include "vinefs/fetch/pool.h"

#include <pthread.h>
#include <stdatomic.h>

#define FETCH_STREAMS 8
#define FETCH_LOOKS 6u            /* at once, in threads that others may need */
#define FETCH_STALL_USEC 2000000u /* a source is said to be stalled from here on */

/* ---- sources.c */

/* What a path was when it was sealed. */
struct record {
	struct list link;
	struct digest id;
	enum fetch_kind kind;
	uint64_t sealed_usec;
	struct signature signature; /* of an archive or a file; size, inode and times 0: not to be trusted */
	bool is_repacked; /* an archive with this tree's files in another order: none of its packs can be had from it */
};

struct source {
	struct list link;
	char *path;
	struct list records; /* newest first, never empty */
	struct pool_lane lane;
	struct list fills; /* given to the pool */
	uint64_t read_size;
	char *error;     /* the last one; NULL */
	struct map told; /* by text: changed files that were logged */
	unsigned n_told;
};

void sources_load(struct fetch *f);
void sources_free(struct fetch *f);
struct source *source_get(const struct fetch *f, const char *path); /* NULL */
/* A draft of it has become this tree just now for those who read it: whoever took the draft before is not told of an older sealing. */
void source_told(struct fetch *f, const char *path, const struct digest *id);
const struct record *source_record(const struct source *s, const struct digest *id); /* NULL: it never was this tree */
bool source_is_archive(const char *path);                                            /* by its name */
/* The path is this tree now. True if that is to be written down. */
bool source_learn(struct fetch *f, const char *path, const struct record *r);
/* All of them, as the file has them. */
char *sources_text(const struct fetch *f, size_t *n);
int sources_write(const struct fetch *f, const char *text, size_t n); /* pool */
/* The next source to try for this tree, after `n` others; those that answer come first. NULL. */
struct source *source_choose(struct fetch *f, const struct digest *id, struct source *const *tried, unsigned n);
uint64_t source_stalled_usec(const struct fetch *f, const struct source *s);
void source_failed(struct source *s, const char *text,
		   const char *about); /* about: what is logged once; NULL: text is not logged */
void source_repacked(struct source *s, const struct digest *id); /* see struct record */
void source_answered(struct source *s); /* if it was told to fail as a whole (about: its path), that is over */

/* ---- stock.c: a tree in use, however many have it open */

/* Which files a blob's bytes are in. */
struct members {
	uint32_t *order; /* contents by (blob, offset) */
	uint32_t *first; /* of each blob, and one more: place in `order` */
	uint32_t *node;  /* of each content: a file that has it */
};

struct ahead {
	uint64_t wanted, asked; /* chunks: the last that a reader missed, the last that was asked for */
	uint64_t next;          /* what follows `asked` */
	uint64_t ahead;         /* bytes; 0: nobody knows yet whether it is one */
	uint64_t used;          /* when, in turns of the clock below; 0: free */
	bool is_marked;
};

struct chunks {
	uint64_t *at;
	size_t n;
};

enum reservation { RESERVE_NONE, RESERVE_RUNNING, RESERVE_DONE };

struct stock {
	struct fetch *fetch;
	char text[DIGEST_TEXT_SIZE];
	struct digest id;
	struct cache_tree *cache_tree;
	const struct tree *index;
	unsigned n_users; /* handles, fills, brings, the reservation */
	unsigned n_handles;
	struct map fills;      /* by chunk */
	struct map unkept;     /* by chunk; see fill.c */
	struct list unstarted; /* fills, until room is reserved */
	struct list brings;
	struct list expected; /* fills that somebody else is to bring */
	struct timer looker;
	unsigned n_expecting; /* handles */
	struct list coming;   /* struct fetch_coming */
	struct timer comer;
	uint8_t *seen; /* chunks that those know of */
	struct pool_job reserve;
	enum reservation reservation;
	int reserve_error;
	pthread_mutex_t lock; /* of members, while they are made */
	struct members members;
	struct ahead streams[FETCH_STREAMS];
	uint64_t clock;
	_Atomic uint64_t marks[FETCH_STREAMS]; /* chunk + 1 that, when it is read, moves its stream on; 0: none */
	_Atomic unsigned n_marks;
	struct chunks plan; /* to be fetched behind everything else */
	size_t plan_at;
	unsigned n_planned; /* fills of the plan under way */
	char *error;        /* why something was missing last */
};

struct fetch_tree {
	struct fetch *fetch;
	struct stock *stock; /* NULL: of a draft */
	struct draft *draft; /* NULL: of a sealed tree */
	struct cache_lease *lease;
	_Atomic unsigned n_refs; /* the opener, reads, the advance */
	_Atomic unsigned n_failed;
	struct post gone, advance;
	_Atomic bool is_advancing;
	bool is_expecting;
};

/* Takes over a user of it. Loop. */
struct fetch_tree *tree_of_draft(struct fetch *f, struct draft *d);
void stock_unref(struct stock *s);                          /* loop */
const struct members *stock_members(struct stock *s);       /* pool */
uint32_t stock_blob(const struct stock *s, uint64_t chunk); /* any */
void stock_failed(struct stock *s, const char *text);       /* loop */
void tree_ref(struct fetch_tree *t);                        /* any */
void tree_unref(struct fetch_tree *t);                      /* any */

/* ---- origin.c: pool */

struct origin {
	const struct fetch_files *files;
	const char *path;
	enum fetch_kind kind;
	const struct tree *index;
	const struct members *members;
	const bool *is_cancelled;
	bool is_repacked; /* in and out; as in struct record */
	char *text;       /* out: what went wrong, to be freed */
	char *about;      /* out: the file it is about */
};

/* A chunk of the tree, which lies in `blob`, verified. 0, -ESTALE, -EIO, -ECANCELED. */
int origin_read(struct origin *o, uint32_t blob, uint64_t chunk, uint8_t *p, size_t n);
/* All of an archive into a store. 0 if it still gives this tree with this layout, -ENODATA: another layout; -ESTALE, -ENOSPC, -EIO. */
int origin_refill(struct origin *o, const struct seal_store *store);
extern const struct fetch_files origin_filesystem;

/* ---- fill.c */

struct fill {
	struct pool_job job;
	struct list link; /* of the source's fills, or of the stock's unstarted */
	struct stock *stock;
	uint64_t chunk;
	enum pool_rank rank;
	bool is_planned, is_ahead, is_kept, is_here; /* is_here: it was in the cache after all */
	bool is_lonely;                              /* no other node is asked (any more) */
	struct piece piece;                          /* from another node, into `bytes` */
	struct list waiters;
	struct source *source;
	struct source *tried[4];
	unsigned n_tried;
	struct origin origin;
	struct cache_sealing *sealing;
	uint8_t *bytes;
	size_t n;
	int error;
};

/* Loop. The fill of this chunk, made if there is none; NULL if the fetch is being stopped. fill_go() starts those that were made, and may end some at once. */
struct fill *fill_need(struct stock *s, uint64_t chunk, enum pool_rank rank);
void fill_go(struct stock *s);
/* One that was expected: is it here, or is there a source now? is_over: it ends. */
void fill_again(struct fill *x, bool is_over);

#define UNKEPT_SIZE (16u << 20) /* at most, of all trees */

/* Loop. A chunk that found no room in the cache and was read from its source a moment ago: another part of it may be wanted next. NULL; else borrowed until the next turn. */
const uint8_t *unkept_get(struct stock *s, uint64_t chunk);
void unkept_forget(struct stock *s); /* loop: all of the tree's */

/* ---- read.c */

struct waiter {
	struct list fill_link, read_link;
	struct reading *reading;
	uint64_t chunk;
};

/* Any. A read of it is answered with this. */
void tree_answered(struct fetch_tree *t, int error);
/* "2026-01-31 12:00:00.000000000" */
void put_time(char *to, size_t room, int64_t sec, uint32_t nsec);

/* Loop. The chunk that it waits for has come, or failed. It is gone afterwards. */
void waiter_answer(struct waiter *w, const struct fill *x);
void read_fail_all(struct fetch *f); /* loop */

/* ---- ahead.c: loop, but for ahead_touch */

/* These chunks were wanted and absent. */
void ahead_wanted(struct stock *s, uint64_t first, uint64_t last);
void ahead_on_advance(struct post *p);
void ahead_go_on(struct stock *s); /* with the plan; fill_go() is due */
/* Any: these chunks are being read. */
void ahead_touch(struct fetch_tree *t, uint64_t first, uint64_t last);

/* Those of these nodes, appended. */
void ahead_chunks(const struct stock *s, const uint32_t *nodes, size_t n, struct chunks *c);

/* ---- expect.c: loop */

void expect_fill(struct fill *x);
/* For fetch_stop(). */
void expect_stop(struct fetch *f);

/* ---- coming.c: loop */

/* This chunk was stored just now. */
void stock_came(struct stock *s, uint64_t chunk);

/* ---- bring.c: loop */

/* The fill of this chunk is over; -ENOSPC: it was not kept. fill_go() is due. */
void bring_filled(struct stock *s, uint64_t chunk, int error);
/* As fetch_bring_start, of these chunks, which it takes over. */
void bring_chunks(struct stock *s, struct fetch_bring *o, struct chunks chunks, bool is_urgent);
/* All that is waited for and may not be here. */
void bring_each(const struct stock *s, void *arg, void (*each)(void *arg, uint64_t chunk, bool is_urgent));

/* ---- draft.c: loop, unless said otherwise */

struct draft;

/* Takes over names and signatures. The caller is its first user. */
struct draft *draft_new(struct fetch *f, const char *path, struct tree *names, struct signature *signatures);
void draft_leave(struct draft *d, bool is_told);                 /* another node seals it; and has told its names */
struct draft *draft_get(const struct fetch *f, uint64_t number); /* NULL; a user more */
void draft_ref(struct draft *d);
void draft_unref(struct draft *d);
void draft_drop(struct draft *d);                                 /* its only user, and nobody knows its number */
uint64_t draft_tell(struct draft *d);                             /* its number, to somebody who will open it */
bool draft_is_same(const struct draft *a, const struct draft *b); /* names, attributes, signatures */
const struct tree *draft_index(const struct draft *d);            /* any */
const char *draft_failure(const struct draft *d);                 /* words about the last read that failed; "" */
void draft_progress(struct draft *d, const struct seal_progress *p);
/* Its sealing is over. What it sealed is leased within the call. */
void draft_over(struct draft *d, int error, const struct digest *id, const struct seal_report *errors);
/* A thread of its sealing: lets those who read go first, for a moment. */
void draft_give_way(const struct draft *d);
void draft_read_start(struct fetch_read *r); /* any */
void draft_why(struct fetch_tree *t, uint32_t node, struct buf *out);
/* All that waits ends in EIO; for fetch_stop(). */
void drafts_stop(struct fetch *f);
void drafts_free(struct fetch *f);

/* ---- fellow_give.c: loop */

/* There is a draft more: somebody may have asked for a part of it. */
void fellow_give_again(struct fetch *f);
void fellow_give_stop(struct fetch *f); /* for fetch_stop() */

/* ---- fellow_names.c: loop */

/* False: nobody is to be asked. The path is without slashes at its end. */
bool naming_start(struct fetch *f, struct fetch_seal *s, const char *path);
void naming_leave(struct fetch_seal *s);
bool naming_is_on(const struct fetch *f, const char *path);

/* ---- sealing.c */

/* Loop. What fetch_seal_start() does where this node is to look for itself. */
void sealing_start(struct fetch *f, struct fetch_seal *s, const char *path);
/* Loop. There will be a draft of it soon. */
bool sealing_has_names(const struct fetch *f, const char *path);

#define N_SEALINGS 2u
#define N_DRAFTS 4u        /* somebody waits for their names only */
#define N_SEALINGS_MOST 6u /* of each, with those that stand still */

void sealing_cancel_all(struct fetch *f);

/* ---- fetch.c */

struct fetch_counts {
	_Atomic uint64_t memory_size, disk_size, source_size, n_now, n_waited, n_fills, fill_size, n_ahead, n_failed,
		n_late, n_uncached, n_sealed, sealed_size, seal_read_size, peer_size, source_read_size;
};

struct fetch {
	struct loop *loop;
	struct fetch_settings settings;
	char *directory;
	struct pool *pool;
	struct fetch_peers *peers; /* NULL: no other node is asked */
	struct list sources, sealings;
	struct map stocks;            /* by text */
	struct list drafts;           /* the newest last */
	struct list givings, namings; /* struct giving: fellow_give.c; struct naming: fellow_names.c */
	unsigned n_givings;
	uint64_t last_draft;
	struct list waiting; /* reads, oldest first */
	struct timer timer;  /* their deadline */
	struct list unkept;  /* used last at the end */
	uint64_t unkept_size;
	struct timer unkept_timer;
	struct timer stall_timer; /* of sealings */
	struct pool_lane seal_lane, draft_lane, save_lane, work_lane, look_lane;
	struct pool_lane store_lane; /* chunks of other nodes: what waits in it outlives struct fetch_peers */
	struct list looks;
	unsigned n_trees, n_openings;
	bool is_stopping;
	bool is_cancelled; /* for threads, atomically */
	struct fetch_counts counts;
	void (*on_read)(void *arg, const char *path, const struct digest *tree, uint64_t size, bool is_sealing);
	void *on_read_arg;
};

/* Loop: of fetch_on_read(). */
void fetch_count_source(struct fetch *f, const char *path, const struct digest *tree, uint64_t size, bool is_sealing);

#define COUNT(f, field, n) atomic_fetch_add_explicit(&(f)->counts.field, (n), memory_order_relaxed)

#endif
