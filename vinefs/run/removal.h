/* SPDX-License-Identifier: Apache-2.0
 * Deletes directories in a thread of its own, so that a task's ten thousand files delay nobody. What is left when the process
 * ends is found again at the next start. */
#ifndef RUN_REMOVAL_H
#define RUN_REMOVAL_H

#include "common/base.h"

struct removal;

/* NULL with errno. Freeing waits for no more than the file being deleted. */
struct removal *removal_new(void);
void removal_free(struct removal *r);

/* Takes over path. Any thread. */
void removal_add(struct removal *r, char *path);

#endif
