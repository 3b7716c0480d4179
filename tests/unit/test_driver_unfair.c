// SPDX-License-Identifier: Apache-2.0
// vined among nodes that are sick or do not read, and clients that share a run, vanish or ask too much.
#include "tests/unit/driver_world.h"

static int ended_how(struct peer *p, uint8_t how, const char *reason)
{
	return ask(p, WIRE_ENDED,
		   &(struct wire_ended){.attempt = p->start.attempt,
					.task = p->start.task,
					.how = how,
					.status = ENOSPC,
					.reason = reason});
}

TEST(a_node_that_cannot_begin_tasks_rests_and_they_run_elsewhere)
{
	struct peer sick, well, client;
	char reason[256];
	ends_stand_still();
	start_vined();
	connect_peer(&sick, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&sick, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(submit(&client, ""), 0);
	// Far more often than a task may lose its node, and longer pauses each time.
	uint64_t pause = 1000000;
	for (unsigned i = 1; i <= 5; i++, pause *= 2) {
		ASSERT(UNTIL(loop, sick.n_starts == i));
		ASSERT_EQ(ended_how(&sick, 6, "disk full"), 0);
		driver_reason(driver, client.id, reason);
		ASSERT_STR(reason, "node w1 rests: disk full");
		ends_skipped_usec += pause - 500000;
		for (int k = 0; k < 20; k++)
			loop_turn(loop, 0);
		ASSERT_EQ(sick.n_starts, i);
		ends_skipped_usec += 500001;
	}
	ASSERT(UNTIL(loop, sick.n_starts == 6));
	ASSERT_EQ(ended_how(&sick, 6, "disk full"), 0);
	// Said again, it is the same once.
	ASSERT_EQ(ended_how(&sick, 6, "disk full"), 0);
	connect_peer(&well, TLS_ROLE_NODE, "w2", 3);
	ASSERT_EQ(join(&well, "bb-2", NULL, 0), 0);
	ASSERT(UNTIL(loop, well.n_starts == 1));
	ASSERT_EQ(ended(&well, well.start.task, well.start.attempt), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(client.result.how, 1);
	drop(&client);
	drop(&sick);
	drop(&well);
	stop_vined();
}

TEST(a_task_that_its_node_lost_goes_to_another_one)
{
	struct peer sick, full, client;
	start_vined();
	connect_peer(&sick, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&sick, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(submit(&client, ""), 0);
	ASSERT(UNTIL(loop, sick.n_starts == 1));
	ASSERT_EQ(ended_how(&sick, 4, "lost"), 0);
	/* The one that lost it rests. */
	connect_peer(&full, TLS_ROLE_NODE, "w2", 3);
	ASSERT_EQ(join(&full, "bb-2", NULL, 0), 0);
	ASSERT(UNTIL(loop, full.n_starts == 1));
	ASSERT_EQ(full.start.task, client.id);
	ASSERT_EQ(ended(&full, full.start.task, full.start.attempt), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	drop(&client);
	drop(&full);
	drop(&sick);
	stop_vined();
}

TEST(each_of_two_clients_of_one_run_gets_what_it_submitted)
{
	struct peer node, one, two;
	start_vined();
	connect_peer(&one, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&one, "sweep"), 0);
	ASSERT_EQ(submit(&one, ""), 0);
	connect_peer(&two, TLS_ROLE_CLIENT, "c", 3);
	ASSERT_EQ(attach(&two, "sweep"), 0);
	ASSERT_EQ(two.pending, 0);
	ASSERT_EQ(submit(&two, ""), 0);
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	ASSERT_EQ(ended(&node, one.id, node.start.attempt - 1), 0);
	ASSERT_EQ(ended(&node, two.id, node.start.attempt), 0);
	ASSERT(UNTIL(loop, one.n_results == 1 && two.n_results == 1));
	ASSERT_EQ(one.result.task, one.id);
	ASSERT_EQ(two.result.task, two.id);
	// One's result is not two's to take.
	ASSERT_EQ(done(&two, one.id), 0);
	ASSERT_EQ(attach(&one, "sweep"), 0);
	ASSERT_EQ(one.pending, 1);
	// When one has died, two gets it; had it only been away, it would be told.
	drop(&one);
	ASSERT(UNTIL(loop, two.n_results == 2));
	connect_peer(&one, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&one, "sweep"), -ESTALE);
	ASSERT(strstr(one.reason, "run sweep") && strstr(one.reason, "another one"));
	drop(&one);
	drop(&two);
	drop(&node);
	stop_vined();
}

TEST(a_key_submitted_again_takes_the_result_along_and_the_other_client_is_told)
{
	struct peer one, two;
	start_vined();
	connect_peer(&one, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&one, "sweep"), 0);
	ASSERT_EQ(submit(&one, "k"), 0);
	connect_peer(&two, TLS_ROLE_CLIENT, "c", 3);
	ASSERT_EQ(attach(&two, "sweep"), 0);
	ASSERT_EQ(submit(&two, "k"), 0);
	ASSERT_EQ(two.id, one.id);
	ASSERT(UNTIL(loop, !one.is_open));
	ASSERT(two.is_open);
	drop(&two);
	stop_vined();
}

TEST(nobody_keeps_the_results_of_a_client_that_is_gone)
{
	struct driver_numbers n;
	struct peer node, client;
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, ""), 0);
	ASSERT_EQ(submit(&client, ""), 0);
	ASSERT_EQ(submit(&client, ""), 0);
	ASSERT(UNTIL(loop, node.n_starts == 2));
	ASSERT_EQ(ended(&node, client.id - 1, node.start.attempt - 1), 0);
	drop(&client);
	settle_all();
	driver_numbers(driver, &n);
	ASSERT_EQ(n.ended, 1);
	ends_skipped_usec += CLIENT_TIMEOUT_USEC + 1;
	ASSERT(UNTIL(loop, node.n_stops == 1));
	driver_numbers(driver, &n);
	ASSERT_EQ(n.ended, 0);
	ASSERT_EQ(ended_how(&node, 2, ""), 0);
	ASSERT(UNTIL(loop, (driver_numbers(driver, &n), n.ended == 0 && n.runs == 0)));
	drop(&node);
	stop_vined();
}

