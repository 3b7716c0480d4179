/* SPDX-License-Identifier: Apache-2.0
 * Nodes from which no bytes come, for now, and trees of another size than was thought. */
#include "tests/unit/core_world.h"

static void staged_task(struct core *c, uint64_t number, uint64_t input)
{
	const struct core_task_spec spec = {.inputs = &input, .n_inputs = 1, .when = CORE_WHEN_STAGED};
	ASSERT_EQ(core_task_add(c, number, &spec), 0);
}

TEST(what_only_a_mute_node_has_waits_until_it_is_back_or_somebody_else_has_it)
{
	WORLD(w);
	item(c, 1, 100 * MB, 0, 1);
	for (uint64_t n = 1; n <= 3; n++)
		add_node(c, n, 1, 0);
	ASSERT_EQ(core_replica_set(c, 1, 1, 100 * MB), 0);
	ASSERT_EQ(core_node_suspend(c, 1), 0);
	ASSERT_EQ(core_node_suspend(c, 3), 0);
	ASSERT_EQ(core_node_serve(c, 1, false), 0);
	staged_task(c, 10, 1);
	decide(&w);
	core_set_time(c, core_next_due(c));
	decide(&w);
	expect_nothing(&w);
	/* It is back: nobody waits for a time that is over later. */
	ASSERT_EQ(core_node_serve(c, 1, true), 0);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FETCH, 1).peer, 1);
	/* It goes again, amid it. */
	ASSERT_EQ(core_node_serve(c, 1, false), 0);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(core_replica_set(c, 3, 1, 100 * MB), 0);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FETCH, 1).peer, 3);
	ASSERT_EQ(core_node_serve(c, 9, true), -ENOENT);
}

TEST(what_a_mute_node_has_comes_from_its_source)
{
	WORLD(w);
	item(c, 1, MB, 7, 1);
	add_node(c, 1, 1, 0);
	add_node(c, 2, 1, 0);
	ASSERT_EQ(core_replica_set(c, 1, 1, MB), 0);
	ASSERT_EQ(core_node_suspend(c, 1), 0);
	ASSERT_EQ(core_node_serve(c, 1, false), 0);
	staged_task(c, 10, 1);
	decide(&w);
	core_set_time(c, core_next_due(c));
	decide(&w);
	struct said f = expect(&w, SAID_FETCH, 1);
	ASSERT_EQ(f.fetch.source, 7);
	ASSERT_EQ(f.fetch.n_peers, 0);
}

TEST(what_is_smaller_than_was_thought_is_there_and_no_longer_waited_for)
{
	WORLD(w);
	item(c, 1, 100 * MB, 7, 1);
	add_node(c, 1, 1, 0);
	staged_task(c, 10, 1);
	decide(&w);
	expect(&w, SAID_FETCH, 1);
	ASSERT_EQ(core_replica_set(c, 1, 1, 2 * MB), 0);
	decide(&w);
	expect_nothing(&w);
	core_tree_is_sized(c, 1, 2 * MB);
	decide(&w);
	expect(&w, SAID_START, 10);
	core_tree_is_sized(c, 1, 2 * MB);
	core_tree_is_sized(c, 99, MB);
	expect_nothing(&w);
}

TEST(what_is_larger_than_was_thought_is_not_there_yet)
{
	WORLD(w);
	item(c, 1, MB, 0, 1);
	add_node(c, 1, 1, 0);
	ASSERT_EQ(core_replica_set(c, 1, 1, MB), 0);
	core_tree_is_sized(c, 1, 2 * MB);
	staged_task(c, 10, 1);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(core_replica_set(c, 1, 1, 2 * MB), 0);
	decide(&w);
	expect(&w, SAID_START, 10);
}
