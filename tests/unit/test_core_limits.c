/* SPDX-License-Identifier: Apache-2.0
 * What limits where and when a task runs: resources, features, wall time, categories, counters, users, nodes in bad health. */
#include "tests/unit/core_world.h"

#include <stdio.h>

#define add(c, task, ...) ASSERT_EQ(core_task_add(c, task, &(struct core_task_spec){__VA_ARGS__}), 0)
#define node(c, number, ...) ASSERT_EQ(core_node_add(c, number, &(struct core_node_spec){__VA_ARGS__}), 0)

static void end(struct core *c, struct said s)
{
	ASSERT_EQ(core_attempt_ended(c, s.task, s.attempt), 0);
}

static struct core_why why(const struct core *c, uint64_t task)
{
	struct core_why w;
	ASSERT_EQ(core_task_why(c, task, &w), 0);
	return w;
}

TEST(disk_gpus_and_named_resources_are_never_exceeded)
{
	WORLD(w);
	const struct core_amount two = {"fpga", 2}, one = {"fpga", 1};
	node(c, 1, .cores = 8, .disk = 10, .gpus = 2, .named = &two, .n_named = 1);
	for (uint64_t t = 1; t <= 4; t++)
		add(c, t, .disk = 5);
	for (uint64_t t = 5; t <= 8; t++)
		add(c, t, .gpus = 1, .named = &one, .n_named = 1);
	decide(&w);
	ASSERT_EQ(w.n, 4);
	add(c, 9, .named = &(struct core_amount){"fpga", 3}, .n_named = 1);
	decide(&w);
	ASSERT_EQ(why(c, 9).reason, CORE_REASON_TOO_LARGE);
	ASSERT_STR(why(c, 9).name, "fpga");
	ASSERT_EQ(why(c, 8).reason, CORE_REASON_NODES_BUSY);
}

TEST(a_seventeenth_kind_of_resource_is_refused)
{
	WORLD(w);
	char name[CORE_NAMED + 1][8];
	for (unsigned i = 0; i <= CORE_NAMED; i++) {
		snprintf(name[i], sizeof name[i], "r%u", i);
		const struct core_amount a = {name[i], 1};
		struct core_task_spec spec = {.named = &a, .n_named = 1};
		ASSERT_EQ(core_task_add(c, i + 1, &spec), i < CORE_NAMED ? 0 : -E2BIG);
	}
	decide(&w);
	ASSERT_EQ(c->tasks.n, CORE_NAMED);
}

TEST(no_core_and_no_gpu_is_handed_out_twice)
{
	WORLD(w);
	node(c, 1, .cores = 70, .gpus = 4);
	add(c, 1, .cores = 66, .gpus = 1);
	add(c, 2, .cores = 4, .gpus = 3);
	decide(&w);
	struct core_place a, b;
	ASSERT_EQ(core_attempt_place(c, 1, &a), 0);
	ASSERT_EQ(core_attempt_place(c, 2, &b), 0);
	ASSERT_EQ(a.n_words, 2);
	ASSERT_EQ(a.cores[0], -1);
	ASSERT_EQ(a.cores[1], 3);
	ASSERT_EQ(b.cores[1], 0x3c);
	ASSERT_EQ(a.gpus, 1);
	ASSERT_EQ(b.gpus, 0xe);
	end(c, w.said[0]);
	ASSERT_EQ(core_attempt_place(c, 1, &a), -ENOENT);
	add(c, 3, .cores = 1, .gpus = 1);
	decide(&w);
	ASSERT_EQ(core_attempt_place(c, 3, &a), 0);
	ASSERT_EQ(a.cores[0], 1);
}

TEST(a_task_goes_where_its_features_are)
{
	WORLD(w);
	const char *const gpu[] = {"a100", "ib"};
	node(c, 1, .cores = 8);
	add(c, 1, .features = gpu, .n_features = 2);
	add(c, 2, .features = gpu, .n_features = 1);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(why(c, 1).reason, CORE_REASON_FEATURE);
	ASSERT_STR(why(c, 1).name, "a100");
	node(c, 2, .cores = 8, .features = gpu, .n_features = 1);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_START, 2).node, 2);
	node(c, 3, .cores = 8, .features = gpu, .n_features = 2);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_START, 1).node, 3);
}

TEST(a_task_goes_only_where_a_node_stays_long_enough)
{
	WORLD(w);
	core_set_time(c, 1000);
	node(c, 1, .cores = 8, .end_usec = 5000);
	add(c, 1, .wall_usec = 4000);
	add(c, 2, .wall_usec = 4001);
	decide(&w);
	expect(&w, SAID_START, 1);
	expect_nothing(&w);
	ASSERT_EQ(why(c, 2).reason, CORE_REASON_WALL_TIME);
	core_set_time(c, 2000);
	add(c, 3, .wall_usec = 3500);
	decide(&w);
	expect_nothing(&w);
	node(c, 2, .cores = 1);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_START, 2).node, 2);
}

