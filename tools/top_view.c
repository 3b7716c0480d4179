/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/top_view.h"

#include <inttypes.h>

#define HEAD 2u /* lines */
#define FOOT 1u
#define SILENT_SEC 2u
#define RATE_CELLS 60u
#define LINE_MOST 1000u
#define LINES_SHARED 8u

struct look {
	struct top_screen *s;
	const struct top_state *state;
	const struct top_model *m;
	const struct top_now *now;
	unsigned end; /* the row behind the last that may be used */
};

/* ---- head and foot */

static void put_state(const struct look *l)
{
	char text[TOP_TEXT];
	unsigned msec = top_interval_msec(l->state);
	enum top_style style = TOP_BAR;
	if (l->now->silent_sec >= SILENT_SEC && !l->state->is_paused) {
		snprintf(text, sizeof text, " no answer since %" PRIu64 " s ", l->now->silent_sec);
		style = TOP_BAD;
	} else if (l->state->is_paused) {
		snprintf(text, sizeof text, " paused ");
		style = TOP_WARN;
	} else {
		snprintf(text, sizeof text, msec % 1000 ? " every %u ms " : " every %.0u%u s ", msec % 1000 ? msec : 0,
			 msec / 1000);
	}
	unsigned n = (unsigned)strlen(text);
	if (l->s->w > 2 * n)
		top_put(l->s, l->s->w - n, 0, n, style, text);
}

static void put_head(const struct look *l)
{
	const struct top_cluster *c = &l->m->cluster;
	char up[32], cores[32], nodes[32];
	top_paint(l->s, 0, TOP_BAR);
	if (!l->m->is_there)
		top_put(l->s, 1, 0, l->s->w, TOP_BAR, "vine top: nothing was answered yet");
	else
		top_putf(l->s, 1, 0, TOP_BAR, "vine %s  up %s  %s node%s, %s of %" PRIu64 " cores busy", c->name,
			 top_span(up, c->uptime_sec), top_number(nodes, c->nodes), c->nodes == 1 ? "" : "s",
			 top_number(cores, c->cores - min(c->cores_free, c->cores)), c->cores);
	if (!l->now->is_still)
		put_state(l);
}

static void put_tabs(const struct look *l)
{
	static const char *const names[TOP_PAGES] = {"overview", "runs", "nodes", "tasks", "data", "bytes"};
	unsigned x = 1;
	for (unsigned i = 0; i < TOP_PAGES; i++) {
		x += top_putf(l->s, x, 1, TOP_DIM, "%u ", i + 1);
		x += top_put(l->s, x, 1, l->s->w, i == l->state->at.page ? TOP_CHOSEN : TOP_PLAIN, names[i]) + 2;
	}
	if (top_sort_name(l->state) && !top_is_close(l->state))
		x += top_putf(l->s, x, 1, TOP_DIM, "by %s", top_sort_name(l->state));
	if (*l->state->at.find)
		top_putf(l->s, x, 1, TOP_WARN, "  with '%s'", l->state->at.find);
}

static void put_foot(const struct look *l)
{
	unsigned y = l->s->h - 1;
	if (l->state->is_typing)
		top_putf(l->s, 0, y, TOP_BOLD, "/%s_", l->state->at.find);
	else if (*l->m->trouble)
		top_put(l->s, 0, y, l->s->w, TOP_BAD, l->m->trouble);
	else if (top_is_close(l->state))
		top_put(l->s, 0, y, l->s->w, TOP_DIM, "q back  arrows move  ? help");
	else
		top_put(l->s, 0, y, l->s->w, TOP_DIM,
			"q quit  1-6 pages  enter look closer  / find  s sort  p pause  +/- pace  ? help");
}

