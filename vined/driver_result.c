/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/driver_internal.h"

#include "common/log.h"

#include <stdio.h>

#define HEAD_SIZE (64u << 10) /* of each output, committed with the result */

/* ---- to clients */

static void send_result(struct task *t, const struct store_result *e)
{
	struct run *r = t->run;
	const struct node *n = map_get(&r->driver->nodes, e->node);
	const struct wire_result m = {
		.task = t->id,
		.run = r->name,
		.tag = t->tag,
		.attempt = e->attempt,
		.attempts = t->attempts,
		.node = n ? n->name : "",
		.how = e->how,
		.status = e->status,
		.reason = e->reason,
		.wall_usec = e->wall_usec,
		.cpu_usec = e->cpu_usec,
		.peak_memory = e->peak_memory,
		.out_size = e->out_size,
		.err_size = e->err_size,
		.out = e->out,
		.err = e->err,
	};
	/* It stays in the list of those sent until DONE, however the sending goes. */
	conn_send(t->session->conn, WIRE_RESULT, &m);
	list_remove(&t->link);
	list_append(&t->session->sent, &t->link);
}

/* Asking a full connection makes it call driver_push() through its owner when there is room. */
static bool has_room(const struct session *s)
{
	return s->conn && !s->attaching && conn_is_open(s->conn) && !conn_is_full(s->conn);
}

static void push(struct session *s)
{
	static struct log_limit limit;
	struct store_result e;
	struct task *t;
	while (has_room(s) && (t = list_first(&s->results, struct task, link))) {
		int error = store_read_result(s->run->driver->o.store, t->id, &e, NULL);
		if (error) {
			log_limited(&limit, 1, LOG_LEVEL_ERROR, "task %llu: cannot read its result: %s",
				    (unsigned long long)t->id, strerror(-error));
			return;
		}
		send_result(t, &e);
	}
}

void driver_push(struct run *r)
{
	list_foreach (&r->sessions, struct session, link, s)
		push(s);
}

/* ---- acknowledged */

static void on_done_stored(struct store_op *op, int error)
{
	void **arg = op->arg;
	struct driver *d = arg[0];
	for (size_t i = 0; i < op->tasks.n && !error; i++) {
		struct task *t = map_get(&d->tasks, op->tasks.at[i]);
		if (!t || t->state != STORE_ENDED)
			continue;
		struct run *r = t->run;
		task_free(t);
		run_release(r);
	}
	promise_stored(arg[1], error);
}

static void store_done(struct driver *d, uint64_t *ids, size_t n, struct promise *p)
{
	struct store *s = d->o.store;
	void **arg = store_alloc(s, 2 * sizeof *arg);
	arg[0] = d;
	arg[1] = p;
	store_put(
		s,
		&(struct store_op){
			.kind = STORE_DONE, .is_kept = !p, .on_stored = on_done_stored, .arg = arg, .tasks = {ids, n}});
}

void driver_done(struct driver *d, const struct wire_u64s *tasks, uint64_t session, struct promise *p)
{
	uint64_t *ids = store_alloc(d->o.store, tasks->n * sizeof *ids);
	size_t n = 0;
	for (uint32_t i = 0; i < tasks->n; i++) {
		const struct task *t = map_get(&d->tasks, tasks->at[i]);
		/* One that is not over cannot have arrived; one that became another's is for that one to take. */
		if (t && t->state == STORE_ENDED && (!t->session || t->session->id == session))
			ids[n++] = t->id;
	}
	store_done(d, ids, n, p);
}

void run_abandon_results(struct run *r)
{
	uint64_t *ids = store_alloc(r->driver->o.store, r->n_ended * sizeof *ids);
	size_t n = 0;
	assert(!run_has_client(r));
	r->is_abandoned = true;
	list_foreach (&r->sessions, struct session, link, s) {
		struct list *lists[] = {&s->sent, &s->results};
		for (size_t i = 0; i < countof(lists); i++)
			list_foreach (lists[i], struct task, link, t)
				ids[n++] = t->id;
	}
	list_foreach (&r->orphans, struct task, link, t)
		ids[n++] = t->id;
	assert(n == r->n_ended);
	if (n)
		store_done(r->driver, ids, n, NULL);
}

