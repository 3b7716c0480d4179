/* SPDX-License-Identifier: Apache-2.0
 * Whence bytes come: the node's cache first, then the source they were sealed from. Seals paths into trees, remembers which path is which tree, and fills
 * what is missing, once for all who wait. Knows no mount and no task. decisions/0005 says how.
 *
 * Files, top to bottom: why.c (what a person is told), fetch.c (life, numbers), sealing.c (a path becomes a tree), sealing_run.c (in the pool), draft.c (and is read meanwhile),
 * span.c (how a draft is read), near.c (and what lies beside it), read.c (reads that wait), ahead.c (what will be wanted next), fill.c (one missing chunk), stock.c (a tree in use), origin.c (a chunk from its source), sources.c (which path is
 * which tree), pool.c (threads). internal.h is theirs alone.
 *
 * Threads: "loop" is the thread of the loop given at the start, "any" is any and never waits. Structs that a caller embeds are zeroed before, and are his again
 * when their callback is called, which may start them anew or free them. Errors are 0 or -errno. */
#ifndef FETCH_FETCH_H
#define FETCH_FETCH_H

#include "common/buf.h"
#include "common/loop.h"
#include "data/data.h"
#include "vinefs/cache/cache.h"

/* ---- life */

/* How a source's files are read: the filesystem, or what a test puts in its place. Pool threads; may wait as long as it takes. */
struct fetch_files {
	void *arg;
	/* A descriptor of a directory or a file, links followed; -errno. */
	int (*open)(void *arg, const char *path);
	/* n bytes at `offset` of the file `path` below it ("": of itself), no link followed. *st is the file's, zeroed if there is none. 0, -ESTALE: it is shorter; -errno. */
	int (*read)(void *arg, int root, const char *path, uint64_t offset, void *p, size_t n, struct stat *st);
};

struct fetch_settings {
	struct cache *cache;   /* borrowed; outlives it */
	const char *directory; /* where the file `sources` is kept: the cache's path */
	unsigned n_threads;    /* of the pool; 0: 19, most of which sleep; 7 of them are never for sources */
	unsigned
		n_per_source; /* of them, busy with one source at most: a stalled filesystem does not stop others; 0: 4 */
	unsigned n_seal_threads;         /* within one sealing; 0: as many as there are cores */
	uint64_t deadline_usec;          /* a read that waits for a source ends in EIO; 0: 25 s, less than a mount's */
	uint64_t patience_usec;          /* a sealing gives way to readers of its draft for so long; 0: 20 s */
	uint64_t ahead_size;             /* read-ahead window at most; 0: 16 MiB; 1: no read-ahead */
	const struct fetch_files *files; /* NULL: the filesystem */
};

struct fetch;

/* Loop. Reads `sources`. NULL with errno. */
struct fetch *fetch_new(struct loop *l, const struct fetch_settings *s);
/* Loop, after loop_run() has ended (it makes turns of its own): cancels sealings, answers what waits with EIO, and waits for its threads at most `msec`. -ETIMEDOUT: a source holds
 * one; then nothing it uses may be freed, and the process ends. */
int fetch_stop(struct fetch *f, int msec);
/* Loop, after a fetch_stop() that returned 0 and when all trees were closed; or never used. */
void fetch_free(struct fetch *f);
DEFINE_FREEP(struct fetch, fetch_free)

/* Work of others that may wait for a disk (cache_maintain, cache_evict, cache_verify, export ...): run() in a pool thread, behind all that readers wait for and three at a time; then on_done() on the loop. */
struct fetch_work {
	void (*run)(struct fetch_work *w);
	void (*on_done)(struct fetch_work *w, bool is_run); /* is_run false: fetch_stop() came first */
	bool is_short; /* a person waits, and it is over in a moment: beside the three */
};
void fetch_work(struct fetch *f, struct fetch_work *w); /* loop */

/* ---- sealing: loop */

enum fetch_kind { FETCH_AUTO, FETCH_DIRECTORY, FETCH_ARCHIVE, FETCH_FILE };

