/* SPDX-License-Identifier: Apache-2.0
 * What benchmarks share: a clock, a median with its spread, the last line and the line in bench-results.jsonl. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "common/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

static inline double bench_now_sec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct spread {
	double median, low, high;
};

static inline int bench_by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Sorts them. */
static inline struct spread spread_of(double *at, size_t n)
{
	assert(n > 0);
	qsort(at, n, sizeof *at, bench_by_value);
	return (struct spread){at[n / 2], at[0], at[n - 1]};
}

static inline _Noreturn void bench_cannot(const char *name, const char *why)
{
	printf("%s: cannot run here: %s\n", name, why);
	exit(77);
}

/* A small form, by VINE_BENCH_QUICK=1, that shows that a benchmark works. It is no result and says so. */
static inline bool bench_is_quick(void)
{
	const char *quick = getenv("VINE_BENCH_QUICK");
	return quick && *quick;
}

/* The last line, and the same with `details` ("\"a\":1,...", by format) as a line of JSON where $BENCH_RESULTS says. */
static inline _printf_(5, 6) void bench_end(const char *name, double value, const char *unit, const char *target,
					    const char *details, ...)
{
	const char *path = getenv("BENCH_RESULTS");
	if (bench_is_quick()) {
		printf("quick form, no result: %s %.6g %s (target %s)\n", name, value, unit, target);
		return;
	}
	FILE *f = path && path[0] ? fopen(path, "ae") : NULL;
	if (f) {
		va_list args;
		fprintf(f, "{\"bench\":\"%s\",\"value\":%.6g,\"unit\":\"%s\",\"target\":\"%s\",", name, value, unit,
			target);
		va_start(args, details);
		vfprintf(f, details, args);
		va_end(args);
		fprintf(f, "}\n");
		fclose(f);
	}
	printf("%s %.6g %s (target %s)\n", name, value, unit, target);
}

#endif
