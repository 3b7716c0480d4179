/* SPDX-License-Identifier: Apache-2.0
 * The client library's sessions: nothing lost, nothing twice, by all threads. */
#include "tests/unit/client_world.h"

#include <sys/wait.h>

TEST(a_wrong_setting_is_refused_with_its_name)
{
	struct vine_task *t;
	ASSERT_EQ(vine_task_new((const char *const[]){NULL}, &t), -EINVAL);
	ASSERT_EQ(vine_task_new((const char *const[]){"", NULL}, &t), -EINVAL);
	t = task_new();
	static const char *const good[][2] = {{"cores", "4"},   {"memory", "2G"},  {"priority", "-3"},
					      {"tag", "a b"},   {"key", "k"},      {"directory", "/tmp"},
					      {"env", "clean"}, {"env.A", "x=y\n"}};
	static const char *const bad[][2] = {
		{"cores", "0"},       {"cores", "many"}, {"memory", "2 parsecs"}, {"tag", "a\nb"},  {"key", "\x01"},
		{"directory", "tmp"}, {"env", "half"},   {"env.", "x"},           {"env.A=B", "x"}, {"coers", "1"}};
	for (size_t i = 0; i < countof(good); i++)
		ASSERT_EQ(vine_task_set(t, good[i][0], good[i][1]), 0);
	for (size_t i = 0; i < countof(bad); i++) {
		ASSERT(vine_task_set(t, bad[i][0], bad[i][1]) < 0);
		ASSERT(strstr(vine_error(), bad[i][0]));
	}
	ASSERT(strstr(vine_error(), "cores"));
	vine_task_free(t);
}

TEST(a_cluster_that_is_not_there_is_named)
{
	struct vine *v;
	ASSERT_EQ(vine_open(&v, "/no/such/cluster", NULL), -ENOENT);
	ASSERT(strstr(vine_error(), "/no/such/cluster"));
	ASSERT_EQ(vine_open(&v, "..", NULL), -EINVAL);
	ASSERT(vine_open(&v, "host:port:more", NULL) < 0);
	ASSERT_EQ(vine_open(&v, NULL, "17"), -EINVAL);
	ASSERT_EQ(vine_open(&v, NULL, "a/b"), -EINVAL);
	ASSERT(!v);
}

TEST(a_lost_answer_loses_and_doubles_nothing)
{
	enum { N = 300 };
	struct fake *f = fake_start();
	struct vine *v;
	struct vine_event *e;
	struct vine_task *t = task_new(), *many[N];
	uint64_t ids[N];
	bool had[N + 1] = {false};
	for (size_t i = 0; i < N; i++)
		many[i] = t;
	ASSERT_EQ(vine_open(&v, f->directory, "r"), 0);
	ASSERT_EQ(vine_next(v, NULL, 0, &e), -ENODATA);
	f->lose_submits = 3;
	f->lose_dones = 2;
	ASSERT_EQ(vine_post(v, many, N, ids), 0);
	ASSERT_EQ(f->n_submits, 4);
	for (size_t n = 0; n < N; n++) {
		const char *text;
		ASSERT_EQ(vine_next(v, NULL, 20000, &e), 1);
		vine_event_get(e, "task", &text);
		unsigned long id = strtoul(text, NULL, 10);
		ASSERT(id >= 1 && id <= N && !had[id]);
		had[id] = true;
		ASSERT_EQ(vine_event_get(e, "out", &text), 3);
		ASSERT_EQ(vine_event_get(e, "no-such", &text), -EINVAL);
		ASSERT_EQ(vine_event_done(e), 0);
	}
	ASSERT_EQ(vine_next(v, NULL, -1, &e), -ENODATA);
	ASSERT_EQ(vine_close(v, 1), 0);
	ASSERT_EQ(f->n_done, N);
	vine_task_free(t);
	fake_stop(f);
}

