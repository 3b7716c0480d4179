/* SPDX-License-Identifier: Apache-2.0
 * A submit: all of it is made in memory and checked, then stored, and enters maps and core after its commit. What is wrong with
 * one task undoes all, as does a commit that fails. */
#include "vined/driver_internal.h"

#include <inttypes.h>
#include <stdio.h>

#define MOST_BACKLOG ((size_t)256 << 20) /* what waits for the disk; more is refused, not swallowed */
#define MODE_OUT 3

struct submit {
	struct run *run;
	struct promise *promise;
	struct task **tasks;
	size_t n;
	struct buf keeps; /* items that its tasks claim, with a hold on each while it is made */
};

static void undo(struct submit *u)
{
	for (size_t i = 0; i < u->n; i++) {
		if (u->tasks[i])
			task_free(steal(u->tasks[i]));
	}
}

/* ---- making */

/* The form in which the store interns them; driver_start.c splits it again. */
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

/* Of a task that was read at a restart the key is only in the store. */
uint64_t key_of_maker(struct item *i)
{
	struct store_result e;
	struct store_task row;
	if (i->producer_key)
		return i->producer_key;
	store_read_result(i->run->driver->o.store, i->producer, &e, &row);
	i->producer_key = row.id ? item_key_hash(row.key) : 0;
	return i->producer_key;
}

/* The same key once more is the same task: what it makes it made before. */
static int claim_output(struct task *t, struct item *i, const char *key, char reason[256])
{
	uint64_t hash = item_key_hash(key);
	if (item_is_keep(i))
		return 0;
	if (i->kind != ITEM_TEMP) {
		snprintf(reason, 256, "item '%.100s': an output is a temp:NAME or a file:/PATH", i->name);
		return -EINVAL;
	}
	if (i->producer && !(hash && hash == key_of_maker(i))) {
		snprintf(reason, 256, "item '%.100s': task %" PRIu64 " makes it already", i->name, i->producer);
		return -EEXIST;
	}
	if (!i->producer) {
		i->producer = t->id;
		i->producer_key = hash;
	}
	return 0;
}

/* Inputs first, as the core wants them. */
static int bind_items(struct task *t, const struct wire_task *w, bool is_out, char reason[256])
{
	for (uint32_t i = 0; i < w->bindings.n; i++) {
		const struct wire_binding *b = &w->bindings.at[i];
		if ((b->mode == MODE_OUT) != is_out)
			continue;
		struct item *it = item_get(t->run, b, t->id, reason);
		if (!it)
			return -EINVAL;
		task_name_item(t, it, is_out);
		int r = is_out ? claim_output(t, it, w->key, reason) : 0;
		if (r)
			return r;
	}
	return 0;
}

static int make_task(struct submit *u, size_t k, const struct wire_task *w, char reason[256])
{
	struct driver *d = u->run->driver;
	struct shape *last = k ? u->tasks[k - 1]->shape : NULL, *s = shape_get(d, w, last, reason);
	if (!s)
		return -EINVAL;
	struct task *t = task_new(u->run, d->last_task + 1, s, w->bindings.n, w->tag, NULL);
	d->last_task += max(w->array_n, UINT64_C(1));
	u->tasks[k] = t;
	return 0;
}

/* Before anything is bound: who comes first in a submit may read what a later one makes. */
static int claim_keeps(struct submit *u, size_t k, const struct wire_task *w, char reason[256])
{
	int error = 0;
	for (uint32_t i = 0; i < w->bindings.n && !error; i++) {
		if (!keep_is_output(&w->bindings.at[i]))
			continue;
		struct item *it = keep_claim(u->run, u->tasks[k]->id, &w->bindings.at[i], w->key, &error, reason);
		if (it)
			buf_put(&u->keeps, &it, sizeof it);
	}
	return error;
}

