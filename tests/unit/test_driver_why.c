// SPDX-License-Identifier: Apache-2.0
// The rows that `vine why` asks for: of a task why it waits and what to do, what it asked for and used; of a path who declares it and who has it.
#include "tests/unit/driver_world.h"
#include "vined/command_rows.h"

static struct peer node, client;

static void begin(void)
{
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join_with_data(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
}

static void end(void)
{
	drop(&node);
	drop(&client);
	stop_vined();
}

static const char *const why_names[] = {WHY_COLUMNS}, *const path_names[] = {PATH_COLUMNS};
static char answer[64][300];
static uint32_t n_rows;

static int ask_rows(int (*list)(struct rows *, const char *), const char *selector, size_t n_columns)
{
	struct command m = {.driver = driver};
	struct rows t = {.command = &m, .most = 3};
	int r = list(&t, selector);
	const char *at = (const char *)t.cells.at;
	n_rows = t.n_rows;
	ASSERT_EQ(t.n_cells, r ? 0 : t.n_rows * n_columns);
	for (uint32_t i = 0; i < t.n_cells && i < countof(answer); i++, at += strlen(at) + 1)
		snprintf(answer[i], sizeof answer[i], "%s", at);
	buf_fini(&t.cells);
	return r;
}

static const char *of(const char *const names[], size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (streq(names[i], name))
			return answer[i];
	return NULL;
}

#define WHY(selector) ask_rows(rows_list_why, (selector), countof(why_names))
#define WHY_OF(name) of(why_names, countof(why_names), (name))
#define PATH(selector) ask_rows(rows_list_path, (selector), countof(path_names))
#define PATH_OF(name) of(path_names, countof(path_names), (name))

TEST(who_waits_for_more_than_any_node_has_is_told_what_to_ask_for)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 5), TASK(.cores = 1, .memory = UINT64_C(1) << 50)), 0);
	settle_all();
	ASSERT_EQ(WHY("1"), 0);
	ASSERT_STR(WHY_OF("state"), "queued");
	ASSERT_STR(WHY_OF("program"), "prog");
	ASSERT_STR(WHY_OF("cores"), "5");
	ASSERT(strstr(WHY_OF("reason"), "it needs 5 cores, the largest has 4"));
	ASSERT_STR(WHY_OF("cure"), "vine cancel 1, and submit it with -c 4; or start a larger node");
	ASSERT_EQ(WHY("2"), 0);
	ASSERT(strstr(WHY_OF("cure"), "vine cancel 2, and submit it with --mem "));
	ASSERT_STR(WHY_OF("run_waiting"), "2");
	end();
}

TEST(who_waits_for_an_input_that_a_task_makes_is_told_to_look_at_that_one)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 4, BINDINGS(OUT("temp:a"))), TASK(BINDINGS(IN("temp:a")))), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(WHY("2"), 0);
	ASSERT_STR(WHY_OF("made_by"), "1");
	ASSERT_STR(WHY_OF("cure"), "vine why 1");
	drop(&node);
	connect_peer(&node, TLS_ROLE_NODE, "w1", 2);
	end();
}

TEST(what_is_over_is_explained_from_the_disk)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 4, .wall_usec = 7000000)), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(ask(&node, WIRE_ENDED,
		      &(struct wire_ended){.attempt = node.start.attempt,
					   .task = 1,
					   .how = 1,
					   .peak_memory = 11,
					   .local_size = 12,
					   .moved_size = 13,
					   .peer_size = 9,
					   .source_size = 3,
					   .client_size = 1}),
		  0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(ask(&client, WIRE_DONE, &(struct wire_done){.tasks = {(const uint64_t[]){1}, 1}}), 0);
	settle_all();
	ASSERT_EQ(WHY("1"), 0);
	ASSERT_STR(WHY_OF("state"), "delivered");
	ASSERT_STR(WHY_OF("limit_usec"), "7000000");
	ASSERT_STR(WHY_OF("peak_memory"), "11");
	ASSERT_STR(WHY_OF("local_size"), "12");
	ASSERT_STR(WHY_OF("moved_size"), "13");
	ASSERT_STR(WHY_OF("peer_size"), "9");
	ASSERT_STR(WHY_OF("source_size"), "3");
	ASSERT_STR(WHY_OF("client_size"), "1");
	ASSERT_STR(WHY_OF("median_usec"), "0");
	ASSERT_STR(WHY_OF("cure"), "");
	ASSERT_EQ(WHY("2"), -ENOENT);
	ASSERT_EQ(WHY("x"), -EINVAL);
	ASSERT_EQ(WHY("99999999999999999999"), -EINVAL);
	end();
}

TEST(how_long_those_beside_it_took_is_told_when_enough_are_over)
{
	begin();
	for (unsigned i = 1; i <= 6; i++) {
		ASSERT_EQ(SUBMIT(&client, TASK(.cores = 4)), 0);
		ASSERT(UNTIL(loop, node.n_starts == i));
		ASSERT_EQ(ask(&node, WIRE_ENDED,
			      &(struct wire_ended){.attempt = node.start.attempt,
						   .task = node.start.task,
						   .how = 1,
						   .wall_usec = i * 1000}),
			  0);
		ASSERT(UNTIL(loop, client.n_results == i));
	}
	settle_all();
	ASSERT_EQ(WHY("6"), 0);
	ASSERT_STR(WHY_OF("median_usec"), "3000");
	end();
}

TEST(of_a_path_it_is_told_who_declares_it_or_a_directory_above)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 64, BINDINGS(IN("file:/data/set"))),
			 TASK(.cores = 64, BINDINGS(IN("file:/data/set"))),
			 TASK(.cores = 64, BINDINGS(IN("file:/data/settings")))),
		  0);
	ASSERT_EQ(PATH("/data/set/x/y"), 0);
	ASSERT_EQ(n_rows, 1);
	ASSERT_STR(PATH_OF("item"), "file:/data/set");
	ASSERT_STR(PATH_OF("tasks"), "2");
	ASSERT_STR(PATH_OF("nodes"), "0");
	ASSERT_EQ(PATH("/data/settings"), 0);
	ASSERT_EQ(n_rows, 1);
	ASSERT_STR(PATH_OF("item"), "file:/data/settings");
	ASSERT_EQ(PATH("/data"), 0);
	ASSERT_EQ(n_rows, 0);
	ASSERT_EQ(PATH("data"), -EINVAL);
	end();
}

// ---- how many

TEST(tasks_of_a_state_are_counted_however_many_there_are)
{
	static const char *const names[] = {COUNT_COLUMNS};
	begin();
	for (int i = 0; i < 6; i++)
		ASSERT_EQ(SUBMIT(&client, TASK(.cores = 1000)), 0);
	ASSERT_EQ(ask_rows(rows_list_counts, "sweep@waiting", countof(names)), 0);
	ASSERT_STR(answer[1], "6");
	ASSERT_EQ(ask_rows(rows_list_counts, "sweep@failed", countof(names)), 0);
	ASSERT_STR(answer[5], "0");
	ASSERT_EQ(ask(&client, WIRE_ABANDON, &(struct wire_abandon){.run = "sweep"}), 0);
	ASSERT(UNTIL(loop, client.n_results == 6));
	ASSERT_EQ(ask_rows(rows_list_counts, "sweep@cancelled", countof(names)), 0);
	ASSERT_STR(answer[1], "0");
	ASSERT_STR(answer[6], "6");
	ASSERT_STR(answer[7], "125");
	end();
}
