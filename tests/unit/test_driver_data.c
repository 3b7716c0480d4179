// SPDX-License-Identifier: Apache-2.0
// Nodes that hold and move bytes: what they are told and tell, what is lost and made again, and what a restart knows of it.
#include "tests/unit/driver_world.h"

static struct peer one, two, client;

static void begin(void)
{
	start_vined();
	connect_peer(&one, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join_with_data(&one, "aa-1", NULL, 0), 0);
	connect_peer(&two, TLS_ROLE_NODE, "w2", 2);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 3);
	ASSERT_EQ(attach(&client, "sweep"), 0);
}

static void end(void)
{
	if (one.conn)
		drop(&one);
	if (two.conn)
		drop(&two);
	drop(&client);
	stop_vined();
}

static int tell_fetched(struct peer *p, const char *tree, uint64_t size)
{
	return conn_send(p->conn, WIRE_FETCHED,
			 &(struct wire_fetched){.item = p->fetch.item, .tree = digest_of(tree), .size = size});
}

static int tell_replicas(struct peer *p, const char *tree, uint64_t size, uint64_t total)
{
	const struct wire_replica r = {.tree = digest_of(tree), .size = size, .total = total};
	return conn_send(p->conn, WIRE_REPLICAS, &(struct wire_replicas){.trees = {&r, 1}, .is_all = true});
}

/* The node's attempt has made its only output. */
static int ended_making(struct peer *p, const char *tree)
{
	const struct wire_output made = {
		.item = p->inputs[p->n_inputs - 1].item, .tree = digest_of(tree), .size = 1000};
	return ended_with(p, 1, 0, &made, 1);
}

static const char *state_of(const char *name, size_t *n_replicas)
{
	struct driver_item item;
	for (size_t i = 0; driver_next_item(driver, &i, &item);) {
		if (!streq(item.name, name))
			continue;
		*n_replicas = item.n_replicas;
		return item.state;
	}
	return "unknown";
}

static const struct wire_binding shared = {
	.path = "/d", .item = "file:/data/x", .mode = 1, .signature = "1:2:3", .size = 1000};

TEST(a_staged_task_starts_when_its_node_has_fetched_all)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.staging = 3, BINDINGS(shared))), 0);
	ASSERT(UNTIL(loop, one.n_fetches == 1));
	ASSERT_STR(one.fetch_source, "file:/data/x 1:2:3");
	ASSERT_STR(one.fetch_peers, "");
	ASSERT(one.fetch.token_usec > 0 && one.fetch.is_gating);
	ASSERT_EQ(one.fetch.tree.algorithm, 0);
	ASSERT_EQ(one.n_starts, 0);
	ASSERT_STR(reason_of(client.id), "its input file:/data/x is on the way to node w1");
	ASSERT_EQ(tell_fetched(&one, "x", 1000), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	const struct digest x = digest_of("x");
	ASSERT(digest_is_equal(&one.inputs[0].tree, &x));
	end();
}

TEST(a_second_node_gets_the_tree_from_the_first_and_is_told_its_address)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.staging = 3, .cores = 4, BINDINGS(shared))), 0);
	ASSERT(UNTIL(loop, one.n_fetches == 1));
	ASSERT_EQ(tell_fetched(&one, "x", 1000), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(join_with_data(&two, "bb-2", NULL, 0), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.staging = 3, BINDINGS(shared))), 0);
	ends_skipped_usec += 10000000; // longer than it is worth waiting for the holder
	ASSERT(UNTIL(loop, two.n_fetches == 1));
	ASSERT_STR(two.fetch_source, " 1:2:3");
	ASSERT_STR(two.fetch_peers, "w1 aa-1:1;");
	ASSERT_EQ(tell_fetched(&two, "x", 1000), 0);
	ASSERT(UNTIL(loop, two.n_starts == 1));
	size_t n_replicas;
	ASSERT_STR(state_of("file:/data/x", &n_replicas), "there");
	ASSERT_EQ(n_replicas, 2);
	end();
}

