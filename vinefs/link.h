/* SPDX-License-Identifier: Apache-2.0
 * The node's connection to vined: joins, takes orders, delivers each end until vined says that it has it, and gives out outputs. */
#ifndef VINEFS_LINK_H
#define VINEFS_LINK_H

#include "common/loop.h"
#include "vinefs/settings.h"

struct cache;
struct fetch;
struct inputs;
struct link;

/* What the machine offers, as the probe found it; texts borrowed. */
struct link_offer {
	const char *tier, *kernel;
	uint32_t cores, task_limit;
	uint64_t memory;
	const char *const *features;
	uint32_t n_features;
};

/* What the node has besides tasks; borrowed. */
struct link_parts {
	struct cache *cache;
	struct fetch *fetch;
	struct inputs *inputs;
	/* Mounts are served, or somebody is at the door. NULL: never. */
	bool (*is_used)(void *arg);
	void *arg;
};

/* Everything between the keeper (its descriptor is taken over) and vined. The loop is stopped with the process' exit status
 * when the node has left, or vined refuses it for good. NULL after logging why. */
struct link *link_new(struct loop *l, const struct settings *s, int keeper, const struct link_offer *o,
		      const struct link_parts *p);
/* Before fetch_stop(): work that is under way in the pool is told so there. */
void link_free(struct link *k);
DEFINE_FREEP(struct link, link_free)

/* For metrics. */
struct link_numbers {
	bool is_joined;
	unsigned n_attempts;  /* begun, and not reported to vined as over */
	uint64_t client_size; /* of what has come: from clients, over vined */
	/* Trees that are being brought from other nodes; who tells what he has of them; requests under way. */
	unsigned n_pulls, n_neighbours, n_asked;
	uint64_t n_wrong; /* chunks that were not the tree's */
	/* What this node gave; and requests that wait. */
	uint64_t given_size;
	unsigned n_gifts;
};
void link_get_numbers(const struct link *k, struct link_numbers *n);

/* Asks the keeper to stop the node in order. */
void link_leave(struct link *k);

#endif