TEST(of_a_category_no_more_run_than_may_and_others_pass_by)
{
	WORLD(w);
	core_category_set(c, "io", &(struct core_category_spec){.running = 2});
	node(c, 1, .cores = 8);
	for (uint64_t t = 1; t <= 4; t++)
		add(c, t, .category = "io", .cores = (uint32_t)t % 2 + 1);
	add(c, 5, .category = "other");
	decide(&w);
	struct said first = expect(&w, SAID_START, 1);
	expect(&w, SAID_START, 2);
	expect(&w, SAID_START, 5);
	expect_nothing(&w);
	ASSERT_EQ(why(c, 3).reason, CORE_REASON_CATEGORY);
	ASSERT_STR(why(c, 3).name, "io");
	end(c, first);
	decide(&w);
	expect(&w, SAID_START, 3);
	expect_nothing(&w);
	core_category_set(c, "io", &(struct core_category_spec){0});
	decide(&w);
	expect(&w, SAID_START, 4);
}

TEST(a_licence_is_taken_and_given_back)
{
	WORLD(w);
	const struct core_amount two = {"licence", 2}, one = {"licence", 1};
	node(c, 1, .cores = 8);
	add(c, 1, .counters = &two, .n_counters = 1);
	decide(&w);
	ASSERT_EQ(why(c, 1).reason, CORE_REASON_COUNTER);
	core_counter_set(c, "licence", 2);
	add(c, 2, .counters = &one, .n_counters = 1);
	decide(&w);
	struct said s = expect(&w, SAID_START, 1);
	expect_nothing(&w);
	ASSERT_STR(why(c, 2).name, "licence");
	end(c, s);
	decide(&w);
	expect(&w, SAID_START, 2);
	struct core_amount many[CORE_COUNTERS + 1];
	for (size_t i = 0; i < countof(many); i++)
		many[i] = one;
	ASSERT_EQ(core_task_add(c, 3, &(struct core_task_spec){.counters = many, .n_counters = countof(many)}), -E2BIG);
}

TEST(users_take_turns_by_weight_however_much_one_has_queued)
{
	WORLD(w);
	core_user_set(c, 2, 2);
	for (uint64_t t = 1; t <= 30; t++)
		add(c, t, .user = 1);
	for (uint64_t t = 31; t <= 60; t++)
		add(c, t, .user = 2);
	node(c, 1, .cores = 12);
	decide(&w);
	unsigned n = 0;
	for (size_t i = 0; i < w.n; i++)
		n += w.said[i].task > 30;
	ASSERT_EQ(n, 8);
}

TEST(a_large_task_gets_a_node_though_small_ones_never_cease)
{
	WORLD(w);
	world_options(&w, &actions, &(struct core_options){.patience = 20});
	c = w.core;
	for (uint64_t n = 1; n <= 3; n++)
		node(c, n, .cores = 4);
	uint64_t last = 100;
	for (unsigned i = 0; i < 24; i++)
		add(c, ++last, .cores = 1);
	decide(&w);
	add(c, 1, .cores = 4);
	unsigned n_starts = 0;
	for (size_t i = 0; i < 200; i++) {
		end(c, w.said[i]);
		add(c, ++last, .cores = 1);
		decide(&w);
		for (; n_starts < w.n && w.said[n_starts].task != 1; n_starts++)
			;
		if (n_starts < w.n)
			break;
	}
	ASSERT(n_starts < w.n);
	ASSERT(n_starts < 60);
}

TEST(what_most_tasks_need_is_learned_and_the_rest_gets_all)
{
	WORLD(w);
	core_category_set(c, "sim", &(struct core_category_spec){.memory = 1000, .learns = true});
	node(c, 1, .cores = 100, .memory = 1000);
	for (uint64_t t = 1; t <= 12; t++)
		add(c, t, .category = "sim");
	decide(&w);
	struct said s = expect(&w, SAID_START, 1);
	expect_nothing(&w); /* the first has all there is */
	for (unsigned i = 0; i < 8; i++)
		core_category_measured(c, "sim", 100, 0);
	end(c, s);
	decide(&w);
	ASSERT(w.n - w.read >= 8);
	s = expect(&w, SAID_START, 2);
	struct core_place p;
	ASSERT_EQ(core_attempt_place(c, 2, &p), 0);
	ASSERT(p.memory >= 100 && p.memory <= 125);
	ASSERT_EQ(core_attempt_exhausted(c, 2, s.attempt), 0);
	ASSERT_EQ(core_attempt_exhausted(c, 2, s.attempt), -ESTALE);
	while (w.read < w.n)
		end(c, w.said[w.read++]);
	decide(&w);
	while (w.said[w.read].task != 2) {
		end(c, w.said[w.read++]);
		decide(&w);
	}
	ASSERT_EQ(core_attempt_place(c, 2, &p), 0);
	ASSERT_EQ(p.memory, 1000);
	ASSERT_EQ(core_attempt_exhausted(c, 2, w.said[w.read].attempt), -ENOSPC);
}

