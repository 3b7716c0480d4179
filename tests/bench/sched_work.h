/* SPDX-License-Identifier: Apache-2.0
 * A client's work for the sched-* benchmarks: many tasks submitted through libvineclient, and their results taken, each counted once. */
#ifndef BENCH_SCHED_WORK_H
#define BENCH_SCHED_WORK_H

#include "libvineclient/vine.h"
#include "tests/bench/sched_world.h"

#define SCHED_PAYLOAD 300 /* bytes of each command, no two alike */

/* NULL: an attached run without a name. */
struct vine *sched_open(const char *run);
void sched_close(struct vine *v);

/* Posts tasks with a command of SCHED_PAYLOAD bytes each and a clean environment, durably, in posts of `batch`. */
void sched_post(struct vine *v, uint64_t n, uint64_t batch);
/* The same, all with this command, in a view ("yes") or not ("none"). */
void sched_post_command(struct vine *v, uint64_t n, uint64_t batch, const char *const argv[], const char *view);

/* Which results have come, by number. */
struct sched_seen {
	uint64_t n, n_twice, n_bad; /* that ended otherwise than by exit status 0 */
	uint8_t *bits;
	uint64_t n_bits;
};
void sched_seen_fini(struct sched_seen *s);
/* Takes results until there are `n`, and acknowledges each; fails when none comes for a minute. */
void sched_take(struct vine *v, struct sched_seen *s, uint64_t n);

double sched_own_cpu_sec(void);

struct sched_flow {
	double sec; /* from the first post until the last acknowledgment was durable */
	double submit_sec;
	double client_cpu_sec;
	struct sched_cpu cpu; /* of vined meanwhile */
};
/* Submits by one thread and takes results by another. */
struct sched_flow sched_flow(struct sched_world *w, uint64_t n);

#endif