/* Of a submit that is undone they are nobody's again. */
static void release_keeps(struct submit *u, bool is_undone)
{
	for (size_t i = 0; i < u->keeps.n; i += sizeof(struct item *)) {
		struct item *it;
		memcpy(&it, u->keeps.at + i, sizeof it);
		if (is_undone && it->producer >= u->tasks[0]->id)
			it->producer = 0;
		item_unref(u->run->driver, it, false);
	}
	buf_fini(&u->keeps);
}

static int bind_task(struct submit *u, size_t k, const struct wire_task *w, char reason[256])
{
	if (!w->bindings.n)
		return 0;
	int r = bind_items(u->tasks[k], w, false, reason);
	return r ? r : bind_items(u->tasks[k], w, true, reason);
}

/* ---- checking */

/* A temp that nobody makes, now that all makers of this submit are known. */
static int check_inputs(const struct task *t, char reason[256])
{
	for (size_t i = 0; i < t->n_inputs; i++) {
		const struct item *it = task_item(t, i);
		if (!it->run || it->producer)
			continue;
		snprintf(reason, 256, "item '%.100s': no task of the run makes it, or it was forgotten", it->name);
		return -ENOENT;
	}
	return 0;
}

/* The place in this submit of the task that makes its input; n: it is not of this submit. */
static size_t maker_of(const struct submit *u, const struct task *t, size_t input)
{
	uint64_t maker = task_item(t, input)->producer;
	size_t low = 0, high = u->n;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (u->tasks[middle]->id < maker)
			low = middle + 1;
		else
			high = middle;
	}
	return low < u->n && u->tasks[low]->id == maker ? low : u->n;
}

struct step {
	size_t task;
	uint16_t input;
};

/* Follows makers of inputs from task k on; the place of a task on a cycle, or n. */
static size_t follow(const struct submit *u, size_t k, uint8_t *seen, struct step *stack)
{
	size_t depth = 0;
	stack[depth++] = (struct step){k, 0};
	seen[k] = 1;
	while (depth) {
		struct step *at = &stack[depth - 1];
		const struct task *t = u->tasks[at->task];
		if (at->input == t->n_inputs) {
			seen[at->task] = 2;
			depth--;
			continue;
		}
		size_t maker = maker_of(u, t, at->input++);
		if (maker == u->n || seen[maker] == 2)
			continue;
		if (seen[maker] == 1)
			return at->task;
		seen[maker] = 1;
		assert(depth < u->n);
		stack[depth++] = (struct step){maker, 0};
	}
	return u->n;
}

/* Where every maker comes before who needs it there is none: that is the usual case. */
static bool may_have_cycle(const struct submit *u)
{
	for (size_t k = 0; k < u->n; k++)
		for (size_t i = 0; i < u->tasks[k]->n_inputs; i++) {
			size_t maker = maker_of(u, u->tasks[k], i);
			if (maker != u->n && maker >= k)
				return true;
		}
	return false;
}

static size_t find_cycle(const struct submit *u)
{
	size_t found = u->n;
	if (!may_have_cycle(u))
		return found;
	_free_ uint8_t *seen = xcalloc(u->n, 1);
	_free_ struct step *stack = xcalloc(u->n, sizeof *stack);
	for (size_t k = 0; k < u->n && found == u->n; k++)
		if (!seen[k])
			found = follow(u, k, seen, stack);
	return found;
}

/* Each step for all before the next; *k is where it failed. */
static int make_tasks(struct submit *u, const struct wire_submit *m, size_t *k, char text[256])
{
	static int (*const steps[])(struct submit *, size_t, const struct wire_task *,
				    char *) = {make_task, claim_keeps, bind_task};
	for (size_t i = 0; i < countof(steps); i++) {
		for (*k = 0; *k < u->n; ++*k) {
			int r = steps[i](u, *k, &m->tasks.at[*k], text);
			if (r)
				return r;
		}
	}
	return 0;
}

