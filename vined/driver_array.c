/* SPDX-License-Identifier: Apache-2.0
 * Arrays: one row, one struct, however many elements. The core gets a window of them, more as they begin; an element is a task like
 * any other from then on, with the number that follows from the array's and its place in it.
 *
 * 1. Elements up to `next` were given, and those in `given`; the others are pending and count as their run's and session's.
 * 2. An array is in memory while an element of it is pending or in memory. */
#include "vined/driver_internal.h"

#include <inttypes.h>
#include <stdio.h>

#define WINDOW 4096u    /* elements given and not begun */
#define CANCELLED 8192u /* that end at a time: then others get their turn, and the disk */
#define MARK "{index}"

uint64_t array_pending(const struct array *a)
{
	return a->n - a->next - a->given.n;
}

static bool is_pending(const struct array *a, uint64_t place)
{
	return place < a->n && place >= a->next && !map_get(&a->given, place + 1);
}

uint64_t array_index(const struct task *t)
{
	const struct array *a = task_array(t);
	return a ? a->first_index + (t->id - a->id) * a->step : 0;
}

char *array_expand(const char *text, uint64_t index)
{
	char number[24], *all = NULL;
	size_t n = 0, n_number = (size_t)snprintf(number, sizeof number, "%" PRIu64, index);
	for (const char *mark; (mark = strstr(text, MARK)); text = mark + strlen(MARK)) {
		size_t before = (size_t)(mark - text);
		all = xrealloc(all, n + before + n_number + 1);
		memcpy(all + n, text, before);
		memcpy(all + n + before, number, n_number);
		n += before + n_number;
	}
	size_t rest = strlen(text) + 1;
	all = xrealloc(all, n + rest);
	memcpy(all + n, text, rest);
	return all;
}

/* ---- its life */

static void set_hungry(struct array *a)
{
	struct driver *d = a->pattern->run->driver;
	list_remove(&a->hungry);
	list_append(&d->hungry, &a->hungry);
}

struct array *array_new(struct task *pattern, const struct store_task *s)
{
	struct run *r = pattern->run;
	struct array *a = NEW(struct array);
	assert(s->array.n && s->array.step);
	*a = (struct array){.pattern = pattern,
			    .id = s->id,
			    .n = s->array.n,
			    .first_index = s->array.first_index,
			    .step = s->array.step,
			    .running = s->array.running,
			    .priority = s->priority,
			    .deadline_usec = s->deadline_usec,
			    .is_cancelled = s->id <= r->cancelled_to};
	pattern->command = s->command_id;
	pattern->environment = s->environment_id;
	list_init(&a->link);
	list_init(&a->hungry);
	a->paths = xcalloc(pattern->n_inputs, sizeof *a->paths);
	for (size_t i = 0; i < pattern->n_inputs && s->bindings[i].path; i++)
		a->paths[i] = (struct array_path){.text = xstrdup(s->bindings[i].path), .mode = s->bindings[i].mode};
	list_append(&r->arrays, &a->link);
	r->n_unfinished += a->n;
	r->driver->n_pending += a->n;
	map_put(&r->driver->arrays, a->id, a);
	set_hungry(a);
	return a;
}

void array_free(struct array *a)
{
	struct run *r = a->pattern->run;
	uint64_t pending = array_pending(a);
	assert(!a->n_elements);
	array_claim(a, NULL);
	r->n_unfinished -= pending;
	r->driver->n_pending -= pending;
	map_remove(&r->driver->arrays, a->id);
	list_remove(&a->link);
	list_remove(&a->hungry);
	map_fini(&a->given);
	for (size_t i = 0; i < a->pattern->n_inputs; i++)
		free(a->paths[i].text);
	free(a->paths);
	task_free(a->pattern);
	free(a);
}

void array_claim(struct array *a, struct session *s)
{
	uint64_t pending = array_pending(a);
	if (a->session)
		a->session->n_tasks -= pending;
	a->session = s;
	if (s)
		s->n_tasks += pending;
}

/* ---- elements */

/* NULL if its items have no proper names. */
static struct task *make_element(struct array *a, uint64_t place)
{
	const struct task *p = a->pattern;
	uint64_t index = a->first_index + place * a->step;
	struct task *t = task_new(p->run, a->id + place, shape_ref(p->shape), p->n_inputs, NULL, a);
	for (size_t i = 0; i < p->n_inputs; i++) {
		struct item *it = task_item(p, i);
		if (strstr(it->name, MARK)) {
			_free_ char *name = array_expand(it->name, index);
			it = item_get_quietly(p->run, name, it->size);
		} else {
			item_ref(it);
		}
		if (!it)
			continue;
		task_name_item(t, it, false);
	}
	return t;
}

static void take_out(struct array *a, uint64_t place)
{
	struct run *r = a->pattern->run;
	assert(is_pending(a, place));
	if (place == a->next)
		a->next++;
	else
		map_put(&a->given, place + 1, a);
	while (a->given.n && map_remove(&a->given, a->next + 1))
		a->next++;
	r->n_unfinished--;
	r->driver->n_pending--;
	if (a->session)
		a->session->n_tasks--;
}

