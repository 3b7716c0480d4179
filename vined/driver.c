/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/driver_internal.h"

#include "common/log.h"

#include <stdio.h>

#define DECISIONS_PER_TURN 4096 /* then messages get their turn */

/* ---- tasks */

struct task *task_new(struct driver *d, const struct store_task *s, struct run *r)
{
	struct task *t = NEW(struct task);
	assert(s->id && !map_get(&d->tasks, s->id));
	t->id = s->id;
	t->run = r;
	t->tag = s->tag && s->tag[0] ? xstrdup(s->tag) : NULL;
	t->attempt = s->attempt;
	t->memory = s->memory;
	t->command = s->command_id;
	t->environment = s->environment_id;
	t->cores = s->cores;
	t->attempts = s->attempts;
	t->losses = s->losses;
	t->state = (uint8_t)s->state;
	t->is_cancelled = s->is_cancelled;
	list_init(&t->link);
	list_init(&t->node_link);
	bool is_over = t->state >= STORE_ENDED;
	list_append(is_over ? &r->orphans : &r->unfinished, &t->link);
	r->n_ended += is_over;
	r->n_unfinished += !is_over;
	d->n_ended += is_over;
	map_put(&d->tasks, t->id, t);
	return t;
}

/* Of a task that is acknowledged, or of all of them at the end: the core has forgotten it or is about to. */
void task_free(struct task *t)
{
	struct driver *d = t->run->driver;
	bool is_over = t->state >= STORE_ENDED;
	task_set_node(t, NULL, t->attempt);
	task_claim(t, NULL);
	list_remove(&t->link);
	map_remove(&d->tasks, t->id);
	t->run->n_ended -= is_over;
	t->run->n_unfinished -= !is_over;
	d->n_ended -= is_over;
	free(t->tag);
	free(t);
}

/* Each node keeps a list of its own, so that losing one or its coming back costs what it has, not what there is. */
void task_set_node(struct task *t, struct node *n, uint64_t attempt)
{
	if (t->node) {
		assert(t->node->n_running > 0);
		t->node->n_running--;
		list_remove(&t->node_link);
	}
	t->node = n;
	t->attempt = attempt;
	if (n) {
		n->n_running++;
		list_append(&n->running, &t->node_link);
	}
}

/* Kept until it is stored: nobody waits for it, but a restart must know whom to wait for. */
void task_record_start(struct task *t)
{
	assert(t->node && t->attempt);
	t->state = STORE_RUNNING;
	store_put(t->run->driver->o.store, &(struct store_op){.kind = STORE_START,
							      .is_kept = true,
							      .attempt = {.task = t->id,
									  .attempt = t->attempt,
									  .node = t->node->id,
									  .attempts = t->attempts}});
}

void task_record_lost(struct task *t, bool is_held)
{
	assert(t->state < STORE_ENDED);
	t->state = is_held ? STORE_HELD : STORE_QUEUED;
	store_put(t->run->driver->o.store,
		  &(struct store_op){
			  .kind = STORE_LOST,
			  .is_kept = true,
			  .attempt = {.task = t->id, .attempt = t->attempt, .losses = t->losses, .is_held = is_held}});
	task_set_node(t, NULL, t->attempt);
}

/* ---- the core's actions */

/* Points `to` at the texts of a body, each ended by NUL. */
static struct wire_texts split(const struct wire_bytes *body, const char ***to)
{
	uint32_t n = 0, i = 0;
	const char *at = body->at, *end = at + body->n;
	for (const char *p = at; p < end; p += strlen(p) + 1)
		n++;
	*to = xcalloc(n, sizeof **to);
	for (const char *p = at; p < end; p += strlen(p) + 1)
		(*to)[i++] = p;
	assert(i == n && (!n || end[-1] == 0));
	return (struct wire_texts){*to, n};
}

/* What is to be run lives in the store alone; a million waiting tasks cost numbers only. */
static int send_start(struct task *t)
{
	struct store *s = t->run->driver->o.store;
	struct wire_bytes command, environment;
	_free_ const char **argv = NULL, **variables = NULL;
	int r = store_read_body(s, t->command, &command);
	if (!r)
		r = store_read_body(s, t->environment, &environment);
	if (r)
		return r;
	struct wire_start m = {
		.attempt = t->attempt,
		.task = t->id,
		.environment = split(&environment, &variables),
		.cores = t->cores ? t->cores : 1,
		.memory = t->memory,
	};
	/* The working directory goes first, so a command is never shorter than two texts. */
	struct wire_texts words = split(&command, &argv);
	if (words.n < 2)
		return -EUCLEAN;
	m.directory = words.at[0];
	m.argv = (struct wire_texts){words.at + 1, words.n - 1};
	r = conn_send(t->node->conn, WIRE_START, &m);
	node_sent(t->node);
	/* A node that just went away will not list it, and then it runs again. */
	return r == -ENOTCONN ? 0 : r;
}

