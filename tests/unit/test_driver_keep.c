// SPDX-License-Identifier: Apache-2.0
// Outputs at shared paths: who makes them, who waits for them, who may publish. And how a task is run, and what it left.
#include "tests/unit/driver_world.h"

#define WITHIN_USEC 5000000u

static struct peer one, two, client, other;

static const struct wire_binding published = {.path = "/out/x", .item = "file:/data/x", .mode = 3},
				 reader = {.path = "/in/x", .item = "file:/data/x", .mode = 1, .signature = "1:2:3"};

static void begin(void)
{
	start_vined();
	connect_peer(&one, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join_with_data(&one, "aa-1", NULL, 0), 0);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 3);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	connect_peer(&other, TLS_ROLE_CLIENT, "o", 4);
	ASSERT_EQ(attach(&other, "another"), 0);
}

static void end(void)
{
	struct peer *all[] = {&one, &two, &client, &other};
	for (size_t i = 0; i < countof(all); i++)
		if (all[i]->conn)
			drop(all[i]);
	stop_vined();
}

static int keep(struct peer *p, uint64_t attempt)
{
	return ask(p, WIRE_KEEP,
		   &(struct wire_keep){.attempt = attempt,
				       .task = p->start.task,
				       .item = p->inputs[p->n_inputs - 1].item,
				       .within_usec = WITHIN_USEC});
}

/* The node's attempt has published its only output. */
static int ended_publishing(struct peer *p, const char *tree)
{
	const struct wire_output made = {
		.item = p->inputs[p->n_inputs - 1].item, .tree = digest_of(tree), .size = 1000};
	return ended_with(p, 1, 0, &made, 1);
}

TEST(who_reads_what_a_task_of_its_run_publishes_waits_for_it_even_if_submitted_first)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(reader)), TASK(BINDINGS(published))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(one.start.task, client.ids[1]);
	ASSERT_STR(one.input_texts[0], "/out/x file:/data/x");
	settle_all();
	ASSERT_EQ(one.n_starts, 1);
	ASSERT_EQ(keep(&one, one.start.attempt), 0);
	ASSERT_EQ(ended_publishing(&one, "x"), 0);
	ASSERT(UNTIL(loop, one.n_starts == 2));
	ASSERT_EQ(one.start.task, client.ids[0]);
	// It has the tree that was made, whatever the client saw.
	const struct digest x = digest_of("x");
	ASSERT(digest_is_equal(&one.inputs[0].tree, &x));
	ASSERT_STR(one.input_texts[0], "/in/x file:/data/x");
	end();
}

TEST(a_task_that_publishes_what_it_reads_and_another_run_read_what_was_there_before)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(reader, published))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(SUBMIT(&other, TASK(BINDINGS(reader))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 2));
	end();
}

TEST(a_path_has_one_maker_at_a_time)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.key = "k", BINDINGS(published))), 0);
	uint64_t maker = client.id;
	char words[64];
	snprintf(words, sizeof words, "task %llu makes it already", (unsigned long long)maker);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(published))), -EEXIST);
	ASSERT(strstr(client.reason, words));
	ASSERT_EQ(SUBMIT(&other, TASK(BINDINGS(published))), -EEXIST);
	ASSERT(strstr(other.reason, words));
	ASSERT_EQ(SUBMIT(&other, TASK(), TASK(BINDINGS(published)), TASK(BINDINGS(reader))), -EEXIST);
	// Told twice it is one.
	ASSERT_EQ(SUBMIT(&client, TASK(.key = "k", BINDINGS(published))), 0);
	ASSERT_EQ(client.id, maker);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(ended_publishing(&one, "x"), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(SUBMIT(&other, TASK(BINDINGS(published))), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(published))), -EEXIST);
	end();
}

