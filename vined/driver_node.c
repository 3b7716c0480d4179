/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/driver_internal.h"

#include "common/log.h"

#include <stdio.h>

#define REST_LEAST_USEC 1000000u
#define REST_MOST_USEC 60000000u
#define REPORT_USEC 10000000u
#define FENCED_SHOWN 8 /* of one JOIN, in the log */

struct node *node_new(struct driver *d, const struct store_node *s)
{
	struct node *n = NEW(struct node);
	assert(s->id && !map_get(&d->nodes, s->id));
	n->driver = d;
	n->id = s->id;
	n->uuid = xstrdup(s->uuid);
	n->name = xstrdup(s->name);
	n->tier = xstrdup("");
	n->kernel = xstrdup("");
	n->address = xstrdup("");
	list_init(&n->running);
	list_init(&n->pledging);
	map_put(&d->nodes, n->id, n);
	map_put_text(&d->nodes_by_uuid, n->uuid, n);
	return n;
}

static void forget_names(struct node *n);

/* A newer node that listens there is the one that is meant. */
static void set_address(struct node *n, const char *address)
{
	struct map *m = &n->driver->nodes_by_address;
	if (map_get_text(m, n->address) == n)
		map_remove_text(m, n->address);
	free(n->address);
	n->address = xstrdup(address);
	if (*address)
		map_put_text(m, n->address, n);
}

void node_free(struct node *n)
{
	assert(list_is_empty(&n->running));
	timer_stop(&n->is_lost);
	timer_stop(&n->rest);
	timer_stop(&n->unsure);
	free(n->rest_reason);
	leave_free(n);
	fetches_drop(n);
	replicas_drop(n, true);
	map_fini(&n->replicas);
	buf_fini(&n->pledges);
	list_remove(&n->pledging);
	map_remove(&n->driver->nodes, n->id);
	map_remove_text(&n->driver->nodes_by_uuid, n->uuid);
	free(n->uuid);
	free(n->name);
	free(n->tier);
	free(n->kernel);
	set_address(n, "");
	free(n->address);
	forget_names(n);
	free(n);
}

/* ---- whether it is given tasks */

const char *node_resting(const struct node *n)
{
	const char *leaving = leave_resting(n);
	if (leaving)
		return leaving;
	if (n->is_stuffed)
		return "it does not read what it is sent";
	return n->unsure.loop ? "it has not said yet what it still has" : n->rest_reason;
}

/* The one place that opens and closes it for the core. */
static void settle(struct node *n)
{
	bool may_run = n->conn && !node_resting(n);
	if (n->in_core == NODE_ABSENT || may_run == (n->in_core == NODE_PRESENT))
		return;
	int r = may_run ? core_node_resume(n->driver->core, n->id, &n->spec)
			: core_node_suspend(n->driver->core, n->id);
	assert(r == 0);
	(void)r;
	n->in_core = may_run ? NODE_PRESENT : NODE_SUSPENDED;
}

void node_settle(struct node *n)
{
	settle(n);
}

static void on_rested(struct timer *t)
{
	struct node *n = container_of(t, struct node, rest);
	free(steal(n->rest_reason));
	settle(n);
}

/* All that it was given at once may come back at once: that is one reason, not many. */
void node_rest(struct node *n, const char *reason)
{
	if (n->rest_reason)
		return;
	n->rest_usec = n->rest_usec ? min(2 * n->rest_usec, (uint64_t)REST_MOST_USEC) : REST_LEAST_USEC;
	n->rest_reason = xasprintf("%.120s", *reason ? reason : "it could not begin a task");
	log_warn("node %s: given no tasks for %llu s: %s", n->name, (unsigned long long)(n->rest_usec / 1000000),
		 n->rest_reason);
	timer_start(&n->rest, n->driver->o.loop, n->rest_usec, on_rested);
	settle(n);
}

void node_did_well(struct node *n)
{
	n->rest_usec = 0;
}

void node_has_reported(struct node *n)
{
	timer_stop(&n->unsure);
	settle(n);
}

static void on_silent(struct timer *t)
{
	struct node *n = container_of(t, struct node, unsure);
	log_warn("node %s: has not said since it joined what it still has: that counts as nothing", n->name);
	replicas_drop(n, false);
	settle(n);
}

