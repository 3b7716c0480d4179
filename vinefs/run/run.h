/* SPDX-License-Identifier: Apache-2.0
 * Where tasks run: attempts in their sandboxes, from vined's START to the acknowledged end. The keeper starts the
 * processes and remembers them; this side gives them a place, an environment, and their result a form.
 *
 * Files, top to bottom: run.c (all attempts, what becomes of them), attempt.c (one sandbox and its ENDED), kept.c (long
 * output that outlives its attempt), hand.c (the wire to the keeper), removal.c (deleting behind everyone's back).
 *
 * One thread, the loop's, but for the one inside removal.c. */
#ifndef RUN_H
#define RUN_H

#include "common/buf.h"
#include "common/loop.h"
#include "common/wire.h"

#define RUN_HEAD_SIZE (64u << 10) /* of each output, sent with ENDED */

struct run;

struct run_ops {
	/* The keeper has told all it knows. */
	void (*on_listed)(void *owner);
	/* run_next_ended() has something to give. */
	void (*on_ended)(void *owner);
	/* Nothing runs any more and nothing will: say good bye. */
	void (*on_gone)(void *owner);
	/* The keeper is not there any more, and this process has nothing to do without it. */
	void (*on_orphaned)(void *owner);
};

struct run_options {
	const char *state; /* directory, absolute; borrowed */
	int keeper;        /* the descriptor from KEEPER_FD; taken over */
	uint64_t keep_usec, keep_size;
	const struct run_ops *ops;
	void *owner;
};

/* NULL with errno. */
struct run *run_new(struct loop *l, const struct run_options *o);
void run_free(struct run *r);
DEFINE_FREEP(struct run, run_free)

/* An attempt that is known already is left as it is. What goes wrong comes as its end. */
void run_start(struct run *r, const struct wire_start *m);
void run_stop(struct run *r, const struct wire_stop *m);

/* Asks the keeper to end everything in order; on_gone comes when it is done. */
void run_leave(struct run *r);

/* All it answers for, the caller's array to free. */
struct wire_held *run_held(const struct run *r, uint32_t *n);

/* Fills in the end of an attempt that is to be sent, false if there is none or its output cannot be read just now (then on_ended
 * comes again); texts point into `heads`, outputs too. It then counts as under way until run_taken (vined has it) or run_untaken
 * (send it again). */
bool run_next_ended(struct run *r, struct wire_ended *m, struct buf *heads);
void run_taken(struct run *r, uint64_t attempt);
void run_untaken(struct run *r, uint64_t attempt);

/* Output number `which` (1, 2) of an attempt, running or over: a descriptor to close, or -errno. */
int run_open_output(const struct run *r, uint64_t attempt, unsigned which, uint64_t *size);

#endif
