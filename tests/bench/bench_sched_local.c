/* SPDX-License-Identifier: Apache-2.0
 * How near to its data the core brings work, in the simulator: tasks that read large shards again and again, and a map whose
 * results are reduced four at a time. Beside it, in the same run, the rule of the best free node, and no look-ahead. */
#include "tests/bench/bench.h"
#include "tests/sim/sim.h"

#define CARD 1.25e9 /* bytes a second: 10 Gb/s */
#define MB UINT64_C(1000000)

static uint64_t state;

static uint64_t roll(uint64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % n;
}

enum rule { RULE_CORE, RULE_NO_FORESIGHT, RULE_BLIND, RULES };

static const char *const names[RULES] = {"the core", "without look-ahead", "best free node"};

static struct sim *sim_of(enum rule rule, unsigned n_nodes, uint64_t seed)
{
	state = seed * 0x9e3779b97f4a7c15u + 1;
	const struct sim_options o = {
		.core = {.rate = (uint64_t)CARD,
			 .is_blind = rule == RULE_BLIND,
			 .has_no_foresight = rule == RULE_NO_FORESIGHT},
		.n_nodes = n_nodes,
		.n_cores = 8,
		.card = CARD,
		.filesystem = CARD,
	};
	return sim_new(&o);
}

/* 1,000 shards of 2.5 GB, each on one node; 50,000 tasks of 5 s that read one each: 122 s on 2,048 cores. */
static struct sim_result run_shards(enum rule rule, uint64_t seed)
{
	enum { N_NODES = 256, N_SHARDS = 1000, N_TASKS = 50000 };
	struct sim *s = sim_of(rule, N_NODES, seed);
	for (unsigned i = 0; i < N_SHARDS; i++)
		sim_replica(s, 1 + roll(N_NODES), sim_item(s, 2500 * MB, false));
	for (unsigned i = 0; i < N_TASKS; i++) {
		uint64_t shard = 1 + roll(N_SHARDS);
		sim_task(s, &(struct sim_task){.usec = 5000000, .inputs = &shard, .n_inputs = 1});
	}
	struct sim_result r = sim_run(s);
	assert(r.n_ended == N_TASKS);
	sim_free(s);
	return r;
}

/* 16,384 maps of 8 to 12 s on 1,000 nodes, each of whose 100 MB goes up a tree of reductions by four. */
static struct sim_result run_reduce(enum rule rule, uint64_t seed)
{
	enum { N_NODES = 1000, N_MAPS = 16384 };
	struct sim *s = sim_of(rule, N_NODES, seed);
	uint64_t *level = xcalloc(N_MAPS, sizeof *level);
	for (unsigned i = 0; i < N_MAPS; i++) {
		level[i] = sim_item(s, 100 * MB, false);
		sim_task(s, &(struct sim_task){.usec = 8000000 + roll(4000000), .output = level[i]});
	}
	for (unsigned n = N_MAPS; n > 1; n /= 4) {
		for (unsigned i = 0; i < n / 4; i++) {
			uint64_t made = sim_item(s, 100 * MB, false);
			sim_task(s, &(struct sim_task){
					    .usec = 2000000, .inputs = level + 4 * i, .n_inputs = 4, .output = made});
			level[i] = made;
		}
	}
	free(level);
	struct sim_result r = sim_run(s);
	sim_free(s);
	return r;
}

int main(void)
{
	enum { N_SEEDS = 3 };
	double makespan[RULES][N_SEEDS], local[RULES], moved[RULES], span[RULES];
	const double ideal = 50000 * 5.0 / (256 * 8);
	printf("%-28s %-20s %10s %8s %10s %12s\n", "workload", "rule", "makespan", "ideal", "local", "core us/start");
	for (enum rule rule = 0; rule < RULES; rule++) {
		for (unsigned i = 0; i < N_SEEDS; i++) {
			struct sim_result r = run_shards(rule, i + 1);
			makespan[rule][i] = r.usec * 1e-6;
			local[rule] = 1 - (double)r.moved / (double)r.read;
			printf("%-28s %-20s %8.1f s %6.1f s %8.2f %% %12.2f\n", "50,000 tasks on shards", names[rule],
			       makespan[rule][i], ideal, 100 * local[rule], r.cpu_usec_a_start);
		}
	}
	for (enum rule rule = 0; rule < RULES; rule++) {
		struct sim_result r = run_reduce(rule, 1);
		moved[rule] = (double)r.moved;
		span[rule] = r.usec * 1e-6;
		printf("%-28s %-20s %8.1f s %8s %8.1f GB %11.2f\n", "map and 4-ary reduce", names[rule], span[rule], "",
		       moved[rule] * 1e-9, r.cpu_usec_a_start);
	}
	struct spread core = spread_of(makespan[RULE_CORE], N_SEEDS), blind = spread_of(makespan[RULE_BLIND], N_SEEDS);
	printf("shards: %.1f s (%.1f-%.1f) of %.1f ideal, best free node %.1f; reduce moves %.2f of what it moves "
	       "without "
	       "look-ahead\n",
	       core.median, core.low, core.high, ideal, blind.median, moved[RULE_CORE] / moved[RULE_NO_FORESIGHT]);
	bench_end("sched-local", core.median / ideal, "x", "1.35",
		  "\"local\":%.4f,\"blind\":%.3f,\"reduce_moves\":%.3f", local[RULE_CORE], blind.median / ideal,
		  moved[RULE_CORE] / moved[RULE_NO_FORESIGHT]);
	return 0;
}
