/* SPDX-License-Identifier: Apache-2.0
 * Hot sets: which files of a tree were read, in order, in a file of its own below a directory: numbers of nodes, u32 each. Written and read in fetch's pool; the loop's thread. */
#ifndef VINEFS_HOTSET_H
#define VINEFS_HOTSET_H

#include "vinefs/fetch/fetch.h"

/* What was read of tree `t`: n nodes from malloc, taken over. Behind what is known; what is no file is left out. fetch NULL: written before this returns. */
void hotset_save(struct fetch *f, const char *directory, const struct tree *t, uint32_t *nodes, size_t n);

/* Leaves the files alone, in their order; how many. */
size_t hotset_files(const struct tree *t, uint32_t *nodes, size_t n);

struct hotset_load {
	struct fetch_work work; /* private, like the path */
	char *path;
	const struct tree *tree; /* borrowed until then */
	/* What was read first the last time: files of the tree, borrowed for the call; n 0: nothing is known. */
	void (*on_done)(struct hotset_load *h, const uint32_t *nodes, size_t n);
	uint32_t *nodes;
	size_t n;
};

/* The caller's, not moved until on_done, which comes later and always: it cannot be stopped. */
void hotset_load(struct fetch *f, const char *directory, const struct tree *t, struct hotset_load *h);

#endif
