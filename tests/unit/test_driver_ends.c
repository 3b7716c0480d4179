// SPDX-License-Identifier: Apache-2.0
// How attempts end: once, whatever their nodes say of it and however often; and nodes that come back.
#include "tests/unit/driver_pair.h"

#include "vined/command.h"

static int ended_as(const struct wire_held *h, uint8_t how)
{
	return ask(&node, WIRE_ENDED,
		   &(struct wire_ended){.attempt = h->attempt, .task = h->task, .how = how, .status = 1});
}

static struct wire_held last_start(void)
{
	return (struct wire_held){node.start.attempt, node.start.task};
}

// One that asks for all of the node, and goes first.
#define LARGE TASK(.cores = 4, .priority = 10)

TEST(an_end_that_is_said_twice_is_charged_once)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 4, .retries = 1)), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	const struct wire_held first = last_start();
	ASSERT_EQ(SUBMIT(&client, LARGE), 0);
	ASSERT_EQ(ended_as(&first, 1), 0);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	ASSERT(node.start.task != first.task);
	ASSERT_EQ(ended_as(&first, 1), 0);
	settle_all();
	ASSERT_EQ(client.n_results, 0);
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, node.n_starts == 3));
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, client.n_results == 2));
	ASSERT_EQ(client.result.task, first.task);
	ASSERT_EQ(client.result.status, 0);
	ASSERT_EQ(client.result.attempts, 2);
	end();
}

static void says_it_again_after_a_cut(uint8_t how)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 4, .retries = 1)), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	const struct wire_held first = last_start();
	ASSERT_EQ(SUBMIT(&client, LARGE), 0);
	ASSERT_EQ(ended_as(&first, how), 0);
	ends_skipped_usec += 5000000; // a node that lost one rests
	ASSERT(UNTIL(loop, node.n_starts == 2));
	// It did not get the answer, and lists what it knows.
	drop(&node);
	connect_peer(&node, TLS_ROLE_NODE, "w1", 3);
	ASSERT_EQ(join(&node, "aa-1", &first, 1), 0);
	ASSERT(UNTIL(loop, node.n_stops == 1));
	ASSERT_EQ(node.stop.attempt, first.attempt);
	ASSERT(node.stop.fenced);
	ASSERT_EQ(ended_as(&first, how), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT(node.start.task != first.task);
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	ASSERT_EQ(node.start.task, first.task);
	ASSERT_EQ(ended_with(&node, 1, how == 1 ? 0 : 1, NULL, 0), 0);
	// What its node could not say anything about used up none of its retries.
	if (how != 1) {
		ASSERT(UNTIL(loop, node.n_starts == 3));
		ASSERT_EQ(ended_well(&node), 0);
	}
	ASSERT(UNTIL(loop, client.n_results == 2));
	ASSERT_EQ(client.result.status, 0);
	end();
}

TEST(a_failure_said_again_after_a_cut_is_charged_once)
{
	says_it_again_after_a_cut(1);
}

TEST(a_loss_said_again_after_a_cut_is_no_second_loss)
{
	says_it_again_after_a_cut(4);
}

TEST(a_failure_said_again_after_a_restart_is_charged_once)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 4, .retries = 1)), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	const struct wire_held first = last_start();
	ASSERT_EQ(SUBMIT(&client, LARGE), 0);
	ASSERT_EQ(ended_as(&first, 1), 0);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	const struct wire_held large = last_start();
	end();
	// The node did not get the answer, and vined has to know from its database that the failure was told.
	start_vined();
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	connect_peer(&node, TLS_ROLE_NODE, "w1", 3);
	const struct wire_held both[] = {first, large};
	ASSERT_EQ(join(&node, "aa-1", both, 2), 0);
	ASSERT(UNTIL(loop, node.n_stops == 1));
	ASSERT_EQ(node.stop.attempt, first.attempt);
	ASSERT_EQ(ended_as(&first, 1), 0);
	ASSERT_EQ(ended(&node, large.task, large.attempt), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(node.start.task, first.task);
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, client.n_results == 2));
	ASSERT_EQ(client.result.status, 0);
	ASSERT_EQ(client.result.attempts, 2);
	end();
}

