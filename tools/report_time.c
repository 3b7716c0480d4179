/* SPDX-License-Identifier: Apache-2.0
 * The timeline by node: a bar for each task where there are not too many, else how many ran on each node. */
#include "tools/report_svg.h"

#include <inttypes.h>

#define LANES_MOST 240u
#define ROWS_MOST 120u
#define SHADED_BELOW 10.0
#define SHADES 5u
#define WIDE_ROWS 40u /* with more of them each has fewer bins */
#define LABEL_CHARACTERS 15

static size_t count_lanes(const struct report *r, size_t *n_lanes)
{
	const struct report_bar *bars = REPORT_LIST(r, bar);
	size_t n = 0;
	for (size_t i = 0; i < report_n_bars(r); i++)
		n_lanes[bars[i].node] = max(n_lanes[bars[i].node], (size_t)bars[i].lane + 1);
	for (size_t i = 0; i < report_n_nodes(r); i++)
		n += n_lanes[i];
	return n;
}

bool chart_has_bars(const struct report *r)
{
	_free_ size_t *lanes = xcalloc(report_n_nodes(r) + 1, sizeof *lanes);
	return !r->has_too_many_bars && count_lanes(r, lanes) <= LANES_MOST;
}

static void begin_svg(struct buf *b, const struct report *r, double height, const char *what)
{
	struct span_of_time span = chart_span(r);
	buf_printf(b,
		   "<div class=\"chart\"><svg id=\"time\" viewBox=\"0 0 1000 %.0f\" role=\"img\" aria-label=\"%s\" "
		   "data-from=\"%" PRIu64 "\" data-to=\"%" PRIu64
		   "\"><clipPath id=\"plot\"><rect x=\"%.0f\" y=\"0\" width=\"%.0f\" height=\"%.0f\"/></clipPath>\n",
		   height + 20, what, span.from, span.to, CHART_LEFT, CHART_RIGHT - CHART_LEFT, height);
	chart_axis(b, &span, height);
}

/* Of a long one what stands before the domain. */
static void put_short_name(struct buf *b, const char *name)
{
	size_t n = strcspn(name, ".");
	_free_ char *host = xstrndup(name, n && strlen(name) > LABEL_CHARACTERS ? n : strlen(name));
	html_short(b, host, LABEL_CHARACTERS);
}

static void put_label(struct buf *b, const struct report_node *n, double top, double height)
{
	if (height >= 9) {
		buf_printf(b, "<text x=\"112\" y=\"%.1f\">", top + min(height / 2 + 4, 14.0));
		put_short_name(b, n->name);
		buf_puts(b, "</text>");
	}
	buf_printf(b, "<path d=\"M%.0f %.1fH%.0f\"/>", CHART_LEFT, top + height, CHART_RIGHT);
}

/* ---- each task a bar */

static void put_bar(struct buf *b, const struct span_of_time *s, const struct report_bar *bar, const char *node,
		    double y, double height)
{
	double x = chart_x(s, bar->started_usec), to = chart_x(s, bar->ended_usec);
	char run[TEXT_SIZE], wall[TEXT_SIZE];
	buf_printf(b, "<rect class=\"f-%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>",
		   report_classes[bar->state], x, y, max(to - x - (to - x > 4 ? 0.7 : 0), 1.0), height);
	html_text(b, bar->label);
	buf_puts(b, " on ");
	html_text(b, node);
	buf_printf(b, ": %s, there for %s", report_states[bar->state],
		   text_usec(bar->ended_usec - bar->started_usec, run));
	if (bar->wall_usec)
		buf_printf(b, ", ran %s", text_usec(bar->wall_usec, wall));
	buf_puts(b, "</title></rect>\n");
}

static void put_bars(struct buf *b, const struct report *r)
{
	const struct report_node *nodes = REPORT_LIST(r, node);
	const struct report_bar *bars = REPORT_LIST(r, bar);
	struct span_of_time span = chart_span(r);
	size_t n = report_n_nodes(r);
	_free_ size_t *lanes = xcalloc(n + 1, sizeof *lanes);
	_free_ double *tops = xcalloc(n + 1, sizeof *tops);
	size_t n_lanes = count_lanes(r, lanes);
	double height = min(max(600.0 / (double)(n_lanes + 1), 3.0), 20.0), gap = height > 6 ? 2 : 0.5, y = 4;
	for (size_t i = 0; i < n; i++) {
		tops[i] = y;
		y += (double)max(lanes[i], (size_t)1) * height + 8;
	}
	begin_svg(b, r, y, "Each task as a bar, by node");
	buf_puts(b, "<g class=\"label\">");
	for (size_t i = 0; i < n; i++)
		put_label(b, &nodes[i], tops[i], (double)max(lanes[i], (size_t)1) * height + 4);
	buf_puts(b, "</g>\n<g clip-path=\"url(#plot)\"><g id=\"bars\">\n");
	for (size_t i = 0; i < report_n_bars(r); i++)
		put_bar(b, &span, &bars[i], nodes[bars[i].node].name,
			tops[bars[i].node] + (double)bars[i].lane * height, height - gap);
	buf_puts(b, "</g></g></svg></div>\n");
}

/* ---- how many on each node */

static int by_busy(const void *a, const void *b)
{
	const struct report_node *x = *(const struct report_node *const *)a, *y = *(const struct report_node *const *)b;
	return x->busy_usec != y->busy_usec ? (x->busy_usec < y->busy_usec) - (x->busy_usec > y->busy_usec)
					    : strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b)
{
	return strverscmp((*(const struct report_node *const *)a)->name, (*(const struct report_node *const *)b)->name);
}

