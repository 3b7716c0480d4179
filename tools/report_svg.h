/* SPDX-License-Identifier: Apache-2.0
 * Charts of a report as SVG within the page; colours are classes of report_page.css. Each has a role, a title, and what it shows as text. */
#ifndef TOOLS_REPORT_SVG_H
#define TOOLS_REPORT_SVG_H

#include "tools/report_text.h"

#define CHART_WIDTH 1000.0
#define CHART_LEFT 120.0
#define CHART_RIGHT 992.0

extern const char *const report_classes[REPORT_STATES];

/* The range of time that charts show. */
struct span_of_time {
	uint64_t from, to;
};
struct span_of_time chart_span(const struct report *r);
double chart_x(const struct span_of_time *s, uint64_t usec);
/* Lines and labels below, from y 0 to `height`. */
void chart_axis(struct buf *b, const struct span_of_time *s, double height);
/* How many on average in each bin, cut at the ends of the span; returns the largest. */
double chart_means(const struct report *r, const struct series *s, double means[SERIES_BINS]);
/* Of what goes on for ever, as having ended does: how many by the end of each bin. */
void chart_so_far(const struct report *r, const struct series *s, double n[SERIES_BINS]);

/* A bar for a line of text: parts of `of`, each with its class. */
struct chart_part {
	const char *class;
	const char *what;
	uint64_t n;
};
void chart_bar(struct buf *b, const char *title, const struct chart_part *parts, size_t n);
void chart_mini(struct buf *b, const struct chart_part *parts, size_t n, uint64_t of);

void chart_over_time(struct buf *b, const struct report *r);
/* Microseconds, on a logarithmic scale. */
void chart_hist(struct buf *b, const char *title, const char *about, const struct hist *h);

/* ---- report_time.c */
void chart_timeline(struct buf *b, const struct report *r);
/* Whether each task has a bar of its own there. */
bool chart_has_bars(const struct report *r);

#endif
