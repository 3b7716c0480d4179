/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/report_svg.h"

#include <inttypes.h>

const char *const report_classes[REPORT_STATES] = {"waiting", "running", "held", "done", "failed", "cancelled"};

/* ---- time */

struct span_of_time chart_span(const struct report *r)
{
	return (struct span_of_time){r->first_usec, max(r->last_usec, r->first_usec + 1000)};
}

double chart_x(const struct span_of_time *s, uint64_t usec)
{
	uint64_t at = min(max(usec, s->from), s->to) - s->from;
	return CHART_LEFT + (CHART_RIGHT - CHART_LEFT) * (double)at / (double)(s->to - s->from);
}

/* The step that gives at most 8 lines. */
static uint64_t step_of(uint64_t usec)
{
	static const uint64_t steps[] = {1,        2,        5,        10,        20,       50,      100,     200,
					 500,      1000,     2000,     5000,      10000,    15000,   30000,   60000,
					 120000,   300000,   600000,   900000,    1800000,  3600000, 7200000, 10800000,
					 21600000, 43200000, 86400000, 172800000, 604800000};
	size_t i = 0;
	while (i + 1 < countof(steps) && usec / (steps[i] * 1000) > 8)
		i++;
	return steps[i] * 1000 * max(usec / (steps[i] * 1000) / 8, (uint64_t)1);
}

/* "1 h 30 min": at most two units, and none that is 0. */
static void put_tick(struct buf *b, uint64_t usec)
{
	static const struct {
		uint64_t sec;
		const char *name;
	} units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
	uint64_t sec = usec / 1000000;
	if (usec < 60000000) {
		buf_printf(b, usec ? "%.4g s" : "0", (double)usec / 1e6);
		return;
	}
	const char *space = "";
	for (size_t i = 0; i < countof(units); i++) {
		if (sec / units[i].sec) {
			buf_printf(b, "%s%" PRIu64 " %s", space, sec / units[i].sec, units[i].name);
			space = " ";
		}
		sec %= units[i].sec;
	}
}

void chart_axis(struct buf *b, const struct span_of_time *s, double height)
{
	uint64_t step = step_of(s->to - s->from);
	buf_puts(b, "<g class=\"axis\">");
	for (uint64_t at = 0; at <= s->to - s->from; at += step) {
		double x = chart_x(s, s->from + at);
		buf_printf(b, "<path d=\"M%.1f 0V%.1f\"/><text x=\"%.1f\" y=\"%.1f\"%s>", x, height, x, height + 14,
			   x > CHART_RIGHT - 30 ? " class=\"end\"" : "");
		put_tick(b, at);
		buf_puts(b, "</text>");
	}
	buf_puts(b, "</g>\n");
}

/* What goes on at the end is counted to the end of its bin, of which only a part is shown. */
double chart_means(const struct report *r, const struct series *s, double means[SERIES_BINS])
{
	const struct timeline *t = &r->time;
	struct span_of_time span = chart_span(r);
	int64_t sums[SERIES_BINS], n_left = 0;
	double most = 0;
	series_sums(t, s, sums);
	for (size_t i = 0; i <= t->n; i++)
		n_left += s->step[i];
	for (size_t i = 0; i < SERIES_BINS; i++) {
		uint64_t begin = (t->first + i) * t->width, end = begin + t->width;
		uint64_t from = max(begin, span.from), to = min(end, span.to);
		bool is_cut = i + 1 == t->n && to < end;
		means[i] = i < t->n && from < to ? (double)(sums[i] - (is_cut ? n_left * (int64_t)(end - to) : 0)) /
							   (double)(to - from)
						 : 0;
		most = max(most, means[i]);
	}
	return most;
}

void chart_so_far(const struct report *r, const struct series *s, double n[SERIES_BINS])
{
	int64_t sum = s->step[0];
	for (size_t i = 0; i < SERIES_BINS; i++) {
		sum += s->step[i + 1];
		n[i] = i < r->time.n ? (double)sum : 0;
	}
}

/* ---- how many over time */

static void put_values(struct buf *b, const double *values, size_t n)
{
	buf_puts(b, " data-v=\"");
	for (size_t i = 0; i < n; i++)
		buf_printf(b, i ? ",%.4g" : "%.4g", values[i]);
	buf_puts(b, "\"");
}

/* The area between two lines, one value a bin. */
static void put_area(struct buf *b, const struct report *r, const char *class, const double *low, const double *high,
		     double most, double top, double height)
{
	struct span_of_time span = chart_span(r);
	const struct timeline *t = &r->time;
	double scale = most > 0 ? height / most : 0, bottom = top + height;
	buf_printf(b, "<path class=\"f-%s\" d=\"", class);
	for (size_t i = 0; i < t->n; i++) {
		double x = chart_x(&span, (t->first + i) * t->width),
		       to = chart_x(&span, (t->first + i + 1) * t->width);
		buf_printf(b, i ? "V%.1fH%.1f" : "M%.1f %.1fH%.1f", i ? bottom - high[i] * scale : x,
			   i ? to : bottom - high[i] * scale, to);
	}
	for (size_t i = t->n; i-- > 0;) {
		double x = chart_x(&span, (t->first + i) * t->width);
		buf_printf(b, "V%.1fH%.1f", bottom - low[i] * scale, x);
	}
	buf_puts(b, "Z\"/>");
}

