/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/report_parts.h"

#include <inttypes.h>

void part_begin(struct buf *b, const char *id, const char *title, const char *about)
{
	buf_printf(b, "<section id=\"%s\" aria-labelledby=\"h-%s\">\n<h2 id=\"h-%s\">%s</h2>\n", id, id, id, title);
	if (*about)
		buf_printf(b, "<p class=\"about\">%s</p>\n", about);
}

void part_end(struct buf *b)
{
	buf_puts(b, "</section>\n");
}

/* ---- tables: a heading that begins with # is a number's */

static void begin_table(struct buf *b, const char *caption, const char *const *heads, size_t n)
{
	buf_printf(b, "<div class=\"wide\"><table><caption>%s</caption><thead><tr>", caption);
	for (size_t i = 0; i < n; i++) {
		bool is_number = *heads[i] == '#';
		buf_printf(b, "<th scope=\"col\"%s>%s</th>", is_number ? " class=\"n\"" : "", heads[i] + is_number);
	}
	buf_puts(b, "</tr></thead><tbody>\n");
}

#define BEGIN_TABLE(b, caption, ...)                                        \
	do {                                                                \
		static const char *const table_heads[] = {__VA_ARGS__};     \
		begin_table(b, caption, table_heads, countof(table_heads)); \
	} while (0)

static void end_table(struct buf *b)
{
	buf_puts(b, "</tbody></table></div>\n");
}

static void put_text(struct buf *b, const char *text)
{
	buf_puts(b, "<td>");
	html_text(b, text);
	buf_puts(b, "</td>");
}

static void put_code(struct buf *b, const char *text)
{
	buf_puts(b, "<td><code>");
	html_text(b, text);
	buf_puts(b, "</code></td>");
}

typedef const char *format_fn(uint64_t n, char to[TEXT_SIZE]);

static void put_number(struct buf *b, uint64_t n, format_fn *format)
{
	char text[TEXT_SIZE];
	buf_printf(b, "<td class=\"n\" data-v=\"%" PRIu64 "\">%s</td>", n, format(n, text));
}

/* What is 0 is not known, or was not asked for. */
static void put_if(struct buf *b, uint64_t n, format_fn *format)
{
	if (n)
		put_number(b, n, format);
	else
		buf_puts(b, "<td class=\"n dim\" data-v=\"0\">–</td>");
}

static void put_cell(struct buf *b, const struct table *t, size_t row, const char *column)
{
	put_text(b, table_find(t, row, column) ?: "");
}

static uint64_t number_in(const struct table *t, size_t row, const char *column)
{
	return strtoull(table_find(t, row, column) ?: "0", NULL, 10);
}

/* ---- failures */

static const char *node_name(const struct report *r, uint32_t node)
{
	return ((char **)(void *)r->node_names.all.at)[node];
}

static void put_cause_nodes(struct buf *b, const struct report *r, const struct report_cause *c)
{
	char text[TEXT_SIZE];
	if (!c->n_nodes || c->n == c->n_examples)
		return;
	buf_puts(b, "<p class=\"where\">");
	if (c->n_nodes == 1 && c->n_at[0] == c->n && c->n > 1 && report_n_nodes(r) > 1) {
		buf_puts(b, "All of them on ");
		html_text(b, node_name(r, c->nodes[0]));
		buf_puts(b, ", and on no other node: <code>vine why ");
		html_text(b, node_name(r, c->nodes[0]));
		buf_puts(b, "</code>");
	} else {
		buf_puts(b, "On ");
		for (size_t i = 0; i < c->n_nodes; i++) {
			buf_puts(b, i ? ", " : "");
			html_text(b, node_name(r, c->nodes[i]));
			buf_printf(b, " (%s)", text_count(c->n_at[i], text));
		}
		if (c->n_elsewhere)
			buf_printf(b, ", and %s elsewhere", text_count(c->n_elsewhere, text));
	}
	buf_puts(b, "</p>");
}

static void put_cause(struct buf *b, const struct report *r, const struct report_cause *c)
{
	char text[TEXT_SIZE];
	buf_printf(b, "<article class=\"cause\"><h3><span class=\"count\">%s</span> ", text_count(c->n, text));
	html_text(b, c->text);
	buf_puts(b, "</h3>");
	put_cause_nodes(b, r, c);
	buf_puts(b, "<p>For example ");
	for (size_t i = 0; i < c->n_examples; i++) {
		buf_puts(b, i ? ", <b>" : "<b>");
		html_text(b, c->examples[i].label);
		buf_puts(b, "</b>");
		if (*c->examples[i].node) {
			buf_puts(b, " on ");
			html_text(b, c->examples[i].node);
		}
	}
	buf_puts(b, ".</p><p class=\"next\"><code>vine why ");
	html_text(b, c->examples[0].label);
	buf_puts(b, "</code> <code>vine logs ");
	html_text(b, c->examples[0].label);
	buf_puts(b, "</code></p></article>\n");
}

