// SPDX-License-Identifier: Apache-2.0
// Trees that people want on nodes: who is told to fetch them, and when again; what is pinned; what a restart knows of it.
#include "tests/unit/driver_world.h"
#include "vined/driver_data.h"

static struct peer one, two, three, client;

#define SIZE 1000
#define SOURCE "file:/data/x"

static int tell_replicas(struct peer *p, const char *tree, uint64_t size)
{
	const struct wire_replica r = {
		.tree = tree ? digest_of(tree) : (struct digest){0}, .size = size, .total = SIZE};
	return conn_send(p->conn, WIRE_REPLICAS, &(struct wire_replicas){.trees = {&r, tree != NULL}, .is_all = true});
}

static void join_node(struct peer *p, const char *name, uint64_t instance, const char *uuid, const char *has)
{
	connect_peer(p, TLS_ROLE_NODE, name, instance);
	ASSERT_EQ(join_with_data(p, uuid, NULL, 0), 0);
	ASSERT_EQ(tell_replicas(p, has, SIZE), 0);
	ASSERT(UNTIL(loop, p->n_holds == 1));
}

static void begin(void)
{
	start_vined();
	join_node(&one, "w1", 1, "aa-1", NULL);
	join_node(&two, "w2", 2, "aa-2", NULL);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 3);
	ASSERT_EQ(attach(&client, "sweep"), 0);
}

static void end(void)
{
	struct peer *all[] = {&one, &two, &three, &client};
	for (size_t i = 0; i < countof(all); i++) {
		if (all[i]->conn)
			drop(all[i]);
		*all[i] = (struct peer){.conn = NULL};
	}
	stop_vined();
}

static int stage(const char *item, const char *node, bool is_pinned, bool is_over)
{
	return ask(&client, WIRE_STAGE,
		   &(struct wire_stage){.run = "",
					.item = item,
					.signature = "1:2:3",
					.nodes = {&node, node != NULL},
					.is_pinned = is_pinned,
					.is_over = is_over});
}

static int tell_fetched(struct peer *p, const char *tree)
{
	return conn_send(p->conn, WIRE_FETCHED,
			 &(struct wire_fetched){.item = p->fetch.item, .tree = digest_of(tree), .size = SIZE});
}

static bool note_state(void *arg, const struct driver_staged *r)
{
	char *text = arg;
	size_t n = strlen(text);
	snprintf(text + n, 256 - n, "%s %s %llu/%llu%s;", r->node, r->state, (unsigned long long)r->size,
		 (unsigned long long)r->total, r->is_pinned ? " pinned" : "");
	return true;
}

static const char *staged(const char *item)
{
	static char text[256];
	*text = 0;
	driver_staged(driver, item, note_state, text);
	return text;
}

TEST(a_tree_comes_to_all_that_are_there_and_to_those_that_join)
{
	begin();
	ASSERT_EQ(stage(SOURCE, "w1", false, false), 0);
	ASSERT(UNTIL(loop, one.n_fetches == 1));
	ASSERT_STR(one.fetch_source, SOURCE " 1:2:3");
	ASSERT(!one.fetch.is_gating);
	ASSERT_EQ(tell_fetched(&one, "x"), 0);
	ASSERT(UNTIL(loop, strstr(staged(SOURCE), "w1 there 1000/1000;")));
	ASSERT_EQ(two.n_fetches, 0);
	ASSERT_EQ(stage(SOURCE, NULL, false, false), 0);
	ASSERT(UNTIL(loop, two.n_fetches == 1));
	ASSERT_STR(two.fetch_peers, "w1 aa-1:1;");
	ASSERT_EQ(tell_fetched(&two, "x"), 0);
	ASSERT(UNTIL(loop, strstr(staged(SOURCE), "w1 there") && strstr(staged(SOURCE), "w2 there")));
	join_node(&three, "w3", 4, "aa-3", NULL);
	ASSERT(UNTIL(loop, three.n_fetches == 1));
	ASSERT_STR(three.fetch_source, " 1:2:3");
	ASSERT(strstr(staged(SOURCE), "w3 coming 0/1000;"));
	end();
}

static bool note_reason(void *arg, const struct driver_staged *r)
{
	snprintf(arg, 256, "%s", r->reason);
	return true;
}

