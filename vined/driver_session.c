/* SPDX-License-Identifier: Apache-2.0
 * Who gets which results, when several clients are attached to one run.
 *
 * 1. While a run has a session, each of its tasks is one's: of who submitted it, else of the newest.
 * 2. A session that may still come back keeps what is its own; one that will not leaves it to the newest that is there.
 * 3. One that comes back after another has got its tasks is told so: it would wait for ever. */
#include "vined/driver_internal.h"

#include "common/log.h"

#define RETURN_USEC 3000000u /* a client dials every second or more often */
#define GONE_MOST 256u

struct gone {
	uint64_t id;
	bool is_taken; /* what was its own is another's now */
};

static struct session *find(const struct run *r, uint64_t id)
{
	list_foreach (&r->sessions, struct session, link, s) {
		if (s->id == id)
			return s;
	}
	return NULL;
}

static struct session *newest(const struct run *r)
{
	for (const struct list *l = r->sessions.prev; l != &r->sessions; l = l->prev) {
		struct session *s = list_entry(l, struct session, link);
		if (s->conn)
			return s;
	}
	return NULL;
}

bool run_has_client(const struct run *r)
{
	return newest(r) != NULL;
}

static struct session *session_new(struct run *r, uint64_t id)
{
	struct session *s = NEW(struct session);
	assert(id && !find(r, id));
	s->run = r;
	s->id = id;
	list_init(&s->link);
	list_init(&s->results);
	list_init(&s->sent);
	list_append(&r->sessions, &s->link);
	return s;
}

void session_free(struct session *s)
{
	assert(list_is_empty(&s->results) && list_is_empty(&s->sent));
	promise_status(s->attaching, ECANCELED, "%s", "vined stops");
	timer_stop(&s->is_gone);
	list_remove(&s->link);
	free(s);
}

/* ---- whose a task is */

void task_queue_result(struct task *t)
{
	assert(t->state == STORE_ENDED);
	list_remove(&t->link);
	list_append(t->session ? &t->session->results : &t->run->orphans, &t->link);
}

void task_claim(struct task *t, struct session *s)
{
	if (t->session) {
		assert(t->session->n_tasks > 0);
		t->session->n_tasks--;
	}
	t->session = s;
	if (s)
		s->n_tasks++;
	if (t->state == STORE_ENDED)
		task_queue_result(t);
}

/* Of a task that is new, or was read at a restart, when its session has the usual time to come back. */
struct session *session_for(struct run *r, uint64_t id, bool is_loading)
{
	struct session *s = find(r, id);
	if (!s && is_loading && id) {
		s = session_new(r, id);
		session_await(s);
	}
	return s || is_loading ? s : newest(r);
}

void task_claim_by_id(struct task *t, uint64_t id, bool is_loading)
{
	task_claim(t, session_for(t->run, id, is_loading));
}

/* The same key submitted by another session: it waits for the result now. */
void task_reclaim(struct task *t, uint64_t id)
{
	struct session *old = t->session, *s = find(t->run, id);
	if (!s || s == old)
		return;
	task_claim(t, s);
	if (old && old->conn)
		conn_close(old->conn,
			   "another client of the same run has submitted the same key, and its result goes there",
			   true);
	driver_push(t->run);
}

static void give_all(struct run *r, const struct session *from, struct session *to)
{
	struct list *lists[] = {&r->unfinished, from ? NULL : &r->orphans};
	for (size_t i = 0; i < countof(lists) && lists[i]; i++) {
		list_foreach (lists[i], struct task, link, t) {
			if (t->session == from)
				task_claim(t, to);
		}
	}
	list_foreach (&r->arrays, struct array, link, a) {
		if (a->session == from)
			array_claim(a, to);
	}
}

/* Those sent go first: they are the older ones, and may not have arrived. */
static void give_results(struct session *from, struct session *to)
{
	struct list *lists[] = {&from->sent, &from->results};
	for (size_t i = 0; i < countof(lists); i++) {
		struct task *t;
		while ((t = list_first(lists[i], struct task, link)))
			task_claim(t, to);
	}
}

/* ---- those that are gone */

