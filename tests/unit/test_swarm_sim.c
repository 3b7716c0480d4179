/* SPDX-License-Identifier: Apache-2.0
 * What the choice of chunk and peer is worth, with small cases of the simulator. The cases of TARGETS and larger ones: tests/bench/bench_swarm_sim. */
#include "tests/sim/swarm_sim.h"
#include "tests/unit/unit.h"

#include <stdio.h>

static struct swarm_sim_options case_of(unsigned n_nodes)
{
	return (struct swarm_sim_options){.n_nodes = n_nodes,
					  .n_trees = 1,
					  .n_chunks = 190,
					  .chunk_size = 32768,
					  .rate = 50 * 125000.0,
					  .seed = 1};
}

/* Of what is said in thousandths. */
static void at_most(double is, unsigned most, const char *what)
{
	printf("%s %.3f ", what, is);
	ASSERT(is * 1000 <= most);
}

TEST(eight_have_all_in_little_more_than_the_time_of_one)
{
	struct swarm_sim_options o = case_of(8);
	for (o.seed = 1; o.seed <= 3; o.seed++) {
		struct swarm_sim_result r = swarm_sim_run(&o);
		ASSERT(r.is_complete);
		at_most(r.last, 1180, "last");
		at_most(r.source_once, 1020, "source");
		at_most(r.wasted, 20, "wasted");
	}
}

TEST(sixteen_have_all_though_answers_take_long)
{
	struct swarm_sim_options o = case_of(16);
	o.latency_usec = 5000;
	struct swarm_sim_result r = swarm_sim_run(&o);
	ASSERT(r.is_complete);
	at_most(r.last, 1250, "last");
	at_most(r.source_once, 1020, "source");
}

TEST(a_slow_one_delays_nobody_else)
{
	struct swarm_sim_options o = case_of(16);
	struct swarm_sim_result fast = swarm_sim_run(&o);
	o.n_slow = 1;
	for (o.slower = 5; o.slower <= 20; o.slower += 15) {
		struct swarm_sim_result r = swarm_sim_run(&o);
		ASSERT(r.is_complete);
		at_most(r.last / fast.last, 1200, "of the others");
		at_most(r.last_slow / o.slower, 1300, "its own");
	}
}

TEST(trees_that_come_at_once_share)
{
	struct swarm_sim_options o = case_of(16);
	o.n_trees = 4;
	o.n_chunks = 100;
	struct swarm_sim_result r = swarm_sim_run(&o);
	ASSERT(r.is_complete);
	at_most(r.tree_last / r.tree_first, 1300, "last by first");
	at_most(r.last, 1300, "last");
}

TEST(nodes_may_go_and_come)
{
	struct swarm_sim_options o = case_of(16);
	o.n_leave = o.n_join = 3;
	struct swarm_sim_result r = swarm_sim_run(&o);
	ASSERT(r.is_complete);
	at_most(r.source_once, 1100, "source");
	at_most(r.last, 1800, "last");
}

TEST(what_a_source_reads_slowly_goes_on_at_once)
{
	struct swarm_sim_options o = case_of(16);
	o.source_rate = o.rate / 2;
	struct swarm_sim_result r = swarm_sim_run(&o);
	ASSERT(r.is_complete);
	at_most(r.last, 2300, "last");
}

TEST(the_same_seed_is_the_same_run)
{
	struct swarm_sim_options o = case_of(8);
	struct swarm_sim_result a = swarm_sim_run(&o), b = swarm_sim_run(&o);
	ASSERT_EQ(a.n_events, b.n_events);
	ASSERT(a.last <= b.last && b.last <= a.last);
}
