/* SPDX-License-Identifier: Apache-2.0
 * One chunk from another node, for a fill: whoever is known to have the tree is asked, one after the other. Private to fetch/; the loop's thread. */
#ifndef FETCH_PIECE_H
#define FETCH_PIECE_H

#include "vinefs/fetch/fetch.h"

/* The caller's, zeroed before. */
struct piece {
	uint8_t *bytes; /* n of them are to be put here */
	size_t n;
	uint64_t chunk;
	bool is_urgent; /* there is another way: nobody is asked twice */
	unsigned rank;  /* as READ_SOME has it */
	const struct tree *index;
	bool is_here; /* out: it lies in the cache, for it came to all */
	/* 0: they are there, not verified yet. Else -errno, and why. */
	void (*on_done)(struct piece *p, int error, const char *reason);
	struct piecing *work; /* private, like the next: who gave it */
	char giver[64];
};

/* False: nobody is known to have this tree. on_done comes later. */
bool piece_ask(struct fetch_peers *f, const struct digest *tree, struct piece *p);
/* Somebody waits for it more than before. */
void piece_raise(struct piece *p, unsigned rank);
/* What it gave was not the tree's: it is not asked for the tree any more. */
void piece_lied(struct fetch_peers *f, const struct digest *tree, const struct piece *p);
/* It was good: whoever is told of flows is told. */
void piece_came(struct fetch_peers *f, const struct digest *tree, const struct piece *p);
/* All that is under way fails. */
void pieces_stop(struct fetch_peers *f);

/* ---- pull_life.c */

/* These are waited for: of a pull that brings the tree before the rest. */
void pulls_prefer(struct fetch_peers *f, const struct digest *tree, const uint64_t *chunks, size_t n);

/* ---- fetch.c */

/* These are asked from now on; NULL: nobody is. */
void fetch_use_peers(struct fetch *f, struct fetch_peers *p);
/* So many bytes have come from another node and are good. */
void fetch_count_peer(struct fetch *f, uint64_t size);

#endif
