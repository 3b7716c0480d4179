// SPDX-License-Identifier: Apache-2.0
// Waiting for a run or a task: one question, one answer; and results that nobody but who waits wants.
#include "tests/unit/driver_world.h"
#include "vined/store_read.h"

static struct peer node, client, waiter;

struct waited {
	struct call call;
	int n_answers, error;
	char over[8];
};
static struct waited waits[2];

static void on_waited(struct call *c, int error, uint16_t type, const void *message)
{
	struct waited *w = container_of(c, struct waited, call);
	w->n_answers++;
	w->error = error;
	if (type == WIRE_ROWS)
		snprintf(w->over, sizeof w->over, "%s", ((const struct wire_rows *)message)->cells.at[0]);
}

static void begin_wait(int i, const char *selector)
{
	waits[i] = (struct waited){.call = {.on_reply = on_waited}};
	ASSERT_EQ(call_start(&waits[i].call, waiter.conn, WIRE_QUERY,
			     &(struct wire_query){.what = "over", .selector = selector}, 0),
		  0);
	settle_all();
}

static const char *answer(int i)
{
	return UNTIL(loop, waits[i].n_answers) ? waits[i].over : "nothing";
}

/* Submitted, and its client is gone. */
static uint64_t submit_and_go(const struct wire_task *tasks, size_t n)
{
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(set(&client, "sweep", "lifetime", "forever"), 0);
	ASSERT_EQ(submit_all(&client, tasks, n), 0);
	uint64_t id = client.id;
	drop(&client);
	settle_all();
	return id;
}

static void begin(void)
{
	start_vined();
	connect_peer(&node, TLS_ROLE_NODE, "w1", 1);
	ASSERT_EQ(join(&node, "aa-1", NULL, 0), 0);
	connect_peer(&waiter, TLS_ROLE_CLIENT, "w", 3);
}

static void end(void)
{
	drop(&node);
	drop(&waiter);
	stop_vined();
}

static void run_all(unsigned n)
{
	for (unsigned i = node.n_starts; i <= n; i++) {
		ASSERT(UNTIL(loop, node.n_starts >= i));
		ASSERT_EQ(ended_well(&node), 0);
	}
}

static size_t unacknowledged(void)
{
	size_t n_unfinished, n_ended;
	driver_find_run(driver, "sweep", &n_unfinished, &n_ended);
	return n_ended;
}

/* One after the other on a node of 4 cores. */
#define LARGE TASK(.cores = 4)

TEST(who_waits_for_a_run_is_answered_once_when_it_is_over_and_its_results_count_as_delivered)
{
	begin();
	submit_and_go((const struct wire_task[]){TASK(.cores = 4, .array_first = 1, .array_n = 3)}, 1);
	begin_wait(0, "20000000 sweep");
	begin_wait(1, "20000000 sweep");
	run_all(2);
	settle_all();
	ASSERT_EQ(waits[0].n_answers + waits[1].n_answers, 0);
	ASSERT_EQ(unacknowledged(), 0);
	run_all(3);
	ASSERT_STR(answer(0), "yes");
	ASSERT_STR(answer(1), "yes");
	ASSERT_EQ(waiter.n_results, 0);
	struct store_ends ends = {0};
	ASSERT_EQ(store_count_ended(store, 0, 1, &ends), 0);
	ASSERT_EQ(ends.n[STORE_END_GOOD], 3);
	end();
	start_vined();
	ASSERT_EQ(unacknowledged(), 0);
	stop_vined();
}

TEST(results_that_were_there_before_are_taken_by_steps_and_the_run_can_be_forgotten)
{
	begin();
	submit_and_go((const struct wire_task[]){LARGE, LARGE}, 2);
	run_all(2);
	settle_all();
	ASSERT_EQ(unacknowledged(), 2);
	begin_wait(0, "20000000 sweep");
	ASSERT_STR(answer(0), "yes");
	ASSERT_EQ(unacknowledged(), 0);
	ASSERT_EQ(attach(&waiter, "sweep"), 0);
	ASSERT_EQ(ask(&waiter, WIRE_FORGET, &(struct wire_forget){.run = "sweep"}), 0);
	end();
}

