/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/top_model.h"

#include <inttypes.h>
#include <stdio.h>

#define SMOOTH 0.25 /* how much of a run's rate is what was seen last */

struct top_model *top_model_new(void)
{
	return NEW(struct top_model);
}

void top_model_free(struct top_model *m)
{
	if (!m)
		return;
	buf_fini(&m->detail);
	free(m);
}

struct top_model *top_model_copy(const struct top_model *m)
{
	struct top_model *copy = xmemdup(m, sizeof *m);
	copy->detail = (struct buf){.n = 0};
	buf_put(&copy->detail, m->detail.at, m->detail.n);
	return copy;
}

void top_model_begin(struct top_model *m, enum top_list_kind kind)
{
	size_t *const lengths[] = {[TOP_REASONS_LIST] = &m->n_reasons, [TOP_RUNS_LIST] = &m->n_runs,
				   [TOP_NODES_LIST] = &m->n_nodes,     [TOP_TASKS_LIST] = &m->n_tasks,
				   [TOP_ITEMS_LIST] = &m->n_items,     [TOP_TRANSFERS_LIST] = &m->n_transfers};
	assert(kind < countof(lengths));
	*lengths[kind] = 0;
}

/* ---- rows */

/* Where a column's cell goes: a text's room, or a number. */
struct place {
	const char *name;
	char *text;
	size_t room;
	uint64_t *number;
};

#define TEXT(name, to)                     \
	{                                  \
		name, to, sizeof(to), NULL \
	}
#define NUMBER(name, to)             \
	{                            \
		name, NULL, 0, &(to) \
	}

static void fill(const struct place *places, size_t n_places, size_t n, const char *const names[],
		 const char *const cells[])
{
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < n_places; k++) {
			const struct place *p = &places[k];
			if (!streq(p->name, names[i]))
				continue;
			if (p->text)
				snprintf(p->text, p->room, "%s", cells[i]);
			else
				*p->number = strtoull(cells[i], NULL, 10);
		}
	}
}

int top_on_cluster(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct top_model *m = arg;
	struct top_cluster *c = &m->cluster;
	uint64_t is_settled = 0;
	*c = (struct top_cluster){.nodes = 0};
	const struct place places[] = {
		TEXT("name", c->name),
		TEXT("version", c->version),
		TEXT("address", c->address),
		TEXT("state", c->state),
		NUMBER("uptime_sec", c->uptime_sec),
		NUMBER("nodes", c->nodes),
		NUMBER("known_nodes", c->known_nodes),
		NUMBER("cores", c->cores),
		NUMBER("cores_free", c->cores_free),
		NUMBER("queued", c->queued),
		NUMBER("running", c->running),
		NUMBER("held", c->held),
		NUMBER("runs", c->runs),
		NUMBER("submitted", c->submitted),
		NUMBER("over", c->over),
		NUMBER("for_inputs", c->for_inputs),
		NUMBER("staging", c->staging),
		NUMBER("fetches", c->fetches),
		NUMBER("items", c->items),
		NUMBER("is_settled", is_settled),
	};
	fill(places, countof(places), n, names, cells);
	c->is_settled = is_settled;
	m->is_there = true;
	return 0;
}

int top_on_reason(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct top_model *m = arg;
	if (m->n_reasons == TOP_REASONS)
		return 1;
	struct top_reason *r = &m->reasons[m->n_reasons++];
	*r = (struct top_reason){.n = 0};
	const struct place places[] = {TEXT("reason", r->text), NUMBER("tasks", r->n), NUMBER("task", r->task),
				       NUMBER("asked", r->asked)};
	fill(places, countof(places), n, names, cells);
	return 0;
}

