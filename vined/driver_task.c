/* SPDX-License-Identifier: Apache-2.0
 * A task in memory: numbers and pointers. A million of them wait, so what only one that was begun has is allocated with its first
 * attempt (struct tries), and what many have in common is their shape's. */
#include "vined/driver_internal.h"

#include <stdio.h>

struct task *task_new(struct run *r, uint64_t id, struct shape *shape, size_t n_items, const char *tag, struct array *a)
{
	size_t n_tag = tag && *tag ? strlen(tag) + 1 : 0;
	struct task *t = xcalloc(1, sizeof *t + n_items * sizeof t->items[0] + (a ? sizeof a : 0) + n_tag);
	assert(id && n_items <= UINT16_MAX);
	t->id = id;
	t->run = r;
	t->shape = shape;
	t->n_items = (uint16_t)n_items;
	t->has_tag = n_tag;
	t->is_element = a;
	assert(!a || !n_tag); /* an element's tag is its array's */
	if (a)
		memcpy(&t->items[n_items], &a, sizeof a);
	if (n_tag)
		memcpy(&t->items[n_items], tag, n_tag);
	list_init(&t->link);
	return t;
}

struct array *task_array(const struct task *t)
{
	struct array *a = NULL;
	if (t->is_element)
		memcpy(&a, &t->items[t->n_items], sizeof a);
	return a;
}

struct task *task_find(const struct driver *d, uint64_t id)
{
	return dense_get(&d->tasks, id);
}

struct item *task_item(const struct task *t, size_t k)
{
	const struct driver *d = t->run->driver;
	assert(k < (size_t)t->n_inputs + t->n_outputs);
	return d->item_slots[t->items[k]];
}

void task_name_item(struct task *t, struct item *i, bool is_out)
{
	size_t n = (size_t)t->n_inputs + t->n_outputs;
	assert(n < t->n_items && t->state < STORE_ENDED && (is_out || !t->n_outputs));
	t->items[n] = i->slot;
	t->n_inputs += !is_out;
	t->n_outputs += is_out;
	t->is_counted = true;
	i->n_readers += !is_out;
	i->n_unfinished++;
}

const char *task_tag(const struct task *t)
{
	if (t->is_element)
		return task_tag(task_array(t)->pattern);
	return t->has_tag ? (const char *)&t->items[t->n_items] : "";
}

void task_enter(struct task *t, const struct store_task *s)
{
	struct run *r = t->run;
	struct driver *d = r->driver;
	t->command = s->command_id;
	t->environment = s->environment_id;
	t->state = (uint8_t)s->state;
	t->is_cancelled = s->is_cancelled;
	bool is_over = t->state >= STORE_ENDED, is_waited_for = t->state == STORE_ENDED;
	if (t->state != STORE_DELIVERED)
		list_append(is_over ? &r->orphans : &r->unfinished, &t->link);
	r->n_ended += is_waited_for;
	r->n_unfinished += !is_over;
	d->n_ended += is_waited_for;
	dense_put(&d->tasks, t->id, t);
}

static void stop_counting(struct task *t)
{
	size_t n = t->is_counted ? (size_t)t->n_inputs + t->n_outputs : 0;
	t->is_counted = false;
	for (size_t i = 0; i < n; i++) {
		assert(task_item(t, i)->n_unfinished);
		task_item(t, i)->n_unfinished--;
	}
}

/* An output that an undone submit was to make is nobody's again; what only such a submit was to read was not read. */
static void drop_items(struct task *t)
{
	struct driver *d = t->run->driver;
	bool is_entered = task_find(d, t->id) == t;
	size_t n = (size_t)t->n_inputs + t->n_outputs;
	bool was_stored = is_entered || t->command;
	stop_counting(t);
	for (size_t i = 0; i < n; i++) {
		struct item *it = task_item(t, i);
		bool is_reader = i < t->n_inputs;
		if (!is_reader && !is_entered && it->producer == t->id)
			it->producer = 0;
		assert(it->n_readers >= is_reader);
		it->n_readers -= is_reader;
		item_unref(d, it, is_reader && was_stored);
	}
	t->n_inputs = t->n_outputs = 0;
}

void task_free(struct task *t)
{
	struct driver *d = t->run->driver;
	if (t->has_deadline)
		deadline_end(t);
	if (t->tries)
		task_set_node(t, NULL, t->tries->attempt);
	grant_end(d, t->id);
	drop_items(t);
	shape_unref(d, t->shape);
	if (task_find(d, t->id) == t) {
		task_claim(t, NULL);
		dense_remove(&d->tasks, t->id);
		t->run->n_ended -= t->state == STORE_ENDED;
		t->run->n_unfinished -= t->state < STORE_ENDED;
		d->n_ended -= t->state == STORE_ENDED;
	}
	list_remove(&t->link);
	struct array *a = task_array(t);
	free(t->tries);
	free(t);
	if (a)
		array_element_freed(a);
}

static bool is_kept(const struct task *t)
{
	for (size_t i = 0; i < t->n_outputs; i++)
		if (item_is_kept(task_item(t, t->n_inputs + i)))
			return true;
	return false;
}

void task_let_go(struct task *t)
{
	assert(t->state >= STORE_ENDED);
	stop_counting(t);
	if (is_kept(t) || (t->tries && t->tries->is_again))
		return;
	drop_items(t);
	if (t->state == STORE_DELIVERED)
		task_free(t);
}

