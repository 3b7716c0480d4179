/* SPDX-License-Identifier: Apache-2.0
 * A hash map from uint64_t or from strings to pointers: open addressing, grows and shrinks, never hands
 * out the address of a slot. Keys of one map are all of one kind. A string key is borrowed from the value and must
 * live as long as it is in the map. Zero-initialised is empty.
 *
 * Numbers hash alike in every process, so that the order of map_next can be replayed; strings are hashed under the
 * process's random seed, so that nobody can choose names that all collide. */
#ifndef COMMON_MAP_H
#define COMMON_MAP_H

#include "common/base.h"

struct map_slot;
struct map {
	struct map_slot *slots;
	size_t room, n;
	uint64_t seed; /* of strings; 0: the keys are numbers, or there is none yet */
};

void map_fini(struct map *m);

/* Puts value (not NULL) under key and returns what was there before, or NULL. A string key that is there already is
 * replaced by the new pointer, for it goes with the new value. */
void *map_put(struct map *m, uint64_t key, void *value);
void *map_get(const struct map *m, uint64_t key);
void *map_remove(struct map *m, uint64_t key);

void *map_put_text(struct map *m, const char *key, void *value);
void *map_get_text(const struct map *m, const char *key);
void *map_remove_text(struct map *m, const char *key);

/* `size_t i = 0; while ((v = map_next(&m, &i)))` visits each value once, also when the body removes (and frees) the
 * value just returned; nothing else may be removed, and nothing put. */
void *map_next(const struct map *m, size_t *i);

#endif
