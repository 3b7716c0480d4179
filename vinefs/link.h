/* SPDX-License-Identifier: Apache-2.0
 * The node's connection to vined: joins, takes orders, delivers each end until vined says that it has it, and gives out outputs. */
#ifndef VINEFS_LINK_H
#define VINEFS_LINK_H

#include "common/loop.h"
#include "vinefs/settings.h"

struct link;

/* What the machine offers, as the probe found it; texts borrowed. */
struct link_offer {
	const char *tier, *kernel;
	uint32_t cores, task_limit;
	uint64_t memory;
	const char *const *features;
	uint32_t n_features;
};

/* Everything between the keeper (its descriptor is taken over) and vined. The loop is stopped with the process' exit status
 * when the node has left, or vined refuses it for good. NULL after logging why. */
struct link *link_new(struct loop *l, const struct settings *s, int keeper, const struct link_offer *o);
void link_free(struct link *k);
DEFINE_FREEP(struct link, link_free)

/* Asks the keeper to stop the node in order. */
void link_leave(struct link *k);

#endif
