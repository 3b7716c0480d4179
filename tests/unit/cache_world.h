/* SPDX-License-Identifier: Apache-2.0
 * A cache in the test's own directory, and trees to put into it. */
#ifndef UNIT_CACHE_WORLD_H
#define UNIT_CACHE_WORLD_H

#include "vinefs/cache/cache.h"

#include <stdio.h>

/* The directory's name below unit_tmpdir(). Settings that are zero are defaults; the boot is "boot-1" unless given. */
struct cache *world_open(const char *name, struct cache_settings s);
int world_try_open(const char *name, struct cache_settings s, struct cache **c, struct conf_error *e);
char *world_path(const char *name); /* yours to free */

/* n files of `size` bytes each, the content from `seed`; old enough to be remembered. Returns the directory. */
char *world_files(const char *name, unsigned n, size_t size, uint64_t seed);

/* Seals a path into the cache and publishes. world_try_seal: -errno. */
struct digest world_seal(struct cache *c, const char *path);
int world_try_seal(struct cache *c, const char *path, struct digest *id, uint64_t *bytes_read);

/* Every byte of every file of the tree is what the files of this directory hold. 0, or what the first read failed with. */
int world_compare(struct cache *c, const struct digest *id, const char *path);

/* The tree's index and all its chunks as bytes, to be put into another cache. */
struct world_copy {
	void *vti;
	size_t n;
	uint64_t n_chunks;
	uint8_t **chunks;
	size_t *sizes;
	struct digest id;
};
void world_copy_make(struct world_copy *w, const char *path);
void world_copy_fini(struct world_copy *w);
/* Writes chunks [from, to) into an open tree: the first error. */
int world_fill(struct cache_tree *t, const struct world_copy *w, uint64_t from, uint64_t to);
uint64_t world_n_resident(const struct cache_tree *t);

/* Flips one bit of a file below the cache's directory. `pattern` as "b/" + "/" + "*"; the first match in name order. False: none. */
bool world_flip(const char *name, const char *pattern, uint64_t offset);
unsigned world_count(const char *name, const char *pattern);

#endif
