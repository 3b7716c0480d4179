/* SPDX-License-Identifier: Apache-2.0
 * Events: found by what is asked for, whoever waits, however many there are. */
#include "libvineclient/client.h"
#include "tests/unit/client_run.h"

#include <time.h>

static uint64_t post(const char *tag, const char *category)
{
	struct vine_task *t = task_new();
	uint64_t id;
	ASSERT_EQ(vine_task_set(t, "tag", tag), 0);
	ASSERT_EQ(vine_task_set(t, "category", category), 0);
	ASSERT_EQ(vine_post(v, &t, 1, &id), 0);
	vine_task_free(t);
	return id;
}

static uint64_t take(const char *selector)
{
	struct vine_event *e;
	ASSERT_EQ(vine_next(v, selector, 20000, &e), 1);
	uint64_t id = strtoull(value_of(e, "task"), NULL, 10);
	ASSERT_EQ(vine_event_done(e), 0);
	return id;
}

TEST(an_event_is_found_by_task_tag_and_category)
{
	world_start();
	struct vine_event *e;
	char selector[24];
	uint64_t a = post("x", "small"), b = post("y", "large"), c = post("x", "large"), d = post("", "");
	ASSERT_EQ(take("category:large"), b);
	ASSERT_EQ(take("tag:x"), a);
	snprintf(selector, sizeof selector, "%llu", (unsigned long long)d);
	ASSERT_EQ(take(selector), d);
	/* One is still there, but none of these will come. */
	ASSERT_EQ(vine_next(v, "category:small", 0, &e), -ENODATA);
	ASSERT_EQ(vine_next(v, "tag:", 0, &e), -ENODATA);
	ASSERT_EQ(vine_next(v, "kind:x", 0, &e), -EINVAL);
	ASSERT_EQ(vine_next(v, "-1", 0, &e), -EINVAL);
	ASSERT_EQ(vine_next(v, "category:large", 20000, &e), 1);
	ASSERT_EQ(strtoull(value_of(e, "task"), NULL, 10), c);
	static const char *const values[][2] = {
		{"type", "result"}, {"category", "large"},    {"tag", "x"},        {"exceeded", "wall-time"},
		{"how", "exited"},  {"peak-disk", "7"},       {"moved-size", "8"}, {"local-size", "9"},
		{"index", "0"},     {"left", "tmp/x\na\\nb"}, {"n-left", "7"},     {"written-size", "11"},
		{"peer-size", "5"}, {"source-size", "2"},     {"client-size", "1"}};
	for (size_t i = 0; i < countof(values); i++)
		ASSERT_STR(value_of(e, values[i][0]), values[i][1]);
	ASSERT_EQ(vine_event_done(e), 0);
	ASSERT_EQ(vine_next(v, "tag:x", 0, &e), -ENODATA);
	world_stop();
}

/* What is not taken is freed with the session, index and all. */
TEST(events_that_nobody_takes_go_with_the_session)
{
	world_start();
	struct vine_event *e;
	for (int i = 0; i < 50; i++)
		post(i % 2 ? "x" : "", i % 3 ? "a" : "");
	ASSERT_EQ(vine_next(v, "tag:x", 20000, &e), 1);
	ASSERT_EQ(vine_event_done(e), 0);
	world_stop();
}

static double cpu_nsec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;
	return (left > right) - (left < right);
}

/* The median of some at a time: when a virtual machine stands still, that is charged to who ran just then. */
static double cost_of(size_t n)
{
	enum { AT_A_TIME = 20 };
	struct vine_task *t = task_new(), **many = xcalloc(n, sizeof(struct vine_task *));
	_free_ double *costs = xcalloc(n, sizeof *costs);
	size_t n_costs = 0;
	/* Whose environment is large must split the batch. */
	ASSERT_EQ(vine_task_set(t, "env", "clean"), 0);
	for (size_t i = 0; i < n; i++)
		many[i] = t;
	_free_ uint64_t *ids = xcalloc(n, sizeof *ids);
	ASSERT_EQ(vine_post(v, many, n, ids), 0);
	/* All of them are there, and then the newest is asked for first. */
	char selector[24];
	snprintf(selector, sizeof selector, "%llu", (unsigned long long)ids[n - 1]);
	take(selector);
	double before = cpu_nsec();
	for (size_t i = n - 1; i-- > 0;) {
		snprintf(selector, sizeof selector, "%llu", (unsigned long long)ids[i]);
		take(selector);
		if (i % AT_A_TIME)
			continue;
		double now = cpu_nsec();
		costs[n_costs++] = (now - before) / AT_A_TIME;
		before = now;
	}
	qsort(costs, n_costs, sizeof *costs, by_size);
	free(many);
	vine_task_free(t);
	return costs[n_costs / 2];
}

