/* SPDX-License-Identifier: Apache-2.0
 * For driver_flow.c (what nodes say), driver_flow_event.c (beginnings and ends told) and driver_flow_look.c (what there is to see).
 * 1. A giver is of one transfer, a transfer of one moved tree; a moved tree with transfers is not forgotten.
 * 2. What a node reads at a path has no tree until it is sealed: until then its transfer is the path's, and becomes the tree's when it is known. */
#ifndef VINED_DRIVER_FLOW_PARTS_H
#define VINED_DRIVER_FLOW_PARTS_H

#include "vined/driver_flow.h"
#include "vined/driver_internal.h"

#define FLOW_ENDED_MOST 512u

struct moved_tree {
	struct list link; /* used last at the end */
	char key[DIGEST_TEXT_SIZE];
	char *name; /* NULL: not looked for yet */
	char *path; /* where it was read; NULL: nobody has said */
	uint64_t item;
	uint64_t size, from[FLOW_ORIGINS];
	unsigned n_transfers;
};

struct giver {
	struct list link;
	enum flow_origin origin;
	uint64_t size, rate, last_usec;
	bool is_over;
	char name[];
};

struct transfer {
	struct list link;
	char *key;
	struct moved_tree *of; /* NULL: it is not sealed yet */
	struct node *to;
	struct list givers;
	unsigned n_givers;
	char *path;          /* of what is being sealed */
	uint64_t first_size; /* absent when it began; 0: not said */
	uint64_t size, began_usec, last_usec;
	uint64_t from[FLOW_ORIGINS];
	bool is_told; /* that it has begun */
};

/* Who gave a tree to a node, of the last that are over. */
struct ended {
	uint64_t node;
	char tree[DIGEST_TEXT_SIZE], from[160];
};

/* Transfers without events of their own, since the last event. */
struct sum {
	uint64_t n, size[FLOW_ORIGINS];
};

struct flows {
	struct driver *driver;
	struct list transfers; /* heard of last at the end */
	size_t n_transfers;
	struct map by_key; /* transfers */
	struct list trees;
	struct map trees_by_key;
	size_t n_trees;
	uint64_t size[FLOW_ORIGINS],
		forgotten_size; /* forgotten_size: needed_size of trees that are not here any more */
	struct ended ended[FLOW_ENDED_MOST];
	size_t n_ended;
	struct sum small;
	uint64_t told_usec;
	unsigned n_told;
	struct timer tick;
	uint64_t recorded_usec, recorded_size;
};

static inline uint64_t flow_now_usec(const struct flows *f)
{
	return loop_now_usec(f->driver->o.loop);
}

/* Of the trees that sources were read for. */
static inline uint64_t flow_needed_size(const struct moved_tree *t)
{
	return t->from[FLOW_SOURCE] ? t->size : 0;
}

/* ---- driver_flow_event.c */
/* As tasks call it. */
const char *flow_tree_name(struct driver *d, struct moved_tree *t);
const char *flow_name(struct flows *f, const struct transfer *t);
/* Who gives it. */
void flow_put_names(const struct transfer *t, struct buf *to);
/* Once, unless it is small. */
void flow_tell_begin(struct flows *f, struct transfer *t);
/* It is over: the event, or a part of a later sum; and who gave it is remembered. */
void flow_tell_end(struct flows *f, const struct transfer *t);
void flow_tell_small(struct flows *f);

#endif