/* Its cache may be gone: what is started where its inputs are must not go by what it had before. */
static void doubt_replicas(struct node *n)
{
	timer_stop(&n->unsure);
	if (n->has_data && n->replicas.n)
		timer_start(&n->unsure, n->driver->o.loop, REPORT_USEC, on_silent);
}

static void wake(struct node *n)
{
	timer_stop(&n->rest);
	free(steal(n->rest_reason));
	n->rest_usec = 0;
}

void node_sent(struct node *n)
{
	if (n->is_stuffed || !n->conn || !conn_is_full(n->conn))
		return;
	n->is_stuffed = true;
	log_info("node %s: does not read what it is sent; it gets no tasks until it does", n->name);
	settle(n);
}

void driver_node_room(struct node *n)
{
	n->is_stuffed = false;
	settle(n);
}

const struct node *node_find_resting(const struct driver *d, const struct task *t)
{
	const struct node *n;
	for (size_t i = 0; (n = map_next(&d->nodes, &i));) {
		bool is_resting = n->conn && node_resting(n);
		const struct store_shape *s = &t->shape->row;
		if (is_resting && n->spec.cores >= max(s->cores, 1u) && n->spec.memory >= s->memory)
			return n;
	}
	return NULL;
}

/* ---- coming and going */

static void on_lost(struct timer *t)
{
	struct node *n = container_of(t, struct node, is_lost);
	assert(!n->conn);
	if (n->n_running)
		log_warn("node %s: lost: not back in time; %zu tasks run again elsewhere", n->name, n->n_running);
	else
		log_info("node %s: not back in time; it had no tasks", n->name);
	list_foreach (&n->running, struct tries, link, a) {
		a->losses++;
		task_record_lost(a->task, false);
	}
	if (n->in_core != NODE_ABSENT)
		event_tell(n->driver, NULL, "node-lost", 0, n, "not back in time");
	core_node_lost(n->driver->core, n->id);
	n->in_core = NODE_ABSENT;
	replicas_drop(n, true);
	fetches_drop(n);
}

/* Also at a restart, for nodes that have attempts on record: a node that never returns must not hold them for ever. */
void node_wait(struct node *n)
{
	if (!n->is_lost.loop && !n->conn)
		timer_start(&n->is_lost, n->driver->o.loop, n->driver->o.node_timeout_usec, on_lost);
}

/* The number that tasks refer to must be known before any of them does; operations are stored in order, so it is. */
static void record_node(struct node *n)
{
	struct store *s = n->driver->o.store;
	store_put(s, &(struct store_op){.kind = STORE_NODE,
					.is_kept = true,
					.node = {n->id, store_text(s, n->uuid), store_text(s, n->name)}});
}

static struct node *make_or_rename(struct driver *d, struct node *n, const char *uuid, const char *name)
{
	if (!n) {
		n = node_new(d, &(struct store_node){++d->last_node, uuid, name});
		record_node(n);
	} else if (!streq(n->name, name)) {
		free(n->name);
		n->name = xstrdup(name);
		record_node(n);
	}
	return n;
}

static void fence(struct node *n, uint64_t attempt)
{
	const struct wire_stop m = {.attempt = attempt, .fenced = true};
	conn_send(n->conn, WIRE_STOP, &m);
}

/* Numbers go up over all boots, so what is beyond the last one was given out by nobody who has this database. */
static bool was_given(const struct driver *d, uint64_t attempt)
{
	return attempt && attempt <= (store_boot(d->o.store) << 40 | d->last_attempt);
}

/* False: it was fenced. */
static bool adopt(struct node *n, const struct wire_held *h)
{
	struct core *c = n->driver->core;
	struct task *t = task_find(n->driver, h->task);
	bool is_settled = t && t->tries && !t->tries->node && h->attempt <= t->tries->settled;
	if (!t || !task_is_going(t) || is_settled || !was_given(n->driver, h->attempt) ||
	    core_attempt_adopt(c, t->id, n->id, h->attempt)) {
		fence(n, h->attempt);
		return false;
	}
	struct tries *a = task_tries(t);
	if (a->node != n || a->attempt != h->attempt) {
		/* Its dispatch was not recorded, or it had been given up. */
		if (t->is_element && !a->attempts)
			array_begun(t);
		a->attempts += a->attempt != h->attempt;
		task_set_node(t, n, h->attempt);
		task_record_start(t);
	}
	if (t->has_deadline)
		deadline_end(t);
	a->joins = n->joins;
	return true;
}