/* Names a kind for people: "directory", "archive", "file". */
const char *fetch_kind_name(enum fetch_kind kind);

struct fetch_seal {
	enum fetch_kind
		kind; /* AUTO: a directory; an archive if the name ends like one (.tar .tar.gz .tgz .zip ...); else a file */
	bool is_refresh; /* trust no remembered signature: read everything again */
	/* A few times a second; NULL. */
	void (*on_progress)(struct fetch_seal *s, const struct seal_progress *p);
	/* 0 and the tree, or -errno (-ECANCELED, -ENOENT ...) and NULL. The reports are borrowed for the call. */
	void (*on_done)(struct fetch_seal *s, int error, const struct digest *id, const struct seal_report *errors,
			const struct seal_report *notes);
	/* Not NULL: a draft will do, and this comes in place of on_done as soon as the names are known and a content must be read (with is_any_draft: even if none must). The sealing
	 * then goes on to its end, whoever leaves: what it has digested is remembered, so nothing of it is in vain. Only of a directory and without a name. */
	void (*on_draft)(struct fetch_seal *s, uint64_t number, const struct tree *names,
			 const struct seal_report *notes);
	bool is_any_draft;
	void *arg; /* the caller's */
	/* private */
	struct list link;
	struct sealing *sealing;
	char *name;
	int error; /* the name's */
};

/* Seals an absolute path, stores and publishes the tree, gives it the name (NULL: none), and remembers the path as a source of it. Callers of one path share a sealing that has not begun to look at it; else theirs comes after, so that they see
 * what was there when they asked. What is
 * unchanged is not read again. What does not fit into the cache is digested and left at its source. on_done comes later, never within the call. -EINVAL: no absolute path. */
int fetch_seal_start(struct fetch *f, struct fetch_seal *s, const char *path, const char *name);
/* The caller hears nothing more; the sealing is cancelled with its last caller. Safe on one that is over. */
void fetch_seal_stop(struct fetch_seal *s);

/* ---- drafts: loop. A draft is a tree of which the names are known; what is read of it comes from the directory, and is what the tree will have or -ESTALE */

/* Told once that the sealing of a draft is over. */
struct fetch_watch {
	/* 0: the tree `id` has the draft's nodes, and all that was ever read of it: take the tree in its place. Else the draft stays, and `reason` says why: -ESTALE: it is sealed as `id`, but some
	 * files had changed before; those give -ESTALE, the others what the tree has. All other errors: it could not be sealed; what can be read is read. */
	void (*on_over)(struct fetch_watch *w, int error, const struct digest *id, const char *reason);
	void *arg; /* the caller's */
	struct list link;
};

struct fetch_tree;

/* Of a draft's handle, which stays open until then: `w` is called at a later turn, soon if it is over already. */
void fetch_watch_start(struct fetch_tree *t, struct fetch_watch *w);
/* The caller hears nothing more. */
void fetch_watch_stop(struct fetch_watch *w);

struct fetch_draft_info {
	const char *path;   /* borrowed */
	const char *reason; /* why it was not sealed, or what had changed; "" */
	/* Of its names, attributes and what the walk saw of each file: equal only if all is as it was. */
	struct digest face;
	struct seal_progress progress;
	bool is_over;
};

bool fetch_is_draft(const struct fetch_tree *t); /* any */
void fetch_draft_get(const struct fetch_tree *t, struct fetch_draft_info *out);

/* ---- sources: loop */

struct fetch_source_info {
	const char *path; /* borrowed until the loop's next turn */
	enum fetch_kind kind;
	struct digest id;      /* what it was when it was last sealed */
	uint64_t sealed_usec;  /* wall clock */
	uint64_t read_size;    /* since the start, outside sealing */
	uint64_t stalled_usec; /* it has not answered for so long; 0: all is well */
	const char *error;     /* its last one; "" */
};

