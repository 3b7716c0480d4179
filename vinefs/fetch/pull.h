/* SPDX-License-Identifier: Apache-2.0
 * A pull, for pull.c (holders, the order of things), pull_life.c (its turn), pull_watch.c (neighbours), pull_some.c (what is asked of them), pull_rest.c (what none of them has), pull_plain.c (and comes beside them), pull_index.c and pull_parts.c (the index), pull_alike.c (what is here already), pull_old.c (who does not know the swarm),
 * pull_store.c (what has come). Private to them; the loop's thread. */
#ifndef FETCH_PULL_H
#define FETCH_PULL_H

#include "common/map.h"
#include "vinefs/fetch/peer.h"
#include "vinefs/fetch/swarm.h"
#include "vinefs/fetch/swarm_have.h"

#define NEIGHBOURS_MOST 16u
#define HOLDERS_MOST 64u         /* of one pull: neighbours, and those in reserve */
#define STORING_MOST (16u << 20) /* come and not stored yet: then nothing more is read */
#define ALIKE_MOST 4u            /* trees that are looked through for what this one has, too */

/* away: its connection was lost, or cannot be made just now. */
enum standing { HOLDER_GOOD, HOLDER_LACKING, HOLDER_AWAY, HOLDER_BAD };

/* As wire.def has PEER_BAD.what. */
enum fault { FAULT_OF_NONE, FAULT_LIED, FAULT_UNREACHABLE, FAULT_SILENT_LONG };

enum watching { WATCH_NONE, WATCH_JOINING, WATCH_ASKED, WATCH_ON };

/* What somebody has, as long as nobody knows how much there is. */
struct bits {
	uint8_t *at;
	uint64_t n; /* bytes */
};

struct holder {
	struct pull *pull;
	char *name, *address;
	struct conn *(*conn)(void *arg);
	void *arg;
	enum standing standing;
	bool is_old;  /* it is asked by READ_INDEX and READ_CHUNKS: it knows nothing else, or is no node */
	bool is_told; /* vined knows that it is bad */
	char *said;   /* what it failed with last; NULL */
	unsigned n_failed;
	uint64_t again_usec; /* not before */
	/* A neighbour. */
	enum watching watching;
	uint64_t since_usec;
	struct peer_user user;
	struct call watch;
	struct have_reader reader;
	bool has_index, has_all;
	bool is_listed;   /* its list of the index' parts was wrong */
	bool is_doubted;  /* a part that it gave was not the list's */
	bool is_no_plain; /* its plain port cannot be reached */
	struct bits chunks, parts;
	int number, part_number; /* in the swarms; -1 */
	unsigned n_asks;
	uint64_t given; /* bytes */
};

/* A request to a neighbour: one of a set of chunks, or of parts of the index. */
struct some {
	struct list link;
	struct pull *pull;
	struct holder *holder;
	struct call call;
	bool is_index, is_chosen;
	struct swarm_wish wish;
	uint64_t chunk, asked_usec;
	uint8_t codec;
	size_t size, have, flying; /* flying: what it counts as under way */
	uint8_t *bytes;
	struct plain *plain; /* not NULL: they come from there */
};

/* The index, while it comes. */
struct pull_index {
	struct holder *from; /* who gives it whole, or gave the list of its parts; NULL: nobody is asked */
	struct call call;    /* for either */
	struct buf vti;      /* whole */
	uint64_t vti_size;
	uint64_t size; /* in parts; 0: not known to be */
	uint32_t part_size;
	uint64_t n_parts;
	uint8_t *digests, *bytes;
	bool *is_found; /* parts that another tree's index has; NULL: none was looked at */
	struct swarm *swarm;
	struct list watchers; /* struct fetch_parts */
};

struct pull {
	struct list link;
	struct fetch_peers *owner;
	struct cache *cache;
	struct fetch_pull *caller; /* NULL: over */
	struct digest id;
	char text[DIGEST_TEXT_SIZE];
	bool is_gating, is_waiting;
	bool is_index_told;    /* of one that waits behind another */
	bool is_going, is_due; /* in pull_go_on; once more */
	struct holder **holders;
	size_t n_holders;
	size_t at;             /* of those asked the old way, the present one */
	struct peer_user user; /* of that */
	bool is_joining;
	struct timer timer; /* looks after all of it a few times a second */
	struct timer soon;  /* the swarm is to be asked what is next */
	uint64_t begun_usec, progress_usec;
	char *reason; /* of the last that failed */
	struct pull_index index;
	/* One thing at a time in the pool, besides chunks that are stored. */
	struct fetch_work work;
	bool is_working;
	int error;
	/* The tree. */
	struct cache_tree *published; /* by its index, until it is open; NULL: it was not */
	struct fetch_open open;
	struct fetch_tree *tree; /* NULL: not open */
	bool is_unknown;         /* there is no index yet */
	bool is_reserved;
	struct digest alike[ALIKE_MOST]; /* that are here, and have an index like it */
	unsigned n_alike;
	uint64_t n_copied;   /* bytes of chunks that were theirs */
	struct swarm *swarm; /* NULL: not yet */
	struct fetch_coming coming;
	uint64_t rest;  /* bytes that are absent */
	bool is_reader; /* what nobody has it reads from the tree's source */
	struct fetch_bring from_source;
	uint32_t unit; /* bytes of the largest chunk */
	struct list somes;
	size_t flying; /* of them all */
	/* The old way. */
	uint64_t next; /* chunk, of this round */
	bool is_short; /* of this round something did not come */
	struct list asks;
	unsigned n_asks;
	struct map stored; /* struct storing by chunk */
	uint64_t storing_size;
};

