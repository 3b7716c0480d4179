// SPDX-License-Identifier: Apache-2.0
// Items: what is refused, what waits for what, and what comes of a failure. On a node without data.
#include "tests/unit/driver_pair.h"
#include "vined/store_internal.h"

#include <sqlite3.h>

TEST(a_task_starts_once_its_input_is_made)
{
	begin();
	// The consumer comes first, and its maker later in the same submit.
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("temp:a"))), TASK(BINDINGS(OUT("temp:a")))), 0);
	uint64_t consumer = client.ids[0], maker = client.ids[1];
	ASSERT(UNTIL(loop, node.n_starts == 1));
	settle_all();
	ASSERT_EQ(node.n_starts, 1);
	ASSERT_EQ(node.start.task, maker);
	ASSERT_STR(node.input_texts[0], "/out/temp:a ");
	ASSERT_EQ(node.inputs[0].mode, 3);
	ASSERT(strstr(reason_of(consumer), "waits for input temp:a, which task 2 makes"));
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	ASSERT_EQ(node.start.task, consumer);
	ASSERT_STR(node.input_texts[0], "/in/temp:a ");
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, client.n_results == 2));
	// Its maker is over and acknowledged: it can be named all the same.
	ASSERT_EQ(done(&client, maker), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("temp:a")))), 0);
	ASSERT(UNTIL(loop, node.n_starts == 3));
	end();
}

TEST(a_shared_path_is_an_input_at_once_and_one_with_its_signature)
{
	begin();
	struct wire_binding in = {.path = "/d", .item = "file:/data/x", .mode = 1, .signature = "1:2:3", .size = 100};
	struct wire_binding other = in;
	other.signature = "1:2:4";
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(in))), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_STR(node.input_texts[0], "/d file:/data/x");
	ASSERT_EQ(node.inputs[0].size, 100);
	uint64_t item = node.inputs[0].item;
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(in))), 0);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	ASSERT_EQ(node.inputs[0].item, item);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(other))), 0);
	ASSERT(UNTIL(loop, node.n_starts == 3));
	ASSERT(node.inputs[0].item != item);
	end();
}

TEST(what_cannot_be_is_refused_with_its_place_and_nothing_is_left_of_it)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:made")))), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	const struct {
		struct wire_task task;
		int error;
		const char *says;
	} cases[] = {
		{TASK(BINDINGS(IN("temp:nobody"))), -ENOENT, "item 'temp:nobody': no task of the run makes it"},
		{TASK(BINDINGS(OUT("temp:made"))), -EEXIST, "item 'temp:made': task 1 makes it already"},
		{TASK(BINDINGS(OUT("temp:good"))), -EEXIST, "item 'temp:good': task "},
		{TASK(BINDINGS(IN("temp:self"), OUT("temp:self2"), OUT("temp:self"))), -ELOOP, "what it makes itself"},
		{TASK(BINDINGS(OUT("node:/data/x"))), -EINVAL, "an output is a temp:NAME"},
		{TASK(BINDINGS(IN("file:data"))), -EINVAL, "item 'file:data': its path is not absolute"},
		{TASK(BINDINGS(IN("file:/a/../b"))), -EINVAL, "'..'"},
		{TASK(BINDINGS(IN("file:/a\nb"))), -EINVAL, "control character"},
		{TASK(BINDINGS(IN("tree:123"))), -EINVAL, "64 hex digits"},
		{TASK(BINDINGS(IN("what"))), -EINVAL, "temp:NAME"},
	};
	for (size_t i = 0; i < countof(cases); i++) {
		ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:good"))), cases[i].task), cases[i].error);
		ASSERT(strstr(client.reason, cases[i].says));
		ASSERT(strstr(client.reason, "task 2 of 2: "));
	}
	struct driver_numbers n;
	struct driver_item item;
	size_t n_items = 0;
	settle_all();
	driver_numbers(driver, &n);
	ASSERT_EQ(n.queued + n.running, 1);
	for (size_t i = 0; driver_next_item(driver, &i, &item);)
		n_items++;
	ASSERT_EQ(n_items, 1);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:good")))), 0);
	end();
}

