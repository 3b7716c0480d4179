/* SPDX-License-Identifier: Apache-2.0
 * Of one private mount: which complete large files its namespace may bind from the cache over their paths, and that these stay in the cache. A mount's end is not told
 * here; its owner frees this then. The loop's thread. */
#ifndef VINEFS_BINDS_H
#define VINEFS_BINDS_H

#include "vinefs/fetch/fetch.h"

#define BINDS_MAX 200u
#define BINDS_SIZE_MIN (1u << 20)

struct binds;

struct binds_settings {
	struct fetch *fetch;
	const char *cache_path, *directory; /* of the cache, of the mount; borrowed for the call */
	struct digest id;
	bool has_others; /* private mounts of a vinefs before are served, with who knows what bound */
	/* Once, later: binds_put() has something to say now, if there is anything. */
	void (*on_done)(void *arg);
	void *arg;
};

/* Looks for the files, and verifies those that are in doubt since the last reboot, for at most two seconds: what is not done by then is served. NULL: the tree is not here,
 * or not as a tree yet; nothing is bound. */
struct binds *binds_new(const struct binds_settings *s);
/* Appends, for each file, its path in the tree and that of its bytes, absolute: two texts with their NUL. */
void binds_put(const struct binds *b, struct buf *list);
/* Nothing of it is bound any more, or will be. Before fetch_stop(). */
void binds_free(struct binds *b);
DEFINE_FREEP(struct binds, binds_free)

#endif
