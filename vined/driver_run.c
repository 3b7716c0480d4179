/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/driver_internal.h"

#include "common/log.h"

#include <stdio.h>

#define MOST_BACKLOG ((size_t)256 << 20) /* what waits for the disk; more is refused, not swallowed */

/* ---- runs */

struct run *run_new(struct driver *d, const struct store_run *s)
{
	struct run *r = NEW(struct run);
	assert(s->id && s->name[0] && !map_get_text(&d->runs, s->name));
	r->driver = d;
	r->id = s->id;
	r->name = xstrdup(s->name);
	r->is_attached = s->is_attached;
	list_init(&r->unfinished);
	list_init(&r->orphans);
	list_init(&r->sessions);
	map_put_text(&d->runs, r->name, r);
	return r;
}

void run_free(struct run *r)
{
	assert(!r->n_unfinished && !r->n_ended);
	list_foreach (&r->sessions, struct session, link, s)
		session_free(s);
	buf_fini(&r->gone);
	timer_stop(&r->is_gone);
	map_remove_text(&r->driver->runs, r->name);
	free(r->name);
	free(r);
}

/* A run with nothing unacknowledged is only a row: it is read again when someone asks for it. */
void run_release(struct run *r)
{
	if (!r->n_holds && !r->n_unfinished && !r->n_ended)
		run_free(r);
}

static struct run *run_hold(struct run *r)
{
	r->n_holds++;
	return r;
}

static void run_unhold(struct run *r)
{
	assert(r->n_holds > 0);
	r->n_holds--;
	run_release(r);
}

const char *driver_run_name(const struct run *r)
{
	return r->name;
}

/* ---- cancelling */

static void on_cancel_stored(struct store_op *op, int error);

/* Takes ownership of the promise; `ids` are tasks of the run. */
static void cancel(struct run *r, uint64_t *ids, size_t n, struct promise *p)
{
	struct store *s = r->driver->o.store;
	void **arg = store_alloc(s, 2 * sizeof *arg);
	arg[0] = run_hold(r);
	arg[1] = p;
	store_put(s, &(struct store_op){.kind = STORE_CANCEL,
					.is_kept = !p,
					.on_stored = on_cancel_stored,
					.arg = arg,
					.tasks = {ids, n}});
}

static void on_cancel_stored(struct store_op *op, int error)
{
	void **arg = op->arg;
	struct run *r = arg[0];
	struct driver *d = r->driver;
	for (size_t i = 0; i < op->tasks.n && !error; i++) {
		struct task *t = map_get(&d->tasks, op->tasks.at[i]);
		if (!t || t->state >= STORE_ENDED || t->is_cancelled)
			continue;
		t->is_cancelled = true;
		core_task_cancel(d->core, t->id);
	}
	promise_stored(arg[1], error);
	run_unhold(r);
}

/* By number, since tasks may end while this is on its way to the disk. */
static void cancel_all(struct run *r, struct promise *p)
{
	uint64_t *ids = store_alloc(r->driver->o.store, r->n_unfinished * sizeof *ids);
	size_t n = 0;
	list_foreach (&r->unfinished, struct task, link, t)
		ids[n++] = t->id;
	assert(n == r->n_unfinished);
	cancel(r, ids, n, p);
}

void driver_abandon(struct run *r, const struct wire_u64s *tasks, struct promise *p)
{
	if (!tasks->n) {
		cancel_all(r, p);
		return;
	}
	uint64_t *ids = store_alloc(r->driver->o.store, tasks->n * sizeof *ids);
	size_t n = 0;
	for (uint32_t i = 0; i < tasks->n; i++) {
		const struct task *t = map_get(&r->driver->tasks, tasks->at[i]);
		if (t && t->run == r && t->state < STORE_ENDED)
			ids[n++] = t->id;
	}
	cancel(r, ids, n, p);
}

