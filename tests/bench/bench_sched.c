/* SPDX-License-Identifier: Apache-2.0
 * The benchmarks of the scheduler that run real daemons; named by how it is called, or by its argument. VINE_BENCH_DIR says where their databases lie (a local
 * disk), VINE_BENCH_TASKS and VINE_BENCH_NODES make one shorter (VINE_BENCH_NODES=1000: that size alone), VINE_BENCH_QUICK shows that it works. */
#include "common/path.h"
#include "tests/bench/sched_bodies.h"

static const struct sched_bench benches[] = {
	{"sched-cost", 300, 4000, sched_cost},       {"sched-latency", 120, 500, sched_latency},
	{"sched-memory", 240, 3000, sched_memory},   {"sched-nodes", 300, 500, sched_nodes},
	{"sched-null", 400, 4000, sched_null},       {"sched-place", 120, 500, sched_place},
	{"sched-restart", 300, 4000, sched_restart}, {"sched-spawn", 240, 1000, sched_spawn},
	{"sched-submit", 240, 4000, sched_submit},
};

int main(int argc, char **argv)
{
	const char *base = path_base(argv[0]);
	_free_ char *name = xstrdup(argc > 1 ? argv[1] : has_prefix(base, "bench_") ? base + 6 : base);
	for (char *p = name; *p; p++)
		if (*p == '_')
			*p = '-';
	for (size_t i = 0; i < countof(benches); i++)
		if (streq(name, benches[i].name))
			return sched_world_run(&benches[i]);
	sched_fail("%s is none of these benchmarks", name);
}
