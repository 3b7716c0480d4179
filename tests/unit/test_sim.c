/* SPDX-License-Identifier: Apache-2.0
 * The simulator: its links have their rates, and the core under it brings everything to an end though nodes are lost. */
#include "tests/sim/sim.h"
#include "tests/unit/unit.h"

#define MB UINT64_C(1000000)

static struct sim *sim_of(unsigned n_nodes, unsigned n_cores)
{
	return sim_new(&(struct sim_options){.n_nodes = n_nodes, .n_cores = n_cores, .card = 1e8, .filesystem = 2e8});
}

TEST(a_transfer_takes_as_long_as_its_slowest_share)
{
	/* Four nodes read 100 MB each from what gives 200 MB/s in all: 2 s, then a second of work. */
	struct sim *s = sim_of(4, 1);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t item = sim_item(s, 100 * MB, true);
		sim_task(s, &(struct sim_task){.usec = 1000000, .inputs = &item, .n_inputs = 1});
	}
	struct sim_result r = sim_run(s);
	ASSERT_EQ(r.n_ended, 4);
	ASSERT_EQ(r.moved, 400 * MB);
	ASSERT(r.usec > 2999000 && r.usec < 3001000);
	sim_free(s);
}

TEST(what_is_there_is_not_moved)
{
	struct sim *s = sim_of(2, 1);
	uint64_t item = sim_item(s, 100 * MB, false);
	sim_replica(s, 2, item);
	sim_task(s, &(struct sim_task){.usec = 1000000, .inputs = &item, .n_inputs = 1});
	struct sim_result r = sim_run(s);
	ASSERT_EQ(r.moved, 0);
	ASSERT_EQ(r.usec, 1000000);
	sim_free(s);
}

TEST(a_reduction_ends_though_nodes_are_lost_on_the_way)
{
	enum { N = 64 };
	struct sim *s = sim_of(8, 2);
	uint64_t level[N];
	for (unsigned i = 0; i < N; i++) {
		level[i] = sim_item(s, 10 * MB, false);
		sim_task(s, &(struct sim_task){.usec = 1000000, .output = level[i]});
	}
	unsigned n_tasks = N;
	for (unsigned n = N / 4; n; n /= 4) {
		for (unsigned i = 0; i < n; i++, n_tasks++) {
			uint64_t made = sim_item(s, 10 * MB, false);
			sim_task(s, &(struct sim_task){
					    .usec = 1000000, .inputs = level + 4 * i, .n_inputs = 4, .output = made});
			level[i] = made;
		}
	}
	sim_lose_at(s, 1500000, 1);
	sim_lose_at(s, 4500000, 2);
	sim_lose_at(s, 6200000, 3);
	struct sim_result r = sim_run(s);
	ASSERT_EQ(r.n_failed, 0);
	ASSERT(r.n_ended > n_tasks); /* some were made again */
	sim_free(s);
}

TEST(what_everybody_wants_reaches_everybody)
{
	/* Hundreds of tasks, anywhere, over items that come to be on more nodes than are looked at: none may wait for ever. */
	struct sim *s = sim_new(&(struct sim_options){
		.core = {.is_blind = true}, .n_nodes = 80, .n_cores = 4, .card = 1e8, .filesystem = 2e8});
	for (unsigned i = 0; i < 20; i++)
		sim_replica(s, 1 + i % 3, sim_item(s, 100 * MB, false));
	for (uint64_t i = 0; i < 3000; i++) {
		uint64_t item = 1 + i * 7 % 20;
		sim_task(s, &(struct sim_task){.usec = 500000 + i * 37 % 1000000, .inputs = &item, .n_inputs = 1});
	}
	struct sim_result r = sim_run(s);
	ASSERT_EQ(r.n_ended, 3000);
	sim_free(s);
}

TEST(a_few_uneven_items_are_read_where_they_lie)
{
	/* 500 tasks over 40 items of uneven popularity on three nodes: the few that go elsewhere are what keeps all nodes at work. */
	enum { N_NODES = 3, N_ITEMS = 40, N_TASKS = 500 };
	for (uint64_t seed = 1; seed <= 5; seed++) {
		uint64_t x = seed, items[N_ITEMS];
		struct sim *s = sim_new(&(struct sim_options){
			.core = {.rate = 50 * MB}, .n_nodes = N_NODES, .n_cores = 4, .card = 5e7, .filesystem = 5e7});
		for (unsigned i = 0; i < N_ITEMS; i++) {
			items[i] = sim_item(s, 10 * MB, false);
			sim_replica(s, 1 + i % N_NODES, items[i]);
		}
		for (unsigned i = 0; i < N_TASKS; i++) {
			x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			uint64_t a = (x >> 33) % N_ITEMS, b = (x >> 45) % N_ITEMS;
			sim_task(s, &(struct sim_task){.usec = 50000, .inputs = &items[min(a, b)], .n_inputs = 1});
		}
		struct sim_result r = sim_run(s);
		sim_free(s);
		ASSERT_EQ(r.n_ended, N_TASKS);
		ASSERT(r.moved * 100 <= r.read * 3);
	}
}
