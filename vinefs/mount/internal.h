/* SPDX-License-Identifier: Apache-2.0
 * What the mount's files share. Invariants:
 * 1. A number that the kernel has been given means the same node until the connection ends; a slot is never used again.
 * 2. A request is answered once, by whoever takes it from the park (answer, deadline, interrupt, killed); the others find it taken.
 * 3. Contents live as long as a request uses them: a removed or swapped tree is released by its last user.
 * 4. Only the loop changes slots; FUSE threads read them under a lock held for nanoseconds. */
#ifndef MOUNT_INTERNAL_H
#define MOUNT_INTERNAL_H

#define FUSE_USE_VERSION 314

#include "common/list.h"
#include "common/log.h"
#include "vinefs/mount/mount.h"

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>

#define READ_MAX (1u << 20) /* of one READ and of what the kernel sends */
#define REQUEST_ROOM (READ_MAX + 4096)
#define FOR_EVER ((double)INT32_MAX) /* seconds that the kernel may remember */

/* ---- hot.c */
struct hot {
	_Atomic uint64_t *seen; /* a bit for each node */
	uint32_t n_nodes;
	pthread_mutex_t lock;
	uint32_t *order;
	size_t n, room;
};

void hot_init(struct hot *h, uint32_t n_nodes);
void hot_fini(struct hot *h);
void hot_note(struct hot *h, uint32_t node); /* any */
uint32_t *hot_copy(struct hot *h, size_t *n);

/* ---- slots.c */
#define SLOT_GRANULE_BITS \
	12 /* numbers are given in steps of this, so that 32 bits last long and a look-up is one index */

struct slot {
	char *name;
	uint64_t base; /* of its numbers; index 0 is the root, whose number is 1 in a single mount */
	uint32_t n_nodes;
	uint32_t place; /* in slots.at: what the root's listing goes by */
	bool is_gone;
	struct digest id;          /* DIGEST_NONE: a draft */
	struct contents *contents; /* NULL: gone, or restored and not yet added */
	struct hot hot;
};

struct contents {
	_Atomic unsigned n_users;
	struct slot *slot;
	struct mount_tree tree;
	const struct mount_source *source;
	_Atomic uint64_t *complained; /* a bit for each blob whose deadline was logged; the last is the draft's */
};

struct slots {
	pthread_rwlock_t lock;
	struct slot **at;
	uint32_t n;
	uint32_t *granules; /* slot + 1 */
	uint64_t n_granules;
	bool is_single;
	struct timespec changed;
};

void slots_init(struct slots *s, bool is_single);
void slots_fini(struct slots *s);
/* The contents behind a number, to be given back, and the node; NULL: no such number, or it is gone. */
struct contents *slots_get(struct slots *s, uint64_t number, uint32_t *node);
struct contents *slots_get_named(struct slots *s, const char *name, size_t n);
void contents_put(struct contents *c);
uint64_t slot_number(const struct slots *s, const struct slot *slot, uint32_t node);
/* Loop: the living slot of this name or NULL. */
struct slot *slots_find(struct slots *s, const char *name);
struct contents *contents_new(struct slot *slot, const struct mount_tree *t, const struct mount_source *source);
struct slot *slots_append(struct slots *s, const char *name, const struct mount_tree *t);
void slots_set(struct slots *s, struct slot *slot, struct contents *contents);
void slots_save(struct slots *s, struct buf *to);
int slots_load(struct slots *s, const void *table, size_t n);

/* ---- replies.c */
struct face { /* as which everything appears */
	uid_t uid;
	gid_t gid;
};

void reply_attributes(const struct slots *s, const struct contents *c, uint32_t node, const struct face *f,
		      struct stat *st);
void reply_root_attributes(struct slots *s, const struct face *f, struct stat *st);
/* Entries from `offset` on that fit; 0: none is left. */
size_t reply_directory(const struct slots *s, const struct contents *c, uint32_t node, const struct face *f,
		       bool is_plus, uint64_t offset, char *to, size_t room);
size_t reply_root_directory(struct slots *s, const struct face *f, bool is_plus, uint64_t offset, char *to,
			    size_t room);

/* ---- park.c */
struct park {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct list waiting;        /* oldest first, so by deadline */
	unsigned n_waiting, n_held; /* held: not yet answered by the source */
	uint64_t deadline_usec;
	uint64_t n_parked, n_late, n_interrupted, n_killed, read_size;
	bool is_ending;
	pthread_t watcher;
	bool has_watcher;
};

void park_init(struct park *p, uint64_t deadline_usec);
void park_fini(struct park *p);
int park_start(struct park *p);
/* No FUSE thread runs any more. Ends the watcher and what waits, with EIO. */
void park_stop(struct park *p);
/* Parks and asks the source. Takes over the contents. */
void park_read(struct park *p, fuse_req_t req, struct contents *c, const struct mount_range *r);
bool park_is_dying(pid_t pid);

/* ---- serve.c */
extern const struct fuse_lowlevel_ops serve_ops;
struct server;

/* ---- session.c */
struct session {
	struct fuse_session *fuse;
	int fd; /* the session's own */
	bool is_greeting,
		was_greeted;  /* INIT is being answered; it had been, by a process that died before it could tell */
	_Atomic bool is_mute; /* what is said now, the kernel has had, or shall ask another */
};

int session_open(struct session *s, struct mount *m, struct mount_connection *c);
void session_close(struct session *s);

/* ---- holders.c */
struct mountpoint {
	uint64_t id;
	unsigned major, minor;
	char type[64], root[4096], path[4096]; /* root: what of its filesystem is seen there */
};

/* The lines of /proc/PID/mountinfo, the topmost last; on_mount returns true to stop. 0 or -errno. */
int holders_each_mount(const char *pid, bool (*on_mount)(void *arg, const struct mountpoint *at), void *arg);
void holders_list(unsigned major, unsigned minor, struct buf *to);

/* ---- mount.c */
struct server { /* one FUSE thread */
	struct mount *mount;
	pthread_t thread;
	bool is_running;
	uint8_t *request; /* REQUEST_ROOM */
	uint8_t *reply;   /* READ_MAX */
};

struct mount {
	struct mount_settings settings;
	struct face face;
	struct slots slots;
	struct park park;
	struct session session;
	pthread_key_t self; /* the thread's struct server */
	struct server *servers;
	unsigned n_servers;
	_Atomic bool is_stopping, has_ended;
	_Atomic uint64_t requests[MOUNT_OPCODES], read_size;
};

#endif
