/* SPDX-License-Identifier: Apache-2.0
 * The scheduler case by case, under a world that remembers what it was told. */
#include "tests/unit/core_world.h"

/* ---- queues and rooms */

TEST(a_task_runs_ends_and_is_forgotten)
{
	WORLD(w);
	add_task(c, 1, 1, 0, 0);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(core_task_reason(c, 1), CORE_REASON_NO_NODE);
	add_node(c, 7, 1, 100);
	decide(&w);
	struct said s = expect(&w, SAID_START, 1);
	ASSERT_EQ(s.node, 7);
	ASSERT_EQ(core_task_reason(c, 1), CORE_REASON_NONE);
	ASSERT_EQ(core_attempt_ended(c, 1, s.attempt), 0);
	ASSERT_EQ(core_attempt_ended(c, 1, s.attempt), -ESTALE);
	ASSERT_EQ(core_task_cancel(c, 1), -ENOENT);
	decide(&w);
	expect_nothing(&w);
}

TEST(wrong_numbers_are_refused)
{
	WORLD(w);
	const struct core_node_spec spec = {.cores = 1};
	add_task(c, 1, 1, 0, 0);
	add_node(c, 1, 1, 0);
	ASSERT_EQ(core_task_add(c, 1, &(struct core_task_spec){0}), -EEXIST);
	ASSERT_EQ(core_task_add_running(c, 1, &(struct core_task_spec){0}, 1, 1), -EEXIST);
	ASSERT_EQ(core_node_add(c, 1, &spec), -EEXIST);
	ASSERT_EQ(core_task_cancel(c, 2), -ENOENT);
	ASSERT_EQ(core_node_suspend(c, 2), -ENOENT);
	ASSERT_EQ(core_node_resume(c, 2, &spec), -ENOENT);
	ASSERT_EQ(core_node_lost(c, 2), -ENOENT);
	ASSERT_EQ(core_attempt_adopt(c, 1, 2, 1), -ENOENT);
	add_running(c, 9, 9, 9); /* known, but not there */
	ASSERT_EQ(core_node_suspend(c, 9), -ENOENT);
	ASSERT_EQ(core_node_resume(c, 9, &spec), -ENOENT);
	ASSERT_EQ(core_attempt_adopt(c, 9, 9, 9), -ENOENT);
	ASSERT_EQ(core_attempt_adopt(c, 2, 1, 1), -ESTALE);
	ASSERT_EQ(core_attempt_adopt(c, 1, 1, 0), -ESTALE);
	ASSERT_EQ(core_attempt_ended(c, 2, 1), -ESTALE);
	ASSERT_EQ(core_attempt_ended(c, 1, 0), -ESTALE);
	ASSERT_EQ(core_attempt_lost(c, 1, 1), -ESTALE);
	ASSERT_EQ(core_attempt_lost(c, 2, 1), -ESTALE);
}

TEST(higher_priority_first_then_first_come_first_served)
{
	WORLD(w);
	add_task(c, 1, 1, 0, 0);
	add_task(c, 2, 1, 0, INT64_MIN);
	add_task(c, 3, 1, 5, INT64_MAX); /* another class */
	add_task(c, 4, 1, 0, 0);
	add_task(c, 5, 1, 5, 0);
	add_task(c, 6, 1, 0, -1);
	add_node(c, 1, 100, 100);
	decide(&w);
	static const uint64_t order[] = {3, 1, 4, 5, 6, 2};
	for (size_t i = 0; i < countof(order); i++)
		expect(&w, SAID_START, order[i]);
}

TEST(load_is_spread_to_the_node_with_most_free)
{
	WORLD(w);
	for (uint64_t n = 1; n <= 4; n++)
		add_node(c, n, 8, 1000);
	unsigned count[5] = {0};
	for (uint64_t t = 1; t <= 16; t++)
		add_task(c, t, 1, 10, 0);
	decide(&w);
	for (uint64_t t = 1; t <= 16; t++)
		count[expect(&w, SAID_START, t).node]++;
	for (unsigned n = 1; n <= 4; n++)
		ASSERT_EQ(count[n], 4);
}