static void put_help(const struct look *l)
{
	static const char *const lines[] = {
		"1 ... 6, tab       pages: overview, runs, nodes, tasks, data, bytes on their way (x, too)",
		"up down j k        choose a row; page up, page down, g, G: farther",
		"enter, right       look closer: a run's tasks, why a task is so, what a node runs, who has an item",
		"q, esc, left       back; q on a page ends",
		"/                  only rows that have a text (enter keeps it, esc takes it away)",
		"s                  another order of rows",
		"p                  stand still, and go on",
		"+ -                refresh less often, more often",
		"?                  this; any key takes it away",
	};
	for (unsigned i = 0; i < countof(lines) && HEAD + 1 + i < l->end; i++)
		top_put(l->s, 2, HEAD + 1 + i, l->s->w, TOP_PLAIN, lines[i]);
}

/* ---- overview */

struct sums {
	uint64_t done, failed, cancelled, running, waiting, held;
};

/* Ends are asked more seldom: what has ended since is counted as done. */
static struct sums sums_of(const struct top_model *m)
{
	const struct top_cluster *c = &m->cluster;
	uint64_t since = m->has_counts ? c->over - min(m->counted_over, c->over) : c->over;
	return (struct sums){.done = m->counts.done + since,
			     .failed = m->counts.failed,
			     .cancelled = m->counts.cancelled,
			     .running = c->running,
			     .waiting = c->queued,
			     .held = c->held};
}

static void put_sums(const struct look *l, unsigned y, const struct sums *n)
{
	const struct {
		const char *name;
		uint64_t n;
		enum top_style style;
	} parts[] = {{"done", n->done, TOP_GOOD},           {"failed", n->failed, TOP_BAD},
		     {"cancelled", n->cancelled, TOP_WARN}, {"running", n->running, TOP_BUSY},
		     {"waiting", n->waiting, TOP_PLAIN},    {"held", n->held, TOP_WARN}};
	char text[32];
	unsigned x = 1 + top_put(l->s, 1, y, l->s->w, TOP_BOLD, "tasks ");
	for (size_t i = 0; i < countof(parts); i++) {
		if (parts[i].n || i == 0 || i == 3 || i == 4)
			x += 2 + top_putf(l->s, x + 1, y, parts[i].n ? parts[i].style : TOP_DIM, "%s %s",
					  top_number(text, parts[i].n), parts[i].name);
	}
}

static unsigned put_tasks(const struct look *l, unsigned y)
{
	struct sums n = sums_of(l->m);
	const struct top_part parts[] = {
		{n.done, TOP_GOOD, 'f'},
		{n.failed + n.cancelled, TOP_BAD, 'x'},
		{n.running, TOP_BUSY, 'b'},
		{n.waiting + n.held, TOP_DIM, 'w'},
	};
	if (y < l->end)
		put_sums(l, y, &n);
	if (y + 1 < l->end && l->s->w > 2)
		top_put_bar(l->s, 1, y + 1, l->s->w - 2, parts, countof(parts));
	return y + 2;
}

static unsigned put_rate(const struct look *l, unsigned y)
{
	const struct top_model *m = l->m;
	char text[32];
	if (y >= l->end)
		return y;
	unsigned x = 1 + top_put(l->s, 1, y, l->s->w, TOP_BOLD, "ended ");
	if (!m->n_rates) {
		top_put(l->s, x + 1, y, l->s->w, TOP_DIM, "-");
		return y + 1;
	}
	x += 1 + top_put_right(l->s, x + 1, y, 10, TOP_PLAIN, top_rate(text, m->rates[m->n_rates - 1]));
	top_put_history(l->s, x + 2, y, RATE_CELLS, TOP_GOOD, m->rates, m->n_rates);
	return y + 1;
}

static unsigned put_reasons(const struct look *l, unsigned y, size_t most)
{
	const struct top_model *m = l->m;
	char text[32];
	for (size_t i = 0; i < m->n_reasons && i < most && y < l->end; i++, y++) {
		const struct top_reason *r = &m->reasons[i];
		bool is_part = r->asked < m->cluster.queued;
		unsigned x = 1 + top_put(l->s, 1, y, l->s->w, TOP_BOLD, i ? "" : "waits ");
		x = max(x, 7u);
		x += top_put_right(l->s, x + 1, y, 9, TOP_WARN, top_number(text, r->n)) + 2;
		if (is_part)
			x += 1 + top_putf(l->s, x, y, TOP_DIM, "of %s looked at:", top_number(text, r->asked));
		x += 1 + top_put(l->s, x, y, l->s->w, TOP_PLAIN, r->text);
		top_putf(l->s, x, y, TOP_DIM, "(as task %" PRIu64 ")", r->task);
	}
	return y;
}

