/* SPDX-License-Identifier: Apache-2.0
 * Null tasks end to end: submitted, committed, run by fake nodes of 16 cores, results committed, delivered, acknowledged; and what each costs vined. Client, vined
 * and all nodes share this machine's cores. */
#include "tests/bench/sched_bodies.h"
#include "tests/bench/sched_work.h"

enum { ROUNDS = 3, SIZES = 3 };
static const uint64_t sizes[SIZES] = {64, 1000, 10000};

struct measured {
	double per_sec[ROUNDS], loop_usec[ROUNDS], writer_usec[ROUNDS], client_usec[ROUNDS], submit_per_sec[ROUNDS];
	double join_sec;
};

static void measure(struct sched_world *w, uint64_t n_nodes, uint64_t n_tasks, struct measured *m)
{
	struct sched_fakes fakes;
	_free_ char *state = xasprintf("vined%llu", (unsigned long long)n_nodes);
	sched_vined_start(w, state, NULL);
	sched_fakes_start(w, &fakes, n_nodes, (const char *const[]){"cores=16", "at-once=64", NULL}, true);
	m->join_sec = fakes.joined_sec;
	sched_flow(w, max(n_tasks / 10, (uint64_t)1)); /* so that the first round is like the others */
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct sched_flow f = sched_flow(w, n_tasks);
		double n = (double)n_tasks;
		m->per_sec[i] = n / f.sec;
		m->submit_per_sec[i] = n / f.submit_sec;
		m->loop_usec[i] = f.cpu.loop_sec / n * 1e6;
		m->writer_usec[i] = f.cpu.writer_sec / n * 1e6;
		m->client_usec[i] = f.client_cpu_sec / n * 1e6;
	}
	struct sched_counts c = sched_fakes_ask(&fakes, "numbers");
	if (c.doubled || c.joined != n_nodes)
		sched_fail("%llu nodes of %llu are joined, %llu attempts were started twice",
			   (unsigned long long)c.joined, (unsigned long long)n_nodes, (unsigned long long)c.doubled);
	sched_fakes_stop(&fakes);
	sched_vined_stop(w);
}

static void note(struct sched_world *w, const char *what, uint64_t n_nodes, double value)
{
	_free_ char *key = xasprintf("%s_%llu", what, (unsigned long long)n_nodes);
	sched_note(w, key, value);
}

static void print(struct sched_world *w, uint64_t n_nodes, struct measured *m)
{
	struct spread rate = spread_of(m->per_sec, ROUNDS), submit = spread_of(m->submit_per_sec, ROUNDS);
	struct spread loop = spread_of(m->loop_usec, ROUNDS), writer = spread_of(m->writer_usec, ROUNDS);
	struct spread client = spread_of(m->client_usec, ROUNDS);
	printf("%6llu %9.0f (%.0f-%.0f) %9.0f %8.2f %8.2f %8.2f (%.2f-%.2f) %8.2f %9.2f s\n",
	       (unsigned long long)n_nodes, rate.median, rate.low, rate.high, submit.median, loop.median, writer.median,
	       loop.median + writer.median, loop.low + writer.low, loop.high + writer.high, client.median, m->join_sec);
	fflush(stdout);
	note(w, "per_sec", n_nodes, rate.median);
	note(w, "loop_usec", n_nodes, loop.median);
	note(w, "writer_usec", n_nodes, writer.median);
}

static void say_elsewhere(void)
{
	printf("measured elsewhere: TaskVine with fake workers, volatile: 8,800/s at 4, 6,200 at 10, 1,683 at 1,000 "
	       "(853 with 10 inputs a task);"
	       " its manager's CPU a task: 113 us at 4, 594 at 1,000; HyperQueue claims 10,000/s; Dask 492-603/s, 440 "
	       "us; Slurm 2,200-3,700 us\n");
}

/* Of each size, or of the one that VINE_BENCH_NODES names. Which one the last line speaks of. */
static unsigned run_all(struct sched_world *w, uint64_t n_tasks, struct measured m[SIZES])
{
	unsigned chosen = 1;
	uint64_t only = sched_scaled(w, "VINE_BENCH_NODES", 0);
	bool is_told = getenv("VINE_BENCH_NODES") != NULL;
	printf("%llu tasks of %d bytes a round, %d rounds, state on %s\n", (unsigned long long)n_tasks, SCHED_PAYLOAD,
	       ROUNDS, w->directory);
	printf("%6s %9s (spread) %9s %8s %8s %8s (spread) %8s %9s\n", "nodes", "tasks/s", "submit/s", "loop us",
	       "writer us", "vined us", "client us", "join");
	for (unsigned i = 0; i < SIZES; i++) {
		if (is_told && sizes[i] != only)
			continue;
		chosen = is_told ? i : chosen;
		measure(w, w->is_quick ? min(sizes[i], (uint64_t)64) : sizes[i], n_tasks, &m[i]);
		print(w, sizes[i], &m[i]);
	}
	say_elsewhere();
	return chosen;
}

void sched_null(struct sched_world *w)
{
	struct measured m[SIZES] = {0};
	unsigned i = run_all(w, sched_scaled(w, "VINE_BENCH_TASKS", 200000), m);
	/* spread_of() has sorted them. */
	sched_end(w, m[i].per_sec[ROUNDS / 2], "tasks/s", "40000 at 64 and 1000 nodes, 25000 at 10000");
}

void sched_cost(struct sched_world *w)
{
	struct measured m[SIZES] = {0};
	unsigned i = run_all(w, sched_scaled(w, "VINE_BENCH_TASKS", 200000), m);
	sched_end(w, m[i].loop_usec[ROUNDS / 2] + m[i].writer_usec[ROUNDS / 2], "us", "15");
}