static void put_scale(struct buf *b, const char *name, double most, double top, double height)
{
	char text[TEXT_SIZE];
	buf_printf(b,
		   "<g class=\"label\"><text x=\"112\" y=\"%.1f\">%s</text><text class=\"dim\" x=\"112\" y=\"%.1f\">",
		   top + 14, name, top + 28);
	if (most > 0 && most < 1)
		buf_printf(b, "to %.1f", most);
	else
		buf_printf(b, "to %s", text_count((uint64_t)(most + 0.5), text));
	buf_printf(b, "</text><path d=\"M%.0f %.1fH%.0fM%.0f %.1fH%.0f\"/></g>\n", CHART_LEFT, top, CHART_RIGHT,
		   CHART_LEFT, top + height, CHART_RIGHT);
}

static const double none[SERIES_BINS];

static void put_one(struct buf *b, const struct report *r, enum report_state state, double top, double height)
{
	double means[SERIES_BINS];
	double most = chart_means(r, r->over_time[state], means);
	buf_printf(b, "<g class=\"line\" data-name=\"%s\"", report_states[state]);
	put_values(b, means, r->time.n);
	buf_puts(b, ">");
	put_area(b, r, report_classes[state], none, means, most, top, height);
	put_scale(b, report_states[state], most, top, height);
	buf_puts(b, "</g>");
}

/* Those that are over, one kind upon the other. */
static void put_ended(struct buf *b, const struct report *r, double top, double height)
{
	double upon[SERIES_BINS] = {0}, high[SERIES_BINS], n[3][SERIES_BINS], most = 0;
	for (size_t k = 0; k < 3; k++)
		chart_so_far(r, r->over_time[REPORT_DONE + k], n[k]);
	for (size_t i = 0; i < r->time.n; i++)
		most = max(most, n[0][i] + n[1][i] + n[2][i]);
	for (size_t k = 0; k < 3; k++) {
		for (size_t i = 0; i < r->time.n; i++)
			high[i] = upon[i] + n[k][i];
		buf_printf(b, "<g class=\"line\" data-name=\"%s\"", report_states[REPORT_DONE + k]);
		put_values(b, n[k], r->time.n);
		buf_puts(b, ">");
		if (r->n[REPORT_DONE + k])
			put_area(b, r, report_classes[REPORT_DONE + k], upon, high, most, top, height);
		buf_puts(b, "</g>");
		memcpy(upon, high, sizeof upon);
	}
	put_scale(b, "ended so far", most, top, height);
}

void chart_over_time(struct buf *b, const struct report *r)
{
	struct span_of_time span = chart_span(r);
	buf_printf(b,
		   "<div class=\"chart\"><svg viewBox=\"0 0 1000 336\" role=\"img\" aria-label=\"Tasks waiting, "
		   "running and ended "
		   "over time\" data-from=\"%" PRIu64 "\" data-to=\"%" PRIu64 "\" data-bin=\"%" PRIu64
		   "\" data-first=\"%" PRIu64 "\">\n",
		   span.from, span.to, r->time.width, r->time.first);
	chart_axis(b, &span, 318);
	put_one(b, r, REPORT_RUNNING, 6, 92);
	put_one(b, r, REPORT_WAITING, 112, 92);
	put_ended(b, r, 218, 92);
	buf_puts(b, "<path class=\"cross\" d=\"\"/></svg></div>\n");
}

/* ---- bars of parts */

static void put_parts(struct buf *b, const struct chart_part *parts, size_t n, uint64_t of, double width, double height)
{
	double x = 0;
	for (size_t i = 0; i < n; i++) {
		double w = of ? width * (double)parts[i].n / (double)of : 0;
		/* What is there is seen, however little. */
		if (parts[i].n && w < 2)
			w = 2;
		w = min(w, width - x);
		if (w > 0)
			buf_printf(b, "<rect class=\"f-%s\" x=\"%.1f\" width=\"%.1f\" height=\"%.0f\"/>",
				   parts[i].class, x, w, height);
		x += w;
	}
}

void chart_bar(struct buf *b, const char *title, const struct chart_part *parts, size_t n)
{
	uint64_t all = 0;
	char text[TEXT_SIZE];
	for (size_t i = 0; i < n; i++)
		all += parts[i].n;
	buf_printf(b,
		   "<svg class=\"bar\" viewBox=\"0 0 1000 14\" preserveAspectRatio=\"none\" role=\"img\" "
		   "aria-label=\"%s\"><title>%s",
		   title, title);
	for (size_t i = 0; i < n; i++) {
		if (parts[i].n)
			buf_printf(b, "; %s %s", parts[i].what, text_part(parts[i].n, all, text));
	}
	buf_puts(b, "</title>");
	put_parts(b, parts, n, all, 1000, 14);
	buf_puts(b, "</svg>\n");
}