static int make_all(struct submit *u, const struct wire_submit *m, char reason[256])
{
	char text[256] = "";
	size_t k = 0;
	int r = make_tasks(u, m, &k, text);
	for (k = r ? k : 0; k < u->n && !r;)
		if (!(r = check_inputs(u->tasks[k], text)))
			k++;
	if (!r && (k = find_cycle(u)) < u->n) {
		r = -ELOOP;
		snprintf(text, sizeof text, "it needs, by way of others, what it makes itself");
	}
	release_keeps(u, r);
	if (r)
		snprintf(reason, 256, "task %zu of %zu: %.200s", k + 1, u->n, text);
	return r;
}

/* ---- storing */

/* What comes into being with it. */
static void fill_outputs(struct store *s, const struct task *t, struct store_task *row)
{
	struct store_item *rows = store_alloc(s, t->n_outputs * sizeof *rows);
	size_t n = 0;
	for (size_t i = t->n_inputs; i < (size_t)t->n_inputs + t->n_outputs; i++)
		if (task_item(t, i)->producer == t->id)
			rows[n++] = item_row(t->run->driver, task_item(t, i));
	row->outputs = rows;
	row->n_outputs = n;
}

static void fill_row(struct store *s, const struct task *t, const struct wire_task *w, uint64_t session,
		     const struct wire_bytes *environment, struct store_task *row)
{
	struct store_binding *bindings = store_alloc(s, w->bindings.n * sizeof *bindings);
	size_t n_in = 0, n_out = t->n_inputs;
	for (uint32_t i = 0; i < w->bindings.n; i++) {
		const struct wire_binding *b = &w->bindings.at[i];
		const struct item *it = task_item(t, b->mode == MODE_OUT ? n_out++ : n_in++);
		bindings[i] = (struct store_binding){
			.item = it->id, .path = store_text(s, b->path), .mode = b->mode, .flags = (uint8_t)b->flags};
	}
	*row = (struct store_task){
		.id = t->id,
		.run = t->run->id,
		.session = session,
		.key = store_text(s, w->key),
		.tag = store_text(s, w->tag),
		.command = join_texts(s, w->directory, &w->argv),
		.environment = environment ? *environment : join_texts(s, NULL, &w->environment),
		.shape = t->shape->row.id,
		.priority = w->priority,
		.deadline_usec = w->deadline_usec,
		.bindings = bindings,
		.n_bindings = w->bindings.n,
		.array = {.first_index = w->array_first,
			  .step = max(w->array_step, UINT64_C(1)),
			  .n = w->array_n,
			  .running = w->array_running},
	};
	fill_outputs(s, t, row);
}

/* Of a submit that was on its way to the disk with this one, and did not come there. */
static bool has_maker_of_all(const struct task *t)
{
	for (size_t i = 0; i < t->n_inputs; i++)
		if (task_item(t, i)->run && !task_item(t, i)->producer)
			return false;
	return true;
}

/* Only now, after its commit, may it run: an attempt of a task that nobody recorded could not be told from a stranger's. */
static void add_task(struct task *t, const struct store_task *s)
{
	struct driver *d = t->run->driver;
	bool is_late_maker = false;
	task_enter(t, s);
	task_claim_by_id(t, s->session, false);
	for (size_t i = t->n_inputs; i < (size_t)t->n_inputs + t->n_outputs; i++) {
		struct item *made = task_item(t, i);
		is_late_maker |= made->producer != t->id;
		if (made->producer == t->id && !made->is_forgotten && list_is_empty(&made->link))
			list_append(&t->run->temps, &made->link);
	}
	store_remember_body(d->o.store, s->environment_id, &s->environment);
	store_remember_body(d->o.store, s->command_id, &s->command);
	if (is_late_maker) {
		task_refuse(t, -EEXIST, "another task makes one of its outputs already");
		return;
	}
	if (!has_maker_of_all(t)) {
		task_refuse(t, -ENOENT, "the task that was to make its input was not stored");
		return;
	}
	int error = task_tell_core(t, s->priority, NULL, 0);
	if (error)
		task_refuse(t, error, "an item it names is not to be had any more: submit what makes it again");
	else if (s->deadline_usec)
		deadline_set(t, s->deadline_usec);
}