void task_delivered(struct task *t)
{
	struct driver *d = t->run->driver;
	assert(t->state == STORE_ENDED);
	task_claim(t, NULL);
	list_remove(&t->link);
	t->run->n_ended--;
	d->n_ended--;
	t->state = STORE_DELIVERED;
	task_let_go(t);
}

/* The core never heard of it. */
void task_refuse(struct task *t, int error, const char *reason)
{
	assert(error < 0 && t->state < STORE_ENDED);
	for (size_t i = t->n_inputs; i < (size_t)t->n_inputs + t->n_outputs; i++) {
		const struct item *it = task_item(t, i);
		if (it->producer == t->id && !it->is_forgotten && !item_is_there(it))
			core_item_failed(t->run->driver->core, it->id);
	}
	task_end(t, 3, (uint32_t)-error, reason);
}

/* ---- attempts */

struct tries *task_tries(struct task *t)
{
	if (t->tries)
		return t->tries;
	t->tries = NEW(struct tries);
	t->tries->task = t;
	list_init(&t->tries->link);
	return t->tries;
}

struct node *task_node(const struct task *t)
{
	return t->tries ? t->tries->node : NULL;
}

uint64_t task_attempt(const struct task *t)
{
	return t->tries ? t->tries->attempt : 0;
}

bool task_is_going(const struct task *t)
{
	return t->state < STORE_ENDED || (t->tries && t->tries->is_again);
}

/* Each node keeps a list of its own, so that losing one or its coming back costs what it has, not what there is. */
void task_set_node(struct task *t, struct node *n, uint64_t attempt)
{
	struct tries *a = task_tries(t);
	if (a->node) {
		assert(a->node->n_running > 0);
		a->node->n_running--;
		list_remove(&a->link);
	}
	a->node = n;
	a->attempt = attempt;
	a->joins = 0; /* another node's are no measure */
	if (n) {
		n->n_running++;
		list_append(&n->running, &a->link);
	}
}

/* Kept until it is stored: nobody waits for it, but a restart must know whom to wait for. */
void task_record_start(struct task *t)
{
	const struct tries *a = t->tries;
	assert(a && a->node && a->attempt);
	if (t->state >= STORE_ENDED)
		return;
	t->state = STORE_RUNNING;
	store_put(t->run->driver->o.store, &(struct store_op){.kind = STORE_START,
							      .is_kept = true,
							      .on_stored = feed_started,
							      .arg = t->run->driver,
							      .attempt = {.task = t->id,
									  .attempt = a->attempt,
									  .node = a->node->id,
									  .attempts = a->attempts}});
}

void task_record_lost(struct task *t, bool is_held)
{
	const struct tries *a = t->tries;
	assert(a && task_is_going(t));
	if (t->state < STORE_ENDED) {
		t->state = is_held ? STORE_HELD : STORE_QUEUED;
		store_put(t->run->driver->o.store,
			  &(struct store_op){.kind = STORE_LOST,
					     .is_kept = true,
					     .attempt = {.task = t->id,
							 .attempt = a->attempt,
							 .losses = a->losses,
							 .failures = a->failures,
							 .is_settled = a->settled == a->attempt,
							 .is_held = is_held}});
	}
	task_set_node(t, NULL, a->attempt);
}

/* ---- to the core */

static enum core_when when(const struct task *t)
{
	uint8_t staging = t->shape->row.staging;
	assert(staging <= 3);
	bool is_hot = staging == 2;
	for (size_t i = 0; !staging && i < t->n_inputs && !is_hot; i++)
		is_hot = profile_is_known(task_item(t, i));
	return staging == 3 ? CORE_WHEN_STAGED : is_hot ? CORE_WHEN_HOT : CORE_WHEN_LAZY;
}

int task_tell_core(struct task *t, int64_t priority, struct node *n, uint64_t attempt)
{
	const struct shape *s = t->shape;
	size_t n_items = (size_t)t->n_inputs + t->n_outputs;
	uint64_t few[16], *ids = n_items <= countof(few) ? few : xcalloc(n_items, sizeof *ids);
	char category[256];
	for (size_t i = 0; i < n_items; i++)
		ids[i] = task_item(t, i)->id;
	if (*s->row.category)
		category_name(t->run, s->row.category, category);
	const struct core_task_spec spec = {
		.cores = s->row.cores,
		.memory = s->row.memory,
		.priority = priority,
		.losses = t->tries ? t->tries->losses : 0,
		.gpus = s->row.gpus,
		.disk = s->row.disk,
		.named = s->named,
		.counters = s->counters,
		.n_named = s->n_named,
		.n_counters = s->n_counters,
		.features = s->features,
		.n_features = s->n_features,
		.category = *s->row.category ? category : NULL,
		.wall_usec = s->row.wall_usec,
		.inputs = ids,
		.outputs = ids + t->n_inputs,
		.n_inputs = t->n_inputs,
		.n_outputs = t->n_outputs,
		.when = when(t),
	};
	struct core *c = t->run->driver->core;
	t->shape->is_told = true;
	int r = n ? core_task_add_running(c, t->id, &spec, n->id, attempt) : core_task_add(c, t->id, &spec);
	if (ids != few)
		free(ids);
	return r;
}
