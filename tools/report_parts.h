/* SPDX-License-Identifier: Apache-2.0
 * The sections of a report below its charts: tables that can be sorted. */
#ifndef TOOLS_REPORT_PARTS_H
#define TOOLS_REPORT_PARTS_H

#include "tools/report_svg.h"

void part_begin(struct buf *b, const char *id, const char *title, const char *about);
void part_end(struct buf *b);

void part_failures(struct buf *b, const struct report *r);
void part_slowest(struct buf *b, const struct report *r);
void part_resources(struct buf *b, const struct report *r);
void part_inputs(struct buf *b, const struct report *r);
void part_nodes(struct buf *b, const struct report *r);
void part_waiting(struct buf *b, const struct report *r);
void part_settings(struct buf *b, const struct report *r);
/* The charts' numbers as a table. */
void part_numbers(struct buf *b, const struct report *r);

#endif