/* A node that was away for long may bring thousands that do not count any more: the log gets a few. */
static void adopt_all(struct node *n, const struct wire_join *j)
{
	uint32_t n_fenced = 0;
	for (uint32_t i = 0; i < j->attempts.n; i++) {
		const struct wire_held *h = &j->attempts.at[i];
		if (adopt(n, h) || n_fenced++ >= FENCED_SHOWN)
			continue;
		log_info("node %s: attempt %llu of task %llu is fenced: it does not count any more", n->name,
			 (unsigned long long)h->attempt, (unsigned long long)h->task);
	}
	if (n_fenced > FENCED_SHOWN)
		log_info("node %s: %u attempts are fenced in all, of %u that it listed", n->name, n_fenced,
			 j->attempts.n);
}

/* What is recorded as running there and was not listed never arrived, or was forgotten with the node's record. */
static void give_up_unlisted(struct node *n)
{
	list_foreach (&n->running, struct tries, link, a) {
		if (a->joins == n->joins)
			continue;
		struct task *t = a->task;
		uint64_t attempt = a->attempt;
		log_info("node %s: does not know attempt %llu of task %llu, which runs again", n->name,
			 (unsigned long long)attempt, (unsigned long long)t->id);
		task_record_lost(t, false);
		core_attempt_lost(n->driver->core, t->id, attempt);
	}
}

/* What the cluster has no numbers left for is left out: nothing can ask for it. */
static void describe_names(struct node *n, const struct wire_join *j)
{
	struct driver *d = n->driver;
	struct core_amount *named = xcalloc(CORE_NAMED, sizeof *named);
	const char **features = xcalloc(CORE_FEATURES, sizeof *features);
	size_t n_named = 0, n_features = 0;
	for (uint32_t i = 0; i < j->named.n; i++) {
		int k = names_hold(&d->kinds, j->named.at[i].name, CORE_NAMED);
		if (k < 0)
			log_warn("node %s: resource '%.64s' is one too many: %d kinds are possible", n->name,
				 j->named.at[i].name, CORE_NAMED);
		else if (n_named < CORE_NAMED)
			named[n_named++] = (struct core_amount){d->kinds.at[k], j->named.at[i].amount};
	}
	bool has_tier = !*j->tier;
	for (uint32_t i = 0; i < j->features.n + !has_tier; i++) {
		/* What it can offer a task is one, too. */
		const char *name = i < j->features.n ? j->features.at[i] : j->tier;
		int k = names_hold(&d->features, name, CORE_FEATURES);
		has_tier |= streq(name, j->tier);
		if (k < 0)
			log_warn("node %s: feature '%.64s' is one too many: %d are possible", n->name, name,
				 CORE_FEATURES);
		else if (n_features < CORE_FEATURES)
			features[n_features++] = d->features.at[k];
	}
	n->spec.named = named;
	n->spec.n_named = n_named;
	n->spec.features = features;
	n->spec.n_features = n_features;
}

static void forget_names(struct node *n)
{
	free((void *)(uintptr_t)n->spec.named);
	free((void *)(uintptr_t)n->spec.features);
	n->spec = (struct core_node_spec){0};
}

static void set_text(char **to, const char *text)
{
	free(*to);
	*to = xstrdup(text);
}

static void describe(struct node *n, const struct wire_join *j)
{
	uint64_t now_usec = loop_now_usec(n->driver->o.loop);
	set_text(&n->tier, j->tier);
	set_text(&n->kernel, j->kernel);
	set_address(n, j->address);
	forget_names(n);
	n->has_data = j->has_data;
	n->spec = (struct core_node_spec){.cores = j->cores,
					  .memory = j->memory,
					  .task_limit = j->task_limit,
					  .gpus = j->gpus,
					  .disk = j->disk,
					  .end_usec = j->stays_usec ? now_usec + j->stays_usec : 0,
					  .rack = item_key_hash(j->rack)};
	describe_names(n, j);
}