static void on_client_gone(struct timer *t)
{
	struct run *r = container_of(t, struct run, is_gone);
	if (run_has_client(r))
		return;
	log_info("run %s: its client is gone: %zu tasks are cancelled, %zu results dropped", r->name, r->n_unfinished,
		 r->n_ended);
	run_abandon_results(r);
	if (r->n_unfinished)
		cancel_all(r, NULL);
}

/* Also at a restart, and when a submit is stored after its client has gone: whoever adds tasks calls this. */
void run_watch_client(struct run *r)
{
	bool is_needed = r->n_unfinished || r->n_ended;
	if (r->is_attached && is_needed && !run_has_client(r) && !r->is_gone.loop)
		timer_start(&r->is_gone, r->driver->o.loop, r->driver->o.client_timeout_usec, on_client_gone);
}

/* ---- attaching */

static void answer_attached(struct run *r, struct promise *p)
{
	promise_keep(p, WIRE_ATTACHED,
		     &(struct wire_attached){.run = r->name, .pending = r->n_unfinished + r->n_ended});
}

static void on_run_stored(struct store_op *op, int error)
{
	void **arg = op->arg;
	struct run *r = arg[0];
	r->is_stored |= !error;
	session_stored(r, error);
	if (error)
		promise_stored(arg[1], error);
	else
		answer_attached(r, arg[1]);
	run_unhold(r);
}

/* Again for every request until one has come through: the row is put once all the same. */
static void store_run_row(struct run *r, struct promise *p)
{
	struct store *s = r->driver->o.store;
	void **arg = store_alloc(s, 2 * sizeof *arg);
	arg[0] = run_hold(r);
	arg[1] = p;
	store_put(s, &(struct store_op){.kind = STORE_RUN,
					.on_stored = on_run_stored,
					.arg = arg,
					.run = {r->id, store_text(s, r->name), r->is_attached}});
}

/* 0, -ENOENT or -EIO. */
static int find_run(struct driver *d, const char *name, struct run **out)
{
	struct store_run s;
	int r = 0;
	*out = map_get_text(&d->runs, name);
	if (!*out)
		r = store_find_run(d->o.store, name, &s);
	if (!*out && !r) {
		*out = run_new(d, &s);
		(*out)->is_stored = true;
	}
	return r;
}

static struct run *make_run(struct driver *d, const struct wire_attach *a)
{
	char text[40];
	struct run *found = NULL;
	struct store_run s = {++d->last_run, a->run, false};
	if (!a->run[0]) {
		s.name = text;
		s.is_attached = a->results;
		snprintf(text, sizeof text, "run-%llu", (unsigned long long)s.id);
		/* Someone may have given that name to a run of his own. */
		while (find_run(d, text, &found) == 0) {
			run_release(found);
			snprintf(text, sizeof text, "run-%llu-%llx", (unsigned long long)s.id,
				 (unsigned long long)loop_now_usec(d->o.loop));
		}
	}
	return run_new(d, &s);
}

struct run *driver_attach(struct driver *d, const struct wire_attach *a, uint64_t session, struct conn *c,
			  struct promise *p)
{
	struct run *r = NULL;
	int error = a->run[0] ? find_run(d, a->run, &r) : -ENOENT;
	if (error && (error != -ENOENT || a->must_exist)) {
		promise_status(p, -error, "run %s: %s", a->run, error == -ENOENT ? "there is none" : strerror(-error));
		return NULL;
	}
	if (!r)
		r = make_run(d, a);
	run_hold(r);
	if (a->results && session_attach(r, session, c, steal(p))) {
		run_unhold(r);
		return NULL;
	}
	if (!r->is_stored)
		store_run_row(r, p);
	else
		answer_attached(r, p);
	return r;
}

void driver_detach(struct run *r, const struct conn *c, bool may_return)
{
	session_leave(r, c, may_return);
	run_watch_client(r);
	run_unhold(r);
}

