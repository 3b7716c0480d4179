/* SPDX-License-Identifier: Apache-2.0
 * Makes the enum and the table of METRICS_FILE, whose lines are
 *
 *   METRIC(ID, type, "name", "label", "help")
 *
 * as METRIC_ID and metrics_table. doc/metrics.md is made from the same lines. */
#ifndef METRICS_FILE
#error "METRICS_FILE says whose metrics"
#endif

#include "common/metrics.h"

enum {
#define METRIC(id, type, name, label, help) METRIC_##id,
#include METRICS_FILE
#undef METRIC
};

static const struct metric metrics_table[] = {
#define METRIC(id, type, name, label, help) {name, #type, label, help},
#include METRICS_FILE
#undef METRIC
};
