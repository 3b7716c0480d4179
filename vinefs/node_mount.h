/* SPDX-License-Identifier: Apache-2.0
 * The node's own mount: one connection with many trees, by name, below STATE/mnt: in the stem that the keeper makes (tier views), or where everybody on the machine sees it (tier mount). The keeper holds it, so
 * a new vinefs goes on with all trees under the same numbers. Where neither can be done there is none (tier plain). The loop's thread.
 *
 * Files: node_mount.c (from asking to serving, its end), node_mount_tree.c (trees that come and go, drafts), node_mount_set.c (files of several trees in one directory), node_mount_state.c (for the next process). node_mount_internal.h is theirs. */
#ifndef VINEFS_NODE_MOUNT_H
#define VINEFS_NODE_MOUNT_H

#include "common/probe.h"
#include "vinefs/mounts.h"

struct node_mount;

/* One of a set: a tree that is a file, and its name there. */
struct node_file {
	char *name;
	struct digest tree;
};

/* An attached tree; gone within node_mount_remove() or after on_lost. */
struct node_tree {
	struct list link;
	struct carrier *carrier; /* private, like the link */
	char *name;              /* the digest's text, or of what came as a draft: draft-N */
	char *path;              /* STATE/mnt/NAME */
	char *source;            /* of a draft: where it is read from; NULL: it is a tree */
	struct digest id;        /* of a draft: of its names */
	struct digest face;      /* of a draft; see fetch_draft_info */
	struct fetch_tree *tree; /* the mount's; borrowed as long as this is attached, but for on_sealed */
	bool is_file;
	struct node_file *files; /* of a set, which has no `tree` and no `id`: by name; NULL: it is none */
	uint32_t n_files;
	unsigned n_failed; /* reads of the draft that it was, with words about the last */
	char *failure;
	void *owner; /* whoever added it, or takes it in on_restored */
	/* private */
	struct node_served *set; /* the mount's, once it is added */
	struct opening_file *openings;
	uint32_t n_opening;
	int error;
	bool is_resolved, is_added;
	struct fetch_open open;
	struct fetch_seal seal;
	struct fetch_watch watch;
};

struct node_mount_settings {
	struct loop *loop;
	struct fetch *fetch; /* borrowed, like the rest; they outlive it */
	struct mounts *mounts;
	const char *state, *hot;
	enum probe_tier tier; /* no better one is tried */
	uint64_t deadline_usec;
	/* The tier or the stem is known, or another; all that was attached before has been told of by then. */
	void (*on_change)(void *arg);
	/* Attached since a process before. */
	void (*on_restored)(void *arg, struct node_tree *t);
	/* A draft has become the tree of t->id, under its name. */
	void (*on_sealed)(void *arg, struct node_tree *t);
	/* A set is seen now; or cannot be, and t is freed next. */
	void (*on_set)(void *arg, struct node_tree *t, int error);
	/* The connection has ended, t is freed next. Who reads it there gets errors. */
	void (*on_lost)(void *arg, struct node_tree *t);
	void *arg;
};

/* NULL with errno. */
struct node_mount *node_mount_new(const struct node_mount_settings *s);
/* The two ends, after loop_run() and before fetch_stop(): as of mounts.h. */
void node_mount_hand_over(struct node_mount *n);
void node_mount_leave(struct node_mount *n);
/* After fetch_stop(), before mounts_free(). */
void node_mount_free(struct node_mount *n);

/* What was read of an attached tree so far, the first first: it is kept, and *nodes is yours to free. False: nothing, or it has no name to keep it under. */
bool node_tree_read(struct node_tree *t, uint32_t **nodes, size_t *n);

/* -1: not known yet, or no more. Else an enum probe_tier. */
int node_mount_tier(const struct node_mount *n);
/* 0: there is none. */
uint64_t node_mount_stem(const struct node_mount *n);
/* Of the stem: the mount namespace's and the user namespace's descriptors, borrowed. False: there is none. */
bool node_mount_namespaces(const struct node_mount *n, int fds[2]);

/* Takes the handle over if it returns 0; the tree is seen then. -ENOTCONN: there is no mount. */
int node_mount_add(struct node_mount *n, struct fetch_tree *t, void *owner, struct node_tree **out);
/* Files, by the order of their names' bytes, in one directory below STATE/mnt, which is there when on_set comes. They are opened under leases of their own. -ENOENT: one is not known here. -ENOTCONN: as above. */
int node_mount_add_set(struct node_mount *n, const struct node_file *files, uint32_t n_files, void *owner,
		       struct node_tree **out);
#define NODE_SET_NAME (DIGEST_TEXT_SIZE + 4)
/* Equal files have equal names. */
void node_set_name(const struct node_file *files, size_t n, char name[NODE_SET_NAME]);
/* As of fetch_failure(), of all that it was. */
const char *node_tree_failure(const struct node_tree *t, unsigned *n);
/* The same of one file of a set that is seen. */
const char *node_set_failure(const struct node_tree *t, uint32_t file, unsigned *n);
/* With all that is bound over its files. What was read of it is written down. */
void node_mount_remove(struct node_tree *t);

#endif