void chart_mini(struct buf *b, const struct chart_part *parts, size_t n, uint64_t of)
{
	buf_puts(b, "<svg class=\"mini\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
	put_parts(b, parts, n, of, 100, 8);
	buf_puts(b, "</svg>");
}

/* ---- distributions */

#define HIST_WIDTH 320.0
#define HIST_HEIGHT 110.0
#define HIST_TOP 18.0
#define HIST_BARS 48u

struct edges {
	uint64_t at[HIST_BARS + 1];
	size_t n; /* bars */
};

/* Powers of two from 256 us on, halved or quartered where there are few. */
static void find_edges(const struct hist *h, struct edges *e)
{
	unsigned low = h->least < 512 ? 8 : 63u - (unsigned)__builtin_clzll(h->least);
	unsigned high = max(h->most < 512 ? 8 : 63u - (unsigned)__builtin_clzll(h->most), low);
	unsigned parts = high - low < 6 ? 4 : high - low < 14 ? 2 : 1;
	while ((high - low + 1) * parts > HIST_BARS)
		low++;
	e->n = 0;
	for (unsigned k = low; k <= high; k++) {
		for (unsigned i = 0; i < parts; i++)
			e->at[e->n++] = ((uint64_t)1 << k) / parts * (parts + i);
	}
	e->at[e->n] = high < 62 ? (uint64_t)2 << high : UINT64_MAX;
}

static double hist_x(const struct edges *e, uint64_t value)
{
	for (size_t i = 0; i < e->n; i++) {
		if (value < e->at[i + 1])
			return HIST_WIDTH / (double)e->n *
			       ((double)i + (value <= e->at[i]
						     ? 0
						     : (double)(value - e->at[i]) / (double)(e->at[i + 1] - e->at[i])));
	}
	return HIST_WIDTH;
}

static void put_mark(struct buf *b, const struct edges *e, uint64_t value, const char *name, double y)
{
	double x = hist_x(e, value);
	char text[TEXT_SIZE];
	bool is_right = x > HIST_WIDTH * 0.62;
	buf_printf(
		b,
		"<path class=\"mark\" d=\"M%.1f %.1fV%.1f\"/><text class=\"mark%s\" x=\"%.1f\" y=\"%.1f\">%s %s</text>",
		x, y, HIST_TOP + HIST_HEIGHT, is_right ? " end" : "", x + (is_right ? -4 : 4), y + 9, name,
		text_usec(value, text));
}

void chart_hist(struct buf *b, const char *title, const char *about, const struct hist *h)
{
	struct edges e;
	uint64_t n[HIST_BARS], most = 1;
	char from[TEXT_SIZE], to[TEXT_SIZE], count[TEXT_SIZE];
	buf_printf(b, "<figure><figcaption><b>%s</b> %s</figcaption>", title, about);
	if (!h->n) {
		buf_puts(b, "<p class=\"none\">Nothing yet.</p></figure>\n");
		return;
	}
	find_edges(h, &e);
	for (size_t i = 0; i < e.n; i++) {
		n[i] = hist_between(h, i ? e.at[i] : 0, e.at[i + 1]);
		most = max(most, n[i]);
	}
	buf_printf(b, "<svg viewBox=\"0 0 320 146\" role=\"img\" aria-label=\"%s of %s tasks\">", title,
		   text_count(h->n, count));
	double width = HIST_WIDTH / (double)e.n;
	for (size_t i = 0; i < e.n; i++) {
		double height = (HIST_HEIGHT - 26) * (double)n[i] / (double)most;
		if (n[i])
			buf_printf(b,
				   "<rect class=\"f-hist\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
				   "height=\"%.1f\"><title>%s to %s: "
				   "%s</title></rect>",
				   width * (double)i + 0.5, HIST_TOP + HIST_HEIGHT - max(height, 1.5),
				   max(width - 1, 1.0), max(height, 1.5), i ? text_usec(e.at[i], from) : "0",
				   text_usec(e.at[i + 1], to), text_count(n[i], count));
	}
	buf_printf(b, "<path class=\"base\" d=\"M0 %.1fH%.0f\"/>", HIST_TOP + HIST_HEIGHT, HIST_WIDTH);
	put_mark(b, &e, hist_quantile(h, 0.5), "median", 2);
	put_mark(b, &e, hist_quantile(h, 0.95), "95 %", 14);
	buf_printf(b,
		   "<text class=\"tick\" x=\"0\" y=\"142\">%s</text><text class=\"tick end\" x=\"320\" "
		   "y=\"142\">%s</text></svg>",
		   text_usec(h->least, from), text_usec(h->most, to));
	buf_puts(b, "</figure>\n");
}
