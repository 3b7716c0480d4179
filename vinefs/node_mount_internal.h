/* SPDX-License-Identifier: Apache-2.0
 * What node_mount's files share. The loop's thread, but for n_users. */
#ifndef VINEFS_NODE_MOUNT_INTERNAL_H
#define VINEFS_NODE_MOUNT_INTERNAL_H

#include "vinefs/mounts_internal.h"
#include "vinefs/node_mount.h"

struct node_mount {
	struct node_mount_settings settings;
	struct mounts_node wire;
	char *directory; /* STATE/mnt */
	int tier;        /* -1: not known */
	enum probe_tier goal;
	uint64_t asked; /* the stem that the keeper is to make; 0: none */
	uint64_t stem;  /* that it has; 0: none */
	int namespaces[2];
	struct carrier *carrier; /* NULL: none (yet) */
	struct timer timer;      /* the keeper's answer, the next try */
	struct opening_mount *opening;
	uint64_t last_draft;
	bool is_over;
};

/* One connection. */
struct carrier {
	struct node_mount *owner;
	uint64_t number; /* the keeper's; of tier views the stem's */
	enum probe_tier tier;
	struct mount_connection connection;
	struct mount *mount; /* NULL: its trees are not open yet */
	struct list trees;
	struct buf table;         /* as the mount gave it last */
	_Atomic unsigned n_users; /* reads under way, and the mount while it serves */
	struct post ended, unused;
	struct timer patience;                    /* with what is restored */
	bool is_serving, is_restored, is_certain; /* certain: the keeper has told all */
};

/* What the mount has as a tree: one, or several as a set. */
struct node_served {
	struct tree *names; /* of a set */
	uint32_t n;
	struct fetch_tree *trees[];
};

/* ---- node_mount.c */
/* All that it was restored with is open, or never will be. */
void carrier_go_on(struct carrier *c);
void carrier_unuse(void *carrier); /* any */

/* ---- node_mount_tree.c */
struct node_tree *node_tree_new(struct carrier *c, char *name);
void node_tree_free(struct node_tree *t);
/* Is about to be served from this handle. -ESTALE: it is not the draft that it was. */
int node_tree_take(struct node_tree *t, struct fetch_tree *tree);
/* Opens again what a process before had. */
void node_tree_restore(struct node_tree *t);
/* Nothing more is heard of it. */
void node_tree_stop(struct node_tree *t);
/* Of a set: opened, or not. */
void node_set_opened(struct node_tree *t, int error);
/* Gives it to the mount, which owns the handles if this returns 0. */
int node_tree_serve(struct node_tree *t);
void node_tree_watch(struct node_tree *t);
/* `is_last`: the loop does not turn any more. */
void node_tree_save_hot(struct node_tree *t, bool is_last);

/* ---- node_mount_set.c */
struct node_served *node_served_new(struct fetch_tree *tree);
/* Closes its trees. Any thread. */
void node_served_free(struct node_served *s);
/* Any thread. Which tree a range is of, and where in it. */
struct fetch_tree *node_served_find(const struct node_served *s, const struct mount_range *r, struct mount_range *own);
/* node_set_opened() comes later, unless this is not 0. */
int node_set_open(struct node_tree *t);
void node_set_stop(struct node_tree *t);
void node_set_free(struct node_tree *t);
void node_set_put(struct buf *to, const struct node_tree *t);
/* False: that is no set. */
bool node_set_take(struct node_tree *t, const char *p, size_t n);

/* ---- node_mount_state.c */
int carrier_save(struct carrier *c, bool is_answered);
/* Takes the descriptors over. False: that is nothing we could go on with. */
bool carrier_load(struct carrier *c, int connection, int memory);

#endif
