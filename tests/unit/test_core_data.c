/* SPDX-License-Identifier: Apache-2.0
 * Items, trees and transfers: who waits for what, who runs where, what moves. */
#include "tests/unit/core_world.h"

static void end(struct core *c, struct said s)
{
	ASSERT_EQ(core_attempt_ended(c, s.task, s.attempt), 0);
}

/* The attempt made an item: it is the tree of the same number. */
static void end_with(struct core *c, struct said s, uint64_t made, uint64_t size)
{
	ASSERT_EQ(core_item_is_tree(c, made, made, size), 0);
	ASSERT_EQ(core_replica_set(c, s.node, made, size), 0);
	end(c, s);
}

static struct core_why why(const struct core *c, uint64_t number)
{
	struct core_why w;
	ASSERT_EQ(core_task_why(c, number, &w), 0);
	return w;
}

TEST(a_task_waits_for_what_another_makes)
{
	WORLD(w);
	item(c, 1, MB, 0, 0);
	task(c, 10, 0, 1, CORE_WHEN_LAZY);
	task(c, 11, 1, 0, CORE_WHEN_LAZY);
	add_node(c, 1, 2, 0);
	decide(&w);
	struct said s = expect(&w, SAID_START, 10);
	expect_nothing(&w);
	ASSERT_EQ(why(c, 11).reason, CORE_REASON_INPUT);
	ASSERT_EQ(why(c, 11).item, 1);
	ASSERT_EQ(why(c, 11).producer, 10);
	end_with(c, s, 1, MB);
	decide(&w);
	end(c, expect(&w, SAID_START, 11));
	ASSERT_EQ(core_item_forget(c, 1), 0);
	decide(&w);
	ASSERT_EQ(c->tasks.n, 0);
	ASSERT_EQ(c->items.n, 0);
}

TEST(names_that_are_not_declared_or_made_twice_are_refused)
{
	WORLD(w);
	uint64_t nothing = 5, made = 1;
	item(c, 1, MB, 0, 0);
	ASSERT_EQ(core_item_add(c, 1, &(struct core_item_spec){0}), -EEXIST);
	ASSERT_EQ(core_task_add(c, 1, &(struct core_task_spec){.inputs = &nothing, .n_inputs = 1}), -ENOENT);
	task(c, 2, 0, 1, CORE_WHEN_LAZY);
	ASSERT_EQ(core_task_add(c, 3, &(struct core_task_spec){.outputs = &made, .n_outputs = 1}), -EEXIST);
	ASSERT_EQ(core_item_is_tree(c, 1, 7, MB), 0);
	ASSERT_EQ(core_item_is_tree(c, 1, 7, MB), 0);
	ASSERT_EQ(core_item_is_tree(c, 1, 8, MB), -EEXIST);
	ASSERT_EQ(core_replica_set(c, 9, 7, MB), -ENOENT);
	decide(&w);
}

TEST(a_failure_reaches_all_that_depend_on_it)
{
	WORLD(w);
	for (uint64_t i = 1; i <= 3; i++)
		item(c, i, MB, 0, 0);
	task(c, 10, 0, 1, CORE_WHEN_LAZY);
	task(c, 11, 1, 2, CORE_WHEN_LAZY);
	task(c, 12, 2, 3, CORE_WHEN_LAZY);
	add_node(c, 1, 2, 0);
	decide(&w);
	end(c, expect(&w, SAID_START, 10)); /* without having made it */
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FAILED, 11).why.item, 1);
	ASSERT_EQ(expect(&w, SAID_FAILED, 12).why.reason, CORE_REASON_INPUT_FAILED);
	task(c, 13, 3, 0, CORE_WHEN_LAZY);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FAILED, 13).why.item, 3);
	ASSERT_EQ(c->tasks.n, 0);
}

