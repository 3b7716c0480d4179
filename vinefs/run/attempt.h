/* SPDX-License-Identifier: Apache-2.0
 * One attempt on this node: its sandbox STATE/s/ATTEMPT/{cwd,tmp,out,err,...}, its environment, its end. */
#ifndef RUN_ATTEMPT_H
#define RUN_ATTEMPT_H

#include "common/buf.h"
#include "common/list.h"
#include "common/wire.h"
#include "vinefs/keeper/keeper.h"
#include "vinefs/run/host.h"
#include "vinefs/run/how.h"
#include "vinefs/run/limits.h"
#include "vinefs/run/outputs.h"
#include "vinefs/run/view.h"

enum attempt_state {
	ATTEMPT_PREPARING,  /* its inputs are being made ready */
	ATTEMPT_ARRANGING,  /* they are; the host is looked at, private copies are made */
	ATTEMPT_RUNNING,    /* the keeper has it */
	ATTEMPT_COLLECTING, /* nothing of it runs any more; its outputs become trees */
	ATTEMPT_ENDED,      /* `end` says how; in run's list until it is sent */
	ATTEMPT_UNDER_WAY,  /* sent, not acknowledged */
	ATTEMPT_FENCED,     /* nobody wants to hear of it; the keeper is ending it */
	ATTEMPT_STATES
};

struct attempt {
	struct list link; /* in run's list of ends to be sent */
	enum attempt_state state;
	struct keeper_report end; /* as the keeper told it; its number and task are the attempt's from the beginning */
	bool is_unread;           /* its output could not be sent, but is there */
	struct run *run;
	struct wire_start *start; /* NULL: of before this process, and its file is not there */
	struct how how;
	struct run_input *inputs; /* copies */
	size_t n_inputs;
	struct view view;
	uint64_t stem; /* in which it runs; 0: in none */
	struct host_question question;
	size_t i_copy;       /* of view.copies: the one that is being made ... */
	struct list copying; /* ... as run's job, or ... */
	uint64_t job;
	struct child copier; /* ... by this child */
	struct limits_usage usage;
	struct outputs_job outputs; /* until vined has its trees */
	char *reason;               /* besides what `end` says; NULL: none */
	int output_error;           /* of one that should be there */
	char *input_failure;        /* what it read may have been refused, and why; NULL: nothing was */
	struct run_sizes sizes;
	uint64_t grace_usec; /* as the stop said */
	uint64_t came_usec;  /* since the epoch */
	unsigned n_tries;    /* of a stem that was gone */
	bool is_prepared;    /* its inputs are held for it */
	bool is_given;       /* the keeper knows it */
	bool is_limited;
	bool is_stopped; /* asked to end */
	bool is_nodes_fault;
	bool is_spoilt;  /* the mount that it read from has died under it */
	bool is_failure; /* as it was told */
};

void attempt_free(struct attempt *a);
void attempt_drop_inputs(struct attempt *a);

/* STATE/s/ATTEMPT, yours to free. */
char *attempt_sandbox(const char *state, uint64_t attempt);

/* Makes the sandbox in the directory of all. 0 or -errno. */
int attempt_make_sandbox(int sandboxes, uint64_t attempt);
/* What Vine itself puts into each, NULL-terminated. */
extern const char *const attempt_directories[], *const attempt_files[];
/* Output 1 or 2 of an attempt, or its record 3, no link in its path followed: a descriptor to close, or -errno; -EBADF if it is no file (any more). */
int attempt_open_output(int sandboxes, uint64_t attempt, unsigned which, uint64_t *size);

/* START as a file of the sandbox, from which a new vinefs knows it. 0 or -errno. */
int attempt_save(const struct attempt *a, const char *sandbox);
/* False: it is not there, or not whole. */
bool attempt_load(struct attempt *a, const char *sandbox);

/* For how long its first process has been there; 0: nobody knows. */
uint64_t attempt_age_usec(int pid);

/* The attempt could not begin, and that is the node's own fault; the same command may begin elsewhere. */
bool attempt_is_refused(const struct attempt *a);
/* What went wrong at which step, appended. */
void attempt_describe_failure(const struct attempt *a, struct buf *to);

/* The environment that the task gets: what was given, and what Vine says of itself. NULL-terminated; attempt_free_texts(). */
char **attempt_environment(const struct attempt *a, const char *sandbox, uint32_t *n);
void attempt_free_texts(char **texts);
/* Which of this process' cores it may use, in words of 64, the caller's to free; NULL: all. */
uint64_t *attempt_cores(const struct wire_start *m, uint32_t *n);

/* Fills in ENDED; what it points to lies in `heads` and in the attempt. 0, or -errno if the output cannot be read just now. Output that cannot be
 * read at all makes the reason. */
int attempt_fill_ended(struct attempt *a, int sandboxes, struct wire_ended *m, struct buf *heads);

#endif