TEST(a_source_that_can_never_be_had_fails_what_needs_it)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.staging = 3, BINDINGS(shared))), 0);
	ASSERT(UNTIL(loop, one.n_fetches == 1));
	ASSERT_EQ(conn_send(one.conn, WIRE_FETCHED,
			    &(struct wire_fetched){.item = one.fetch.item,
						   .error = ENOENT,
						   .is_final = true,
						   .reason = "there is no such file"}),
		  0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(client.result.how, 3);
	ASSERT_STR(client.why, "its input file:/data/x will never be there: there is no such file");
	end();
}

TEST(a_fetch_that_failed_is_tried_again_and_another_tree_is_not_taken)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.staging = 3, BINDINGS(shared))), 0);
	ASSERT(UNTIL(loop, one.n_fetches == 1));
	ASSERT_EQ(conn_send(one.conn, WIRE_FETCHED, &(struct wire_fetched){.item = one.fetch.item, .error = EIO}), 0);
	ASSERT(UNTIL(loop, one.n_fetches == 2));
	ASSERT_EQ(tell_fetched(&one, "x", 1000), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	end();
}

TEST(an_output_is_a_tree_of_the_node_that_made_it_and_others_fetch_it_there)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a")))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(ended_making(&one, "made"), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	// The first is kept busy.
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 4)), 0);
	ASSERT(UNTIL(loop, one.n_starts == 2));
	ASSERT_EQ(join_with_data(&two, "bb-2", NULL, 0), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.staging = 3, BINDINGS(IN("temp:a")))), 0);
	ends_skipped_usec += 10000000;
	ASSERT(UNTIL(loop, two.n_fetches == 1));
	ASSERT_STR(two.fetch_peers, "w1 aa-1:1;");
	const struct digest made = digest_of("made");
	ASSERT(digest_is_equal(&two.fetch.tree, &made));
	end();
}

TEST(what_only_a_node_that_is_away_has_is_fetched_as_soon_as_it_is_back)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a")))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(ended_making(&one, "made"), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	drop(&one);
	settle_all();
	ASSERT_EQ(join_with_data(&two, "bb-2", NULL, 0), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.staging = 3, BINDINGS(IN("temp:a")))), 0);
	ends_skipped_usec += 10000000;
	settle_all();
	ASSERT_EQ(two.n_fetches, 0);
	connect_peer(&one, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(ask(&one, WIRE_JOIN,
		      &(struct wire_join){.node = "aa-1",
					  .tier = "plain",
					  .cores = 1,
					  .task_limit = 1,
					  .has_data = true,
					  .address = "there:2"}),
		  0);
	ASSERT_EQ(tell_replicas(&one, "made", 1000, 1000), 0);
	ASSERT(UNTIL(loop, two.n_fetches == 1));
	ASSERT_STR(two.fetch_peers, "w1 there:2;");
	// It goes again, and what was to come from there waits for it once more.
	drop(&one);
	settle_all();
	ASSERT_EQ(two.n_fetches, 1);
	connect_peer(&one, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join_with_data(&one, "aa-1", NULL, 0), 0);
	ASSERT(UNTIL(loop, two.n_fetches == 2));
	end();
}

TEST(a_nodes_tier_is_a_feature_that_tasks_may_ask_for)
{
	static const char *const plain[] = {"plain"}, *const views[] = {"views"};
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.features = {plain, 1})), 0);
	settle_all();
	ASSERT_EQ(one.n_starts, 0);
	ASSERT(strstr(reason_of(client.id), "plain"));
	ASSERT_EQ(ask(&two, WIRE_JOIN,
		      &(struct wire_join){.node = "bb-2",
					  .tier = "plain",
					  .cores = 4,
					  .task_limit = 4,
					  .features = {plain, 1},
					  .has_data = true}),
		  0);
	ASSERT(UNTIL(loop, two.n_starts == 1));
	ASSERT_EQ(SUBMIT(&client, TASK(.features = {views, 1})), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	// Who asks for nothing goes anywhere.
	for (int i = 0; i < 6; i++)
		ASSERT_EQ(SUBMIT(&client, TASK()), 0);
	ASSERT(UNTIL(loop, one.n_starts == 4 && two.n_starts == 4));
	end();
}

