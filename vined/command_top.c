/* SPDX-License-Identifier: Apache-2.0
 * Rows for `vine top`. What is asked for is a selector of words: how many rows at most, and what a list is sorted by and searched for. */
#include "vined/command_rows.h"
#include "vined/driver_data.h"
#include "vined/driver_top.h"

#include <stdio.h>

#define MOST_ASKED 500u

/* "MOST FIRST REST": the most rows, a word, and all behind it. */
struct wish {
	char first[32];
	const char *rest;
};

static int parse(struct rows *t, const char *selector, struct wish *w)
{
	char *end;
	unsigned long most = strtoul(selector, &end, 10);
	if (end == selector || (*end && *end != ' '))
		return -EINVAL;
	t->most = (uint32_t)min(most, (unsigned long)MOST_ASKED);
	end += *end == ' ';
	size_t n = strcspn(end, " ");
	if (n >= sizeof w->first)
		return -EINVAL;
	memcpy(w->first, end, n);
	w->first[n] = 0;
	w->rest = end + n + (end[n] == ' ');
	return 0;
}

/* ---- the cluster */

int rows_list_top(struct rows *t, const char *selector)
{
	struct command *m = t->command;
	struct driver_numbers n;
	struct driver_top more;
	(void)selector;
	driver_numbers(m->driver, &n);
	driver_top(m->driver, &more);
	rows_begin(t);
	rows_put(t, "%s", store_cluster(driver_store(m->driver)));
	rows_put(t, "%s", m->name);
	rows_put(t, "%s", PACKAGE_VERSION);
	rows_put(t, "%s", m->address);
	rows_put(t, "%s", m->state);
	const uint64_t numbers[] = {
		(loop_now_usec(m->loop) - m->started_usec) / 1000000,
		n.nodes,
		more.known_nodes,
		n.cores,
		n.cores_free,
		n.queued,
		n.running,
		n.held,
		n.ended,
		n.runs,
		*m->n_clients,
		more.submitted,
		more.over,
		more.is_settled,
		more.for_inputs,
		more.staging,
		more.fetches,
		more.items,
	};
	for (size_t i = 0; i < countof(numbers); i++)
		rows_put_number(t, numbers[i]);
	return 0;
}

/* ---- nodes */

static void put_node(void *arg, const struct driver_top_node *n)
{
	struct rows *t = arg;
	if (!rows_begin(t))
		return;
	rows_put(t, "%s", n->name);
	rows_put(t, "%s", n->state);
	rows_put(t, "%s", n->tier);
	rows_put(t, "%s", n->address);
	const uint64_t numbers[] = {n->cores_used, n->cores, n->memory_used, n->memory,  n->n_running,
				    n->task_limit, n->gpus,  n->cache_size,  n->n_trees, n->n_fetches};
	for (size_t i = 0; i < countof(numbers); i++)
		rows_put_number(t, numbers[i]);
}

int rows_list_top_nodes(struct rows *t, const char *selector)
{
	struct wish w;
	int r = parse(t, selector, &w);
	if (r)
		return r;
	size_t n = driver_top_nodes(t->command->driver, w.first, w.rest, t->most, put_node, t);
	t->is_cut = n > t->most;
	return 0;
}

/* ---- runs */

struct runs {
	struct rows *rows;
	struct buf told; /* struct told */
};

struct told {
	char name[256];
};

static void put_run(struct rows *t, const char *name, const struct driver_top_run *r)
{
	const uint64_t numbers[] = {r->unfinished, r->running, r->untaken, r->is_attached};
	rows_put(t, "%s", name);
	for (size_t i = 0; i < countof(numbers); i++)
		rows_put_number(t, numbers[i]);
}

static void on_live_run(void *arg, const struct driver_top_run *r)
{
	struct runs *to = arg;
	struct told told;
	if (!rows_begin(to->rows))
		return;
	put_run(to->rows, r->name, r);
	snprintf(told.name, sizeof told.name, "%s", r->name);
	buf_put(&to->told, &told, sizeof told);
}

static void on_stored_run(void *arg, const struct store_row *row)
{
	struct runs *to = arg;
	const struct told *told = (const void *)to->told.at;
	for (size_t i = 0; i < to->told.n / sizeof *told; i++) {
		if (streq(told[i].name, row->name))
			return;
	}
	if (rows_begin(to->rows))
		put_run(to->rows, row->name, &(struct driver_top_run){.is_attached = row->attempts});
}

/* Those with work first, then the newest of what is over. */
int rows_list_top_runs(struct rows *t, const char *selector)
{
	struct driver *d = t->command->driver;
	struct runs to = {.rows = t};
	struct wish w;
	int r = parse(t, selector, &w);
	if (r)
		return r;
	driver_top_runs(d, t->most, on_live_run, &to);
	r = store_list_runs(driver_store(d), 0, t->most, on_stored_run, &to);
	buf_fini(&to.told);
	return min(r, 0);
}

