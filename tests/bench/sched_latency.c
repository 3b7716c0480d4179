/* SPDX-License-Identifier: Apache-2.0
 * One task at a time in an idle system, durable: submit, wait, acknowledge, again; by a fake node, then by a real node that makes a process of it, without a view and in one. */
#include "tests/bench/sched_bodies.h"
#include "tests/bench/sched_work.h"

#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 5, MOST = 2000 };

struct latency {
	double p50[BLOCKS], p99[BLOCKS];
};

static double one(struct vine *v, struct vine_task *t)
{
	struct vine_event *e;
	const char *how = "", *status = "";
	double began_sec = bench_now_sec();
	if (vine_post(v, &t, 1, NULL) < 0)
		sched_fail("vine_post: %s", vine_error());
	if (vine_next(v, NULL, 30000, &e) != 1)
		sched_fail("vine_next: %s", vine_error());
	double msec = (bench_now_sec() - began_sec) * 1e3;
	vine_event_get(e, "how", &how);
	vine_event_get(e, "status", &status);
	if (!streq(how, "exited") || !streq(status, "0"))
		sched_fail("the task %s with %s", how, status);
	if (vine_event_done(e) < 0)
		sched_fail("vine_event_done: %s", vine_error());
	return msec;
}

/* `view`: as vine_task_set() has it; NULL: whatever that is. */
static void measure(struct latency *l, unsigned n, const char *view)
{
	double at[MOST];
	struct vine *v = sched_open(NULL);
	struct vine_task *t;
	assert(n <= MOST && n > 0);
	if (vine_task_new((const char *const[]){"/bin/true", NULL}, &t) < 0)
		sched_fail("vine_task_new: %s", vine_error());
	if (view && vine_task_set(t, "view", view) < 0)
		sched_fail("view=%s: %s", view, vine_error());
	for (unsigned i = 0; i < n / 10 + 1; i++)
		one(v, t);
	for (unsigned block = 0; block < BLOCKS; block++) {
		for (unsigned i = 0; i < n; i++)
			at[i] = one(v, t);
		l->p50[block] = spread_of(at, n).median;
		l->p99[block] = at[n * 99 / 100];
	}
	vine_task_free(t);
	sched_close(v);
}

/* What the machine itself takes to make a process, exec and wait. */
static void measure_bare(struct latency *l, unsigned n)
{
	double at[MOST];
	assert(n <= MOST && n > 0);
	for (unsigned block = 0; block < BLOCKS; block++) {
		for (unsigned i = 0; i < n; i++) {
			double began_sec = bench_now_sec();
			pid_t pid = vfork();
			if (pid == 0) {
				execl("/bin/true", "true", NULL);
				_exit(127);
			}
			int status = -1;
			if (waitpid(pid, &status, 0) != pid || status != 0)
				sched_fail("/bin/true cannot be run");
			at[i] = (bench_now_sec() - began_sec) * 1e3;
		}
		l->p50[block] = spread_of(at, n).median;
		l->p99[block] = at[n * 99 / 100];
	}
}

static void print(struct sched_world *w, const char *what, const char *key, struct latency *l)
{
	struct spread p50 = spread_of(l->p50, BLOCKS), p99 = spread_of(l->p99, BLOCKS);
	_free_ char *key50 = xasprintf("%s_p50", key), *key99 = xasprintf("%s_p99", key);
	printf("%-34s p50 %7.3f ms (%.3f-%.3f)   p99 %7.3f ms (%.3f-%.3f)\n", what, p50.median, p50.low, p50.high,
	       p99.median, p99.low, p99.high);
	fflush(stdout);
	sched_note(w, key50, p50.median);
	sched_note(w, key99, p99.median);
}

void sched_latency(struct sched_world *w)
{
	struct latency fake, process, viewed, bare;
	struct sched_fakes fakes;
	unsigned n = (unsigned)min(sched_scaled(w, "VINE_BENCH_TASKS", 1000), (uint64_t)MOST);
	sched_vined_start(w, "vined-fake", NULL);
	sched_fakes_start(w, &fakes, 1, NULL, true);
	measure(&fake, n, NULL);
	print(w, "fake node (target p50 0.8)", "fake", &fake);
	sched_fakes_stop(&fakes);
	sched_vined_stop(w);
	sched_vined_start(w, "vined-process", NULL);
	pid_t node = sched_node_start(w, "node", NULL);
	measure(&process, n, "none");
	print(w, "process without view (p50 2, p99 8)", "process", &process);
	measure(&viewed, n, "yes");
	print(w, "process in a view (p50 3, p99 8)", "view", &viewed);
	sched_node_stop(node);
	sched_vined_stop(w);
	measure_bare(&bare, n);
	print(w, "bare vfork, exec, wait", "bare", &bare);
	printf("measured elsewhere: TaskVine 1.6 ms with a process, volatile (1,002 when its wait was idle); Dask 11; "
	       "srun 30-50; the prototype of this design 0.40\n");
	sched_end(w, viewed.p50[BLOCKS / 2], "ms in a view", "3 in a view, 2 without, p99 8; fake node 0.8");
}
