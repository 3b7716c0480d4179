/* SPDX-License-Identifier: Apache-2.0
 * What the cache's files share. Invariants:
 * 1. A bit in `ready`, and state BLOB_WHOLE, mean: the bytes are there and were verified by this machine since it was booted, or written after they were.
 * 2. Bytes go (hole, unlink) only after bits and state were withdrawn and the generation was raised; a reader that finds another generation after its
 *    read drops what it read. So no reader needs a lock.
 * 3. Whoever changes a blob's files (creates, renames, unlinks) is its mover; whoever writes chunks is one of its writers; never both at once.
 * 4. A blob is wanted by the trees whose bytes have not been evicted. It goes with the last of them, unless it is held.
 * 5. size and n_inodes are what lies on disk: what is to be written is counted before. */
#ifndef CACHE_INTERNAL_H
#define CACHE_INTERNAL_H

#include "common/list.h"
#include "common/map.h"
#include "vinefs/cache/cache.h"
#include "vinefs/cache/catalog.h"

#include <pthread.h>
#include <stdatomic.h>

#define CACHE_VERSION 1
#define CACHE_BLOCK 4096u  /* what a filesystem gives at least */
#define CACHE_N_NEAR 8u    /* inodes: so few left are none */
#define CACHE_SICK_AFTER 3 /* times without room in a filesystem that has some */

enum blob_state {
	BLOB_ABSENT,
	BLOB_PART,     /* p/: some chunks */
	BLOB_DOUBTFUL, /* b/: complete, not verified since the reboot; `ready` says which chunks are by now */
	BLOB_WHOLE,    /* b/: complete and verified */
};

/* What a blob's file shows of itself. Mode 0: none. */
struct look {
	uint16_t mode;
	uint32_t mtime_nsec;
	int64_t mtime_sec;
};

/* The look of a file in b/ that nobody bound yet; no path of a tree gets it. Who writes to the file changes its time. */
#define BLOB_PLAIN_MODE 0400
#define BLOB_PLAIN_SEC 86399

struct blob {
	struct digest address;
	char text[DIGEST_TEXT_SIZE];
	uint64_t size;
	uint32_t chunk_size; /* 0: no tree has told yet */
	uint64_t n_chunks;
	/* Readers without a lock. */
	_Atomic int state; /* enum blob_state; changed under the lock */
	_Atomic(_Atomic uint64_t *) ready;
	_Atomic uint64_t *present, *touched; /* present: of BLOB_PART, ready or not; both as long as ready */
	_Atomic uint64_t n_ready;
	_Atomic uint32_t generation;
	_Atomic uint64_t handle; /* descriptor + 1, users, doom; see blob.c */
	_Atomic bool is_used;    /* the descriptor, since the sweep came by */
	/* Under the lock. */
	uint64_t allocated;  /* on disk, in bytes */
	uint64_t found_size; /* at the start */
	unsigned n_known;    /* trees that consist of it */
	unsigned n_wanted;   /* of them, not evicted */
	unsigned n_held;     /* sealings and binds */
	unsigned n_bound;    /* of them, binds: its file looks so until the last of them is over */
	struct look look;    /* of the last bind */
	struct look doubted; /* was found, and by nobody's doing: the bytes were verified after that, or are to be */
	bool is_own_look;    /* we gave it: no mount of a process before shows it */
	unsigned n_writers;
	unsigned n_seen; /* by the scrub's present round */
	uint64_t hand;   /* where chilling goes on */
	bool is_moving, is_sparse, is_firm;
	struct list open_link;
};

/* A tree whose index lies in t/. */
struct known {
	struct digest id;
	char text[DIGEST_TEXT_SIZE];
	uint64_t size, index_size, used_usec, verified_usec;
	struct blob **blobs;
	uint32_t n_blobs;
	unsigned n_leases;
	uint32_t hand; /* where chilling goes on */
	bool is_wanted, is_pinned, is_found;
	bool is_last;    /* the cluster's last copy, as far as anybody has said */
	bool is_unsaved; /* its last use */
	uint64_t saved_usec;
	struct list leases;
	struct cache_tree *open;
};

struct cache_tree {
	struct cache *cache;
	struct known *known;
	struct tree *index;
	unsigned n_users; /* under the lock */
};

struct cache_name_entry {
	struct digest id;
	char name[];
};

struct cache {
	struct cache_settings settings;
	char *path;
	char node_id[40];
	int root, blobs_fd, parts_fd, trees_fd, quarantine_fd, tmp_fd;
	bool is_memory, is_trusted; /* trusted: the same boot, and the catalog remembers it */
	struct catalog *catalog;
	_Atomic uint64_t n_tmp; /* names in tmp/ */
	_Atomic unsigned n_open;
	_Atomic uint64_t n_stored; /* chunks and blobs, since the start */

