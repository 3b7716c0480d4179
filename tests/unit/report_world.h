/* SPDX-License-Identifier: Apache-2.0
 * Tasks of a run made up, and the page that a report makes of them. */
#ifndef TESTS_UNIT_REPORT_WORLD_H
#define TESTS_UNIT_REPORT_WORLD_H

#include "tests/unit/unit.h"
#include "tools/report.h"

#define T0 1790000000000000u
#define SEC ((uint64_t)1000000)
#define NOW (T0 + 100000 * SEC)

static inline struct report_task task_of(uint64_t id)
{
	return (struct report_task){.id = id,
				    .attempts = 1,
				    .submitted_usec = T0,
				    .started_usec = T0 + id * SEC,
				    .ended_usec = T0 + id * SEC + 2 * SEC,
				    .wall_usec = SEC + SEC / 2,
				    .cpu_usec = SEC,
				    .cores = 1,
				    .memory = (uint64_t)2 << 30,
				    .peak_memory = (uint64_t)100 << 20,
				    .local_size = 3000,
				    .moved_size = 1000,
				    .run = "sweep",
				    .name = "",
				    .tag = "",
				    .category = "",
				    .state = "ended",
				    .node = "n1",
				    .how = "exited",
				    .exceeded = "",
				    .reason = ""};
}

#endif