TEST(an_end_that_nobody_knows_is_refused)
{
	begin();
	ASSERT_EQ(submit(&client, ""), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	const struct wire_held first = last_start();
	const uint8_t wrong[] = {0, 5, 8, 200};
	for (size_t i = 0; i < countof(wrong); i++)
		ASSERT_EQ(ended_as(&first, wrong[i]), -EINVAL);
	ASSERT(strstr(node.reason, "how is 200"));
	ASSERT_EQ(ask(&node, WIRE_ENDED,
		      &(struct wire_ended){.attempt = first.attempt, .task = first.task, .how = 1, .exceeded = 250}),
		  -EINVAL);
	settle_all();
	ASSERT_EQ(client.n_results, 0);
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(client.result.how, 1);
	end();
}

TEST(numbers_beyond_what_the_database_holds_are_its_largest)
{
	begin();
	ASSERT_EQ(submit(&client, ""), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(ask(&node, WIRE_ENDED,
		      &(struct wire_ended){.attempt = node.start.attempt,
					   .task = node.start.task,
					   .how = 1,
					   .wall_usec = UINT64_MAX,
					   .cpu_usec = UINT64_MAX,
					   .peak_memory = UINT64_MAX,
					   .out_size = UINT64_MAX,
					   .err_size = UINT64_MAX,
					   .peak_disk = UINT64_MAX,
					   .local_size = UINT64_MAX,
					   .moved_size = UINT64_MAX,
					   .peer_size = UINT64_MAX,
					   .source_size = UINT64_MAX,
					   .client_size = UINT64_MAX}),
		  0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	const uint64_t all = client.result.wall_usec & client.result.cpu_usec & client.result.peak_memory &
			     client.result.out_size & client.result.err_size & client.result.peak_disk &
			     client.result.local_size & client.result.moved_size & client.result.peer_size &
			     client.result.source_size & client.result.client_size;
	ASSERT(all == INT64_MAX);
	ASSERT(((client.result.wall_usec | client.result.moved_size) >> 63) == 0);
	end();
}

// ---- a node that comes back may have lost its cache

static const struct wire_binding shared = {
	.path = "/d", .item = "file:/data/x", .mode = 1, .signature = "1:2:3", .size = 1000};

static int report(const char *tree)
{
	const struct wire_replica r = {.tree = digest_of(tree), .size = 1000, .total = 1000};
	return conn_send(node.conn, WIRE_REPLICAS, &(struct wire_replicas){.trees = {&r, *tree != 0}, .is_all = true});
}

// The node brings the input and is away before a task that reads it comes.
static void begin_with_replica(void)
{
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join_with_data(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.staging = 3, BINDINGS(shared))), 0);
	ASSERT(UNTIL(loop, node.n_fetches == 1));
	conn_send(node.conn, WIRE_FETCHED,
		  &(struct wire_fetched){.item = node.fetch.item, .tree = digest_of("x"), .size = 1000});
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 4, .staging = 3, BINDINGS(shared))), 0);
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	const struct wire_held h = {node.start.attempt, node.start.task};
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 4, .staging = 3, BINDINGS(shared))), 0);
	drop(&node);
	settle_all();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 3);
	ASSERT_EQ(join_with_data(&node, "aa-1", &h, 1), 0);
	ASSERT_EQ(ask(&node, WIRE_ENDED, &(struct wire_ended){.attempt = h.attempt, .task = h.task, .how = 1}), 0);
	settle_all();
	ASSERT_EQ(node.n_starts, 0);
	ASSERT_STR(reason_of(client.id), "node w1 rests: it has not said yet what it still has");
}

TEST(a_node_that_comes_back_is_given_tasks_when_it_has_said_what_it_has)
{
	begin_with_replica();
	report("x");
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(node.n_fetches, 0);
	end();
}

TEST(a_node_that_comes_back_without_its_cache_gets_the_inputs_first)
{
	begin_with_replica();
	report("");
	ASSERT(UNTIL(loop, node.n_fetches == 1));
	ASSERT_EQ(node.n_starts, 0);
	end();
}

TEST(a_node_that_never_says_what_it_has_counts_as_empty)
{
	begin_with_replica();
	ends_skipped_usec += 10000001;
	ASSERT(UNTIL(loop, node.n_fetches == 1));
	ASSERT_EQ(node.n_starts, 0);
	end();
}

// ---- what was refused leaves nothing behind

static int ask_for(const char *const *features, uint32_t n, const struct wire_amount *named, const char *input)
{
	const struct wire_binding in = {.path = "/in", .item = input, .mode = 1};
	const struct wire_task t =
		TASK(.features = {features, n}, .named = {named, named != NULL}, .bindings = {&in, input != NULL});
	return submit_all(&client, &t, 1);
}

TEST(names_in_what_is_refused_are_not_used_up)
{
	char text[70][8];
	const char *names[70];
	begin();
	for (unsigned i = 0; i < 70; i++) {
		snprintf(text[i], sizeof text[i], "n%u", i);
		names[i] = text[i];
		const struct wire_amount named = {.name = text[i], .amount = 1};
		ASSERT_EQ(ask_for(&names[i], 1, &named, "temp:nobody"), -ENOENT);
	}
	// With the node's tier these are 40.
	ASSERT_EQ(ask_for(names, 39, NULL, NULL), 0);
	// Of these 25 there is room for 24: none of them is taken.
	ASSERT_EQ(ask_for(names + 40, 25, NULL, NULL), -EINVAL);
	ASSERT(strstr(client.reason, "64 features are known"));
	ASSERT_EQ(ask_for(names + 46, 24, NULL, NULL), 0);
	// These belong to tasks.
	ASSERT_EQ(ask_for(names + 45, 1, NULL, NULL), -EINVAL);
	ASSERT_EQ(ask_for(names + 3, 1, NULL, NULL), 0);
	end();
}