TEST(a_cycle_of_many_within_one_submit_is_refused)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("temp:c"), OUT("temp:a"))),
			 TASK(BINDINGS(IN("temp:a"), OUT("temp:b"))), TASK(BINDINGS(IN("temp:b"), OUT("temp:c"))),
			 TASK()),
		  -ELOOP);
	ASSERT(strstr(client.reason, "of 4"));
	// A diamond is none.
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("temp:b"), IN("temp:c"))),
			 TASK(BINDINGS(IN("temp:a"), OUT("temp:b"))), TASK(BINDINGS(IN("temp:a"), OUT("temp:c"))),
			 TASK(BINDINGS(OUT("temp:a")))),
		  0);
	for (unsigned i = 1; i <= 4; i++) {
		ASSERT(UNTIL(loop, client.n_results == i - 1 && node.n_starts >= i));
		ASSERT_EQ(ask(&node, WIRE_ENDED,
			      &(struct wire_ended){.attempt = node.start.attempt, .task = node.start.task, .how = 1}),
			  0);
		if (i == 2) { // both in the middle were started at once
			ASSERT_EQ(node.n_starts, 3);
			uint64_t first = node.started[1];
			ASSERT_EQ(ask(&node, WIRE_ENDED,
				      &(struct wire_ended){.attempt = node.start.attempt - 1, .task = first, .how = 1}),
				  0);
			i++;
		}
		ASSERT(UNTIL(loop, client.n_results == i));
	}
	ASSERT_EQ(node.started[3], client.ids[0]);
	end();
}

TEST(the_same_key_with_the_same_output_is_the_same_task)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.key = "k", BINDINGS(OUT("temp:a")))), 0);
	uint64_t id = client.id;
	ASSERT_EQ(SUBMIT(&client, TASK(.key = "k", BINDINGS(OUT("temp:a"))), TASK(BINDINGS(IN("temp:a")))), 0);
	ASSERT_EQ(client.ids[0], id);
	ASSERT(client.ids[1] != id);
	ASSERT_EQ(SUBMIT(&client, TASK(.key = "other", BINDINGS(OUT("temp:a")))), -EEXIST);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	end();
	begin();
	// And after a restart.
	ASSERT_EQ(SUBMIT(&client, TASK(.key = "k", BINDINGS(OUT("temp:a")))), 0);
	ASSERT_EQ(client.id, id);
	end();
}

TEST(what_needs_the_output_of_a_task_that_failed_fails_and_says_so)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a"))), TASK(BINDINGS(IN("temp:a"), OUT("temp:b"))),
			 TASK(BINDINGS(IN("temp:b")))),
		  0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(ended_with(&node, 1, 3, NULL, 0), 0);
	ASSERT(UNTIL(loop, client.n_results == 3));
	ASSERT_EQ(client.result.task, client.ids[2]);
	ASSERT_EQ(client.result.how, 3);
	ASSERT_EQ(client.result.status, ENOENT);
	ASSERT_STR(client.why, "its input temp:b, which task 2 makes, will never be there");
	ASSERT_EQ(node.n_starts, 1);
	end();
}

TEST(a_forgotten_output_cannot_be_named_and_its_name_is_free_again)
{
	begin();
	const char *names[] = {"temp:a"}, *wrong[] = {"temp:a", "temp:x"};
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a")))), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(ask(&client, WIRE_FORGET, &(struct wire_forget){.run = "sweep", .items = {wrong, 2}}), -ENOENT);
	ASSERT(strstr(client.reason, "temp:x"));
	ASSERT_EQ(ask(&client, WIRE_FORGET, &(struct wire_forget){.run = "sweep"}), -EBUSY);
	ASSERT_EQ(ask(&client, WIRE_FORGET, &(struct wire_forget){.run = "sweep", .items = {names, 1}}), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("temp:a")))), -ENOENT);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a")))), 0);
	end();
}

TEST(with_lifetime_task_an_output_goes_with_its_last_reader)
{
	begin();
	ASSERT_EQ(set(&client, "sweep", "lifetime", "task"), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a"))), TASK(BINDINGS(IN("temp:a")))), 0);
	for (unsigned i = 1; i <= 2; i++) {
		ASSERT(UNTIL(loop, node.n_starts == i));
		ASSERT_EQ(ended_well(&node), 0);
		ASSERT(UNTIL(loop, client.n_results == i));
	}
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("temp:a")))), -ENOENT);
	end();
}

