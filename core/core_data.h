/* SPDX-License-Identifier: Apache-2.0
 * Items, trees, replicas and transfers: the second half of core.h, which includes it.
 *
 * An item is declared before the task that names it. It is there when it has a source, or a tree of which a node holds all. A task
 * waits, at no cost, until all its inputs are there; where the last replica of an output is lost its producer, which
 * is remembered as long as the item is declared, runs again: `start` is then called for a task that has ended before. */
#ifndef CORE_DATA_H
#define CORE_DATA_H

#include "core/core.h"

struct core_item_spec {
	uint64_t size; /* estimated; 0: small */
	uint64_t
		source; /* the caller's number of where it can be had from: a shared filesystem, a URL's host; 0: nowhere */
	uint64_t tree; /* if it is known */
};

/* -EEXIST. */
int core_item_add(struct core *c, uint64_t item, const struct core_item_spec *spec);
/* Which tree it is, and how large; two items may be one tree. -EEXIST: it is another already. */
int core_item_is_tree(struct core *c, uint64_t item, uint64_t tree, uint64_t size);
/* It can be had from here too: the client has it, the caller keeps it. */
int core_item_has_source(struct core *c, uint64_t item, uint64_t source);
/* It will never be there. What needs it fails, or is held if the core was given no `failed`. */
int core_item_failed(struct core *c, uint64_t item);
/* Nobody will name it any more. It goes with the last task that does. */
int core_item_forget(struct core *c, uint64_t item);

/* ---- replicas. So much of the tree is on this node; 0: none any more. The caller tells all a node has when it joins, and what
 * changes. Of an item that nobody knew the tree of tell first which it is. */
int core_replica_set(struct core *c, uint64_t node, uint64_t tree, uint64_t size);
/* What gates a start with CORE_WHEN_HOT is there. */
int core_replica_hot(struct core *c, uint64_t node, uint64_t item);

/* ---- transfers. `fetch` brings an item to a node: from neighbours that hold it, or with a token from its source. It ends by
 * core_replica_set(all of it), by core_fetch_failed, or by fetch_stop when it takes far too long; then it is tried again. */
#define CORE_PEERS 16

struct core_fetch {
	uint64_t node, item, tree, size; /* tree 0: nobody knows it: who reads the source finds out */
	uint64_t source, deadline_usec;  /* 0: from the peers */
	const uint64_t *peers;           /* nodes */
	size_t n_peers;
	bool is_gating; /* a task waits for it */
};

/* is_final: it cannot be had from there, ever: the item fails if there is nowhere else. */
int core_fetch_failed(struct core *c, uint64_t node, uint64_t item, bool is_final);
/* At most so many nodes read this source at once; 0: any number. Unset: 4. */
void core_source_set(struct core *c, uint64_t source, unsigned limit);

#endif
