/* SPDX-License-Identifier: Apache-2.0
 * Swarms under a virtual clock: the real fetch/swarm.c chooses; nodes have an uplink and a downlink, racks have too, and every byte, also of what is asked and told, waits in them behind what was there before.
 * A node gives as 0013 says: few uploads at once, one to an asker, what is not acknowledged bounded. */
#ifndef SWARM_SIM_H
#define SWARM_SIM_H

#include "common/base.h"

struct swarm_sim_options {
	unsigned n_nodes, n_trees; /* one node more has all trees at the beginning */
	uint64_t n_chunks;         /* of a tree */
	uint32_t chunk_size;
	double rate;           /* bytes a second, each way, of each node */
	uint64_t latency_usec; /* one way */
	unsigned n_slow;
	double slower; /* times */
	unsigned n_racks;
	double oversubscribed;    /* times: what a rack's nodes have together is so much more than what the rack has */
	unsigned n_leave, n_join; /* in the middle */
	unsigned n_neighbours;    /* that a newcomer is told; 0: 14 */
	unsigned n_uploads;       /* at once; 0: 4 */
	uint64_t window_usec;     /* as struct swarm_options has it */
	uint64_t tell_usec;       /* what has come is told each; 0: 10 ms */
	uint64_t read_usec;       /* the first node's reader wants a missing chunk each; 0: never */
	double source_rate;       /* the source has its chunks one after the other at this rate; 0: at once */
	uint64_t seed;
	double most; /* times S/b: given up after */
};

struct swarm_sim_result {
	bool is_complete;
	/* In times of all trees' bytes by the rate of a link. */
	double last, mean;
	double last_slow;             /* of the slow ones, which are not in the others */
	double tree_first, tree_last; /* when the first and the last tree were complete everywhere */
	double once;                  /* when the source had given every chunk once */
	/* In times of the trees' bytes. */
	double source_sent, source_once /* until it had given every chunk once */, wasted /* by a node, mean */;
	double read_usec, read_most_usec; /* of the reader: mean, most */
	uint64_t n_rejected, n_overtaken,
		n_useless; /* chunks that were not wanted any more when chosen; when they came; requests cancelled before */
	uint64_t n_reads, n_next, n_asked, n_events;
};

struct swarm_sim_result swarm_sim_run(const struct swarm_sim_options *o);

#endif