TEST(without_an_action_for_it_what_fails_is_held)
{
	WORLD(w);
	world_options(&w, &plain_actions, NULL);
	c = w.core;
	item(c, 1, MB, 0, 0);
	task(c, 11, 1, 0, CORE_WHEN_LAZY);
	ASSERT_EQ(core_item_failed(c, 1), 0);
	decide(&w);
	expect(&w, SAID_HELD, 11);
	ASSERT_EQ(why(c, 11).reason, CORE_REASON_INPUT_FAILED);
	ASSERT_EQ(core_task_cancel(c, 11), 0);
	decide(&w);
	expect(&w, SAID_CANCELLED, 11);
}

TEST(what_is_lost_is_made_again_and_what_that_needs_too)
{
	WORLD(w);
	item(c, 1, MB, 0, 0);
	item(c, 2, MB, 0, 0);
	task(c, 10, 0, 1, CORE_WHEN_LAZY);
	task(c, 11, 1, 2, CORE_WHEN_LAZY);
	add_node(c, 1, 1, 0);
	decide(&w);
	end_with(c, expect(&w, SAID_START, 10), 1, MB);
	decide(&w);
	end_with(c, expect(&w, SAID_START, 11), 2, MB);
	/* Nobody needs it yet. */
	ASSERT_EQ(core_node_lost(c, 1), 0);
	add_node(c, 2, 1, 0);
	decide(&w);
	expect_nothing(&w);
	task(c, 12, 2, 0, CORE_WHEN_LAZY);
	ASSERT_EQ(why(c, 12).reason, CORE_REASON_INPUT_LOST);
	ASSERT_EQ(why(c, 12).producer, 11);
	decide(&w);
	struct said s = expect(&w, SAID_START, 10);
	ASSERT_EQ(core_replica_set(c, s.node, 1, MB), 0);
	end(c, s);
	decide(&w);
	s = expect(&w, SAID_START, 11);
	ASSERT_EQ(core_replica_set(c, s.node, 2, MB), 0);
	end(c, s);
	decide(&w);
	end(c, expect(&w, SAID_START, 12));
	expect_nothing(&w);
}

TEST(a_task_goes_where_its_input_is)
{
	WORLD(w);
	item(c, 1, 100 * MB, 0, 1);
	for (uint64_t n = 1; n <= 3; n++)
		add_node(c, n, n == 2 ? 2 : 8, 0);
	ASSERT_EQ(core_replica_set(c, 2, 1, 100 * MB), 0);
	task(c, 10, 1, 0, CORE_WHEN_STAGED);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_START, 10).node, 2);
	expect_nothing(&w);
}

TEST(it_waits_for_a_busy_holder_as_long_as_the_bytes_would_travel_and_no_longer)
{
	WORLD(w);
	world_options(&w, &actions, &(struct core_options){.rate = 100 * MB});
	c = w.core;
	core_set_time(c, 1000000);
	item(c, 1, 100 * MB, 0, 1);
	add_node(c, 1, 1, 0);
	add_node(c, 2, 1, 0);
	ASSERT_EQ(core_replica_set(c, 1, 1, 100 * MB), 0);
	task(c, 10, 1, 0, CORE_WHEN_STAGED);
	task(c, 11, 1, 0, CORE_WHEN_STAGED);
	task(c, 12, 1, 0, CORE_WHEN_STAGED);
	decide(&w);
	struct said s = expect(&w, SAID_START, 10);
	ASSERT_EQ(s.node, 1);
	expect_nothing(&w);
	ASSERT_EQ(why(c, 11).reason, CORE_REASON_HOLDER_BUSY);
	ASSERT_EQ(why(c, 11).node, 1);
	end(c, s);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_START, 11).node, 1);
	uint64_t due = core_next_due(c);
	ASSERT(due >= 2000000 && due <= 2250000);
	core_set_time(c, due);
	decide(&w);
	struct said f = expect(&w, SAID_FETCH, 1);
	ASSERT_EQ(f.node, 2);
	ASSERT_EQ(f.peer, 1);
	expect_nothing(&w);
	ASSERT_EQ(why(c, 12).reason, CORE_REASON_STAGING);
	ASSERT_EQ(core_replica_set(c, 2, 1, 50 * MB), 0);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(core_replica_set(c, 2, 1, 100 * MB), 0);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_START, 12).node, 2);
}

