/* SPDX-License-Identifier: Apache-2.0
 * How many over time, in bins that double their width when what is told does not fit any more, and numbers by size. Both are exact in what they add up: a bin's sum
 * is what the intervals in it are long, and folding loses nothing of it. */
#ifndef TOOLS_REPORT_SERIES_H
#define TOOLS_REPORT_SERIES_H

#include "common/buf.h"
#include "common/map.h"

#define SERIES_BINS 480u

struct series {
	int64_t area[SERIES_BINS + 2]; /* microseconds, besides what the steps bring */
	int64_t step[SERIES_BINS + 2]; /* how many more from the beginning of this bin on */
};

/* The bins of all series alike; bin i of them is (first + i) * width. */
struct timeline {
	uint64_t width, first, n; /* usec; n: bins in use */
	struct buf all;           /* struct series *, owned */
};

void timeline_fini(struct timeline *t);
struct series *timeline_add(struct timeline *t);
/* Makes room for a time. */
void timeline_cover(struct timeline *t, uint64_t usec);
/* One more from `from` to `to` (UINT64_MAX: for ever); both covered. */
void series_add(struct timeline *t, struct series *s, uint64_t from, uint64_t to);
/* One at a time; series_sum() tells how many. */
void series_count(struct timeline *t, struct series *s, uint64_t at);
/* Of each bin the microseconds that were added up in it. */
void series_sums(const struct timeline *t, const struct series *s, int64_t sums[SERIES_BINS]);

/* ---- report_hist.c: quantiles within 0.4 % */
#define HIST_PARTS 256u
struct hist {
	uint64_t n, sum, least, most;
	uint64_t *bins; /* NULL while empty */
};
void hist_fini(struct hist *h);
void hist_add(struct hist *h, uint64_t value);
/* part: 0 to 1. 0 of none. */
uint64_t hist_quantile(const struct hist *h, double part);
/* How many lie in [from, to), both ends of bins: 2^k, or 2^k and quarters of it. */
uint64_t hist_between(const struct hist *h, uint64_t from, uint64_t to);

/* ---- names told apart: the first is 0 */
struct names {
	struct map by_name;
	struct buf all; /* char *, owned */
};
void names_fini(struct names *n);
/* The number of a name; a new one's if there are fewer than `most`, else UINT32_MAX. */
uint32_t names_find(struct names *n, const char *name, uint32_t most);

#endif