static bool never_takes(struct call *c, const void *p, size_t n)
{
	(void)c, (void)p, (void)n;
	return false;
}

static void on_output_end(struct call *c, int error)
{
	(void)c, (void)error;
}

TEST(more_outputs_than_a_connection_may_ask_for_are_refused)
{
	struct peer node, client;
	struct call calls[32];
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(submit(&client, ""), 0);
	ASSERT(UNTIL(loop, node.n_starts == 1));
	// The node never answers, so none of them ends.
	const struct wire_read_output m = {.task = client.id, .which = 1};
	for (size_t i = 0; i < countof(calls); i++) {
		calls[i] = (struct call){.on_reply = on_reply, .on_data = never_takes, .on_end = on_output_end};
		ASSERT_EQ(call_start(&calls[i], client.conn, WIRE_READ_OUTPUT, &m, 0), 0);
	}
	ASSERT_EQ(ask(&client, WIRE_READ_OUTPUT, &m), -EAGAIN);
	ASSERT(strstr(client.reason, "32 requests"));
	for (size_t i = 0; i < countof(calls); i++)
		call_stop(&calls[i]);
	drop(&client);
	drop(&node);
	stop_vined();
}

TEST(a_node_that_does_not_read_gets_no_more_tasks)
{
	static char large[100000];
	struct peer client, late;
	struct wire_hello hello = {
		.role = TLS_ROLE_NODE, .version = "1", .name = "w1", .instance = 1, .major = WIRE_MAJOR};
	int fd[2];
	memset(large, 'x', sizeof large - 1);
	start_vined();
	unix_pair(fd);
	conn_new(loop, fd[1], true, &(struct conn_options){.ops = &vined_ops, .hello = &hello_here});
	_cleanup_(buf_fini) struct buf out = {0};
	wire_encode(&out, WIRE_HELLO, 0, 0, &hello);
	wire_encode(&out, WIRE_JOIN, 0, 5,
		    &(struct wire_join){.node = "aa-1", .tier = "views", .cores = 1000, .task_limit = 1000});
	ASSERT_EQ(write(fd[0], out.at, out.n), (ssize_t)out.n);
	struct driver_node n;
	size_t i = 0;
	ASSERT(UNTIL(loop, (i = 0, driver_next_node(driver, &i, &n))));
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	const char *const argv[] = {"prog", large}, *const variables[] = {"A=1"};
	struct wire_task tasks[60];
	for (size_t k = 0; k < countof(tasks); k++)
		tasks[k] = (struct wire_task){.argv = {argv, 2}, .environment = {variables, 1}};
	ASSERT_EQ(ask(&client, WIRE_SUBMIT, &(struct wire_submit){.run = "sweep", .tasks = {tasks, countof(tasks)}}),
		  0);
	ASSERT(UNTIL(loop, (i = 0, driver_next_node(driver, &i, &n) && n.resting)));
	ASSERT(strstr(n.resting, "does not read"));
	ASSERT(n.n_running < 40);
	// Another node that reads gets the rest.
	connect_peer(&late, TLS_ROLE_NODE, "w2", 3);
	ASSERT_EQ(join(&late, "bb-2", NULL, 0), 0);
	ASSERT(UNTIL(loop, late.n_starts == 4));
	uint64_t before = n.n_running;
	char sink[65536];
	for (int k = 0; k < 100000 && !(i = 0, driver_next_node(driver, &i, &n) && n.n_running > before); k++) {
		if (recv(fd[0], sink, sizeof sink, MSG_DONTWAIT) < 0)
			ASSERT_EQ(errno, EAGAIN);
		loop_turn(loop, 0);
	}
	ASSERT(n.n_running > before);
	drop(&late);
	drop(&client);
	close(fd[0]);
	stop_vined();
}
