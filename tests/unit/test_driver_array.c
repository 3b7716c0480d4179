// SPDX-License-Identifier: Apache-2.0
// Arrays: one row, a window of elements, each with its index.
#include "tests/unit/driver_world.h"

static struct peer node, client;
static unsigned n_results_of[8000];

static void begin(uint64_t instance)
{
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", instance);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", instance + 1);
}

static void end(void)
{
	drop(&node);
	drop(&client);
	stop_vined();
}

static int submit_array(uint64_t first, uint64_t step, uint64_t n, uint32_t running)
{
	static const char *const argv[] = {"p{index}-{index}"};
	static const struct wire_binding in = {.path = "/d/{index}.in", .item = "file:/data/{index}", .mode = 1};
	const struct wire_task t = {.argv = {argv, 1},
				    .environment = {env, 1},
				    .tag = "many",
				    .bindings = {&in, 1},
				    .array_first = first,
				    .array_step = step,
				    .array_n = n,
				    .array_running = running};
	return submit_all(&client, &t, 1);
}

/* Ends what was started last, one after another, until `n` results have come. */
static void run_until(unsigned n, bool is_acknowledged)
{
	unsigned n_seen = 0;
	while (client.n_results < n) {
		ASSERT(UNTIL(loop, node.n_starts > n_seen || client.n_results >= n));
		if (client.n_results >= n)
			break;
		n_seen++;
		unsigned before = client.n_results;
		ASSERT_EQ(ended_well(&node), 0);
		ASSERT(UNTIL(loop, client.n_results > before));
		n_results_of[client.result.index]++;
		if (is_acknowledged)
			ASSERT_EQ(done(&client, client.result.task), 0);
	}
}

TEST(each_element_has_its_index_in_words_paths_items_and_result)
{
	begin(1);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(submit_array(10, 5, 3, 1), 0);
	uint64_t first = client.id;
	const char *const commands[] = {" p10-10 A=1", " p15-15 A=1", " p20-20 A=1"};
	const char *const inputs[] = {"/d/10.in file:/data/10", "/d/15.in file:/data/15", "/d/20.in file:/data/20"};
	for (unsigned i = 0; i < 3; i++) {
		ASSERT(UNTIL(loop, node.n_starts == i + 1));
		ASSERT_STR(node.command, commands[i]);
		ASSERT_STR(node.input_texts[0], inputs[i]);
		ASSERT_EQ(node.start.task, first + i);
		ASSERT_EQ(ended_well(&node), 0);
		ASSERT(UNTIL(loop, client.n_results == i + 1));
		ASSERT_EQ(client.result.index, 10 + 5 * i);
		ASSERT_STR(client.out, "many ");
		ASSERT_EQ(done(&client, client.result.task), 0);
	}
	struct driver_numbers n;
	driver_numbers(driver, &n);
	ASSERT_EQ(n.queued + n.running + n.ended, 0);
	// The next task has the next number.
	ASSERT_EQ(SUBMIT(&client, TASK()), 0);
	ASSERT_EQ(client.id, first + 3);
	end();
}

TEST(no_more_of_an_array_run_at_once_than_may_and_who_waits_knows_why)
{
	begin(1);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(submit_array(0, 1, 5, 2), 0);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	settle_all();
	ASSERT_EQ(node.n_starts, 2);
	ASSERT_STR(reason_of(client.id + 4), "as many of its array are running as may at once: 2");
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, node.n_starts == 3));
	end();
}

