/* SPDX-License-Identifier: Apache-2.0
 * Deletes sandboxes in a thread of its own, so that a task's ten thousand files delay nobody. What is left when the process
 * ends is found again at the next start. Nothing is deleted but what lies in the sandbox: no link is followed, whatever a task
 * has put in the place of a directory. */
#ifndef RUN_REMOVAL_H
#define RUN_REMOVAL_H

#include "common/base.h"

struct removal;

/* `sandboxes` is the directory that they are in, borrowed. NULL with errno. Freeing waits for no more than the file being deleted. */
struct removal *removal_new(int sandboxes);
void removal_free(struct removal *r);

/* Deletes the attempt's sandbox; with `part`, a literal, only that directory of it. Any thread. */
void removal_add(struct removal *r, uint64_t attempt, const char *part);

/* Nothing of the attempt runs any more, for certain: its sandbox may be another's. Before removal_add(). */
void removal_allow(struct removal *r, uint64_t attempt);
/* Gives the attempt a sandbox that has been emptied instead of deleted: making directories is the dearest part of a short task.
 * False: there is none, make one. Any thread. */
bool removal_reuse(struct removal *r, uint64_t attempt);

#endif
