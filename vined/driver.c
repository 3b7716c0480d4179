/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/driver_internal.h"

#include "common/log.h"

#include <stdio.h>

#define DECISIONS_PER_TURN 4096 /* then messages get their turn */

/* ---- the core's actions */

/* A task that has its result already makes again what was lost. */
static void begin_attempt(struct task *t, struct node *n, uint64_t attempt)
{
	if (t->is_element && !(t->tries && t->tries->attempts))
		array_begun(t);
	task_set_node(t, n, attempt);
	t->tries->attempts++;
	t->tries->is_again = t->state >= STORE_ENDED;
	if (t->has_deadline)
		deadline_end(t);
	if (t->tries->is_again)
		log_info("task %llu: runs again: an output of it was lost", (unsigned long long)t->id);
	task_record_start(t);
}

static void fail_outputs(struct task *t)
{
	for (size_t i = t->n_inputs; i < (size_t)t->n_inputs + t->n_outputs; i++)
		task_item(t, i)->is_failed |= task_item(t, i)->producer == t->id && !item_is_there(task_item(t, i));
}

/* What it was to make again never will be. */
static void give_up(struct task *t)
{
	uint64_t attempt = task_attempt(t);
	fail_outputs(t);
	task_set_node(t, NULL, attempt);
	t->tries->is_again = false;
	core_attempt_ended(t->run->driver->core, t->id, attempt);
	task_let_go(t);
}

static void on_start(void *arg, uint64_t id, uint64_t node, uint64_t attempt)
{
	struct driver *d = arg;
	struct task *t = task_find(d, id);
	struct node *n = map_get(&d->nodes, node);
	assert(t && n && n->conn);
	begin_attempt(t, n, attempt);
	int r = send_start(t);
	if (r) {
		log_error("task %llu: cannot start: its command cannot be read: %s", (unsigned long long)id,
			  strerror(-r));
		if (t->state < STORE_ENDED)
			task_end(t, 3, (uint32_t)-r, "vined cannot read its command");
		else
			give_up(t);
	}
}

static void on_stop(void *arg, uint64_t id, uint64_t node, uint64_t attempt, bool is_fenced)
{
	struct driver *d = arg;
	struct node *n = map_get(&d->nodes, node);
	const struct wire_stop m = {.attempt = attempt, .grace_usec = d->o.grace_usec, .fenced = is_fenced};
	log_debug("task %llu: attempt %llu is stopped%s", (unsigned long long)id, (unsigned long long)attempt,
		  is_fenced ? ", another counts" : "");
	/* A node that is away lists the attempt when it is back, and is told then. */
	if (n && n->conn)
		conn_send(n->conn, WIRE_STOP, &m);
}

static void on_cancelled(void *arg, uint64_t id)
{
	struct driver *d = arg;
	struct task *t = task_find(d, id);
	assert(t && t->state < STORE_ENDED);
	if (t->is_late)
		task_end(t, 3, ETIMEDOUT, "its deadline passed before it was begun");
	else
		task_end(t, STORE_CANCELLED, 0, "cancelled before it ran");
}

static void on_held(void *arg, uint64_t id, unsigned losses)
{
	struct driver *d = arg;
	struct task *t = task_find(d, id);
	char text[64];
	assert(t && t->state < STORE_ENDED);
	task_tries(t)->losses = (uint16_t)min(losses, (unsigned)UINT16_MAX);
	snprintf(text, sizeof text, "%u nodes were lost under it", losses);
	log_warn("task %llu: held: %s", (unsigned long long)id, text);
	event_tell(d, t->run, "task-held", id, NULL, text);
	task_record_lost(t, true);
}

/* Its input will never be there. One that had its result was to run for others alone, and those fail by themselves. */
static void on_failed(void *arg, uint64_t id, const struct core_why *why)
{
	struct driver *d = arg;
	struct task *t = task_find(d, id);
	char text[256];
	assert(t);
	fail_outputs(t);
	why_text(d, t, why, text);
	if (t->state >= STORE_ENDED) {
		log_warn("task %llu: does not make again what was lost of its outputs: %s", (unsigned long long)id,
			 text);
		if (t->tries)
			t->tries->is_again = false;
		task_let_go(t);
		return;
	}
	task_end(t, 3, why->reason == CORE_REASON_DEADLINE ? ETIMEDOUT : ENOENT, text);
}

static uint64_t next_attempt(void *arg)
{
	struct driver *d = arg;
	assert(d->last_attempt + 1 < (uint64_t)1 << 40);
	return store_boot(d->o.store) << 40 | ++d->last_attempt;
}

static void on_fetch(void *arg, const struct core_fetch *f)
{
	struct driver *d = arg;
	struct node *n = map_get(&d->nodes, f->node);
	const struct item *i = map_get(&d->items, f->item);
	if (n && i)
		profile_tell(n, i);
	fetch_begin(d, f);
}

static const struct core_actions actions = {
	.start = on_start,
	.stop = on_stop,
	.cancelled = on_cancelled,
	.held = on_held,
	.next_attempt = next_attempt,
	.failed = on_failed,
	.fetch = on_fetch,
	.fetch_stop = fetch_stop,
};

/* ---- the turn */

static void on_again(struct timer *t)
{
	/* It only makes a turn, at whose end the decisions that are left are made. */
	(void)t;
}

