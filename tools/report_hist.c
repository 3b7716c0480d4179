/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/report_series.h"

#define HIST_BINS ((64 - 7) * HIST_PARTS)

/* Exact below 256, then 256 parts of each power of two. */
static size_t bin_of(uint64_t value)
{
	if (value < HIST_PARTS)
		return (size_t)value;
	unsigned e = 63u - (unsigned)__builtin_clzll(value);
	return (size_t)(e - 7) * HIST_PARTS + (size_t)((value >> (e - 8)) & (HIST_PARTS - 1));
}

/* The least value of a bin. */
static uint64_t value_of(size_t bin)
{
	if (bin < HIST_PARTS)
		return bin;
	unsigned e = (unsigned)(bin / HIST_PARTS) + 7;
	return ((uint64_t)HIST_PARTS + bin % HIST_PARTS) << (e - 8);
}

void hist_fini(struct hist *h)
{
	free(h->bins);
	*h = (struct hist){.n = 0};
}

void hist_add(struct hist *h, uint64_t value)
{
	size_t bin = bin_of(value);
	assert(bin < HIST_BINS);
	if (!h->bins)
		h->bins = xcalloc(HIST_BINS, sizeof *h->bins);
	h->bins[bin]++;
	h->least = h->n ? min(h->least, value) : value;
	h->most = max(h->most, value);
	h->sum += value;
	h->n++;
}

uint64_t hist_quantile(const struct hist *h, double part)
{
	uint64_t want = (uint64_t)(part * (double)h->n + 0.5), seen = 0;
	if (!h->n)
		return 0;
	want = max(min(want, h->n), (uint64_t)1);
	if (want == h->n)
		return h->most;
	for (size_t i = 0; i < HIST_BINS; i++) {
		seen += h->bins[i];
		if (seen >= want) {
			uint64_t low = value_of(i), high = i + 1 < HIST_BINS ? value_of(i + 1) : low + 1;
			return min(max(low + (high - low) / 2, h->least), h->most);
		}
	}
	return h->most;
}

uint64_t hist_between(const struct hist *h, uint64_t from, uint64_t to)
{
	uint64_t n = 0;
	size_t end = to == UINT64_MAX ? HIST_BINS : bin_of(to);
	for (size_t i = bin_of(from); h->bins && i < end; i++)
		n += h->bins[i];
	return n;
}
