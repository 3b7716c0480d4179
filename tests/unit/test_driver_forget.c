// SPDX-License-Identifier: Apache-2.0
// What is forgotten, and what never: items that unfinished tasks name, also over a restart. On a node without data.
#include "tests/unit/driver_world.h"
#include "vined/store_read.h"

#include <signal.h>
#include <sys/resource.h>

static struct peer node, client;

static void join_large(void)
{
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(ask(&node, WIRE_JOIN,
		      &(struct wire_join){.node = "aa-1", .tier = "views", .cores = 8, .task_limit = 8}),
		  0);
}

static void begin(void)
{
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
}

static void end(void)
{
	if (node.conn)
		drop(&node);
	drop(&client);
	stop_vined();
}

static void begin_again(void)
{
	end();
	start_vined();
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
}

static int forget(const char *name)
{
	return ask(&client, WIRE_FORGET, &(struct wire_forget){.run = "sweep", .items = {&name, 1}});
}

static bool find_item(const char *name, struct driver_item *item)
{
	for (size_t i = 0; driver_next_item(driver, &i, item);)
		if (streq(item->name, name))
			return true;
	return false;
}

static const char *state_of(const char *name)
{
	struct driver_item item;
	return find_item(name, &item) ? item.state : "unknown";
}

static void run_next(unsigned n)
{
	ASSERT(UNTIL(loop, node.n_starts == n));
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, client.n_results == n));
}

TEST(with_lifetime_task_an_output_is_there_for_a_reader_that_is_still_to_run_also_after_a_restart)
{
	begin();
	ASSERT_EQ(set(&client, "sweep", "lifetime", "task"), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a"))), TASK(.cores = 8, BINDINGS(IN("temp:a")))), 0);
	uint64_t reader = client.ids[1];
	run_next(1);
	settle_all();
	ASSERT_STR(state_of("temp:a"), "there");
	begin_again();
	join_large();
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(node.start.task, reader);
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, client.result.task == reader));
	ASSERT_EQ(client.result.how, 1);
	// Now it has been read by all.
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("temp:a")))), -ENOENT);
	end();
}

TEST(what_a_refused_submit_was_to_read_was_not_read)
{
	begin();
	ASSERT_EQ(set(&client, "sweep", "lifetime", "task"), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a")))), 0);
	run_next(1);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("temp:a"))), TASK(BINDINGS(IN("temp:nobody")))), -ENOENT);
	settle_all();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("temp:a")))), 0);
	run_next(2);
	end();
}

TEST(what_a_task_that_is_not_over_makes_or_reads_is_not_forgotten)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a"))), TASK(BINDINGS(IN("temp:a")))), 0);
	ASSERT_EQ(forget("temp:a"), -EBUSY);
	ASSERT(strstr(client.reason, "item 'temp:a': tasks that are not over make or read it (2)"));
	run_next(1);
	ASSERT_EQ(forget("temp:a"), -EBUSY);
	begin_again();
	ASSERT_EQ(forget("temp:a"), -EBUSY);
	join_large();
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, client.result.task == 2));
	ASSERT_EQ(forget("temp:a"), 0);
	ASSERT_EQ(forget("temp:a"), -ENOENT);
	end();
}

static bool is_submitted;

static void on_submitted(struct call *c, int error, uint16_t type, const void *message)
{
	(void)c, (void)message;
	is_submitted = !error && type == WIRE_SUBMITTED;
}

TEST(what_a_submit_on_its_way_to_the_disk_reads_is_not_forgotten)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a")))), 0);
	run_next(1);
	const struct wire_task reader = TASK(BINDINGS(IN("temp:a")));
	struct call c = {.on_reply = on_submitted};
	is_submitted = false;
	ASSERT_EQ(call_start(&c, client.conn, WIRE_SUBMIT, &(struct wire_submit){.run = "sweep", .tasks = {&reader, 1}},
			     0),
		  0);
	ASSERT_EQ(forget("temp:a"), -EBUSY);
	ASSERT(UNTIL(loop, is_submitted));
	run_next(2);
	ASSERT_EQ(forget("temp:a"), 0);
	end();
}

