/* SPDX-License-Identifier: Apache-2.0
 * Many failures, said as few: those of one cause are one line. */
#ifndef TOOLS_WHY_FAILED_H
#define TOOLS_WHY_FAILED_H

#include "tools/tools.h"

struct vine;

/* Lines about failed tasks among vined's rows, by their cause, the commonest first; of very many only the first are looked at, since each costs two
 * questions. A line each: "  3 (as task 17): WHAT; next: CURE". Returns the row of one of the commonest. */
size_t why_failed(struct vine *v, const struct table *rows, struct buf *text);
/* The same of those that a selector means, after asking for them. */
void why_failed_of(struct vine *v, const char *selector, struct buf *text);

#endif
