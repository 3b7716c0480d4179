// SPDX-License-Identifier: Apache-2.0
// Retries, limits, categories, counters, features, deadlines; settings and who is told what.
#include "tests/unit/driver_world.h"

static struct peer node, client;

static void begin(void)
{
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(ask(&client, WIRE_ATTACH, &(struct wire_attach){.run = "sweep", .results = true, .events = true}), 0);
}

static void end(void)
{
	drop(&node);
	drop(&client);
	stop_vined();
}

TEST(a_task_that_fails_runs_again_as_often_as_it_may)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.retries = 2)), 0);
	for (unsigned i = 1; i <= 3; i++) {
		ASSERT(UNTIL(loop, node.n_starts == i));
		ASSERT_EQ(client.n_results, 0);
		ASSERT_EQ(ended_with(&node, i == 2 ? 2 : 1, 9, NULL, 0), 0);
	}
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(client.result.attempts, 3);
	ASSERT_EQ(client.result.status, 9);
	ASSERT_STR(client.event, "task-retried w1 signal 9");
	ASSERT_EQ(client.n_events, 2);
	end();
}

TEST(failures_are_remembered_over_a_restart_and_lost_nodes_are_not_counted)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.retries = 1)), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(ended_with(&node, 1, 9, NULL, 0), 0);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	end();
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 3);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0); // it knows nothing of its attempt
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 4);
	ASSERT_EQ(attach_later(&client, "sweep"), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(ended_with(&node, 1, 9, NULL, 0), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	end();
}

TEST(what_could_not_be_started_is_not_tried_again)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.retries = 2)), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(ended_with(&node, 3, ENOENT, NULL, 0), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	end();
}

static int ended_exceeding(uint8_t exceeded)
{
	return ask(&node, WIRE_ENDED,
		   &(struct wire_ended){.attempt = node.start.attempt,
					.task = node.start.task,
					.how = 2,
					.status = 9,
					.exceeded = exceeded});
}

TEST(what_used_up_its_first_allocation_gets_all_that_its_category_allows_and_then_fails)
{
	begin();
	ASSERT_EQ(set(&client, "sweep", "category.big.memory", "8M"), 0);
	ASSERT_EQ(set(&client, "sweep", "category.big.learn", "yes"), 0);
	drop(&node);
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(ask(&node, WIRE_JOIN,
		      &(struct wire_join){
			      .node = "aa-1", .tier = "plain", .cores = 4, .memory = 64 << 20, .task_limit = 4}),
		  0);
	// Some that need little teach what to begin with.
	for (unsigned i = 1; i <= 8; i++) {
		ASSERT_EQ(SUBMIT(&client, TASK(.category = "big")), 0);
		ASSERT(UNTIL(loop, node.n_starts == i));
		ASSERT_EQ(ask(&node, WIRE_ENDED,
			      &(struct wire_ended){.attempt = node.start.attempt,
						   .task = node.start.task,
						   .how = 1,
						   .peak_memory = 1 << 20}),
			  0);
		ASSERT(UNTIL(loop, client.n_results == i));
	}
	ASSERT_EQ(SUBMIT(&client, TASK(.category = "big")), 0);
	ASSERT(UNTIL(loop, node.n_starts == 9));
	ASSERT(node.start.memory < 8 << 20);
	ASSERT_EQ(ended_exceeding(1), 0);
	ASSERT(UNTIL(loop, node.n_starts == 10));
	ASSERT_EQ(node.start.memory, 8 << 20);
	ASSERT_EQ(ended_exceeding(1), 0);
	ASSERT(UNTIL(loop, client.n_results == 9));
	ASSERT_EQ(client.result.exceeded, 1);
	ASSERT_EQ(client.result.attempts, 2);
	end();
}

TEST(of_a_category_so_many_run_as_may_and_who_waits_knows_why)
{
	begin();
	ASSERT_EQ(set(&client, "", "category.net.running", "1"), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.category = "net"), TASK(.category = "net")), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	settle_all();
	ASSERT_EQ(node.n_starts, 1);
	ASSERT_STR(reason_of(client.ids[1]), "as many of category net are running as may at once");
	ASSERT_EQ(set(&client, "sweep", "category.net.running", "2"), 0);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	end();
	// Both settings outlive vined.
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.category = "net"), TASK(.category = "net")), 0);
	struct driver_category g;
	bool is_known = false;
	for (size_t i = 0; driver_next_category(driver, &i, &g);)
		is_known |= streq(g.run, "sweep") && g.running == 2;
	ASSERT(is_known);
	end();
}

