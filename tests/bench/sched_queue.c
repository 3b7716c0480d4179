/* SPDX-License-Identifier: Apache-2.0
 * A million tasks that wait: what each takes of vined's memory, how long their submit takes, and vined's death and return. */
#include "tests/bench/sched_bodies.h"
#include "tests/bench/sched_wire.h"
#include "tests/bench/sched_work.h"

enum { MILLION = 1000000, INPUTS = 4, ITEMS = 40000, PER_SUBMIT = 5000, PAIRS = 3 };

/* ---- memory */

/* Tasks with `n_inputs` inputs each of ITEMS shared paths. False: vined takes no inputs yet. */
static bool submit_with_inputs(struct sched_world *w, uint64_t n, unsigned n_inputs)
{
	static char items[ITEMS][48], paths[INPUTS][16];
	static struct wire_binding bindings[PER_SUBMIT][INPUTS];
	static struct wire_task tasks[PER_SUBMIT];
	static const char *const argv[] = {"true"};
	struct sched_wire *c = sched_wire_new(w, "memory", NULL, NULL);
	char reason[256];
	uint64_t item = 0;
	for (unsigned i = 0; i < ITEMS; i++)
		snprintf(items[i], sizeof items[i], "file:/shared/data/part-%05u", i);
	for (unsigned i = 0; i < INPUTS; i++)
		snprintf(paths[i], sizeof paths[i], "in/%u", i);
	for (uint64_t done = 0; done < n; done += PER_SUBMIT) {
		uint32_t some = (uint32_t)min((uint64_t)PER_SUBMIT, n - done);
		for (uint32_t i = 0; i < some; i++) {
			for (unsigned k = 0; k < n_inputs; k++, item += 7919)
				bindings[i][k] = (struct wire_binding){.path = paths[k],
								       .item = items[item % ITEMS],
								       .mode = 1,
								       .size = 1 << 20,
								       .signature = "1048576:1700000000000000000:1"};
			tasks[i] = (struct wire_task){.argv = {argv, 1}, .bindings = {bindings[i], n_inputs}};
		}
		int r = sched_wire_submit(c, tasks, some, reason);
		if (r && (r != EOPNOTSUPP || done))
			sched_fail("SUBMIT: %s", reason);
		if (r) {
			printf("with %u inputs: not yet: vined says: %s\n", n_inputs, reason);
			sched_wire_free(c);
			return false;
		}
	}
	sched_wire_free(c);
	return true;
}

/* Bytes a task; negative: not yet. */
static double measure_memory(struct sched_world *w, const char *state, uint64_t n, unsigned n_inputs)
{
	sched_vined_start(w, state, NULL);
	uint64_t before = sched_vined_rss(w);
	double began_sec = bench_now_sec(), bytes = -1;
	if (submit_with_inputs(w, n, n_inputs)) {
		bytes = ((double)sched_vined_rss(w) - (double)before) / (double)n;
		printf("%llu queued tasks with %u inputs each: %.0f bytes a task (RSS %.1f MiB before), submitted in "
		       "%.2f s\n",
		       (unsigned long long)n, n_inputs, bytes, (double)before / 1048576, bench_now_sec() - began_sec);
	}
	fflush(stdout);
	sched_vined_kill(w); /* how long it takes to end is not the question */
	return bytes;
}

void sched_memory(struct sched_world *w)
{
	uint64_t n = sched_scaled(w, "VINE_BENCH_TASKS", MILLION);
	if (n < MILLION)
		printf("of %d items; with fewer tasks than a million these weigh more\n", ITEMS);
	double without = measure_memory(w, "vined0", n, 0);
	double with = measure_memory(w, "vined4", n, INPUTS);
	printf("measured elsewhere: the prototype's core tables 121-141; TaskVine about 1,900\n");
	sched_note(w, "without_inputs", without);
	if (with >= 0)
		sched_note(w, "with_inputs", with);
	sched_end(w, with >= 0 ? with : without, with >= 0 ? "bytes" : "bytes without inputs", "400 with 4 inputs");
}

/* ---- submit */

static double submit_array(struct sched_world *w, uint64_t n)
{
	static const char *const argv[] = {"true", "{index}"};
	const struct wire_task t = {.argv = {argv, 2}, .array_first = 1, .array_step = 1, .array_n = n};
	char reason[256];
	struct sched_wire *c = sched_wire_new(w, "array", NULL, NULL);
	double began_sec = bench_now_sec();
	int r = sched_wire_submit(c, &t, 1, reason);
	double sec = bench_now_sec() - began_sec;
	sched_wire_free(c);
	if (r) {
		printf("as one array: not yet: vined says: %s\n", reason);
		return -1;
	}
	/* One that knows no arrays takes it for a single task. */
	c = sched_wire_new(w, "array", NULL, NULL);
	uint64_t pending = sched_wire_pending(c);
	sched_wire_free(c);
	if (pending != n)
		printf("as one array: not yet: vined took it for %llu tasks\n", (unsigned long long)pending);
	return pending == n ? sec : -1;
}