TEST(why_a_node_could_not_take_it_is_told_until_it_has_it)
{
	char reason[256];
	begin();
	ASSERT_EQ(stage(SOURCE, "w1", true, false), 0);
	ASSERT(UNTIL(loop, one.n_fetches == 1));
	ASSERT_EQ(conn_send(one.conn, WIRE_FETCHED,
			    &(struct wire_fetched){
				    .item = one.fetch.item, .error = ENOSPC, .reason = "its cache is full"}),
		  0);
	ASSERT(UNTIL(loop, one.n_fetches == 2));
	ASSERT(strstr(staged(SOURCE), "w1 coming"));
	driver_staged(driver, SOURCE, note_reason, reason);
	ASSERT_STR(reason, "node w1: its cache is full");
	ASSERT_EQ(tell_fetched(&one, "x"), 0);
	ASSERT(UNTIL(loop, strstr(staged(SOURCE), "w1 there")));
	driver_staged(driver, SOURCE, note_reason, reason);
	ASSERT_STR(reason, "");
	end();
}

TEST(what_was_brought_and_is_evicted_stays_away_until_it_is_asked_for_again)
{
	begin();
	ASSERT_EQ(stage(SOURCE, "w1", false, false), 0);
	ASSERT(UNTIL(loop, one.n_fetches == 1));
	ASSERT_EQ(tell_fetched(&one, "x"), 0);
	ASSERT(UNTIL(loop, strstr(staged(SOURCE), "w1 there")));
	ASSERT_EQ(tell_replicas(&one, NULL, 0), 0);
	ASSERT(UNTIL(loop, strstr(staged(SOURCE), "w1 evicted")));
	settle_all();
	ASSERT_EQ(one.n_fetches, 1);
	ASSERT_EQ(two.n_fetches, 0);
	ASSERT_EQ(stage(SOURCE, "w1", false, false), 0);
	ASSERT(UNTIL(loop, one.n_fetches == 2));
	end();
}

TEST(what_is_pinned_is_said_when_it_has_come_and_after_each_join_until_it_is_over)
{
	char expected[32], id[DIGEST_TEXT_SIZE];
	struct digest x = digest_of("x");
	snprintf(expected, sizeof expected, "%.8sp+", digest_text(&x, id));
	begin();
	ASSERT_EQ(stage(SOURCE, "w1", true, false), 0);
	ASSERT(UNTIL(loop, one.n_fetches == 1));
	ASSERT(one.fetch.pin);
	ASSERT_EQ(tell_fetched(&one, "x"), 0);
	ASSERT(UNTIL(loop, one.n_holds == 2));
	ASSERT_STR(one.holds, expected);
	drop(&one);
	join_node(&one, "w1", 5, "aa-1", "x");
	ASSERT_STR(one.holds, expected);
	ASSERT(one.is_all_held);
	ASSERT_EQ(stage(SOURCE, NULL, false, true), 0);
	ASSERT(UNTIL(loop, one.n_holds == 2));
	snprintf(expected, sizeof expected, "%.8sp-", id);
	ASSERT_STR(one.holds, expected);
	ASSERT_STR(staged(SOURCE), "");
	end();
}

TEST(what_is_over_is_not_fetched_any_more)
{
	begin();
	ASSERT_EQ(stage(SOURCE, "w1", false, false), 0);
	ASSERT(UNTIL(loop, one.n_fetches == 1));
	ASSERT_EQ(stage(SOURCE, "w1", false, true), 0);
	ASSERT(UNTIL(loop, one.n_fetch_stops == 1));
	ASSERT_EQ(stage(SOURCE, NULL, false, true), -ENOENT);
	end();
}

TEST(a_wish_survives_a_restart_with_its_tree_so_that_nodes_have_it_from_each_other)
{
	begin();
	drop(&two);
	ASSERT_EQ(stage(SOURCE, NULL, true, false), 0);
	ASSERT(UNTIL(loop, one.n_fetches == 1));
	ASSERT_EQ(tell_fetched(&one, "x"), 0);
	ASSERT(UNTIL(loop, strstr(staged(SOURCE), "w1 there")));
	settle_all();
	end();
	start_vined();
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 3);
	ASSERT_STR(staged(SOURCE), "");
	join_node(&one, "w1", 11, "aa-1", "x");
	ASSERT_STR(staged(SOURCE), "w1 there 1000/1000 pinned;");
	join_node(&three, "w3", 12, "aa-3", NULL);
	ASSERT(UNTIL(loop, three.n_fetches == 1));
	ASSERT_STR(three.fetch_peers, "w1 aa-1:1;");
	struct digest x = digest_of("x");
	ASSERT(digest_is_equal(&three.fetch.tree, &x));
	/* What was ended does not come back. */
	ASSERT_EQ(stage(SOURCE, NULL, false, true), 0);
	end();
	start_vined();
	join_node(&one, "w1", 21, "aa-1", NULL);
	settle_all();
	ASSERT_EQ(one.n_fetches, 0);
	end();
}

