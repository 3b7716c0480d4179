/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/driver_internal.h"

#include "common/log.h"

#include <stdio.h>

struct loading {
	struct driver *driver;
	const struct store_loader *loader;
	uint64_t n_tasks, n_orphans;
	struct map makers; /* an item each of those who made one that is not forgotten, by task */
};

static void load_node(void *arg, const struct store_node *s)
{
	struct loading *l = arg;
	node_new(l->driver, s);
}

static void load_run(void *arg, const struct store_run *s)
{
	struct loading *l = arg;
	struct run *r = run_new(l->driver, s);
	r->is_stored = true;
	map_put(&l->driver->runs_by_id, r->id, r);
}

static void load_setting(void *arg, uint64_t run, const char *name, const char *value)
{
	struct loading *l = arg;
	if (!run && (stage_load(l->driver, name, value) || leave_load(l->driver, name, value)))
		return;
	if (run)
		setting_await(l->driver, run, name, value);
	else
		setting_load(l->driver, NULL, name, value);
}

static void load_shape(void *arg, const struct store_shape *s)
{
	struct loading *l = arg;
	map_put(&l->driver->shapes_by_id, s->id, shape_load(l->driver, s));
}

static void load_item(void *arg, const struct store_item *s)
{
	struct loading *l = arg;
	struct run *r = s->run ? map_get(&l->driver->runs_by_id, s->run) : NULL;
	if (s->run && !r) {
		stray_found(l->driver, s->id);
		return;
	}
	struct item *i = item_load(l->driver, r, s);
	if (!i)
		log_error("item %llu of the database (%.100s) cannot be read", (unsigned long long)s->id, s->name);
	else if (i->producer && !i->is_forgotten)
		map_put(&l->makers, i->producer, i);
}

/* ---- tasks */

static struct item *find_item(struct driver *d, uint64_t id)
{
	struct item *i = map_get(&d->items, id);
	struct store_item s;
	/* An input of what is over was not told. */
	if (!i && !store_read_item(d->o.store, id, &s) && !s.run)
		i = item_load(d, NULL, &s);
	return i;
}

static void bind_items(struct task *t, const struct store_binding *at, size_t n, bool is_out)
{
	struct driver *d = t->run->driver;
	for (size_t i = 0; i < n; i++) {
		struct item *it = (at[i].mode == 3) == is_out ? find_item(d, at[i].item) : NULL;
		if (!it)
			continue;
		task_name_item(t, it, is_out);
		item_ref(it);
	}
}

/* Whatever nodes say later, what it made was there; what it did not make never will be. */
static void load_outputs(struct task *t, const struct store_task *s)
{
	struct driver *d = t->run->driver;
	bool is_needed = false;
	for (size_t k = t->n_inputs; k < (size_t)t->n_inputs + t->n_outputs; k++) {
		struct item *i = task_item(t, k);
		if (i->producer != t->id || i->is_forgotten)
			continue;
		i->is_over = true;
		i->is_failed = !i->tree && !i->source;
		if (i->is_failed)
			core_item_failed(d->core, i->id);
		if (!i->tree || i->source)
			continue;
		past_has(d, i->tree);
		is_needed = true;
	}
	if (is_needed && !task_tell_core(t, s->priority, NULL, 0))
		core_attempt_ended(d->core, t->id, max(s->attempt, UINT64_C(1)));
	task_let_go(t);
}

/* ---- what cannot run */

struct unfit {
	uint64_t task;
	int error;
};

/* Nothing can be stored yet. */
static void put_unfit(struct driver *d, const struct task *t, int error)
{
	log_errno(-error, "task %llu from the database cannot run", (unsigned long long)t->id);
	buf_put(&d->unfit, &(struct unfit){t->id, error}, sizeof(struct unfit));
}

