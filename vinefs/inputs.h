/* SPDX-License-Identifier: Apache-2.0
 * What attempts read: each input of an attempt is opened (by its tree, else by sealing its source), attached to the node's mount under a lease, its large files bound, and stays
 * attached after the last use until there are too many. Without a mount it is unpacked once. And what vined wants here before anybody reads it. The loop's thread.
 *
 * Files, top to bottom: inputs.c (attempts), inputs_want.c (one binding of an attempt), inputs_fetch.c (FETCH), inputs_source.c (what is at a path), inputs_used.c (a tree in use), inputs_arrange.c (which of its files are served together), inputs_set.c (and as one tree), inputs_job.c (what
 * the keeper does for us), inputs_plain.c (unpacked trees), inputs_account.c (whence bytes came, and for whom). inputs_internal.h is theirs. */
#ifndef VINEFS_INPUTS_H
#define VINEFS_INPUTS_H

#include "common/loop.h"
#include "common/probe.h"
#include "common/wire.h"
#include "vinefs/fetch/fetch.h"
#include "vinefs/mounts.h"
#include "vinefs/run/run.h"

struct inputs;

/* A KEEPER_DO: the steps are done in the stem, then argv, if there is any, is executed there. Borrowed for the call. */
struct inputs_job {
	uint64_t number; /* never 0, never used again by this process */
	uint64_t stem;
	struct view_step *steps;
	uint32_t n_steps;
	const char *const *argv; /* n_argv of them, no NULL behind */
	uint32_t n_argv;
};

/* Who owns the attempts; none of these is called from within a call of his. */
struct inputs_ops {
	/* For run_ready() and run_unready(). */
	void (*on_ready)(void *owner, uint64_t attempt, const struct run_input *inputs, size_t n);
	void (*on_unready)(void *owner, uint64_t attempt, int error, bool is_nodes_fault, const char *reason);
	/* For run_set_stem(). */
	void (*on_stem)(void *owner, uint64_t stem);
	/* The mount is gone that an attempt, which was told to be ready, reads from: whatever becomes of it is this node's fault. NULL: not told, like the next. */
	void (*on_lost)(void *owner, uint64_t attempt, const char *reason);
	/* For run_forget_input(): what lay at this `at` is to be taken away within the call. */
	void (*on_forget)(void *owner, const char *at);
	/* inputs_tier() says another from here on: the first time JOIN may go out, later the node joins anew. */
	void (*on_tier)(void *owner);
	/* What tasks have read of a tree, the first first: files of it, borrowed for the call. NULL: not told. */
	void (*on_read)(void *owner, const struct digest *tree, const uint32_t *nodes, size_t n);
	/* Why no task gets what lies at this path, which has no links; NULL: it may. NULL: all may. */
	const char *(*why_not)(void *owner, const char *real);
	/* Is this tree on its way here from others just now? NULL: none is. */
	bool (*is_coming)(void *owner, const struct digest *tree);
	/* To the keeper; inputs_job_done() comes later, unless this is not 0. */
	int (*do_job)(void *owner, const struct inputs_job *job);
};

struct inputs_settings {
	struct loop *loop;
	struct fetch *fetch; /* borrowed, like the rest; they outlive it */
	struct cache *cache;
	struct mounts *mounts;
	const char *state, *cache_path, *hot;
	enum probe_tier tier;   /* no better one is tried */
	bool is_unshared;       /* of what another node seals no draft is made */
	bool is_alone;          /* no attempts will come: there is no mount, and the tier is plain */
	uint64_t deadline_usec; /* of a read from the mount */
	uint64_t
		patience_usec; /* an attempt waits so long for a path to answer, or for a tree of which nothing is here and nothing comes; 0: a minute */
	const char *warmer;    /* vine-mount; NULL: new trees are not walked */
};

