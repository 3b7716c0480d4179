/* SPDX-License-Identifier: Apache-2.0
 * Sandboxes of attempts that are over and acknowledged, kept because their output is longer than what was sent of it. The oldest go
 * first when they are too many, too large, or too old. */
#ifndef RUN_KEPT_H
#define RUN_KEPT_H

#include "common/list.h"
#include "common/loop.h"
#include "vinefs/run/removal.h"

#define KEPT_MOST 10000u

struct kept {
	struct loop *loop;
	struct timer timer;
	struct removal *removal; /* borrowed */
	const char *state;
	struct list all; /* oldest first */
	size_t n;
	uint64_t size;
	uint64_t most_usec, most_size;
};

void kept_init(struct kept *k, struct loop *l, struct removal *removal, const char *state, uint64_t most_usec,
	       uint64_t most_size);
void kept_fini(struct kept *k);

/* Keeps out and err of an attempt that has been over for `age_usec`, and deletes the rest of its sandbox; or all of it, if its
 * output is short. */
void kept_add(struct kept *k, uint64_t attempt, uint64_t age_usec);

#endif
