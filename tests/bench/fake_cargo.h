/* SPDX-License-Identifier: Apache-2.0
 * What a fake node pretends to hold and to move: trees without bytes. What it fetches comes one after the other at a set rate. */
#ifndef BENCH_FAKE_CARGO_H
#define BENCH_FAKE_CARGO_H

#include "common/list.h"
#include "common/loop.h"
#include "common/wire.h"

/* The trees that nodes hold from the start are numbered from 0; whoever submits names them by the same digests. */
void fake_tree(unsigned i, struct digest *d);

struct cargo {
	struct loop *loop;
	uint64_t rate;         /* bytes a second into this node */
	struct list all;       /* what is here, and what is coming */
	uint64_t arrival_usec; /* of the last that is coming */
	void (*on_here)(struct cargo *c, const struct wire_fetched *m);
};

void cargo_init(struct cargo *c, struct loop *l, uint64_t rate,
		void (*on_here)(struct cargo *, const struct wire_fetched *));

/* It holds this tree from the start. */
void cargo_hold(struct cargo *c, const struct digest *tree, uint64_t size);
/* on_here follows, from the loop, unless it is stopped before. */
void cargo_fetch(struct cargo *c, const struct wire_fetch *m);
void cargo_stop(struct cargo *c, uint64_t item);
/* All that is here, into `to`, as an array of struct wire_replica; how many. */
uint32_t cargo_list(const struct cargo *c, struct buf *to);

/* What an attempt with these inputs found here before it was placed, and what came because of it: the first that uses what came is its reason. */
struct cargo_use {
	uint64_t local_size, moved_size;
};
struct cargo_use cargo_use(struct cargo *c, const struct wire_input *inputs, uint32_t n);

#endif
