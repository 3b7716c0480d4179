/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/driver_internal.h"

#include "common/log.h"

#include <stdio.h>

#define HEAD_SIZE (64u << 10) /* of each output, committed with the result */
#define HOW_MOST 7u           /* of ENDED, wire.def */
#define HOW_NO_OUTPUT 7u
#define EXCEEDED_MOST 4u
#define LEFT_SIZE (64u << 10)

/* ---- acknowledged */

static void on_done_stored(struct store_op *op, int error)
{
	void **arg = op->arg;
	struct driver *d = arg[0];
	for (size_t i = 0; i < op->tasks.n && !error; i++) {
		struct task *t = task_find(d, op->tasks.at[i]);
		if (!t || t->state != STORE_ENDED)
			continue;
		struct run *r = t->run;
		task_delivered(t);
		run_note(run_hold(r));
		run_unhold(r);
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
		const struct task *t = task_find(d, tasks->at[i]);
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

/* What waits with a result for its commit. */
struct ending {
	struct driver *driver;
	struct promise *promise;
	struct wire_output *outputs; /* as the node says; NULL: it says nothing of them */
	uint32_t n_outputs;
};

static void make_output(struct driver *d, struct node *n, struct item *i, const struct wire_output *o)
{
	if (i->tree && !i->tree->digest.algorithm)
		return;
	struct tree *t = tree_get(d, &o->tree, min(o->size, (uint64_t)INT64_MAX));
	if (i->tree && i->tree != t) {
		/* Made again it came out otherwise: whoever has the first one keeps it. */
		log_warn("item %s: made again, it is another tree", i->name);
		tree_put(d, t);
		return;
	}
	item_set_tree(d, i, t);
	/* A node that is lost meanwhile takes it along, like one that did not come back. */
	if (n && n->in_core != NODE_ABSENT)
		replica_set(n, t, max(t->size, UINT64_C(1)));
	else
		past_has(d, t);
	tree_put(d, t);
}

/* A node without data leaves its outputs where all of its kind see them. */
static void take_outputs(struct task *t, struct node *n, const struct ending *g, bool went_well)
{
	struct driver *d = g->driver;
	for (size_t k = t->n_inputs; k < (size_t)t->n_inputs + t->n_outputs; k++) {
		struct item *i = task_item(t, k);
		const struct wire_output *made = NULL;
		if (i->producer != t->id)
			continue;
		i->is_over = true;
		for (uint32_t m = 0; m < g->n_outputs; m++)
			if (g->outputs[m].item == i->id && g->outputs[m].tree.algorithm)
				made = &g->outputs[m];
		if (made)
			make_output(d, n, i, made);
		if (made ? item_is_keep(i) : went_well && (!n || !n->has_data))
			item_is_seen(d, i);
		i->is_failed = !item_is_there(i);
	}
}

/* The trees of outputs are as durable as the result that made them: they go before it. */
static void record_outputs(struct task *t, const struct node *n, const struct wire_ended *m, bool went_well)
{
	struct store *s = t->run->driver->o.store;
	for (size_t k = t->n_inputs; k < (size_t)t->n_inputs + t->n_outputs; k++) {
		const struct item *i = task_item(t, k);
		if (i->producer != t->id)
			continue;
		struct store_item row = {.id = i->id,
					 .run = i->run->id,
					 .name = store_text(s, i->name),
					 .signature = store_text(s, ""),
					 .size = i->size,
					 .producer = i->producer,
					 .is_forgotten = i->is_forgotten};
		bool is_made = false;
		for (uint32_t j = 0; j < m->outputs.n; j++) {
			const struct wire_output *o = &m->outputs.at[j];
			if (o->item != i->id || !o->tree.algorithm)
				continue;
			row.tree = o->tree;
			row.size = min(o->size, (uint64_t)INT64_MAX);
			row.signature = store_text(s, item_is_keep(i) ? ITEM_SEEN : "");
			is_made = true;
		}
		if (!is_made && went_well && !n->has_data)
			row.signature = store_text(s, ITEM_SEEN), is_made = true;
		if (is_made)
			store_put(s, &(struct store_op){.kind = STORE_ITEM, .is_kept = true, .item = row});
	}
}

/* The core hears of the end only here: had the commit failed, the task would still be the node's to report. */
static void on_result_stored(struct store_op *op, int error)
{
	const struct ending *g = op->arg;
	struct driver *d = g->driver;
	const struct store_result *e = &op->result;
	struct task *t = task_find(d, e->task);
	if (error || !e->is_first || !t) {
		promise_stored(g->promise, error);
		return;
	}
	assert(t->state < STORE_ENDED);
	feed_ended(d, e);
	bool went_well = e->how == 1 && e->status == 0;
	take_outputs(t, map_get(&d->nodes, e->node), g, went_well && e->attempt);
	/* What vined itself ended is over for the core already. */
	if (e->attempt && core_attempt_ended(d->core, t->id, e->attempt) && g->promise)
		log_warn("task %llu: attempt %llu counted, but was not the current one", (unsigned long long)t->id,
			 (unsigned long long)e->attempt);
	struct run *r = t->run;
	bool is_next = t->session && list_is_empty(&t->session->results), is_taken = e->is_taken && !t->session;
	if (t->tries)
		task_set_node(t, NULL, e->attempt);
	if (t->has_deadline)
		deadline_end(t);
	grant_end(d, t->id);
	t->state = STORE_ENDED;
	if (t->is_element)
		array_ended(t, t->tries && t->tries->attempts);
	r->n_unfinished--;
	r->n_ended++;
	d->n_ended++;
	task_queue_result(t);
	task_let_go(t);
	/* It is at hand; what has to wait is read back from the store when its turn comes. */
	if (is_next && session_has_room(t->session))
		result_send(t, e, t->tries ? t->tries->attempts : 0);
	if (r->is_abandoned) {
		uint64_t *id = store_alloc(d->o.store, sizeof *id);
		*id = t->id;
		store_done(d, id, 1, NULL);
	} else if (is_taken) {
		task_delivered(t);
	}
	promise_stored(g->promise, 0);
	run_note(run_hold(r));
	run_unhold(r);
}

static void store_result(const struct task *t, const struct store_result *e, const struct wire_ended *m,
			 struct promise *p)
{
	struct driver *d = t->run->driver;
	struct store *s = d->o.store;
	struct ending *g = store_alloc(s, sizeof *g);
	*g = (struct ending){.driver = d, .promise = p};
	if (m && m->outputs.n) {
		g->n_outputs = m->outputs.n;
		g->outputs = store_alloc(s, g->n_outputs * sizeof *g->outputs);
		memcpy(g->outputs, m->outputs.at, g->n_outputs * sizeof *g->outputs);
	}
	struct store_op op = {
		.kind = STORE_RESULT, .is_kept = !p, .on_stored = on_result_stored, .arg = g, .result = *e};
	op.result.run = t->run->id;
	op.result.is_taken = !t->session && run_takes_results(t->run);
	store_put(s, &op);
}

void task_end(struct task *t, uint8_t how, uint32_t status, const char *reason)
{
	struct driver *d = t->run->driver;
	const struct store_result e = {
		.task = t->id,
		.attempt = task_node(t) ? task_attempt(t) : 0,
		.node = task_node(t) ? task_node(t)->id : 0,
		.how = how,
		.status = status,
		.reason = store_text(d->o.store, reason),
	};
	store_result(t, &e, NULL, NULL);
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
 * A node that loses the same task over and over is more likely the cause than the task, as long as there are others; one that goes is the cause. */
static void run_again(struct task *t, struct node *n, const char *reason, struct promise *p)
{
	struct driver *d = t->run->driver;
	struct tries *a = t->tries;
	uint64_t attempt = a->attempt;
	bool is_leaving = node_is_leaving(n), is_counted = !is_leaving && (a->lost_by != n || d->n_connected <= 1);
	if (!is_leaving)
		a->lost_by = n;
	a->losses += is_counted;
	a->settled = attempt;
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
	uint64_t attempt = task_attempt(t);
	node_rest(n, reason);
	core_node_judge(d->core, n->id, false);
	t->tries->settled = attempt;
	task_record_lost(t, false);
	core_attempt_returned(d->core, t->id, attempt);
	answer_when_stored(d, p);
}

/* A failure of its own, which the user allowed for. */
static void try_again(struct task *t, const struct node *n, const struct wire_ended *m, bool is_counted,
		      struct promise *p)
{
	struct driver *d = t->run->driver;
	char text[128];
	if (m->how == HOW_NO_OUTPUT)
		snprintf(text, sizeof text, "%.120s", *m->reason ? m->reason : "an output is missing");
	else
		snprintf(text, sizeof text, "%s %u%s", m->how == 2 ? "signal" : "exit status", m->status,
			 m->exceeded ? ", a limit was exceeded" : "");
	t->tries->failures += is_counted;
	if (!is_counted)
		snprintf(text, sizeof text, "it runs again with all that its category allows");
	t->tries->settled = m->attempt;
	task_record_lost(t, false);
	event_tell(d, t->run, "task-retried", t->id, n, text);
	answer_when_stored(d, p);
}

/* True: it runs again, and the node is answered. What used up its share of memory or disk gets more first. */
static bool retry(struct task *t, struct node *n, const struct wire_ended *m, struct promise *p)
{
	struct driver *d = t->run->driver;
	uint64_t attempt = m->attempt;
	bool is_failure = m->how == 2 || m->how == HOW_NO_OUTPUT || (m->how == 1 && m->status) || m->exceeded;
	if (!is_failure || t->is_cancelled || task_node(t) != n)
		return false;
	bool is_short = m->exceeded == 1 || m->exceeded == 2;
	if (is_short && !core_attempt_exhausted(d->core, t->id, attempt)) {
		try_again(t, n, m, false, p);
		return true;
	}
	if (t->tries->failures >= t->shape->row.retries || core_attempt_returned(d->core, t->id, attempt))
		return false;
	try_again(t, n, m, true, p);
	return true;
}

static void judge(struct task *t, struct node *n, const struct wire_ended *m)
{
	struct core *c = n->driver->core;
	char category[256];
	if (m->how <= 2 || m->how == HOW_NO_OUTPUT)
		node_did_well(n);
	core_node_judge(c, n->id, m->how == 1 && !m->status);
	if (m->how != 1 || m->status || !*t->shape->row.category)
		return;
	category_name(t->run, t->shape->row.category, category);
	core_category_measured(c, category, m->peak_memory, m->peak_disk);
}

/* A line each; what could not be told from a line break, or is too much, is left out: n_left counts all. */
static const char *join_left(struct store *s, const struct wire_texts *left)
{
	struct buf lines = {0};
	for (uint32_t i = 0; i < left->n; i++) {
		const char *path = left->at[i];
		if (*path && !strchr(path, '\n') && lines.n + strlen(path) < LEFT_SIZE)
			buf_printf(&lines, "%s%s", lines.n ? "\n" : "", path);
	}
	const char *text = lines.n ? store_text(s, buf_text(&lines)) : NULL;
	buf_fini(&lines);
	return text;
}

static void store_ended(struct task *t, struct node *n, const struct wire_ended *m, struct promise *p)
{
	struct driver *d = n->driver;
	struct store *s = d->o.store;
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
		.exceeded = m->exceeded,
		.peak_disk = m->peak_disk,
		.local_size = m->local_size,
		.moved_size = m->moved_size,
		.n_left = m->n_left,
		.written_size = m->written_size,
		.peer_size = m->peer_size,
		.source_size = m->source_size,
		.client_size = m->client_size,
		.left = join_left(s, &m->left),
	};
	record_outputs(t, n, m, m->how == 1 && !m->status);
	store_result(t, &e, m, p);
}

/* It had its result: only what it made counts. */
static void end_again(struct task *t, struct node *n, const struct wire_ended *m, struct promise *p)
{
	struct driver *d = n->driver;
	bool went_well = m->how == 1 && !m->status;
	const struct ending g = {
		.driver = d, .outputs = (struct wire_output *)(uintptr_t)m->outputs.at, .n_outputs = m->outputs.n};
	if (retry(t, n, m, p))
		return;
	take_outputs(t, n, &g, went_well);
	core_attempt_ended(d->core, t->id, m->attempt);
	task_set_node(t, NULL, m->attempt);
	t->tries->is_again = false;
	task_let_go(t);
	answer_when_stored(d, p);
}

/* An attempt that does not count is acknowledged at once, so that its node forgets it. */
static void on_ended(struct node *n, const struct wire_ended *m, struct promise *p)
{
	struct driver *d = n->driver;
	struct task *t = task_find(d, m->task);
	if (!t || !task_is_going(t) || !m->attempt || task_attempt(t) != m->attempt) {
		log_debug("node %s: attempt %llu of task %llu does not count any more", n->name,
			  (unsigned long long)m->attempt, (unsigned long long)m->task);
		promise_status(p, 0, "%s", "");
		return;
	}
	/* It did not get the answer, and says it once more. */
	if (t->tries->settled == m->attempt) {
		answer_when_stored(d, p);
		return;
	}
	bool is_its_own = task_node(t) == n; /* else it was said before, and the task waits to run again */
	bool is_anothers = task_node(t) && !is_its_own;
	if (is_anothers || ((m->how == 4 || m->how == 6) && !is_its_own)) {
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
	judge(t, n, m);
	if (t->state >= STORE_ENDED)
		end_again(t, n, m, p);
	else if (!retry(t, n, m, p))
		store_ended(t, n, m, p);
}

/* The database has signed numbers, and none of these can be that large. */
static struct wire_ended bounded(const struct wire_ended *m)
{
	struct wire_ended e = *m;
	uint64_t *const numbers[] = {&e.wall_usec, &e.cpu_usec,    &e.peak_memory, &e.out_size, &e.err_size,
				     &e.peak_disk, &e.local_size,  &e.moved_size,  &e.n_left,   &e.written_size,
				     &e.peer_size, &e.source_size, &e.client_size};
	for (size_t i = 0; i < countof(numbers); i++)
		*numbers[i] = min(*numbers[i], (uint64_t)INT64_MAX);
	return e;
}

static bool is_known(const struct wire_ended *m)
{
	return m->how >= 1 && m->how <= HOW_MOST && m->how != STORE_CANCELLED && m->exceeded <= EXCEEDED_MOST;
}

void driver_ended(struct node *n, const struct wire_ended *m, struct promise *p)
{
	const struct wire_ended e = bounded(m);
	if (is_known(m)) {
		on_ended(n, &e, p);
		return;
	}
	log_warn("node %s: says that attempt %llu of task %llu ended by %u, limit %u, which nobody knows", n->name,
		 (unsigned long long)m->attempt, (unsigned long long)m->task, m->how, m->exceeded);
	promise_status(p, EINVAL, "ENDED of task %llu: how is %u and exceeded %u; known are 1 to %u but 5, and 0 to %u",
		       (unsigned long long)m->task, m->how, m->exceeded, HOW_MOST, EXCEEDED_MOST);
}
