/* SPDX-License-Identifier: Apache-2.0
 * How long the pure core takes per decision, whatever the numbers of nodes, tasks, classes and inputs are: a saturated
 * cluster in which each task that ends makes room for the next, and the queue is kept at its length; once with tasks that may still
 * wait for the holders of their inputs, once when all have waited longer than the bytes would travel. A class is a shape and a user:
 * what it reads is its own or everybody's. The row in which each of 500 classes reads everything leaves nearly every task
 * alone in its lane; it is shown and does not count. SHAPE=N: row N alone, from 0.
 *
 * And what happens at once: a million submits, 10,000 nodes that join a full queue, the loss of 1,000 of them.
 *
 * sched-plan: what it costs the core for each node to bring one tree to 10,000 nodes: who is told whom to ask, what each says of how
 * much it has, and a tenth of them lost and come again amid it. The core knows of a tree its size and nothing of its blobs. PLAN=1:
 * this alone. */
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
	bool is_mixed; /* every class reads everything */
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
	uint64_t window = s->is_mixed ? w->n_items : max(w->n_items / s->n_classes, 1u);
	for (unsigned i = 0; i < s->n_inputs; i++)
		inputs[i] = 1 + (s->is_mixed ? 0 : class * window % w->n_items) + roll(w, window);
	if (core_task_add(w->core, ++w->last_task, &spec))
		abort();
}

static void add_items(struct world *w, const struct shape *s)
{
	w->n_items = s->n_inputs ? s->n_nodes * 4 : 1;
	for (uint64_t i = 1; i <= w->n_items && s->n_inputs; i++)
		core_item_add(w->core, i, &(struct core_item_spec){.size = 100 << 20, .tree = i, .source = 1});
}

/* Each item is on three nodes, and one of a hundred everywhere. */
static void add_replicas(struct world *w, const struct shape *s)
{
	for (uint64_t i = 1; i <= w->n_items && s->n_inputs; i++)
		for (unsigned k = 0; k < (i % 100 ? 3 : 64); k++)
			core_replica_set(w->core, 1 + roll(w, s->n_nodes), i, 100 << 20);
}

