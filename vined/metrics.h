/* SPDX-License-Identifier: Apache-2.0
 * vined's figures for Prometheus: metrics.def has what there is. */
#ifndef VINED_METRICS_H
#define VINED_METRICS_H

#include "common/metrics.h"

struct driver;

struct vined_metrics {
	struct loop *loop;
	const struct driver *driver;
	const size_t *n_clients;
	uint64_t started_usec; /* on the loop's clock */
};

/* As metrics_listen(). `m` is borrowed. */
int vined_metrics_listen(struct metrics_server **s, struct vined_metrics *m, const char *where, const char *state,
			 struct conf_error *e);

#endif
