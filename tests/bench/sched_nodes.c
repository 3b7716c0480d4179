/* SPDX-License-Identifier: Apache-2.0
 * Ten thousand nodes: all connect at once, all idle, and a thousand of them vanish under their tasks. */
#include "tests/bench/sched_bodies.h"
#include "tests/bench/sched_work.h"

#define IDLE_SEC 20
#define NODE_TIMEOUT_SEC 2
#define LIMIT_SEC 60

static double idle_share(struct sched_world *w)
{
	/* What the joining left to do is over by then. */
	sched_pause(3);
	struct sched_cpu before = sched_vined_cpu(w);
	double began_sec = bench_now_sec();
	sched_pause(w->is_quick ? 2 : IDLE_SEC);
	struct sched_cpu after = sched_vined_cpu(w);
	double sec = bench_now_sec() - began_sec;
	return 100 * (after.loop_sec + after.writer_sec - before.loop_sec - before.writer_sec) / sec;
}

/* Until `started` have begun. */
static void await_started(struct sched_fakes *f, uint64_t started)
{
	double end_sec = bench_now_sec() + LIMIT_SEC;
	struct sched_counts c;
	while ((c = sched_fakes_ask(f, "numbers")).started < started) {
		if (bench_now_sec() > end_sec)
			sched_fail("%llu attempts of %llu were started", (unsigned long long)c.started,
				   (unsigned long long)started);
		sched_pause(0.005);
	}
}

/* Seconds from the loss until the last of their tasks runs elsewhere, less the time that vined has to wait for them by its settings. */
static double lose(struct sched_fakes *f, uint64_t n, uint64_t *n_lost)
{
	_free_ char *order = xasprintf("leave %llu", (unsigned long long)n);
	double began_sec = bench_now_sec();
	struct sched_counts c = sched_fakes_ask(f, order);
	await_started(f, c.started + c.away);
	*n_lost = c.away;
	return bench_now_sec() - began_sec - NODE_TIMEOUT_SEC;
}

void sched_nodes(struct sched_world *w)
{
	uint64_t n = sched_scaled(w, "VINE_BENCH_NODES", 10000), n_lost = 0, n_tasks = 4 * n;
	struct sched_fakes f;
	_free_ char *all = xasprintf("at-once=%llu", (unsigned long long)n);
	_free_ char *timeout = xasprintf("--node-timeout=%ds", NODE_TIMEOUT_SEC);
	sched_vined_start(w, "vined", (const char *const[]){timeout, NULL});
	uint64_t before = sched_vined_rss(w);
	struct sched_cpu none = sched_vined_cpu(w);
	/* Room for the tasks of a tenth of them on the others. */
	sched_fakes_start(w, &f, n, (const char *const[]){all, "cores=5", "usec=600000000", NULL}, true);
	struct sched_cpu joined = sched_vined_cpu(w);
	double joining = joined.loop_sec + joined.writer_sec - none.loop_sec - none.writer_sec;
	double memory = ((double)sched_vined_rss(w) - (double)before) / (double)n / 1024;
	printf("%llu nodes at once have joined after %.2f s; vined %.2f s of CPU, %.1f KiB a node\n",
	       (unsigned long long)n, f.joined_sec, joining, memory);
	fflush(stdout);
	double idle = idle_share(w);
	printf("%llu nodes connected, idle: vined %.2f %% of a core\n", (unsigned long long)n, idle);
	fflush(stdout);
	struct vine *v = sched_open("nodes");
	sched_post(v, n_tasks, min(n_tasks, (uint64_t)1000));
	await_started(&f, n_tasks);
	double lost_sec = lose(&f, n / 10, &n_lost);
	printf("%llu nodes lost at once with %llu running tasks, of %llu: all run elsewhere after %.2f s beyond the "
	       "node timeout of %d s\n",
	       (unsigned long long)(n / 10), (unsigned long long)n_lost, (unsigned long long)n_tasks, lost_sec,
	       NODE_TIMEOUT_SEC);
	sched_close(v);
	sched_fakes_stop(&f);
	sched_vined_kill(w);
	sched_note(w, "join_sec", f.joined_sec);
	sched_note(w, "join_cpu_sec", joining);
	sched_note(w, "kib_a_node", memory);
	sched_note(w, "lost_sec", lost_sec);
	sched_end(w, idle, "% of a core idle", "5; join of 10000 at once 30 s; loss of 1000 at once 5 s");
}
