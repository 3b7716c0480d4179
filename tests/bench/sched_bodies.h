/* SPDX-License-Identifier: Apache-2.0
 * The bodies of the sched-* benchmarks, one program under several names (bench_sched.c). TARGETS says what each must reach. */
#ifndef BENCH_SCHED_BODIES_H
#define BENCH_SCHED_BODIES_H

#include "tests/bench/sched_world.h"

/* ---- sched_null.c */
void sched_null(struct sched_world *w);
void sched_cost(struct sched_world *w);

/* ---- sched_latency.c */
void sched_latency(struct sched_world *w);

/* ---- sched_queue.c: a million tasks that wait */
void sched_memory(struct sched_world *w);
void sched_submit(struct sched_world *w);
void sched_restart(struct sched_world *w);

/* ---- sched_spawn.c */
void sched_spawn(struct sched_world *w);

/* ---- sched_place.c */
void sched_place(struct sched_world *w);

/* ---- sched_nodes.c */
void sched_nodes(struct sched_world *w);

#endif
