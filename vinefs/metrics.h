/* SPDX-License-Identifier: Apache-2.0
 * A node's figures for Prometheus: metrics.def has what there is. */
#ifndef VINEFS_METRICS_H
#define VINEFS_METRICS_H

#include "common/metrics.h"
#include "vinefs/link.h"
#include "vinefs/services.h"

struct vinefs_metrics {
	struct loop *loop;
	const struct link_parts *parts;
	const struct services *services;
	const struct link *link;
	uint64_t started_usec; /* on the loop's clock; set here */
};

/* As metrics_listen(), where the settings say; what is wrong is logged. `m` is borrowed. */
int vinefs_metrics_listen(struct metrics_server **s, struct vinefs_metrics *m, const struct settings *settings);

#endif
