/* SPDX-License-Identifier: Apache-2.0
 * Second attempts of slow tasks; and what else may be said of a task or node while it is there. */
#include "tests/unit/core_world.h"

#define SEC UINT64_C(1000000)
#define add(c, task, ...) ASSERT_EQ(core_task_add(c, task, &(struct core_task_spec){__VA_ARGS__}), 0)

static void end(struct core *c, struct said s)
{
	ASSERT_EQ(core_attempt_ended(c, s.task, s.attempt), 0);
}

static uint64_t seconds(const struct core *c)
{
	struct core_numbers n;
	core_numbers(c, &n);
	return n.seconds;
}

/* Two nodes; ten tasks of a second have ended; task 100 runs since `now` and nothing else. */
static struct said begin(struct world *w, uint64_t *now)
{
	struct core *c = w->core;
	core_category_set(c, "sim", &(struct core_category_spec){.slow = 3});
	add_node(c, 1, 4, 0);
	add_node(c, 2, 4, 0);
	*now = SEC;
	for (uint64_t t = 1; t <= 10; t++) {
		core_set_time(c, *now);
		add(c, t, .category = "sim");
		decide(w);
		struct said s = expect(w, SAID_START, t);
		core_set_time(c, *now += SEC);
		end(c, s);
	}
	add(c, 100, .category = "sim");
	decide(w);
	return expect(w, SAID_START, 100);
}

/* And long enough: its second attempt. */
static struct said begin_second(struct world *w, uint64_t *now, struct said *first)
{
	*first = begin(w, now);
	uint64_t due = core_next_due(w->core);
	ASSERT(due >= *now + 3 * SEC && due < *now + 4 * SEC);
	core_set_time(w->core, *now = due);
	decide(w);
	struct said second = expect(w, SAID_START, 100);
	ASSERT(second.node != first->node && second.attempt > first->attempt);
	ASSERT_EQ(seconds(w->core), 1);
	return second;
}

TEST(a_slow_task_gets_a_second_attempt_elsewhere_and_the_first_result_counts)
{
	WORLD(w);
	uint64_t now;
	struct said first, second = begin_second(&w, &now, &first);
	end(c, second);
	decide(&w);
	struct said s = expect(&w, SAID_FENCE, 100);
	ASSERT_EQ(s.node, first.node);
	ASSERT_EQ(s.attempt, first.attempt);
	expect_nothing(&w);
	ASSERT_EQ(core_attempt_ended(c, 100, first.attempt), -ESTALE);
	ASSERT_EQ(c->tasks.n, 0);
}

TEST(the_second_attempt_is_fenced_when_the_first_ends_before_it)
{
	WORLD(w);
	uint64_t now;
	struct said first, second = begin_second(&w, &now, &first);
	end(c, first);
	decide(&w);
	struct said s = expect(&w, SAID_FENCE, 100);
	ASSERT_EQ(s.node, second.node);
	ASSERT_EQ(s.attempt, second.attempt);
	ASSERT_EQ(core_attempt_ended(c, 100, second.attempt), -ESTALE);
	ASSERT_EQ(seconds(c), 0);
	expect_nothing(&w);
}

TEST(where_the_first_attempt_is_lost_the_second_goes_on_in_its_place)
{
	WORLD(w);
	uint64_t now;
	struct said first, second = begin_second(&w, &now, &first);
	ASSERT_EQ(core_node_lost(c, first.node), 0);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(seconds(c), 0);
	struct core_place p;
	ASSERT_EQ(core_attempt_place(c, 100, &p), 0);
	ASSERT_EQ(p.cores[0], 1);
	ASSERT_EQ(core_attempt_adopt(c, 100, second.node, second.attempt), 0);
	end(c, second);
	ASSERT_EQ(c->tasks.n, 0);
}

TEST(where_the_second_attempt_is_lost_nothing_happens_to_the_first)
{
	WORLD(w);
	uint64_t now;
	struct said first, second = begin_second(&w, &now, &first);
	ASSERT_EQ(core_attempt_adopt(c, 100, second.node, second.attempt), 0);
	ASSERT_EQ(core_attempt_lost(c, 100, second.attempt), 0);
	ASSERT_EQ(core_attempt_lost(c, 100, second.attempt), -ESTALE);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(core_attempt_adopt(c, 100, first.node, first.attempt), 0);
	end(c, first);
}

TEST(a_cancelled_task_loses_its_second_attempt_at_once)
{
	WORLD(w);
	uint64_t now;
	struct said first, second = begin_second(&w, &now, &first);
	ASSERT_EQ(core_task_cancel(c, 100), 0);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FENCE, 100).attempt, second.attempt);
	ASSERT_EQ(expect(&w, SAID_STOP, 100).attempt, first.attempt);
	end(c, first);
}

TEST(a_second_attempt_that_a_node_returns_is_forgotten_and_one_of_the_first_takes_its_place)
{
	WORLD(w);
	uint64_t now;
	struct said first, second = begin_second(&w, &now, &first);
	ASSERT_EQ(core_attempt_returned(c, 100, first.attempt), 0);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(core_attempt_returned(c, 100, second.attempt), 0);
	decide(&w);
	expect(&w, SAID_START, 100);
}

TEST(who_queues_comes_before_second_attempts)
{
	WORLD(w);
	uint64_t now;
	begin(&w, &now);
	for (uint64_t t = 200; t < 207; t++)
		add(c, t);
	decide(&w);
	struct said s = expect(&w, SAID_START, 200);
	while (w.read < w.n)
		s = w.said[w.read++];
	core_set_time(c, core_next_due(c));
	decide(&w);
	expect_nothing(&w);
	add(c, 300);
	end(c, s);
	decide(&w);
	expect(&w, SAID_START, 300);
	expect_nothing(&w);
}

