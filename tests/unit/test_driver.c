// SPDX-License-Identifier: Apache-2.0
// The life of a task in vined, over losses and restarts.
#include "tests/unit/driver_world.h"

#include <signal.h>
#include <sys/resource.h>

TEST(a_task_travels_to_a_node_and_its_result_back)
{
	struct peer node, client;
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, ""), 0);
	ASSERT_STR(client.run, "run-1");
	ASSERT_EQ(submit(&client, ""), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(node.start.task, client.id);
	ASSERT_EQ(node.start.attempt >> 40, 1);
	ASSERT_STR(node.command, "/tmp prog A=1");
	ASSERT_EQ(ended(&node, node.start.task, node.start.attempt), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_STR(client.out, "a-tag hi");
	ASSERT_EQ(client.result.status, 7);
	ASSERT_EQ(client.result.attempts, 1);
	// Sent again by the node it is acknowledged, and delivered to nobody.
	ASSERT_EQ(ended(&node, node.start.task, node.start.attempt), 0);
	ASSERT_EQ(done(&client, client.id), 0);
	ASSERT_EQ(attach(&client, client.run), 0);
	ASSERT_EQ(client.pending, 0);
	ASSERT_EQ(client.n_results, 1);
	drop(&node);
	drop(&client);
	stop_vined();
}

TEST(a_result_comes_again_until_it_is_acknowledged)
{
	struct peer node, one, two;
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&one, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&one, "sweep"), 0);
	ASSERT_EQ(submit(&one, "k"), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(ended(&node, node.start.task, node.start.attempt), 0);
	ASSERT(UNTIL(loop, one.n_results == 1));
	drop(&one);
	connect_peer(&two, TLS_ROLE_CLIENT, "c", 3);
	ASSERT_EQ(attach(&two, "sweep"), 0);
	ASSERT(UNTIL(loop, two.n_results == 1));
	drop(&two);
	drop(&node);
	stop_vined();
	start_vined();
	// Whose result it is may come back first.
	connect_peer(&one, TLS_ROLE_CLIENT, "c", 4);
	ASSERT_EQ(attach_later(&one, "sweep"), 0);
	ASSERT_EQ(one.pending, 1);
	ASSERT(UNTIL(loop, one.n_results == 1));
	ASSERT_STR(one.out, "a-tag hi");
	ASSERT_EQ(submit(&one, "k"), 0);
	ASSERT_EQ(one.id, one.result.task);
	ASSERT_EQ(done(&one, one.id), 0);
	drop(&one);
	stop_vined();
}

static void limit_files(rlim_t size)
{
	struct rlimit l;
	getrlimit(RLIMIT_FSIZE, &l);
	l.rlim_cur = size;
	setrlimit(RLIMIT_FSIZE, &l);
}

TEST(while_the_disk_fails_nothing_is_acknowledged_and_all_is_answered)
{
	struct peer node, client;
	signal(SIGXFSZ, SIG_IGN);
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(submit(&client, "a"), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	limit_files(4096);
	ASSERT(submit(&client, "b") < 0);
	ASSERT(strstr(client.reason, "cannot store: "));
	ASSERT(ended(&node, node.start.task, node.start.attempt) < 0);
	ASSERT_EQ(client.n_results, 0);
	limit_files(RLIM_INFINITY);
	ASSERT_EQ(submit(&client, "b"), 0);
	ASSERT_EQ(ended(&node, client.id - 2, node.start.attempt), 0);
	drop(&client);
	drop(&node);
	stop_vined();
}

TEST(two_nodes_with_one_id_are_told_apart)
{
	struct peer one, two, again;
	start_vined();
	connect_peer(&one, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&one, "aa-1", NULL, 0), 0);
	connect_peer(&two, TLS_ROLE_NODE, "w2", 2);
	ASSERT_EQ(join(&two, "aa-1", NULL, 0), -EEXIST);
	ASSERT(strstr(two.reason, "aa-1") && strstr(two.reason, "two nodes"));
	struct driver_node shown;
	size_t i = 0;
	ASSERT(driver_next_node(driver, &i, &shown));
	ASSERT_STR(shown.name, "w1");
	ASSERT(one.is_open);
	connect_peer(&again, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&again, "aa-1", NULL, 0), 0);
	ASSERT(UNTIL(loop, !one.is_open));
	drop(&two);
	drop(&again);
	stop_vined();
}

