// SPDX-License-Identifier: Apache-2.0
// What nodes say of what came to them: rows while it does, sums by origin, and an event at each end.
#include "tests/unit/driver_pair.h"

#include "vined/command_rows.h"
#include "vined/driver_flow.h"
#include "vined/driver_internal.h"

#define MB UINT64_C(1000000)

static const struct digest some_tree = {.algorithm = 1, .byte = {1}}, other_tree = {.algorithm = 1, .byte = {2}};

#define FLOW(...)                                                            \
	conn_send(node.conn, WIRE_FLOWS,                                     \
		  &(struct wire_flows){                                      \
			  .flows = {(const struct wire_flow[]){__VA_ARGS__}, \
				    sizeof((const struct wire_flow[]){__VA_ARGS__}) / sizeof(struct wire_flow)}})

// Rows, cells with blanks between, a line each.
static char said[2000];

static size_t rows_of(int (*list)(struct rows *, const char *), const char *selector, size_t n_columns)
{
	struct command m = {.driver = driver};
	struct rows t = {.command = &m, .most = 100};
	ASSERT_EQ(list(&t, selector), 0);
	size_t n = 0;
	*said = 0;
	const char *at = (const char *)t.cells.at;
	for (uint32_t i = 0; i < t.n_cells; i++, at += strlen(at) + 1)
		n += (size_t)snprintf(said + n, sizeof said - n, "%s%s", at, (i + 1) % n_columns ? " " : "\n");
	ASSERT_EQ(t.n_cells, t.n_rows * n_columns);
	buf_fini(&t.cells);
	return t.n_rows;
}
#define TRANSFERS() rows_of(rows_list_transfers, "", 9)

static bool has_moved(uint64_t peers, uint64_t sources, uint64_t sent)
{
	struct driver_moved m;
	driver_get_moved(driver, &m);
	return m.size[FLOW_NODE] == peers && m.size[FLOW_SOURCE] == sources && m.size[FLOW_CLIENT] == sent;
}

static size_t n_transfers(void)
{
	struct driver_moved m;
	driver_get_moved(driver, &m);
	return m.n_transfers;
}

// Ages are told to a tenth of a second: what passes is the test's doing alone.
static void begin_still(void)
{
	ends_stand_still();
	begin();
}

// Events of this kind: how many, and the last one's text.
static char event_text[500];

struct found {
	const char *what;
	int n;
};

static void note_event(void *arg, const struct store_past_row *r)
{
	struct found *f = arg;
	if (!streq(r->what, f->what))
		return;
	f->n++;
	snprintf(event_text, sizeof event_text, "%s", r->text);
}

static int events(const char *what)
{
	struct found found = {.what = what};
	settle_all();
	*event_text = 0;
	ASSERT(store_past_after(store, STORE_PAST_EVENT, 0, 1000, note_event, &found) >= 0);
	return found.n;
}

TEST(what_comes_is_seen_while_it_does_and_has_an_event_at_each_end)
{
	begin_still();
	FLOW({.tree = some_tree, .origin = 1, .from = "n3", .size = 2 * MB, .usec = 1000000, .rest = 6 * MB},
	     {.tree = some_tree, .origin = 1, .from = "n4", .size = 4 * MB, .usec = 1000000});
	ASSERT(UNTIL(loop, has_moved(6 * MB, 0, 0)));
	ASSERT_EQ(TRANSFERS(), 2);
	/* The faster one first; of the tree 6 of 12 MB have come... the rest was said with the first of them. */
	ASSERT(has_prefix(said, "n4 w1 tree:010000000000 "));
	ASSERT(strstr(said, " node 4000000 4000000 2000000 1.0\nn3 w1 "));
	ASSERT_EQ(rows_of(rows_list_transfers, "n3", 9), 1);
	ASSERT_EQ(events("transfer-begun"), 1);
	ASSERT_STR(event_text, "tree:010000000000 to w1 begins, 7.6 MiB, from n3, n4");
	ASSERT_EQ(events("transfer-ended"), 0);
	ends_skipped_usec += 2000000;
	FLOW({.tree = some_tree, .origin = 1, .from = "n3", .size = 2 * MB, .usec = 2000000, .is_over = true},
	     {.tree = some_tree, .origin = 1, .from = "n4", .is_over = true});
	ASSERT(UNTIL(loop, has_moved(8 * MB, 0, 0)));
	ends_skipped_usec += 4000000;
	ASSERT(UNTIL(loop, !n_transfers()));
	ASSERT_EQ(TRANSFERS(), 0);
	ASSERT_EQ(events("transfer-ended"), 1);
	ASSERT(has_prefix(event_text, "tree:010000000000 to w1 ends: 3.8 MiB from n3, 3.8 MiB from n4; in 3."));
	ASSERT_EQ(events("transfer-begun"), 1);
	end();
}

TEST(who_is_silent_for_long_gives_no_more)
{
	begin_still();
	FLOW({.tree = some_tree, .origin = 3, .from = "a client", .size = 2 * MB, .usec = 1000000, .rest = MB});
	ASSERT(UNTIL(loop, has_moved(0, 0, 2 * MB)));
	ends_skipped_usec += 4000000;
	loop_turn(loop, 0);
	/* It is there still, with a rate of 0. */
	ASSERT_EQ(TRANSFERS(), 1);
	ASSERT(strstr(said, " client 0 2000000 1000000 5."));
	ends_skipped_usec += 7000000;
	ASSERT(UNTIL(loop, !n_transfers()));
	ASSERT_EQ(events("transfer-ended"), 1);
	end();
}