TEST(a_class_that_fits_nowhere_blocks_no_other)
{
	WORLD(w);
	add_node(c, 1, 2, 100);
	add_task(c, 1, 8, 0, 99);
	add_task(c, 2, 1, 1000, 98);
	add_task(c, 3, 2, 100, 0);
	add_task(c, 4, 1, 0, 0);
	decide(&w);
	struct said s = expect(&w, SAID_START, 3);
	expect_nothing(&w);
	ASSERT_EQ(core_task_reason(c, 1), CORE_REASON_TOO_LARGE);
	ASSERT_EQ(core_task_reason(c, 2), CORE_REASON_TOO_LARGE);
	ASSERT_EQ(core_task_reason(c, 4), CORE_REASON_NODES_BUSY);
	ASSERT_EQ(core_attempt_ended(c, 3, s.attempt), 0);
	decide(&w);
	expect(&w, SAID_START, 4);
	add_node(c, 2, 8, 10);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_START, 1).node, 2);
	add_node(c, 3, 1, 1000);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_START, 2).node, 3);
}

TEST(memory_cores_and_task_limit_are_never_exceeded)
{
	WORLD(w);
	ASSERT_EQ(core_node_add(c, 1, &(struct core_node_spec){.cores = 8, .memory = 100, .task_limit = 3}), 0);
	for (uint64_t t = 1; t <= 8; t++)
		add_task(c, t, 1, 1, 0);
	decide(&w);
	ASSERT_EQ(w.n, 3);
	ASSERT_EQ(core_node_add(c, 2, &(struct core_node_spec){.cores = 8, .memory = 2}), 0);
	decide(&w);
	ASSERT_EQ(w.n, 5);
	struct core_numbers n;
	core_numbers(c, &n);
	ASSERT_EQ(n.queued, 3);
	ASSERT_EQ(n.running, 5);
	ASSERT_EQ(n.nodes, 2);
	ASSERT_EQ(n.cores, 16);
	ASSERT_EQ(n.cores_free, 6); /* the first is at its limit */
}

TEST(machines_of_thousands_of_cores_are_told_apart)
{
	WORLD(w);
	add_node(c, 1, 2000, 1000);
	add_node(c, 2, 5000, 10);
	add_node(c, 3, UINT32_MAX, 5);
	add_task(c, 1, 4000, 10, 0);
	add_task(c, 2, 1024, 1000, 0);
	add_task(c, 3, UINT32_MAX, 6, 0);
	add_task(c, 4, UINT32_MAX, 5, 0);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_START, 1).node, 2);
	ASSERT_EQ(expect(&w, SAID_START, 2).node, 1);
	ASSERT_EQ(expect(&w, SAID_START, 4).node, 3);
	ASSERT_EQ(core_task_reason(c, 3), CORE_REASON_TOO_LARGE);
}

TEST(decisions_stop_at_the_number_asked_for)
{
	WORLD(w);
	add_node(c, 1, 10, 0);
	for (uint64_t t = 1; t <= 10; t++)
		add_task(c, t, 1, 0, 0);
	ASSERT_EQ(core_decide(c, 4), 4);
	ASSERT_EQ(core_decide(c, 4), 4);
	ASSERT_EQ(core_decide(c, 4), 2);
	ASSERT_EQ(core_decide(c, 4), 0);
}

TEST(an_action_may_call_events)
{
	WORLD(w);
	w.ends_at_once = true;
	add_node(c, 1, 1, 0);
	for (uint64_t t = 1; t <= 5; t++)
		add_task(c, t, 1, 0, 0);
	ASSERT_EQ(core_decide(c, 0), 5);
	core_check(c);
	for (uint64_t t = 1; t <= 5; t++)
		expect(&w, SAID_START, t);
}

/* The memory at which a class of so many cores has the same hash as one of other cores and memory. */
static uint64_t colliding_memory(uint32_t cores, uint32_t other_cores, uint64_t other_memory)
{
	struct core_class_key key = {0}, other = {0};
	key.need.at[CORE_DIM_CORES] = cores;
	other.need.at[CORE_DIM_CORES] = other_cores;
	return other_memory ^ core_class_hash(&key) ^ core_class_hash(&other);
}

