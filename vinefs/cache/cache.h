/* SPDX-License-Identifier: Apache-2.0
 * What is kept: one directory per node with verified blobs, indexes and what is known about them. decisions/0003 says how it lies on disk.
 *
 * Files, top to bottom: look.c (what a person is shown), sealing.c (a seal_store), scrub.c, lease.c (names, pins, leases),
 * held.c (a tree in use: residency, reads), part.c (chunks of what is not whole yet), evict.c, known.c (indexes), recover.c (what is found at the
 * start), cache.c (the directory, room, health), blob.c (one blob: state, descriptor, moves), catalog.c and catalog_read.c (SQL).
 *
 * Threads: "any" includes FUSE threads and never waits; "pool" may read, write and wait for a disk, and may run in any number at once; "loop" takes the cache's lock for
 * microseconds and does no I/O. No lock is held across I/O. Errors are 0 or -errno. */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include "common/conf.h"
#include "common/digest.h"
#include "data/data.h"

/* ---- the directory */

struct cache;

struct cache_damage {
	struct digest blob;
	uint64_t chunk;      /* the first one that is wrong, within the blob */
	bool is_whole;       /* a blob that lay in b/ and is now in q/; else one chunk of p/ */
	bool is_quarantined; /* false: it was too large to be kept for inspection */
};

struct cache_settings {
	const char *path;
	const char *boot_id; /* NULL: the kernel's; tests set it */
	/* 0: nine tenths of what the filesystem has free, with what is ours already. */
	uint64_t quota, n_inodes;
	unsigned high_percent, low_percent; /* of these: above high evict until low; 0: 95 and 85 */
	unsigned n_open;                    /* descriptors of blobs at most; 0: 4096 */
	uint64_t
		retry_usec; /* a sick disk is tried again after seconds, then less and less often, down to this; 0: a minute */
	void *arg;
	void (*on_damage)(void *arg, const struct cache_damage *d); /* pool; NULL: it is logged only */
};

struct cache_state {
	uint64_t size, quota; /* bytes on disk, reservations and indexes included */
	uint64_t n_inodes, inode_quota;
	uint64_t reserved_size; /* the part of size that is room for chunks that are not there yet */
	unsigned n_trees, n_blobs, n_partial, n_doubtful, n_damaged; /* doubtful: not verified since the reboot */
	bool is_memory;                                              /* on tmpfs: its bytes are memory */
	bool is_sick;        /* out of service: nothing is written until the disk has recovered */
	char reason[160];    /* why */
	uint64_t since_usec; /* wall clock */
};

/* What can be told at once, and what it did since it was opened. */
struct cache_numbers {
	uint64_t size, quota, n_inodes, inode_quota;
	uint64_t n_evictions, evicted_size; /* room that was made, and how often */
	unsigned n_trees, n_damaged;
	bool is_sick;
};

enum { CACHE_TEXT_SIZE = 400 };

/* Makes or recovers the directory. Before threads exist; takes long after a loss of the catalog only. -EPROTONOSUPPORT: a newer VERSION, nothing was touched;
 * -EBUSY: another process has it. */
int cache_open(const struct cache_settings *s, struct cache **out, struct conf_error *e);
/* Every tree, lease and sealing was given back before. Waits for the catalog. */
void cache_free(struct cache *c);
DEFINE_FREEP(struct cache, cache_free)
const char *cache_node_id(const struct cache *c);                 /* any; borrowed */
int cache_directory(const struct cache *c);                       /* any; borrowed descriptor */
void cache_get_state(struct cache *c, struct cache_state *s);     /* loop */
void cache_get_numbers(struct cache *c, struct cache_numbers *n); /* any */
/* Any. What -ENOSPC or -EROFS from here means just now: how much there is, what holds it, what to do. False: it is no such error, or not this cache's doing. */
bool cache_explain(struct cache *c, int error, char text[CACHE_TEXT_SIZE]);
void cache_limit(struct cache *c, uint64_t quota,
		 uint64_t n_inodes); /* loop: new limits, as in the settings; they bite at the next cache_maintain() */
/* Pool, every few seconds: evicts down to the low watermark if the high one is passed, tries a sick disk again. 0, or why room could not be made. */
int cache_maintain(struct cache *c);
/* Pool: makes room or says -ENOSPC. What is to come is not reserved by this: see cache_tree_reserve(). */
int cache_make_room(struct cache *c, uint64_t size, uint64_t n_inodes);
/* Pool: waits until all that was remembered so far is in the catalog. */
void cache_flush(struct cache *c);

