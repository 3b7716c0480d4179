/* SPDX-License-Identifier: Apache-2.0
 * Transfers, whom they are told and what they read: the end of core_internal.h, which includes it. */
#ifndef CORE_MOVES_H
#define CORE_MOVES_H

#include "core/core_internal.h"

/* ---- neighbours */
#define CORE_AVOIDED 4u

struct core_neighbour {
	struct list of_node; /* in node->serves */
	struct core_move *move;
	struct core_node *node; /* NULL: none */
};

/* Bytes can be had from there, as far as is known. */
bool core_node_gives(const struct core_node *n);
bool core_replica_gives(const struct core_replica *r); /* all of it */
/* Adds some to those it has; is_anew: as many as may be, in the place of those if need be. How many. */
size_t core_neighbours_choose(struct core *c, struct core_move *m, bool is_anew);
void core_neighbours_drop(struct core_move *m);
/* The whole ones first. */
size_t core_neighbours_list(const struct core_move *m, uint64_t numbers[CORE_PEERS], size_t *n_whole);
bool core_neighbours_have_all(const struct core_move *m); /* one of them */
bool core_neighbours_are_few(const struct core_move *m);
/* It is nobody's neighbour any more: who has few left is among the lonely. */
void core_neighbours_leave(struct core *c, struct core_node *n);
bool core_bad_is(const struct core *c, uint64_t tree, uint64_t node);
void core_bad_forget(struct core *c, struct core_replica *r);

/* ---- sources */
struct core_source {
	uint64_t number;
	unsigned limit, n_active;
	bool is_set, was_lowered; /* was_lowered: more may be under way than the limit */
	struct list parked[4];    /* by rank */
	/* ---- learnt */
	unsigned before, n_ended, n_rest; /* before: the limit before the one that is tried; 0: none is */
	bool was_more;
	uint64_t since_usec;
	double work, rate, rate_before;
};

struct core_source *core_source_get(struct core *c, uint64_t number);
void core_source_limit(struct core_source *s, unsigned limit);
/* Who is first in line. */
struct core_move *core_source_first(const struct core_source *s);
/* A reader is about to give its token back, all of it read. */
void core_source_learn(struct core *c, struct core_source *s, uint64_t size);

/* ---- moves: transfers that are wanted or under way */
struct core_move {
	struct core_replica *replica;
	struct core_item *item;
	struct list
		link; /* in the node's wants, the tree's or the source's parked, c->woken; under way: in c->lonely, or nothing */
	bool is_begun;
	bool is_gating;  /* under way: as what it is counted */
	bool is_needed;  /* by a task: else it was only to be brought */
	bool is_pinned;  /* the node is to be told */
	bool is_stale;   /* under way: what the node was told has changed */
	bool is_alone;   /* nothing has come for long */
	bool is_cut_off; /* all it could be told are nodes it said it cannot reach */
	uint8_t rank;
	uint8_t n_live, n_stalls;
	unsigned n_tries;
	struct core_source *source, *woken_by; /* whose token it has; who offers it one */
	struct core_neighbour *neighbours;     /* CORE_NEIGHBOURS of them while it is under way */
	uint64_t avoided[CORE_AVOIDED];        /* nodes that it could not reach, the latest; 0: none */
	uint64_t began_usec, began_size, seen_size, deadline_usec;
	struct core_timer token; /* when it is looked at */
};

/* One there is keeps the better of both ranks. */
struct core_move *core_move_want(struct core *c, struct core_replica *r, struct core_item *i, enum core_rank rank);
/* What is there, and is to be pinned. */
void core_move_tell_pin(struct core *c, const struct core_order *o);
/* It has come, or is not to come any more; what waited for its slots goes on. */
void core_move_end(struct core *c, struct core_move *m);
/* It looks for bytes once more, behind all others. */
void core_move_again(struct core *c, struct core_move *m);
/* The same, where nothing has gone wrong. */
void core_move_look_again(struct core *c, struct core_move *m);
void core_move_due(struct core *c, struct core_move *m);
void core_move_stop(struct core *c, struct core_move *m); /* the node is told */
void core_move_arrived(struct core *c, struct core_replica *r);
/* Moves that wait for somebody who has the tree look again. */
void core_move_unpark(struct core *c, struct core_tree *t);
/* Nothing comes from this node: what it reads others read again. */
void core_move_unread(struct core *c, struct core_node *n);
/* Somebody has all of it no longer: if that was the last one, who brings most of it reads from its source what nobody has. */
void core_move_orphaned(struct core *c, struct core_tree *t);
bool core_move_next(struct core *c); /* begins one */

#endif
