/* SPDX-License-Identifier: Apache-2.0
 * Sandboxes of attempts that are over and acknowledged, kept because more was written than was sent of it. The oldest go first when
 * they are too many, too large, or too old; but whoever hears of the end has KEPT_LEAST_USEC to fetch it, and the newest stays
 * until it is too old, however large it is. */
#ifndef RUN_KEPT_H
#define RUN_KEPT_H

#include "common/list.h"
#include "common/loop.h"
#include "vinefs/run/removal.h"

#define KEPT_MOST 10000u
#define KEPT_LEAST_USEC 10000000u

struct kept {
	struct loop *loop;
	struct timer timer;
	struct removal *removal; /* borrowed, like the next */
	int sandboxes;
	struct list all; /* oldest first */
	size_t n;
	uint64_t size;
	uint64_t most_usec, most_size;
};

void kept_init(struct kept *k, struct loop *l, struct removal *removal, int sandboxes, uint64_t most_usec,
	       uint64_t most_size);
void kept_fini(struct kept *k);

/* Keeps out, err and record of an attempt that has been over for `age_usec`, and deletes the rest of its sandbox; or all of it, if its
 * output was short and could be sent whole. */
void kept_add(struct kept *k, uint64_t attempt, uint64_t age_usec, bool is_unsent);
/* Keeps all of a sandbox, for a person who wants to know why it failed; it is marked so that a later process finds it. `size`: of what was written in it. */
void kept_add_whole(struct kept *k, uint64_t attempt, uint64_t age_usec, uint64_t size);
/* It was kept so by a process before. */
bool kept_is_whole(const struct kept *k, uint64_t attempt, uint64_t *size);

#endif