TEST(an_event_costs_the_same_however_many_wait)
{
	world_start();
	double few = cost_of(200), many = cost_of(3500);
	printf("  %.0f ns each of 200, %.0f ns each of 3500\n", few, many);
	/* A walk over those before it would be 17 times as dear. */
	ASSERT(many < 6 * few + 2000);
	world_stop();
}

struct waiting {
	pthread_t thread;
	char selector[24];
	int result;
};

static void *wait_for(void *arg)
{
	struct waiting *w = arg;
	struct vine_event *e;
	w->result = vine_next(v, w->selector, 30000, &e);
	if (w->result == 1)
		vine_event_done(e);
	return NULL;
}

TEST(each_waiting_thread_gets_its_own)
{
	enum { N = 40 };
	world_start();
	struct waiting w[N];
	f->is_holding = true;
	for (int i = 0; i < N; i++) {
		char tag[16];
		snprintf(tag, sizeof tag, "t%d", i);
		uint64_t id = post(tag, "");
		if (i % 2)
			snprintf(w[i].selector, sizeof w[i].selector, "%llu", (unsigned long long)id);
		else
			snprintf(w[i].selector, sizeof w[i].selector, "tag:%s", tag);
		ASSERT_EQ(pthread_create(&w[i].thread, NULL, wait_for, &w[i]), 0);
	}
	fake_speak(f, "");
	for (int i = 0; i < N; i++) {
		pthread_join(w[i].thread, NULL);
		ASSERT_EQ(w[i].result, 1);
	}
	world_stop();
}

/* Until so many threads are asleep in vine_next. */
static void await_waiters(size_t n)
{
	size_t found = 0;
	for (int i = 0; i < 20000 && found < n; i++, poll(NULL, 0, 1)) {
		found = 0;
		pthread_mutex_lock(&v->lock);
		for (struct list *l = v->ready.waiters.next; l != &v->ready.waiters; l = l->next)
			found++;
		pthread_mutex_unlock(&v->lock);
	}
	ASSERT_EQ(found, n);
}

/* Each takes one event and no more, while others are still to come. */
TEST(as_many_threads_wake_as_events_come)
{
	world_start();
	struct waiting w[8] = {0};
	f->is_holding = true;
	for (size_t i = 0; i < countof(w) + 1; i++)
		post("", "");
	for (size_t i = 0; i < countof(w); i++)
		ASSERT_EQ(pthread_create(&w[i].thread, NULL, wait_for, &w[i]), 0);
	await_waiters(countof(w));
	time_t start = time(NULL);
	fake_speak(f, "some");
	for (size_t i = 0; i < countof(w); i++) {
		pthread_join(w[i].thread, NULL);
		ASSERT_EQ(w[i].result, 1);
	}
	/* Not when their time was over and they looked once more. */
	ASSERT(time(NULL) - start < 15);
	world_stop();
}

static void *wait_for_any(void *arg)
{
	struct waiting *w = arg;
	struct vine_event *e;
	while ((w->result = vine_next(v, NULL, -1, &e)) == 1)
		vine_event_done(e);
	return NULL;
}

TEST(all_that_wait_hear_that_nothing_is_left)
{
	world_start();
	struct waiting w[8];
	f->is_holding = true;
	post("", "");
	for (size_t i = 0; i < countof(w); i++)
		ASSERT_EQ(pthread_create(&w[i].thread, NULL, wait_for_any, &w[i]), 0);
	await_waiters(countof(w));
	fake_speak(f, "");
	for (size_t i = 0; i < countof(w); i++) {
		pthread_join(w[i].thread, NULL);
		ASSERT_EQ(w[i].result, -ENODATA);
	}
	ASSERT_EQ(vine_close(v, 1), 0);
	ASSERT_EQ(f->n_done, 1);
	fake_stop(f);
}

