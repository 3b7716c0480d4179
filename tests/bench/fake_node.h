/* SPDX-License-Identifier: Apache-2.0
 * One fake node and the world of all of them, for fake_nodes.c. */
#ifndef BENCH_FAKE_NODE_H
#define BENCH_FAKE_NODE_H

#include "common/dial.h"
#include "common/map.h"
#include "common/secret.h"
#include "tests/bench/fake_cargo.h"

struct world;

struct node {
	struct world *world;
	struct dial *dial;
	struct wire_hello hello;
	struct call join;
	struct list attempts;
	struct cargo cargo;
	char uuid[UUID_TEXT_SIZE], name[32];
	bool is_joined, was_joined, is_away;
};

struct attempt {
	struct list link;
	struct node *node;
	uint64_t attempt, task;
	struct timer timer; /* it runs; later, its end is told again */
	struct call call;
	struct cargo_use use;
	bool is_over, is_killed;
};

struct world {
	struct loop *loop;
	struct tls_context *tls;
	uint64_t instance;
	const char *address;
	struct node *nodes;
	uint64_t n_nodes, n_dialled, n_joined, n_first, at_once;
	uint64_t cores, limit, usec, n_payload, retry, seed, rate, n_trees, tree_size;
	uint64_t n_started, n_ended, n_doubled, n_lost;
	double first_sec;
	uint8_t *payload;
	struct map begun; /* attempts ever, to see one that is started twice */
	double began_sec;
	struct watch in;
	char line[256];
	size_t n_line;
};

/* The i-th of a world that has its settings. */
void fake_init(struct node *n, struct world *w, uint64_t i);
/* Connects as many as may be under way at a time; each that has joined brings the next. */
void fake_dial_more(struct world *w);
void fake_dial(struct node *n);
/* Hangs up without a word. What is under way goes on. */
void fake_leave(struct node *n);
/* What is under way is gone. */
void fake_forget(struct node *n);

#endif
