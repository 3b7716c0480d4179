// SPDX-License-Identifier: Apache-2.0
// Random events: nodes that come, go, forget and fail, tasks that need each other, cancels and restarts of vined. In the end each
// task has had a result, and none came again after it was acknowledged.
#include "tests/unit/driver_world.h"

#define WORKERS 4
#define HELD 64
#define TASKS 4096

struct worker {
	struct peer peer;
	struct held {
		uint64_t task, attempt, outputs[2];
		unsigned n_outputs;
		bool is_stopped;
	} held[HELD];
	unsigned n_held;
	struct wire_fetch fetches[HELD];
	unsigned n_fetches;
	bool has_data;
};

static struct worker workers[WORKERS];
static struct peer client;
static uint64_t seed, instance;
static enum { UNKNOWN, SUBMITTED, RESULTED, DONE } tasks[TASKS];
static uint64_t n_tasks, n_temps, waiting[TASKS];
static unsigned n_waiting;

static uint64_t dice(uint64_t n)
{
	return unit_random(&seed) % n;
}

static void on_worker(struct peer *p, uint16_t type, const void *message)
{
	struct worker *w = container_of(p, struct worker, peer);
	const struct wire_start *m = message;
	const struct wire_stop *s = message;
	if (type == WIRE_FETCH && w->n_fetches < HELD)
		w->fetches[w->n_fetches++] = *(const struct wire_fetch *)message;
	if (type == WIRE_START) {
		ASSERT(w->n_held < HELD);
		struct held *h = &w->held[w->n_held++];
		*h = (struct held){.task = m->task, .attempt = m->attempt};
		for (uint32_t i = 0; i < m->inputs.n; i++)
			if (m->inputs.at[i].mode == 3)
				h->outputs[h->n_outputs++] = m->inputs.at[i].item;
	}
	for (unsigned i = 0; type == WIRE_STOP && i < w->n_held; i++) {
		if (w->held[i].attempt != s->attempt)
			continue;
		w->held[i].is_stopped = true;
		if (s->fenced)
			w->held[i] = w->held[--w->n_held];
	}
}

static void on_client(struct peer *p, uint16_t type, const void *message)
{
	const struct wire_result *m = message;
	(void)p;
	if (type != WIRE_RESULT)
		return;
	ASSERT(m->task < TASKS && tasks[m->task] != DONE);
	tasks[m->task] = RESULTED;
	waiting[n_waiting++ % TASKS] = m->task;
}

static void join_worker(struct worker *w, unsigned k)
{
	char uuid[16];
	struct wire_held held[HELD];
	for (unsigned i = 0; i < w->n_held; i++)
		held[i] = (struct wire_held){.attempt = w->held[i].attempt, .task = w->held[i].task};
	snprintf(uuid, sizeof uuid, "%x%x", 10 + k, k);
	w->n_fetches = 0;
	connect_peer(&w->peer, TLS_ROLE_NODE, uuid, ++instance);
	w->peer.on_notice = on_worker;
	ASSERT_EQ((w->has_data ? join_with_data : join)(&w->peer, uuid, held, w->n_held), 0);
	if (w->has_data) // all it had is gone
		conn_send(w->peer.conn, WIRE_REPLICAS, &(struct wire_replicas){.is_all = true});
}

static void submit_some(void)
{
	char out[32], in[2][32];
	struct wire_binding b[3];
	uint32_t n = 0;
	for (unsigned i = 0; i < 2 && n_temps && dice(2); i++) {
		snprintf(in[i], sizeof in[i], "temp:%llu", (unsigned long long)dice(n_temps));
		b[n++] = (struct wire_binding){.path = i ? "/in/1" : "/in/0", .item = in[i], .mode = 1};
	}
	bool makes = dice(2);
	snprintf(out, sizeof out, "temp:%llu", (unsigned long long)n_temps);
	if (makes)
		b[n++] = (struct wire_binding){.path = "/out", .item = out, .mode = 3};
	const struct wire_task t = TASK(.bindings = {b, n}, .retries = (uint32_t)dice(3), .staging = (uint8_t)dice(4));
	ASSERT_EQ(submit_all(&client, &t, 1), 0);
	ASSERT(client.id < TASKS);
	if (tasks[client.id] == UNKNOWN)
		tasks[client.id] = SUBMITTED;
	n_temps += makes;
	n_tasks = client.id;
}

static void end_one(struct worker *w, bool is_good)
{
	if (!w->n_held || !w->peer.conn)
		return;
	struct held h = w->held[dice(w->n_held)];
	struct wire_output made[2];
	uint64_t luck = is_good ? 0 : dice(10);
	for (unsigned i = 0; i < h.n_outputs; i++)
		made[i] = (struct wire_output){h.outputs[i], digest_of(is_good || dice(2) ? "a" : "b"), 10};
	const struct wire_ended m = {.task = h.task,
				     .attempt = h.attempt,
				     .how = h.is_stopped ? 2
					    : luck < 7   ? 1
					    : luck == 7  ? 2
					    : luck == 8  ? 4
							 : 6,
				     .status = luck == 6 || luck == 7,
				     .reason = "random",
				     .outputs = {made, w->has_data && luck < 6 ? h.n_outputs : 0}};
	ASSERT_EQ(ask(&w->peer, WIRE_ENDED, &m), 0);
	for (unsigned i = 0; i < w->n_held; i++)
		if (w->held[i].attempt == h.attempt)
			w->held[i] = w->held[--w->n_held];
}

