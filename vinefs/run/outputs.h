/* SPDX-License-Identifier: Apache-2.0
 * What an attempt leaves: its declared outputs become trees of the node's cache, what it wrote besides is listed. Begun when nothing of the attempt runs any more.
 *
 * looked for and sealed, in the pool -> written down in SANDBOX/outputs, so that whoever does it again after a crash finds the same -> trees leased -> each `file:/PATH` written
 * beside its target, KEEP asked, renamed -> on_done. Of a successful attempt large files go into the cache by their own inode, and their names in the sandbox then go: nobody may
 * need the sandbox for more than its output and its errors afterwards.
 *
 * Who holds what: a job holds a lease on each tree from before on_done until outputs_job_fini(), which is due when vined has acknowledged ENDED: from then on the
 * node has it as vined's REPLICAS and lifetimes say. An attempt that ended before this process, and is not acknowledged, is done again from its START: then its leases are taken anew. */
#ifndef RUN_OUTPUTS_H
#define RUN_OUTPUTS_H

#include "common/loop.h"
#include "common/wire.h"
#include "vinefs/fetch/fetch.h"

struct outputs;

struct outputs_settings {
	struct loop *loop;
	struct fetch *fetch;
	struct cache *cache;
	/* Asks vined whether an attempt may publish; outputs_keep_answered() comes later, once for each time it was asked. */
	void (*ask_keep)(void *arg, const struct wire_keep *m);
	void *arg;
	uint64_t patience_usec; /* a target's filesystem that stands still for so long is given up; 0: 60 s */
	const char *const *guarded; /* absolute, ends in NULL: nothing is put in, at or above these. NULL: none */
	uint64_t keep_usec;     /* a grant is used within so long of asking, or never; 0: 10 s */
};

struct outputs *outputs_new(const struct outputs_settings *s);
/* After fetch_stop(): every job was stopped before. */
void outputs_free(struct outputs *o);

/* Where the attempt wrote what lies at one declared path. */
struct outputs_place {
	const char *
		path; /* a declared input or output, as START has it, or a directory that was the task's alone: "/tmp" */
	const char *
		upper; /* directory or file on the host where its writes are: of an overlay its upper; else the thing itself */
	bool is_overlay; /* the upper of one: whiteouts and marks are to be understood */
	struct digest
		lower; /* of an overlay: the tree it lay over; zero: a draft then; what came of it is found by the input's source */
};

/* The caller's, not moved until on_done. Strings and places are borrowed for outputs_start() alone. */
struct outputs_job {
	const struct wire_start *start; /* borrowed for outputs_start() */
	const char *
		sandbox; /* STATE/s/ATTEMPT on the host, absolute. What lies below it is the attempt's alone; from elsewhere outputs are copied */
	const char *cwd; /* the working directory on the host, absolute */
	const struct outputs_place *places;
	size_t n_places;
	uint64_t came_usec; /* when the attempt came here, since the epoch: by the clock that tells when paths were sealed */
	bool is_success;    /* it exited with 0 */
	/* 0, or the error of an output that is missing, cannot be sealed, or may not be published (-ESTALE: another attempt counts): then `reason` names it. */
	void (*on_done)(struct outputs_job *j, int error, const char *reason);
	void *arg;
	/* Filled in by then, whatever the error; outputs_job_fini() frees it. */
	struct wire_output *outputs; /* of each output of START, in its order; not made: a zero tree */
	uint32_t n_outputs;
	char **left; /* what it wrote, changed or removed without having declared it, as the task named it */
	uint32_t n_left_named;
	uint64_t n_left, written_size;
	struct outputs_work *work; /* private */
};

/* on_done comes later, never within the call. */
void outputs_start(struct outputs *o, struct outputs_job *j);
/* The caller hears nothing more. Nothing is published from then on. */
void outputs_stop(struct outputs_job *j);
/* Lets go of its trees. Safe on a zeroed one; of one that is not done it is a stop, too. */
void outputs_job_fini(struct outputs_job *j);
/* Every asking is answered once: 0, granted; -ESTALE, -EINVAL, -ENOENT, -EPERM, -ENOSYS: refused; -EALREADY: an attempt before has published it, which is as good; another error (vined is away, or
 * has trouble): it is asked again in a moment. */
void outputs_keep_answered(struct outputs *o, uint64_t attempt, uint64_t item, int error, const char *reason);

#endif
