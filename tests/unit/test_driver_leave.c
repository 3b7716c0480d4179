// SPDX-License-Identifier: Apache-2.0
// Nodes that go: drained, told to end, or with a known end. What only they have goes to others first, and nobody waits for what nobody can take.
#include "tests/unit/driver_world.h"

#define SIZE 1000

static struct peer one, two, three, client, other;

static int tell_replicas(struct peer *p, const char *tree, bool is_all)
{
	const struct wire_replica r = {.tree = digest_of(tree), .size = SIZE, .total = SIZE};
	return conn_send(p->conn, WIRE_REPLICAS, &(struct wire_replicas){.trees = {&r, *tree != 0}, .is_all = is_all});
}

static void join_node(struct peer *p, const char *name, uint64_t instance, const char *uuid, const char *has)
{
	connect_peer(p, TLS_ROLE_NODE, name, instance);
	ASSERT_EQ(join_with_data(p, uuid, NULL, 0), 0);
	ASSERT_EQ(tell_replicas(p, has, true), 0);
	ASSERT(UNTIL(loop, p->n_holds == 1));
}

static void begin(void)
{
	start_vined();
	join_node(&one, "w1", 1, "aa-1", "");
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 3);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	connect_peer(&other, TLS_ROLE_CLIENT, "o", 4);
}

static void end(void)
{
	struct peer *all[] = {&one, &two, &three, &client, &other};
	for (size_t i = 0; i < countof(all); i++) {
		if (all[i]->conn)
			drop(all[i]);
		*all[i] = (struct peer){.conn = NULL};
	}
	stop_vined();
}

/* On node one, which alone has it then. */
static void make_temp(void)
{
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a")))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	const struct wire_output made = {
		.item = one.inputs[one.n_inputs - 1].item, .tree = digest_of("a"), .size = SIZE};
	ASSERT_EQ(ended_with(&one, 1, 0, &made, 1), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
}

/* The answer is waited for elsewhere. */
static void ask_later(struct peer *p, uint16_t type, const void *message)
{
	p->is_answered = false;
	p->call = (struct call){.on_reply = on_reply};
	ASSERT_EQ(call_start(&p->call, p->conn, type, message, 0), 0);
}

static void say_leaving(struct peer *p)
{
	ask_later(p, WIRE_LEAVING, &(struct wire_leaving){.within_usec = 10000000, .reason = "test"});
}

static int change(const char *node, const char *what)
{
	return ask(&other, WIRE_CHANGE_NODE, &(struct wire_change_node){.node = node, .what = what});
}

TEST(a_drained_node_gets_no_tasks_also_after_a_restart_of_it_or_of_vined_until_it_is_resumed)
{
	begin();
	ASSERT_EQ(change("w1", "drain"), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.tag = "")), 0);
	settle_all();
	ASSERT_EQ(one.n_starts, 0);
	drop(&one);
	join_node(&one, "w1", 5, "aa-1", "");
	settle_all();
	ASSERT_EQ(one.n_starts, 0);
	end();
	start_vined();
	join_node(&one, "w1", 6, "aa-1", "");
	connect_peer(&other, TLS_ROLE_CLIENT, "o", 4);
	settle_all();
	ASSERT_EQ(one.n_starts, 0);
	ASSERT_EQ(change("aa-1", "resume"), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	end();
	start_vined();
	join_node(&one, "w1", 7, "aa-1", "");
	ASSERT(UNTIL(loop, one.n_starts == 1));
	end();
}

TEST(what_only_a_node_that_ends_has_is_copied_away_and_then_it_is_told)
{
	begin();
	make_temp();
	join_node(&two, "w2", 2, "aa-2", "");
	say_leaving(&one);
	ASSERT(UNTIL(loop, two.n_fetches == 1));
	ASSERT_STR(two.fetch_peers, "w1 aa-1:1;");
	ASSERT_EQ(two.fetch.rank, 4);
	struct digest a = digest_of("a");
	ASSERT(digest_is_equal(&two.fetch.tree, &a));
	settle_all();
	ASSERT(!one.is_answered);
	ASSERT_EQ(conn_send(two.conn, WIRE_FETCHED,
			    &(struct wire_fetched){.item = two.fetch.item, .tree = a, .size = SIZE}),
		  0);
	ASSERT(UNTIL(loop, one.is_answered));
	ASSERT_EQ(one.error, 0);
	ASSERT(UNTIL(loop, two.n_holds == 2));
	ASSERT(strchr(two.holds, '+'));
	/* Who needs it runs there, and nothing runs again. */
	drop(&one);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("temp:a")))), 0);
	ASSERT(UNTIL(loop, two.n_starts == 1));
	ASSERT_EQ(two.start.task, client.ids[0]);
	end();
}

TEST(where_nobody_can_take_it_the_node_is_told_at_once)
{
	begin();
	make_temp();
	say_leaving(&one);
	ASSERT(UNTIL(loop, one.is_answered));
	ASSERT_EQ(one.error, -EHOSTUNREACH);
	ASSERT(strstr(one.reason, "1 tree, 1000 bytes"));
	end();
}

