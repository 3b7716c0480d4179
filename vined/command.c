/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/command_rows.h"

#include "vined/driver_data.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define ROWS_MOST 10000u
#define CELLS_SIZE_MOST ((size_t)4 << 20)

void rows_put(struct rows *t, const char *fmt, ...)
{
	char text[1200];
	va_list args;
	va_start(args, fmt);
	int n = vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	assert(n >= 0);
	buf_put(&t->cells, text, strlen(text) + 1);
	t->n_cells++;
}

void rows_put_number(struct rows *t, uint64_t n)
{
	rows_put(t, "%llu", (unsigned long long)n);
}

/* A question must not cost more than an answer that fits a message. */
bool rows_begin(struct rows *t)
{
	if (t->n_rows >= t->most || t->cells.n > CELLS_SIZE_MOST) {
		t->is_cut = true;
		return false;
	}
	t->n_rows++;
	return true;
}

void rows_put_time(struct rows *t, int64_t usec)
{
	time_t sec = usec / 1000000;
	struct tm tm;
	char text[40];
	gmtime_r(&sec, &tm);
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	rows_put(t, "%s", usec ? text : "");
}

/* ---- cluster */

#define CLUSTER_COLUMNS                                                                                            \
	"cluster", "name", "version", "boot", "pid", "address", "socket", "state", "uptime_sec", "nodes", "cores", \
		"cores_free", "queued", "running", "held", "ended", "runs", "clients"

static int list_cluster(struct rows *t, const char *selector)
{
	struct command *m = t->command;
	struct driver_numbers n;
	(void)selector;
	driver_numbers(m->driver, &n);
	rows_begin(t);
	rows_put(t, "%s", store_cluster(driver_store(m->driver)));
	rows_put(t, "%s", m->name);
	rows_put(t, "%s", PACKAGE_VERSION);
	rows_put_number(t, store_boot(driver_store(m->driver)));
	rows_put_number(t, (uint64_t)getpid());
	rows_put(t, "%s", m->address);
	rows_put(t, "%s", m->socket);
	rows_put(t, "%s", m->state);
	rows_put_number(t, (loop_now_usec(m->loop) - m->started_usec) / 1000000);
	const uint64_t numbers[] = {n.nodes, n.cores, n.cores_free, n.queued,     n.running,
				    n.held,  n.ended, n.runs,       *m->n_clients};
	for (size_t i = 0; i < countof(numbers); i++)
		rows_put_number(t, numbers[i]);
	return 0;
}

/* ---- nodes */

#define NODE_COLUMNS                                                                                              \
	"name", "node", "state", "address", "tier", "cores", "memory", "task_limit", "running", "kernel", "gpus", \
		"disk", "trees"

static const char *state_of(const struct driver_node *n, char text[160])
{
	if (n->resting) {
		snprintf(text, 160, "resting: %s", n->resting);
		return text;
	}
	if (n->is_connected && n->health)
		return n->health;
	return n->is_connected ? "connected" : n->n_running ? "waited for" : "away";
}

/* Those that are there come first: a cluster may have known many that will not come back. */
static void list_some_nodes(struct rows *t, const char *selector, bool is_connected)
{
	struct driver_node n;
	size_t i = 0;
	char state[160];
	while (driver_next_node(t->command->driver, &i, &n)) {
		bool is_meant = !*selector || streq(selector, n.name) || streq(selector, n.uuid);
		if (!is_meant || n.is_connected != is_connected)
			continue;
		if (!rows_begin(t))
			break;
		rows_put(t, "%s", n.name);
		rows_put(t, "%s", n.uuid);
		rows_put(t, "%s", state_of(&n, state));
		rows_put(t, "%s", n.address);
		rows_put(t, "%s", n.tier);
		rows_put_number(t, n.cores);
		rows_put_number(t, n.memory);
		rows_put_number(t, n.task_limit);
		rows_put_number(t, n.n_running);
		rows_put(t, "%s", n.kernel);
		rows_put_number(t, n.gpus);
		rows_put_number(t, n.disk);
		rows_put_number(t, n.n_replicas);
	}
}

static int list_nodes(struct rows *t, const char *selector)
{
	list_some_nodes(t, selector, true);
	list_some_nodes(t, selector, false);
	return 0;
}

/* ---- runs */

#define RUN_COLUMNS "run", "kind", "unfinished", "unacknowledged", "created", "lifetime"

