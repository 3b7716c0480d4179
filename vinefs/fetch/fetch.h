/* SPDX-License-Identifier: Apache-2.0
 * Whence bytes come: the node's cache first, then the source they were sealed from. Seals paths into trees, remembers which path is which tree, and fills
 * what is missing, once for all who wait. Knows no mount and no task. decisions/0005 says how.
 *
 * Files, top to bottom: why.c (what a person is told), fetch.c (life, numbers), pull_life.c (whose turn it is), pull.c (a tree of other nodes), pull_watch.c (neighbours), pull_some.c (what is asked of them), pull_rest.c (what none of them has), pull_plain.c (what comes beside), pull_index.c and pull_parts.c (the index), pull_alike.c (what is here of it), pull_old.c (who knows no swarm), pull_store.c (what has come),
 * codec.c (how it was packed), swarm.c, swarm_next.c, swarm_pace.c, swarm_given.c and swarm_have.c (which chunk from whom), coming.c (who is told), known.c (who has what), piece.c (a chunk for a reader), peer.c (connections to those), sealing.c (a path becomes a tree), sealing_run.c (in the pool), sealing_since.c (which was it), look.c (what lies there), draft.c (and is read meanwhile),
 * span.c and haul.c (how a draft is read), fellow.c, fellow_give.c and fellow_names.c (once, by all nodes that do), near.c (and what lies beside it), read.c (reads that wait), ahead.c (what will be wanted next), bring.c (and who waits for all of it), fill.c (one missing chunk), expect.c (that others bring), stock.c (a tree in use), origin.c (a chunk from its source), sources.c (which path is
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
struct fetch_lane;
struct fetch_work {
	void (*run)(struct fetch_work *w);
	void (*on_done)(struct fetch_work *w, bool is_run); /* is_run false: fetch_stop() came first */
	bool is_short;           /* a person waits, and it is over in a moment: beside the three */
	struct fetch_lane *lane; /* not NULL: beside the three, as this lane has it */
};
void fetch_work(struct fetch *f, struct fetch_work *w); /* loop */
/* Loop. A bound of its own: `most` of its works at a time. is_local: they wait for our own disk alone; else they may stand still with a filesystem, and those of other lanes go on. Freed with no work in it. */
struct fetch_lane *fetch_lane_new(unsigned most, bool is_local);
void fetch_lane_free(struct fetch_lane *lane);

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
	bool is_left; /* with on_draft: another node seals it, and names will do here. What it has become fetch_told() says */
	void *arg; /* the caller's */
	/* private */
	struct list link;
	struct sealing *sealing;
	struct naming *naming;
	char *name;
	int error; /* the name's */
};

/* Seals an absolute path, stores and publishes the tree, gives it the name (NULL: none), and remembers the path as a source of it. Callers of one path share a sealing that has not begun to look at it; else theirs comes after, so that they see
 * what was there when they asked. What is
 * unchanged is not read again. What does not fit into the cache is digested and left at its source. on_done comes later, never within the call. -EINVAL: no absolute path. */
int fetch_seal_start(struct fetch *f, struct fetch_seal *s, const char *path, const char *name);
/* What another node has sealed a path as, of which drafts were left to it: once its index is here they become that tree, if it has their names. */
void fetch_told(struct fetch *f, const char *path, const struct digest *id);
/* The caller hears nothing more; the sealing is cancelled with its last caller. Safe on one that is over. */
void fetch_seal_stop(struct fetch_seal *s);
/* It has stood still for ten seconds: its filesystem does not answer. */
bool fetch_seal_is_stalled(const struct fetch_seal *s);

/* Who wants to know what lies at a path that may not answer. */
struct fetch_look {
	/* 0 and what is there, links followed; -errno. */
	void (*on_done)(struct fetch_look *l, int error, const struct stat *st);
	const char *real;        /* within on_done: the path without links; NULL with an error */
	void *arg;               /* the caller's */
	struct looking *looking; /* private */
	struct list link;
};