TEST(a_lazy_task_starts_at_once_a_hot_one_when_it_is_told)
{
	WORLD(w);
	item(c, 1, 100 * MB, 7, 0);
	add_node(c, 1, 4, 0);
	task(c, 10, 1, 0, CORE_WHEN_LAZY);
	task(c, 11, 1, 0, CORE_WHEN_HOT);
	decide(&w);
	expect(&w, SAID_START, 10);
	struct core_fetch f = expect(&w, SAID_FETCH, 1).fetch;
	ASSERT_EQ(f.source, 7);
	ASSERT_EQ(f.tree, 0);
	ASSERT(f.deadline_usec > 0);
	expect_nothing(&w);
	ASSERT_EQ(core_replica_hot(c, 1, 1), 0);
	decide(&w);
	expect(&w, SAID_START, 11);
	/* It is what somebody has already. */
	item(c, 2, 0, 0, 5);
	task(c, 12, 2, 0, CORE_WHEN_STAGED);
	ASSERT_EQ(core_item_is_tree(c, 1, 5, 90 * MB), 0);
	ASSERT_EQ(core_replica_set(c, 1, 5, 90 * MB), 0);
	decide(&w);
	expect(&w, SAID_START, 12);
	ASSERT_EQ(c->n_moves, 0);
}

TEST(limits_of_sources_and_nodes_hold_and_a_token_that_runs_out_is_taken_back)
{
	WORLD(w);
	core_source_set(c, 7, 2);
	for (uint64_t n = 1; n <= 4; n++)
		add_node(c, n, 1, 0);
	for (uint64_t i = 1; i <= 4; i++) {
		item(c, i, MB, 7, 0);
		task(c, 10 + i, i, 0, CORE_WHEN_STAGED);
	}
	decide(&w);
	ASSERT_EQ(w.n, 2);
	struct core_numbers numbers;
	core_numbers(c, &numbers);
	ASSERT_EQ(numbers.tokens, 2);
	core_set_time(c, core_next_due(c));
	decide(&w);
	unsigned n_stops = 0;
	for (; w.read < w.n; w.read++)
		n_stops += w.said[w.read].kind == SAID_FETCH_STOP;
	ASSERT_EQ(n_stops, 2);
	ASSERT_EQ(w.n, 6); /* and two others have it */
}

TEST(a_token_that_who_was_woken_for_it_does_not_need_goes_to_the_next)
{
	WORLD(w);
	core_source_set(c, 7, 1);
	for (uint64_t i = 1; i <= 3; i++) {
		add_node(c, i, 1, 0);
		item(c, i, MB, 7, i);
		task(c, 10 + i, i, 0, CORE_WHEN_STAGED);
	}
	decide(&w);
	struct said first = expect(&w, SAID_FETCH, w.said[0].task);
	expect_nothing(&w);
	/* The next in line gets a neighbour that has it. */
	add_node(c, 4, 0, 0);
	const struct core_move *next = core_source_first(core_source_get(c, 7));
	uint64_t second = next->item->number;
	ASSERT_EQ(core_replica_set(c, 4, second, MB), 0);
	ASSERT_EQ(core_replica_set(c, first.node, first.task, MB), 0);
	decide(&w);
	unsigned n_fetches = 0;
	for (; w.read < w.n; w.read++)
		n_fetches += w.said[w.read].kind == SAID_FETCH;
	ASSERT_EQ(n_fetches, 2);
}

TEST(a_source_that_will_never_have_it_fails_the_item_and_who_waits)
{
	WORLD(w);
	add_node(c, 1, 2, 0);
	item(c, 1, MB, 7, 0);
	task(c, 10, 1, 0, CORE_WHEN_STAGED);
	task(c, 11, 1, 0, CORE_WHEN_STAGED);
	decide(&w);
	expect(&w, SAID_FETCH, 1);
	ASSERT_EQ(core_fetch_failed(c, 1, 1, true), 0);
	decide(&w);
	expect(&w, SAID_FAILED, 10);
	expect(&w, SAID_FAILED, 11);
	expect_nothing(&w);
}