static void refuse(struct task *t, int error)
{
	char reason[256] = "";
	for (size_t i = 0; i < (size_t)t->n_inputs + t->n_outputs; i++)
		if (task_item(t, i)->is_forgotten)
			snprintf(reason, sizeof reason, "item '%.128s', which it names, was forgotten: submit it again",
				 task_item(t, i)->name);
	if (!*reason)
		snprintf(reason, sizeof reason, "what it needs cannot be read from the database (%s): submit it again",
			 strerror(-error));
	task_refuse(t, error, reason);
}

void load_end(struct driver *d)
{
	const struct unfit *at = (const void *)d->unfit.at;
	for (size_t i = 0; i < d->unfit.n / sizeof *at; i++)
		refuse(task_find(d, at[i].task), at[i].error);
	buf_fini(&d->unfit);
}

/* ---- what can */

static int tell_core(struct driver *d, struct task *t, const struct store_task *s)
{
	struct node *n = s->state == STORE_RUNNING ? map_get(&d->nodes, s->node) : NULL;
	if (n) {
		/* It may be running: the node gets its time-out to say so. */
		task_set_node(t, n, s->attempt);
		node_wait(n);
	} else {
		t->state = s->losses < d->o.crash_limit ? STORE_QUEUED : STORE_HELD;
	}
	int r = task_tell_core(t, s->priority, n, s->attempt);
	if (!r && t->is_cancelled)
		r = core_task_cancel(d->core, t->id);
	if (!r && s->deadline_usec && !n)
		deadline_set(t, s->deadline_usec);
	return r;
}

/* A task that was promised to be run is never dropped: who waits for it hears why it cannot. */
static void add_to_core(struct driver *d, struct task *t, const struct store_task *s, bool has_all)
{
	int r = has_all ? tell_core(d, t, s) : -ENOENT;
	if (r)
		put_unfit(d, t, r);
}

static void load_tries(struct task *t, const struct store_task *s)
{
	if (!s->attempts && !s->losses && !s->failures && !s->attempt)
		return;
	struct tries *a = task_tries(t);
	a->attempt = s->attempt;
	a->attempts = s->attempts;
	a->losses = (uint16_t)min(s->losses, (uint32_t)UINT16_MAX);
	a->failures = (uint16_t)min(s->failures, (uint32_t)UINT16_MAX);
	a->settled = s->node ? 0 : s->attempt;
	grant_load(t->run->driver, s);
}

static struct task *make_task(struct loading *l, const struct store_task *s, const struct store_binding *at, size_t n)
{
	struct driver *d = l->driver;
	struct run *run = map_get(&d->runs_by_id, s->run);
	struct shape *shape = map_get(&d->shapes_by_id, s->shape);
	if (!run || !shape) {
		l->n_orphans++;
		return NULL;
	}
	/* Finding items may end what `at` was borrowed for. */
	_free_ struct store_binding *copy = n ? xmemdup(at, n * sizeof *at) : NULL;
	struct task *t = task_new(run, s->id, shape_ref(shape), n, s->tag, NULL);
	bind_items(t, copy, n, false);
	bind_items(t, copy, n, true);
	load_tries(t, s);
	task_enter(t, s);
	l->n_tasks++;
	return t;
}

static void load_array(struct loading *l, const struct store_task *s)
{
	struct driver *d = l->driver;
	struct run *run = map_get(&d->runs_by_id, s->run);
	struct shape *shape = map_get(&d->shapes_by_id, s->shape);
	const struct store_binding *at = NULL;
	size_t n = 0;
	int r = s->n_bindings ? store_read_bindings(d->o.store, s->id, &at, &n) : 0;
	if (!run || !shape || r || n != s->n_bindings) {
		l->n_orphans++;
		return;
	}
	/* Items of elements are made anew, with numbers that none of the database has. */
	d->last_item = max(d->last_item, l->loader->last_item);
	struct task *t = task_new(run, s->id, shape_ref(shape), n, s->tag, NULL);
	struct store_task row = *s;
	row.bindings = at;
	bind_items(t, s->bindings, s->n_bindings, false);
	struct array *a = array_new(t, &row);
	array_claim(a, session_for(run, s->session, true));
	run_watch_client(run);
	l->n_tasks++;
}