/* Callers of one path share a look that is under way; a path that does not answer holds one thread. on_done comes later. */
void fetch_look_start(struct fetch *f, struct fetch_look *l, const char *path);
/* The caller hears nothing more; safe on one that is over. */
void fetch_look_stop(struct fetch_look *l);

/* What lay at this path when it was sealed since then (wall clock), or is being sealed: of one tree its id, or of one draft its number. -ENOENT: neither; -ENOTUNIQ: it was not always the same; -EAGAIN: whether it was is known when what is being sealed has been. */
int fetch_sealed_since(struct fetch *f, const char *path, uint64_t since_usec, struct digest *id, uint64_t *draft);

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
/* Loop. The same at once, if that costs no wait (cache_tree_open_now). -EAGAIN, -ENOENT. */
int fetch_open_now(struct fetch *f, const struct digest *id, const char *who, const char *why, struct fetch_tree **out);
/* Loop. The same for a draft: a handle that only reads by node. -ENOENT: it is not known any more. */
int fetch_open_draft(struct fetch *f, struct fetch_open *o, uint64_t number);
/* Loop. The caller hears nothing more. */
void fetch_open_stop(struct fetch_open *o);
/* Any. Reads that are under way are answered all the same. */
void fetch_close(struct fetch_tree *t);
const struct tree *fetch_index(const struct fetch_tree *t); /* any */
/* Loop. How many reads were answered with an error so far, and words about the last; "". */
const char *fetch_failure(const struct fetch_tree *t, unsigned *n);
struct cache_tree *
fetch_cache_tree(const struct fetch_tree *t); /* any; for cache_tree_bind and the like; NULL: a draft */

/* Any (FUSE threads): n bytes of a blob, if they are here and cost no wait. n or -EAGAIN (fetch_read_start is next). */
ssize_t fetch_read_now(struct fetch_tree *t, uint32_t blob, uint64_t offset, void *p, uint32_t n);

/* Loop, of a sealed tree: what has no source here may still come from elsewhere, as long as some handle says so: who reads it waits until his deadline. */
void fetch_expect(struct fetch_tree *t, bool is_expected);

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
	bool is_given; /* of a draft: another node reads it, which looks ahead for itself */
	void *arg;     /* the caller's */
};

/* Any. Reads with waiting: from the disk, verifying first what is doubtful; what is absent comes from the source, once for all, and stays. */
void fetch_read_start(struct fetch_read *r);

/* Loop. Fetches these nodes' contents (directories: all below) behind all that is waited for; a hot set, or {0} for the whole tree. */
void fetch_ahead(struct fetch_tree *t, const uint32_t *nodes, size_t n);

/* Who waits until nodes' contents are here. */
struct fetch_bring {
	/* 0; or why a chunk of them could not be had, -ENOSPC: not be kept. `reason` is for people, borrowed for the call. */
	void (*on_done)(struct fetch_bring *b, int error, const char *reason);
	void *arg;                 /* the caller's */
	struct bringing *bringing; /* private */
};

/* Loop. As fetch_ahead, of a sealed tree, before what nobody waits for if it is urgent. on_done comes later; the tree stays open until then. */
void fetch_bring_start(struct fetch_tree *t, struct fetch_bring *b, const uint32_t *nodes, size_t n, bool is_urgent);
/* Loop. The caller hears nothing more; safe on one that is over. */
void fetch_bring_stop(struct fetch_bring *b);

/* ---- other nodes: loop */

struct conn;
struct wire_read_draft;
struct wire_read_names;
struct tls_context;
struct wire_hello;

/* Who may have a tree: the node that listens at `address`, or else whoever is at the other end of what conn() gives (NULL: just now nobody is). */
struct fetch_holder {
	const char *name, *address;
	struct conn *(*conn)(void *arg);
	void *arg;
};

