/* SPDX-License-Identifier: Apache-2.0
 * Connections to other nodes, one for each address, shared by all that is asked there. Private to fetch/; the loop's thread. */
#ifndef FETCH_PEER_H
#define FETCH_PEER_H

#include "common/conn.h"
#include "common/map.h"
#include "vinefs/fetch/fetch.h"
#include "vinefs/fetch/pool.h"

#define PEER_SILENT_USEC 10000000u
#define PEER_PATIENCE_USEC 60000000u

struct fetch_peers {
	struct fetch_peers_settings settings;
	struct list peers; /* struct peer */
	unsigned n_peers;
	struct list pulls, waiting; /* struct pull: under way; those that wait their turn, gating ones first */
	unsigned n_pulls;
	struct map known; /* struct known_tree by tree: known.c */
	struct list known_trees, pieces;
	struct list plains;  /* struct plain: pull_plain.c */
	struct list fellows; /* struct fellows: fellow.c */
	unsigned n_fellows;
	uint64_t flying;       /* bytes that are asked for by all pulls */
	unsigned n_readers;    /* chunks that readers wait for */
	uint64_t readers_usec; /* since when there have been some, one soon after the other */
	uint64_t left_usec;    /* when the last one had what it waited for */
	uint64_t seed;
	uint64_t n_wrong; /* chunks that were not the tree's */
};

struct peer {
	struct list link;
	struct fetch_peers *owner;
	char *address;
	struct conn *conn; /* NULL: lost, or could not be made */
	int error;         /* why not */
	struct list users;
	struct timer timer; /* until it is open; then while nobody uses it */
};

/* The caller's, embedded. */
struct peer_user {
	struct list link;
	struct peer *peer; /* NULL: none */
	/* The connection is open (said more than once, maybe), or -errno: it could not be made or was lost, and the user has left it. */
	void (*on_ready)(struct peer_user *u, int error, const char *reason);
};

/* on_ready comes later, never within this call. */
void peer_join(struct fetch_peers *p, struct peer_user *u, const char *address);
/* Safe on one that has left. */
void peer_leave(struct peer_user *u);
/* NULL: not open yet, or lost. Whatever was asked on it has been answered with an error by then. */
struct conn *peer_conn(const struct peer_user *u);

/* ---- pull_life.c, pull.c, pull_plain.c */
void pulls_stop(struct fetch_peers *p);
void pull_plains_stop(struct fetch_peers *p);
void fellows_stop(struct fetch_peers *p); /* fellow.c */
/* More may be asked for than before. */
void pulls_wake(struct fetch_peers *f);
/* A chunk that somebody waits for: it comes by a pull of this tree, or soon will. False: no pull knows who has it. */
bool pull_want(struct fetch_peers *f, const struct digest *tree, uint64_t chunk, unsigned rank);
/* The pull of this tree reads this chunk from the source: no neighbour has it. */
bool pull_reads(struct fetch_peers *f, const struct digest *tree, uint64_t chunk);
void pulls_why(struct fetch_peers *f, const struct digest *tree, uint64_t chunk, struct buf *out);

/* ---- pull_some.c */

/* One more reader waits: those who are brought what nobody waits for let it go first. */
void readers_join(struct fetch_peers *f);
void readers_leave(struct fetch_peers *f);

/* ---- piece.c */

/* It lies in the cache now. */
void pieces_came(struct fetch_peers *f, const struct digest *tree, uint64_t chunk);
/* Nothing more comes by a pull of this tree. */
void pieces_pull_over(struct fetch_peers *f, const struct digest *tree);

/* ---- known.c: who has a tree, remembered for a while: one that is kept in parts is read long after it was pulled */

#define KNOWN_HOLDERS_MOST 32u /* of one tree, the last that were told */
#define KNOWN_GIVERS_MOST 254u

struct known_holder {
	char *name, *address;
	struct conn *(*conn)(void *arg);
	void *arg;
	bool is_liar, is_old;
	uint64_t silent_until_usec; /* it did not answer: till then it is not asked where there is another way */
};

struct known_tree {
	struct list link; /* of fetch_peers, used last at the end */
	struct digest id;
	char text[DIGEST_TEXT_SIZE];
	struct known_holder holders[KNOWN_HOLDERS_MOST];
	unsigned n;
	char *givers[KNOWN_GIVERS_MOST];
	unsigned n_givers;
	uint8_t *given; /* by chunk: 1 + which of them */
	uint64_t n_given;
};

struct known_tree *knowns_get(struct fetch_peers *f, const struct digest *id); /* NULL */
void knowns_free(struct fetch_peers *f);
/* These may have the tree: what is missing of it is asked of them. */
void peers_learn(struct fetch_peers *f, const struct digest *tree, const struct fetch_holder *holders, size_t n);
/* It is never asked for this tree again. */
void peers_lied(struct fetch_peers *f, const struct digest *tree, const char *address);
bool peers_is_liar(struct fetch_peers *f, const struct digest *tree, const char *address);
void peers_gave(struct fetch_peers *f, const struct digest *tree, uint64_t n_chunks, uint64_t chunk, const char *name);

#endif