TEST(an_output_that_a_data_node_does_not_name_was_not_made)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a"))), TASK(BINDINGS(IN("temp:a")))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(ended_well(&one), 0);
	ASSERT(UNTIL(loop, client.n_results == 2));
	ASSERT_EQ(client.result.task, client.ids[1]);
	ASSERT_EQ(client.result.how, 3);
	end();
}

static void lose(struct peer *p)
{
	drop(p);
	settle_all();
	ends_skipped_usec += NODE_TIMEOUT_USEC + 1;
	settle_all();
}

TEST(a_lost_output_is_made_again_once_something_needs_it)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a")))), 0);
	uint64_t maker = client.id;
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(ended_making(&one, "made"), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(done(&client, maker), 0);
	ASSERT_EQ(join_with_data(&two, "bb-2", NULL, 0), 0);
	lose(&one);
	// Nobody needs it yet.
	ASSERT_EQ(two.n_starts, 0);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("temp:a")))), 0);
	uint64_t consumer = client.id;
	ASSERT(UNTIL(loop, two.n_starts == 1));
	ASSERT_EQ(two.start.task, maker);
	ASSERT_STR(reason_of(consumer), "its input temp:a, which task 1 makes, was lost and is made again");
	ASSERT_EQ(ended_making(&two, "made"), 0);
	ASSERT(UNTIL(loop, two.n_starts == 2));
	ASSERT_EQ(two.start.task, consumer);
	ASSERT_EQ(ended_well(&two), 0);
	ASSERT(UNTIL(loop, client.n_results == 2));
	// Its maker's result is not delivered a second time.
	settle_all();
	ASSERT_EQ(client.n_results, 2);
	ASSERT_EQ(client.result.task, consumer);
	end();
}

TEST(what_is_made_again_and_fails_fails_what_needs_it)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a")))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(ended_making(&one, "made"), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(join_with_data(&two, "bb-2", NULL, 0), 0);
	lose(&one);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("temp:a")))), 0);
	ASSERT(UNTIL(loop, two.n_starts == 1));
	ASSERT_EQ(ended_with(&two, 1, 1, NULL, 0), 0);
	ASSERT(UNTIL(loop, client.n_results == 2));
	ASSERT_EQ(client.result.how, 3);
	ASSERT_EQ(client.result.task, client.id);
	end();
}

static void begin_again(void)
{
	start_vined();
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 4);
	ASSERT_EQ(attach_later(&client, "sweep"), 0);
}

/* temp:a is made on the first node and acknowledged, temp:b of it too, and a task that nobody can run waits for both. */
static uint64_t make_before_restart(void)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a"))), TASK(BINDINGS(IN("temp:a"), OUT("temp:b")))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(ended_making(&one, "a"), 0);
	ASSERT(UNTIL(loop, one.n_starts == 2));
	ASSERT_EQ(ended_making(&one, "b"), 0);
	ASSERT(UNTIL(loop, client.n_results == 2));
	ASSERT_EQ(done(&client, client.ids[0]), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 8, BINDINGS(IN("temp:b")))), 0);
	uint64_t consumer = client.id;
	end();
	return consumer;
}