struct fetch_peers_settings {
	struct loop *loop;
	struct fetch *fetch;
	struct cache *cache;
	struct tls_context *tls;        /* as a node to nodes; NULL: none, for tests */
	const struct wire_hello *hello; /* ours; borrowed, like the cluster's name, which may become known later */
	const char *cluster;
	uint64_t silent_usec; /* a holder of which not a byte comes for so long is given up; 0: 10 s */
	uint64_t
		patience_usec; /* a pull without any progress ends, though holders are there that do not have the rest yet; 0: 60 s */
	const char *address; /* where this node can be asked in turn; borrowed, "" while nowhere; NULL: never */
	void *arg;           /* of these, each of which may be NULL */
	/* That node is asked for this tree no more (what: 1 it lied, 2 it cannot be reached, 3 it is silent, 4 it is slow). */
	void (*on_bad)(void *arg, const struct digest *tree, const char *address, unsigned what, const char *reason);
	/* Bytes of a path of which nobody knows the tree yet have come from that node. */
	void (*on_part)(void *arg, const char *path, const char *name, uint64_t bytes);
	/* A chunk has come from somebody and is stored: origin 1 a node, 3 a client over vined; of the tree `rest` bytes are still absent. */
	void (*on_flow)(void *arg, const struct digest *tree, const char *name, unsigned origin, uint64_t bytes,
			uint64_t rest);
};

struct fetch_peers;

struct fetch_peers *fetch_peers_new(const struct fetch_peers_settings *s);
/* Before fetch_stop(). Pulls that are under way end, and nobody hears of them. */
void fetch_peers_free(struct fetch_peers *p);
DEFINE_FREEP(struct fetch_peers, fetch_peers_free)

#define FETCH_FELLOWS_MOST 32u

/* These nodes, this one among them, read a path of which nobody knows the tree yet: what a draft of it reads they read once for all. Of more than so many the first count. */
void fetch_fellows(struct fetch_peers *p, const char *path, const struct fetch_holder *fellows, size_t n);
/* Answers a fellow's READ_DRAFT, now or later. */
void fetch_give_draft(struct fetch *f, struct conn *c, uint64_t id, const struct wire_read_draft *m);
void fetch_give_names(struct fetch *f, struct conn *c, uint64_t id, const struct wire_read_names *m);
/* Who asked on this connection has gone; id not 0: wants this no more. */
void fetch_give_draft_stop(struct fetch *f, const struct conn *c, uint64_t id);

/* Brings a whole tree here, what is missing of it, from all who have it or are bringing it themselves, as chunks come; without those who fail, lie or are silent. The caller's, zeroed before, his again in on_done. */
struct fetch_pull {
	/* The tree's index has come: it can be opened, and read as far as it is here. NULL: not told. */
	void (*on_index)(struct fetch_pull *x);
	/* 0: all of it is here and verified. Else -errno: -ENOSPC and the like are this node's own trouble, all others the holders'; what has come stays. */
	void (*on_done)(struct fetch_pull *x, int error, const char *reason);
	void *arg;    /* the caller's */
	bool is_copy; /* a replica that nobody is to read here: behind everything else */
	struct pull *work;
};

/* Callbacks come later. Gating ones go before others that wait their turn. */
void fetch_pull_start(struct fetch_peers *p, struct fetch_pull *x, const struct digest *tree,
		      const struct fetch_holder *holders, size_t n, bool is_gating);
/* More who have it; those it knows are left out. And gating from here on, or not less than before. */
void fetch_pull_more(struct fetch_pull *x, const struct fetch_holder *holders, size_t n, bool is_gating);
/* Nobody has all of it any more: what none of those who are asked has is read from here from now on, where it was sealed. What cannot be read is the end of the pull. */
void fetch_pull_read(struct fetch_pull *x, const char *path, enum fetch_kind kind);
/* The caller hears nothing more. Safe on one that is over. */
void fetch_pull_stop(struct fetch_pull *x);

/* A reader here waits for another node, or did a moment ago: whatever fills the links is to wait. Not for long without a pause, whoever reads. */
bool fetch_peers_are_read(const struct fetch_peers *p);
/* One did within the last second: it is to find the links not too full. */
bool fetch_peers_may_be_read(const struct fetch_peers *p);

