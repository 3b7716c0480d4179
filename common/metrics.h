/* SPDX-License-Identifier: Apache-2.0
 * Figures for Prometheus, in its text format: what there is stands in a table (a METRICS_FILE, see metrics_table.h), is asked for by
 * GET /metrics over HTTP on a Unix socket or a TCP address, and is put together only then, on the loop's thread. Nothing here waits: who
 * is slow is dropped, who comes when there are too many waits in the kernel. http.h says what a request may be. */
#ifndef COMMON_METRICS_H
#define COMMON_METRICS_H

#include "common/buf.h"
#include "common/conf.h"
#include "common/loop.h"

struct metric {
	const char *name, *type; /* type: gauge, counter, histogram */
	const char *label;       /* its rows differ by this one; "": there is one */
	const char *help;
};

/* ---- one answer */
struct metrics {
	struct buf out;
	const struct metric *table;
	size_t n_table, n_put; /* those before n_put are complete */
};

/* Rows of one metric come together, metrics in the order of the table, none left out. `value` is the label's. */
void metrics_put(struct metrics *m, size_t metric, const char *value, uint64_t n);
void metrics_put_usec(struct metrics *m, size_t metric, const char *value, uint64_t usec); /* as seconds */

/* How long something took: buckets by powers of 4, from 64 us to 17 s and more. */
#define METRICS_BUCKETS 11u
struct metrics_times {
	uint64_t n[METRICS_BUCKETS], sum_usec;
};
void metrics_time(struct metrics_times *t, uint64_t usec);
void metrics_put_times(struct metrics *m, size_t metric, const struct metrics_times *t);

/* ---- who answers */
struct metrics_options {
	struct loop *loop;
	const char *where; /* a path, HOST:PORT or "none"; "": STATE/metrics */
	const char *state;
	const struct metric *table;
	size_t n_table;
	void (*collect)(void *arg, struct metrics *m);
	void *arg;
};
struct metrics_server;

/* 0; *s is NULL where nobody listens: as was asked for, or, which is logged, since STATE/metrics cannot be made. Else -errno with e->text. */
int metrics_listen(struct metrics_server **s, const struct metrics_options *o, struct conf_error *e);
/* Takes its socket away. */
void metrics_server_free(struct metrics_server *s);
DEFINE_FREEP(struct metrics_server, metrics_server_free)
/* Where it listens, by numbers; borrowed. */
const char *metrics_address(const struct metrics_server *s);

#endif
