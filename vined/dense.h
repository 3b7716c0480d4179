/* SPDX-License-Identifier: Apache-2.0
 * A map from numbers that are given out one after another, as those of tasks are: pages of pointers, found by a map. It costs 8 bytes
 * a value where a map costs 32, and neighbours lie together. Zero-initialised is empty. */
#ifndef VINED_DENSE_H
#define VINED_DENSE_H

#include "common/map.h"

struct dense_page;
struct dense {
	struct map pages;
	struct dense_page *last; /* put or removed last: who asks for a number asks for its neighbours, too */
	size_t n;
};

/* There is none under that number yet. */
void dense_put(struct dense *m, uint64_t number, void *value);
void *dense_get(const struct dense *m, uint64_t number);
void *dense_remove(struct dense *m, uint64_t number);

/* Calls `on_value` for each, which may remove that one, and nothing else; in no order. */
void dense_each(struct dense *m, void (*on_value)(void *arg, void *value), void *arg);

/* It must be empty. */
void dense_fini(struct dense *m);

#endif
