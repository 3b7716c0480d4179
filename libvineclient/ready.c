/* SPDX-License-Identifier: Apache-2.0
 * Events that have come and nobody has taken, found by whatever vine_next may ask for without a walk, and the threads that
 * wait for one. The session's lock is held in all of it. */
#include "libvineclient/client.h"

#include <unistd.h>

#define NOTICES_MOST 10000u /* nobody need read them */

/* The events that have one tag, or one category. */
struct word {
	struct list events;
	char text[];
};

struct waiter {
	struct list link;
	const struct selector *selector;
	pthread_cond_t wake;
	bool is_called;
};

void ready_init(struct ready *r)
{
	list_init(&r->all);
	list_init(&r->notices);
	list_init(&r->waiters);
}

void ready_fini(struct ready *r)
{
	assert(list_is_empty(&r->all) && list_is_empty(&r->waiters));
	assert(!r->by_task.n && !r->tags.n && !r->categories.n);
	map_fini(&r->by_task);
	map_fini(&r->tags);
	map_fini(&r->categories);
}

static void put_word(struct map *words, const char *text, struct list *link)
{
	if (!*text)
		return;
	struct word *w = map_get_text(words, text);
	if (!w) {
		size_t n = strlen(text) + 1;
		w = xmalloc(sizeof *w + n);
		memcpy(w->text, text, n);
		list_init(&w->events);
		map_put_text(words, w->text, w);
	}
	list_append(&w->events, link);
}

static void take_word(struct map *words, const char *text, struct list *link)
{
	struct word *w = map_get_text(words, text);
	list_remove(link);
	if (w && list_is_empty(&w->events)) {
		map_remove_text(words, w->text);
		free(w);
	}
}

static bool takes(const struct selector *s, const struct vine_event *e)
{
	switch (s->by) {
	case SELECT_ALL:
		return true;
	case SELECT_NODES:
		return !e->result;
	case SELECT_TASK:
		return e->result && e->result->task == s->task;
	case SELECT_TAG:
		return e->result && streq(e->result->tag, s->word);
	case SELECT_CATEGORY:
		return e->result && streq(e->result->category, s->word);
	}
	return false;
}

/* One thread for one event: who is already called will find it, or has found another and leaves this to who comes next. */
static void call_waiter(struct ready *r, const struct vine_event *e)
{
	list_foreach (&r->waiters, struct waiter, link, w) {
		if (!w->is_called && takes(w->selector, e)) {
			w->is_called = true;
			pthread_cond_signal(&w->wake);
			return;
		}
	}
}

void ready_wake_all(struct ready *r)
{
	list_foreach (&r->waiters, struct waiter, link, w) {
		w->is_called = true;
		pthread_cond_signal(&w->wake);
	}
}

void ready_put(struct vine *v, struct vine_event *e)
{
	struct ready *r = &v->ready;
	assert(!e->result != !e->notice);
	list_append(&r->all, &e->link);
	if (e->result) {
		map_put(&r->by_task, e->result->task, e);
		put_word(&r->tags, e->result->tag, &e->by_tag);
		put_word(&r->categories, e->result->category, &e->by_category);
	} else {
		list_append(&r->notices, &e->by_tag);
		r->n_notices++;
	}
	call_waiter(r, e);
	ready_settle(v);
}

void ready_take(struct vine *v, struct vine_event *e)
{
	struct ready *r = &v->ready;
	list_remove(&e->link);
	if (e->result) {
		map_remove(&r->by_task, e->result->task);
		take_word(&r->tags, e->result->tag, &e->by_tag);
		take_word(&r->categories, e->result->category, &e->by_category);
	} else {
		list_remove(&e->by_tag);
		r->n_notices--;
	}
	ready_settle(v);
}

struct vine_event *ready_surplus(struct ready *r)
{
	return r->n_notices < NOTICES_MOST ? NULL : list_first(&r->notices, struct vine_event, by_tag);
}

struct vine_event *ready_find(const struct ready *r, const struct selector *s)
{
	const struct word *w;
	switch (s->by) {
	case SELECT_ALL:
		return list_first(&r->all, struct vine_event, link);
	case SELECT_NODES:
		return list_first(&r->notices, struct vine_event, by_tag);
	case SELECT_TASK:
		return map_get(&r->by_task, s->task);
	case SELECT_TAG:
		w = map_get_text(&r->tags, s->word);
		return w ? list_first(&w->events, struct vine_event, by_tag) : NULL;
	case SELECT_CATEGORY:
		w = map_get_text(&r->categories, s->word);
		return w ? list_first(&w->events, struct vine_event, by_category) : NULL;
	}
	return NULL;
}

int ready_wait(struct vine *v, const struct selector *s, const struct timespec *until)
{
	struct waiter w = {.selector = s};
	session_cond_init(&w.wake);
	list_init(&w.link);
	list_append(&v->ready.waiters, &w.link);
	int r = 0;
	while (!w.is_called && !r)
		r = until ? pthread_cond_timedwait(&w.wake, &v->lock, until) : pthread_cond_wait(&w.wake, &v->lock);
	list_remove(&w.link);
	pthread_cond_destroy(&w.wake);
	return w.is_called ? 0 : r;
}

void ready_settle(struct vine *v)
{
	uint64_t n = 1;
	bool is_readable = !list_is_empty(&v->ready.all) || v->broken || v->ready.has_room;
	if (is_readable == v->ready.is_rung)
		return;
	ssize_t done = is_readable ? write(v->event_fd, &n, sizeof n) : read(v->event_fd, &n, sizeof n);
	assert(done == sizeof n);
	v->ready.is_rung = is_readable && done == sizeof n;
}

void ready_quiet(struct vine *v)
{
	pthread_mutex_lock(&v->lock);
	v->ready.has_room = false;
	ready_settle(v);
	pthread_mutex_unlock(&v->lock);
}
