/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/top_view.h"

#include <inttypes.h>

#define METER_CELLS 12u
#define NAME_CELLS 32u

struct context {
	const struct top_model *m;
	uint64_t wall_usec;
	bool is_ascii;
};

/* What a row shows in a column, and how. */
typedef enum top_style put_fn(const struct context *c, size_t row, char to[TOP_TEXT]);

struct column {
	const char *title;
	unsigned width; /* 0: it shares what is left */
	unsigned from;  /* the least width of a screen that has it */
	bool is_right;
	put_fn *put;
};

static enum top_style put_text(char to[TOP_TEXT], const char *text)
{
	snprintf(to, TOP_TEXT, "%s", text);
	return TOP_PLAIN;
}

/* What is 0 needs no attention. */
static enum top_style put_number(char to[TOP_TEXT], uint64_t n, enum top_style style)
{
	char text[32];
	snprintf(to, TOP_TEXT, "%s", n ? top_number(text, n) : "-");
	return n ? style : TOP_DIM;
}

static enum top_style put_size(char to[TOP_TEXT], uint64_t size)
{
	char text[32];
	print_size(text, size);
	snprintf(to, TOP_TEXT, "%s", size ? text : "-");
	return size ? TOP_PLAIN : TOP_DIM;
}

static enum top_style put_part(char to[TOP_TEXT], uint64_t n, uint64_t all)
{
	char a[32], b[32];
	snprintf(to, TOP_TEXT, "%s/%s", top_number(a, n), top_number(b, all));
	return TOP_PLAIN;
}

/* ---- runs */

static enum top_style run_name(const struct context *c, size_t row, char to[TOP_TEXT])
{
	const struct top_run *r = &c->m->runs[row];
	put_text(to, r->name);
	return r->running ? TOP_BOLD : r->unfinished ? TOP_PLAIN : TOP_DIM;
}

static enum top_style run_meter(const struct context *c, size_t row, char to[TOP_TEXT])
{
	const struct top_run *r = &c->m->runs[row];
	char meter[64];
	uint64_t all = top_run_tasks(r), over = top_run_over(r);
	snprintf(to, TOP_TEXT, "%s %3u%%", top_meter(meter, over, all, METER_CELLS, c->is_ascii),
		 (unsigned)(all ? (double)over * 100 / (double)all : 0));
	return !all ? TOP_DIM : r->counts.failed ? TOP_BAD : r->unfinished ? TOP_BUSY : TOP_GOOD;
}

static enum top_style run_tasks(const struct context *c, size_t row, char to[TOP_TEXT])
{
	const struct top_run *r = &c->m->runs[row];
	if (!r->has_counts)
		return put_text(to, "?");
	return put_part(to, top_run_over(r), top_run_tasks(r));
}

static enum top_style run_running(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_number(to, c->m->runs[row].running, TOP_BUSY);
}

static enum top_style run_waiting(const struct context *c, size_t row, char to[TOP_TEXT])
{
	const struct top_run *r = &c->m->runs[row];
	return put_number(to, r->unfinished - min(r->running, r->unfinished), TOP_PLAIN);
}

static enum top_style run_failed(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_number(to, c->m->runs[row].counts.failed, TOP_BAD);
}

static enum top_style run_rest(const struct context *c, size_t row, char to[TOP_TEXT])
{
	const struct top_run *r = &c->m->runs[row];
	uint64_t sec = top_rest_sec(r);
	char text[32];
	if (!r->unfinished) {
		put_text(to, "over");
		return TOP_DIM;
	}
	return put_text(to, sec ? top_span(text, sec) : "?");
}

static enum top_style run_rate(const struct context *c, size_t row, char to[TOP_TEXT])
{
	const struct top_run *r = &c->m->runs[row];
	char text[32];
	return put_text(to, r->unfinished && r->rate > 0 ? top_rate(text, r->rate) : "-");
}

/* ---- nodes */

static enum top_style node_name(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_text(to, c->m->nodes[row].name);
}

static enum top_style node_state(const struct context *c, size_t row, char to[TOP_TEXT])
{
	const char *state = c->m->nodes[row].state;
	put_text(to, state);
	return streq(state, "connected") ? TOP_GOOD : streq(state, "away") ? TOP_DIM : TOP_WARN;
}

static enum top_style node_meter(const struct context *c, size_t row, char to[TOP_TEXT])
{
	const struct top_node *n = &c->m->nodes[row];
	char meter[64];
	put_text(to, top_meter(meter, n->cores_used, n->cores, METER_CELLS, c->is_ascii));
	return n->cores_used ? TOP_BUSY : TOP_DIM;
}

static enum top_style node_cores(const struct context *c, size_t row, char to[TOP_TEXT])
{
	const struct top_node *n = &c->m->nodes[row];
	return put_part(to, n->cores_used, n->cores);
}

static enum top_style node_memory(const struct context *c, size_t row, char to[TOP_TEXT])
{
	const struct top_node *n = &c->m->nodes[row];
	char used[32], all[32];
	if (!n->memory)
		return put_number(to, 0, TOP_DIM);
	print_size(used, n->memory_used);
	print_size(all, n->memory);
	snprintf(to, TOP_TEXT, "%s of %s", n->memory_used ? used : "0", all);
	return TOP_PLAIN;
}

