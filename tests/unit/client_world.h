/* SPDX-License-Identifier: Apache-2.0
 * A small scheduler that speaks the real wire over a Unix socket, keeps its records when it is "killed", and loses what it is told to
 * lose. Each task is over as soon as it is submitted, unless it is told to hold results. */
#ifndef CLIENT_WORLD_H
#define CLIENT_WORLD_H

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
#include <unistd.h>

/* What it remembers of a task. */
struct kept {
	char *key, *tag, *category;
	uint64_t id, n; /* of an array so many */
	uint64_t n_done;
	bool is_sent;
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
	uint64_t last_id;
	/* How often it still dies: after it has recorded a SUBMIT or a DONE, before it answers. */
	atomic_int lose_submits, lose_dones;
	atomic_int full; /* so many SUBMITs are still refused, before their keys are looked at */
	atomic_int full_after_loss;
	atomic_bool is_holding;
	atomic_int n_done, n_submits, n_cancelled, n_attached;
	struct wire_hello hello;
	/* Before all others, if there is one: true, if it has taken the message. */
	bool (*on_other)(void *arg, struct conn *c, const struct wire_head *h, const void *message);
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t spoken;
	/* lock */
	struct wire_submit *last;                     /* SUBMIT */
	char set[200], forgotten[200], selector[200]; /* what the last SET, FORGET and ABANDON said */
	struct post speak;
	char notice[40]; /* what EVENT speak sends; "some": none, and one result less; "bye": BYE alone */
	bool is_spoken;
};

static struct fake *fake_of(struct conn *c)
{
	return conn_owner(c);
}

static void send_result(struct fake *f, struct conn *c, struct kept *k)
{
	static const char *const left[] = {"tmp/x", "a\nb"};
	struct wire_result r = {.run = "r",
				.tag = k->tag,
				.category = k->category,
				.attempts = 1,
				.node = "n",
				.how = 1,
				.exceeded = 3,
				.peak_disk = 7,
				.moved_size = 8,
				.local_size = 9,
				.peer_size = 5,
				.source_size = 2,
				.client_size = 1,
				.left = {left, 2},
				.n_left = 7,
				.written_size = 11,
				.out = {"a\0b", 3},
				.out_size = 3};
	if (f->is_holding)
		return;
	k->is_sent = true;
	for (uint64_t i = 0; i < k->n; i++) {
		r.task = k->id + i;
		r.index = i;
		conn_send(c, WIRE_RESULT, &r);
		if (i < 2)
			conn_send(c, WIRE_RESULT, &r); /* again: once more than it should */
	}
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
	k->category = xstrdup(t->category);
	k->n = max(t->array_n, (uint64_t)1);
	k->id = f->last_id + 1;
	f->last_id += k->n;
	assert(f->n_kept < countof(f->kept));
	return f->kept[f->n_kept++] = k;
}

static void on_submit(struct fake *f, struct conn *c, uint64_t id, const struct wire_submit *m)
{
	uint64_t ids[4096];
	struct kept *kept[4096];
	f->n_submits++;
	if (f->full > 0) {
		f->full--;
		conn_reply_status(c, id, EAGAIN, "full");
		return;
	}
	pthread_mutex_lock(&f->lock);
	free(f->last);
	f->last = wire_copy(WIRE_SUBMIT, m);
	pthread_mutex_unlock(&f->lock);
	for (uint32_t i = 0; i < m->tasks.n; i++) {
		kept[i] = keep(f, &m->tasks.at[i]);
		ids[i] = kept[i]->id;
	}
	if (f->lose_submits > 0) {
		f->lose_submits--;
		f->full += f->full_after_loss;
		f->full_after_loss = 0;
		conn_abort(c, ECONNRESET, "as told");
		return;
	}
	conn_reply(c, id, WIRE_SUBMITTED, &(struct wire_submitted){.ids = {ids, m->tasks.n}});
	for (uint32_t i = 0; i < m->tasks.n; i++)
		send_result(f, c, kept[i]);
}

static struct kept *find_kept(struct fake *f, uint64_t id)
{
	size_t i = 0;
	while (id < f->kept[i]->id || id >= f->kept[i]->id + f->kept[i]->n)
		i++;
	return f->kept[i];
}

static void on_done(struct fake *f, struct conn *c, uint64_t id, const struct wire_done *m)
{
	for (uint32_t i = 0; i < m->tasks.n; i++) {
		struct kept *k = find_kept(f, m->tasks.at[i]);
		f->n_done += k->n_done < k->n;
		k->n_done += k->n_done < k->n;
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
		a.pending += f->kept[i]->n - f->kept[i]->n_done;
	f->n_attached++;
	conn_reply(c, id, WIRE_ATTACHED, &a);
	for (size_t i = 0; i < f->n_kept; i++) {
		if (f->kept[i]->n_done < f->kept[i]->n)
			send_result(f, c, f->kept[i]);
	}
	if (m->events)
		conn_send(c, WIRE_EVENT,
			  &(struct wire_event){.what = "node-joined", .node = "n1", .at_usec = 5, .reason = "new"});
}

/* Sends what was held back, and the notice if there is one. */
static void on_speak(struct post *p)
{
	struct fake *f = container_of(p, struct fake, speak);
	pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < f->n_conns; i++) {
		bool is_bye = streq(f->notice, "bye"), is_some = streq(f->notice, "some");
		for (size_t k = 0; k + is_some < f->n_kept && !is_bye; k++) {
			if (!f->kept[k]->is_sent)
				send_result(f, f->conns[i], f->kept[k]);
		}
		if (is_bye)
			conn_close(f->conns[i], "as told", true);
		else if (*f->notice && !is_some)
			conn_send(f->conns[i], WIRE_EVENT, &(struct wire_event){.what = f->notice, .node = "n2"});
	}
	f->is_spoken = true;
	pthread_cond_signal(&f->spoken);
	pthread_mutex_unlock(&f->lock);
}

