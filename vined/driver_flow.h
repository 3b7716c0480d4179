/* SPDX-License-Identifier: Apache-2.0
 * What comes to nodes and from whom, as they say (FLOWS) about once a second while something does. A transfer is a tree on its way to a node, from its
 * first bytes until all who gave some are through, or silent for a while; each has an event when it begins and one when it ends, but small ones and those
 * beyond many, which are summed up. All of it is in memory and bounded; the sums by origin outlive vined. */
#ifndef VINED_DRIVER_FLOW_H
#define VINED_DRIVER_FLOW_H

#include "vined/driver_data.h"

enum flow_origin { FLOW_NODE, FLOW_SOURCE, FLOW_CLIENT, FLOW_ORIGINS };
extern const char *const flow_words[FLOW_ORIGINS]; /* "node", "source", "client" */

/* A node that has joined says what has come. */
void driver_flows(struct node *n, const struct wire_flows *m);

/* Texts are valid until the next turn. */
struct driver_flow {
	const char *from, *to, *item, *tree; /* tree: "" while it is being sealed */
	enum flow_origin origin;
	uint64_t rate;                   /* bytes a second, of late; 0: nothing comes just now */
	uint64_t size, rest, since_usec; /* rest: of the tree, from all who give it; since_usec: ago */
};
/* Those under way, the fastest first, whose names have `find` in them. */
void driver_list_flows(struct driver *d, const char *find, size_t most,
		       void (*on_flow)(void *arg, const struct driver_flow *f), void *arg);

struct driver_moved {
	uint64_t size[FLOW_ORIGINS];
	uint64_t needed_size; /* of the trees that sources were read for, each once */
	size_t n_transfers;   /* under way */
};
void driver_get_moved(const struct driver *d, struct driver_moved *out);

struct driver_moved_tree {
	const char *name, *tree;
	uint64_t size;  /* 0: not known */
	size_t n_nodes; /* that have all of it */
	uint64_t from[FLOW_ORIGINS];
};
/* Of the trees of which bytes came, the newest first; `find` as above. */
void driver_list_moved(struct driver *d, const char *find, size_t most,
		       void (*on_tree)(void *arg, const struct driver_moved_tree *t), void *arg);

/* Who gave a node the trees that a task reads, "n3, n4, /data"; "": not known any more. */
void driver_givers(struct driver *d, uint64_t task, uint64_t node, char to[256]);

#endif
