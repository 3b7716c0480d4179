/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/command.h"

#include "vined/driver_data.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define ROWS_MOST 10000u
#define CELLS_SIZE_MOST ((size_t)4 << 20)

/* Cells one after the other, each ended by NUL. */
struct table {
	struct command *command;
	struct buf cells;
	uint32_t n_cells, n_rows, most;
	bool is_cut;
};

static void put(struct table *t, const char *fmt, ...) _printf_(2, 3);
static void put(struct table *t, const char *fmt, ...)
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

static void put_number(struct table *t, uint64_t n)
{
	put(t, "%llu", (unsigned long long)n);
}

/* False if there are enough rows. */
/* A question must not cost more than an answer that fits a message. */
static bool begin_row(struct table *t)
{
	if (t->n_rows >= t->most || t->cells.n > CELLS_SIZE_MOST) {
		t->is_cut = true;
		return false;
	}
	t->n_rows++;
	return true;
}

static void put_time(struct table *t, int64_t usec)
{
	time_t sec = usec / 1000000;
	struct tm tm;
	char text[40];
	gmtime_r(&sec, &tm);
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	put(t, "%s", text);
}

/* ---- cluster */

#define CLUSTER_COLUMNS                                                                                            \
	"cluster", "name", "version", "boot", "pid", "address", "socket", "state", "uptime_sec", "nodes", "cores", \
		"cores_free", "queued", "running", "held", "ended", "runs", "clients"

