/* SPDX-License-Identifier: Apache-2.0
 * What the simulator's files share: swarm_sim.c (nodes come and go, a run), swarm_member.c (what a node does in a swarm), swarm_net.c (clock and links). */
#ifndef SWARM_WORLD_H
#define SWARM_WORLD_H

#include "common/list.h"
#include "tests/sim/swarm_net.h"
#include "tests/sim/swarm_sim.h"
#include "vinefs/fetch/swarm.h"

struct sim;
struct member;

struct node {
	struct sim *sim;
	unsigned number, rack;
	bool is_gone, is_slow;
	struct wire up, down;
	struct list queue; /* of asks, in the order they came */
	unsigned n_active;
};

/* One member as another knows it. */
struct peer {
	struct member *other;
	int number;         /* in this one's swarm */
	struct ask *served; /* from this one; of several that which was last begun */
	size_t on_way;      /* bytes to it that are not acknowledged */
};

/* A node in the swarm of a tree. */
struct member {
	struct node *node;
	unsigned tree;
	struct swarm *swarm;
	struct swarm_given *given;
	struct peer *peers[SWARM_NEIGHBOURS_MOST]; /* by number in the swarm */
	unsigned n_peers;
	struct list asks;
	uint32_t *untold;
	unsigned n_untold;
	bool is_telling;
	uint64_t due_nsec, done_nsec;
	uint64_t wasted;
};

struct ask {
	struct list link; /* in the giver's queue */
	struct list open; /* in the asker's, until it is over there */
	struct member *from, *to;
	struct swarm_wish *wish;
	uint64_t number, chunk;
	enum swarm_rank rank;
	uint32_t pushed, got;
	unsigned n_refs;
	bool is_over, is_cancelled, is_queued, is_active;
};

/* What a member tells all its peers. */
struct news {
	struct member *from;
	unsigned n_refs, n;
	uint32_t chunks[];
};

struct sim {
	struct swarm_sim_options o;
	struct clock clock;
	struct wire *rack_up, *rack_down;
	struct node *nodes;
	unsigned n_nodes;
	struct member *members; /* by node, by tree */
	uint64_t random;
	unsigned n_left; /* members that have not all and stay */
	uint8_t *is_out; /* by tree and chunk: the source has given it */
	uint64_t n_in, source_sent, source_once, once_nsec;
	uint64_t read_chunk, read_nsec, read_sum, read_most;
	struct swarm_sim_result result;
};

uint64_t sim_dice(struct sim *s, uint64_t n); /* from 0 to n - 1 */
struct member *sim_member(struct sim *s, unsigned node, unsigned tree);

/* NULL: they are no neighbours. */
struct peer *member_peer(const struct member *m, const struct member *other);
void member_watch(struct member *m, struct member *other);
void member_unwatch(struct member *m, const struct member *other);
/* A chunk is here: told to all, after a while. */
void member_has(struct member *m, uint64_t chunk);
/* Asks for all that may be asked for now. */
void member_pump(struct member *m);

#endif