/* A node that was present all along may have come back with another offer. */
static void enter_core(struct node *n)
{
	struct core *c = n->driver->core;
	int r;
	if (n->in_core == NODE_PRESENT)
		core_node_suspend(c, n->id);
	if (n->in_core == NODE_ABSENT)
		r = core_node_add(c, n->id, &n->spec);
	else
		r = core_node_resume(c, n->id, &n->spec);
	assert(r == 0);
	n->in_core = NODE_PRESENT;
	core_node_serve(c, n->id, n->has_data);
	settle(n);
}

struct node *driver_join(struct driver *d, struct conn *c, const char *name, uint64_t instance,
			 const struct wire_join *j, char reason[256])
{
	struct node *n = map_get_text(&d->nodes_by_uuid, j->node);
	struct conn *old = n ? n->conn : NULL;
	/* A copy must not even rename the one that is there. */
	if (old && old != c && n->instance != instance) {
		snprintf(reason, 256,
			 "node id %s is in use by %s: two nodes share one state directory, or a copy of it", n->uuid,
			 conn_peer_name(old));
		return NULL;
	}
	n = make_or_rename(d, n, j->node, name);
	bool is_new = n->instance != instance;
	if (is_new)
		wake(n);
	n->is_stuffed = false;
	/* First the new one: closing the old one must not look like losing the node. */
	d->n_connected += !n->conn;
	n->conn = c;
	n->instance = instance;
	n->joins++;
	timer_stop(&n->is_lost);
	if (old && old != c)
		conn_abort(old, ECONNRESET, "replaced by a newer connection of the same node");
	describe(n, j);
	doubt_replicas(n);
	enter_core(n);
	leave_joined(n, is_new);
	adopt_all(n, j);
	node_sent(n);
	give_up_unlisted(n);
	fetches_restart(n);
	offers_node_left(n);
	offers_node_came(d);
	event_tell(d, NULL, "node-joined", 0, n, "");
	log_info("node %s: joined from %s: %u cores, tier %s, %u attempts", n->name, conn_peer_name(c), j->cores,
		 j->tier, j->attempts.n);
	return n;
}

bool driver_is_node(const struct node *n, const char *uuid)
{
	return streq(n->uuid, uuid);
}

void driver_leave(struct node *n, const struct conn *c)
{
	/* It has been replaced already. */
	if (n->conn != c)
		return;
	n->conn = NULL;
	n->driver->n_connected--;
	n->is_stuffed = false;
	timer_stop(&n->unsure);
	settle(n);
	leave_gone(n);
	core_node_serve(n->driver->core, n->id, false);
	offers_node_left(n);
	node_wait(n);
}

static const char *health_text(const struct node *n)
{
	static const char *const texts[] = {
		[CORE_HEALTH_PROBATION] = "on probation: attempts went wrong on it",
		[CORE_HEALTH_BLOCKED] = "blocked for a while: attempts go wrong on it",
	};
	return n->in_core == NODE_ABSENT ? NULL : texts[core_node_health(n->driver->core, n->id)];
}

bool driver_next_node(const struct driver *d, size_t *i, struct driver_node *out)
{
	const struct node *n = map_next(&d->nodes, i);
	if (!n)
		return false;
	*out = (struct driver_node){
		.name = n->name,
		.uuid = n->uuid,
		.tier = n->tier,
		.kernel = n->kernel,
		.address = n->conn ? conn_peer_name(n->conn) : "",
		.is_connected = n->conn != NULL,
		.resting = n->conn ? node_resting(n) : NULL,
		.cores = n->spec.cores,
		.task_limit = n->spec.task_limit,
		.memory = n->spec.memory,
		.n_running = n->n_running,
		.gpus = n->spec.gpus,
		.disk = n->spec.disk,
		.n_replicas = n->replicas.n,
		.has_data = n->has_data,
		.health = health_text(n),
	};
	return true;
}
