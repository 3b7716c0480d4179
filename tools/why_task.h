/* SPDX-License-Identifier: Apache-2.0
 * Why a task waits, failed or ran where it did: a sentence, what it said last, and the next thing to type. */
#ifndef TOOLS_WHY_TASK_H
#define TOOLS_WHY_TASK_H

#include "tools/tools.h"

struct vine;

/* Of a row of vined's tasks. `text` gets lines. v NULL: nobody is asked for more than the row says. */
void why_task(struct vine *v, const struct table *rows, size_t row, struct buf *text);

#endif