TEST(who_waits_hears_that_the_session_is_closed)
{
	world_start();
	struct waiting w[4];
	f->is_holding = true;
	post("", "");
	for (size_t i = 0; i < countof(w); i++) {
		snprintf(w[i].selector, sizeof w[i].selector, i % 2 ? "tag:x" : "nodes");
		ASSERT_EQ(pthread_create(&w[i].thread, NULL, wait_for, &w[i]), 0);
	}
	await_waiters(countof(w));
	ASSERT_EQ(vine_close(v, 1), 0);
	for (size_t i = 0; i < countof(w); i++) {
		pthread_join(w[i].thread, NULL);
		ASSERT_EQ(w[i].result, -ECANCELED);
	}
	fake_stop(f);
}

TEST(who_waits_hears_that_the_cluster_wants_no_more_of_us)
{
	world_start();
	struct waiting w[4];
	f->is_holding = true;
	post("", "");
	for (size_t i = 0; i < countof(w); i++) {
		snprintf(w[i].selector, sizeof w[i].selector, i % 2 ? "tag:x" : "nodes");
		ASSERT_EQ(pthread_create(&w[i].thread, NULL, wait_for, &w[i]), 0);
	}
	await_waiters(countof(w));
	fake_speak(f, "bye");
	for (size_t i = 0; i < countof(w); i++) {
		pthread_join(w[i].thread, NULL);
		ASSERT(w[i].result < 0 && w[i].result != -ENODATA);
	}
	struct vine_event *e;
	ASSERT_EQ(poll(&(struct pollfd){.fd = vine_fd(v), .events = POLLIN}, 1, 20000), 1);
	ASSERT(vine_next(v, NULL, 0, &e) < 0);
	vine_close(v, 1);
	fake_stop(f);
}

TEST(nodes_are_told_of_when_asked_for)
{
	world_start();
	struct vine_event *e;
	ASSERT_EQ(vine_next(v, "nodes", 0, &e), 0);
	ASSERT_EQ(vine_set(v, "events", "nodes"), 0);
	ASSERT_EQ(vine_next(v, "nodes", 20000, &e), 1);
	ASSERT_STR(value_of(e, "type"), "node-joined");
	ASSERT_STR(value_of(e, "node"), "n1");
	ASSERT_STR(value_of(e, "reason"), "new");
	ASSERT_STR(value_of(e, "at-usec"), "5");
	const char *value;
	ASSERT_EQ(vine_event_get(e, "status", &value), -EINVAL);
	ASSERT_EQ(vine_event_done(e), 0);
	/* What it is not told to tell is not told. */
	fake_speak(f, "task-waits");
	fake_speak(f, "node-lost");
	ASSERT_EQ(vine_next(v, "nodes", 20000, &e), 1);
	ASSERT_STR(value_of(e, "type"), "node-lost");
	ASSERT_EQ(vine_event_done(e), 0);
	/* The descriptor tells of it; nothing is left of tasks all the same. */
	ASSERT_EQ(vine_next(v, NULL, 0, &e), -ENODATA);
	uint64_t id = post("", "");
	ASSERT_EQ(take(NULL), id);
	int n_attached = f->n_attached;
	ASSERT_EQ(vine_set(v, "events", "none"), 0);
	ASSERT_EQ(f->n_attached, n_attached + 1);
	ASSERT_EQ(vine_set(v, "events", ""), 0);
	ASSERT_EQ(f->n_attached, n_attached + 1);
	world_stop();
}

TEST(a_run_that_is_not_there_yet_is_made_with_its_nodes)
{
	f = fake_start();
	struct vine_event *e;
	ASSERT_EQ(vine_open(&v, f->directory, NULL), 0);
	ASSERT_EQ(vine_set(v, "events", "nodes"), 0);
	ASSERT_EQ(f->n_attached, 0);
	ASSERT_EQ(vine_set(v, "category.a.running", "1"), 0);
	ASSERT_EQ(vine_next(v, "nodes", 20000, &e), 1);
	ASSERT_EQ(vine_event_done(e), 0);
	ASSERT_STR(vine_run(v), "r1");
	world_stop();
}