TEST(a_submit_that_is_recorded_is_answered_again_though_its_input_was_forgotten)
{
	begin();
	const char *names[] = {"temp:a"};
	// One after the other: each takes all of the node.
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 4, BINDINGS(OUT("temp:a")))), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.key = "x", .cores = 4, BINDINGS(IN("temp:a"))), TASK(.key = "y", .cores = 4)),
		  0);
	uint64_t ids[] = {client.ids[0], client.ids[1]};
	for (unsigned i = 1; i <= 3; i++) {
		ASSERT(UNTIL(loop, node.n_starts >= i));
		ASSERT_EQ(ended_well(&node), 0);
		ASSERT(UNTIL(loop, client.n_results == i));
	}
	ASSERT_EQ(ask(&client, WIRE_FORGET, &(struct wire_forget){.run = "sweep", .items = {names, 1}}), 0);
	memset(client.ids, 0, sizeof client.ids);
	ASSERT_EQ(SUBMIT(&client, TASK(.key = "x", BINDINGS(IN("temp:a"))), TASK(.key = "y")), 0);
	ASSERT_EQ(client.ids[0], ids[0]);
	ASSERT_EQ(client.ids[1], ids[1]);
	// One of them alone is the same task, too; with one that is new it is refused.
	ASSERT_EQ(SUBMIT(&client, TASK(.key = "x", BINDINGS(IN("temp:a"))), TASK(.key = "z")), -ENOENT);
	end();
}

/* As vined writes it; of what it finds the first number. */
static int query(const char *sql)
{
	_free_ char *path = unit_path("vined.db");
	sqlite3 *db;
	sqlite3_stmt *q;
	int value = -1;
	ASSERT_EQ(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, store_vfs()), SQLITE_OK);
	ASSERT_EQ(sqlite3_prepare_v2(db, sql, -1, &q, NULL), SQLITE_OK);
	if (sqlite3_step(q) == SQLITE_ROW)
		value = sqlite3_column_int(q, 0);
	sqlite3_finalize(q);
	sqlite3_close(db);
	return value;
}

static void make_one_output(const char *lifetime)
{
	begin();
	ASSERT_EQ(set(&client, "sweep", "lifetime", lifetime), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a")))), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(done(&client, client.id), 0);
	end();
}

TEST(what_a_run_made_that_was_over_before_a_restart_is_forgotten_for_good_unless_it_is_to_stay)
{
	make_one_output("forever");
	query("DELETE FROM settings");
	start_vined();
	settle_all();
	stop_vined();
	ASSERT_EQ(query("SELECT forgotten FROM items WHERE name = 'temp:a'"), 1);
}

TEST(what_is_to_stay_is_named_after_a_restart_too_until_it_is_forgotten)
{
	const char *names[] = {"temp:a"};
	struct driver_item item;
	size_t i = 0;
	make_one_output("forever");
	start_vined();
	settle_all();
	ASSERT(driver_next_item(driver, &i, &item));
	ASSERT_STR(item.name, "temp:a");
	stop_vined();
	// Whoever comes back to the run finds it, makes more, and may forget it.
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("temp:a")))), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(done(&client, client.id), 0);
	ASSERT_EQ(ask(&client, WIRE_FORGET, &(struct wire_forget){.run = "sweep", .items = {names, 1}}), 0);
	end();
	start_vined();
	settle_all();
	i = 0;
	ASSERT(!driver_next_item(driver, &i, &item));
	ASSERT_EQ(driver_find_run(driver, "sweep", &i, &i) != 0, true);
	stop_vined();
}

TEST(what_a_task_made_that_is_in_the_archive_is_forgotten_for_good)
{
	make_one_output("run");
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 9)), 0);
	end();
	query("DELETE FROM submits WHERE first = 1");
	query("DELETE FROM tasks WHERE id = 1");
	query("DELETE FROM results WHERE task = 1");
	query("DELETE FROM attempts WHERE task = 1");
	query("DELETE FROM bindings WHERE id < 131072");
	query("UPDATE items SET forgotten = 0");
	start_vined();
	settle_all();
	struct driver_item item;
	size_t i = 0;
	ASSERT(!driver_next_item(driver, &i, &item));
	stop_vined();
	ASSERT_EQ(query("SELECT forgotten FROM items WHERE name = 'temp:a'"), 1);
}