/* Calls `each` for every source of this tree; id NULL: for every one. Returns how many. */
unsigned fetch_sources(struct fetch *f, const struct digest *id,
		       void (*each)(void *arg, const struct fetch_source_info *s), void *arg);
/* What a text means: a tree's id or name, either with "/path" behind it, or an absolute path that was sealed or lies below one. *rest is the path within the tree ("": all of it),
 * borrowed from `text`. -ENOENT, -ENOTUNIQ. */
int fetch_find(struct fetch *f, const char *text, struct digest *id, const char **rest);

/* ---- a tree in use */

struct fetch_open {
	void (*on_done)(struct fetch_open *o, int error, struct fetch_tree *t);
	void *arg;               /* the caller's */
	struct opening *opening; /* private */
};

/* Loop. Opens a tree of the cache under a lease (who, why: as cache_lease_new). on_done comes later, unless this is not 0. -ENOENT. */
int fetch_open(struct fetch *f, struct fetch_open *o, const struct digest *id, const char *who, const char *why);
/* Loop. The same for a draft: a handle that only reads by node. -ENOENT: it is not known any more. */
int fetch_open_draft(struct fetch *f, struct fetch_open *o, uint64_t number);
/* Loop. The caller hears nothing more. */
void fetch_open_stop(struct fetch_open *o);
/* Any. Reads that are under way are answered all the same. */
void fetch_close(struct fetch_tree *t);
const struct tree *fetch_index(const struct fetch_tree *t); /* any */
struct cache_tree *
fetch_cache_tree(const struct fetch_tree *t); /* any; for cache_tree_bind and the like; NULL: a draft */

/* Any (FUSE threads): n bytes of a blob, if they are here and cost no wait. n or -EAGAIN (fetch_read_start is next). */
ssize_t fetch_read_now(struct fetch_tree *t, uint32_t blob, uint64_t offset, void *p, uint32_t n);

#define FETCH_READ_MAX (1u << 20)

struct fetch_read {
	struct fetch_tree *tree;
	uint32_t blob; /* of a draft: the node */
	uint32_t n;    /* 1 .. FETCH_READ_MAX, within the blob, the file */
	uint64_t offset;
	/* Any thread, once: all n bytes, borrowed for the call; or NULL and -errno: -ESTALE (the source has changed or is gone), -EIO (all else; fetch_why tells), -ECANCELED (is_over). */
	void (*on_done)(struct fetch_read *r, const void *p, ssize_t n);
	/* Any thread, before on_done: does nobody wait for it any more? Asked before work is begun for it. NULL: somebody does. */
	bool (*is_over)(const struct fetch_read *r);
	void *arg; /* the caller's */
};

/* Any. Reads with waiting: from the disk, verifying first what is doubtful; what is absent comes from the source, once for all, and stays. */
void fetch_read_start(struct fetch_read *r);

/* Loop. Fetches these nodes' contents (directories: all below) behind all that is waited for; a hot set, or {0} for the whole tree. */
void fetch_ahead(struct fetch_tree *t, const uint32_t *nodes, size_t n);

/* ---- what a person is told */

/* Loop. Where the bytes of a node (a directory: all below) would come from, what is resident, why something is missing; lines of text. */
void fetch_why(struct fetch_tree *t, uint32_t node, struct buf *out);

struct fetch_numbers {
	uint64_t memory_size, disk_size, source_size;   /* bytes given to readers, by origin */
	uint64_t n_now, n_waited;                       /* reads answered at once; later */
	uint64_t n_fills, fill_size;                    /* chunks read from sources, for readers and ahead */
	uint64_t n_ahead;                               /* of them, ahead */
	uint64_t n_failed, n_late;                      /* reads that ended in an error; of them, by the deadline */
	uint64_t n_uncached;                            /* chunks that were served but could not be kept */
	uint64_t n_sealed, sealed_size, seal_read_size; /* trees; their bytes; bytes read for that */
};
void fetch_get_numbers(struct fetch *f, struct fetch_numbers *out); /* any */

#endif