// ---- what is set of a run is in memory as long as the run

static size_t count_categories(uint64_t *running)
{
	struct driver_category g;
	size_t n = 0;
	for (size_t i = 0; driver_next_category(driver, &i, &g); n++)
		*running = g.running;
	return n;
}

TEST(categories_go_with_their_run_and_come_back_with_it)
{
	struct driver_numbers n;
	uint64_t running = 0;
	begin();
	ASSERT_EQ(set(&client, "sweep", "category.io.running", "3"), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.category = "io"), TASK(.category = "cpu")), 0);
	ASSERT_EQ(count_categories(&running), 2);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	const uint64_t first = node.started[0], attempt = node.start.attempt;
	ASSERT_EQ(ended(&node, first, attempt - 1), 0);
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, client.n_results == 2));
	ASSERT_EQ(done(&client, node.started[0]), 0);
	ASSERT_EQ(done(&client, node.started[1]), 0);
	drop(&client);
	ASSERT(UNTIL(loop, (driver_numbers(driver, &n), n.runs == 0)));
	ASSERT_EQ(count_categories(&running), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 3);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(count_categories(&running), 1);
	ASSERT_EQ(running, 3);
	end();
}

TEST(a_counter_that_nobody_has_set_is_said_to_be_so)
{
	begin();
	ASSERT_EQ(set(&client, "", "counter.seats", "2"), 0);
	ASSERT_EQ(set(&client, "", "counter.seats", ""), 0);
	ASSERT_EQ(set(&client, "", "counter.seats", ""), 0);
	const struct wire_amount one = {.name = "seats", .amount = 1};
	ASSERT_EQ(SUBMIT(&client, TASK(.counters = {&one, 1})), 0);
	settle_all();
	ASSERT_EQ(node.n_starts, 0);
	ASSERT(strstr(reason_of(client.id), "which nobody has set"));
	ASSERT_EQ(set(&client, "", "counter.seats", "0"), 0);
	settle_all();
	ASSERT_STR(reason_of(client.id), "counter seats is used up: it was set to 0");
	ASSERT_EQ(set(&client, "", "counter.seats", "1"), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	end();
}

// ---- who is attached to a run that is over still finds its keys

static void on_any_task(void *arg, const struct store_row *row)
{
	(void)arg, (void)row;
}

static bool is_in_store(uint64_t task)
{
	return store_list_tasks(store, task, 0, 1, on_any_task, NULL) == 1;
}

TEST(a_task_stays_in_the_database_while_a_client_is_attached_to_its_run)
{
	struct peer other;
	keep_none = true;
	begin();
	keep_none = false;
	ASSERT_EQ(SUBMIT(&client, TASK(.key = "one")), 0);
	const uint64_t first = client.id;
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(done(&client, first), 0);
	// Another run that is left goes meanwhile.
	connect_peer(&other, TLS_ROLE_CLIENT, "c", 5);
	ASSERT_EQ(attach(&other, "other"), 0);
	ASSERT_EQ(SUBMIT(&other, TASK(.key = "one")), 0);
	const uint64_t second = other.id;
	ASSERT(UNTIL(loop, node.n_starts == 2));
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, other.n_results == 1));
	ASSERT_EQ(done(&other, second), 0);
	drop(&other);
	ASSERT(UNTIL(loop, !is_in_store(second)));
	ASSERT(is_in_store(first));
	ASSERT_EQ(SUBMIT(&client, TASK(.key = "one")), 0);
	ASSERT_EQ(client.id, first);
	drop(&client);
	ASSERT(UNTIL(loop, !is_in_store(first)));
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 6);
	end();
}

// ---- what is asked wrongly is told what to ask

static void on_query(void *arg, struct conn *c, uint64_t id, const struct wire_query *q)
{
	struct command m = {.driver = arg};
	command_query(&m, c, id, q);
}

TEST(why_without_a_number_says_that_it_wants_one)
{
	begin();
	clients.on_query = on_query;
	clients.arg = driver;
	ASSERT_EQ(ask(&client, WIRE_QUERY, &(struct wire_query){.what = "why"}), -EINVAL);
	ASSERT_STR(client.reason, "why '': give a task's number, like 17");
	end();
}