TEST(a_task_that_is_not_begun_by_its_deadline_fails)
{
	WORLD(w);
	core_set_time(c, 10);
	add(c, 1, .deadline_usec = 100);
	add(c, 2, .deadline_usec = 200);
	decide(&w);
	ASSERT_EQ(core_next_due(c), 100);
	core_set_time(c, 100);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FAILED, 1).why.reason, CORE_REASON_DEADLINE);
	node(c, 1, .cores = 1);
	decide(&w);
	expect(&w, SAID_START, 2);
	ASSERT_EQ(core_next_due(c), UINT64_MAX);
	core_set_time(c, 300);
	decide(&w);
	expect_nothing(&w);
}

TEST(a_node_on_which_everything_fails_gets_one_task_at_a_time_then_none_then_a_chance)
{
	WORLD(w);
	node(c, 1, .cores = 4);
	node(c, 2, .cores = 4);
	for (unsigned i = 0; i < 20; i++)
		core_node_judge(c, 2, true);
	for (unsigned i = 0; i < 4; i++)
		core_node_judge(c, 1, false);
	ASSERT_EQ(core_node_health(c, 1), CORE_HEALTH_PROBATION);
	for (uint64_t t = 1; t <= 8; t++)
		add(c, t, .cores = 1);
	decide(&w);
	ASSERT_EQ(w.n, 5);
	core_node_judge(c, 1, false);
	ASSERT_EQ(core_node_health(c, 1), CORE_HEALTH_BLOCKED);
	uint64_t due = core_next_due(c);
	ASSERT(due < UINT64_MAX);
	core_set_time(c, due);
	ASSERT_EQ(core_node_health(c, 1), CORE_HEALTH_PROBATION);
	for (unsigned i = 0; i < 3; i++)
		core_node_judge(c, 1, true);
	ASSERT_EQ(core_node_health(c, 1), CORE_HEALTH_GOOD);
	decide(&w);
	ASSERT_EQ(w.n, 8);
}

/* However much went well elsewhere before. */
static void judge_alone(struct core *c, uint64_t n)
{
	for (unsigned i = 0; i < 100; i++) {
		core_node_judge(c, n, false);
		ASSERT_EQ(core_node_health(c, n), CORE_HEALTH_GOOD);
	}
}

TEST(nothing_is_held_against_the_only_node_that_takes_tasks)
{
	WORLD(w);
	node(c, 1, .cores = 4);
	node(c, 2, .cores = 4);
	for (unsigned i = 0; i < 1000; i++)
		core_node_judge(c, 2, true);
	/* It is away for a moment, and not lost. */
	ASSERT_EQ(core_node_suspend(c, 2), 0);
	judge_alone(c, 1);
	/* What has just ended there may be the reason for which it rests itself. */
	ASSERT_EQ(core_node_suspend(c, 1), 0);
	judge_alone(c, 1);
	ASSERT_EQ(core_node_resume(c, 1, &(struct core_node_spec){.cores = 4, .task_limit = 4}), 0);
	ASSERT_EQ(core_node_resume(c, 2, &(struct core_node_spec){.cores = 4, .task_limit = 4}), 0);
	core_node_judge(c, 1, false);
	ASSERT_EQ(core_node_health(c, 1), CORE_HEALTH_PROBATION);
	/* Alone again it is blocked no more, and may redeem itself. */
	ASSERT_EQ(core_node_lost(c, 2), 0);
	core_node_judge(c, 1, true);
	core_node_judge(c, 1, false);
	for (unsigned i = 0; i < 3; i++) {
		ASSERT_EQ(core_node_health(c, 1), CORE_HEALTH_PROBATION);
		core_node_judge(c, 1, true);
	}
	ASSERT_EQ(core_node_health(c, 1), CORE_HEALTH_GOOD);
}