TEST(when_neighbours_are_lost_others_are_told)
{
	WORLD(w);
	item(c, 1, 100 * MB, 0, 1);
	for (uint64_t n = 1; n <= 4; n++)
		add_node(c, n, 1, 0);
	ASSERT_EQ(core_replica_set(c, 1, 1, 100 * MB), 0);
	ASSERT_EQ(core_replica_set(c, 2, 1, 100 * MB), 0);
	ASSERT_EQ(core_item_bring(c, 1, 3, 0), 0);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FETCH, 1).fetch.n_whole, 2);
	/* There is nothing new to tell. */
	ASSERT_EQ(core_node_lost(c, 1), 0);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(core_replica_set(c, 4, 1, 100 * MB), 0);
	ASSERT_EQ(core_node_lost(c, 2), 0);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FETCH, 1).peer, 4);
	ASSERT_EQ(core_node_serve(c, 4, false), 0);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(core_node_serve(c, 4, true), 0);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FETCH, 1).peer, 4);
}

TEST(makers_of_one_tasks_inputs_go_to_one_node)
{
	WORLD(w);
	uint64_t inputs[4] = {1, 2, 3, 4};
	for (uint64_t n = 1; n <= 8; n++)
		add_node(c, n, 4, 0);
	for (uint64_t i = 1; i <= 4; i++) {
		item(c, i, 100 * MB, 0, 0);
		task(c, 10 + i, 0, i, CORE_WHEN_LAZY);
	}
	ASSERT_EQ(core_task_add(c, 20,
				&(struct core_task_spec){.inputs = inputs, .n_inputs = 4, .when = CORE_WHEN_STAGED}),
		  0);
	decide(&w);
	uint64_t node = w.said[0].node;
	ASSERT_EQ(w.n, 4);
	for (size_t i = 0; i < 4; i++) {
		ASSERT_EQ(w.said[i].node, node);
		end_with(c, w.said[i], w.said[i].task - 10, 100 * MB);
	}
	w.read = w.n;
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_START, 20).node, node);
	expect_nothing(&w);
}

TEST(what_everybody_has_counts_for_nothing)
{
	WORLD(w);
	item(c, 1, 100 * MB, 0, 1);
	item(c, 2, MB, 0, 2);
	for (uint64_t n = 1; n <= 50; n++) {
		add_node(c, n, 1, 0);
		if (n <= 40)
			ASSERT_EQ(core_replica_set(c, n, 1, 100 * MB), 0);
	}
	ASSERT_EQ(core_replica_set(c, 33, 2, MB), 0);
	const uint64_t inputs[] = {1, 2};
	ASSERT_EQ(core_task_add(c, 10, &(struct core_task_spec){.inputs = inputs, .n_inputs = 2}), 0);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_START, 10).node, 33);
	expect_nothing(&w);
	for (uint64_t n = 10; n <= 40; n++)
		ASSERT_EQ(core_replica_set(c, n, 1, 0), 0);
	core_check(c);
}

/* However many trees lie there. */
static void start_among(uint64_t n_trees)
{
	WORLD(w);
	add_node(c, 1, 1, 0);
	for (uint64_t i = 1; i <= n_trees; i++) {
		item(c, i, MB, 0, i);
		ASSERT_EQ(core_replica_set(c, 1, i, MB), 0);
	}
	for (uint64_t t = 1; t <= 60; t++)
		task(c, t, 1 + t % n_trees, 0, CORE_WHEN_LAZY);
	task(c, 100, 0, 0, CORE_WHEN_LAZY);
	decide(&w);
	size_t at_start = 0;
	for (size_t i = 0; i < w.n; i++) {
		struct said s = w.said[i];
		at_start = s.task == 100 ? i : at_start;
		end(c, s);
		decide(&w);
	}
	ASSERT(at_start && at_start < 20);
}

TEST(what_goes_anywhere_does_not_wait_behind_an_endless_stream_of_what_lies_on_the_node)
{
	for (uint64_t n = 1; n <= 8; n++)
		start_among(n);
}

