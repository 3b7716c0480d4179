/* SPDX-License-Identifier: Apache-2.0
 * The node's door for people on the same machine: the Unix socket STATE/vinefs.sock, for their uid alone. Takes requests of `vine seal, tree, cache, mount, why`; and, on
 * STATE/mount.sock, descriptors of mounts; on STATE/shell.sock it gives the stem's namespaces.
 *
 * Files, top to bottom: door.c (connections and who gets what), door_seal.c, door_read.c (indexes and bytes), door_cache.c, door_why.c, door_node.c, door_mount.c, door_shell.c (the
 * other sockets). The loop's thread. */
#ifndef VINEFS_DOOR_H
#define VINEFS_DOOR_H

#include "vinefs/mounts.h"

struct door;

struct door_settings {
	struct loop *loop;
	const char *state, *name; /* directory; the node's name. Borrowed */
	const char *cache_path;   /* for people */
	struct cache *cache;      /* all borrowed; they outlive it */
	struct fetch *fetch;
	struct mounts *mounts;
	void (*upgrade)(
		void *arg); /* the process is to end soon, in order, so that the keeper starts what is installed now */
	/* The stem's number, and its namespaces as KEEPER_STEM_MADE gives them, borrowed; 0: there is none. NULL: there never is. */
	uint64_t (*namespaces)(void *arg, int fds[2]);
	/* What is held for tasks to come goes; returns how many trees. NULL: nothing ever is. */
	unsigned (*shed)(void *arg);
	void *arg;
};

/* NULL after logging why. */
struct door *door_new(const struct door_settings *s);
/* Somebody is connected, or has a mount. */
bool door_is_used(const struct door *d);
/* Whoever waits at it is sent away. Before fetch_stop(). */
void door_free(struct door *d);
DEFINE_FREEP(struct door, door_free)

#endif
