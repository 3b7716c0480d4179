/* SPDX-License-Identifier: Apache-2.0
 * The cause of a task's failure, with what only this machine and the cluster know: the end of what it said, what it asked for, what is here. */
#ifndef TOOLS_WHY_CAUSE_H
#define TOOLS_WHY_CAUSE_H

#include "tools/cause.h"
#include "tools/tools.h"

struct vine;

/* Of a row of vined's tasks. *said is the end of its standard error, yours to free; v NULL: nobody is asked. */
void why_cause(struct vine *v, const struct table *rows, size_t row, struct cause *c, char **said);

/* vined's row about one task (vined/command_why.c); 0 or -errno. */
int why_ask(struct vine *v, uint64_t task, struct table *more);

#endif