void part_failures(struct buf *b, const struct report *r)
{
	char text[TEXT_SIZE];
	const struct report_cause *causes = REPORT_LIST(r, cause);
	if (!r->n[REPORT_FAILED])
		return;
	part_begin(b, "failures", "What failed",
		   "Failures alike are one cause: numbers, paths and names in what was said are left out.");
	for (size_t i = 0; i < report_n_causes(r) && i < 40; i++)
		put_cause(b, r, &causes[i]);
	uint64_t n_more = r->n_other_causes;
	for (size_t i = 40; i < report_n_causes(r); i++)
		n_more += causes[i].n;
	if (n_more)
		buf_printf(b, "<p class=\"note\">And %s for rarer causes.</p>\n", text_count(n_more, text));
	part_end(b);
}

/* ---- the slowest */

void part_slowest(struct buf *b, const struct report *r)
{
	char about[200], text[TEXT_SIZE];
	uint64_t median = hist_quantile(&r->run_time, 0.5);
	if (!r->n_slowest)
		return;
	snprintf(about, sizeof about, "The median task ran for %s.", text_usec(median, text));
	part_begin(b, "slowest", "Slowest tasks", about);
	BEGIN_TABLE(b, "Tasks that ran longest", "task", "node", "#ran", "", "#times the median", "#waited",
		    "#cores used", "#moved for it", "ended");
	for (size_t i = 0; i < r->n_slowest; i++) {
		const struct report_named *t = &r->slowest[i];
		buf_puts(b, "<tr>");
		put_code(b, t->label);
		put_text(b, t->node);
		put_number(b, t->run_usec, text_usec);
		buf_puts(b, "<td class=\"mini\">");
		chart_mini(b, &(struct chart_part){"running", "", t->run_usec}, 1, r->slowest[0].run_usec);
		buf_printf(b, "</td><td class=\"n\">%.1f</td>", median ? (double)t->run_usec / (double)median : 1.0);
		put_number(b, t->wait_usec, text_usec);
		buf_printf(b, "<td class=\"n\">%.2f</td>", t->run_usec ? (double)t->cpu_usec / (double)t->run_usec : 0);
		put_if(b, t->moved_size, text_size);
		buf_printf(b, "<td><span class=\"state f-%s\">%s</span></td></tr>\n", report_classes[t->state],
			   report_states[t->state]);
	}
	end_table(b);
	part_end(b);
}

/* ---- asked and taken */

/* What to ask for instead: a quarter more than the most that was seen, in steps that one would type. */
static uint64_t advice_of(uint64_t peak)
{
	uint64_t want = peak + peak / 4, step = (uint64_t)16 << 20;
	while (step * 8 < want)
		step *= 2;
	return (want + step - 1) / step * step;
}

static void put_advice(struct buf *b, const struct report_group *g)
{
	uint64_t memory = advice_of(g->peak_memory.most), disk = advice_of(g->peak_disk.most);
	bool is_memory = g->memory && g->peak_memory.n && memory * 4 < g->memory * 3;
	bool is_disk = g->disk && g->peak_disk.n && disk * 4 < g->disk * 3;
	buf_puts(b, "<td>");
	if (is_memory)
		buf_printf(b, "<code>--mem %" PRIu64 "M</code> ", memory >> 20);
	if (is_disk)
		buf_printf(b, "<code>--disk %" PRIu64 "M</code>", disk >> 20);
	if (!is_memory && !is_disk)
		buf_printf(b, "<span class=\"dim\">%s</span>",
			   g->memory || g->disk ? "as it is" : "nothing was asked for");
	buf_puts(b, "</td>");
}