static void on_leave_answer(struct call *c, int error, uint16_t type, const void *message)
{
	(void)c, (void)error, (void)type, (void)message;
}

/* The answer is waited for beside what else is asked. */
static void leave_with_a_task(struct call *leaving)
{
	*leaving = (struct call){.on_reply = on_leave_answer};
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(call_start(leaving, one.conn, WIRE_LEAVING,
			     &(struct wire_leaving){.within_usec = 10000000, .reason = "test"}, 0),
		  0);
	settle_all();
}

TEST(a_task_that_nodes_did_not_end_since_they_go_is_not_held_for_it)
{
	struct call leaving;
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.tag = "")), 0);
	for (uint64_t i = 0; i < 4; i++) {
		leave_with_a_task(&leaving);
		ASSERT_EQ(ended_with(&one, 4, 0, NULL, 0), 0);
		drop(&one);
		join_node(&one, "w1", 10 + i, "aa-1", "");
	}
	ASSERT(UNTIL(loop, one.n_starts == 1));
	/* What it loses while it stays counts from the first time on. */
	for (uint64_t i = 0; i < 3; i++) {
		ASSERT(UNTIL(loop, one.n_starts == 1));
		ASSERT_EQ(ended_with(&one, 4, 0, NULL, 0), 0);
		drop(&one);
		join_node(&one, "w1", 20 + i, "aa-1", "");
	}
	settle_all();
	ASSERT_EQ(one.n_starts, 0);
	end();
}

TEST(what_a_node_that_goes_was_given_and_did_not_report_runs_again_at_its_farewell)
{
	struct call leaving;
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.tag = "")), 0);
	for (uint64_t i = 0; i < 4; i++) {
		leave_with_a_task(&leaving);
		conn_close(one.conn, "the node is stopped", false);
		ASSERT(UNTIL(loop, !one.conn));
		settle_all();
		join_node(&one, "w1", 10 + i, "aa-1", "");
	}
	leave_with_a_task(&leaving);
	join_node(&two, "w2", 2, "aa-2", "");
	settle_all();
	ASSERT_EQ(two.n_starts, 0);
	conn_close(one.conn, "the node is stopped", false);
	ASSERT(UNTIL(loop, two.n_starts == 1));
	ASSERT_EQ(ended_well(&two), 0);
	end();
}

TEST(nodes_that_end_together_do_not_wait_for_each_other)
{
	begin();
	make_temp();
	join_node(&two, "w2", 2, "aa-2", "");
	say_leaving(&one);
	ASSERT(UNTIL(loop, two.n_fetches == 1));
	say_leaving(&two);
	ASSERT(UNTIL(loop, one.is_answered && two.is_answered));
	ASSERT_EQ(one.error, -EHOSTUNREACH);
	ASSERT_EQ(two.error, 0);
	end();
}

TEST(what_nobody_needs_any_more_is_not_copied)
{
	static const char *const name = "temp:a";
	begin();
	make_temp();
	join_node(&two, "w2", 2, "aa-2", "");
	say_leaving(&one);
	ASSERT(UNTIL(loop, two.n_fetches == 1));
	ASSERT_EQ(ask(&client, WIRE_FORGET, &(struct wire_forget){.run = "sweep", .items = {&name, 1}}), 0);
	ASSERT(UNTIL(loop, one.is_answered));
	ASSERT_EQ(one.error, 0);
	ASSERT(UNTIL(loop, two.n_fetch_stops == 1));
	end();
}

TEST(who_waits_for_a_drained_node_hears_when_its_tasks_are_over)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.tag = "")), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ask_later(&other, WIRE_CHANGE_NODE,
		  &(struct wire_change_node){.node = "w1", .what = "drain", .is_waiting = true});
	settle_all();
	ASSERT(!other.is_answered);
	ASSERT_EQ(ended_well(&one), 0);
	ASSERT(UNTIL(loop, other.is_answered));
	ASSERT_EQ(other.error, 0);
	ASSERT_EQ(change("w7", "drain"), -ENOENT);
	ASSERT_EQ(change("w1", "stop"), -EINVAL);
	end();
}

TEST(who_waits_for_a_drained_node_goes_on_when_another_process_joins_as_it)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.tag = "")), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	const uint64_t attempt = one.start.attempt, task = one.start.task;
	ask_later(&other, WIRE_CHANGE_NODE,
		  &(struct wire_change_node){.node = "w1", .what = "drain", .is_waiting = true});
	settle_all();
	drop(&one);
	connect_peer(&one, TLS_ROLE_NODE, "w1", 9);
	ASSERT_EQ(join_with_data(&one, "aa-1", &(struct wire_held){.attempt = attempt, .task = task}, 1), 0);
	settle_all();
	ASSERT(!other.is_answered);
	ASSERT_EQ(ask(&one, WIRE_ENDED, &(struct wire_ended){.attempt = attempt, .task = task, .how = 1}), 0);
	ASSERT(UNTIL(loop, other.is_answered));
	ASSERT_EQ(other.error, 0);
	end();
}