TEST(a_cancelled_array_gives_a_result_for_each_element)
{
	begin(1);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(submit_array(0, 1, 6000, 0), 0);
	ASSERT(UNTIL(loop, node.n_starts == 4));
	const uint64_t last = client.id + 5999;
	ASSERT_STR(reason_of(last), "others of its array go first");
	ASSERT_EQ(ask(&client, WIRE_ABANDON, &(struct wire_abandon){.run = "sweep", .tasks = {&last, 1}}), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(client.result.index, 5999);
	ASSERT_EQ(client.result.how, STORE_CANCELLED);
	ASSERT_EQ(ask(&client, WIRE_ABANDON, &(struct wire_abandon){.run = "sweep", .selector = "tag:many"}), 0);
	ASSERT(UNTIL(loop, client.n_results == 6000 - 4));
	ASSERT(UNTIL(loop, node.n_stops == 4));
	end();
}

static uint64_t waiting(void)
{
	struct driver_counts n;
	driver_count(driver, 0, &n);
	return n.waiting;
}

static void note_task(void *arg, uint64_t id)
{
	(void)id;
	++*(unsigned *)arg;
}

TEST(of_a_run_that_is_cancelled_elements_end_some_at_a_time_also_after_a_restart_and_what_is_added_later_runs)
{
	static const unsigned many = 20000;
	unsigned n_waiting = 0;
	begin(1);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(submit_array(0, 1, many, 0), 0);
	ASSERT(UNTIL(loop, node.n_starts == 4));
	ASSERT_EQ(set(&client, "sweep", "cancelled", "1"), -EINVAL);
	ASSERT_EQ(ask(&client, WIRE_ABANDON, &(struct wire_abandon){.run = "sweep"}), 0);
	ASSERT(waiting() > many / 3);
	driver_list(driver, 0, DRIVER_WAITING, many, note_task, &n_waiting);
	ASSERT_EQ(n_waiting, 0);
	end();
	begin(3);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(node.n_starts, 0);
	ASSERT(UNTIL(loop, !waiting()));
	ASSERT_EQ(node.n_starts, 0);
	ASSERT_EQ(submit_array(0, 1, 3, 0), 0);
	ASSERT(UNTIL(loop, node.n_starts == 3));
	end();
}

static void note_first(void *arg, uint64_t id)
{
	uint64_t *first = arg;
	*first = *first ? *first : id;
}

TEST(of_what_waits_arrays_are_listed_first_since_all_that_run_may_be_before_a_single_task)
{
	uint64_t first = 0;
	begin(1);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	for (unsigned i = 0; i < 6; i++)
		ASSERT_EQ(SUBMIT(&client, TASK()), 0);
	ASSERT_EQ(submit_array(0, 1, 5000, 0), 0);
	ASSERT(UNTIL(loop, node.n_starts == 4));
	driver_list(driver, 0, DRIVER_WAITING, 10, note_first, &first);
	ASSERT(first >= client.id && first < client.id + 5000);
	end();
}

TEST(an_array_goes_on_after_a_restart_where_it_was)
{
	enum { N = 40 };
	memset(n_results_of, 0, sizeof n_results_of);
	begin(1);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(submit_array(0, 1, N, 1), 0);
	run_until(7, true);
	run_until(9, false);
	end();
	begin(3);
	ASSERT_EQ(attach_later(&client, "sweep"), 0);
	// Two that were not acknowledged, and all that are to come.
	ASSERT_EQ(client.pending, N - 7);
	ASSERT(UNTIL(loop, client.n_results >= 2));
	run_until(N - 7, false);
	for (unsigned i = 0; i < N; i++)
		ASSERT(n_results_of[i] == 1 || i == 7 || i == 8);
	settle_all();
	ASSERT_EQ(client.n_results, N - 7);
	end();
}

TEST(what_an_array_cannot_do_is_refused)
{
	begin(1);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.array_n = 2, BINDINGS(OUT("temp:a")))), -EOPNOTSUPP);
	ASSERT_EQ(SUBMIT(&client, TASK(.array_n = 2, BINDINGS(IN("temp:{index}")))), -EOPNOTSUPP);
	ASSERT_EQ(SUBMIT(&client, TASK(.array_n = UINT64_MAX)), -E2BIG);
	ASSERT_EQ(SUBMIT(&client, TASK(.array_n = 3, .array_step = UINT64_MAX / 2, .array_first = 2)), -ERANGE);
	end();
}