TEST(after_a_restart_results_are_taken_once_who_submitted_has_not_come_back)
{
	begin();
	submit_and_go((const struct wire_task[]){LARGE}, 1);
	run_all(1);
	settle_all();
	end();
	ends_stand_still();
	begin();
	ASSERT_EQ(unacknowledged(), 1);
	begin_wait(0, "20000000 sweep");
	ends_skipped_usec += 1000001;
	settle_all();
	ASSERT_EQ(waits[0].n_answers, 0);
	ends_skipped_usec += 2000001;
	ASSERT_STR(answer(0), "yes");
	ASSERT_EQ(unacknowledged(), 0);
	end();
}

TEST(results_of_a_session_that_is_there_are_its_own)
{
	ends_stand_still();
	begin();
	submit_and_go((const struct wire_task[]){LARGE}, 1);
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 4);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	begin_wait(0, "20000000 sweep");
	run_all(1);
	ASSERT(UNTIL(loop, client.n_results == 1));
	settle_all();
	ASSERT_EQ(waits[0].n_answers, 0);
	/* It has its time to say that they have arrived; then that it is over is what counts. */
	ends_skipped_usec += 1000001;
	ASSERT_STR(answer(0), "yes");
	ASSERT_EQ(unacknowledged(), 1);
	ASSERT_EQ(done(&client, client.result.task), 0);
	ASSERT_EQ(unacknowledged(), 0);
	drop(&client);
	end();
}

TEST(of_a_run_that_its_client_comes_back_for_nothing_is_taken)
{
	begin();
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 2);
	ASSERT_EQ(attach(&client, "sweep"), 0);
	ASSERT_EQ(SUBMIT(&client, LARGE), 0);
	drop(&client);
	settle_all();
	begin_wait(0, "20000000 sweep");
	run_all(1);
	ASSERT_STR(answer(0), "yes");
	ASSERT_EQ(unacknowledged(), 1);
	end();
}

TEST(a_task_is_waited_for_by_its_number_also_one_that_no_element_was_made_for_yet)
{
	char text[40];
	begin();
	uint64_t id = submit_and_go(
		(const struct wire_task[]){TASK(.cores = 4, .array_first = 1, .array_n = 3, .array_running = 1)}, 1);
	snprintf(text, sizeof text, "20000000 %llu", (unsigned long long)id + 1);
	begin_wait(0, text);
	run_all(1);
	settle_all();
	ASSERT_EQ(waits[0].n_answers, 0);
	run_all(2);
	ASSERT_STR(answer(0), "yes");
	run_all(3);
	end();
}

TEST(who_waits_hears_no_when_the_time_is_over_and_yes_of_what_is_not_in_memory)
{
	begin();
	submit_and_go((const struct wire_task[]){LARGE}, 1);
	begin_wait(0, "5000000 sweep");
	ASSERT_EQ(waits[0].n_answers, 0);
	ends_skipped_usec += 5000001;
	ASSERT_STR(answer(0), "no");
	begin_wait(0, "5000000 4711");
	ASSERT_STR(answer(0), "yes");
	static const char *const odd[] = {"", "sweep", "5", "5 ", " sweep", "x sweep"};
	for (size_t i = 0; i < countof(odd); i++) {
		begin_wait(0, odd[i]);
		ASSERT(UNTIL(loop, waits[0].n_answers));
		ASSERT_EQ(waits[0].error, -EINVAL);
	}
	end();
}

TEST(one_that_hangs_up_is_not_answered_and_vined_stops_while_others_wait)
{
	begin();
	submit_and_go((const struct wire_task[]){LARGE}, 1);
	begin_wait(0, "20000000 sweep");
	drop(&waiter);
	settle_all();
	run_all(1);
	settle_all();
	ASSERT_EQ(unacknowledged(), 0);
	submit_and_go((const struct wire_task[]){LARGE}, 1);
	connect_peer(&waiter, TLS_ROLE_CLIENT, "w", 5);
	begin_wait(1, "20000000 sweep");
	end();
}