static int list_cluster(struct table *t, const char *selector)
{
	struct command *m = t->command;
	struct driver_numbers n;
	(void)selector;
	driver_numbers(m->driver, &n);
	begin_row(t);
	put(t, "%s", store_cluster(driver_store(m->driver)));
	put(t, "%s", m->name);
	put(t, "%s", PACKAGE_VERSION);
	put_number(t, store_boot(driver_store(m->driver)));
	put_number(t, (uint64_t)getpid());
	put(t, "%s", m->address);
	put(t, "%s", m->socket);
	put(t, "%s", m->state);
	put_number(t, (loop_now_usec(m->loop) - m->started_usec) / 1000000);
	const uint64_t numbers[] = {n.nodes, n.cores, n.cores_free, n.queued,     n.running,
				    n.held,  n.ended, n.runs,       *m->n_clients};
	for (size_t i = 0; i < countof(numbers); i++)
		put_number(t, numbers[i]);
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
static void list_some_nodes(struct table *t, const char *selector, bool is_connected)
{
	struct driver_node n;
	size_t i = 0;
	char state[160];
	while (driver_next_node(t->command->driver, &i, &n)) {
		bool is_meant = !*selector || streq(selector, n.name) || streq(selector, n.uuid);
		if (!is_meant || n.is_connected != is_connected)
			continue;
		if (!begin_row(t))
			break;
		put(t, "%s", n.name);
		put(t, "%s", n.uuid);
		put(t, "%s", state_of(&n, state));
		put(t, "%s", n.address);
		put(t, "%s", n.tier);
		put_number(t, n.cores);
		put_number(t, n.memory);
		put_number(t, n.task_limit);
		put_number(t, n.n_running);
		put(t, "%s", n.kernel);
		put_number(t, n.gpus);
		put_number(t, n.disk);
		put_number(t, n.n_replicas);
	}
}

static int list_nodes(struct table *t, const char *selector)
{
	list_some_nodes(t, selector, true);
	list_some_nodes(t, selector, false);
	return 0;
}

/* ---- tasks */

#define TASK_COLUMNS "task", "run", "tag", "state", "node", "attempts", "how", "status", "reason", "submitted"

static void on_task(void *arg, const struct store_row *row)
{
	static const char *const states[] = {"queued", "running", "held", "ended", "delivered"};
	static const char *const hows[] = {"", "exited", "killed", "not started", "lost", "cancelled"};
	struct table *t = arg;
	struct driver_why why;
	if (!begin_row(t))
		return;
	put_number(t, row->id);
	put(t, "%s", row->name);
	put(t, "%s", row->tag);
	put(t, "%s", (size_t)row->state < countof(states) ? states[row->state] : "unknown");
	driver_why(t->command->driver, row->id, &why);
	put(t, "%s", *row->node ? row->node : why.node);
	put_number(t, row->attempts);
	put(t, "%s", row->how < countof(hows) ? hows[row->how] : "unknown");
	put_number(t, row->status);
	bool is_waiting = row->state == STORE_QUEUED || row->state == STORE_HELD;
	put(t, "%s", is_waiting ? why.text : row->reason);
	put_time(t, row->at_usec);
}

static int list_tasks(struct table *t, const char *selector)
{
	struct driver *d = t->command->driver;
	uint64_t task = 0, run = 0;
	size_t n_unfinished, n_ended;
	if (*selector && strspn(selector, "0123456789") == strlen(selector))
		task = strtoull(selector, NULL, 10);
	else if (*selector)
		run = driver_find_run(d, selector, &n_unfinished, &n_ended);
	if (*selector && !task && !run)
		return -ENOENT;
	/* One more than wanted tells whether there are more. */
	int r = store_list_tasks(driver_store(d), task, run, t->most + 1, on_task, t);
	return r == 0 && task ? -ENOENT : min(r, 0);
}

/* ---- runs */

#define RUN_COLUMNS "run", "kind", "unfinished", "unacknowledged", "created"

static void on_run(void *arg, const struct store_row *row)
{
	struct table *t = arg;
	size_t n_unfinished, n_ended;
	if (!begin_row(t))
		return;
	driver_find_run(t->command->driver, row->name, &n_unfinished, &n_ended);
	put(t, "%s", row->name);
	put(t, "%s", row->attempts ? "attached" : "detached");
	put_number(t, n_unfinished);
	put_number(t, n_ended);
	put_time(t, row->at_usec);
}

static int list_runs(struct table *t, const char *selector)
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

static int list_items(struct table *t, const char *selector)
{
	struct driver_item item;
	for (size_t i = 0; driver_next_item(t->command->driver, &i, &item);) {
		if (!is_meant(&item, selector))
			continue;
		if (!begin_row(t))
			break;
		put(t, "%s", item.name);
		put(t, "%s", item.run);
		put(t, "%s", item.state);
		put_number(t, item.size);
		put(t, "%s", item.tree);
		put_number(t, item.producer);
		put_number(t, item.n_replicas);
		put_number(t, item.n_tasks);
	}
	return 0;
}

#define REPLICA_COLUMNS "item", "run", "node", "size", "total"

struct of_item {
	struct table *table;
	const struct driver_item *item;
};

static void on_replica(void *arg, const struct driver_replica *r)
{
	const struct of_item *of = arg;
	struct table *t = of->table;
	if (!begin_row(t))
		return;
	put(t, "%s", of->item->name);
	put(t, "%s", of->item->run);
	put(t, "%s", r->node);
	put_number(t, r->size);
	put_number(t, r->total);
}

static int list_replicas(struct table *t, const char *selector)
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

static int list_categories(struct table *t, const char *selector)
{
	struct driver_category g;
	for (size_t i = 0; driver_next_category(t->command->driver, &i, &g);) {
		if (*selector && !streq(selector, g.name) && !streq(selector, g.run))
			continue;
		if (!begin_row(t))
			break;
		put(t, "%s", g.name);
		put(t, "%s", g.run);
		put_number(t, g.running);
		put_number(t, g.memory);
		put_number(t, g.disk);
		put(t, "%s", g.learns ? "yes" : "no");
	}
	return 0;
}

/* ---- why */

#define WHY_COLUMNS "task", "state", "reason", "item", "made_by", "node"

static int list_why(struct table *t, const char *selector)
{
	struct driver_why why;
	if (!*selector || strspn(selector, "0123456789") != strlen(selector))
		return -EINVAL;
	uint64_t task = strtoull(selector, NULL, 10);
	int r = driver_why(t->command->driver, task, &why);
	if (r)
		return r;
	begin_row(t);
	put_number(t, task);
	put(t, "%s", why.state);
	put(t, "%s", why.text);
	put(t, "%s", why.item);
	put_number(t, why.producer);
	put(t, "%s", why.node);
	return 0;
}

/* ---- the table */

static const char *const cluster_columns[] = {CLUSTER_COLUMNS};
static const char *const node_columns[] = {NODE_COLUMNS};
static const char *const task_columns[] = {TASK_COLUMNS};
static const char *const run_columns[] = {RUN_COLUMNS};
static const char *const item_columns[] = {ITEM_COLUMNS};
static const char *const replica_columns[] = {REPLICA_COLUMNS};
static const char *const category_columns[] = {CATEGORY_COLUMNS};
static const char *const why_columns[] = {WHY_COLUMNS};

static const struct question {
	const char *what;
	int (*list)(struct table *t, const char *selector);
	const char *const *columns;
	uint32_t n_columns;
} questions[] = {
	{"cluster", list_cluster, cluster_columns, countof(cluster_columns)},
	{"nodes", list_nodes, node_columns, countof(node_columns)},
	{"tasks", list_tasks, task_columns, countof(task_columns)},
	{"runs", list_runs, run_columns, countof(run_columns)},
	{"items", list_items, item_columns, countof(item_columns)},
	{"replicas", list_replicas, replica_columns, countof(replica_columns)},
	{"categories", list_categories, category_columns, countof(category_columns)},
	{"why", list_why, why_columns, countof(why_columns)},
};

static void answer(struct table *t, const struct question *q, struct conn *c, uint64_t id)
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

static const char *fault_text(int error)
{
	return error == -ENOENT   ? "there is none"
	       : error == -EINVAL ? "give a task's number, like 17"
				  : strerror(-error);
}

void command_query(struct command *m, struct conn *c, uint64_t id, const struct wire_query *w)
{
	struct table t = {.command = m, .most = w->most && w->most < ROWS_MOST ? w->most : ROWS_MOST};
	const struct question *q = NULL;
	for (size_t i = 0; i < countof(questions) && !q; i++) {
		if (streq(questions[i].what, w->what))
			q = &questions[i];
	}
	if (!q) {
		conn_reply_status(c, id, EINVAL,
				  "nothing is known about '%.64s': cluster, nodes, tasks, runs, "
				  "items, replicas, categories or why",
				  w->what);
		return;
	}
	int r = q->list(&t, w->selector);
	if (r < 0)
		conn_reply_status(c, id, -r, "%s '%.128s': %s", q->what, w->selector, fault_text(r));
	else
		answer(&t, q, c, id);
	buf_fini(&t.cells);
}