TEST(after_a_restart_outputs_are_where_nodes_say_they_are)
{
	uint64_t consumer = make_before_restart();
	size_t n_replicas = 9;
	begin_again();
	ASSERT_STR(state_of("temp:b", &n_replicas), "lost");
	ASSERT_EQ(n_replicas, 0);
	connect_peer(&one, TLS_ROLE_NODE, "w1", 5);
	ASSERT_EQ(join_with_data(&one, "aa-1", NULL, 0), 0);
	ASSERT_EQ(tell_replicas(&one, "b", 1000, 1000), 0);
	settle_all();
	ASSERT_STR(state_of("temp:b", &n_replicas), "there");
	ASSERT_EQ(n_replicas, 1);
	ends_skipped_usec += NODE_TIMEOUT_USEC + 1;
	settle_all();
	ASSERT_EQ(one.n_starts, 0);
	ASSERT(strstr(reason_of(consumer), "no node is large enough: it needs 8 cores"));
	// It can be named by others, too.
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("temp:b")))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	end();
}

TEST(after_a_restart_what_no_node_brings_back_is_made_again_with_all_that_it_needs)
{
	uint64_t consumer = make_before_restart();
	begin_again();
	connect_peer(&one, TLS_ROLE_NODE, "w1", 5);
	ASSERT_EQ(join_with_data(&one, "aa-1", NULL, 0), 0);
	settle_all();
	ASSERT_EQ(one.n_starts, 0);
	ends_skipped_usec += NODE_TIMEOUT_USEC + 1;
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(one.start.task, 1);
	ASSERT_EQ(ended_making(&one, "a"), 0);
	ASSERT(UNTIL(loop, one.n_starts == 2));
	ASSERT_EQ(one.start.task, 2);
	ASSERT_STR(one.input_texts[0], "/in/temp:a ");
	ASSERT_EQ(ended_making(&one, "b"), 0);
	settle_all();
	ASSERT(strstr(reason_of(consumer), "no node is large enough: it needs 8 cores"));
	end();
}

TEST(what_a_node_does_not_name_among_all_it_has_is_not_there)
{
	begin();
	size_t n_replicas;
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a")))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(ended_making(&one, "made"), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_STR(state_of("temp:a", &n_replicas), "there");
	ASSERT_EQ(tell_replicas(&one, "other", 5, 10), 0);
	ASSERT(UNTIL(loop, streq(state_of("temp:a", &n_replicas), "lost")));
	ASSERT_EQ(tell_replicas(&one, "made", 1000, 1000), 0);
	ASSERT(UNTIL(loop, streq(state_of("temp:a", &n_replicas), "there")));
	end();
}

TEST(a_node_knows_how_large_a_tree_is_and_others_guessed)
{
	begin();
	size_t n_replicas;
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a")))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(ended_making(&one, "made"), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	// What it made had 1,000 bytes, as it said then; on disk it has fewer, then more.
	for (uint64_t size = 10; size < 10000; size += 5000) {
		ASSERT_EQ(tell_replicas(&one, "made", size, size), 0);
		settle_all();
		ASSERT_STR(state_of("temp:a", &n_replicas), "there");
		ASSERT_EQ(n_replicas, 1);
	}
	ASSERT_EQ(SUBMIT(&client, TASK(.staging = 3, BINDINGS(IN("temp:a")))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 2));
	ASSERT_EQ(one.n_fetches, 0);
	end();
}

TEST(what_needs_an_output_whose_maker_loses_too_many_nodes_is_told)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a")))), 0);
	uint64_t maker = client.id;
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(ended_making(&one, "made"), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(done(&client, maker), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 8, BINDINGS(IN("temp:a")))), 0);
	settle_all();
	lose(&one);
	for (uint64_t i = 0; i < 3; i++) {
		connect_peer(&one, TLS_ROLE_NODE, "w1", 10 + i);
		ASSERT_EQ(join_with_data(&one, "aa-1", NULL, 0), 0);
		ASSERT(UNTIL(loop, one.n_starts == 1));
		ASSERT_EQ(one.start.task, maker);
		lose(&one);
	}
	settle_all();
	ends_skipped_usec += 1000001;
	ASSERT(UNTIL(loop, client.n_results == 2));
	ASSERT_EQ(client.result.task, client.id);
	ASSERT_EQ(client.result.status, ENOENT);
	ASSERT_STR(client.why, "its input temp:a, which task 1 makes, will never be there");
	end();
}