static unsigned put_bytes(const struct look *l, unsigned y)
{
	const struct top_cluster *c = &l->m->cluster;
	char a[32], b[32], d[32];
	if (y >= l->end || !(c->fetches | c->staging | c->for_inputs))
		return y;
	unsigned x = 1 + top_put(l->s, 1, y, l->s->w, TOP_BOLD, "bytes ");
	top_putf(l->s, x + 1, y, TOP_PLAIN, "%s fetches under way; %s tasks wait for bytes, %s for what others make",
		 top_number(a, c->fetches), top_number(b, c->staging), top_number(d, c->for_inputs));
	return y + 1;
}

static unsigned put_short_list(const struct look *l, unsigned y, unsigned end, enum top_page page, const size_t *rows,
			       size_t n)
{
	struct top_list list = {y, min(end, l->end), page, rows, n, SIZE_MAX, l->now->wall_usec};
	if (page == TOP_OVERVIEW)
		list.chosen = l->state->at.row;
	return n ? top_view_list(l->s, l->m, &list) + 1 : y;
}

static size_t running_rows(const struct top_model *m, size_t rows[TOP_ROWS])
{
	size_t n = 0;
	for (size_t i = 0; i < m->n_tasks; i++) {
		if (streq(top_task_state(&m->tasks[i]), "running"))
			rows[n++] = i;
	}
	return n;
}

/* Runs get what nodes leave, which get a third of the room; what is left then is for tasks that run. */
static void put_lists(const struct look *l, unsigned y)
{
	size_t runs[TOP_ROWS], others[TOP_ROWS], n_runs = top_rows(l->state, l->m, runs);
	unsigned left = l->end > y ? l->end - y : 0, wanted = (unsigned)l->m->n_nodes + 2;
	/* Of very few lines runs get all. */
	unsigned for_nodes = left < LINES_SHARED ? 0 : min(wanted, max(left / 3, 4u));
	y = put_short_list(l, y, l->end - min(for_nodes, left), TOP_OVERVIEW, runs, n_runs);
	for (size_t i = 0; i < l->m->n_nodes; i++)
		others[i] = i;
	y = put_short_list(l, y, y + max(for_nodes, (l->end - min(y, l->end)) / 2), TOP_NODES_PAGE, others,
			   l->m->n_nodes);
	size_t n_running = running_rows(l->m, others);
	if (y + 2 < l->end)
		put_short_list(l, y, l->end, TOP_TASKS_PAGE, others, n_running);
}

static void put_overview(const struct look *l, unsigned y)
{
	y = put_tasks(l, y);
	if (!l->now->is_still)
		y = put_rate(l, y);
	y = put_bytes(l, y);
	y = put_reasons(l, y, max(2u, l->end / 8)) + 1;
	if (!l->m->n_runs && l->m->is_there && y < l->end)
		top_put(l->s, 1, y++, l->s->w, TOP_DIM, "no run yet: vine run -- hostname, or vine submit");
	if (!l->m->n_nodes && l->m->is_there && y < l->end)
		top_putf(l->s, 1, y++, TOP_WARN, "No node has joined. On each one: vinefs --vined=%s --secret=FILE",
			 l->m->cluster.address);
	put_lists(l, y);
}

/* ---- other pages */

