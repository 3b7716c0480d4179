/* SPDX-License-Identifier: Apache-2.0
 * Which trees are mounted where: each a connection of its own that the keeper holds too, its bytes from fetch, its tree under a lease. A new vinefs takes them up
 * again; a mount ends when it is unmounted. The loop's thread. */
#ifndef VINEFS_MOUNTS_H
#define VINEFS_MOUNTS_H

#include "common/list.h"
#include "common/loop.h"
#include "vinefs/fetch/fetch.h"
#include "vinefs/mount/mount.h"

struct mounts;

struct mounts_settings {
	struct loop *loop;
	struct fetch *fetch; /* borrowed; outlives it */
	int keeper;          /* from KEEPER_MOUNTS_FD; taken over. -1: nobody holds them, they die with the process */
	uint64_t deadline_usec;
	const char *hot; /* directory for what was read of each tree, in order: HOT/<id>, an array of u32; borrowed */
};

/* What the keeper held for the process before is served again, as soon as its trees are open. NULL with errno. */
struct mounts *mounts_new(const struct mounts_settings *s);
/* Frees it; what is still mounted stays with the keeper. The fetch must have been stopped before. */
void mounts_free(struct mounts *m);
DEFINE_FREEP(struct mounts, mounts_free)

/* The two ends, after loop_run() and before fetch_stop(); both write down what was read of each tree, and wait for that. */
/* Nothing is answered from here on: what readers wait for stays with the kernel until the next vinefs takes it up from the keeper. */
void mounts_hand_over(struct mounts *m);
/* Unmounts everything, from under whoever uses it: the node is stopped in order. */
void mounts_leave(struct mounts *m);

/* Who serves the node's own mount, which the keeper holds with these and makes (node_mount.c). Descriptors are taken over. */
struct mounts_node {
	void (*on_held)(struct mounts_node *n, uint64_t number, int connection, int memory);
	/* KEEPER_STEM_MADE: error, or n_fds descriptors. */
	void (*on_stem)(struct mounts_node *n, uint64_t number, int error, const int *fds, unsigned n_fds);
	void (*on_all_held)(struct mounts_node *n);
};

#define MOUNTS_NODE_MAGIC UINT64_C(0x3165646f6e656e76) /* what the memory of such a one begins with */

/* Before the loop's next turn. NULL: it is gone. */
void mounts_set_node(struct mounts *m, struct mounts_node *n);
/* For a mount or a stem; none of the keeper's has it. */
uint64_t mounts_new_number(struct mounts *m);

#define MOUNTS_NAME_MAX 255u

struct mounts_add {
	struct mount_connection connection; /* the descriptor is taken over in every case */
	const char *directory, *name;       /* borrowed for the call; name: as a person asked for it */
	bool is_private;                    /* seen in a namespace of its own alone */
	struct digest id;
	uint64_t
		draft; /* not 0: a draft's number, and `id` says nothing; it becomes an ordinary tree under the same numbers when it is sealed */
	/* 0: it is served, under this number; or -errno. */
	void (*on_done)(struct mounts_add *a, int error, uint64_t number);
	void *served; /* private */
};

/* on_done comes later, unless this is not 0; -EUSERS: mounts_max() are served. `a` is the caller's, zeroed before, his again in on_done. */
int mounts_add(struct mounts *m, struct mounts_add *a);
/* The caller hears nothing more; the mount ends when its directory is unmounted. */
void mounts_add_stop(struct mounts_add *a);

/* As many as this process and the keeper have descriptors for. */
unsigned mounts_max(void);

/* Its owner's, zeroed. on_end: the mount is gone, and the link removed. */
struct mounts_watch {
	struct list link;
	void (*on_end)(struct mounts_watch *w);
};

/* -ENOENT: there is no such mount any more. Neither is told of who is served on by another process. */
int mounts_watch_start(struct mounts *m, uint64_t number, struct mounts_watch *w);
void mounts_watch_stop(struct mounts_watch *w);

struct mounts_info {
	uint64_t number, since_usec;
	const char *directory, *name; /* borrowed until the loop's next turn */
	struct digest id;             /* of a draft: of its names */
	struct mount_numbers numbers;
	bool is_private, is_draft;
	bool is_restored;   /* taken up from a process before */
	const char *reason; /* why a draft stays one; "": it is being sealed. Borrowed as the others */
	struct seal_progress progress;
};

/* Oldest first. Returns how many. */
unsigned mounts_each(struct mounts *m, void (*each)(void *arg, const struct mounts_info *i), void *arg);
/* A path that lies in a mount. */
struct mounts_found {
	uint64_t number;
	struct digest id;
	struct fetch_tree *tree; /* borrowed until the loop's next turn; NULL: not yet */
	const char *rest;        /* of the path, behind the directory */
	unsigned n_others;       /* mounts on this directory, in other namespaces or beneath it */
};

/* The mount below whose directory an absolute path lies: of several the one of this st_dev (0: not known), else the deepest, else the newest. False: in none. */
bool mounts_find(struct mounts *m, const char *path, uint64_t device, struct mounts_found *out);

#endif