/* As if it had been forgotten though tasks name it. */
static void forget_in_database(const char *name)
{
	struct driver_item item;
	ASSERT(find_item(name, &item));
	store_put(store, &(struct store_op){.kind = STORE_ITEM,
					    .is_kept = true,
					    .item = {.id = item.id,
						     .run = 1,
						     .name = store_text(store, name),
						     .signature = "",
						     .producer = item.producer,
						     .is_forgotten = true}});
	settle_all();
}

TEST(a_task_of_the_database_that_cannot_run_ends_and_says_why)
{
	begin();
	drop(&node);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a"))), TASK(BINDINGS(IN("temp:a"), OUT("temp:b"))),
			 TASK(BINDINGS(IN("temp:b")))),
		  0);
	forget_in_database("temp:a");
	begin_again();
	ASSERT(UNTIL(loop, client.n_results == 3));
	ASSERT_EQ(client.result.how, 3);
	ASSERT_EQ(client.result.status, ENOENT);
	ASSERT_EQ(client.result.task, 3);
	ASSERT(strstr(client.why, "its input temp:b, which task 2 makes, will never be there"));
	struct store_result e;
	struct store_task row;
	ASSERT_EQ(store_read_result(store, 2, &e, &row), 0);
	ASSERT_STR(e.reason, "item 'temp:a', which it names, was forgotten: submit it again");
	end();
}

TEST(a_key_posted_again_with_another_output_leaves_nothing_behind)
{
	begin();
	drop(&node);
	ASSERT_EQ(SUBMIT(&client, TASK(.key = "k", BINDINGS(OUT("temp:a")))), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.key = "k", BINDINGS(OUT("temp:b")))), 0);
	ASSERT_EQ(client.id, 1);
	begin_again();
	ASSERT_STR(state_of("temp:b"), "unknown");
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("temp:b")))), -ENOENT);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:b"))), TASK(BINDINGS(IN("temp:b")))), 0);
	begin_again();
	join_large();
	ASSERT(UNTIL(loop, node.n_starts == 2));
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, node.n_starts == 3));
	ASSERT_STR(node.input_texts[0], "/in/temp:b ");
	end();
}

TEST(what_needs_an_output_that_a_known_key_was_posted_with_ends_and_says_so)
{
	begin();
	drop(&node);
	ASSERT_EQ(SUBMIT(&client, TASK(.key = "k", BINDINGS(OUT("temp:a")))), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("temp:b"), OUT("temp:c"))), TASK(BINDINGS(IN("temp:c"))),
			 TASK(.key = "k", BINDINGS(OUT("temp:b")))),
		  0);
	ASSERT_EQ(client.ids[2], 1);
	ASSERT(UNTIL(loop, client.n_results == 2));
	ASSERT_EQ(client.result.how, 3);
	ASSERT_EQ(client.result.task, client.ids[1]);
	end();
}

TEST(only_what_a_stored_submit_names_has_rows)
{
	struct store_item row;
	struct store_shape shape;
	struct driver_item item;
	begin();
	drop(&node);
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 3, BINDINGS(IN("file:/data/x"))), TASK(BINDINGS(IN("temp:nobody")))),
		  -ENOENT);
	settle_all();
	ASSERT_EQ(store_read_item(store, 1, &row), -ENOENT);
	for (uint64_t id = 1; id <= 3; id++)
		ASSERT_EQ(store_read_shape(store, id, &shape), -ENOENT);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("file:/data/x")))), 0);
	ASSERT(find_item("file:/data/x", &item));
	ASSERT_EQ(store_read_item(store, item.id, &row), 0);
	ASSERT_STR(row.name, "file:/data/x");
	end();
}

TEST(a_path_that_an_arrays_element_named_first_has_a_row_once_a_task_names_it)
{
	begin();
	drop(&node);
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 64, .array_n = 2, BINDINGS(IN("file:/data/{index}")))), 0);
	settle_all();
	ASSERT_STR(state_of("file:/data/1"), "there");
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("file:/data/1")))), 0);
	begin_again();
	join_large();
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_STR(node.input_texts[0], "/in/file:/data/1 file:/data/1");
	end();
}

