/* SPDX-License-Identifier: Apache-2.0
 * How long the pure core takes per decision, whatever the numbers of nodes, tasks, classes and inputs are: a saturated
 * cluster in which each task that ends makes room for the next, and the queue is kept at its length. SHAPE=N: row N alone, from 0. */
#include "core/core.h"
#include "tests/bench/bench.h"

#include <malloc.h>

/* The processor's time, not the clock's: others may be running here. */
static double cpu_now_sec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#define N_ROUNDS 5
#define N_DECISIONS 60000u
#define TARGET_USEC 1.0

struct shape {
	unsigned n_nodes, n_tasks, n_classes, n_inputs;
};

struct world {
	struct core *core;
	uint64_t last_task, last_attempt, state;
	struct running {
		uint64_t task, attempt;
	} * running;
	size_t n_running, room;
	unsigned n_items;
};

static uint64_t roll(struct world *w, uint64_t n)
{
	w->state ^= w->state << 13;
	w->state ^= w->state >> 7;
	w->state ^= w->state << 17;
	return (w->state >> 11) % n;
}

static void on_start(void *arg, uint64_t task, uint64_t node, uint64_t attempt)
{
	struct world *w = arg;
	(void)node;
	if (w->n_running == w->room) {
		w->room = max(w->room * 2, (size_t)1024);
		w->running = xrealloc(w->running, w->room * sizeof *w->running);
	}
	w->running[w->n_running++] = (struct running){task, attempt};
}

static void on_stop(void *arg, uint64_t task, uint64_t node, uint64_t attempt, bool is_fenced)
{
	(void)arg, (void)task, (void)node, (void)attempt, (void)is_fenced;
	abort();
}

static void on_cancelled(void *arg, uint64_t task)
{
	(void)arg, (void)task;
}

static void on_held(void *arg, uint64_t task, unsigned losses)
{
	(void)arg, (void)task, (void)losses;
	abort();
}

static uint64_t next_attempt(void *arg)
{
	return ++((struct world *)arg)->last_attempt;
}

static const struct core_actions actions = {
	.start = on_start,
	.stop = on_stop,
	.cancelled = on_cancelled,
	.held = on_held,
	.next_attempt = next_attempt,
};

/* A class is a pair of cores and memory; most tasks are small, as tasks are. */
static void add_task(struct world *w, const struct shape *s)
{
	uint64_t inputs[8];
	uint64_t class = roll(w, s->n_classes);
	struct core_task_spec spec = {
		.cores = 1 + (uint32_t)(class % 4 == 3 ? class / 4 % 4 : 0),
		.memory = (1 + class / 16) << 25,
		.inputs = inputs,
		.n_inputs = s->n_inputs,
	};
	for (unsigned i = 0; i < s->n_inputs; i++)
		inputs[i] = 1 + roll(w, w->n_items);
	if (core_task_add(w->core, ++w->last_task, &spec))
		abort();
}

/* Each item is on three nodes, and one of a hundred everywhere. */
static void add_items(struct world *w, const struct shape *s)
{
	w->n_items = s->n_nodes * 4;
	for (uint64_t i = 1; i <= w->n_items; i++) {
		core_item_add(w->core, i, &(struct core_item_spec){.size = 100 << 20, .tree = i, .source = 1});
		for (unsigned k = 0; k < (i % 100 ? 3 : 64); k++)
			core_replica_set(w->core, 1 + roll(w, s->n_nodes), i, 100 << 20);
	}
}

static size_t rss_now(void)
{
	struct mallinfo2 m = mallinfo2();
	return m.uordblks + m.hblkhd;
}

static void end_one(struct world *w)
{
	size_t i = roll(w, w->n_running);
	struct running r = w->running[i];
	w->running[i] = w->running[--w->n_running];
	if (core_attempt_ended(w->core, r.task, r.attempt))
		abort();
}

/* Microseconds per started task: its submit, the decision, its end. *decide: of these the decision alone. */
static double measure(const struct shape *s, double *decide_usec, double *bytes)
{
	struct world w = {.state = 88172645463325252u};
	w.core = core_new(&actions, &w, NULL);
	for (uint64_t n = 1; n <= s->n_nodes; n++)
		core_node_add(w.core, n, &(struct core_node_spec){.cores = 8, .memory = UINT64_C(16) << 30});
	if (s->n_inputs)
		add_items(&w, s);
	/* Room is filled first, so that the queue's memory is that of queued tasks. */
	for (unsigned i = 0; i < s->n_nodes * 8; i++)
		add_task(&w, s);
	core_decide(w.core, 0);
	size_t before = rss_now();
	for (unsigned i = 0; i < s->n_tasks; i++)
		add_task(&w, s);
	*bytes = (double)(rss_now() - before) / s->n_tasks;
	core_decide(w.core, 0);
	double decide = 0, all = 0;
	size_t n = 0;
	uint64_t now_usec = 1;
	while (n < N_DECISIONS) {
		size_t batch = min(w.n_running, (size_t)64);
		double t0 = cpu_now_sec();
		core_set_time(w.core, now_usec += 100);
		for (size_t i = 0; i < batch; i++)
			end_one(&w);
		for (size_t i = 0; i < batch; i++)
			add_task(&w, s);
		double t1 = cpu_now_sec();
		n += core_decide(w.core, 0);
		double t2 = cpu_now_sec();
		decide += t2 - t1;
		all += t2 - t0;
	}
	core_free(w.core);
	free(w.running);
	*decide_usec = decide * 1e6 / (double)n;
	return all * 1e6 / (double)n;
}

int main(void)
{
	static const struct shape shapes[] = {
		{100, 10000, 1, 0},     {1000, 10000, 1, 0},    {10000, 10000, 1, 0},     {1000, 1000000, 1, 0},
		{10000, 1000000, 1, 0}, {1000, 10000, 500, 0},  {10000, 1000000, 500, 0}, {100, 10000, 1, 4},
		{1000, 10000, 500, 4},  {10000, 1000000, 1, 4}, {10000, 1000000, 500, 4},
	};
	double worst = 0, most_bytes = 0;
	const char *only = getenv("SHAPE");
	printf("%7s %8s %8s %7s   us a decision (low-high)   us with submit and end   bytes a queued task\n", "nodes",
	       "tasks", "classes", "inputs");
	for (size_t i = 0; i < countof(shapes); i++) {
		const struct shape *s = &shapes[i];
		if (only && strtoul(only, NULL, 10) != i)
			continue;
		unsigned n_rounds = s->n_tasks > 100000 ? 3 : N_ROUNDS;
		double decide[N_ROUNDS], all[N_ROUNDS], bytes = 0;
		for (unsigned r = 0; r < n_rounds; r++)
			all[r] = measure(s, &decide[r], &bytes);
		struct spread d = spread_of(decide, n_rounds), a = spread_of(all, n_rounds);
		printf("%7u %8u %8u %7u   %6.3f (%.3f-%.3f) %20.3f %22.0f\n", s->n_nodes, s->n_tasks, s->n_classes,
		       s->n_inputs, d.median, d.low, d.high, a.median, bytes);
		if (s->n_nodes == 10000 && s->n_tasks == 1000000) {
			worst = max(worst, d.median);
			most_bytes = max(most_bytes, bytes);
		}
	}
	bench_end("sched-core", worst, "us", "1", "\"bytes\":%.0f", most_bytes);
	return 0;
}