TEST(a_node_to_which_nothing_gets_through_keeps_nobody_waiting)
{
	WORLD(w);
	world_options(&w, &actions, &(struct core_options){.token_usec = 1000});
	c = w.core;
	for (uint64_t n = 1; n <= 3; n++)
		add_node(c, n, 1, 0);
	core_set_time(c, 1);
	item(c, 1, 1000, 0, 1);
	ASSERT_EQ(core_replica_set(c, 1, 1, 1000), 0);
	ASSERT_EQ(core_node_suspend(c, 1), 0);
	task(c, 11, 1, 0, CORE_WHEN_STAGED);
	task(c, 12, 1, 0, CORE_WHEN_STAGED);
	decide(&w);
	core_set_time(c, 500);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FETCH, 1).fetch.deadline_usec, 0);
	ASSERT_EQ(expect(&w, SAID_FETCH, 1).fetch.n_whole, 1);
	expect_nothing(&w);
	/* One is told of the other, both to stop in the end, and to begin anew. */
	for (unsigned i = 0; i < 3; i++) {
		core_set_time(c, core_next_due(c));
		decide(&w);
	}
	unsigned n_stops = 0, n_fetches = 0;
	for (; w.read < w.n; w.read++) {
		n_stops += w.said[w.read].kind == SAID_FETCH_STOP;
		n_fetches += w.said[w.read].kind == SAID_FETCH;
	}
	ASSERT_EQ(n_stops, 2);
	ASSERT_EQ(n_fetches, 3);
}

TEST(tokens_that_run_out_on_a_silent_node_reach_who_waits_for_them)
{
	WORLD(w);
	world_options(&w, &actions, &(struct core_options){.token_usec = 1000});
	c = w.core;
	core_source_set(c, 1, 2);
	core_set_time(c, 1);
	add_node(c, 1, 3, 0);
	for (uint64_t i = 1; i <= 4; i++)
		item(c, i, 1000, 1, i);
	for (uint64_t i = 1; i <= 3; i++)
		task(c, 10 + i, i, 0, CORE_WHEN_STAGED);
	decide(&w);
	expect(&w, SAID_FETCH, 1);
	expect(&w, SAID_FETCH, 2);
	expect_nothing(&w);
	add_node(c, 2, 1, 0);
	task(c, 14, 4, 0, CORE_WHEN_STAGED);
	decide(&w);
	expect_nothing(&w);
	bool is_served = false;
	for (unsigned i = 0; i < 4 && !is_served; i++) {
		core_set_time(c, core_next_due(c));
		decide(&w);
		for (; w.read < w.n; w.read++)
			is_served |= w.said[w.read].kind == SAID_FETCH && w.said[w.read].fetch.node == 2;
	}
	ASSERT(is_served);
}

/* Item 1 was made by task 10 with node 1, and is lost; task 11 needs it and was queued before. */
static void lose_what_a_queued_task_needs(struct world *w)
{
	struct core *c = w->core;
	const uint64_t made = 1;
	item(c, 1, MB, 0, 0);
	task(c, 10, 0, 1, CORE_WHEN_LAZY);
	add_node(c, 1, 1, 0);
	decide(w);
	end_with(c, expect(w, SAID_START, 10), 1, MB);
	ASSERT_EQ(core_task_add(c, 11, &(struct core_task_spec){.cores = 8, .inputs = &made, .n_inputs = 1}), 0);
	decide(w);
	ASSERT_EQ(core_node_lost(c, 1), 0);
}

TEST(a_maker_under_which_nodes_are_lost_too_often_fails_what_it_was_to_make_again)
{
	WORLD(w);
	lose_what_a_queued_task_needs(&w);
	for (uint64_t n = 2; n <= 4; n++) {
		add_node(c, n, 1, 0);
		decide(&w);
		expect(&w, SAID_START, 10);
		ASSERT_EQ(core_node_lost(c, n), 0);
	}
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FAILED, 10).why.reason, CORE_REASON_CRASHES);
	// No node is there, so nothing places who needs it.
	core_set_time(c, core_next_due(c));
	decide(&w);
	struct said s = expect(&w, SAID_FAILED, 11);
	ASSERT_EQ(s.why.reason, CORE_REASON_INPUT_FAILED);
	ASSERT_EQ(s.why.item, 1);
	expect_nothing(&w);
}