TEST(classes_whose_hashes_collide_are_kept_apart)
{
	WORLD(w);
	uint64_t memory[4] = {0, 10};
	for (uint32_t cores = 2; cores <= 3; cores++)
		memory[cores] = colliding_memory(cores, 1, memory[1]);
	for (uint32_t t = 1; t <= 3; t++)
		add_task(c, t, t, memory[t], 0);
	core_check(c);
	ASSERT_EQ(c->classes.n, 1);
	ASSERT_EQ(core_task_cancel(c, 2), 0);
	decide(&w);
	expect(&w, SAID_CANCELLED, 2);
	add_node(c, 1, 3, UINT64_MAX);
	decide(&w);
	ASSERT_EQ(core_attempt_ended(c, 1, expect(&w, SAID_START, 1).attempt), 0);
	decide(&w);
	ASSERT_EQ(core_attempt_ended(c, 3, expect(&w, SAID_START, 3).attempt), 0);
	ASSERT_EQ(c->classes.n, 0);
}

/* ---- cancelling */

TEST(a_queued_task_is_cancelled_once)
{
	WORLD(w);
	add_task(c, 1, 1, 0, 0);
	ASSERT_EQ(core_task_cancel(c, 1), 0);
	ASSERT_EQ(core_task_cancel(c, 1), 0);
	add_node(c, 1, 1, 0);
	decide(&w);
	expect(&w, SAID_CANCELLED, 1);
	expect_nothing(&w);
	ASSERT_EQ(core_task_cancel(c, 1), -ENOENT);
}

TEST(a_running_task_is_stopped_and_its_result_counts)
{
	WORLD(w);
	add_node(c, 1, 1, 0);
	add_task(c, 1, 1, 0, 0);
	add_task(c, 2, 1, 0, 0);
	decide(&w);
	struct said s = expect(&w, SAID_START, 1);
	ASSERT_EQ(core_task_cancel(c, 1), 0);
	ASSERT_EQ(core_task_cancel(c, 1), 0);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_STOP, 1).attempt, s.attempt);
	expect_nothing(&w);
	ASSERT_EQ(core_attempt_ended(c, 1, s.attempt), 0);
	decide(&w);
	expect(&w, SAID_START, 2);
}

TEST(a_task_whose_node_is_lost_while_it_is_stopped_does_not_run_again)
{
	WORLD(w);
	add_node(c, 1, 1, 0);
	add_task(c, 1, 1, 0, 0);
	decide(&w);
	expect(&w, SAID_START, 1);
	ASSERT_EQ(core_task_cancel(c, 1), 0);
	ASSERT_EQ(core_node_lost(c, 1), 0);
	add_node(c, 2, 1, 0);
	decide(&w);
	expect(&w, SAID_CANCELLED, 1);
	expect_nothing(&w);
}

TEST(a_returned_task_runs_again_however_often_and_is_never_held)
{
	WORLD(w);
	add_node(c, 1, 1, 0);
	add_task(c, 1, 1, 0, 0);
	for (int i = 0; i < 10; i++) {
		decide(&w);
		ASSERT_EQ(core_attempt_returned(c, 1, expect(&w, SAID_START, 1).attempt), 0);
	}
	ASSERT_EQ(core_attempt_returned(c, 1, 1), -ESTALE);
	ASSERT_EQ(core_node_suspend(c, 1), 0);
	decide(&w);
	expect_nothing(&w);
}

TEST(a_stop_is_repeated_to_a_node_that_comes_back)
{
	WORLD(w);
	add_node(c, 1, 1, 0);
	add_task(c, 1, 1, 0, 0);
	decide(&w);
	uint64_t attempt = expect(&w, SAID_START, 1).attempt;
	ASSERT_EQ(core_node_suspend(c, 1), 0);
	ASSERT_EQ(core_task_cancel(c, 1), 0);
	decide(&w);
	expect(&w, SAID_STOP, 1);
	ASSERT_EQ(core_node_resume(c, 1, &(struct core_node_spec){.cores = 1, .memory = 0}), 0);
	ASSERT_EQ(core_attempt_adopt(c, 1, 1, attempt), 0);
	decide(&w);
	expect(&w, SAID_STOP, 1);
	expect_nothing(&w);
}