/* NULL with errno. */
struct inputs *inputs_new(const struct inputs_settings *s);
/* Before loop_run(): who hears from now on. */
void inputs_listen(struct inputs *in, const struct inputs_ops *ops, void *owner);
/* After loop_run() and before fetch_stop(); nobody hears anything any more. With `is_leaving` the node's mount ends, else it waits at the keeper. */
void inputs_stop(struct inputs *in, bool is_leaving);
/* After fetch_stop(), before mounts_free(). */
void inputs_free(struct inputs *in);
DEFINE_FREEP(struct inputs, inputs_free)

/* What this node is, found by doing it; NULL: not known yet. */
const char *inputs_tier(const struct inputs *in);
/* The stem's number, and its namespaces as of node_mount_namespaces(); 0: there is none. */
uint64_t inputs_namespaces(const struct inputs *in, int fds[2]);

/* Room is short: what no attempt uses is held no longer. Returns how many trees that were. */
unsigned inputs_shed(struct inputs *in);

/* ---- attempts: as of struct run_ops, which forwards to these */

void inputs_prepare(struct inputs *in, uint64_t attempt, const struct wire_start *m);
void inputs_hold(struct inputs *in, uint64_t attempt, const struct wire_start *m);
void inputs_release(struct inputs *in, uint64_t attempt);
/* Of one that was not released. */
void inputs_sizes(struct inputs *in, uint64_t attempt, struct run_sizes *s);
/* Of one that was not released: which of its inputs gave errors to readers since it was ready, and why; yours to free. NULL: none did. */
char *inputs_failure(const struct inputs *in, uint64_t attempt);
/* As KEEPER_DONE tells. -ECANCELED: the keeper has not heard of it. */
void inputs_job_done(struct inputs *in, uint64_t number, int error, int status);

/* ---- what vined wants here */

/* "file:" or "node:" and an absolute path: that, borrowed; NULL. */
const char *source_path(const char *source);

/* The caller's, zeroed before, his again in on_done. */
struct inputs_fetch {
	/* What gates a start is here: once at most, before on_done. NULL: not told. */
	void (*on_hot)(struct inputs_fetch *f);
	/* Set: the source is only looked at. It is there and may be read: then nothing more comes. */
	void (*on_source)(struct inputs_fetch *f, const char *path, enum fetch_kind kind);
	/* 0: all of it is here. is_final: it can never be had from there. */
	void (*on_done)(struct inputs_fetch *f, int error, bool is_final, const struct digest *tree, uint64_t size,
			const char *reason);
	void *arg;                    /* the caller's */
	struct inputs_fetching *work; /* private */
};

/* Brings what FETCH names here: all of the tree, if its index is here (whoever got that from a peer has published it before), else its source is sealed. No index and no source:
 * -ENOENT. `m` is borrowed for the call. Callbacks come later. */
void inputs_fetch_start(struct inputs *in, struct inputs_fetch *f, const struct wire_fetch *m);
/* The caller hears nothing more; what is sealed for nobody else ends. */
void inputs_fetch_stop(struct inputs_fetch *f);
/* A task waits for what this FETCH names: what comes of it from now on is on the account of the attempt that reads it. */
void inputs_due(struct inputs *in, const struct wire_fetch *m);
/* Who waits for another node to read the source of what this FETCH names hears what it is, or reads it himself. */
void inputs_told(struct inputs *in, const struct wire_fetch *m);
/* Bytes of a tree (NULL: of what is being sealed at this path) came here: origin as in FLOWS. */
void inputs_came(struct inputs *in, const struct digest *tree, const char *path, unsigned origin, uint64_t size);
/* An index of this tree was published by somebody else: attempts may wait for it; those that have the item (0: none is known) as a draft get the tree in its place. */
void inputs_arrived(struct inputs *in, uint64_t item, const struct digest *tree);
/* "file:" or "node:" and an absolute path: that, borrowed; NULL. */
const char *source_path(const char *source);

#endif
