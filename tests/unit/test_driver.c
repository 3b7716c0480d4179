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

TEST(what_is_wrong_with_a_run_name_is_said)
{
	static const struct {
		const char *name;
		int error;
	} cases[] = {
		{"sweep", 0},    {"sweep-2 b", 0},    {"17", EINVAL},    {"1-9", EINVAL}, {"a\nb", EINVAL},
		{"a/b", EINVAL}, {"@failed", EINVAL}, {"tag:x", EINVAL}, {"-n", EINVAL},
	};
	char reason[256], longer[200] = "";
	for (size_t i = 0; i < countof(cases); i++)
		ASSERT_EQ(client_check_run(cases[i].name, reason), cases[i].error);
	memset(longer, 'x', sizeof longer - 1);
	ASSERT_EQ(client_check_run(longer, reason), ENAMETOOLONG);
}

TEST(what_is_wrong_with_a_task_is_said_with_its_place)
{
	static char longer[1000001];
	memset(longer, 'x', sizeof longer - 1);
	const char *good[] = {"prog"}, *empty[] = {""}, *large[] = {"prog", longer}, *bare[] = {"NAME"};
	const struct wire_binding binding = {.path = "/data"};
	const struct {
		struct wire_task task;
		int error;
		const char *says;
	} cases[] = {
		{{.argv = {good, 1}}, 0, ""},
		{{.argv = {good, 0}}, EINVAL, "command is empty"},
		{{.argv = {empty, 1}}, EINVAL, "command is empty"},
		{{.argv = {large, 2}}, E2BIG, "argument 1 has 1000000 bytes"},
		{{.argv = {good, 1}, .environment = {bare, 1}}, EINVAL, "not NAME=value"},
		{{.argv = {good, 1}, .tag = "a\nb"}, EINVAL, "tag contains a control"},
		{{.argv = {good, 1}, .directory = "relative"}, EINVAL, "absolute"},
		{{.argv = {good, 1}, .cores = 100000}, ERANGE, "100000 cores"},
		{{.argv = {good, 1}, .bindings = {&binding, 1}}, EOPNOTSUPP, "input or output"},
	};
	for (size_t i = 0; i < countof(cases); i++) {
		char reason[256] = "";
		struct wire_task tasks[2] = {{.argv = {good, 1}}, cases[i].task};
		for (int k = 0; k < 2; k++) { // a decoder leaves no NULL
			tasks[k].key = "";
			tasks[k].tag = tasks[k].tag ? tasks[k].tag : "";
			tasks[k].directory = tasks[k].directory ? tasks[k].directory : "";
		}
		ASSERT_EQ(client_check_submit(&(struct wire_submit){.tasks = {tasks, 2}}, reason), cases[i].error);
		ASSERT(strstr(reason, cases[i].says));
		ASSERT(!cases[i].error || strstr(reason, "task 2 of 2"));
	}
}
