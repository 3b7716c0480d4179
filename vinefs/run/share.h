/* SPDX-License-Identifier: Apache-2.0
 * Which views are kept for tasks to come: those that two tasks in a row have asked for, until they were idle for a while, are too many, or an
 * input in them goes away. */
#ifndef RUN_SHARE_H
#define RUN_SHARE_H

#include "common/list.h"
#include "common/loop.h"
#include "vinefs/run/run.h"

#define SHARE_MOST 32u  /* kept at once: the keeper has room for twice as many */
#define SHARE_SEEN 128u /* remembered, kept or not */
#define SHARE_IDLE_USEC 60000000u

struct share {
	struct loop *loop;
	struct timer timer;
	struct list all; /* used last first */
	unsigned n, n_kept;
	void (*unkeep)(void *arg, uint64_t kept);
	void *arg;
};

void share_init(struct share *s, struct loop *l, void (*unkeep)(void *arg, uint64_t kept), void *arg);
void share_fini(struct share *s);

/* A view of these inputs in this stem, whose first steps have this hash: the number to keep it under, 0: it is not worth it (yet). */
uint64_t share_take(struct share *s, uint64_t stem, uint64_t hash, const struct run_input *inputs, size_t n);
/* What is kept with an input at `at` is kept no more; NULL: all. */
void share_forget(struct share *s, const char *at);

#endif