static enum top_style node_running(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_number(to, c->m->nodes[row].running, TOP_PLAIN);
}

static enum top_style node_cache(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_size(to, c->m->nodes[row].cache);
}

static enum top_style node_trees(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_number(to, c->m->nodes[row].trees, TOP_PLAIN);
}

static enum top_style node_fetches(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_number(to, c->m->nodes[row].fetches, TOP_BUSY);
}

static enum top_style node_tier(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_text(to, c->m->nodes[row].tier);
}

static enum top_style node_address(const struct context *c, size_t row, char to[TOP_TEXT])
{
	put_text(to, c->m->nodes[row].address);
	return TOP_DIM;
}

/* ---- tasks */

static enum top_style task_label(const struct context *c, size_t row, char to[TOP_TEXT])
{
	top_task_label(&c->m->tasks[row], to);
	return TOP_PLAIN;
}

static enum top_style task_number(const struct context *c, size_t row, char to[TOP_TEXT])
{
	snprintf(to, TOP_TEXT, "%" PRIu64, c->m->tasks[row].id);
	return TOP_DIM;
}

static enum top_style task_state(const struct context *c, size_t row, char to[TOP_TEXT])
{
	const char *state = top_task_state(&c->m->tasks[row]);
	put_text(to, state);
	return streq(state, "done")      ? TOP_GOOD
	       : streq(state, "running") ? TOP_BUSY
	       : streq(state, "failed")  ? TOP_BAD
					 : TOP_WARN;
}

static enum top_style task_node(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_text(to, c->m->tasks[row].node);
}

static enum top_style task_time(const struct context *c, size_t row, char to[TOP_TEXT])
{
	const struct top_task *t = &c->m->tasks[row];
	char text[32] = "";
	if (streq(t->state, "running") && t->started_usec)
		top_span(text, (c->wall_usec - min(t->started_usec, c->wall_usec)) / 1000000);
	else if (top_is_over(t))
		print_usec(text, t->wall_usec);
	return put_text(to, text);
}

static enum top_style task_cores(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_number(to, c->m->tasks[row].cores, TOP_PLAIN);
}

static enum top_style task_memory(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_size(to, c->m->tasks[row].memory);
}

static enum top_style task_about(const struct context *c, size_t row, char to[TOP_TEXT])
{
	const struct top_task *t = &c->m->tasks[row];
	bool has_status = streq(t->how, "exit") || streq(t->how, "signal");
	if (top_is_over(t) && has_status && !*t->reason)
		snprintf(to, TOP_TEXT, "%s %" PRIu64, t->how, t->status);
	else if (top_is_over(t))
		put_text(to, *t->reason ? t->reason : t->how);
	else if (streq(t->state, "running") && t->attempts > 1)
		snprintf(to, TOP_TEXT, "attempt %" PRIu64, t->attempts);
	else
		put_text(to, t->reason);
	return TOP_DIM;
}

/* ---- items */

static enum top_style item_name(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_text(to, c->m->items[row].name);
}

static enum top_style item_run(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_text(to, c->m->items[row].run);
}

static enum top_style item_state(const struct context *c, size_t row, char to[TOP_TEXT])
{
	const char *state = c->m->items[row].state;
	put_text(to, state);
	return streq(state, "there") ? TOP_GOOD : streq(state, "expected") ? TOP_WARN : TOP_BAD;
}

static enum top_style item_size(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_size(to, c->m->items[row].size);
}

static enum top_style item_nodes(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_number(to, c->m->items[row].nodes, TOP_PLAIN);
}

static enum top_style item_tasks(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_number(to, c->m->items[row].tasks, TOP_PLAIN);
}

/* ---- transfers */

static enum top_style transfer_item(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_text(to, c->m->transfers[row].item);
}

static enum top_style transfer_from(const struct context *c, size_t row, char to[TOP_TEXT])
{
	const struct top_transfer *t = &c->m->transfers[row];
	put_text(to, t->from);
	return streq(t->origin, "source") ? TOP_WARN : TOP_PLAIN;
}

static enum top_style transfer_to(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_text(to, c->m->transfers[row].to);
}

static enum top_style transfer_rate(const struct context *c, size_t row, char to[TOP_TEXT])
{
	char text[32];
	uint64_t rate = c->m->transfers[row].rate;
	print_size(text, rate);
	snprintf(to, TOP_TEXT, rate ? "%s/s" : "-", text);
	return rate ? TOP_BUSY : TOP_DIM;
}

static enum top_style transfer_done(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_size(to, c->m->transfers[row].done);
}

static enum top_style transfer_rest(const struct context *c, size_t row, char to[TOP_TEXT])
{
	return put_size(to, c->m->transfers[row].rest);
}

static enum top_style transfer_left(const struct context *c, size_t row, char to[TOP_TEXT])
{
	char text[32];
	uint64_t sec = top_transfer_sec(c->m, &c->m->transfers[row]);
	return put_text(to, sec ? top_span(text, sec) : "-");
}