TEST(of_two_nodes_of_one_name_an_id_says_which_is_drained)
{
	begin();
	join_node(&two, "w1", 2, "aa-2", "");
	ASSERT_EQ(change("w1", "drain"), -EINVAL);
	ASSERT(strstr(other.reason, "2 nodes are called 'w1'"));
	ASSERT(strstr(other.reason, "aa-1") && strstr(other.reason, "aa-2"));
	ASSERT_EQ(change("aa-2", "drain"), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(.tag = ""), TASK(.tag = "")), 0);
	ASSERT(UNTIL(loop, one.n_starts == 2));
	ASSERT_EQ(two.n_starts, 0);
	end();
}

static int stage(const char *node, bool is_over)
{
	char id[DIGEST_TEXT_SIZE], item[DIGEST_TEXT_SIZE + 8];
	struct digest a = digest_of("a");
	snprintf(item, sizeof item, "tree:%s", digest_text(&a, id));
	return ask(
		&other, WIRE_STAGE,
		&(struct wire_stage){
			.run = "", .item = item, .signature = "", .nodes = {&node, node != NULL}, .is_over = is_over});
}

static int tell_fetched(struct peer *p)
{
	return conn_send(p->conn, WIRE_FETCHED,
			 &(struct wire_fetched){.item = p->fetch.item, .tree = digest_of("a"), .size = SIZE});
}

static void stage_and_drain(struct peer *first, const struct peer *second)
{
	begin();
	make_temp();
	join_node(&two, "w2", 2, "aa-2", "");
	join_node(&three, "w3", 5, "aa-3", "");
	ASSERT_EQ(stage(NULL, false), 0);
	ASSERT(UNTIL(loop, two.n_fetches == 1 && three.n_fetches == 1));
	ASSERT_EQ(change("w1", "drain"), 0);
	settle_all();
	ASSERT_EQ(tell_fetched(first), 0);
	settle_all();
	ASSERT_EQ(second->n_fetch_stops, 0);
	end();
}

TEST(what_is_staged_goes_on_when_the_copy_of_it_is_elsewhere)
{
	stage_and_drain(&two, &three);
}

TEST(what_is_staged_goes_on_when_the_copy_of_it_is_elsewhere_whichever_that_was)
{
	stage_and_drain(&three, &two);
}

TEST(a_copy_goes_on_when_it_need_not_be_staged_there_any_more)
{
	begin();
	make_temp();
	join_node(&two, "w2", 2, "aa-2", "");
	ASSERT_EQ(stage("w2", false), 0);
	ASSERT(UNTIL(loop, two.n_fetches == 1));
	say_leaving(&one);
	settle_all();
	ASSERT_EQ(stage("w2", true), 0);
	ASSERT(UNTIL(loop, two.n_fetches == two.n_fetch_stops + 1));
	ASSERT_EQ(tell_fetched(&two), 0);
	ASSERT(UNTIL(loop, one.is_answered));
	ASSERT_EQ(one.error, 0);
	end();
}

TEST(before_a_known_end_what_only_it_has_is_copied)
{
	start_vined();
	connect_peer(&one, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(ask(&one, WIRE_JOIN,
		      &(struct wire_join){.node = "aa-1",
					  .tier = "views",
					  .cores = 4,
					  .task_limit = 4,
					  .has_data = true,
					  .address = "aa-1:1",
					  .stays_usec = 300000000}),
		  0);
	ASSERT_EQ(tell_replicas(&one, "", true), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 3);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	make_temp();
	join_node(&two, "w2", 2, "aa-2", "");
	for (int i = 0; i < 20; i++) {
		ends_skipped_usec += 5000000;
		settle_all();
	}
	ASSERT_EQ(two.n_fetches, 0);
	for (int i = 0; i < 40 && !two.n_fetches; i++) {
		ends_skipped_usec += 5000000;
		settle_all();
	}
	ASSERT_EQ(two.n_fetches, 1);
	ASSERT(ends_skipped_usec <= 245000000);
	end();
}

TEST(who_alone_has_what_is_not_needed_is_told_so_many_at_once_and_when_another_has_it)
{
	char id[DIGEST_TEXT_SIZE], expected[32];
	struct digest x = digest_of("x");
	digest_text(&x, id);
	begin();
	for (int i = 0; i < 50; i++) {
		char name[16];
		snprintf(name, sizeof name, "t%d", i);
		ASSERT_EQ(tell_replicas(&one, name, false), 0);
	}
	ASSERT_EQ(tell_replicas(&one, "x", false), 0);
	settle_all();
	ASSERT_EQ(one.n_holds, 1);
	ends_skipped_usec += 5000001;
	ASSERT(UNTIL(loop, one.n_holds == 2));
	ASSERT_EQ(one.n_held, 51);
	join_node(&two, "w2", 2, "aa-2", "x");
	ends_skipped_usec += 5000001;
	ASSERT(UNTIL(loop, one.n_holds == 3));
	snprintf(expected, sizeof expected, "%.8sl-", id);
	ASSERT_STR(one.holds, expected);
	end();
}