static void put_run(const struct look *l, unsigned y)
{
	const struct top_run *r = top_find_run(l->m, l->state->at.run);
	char over[32], all[32], rest[32];
	unsigned x = 1 + top_putf(l->s, 1, y, TOP_BOLD, "run %s", l->state->at.run);
	if (!r || !r->has_counts)
		return;
	uint64_t n_over = top_run_over(r), n = top_run_tasks(r),
		 waiting = r->unfinished - min(r->running, r->unfinished);
	uint64_t bad = min(r->counts.failed + r->counts.cancelled, n_over);
	const struct top_part parts[] = {{n_over - bad, TOP_GOOD, 'f'},
					 {bad, TOP_BAD, 'x'},
					 {r->running, TOP_BUSY, 'b'},
					 {waiting, TOP_DIM, 'w'}};
	x += 1 + top_putf(l->s, x + 1, y, TOP_PLAIN, "%s of %s over", top_number(over, n_over), top_number(all, n));
	if (top_rest_sec(r))
		x += 1 + top_putf(l->s, x + 1, y, TOP_PLAIN, "rest %s", top_span(rest, top_rest_sec(r)));
	if (x + 8 < l->s->w)
		top_put_bar(l->s, x + 1, y, l->s->w - x - 2, parts, countof(parts));
}

static void put_cache(const struct look *l, unsigned y)
{
	const struct top_cache *c = &l->m->cache;
	char size[32], quota[32], meter[64];
	unsigned x = 1 + top_put(l->s, 1, y, l->s->w, TOP_BOLD, "this machine's cache ");
	if (!c->is_there) {
		top_put(l->s, x, y, l->s->w, TOP_DIM, "no node runs here");
		return;
	}
	print_size(size, c->size);
	print_size(quota, c->quota);
	x += 1 + top_put(l->s, x, y, l->s->w, TOP_BUSY, top_meter(meter, c->size, c->quota, 12, l->s->is_ascii));
	x += 1 + top_putf(l->s, x, y, TOP_PLAIN, "%s of %s, %" PRIu64 " trees", size, quota, c->trees);
	if (c->is_sick)
		top_putf(l->s, x, y, TOP_BAD, "out of service: %s", c->reason);
	else if (c->damaged)
		top_putf(l->s, x, y, TOP_WARN, "%" PRIu64 " blobs were found damaged", c->damaged);
	else
		top_putf(l->s, x, y, TOP_DIM, "in %s", c->path);
}

/* What all of it should have cost at least is each tree once. */
static void put_moved(const struct look *l, unsigned y)
{
	const struct top_moved *v = &l->m->moved;
	char nodes[32], sources[32], clients[32];
	print_size(nodes, v->nodes);
	print_size(sources, v->sources);
	print_size(clients, v->clients);
	unsigned x = 1 + top_put(l->s, 1, y, l->s->w, TOP_BOLD, "moved ");
	x += top_putf(l->s, x, y, TOP_PLAIN, "%s from nodes, %s from sources", nodes, sources);
	if (v->needed)
		x += top_putf(l->s, x, y, TOP_DIM, " (%.2f x what is needed)", (double)v->sources / (double)v->needed);
	if (v->clients)
		top_putf(l->s, x, y, TOP_PLAIN, ", %s from clients", clients);
}

static void put_nothing(const struct look *l, unsigned y)
{
	static const char *const texts[TOP_PAGES] = {
		"",
		"no run yet",
		"no node has joined yet",
		"nothing runs, waits or has failed",
		"no input or output is known: tasks that declare them make them so",
		"nothing is on its way"};
	if (y < l->end && l->m->is_there)
		top_put(l->s, 1, y, l->s->w, TOP_DIM,
			*l->state->at.find ? "nothing has that text" : texts[l->state->at.page]);
}

static bool has_caption(const struct top_state *state)
{
	return state->at.page == TOP_DATA_PAGE || state->at.page == TOP_TRANSFERS_PAGE ||
	       (state->at.page == TOP_TASKS_PAGE && (*state->at.run || *state->at.node));
}