TEST(a_counter_is_the_clusters_and_more_than_there_are_is_refused)
{
	begin();
	const struct wire_amount one = {"lic", 1}, three = {"lic", 3};
	ASSERT_EQ(SUBMIT(&client, TASK(.counters = {&one, 1})), 0);
	settle_all();
	ASSERT(strstr(reason_of(client.id), "counter lic, which nobody has set"));
	ASSERT_EQ(set(&client, "sweep", "counter.lic", "1"), -EINVAL);
	ASSERT_EQ(set(&client, "", "counter.lic", "1"), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(SUBMIT(&client, TASK(.counters = {&one, 1})), 0);
	settle_all();
	ASSERT_STR(reason_of(client.id), "counter lic is used up: there are 1");
	ASSERT_EQ(SUBMIT(&client, TASK(.counters = {&three, 1})), -EINVAL);
	ASSERT(strstr(client.reason, "task 1 of 1: counter 'lic': it asks for 3, and there are 1 in all"));
	end();
}

TEST(too_many_kinds_of_anything_are_refused_before_they_are_stored)
{
	begin();
	char names[70][8];
	const char *features[70];
	struct wire_amount amounts[70];
	for (unsigned i = 0; i < 70; i++) {
		snprintf(names[i], sizeof names[i], "n%u", i);
		features[i] = names[i];
		amounts[i] = (struct wire_amount){names[i], 1};
	}
	ASSERT_EQ(SUBMIT(&client, TASK(.features = {features, 65})), -EINVAL);
	ASSERT(strstr(client.reason, "65 features"));
	// One is the node's tier.
	ASSERT_EQ(SUBMIT(&client, TASK(.features = {features + 1, 63})), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.features = {features + 64, 1})), -EINVAL);
	ASSERT(strstr(client.reason, "feature 'n64': 64 features are known"));
	ASSERT_EQ(SUBMIT(&client, TASK(.named = {amounts, 16})), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.named = {amounts + 16, 1})), -EINVAL);
	ASSERT_EQ(SUBMIT(&client, TASK(.counters = {amounts, 5})), -EINVAL);
	ASSERT(strstr(client.reason, "5 counters, at most 4"));
	amounts[1].name = "n0";
	ASSERT_EQ(SUBMIT(&client, TASK(.named = {amounts, 2})), -EINVAL);
	ASSERT(strstr(client.reason, "asked for twice"));
	// A node that offers more than there are numbers for joins without them.
	amounts[1].name = "n1";
	ASSERT_EQ(ask(&node, WIRE_JOIN,
		      &(struct wire_join){.node = "aa-1",
					  .tier = "plain",
					  .cores = 4,
					  .task_limit = 4,
					  .named = {amounts, 70},
					  .features = {features, 70}}),
		  0);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	end();
}

