/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/top_json.h"

#include "tools/json.h"

struct number {
	const char *name;
	uint64_t n;
};

static void put_numbers(struct json *j, const struct number *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		json_number(j, at[i].name, (int64_t)at[i].n);
}

static void put_cluster(struct json *j, const struct top_model *m)
{
	const struct top_cluster *c = &m->cluster;
	const struct number numbers[] = {{"uptime_sec", c->uptime_sec},
					 {"nodes", c->nodes},
					 {"cores", c->cores},
					 {"cores_free", c->cores_free},
					 {"runs", c->runs},
					 {"fetches", c->fetches},
					 {"items", c->items}};
	const struct number tasks[] = {
		{"done", m->counts.done}, {"failed", m->counts.failed}, {"cancelled", m->counts.cancelled},
		{"running", c->running},  {"waiting", c->queued},       {"held", c->held}};
	json_begin(j, "cluster", '{');
	json_text(j, "name", c->name);
	json_text(j, "version", c->version);
	json_text(j, "address", c->address);
	put_numbers(j, numbers, countof(numbers));
	json_end(j, '}');
	json_begin(j, "counts", '{');
	put_numbers(j, tasks, countof(tasks));
	json_end(j, '}');
}

static void put_reasons(struct json *j, const struct top_model *m)
{
	json_begin(j, "waiting", '[');
	for (size_t i = 0; i < m->n_reasons; i++) {
		const struct top_reason *r = &m->reasons[i];
		const struct number numbers[] = {{"tasks", r->n}, {"task", r->task}, {"asked", r->asked}};
		json_begin(j, NULL, '{');
		json_text(j, "reason", r->text);
		put_numbers(j, numbers, countof(numbers));
		json_end(j, '}');
	}
	json_end(j, ']');
}

static void put_runs(struct json *j, const struct top_model *m)
{
	json_begin(j, "runs", '[');
	for (size_t i = 0; i < m->n_runs; i++) {
		const struct top_run *r = &m->runs[i];
		const struct number numbers[] = {{"unfinished", r->unfinished},     {"running", r->running},
						 {"untaken", r->untaken},           {"tasks", top_run_tasks(r)},
						 {"done", r->counts.done},          {"failed", r->counts.failed},
						 {"cancelled", r->counts.cancelled}};
		json_begin(j, NULL, '{');
		json_text(j, "run", r->name);
		put_numbers(j, numbers, r->has_counts ? countof(numbers) : 3);
		json_end(j, '}');
	}
	json_end(j, ']');
}

static void put_nodes(struct json *j, const struct top_model *m)
{
	json_begin(j, "nodes", '[');
	for (size_t i = 0; i < m->n_nodes; i++) {
		const struct top_node *n = &m->nodes[i];
		const struct number numbers[] = {
			{"cores_used", n->cores_used}, {"cores", n->cores}, {"memory_used", n->memory_used},
			{"memory", n->memory},         {"gpus", n->gpus},   {"running", n->running},
			{"task_limit", n->task_limit}, {"cache", n->cache}, {"trees", n->trees},
			{"fetches", n->fetches}};
		json_begin(j, NULL, '{');
		json_text(j, "node", n->name);
		json_text(j, "state", n->state);
		json_text(j, "tier", n->tier);
		json_text(j, "address", n->address);
		put_numbers(j, numbers, countof(numbers));
		json_end(j, '}');
	}
	json_end(j, ']');
}

static void put_tasks(struct json *j, const struct top_model *m)
{
	json_begin(j, "tasks", '[');
	for (size_t i = 0; i < m->n_tasks; i++) {
		const struct top_task *t = &m->tasks[i];
		const struct number numbers[] = {{"task", t->id},
						 {"attempts", t->attempts},
						 {"status", t->status},
						 {"started_usec", t->started_usec},
						 {"wall_usec", t->wall_usec},
						 {"cores", t->cores},
						 {"memory", t->memory}};
		json_begin(j, NULL, '{');
		json_text(j, "run", t->run);
		json_text(j, "name", t->name);
		json_text(j, "state", t->state);
		json_text(j, "node", t->node);
		json_text(j, "how", t->how);
		json_text(j, "reason", t->reason);
		put_numbers(j, numbers, countof(numbers));
		json_end(j, '}');
	}
	json_end(j, ']');
}

static void put_items(struct json *j, const struct top_model *m)
{
	json_begin(j, "items", '[');
	for (size_t i = 0; i < m->n_items; i++) {
		const struct top_item *t = &m->items[i];
		const struct number numbers[] = {
			{"size", t->size}, {"nodes", t->nodes}, {"tasks", t->tasks}, {"made_by", t->made_by}};
		json_begin(j, NULL, '{');
		json_text(j, "item", t->name);
		json_text(j, "run", t->run);
		json_text(j, "state", t->state);
		put_numbers(j, numbers, countof(numbers));
		json_end(j, '}');
	}
	json_end(j, ']');
}

static void put_transfers(struct json *j, const struct top_model *m)
{
	const struct number moved[] = {{"from_nodes", m->moved.nodes},
				       {"from_sources", m->moved.sources},
				       {"from_clients", m->moved.clients},
				       {"needed", m->moved.needed}};
	json_begin(j, "moved", '{');
	put_numbers(j, moved, countof(moved));
	json_end(j, '}');
	json_begin(j, "transfers", '[');
	for (size_t i = 0; i < m->n_transfers; i++) {
		const struct top_transfer *t = &m->transfers[i];
		const struct number numbers[] = {{"rate", t->rate}, {"done", t->done}, {"rest", t->rest}};
		json_begin(j, NULL, '{');
		json_text(j, "from", t->from);
		json_text(j, "to", t->to);
		json_text(j, "item", t->item);
		json_text(j, "origin", t->origin);
		put_numbers(j, numbers, countof(numbers));
		json_end(j, '}');
	}
	json_end(j, ']');
}

static void put_cache(struct json *j, const struct top_cache *c)
{
	const struct number numbers[] = {
		{"size", c->size}, {"quota", c->quota}, {"trees", c->trees}, {"damaged", c->damaged}};
	if (!c->is_there)
		return;
	json_begin(j, "cache", '{');
	json_text(j, "path", c->path);
	put_numbers(j, numbers, countof(numbers));
	json_bool(j, "sick", c->is_sick);
	json_end(j, '}');
}

void top_json(const struct top_model *m, FILE *to)
{
	struct json j = {0};
	json_begin(&j, NULL, '{');
	put_cluster(&j, m);
	put_reasons(&j, m);
	put_runs(&j, m);
	put_nodes(&j, m);
	put_tasks(&j, m);
	put_items(&j, m);
	put_transfers(&j, m);
	put_cache(&j, &m->cache);
	json_end(&j, '}');
	fputs(buf_text(&j.out), to);
	buf_fini(&j.out);
}
