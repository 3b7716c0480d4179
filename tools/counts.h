/* SPDX-License-Identifier: Apache-2.0
 * How many tasks of a selector are in which state. */
#ifndef TOOLS_COUNTS_H
#define TOOLS_COUNTS_H

#include "tools/tools.h"

struct vine;

struct counts {
	uint64_t waiting, running, held, done, failed, cancelled;
	int worst; /* the largest exit status of those that are over */
};

/* selector NULL: all tasks of the cluster. 0 or -errno as vine_query(). */
int counts_ask(struct vine *v, const char *selector, struct counts *c);
/* Of a run: 0, or the exit status after saying what is wrong. */
int counts_of_run(const struct conf_table *t, struct vine *v, const char *run, struct counts *c);
/* Prints them of selectors as JSON, with the status that is then returned. */
int counts_json(const struct conf_table *t, char *const words[], int n, int status);
uint64_t counts_unfinished(const struct counts *c);
uint64_t counts_all(const struct counts *c);
/* "997 done, 3 failed, 2 running"; what is 0 is left out but for `done`. */
const char *counts_text(const struct counts *c, char to[200]);

#endif