static void add_array(struct task *pattern, const struct store_task *s)
{
	struct array *a = array_new(pattern, s);
	array_claim(a, session_for(pattern->run, s->session, false));
	store_remember_body(pattern->run->driver->o.store, s->environment_id, &s->environment);
	store_remember_body(pattern->run->driver->o.store, s->command_id, &s->command);
}

static void on_submit_stored(struct store_op *op, int error)
{
	struct submit *u = op->arg;
	struct run *r = u->run;
	_free_ uint64_t *ids = xcalloc(op->submit.n, sizeof *ids);
	for (size_t i = 0; i < op->submit.n && !error; i++)
		if (!op->submit.at[i].is_new)
			task_free(steal(u->tasks[i]));
	for (size_t i = 0; i < op->submit.n && !error; i++) {
		ids[i] = op->submit.at[i].id;
		struct task *known = task_find(r->driver, ids[i]);
		if (op->submit.at[i].is_new && op->submit.at[i].array.n)
			add_array(steal(u->tasks[i]), &op->submit.at[i]);
		else if (op->submit.at[i].is_new)
			add_task(steal(u->tasks[i]), &op->submit.at[i]);
		else if (known)
			task_reclaim(known, op->submit.at[i].session);
	}
	undo(u);
	r->n_submits--;
	if (error)
		promise_stored(u->promise, error);
	else
		promise_keep(u->promise, WIRE_SUBMITTED,
			     &(struct wire_submitted){.ids = {ids, (uint32_t)op->submit.n}});
	run_watch_client(r);
	run_unhold(r);
}

/* What it names and is like that has no row yet; a refused submit leaves none. */
static void record_names(const struct submit *u)
{
	for (size_t k = 0; k < u->n; k++) {
		const struct task *t = u->tasks[k];
		shape_record(u->run->driver, t->shape);
		for (size_t i = 0; i < t->n_inputs; i++)
			if (!task_item(t, i)->run && !task_item(t, i)->is_recorded)
				item_record(u->run->driver, task_item(t, i));
	}
}

static struct store_task *make_rows(const struct submit *u, const struct wire_submit *m, uint64_t session)
{
	struct store *s = u->run->driver->o.store;
	struct store_task *rows = store_alloc(s, u->n * sizeof *rows);
	_free_ struct wire_bytes *shared = xcalloc(m->environments.n, sizeof *shared);
	for (uint32_t i = 0; i < m->environments.n; i++)
		shared[i] = join_texts(s, NULL, &m->environments.at[i].environment);
	for (uint32_t i = 0; i < m->tasks.n; i++) {
		const struct wire_task *w = &m->tasks.at[i];
		fill_row(s, u->tasks[i], w, session, w->environment_of ? &shared[w->environment_of - 1] : NULL, &rows[i]);
	}
	return rows;
}

void driver_submit(struct run *r, const struct wire_submit *m, uint64_t session, struct promise *p)
{
	struct driver *d = r->driver;
	struct store *s = d->o.store;
	char reason[256];
	if (store_backlog(s) > MOST_BACKLOG) {
		if (!submit_again(r, m, session, p))
			promise_status(p, EAGAIN, "too much waits for the disk: submit again later");
		return;
	}
	struct submit *u = store_alloc(s, sizeof *u);
	*u = (struct submit){.run = r, .promise = p, .n = m->tasks.n};
	u->tasks = store_alloc(s, u->n * sizeof(struct task *));
	memset(u->tasks, 0, u->n * sizeof(struct task *));
	int error = make_all(u, m, reason);
	if (error) {
		undo(u);
		if (!submit_again(r, m, session, p))
			promise_status(p, -error, "%s", reason);
		return;
	}
	/* Storing the run failed when it was attached: it goes along once more. */
	run_store_again(r);
	record_names(u);
	struct store_task *rows = make_rows(u, m, session);
	run_hold(r);
	r->n_submits++;
	store_put(s, &(struct store_op){
			     .kind = STORE_SUBMIT, .on_stored = on_submit_stored, .arg = u, .submit = {rows, u->n}});
}
