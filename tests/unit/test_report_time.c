// SPDX-License-Identifier: Apache-2.0
// Sums over time in bins that grow, quantiles, and names: against the plain way.
#include "tests/unit/report_world.h"

#define N_INTERVALS 300

// What of [from, to) lies in [begin, end).
static int64_t overlap(uint64_t from, uint64_t to, uint64_t begin, uint64_t end)
{
	uint64_t low = max(from, begin), high = min(to, end);
	return high > low ? (int64_t)(high - low) : 0;
}

static void one_seed(uint64_t seed, uint64_t range)
{
	struct timeline t = {.n = 0};
	struct series *s = timeline_add(&t), *counted = timeline_add(&t);
	uint64_t from[N_INTERVALS], to[N_INTERVALS];
	for (size_t i = 0; i < N_INTERVALS; i++) {
		from[i] = T0 + unit_random(&seed) % range;
		to[i] = from[i] + unit_random(&seed) % (range / 3 + 1);
		timeline_cover(&t, from[i]);
		timeline_cover(&t, to[i]);
		series_add(&t, s, from[i], to[i]);
		series_count(&t, counted, to[i]);
	}
	ASSERT(t.n <= SERIES_BINS);
	int64_t sums[SERIES_BINS], counts[SERIES_BINS];
	series_sums(&t, s, sums);
	series_sums(&t, counted, counts);
	for (size_t k = 0; k < t.n; k++) {
		uint64_t begin = (t.first + k) * t.width, end = begin + t.width;
		int64_t sum = 0, n = 0;
		for (size_t i = 0; i < N_INTERVALS; i++) {
			sum += overlap(from[i], to[i], begin, end);
			n += to[i] >= begin && to[i] < end;
		}
		ASSERT_EQ(sums[k], sum);
		ASSERT_EQ(counts[k], n);
	}
	timeline_fini(&t);
}

TEST(a_bin_is_what_the_intervals_in_it_are_long)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		one_seed(seed, 50);
		one_seed(seed, 400 * 1000);
		one_seed(seed, 3600 * SEC);
		one_seed(seed, 86400 * 400 * SEC);
	}
}

TEST(what_never_ends_is_counted_to_the_end_of_the_last_bin)
{
	struct timeline t = {.n = 0};
	struct series *s = timeline_add(&t);
	int64_t sums[SERIES_BINS];
	timeline_cover(&t, T0);
	series_add(&t, s, T0, UINT64_MAX);
	timeline_cover(&t, T0 + 100 * SEC);
	series_sums(&t, s, sums);
	ASSERT(t.width > 1000);
	ASSERT_EQ(sums[t.n - 1], t.width);
	ASSERT_EQ(sums[0], (int64_t)((t.first + 1) * t.width - T0));
	timeline_fini(&t);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

TEST(quantiles_are_right_within_their_parts)
{
	enum { N = 5000 };
	static uint64_t values[N];
	struct hist h = {.n = 0};
	uint64_t seed = 7, sum = 0;
	for (size_t i = 0; i < N; i++) {
		values[i] = unit_random(&seed) >> (unit_random(&seed) % 60);
		hist_add(&h, values[i]);
		sum += values[i];
	}
	qsort(values, N, sizeof *values, by_value);
	for (unsigned k = 1; k < 100; k++) {
		uint64_t is = hist_quantile(&h, k / 100.0), exact = values[N * k / 100 - 1];
		uint64_t off = is > exact ? is - exact : exact - is;
		ASSERT(off <= exact / HIST_PARTS + 1);
	}
	ASSERT_EQ(h.sum, sum);
	ASSERT_EQ(hist_quantile(&h, 1), values[N - 1]);
	ASSERT_EQ(hist_between(&h, 0, UINT64_MAX), N);
	ASSERT_EQ(hist_between(&h, 0, 1024) + hist_between(&h, 1024, UINT64_MAX), N);
	size_t n_small = 0;
	while (n_small < N && values[n_small] < 1024)
		n_small++;
	ASSERT_EQ(hist_between(&h, 0, 1024), n_small);
	hist_fini(&h);
	ASSERT_EQ(hist_quantile(&h, 0.5), 0);
}

TEST(names_are_told_apart_up_to_a_bound)
{
	struct names n = {.all = {0}};
	ASSERT_EQ(names_find(&n, "a", 2), 0);
	ASSERT_EQ(names_find(&n, "b", 2), 1);
	ASSERT_EQ(names_find(&n, "c", 2), UINT32_MAX);
	ASSERT_EQ(names_find(&n, "a", 2), 0);
	ASSERT_EQ(names_find(&n, "b", 0), 1);
	names_fini(&n);
}