TEST(a_result_before_the_cancellation_is_told_counts)
{
	WORLD(w);
	add_task(c, 1, 1, 0, 0);
	ASSERT_EQ(core_task_cancel(c, 1), 0);
	ASSERT_EQ(core_attempt_ended(c, 1, 99), 0);
	decide(&w);
	expect_nothing(&w);
}

/* ---- nodes that go and come */

TEST(a_suspended_node_gets_nothing_new_and_keeps_what_it_runs)
{
	WORLD(w);
	add_node(c, 1, 2, 0);
	add_task(c, 1, 1, 0, 0);
	decide(&w);
	uint64_t attempt = expect(&w, SAID_START, 1).attempt;
	ASSERT_EQ(core_node_suspend(c, 1), 0);
	add_task(c, 2, 1, 0, 0);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(core_task_reason(c, 2), CORE_REASON_NO_NODE);
	ASSERT_EQ(core_attempt_ended(c, 1, attempt), 0);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(core_node_resume(c, 1, &(struct core_node_spec){.cores = 2, .memory = 0}), 0);
	decide(&w);
	expect(&w, SAID_START, 2);
}

TEST(a_node_that_comes_back_smaller_is_given_nothing_until_it_has_room)
{
	WORLD(w);
	add_node(c, 1, 4, 0);
	for (uint64_t t = 1; t <= 5; t++)
		add_task(c, t, 1, 0, 0);
	decide(&w);
	ASSERT_EQ(w.n, 4);
	ASSERT_EQ(core_node_suspend(c, 1), 0);
	ASSERT_EQ(core_node_resume(c, 1, &(struct core_node_spec){.cores = 2, .memory = 0}), 0);
	for (uint64_t t = 1; t <= 2; t++) {
		ASSERT_EQ(core_attempt_ended(c, t, expect(&w, SAID_START, t).attempt), 0);
		decide(&w);
		ASSERT_EQ(w.n, 4);
	}
	ASSERT_EQ(core_attempt_ended(c, 3, expect(&w, SAID_START, 3).attempt), 0);
	decide(&w);
	ASSERT_EQ(w.n, 5);
}

TEST(a_node_that_comes_back_with_more_memory_alone_is_used)
{
	WORLD(w);
	add_node(c, 1, 4, 10);
	add_task(c, 1, 1, 20, 0);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(core_node_resume(c, 1, &(struct core_node_spec){.cores = 4, .memory = 20}), 0);
	decide(&w);
	expect(&w, SAID_START, 1);
}

TEST(tasks_of_a_lost_node_run_elsewhere_before_the_others_in_their_old_order)
{
	WORLD(w);
	add_node(c, 1, 2, 0);
	for (uint64_t t = 1; t <= 4; t++)
		add_task(c, t, 1, 0, 0);
	decide(&w);
	expect(&w, SAID_START, 1);
	expect(&w, SAID_START, 2);
	ASSERT_EQ(core_node_lost(c, 1), 0);
	ASSERT_EQ(core_node_lost(c, 1), -ENOENT);
	add_node(c, 2, 4, 0);
	decide(&w);
	for (uint64_t t = 1; t <= 4; t++)
		expect(&w, SAID_START, t);
}

TEST(a_task_that_loses_three_nodes_is_held_and_can_be_cancelled)
{
	WORLD(w);
	add_task(c, 1, 1, 0, 0);
	for (uint64_t n = 1; n <= 3; n++) {
		add_node(c, n, 1, 0);
		decide(&w);
		ASSERT_EQ(expect(&w, SAID_START, 1).node, n);
		ASSERT_EQ(core_node_lost(c, n), 0);
	}
	add_node(c, 4, 1, 0);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_HELD, 1).node, 3);
	expect_nothing(&w);
	ASSERT_EQ(core_task_reason(c, 1), CORE_REASON_CRASHES);
	ASSERT_EQ(core_task_cancel(c, 1), 0);
	decide(&w);
	expect(&w, SAID_CANCELLED, 1);
}