/* So that a patient task's wait ends though nothing happens. */
static void wake_when_due(struct driver *d)
{
	uint64_t now = loop_now_usec(d->o.loop), due = core_next_due(d->core);
	if (due == d->due_usec)
		return;
	d->due_usec = due;
	if (due == UINT64_MAX)
		timer_stop(&d->due);
	else
		timer_start(&d->due, d->o.loop, due > now ? due - now : 0, on_again);
}

static void on_sleep(struct before_sleep *b)
{
	struct driver *d = container_of(b, struct driver, before_sleep);
	core_set_time(d->core, loop_now_usec(d->o.loop));
	arrays_feed(d);
	size_t n = core_decide(d->core, DECISIONS_PER_TURN);
	while (n < DECISIONS_PER_TURN && fetch_see(d))
		n += core_decide(d->core, DECISIONS_PER_TURN);
	if (n >= DECISIONS_PER_TURN)
		timer_start(&d->again, d->o.loop, 0, on_again);
	d->feed.totals.n_decided += n;
	leaves_look(d);
	items_fade(d);
	holds_flush(d);
	/* What began made room for others in its array's window. */
	if (!list_is_empty(&d->hungry))
		timer_start(&d->again, d->o.loop, 0, on_again);
	wake_when_due(d);
	store_flush(d->o.store);
}

void driver_start(struct driver *d)
{
	load_end(d);
	stages_load_end(d);
	before_sleep_start(&d->before_sleep, d->o.loop, on_sleep);
	strays_forget(d);
}

struct driver *driver_new(const struct driver_options *o)
{
	struct driver *d = NEW(struct driver);
	assert(o->loop && o->store);
	d->o = *o;
	d->due_usec = UINT64_MAX;
	list_init(&d->before_sleep.link);
	list_init(&d->fading);
	list_init(&d->dirty);
	list_init(&d->pledging);
	list_init(&d->stages);
	list_init(&d->leaving);
	list_init(&d->sole_changed);
	list_init(&d->offers);
	list_init(&d->given);
	list_init(&d->hungry);
	d->core = core_new(&actions, d, &(struct core_options){.crash_limit = o->crash_limit});
	feed_begin(d);
	flows_new(d);
	core_set_time(d->core, loop_now_usec(o->loop));
	core_source_set(d->core, SOURCE_NODE, 0);
	core_source_set(d->core, SOURCE_SEEN, 0);
	return d;
}

static void free_task(void *arg, void *task)
{
	(void)arg;
	task_free(task);
}

static void free_contents(struct driver *d)
{
	struct run *r;
	struct node *n;
	struct item *it;
	/* Tasks hold runs, items and nodes, and items hold trees, so they go first. */
	struct array *a;
	dense_each(&d->tasks, free_task, NULL);
	for (size_t i = 0; (a = map_next(&d->arrays, &i));)
		array_free(a);
	past_end(d);
	offers_free(d);
	leaves_stop(d);
	stages_free(d);
	for (size_t i = 0; (it = map_next(&d->items, &i));)
		item_free(d, it);
	for (size_t i = 0; (r = map_next(&d->runs, &i));)
		run_free(r);
	for (size_t i = 0; (n = map_next(&d->nodes, &i));)
		node_free(n);
	assert(!d->trees_by_digest.n && !d->shapes.n && !d->deadlines.n && !d->keeps.n && !d->grants.n);
}

void driver_free(struct driver *d)
{
	void *source;
	if (!d)
		return;
	before_sleep_stop(&d->before_sleep);
	timer_stop(&d->again);
	timer_stop(&d->due);
	timer_stop(&d->record);
	timer_stop(&d->wall);
	timer_stop(&d->stray);
	free_contents(d);
	timer_stop(&d->sole);
	core_free(d->core);
	settings_forget(d);
	names_fini(&d->kinds);
	names_fini(&d->features);
	feed_free(d);
	flows_free(d);
	map_fini(&d->fellows);
	buf_fini(&d->seen);
	buf_fini(&d->strays);
	buf_fini(&d->unfit);
	free(d->item_slots);
	dense_fini(&d->tasks);
	for (size_t i = 0; (source = map_next(&d->sources, &i));)
		free(source);
	struct map *maps[] = {&d->arrays,           &d->runs,    &d->runs_by_id, &d->nodes,        &d->nodes_by_uuid,
			      &d->nodes_by_address, &d->shapes,  &d->items,      &d->items_by_key, &d->trees_by_digest,
			      &d->shapes_by_id,     &d->sources, &d->deadlines,  &d->keeps,        &d->grants};
	for (size_t i = 0; i < countof(maps); i++)
		map_fini(maps[i]);
	free(d);
}

void driver_numbers(const struct driver *d, struct driver_numbers *n)
{
	struct core_numbers c;
	core_numbers(d->core, &c);
	*n = (struct driver_numbers){
		.queued = c.queued + d->n_pending,
		.running = c.running,
		.held = c.held,
		.cores = c.cores,
		.cores_free = c.cores_free,
		.ended = d->n_ended,
		.runs = d->runs.n,
		.nodes = d->n_connected,
		.tokens = c.tokens,
	};
}

struct store *driver_store(const struct driver *d)
{
	return d->o.store;
}
