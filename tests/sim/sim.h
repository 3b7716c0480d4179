/* SPDX-License-Identifier: Apache-2.0
 * A cluster under a virtual clock: the real core decides, nodes have slots and a network card of a given rate, a shared filesystem has one too.
 * A transfer's rate is the least of its ends' fair shares, found anew whenever a transfer begins or ends at one of them. It comes from one
 * of those that the core named, the one that gives to fewest just then, when that one is lost from another; who still gets it himself
 * gives it as fast as he gets it. */
#ifndef SIM_H
#define SIM_H

#include "core/core.h"

struct sim;

struct sim_options {
	struct core_options core;
	unsigned n_nodes, n_cores;
	double card, filesystem; /* bytes a second */
};

struct sim *sim_new(const struct sim_options *o);
void sim_free(struct sim *s);

/* Numbers of items are given from 1 on, tasks' likewise. source: it lies on the shared filesystem. */
uint64_t sim_item(struct sim *s, uint64_t size, bool has_source);
void sim_replica(struct sim *s, uint64_t node, uint64_t item);
struct sim_task {
	uint64_t usec;
	const uint64_t *inputs;
	size_t n_inputs;
	uint64_t output; /* an item; 0: none */
};
uint64_t sim_task(struct sim *s, const struct sim_task *t);

/* From 1 to n_nodes; its tasks run again elsewhere. */
void sim_lose_at(struct sim *s, uint64_t usec, uint64_t node);

struct sim_result {
	double usec;          /* the makespan */
	uint64_t read, moved; /* bytes that tasks named as inputs; that went over the network */
	uint64_t n_ended, n_failed, n_starts;
	double cpu_usec_a_start; /* of the core, per start */
};

/* Until nothing is left to happen. */
struct sim_result sim_run(struct sim *s);

#endif