TEST(a_node_that_is_blocked_is_no_other_to_go_to)
{
	WORLD(w);
	node(c, 1, .cores = 4);
	node(c, 2, .cores = 4);
	for (unsigned i = 0; i < 100; i++)
		core_node_judge(c, 2, true);
	for (unsigned i = 0; i < 5; i++)
		core_node_judge(c, 1, false);
	ASSERT_EQ(core_node_health(c, 1), CORE_HEALTH_BLOCKED);
	judge_alone(c, 2);
}

TEST(a_task_that_always_fails_brings_no_node_down)
{
	WORLD(w);
	for (uint64_t n = 1; n <= 4; n++)
		node(c, n, .cores = 1);
	for (unsigned i = 0; i < 100; i++)
		core_node_judge(c, 1 + i % 4, i % 3 == 0);
	for (uint64_t n = 1; n <= 4; n++)
		ASSERT_EQ(core_node_health(c, n), CORE_HEALTH_GOOD);
}

TEST(a_category_is_forgotten_when_no_task_is_of_it)
{
	WORLD(w);
	core_category_set(c, "io", &(struct core_category_spec){.running = 1});
	core_category_set(c, "other", &(struct core_category_spec){.running = 2});
	node(c, 1, .cores = 8);
	add(c, 1, .category = "io");
	add(c, 2, .category = "other");
	decide(&w);
	struct said first = expect(&w, SAID_START, 1);
	expect(&w, SAID_START, 2);
	ASSERT_EQ(core_category_forget(c, "io"), -EBUSY);
	end(c, first);
	ASSERT_EQ(core_category_forget(c, "io"), 0);
	ASSERT_EQ(core_category_forget(c, "io"), -ENOENT);
	// What comes under its name, or under a new one, is neither limited by it nor taken for another's.
	add(c, 3, .category = "third");
	add(c, 4, .category = "io");
	add(c, 5, .category = "io");
	add(c, 6, .category = "other");
	add(c, 7, .category = "other");
	decide(&w);
	for (uint64_t t = 3; t <= 6; t++)
		expect(&w, SAID_START, t);
	expect_nothing(&w);
	ASSERT_STR(why(c, 7).name, "other");
}

TEST(what_goes_on_failing_to_be_fetched_comes_after_the_others)
{
	WORLD(w);
	world_options(&w, &actions, &(struct core_options){.fetches = 1});
	c = w.core;
	add_node(c, 1, 2, 0);
	item(c, 1, MB, 7, 0);
	item(c, 2, MB, 7, 0);
	ASSERT_EQ(core_item_bring(c, 1, 1, 0), 0);
	decide(&w);
	expect(&w, SAID_FETCH, 1);
	ASSERT_EQ(core_item_bring(c, 2, 1, 0), 0);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(core_fetch_failed(c, 1, 1, false), 0);
	decide(&w);
	expect(&w, SAID_FETCH, 2);
	ASSERT_EQ(core_fetch_failed(c, 1, 2, false), 0);
	decide(&w);
	expect(&w, SAID_FETCH, 1);
	expect_nothing(&w);
}

TEST(a_holder_that_could_never_take_it_is_not_waited_for)
{
	WORLD(w);
	world_options(&w, &actions, &(struct core_options){.rate = 100 * MB});
	c = w.core;
	core_set_time(c, 1000000);
	item(c, 1, 100 * MB, 0, 1);
	add_node(c, 1, 1, 0);
	const char *const fast = "fast";
	ASSERT_EQ(core_node_add(c, 2, &(struct core_node_spec){.cores = 2, .features = &fast, .n_features = 1}), 0);
	ASSERT_EQ(core_replica_set(c, 1, 1, 100 * MB), 0);
	const uint64_t input = 1;
	struct core_task_spec spec = {.inputs = &input, .n_inputs = 1, .when = CORE_WHEN_STAGED, .cores = 2};
	ASSERT_EQ(core_task_add(c, 10, &spec), 0);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FETCH, 1).node, 2);
	ASSERT_EQ(core_replica_set(c, 2, 1, 100 * MB), 0);
	decide(&w);
	struct said s = expect(&w, SAID_START, 10);
	ASSERT_EQ(core_attempt_ended(c, s.task, s.attempt), 0);
	/* Another tree, and too little of another kind. */
	item(c, 2, 100 * MB, 0, 2);
	ASSERT_EQ(core_replica_set(c, 1, 2, 100 * MB), 0);
	const uint64_t second = 2;
	spec = (struct core_task_spec){
		.inputs = &second, .n_inputs = 1, .when = CORE_WHEN_STAGED, .features = &fast, .n_features = 1};
	ASSERT_EQ(core_task_add(c, 11, &spec), 0);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FETCH, 2).node, 2);
	expect_nothing(&w);
}