TEST(what_cannot_be_had_says_why_and_may_be_asked_for_anew)
{
	begin();
	ASSERT_EQ(stage(SOURCE, "w1", false, false), 0);
	ASSERT(UNTIL(loop, one.n_fetches == 1));
	ASSERT_EQ(conn_send(one.conn, WIRE_FETCHED,
			    &(struct wire_fetched){
				    .item = one.fetch.item, .error = ENOENT, .is_final = true, .reason = "gone"}),
		  0);
	ASSERT(UNTIL(loop, strstr(staged(SOURCE), "w1 cannot")));
	ASSERT_EQ(stage(SOURCE, "w1", false, false), 0);
	ASSERT(UNTIL(loop, one.n_fetches == 2));
	end();
}

TEST(what_names_nothing_is_refused_with_the_reason)
{
	begin();
	ASSERT_EQ(stage(SOURCE, "nowhere", false, false), -ENOENT);
	ASSERT(strstr(client.reason, "'nowhere'"));
	ASSERT_EQ(stage("temp:a", NULL, false, false), -EINVAL);
	ASSERT(strstr(client.reason, "its run is needed"));
	ASSERT_EQ(stage(SOURCE, NULL, false, true), -ENOENT);
	ASSERT_EQ(ask(&client, WIRE_STAGE, &(struct wire_stage){.run = "sweep", .item = "temp:a", .signature = ""}),
		  -ENOENT);
	ASSERT_STR(staged(""), "");
	end();
}

/* ---- what is read first */

static void tell_hot_set(struct peer *p, const char *tree, uint32_t n)
{
	static const uint8_t numbers[4000];
	ASSERT_EQ(conn_send(p->conn, WIRE_HOT_SET,
			    &(struct wire_hot_set){.tree = digest_of(tree), .nodes = {numbers, n * 4}}),
		  0);
	settle_all();
}

/* Only node two has room. */
static void submit_reader(uint8_t staging)
{
	static char name[80];
	char id[DIGEST_TEXT_SIZE];
	struct digest x = digest_of("x");
	snprintf(name, sizeof name, "tree:%s", digest_text(&x, id));
	const struct wire_binding in = {.path = "/in", .item = name, .mode = 1, .size = SIZE};
	ASSERT_EQ(ask(&client, WIRE_CHANGE_NODE, &(struct wire_change_node){.node = "w1", .what = "drain"}), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.staging = staging, BINDINGS(in))), 0);
	ASSERT(UNTIL(loop, two.n_fetches));
	settle_all();
}

static void begin_with_tree(void)
{
	begin();
	ASSERT_EQ(tell_replicas(&one, "x", SIZE), 0);
	settle_all();
}

TEST(where_it_is_known_what_is_read_first_that_is_told_and_brought_before_the_task_starts)
{
	begin_with_tree();
	tell_hot_set(&one, "x", 100);
	submit_reader(0);
	ASSERT_EQ(two.n_hot_sets, 1);
	ASSERT_EQ(two.hot_size, 400);
	ASSERT_EQ(two.n_fetches_before, 0);
	ASSERT_EQ(two.n_starts, 0);
	ASSERT_EQ(conn_send(two.conn, WIRE_HOT, &(struct wire_hot){.item = two.fetch.item}), 0);
	ASSERT(UNTIL(loop, two.n_starts == 1));
	end();
}

TEST(where_it_is_not_known_the_task_starts_at_once)
{
	begin_with_tree();
	submit_reader(0);
	ASSERT_EQ(two.n_starts, 1);
	ASSERT_EQ(two.n_hot_sets, 0);
	end();
}

TEST(who_asked_for_lazy_gets_it)
{
	begin_with_tree();
	tell_hot_set(&one, "x", 100);
	submit_reader(1);
	ASSERT_EQ(two.n_starts, 1);
	ASSERT_EQ(two.n_hot_sets, 1);
	end();
}

TEST(what_cannot_be_brought_now_is_not_waited_for_if_only_what_is_read_first_was)
{
	begin_with_tree();
	tell_hot_set(&one, "x", 100);
	submit_reader(0);
	ASSERT_EQ(two.n_starts, 0);
	ASSERT_EQ(conn_send(two.conn, WIRE_FETCHED,
			    &(struct wire_fetched){.item = two.fetch.item, .error = EIO, .reason = "test"}),
		  0);
	ASSERT(UNTIL(loop, two.n_starts == 1));
	end();
}

TEST(a_hot_set_of_an_unknown_tree_or_one_that_is_shorter_changes_nothing)
{
	begin_with_tree();
	tell_hot_set(&one, "y", 100);
	tell_hot_set(&one, "x", 100);
	tell_hot_set(&one, "x", 50);
	tell_hot_set(&one, "x", 0);
	submit_reader(0);
	ASSERT_EQ(two.hot_size, 400);
	end();
}