	/* ---- under the lock */
	pthread_mutex_t lock;
	pthread_cond_t moved;
	struct map blobs, trees, names; /* by text */
	struct list open_blobs;         /* blobs with descriptors, oldest first */
	uint64_t size, n_inodes, quota, inode_quota;
	uint64_t found_quota, found_inodes; /* at the start, for what the settings leave open */
	uint64_t clock_usec;                /* never goes back, unlike the wall's */
	unsigned n_damaged;
	_Atomic unsigned n_full; /* 0 is seen without the lock */
	uint64_t full_usec;
	unsigned n_going; /* blobs withdrawn, their files not removed yet */
	uint64_t n_evictions, evicted_size;
	char leaving[DIGEST_TEXT_SIZE]; /* an index whose file is being removed */
	bool is_sick;
	char reason[160];
	uint64_t sick_usec, tried_usec, healed_usec, pause_usec;
	uint64_t refused_size,
		refused_usec; /* so much found no room then, whatever could go; 0: things have changed since */
	/* ---- the scrub's thread */
	struct cache_scrub_place {
		char tree[DIGEST_TEXT_SIZE];
		uint64_t chunk, n_damaged, n_stored;
		unsigned round, n_put_off;
	} scrub;
};

static inline void cache_lock(struct cache *c)
{
	int r = pthread_mutex_lock(&c->lock);
	assert(r == 0);
	(void)r;
}

static inline void cache_unlock(struct cache *c)
{
	pthread_mutex_unlock(&c->lock);
}

static inline uint64_t cache_round(uint64_t size)
{
	return (size + CACHE_BLOCK - 1) & ~(uint64_t)(CACHE_BLOCK - 1);
}

/* ---- cache.c */
uint64_t cache_now_usec(void);        /* the wall's */
uint64_t cache_tick(struct cache *c); /* locked: the time, later than ever before */
/* Counts room for `size` bytes and `n_inodes`, evicting as needed. -ENOSPC, or -EROFS if the cache is out of service. Unlocked. */
int cache_take_room(struct cache *c, uint64_t size, uint64_t n_inodes);
void cache_give_room(struct cache *c, uint64_t size, uint64_t n_inodes); /* unlocked */
void cache_count(struct cache *c, int64_t size, int64_t n_inodes);       /* locked */
/* Looks at an error of the disk, counts it towards sickness and returns what the caller gets (EDQUOT becomes ENOSPC). Unlocked. */
int cache_fault(struct cache *c, int error, const char *what);
/* `size` found no room on the disk: for a moment that is remembered, for asking a full disk takes milliseconds, and each reader of each chunk would. Unlocked. */
void cache_refuse(struct cache *c, uint64_t size);
bool cache_is_refused(struct cache *c, uint64_t size); /* locked */
void cache_measure(struct cache *c); /* sets quotas from the filesystem where the settings leave them open. Unlocked */

/* ---- blob.c */
struct blob *blob_get(struct cache *c, const char *text);              /* locked; NULL */
struct blob *blob_need(struct cache *c, const struct digest *address); /* locked; made if missing */
void blob_shape(struct blob *b, uint64_t size, uint32_t chunk_size);   /* locked; a tree tells; allocates the bitmaps */
void blob_drop(struct cache *c, struct blob *b);                       /* locked: frees it if nothing knows it */
void blob_path(const struct blob *b, char path[DIGEST_TEXT_SIZE + 8]); /* below b/ */
/* Unlocked, by its mover: a finished file takes its place in b/. */
int blob_rename_in(struct cache *c, int dir, const char *name, const struct blob *b);
int blob_rename_as_is(struct cache *c, int dir, const char *name, const struct blob *b); /* with its own time */
bool blob_bit(const _Atomic uint64_t *bits, uint64_t i);
bool blob_set_bit(_Atomic uint64_t *bits, uint64_t i);   /* true: it was clear */
bool blob_clear_bit(_Atomic uint64_t *bits, uint64_t i); /* true: it was set */
uint64_t blob_chunk_size(const struct blob *b, uint64_t chunk);
bool blob_is_ready(const struct blob *b, uint64_t chunk);
void blob_touch(struct blob *b, uint64_t first, uint64_t last);
/* One at a time, and no writers: locked, waits. blob_try_move() gives up instead. */
void blob_move(struct cache *c, struct blob *b);
bool blob_try_move(struct blob *b);
void blob_moved(struct cache *c, struct blob *b);
/* Locked, by its mover: nothing of it is readable from here on. */
void blob_withdraw(struct cache *c, struct blob *b);
void blob_doom_handle(struct cache *c, struct blob *b); /* locked: no new user of its descriptor */
/* A descriptor for reading, shared. -EAGAIN: is_waiting is false, and opening it would ask the disk. blob_done() after use, with what was got. */
int blob_use(struct cache *c, struct blob *b, bool is_waiting, bool *is_own);
void blob_done(struct cache *c, struct blob *b, int fd, bool is_own);
/* Opens for reading what is known to be there without asking the disk. -EAGAIN. */
int blob_open_now(int dir, const char *path);
/* pread of all n. */
int blob_pread(int fd, void *p, size_t n, uint64_t offset);