TEST(what_is_being_sealed_is_its_trees_once_that_is_known)
{
	begin();
	FLOW({.origin = 2, .from = "/data/env", .size = 3 * MB, .usec = 1000000});
	ASSERT(UNTIL(loop, has_moved(0, 3 * MB, 0)));
	ASSERT_EQ(TRANSFERS(), 1);
	ASSERT(has_prefix(said, "/data/env w1 /data/env  source "));
	ASSERT_EQ(rows_of(rows_list_bytes, "", 7), 0);
	FLOW({.tree = other_tree, .origin = 2, .from = "/data/env", .size = MB, .usec = 1000000, .is_over = true});
	ASSERT(UNTIL(loop, has_moved(0, 4 * MB, 0)));
	ASSERT_EQ(rows_of(rows_list_bytes, "", 7), 1);
	ASSERT(strstr(said, " 0 4000000 0\n"));
	ends_skipped_usec += 4000000;
	ASSERT(UNTIL(loop, !n_transfers()));
	ASSERT_EQ(events("transfer-begun"), 1);
	ASSERT_EQ(events("transfer-ended"), 1);
	end();
}

TEST(sources_are_compared_with_what_was_needed_once)
{
	begin();
	conn_send(node.conn, WIRE_REPLICAS,
		  &(struct wire_replicas){.is_all = true,
					  .trees = {(const struct wire_replica[]){{some_tree, 4 * MB, 4 * MB}}, 1}});
	FLOW({.tree = some_tree, .origin = 2, .from = "/data", .size = 5 * MB, .usec = 1000000},
	     {.tree = other_tree, .origin = 1, .from = "n2", .size = 9 * MB, .usec = 1000000});
	ASSERT(UNTIL(loop, has_moved(9 * MB, 5 * MB, 0)));
	ASSERT_EQ(rows_of(rows_list_moved, "", 5), 1);
	ASSERT_STR(said, "9000000 5000000 0 4000000 2\n");
	end();
}

TEST(sums_outlive_vined)
{
	struct driver_moved m;
	begin();
	FLOW({.tree = some_tree, .origin = 2, .from = "/data", .size = 5 * MB, .usec = 1000000},
	     {.tree = other_tree, .origin = 1, .from = "n2", .size = 9 * MB, .usec = 1000000});
	conn_send(node.conn, WIRE_REPLICAS,
		  &(struct wire_replicas){.is_all = true,
					  .trees = {(const struct wire_replica[]){{some_tree, 4 * MB, 4 * MB}}, 1}});
	FLOW({.tree = some_tree, .origin = 2, .from = "/data", .size = MB, .usec = 1000000});
	ASSERT(UNTIL(loop, has_moved(9 * MB, 6 * MB, 0)));
	ends_skipped_usec += 11000000;
	ASSERT(UNTIL(loop, !n_transfers()));
	settle_all();
	end();
	begin();
	ASSERT(has_moved(9 * MB, 6 * MB, 0));
	driver_get_moved(driver, &m);
	ASSERT_EQ(m.needed_size, 4 * MB);
	end();
}

TEST(small_trees_are_told_of_as_one)
{
	begin();
	for (uint8_t i = 0; i < 50; i++)
		FLOW({.tree = {.algorithm = 1, .byte = {9, i}},
		      .origin = 1,
		      .from = "n2",
		      .size = 1000,
		      .usec = 1000,
		      .is_over = true});
	ASSERT(UNTIL(loop, has_moved(50000, 0, 0)));
	ends_skipped_usec += 4000000;
	ASSERT(UNTIL(loop, !n_transfers()));
	ASSERT_EQ(events("transfer-begun") + events("transfer-ended"), 0);
	ASSERT_EQ(events("transfers"), 1);
	ASSERT(has_prefix(event_text, "50 more, most of them small: 48.8 KiB from nodes, 0 B"));
	end();
}

TEST(of_very_many_the_rest_is_summed_and_memory_is_bounded)
{
	begin();
	for (unsigned i = 0; i < 5000; i++) {
		FLOW({.tree = {.algorithm = 1, .byte = {7, (uint8_t)(i >> 8), (uint8_t)i}},
		      .origin = 1,
		      .from = "n2",
		      .size = 2 * MB,
		      .usec = 1000});
		if (i % 100 == 0)
			loop_turn(loop, 0);
	}
	ASSERT(UNTIL(loop, has_moved(10000 * MB, 0, 0)));
	ASSERT_EQ(n_transfers(), 4096);
	ends_skipped_usec += 11000000;
	ASSERT(UNTIL(loop, !n_transfers()));
	ASSERT_EQ(events("transfer-begun"), 100);
	ASSERT_EQ(events("transfer-ended"), 100);
	ASSERT_EQ(events("transfers"), 1);
	end();
}

TEST(what_no_node_should_say_changes_nothing)
{
	begin();
	FLOW({.tree = some_tree, .origin = 0, .from = "x", .size = 1}, {.tree = some_tree, .origin = 4, .from = "x"},
	     {.origin = 2, .from = "", .size = 7}, {.tree = some_tree, .origin = 1, .from = "x", .size = UINT64_MAX});
	ASSERT(UNTIL(loop, has_moved(UINT64_C(1) << 50, 0, 0)));
	ASSERT_EQ(TRANSFERS(), 1);
	end();
}