TEST(a_task_that_was_held_before_a_restart_is_held_after_it)
{
	WORLD(w);
	add_node(c, 1, 1, 0);
	ASSERT_EQ(core_task_add(c, 1, &(struct core_task_spec){.cores = 1, .losses = 3}), 0);
	ASSERT_EQ(core_task_add(c, 2, &(struct core_task_spec){.cores = 1, .losses = 2}), 0);
	decide(&w);
	expect(&w, SAID_START, 2);
	expect_nothing(&w);
	ASSERT_EQ(core_task_reason(c, 1), CORE_REASON_CRASHES);
}

TEST(a_held_task_that_is_adopted_in_the_same_turn_is_not_told_to_be_held)
{
	WORLD(w);
	ASSERT_EQ(core_task_add_running(c, 1, &(struct core_task_spec){.cores = 1, .losses = 2}, 7, 40), 0);
	ASSERT_EQ(core_node_lost(c, 7), 0);
	add_node(c, 7, 1, 0);
	ASSERT_EQ(core_attempt_adopt(c, 1, 7, 40), 0);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(core_task_reason(c, 1), CORE_REASON_NONE);
	ASSERT_EQ(core_task_reason(c, 2), CORE_REASON_NONE);
	ASSERT_EQ(core_attempt_ended(c, 1, 40), 0);
}

TEST(an_attempt_that_its_node_does_not_know_runs_again)
{
	WORLD(w);
	add_node(c, 1, 1, 0);
	add_task(c, 1, 1, 0, 0);
	decide(&w);
	uint64_t first = expect(&w, SAID_START, 1).attempt;
	ASSERT_EQ(core_attempt_lost(c, 1, first + 1), -ESTALE);
	ASSERT_EQ(core_attempt_lost(c, 1, first), 0);
	ASSERT_EQ(core_attempt_lost(c, 1, first), -ESTALE);
	decide(&w);
	ASSERT(expect(&w, SAID_START, 1).attempt > first);
}

/* ---- attempts after a restart, and several of them */

TEST(a_recorded_attempt_waits_for_its_node_and_is_adopted)
{
	WORLD(w);
	add_running(c, 1, 7, 40);
	w.attempt = 40;
	add_node(c, 8, 1, 0);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(core_task_reason(c, 1), CORE_REASON_ADOPTION);
	add_node(c, 7, 1, 0);
	add_task(c, 2, 1, 0, 0);
	add_task(c, 3, 1, 0, 0);
	ASSERT_EQ(core_attempt_adopt(c, 1, 7, 40), 0);
	ASSERT_EQ(core_attempt_adopt(c, 1, 7, 40), 0);
	ASSERT_EQ(core_task_reason(c, 1), CORE_REASON_NONE);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_START, 2).node, 8);
	expect_nothing(&w);
	ASSERT_EQ(core_attempt_ended(c, 1, 40), 0);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_START, 3).node, 7);
}

TEST(room_is_kept_for_what_a_node_has_not_listed_yet)
{
	WORLD(w);
	add_node(c, 7, 1, 0);
	add_running(c, 1, 7, 40);
	w.attempt = 40;
	add_task(c, 2, 1, 0, 0);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(core_attempt_lost(c, 1, 40), 0);
	decide(&w);
	expect(&w, SAID_START, 1);
	expect_nothing(&w);
}

TEST(a_recorded_attempt_whose_node_never_comes_runs_again)
{
	WORLD(w);
	add_running(c, 1, 7, 40);
	w.attempt = 40;
	add_node(c, 8, 1, 0);
	ASSERT_EQ(core_node_lost(c, 7), 0);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_START, 1).attempt, 41);
}

