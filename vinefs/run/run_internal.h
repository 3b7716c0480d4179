/* SPDX-License-Identifier: Apache-2.0
 * What run.c, begin.c and end.c share. What happens to an attempt is an event, and run.c's table says what follows in which state. */
#ifndef RUN_RUN_INTERNAL_H
#define RUN_RUN_INTERNAL_H

#include "common/log.h"
#include "common/map.h"
#include "vinefs/run/attempt.h"
#include "vinefs/run/hand.h"
#include "vinefs/run/kept.h"
#include "vinefs/run/share.h"

struct run {
	struct loop *loop;
	struct hand hand;
	struct map attempts;
	struct list ends;
	struct kept kept, failed;
	struct removal *removal;
	struct host host;
	struct share share;
	struct limits *limits;
	struct outputs *outputs; /* NULL: there is no fetch */
	struct run_options o;
	struct timer retry;
	struct log_limit refusals, unread;
	struct list copying; /* attempts whose job the keeper does */
	uint64_t stem, last_job;
	char **guarded; /* where no output is put, ends in NULL */
	char **shared; /* mounts below /tmp, ends in NULL */
	int sandboxes; /* STATE/s: nothing below it is reached by a path that a task may have bent */
	bool is_listed;
};

enum event {
	EVENT_READY,    /* its inputs are */
	EVENT_ARRANGED, /* the host was looked at, or a copy was made: on with it */
	EVENT_STOP,
	EVENT_FENCE,
	EVENT_REPORTED, /* `end` is what the keeper says of its end */
	EVENT_COLLECTED,
	EVENTS
};

/* False: that means nothing to it in its state. It may be gone afterwards. */
bool run_happen(struct run *r, struct attempt *a, enum event e);

/* begin.c: handlers of events */
void begin_prepare(struct run *r, struct attempt *a);
void begin_arrange(struct run *r, struct attempt *a);
void begin_go_on(struct run *r, struct attempt *a);
/* From the beginning, since the namespaces it was to run in are gone. False: it was tried often enough. */
bool begin_again(struct run *r, struct attempt *a);
/* Nothing of what it waits for is to come any more. */
void begin_abandon(struct attempt *a);
void begin_job_done(struct run *r, uint64_t job, int error, int status);

/* end.c: handlers */
void end_reported(struct run *r, struct attempt *a);
void end_collected(struct run *r, struct attempt *a);
/* It has ended without having run, by `error` at a step; the node's own fault, or as the step says. Takes over the reason (NULL: the step's). */
void end_unstarted(struct run *r, struct attempt *a, int error, enum keeper_step step, const char *what);
void end_refused(struct run *r, struct attempt *a, int error, bool is_nodes_fault, char *reason);
void end_stopped(struct run *r, struct attempt *a);
/* Its inputs, limits and whatever waits for it. */
void end_release(struct run *r, struct attempt *a);
void end_kill(struct run *r, struct attempt *a, uint64_t grace_usec);

#endif