/* Somebody who watches this tree here takes part in it: if it is being pulled he is asked, too. */
void fetch_pull_meet(struct fetch_peers *p, const struct digest *tree, const char *name, const char *address);

/* ---- what comes, for who gives it on: loop */

/* Told of each chunk of a tree that is here now and was not before, however it came; and of each that is not any more. */
struct fetch_coming {
	void (*on_chunk)(struct fetch_coming *w, uint64_t chunk);
	void (*on_lost)(struct fetch_coming *w, uint64_t chunk);
	void *arg; /* the caller's */
	struct list link;
};

/* The tree stays open until then. */
void fetch_coming_start(struct fetch_tree *t, struct fetch_coming *w);
void fetch_coming_stop(struct fetch_coming *w);

/* The same of parts of an index that is being pulled and is not whole yet. */
struct fetch_parts {
	void (*on_part)(struct fetch_parts *w, uint64_t part);
	/* The index is known: the tree can be opened. Or, error, the pull is over without it. The caller's again. */
	void (*on_over)(struct fetch_parts *w, int error);
	void *arg; /* the caller's */
	struct list link;
	struct pull *pull; /* private */
};

/* -ENOENT: it is not being pulled, or its index is known. */
int fetch_parts_start(struct fetch_peers *p, struct fetch_parts *w, const struct digest *tree);
void fetch_parts_stop(struct fetch_parts *w);
/* Borrowed until the next turn; false: the list of parts is not here yet. */
bool fetch_parts_list(const struct fetch_parts *w, uint64_t *size, uint32_t *part_size, const uint8_t **digests);
/* All of a verified part, borrowed until the next turn; NULL: it is not here. */
const void *fetch_parts_get(const struct fetch_parts *w, uint64_t part, size_t *n);

/* ---- what a person is told */

/* Loop. Where the bytes of a node (a directory: all below) would come from, what is resident, why something is missing; lines of text. */
void fetch_why(struct fetch_tree *t, uint32_t node, struct buf *out);
/* Loop. Which node has given this chunk of a tree, is asked for it or is known to have it; a line each, none if nobody is. */
void fetch_peers_why(struct fetch_peers *p, const struct digest *tree, uint64_t chunk, struct buf *out);

struct fetch_peers_numbers {
	unsigned n_pulls, n_neighbours; /* trees that are being brought; who tells what he has of them */
	unsigned n_asked;               /* requests under way */
	uint64_t asked_size;
	uint64_t n_wrong; /* chunks that came and were not the tree's, since the start */
};
/* Loop. */
void fetch_peers_get_numbers(const struct fetch_peers *p, struct fetch_peers_numbers *out);

struct fetch_numbers {
	uint64_t memory_size, disk_size, source_size;   /* bytes given to readers, by origin */
	uint64_t n_now, n_waited;                       /* reads answered at once; later */
	uint64_t n_fills, fill_size;                    /* chunks read from sources, for readers and ahead */
	uint64_t n_ahead;                               /* of them, ahead */
	uint64_t n_failed, n_late;                      /* reads that ended in an error; of them, by the deadline */
	uint64_t n_uncached;                            /* chunks that were served but could not be kept */
	uint64_t n_sealed, sealed_size, seal_read_size; /* trees; their bytes; bytes read for that */
	uint64_t peer_size,
		source_read_size; /* that came: chunks from other nodes; from sources, seal_read_size among it */
};
void fetch_get_numbers(struct fetch *f, struct fetch_numbers *out); /* any */

/* Loop. Who is told of bytes that were read at a path: of a tree (NULL: it is not sealed yet), for its sealing or for readers. One at a time. */
void fetch_on_read(struct fetch *f,
		   void (*on_read)(void *arg, const char *path, const struct digest *tree, uint64_t size,
				   bool is_sealing),
		   void *arg);

#endif