uint64_t driver_find_run(struct driver *d, const char *name, size_t *n_unfinished, size_t *n_ended)
{
	const struct run *r = map_get_text(&d->runs, name);
	struct store_run s;
	*n_unfinished = r ? r->n_unfinished : 0;
	*n_ended = r ? r->n_ended : 0;
	if (r)
		return r->id;
	return store_find_run(d->o.store, name, &s) == 0 ? s.id : 0;
}

/* ---- submitting */

/* The form in which the store interns them; driver.c splits it again. */
static struct wire_bytes join_texts(struct store *s, const char *first, const struct wire_texts *texts)
{
	size_t n = first ? strlen(first) + 1 : 0;
	for (uint32_t i = 0; i < texts->n; i++)
		n += strlen(texts->at[i]) + 1;
	char *body = store_alloc(s, n), *at = body;
	if (first)
		at = stpcpy(at, first) + 1;
	for (uint32_t i = 0; i < texts->n; i++)
		at = stpcpy(at, texts->at[i]) + 1;
	assert((size_t)(at - body) == n && n <= UINT32_MAX);
	return (struct wire_bytes){body, (uint32_t)n};
}

/* Only now, after its commit, may it run: an attempt of a task that nobody recorded could not be told from a stranger's. */
static void add_task(struct run *r, const struct store_task *s)
{
	struct driver *d = r->driver;
	struct task *t = task_new(d, s, r);
	task_claim_by_id(t, s->session, false);
	const struct core_task_spec spec = {.cores = s->cores, .memory = s->memory, .priority = s->priority};
	int error = core_task_add(d->core, t->id, &spec);
	assert(error == 0);
	store_remember_body(d->o.store, s->environment_id, &s->environment);
	store_remember_body(d->o.store, s->command_id, &s->command);
}

static void on_submit_stored(struct store_op *op, int error)
{
	void **arg = op->arg;
	struct run *r = arg[0];
	_free_ uint64_t *ids = xcalloc(op->submit.n, sizeof *ids);
	if (error) {
		promise_stored(arg[1], error);
	} else {
		for (size_t i = 0; i < op->submit.n; i++) {
			ids[i] = op->submit.at[i].id;
			struct task *known = map_get(&r->driver->tasks, ids[i]);
			if (op->submit.at[i].is_new)
				add_task(r, &op->submit.at[i]);
			else if (known)
				task_reclaim(known, op->submit.at[i].session);
		}
		promise_keep(arg[1], WIRE_SUBMITTED, &(struct wire_submitted){.ids = {ids, (uint32_t)op->submit.n}});
		run_watch_client(r);
	}
	run_unhold(r);
}

void driver_submit(struct run *r, const struct wire_submit *m, uint64_t session, struct promise *p)
{
	struct driver *d = r->driver;
	struct store *s = d->o.store;
	if (store_backlog(s) > MOST_BACKLOG) {
		promise_status(p, EAGAIN, "too much waits for the disk: submit again later");
		return;
	}
	/* Storing the run failed when it was attached: it goes along once more. */
	if (!r->is_stored)
		store_run_row(r, NULL);
	struct store_task *tasks = store_alloc(s, m->tasks.n * sizeof *tasks);
	for (uint32_t i = 0; i < m->tasks.n; i++) {
		const struct wire_task *t = &m->tasks.at[i];
		tasks[i] = (struct store_task){
			.id = ++d->last_task,
			.run = r->id,
			.session = session,
			.key = store_text(s, t->key),
			.tag = store_text(s, t->tag),
			.command = join_texts(s, t->directory, &t->argv),
			.environment = join_texts(s, NULL, &t->environment),
			.cores = t->cores,
			.memory = t->memory,
			.priority = t->priority,
		};
	}
	void **arg = store_alloc(s, 2 * sizeof *arg);
	arg[0] = run_hold(r);
	arg[1] = p;
	store_put(s, &(struct store_op){.kind = STORE_SUBMIT,
					.on_stored = on_submit_stored,
					.arg = arg,
					.submit = {tasks, m->tasks.n}});
}