/* ---- sealing into it. A sealing holds what it stored or recalled until it is freed, so that the tree is whole when it is published. */

struct cache_sealing;

/* Any. With may_drop blobs that find no room are digested and not kept, so that a tree larger than the cache can be sealed and its chunks come from the source again as
 * they are read; else sealing ends with -ENOSPC. */
struct cache_sealing *cache_sealing_new(struct cache *c, bool may_drop);
/* Any, before it begins: large files are not copied where they can become blobs themselves: on the cache's filesystem, ours, of one name, and nobody has them open for writing (a lease keeps
 * it so until they are stored). They get a second name then, in b/, keep mode and time, and must not be written to any more: of what is the cache's alone. */
void cache_sealing_may_take(struct cache_sealing *s);
uint64_t cache_sealing_dropped(const struct cache_sealing *s); /* any: bytes so far */
void cache_sealing_free(struct cache_sealing *s);              /* loop */
DEFINE_FREEP(struct cache_sealing, cache_sealing_free)
const struct seal_store *
cache_sealing_store(struct cache_sealing *s); /* any; borrowed; its functions are for the pool */
/* Pool: stores a .vti (borrowed) whether or not its blobs are there; *id is the tree's. A tree that is there already stays as it is. */
int cache_publish(struct cache *c, const void *vti, size_t n, struct digest *id);
/* Pool: is it known, with a sound index? A damaged one is put into quarantine. */
bool cache_has(struct cache *c, const struct digest *id);

/* ---- names, pins, leases: loop. Names and pins are safe from a crash after the next cache_flush(). */

/* A full id, the only id that begins so (8 digits at least), or a name. -ENOENT, -ENOTUNIQ. */
int cache_find(struct cache *c, const char *text, struct digest *id);
/* The name leads to this tree from now on; id NULL: to none. -EINVAL (a name is 1..200 bytes of letters, digits and . _ - + / @ : and no id or prefix of one), -ENOENT. */
int cache_name(struct cache *c, const char *name, const struct digest *id);
int cache_pin(struct cache *c, const struct digest *id, bool is_pinned); /* -ENOENT */
/* It is the cluster's last copy, or not any more: it goes after all trees that are not. Not kept over a restart. -ENOENT. */
int cache_last(struct cache *c, const struct digest *id, bool is_last);
void cache_none_last(struct cache *c);

/* Who holds a tree, and why ("attempt 17", "mount /x"). Leases live in memory: whoever holds one takes it again after a restart, before the first cache_maintain(). */
struct cache_lease;
int cache_lease_new(struct cache *c, const struct digest *id, const char *who, const char *why,
		    struct cache_lease **out);
void cache_lease_free(struct cache_lease *l);
DEFINE_FREEP(struct cache_lease, cache_lease_free)

/* ---- a tree in use */

struct cache_tree;

/* Pool: reads and checks the index, once for all who have it open. -ENOENT, -EBADMSG (damaged: it was put into quarantine). */
int cache_tree_open(struct cache *c, const struct digest *id, struct cache_tree **out);
/* Loop: the same if that costs no wait: somebody has it open, or its index is small and in memory. -EAGAIN: as above, in the pool. */
int cache_tree_open_now(struct cache *c, const struct digest *id, struct cache_tree **out);
/* Pool: cache_publish() of a .vti that it takes over in every case and that must be this tree's (else as tree_take()), and opens it: so it is read once. */
int cache_publish_open(struct cache *c, void *vti, size_t n, const struct digest *id, struct cache_tree **out);
void cache_tree_close(struct cache_tree *t); /* loop; t is gone with the last one */
DEFINE_FREEP(struct cache_tree, cache_tree_close)
const struct tree *cache_tree_index(const struct cache_tree *t); /* any */

enum cache_residency { CACHE_ABSENT, CACHE_DOUBTFUL /* there, not verified since the reboot */, CACHE_RESIDENT };
enum cache_residency cache_tree_residency(const struct cache_tree *t, uint64_t chunk); /* any; chunks of the tree */

