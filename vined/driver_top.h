/* SPDX-License-Identifier: Apache-2.0
 * What a screen shows of a cluster, however large that is: each of these looks at a bounded number of tasks and items, and at every node
 * or run at most a few times. */
#ifndef VINED_DRIVER_TOP_H
#define VINED_DRIVER_TOP_H

#include "vined/driver_look.h"

struct driver_top {
	/* Tasks that were ever submitted, and those of them that are over; not known (is_settled false) while some are on their way to the disk. */
	uint64_t submitted, over;
	bool is_settled;
	uint64_t for_inputs, staging, fetches, items, known_nodes;
};
void driver_top(const struct driver *d, struct driver_top *out);

struct driver_top_node {
	const char *name, *state, *tier, *address;
	uint32_t cores, cores_used, gpus;
	uint64_t memory, memory_used, n_running, task_limit;
	uint64_t cache_size, n_trees, n_fetches;
};
/* Those whose name, address or state has `find` in it, in the order of `sort` (busy, name, cache, state); up to `most`. Returns how many there are. */
size_t driver_top_nodes(const struct driver *d, const char *sort, const char *find, size_t most,
			void (*on_node)(void *arg, const struct driver_top_node *n), void *arg);

struct driver_top_run {
	const char *name;
	uint64_t unfinished, running, untaken; /* untaken: results */
	bool is_attached;
};
/* Of those in memory the ones with most to do. Returns how many there are. */
size_t driver_top_runs(const struct driver *d, size_t most, void (*on_run)(void *arg, const struct driver_top_run *r),
		       void *arg);

/* Tasks that run on the node of that name. -ENOENT. */
int driver_top_on_node(const struct driver *d, const char *name, size_t most, void (*on_task)(void *arg, uint64_t id),
		       void *arg);
/* What a task that runs was given; 0 of what it was given none of, or if it does not run. */
void driver_top_given(const struct driver *d, uint64_t task, uint32_t *cores, uint64_t *memory);

/* Numbers for driver_next_item() of those whose name has `find` in it, the largest first or by name. Returns how many are known; looks
 * at LOOKED of them at most. */
#define DRIVER_TOP_LOOKED 20000u
size_t driver_top_items(const struct driver *d, bool is_by_name, const char *find, size_t most,
			void (*on_item)(void *arg, size_t at), void *arg);

#endif