static void add_nodes(struct world *w, const struct shape *s, uint32_t n_cores)
{
	for (uint64_t n = 1; n <= s->n_nodes; n++)
		core_node_add(w->core, n, &(struct core_node_spec){.cores = n_cores, .memory = UINT64_C(16) << 30});
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

struct cost {
	double decide, all; /* microseconds: the decision alone; with its submit and end */
};

static struct cost run(struct world *w, const struct shape *s, uint64_t *now_usec)
{
	double decide = 0, all = 0;
	size_t n = 0;
	while (n < N_DECISIONS) {
		size_t batch = min(w->n_running, (size_t)64);
		double t0 = cpu_now_sec();
		core_set_time(w->core, *now_usec += 100);
		for (size_t i = 0; i < batch; i++)
			end_one(w);
		for (size_t i = 0; i < batch; i++)
			add_task(w, s);
		double t1 = cpu_now_sec();
		n += core_decide(w->core, 0);
		double t2 = cpu_now_sec();
		decide += t2 - t1;
		all += t2 - t0;
	}
	return (struct cost){decide * 1e6 / (double)n, all * 1e6 / (double)n};
}

static void measure(const struct shape *s, struct cost *fresh, struct cost *late, double *bytes)
{
	struct world w = {.state = 88172645463325252u};
	w.core = core_new(&actions, &w, NULL);
	add_nodes(&w, s, 8);
	add_items(&w, s);
	add_replicas(&w, s);
	/* Room is filled first, so that the queue's memory is that of queued tasks. */
	for (unsigned i = 0; i < s->n_nodes * 8; i++)
		add_task(&w, s);
	core_decide(w.core, 0);
	size_t before = rss_now();
	for (unsigned i = 0; i < s->n_tasks; i++)
		add_task(&w, s);
	*bytes = (double)(rss_now() - before) / s->n_tasks;
	core_decide(w.core, 0);
	uint64_t now_usec = 1;
	*fresh = run(&w, s, &now_usec);
	for (uint64_t due; (due = core_next_due(w.core)) != UINT64_MAX;) {
		core_set_time(w.core, now_usec = max(now_usec, due));
		core_decide(w.core, 0);
	}
	*late = run(&w, s, &now_usec);
	core_free(w.core);
	free(w.running);
}

/* ---- at once */

/* Seconds of the core's time for each. */
static void measure_events(unsigned n_inputs)
{
	enum { N_NODES = 10000, N_LOST = 1000, N_TASKS = 1000000 };
	const struct shape s = {.n_nodes = N_NODES, .n_classes = 1, .n_inputs = n_inputs, .is_mixed = true};
	struct world w = {.state = 88172645463325252u};
	w.core = core_new(&actions, &w, NULL);
	add_items(&w, &s);
	double t0 = cpu_now_sec();
	for (unsigned i = 0; i < N_TASKS; i++)
		add_task(&w, &s);
	double t1 = cpu_now_sec();
	add_nodes(&w, &s, 10);
	add_replicas(&w, &s);
	core_decide(w.core, 0);
	double t2 = cpu_now_sec();
	assert(w.n_running == N_NODES * 10);
	for (uint64_t n = 1; n <= N_LOST; n++)
		core_node_lost(w.core, n);
	core_decide(w.core, 0);
	double t3 = cpu_now_sec();
	core_check(w.core);
	printf("%u inputs: 1,000,000 submits %.2f s; then 10,000 nodes join and 100,000 tasks start %.2f s; 1,000 of "
	       "them lost "
	       "%.3f s\n",
	       n_inputs, t1 - t0, t2 - t1, t3 - t2);
	core_free(w.core);
	free(w.running);
}

/* ---- one tree to all */

#define N_PLANNED 10000u
#define RACK 40u
#define REPORTS 20u /* of each node, of how much has come */
#define TREE_SIZE (UINT64_C(4) << 30)

struct planned {
	struct core *core;
	uint64_t now_usec;
	size_t n_fetches, n_peers, n_reads;
};

static void on_fetch(void *arg, const struct core_fetch *f)
{
	struct planned *p = arg;
	p->n_fetches++;
	p->n_peers += f->n_peers;
	p->n_reads += f->source != 0;
}

static void on_fetch_stop(void *arg, uint64_t node, uint64_t item)
{
	(void)arg, (void)node, (void)item;
}

static const struct core_actions plan_actions = {
	.start = on_start,
	.stop = on_stop,
	.cancelled = on_cancelled,
	.held = on_held,
	.next_attempt = next_attempt,
	.fetch = on_fetch,
	.fetch_stop = on_fetch_stop,
};

static void plan_node(struct planned *p, uint64_t n)
{
	core_node_add(p->core, n, &(struct core_node_spec){.cores = 8, .rack = 1 + n / RACK});
	core_item_bring(p->core, 1, n, 0);
}

static void plan_turn(struct planned *p)
{
	core_set_time(p->core, p->now_usec += 1000000);
	core_decide(p->core, 0);
}

/* Seconds of the core's time. */
static double plan(struct planned *p)
{
	double from = cpu_now_sec();
	for (uint64_t n = 1; n <= N_PLANNED; n++)
		plan_node(p, n);
	plan_turn(p);
	for (uint64_t k = 1; k <= REPORTS; k++) {
		for (uint64_t n = 1; n <= N_PLANNED; n++)
			core_replica_set(p->core, n, 1, TREE_SIZE * k / REPORTS);
		for (uint64_t n = 1; k == REPORTS / 2 && n <= N_PLANNED / 10; n++)
			core_node_lost(p->core, n);
		plan_turn(p);
		for (uint64_t n = 1; k == REPORTS / 2 && n <= N_PLANNED / 10; n++)
			plan_node(p, n);
		plan_turn(p);
	}
	return cpu_now_sec() - from;
}

static void measure_plan(void)
{
	double usec[N_ROUNDS];
	struct planned p;
	for (unsigned r = 0; r < N_ROUNDS; r++) {
		p = (struct planned){.core = NULL};
		p.core = core_new(&plan_actions, &p, NULL);
		core_item_add(p.core, 1, &(struct core_item_spec){.size = TREE_SIZE, .source = 7, .tree = 1});
		usec[r] = plan(&p) * 1e6 / N_PLANNED;
		struct core_numbers n;
		core_numbers(p.core, &n);
		assert(!n.fetches && n.replicas == N_PLANNED);
		core_check(p.core);
		core_free(p.core);
	}
	struct spread s = spread_of(usec, N_ROUNDS);
	printf("one tree to %u nodes, a tenth of them lost amid it: %.1f us a node (%.1f-%.1f), told %.2f times and "
	       "%.1f "
	       "neighbours each, %zu reads of the source\n",
	       N_PLANNED, s.median, s.low, s.high, (double)p.n_fetches / N_PLANNED,
	       (double)p.n_peers / (double)p.n_fetches, p.n_reads);
	bench_end("sched-plan", s.median / 1000, "ms", "1", "\"told\":%.3f,\"reads\":%zu",
		  (double)p.n_fetches / N_PLANNED, p.n_reads);
}

static void measure_shape(const struct shape *s, double *usec, double *bytes)
{
	unsigned n_rounds = s->n_tasks > 100000 ? 3 : N_ROUNDS;
	double fresh[N_ROUNDS], late[N_ROUNDS], all[N_ROUNDS];
	for (unsigned r = 0; r < n_rounds; r++) {
		struct cost f, l;
		measure(s, &f, &l, bytes);
		fresh[r] = f.decide;
		late[r] = l.decide;
		all[r] = max(f.all, l.all);
	}
	struct spread f = spread_of(fresh, n_rounds), l = spread_of(late, n_rounds), a = spread_of(all, n_rounds);
	printf("%7u %8u %7u%s %6u   %6.3f (%.3f-%.3f)   %6.3f (%.3f-%.3f) %10.3f %14.0f\n", s->n_nodes, s->n_tasks,
	       s->n_classes, s->is_mixed && s->n_classes > 1 && s->n_inputs ? "*" : " ", s->n_inputs, f.median, f.low,
	       f.high, l.median, l.low, l.high, a.median, *bytes);
	*usec = max(f.median, l.median);
}

int main(void)
{
	static const struct shape shapes[] = {
		{100, 10000, 1, 0, false},       {1000, 10000, 1, 0, false},      {10000, 10000, 1, 0, false},
		{1000, 1000000, 1, 0, false},    {10000, 1000000, 1, 0, false},   {1000, 10000, 500, 0, false},
		{10000, 1000000, 500, 0, false}, {100, 10000, 1, 4, false},       {1000, 10000, 500, 4, false},
		{10000, 1000000, 1, 4, false},   {10000, 1000000, 500, 4, false}, {10000, 1000000, 500, 4, true},
	};
	double worst = 0, most_bytes = 0, mixed = 0;
	const char *only = getenv("SHAPE");
	if (getenv("PLAN")) {
		measure_plan();
		return 0;
	}
	printf("%7s %8s %7s %7s   us a decision (low-high)   when all have waited   with submit, end   bytes a task\n",
	       "nodes", "tasks", "classes", "inputs");
	for (size_t i = 0; i < countof(shapes); i++) {
		const struct shape *s = &shapes[i];
		double usec, bytes;
		if (only && strtoul(only, NULL, 10) != i)
			continue;
		measure_shape(s, &usec, &bytes);
		if (s->is_mixed) {
			mixed = usec;
		} else if (s->n_nodes == 10000 && s->n_tasks == 1000000) {
			worst = max(worst, usec);
			most_bytes = max(most_bytes, bytes);
		}
	}
	printf("* each class reads everything\n");
	if (!only) {
		measure_events(0);
		measure_events(4);
		measure_plan();
	}
	bench_end("sched-core", worst, "us", "1", "\"bytes\":%.0f,\"mixed\":%.3f", most_bytes, mixed);
	return 0;
}