static void on_start(void *arg, uint64_t id, uint64_t node, uint64_t attempt)
{
	struct driver *d = arg;
	struct task *t = map_get(&d->tasks, id);
	struct node *n = map_get(&d->nodes, node);
	assert(t && n && n->conn && t->state < STORE_ENDED);
	task_set_node(t, n, attempt);
	t->attempts++;
	task_record_start(t);
	int r = send_start(t);
	if (r) {
		log_error("task %llu: cannot start: its command cannot be read: %s", (unsigned long long)id,
			  strerror(-r));
		task_end(t, 3, (uint32_t)-r, "vined cannot read its command");
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
	struct task *t = map_get(&d->tasks, id);
	assert(t && t->state < STORE_ENDED);
	task_end(t, STORE_CANCELLED, 0, "cancelled before it ran");
}

static void on_held(void *arg, uint64_t id, unsigned losses)
{
	struct driver *d = arg;
	struct task *t = map_get(&d->tasks, id);
	assert(t && t->state < STORE_ENDED);
	t->losses = losses;
	log_warn("task %llu: held: %u nodes were lost under it", (unsigned long long)id, losses);
	task_record_lost(t, true);
}

static uint64_t next_attempt(void *arg)
{
	struct driver *d = arg;
	assert(d->last_attempt + 1 < (uint64_t)1 << 40);
	return store_boot(d->o.store) << 40 | ++d->last_attempt;
}

static const struct core_actions actions = {
	.start = on_start,
	.stop = on_stop,
	.cancelled = on_cancelled,
	.held = on_held,
	.next_attempt = next_attempt,
};

/* ---- the turn */

static void on_again(struct timer *t)
{
	/* It only makes a turn, at whose end the decisions that are left are made. */
	(void)t;
}

static void on_sleep(struct before_sleep *b)
{
	struct driver *d = container_of(b, struct driver, before_sleep);
	if (core_decide(d->core, DECISIONS_PER_TURN) == DECISIONS_PER_TURN)
		timer_start(&d->again, d->o.loop, 0, on_again);
	store_flush(d->o.store);
}

void driver_start(struct driver *d)
{
	before_sleep_start(&d->before_sleep, d->o.loop, on_sleep);
}

struct driver *driver_new(const struct driver_options *o)
{
	struct driver *d = NEW(struct driver);
	assert(o->loop && o->store);
	d->o = *o;
	list_init(&d->before_sleep.link);
	d->core = core_new(&actions, d, &(struct core_options){.crash_limit = o->crash_limit});
	return d;
}

void driver_free(struct driver *d)
{
	struct task *t;
	struct run *r;
	struct node *n;
	if (!d)
		return;
	/* Tasks hold runs and nodes, so they go first. */
	before_sleep_stop(&d->before_sleep);
	timer_stop(&d->again);
	for (size_t i = 0; (t = map_next(&d->tasks, &i)); i = 0)
		task_free(t);
	for (size_t i = 0; (r = map_next(&d->runs, &i)); i = 0)
		run_free(r);
	for (size_t i = 0; (n = map_next(&d->nodes, &i)); i = 0)
		node_free(n);
	core_free(d->core);
	map_fini(&d->tasks);
	map_fini(&d->runs);
	map_fini(&d->runs_by_id);
	map_fini(&d->nodes);
	map_fini(&d->nodes_by_uuid);
	free(d);
}

void driver_numbers(const struct driver *d, struct driver_numbers *n)
{
	struct core_numbers c;
	const struct node *node;
	core_numbers(d->core, &c);
	*n = (struct driver_numbers){
		.queued = c.queued,
		.running = c.running,
		.held = c.held,
		.cores = c.cores,
		.cores_free = c.cores_free,
		.ended = d->n_ended,
		.runs = d->runs.n,
	};
	for (size_t k = 0; (node = map_next(&d->nodes, &k));)
		n->nodes += node->conn != NULL;
}

static void say_too_large(const struct driver *d, const struct task *t, char reason[256])
{
	struct core_numbers c;
	char wanted[64] = "", largest[64] = "";
	core_numbers(d->core, &c);
	if (t->memory) {
		snprintf(wanted, sizeof wanted, " and %llu MiB of memory", (unsigned long long)(t->memory >> 20));
		snprintf(largest, sizeof largest, " and %llu MiB", (unsigned long long)(c.largest_memory >> 20));
	}
	snprintf(reason, 256, "no node is large enough: it needs %u cores%s, the largest has %llu%s", max(t->cores, 1u),
		 wanted, (unsigned long long)c.largest_cores, largest);
}

void driver_reason(const struct driver *d, uint64_t task, char reason[256])
{
	const struct task *t = map_get(&d->tasks, task);
	reason[0] = 0;
	if (!t || t->state >= STORE_ENDED)
		return;
	enum core_reason r = core_task_reason(d->core, task);
	bool has_none = r == CORE_REASON_NO_NODE || r == CORE_REASON_TOO_LARGE;
	const struct node *n = has_none ? node_find_resting(d, t) : NULL;
	if (n)
		snprintf(reason, 256, "node %.60s rests: %.150s", n->name,
			 n->is_stuffed ? "it does not read what it is sent" : n->rest_reason);
	else if (r == CORE_REASON_TOO_LARGE)
		say_too_large(d, t, reason);
	else
		snprintf(reason, 256, "%s", core_reason_text(r));
}

struct store *driver_store(const struct driver *d)
{
	return d->o.store;
}