/* ---- into the store */

/* The core hears of the end only here: had the commit failed, the task would still be the node's to report. */
static void on_result_stored(struct store_op *op, int error)
{
	void **arg = op->arg;
	struct driver *d = arg[0];
	const struct store_result *e = &op->result;
	struct task *t = map_get(&d->tasks, e->task);
	if (error || !e->is_first || !t) {
		promise_stored(arg[1], error);
		return;
	}
	assert(t->state < STORE_ENDED);
	/* What vined itself ended is over for the core already. */
	if (e->attempt && core_attempt_ended(d->core, t->id, e->attempt) && arg[1])
		log_warn("task %llu: attempt %llu counted, but was not the current one", (unsigned long long)t->id,
			 (unsigned long long)e->attempt);
	struct run *r = t->run;
	bool is_next = t->session && list_is_empty(&t->session->results);
	task_set_node(t, NULL, e->attempt);
	t->state = STORE_ENDED;
	r->n_unfinished--;
	r->n_ended++;
	d->n_ended++;
	task_queue_result(t);
	/* It is at hand; what has to wait is read back from the store when its turn comes. */
	if (is_next && has_room(t->session))
		send_result(t, e);
	if (r->is_abandoned) {
		uint64_t *id = store_alloc(d->o.store, sizeof *id);
		*id = t->id;
		store_done(d, id, 1, NULL);
	}
	promise_stored(arg[1], 0);
}

static void store_result(struct driver *d, const struct store_result *e, struct promise *p)
{
	struct store *s = d->o.store;
	void **arg = store_alloc(s, 2 * sizeof *arg);
	arg[0] = d;
	arg[1] = p;
	store_put(
		s,
		&(struct store_op){
			.kind = STORE_RESULT, .is_kept = !p, .on_stored = on_result_stored, .arg = arg, .result = *e});
}

void task_end(struct task *t, uint8_t how, uint32_t status, const char *reason)
{
	struct driver *d = t->run->driver;
	const struct store_result e = {
		.task = t->id,
		.attempt = t->node ? t->attempt : 0,
		.node = t->node ? t->node->id : 0,
		.how = how,
		.status = status,
		.reason = store_text(d->o.store, reason),
	};
	store_result(d, &e, NULL);
}

static struct wire_bytes copy_head(struct store *s, const struct wire_bytes *b)
{
	uint32_t n = min(b->n, HEAD_SIZE);
	void *copy = store_alloc(s, n);
	if (n)
		memcpy(copy, b->at, n);
	return (struct wire_bytes){copy, n};
}

static void on_lost_stored(struct store_op *op, int error)
{
	promise_stored(op->arg, error);
}

static void answer_when_stored(struct driver *d, struct promise *p)
{
	store_put(d->o.store, &(struct store_op){.kind = STORE_NOTHING, .on_stored = on_lost_stored, .arg = p});
}

/* The node cannot say how it went: the task runs again, whatever its exit status was. The node rests, so that another may get it.
 * A node that loses the same task over and over is more likely the cause than the task, as long as there are others. */
static void run_again(struct task *t, struct node *n, const char *reason, struct promise *p)
{
	struct driver *d = t->run->driver;
	uint64_t attempt = t->attempt;
	struct driver_numbers numbers;
	driver_numbers(d, &numbers);
	bool is_counted = t->lost_by != n || numbers.nodes <= 1;
	t->lost_by = n;
	t->losses += is_counted;
	task_record_lost(t, false);
	if (is_counted)
		core_attempt_lost(d->core, t->id, attempt);
	else
		core_attempt_returned(d->core, t->id, attempt);
	node_rest(n, *reason ? reason : "a task was lost on it");
	answer_when_stored(d, p);
}