int top_on_run(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct top_model *m = arg;
	uint64_t is_attached = 0;
	if (m->n_runs == TOP_ROWS)
		return 1;
	struct top_run *r = &m->runs[m->n_runs++];
	*r = (struct top_run){.unfinished = 0};
	const struct place places[] = {TEXT("run", r->name), NUMBER("unfinished", r->unfinished),
				       NUMBER("running", r->running), NUMBER("untaken", r->untaken),
				       NUMBER("is_attached", is_attached)};
	fill(places, countof(places), n, names, cells);
	r->is_attached = is_attached;
	return 0;
}

int top_on_node(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct top_model *m = arg;
	if (m->n_nodes == TOP_ROWS)
		return 1;
	struct top_node *t = &m->nodes[m->n_nodes++];
	*t = (struct top_node){.cores = 0};
	const struct place places[] = {
		TEXT("node", t->name),
		TEXT("state", t->state),
		TEXT("tier", t->tier),
		TEXT("address", t->address),
		NUMBER("cores_used", t->cores_used),
		NUMBER("cores", t->cores),
		NUMBER("memory_used", t->memory_used),
		NUMBER("memory", t->memory),
		NUMBER("running", t->running),
		NUMBER("task_limit", t->task_limit),
		NUMBER("gpus", t->gpus),
		NUMBER("cache", t->cache),
		NUMBER("trees", t->trees),
		NUMBER("fetches", t->fetches),
	};
	fill(places, countof(places), n, names, cells);
	return 0;
}

int top_on_task(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct top_model *m = arg;
	if (m->n_tasks == TOP_ROWS)
		return 1;
	struct top_task *t = &m->tasks[m->n_tasks++];
	*t = (struct top_task){.id = 0};
	const struct place places[] = {
		NUMBER("task", t->id),
		TEXT("run", t->run),
		TEXT("name", t->name),
		TEXT("state", t->state),
		TEXT("node", t->node),
		TEXT("reason", t->reason),
		TEXT("how", t->how),
		NUMBER("attempts", t->attempts),
		NUMBER("status", t->status),
		NUMBER("started_usec", t->started_usec),
		NUMBER("wall_usec", t->wall_usec),
		NUMBER("cores", t->cores),
		NUMBER("memory", t->memory),
	};
	fill(places, countof(places), n, names, cells);
	return 0;
}

int top_on_item(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct top_model *m = arg;
	if (m->n_items == TOP_ROWS)
		return 1;
	struct top_item *i = &m->items[m->n_items++];
	*i = (struct top_item){.size = 0};
	const struct place places[] = {TEXT("item", i->name),        TEXT("run", i->run),
				       TEXT("state", i->state),      NUMBER("size", i->size),
				       NUMBER("nodes", i->nodes),    NUMBER("tasks", i->tasks),
				       NUMBER("made_by", i->made_by)};
	fill(places, countof(places), n, names, cells);
	return 0;
}

int top_on_transfer(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct top_model *m = arg;
	if (m->n_transfers == TOP_ROWS)
		return 1;
	struct top_transfer *t = &m->transfers[m->n_transfers++];
	*t = (struct top_transfer){.rate = 0};
	const struct place places[] = {
		TEXT("from", t->from),   TEXT("to", t->to),       TEXT("item", t->item),   TEXT("origin", t->origin),
		NUMBER("rate", t->rate), NUMBER("done", t->done), NUMBER("rest", t->rest),
	};
	fill(places, countof(places), n, names, cells);
	return 0;
}

int top_on_moved(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct top_moved *v = &((struct top_model *)arg)->moved;
	*v = (struct top_moved){.nodes = 0};
	const struct place places[] = {NUMBER("from_nodes", v->nodes), NUMBER("from_sources", v->sources),
				       NUMBER("from_clients", v->clients), NUMBER("needed", v->needed)};
	fill(places, countof(places), n, names, cells);
	return 0;
}