TEST(what_was_made_is_made_again_once_nobody_reads_it_any_more)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(published))), 0);
	uint64_t maker = client.id;
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(ended_publishing(&one, "x"), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(reader))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 2));
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(published))), -EBUSY);
	char words[64];
	snprintf(words, sizeof words, "(1) read what task %llu made there", (unsigned long long)maker);
	ASSERT(strstr(client.reason, words));
	ASSERT_EQ(ended_well(&one), 0);
	ASSERT(UNTIL(loop, client.n_results == 2));
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(published)), TASK(BINDINGS(reader))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 3));
	ASSERT_EQ(one.start.task, client.ids[0]);
	ASSERT_EQ(ended_publishing(&one, "y"), 0);
	ASSERT(UNTIL(loop, one.n_starts == 4));
	const struct digest y = digest_of("y");
	ASSERT(digest_is_equal(&one.inputs[0].tree, &y));
	end();
}

TEST(a_refused_submit_makes_nothing)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(published)), TASK(BINDINGS(IN("temp:none")))), -ENOENT);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(reader))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(SUBMIT(&other, TASK(BINDINGS(published))), 0);
	end();
}

TEST(who_needs_what_was_not_published_fails_and_it_may_be_made_again)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(published)), TASK(BINDINGS(reader))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(ended_with(&one, 7, 0, NULL, 0), 0);
	ASSERT(UNTIL(loop, client.n_results == 2));
	ASSERT_EQ(client.result.task, client.ids[1]);
	ASSERT_EQ(client.result.how, 3);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(published))), 0);
	end();
}

TEST(a_restart_knows_what_was_published_and_who_makes_what)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(published))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(ended_publishing(&one, "x"), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	const struct wire_binding next = {.path = "/out/y", .item = "file:/data/y", .mode = 3};
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 8, BINDINGS(next))), 0);
	end();
	start_vined();
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 5);
	ASSERT_EQ(attach_later(&client, "sweep"), 0);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(next))), -EEXIST);
	// It can be had from its path, though no node is back that has it.
	ASSERT_EQ(SUBMIT(&client, TASK(.staging = 3, BINDINGS(reader))), 0);
	connect_peer(&two, TLS_ROLE_NODE, "w2", 6);
	ASSERT_EQ(join_with_data(&two, "bb-2", NULL, 0), 0);
	ASSERT(UNTIL(loop, two.n_fetches == 1));
	ASSERT_STR(two.fetch_source, "file:/data/x ");
	const struct digest x = digest_of("x");
	ASSERT(digest_is_equal(&two.fetch.tree, &x));
	end();
}

/* ---- grants */

TEST(only_the_attempt_that_counts_is_granted_its_keeps)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a"), published))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	const uint64_t attempt = one.start.attempt;
	ASSERT_EQ(keep(&one, attempt + 1), -ESTALE);
	ASSERT_EQ(keep(&one, 0), -ESTALE);
	const struct wire_keep wrong[] = {
		{.attempt = attempt, .task = one.start.task, .item = one.inputs[0].item, .within_usec = WITHIN_USEC},
		{.attempt = attempt, .task = one.start.task, .item = one.inputs[1].item, .within_usec = 0},
		{.attempt = attempt, .task = one.start.task, .item = one.inputs[1].item, .within_usec = UINT64_MAX}};
	for (size_t i = 0; i < countof(wrong); i++)
		ASSERT_EQ(ask(&one, WIRE_KEEP, &wrong[i]), -EINVAL);
	ASSERT_EQ(keep(&one, attempt), 0);
	ASSERT_EQ(keep(&one, attempt), 0);
	connect_peer(&two, TLS_ROLE_NODE, "w2", 2);
	ASSERT_EQ(join_with_data(&two, "bb-2", NULL, 0), 0);
	two.start = one.start;
	two.inputs[0] = one.inputs[1];
	two.n_inputs = 1;
	ASSERT_EQ(keep(&two, attempt), -ESTALE);
	ASSERT_EQ(ended_publishing(&one, "x"), 0);
	ASSERT_EQ(keep(&one, attempt), -ESTALE);
	end();
}

static void lose(struct peer *p)
{
	drop(p);
	settle_all();
	ends_skipped_usec += NODE_TIMEOUT_USEC + 1;
	settle_all();
}