TEST(the_longest_path_is_an_input_after_a_restart_too)
{
	char name[5 + 4095 + 2];
	memset(name, 'x', sizeof name);
	memcpy(name, "file:/", 6);
	const struct wire_binding in = {.path = "/d", .item = name, .mode = 1};
	begin();
	drop(&node);
	name[sizeof name - 1] = 0;
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(in))), -EINVAL);
	ASSERT(strstr(client.reason, "its path is too long"));
	name[sizeof name - 2] = 0;
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(in))), 0);
	ASSERT_STR(state_of(name), "there");
	begin_again();
	ASSERT_STR(state_of(name), "there");
	join_large();
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(node.n_inputs, 1);
	ASSERT_EQ(strlen(node.input_texts[0]), sizeof node.input_texts[0] - 1);
	end();
}

static void limit_files(rlim_t size)
{
	struct rlimit l;
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &l);
	l.rlim_cur = size;
	setrlimit(RLIMIT_FSIZE, &l);
}

TEST(of_a_submit_that_was_not_stored_nothing_is_stored_later)
{
	begin();
	drop(&node);
	settle_all();
	limit_files(1);
	int error = SUBMIT(&client, TASK(BINDINGS(OUT("temp:a"))));
	limit_files(RLIM_INFINITY);
	ASSERT(error < 0);
	ends_skipped_usec += 1000001; /* what is kept is tried again */
	ASSERT(UNTIL(loop, store_backlog(store) == 0));
	begin_again();
	ASSERT_STR(state_of("temp:a"), "unknown");
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a")))), 0);
	end();
}

static struct peer other;

/* Attaches without results, as a client does in order to forget. */
static int forget_all(void)
{
	connect_peer(&other, TLS_ROLE_CLIENT, "c", 3);
	int r = ask(&other, WIRE_ATTACH, &(struct wire_attach){.run = "sweep", .must_exist = true});
	if (!r)
		r = ask(&other, WIRE_FORGET, &(struct wire_forget){.run = "sweep"});
	drop(&other);
	return r;
}

TEST(a_run_that_lives_for_ever_is_forgotten_with_the_results_that_nobody_came_for)
{
	begin();
	ASSERT_EQ(set(&client, "sweep", "lifetime", "forever"), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.key = "a", .cores = 4), TASK(.key = "b", .cores = 4)), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(forget_all(), -EBUSY);
	ASSERT(strstr(other.reason, "run sweep is not over: 2 tasks are to run; vine wait sweep"));
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, client.n_results == 2));
	/* Somebody is there who takes them. */
	ASSERT_EQ(forget_all(), -EBUSY);
	ASSERT(strstr(other.reason, "2 results are to be acknowledged"));
	drop(&client);
	ends_skipped_usec += 3000001; /* it may have come back */
	ASSERT_EQ(forget_all(), 0);
	ASSERT_EQ(forget_all(), -ENOENT);
	/* Its name and keys are free, and what is submitted under them gets its result. */
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(client.pending, 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.key = "a")), 0);
	ASSERT(UNTIL(loop, node.n_starts == 3));
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	end();
}

TEST(results_that_wait_over_a_restart_for_somebody_are_dropped_with_their_run_too)
{
	begin();
	ASSERT_EQ(set(&client, "sweep", "lifetime", "forever"), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.key = "a")), 0);
	run_next(1);
	end();
	start_vined();
	ASSERT_EQ(forget_all(), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(client.pending, 0);
	drop(&client);
	stop_vined();
	start_vined();
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(client.pending, 0);
	drop(&client);
	stop_vined();
}

TEST(results_of_a_run_whose_client_may_come_back_are_not_dropped_by_who_forgets_it)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK()), 0);
	run_next(1);
	drop(&client);
	ASSERT_EQ(forget_all(), -EBUSY);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	end();
}
