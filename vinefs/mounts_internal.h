/* SPDX-License-Identifier: Apache-2.0
 * What the files of mounts share. The loop's thread, but for n_users. */
#ifndef VINEFS_MOUNTS_INTERNAL_H
#define VINEFS_MOUNTS_INTERNAL_H

#include "vinefs/keeper/keeper.h"
#include "vinefs/mounts.h"

#include <stdatomic.h>

struct mounts {
	struct mounts_settings settings;
	struct watch keeper;
	struct list served;
	uint64_t last_number;
	struct mounts_node *node; /* NULL: nobody serves the node's own mount */
	bool is_leaving;
};

struct served {
	struct list link;
	struct mounts *owner;
	uint64_t number, since_usec;
	struct mount_connection connection;
	struct mount *mount;     /* NULL: not yet */
	struct fetch_tree *tree; /* the mount's: there until it is freed */
	struct fetch_open open;
	struct fetch_seal seal; /* of a restored draft: until it has names again */
	struct fetch_watch watch;
	struct timer patience;    /* with that */
	struct mounts_add *adder; /* waits for it to be served */
	struct buf table;         /* as the mount gave it last */
	struct digest id;         /* of a draft: of its names */
	struct digest face;       /* of a draft; see fetch_draft_info */
	char *source;             /* of a draft: the directory that it is; NULL: it is none (any more) */
	uint64_t draft;           /* its number, until it is open */
	char *directory, *name;
	_Atomic unsigned n_users; /* reads under way, and the mount while it serves */
	struct post ended, unused;
	struct list watches; /* of who wants to hear of its end */
	bool is_restored, is_private;
};

/* ---- mounts.c */
void mounts_unuse(struct served *s); /* any: one user less; the last one frees it */
/* The keeper held these for the process before. They are taken over. */
void mounts_take_up(struct mounts *m, uint64_t number, const int fds[2]);

/* It cannot be served (any more). */
void mounts_end(struct served *s, int error);

/* ---- mounts_read.c: any thread; of struct mount_source */
ssize_t mounts_read_now(void *arg, void *tree, const struct mount_range *r, void *p);
/* done(arg), once, when it was answered. */
void mounts_read_later(struct fetch_tree *tree, const struct mount_range *range, struct mount_request *q,
		       void (*done)(void *arg), void *arg);

/* ---- mounts_draft.c */
/* A draft is about to be served, or is. */
int mounts_draft_take(struct served *s, const struct fetch_tree *t);
void mounts_draft_watch(struct served *s, struct fetch_tree *t);
/* The process before served a draft: its names are read again. */
int mounts_draft_restore(struct served *s);
/* Nothing more is heard of it. */
void mounts_draft_stop(struct served *s);

/* ---- mounts_hot.c */
/* `is_last`: the loop does not turn any more, and nobody waits for it. */
void mounts_hot_save(struct served *s, bool is_last);
/* What was read first the last time is fetched before it is asked for. */
void mounts_hot_load(struct served *s);

/* ---- mounts_state.c */
/* What the keeper is to hold from now on in place of what it has; nothing any more. */
int mounts_state_save(struct served *s, bool is_answered);
void mounts_state_drop(struct served *s);
/* Takes the descriptors over. Without a directory: that is nothing we could go on with. */
struct served *mounts_state_load(struct mounts *m, uint64_t number, int connection, int memory);
/* fds NULL, or two. */
int mounts_tell_keeper(struct mounts *m, enum keeper_mount_type type, uint64_t number, const int fds[2]);
void mounts_state_on_keeper(struct watch *w, uint32_t events);

#endif
