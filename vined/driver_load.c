/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/driver_internal.h"

#include "common/log.h"

struct loading {
	struct driver *driver;
	uint64_t n_tasks, n_orphans;
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

static int add_to_core(struct driver *d, struct task *t, const struct store_task *s)
{
	const struct core_task_spec spec = {
		.cores = s->cores, .memory = s->memory, .priority = s->priority, .losses = s->losses};
	struct node *n = s->state == STORE_RUNNING ? map_get(&d->nodes, s->node) : NULL;
	int r;
	if (n) {
		/* It may be running: the node gets its time-out to say so. */
		task_set_node(t, n, s->attempt);
		node_wait(n);
		r = core_task_add_running(d->core, t->id, &spec, n->id, t->attempt);
	} else {
		t->state = s->losses < d->o.crash_limit ? STORE_QUEUED : STORE_HELD;
		r = core_task_add(d->core, t->id, &spec);
	}
	if (!r && t->is_cancelled)
		r = core_task_cancel(d->core, t->id);
	return r;
}

static void load_task(void *arg, const struct store_task *s)
{
	struct loading *l = arg;
	struct run *run = map_get(&l->driver->runs_by_id, s->run);
	if (!run) {
		l->n_orphans++;
		return;
	}
	struct task *t = task_new(l->driver, s, run);
	l->n_tasks++;
	task_claim_by_id(t, s->session, true);
	run_watch_client(run);
	if (t->state >= STORE_ENDED)
		return;
	int r = add_to_core(l->driver, t, s);
	if (r)
		log_errno(-r, "task %llu from the database", (unsigned long long)t->id);
}

int driver_load(struct driver *d)
{
	struct loading loading = {.driver = d};
	struct store_loader l = {load_node, load_run, load_task, &loading, 0, 0, 0};
	int r = store_load(d->o.store, &l);
	map_fini(&d->runs_by_id);
	d->runs_by_id = (struct map){0};
	d->last_task = l.last_task;
	d->last_run = l.last_run;
	d->last_node = l.last_node;
	if (loading.n_orphans)
		log_error("database: %llu tasks belong to no run and are left alone",
			  (unsigned long long)loading.n_orphans);
	if (!r)
		log_debug("loaded %llu tasks of %zu runs, %zu known nodes", (unsigned long long)loading.n_tasks,
			  d->runs.n, d->nodes.n);
	return r;
}