TEST(without_enough_that_ended_or_where_nobody_asked_for_it_there_is_no_second_attempt)
{
	WORLD(w);
	core_category_set(c, "sim", &(struct core_category_spec){.slow = 3});
	add_node(c, 1, 4, 0);
	add_node(c, 2, 4, 0);
	core_set_time(c, SEC);
	add(c, 1, .category = "sim");
	add(c, 2);
	decide(&w);
	ASSERT_EQ(core_next_due(c), UINT64_MAX);
	core_set_time(c, 1000 * SEC);
	decide(&w);
	ASSERT_EQ(w.n, 2);
}

TEST(the_second_attempt_gets_its_inputs_and_makes_the_same_output)
{
	WORLD(w);
	uint64_t now, in = 1, out = 2;
	struct said s = begin(&w, &now);
	end(c, s);
	ASSERT_EQ(core_item_add(c, in, &(struct core_item_spec){.size = 100, .tree = 1, .source = 1}), 0);
	ASSERT_EQ(core_item_add(c, out, &(struct core_item_spec){.size = 100}), 0);
	add(c, 101, .category = "sim", .inputs = &in, .n_inputs = 1, .outputs = &out, .n_outputs = 1,
	    .when = CORE_WHEN_STAGED);
	add(c, 102, .inputs = &out, .n_inputs = 1);
	decide(&w);
	uint64_t first = expect(&w, SAID_FETCH, in).fetch.node;
	ASSERT_EQ(core_replica_set(c, first, 1, 100), 0);
	decide(&w);
	expect(&w, SAID_START, 101);
	core_set_time(c, now += 10 * SEC);
	decide(&w);
	uint64_t other = expect(&w, SAID_FETCH, in).fetch.node;
	ASSERT(other != first);
	ASSERT_EQ(core_replica_set(c, other, 1, 100), 0);
	decide(&w);
	s = expect(&w, SAID_START, 101);
	ASSERT_EQ(core_item_is_tree(c, out, 2, 100), 0);
	ASSERT_EQ(core_replica_set(c, other, 2, 100), 0);
	end(c, s);
	decide(&w);
	expect(&w, SAID_FENCE, 101);
	ASSERT_EQ(expect(&w, SAID_START, 102).node, other);
}

/* ---- what may be said later */

TEST(a_task_that_asked_for_it_is_held_where_others_fail)
{
	WORLD(w);
	uint64_t in = 1;
	ASSERT_EQ(core_item_add(c, in, &(struct core_item_spec){.size = 100}), 0);
	add(c, 1, .inputs = &in, .n_inputs = 1, .holds = true);
	add(c, 2, .inputs = &in, .n_inputs = 1);
	ASSERT_EQ(core_item_failed(c, in), 0);
	add(c, 3, .inputs = &in, .n_inputs = 1, .holds = true);
	decide(&w);
	expect(&w, SAID_HELD, 1);
	expect(&w, SAID_FAILED, 2);
	expect(&w, SAID_HELD, 3);
	ASSERT_EQ(core_task_reason(c, 1), CORE_REASON_INPUT_FAILED);
	ASSERT_EQ(core_task_release(c, 1), 0); /* in vain: it is held again */
	decide(&w);
	expect(&w, SAID_HELD, 1);
	for (uint64_t t = 1; t <= 3; t += 2)
		ASSERT_EQ(core_task_cancel(c, t), 0);
	decide(&w);
}

TEST(a_held_task_runs_again_once_it_is_released)
{
	WORLD(w);
	add(c, 1, .losses = 3);
	add_node(c, 1, 1, 0);
	ASSERT_EQ(core_task_reason(c, 1), CORE_REASON_CRASHES);
	ASSERT_EQ(core_task_release(c, 2), -ENOENT);
	ASSERT_EQ(core_task_release(c, 1), 0);
	ASSERT_EQ(core_task_release(c, 1), -ESTALE);
	decide(&w);
	struct said s = expect(&w, SAID_START, 1);
	ASSERT_EQ(core_node_lost(c, 1), 0); /* the first loss again */
	add_node(c, 2, 1, 0);
	decide(&w);
	s = expect(&w, SAID_START, 1);
	end(c, s);
}

TEST(a_node_that_offers_more_gets_more_and_one_that_offers_less_keeps_what_it_has)
{
	WORLD(w);
	add_node(c, 1, 1, 0);
	for (uint64_t t = 1; t <= 4; t++)
		add(c, t);
	decide(&w);
	struct said s = expect(&w, SAID_START, 1);
	ASSERT_EQ(core_node_set(c, 9, &(struct core_node_spec){.cores = 1}), -ENOENT);
	ASSERT_EQ(core_node_set(c, 1, &(struct core_node_spec){.cores = 3}), 0);
	decide(&w);
	expect(&w, SAID_START, 2);
	expect(&w, SAID_START, 3);
	ASSERT_EQ(core_node_set(c, 1, &(struct core_node_spec){.cores = 2}), 0);
	end(c, s);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(core_node_suspend(c, 1), 0);
	ASSERT_EQ(core_node_set(c, 1, &(struct core_node_spec){.cores = 8}), 0);
	decide(&w);
	expect_nothing(&w); /* it is still suspended */
}

TEST(an_attempt_that_cannot_get_more_keeps_its_second_one)
{
	WORLD(w);
	uint64_t now;
	struct said first, second = begin_second(&w, &now, &first);
	ASSERT_EQ(core_attempt_exhausted(c, 100, first.attempt), -ENOSPC);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(core_attempt_exhausted(c, 100, second.attempt), 0);
	decide(&w);
	expect_nothing(&w);
	end(c, first);
}