static void on_words(struct fake *f, struct conn *c, const struct wire_head *h, const void *message)
{
	const struct wire_set *set = message;
	const struct wire_forget *forget = message;
	const struct wire_abandon *abandon = message;
	pthread_mutex_lock(&f->lock);
	if (h->type == WIRE_SET)
		snprintf(f->set, sizeof f->set, "%s/%s=%s", set->run, set->name, set->value);
	else if (h->type == WIRE_FORGET)
		snprintf(f->forgotten, sizeof f->forgotten, "%s/%s", forget->run,
			 forget->items.n ? forget->items.at[0] : "");
	else
		snprintf(f->selector, sizeof f->selector, "%s/%s", abandon->run, abandon->selector);
	pthread_mutex_unlock(&f->lock);
	conn_reply_status(c, h->id, 0, "%s", "");
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	struct fake *f = fake_of(c);
	if (f->on_other && f->on_other(f->arg, c, h, message))
		return;
	if (h->type == WIRE_ATTACH)
		on_attach(f, c, h->id, message);
	else if (h->type == WIRE_SUBMIT)
		on_submit(f, c, h->id, message);
	else if (h->type == WIRE_DONE)
		on_done(f, c, h->id, message);
	else if (h->type == WIRE_ABANDON || h->type == WIRE_SET || h->type == WIRE_FORGET) {
		f->n_cancelled += h->type == WIRE_ABANDON;
		on_words(f, c, h, message);
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

static struct fake *fake_start_old(uint32_t minor)
{
	static const struct conn_ops ops = {.on_open = on_open, .on_message = on_message, .on_close = on_close};
	struct fake *f = NEW(struct fake);
	f->hello = (struct wire_hello){.role = TLS_ROLE_VINED,
				       .major = WIRE_MAJOR,
				       .minor = minor,
				       .version = "0",
				       .cluster = "uuid",
				       .name = "fake"};
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->spoken, NULL);
	struct net_address a;
	char path[256];
	snprintf(f->directory, sizeof f->directory, "%s", unit_tmpdir());
	snprintf(path, sizeof path, "%s/vined.sock", f->directory);
	ASSERT_EQ(net_parse(path, &a), 0);
	f->loop = loop_new();
	struct listener_options o = {.conn = {.ops = &ops, .owner = f, .hello = &f->hello}};
	f->listener = listener_new(f->loop, net_listen(&a, 10), &o);
	f->stop.on_post = on_stop;
	f->speak.on_post = on_speak;
	ASSERT_EQ(pthread_create(&f->thread, NULL, fake_thread, f), 0);
	return f;
}

static struct fake *fake_start(void)
{
	return fake_start_old(WIRE_MINOR);
}

/* What it holds back, and a notice if it is not empty. */
static _unused_ void fake_speak(struct fake *f, const char *notice)
{
	pthread_mutex_lock(&f->lock);
	snprintf(f->notice, sizeof f->notice, "%s", notice);
	f->is_spoken = false;
	f->is_holding = false;
	loop_post(f->loop, &f->speak);
	while (!f->is_spoken)
		pthread_cond_wait(&f->spoken, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

/* A copy of its last word about something. */
static _unused_ const char *fake_word(struct fake *f, const char *word, char copy[200])
{
	pthread_mutex_lock(&f->lock);
	memcpy(copy, word, 200);
	pthread_mutex_unlock(&f->lock);
	return copy;
}

/* A copy of the last SUBMIT that it took; yours. */
static _unused_ struct wire_submit *fake_submit(struct fake *f)
{
	pthread_mutex_lock(&f->lock);
	struct wire_submit *m = wire_copy(WIRE_SUBMIT, f->last);
	pthread_mutex_unlock(&f->lock);
	return m;
}

static void fake_stop(struct fake *f)
{
	loop_post(f->loop, &f->stop);
	pthread_join(f->thread, NULL);
	loop_free(f->loop);
	for (size_t i = 0; i < f->n_kept; i++) {
		free(f->kept[i]->key);
		free(f->kept[i]->tag);
		free(f->kept[i]->category);
		free(f->kept[i]);
	}
	free(f->last);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->spoken);
	free(f);
}

static struct vine_task *task_new(void)
{
	struct vine_task *t;
	ASSERT_EQ(vine_task_new((const char *const[]){"true", NULL}, &t), 0);
	return t;
}

static _unused_ const char *value_of(struct vine_event *e, const char *name)
{
	const char *value = "?";
	ASSERT(vine_event_get(e, name, &value) >= 0);
	return value;
}

#endif