TEST(what_fits_nowhere_hears_that_its_input_will_not_be_made_again)
{
	WORLD(w);
	lose_what_a_queued_task_needs(&w);
	add_node(c, 2, 1, 0);
	decide(&w);
	end(c, expect(&w, SAID_START, 10)); // without its output
	decide(&w);
	core_set_time(c, core_next_due(c));
	decide(&w);
	expect(&w, SAID_FAILED, 11);
	expect_nothing(&w);
}

static void fetch_at_once(void *arg, const struct core_fetch *f)
{
	struct world *w = arg;
	on_fetch(arg, f);
	ASSERT_EQ(core_replica_set(w->core, f->node, f->tree, f->size), 0);
}

TEST(a_fetch_may_be_answered_within_its_action)
{
	WORLD(w);
	struct core_actions at_once = actions;
	at_once.fetch = fetch_at_once;
	world_options(&w, &at_once, NULL);
	c = w.core;
	item(c, 1, MB, 5, 1);
	task(c, 10, 1, 0, CORE_WHEN_STAGED);
	add_node(c, 1, 1, 0);
	decide(&w);
	expect(&w, SAID_FETCH, 1);
	end(c, expect(&w, SAID_START, 10));
	expect_nothing(&w);
}

TEST(what_turns_out_to_be_a_tree_that_comes_already_is_not_fetched_twice)
{
	WORLD(w);
	add_node(c, 1, 2, 0);
	add_node(c, 2, 0, 0);
	item(c, 1, MB, 0, 1);
	ASSERT_EQ(core_replica_set(c, 2, 1, MB), 0);
	task(c, 10, 1, 0, CORE_WHEN_STAGED);
	decide(&w);
	core_set_time(c, core_next_due(c)); /* it does not wait for the holder any longer */
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FETCH, 1).node, 1);
	item(c, 2, MB, 7, 0);
	task(c, 11, 2, 0, CORE_WHEN_STAGED);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FETCH, 2).node, 1);
	ASSERT_EQ(core_item_is_tree(c, 2, 1, MB), 0);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FETCH_STOP, 2).node, 1);
	expect_nothing(&w);
	ASSERT_EQ(core_replica_set(c, 1, 1, MB), 0);
	decide(&w);
	struct said a = expect(&w, SAID_START, 10), b = expect(&w, SAID_START, 11);
	end(c, a);
	end(c, b);
	decide(&w);
	ASSERT_EQ(c->n_moves, 0);
}

TEST(what_turns_out_to_be_a_tree_that_is_there_is_not_waited_for)
{
	WORLD(w);
	add_node(c, 1, 2, 0);
	item(c, 1, MB, 0, 1);
	ASSERT_EQ(core_replica_set(c, 1, 1, MB), 0);
	item(c, 2, MB, 7, 0);
	task(c, 11, 2, 0, CORE_WHEN_STAGED);
	decide(&w);
	expect(&w, SAID_FETCH, 2);
	ASSERT_EQ(core_item_is_tree(c, 2, 1, MB), 0);
	decide(&w);
	expect(&w, SAID_FETCH_STOP, 2);
	end(c, expect(&w, SAID_START, 11));
	decide(&w);
	ASSERT_EQ(c->n_moves, 0);
}

TEST(what_is_fetched_and_turns_out_to_be_there_under_another_name_is_there)
{
	WORLD(w);
	item(c, 1, MB, 5, 0);
	task(c, 10, 1, 0, CORE_WHEN_STAGED);
	add_node(c, 1, 1, 0);
	decide(&w);
	expect(&w, SAID_FETCH, 1);
	ASSERT_EQ(core_replica_set(c, 1, 7, MB), 0);
	item(c, 2, MB, 0, 7);
	ASSERT_EQ(core_replica_set(c, 1, 7, MB), 0);
	ASSERT_EQ(core_item_is_tree(c, 1, 7, MB), 0);
	decide(&w);
	expect(&w, SAID_FETCH_STOP, 1);
	end(c, expect(&w, SAID_START, 10));
}
