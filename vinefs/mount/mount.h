/* SPDX-License-Identifier: Apache-2.0
 * What is seen: sealed trees as files, by FUSE. Immutable and silent: when all is warm no request is made at all. Where bytes come from is asked by
 * callbacks; this room knows no cache and no fetch. decisions/0004 has the arrangement and what it costs.
 *
 * Files, top to bottom: session.c (the kernel's side: /dev/fuse, mount(2), fusermount3, unmounting, INIT and RESEND), holders.c (who keeps a mount
 * busy), mount.c (threads, trees that come and go), serve.c (the operations), park.c (reads that wait), replies.c (attributes and
 * directories as the kernel wants them), hot.c (what is read first), slots.c (which number is which tree), warm.c (for a helper process: a walk
 * ahead of the first task). internal.h is theirs alone.
 *
 * Threads: "loop" is the one thread that owns a mount; "any" is any. No callback is called with a lock held. No process that
 * serves a mount may hold a descriptor on it: it would wait for itself at its exit. */
#ifndef MOUNT_MOUNT_H
#define MOUNT_MOUNT_H

#include "common/buf.h"
#include "data/data.h"

/* ---- the kernel's side */

#define MOUNT_ERROR_SIZE 256

/* What outlives a serving process; the keeper's to hold. */
struct mount_connection {
	int fd; /* /dev/fuse, mounted */
	bool is_answered; /* the kernel has had its answer to INIT: who serves next resumes. If that is not known, false will do */
	bool is_file;    /* what it lies on is a file: so the tree must be one */
	uint64_t device; /* of the mounted filesystem, as st_dev says it to whoever sees it; 0: not known */
	size_t n_init;
	uint8_t init[512]; /* the kernel's INIT request */
};

struct mount_place {
	const char *directory; /* or a file, for a tree that is one: see is_file below */
	const char *device;    /* NULL: /dev/fuse; tests bind another */
	const char *name;      /* what mount(8) shows as the source; NULL: vine */
	bool is_for_others;    /* allow_other: any user, within the modes of files */
	bool is_by_helper;     /* fusermount3, even where mount(2) would do */
};

/* Mounts, by mount(2) where that is allowed (root, or in a user namespace of one's own), else by fusermount3, and fetches INIT. A dead mount that lies
 * there is taken away first. 0 or -errno with a text of MOUNT_ERROR_SIZE for a person. Any thread; the process may have others. */
int mount_connect(const struct mount_place *place, struct mount_connection *c, char *error);

/* Fetches INIT of one that somebody else has mounted; *c zeroed but for the descriptor, which stays the caller's. Waits, but not for long. 0 or -errno. */
int mount_greet(struct mount_connection *c);

/* A last `busy` of who holds it, a line each, goes into `holders`. Without `is_forced` a busy mount is -EBUSY and stays; with it the mount disappears at once
 * (those who hold files there get errors when the connection ends). Files of a cache that were bound over its own go with it. -EINVAL: nothing of ours is mounted there. For a process that does not serve it, or
 * from a thread other than its FUSE threads. */
int mount_disconnect(const char *directory, bool is_forced, struct buf *holders);
/* In this process' namespace, and not beneath another mount. Asks the mount nothing. */
bool mount_is_at(const char *directory, uint64_t device);

/* The kernel reads ahead this much instead of 128 KiB: root only, else -EACCES. After mount_start(). */
int mount_set_read_ahead(const char *directory, unsigned kib);

/* ---- serving */

struct mount;
struct mount_request; /* a read that waits */

/* What a read wants, never past the end of its file. */
struct mount_range {
	uint32_t node;
	uint32_t blob;   /* TREE_NO_BLOB: of a draft, `offset` counts within the file */
	uint64_t offset; /* within the blob */
	uint32_t n;
};

/* A tree as it is served; `arg` is the owner's. */
struct mount_tree {
	const struct tree *index; /* borrowed until release(arg) */
	void *arg;
	bool is_draft; /* names are final, contents have no place yet; mount_swap() ends it */
};

struct mount_source {
	void *arg;
	/* FUSE threads; never waits. All n bytes into p and n, or -EAGAIN (would wait, or not here: read_later is next), or -errno for the reader. */
	ssize_t (*read_now)(void *arg, void *tree, const struct mount_range *r, void *p);
	/* FUSE threads; must not wait. `q` is the callee's until it calls mount_answer(q), once, sooner or later, whether or not somebody still waits for it. */
	void (*read_later)(void *arg, void *tree, const struct mount_range *r, struct mount_request *q);
	/* Any thread; nobody waits for q any more (deadline, interrupt, killed): a hint, mount_answer is still due. NULL: not told. */
	void (*drop)(void *arg, struct mount_request *q);
	/* Any thread; the tree is used no more. */
	void (*release)(void *arg, void *tree);
	/* Loop, within mount_add and mount_remove: keep this table of numbers, in place of the one before, where a new process finds it. -errno: the tree is
	 * not added. NULL: nobody keeps it, the mount dies with this process. */
	int (*keep)(void *arg, const void *table, size_t n);
	/* A FUSE thread, its last words: the kernel has ended the connection. NULL: not told. */
	void (*on_end)(void *arg);
};

