/* SPDX-License-Identifier: Apache-2.0
 * What the sched-* benchmarks stand on: a directory of their own, the installed vined with its default settings, fake nodes over TLS on loopback, a real node,
 * and what /proc says of vined. Whatever fails ends the benchmark with what and why; processes die with it and the directory goes. */
#ifndef BENCH_SCHED_WORLD_H
#define BENCH_SCHED_WORLD_H

#include "tests/bench/bench.h"

#include <sys/types.h>

struct sched_world {
	const char *name;
	const char *directory; /* scratch.h's */
	char state[160];     /* of the vined that runs, or ran last */
	char address[64];    /* of the same */
	pid_t vined;         /* 0: none runs */
	FILE *details;       /* of the line of JSON: "\"a\":1,"..., each with its comma */
	char *details_text;
	size_t n_details;
	bool is_quick;
};

struct sched_bench {
	const char *name;
	unsigned limit_sec, room_mib; /* it ends as failed, as impossible */
	void (*body)(struct sched_world *);
};

/* Runs `body` in a process of its own and removes all that is left of it. The exit status: 77 if it cannot run here, 1 if it failed or took too long. */
int sched_world_run(const struct sched_bench *b);

_Noreturn void sched_fail(const char *fmt, ...) _printf_(1, 2);

/* `n`, or what the environment variable says; in the quick form a fiftieth. */
uint64_t sched_scaled(const struct sched_world *w, const char *variable, uint64_t n);

/* Into the line of JSON. */
void sched_note(struct sched_world *w, const char *key, double value);
/* The last line. */
void sched_end(struct sched_world *w, double value, const char *unit, const char *target);

/* vined on `state` (a name below the directory; NULL: again on the last one) until its ready line, whose time it returns. $VINE speaks to it from then on. `extra`:
 * further settings, ended by NULL, or NULL. */
double sched_vined_start(struct sched_world *w, const char *state, const char *const extra[]);
void sched_vined_stop(struct sched_world *w);
void sched_vined_kill(struct sched_world *w);

/* A real node with default settings, until it has joined. `extra` as above. */
pid_t sched_node_start(struct sched_world *w, const char *state, const char *const extra[]);
void sched_node_stop(pid_t keeper);

/* ---- fake nodes (fake_nodes.c) */
struct sched_fakes {
	pid_t pid;
	FILE *to, *from;
	double joined_sec; /* from the first connect until all had joined */
};

struct sched_counts {
	uint64_t joined, started, ended, doubled, lost, away; /* away: attempts that nodes which left have under way */
	double first_sec; /* on bench_now_sec()'s axis: the first START ever, 0: none */
};

/* Until all have joined, or at once. `words` as its usage says, ended by NULL. */
void sched_fakes_start(struct sched_world *w, struct sched_fakes *f, uint64_t n, const char *const words[],
		       bool is_awaited);
void sched_fakes_await(struct sched_fakes *f);
struct sched_counts sched_fakes_ask(struct sched_fakes *f, const char *order);
void sched_fakes_stop(struct sched_fakes *f);

/* ---- what vined costs */
struct sched_cpu {
	double loop_sec, writer_sec; /* its main thread; all others */
};
struct sched_cpu sched_vined_cpu(const struct sched_world *w);
uint64_t sched_vined_rss(const struct sched_world *w); /* bytes */

/* Waits a little; for polls with a deadline. */
void sched_pause(double sec);

#endif