/* The first attempt was granted a keep that it may use for long, then its node was lost. */
static void grant_and_lose(uint64_t within_usec)
{
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 4, BINDINGS(published))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(ask(&one, WIRE_KEEP,
		      &(struct wire_keep){.attempt = one.start.attempt,
					  .task = one.start.task,
					  .item = one.inputs[0].item,
					  .within_usec = within_usec}),
		  0);
	connect_peer(&two, TLS_ROLE_NODE, "w2", 2);
	ASSERT_EQ(join_with_data(&two, "bb-2", NULL, 0), 0);
}

TEST(no_other_attempt_is_granted_while_the_first_may_still_publish)
{
	begin();
	grant_and_lose(NODE_TIMEOUT_USEC + 60000000u);
	const struct wire_held first = {one.start.attempt, one.start.task};
	lose(&one);
	ASSERT(UNTIL(loop, two.n_starts == 1));
	ASSERT_EQ(keep(&two, two.start.attempt), -EAGAIN);
	ASSERT(strstr(two.reason, "ask again in"));
	ends_skipped_usec += 60000001;
	ASSERT_EQ(keep(&two, two.start.attempt), 0);
	// The first is back too late.
	connect_peer(&one, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join_with_data(&one, "aa-1", &first, 1), 0);
	ASSERT(UNTIL(loop, one.n_stops == 1));
	ASSERT(one.stop.fenced);
	one.start = (struct wire_start){.task = first.task};
	one.inputs[0] = two.inputs[0];
	one.n_inputs = 1;
	ASSERT_EQ(keep(&one, first.attempt), -ESTALE);
	ASSERT_EQ(ended_publishing(&two, "x"), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(client.result.attempt, two.start.attempt);
	end();
}

TEST(after_a_restart_a_grant_holds_for_as_long_again)
{
	begin();
	grant_and_lose(NODE_TIMEOUT_USEC + 60000000u);
	end();
	start_vined();
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 5);
	ASSERT_EQ(attach_later(&client, "sweep"), 0);
	connect_peer(&two, TLS_ROLE_NODE, "w2", 6);
	ASSERT_EQ(join_with_data(&two, "bb-2", NULL, 0), 0);
	ends_skipped_usec += NODE_TIMEOUT_USEC + 1;
	ASSERT(UNTIL(loop, two.n_starts == 1));
	ASSERT_EQ(keep(&two, two.start.attempt), -EAGAIN);
	ends_skipped_usec += 60000001;
	ASSERT_EQ(keep(&two, two.start.attempt), 0);
	end();
}

TEST(after_a_restart_the_attempt_that_was_granted_is_granted_again)
{
	begin();
	grant_and_lose(60000000);
	const struct wire_held first = {one.start.attempt, one.start.task};
	const uint64_t item = one.inputs[0].item;
	end();
	start_vined();
	connect_peer(&one, TLS_ROLE_NODE, "w1", 6);
	ASSERT_EQ(join_with_data(&one, "aa-1", &first, 1), 0);
	const struct wire_keep again = {
		.attempt = first.attempt, .task = first.task, .item = item, .within_usec = WITHIN_USEC};
	ASSERT_EQ(ask(&one, WIRE_KEEP, &again), 0);
	end();
}

TEST(what_was_published_is_not_published_again_when_a_task_runs_again_for_a_lost_output)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(OUT("temp:a"), published))), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	const struct wire_output made[] = {{one.inputs[0].item, digest_of("a"), 10},
					   {one.inputs[1].item, digest_of("x"), 10}};
	ASSERT_EQ(ended_with(&one, 1, 0, made, 2), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	connect_peer(&two, TLS_ROLE_NODE, "w2", 2);
	ASSERT_EQ(join_with_data(&two, "bb-2", NULL, 0), 0);
	lose(&one);
	ASSERT_EQ(SUBMIT(&client, TASK(BINDINGS(IN("temp:a")))), 0);
	ASSERT(UNTIL(loop, two.n_starts == 1));
	ASSERT_EQ(keep(&two, two.start.attempt), -EALREADY);
	ASSERT_EQ(ended_with(&two, 1, 0, made, 1), 0);
	ASSERT(UNTIL(loop, two.n_starts == 2));
	end();
}

/* ---- how, and what is left */