static void on_run(void *arg, const struct store_row *row)
{
	struct rows *t = arg;
	size_t n_unfinished, n_ended;
	if (!rows_begin(t))
		return;
	driver_find_run(t->command->driver, row->name, &n_unfinished, &n_ended);
	rows_put(t, "%s", row->name);
	rows_put(t, "%s", row->attempts ? "attached" : "detached");
	rows_put_number(t, n_unfinished);
	rows_put_number(t, n_ended);
	rows_put_time(t, row->at_usec);
	rows_put(t, "%s", driver_run_lifetime(t->command->driver, row->name));
}

static int list_runs(struct rows *t, const char *selector)
{
	struct driver *d = t->command->driver;
	size_t n_unfinished, n_ended;
	uint64_t run = *selector ? driver_find_run(d, selector, &n_unfinished, &n_ended) : 0;
	if (*selector && !run)
		return -ENOENT;
	return min(store_list_runs(driver_store(d), run, t->most + 1, on_run, t), 0);
}

/* ---- items and who has them */

#define ITEM_COLUMNS "item", "run", "state", "size", "tree", "made_by", "nodes", "tasks"

/* Of a run, of one name, or all. */
static bool is_meant(const struct driver_item *i, const char *selector)
{
	return !*selector || streq(selector, i->run) || streq(selector, i->name);
}

static void put_item(struct rows *t, const struct driver_item *item)
{
	if (!rows_begin(t))
		return;
	rows_put(t, "%s", item->name);
	rows_put(t, "%s", item->run);
	rows_put(t, "%s", item->state);
	rows_put_number(t, item->size);
	rows_put(t, "%s", item->tree);
	rows_put_number(t, item->producer);
	rows_put_number(t, item->n_replicas);
	rows_put_number(t, item->n_tasks);
}

/* Who fetches what his tasks made asks so for each. */
static int list_items(struct rows *t, const char *selector)
{
	struct driver *d = t->command->driver;
	struct driver_item item;
	if (has_prefix(selector, "temp:")) {
		for (size_t i = 0; driver_next_made(d, &i, selector, &item);)
			put_item(t, &item);
		return 0;
	}
	for (size_t i = 0; !t->is_cut && driver_next_item(d, &i, &item);)
		if (is_meant(&item, selector))
			put_item(t, &item);
	return 0;
}

#define REPLICA_COLUMNS "item", "run", "node", "size", "total"

struct of_item {
	struct rows *rows;
	const struct driver_item *item;
};

static void on_replica(void *arg, const struct driver_replica *r)
{
	const struct of_item *of = arg;
	struct rows *t = of->rows;
	if (!rows_begin(t))
		return;
	rows_put(t, "%s", of->item->name);
	rows_put(t, "%s", of->item->run);
	rows_put(t, "%s", r->node);
	rows_put_number(t, r->size);
	rows_put_number(t, r->total);
}

static int list_replicas(struct rows *t, const char *selector)
{
	struct driver *d = t->command->driver;
	struct driver_item item;
	for (size_t i = 0; !t->is_cut && driver_next_item(d, &i, &item);) {
		if (is_meant(&item, selector))
			driver_item_replicas(d, item.id, on_replica, &(struct of_item){t, &item});
	}
	return 0;
}

/* ---- categories */

#define CATEGORY_COLUMNS "category", "run", "running", "memory", "disk", "learn"

static int list_categories(struct rows *t, const char *selector)
{
	struct driver_category g;
	for (size_t i = 0; driver_next_category(t->command->driver, &i, &g);) {
		if (*selector && !streq(selector, g.name) && !streq(selector, g.run))
			continue;
		if (!rows_begin(t))
			break;
		rows_put(t, "%s", g.name);
		rows_put(t, "%s", g.run);
		rows_put_number(t, g.running);
		rows_put_number(t, g.memory);
		rows_put_number(t, g.disk);
		rows_put(t, "%s", g.learns ? "yes" : "no");
	}
	return 0;
}

/* ---- the table */

#define NAMES(...) ((const char *const[]){__VA_ARGS__})
#define QUESTION(what, list, names)                             \
	{                                                       \
		what, list, NAMES(names), countof(NAMES(names)) \
	}