static void put_caption(const struct look *l, unsigned y)
{
	if (y >= l->end)
		return;
	if (l->state->at.page == TOP_DATA_PAGE)
		put_cache(l, y);
	else if (l->state->at.page == TOP_TRANSFERS_PAGE)
		put_moved(l, y);
	else if (*l->state->at.run)
		put_run(l, y);
	else
		top_putf(l->s, 1, y, TOP_BOLD, "node %s: what runs there", l->state->at.node);
}

/* How many there are that are not here. */
static void put_more(const struct look *l, unsigned y, size_t n)
{
	uint64_t all = l->state->at.page == TOP_NODES_PAGE  ? l->m->cluster.known_nodes
		       : l->state->at.page == TOP_DATA_PAGE ? l->m->cluster.items
							    : n;
	char text[32];
	if (l->m->n_nodes < TOP_ROWS && l->m->n_items < TOP_ROWS)
		return;
	if (y < l->end && all > n && !*l->state->at.find)
		top_putf(l->s, 1, y, TOP_DIM, "the first %zu of %s: / finds others, s sorts otherwise", n,
			 top_number(text, all));
}

static void put_list(const struct look *l, unsigned y)
{
	size_t rows[TOP_ROWS], n = top_rows(l->state, l->m, rows);
	if (has_caption(l->state))
		put_caption(l, y++);
	struct top_list list = {y, l->end, l->state->at.page, rows, n, l->state->at.row, l->now->wall_usec};
	y = n ? top_view_list(l->s, l->m, &list) : y;
	if (!n)
		put_nothing(l, y);
	else
		put_more(l, y, n);
}

/* ---- a closer look */

/* Lines as wide as the screen; what is longer goes on below. */
static void put_lines(const struct look *l, unsigned y, const char *text)
{
	size_t skipped = 0;
	size_t room = l->s->w > 4 ? min(l->s->w - 4, LINE_MOST) : 1;
	while (*text && y < l->end) {
		size_t n = strcspn(text, "\n"), part = min(n, room);
		/* Not within a character. */
		while (part < n && part > 1 && (text[part] & 0xc0) == 0x80)
			part--;
		_free_ char *line = xstrndup(text, part);
		if (skipped++ >= l->state->at.line)
			top_put(l->s, 2, y++, l->s->w, strstr(line, "failed") ? TOP_BAD : TOP_PLAIN, line);
		text += part + (part == n && text[part]);
	}
}

static void put_close(const struct look *l, unsigned y)
{
	const struct top_place *at = &l->state->at;
	const struct buf *detail = &l->m->detail;
	bool is_it = streq(l->m->detail_of, *at->task ? at->task : at->item);
	_free_ char *text = is_it && detail->n ? xstrndup((const char *)detail->at, detail->n) : xstrdup("...");
	if (y < l->end)
		top_putf(l->s, 1, y, TOP_BOLD, *at->task ? "why task %s" : "who has %s",
			 *at->task ? at->task : at->item);
	put_lines(l, y + 2, text);
}

void top_view_page(struct top_screen *s, unsigned y, unsigned end, const struct top_state *state,
		   const struct top_model *m, const struct top_now *now)
{
	const struct look l = {s, state, m, now, min(end, s->h)};
	if (state->has_help)
		put_help(&l);
	else if (top_is_close(state))
		put_close(&l, y);
	else if (state->at.page == TOP_OVERVIEW)
		put_overview(&l, y);
	else
		put_list(&l, y);
}

void top_view(struct top_screen *s, const struct top_state *state, const struct top_model *m, const struct top_now *now)
{
	const struct look l = {s, state, m, now, s->h - min(FOOT, s->h)};
	put_head(&l);
	if (now->is_still) {
		top_view_page(s, 1, s->h, state, m, now);
		return;
	}
	if (s->h > HEAD)
		put_tabs(&l);
	if (s->h > HEAD + FOOT) {
		top_view_page(s, HEAD, l.end, state, m, now);
		put_foot(&l);
	}
}

size_t top_view_height(const struct top_state *state, unsigned h)
{
	unsigned taken = HEAD + FOOT + 1 + has_caption(state);
	return h > taken ? h - taken : 1;
}