static void fetch_all(struct worker *w, bool is_good)
{
	while (w->n_fetches && w->peer.conn) {
		const struct wire_fetch f = w->fetches[--w->n_fetches];
		bool fails = !is_good && !dice(4);
		conn_send(w->peer.conn, WIRE_FETCHED,
			  &(struct wire_fetched){.item = f.item, .error = fails ? EIO : 0, .tree = f.tree, .size = 10});
	}
}

static void acknowledge(void)
{
	for (; n_waiting; n_waiting--) {
		uint64_t task = waiting[n_waiting - 1];
		ASSERT_EQ(done(&client, task), 0);
		tasks[task] = DONE;
	}
}

static void restart(void)
{
	for (unsigned k = 0; k < WORKERS; k++)
		if (workers[k].peer.conn)
			drop(&workers[k].peer);
	drop(&client);
	stop_vined();
	uint64_t skipped = ends_skipped_usec;
	start_vined();
	ends_skipped_usec = skipped;
	n_waiting = 0;
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 1000000);
	client.on_notice = on_client;
	ASSERT_EQ(attach(&client, "sweep"), 0);
}

/* Who is asked whether he is there answers before time jumps again: in truth he had all that time. */
static void skip(uint64_t usec)
{
	ends_skipped_usec += usec;
	for (unsigned i = 0; i < 10; i++)
		loop_turn(loop, 0);
}

static void step(void)
{
	unsigned k = (unsigned)dice(WORKERS);
	struct worker *w = &workers[k];
	switch (dice(16)) {
	case 0:
		if (w->peer.conn)
			drop(&w->peer);
		if (dice(2))
			w->n_held = 0;
		break;
	case 1:
	case 2:
		if (!w->peer.conn)
			join_worker(w, k);
		break;
	case 3:
		skip(dice(3) ? 1000000 : NODE_TIMEOUT_USEC + 1);
		break;
	case 4:
		acknowledge();
		break;
	case 5: {
		const uint64_t task = n_tasks ? 1 + dice(n_tasks) : 1;
		if (!dice(4))
			ASSERT_EQ(
				ask(&client, WIRE_ABANDON, &(struct wire_abandon){.run = "sweep", .tasks = {&task, 1}}),
				0);
		break;
	}
	case 6:
		if (!dice(20))
			restart();
		break;
	case 7:
	case 8:
	case 9:
	case 10:
		submit_some();
		break;
	default:
		fetch_all(w, false);
		end_one(w, false);
		break;
	}
	loop_turn(loop, 0);
}

static bool all_are_over(void)
{
	for (uint64_t i = 1; i <= n_tasks; i++)
		if (tasks[i] == SUBMITTED)
			return false;
	return true;
}

/* Nodes were lost under them too often: only the user ends those. */
static void cancel_held(void)
{
	for (uint64_t i = 1; i <= n_tasks; i++) {
		if (tasks[i] != SUBMITTED || !strstr(reason_of(i), "it is held"))
			continue;
		ASSERT_EQ(ask(&client, WIRE_ABANDON, &(struct wire_abandon){.run = "sweep", .tasks = {&i, 1}}), 0);
	}
}

/* All nodes are there and all goes well. */
static void run_out(void)
{
	for (unsigned i = 0; i < 5000 && !all_are_over(); i++) {
		for (unsigned k = 0; k < WORKERS; k++) {
			if (!workers[k].peer.conn)
				join_worker(&workers[k], k);
			fetch_all(&workers[k], true);
			end_one(&workers[k], true);
		}
		acknowledge();
		loop_turn(loop, 1);
		if (i % 50 != 49)
			continue;
		skip(70000000);
		cancel_held();
	}
	for (uint64_t i = 1; i <= n_tasks; i++)
		if (tasks[i] == SUBMITTED)
			printf("task %llu: %s\n", (unsigned long long)i, reason_of(i));
	ASSERT(all_are_over());
}

static void run_seed(uint64_t with, unsigned n_steps, unsigned check_each)
{
	(void)check_each;
	seed = with;
	memset(workers, 0, sizeof workers);
	memset(tasks, 0, sizeof tasks);
	n_tasks = n_temps = n_waiting = 0;
	for (unsigned k = 0; k < WORKERS; k++)
		workers[k].has_data = with % 2;
	char path[512];
	snprintf(path, sizeof path, "rm -rf %s/*", unit_tmpdir());
	ASSERT_EQ(system(path), 0);
	start_vined();
	connect_peer(&client, TLS_ROLE_CLIENT, "c", 1000000);
	client.on_notice = on_client;
	ASSERT_EQ(attach(&client, "sweep"), 0);
	for (unsigned i = 0; i < n_steps; i++)
		step();
	run_out();
	for (unsigned k = 0; k < WORKERS; k++)
		drop(&workers[k].peer);
	drop(&client);
	stop_vined();
}

TEST(random_events_lose_no_task_and_deliver_none_twice)
{
	unit_run_seeds(&(struct unit_seeds){.name = "DRIVER_SEED", .n_seeds = 6, .n_soak = 200, .n_steps = 400},
		       run_seed);
}