static void remember_gone(struct run *r, const struct session *s, bool is_taken)
{
	const struct gone g = {s->id, is_taken};
	if (!s->n_tasks)
		return;
	if (r->gone.n >= GONE_MOST * sizeof g)
		buf_consume(&r->gone, sizeof g);
	buf_put(&r->gone, &g, sizeof g);
}

/* Takes it out: whoever was told once begins anew. */
static bool was_taken_from(struct run *r, uint64_t id)
{
	struct gone *g = (struct gone *)(void *)r->gone.at;
	size_t n = r->gone.n / sizeof *g;
	for (size_t i = 0; i < n; i++) {
		if (g[i].id != id)
			continue;
		bool is_taken = g[i].is_taken;
		g[i].id = 0;
		return is_taken;
	}
	return false;
}

static void take_unowned(struct session *s)
{
	struct run *r = s->run;
	struct gone *g = (struct gone *)(void *)r->gone.at;
	size_t n_owned = 0;
	list_foreach (&r->sessions, struct session, link, each)
		n_owned += each->n_tasks;
	if (n_owned == r->n_unfinished + r->n_ended)
		return;
	give_all(r, NULL, s);
	for (size_t i = 0; i < r->gone.n / sizeof *g; i++)
		g[i].is_taken = true;
}

/* ---- coming and going */

/* A client counts what it may expect, which is known once those that may come back have come or not. */
static void answer_attaching(struct run *r)
{
	list_foreach (&r->sessions, struct session, link, s) {
		if (!s->conn && s->n_tasks)
			return;
	}
	list_foreach (&r->sessions, struct session, link, s) {
		if (s->attaching && r->is_stored)
			promise_keep(steal(s->attaching), WIRE_ATTACHED,
				     &(struct wire_attached){.run = r->name, .pending = s->n_tasks});
	}
	driver_push(r);
}

static void session_end(struct session *s)
{
	struct run *r = s->run;
	struct session *heir = newest(r);
	assert(!s->conn);
	remember_gone(r, s, heir != NULL);
	if (s->n_tasks && heir)
		log_info("run %s: a client is gone; %zu results go to %s", r->name, s->n_tasks,
			 conn_peer_name(heir->conn));
	give_all(r, s, heir);
	give_results(s, heir);
	assert(s->n_tasks == 0);
	session_free(s);
	answer_attaching(r);
	run_note(r);
}

static void on_gone(struct timer *t)
{
	session_end(container_of(t, struct session, is_gone));
}

void session_await(struct session *s)
{
	assert(!s->conn);
	timer_start(&s->is_gone, s->run->driver->o.loop, RETURN_USEC, on_gone);
}

/* Takes the promise. What was sent before may not have arrived: it is sent again, in order. -ESTALE: its tasks are another's. */
int session_attach(struct run *r, uint64_t id, struct conn *c, struct promise *p)
{
	struct session *s = find(r, id);
	if (!s && was_taken_from(r, id)) {
		promise_status(
			p, ESTALE,
			"run %s: this client was away, and another one that is attached to the run got its results",
			r->name);
		return -ESTALE;
	}
	bool is_back = s != NULL;
	if (!s)
		s = session_new(r, id);
	promise_status(s->attaching, ECANCELED, "%s", "attached again");
	s->attaching = p;
	s->conn = c;
	timer_stop(&s->is_gone);
	timer_stop(&r->is_gone);
	r->is_abandoned = false;
	list_splice(&s->sent, &s->results);
	list_splice(&s->results, &s->sent);
	take_unowned(s);
	/* One that was here before has counted long ago. */
	if (is_back && r->is_stored)
		promise_keep(steal(s->attaching), WIRE_ATTACHED,
			     &(struct wire_attached){.run = r->name, .pending = s->n_tasks});
	answer_attaching(r);
	return 0;
}

void session_stored(struct run *r, int error)
{
	list_foreach (&r->sessions, struct session, link, s) {
		if (error && s->attaching)
			promise_stored(steal(s->attaching), error);
	}
	answer_attaching(r);
}

void session_leave(struct run *r, const struct conn *c, bool may_return)
{
	list_foreach (&r->sessions, struct session, link, s) {
		if (s->conn != c)
			continue;
		s->conn = NULL;
		promise_status(steal(s->attaching), ECANCELED, "%s", "gone");
		if (may_return && s->n_tasks)
			session_await(s);
		else
			session_end(s);
		return;
	}
}