/* Several bins as one. */
static double mean_of(const double *means, size_t at, size_t n, size_t end)
{
	double sum = 0;
	size_t to = min(at + n, end);
	for (size_t i = at; i < to; i++)
		sum += means[i];
	return to > at ? sum / (double)(to - at) : 0;
}

/* What a row shows: of each group of bins how many ran on average. */
struct row {
	const struct report *report;
	const struct report_node *node;
	double means[SERIES_BINS], most, top, height;
	size_t n, bins; /* groups, and bins in each */
};

static double row_x(const struct row *w, size_t at)
{
	const struct timeline *t = &w->report->time;
	struct span_of_time span = chart_span(w->report);
	return chart_x(&span, (t->first + min(at * w->bins, (size_t)t->n)) * t->width);
}

static void put_heights(struct buf *b, const struct row *w)
{
	double bottom = w->top + w->height;
	buf_printf(b, "<path class=\"f-running\" d=\"M%.1f %.1f", row_x(w, 0), bottom);
	for (size_t i = 0; i < w->n; i++)
		buf_printf(b, "V%.1fH%.1f", bottom - (w->most > 0 ? (w->height - 2) * w->means[i] / w->most : 0),
			   row_x(w, i + 1));
	buf_printf(b, "V%.1fZ\"/>", bottom);
}

/* 0: nothing ran, 1 to SHADES. */
static unsigned shade_of(const struct row *w, size_t i)
{
	return w->means[i] > 0 ? 1 + (unsigned)min(w->means[i] / w->most * SHADES, SHADES - 1.0) : 0;
}

/* Rows too low for heights. */
static void put_shades(struct buf *b, const struct row *w)
{
	for (unsigned shade = 1; shade <= SHADES; shade++) {
		buf_printf(b, "<path class=\"f-running o%u\" d=\"", shade);
		for (size_t i = 0, to; i < w->n; i = to) {
			for (to = i + 1; to < w->n && shade_of(w, to) == shade_of(w, i);)
				to++;
			if (shade_of(w, i) == shade)
				buf_printf(b, "M%.1f %.1fH%.1fv%.1fH%.1fz", row_x(w, i), w->top, row_x(w, to),
					   w->height, row_x(w, i));
		}
		buf_puts(b, "\"/>");
	}
}

static void put_failed(struct buf *b, const struct row *w)
{
	const struct timeline *t = &w->report->time;
	struct span_of_time span = chart_span(w->report);
	int64_t failed[SERIES_BINS];
	series_sums(t, w->node->failed, failed);
	buf_puts(b, "<path class=\"s-failed\" d=\"");
	for (size_t i = 0; i < t->n; i++) {
		if (failed[i])
			buf_printf(b, "M%.1f %.1fv%.1f", chart_x(&span, (t->first + i) * t->width + t->width / 2),
				   w->top, w->height);
	}
	buf_puts(b, "\"/>");
}

static void put_row(struct buf *b, const struct report *r, const struct report_node *n, size_t bins, double top,
		    double height)
{
	struct row w = {.report = r, .node = n, .top = top, .height = height, .bins = bins};
	double means[SERIES_BINS], most = chart_means(r, n->running, means);
	char count[TEXT_SIZE], busy[TEXT_SIZE];
	for (; w.n * bins < r->time.n; w.n++) {
		w.means[w.n] = mean_of(means, w.n * bins, bins, r->time.n);
		w.most = max(w.most, w.means[w.n]);
	}
	buf_puts(b, "<g><title>");
	html_text(b, n->name);
	buf_printf(b, ": %s tasks, at most %.3g at once, busy for %s</title>", text_count(n->n_tasks, count), most,
		   text_usec(n->busy_usec, busy));
	(height >= SHADED_BELOW ? put_heights : put_shades)(b, &w);
	if (n->n_failed)
		put_failed(b, &w);
	buf_puts(b, "</g>\n");
}

static void put_rows(struct buf *b, const struct report *r)
{
	const struct report_node *nodes = REPORT_LIST(r, node);
	size_t n = report_n_nodes(r), n_rows = min(n, (size_t)ROWS_MOST);
	_free_ const struct report_node **sorted = xcalloc(n + 1, sizeof *sorted);
	for (size_t i = 0; i < n; i++)
		sorted[i] = &nodes[i];
	qsort(sorted, n, sizeof *sorted, by_busy);
	qsort(sorted, n_rows, sizeof *sorted, by_name);
	double height = min(max(700.0 / (double)(n_rows + 1), 6.0), 44.0), gap = height > 12 ? 4 : 1;
	begin_svg(b, r, (double)n_rows * height + 4, "How many tasks ran on each node over time");
	buf_puts(b, "<g class=\"label\">");
	for (size_t i = 0; i < n_rows; i++)
		put_label(b, sorted[i], (double)i * height + gap, height - gap);
	buf_puts(b, "</g>\n<g clip-path=\"url(#plot)\"><g id=\"bars\">\n");
	for (size_t i = 0; i < n_rows; i++)
		put_row(b, r, sorted[i], n_rows > WIDE_ROWS ? 3 : 1, (double)i * height + gap, height - gap);
	buf_puts(b, "</g></g></svg></div>\n");
	if (n > n_rows)
		buf_printf(b, "<p class=\"note\">The %u busiest of %zu nodes.</p>\n", ROWS_MOST, n);
}

void chart_timeline(struct buf *b, const struct report *r)
{
	if (!report_n_nodes(r))
		buf_puts(b, "<p class=\"none\">Nothing has run yet.</p>\n");
	else if (chart_has_bars(r))
		put_bars(b, r);
	else
		put_rows(b, r);
}
