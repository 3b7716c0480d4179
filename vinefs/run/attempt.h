/* SPDX-License-Identifier: Apache-2.0
 * One attempt on this node: its sandbox STATE/s/ATTEMPT/{cwd,tmp,out,err}, its environment, its end. */
#ifndef RUN_ATTEMPT_H
#define RUN_ATTEMPT_H

#include "common/buf.h"
#include "common/list.h"
#include "common/wire.h"
#include "vinefs/keeper/keeper.h"

enum attempt_state {
	ATTEMPT_RUNNING,   /* the keeper has it */
	ATTEMPT_ENDED,     /* `end` says how; in run's list until it is sent */
	ATTEMPT_UNDER_WAY, /* sent, not acknowledged */
};

struct attempt {
	struct list link; /* in run's list of ends to be sent */
	enum attempt_state state;
	struct keeper_report end; /* as the keeper told it; its number and task are the attempt's from the beginning */
	bool is_unread;           /* its output could not be sent, but is there */
};

/* STATE/s/ATTEMPT, yours to free. */
char *attempt_sandbox(const char *state, uint64_t attempt);

/* Makes the sandbox in the directory of all. 0 or -errno. */
int attempt_make_sandbox(int sandboxes, uint64_t attempt);
/* Output 1 or 2 of an attempt, no link in its path followed: a descriptor to close, or -errno; -EBADF if it is no file (any more). */
int attempt_open_output(int sandboxes, uint64_t attempt, unsigned which, uint64_t *size);

/* The attempt could not begin, and that is the node's own fault; the same command may begin elsewhere. */
bool attempt_is_refused(const struct keeper_report *end);
/* What went wrong at which step, appended. */
void attempt_describe_failure(const struct keeper_report *end, struct buf *to);

/* The environment that the task gets: what was given, and what Vine says of itself. NULL-terminated; attempt_free_texts(). */
char **attempt_environment(const struct wire_start *m, const char *sandbox, const char *directory, uint32_t *n);
void attempt_free_texts(char **texts);

/* Fills in ENDED; what it points to lies in `heads`. 0, or -errno if the output cannot be read just now. Output that cannot be
 * read at all makes the reason. */
int attempt_fill_ended(struct attempt *a, int sandboxes, struct wire_ended *m, struct buf *heads);

#endif