TEST(a_recorded_attempt_that_was_cancelled_is_stopped_when_it_is_back_or_over_when_it_is_not)
{
	WORLD(w);
	add_running(c, 1, 7, 40);
	add_running(c, 2, 8, 41);
	ASSERT_EQ(core_task_cancel(c, 1), 0);
	ASSERT_EQ(core_task_cancel(c, 2), 0);
	decide(&w);
	expect_nothing(&w);
	add_node(c, 7, 1, 0);
	ASSERT_EQ(core_attempt_adopt(c, 1, 7, 40), 0);
	ASSERT_EQ(core_node_lost(c, 8), 0);
	decide(&w);
	expect(&w, SAID_STOP, 1);
	expect(&w, SAID_CANCELLED, 2);
	ASSERT_EQ(core_attempt_ended(c, 1, 40), 0);
}

TEST(an_attempt_that_nobody_recorded_is_adopted_if_there_is_no_other)
{
	WORLD(w);
	w.attempt = 100;
	add_node(c, 1, 1, 0);
	add_task(c, 1, 1, 0, 0);
	ASSERT_EQ(core_attempt_adopt(c, 1, 1, 55), 0);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(core_attempt_adopt(c, 1, 1, 56), -ESTALE);
	ASSERT_EQ(core_attempt_ended(c, 1, 55), 0);
}

TEST(a_node_that_returns_too_late_is_fenced)
{
	WORLD(w);
	add_node(c, 1, 1, 0);
	add_task(c, 1, 1, 0, 0);
	decide(&w);
	uint64_t first = expect(&w, SAID_START, 1).attempt;
	ASSERT_EQ(core_node_lost(c, 1), 0);
	add_node(c, 2, 1, 0);
	decide(&w);
	uint64_t second = expect(&w, SAID_START, 1).attempt;
	add_node(c, 1, 1, 0);
	ASSERT_EQ(core_attempt_adopt(c, 1, 1, first), -ESTALE);
	ASSERT_EQ(core_attempt_adopt(c, 1, 1, second), -ESTALE); /* not its own */
	ASSERT_EQ(core_attempt_ended(c, 1, second), 0);
	ASSERT_EQ(core_attempt_ended(c, 1, first), -ESTALE);
	ASSERT_EQ(core_attempt_adopt(c, 1, 1, first), -ESTALE);
	decide(&w);
	expect_nothing(&w);
}

TEST(the_first_result_counts_and_the_other_attempt_is_fenced)
{
	WORLD(w);
	add_node(c, 1, 1, 0);
	add_task(c, 1, 1, 0, 0);
	decide(&w);
	uint64_t first = expect(&w, SAID_START, 1).attempt;
	ASSERT_EQ(core_node_lost(c, 1), 0);
	add_node(c, 2, 1, 0);
	decide(&w);
	uint64_t second = expect(&w, SAID_START, 1).attempt;
	ASSERT_EQ(core_attempt_ended(c, 1, first), 0);
	decide(&w);
	struct said s = expect(&w, SAID_FENCE, 1);
	ASSERT_EQ(s.attempt, second);
	ASSERT_EQ(s.node, 2);
	ASSERT_EQ(core_attempt_ended(c, 1, second), -ESTALE);
}

TEST(a_late_result_ends_a_queued_and_a_held_task)
{
	WORLD(w);
	add_running(c, 1, 7, 40);
	ASSERT_EQ(core_task_add_running(c, 2, &(struct core_task_spec){.cores = 1, .losses = 2}, 7, 41), 0);
	w.attempt = 41;
	ASSERT_EQ(core_node_lost(c, 7), 0);
	ASSERT_EQ(core_task_reason(c, 2), CORE_REASON_CRASHES);
	ASSERT_EQ(core_attempt_ended(c, 1, 40), 0);
	ASSERT_EQ(core_attempt_ended(c, 2, 41), 0);
	add_node(c, 8, 4, 0);
	decide(&w);
	expect_nothing(&w);
}

TEST(every_reason_has_words)
{
	for (int r = CORE_REASON_NONE; r < CORE_REASONS; r++)
		ASSERT(strlen(core_reason_text((enum core_reason)r)) > 10);
}