void part_resources(struct buf *b, const struct report *r)
{
	const struct report_group *groups = REPORT_LIST(r, group);
	char text[TEXT_SIZE];
	if (!report_n_groups(r))
		return;
	part_begin(
		b, "resources", "Asked for and used",
		"Who asks for less gets more at once. The advice is a quarter more than the most that any task took.");
	BEGIN_TABLE(b, "Resources by category", "category", "#tasks", "#memory asked", "#half took", "#most took",
		    "#disk asked", "#most took", "#cores asked", "#cores used", "enough would be");
	for (size_t i = 0; i < report_n_groups(r); i++) {
		const struct report_group *g = &groups[i];
		buf_puts(b, "<tr>");
		put_text(b, g->name);
		put_number(b, g->n, text_count);
		put_if(b, g->memory, text_size);
		put_if(b, hist_quantile(&g->peak_memory, 0.5), text_size);
		put_if(b, g->peak_memory.most, text_size);
		put_if(b, g->disk, text_size);
		put_if(b, g->peak_disk.most, text_size);
		put_if(b, g->cores, text_count);
		buf_printf(b, "<td class=\"n\">%s</td>",
			   g->wall_cores_usec
				   ? text_part(min(g->cpu_usec, g->wall_cores_usec), g->wall_cores_usec, text)
				   : "–");
		put_advice(b, g);
		buf_puts(b, "</tr>\n");
	}
	end_table(b);
	part_end(b);
}

/* ---- inputs */

#define INPUTS_SHOWN 25u

void part_inputs(struct buf *b, const struct report *r)
{
	const struct report_input *in = REPORT_LIST(r, input);
	size_t n = report_n_inputs(r);
	char text[TEXT_SIZE];
	if (!n)
		return;
	part_begin(b, "inputs", "Largest inputs",
		   "By what all tasks together read of them: without a cache each would have fetched its own copy.");
	BEGIN_TABLE(b, "Inputs", "input", "#size", "#tasks", "#size × tasks", "");
	for (size_t i = 0; i < min(n, (size_t)INPUTS_SHOWN); i++) {
		uint64_t all = 0;
		if (mul_overflows(in[i].size, in[i].n_tasks, &all))
			all = UINT64_MAX;
		buf_puts(b, "<tr>");
		put_code(b, in[i].name);
		put_if(b, in[i].size, text_size);
		put_number(b, in[i].n_tasks, text_count);
		put_if(b, all, text_size);
		buf_puts(b, "<td class=\"mini\">");
		chart_mini(b, &(struct chart_part){"local", "", all}, 1, in[0].size * in[0].n_tasks);
		buf_puts(b, "</td></tr>\n");
	}
	end_table(b);
	if (n > INPUTS_SHOWN)
		buf_printf(b, "<p class=\"note\">The first %u of %s%s.</p>\n", INPUTS_SHOWN,
			   r->n_other_inputs ? "more than " : "", text_count(n, text));
	part_end(b);
}

/* ---- nodes */

static void put_node(struct buf *b, const struct report *r, const struct report_node *n)
{
	size_t row = 0;
	const struct table *t = &r->nodes;
	while (row < t->n_rows && !streq(table_find(t, row, "name") ?: "", n->name))
		row++;
	bool is_known = row < t->n_rows;
	const struct chart_part parts[] = {
		{"local", "", n->local_size},
		{"peer", "", n->peer_size},
		{"moved", "", n->moved_size - min(n->peer_size, n->moved_size)},
	};
	buf_puts(b, "<tr>");
	put_text(b, n->name);
	put_text(b, is_known ? table_find(t, row, "state") : "not there any more");
	put_if(b, is_known ? number_in(t, row, "cores") : 0, text_count);
	put_if(b, is_known ? number_in(t, row, "memory") : 0, text_size);
	put_number(b, n->n_tasks, text_count);
	if (n->n_failed)
		put_number(b, n->n_failed, text_count);
	else
		buf_puts(b, "<td class=\"n dim\" data-v=\"0\">0</td>");
	put_number(b, n->n_tasks ? n->busy_usec / n->n_tasks : 0, text_usec);
	put_if(b, n->local_size, text_size);
	put_if(b, n->peer_size, text_size);
	put_if(b, n->source_size, text_size);
	put_if(b, n->moved_size, text_size);
	buf_puts(b, "<td class=\"mini\">");
	chart_mini(b, parts, countof(parts), n->local_size + n->moved_size);
	buf_puts(b, "</td></tr>\n");
}

#define NODES_SHOWN 200u

void part_nodes(struct buf *b, const struct report *r)
{
	const struct report_node *nodes = REPORT_LIST(r, node);
	size_t n = report_n_nodes(r);
	char text[TEXT_SIZE];
	if (!n)
		return;
	part_begin(b, "nodes", "Nodes", "What each did for these tasks; state and size are those of now.");
	BEGIN_TABLE(b, "Nodes", "node", "state", "#cores", "#memory", "#tasks", "#failed", "#mean time a task",
		    "#was there", "#from nodes", "#from sources", "#moved", "");
	for (size_t i = 0; i < min(n, (size_t)NODES_SHOWN); i++)
		put_node(b, r, &nodes[i]);
	end_table(b);
	if (n > NODES_SHOWN)
		buf_printf(b, "<p class=\"note\">%u of %s.</p>\n", NODES_SHOWN, text_count(n, text));
	part_end(b);
}