/* It never began, so nothing speaks against the task. */
static void run_elsewhere(struct task *t, struct node *n, const char *reason, struct promise *p)
{
	struct driver *d = t->run->driver;
	uint64_t attempt = t->attempt;
	node_rest(n, reason);
	task_record_lost(t, false);
	core_attempt_returned(d->core, t->id, attempt);
	answer_when_stored(d, p);
}

/* An attempt that does not count is acknowledged at once, so that its node forgets it. */
void driver_ended(struct node *n, const struct wire_ended *m, struct promise *p)
{
	struct driver *d = n->driver;
	struct store *s = d->o.store;
	struct task *t = map_get(&d->tasks, m->task);
	if (!t || t->state >= STORE_ENDED || t->attempt != m->attempt) {
		log_debug("node %s: attempt %llu of task %llu does not count any more", n->name,
			  (unsigned long long)m->attempt, (unsigned long long)m->task);
		promise_status(p, 0, "%s", "");
		return;
	}
	if (m->how <= 2)
		node_did_well(n);
	bool is_its_own = t->node == n; /* else it was said before, and the task waits to run again */
	if ((m->how == 4 || m->how == 6) && !is_its_own) {
		promise_status(p, 0, "%s", "");
		return;
	}
	if (m->how == 4 && !t->is_cancelled) {
		run_again(t, n, m->reason, p);
		return;
	}
	if (m->how == 6 && !t->is_cancelled) {
		run_elsewhere(t, n, m->reason, p);
		return;
	}
	const struct store_result e = {
		.task = t->id,
		.attempt = m->attempt,
		.node = n->id,
		.how = t->is_cancelled && m->how != 1 ? STORE_CANCELLED : m->how,
		.status = m->status,
		.reason = store_text(s, m->reason),
		.wall_usec = m->wall_usec,
		.cpu_usec = m->cpu_usec,
		.peak_memory = m->peak_memory,
		.out_size = m->out_size,
		.err_size = m->err_size,
		.out = copy_head(s, &m->out),
		.err = copy_head(s, &m->err),
	};
	store_result(d, &e, p);
}

/* ---- output */

static int find_node(struct driver *d, uint64_t task, uint64_t id, struct conn **c, char reason[256])
{
	const struct node *n = map_get(&d->nodes, id);
	if (n && n->conn) {
		*c = n->conn;
		return 0;
	}
	snprintf(reason, 256, "task %llu: its output lies on node %s, which is not connected", (unsigned long long)task,
		 n ? n->name : "(unknown)");
	return -EHOSTUNREACH;
}

int driver_find_output(struct driver *d, uint64_t task, uint64_t *attempt, uint8_t which, struct conn **c,
		       struct wire_bytes *head, char reason[256])
{
	struct store_result e;
	struct store_task row;
	int r = store_read_result(d->o.store, task, &e, &row);
	if (!r && (!*attempt || *attempt == e.attempt)) {
		*attempt = e.attempt;
		*head = which == 2 ? e.err : e.out;
		if (head->n == (which == 2 ? e.err_size : e.out_size))
			return 1;
		return find_node(d, task, e.node, c, reason);
	}
	if (r && (r != -ENOENT || !row.id)) {
		snprintf(reason, 256, "task %llu: %s", (unsigned long long)task,
			 r == -ENOENT ? "there is none" : strerror(-r));
		return r;
	}
	const struct task *t = map_get(&d->tasks, task);
	if (!t || !t->node || (*attempt && *attempt != t->attempt)) {
		snprintf(reason, 256, "task %llu: %s", (unsigned long long)task,
			 *attempt ? "there is no such attempt" : "it has no output, it does not run yet");
		return -ENODATA;
	}
	*attempt = t->attempt;
	return find_node(d, task, t->node->id, c, reason);
}