TEST(how_a_task_is_run_goes_to_its_node_and_over_a_restart)
{
	static const char *const how[] = {"umask=077", "stdin=a b"};
	begin();
	const struct wire_binding maybe = {.path = "y", .item = "temp:y", .mode = 3, .flags = 9};
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 4, .how = {how, 2}, BINDINGS(maybe)), TASK(.cores = 4, .how = {how, 2}),
			 TASK(.cores = 4)),
		  0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_STR(one.how, "stdin=a b\numask=077\n");
	ASSERT_EQ(one.inputs[0].flags, 9);
	ASSERT_EQ(ended_well(&one), 0);
	ASSERT(UNTIL(loop, client.n_results == 1));
	end();
	start_vined();
	connect_peer(&one, TLS_ROLE_NODE, "w1", 6);
	ASSERT_EQ(join_with_data(&one, "aa-1", NULL, 0), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ends_skipped_usec += NODE_TIMEOUT_USEC + 1;
	ASSERT_STR(one.how, "stdin=a b\numask=077\n");
	ASSERT_EQ(ended_well(&one), 0);
	ASSERT(UNTIL(loop, one.n_starts == 2));
	ASSERT_STR(one.how, "");
	end();
}

TEST(tasks_of_one_submit_may_share_environments)
{
	static const char *const first[] = {"A=1"}, *const second[] = {"B=2"};
	const struct wire_variables shared[] = {{.environment = {first, 1}}, {.environment = {second, 1}}};
	const struct wire_task tasks[] = {{.argv = {prog, 2}, .cores = 4, .environment_of = 2},
					  {.argv = {prog, 2}, .cores = 4, .environment_of = 1},
					  {.argv = {prog, 2}, .cores = 4, .environment = {(const char *const[]){"C=3"}, 1}},
					  {.argv = {prog, 2}, .cores = 4, .environment_of = 2}};
	static const char *const seen[] = {" prog B=2", " prog A=1", " prog C=3", " prog B=2"};
	begin();
	ASSERT_EQ(ask(&client, WIRE_SUBMIT,
		      &(struct wire_submit){.run = client.run, .tasks = {tasks, 4}, .environments = {shared, 2}}),
		  0);
	for (unsigned i = 0; i < 4; i++) {
		ASSERT(UNTIL(loop, one.n_starts == i + 1));
		ASSERT_STR(one.command, seen[i]);
		ASSERT_EQ(ended_well(&one), 0);
	}
	end();
}

TEST(a_missing_output_is_a_failure_of_the_tasks_own)
{
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK(.retries = 1, BINDINGS(OUT("temp:a")))), 0);
	for (unsigned i = 1; i <= 2; i++) {
		ASSERT(UNTIL(loop, one.n_starts == i));
		ASSERT_EQ(client.n_results, 0);
		ASSERT_EQ(ask(&one, WIRE_ENDED,
			      &(struct wire_ended){.attempt = one.start.attempt,
						   .task = one.start.task,
						   .how = 7,
						   .reason = "output a: it is missing"}),
			  0);
	}
	ASSERT(UNTIL(loop, client.n_results == 1));
	ASSERT_EQ(client.result.how, 7);
	ASSERT_STR(client.why, "output a: it is missing");
	end();
}

TEST(what_a_task_left_is_told_now_and_later)
{
	static const char *const left[] = {"/work/core.17", "x y", "a\nb"};
	begin();
	ASSERT_EQ(SUBMIT(&client, TASK()), 0);
	ASSERT(UNTIL(loop, one.n_starts == 1));
	ASSERT_EQ(ask(&one, WIRE_ENDED,
		      &(struct wire_ended){.attempt = one.start.attempt,
					   .task = one.start.task,
					   .how = 1,
					   .left = {left, 3},
					   .n_left = 30,
					   .written_size = 4096}),
		  0);
	for (int i = 0; i < 2; i++) {
		ASSERT(UNTIL(loop, client.n_results == 1));
		ASSERT_STR(client.left, "/work/core.17\nx y\n");
		ASSERT_EQ(client.result.n_left, 30);
		ASSERT_EQ(client.result.written_size, 4096);
		end();
		start_vined();
		connect_peer(&client, TLS_ROLE_CLIENT, "c", 5);
		ASSERT_EQ(attach_later(&client, "sweep"), 0);
	}
	end();
}