void sched_submit(struct sched_world *w)
{
	uint64_t n = sched_scaled(w, "VINE_BENCH_TASKS", MILLION);
	double sec[PAIRS], array[PAIRS], cpu[PAIRS], client[PAIRS];
	bool has_arrays = true;
	for (unsigned i = 0; i < PAIRS; i++) {
		_free_ char *state = xasprintf("vined%u", i);
		sched_vined_start(w, state, NULL);
		array[i] = has_arrays ? submit_array(w, n) : -1;
		has_arrays = array[i] >= 0;
		sched_vined_kill(w);
		_free_ char *other = xasprintf("vined%u-tasks", i);
		sched_vined_start(w, other, NULL);
		struct vine *v = sched_open("submit");
		double began_sec = bench_now_sec(), own_sec = sched_own_cpu_sec();
		sched_post(v, n, min(n, (uint64_t)PER_SUBMIT));
		sec[i] = bench_now_sec() - began_sec;
		client[i] = (sched_own_cpu_sec() - own_sec) / (double)n * 1e6;
		sched_close(v);
		struct sched_cpu all = sched_vined_cpu(w);
		cpu[i] = (all.loop_sec + all.writer_sec) / (double)n * 1e6;
		printf("%llu tasks of %d bytes: %.2f s, vined %.2f us each (loop %.2f, writer %.2f), client %.2f\n",
		       (unsigned long long)n, SCHED_PAYLOAD, sec[i], cpu[i], all.loop_sec / (double)n * 1e6,
		       all.writer_sec / (double)n * 1e6, client[i]);
		fflush(stdout);
		sched_vined_kill(w);
	}
	struct spread s = spread_of(sec, PAIRS);
	printf("tasks: %.2f s (%.2f-%.2f)\n", s.median, s.low, s.high);
	if (has_arrays) {
		struct spread a = spread_of(array, PAIRS);
		printf("as one array: %.3f s (%.3f-%.3f)\n", a.median, a.low, a.high);
		sched_note(w, "array", a.median);
	}
	printf("measured elsewhere: the prototype 6.8 s; Ray 184 s\n");
	sched_note(w, "vined_usec", spread_of(cpu, PAIRS).median);
	sched_note(w, "client_usec", spread_of(client, PAIRS).median);
	sched_end(w, s.median, "s", "8; as one array 1");
}

/* ---- restart */

/* All that was queued must be run and delivered, each once, by whoever attaches then. */
static void check_all(struct sched_fakes *fakes, uint64_t n)
{
	struct sched_seen seen = {0};
	struct vine *v = sched_open("restart");
	double began_sec = bench_now_sec();
	sched_take(v, &seen, n);
	struct vine_event *e;
	int r = vine_next(v, NULL, 0, &e);
	struct sched_counts c = sched_fakes_ask(fakes, "numbers");
	if (r != -ENODATA || seen.n_twice || seen.n_bad || c.doubled || c.started != n)
		sched_fail("%llu results, %llu twice, %llu bad; %llu attempts started, %llu twice; vine_next says %d",
			   (unsigned long long)seen.n, (unsigned long long)seen.n_twice, (unsigned long long)seen.n_bad,
			   (unsigned long long)c.started, (unsigned long long)c.doubled, r);
	printf("all %llu tasks ran once and were delivered once in %.1f s\n", (unsigned long long)n,
	       bench_now_sec() - began_sec);
	sched_seen_fini(&seen);
	sched_close(v);
}

static double await_first(struct sched_fakes *fakes)
{
	double end_sec = bench_now_sec() + 60;
	struct sched_counts c;
	sched_fakes_await(fakes);
	while (!(c = sched_fakes_ask(fakes, "numbers")).started) {
		if (bench_now_sec() > end_sec)
			sched_fail("nothing was started within a minute of vined's return");
		sched_pause(0.01);
	}
	return c.first_sec;
}

void sched_restart(struct sched_world *w)
{
	uint64_t n = sched_scaled(w, "VINE_BENCH_TASKS", MILLION);
	struct sched_fakes fakes;
	double ready[PAIRS], first_sec = 0;
	sched_vined_start(w, "vined", NULL);
	struct vine *v = sched_open("restart");
	sched_post(v, n, min(n, (uint64_t)PER_SUBMIT));
	sched_close(v);
	for (unsigned i = 0; i < PAIRS; i++) {
		sched_vined_kill(w);
		double began_sec = bench_now_sec();
		/* In the last round they dial, again and again, before it is there, as real nodes would. */
		if (i == PAIRS - 1)
			sched_fakes_start(w, &fakes, 100,
					  (const char *const[]){"cores=16", "retry=50000", "at-once=100", NULL}, false);
		ready[i] = sched_vined_start(w, NULL, NULL) - began_sec;
		if (i == PAIRS - 1)
			first_sec = await_first(&fakes) - began_sec;
	}
	check_all(&fakes, n);
	sched_fakes_stop(&fakes);
	sched_vined_stop(w);
	struct spread s = spread_of(ready, PAIRS);
	printf("%llu tasks queued, kill -9, start: ready after %.2f s (%.2f-%.2f), first dispatch after %.2f s (nodes "
	       "try every 50 ms)\n",
	       (unsigned long long)n, s.median, s.low, s.high, first_sec);
	printf("measured elsewhere: peers lose the queue or the last 30 s\n");
	sched_note(w, "ready", s.median);
	sched_end(w, first_sec, "s", "3, nothing lost, nothing twice");
}