/* ---- pull.c. After each of these that may ask somebody else or end it, p may be gone; within pull_go_on() it may be over (no caller) */

/* Whatever is next, unless it is under way. */
void pull_go_on(struct pull *p);
/* At the next turn. */
void pull_soon(struct pull *p);
void pull_finish(struct pull *p, int error, const char *reason);
/* It is this node's own trouble. */
void pull_fail_here(struct pull *p, int error);
void pull_progressed(struct pull *p);
/* This chunk has come, from wherever. */
void pull_has(struct pull *p, uint64_t chunk);
/* What a request that failed says of whom was asked; the text is at least 256 long. */
enum standing pull_standing(const struct pull *p, int error, uint16_t type, const void *message, char *text);
/* Notes that; nothing is asked of anybody. */
void pull_set_standing(struct holder *h, enum standing standing, enum fault fault, const char *what);
void pull_free_if_idle(struct pull *p);
void pull_work(struct pull *p, void (*run)(struct fetch_work *), void (*on_done)(struct fetch_work *, bool));
/* False: nobody waits for it any more, and p may be gone. */
bool pull_worked(struct pull *p, bool is_run);
/* Nothing more is heard of it. */
struct fetch_pull *pull_leave(struct pull *p, int error);
void pull_on_look(struct timer *t);
void pull_prefer(void *arg, uint64_t chunk, bool is_urgent);

/* ---- pull_life.c */
struct pull *pull_find(struct fetch_peers *f, const struct digest *tree); /* NULL; also one that waits its turn */
void pulls_begin_more(struct fetch_peers *f);
/* Whoever hears of it may end any of those that wait behind it. */
void pulls_tell_index(struct fetch_peers *f, const struct digest *tree);

/* ---- pull_watch.c */

/* More neighbours, if there are some to have. */
void watch_go_on(struct pull *p);
/* Nothing of it comes any more, nothing is asked of it. */
void watch_leave(struct holder *h);
/* The same, and why. */
void watch_failed(struct holder *h, enum standing standing, enum fault fault, const char *what);
/* What it said so far is told to the swarm. */
void watch_join(struct holder *h);
void watch_join_parts(struct holder *h);
void watch_leave_parts(struct holder *h);
bool bits_get(const struct bits *b, uint64_t i);

/* ---- pull_some.c */
void some_go_on(struct pull *p);
void some_drop(struct pull *p, const struct holder *h); /* NULL: all */
/* What comes beside its connection has come, or failed. */
void some_plain_over(struct some *s, int error);

/* ---- pull_rest.c */

/* What nobody has is read from the source, if it may be. */
void rest_go_on(struct pull *p);

/* ---- pull_plain.c */
int pull_plain_start(struct some *s, const char *address, const void *ticket, size_t n);
void pull_plain_stop(struct some *s);

/* ---- pull_index.c */
void index_go_on(struct pull *p);
void index_stop(struct pull *p);                   /* nothing of it comes any more */
void index_left(struct pull *p, struct holder *h); /* it gives nothing any more */
void index_published(struct pull *p);

/* ---- pull_parts.c */
void index_parts_ask(struct pull *p, struct holder *h); /* for their list */
void index_parts_doubt(struct pull *p, struct holder *h); /* its parts are not the list's: one of both is wrong */
void index_parts_came(struct pull *p, struct holder *h, uint64_t part, const uint8_t *bytes, size_t n);
void index_parts_go_on(struct pull *p);
/* It is verified, and given on; then, when all that is known without asking was said so: what is left. */
void index_parts_has(struct pull *p, uint64_t part);
void index_parts_rest(struct pull *p);
void index_parts_drop(struct pull *p);
void index_parts_wrong(struct pull *p); /* all are here, and are not the tree's index */
void index_parts_right(struct pull *p);
void index_parts_over(struct pull *p, int error); /* who waits for them is told */

/* ---- pull_alike.c */

/* Of the parts of the index those that are here; index_parts_rest() comes of it. */
void alike_parts(struct pull *p);
void alike_chunks(struct pull *p); /* pool: with room reserved */
void alike_tell(struct pull *p);   /* who waits for those */

/* ---- pull_old.c */
void old_go_on(struct pull *p);
void old_drop(struct pull *p); /* nothing of what was asked for comes any more */
void old_let_go(struct pull *p);
/* Of a good one; NULL: there is none, or it is being connected to, or another one was tried. */
struct conn *old_conn(struct pull *p);
bool old_is_asked(const struct pull *p, uint64_t chunk);
/* The present one has failed; what it had been asked for is asked of another. */
void old_failed(struct pull *p, enum standing standing, const char *what);
void old_give_more(struct pull *p);

/* ---- pull_store.c */

size_t pull_size_of(const struct tree *t, uint64_t chunk);
/* Takes over the n bytes of a chunk, which are its own, or with codec 1 those of a frame. */
void store_chunk(struct pull *p, struct holder *h, uint64_t chunk, uint8_t *bytes, size_t n, uint8_t codec);

#endif