static void load_element(struct loading *l, const struct store_task *s)
{
	struct driver *d = l->driver;
	struct array *a = map_get(&d->arrays, s->array_of);
	struct task *t = a ? array_give(a, s) : NULL;
	if (!t) {
		l->n_orphans++;
		return;
	}
	load_tries(t, s);
	l->n_tasks++;
	if (t->state < STORE_ENDED) {
		if (t->tries && t->tries->attempts)
			array_begun(t);
		add_to_core(d, t, s, t->n_inputs == t->n_items);
	} else {
		task_let_go(t);
	}
}

static void load_task(void *arg, const struct store_task *s)
{
	struct loading *l = arg;
	struct driver *d = l->driver;
	const struct store_binding *at = s->bindings;
	size_t n = s->n_bindings;
	if (s->array.n || s->array_of) {
		if (s->array_of)
			load_element(l, s);
		else
			load_array(l, s);
		return;
	}
	/* Of those that have ended only makers name anything that matters. */
	if (s->state >= STORE_ENDED && map_get(&l->makers, s->id) && store_read_bindings(d->o.store, s->id, &at, &n))
		n = 0;
	struct task *t = make_task(l, s, at, n);
	if (!t)
		return;
	if (t->state != STORE_DELIVERED)
		task_claim_by_id(t, s->session, true);
	run_watch_client(t->run);
	if (t->state >= STORE_ENDED) {
		load_outputs(t, s);
		return;
	}
	add_to_core(d, t, s, t->n_items == (size_t)t->n_inputs + t->n_outputs);
}

/* Makers whose results were acknowledged are not told: they are looked up by what they made. */
static void load_makers(struct loading *l)
{
	struct driver *d = l->driver;
	struct item *i;
	for (size_t k = 0; (i = map_next(&l->makers, &k));) {
		struct store_result e;
		struct store_task s;
		if (task_find(d, i->producer))
			continue;
		int r = store_read_result(d->o.store, i->producer, &e, &s);
		if (r == -ENOENT && !s.id) {
			/* Nobody could make it again; forgotten in the database, too, it is not told with the next start. */
			list_remove(&i->link);
			list_append(&d->fading, &i->link);
			continue;
		}
		if (r || s.state != STORE_DELIVERED) {
			log_error("item %s: task %llu, which made it, cannot be read: %s", i->name,
				  (unsigned long long)i->producer, strerror(-r));
			continue;
		}
		s.attempt = e.attempt;
		load_task(l, &s);
	}
	map_fini(&l->makers);
}

static void let_go_of_shapes(struct driver *d)
{
	struct shape *s;
	for (size_t i = 0; (s = map_next(&d->shapes_by_id, &i));)
		shape_unref(d, s);
	map_fini(&d->shapes_by_id);
}

int driver_load(struct driver *d)
{
	struct loading loading = {.driver = d};
	struct store_loader l = {.on_node = load_node,
				 .on_run = load_run,
				 .on_setting = load_setting,
				 .on_shape = load_shape,
				 .on_item = load_item,
				 .on_task = load_task,
				 .arg = &loading};
	loading.loader = &l;
	int r = store_load(d->o.store, &l);
	load_makers(&loading);
	map_fini(&d->runs_by_id);
	let_go_of_shapes(d);
	d->last_task = l.last_task;
	d->last_run = l.last_run;
	d->last_node = l.last_node;
	d->last_shape = l.last_shape;
	d->last_item = max(d->last_item, l.last_item);
	if (loading.n_orphans)
		log_error("database: %llu tasks belong to no run or ask for nothing known, and are left alone",
			  (unsigned long long)loading.n_orphans);
	if (!r)
		log_debug("loaded %llu tasks of %zu runs, %zu known nodes", (unsigned long long)loading.n_tasks,
			  d->runs.n, d->nodes.n);
	return r;
}
