/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/sched_work.h"

#include <pthread.h>
#include <sys/resource.h>

#define BATCH_MOST 5000
#define PATIENCE_MSEC 60000

struct vine *sched_open(const char *run)
{
	struct vine *v;
	if (vine_open(&v, NULL, run) < 0)
		sched_fail("vine_open: %s", vine_error());
	return v;
}

void sched_close(struct vine *v)
{
	if (vine_close(v, 1) < 0)
		sched_fail("vine_close: %s", vine_error());
}

static struct vine_task *task_new(const char *const argv[])
{
	struct vine_task *t;
	if (vine_task_new(argv, &t) < 0 || vine_task_set(t, "env", "clean") < 0)
		sched_fail("vine_task_new: %s", vine_error());
	return t;
}

static void post(struct vine *v, struct vine_task *const t[], uint64_t n)
{
	if (vine_post(v, t, n, NULL) < 0)
		sched_fail("vine_post: %s", vine_error());
}

void sched_post_command(struct vine *v, uint64_t n, uint64_t batch, const char *const argv[], const char *view)
{
	struct vine_task *t[BATCH_MOST], *same = task_new(argv);
	assert(batch && batch <= BATCH_MOST);
	if (vine_task_set(same, "view", view) < 0)
		sched_fail("view=%s: %s", view, vine_error());
	for (uint64_t i = 0; i < batch; i++)
		t[i] = same;
	for (uint64_t done = 0; done < n; done += batch)
		post(v, t, min(batch, n - done));
	vine_task_free(same);
}

void sched_post(struct vine *v, uint64_t n, uint64_t batch)
{
	static _Atomic uint64_t n_ever;
	struct vine_task *t[BATCH_MOST];
	char text[SCHED_PAYLOAD];
	assert(batch && batch <= BATCH_MOST);
	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = 0;
	for (uint64_t done = 0; done < n; done += batch) {
		uint64_t some = min(batch, n - done);
		for (uint64_t i = 0; i < some; i++) {
			int length = snprintf(text, sizeof text, "%llu", (unsigned long long)++n_ever);
			text[length] = 'x';
			t[i] = task_new((const char *const[]){"true", text, NULL});
		}
		post(v, t, some);
		for (uint64_t i = 0; i < some; i++)
			vine_task_free(t[i]);
	}
}

/* ---- results */

void sched_seen_fini(struct sched_seen *s)
{
	free(s->bits);
	*s = (struct sched_seen){0};
}

static void see(struct sched_seen *s, uint64_t id)
{
	uint64_t need = id / 8 + 1;
	if (need > s->n_bits) {
		uint64_t room = max(need * 2, (uint64_t)4096);
		s->bits = xrealloc(s->bits, room);
		memset(s->bits + s->n_bits, 0, room - s->n_bits);
		s->n_bits = room;
	}
	uint8_t bit = (uint8_t)(1u << id % 8);
	s->n_twice += (s->bits[id / 8] & bit) != 0;
	s->n += !(s->bits[id / 8] & bit);
	s->bits[id / 8] |= bit;
}

void sched_take(struct vine *v, struct sched_seen *s, uint64_t n)
{
	struct vine_event *e;
	const char *task = "", *how = "";
	double end_sec = bench_now_sec() + PATIENCE_MSEC / 1000;
	while (s->n < n) {
		int r = vine_next(v, NULL, PATIENCE_MSEC, &e);
		/* Whoever submits meanwhile may be slower than we are. */
		if (r == -ENODATA && bench_now_sec() < end_sec) {
			sched_pause(0.0002);
			continue;
		}
		if (r <= 0)
			sched_fail("vine_next after %llu of %llu results: %s", (unsigned long long)s->n,
				   (unsigned long long)n, r ? vine_error() : "nothing came for a minute");
		if (vine_event_get(e, "task", &task) < 0 || vine_event_get(e, "how", &how) < 0)
			sched_fail("vine_event_get: %s", vine_error());
		see(s, strtoull(task, NULL, 10));
		s->n_bad += !streq(how, "exited");
		end_sec = s->n % 1024 ? end_sec : bench_now_sec() + PATIENCE_MSEC / 1000;
		if (vine_event_done(e) < 0)
			sched_fail("vine_event_done: %s", vine_error());
	}
}

/* ---- both at once */

struct poster {
	struct vine *v;
	uint64_t n;
	double done_sec;
};

static void *run_poster(void *arg)
{
	struct poster *p = arg;
	sched_post(p->v, p->n, min(p->n, (uint64_t)5000));
	p->done_sec = bench_now_sec();
	return NULL;
}

double sched_own_cpu_sec(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

struct sched_flow sched_flow(struct sched_world *w, uint64_t n)
{
	struct poster p = {.v = sched_open(NULL), .n = n};
	struct sched_seen seen = {0};
	pthread_t thread;
	struct sched_cpu before = sched_vined_cpu(w);
	double own_sec = sched_own_cpu_sec(), began_sec = bench_now_sec();
	if (pthread_create(&thread, NULL, run_poster, &p))
		sched_fail("no thread");
	sched_take(p.v, &seen, n);
	pthread_join(thread, NULL);
	sched_close(p.v);
	struct sched_cpu after = sched_vined_cpu(w);
	struct sched_flow f = {
		.sec = bench_now_sec() - began_sec,
		.submit_sec = p.done_sec - began_sec,
		.client_cpu_sec = sched_own_cpu_sec() - own_sec,
		.cpu = {after.loop_sec - before.loop_sec, after.writer_sec - before.writer_sec},
	};
	if (seen.n != n || seen.n_twice || seen.n_bad)
		sched_fail("of %llu tasks %llu results came, %llu twice, %llu bad", (unsigned long long)n,
			   (unsigned long long)seen.n, (unsigned long long)seen.n_twice,
			   (unsigned long long)seen.n_bad);
	sched_seen_fini(&seen);
	return f;
}
