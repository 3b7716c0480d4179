/* SPDX-License-Identifier: Apache-2.0
 * The client library against a small scheduler that speaks the real wire over a Unix socket, keeps its records when it is "killed",
 * and loses what it is told to lose. */
#include "common/listen.h"
#include "common/map.h"
#include "common/net.h"
#include "libvineclient/vine.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* What it remembers of a task. */
struct kept {
	char *key, *tag;
	uint64_t id;
	bool is_done;
};

struct fake {
	struct loop *loop;
	struct listener *listener;
	pthread_t thread;
	struct post stop;
	char directory[200];
	struct conn *conns[64];
	size_t n_conns;
	struct kept *kept[4096];
	size_t n_kept;
	/* How often it still dies: after it has recorded a SUBMIT or a DONE, before it answers. */
	atomic_int lose_submits, lose_dones;
	atomic_int n_done, n_submits, n_cancelled;
};

static struct fake *fake_of(struct conn *c)
{
	return conn_owner(c);
}

static void send_result(struct conn *c, const struct kept *k)
{
	struct wire_result r = {.task = k->id,
				.run = "r",
				.tag = k->tag,
				.attempts = 1,
				.node = "n",
				.how = 1,
				.out = {"a\0b", 3},
				.out_size = 3};
	conn_send(c, WIRE_RESULT, &r);
	conn_send(c, WIRE_RESULT, &r); /* again: once more than it should */
}

static struct kept *keep(struct fake *f, const struct wire_task *t)
{
	for (size_t i = 0; i < f->n_kept; i++) {
		if (streq(f->kept[i]->key, t->key))
			return f->kept[i];
	}
	struct kept *k = NEW(struct kept);
	k->key = xstrdup(t->key);
	k->tag = xstrdup(t->tag);
	k->id = f->n_kept + 1;
	return f->kept[f->n_kept++] = k;
}

static void on_submit(struct fake *f, struct conn *c, uint64_t id, const struct wire_submit *m)
{
	uint64_t ids[4096];
	for (uint32_t i = 0; i < m->tasks.n; i++)
		ids[i] = keep(f, &m->tasks.at[i])->id;
	f->n_submits++;
	if (f->lose_submits > 0) {
		f->lose_submits--;
		conn_abort(c, ECONNRESET, "as told");
		return;
	}
	conn_reply(c, id, WIRE_SUBMITTED, &(struct wire_submitted){.ids = {ids, m->tasks.n}});
	for (uint32_t i = 0; i < m->tasks.n; i++)
		send_result(c, f->kept[ids[i] - 1]);
}

static void on_done(struct fake *f, struct conn *c, uint64_t id, const struct wire_done *m)
{
	for (uint32_t i = 0; i < m->tasks.n; i++) {
		struct kept *k = f->kept[m->tasks.at[i] - 1];
		f->n_done += !k->is_done;
		k->is_done = true;
	}
	if (f->lose_dones > 0) {
		f->lose_dones--;
		conn_abort(c, ECONNRESET, "as told");
	} else {
		conn_reply_status(c, id, 0, "%s", "");
	}
}

static void on_attach(struct fake *f, struct conn *c, uint64_t id, const struct wire_attach *m)
{
	struct wire_attached a = {.run = *m->run ? m->run : "r1"};
	for (size_t i = 0; i < f->n_kept; i++)
		a.pending += !f->kept[i]->is_done;
	conn_reply(c, id, WIRE_ATTACHED, &a);
	for (size_t i = 0; i < f->n_kept; i++) {
		if (!f->kept[i]->is_done)
			send_result(c, f->kept[i]);
	}
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	struct fake *f = fake_of(c);
	if (h->type == WIRE_ATTACH)
		on_attach(f, c, h->id, message);
	else if (h->type == WIRE_SUBMIT)
		on_submit(f, c, h->id, message);
	else if (h->type == WIRE_DONE)
		on_done(f, c, h->id, message);
	else if (h->type == WIRE_ABANDON) {
		f->n_cancelled++;
		conn_reply_status(c, h->id, 0, "%s", "");
	} else if (h->type == WIRE_QUERY) {
		static const char *const columns[] = {"a", "b"}, *const cells[] = {"1", "2", "3", "4"};
		conn_reply(c, h->id, WIRE_ROWS, &(struct wire_rows){.columns = {columns, 2}, .cells = {cells, 4}});
	} else {
		conn_reply_status(c, h->id, ENOENT, "nothing like that");
	}
}

static void on_open(struct conn *c, const struct wire_hello *peer)
{
	struct fake *f = fake_of(c);
	(void)peer;
	assert(f->n_conns < countof(f->conns));
	f->conns[f->n_conns++] = c;
}

static void on_close(struct conn *c, int error, const char *reason)
{
	struct fake *f = fake_of(c);
	(void)error, (void)reason;
	for (size_t i = 0; i < f->n_conns; i++) {
		if (f->conns[i] == c) {
			f->conns[i] = f->conns[--f->n_conns];
			conn_free(c);
			return;
		}
	}
}

static void on_stop(struct post *p)
{
	loop_stop(container_of(p, struct fake, stop)->loop, 0);
}

static void *fake_thread(void *arg)
{
	struct fake *f = arg;
	loop_run(f->loop);
	while (f->n_conns)
		conn_free(f->conns[--f->n_conns]);
	listener_free(f->listener);
	return NULL;
}

static struct fake *fake_start(void)
{
	static const struct conn_ops ops = {.on_open = on_open, .on_message = on_message, .on_close = on_close};
	static const struct wire_hello hello = {
		.role = TLS_ROLE_VINED, .version = "0", .cluster = "uuid", .name = "fake"};
	struct fake *f = NEW(struct fake);
	struct net_address a;
	char path[256];
	snprintf(f->directory, sizeof f->directory, "%s", unit_tmpdir());
	snprintf(path, sizeof path, "%s/vined.sock", f->directory);
	ASSERT_EQ(net_parse(path, &a), 0);
	f->loop = loop_new();
	struct listener_options o = {.conn = {.ops = &ops, .owner = f, .hello = &hello}};
	f->listener = listener_new(f->loop, net_listen(&a, 10), &o);
	f->stop.on_post = on_stop;
	ASSERT_EQ(pthread_create(&f->thread, NULL, fake_thread, f), 0);
	return f;
}

static void fake_stop(struct fake *f)
{
	loop_post(f->loop, &f->stop);
	pthread_join(f->thread, NULL);
	loop_free(f->loop);
	for (size_t i = 0; i < f->n_kept; i++) {
		free(f->kept[i]->key);
		free(f->kept[i]->tag);
		free(f->kept[i]);
	}
	free(f);
}

static struct vine_task *task_new(void)
{
	struct vine_task *t;
	ASSERT_EQ(vine_task_new((const char *const[]){"true", NULL}, &t), 0);
	return t;
}

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