/* ---- part.c */
/* Unlocked, by its mover: makes p/ files with room for all (is_sparse: for none). */
int part_create(struct cache *c, struct blob *b, bool is_sparse);
void part_remove(struct cache *c, struct blob *b); /* files only; by its mover */
/* Reads a map at the start. 0, or -errno: not worth keeping. */
int part_load(struct cache *c, struct blob *b, bool is_trusted);
/* Evicts cold chunks of a part; returns bytes freed. Unlocked, by its mover. */
uint64_t part_chill(struct cache *c, struct blob *b, uint64_t wanted);
/* A whole blob becomes a part again, all of it there. Unlocked, by its mover. */
int part_from_whole(struct cache *c, struct blob *b);
void part_forget_chunk(struct cache *c, struct blob *b, uint64_t chunk,
		       bool *was_there);           /* a damaged one; unlocked, by its mover */
void part_settle(struct cache *c, struct blob *b); /* unlocked: into b/ if all of it is there */

/* ---- known.c */
struct known *known_get(struct cache *c, const struct digest *id); /* locked; NULL */
struct known *known_add(struct cache *c, const struct digest *id, const struct catalog_blob *blobs, uint32_t n_blobs,
			uint64_t index_size);      /* locked */
void known_free(struct cache *c, struct known *k); /* locked */
void known_want(struct cache *c, struct known *k); /* locked: its blobs are wanted */
/* Locked, while nobody has it open: its blobs are from now on those of this index, which may be another layout of the same tree. */
void known_adopt(struct cache *c, struct known *k, const struct tree *t);
void known_save(struct cache *c, struct known *k); /* locked: into the catalog */
/* Locked: it was used until now, which is saved once a minute; and all that was not, before the end. */
void known_used(struct cache *c, struct known *k);
void known_save_used(struct cache *c);
int known_read(struct cache *c, const struct digest *id, struct tree **out); /* unlocked: the index from t/ */
/* Unlocked: the same without a wait, or any error: -EAGAIN. */
int known_read_now(struct cache *c, const struct digest *id, struct tree **out);
struct catalog_blob *known_blobs_of(const struct tree *t);             /* tree_n_blobs() of them, to be freed */
bool known_is_chunkwise(const struct cache *c, const struct known *k); /* locked */

/* ---- evict.c */
/* Unlocked: frees at least so much, if it can be had; false if nothing was freed. */
bool evict_some(struct cache *c, uint64_t size, uint64_t n_inodes);
/* For whoever found no room: true: try again, *n_tries times so far. Also once when nothing could go, for others may have made room since. */
bool evict_again(struct cache *c, uint64_t size, uint64_t n_inodes, unsigned *n_tries);
/* Locked, by its mover. */
void evict_withdraw(struct cache *c, struct blob *b);
/* Unlocked, by its mover, so withdrawn: removes the files it had in that state, and ends the move; b may be gone afterwards. */
void evict_remove(struct cache *c, struct blob *b, enum blob_state state);
void evict_firm(struct cache *c, uint64_t *size, uint64_t *n_inodes); /* locked: what cannot go */

/* ---- held.c */
uint32_t held_blob_of(const struct cache_tree *t, uint64_t chunk); /* number of the blob */
/* Locked: opens it, with this index, which is taken, if nobody has it open. -ENOENT: it went meanwhile. */
int held_install(struct cache *c, const struct digest *id, struct tree **index, struct cache_tree **out);
static inline struct blob *held_blob(const struct cache_tree *t, uint32_t blob)
{
	assert(blob < t->known->n_blobs);
	return t->known->blobs[blob];
}
/* Verifies one chunk of the tree if it is there (from the disk, not from memory, with is_cold). `room` has a chunk's size. 1, 0: it is not there, -EBADMSG: it was
 * damaged and is absent now, -errno. Pool. */
int held_check(struct cache_tree *t, uint64_t chunk, uint8_t *room, bool is_cold);
/* Whole blobs go to q/, chunks of parts are cleared, unless the generation is another by now; reported. Unlocked. */
void held_damaged(struct cache *c, struct blob *b, uint64_t chunk, uint32_t generation);

/* ---- lease.c */
struct lease_text {
	char *who, *why;
	uint64_t since_usec;
};
/* Locked: a tree's leases one by one, *at NULL at first; NULL: that was all. */
const struct lease_text *lease_next(const struct known *k, struct list **at);

/* ---- recover.c */
int recover_open(struct cache *c, struct conf_error *e);

#endif