/* ---- the tables */

static const struct column run_columns[] = {
	{"run", 0, 0, false, run_name},        {"progress", METER_CELLS + 5, 70, false, run_meter},
	{"tasks", 17, 60, true, run_tasks},    {"running", 8, 40, true, run_running},
	{"waiting", 9, 90, true, run_waiting}, {"failed", 8, 76, true, run_failed},
	{"rate", 9, 100, true, run_rate},      {"rest", 9, 30, true, run_rest},
};
static const struct column node_columns[] = {
	{"node", 0, 0, false, node_name},
	{"state", 14, 36, false, node_state},
	{"busy", METER_CELLS, 90, false, node_meter},
	{"cores", 9, 50, true, node_cores},
	{"memory", 20, 70, true, node_memory},
	{"tasks", 6, 28, true, node_running},
	{"cache", 9, 79, true, node_cache},
	{"trees", 7, 100, true, node_trees},
	{"fetches", 7, 110, true, node_fetches},
	{"tier", 12, 130, false, node_tier},
	{"address", 22, 150, false, node_address},
};
static const struct column task_columns[] = {
	{"task", 0, 0, false, task_label},     {"number", 10, 110, true, task_number},
	{"state", 9, 30, false, task_state},   {"node", 14, 50, false, task_node},
	{"time", 9, 40, true, task_time},      {"cores", 5, 90, true, task_cores},
	{"memory", 9, 100, true, task_memory}, {"", 0, 76, false, task_about},
};
static const struct column item_columns[] = {
	{"item", 0, 0, false, item_name}, {"run", 16, 90, false, item_run},   {"state", 9, 40, false, item_state},
	{"size", 9, 30, true, item_size}, {"nodes", 6, 50, true, item_nodes}, {"tasks", 8, 60, true, item_tasks},
};

static const struct column transfer_columns[] = {
	{"item", 0, 0, false, transfer_item}, {"from", 16, 0, false, transfer_from},
	{"to", 12, 0, false, transfer_to},    {"rate", 11, 50, true, transfer_rate},
	{"done", 9, 90, true, transfer_done}, {"rest", 9, 60, true, transfer_rest},
	{"left", 8, 70, true, transfer_left},
};

static const struct {
	const struct column *at;
	size_t n;
} tables[TOP_PAGES] = {
	[TOP_OVERVIEW] = {run_columns, countof(run_columns)},
	[TOP_RUNS_PAGE] = {run_columns, countof(run_columns)},
	[TOP_NODES_PAGE] = {node_columns, countof(node_columns)},
	[TOP_TASKS_PAGE] = {task_columns, countof(task_columns)},
	[TOP_DATA_PAGE] = {item_columns, countof(item_columns)},
	[TOP_TRANSFERS_PAGE] = {transfer_columns, countof(transfer_columns)},
};

/* The cells of a column that shares what the others leave. */
static unsigned share(const struct top_screen *s, const struct column *columns, size_t n)
{
	unsigned taken = 1, sharing = 0;
	for (size_t i = 0; i < n; i++) {
		bool is_there = columns[i].from <= s->w;
		taken += is_there ? columns[i].width + 1 : 0;
		sharing += is_there && !columns[i].width;
	}
	return s->w > taken && sharing ? (s->w - taken) / sharing : 1;
}

static void put_row(struct top_screen *s, unsigned y, const struct context *c, enum top_page page, size_t row,
		    bool is_title)
{
	const struct column *columns = tables[page].at;
	unsigned x = 1, flexible = share(s, columns, tables[page].n);
	char text[TOP_TEXT];
	for (size_t i = 0; i < tables[page].n; i++) {
		const struct column *k = &columns[i];
		unsigned width = k->width ? k->width : flexible;
		if (k->from > s->w)
			continue;
		/* Names are short; what is said about them takes the rest. */
		if (!k->width && i + 1 == tables[page].n)
			width = s->w > x ? s->w - x : 0;
		else if (!k->width && !tables[page].at[tables[page].n - 1].width)
			width = min(width, NAME_CELLS);
		enum top_style style = is_title ? TOP_DIM : k->put(c, row, text);
		const char *shown = is_title ? k->title : text;
		k->is_right ? top_put_right(s, x, y, width, style, shown) : top_put(s, x, y, width, style, shown);
		x += width + 1;
	}
}

unsigned top_view_list(struct top_screen *s, const struct top_model *m, const struct top_list *l)
{
	const struct context c = {m, l->wall_usec, s->is_ascii};
	unsigned y = l->y;
	if (y >= l->end)
		return y;
	put_row(s, y++, &c, l->page, 0, true);
	size_t room = l->end - y;
	/* By whole pages, so that rows stand still while one moves within one. */
	size_t first = room && l->chosen != SIZE_MAX ? l->chosen / room * room : 0;
	for (size_t i = first; i < l->n && y < l->end; i++, y++) {
		put_row(s, y, &c, l->page, l->rows[i], false);
		if (i == l->chosen)
			top_paint(s, y, TOP_CHOSEN);
	}
	return y;
}