static const struct question {
	const char *what;
	int (*list)(struct rows *t, const char *selector);
	const char *const *columns;
	uint32_t n_columns;
} questions[] = {
	QUESTION("cluster", list_cluster, CLUSTER_COLUMNS),
	QUESTION("nodes", list_nodes, NODE_COLUMNS),
	QUESTION("tasks", rows_list_tasks, TASK_COLUMNS),
	QUESTION("counts", rows_list_counts, COUNT_COLUMNS),
	QUESTION("waiting", rows_list_waiting, WAITING_COLUMNS),
	QUESTION("runs", list_runs, RUN_COLUMNS),
	QUESTION("items", list_items, ITEM_COLUMNS),
	QUESTION("replicas", list_replicas, REPLICA_COLUMNS),
	QUESTION("categories", list_categories, CATEGORY_COLUMNS),
	QUESTION("events", rows_list_events, EVENT_COLUMNS),
	QUESTION("where", rows_list_where, WHERE_COLUMNS),
	QUESTION("why", rows_list_why, WHY_COLUMNS),
	QUESTION("top", rows_list_top, TOP_COLUMNS),
	QUESTION("top-nodes", rows_list_top_nodes, TOP_NODE_COLUMNS),
	QUESTION("top-runs", rows_list_top_runs, TOP_RUN_COLUMNS),
	QUESTION("top-tasks", rows_list_top_tasks, TOP_TASK_COLUMNS),
	QUESTION("top-items", rows_list_top_items, TOP_ITEM_COLUMNS),
	QUESTION("top-holders", rows_list_top_holders, TOP_HOLDER_COLUMNS),
	QUESTION("transfers", rows_list_transfers, TRANSFER_COLUMNS),
	QUESTION("bytes", rows_list_bytes, BYTES_COLUMNS),
	QUESTION("moved", rows_list_moved, MOVED_COLUMNS),
	QUESTION("report-tasks", rows_report_tasks, REPORT_TASK_COLUMNS),
	QUESTION("report-inputs", rows_report_inputs, REPORT_INPUT_COLUMNS),
	QUESTION("settings", rows_report_settings, SETTING_COLUMNS),
	QUESTION("path", rows_list_path, PATH_COLUMNS),
	QUESTION("staged", rows_list_staged, STAGED_COLUMNS),
};

static void answer(struct rows *t, const struct question *q, struct conn *c, uint64_t id)
{
	_free_ const char **cells = xcalloc(t->n_cells, sizeof *cells);
	const char *at = (const char *)t->cells.at;
	for (uint32_t i = 0; i < t->n_cells; i++) {
		cells[i] = at;
		at += strlen(at) + 1;
	}
	assert(t->n_cells == t->n_rows * q->n_columns);
	conn_reply(c, id, WIRE_ROWS,
		   &(struct wire_rows){
			   .columns = {q->columns, q->n_columns}, .cells = {cells, t->n_cells}, .is_cut = t->is_cut});
}

static const char *fault_text(const struct question *q, int error)
{
	if (error != -EINVAL)
		return error == -ENOENT ? "there is none" : strerror(-error);
	if (q->list == rows_list_where)
		return "give lines of cores, memory, disk, gpus, feature and item";
	if (q->list == rows_list_why)
		return "give a task's number, like 17";
	if (q->list == rows_list_path)
		return "give an absolute path";
	return "give a task like 17, RUN, RUN/17 or RUN/1-9, or RUN@failed, @running, @waiting, @done, @cancelled, or "
	       "tag:WORD";
}

/* With all there are. */
static void refuse_unknown(struct conn *c, uint64_t id, const char *what)
{
	_cleanup_(buf_fini) struct buf all = {0};
	for (size_t i = 0; i < countof(questions); i++)
		buf_printf(&all, "%s%s", !i ? "" : i + 1 < countof(questions) ? ", " : " or ", questions[i].what);
	conn_reply_status(c, id, EINVAL, "nothing is known about '%.64s': %s", what, buf_text(&all));
}

void command_query(struct command *m, struct conn *c, uint64_t id, const struct wire_query *w)
{
	struct rows t = {.command = m, .most = w->most && w->most < ROWS_MOST ? w->most : ROWS_MOST};
	const struct question *q = NULL;
	for (size_t i = 0; i < countof(questions) && !q; i++) {
		if (streq(questions[i].what, w->what))
			q = &questions[i];
	}
	if (!q) {
		refuse_unknown(c, id, w->what);
		return;
	}
	int r = q->list(&t, w->selector);
	if (r < 0)
		conn_reply_status(c, id, -r, "%s '%.128s': %s", q->what, w->selector, fault_text(q, r));
	else
		answer(&t, q, c, id);
	buf_fini(&t.cells);
}