TEST(a_task_goes_where_its_features_are_and_long_enough)
{
	begin();
	const char *avx[] = {"avx"};
	ASSERT_EQ(SUBMIT(&client, TASK(.features = {avx, 1})), 0);
	settle_all();
	ASSERT_STR(reason_of(client.id), "no connected node has feature 'avx'");
	const struct wire_join offer = {.node = "aa-1",
					.tier = "plain",
					.cores = 4,
					.task_limit = 4,
					.gpus = 2,
					.features = {avx, 1},
					.stays_usec = 60000000};
	ASSERT_EQ(ask(&node, WIRE_JOIN, &offer), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(SUBMIT(&client, TASK(.wall_usec = 120000000)), 0);
	settle_all();
	ASSERT_STR(reason_of(client.id), "no connected node stays as long as it may take");
	ASSERT_EQ(SUBMIT(&client, TASK(.wall_usec = 30000000, .gpus = 1)), 0);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	ASSERT_EQ(node.start.wall_usec, 30000000);
	ASSERT_EQ(__builtin_popcountll(node.start.gpu_bits), 1);
	end();
}

static uint64_t wall;

static uint64_t wall_clock(void)
{
	return wall;
}

TEST(a_deadline_is_wall_clock_and_ends_what_was_not_begun)
{
	begin();
	wall = 1000000000000;
	driver_set_wall_clock(driver, wall_clock);
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 4), TASK(.deadline_usec = wall + 3600000000)), 0);
	uint64_t late = client.ids[1];
	ASSERT(UNTIL(loop, node.n_starts == 1));
	// Time that only the monotonic clock sees is none.
	ends_skipped_usec += 7200000000;
	settle_all();
	ASSERT_EQ(client.n_results, 0);
	wall += 3600000001;
	ends_skipped_usec += 1000001;
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(client.result.task, late);
	ASSERT_EQ(client.result.status, ETIMEDOUT);
	ASSERT_STR(client.why, "its deadline passed before it was begun");
	// One that was begun in time has none any more.
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.deadline_usec = wall + 1000)), 0);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	wall += 10000;
	ends_skipped_usec += 1000001;
	settle_all();
	ASSERT_EQ(node.n_stops, 0);
	end();
}

TEST(a_deadline_that_has_passed_at_submit_is_honoured_though_there_is_room)
{
	begin();
	wall = 1000000000000;
	driver_set_wall_clock(driver, wall_clock);
	ASSERT_EQ(SUBMIT(&client, TASK(.deadline_usec = wall - 1)), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(client.result.status, ETIMEDOUT);
	ASSERT_EQ(node.n_starts, 0);
	end();
}

TEST(tasks_are_cancelled_by_tag_category_and_key)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 9, .tag = "t"), TASK(.cores = 9, .category = "c"),
			 TASK(.cores = 9, .key = "k"), TASK(.cores = 9)),
		  0);
	const char *const selectors[] = {"tag:t", "category:c", "key:k"};
	for (unsigned i = 0; i < 3; i++) {
		ASSERT_EQ(ask(&client, WIRE_ABANDON, &(struct wire_abandon){.run = "sweep", .selector = selectors[i]}),
			  0);
		ASSERT(UNTIL(loop, client.n_results == i + 1));
		ASSERT_EQ(client.result.task, client.ids[i]);
		ASSERT_EQ(client.result.how, STORE_CANCELLED);
	}
	ASSERT_EQ(ask(&client, WIRE_ABANDON, &(struct wire_abandon){.run = "sweep", .selector = "what"}), -EINVAL);
	settle_all();
	ASSERT_EQ(client.n_results, 3);
	end();
}

TEST(who_asked_for_events_hears_of_nodes)
{
	begin();
	struct peer other;
	unsigned n = client.n_events;
	connect_peer(&other, TLS_ROLE_NODE, "w2", 7);
	ASSERT_EQ(join(&other, "bb-2", NULL, 0), 0);
	ASSERT(UNTIL(loop, client.n_events == n + 1));
	ASSERT_STR(client.event, "node-joined w2 ");
	drop(&other);
	settle_all();
	ends_skipped_usec += NODE_TIMEOUT_USEC + 1;
	ASSERT(UNTIL(loop, client.n_events == n + 2));
	ASSERT_STR(client.event, "node-lost w2 not back in time");
	end();
}

TEST(a_setting_that_is_none_is_refused_with_what_there_is)
{
	begin();
	const struct {
		const char *run, *name, *value, *says;
	} cases[] = {
		{"sweep", "colour", "red", "known are category.NAME"},
		{"sweep", "category.x.speed", "1", "running, memory, disk and learn"},
		{"sweep", "category.x.memory", "much", "sizes like 4G"},
		{"sweep", "category..memory", "1", "1 to 64 letters"},
		{"sweep", "lifetime", "long", "run, task or forever"},
		{"", "lifetime", "run", "it is a run's"},
		{"", "counter.x", "-1", "a number"},
	};
	for (size_t i = 0; i < countof(cases); i++) {
		ASSERT_EQ(set(&client, cases[i].run, cases[i].name, cases[i].value), -EINVAL);
		ASSERT(strstr(client.reason, cases[i].says));
	}
	ASSERT_EQ(set(&client, "other", "lifetime", "run"), -ENOENT);
	end();
}