/* ---- tasks */

static void on_task(void *arg, const struct store_row *row)
{
	static const char *const states[] = {"queued", "running", "held", "ended", "delivered"};
	static const char *const hows[] = {"", "exit", "signal", "not started", "lost", "cancelled", "", "no output"};
	struct rows *t = arg;
	struct driver_why why;
	uint32_t cores;
	uint64_t memory;
	bool is_waiting = row->state == STORE_QUEUED || row->state == STORE_HELD;
	if (!rows_begin(t))
		return;
	driver_why(t->command->driver, row->id, &why);
	driver_top_given(t->command->driver, row->id, &cores, &memory);
	rows_put_number(t, row->id);
	rows_put(t, "%s", row->name);
	rows_put(t, "%s", row->word);
	rows_put(t, "%s", (size_t)row->state < countof(states) ? states[row->state] : "unknown");
	rows_put(t, "%s", *row->node ? row->node : why.node);
	rows_put(t, "%s", is_waiting ? why.text : row->reason);
	rows_put(t, "%s", row->how < countof(hows) ? hows[row->how] : "unknown");
	const uint64_t numbers[] = {row->attempts,  row->status, (uint64_t)row->started_usec,
				    row->wall_usec, cores,       memory};
	for (size_t i = 0; i < countof(numbers); i++)
		rows_put_number(t, numbers[i]);
}

static void add_id(void *arg, uint64_t id)
{
	buf_put(arg, &id, sizeof id);
}

static int find_tasks(struct rows *t, const struct wish *w, struct buf *ids)
{
	struct driver *d = t->command->driver;
	size_t n_unfinished, n_ended;
	if (streq(w->first, "node"))
		return driver_top_on_node(d, w->rest, t->most + 1, add_id, ids);
	uint64_t run = *w->rest ? driver_find_run(d, w->rest, &n_unfinished, &n_ended) : 0;
	if (*w->rest && !run)
		return -ENOENT;
	if (streq(w->first, "failed"))
		return store_list_ended(driver_store(d), run, STORE_END_FAILED, t->most + 1, add_id, ids);
	bool is_running = streq(w->first, "running");
	if (!is_running && !streq(w->first, "waiting"))
		return -EINVAL;
	driver_list(d, run, is_running ? DRIVER_RUNNING : DRIVER_WAITING | DRIVER_HELD, t->most + 1, add_id, ids);
	return 0;
}

/* running, waiting or failed, of a RUN or all; or `node` NAME: what runs there. */
int rows_list_top_tasks(struct rows *t, const char *selector)
{
	struct buf ids = {0};
	struct wish w;
	int r = parse(t, selector, &w);
	if (!r)
		r = find_tasks(t, &w, &ids);
	const uint64_t *at = (const uint64_t *)(const void *)ids.at;
	for (size_t i = 0; r >= 0 && !t->is_cut && i < ids.n / sizeof *at; i++)
		r = store_list_tasks(driver_store(t->command->driver), at[i], 0, 1, on_task, t);
	buf_fini(&ids);
	return min(r, 0);
}

/* ---- items */

static void put_item(void *arg, size_t at)
{
	struct rows *t = arg;
	struct driver_item i;
	if (!driver_next_item(t->command->driver, &at, &i) || !rows_begin(t))
		return;
	rows_put(t, "%s", i.name);
	rows_put(t, "%s", i.run);
	rows_put(t, "%s", i.state);
	const uint64_t numbers[] = {i.size, i.n_replicas, i.n_tasks, i.producer};
	for (size_t k = 0; k < countof(numbers); k++)
		rows_put_number(t, numbers[k]);
}

int rows_list_top_items(struct rows *t, const char *selector)
{
	struct wish w;
	int r = parse(t, selector, &w);
	if (!r)
		driver_top_items(t->command->driver, streq(w.first, "name"), w.rest, t->most, put_item, t);
	return r;
}

static void put_holder(void *arg, const struct driver_replica *r)
{
	struct rows *t = arg;
	if (!rows_begin(t))
		return;
	rows_put(t, "%s", r->node);
	rows_put_number(t, r->size);
	rows_put_number(t, r->total);
}

struct search {
	struct rows *rows;
	const char *name;
};

static void note_item(void *arg, size_t at)
{
	struct search *s = arg;
	struct driver *d = s->rows->command->driver;
	struct driver_item i;
	if (driver_next_item(d, &at, &i) && streq(i.name, s->name))
		driver_item_replicas(d, i.id, put_holder, s->rows);
}

/* Nodes that hold an item of that name, or a part of it. */
int rows_list_top_holders(struct rows *t, const char *selector)
{
	struct wish w;
	int r = parse(t, selector, &w);
	if (!r)
		driver_top_items(t->command->driver, false, w.rest, t->most, note_item, &(struct search){t, w.rest});
	return r;
}