TEST(what_is_not_acknowledged_comes_again_after_attaching)
{
	struct fake *f = fake_start();
	struct vine *v;
	struct vine_event *e, *held;
	struct vine_task *t = task_new();
	uint64_t first, again;
	ASSERT_EQ(vine_task_set(t, "key", "k"), 0);
	ASSERT_EQ(vine_task_set(t, "tag", "x"), 0);
	ASSERT_EQ(vine_open(&v, f->directory, "r"), 0);
	ASSERT_EQ(vine_post(v, &t, 1, &first), 0);
	ASSERT_EQ(vine_post(v, &t, 1, &again), 0);
	ASSERT_EQ(first, again);
	ASSERT(vine_next(v, "tag:y", 0, &e) <= 0 && !e);
	ASSERT_EQ(poll(&(struct pollfd){.fd = vine_fd(v), .events = POLLIN}, 1, 20000), 1);
	ASSERT_EQ(vine_next(v, "tag:x", 20000, &held), 1);
	ASSERT_EQ(vine_close(v, 1), 0);
	ASSERT_EQ(vine_event_done(held), 0); /* too late, and no harm */
	ASSERT_EQ(f->n_done, 0);
	ASSERT_EQ(vine_open(&v, f->directory, "r"), 0);
	ASSERT_EQ(vine_next(v, NULL, 20000, &e), 1);
	ASSERT_EQ(vine_event_done(e), 0);
	ASSERT_EQ(vine_close(v, 0), 0);
	ASSERT_EQ(f->n_done, 1);
	ASSERT_EQ(f->n_cancelled, 1);
	vine_task_free(t);
	fake_stop(f);
}

static int count_row(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	ASSERT_EQ(n, 2);
	ASSERT_STR(names[1], "b");
	*(int *)arg += atoi(cells[0]);
	return 0;
}

struct poster {
	struct vine *v;
	pthread_t thread;
	int failures;
};

static void *post_many(void *arg)
{
	struct poster *p = arg;
	struct vine_task *t;
	vine_task_new((const char *const[]){"true", NULL}, &t);
	for (int i = 0; i < 50; i++) {
		struct vine_event *e;
		uint64_t id;
		char selector[24];
		p->failures += vine_post(p->v, &t, 1, &id) < 0;
		snprintf(selector, sizeof selector, "%llu", (unsigned long long)id);
		p->failures += vine_next(p->v, selector, 20000, &e) != 1 || vine_event_done(e) < 0;
	}
	vine_task_free(t);
	return NULL;
}

TEST(a_session_serves_all_threads_and_no_child)
{
	struct fake *f = fake_start();
	struct poster p[4] = {0};
	struct vine *v;
	int sum = 0, status;
	ASSERT_EQ(vine_open(&v, f->directory, NULL), 0);
	ASSERT_STR(vine_run(v), "");
	for (size_t i = 0; i < countof(p); i++) {
		p[i].v = v;
		ASSERT_EQ(pthread_create(&p[i].thread, NULL, post_many, &p[i]), 0);
	}
	ASSERT_EQ(vine_query(v, "cluster", NULL, count_row, &sum), 2);
	ASSERT_EQ(sum, 4);
	ASSERT_EQ(vine_output(v, 9, 1, 0, 1), -ENOENT);
	ASSERT(strstr(vine_error(), "nothing like that"));
	ASSERT_EQ(vine_cancel(v, "1,x"), -EINVAL);
	ASSERT_EQ(vine_cancel(v, ""), -EINVAL);
	for (size_t i = 0; i < countof(p); i++) {
		pthread_join(p[i].thread, NULL);
		ASSERT_EQ(p[i].failures, 0);
	}
	ASSERT_STR(vine_run(v), "r1");
	pid_t child = fork();
	if (!child) {
		struct vine_event *e;
		_exit(vine_next(v, NULL, 0, &e) == -EPERM && vine_fd(v) == -EPERM ? 0 : 1);
	}
	ASSERT_EQ(waitpid(child, &status, 0), child);
	ASSERT_EQ(status, 0);
	ASSERT_EQ(vine_close(v, 1), 0);
	ASSERT_EQ(f->n_done, 200);
	fake_stop(f);
}