TEST(a_node_that_stays_away_loses_its_tasks_and_is_fenced)
{
	struct peer one, two, client;
	start_vined();
	connect_peer(&one, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&one, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(submit(&client, ""), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	const struct wire_held held = {one.start.attempt, one.start.task};
	drop(&one);
	connect_peer(&two, TLS_ROLE_NODE, "w2", 3);
	ASSERT_EQ(join(&two, "bb-2", NULL, 0), 0);
	ASSERT_EQ(two.n_starts, 0);
	ends_skipped_usec += NODE_TIMEOUT_USEC + 1;
	// The jump of the clock may look like silence to the others; what counts is that the task moves.
	if (!UNTIL(loop, two.n_starts == 1 || !two.is_open) || !two.is_open) {
		connect_peer(&two, TLS_ROLE_NODE, "w2", 3);
		ASSERT_EQ(join(&two, "bb-2", NULL, 0), 0);
		ASSERT(UNTIL(loop, two.n_starts == 1));
	}
	ASSERT_EQ(two.start.task, held.task);
	ASSERT(two.start.attempt > held.attempt);
	connect_peer(&one, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&one, "aa-1", &held, 1), 0);
	ASSERT(UNTIL(loop, one.n_stops == 1));
	ASSERT(one.stop.fenced);
	ASSERT_EQ(one.stop.attempt, held.attempt);
	drop(&one);
	drop(&two);
	drop(&client);
	stop_vined();
}

TEST(attached_work_is_cancelled_when_its_client_stays_away)
{
	struct peer node, client;
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "named"), 0);
	ASSERT_EQ(submit(&client, ""), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	ASSERT_EQ(attach(&client, ""), 0);
	ASSERT_EQ(submit(&client, ""), 0);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	uint64_t attached = node.start.attempt;
	drop(&client);
	for (int i = 0; i < 50; i++)
		loop_turn(loop, 0);
	ASSERT_EQ(node.n_stops, 0);
	ends_skipped_usec += CLIENT_TIMEOUT_USEC + 1;
	ASSERT(UNTIL(loop, node.n_stops == 1));
	ASSERT(!node.stop.fenced);
	ASSERT_EQ(node.stop.attempt, attached);
	drop(&node);
	stop_vined();
}

TEST(after_a_restart_running_attempts_are_adopted_and_unknown_ones_fenced)
{
	struct peer node, client;
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(submit(&client, ""), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	const struct wire_held held[] = {{node.start.attempt, node.start.task}, {node.start.attempt + 9, 4711}};
	drop(&node);
	drop(&client);
	stop_vined();
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", held, 2), 0);
	ASSERT(UNTIL(loop, node.n_stops == 1));
	ASSERT_EQ(node.stop.attempt, held[1].attempt);
	ASSERT_EQ(ended(&node, held[0].task, held[0].attempt), 0);
	ASSERT_EQ(node.n_starts, 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(client.result.attempts, 1);
	drop(&node);
	drop(&client);
	stop_vined();
}

TEST(what_one_node_listed_does_not_count_as_listed_by_another)
{
	struct peer one, two, client;
	start_vined();
	connect_peer(&one, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&one, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(submit(&client, ""), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	const struct wire_held held = {.attempt = one.start.attempt, .task = one.start.task};
	ASSERT_EQ(join(&one, "aa-1", &held, 1), 0); // its second time
	connect_peer(&two, TLS_ROLE_NODE, "w2", 3);
	ASSERT_EQ(join(&two, "bb-2", NULL, 0), 0);
	ASSERT_EQ(ended_with(&one, 4, 0, NULL, 0), 0);
	ASSERT(UNTIL(loop, two.n_starts == 1));
	// The other's second time, and it knows of nothing.
	ASSERT_EQ(join(&two, "bb-2", NULL, 0), 0);
	ASSERT(UNTIL(loop, one.n_starts + two.n_starts == 3));
	drop(&one);
	drop(&two);
	drop(&client);
	stop_vined();
}

TEST(the_end_of_an_attempt_that_was_given_up_changes_nothing_though_its_node_has_the_next)
{
	struct peer node, client;
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(submit(&client, ""), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	const struct wire_start first = node.start;
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0); // it says that it knows of none
	ASSERT(UNTIL(loop, node.n_starts == 2));
	ASSERT_EQ(ended(&node, first.task, first.attempt), 0);
	settle_all();
	ASSERT_EQ(client.n_results, 0);
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(client.result.status, 0);
	drop(&node);
	drop(&client);
	stop_vined();
}

TEST(an_attempt_that_was_never_given_out_is_fenced_whatever_its_task)
{
	struct peer node, client;
	start_vined();
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(submit(&client, ""), 0);
	const struct wire_held held = {.attempt = (store_boot(store) << 40) + 7, .task = client.id};
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", &held, 1), 0);
	ASSERT(UNTIL(loop, node.n_stops == 1 && node.n_starts == 1));
	ASSERT(node.stop.fenced);
	ASSERT_EQ(node.stop.attempt, held.attempt);
	ASSERT(node.start.attempt < held.attempt);
	drop(&node);
	drop(&client);
	stop_vined();
}

TEST(a_submit_that_is_recorded_is_answered_again_whatever_waits_for_the_disk)
{
	struct peer client;
	start_vined();
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(submit(&client, "k"), 0);
	uint64_t id = client.id;
	client.id = 0;
	store_alloc(store, (size_t)257 << 20);
	ASSERT_EQ(submit(&client, "k"), 0);
	ASSERT_EQ(client.id, id);
	ASSERT_EQ(submit(&client, "new"), -EAGAIN);
	ASSERT_EQ(submit(&client, ""), -EAGAIN);
	drop(&client);
	stop_vined();
}
