/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/report_series.h"

static struct series **series_of(const struct timeline *t, size_t *n)
{
	*n = t->all.n / sizeof(struct series *);
	return (struct series **)(void *)t->all.at;
}

void timeline_fini(struct timeline *t)
{
	size_t n;
	struct series **all = series_of(t, &n);
	for (size_t i = 0; i < n; i++)
		free(all[i]);
	buf_fini(&t->all);
}

struct series *timeline_add(struct timeline *t)
{
	struct series *s = NEW(struct series);
	buf_put(&t->all, &s, sizeof s);
	return s;
}

/* ---- bins twice as wide */

/* What begins in the middle of a new bin is a part of its area, and a step from the next one on. */
static void fold(const struct timeline *t, struct series *s)
{
	struct series old = *s;
	memset(s, 0, sizeof *s);
	for (size_t i = 0; i <= SERIES_BINS; i++) {
		uint64_t at = t->first + i;
		size_t to = (size_t)(at / 2 - t->first / 2);
		assert(to < SERIES_BINS);
		s->area[to] += old.area[i];
		if (at % 2) {
			s->area[to] += old.step[i] * (int64_t)t->width;
			s->step[to + 1] += old.step[i];
		} else {
			s->step[to] += old.step[i];
		}
	}
}

static void widen(struct timeline *t)
{
	size_t n;
	struct series **all = series_of(t, &n);
	for (size_t i = 0; i < n; i++)
		fold(t, all[i]);
	t->n = (t->first + t->n - 1) / 2 - t->first / 2 + 1;
	t->first /= 2;
	t->width *= 2;
}

/* Bins before the first one. */
static void shift(struct timeline *t, uint64_t by)
{
	size_t n;
	struct series **all = series_of(t, &n);
	assert(t->n + by <= SERIES_BINS);
	for (size_t i = 0; i < n; i++) {
		struct series *s = all[i];
		memmove(s->area + by, s->area, sizeof s->area - by * sizeof *s->area);
		memmove(s->step + by, s->step, sizeof s->step - by * sizeof *s->step);
		memset(s->area, 0, by * sizeof *s->area);
		memset(s->step, 0, by * sizeof *s->step);
	}
	t->first -= by;
	t->n += by;
}

void timeline_cover(struct timeline *t, uint64_t usec)
{
	if (!t->n) {
		t->width = t->width ? t->width : 1000;
		t->first = usec / t->width;
		t->n = 1;
	}
	for (;;) {
		uint64_t at = usec / t->width, first = min(at, t->first), last = max(at, t->first + t->n - 1);
		if (last - first < SERIES_BINS) {
			if (at < t->first)
				shift(t, t->first - at);
			t->n = max(t->n, at - t->first + 1);
			return;
		}
		widen(t);
	}
}

/* ---- what is in them */

static size_t bin_of(const struct timeline *t, uint64_t usec)
{
	uint64_t at = usec / t->width;
	assert(at >= t->first && at < t->first + t->n);
	return (size_t)(at - t->first);
}

static void put_edge(struct timeline *t, struct series *s, uint64_t usec, int64_t by)
{
	size_t at = bin_of(t, usec);
	uint64_t left = t->width - usec % t->width;
	s->area[at] += by * (int64_t)left;
	s->step[at + 1] += by;
}

void series_add(struct timeline *t, struct series *s, uint64_t from, uint64_t to)
{
	assert(from <= to);
	put_edge(t, s, from, 1);
	if (to != UINT64_MAX)
		put_edge(t, s, to, -1);
}

void series_count(struct timeline *t, struct series *s, uint64_t at)
{
	s->area[bin_of(t, at)]++;
}

void series_sums(const struct timeline *t, const struct series *s, int64_t sums[SERIES_BINS])
{
	int64_t n = 0;
	for (size_t i = 0; i < SERIES_BINS; i++) {
		n += s->step[i];
		sums[i] = i < t->n ? s->area[i] + n * (int64_t)t->width : 0;
	}
}

/* ---- names */

void names_fini(struct names *n)
{
	char **all = (char **)(void *)n->all.at;
	map_fini(&n->by_name);
	for (size_t i = 0; i < n->all.n / sizeof *all; i++)
		free(all[i]);
	buf_fini(&n->all);
}

uint32_t names_find(struct names *n, const char *name, uint32_t most)
{
	size_t found = (size_t)map_get_text(&n->by_name, name), count = n->all.n / sizeof(char *);
	if (found)
		return (uint32_t)found - 1;
	if (count >= most)
		return UINT32_MAX;
	char *copy = xstrdup(name);
	buf_put(&n->all, &copy, sizeof copy);
	map_put_text(&n->by_name, copy, (void *)(count + 1));
	return (uint32_t)count;
}