/* Any: n bytes of a blob from offset, all or nothing. With is_waiting false (FUSE threads): only what is in memory and costs no wait. 0, -ENODATA (not resident: fetch),
 * -EUCLEAN (doubtful: cache_tree_verify), -EAGAIN (read with is_waiting, in the pool), -EIO. */
int cache_tree_read(struct cache_tree *t, uint32_t blob, uint64_t offset, void *p, size_t n, bool is_waiting);
/* Any: the file that holds a resident chunk, at the same place as its blob; yours to close. What is read from it is the chunk's if that is still resident afterwards. As
 * cache_tree_read(). */
int cache_tree_file(struct cache_tree *t, uint64_t chunk, bool is_waiting);
/* Pool: verifies chunks [first, first + n) of the tree that are there and doubtful. 0, -EBADMSG: some were damaged and are absent now. */
int cache_tree_verify(struct cache_tree *t, uint64_t first, uint64_t n);
#define CACHE_BLOB_PATH (DIGEST_TEXT_SIZE + 10)
/* Pool: a whole, verified blob to be bound over the path of a node, whose mode and time its file gets; `path` is the file's, below the cache's directory. It stays in the cache, and so,
 * until cache_tree_unbind(). -ENODATA, -EUCLEAN (doubtful, or its file is not as we left it: cache_tree_verify, then again), -EBUSY: it is bound already, with another mode or time.
 * has_others: mounts of a process before may have bound it; then a file that shows the mode and time of some path keeps them. Should such a blob go, they keep its inode and its room on
 * the disk, which is counted no longer. */
int cache_tree_bind(struct cache_tree *t, uint32_t blob, const struct tree_node *node, bool has_others,
		    char path[CACHE_BLOB_PATH]);
void cache_tree_unbind(struct cache_tree *t, uint32_t blob); /* loop */
/* For tree_export and the like: reads with waiting, verifies what is doubtful. Pool; *r is good as long as the tree is open. */
void cache_tree_reader(struct cache_tree *t, struct blob_reader *r);

/* ---- filling it */

/* Kept chunk by chunk (larger than a quarter of the quota), room taken as chunks come, cold ones evicted under a lease? Loop. */
bool cache_tree_is_chunkwise(const struct cache_tree *t);
/* Pool: takes room on disk for all of the tree that is absent, evicting others; a chunk-wise one takes none. -ENOSPC: nothing is kept reserved. Take a lease first. */
int cache_tree_reserve(struct cache_tree *t);
/* Pool: a chunk of the tree, verified before a byte is written. -EBADMSG: its digest is wrong; -ENOSPC; 0 also if it was there. */
int cache_tree_write(struct cache_tree *t, uint64_t chunk, const void *p, size_t n);

/* ---- keeping it healthy: pool */

/* A person's wish: -EBUSY if leased, pinned or in a sealing. The index and names stay (an index
 * without bytes, names and holders goes only when there is no room otherwise). */
int cache_evict(struct cache *c, const struct digest *id);
/* Goes on where it stopped and verifies about `budget` bytes, from the disk and not from memory. Bytes read; 0: nothing is resident, or something was stored since the last call: that
 * needs the disk itself, so this waits, for CACHE_SCRUB_WAITS calls at most. One thread at a time. */
#define CACHE_SCRUB_WAITS 12u
int64_t cache_scrub(struct cache *c, uint64_t budget);
/* All of one tree, now; n_damaged counts chunks. */
int cache_verify(struct cache *c, const struct digest *id, uint64_t *n_damaged);

/* ---- what a person is shown: loop */

struct cache_lease_info {
	char *who, *why;
	uint64_t since_usec;
};

struct cache_tree_info {
	struct digest id;
	char **names;
	unsigned n_names;
	uint64_t size;          /* of its blobs */
	uint64_t resident_size; /* of it, here */
	uint64_t shared_size;   /* of it, resident and also in other trees here */
	uint64_t index_size;
	uint64_t used_usec, verified_usec; /* wall clock; verified 0: never as a whole */
	bool is_pinned, is_chunkwise;
	struct cache_lease_info *leases;
	unsigned n_leases;
};

struct cache_list {
	struct cache_tree_info *at; /* last used first */
	size_t n;
};

void cache_list(struct cache *c, struct cache_list *out);
void cache_list_fini(struct cache_list *l);
/* One tree. -ENOENT. */
int cache_show(struct cache *c, const struct digest *id, struct cache_list *out);

#endif
