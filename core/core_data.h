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
/* How large a tree is, as who has all of it says; what was said before was a guess. */
void core_tree_is_sized(struct core *c, uint64_t tree, uint64_t size);
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

/* ---- transfers. `fetch` brings an item to a node: from neighbours that have all or some of it or are bringing it themselves, or
 * with a token from its source, and from whom has some of it. It ends by core_replica_set(all of it), by core_fetch_failed, or by
 * fetch_stop when it takes far too long; then it is tried again. `fetch` of one that is under way names further neighbours: those
 * that it had have gone, or nothing has come for a while. A tree that nobody has whole is read from its source by one node at a
 * time, which is a neighbour of the others. */
#define CORE_PEERS 16
#define CORE_NEIGHBOURS 14 /* that are named; a node knows of others by being asked */

struct core_fetch {
	uint64_t node, item, tree, size; /* tree 0: nobody knows it: who reads the source finds out */
	uint64_t source, deadline_usec;  /* 0: from the peers */
	const uint64_t *peers;           /* nodes, those that have all of it first */
	size_t n_peers, n_whole;
	bool is_gating;  /* a task waits for it */
	unsigned rank;   /* enum core_rank */
	bool is_relayed; /* it could not get through to those who have it: the caller gets it there in another way */
	bool is_pinned; /* core_item_bring() was told so; of a tree that is there already this is all there is to tell */
};

/* What a transfer is for, as FETCH.rank: of equal nodes and sources the lower begin first. */
enum core_rank { CORE_RANK_GATING = 1, CORE_RANK_HOT, CORE_RANK_BACKGROUND, CORE_RANK_COPY };

/* Bytes can be had from a node that was added, until this says otherwise (it is not connected, or never sends any): what was to come from
 * there is looked for elsewhere, and waits where there is nobody else. */
int core_node_serve(struct core *c, uint64_t node, bool serves);
/* is_final: it cannot be had from there, ever: the item fails if there is nowhere else. */
int core_fetch_failed(struct core *c, uint64_t node, uint64_t item, bool is_final);
/* It is wanted on this node though no task says so: fetched behind what tasks need, once; of a node that is lost, or a replica that
 * goes, it is to be said again. -ENOENT: no such item, or the node is not there; -EALREADY: all of it is there (and with PIN
 * `fetch` is called all the same, with nobody to ask, so that the node is told). */
enum core_bring {
	CORE_BRING_OVER = 1, /* not any more; what a task of the node needs comes nevertheless */
	CORE_BRING_PIN = 2,  /* core_fetch.is_pinned */
	CORE_BRING_COPY = 4, /* to be safe: behind everything else */
};
int core_item_bring(struct core *c, uint64_t item, uint64_t node, unsigned flags);
/* At most so many nodes read this source at once; 0: any number, also of one tree: each node sees it itself. Unset, or with
 * CORE_LEARN: 4, then as many as are found to be worth it. */
#define CORE_LEARN UINT32_MAX
void core_source_set(struct core *c, uint64_t source, unsigned limit);

/* What a node found out about another of which it was to get a tree, as PEER_BAD.what. -ENOENT: one of them is not there. */
enum core_fault {
	CORE_FAULT_WRONG =
		1, /* nobody is told to ask it for this tree, until it has less of it than before: then it knows */
	CORE_FAULT_UNREACHABLE, /* if two say so: nobody is told to ask it, for a minute */
	CORE_FAULT_SILENT,      /* the same */
	CORE_FAULT_SLOW,        /* it is told last, for ten minutes */
};
int core_peer_bad(struct core *c, uint64_t tree, uint64_t node, uint64_t asker, enum core_fault what);

#endif
