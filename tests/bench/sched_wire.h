/* SPDX-License-Identifier: Apache-2.0
 * A client that speaks the wire itself, for what libvineclient cannot say yet, or would spend its own time on. One thread, which waits within these calls. */
#ifndef BENCH_SCHED_WIRE_H
#define BENCH_SCHED_WIRE_H

#include "common/wire.h"
#include "tests/bench/sched_world.h"

struct sched_wire;

/* Attached to the run on vined's socket, its results wanted; on_result may be NULL. Each is acknowledged. */
struct sched_wire *sched_wire_new(const struct sched_world *w, const char *run,
				  void (*on_result)(void *arg, const struct wire_result *r), void *arg);
void sched_wire_free(struct sched_wire *c);

/* Tasks of the run that had no acknowledged result when it was attached to. */
uint64_t sched_wire_pending(const struct sched_wire *c);

/* 0 once they are durable, or a positive errno with vined's words. */
int sched_wire_submit(struct sched_wire *c, const struct wire_task *tasks, uint32_t n, char reason[256]);

/* Lets results come until *n has reached `wanted`; fails when it has not within so many seconds. */
void sched_wire_await(struct sched_wire *c, const uint64_t *n, uint64_t wanted, unsigned limit_sec);

#endif