struct mount_settings {
	struct mount_source source;
	uid_t uid; /* whom everything belongs to */
	gid_t gid;
	bool is_single;         /* the root is the one tree that is added; else it lists trees by name */
	bool is_file;           /* single, and its place is a file: the tree must be one, else it must not */
	unsigned n_threads;     /* 0: one; more bring nothing (decisions/0004) */
	uint64_t deadline_usec; /* of a read that waits; 0: 30 s */
};

/* Loop. Free it after mount_stop(), and when every read_later has been answered. */
struct mount *mount_new(const struct mount_settings *s);
void mount_free(struct mount *m);
DEFINE_FREEP(struct mount, mount_free)

/* Loop, before the first tree: the table that keep() was given last, so that numbers go on meaning what they meant. -EBADMSG. */
int mount_restore(struct mount *m, const void *table, size_t n);

/* Loop. A tree appears under `name` (one component; "" for a single one), with numbers that no other tree had or will have; a name of a restored table gets its
 * numbers back (-ESTALE if that was another tree). -EEXIST, -EINVAL, -ENOTDIR and -EISDIR (see is_file). On failure `t` is not taken and not released. */
int mount_add(struct mount *m, const char *name, const struct mount_tree *t);
/* Loop. Other contents under the same names, attributes and numbers: a draft that is sealed now. What waits is still answered by the old ones, which are
 * released after the last of it. -ENOENT, -ESTALE (not the same): `t` is not taken. Any other error is keep()'s: done, but not kept. */
int mount_swap(struct mount *m, const char *name, const struct mount_tree *t);
/* Loop. The name goes at once, with all that is mounted below it in any namespace; whatever is open below it gets ESTALE for what the kernel has not in memory. A name of a restored table
 * that was not added again can go too. -ENOENT. */
int mount_remove(struct mount *m, const char *name);

/* Loop. Answers INIT, or resumes: then all trees were added before, and requests that a dead process left are answered now. The descriptor is duplicated;
 * is_answered becomes true. -ENOTSUP: this kernel cannot resend, end the connection. */
int mount_start(struct mount *m, struct mount_connection *c);
/* Loop. Ends the threads. With `is_handed_over` what waits stays with the kernel, for the process that resumes; else it ends in EIO. */
void mount_stop(struct mount *m, bool is_handed_over);

/* Any. n bytes as asked for, or -errno. */
void mount_answer(struct mount_request *q, const void *p, ssize_t n);
/* Any. True when nobody waits for it any more; the bytes may still be worth having. */
bool mount_is_over(const struct mount_request *q);

/* Any. Ends, with EIO, the waiting reads of processes for which is_of(arg, pid) is true: a task's that is killed. Those of killed processes that nobody tells
 * of are found within half a second (by /proc, where pids are visible). Returns how many. */
unsigned mount_fail_reads(struct mount *m, bool (*is_of)(void *arg, pid_t pid), void *arg);

/* Loop. What was looked into or read first, in order, as numbers of the tree's nodes (directories and files); malloc'ed. -ENOENT. */
int mount_hot(struct mount *m, const char *name, uint32_t **nodes, size_t *n);

#define MOUNT_OPCODES 64 /* as in linux/fuse.h; the last one counts all others */
struct mount_numbers {
	uint64_t requests[MOUNT_OPCODES], n_requests;
	uint64_t read_size;                       /* bytes given */
	uint64_t n_parked, n_waiting;             /* ever; now */
	uint64_t n_late, n_interrupted, n_killed; /* parked reads that ended so */
};
void mount_get_numbers(struct mount *m, struct mount_numbers *out); /* any */
const char *mount_opcode_name(unsigned opcode);

/* ---- for a helper process: it may wait for the mount for ever, so it must not be the one that serves */

struct mount_warmed {
	uint64_t n_directories, n_files, size;
};

/* Lists each directory of `nodes` below `root` (a path of the mounted tree), so that the kernel has its names and attributes, and reads the files ahead. 0 or -errno;
 * -ETIME: until_usec of CLOCK_MONOTONIC (0: never) came, perhaps within a directory. */
int mount_warm(const char *root, const struct tree *t, const uint32_t *nodes, size_t n, uint64_t until_usec,
	       struct mount_warmed *out);

#endif