/* As it is recorded, or for the first time. */
struct task *array_give(struct array *a, const struct store_task *s)
{
	uint64_t place = s->id - a->id;
	if (!is_pending(a, place))
		return NULL;
	take_out(a, place);
	struct store_task row = *s;
	row.command_id = a->pattern->command;
	row.environment_id = a->pattern->environment;
	struct task *t = make_element(a, place);
	a->n_elements++;
	task_enter(t, &row);
	if (t->state < STORE_ENDED) {
		a->n_live++;
		a->n_queued++;
	}
	if (t->state != STORE_DELIVERED)
		task_claim(t, a->session);
	return t;
}

static void give_next(struct array *a)
{
	struct task *t = array_give(a, &(struct store_task){.id = a->id + a->next});
	assert(t);
	if (t->n_inputs < a->pattern->n_inputs) {
		task_end(t, 3, EINVAL, "an input of it has no proper name");
		return;
	}
	int r = task_tell_core(t, a->priority, NULL, 0);
	if (r)
		task_refuse(t, r, "an item it names is not to be had any more: submit what makes it again");
	else if (a->deadline_usec)
		deadline_set(t, a->deadline_usec);
}

static void on_some_ended(struct store_op *op, int error)
{
	void **arg = op->arg;
	const struct driver *d = arg[0];
	struct array *a = map_get(&d->arrays, (uintptr_t)arg[1]);
	assert(!error);
	(void)error;
	if (!a)
		return;
	a->is_ending = false;
	if (array_pending(a))
		set_hungry(a);
}

/* Of a million, so many at a time are made tasks, to end. */
static void end_some(struct array *a)
{
	struct driver *d = a->pattern->run->driver;
	if (a->is_ending)
		return;
	for (unsigned i = 0; i < CANCELLED && array_pending(a); i++)
		array_cancel(a, a->id + a->next);
	a->is_ending = true;
	void **arg = store_alloc(d->o.store, 2 * sizeof *arg);
	arg[0] = d;
	arg[1] = (void *)(uintptr_t)a->id;
	store_put(d->o.store,
		  &(struct store_op){.kind = STORE_NOTHING, .is_kept = true, .on_stored = on_some_ended, .arg = arg});
}

void array_abandon(struct array *a)
{
	a->is_cancelled = true;
	set_hungry(a);
}

void arrays_feed(struct driver *d)
{
	struct array *a;
	while ((a = list_first(&d->hungry, struct array, hungry))) {
		list_remove(&a->hungry);
		if (a->is_cancelled)
			end_some(a);
		while (!a->is_cancelled && array_pending(a) && a->n_queued < WINDOW &&
		       (!a->running || a->n_live < a->running))
			give_next(a);
	}
}

void array_begun(struct task *t)
{
	struct array *a = task_array(t);
	assert(a->n_queued);
	a->n_queued--;
	if (a->n_queued < WINDOW / 2)
		set_hungry(a);
}

void array_ended(struct task *t, bool was_begun)
{
	struct array *a = task_array(t);
	if (!was_begun)
		array_begun(t);
	assert(a->n_live);
	a->n_live--;
	if (a->running)
		set_hungry(a);
}

void array_element_freed(struct array *a)
{
	assert(a->n_elements);
	a->n_elements--;
	if (!a->n_elements && !array_pending(a))
		array_free(a);
}

/* ---- finding and cancelling those that are pending */

struct array *array_of_pending(const struct run *r, uint64_t id)
{
	list_foreach (&r->arrays, struct array, link, a) {
		if (id >= a->id && is_pending(a, id - a->id))
			return a;
	}
	return NULL;
}

void array_cancel(struct array *a, uint64_t id)
{
	struct task *t = array_give(a, &(struct store_task){.id = id});
	assert(t);
	t->is_cancelled = true;
	task_end(t, STORE_CANCELLED, 0, "cancelled before it ran");
}

size_t array_pending_ids(const struct array *a, uint64_t *ids)
{
	size_t n = 0;
	for (uint64_t place = a->next; place < a->n; place++)
		if (is_pending(a, place))
			ids[n++] = a->id + place;
	return n;
}

/* ---- what a START says */

void array_inputs(const struct task *t, struct wire_input *inputs, struct buf *texts)
{
	const struct array *a = task_array(t);
	uint64_t index = array_index(t);
	for (size_t i = 0; i < t->n_inputs; i++) {
		const struct item *it = task_item(t, i);
		_free_ char *path = array_expand(a->paths[i].text, index);
		inputs[i] = start_input(it, NULL, a->paths[i].mode, 0);
		buf_put(texts, path, strlen(path) + 1);
	}
	const char *next = (const char *)texts->at;
	for (size_t i = 0; i < t->n_inputs; i++) {
		inputs[i].path = next;
		next += strlen(next) + 1;
	}
}
