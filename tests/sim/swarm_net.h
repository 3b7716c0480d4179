/* SPDX-License-Identifier: Apache-2.0
 * A virtual clock and links that pass bytes on first in, first out. */
#ifndef SWARM_NET_H
#define SWARM_NET_H

#include "common/base.h"

struct event {
	uint64_t nsec, order;
	void (*run)(void *arg, uint64_t number);
	void *arg;
	uint64_t number;
};

struct clock {
	uint64_t nsec, n_events;
	struct event *heap;
	size_t n, room;
};

void clock_fini(struct clock *c);
/* Runs run(arg, number) then. */
void clock_at(struct clock *c, uint64_t nsec, void (*run)(void *arg, uint64_t number), void *arg, uint64_t number);
/* False: nothing is left to happen. */
bool clock_step(struct clock *c);

struct wire {
	double rate; /* bytes a second */
	uint64_t free_nsec;
};

/* When bytes that come to it now have left it. */
uint64_t wire_pass(struct wire *w, uint64_t now_nsec, size_t size);

#endif