/* All who give it bring what is left. */
uint64_t top_transfer_sec(const struct top_model *m, const struct top_transfer *t)
{
	uint64_t rate = 0;
	for (size_t i = 0; i < m->n_transfers; i++) {
		const struct top_transfer *other = &m->transfers[i];
		if (streq(other->to, t->to) && streq(other->item, t->item))
			rate += other->rate;
	}
	return rate && t->rest ? t->rest / rate + 1 : 0;
}

/* ---- what follows from two looks */

void top_follow_cluster(struct top_model *m, const struct top_model *before)
{
	uint64_t usec = m->at_usec - min(before->at_usec, m->at_usec);
	const struct top_cluster *now = &m->cluster, *then = &before->cluster;
	/* Another vined, or tasks on their way to its disk: what has ended is not known. */
	bool is_comparable = now->is_settled && then->is_settled && now->over >= then->over &&
			     now->uptime_sec >= then->uptime_sec && before->is_there;
	if (!usec || !is_comparable)
		return;
	if (m->n_rates == TOP_HISTORY)
		memmove(m->rates, m->rates + 1, --m->n_rates * sizeof *m->rates);
	m->rates[m->n_rates++] = (double)(now->over - then->over) * 1e6 / (double)usec;
	assert(m->n_rates <= TOP_HISTORY);
}

static void follow_run(struct top_run *r, const struct top_run *before, uint64_t usec)
{
	r->has_counts = before->has_counts;
	r->counts = before->counts;
	r->counted_usec = before->counted_usec;
	r->counted_unfinished = before->counted_unfinished;
	r->rate = before->rate;
	/* More were submitted meanwhile: nothing is known of this while. */
	if (!usec || r->unfinished > before->unfinished)
		return;
	double seen = (double)(before->unfinished - r->unfinished) * 1e6 / (double)usec;
	r->rate = before->rate > 0 ? before->rate + SMOOTH * (seen - before->rate) : seen;
}

static const struct top_run *find_run(const struct top_model *m, const char *name, size_t hint)
{
	/* They mostly stay where they are. */
	if (hint < m->n_runs && streq(m->runs[hint].name, name))
		return &m->runs[hint];
	for (size_t i = 0; i < m->n_runs; i++) {
		if (streq(m->runs[i].name, name))
			return &m->runs[i];
	}
	return NULL;
}

void top_follow_runs(struct top_model *m, const struct top_model *before)
{
	uint64_t usec = m->runs_usec - min(before->runs_usec, m->runs_usec);
	for (size_t i = 0; i < m->n_runs; i++) {
		const struct top_run *same = find_run(before, m->runs[i].name, i);
		if (same)
			follow_run(&m->runs[i], same, usec);
	}
}

const struct top_run *top_find_run(const struct top_model *m, const char *name)
{
	return find_run(m, name, 0);
}

uint64_t top_run_tasks(const struct top_run *r)
{
	return r->has_counts ? max(counts_all(&r->counts), r->unfinished) : 0;
}

uint64_t top_run_over(const struct top_run *r)
{
	uint64_t all = top_run_tasks(r);
	return all - min(r->unfinished, all);
}

uint64_t top_rest_sec(const struct top_run *r)
{
	return r->unfinished && r->rate > 1e-6 ? (uint64_t)((double)r->unfinished / r->rate) + 1 : 0;
}

const char *top_task_label(const struct top_task *t, char to[TOP_TEXT])
{
	if (*t->name)
		snprintf(to, TOP_TEXT, "%.120s/%.120s", t->run, t->name);
	else
		snprintf(to, TOP_TEXT, "%" PRIu64, t->id);
	return to;
}

bool top_is_over(const struct top_task *t)
{
	return streq(t->state, "ended") || streq(t->state, "delivered");
}

const char *top_task_state(const struct top_task *t)
{
	if (!top_is_over(t))
		return streq(t->state, "queued") ? "waiting" : t->state;
	if (streq(t->how, "exit") && !t->status)
		return "done";
	return streq(t->how, "cancelled") ? "cancelled" : "failed";
}