/* ---- why they wait now, and settings */

void part_waiting(struct buf *b, const struct report *r)
{
	const struct table *t = &r->waiting;
	uint64_t most = 1;
	if (!t->n_rows || !(r->n[REPORT_WAITING] + r->n[REPORT_HELD]))
		return;
	for (size_t i = 0; i < t->n_rows; i++)
		most = max(most, number_in(t, i, "tasks"));
	uint64_t asked = number_in(t, 0, "asked");
	part_begin(b, "waiting", "Why tasks wait now",
		   asked < r->n[REPORT_WAITING] + r->n[REPORT_HELD] ? "Not all of them are asked, where there are many."
								    : "");
	BEGIN_TABLE(b, "Reasons", "reason", "#tasks", "", "next");
	for (size_t i = 0; i < t->n_rows; i++) {
		buf_puts(b, "<tr>");
		put_cell(b, t, i, "reason");
		put_number(b, number_in(t, i, "tasks"), text_count);
		buf_puts(b, "<td class=\"mini\">");
		chart_mini(b, &(struct chart_part){"waiting", "", number_in(t, i, "tasks")}, 1, most);
		buf_puts(b, "</td><td><code>vine why ");
		html_text(b, table_find(t, i, "task") ?: "");
		buf_puts(b, "</code></td></tr>\n");
	}
	end_table(b);
	part_end(b);
}

void part_settings(struct buf *b, const struct report *r)
{
	static const char *const shown[] = {"name", "cluster", "version", "address", "state", "nodes", "cores"};
	part_begin(b, "settings", "Cluster and settings", "");
	BEGIN_TABLE(b, "Settings", "of", "name", "value");
	for (size_t i = 0; i < countof(shown); i++) {
		const char *value = r->cluster.n_rows ? table_find(&r->cluster, 0, shown[i]) : NULL;
		if (!value || !*value)
			continue;
		buf_printf(b, "<tr><td>cluster</td><td>%s</td>", shown[i]);
		put_text(b, value);
		buf_puts(b, "</tr>\n");
	}
	for (size_t i = 0; i < r->settings.n_rows; i++) {
		buf_puts(b, "<tr>");
		put_cell(b, &r->settings, i, "of");
		put_cell(b, &r->settings, i, "name");
		put_cell(b, &r->settings, i, "value");
		buf_puts(b, "</tr>\n");
	}
	end_table(b);
	part_end(b);
}

/* ---- numbers of the charts */

#define NUMBERS_SHOWN 24u

void part_numbers(struct buf *b, const struct report *r)
{
	struct span_of_time span = chart_span(r);
	double means[REPORT_STATES][SERIES_BINS];
	size_t by = max((size_t)(r->time.n + NUMBERS_SHOWN - 1) / NUMBERS_SHOWN, (size_t)1);
	char text[TEXT_SIZE];
	for (size_t i = 0; i < REPORT_STATES; i++)
		i < REPORT_DONE ? (void)chart_means(r, r->over_time[i], means[i])
				: chart_so_far(r, r->over_time[i], means[i]);
	buf_puts(b, "<details><summary>The same as a table</summary>\n");
	BEGIN_TABLE(b, "Tasks over time", "until (UTC)", "#waiting", "#running", "#done", "#failed", "#cancelled");
	for (size_t i = by - 1; i < r->time.n + by - 1; i += by) {
		size_t at = min(i, (size_t)r->time.n - 1);
		static const enum report_state order[] = {REPORT_WAITING, REPORT_RUNNING, REPORT_DONE, REPORT_FAILED,
							  REPORT_CANCELLED};
		uint64_t to = min((r->time.first + at + 1) * r->time.width, span.to);
		buf_printf(b, "<tr><td>%s</td>", text_time(to, text));
		for (size_t k = 0; k < countof(order); k++)
			buf_printf(b, "<td class=\"n\">%.*f</td>", means[order[k]][at] < 10 && k < 2 ? 1 : 0,
				   means[order[k]][at]);
		buf_puts(b, "</tr>\n");
	}
	end_table(b);
	buf_puts(b, "</details>\n");
}
