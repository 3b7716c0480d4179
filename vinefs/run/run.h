/* SPDX-License-Identifier: Apache-2.0
 * Where tasks run: attempts in their sandboxes, from vined's START to the acknowledged end. The keeper starts the
 * processes and remembers them; this side gives them a place, an environment, and their result a form.
 *
 * Files, top to bottom: run.c (all attempts, what becomes of them), begin.c (what an attempt needs before the keeper is asked), end.c (what it leaves), attempt.c (one sandbox and its ENDED), outputs.c, outputs_*.c (what it leaves, as trees), limits.c, limits_*.c (what it may use),
 * view.c, view_sets.c, view_steps.c, view_links.c (what it sees), view_file.c (the same on disk), share.c (views for several), host.c (what the host has), how.c (how it is to run), kept.c (sandboxes that outlive their attempts), hand.c (the wire to the keeper),
 * removal.c (deleting behind everyone's back).
 *
 * One thread, the loop's, but for the one inside removal.c. */
#ifndef RUN_H
#define RUN_H

#include "common/buf.h"
#include "common/loop.h"
#include "common/wire.h"

#define RUN_HEAD_SIZE (64u << 10) /* of each output, sent with ENDED */

struct run;
struct cache;
struct fetch;
struct view_step;

/* An input that is ready: its tree, or one file, at a path that the steps of a view can name. */
struct run_input {
	uint64_t item;
	const char *path; /* where the task is to see it: absolute, or below its directory */
	const char *
		at; /* in the stem: STATE/mnt/NAME, to be bound recursively, for large files of the cache lie over its own. In tier plain: the unpacked tree */
	uint8_t mode; /* 1 ro, 2 rw */
	bool is_file;
	struct digest tree; /* zero: a draft, whose id nobody knows yet */
};

/* Bytes of an attempt's inputs that were here before, and that came because of it: in all, and as far as is known from whom. */
struct run_sizes {
	uint64_t local, moved, peer, source, client;
};

struct run_ops {
	/* Brings here what START names and makes it ready; run_ready() or run_unready() comes for it later, never within this call. `m` lives as long as the attempt does. NULL: what runs here sees the host's paths alone. */
	void (*prepare)(void *owner, uint64_t attempt, const struct wire_start *m);
	/* An attempt that runs since before this process: its inputs are to stay. run_ready() may tell later what they are, or nothing. */
	void (*hold)(void *owner, uint64_t attempt, const struct wire_start *m);
	/* Nothing of it runs any more (or it was not wanted before it was ready): its inputs may go. */
	void (*release)(void *owner, uint64_t attempt);
	/* Of one that was prepared and not released. NULL: nobody counts. */
	void (*sizes)(void *owner, uint64_t attempt, struct run_sizes *s);
	/* Of one like that: why what it read of its inputs failed, the caller's to free; NULL: nothing did. NULL: nobody knows. */
	char *(*failure)(void *owner, uint64_t attempt);
	/* Asks vined for a keep; run_keep_answered() comes later. */
	void (*ask_keep)(void *owner, const struct wire_keep *m);
	/* The keeper has told all it knows. */
	void (*on_listed)(void *owner);
	/* run_next_ended() has something to give. */
	void (*on_ended)(void *owner);
	/* A job of run_do() is over: 0, or -errno (-ECANCELED: the keeper has not heard of it); else `status` is as of wait(2). NULL: nobody asks for any. */
	void (*on_job)(void *owner, uint64_t job, int error, int status);
	/* All that runs was told to end. NULL: nobody asks. */
	void (*on_stopping)(void *owner);
	/* Nothing runs any more and nothing will: say good bye. */
	void (*on_gone)(void *owner);
	/* The keeper is not there any more, and this process has nothing to do without it. */
	void (*on_orphaned)(void *owner);
};

struct run_options {
	const char *state; /* directory, absolute; borrowed, like all that is pointed to here */
	int keeper;        /* the descriptor from KEEPER_FD; taken over */
	uint64_t keep_usec, keep_size;
	uint64_t keep_failed_usec, keep_failed_size; /* sandboxes of what failed; 0: none */
	const char *name;                            /* of the node */
	const char *cgroup;                          /* as in limits.h; NULL: found out */
	uint64_t processes;                          /* likewise */
	struct fetch *fetch;                         /* NULL: the host's paths are looked at by the loop's thread */
	struct cache *cache;                         /* NULL: outputs are not looked for */
	const char *const *
		hidden; /* directories and sockets that no view shows, ends in NULL; the state directory is hidden anyway. NULL: none */
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

/* Answers to prepare(): the attempt may start, with these; or it cannot: with is_nodes_fault it may elsewhere. Unknown attempts are ignored. */
void run_ready(struct run *r, uint64_t attempt, const struct run_input *inputs, size_t n);
void run_unready(struct run *r, uint64_t attempt, int error, bool is_nodes_fault, const char *reason);
/* Answers ask_keep(): 0, or -errno with a reason. */
void run_keep_answered(struct run *r, uint64_t attempt, uint64_t item, int error, const char *reason);

/* The stem that views are to be made in from now on; 0: there is none (any more). Without one inputs are links below VINE_ROOT to where they lie. */
void run_set_stem(struct run *r, uint64_t stem);
/* The mount that it reads from is gone: it is ended, and run again whatever its exit status. */
void run_lost(struct run *r, uint64_t attempt, const char *reason);
/* What lies at this `at` of some input that was ready goes away: views that were kept with it go first. */
void run_forget_input(struct run *r, const char *at);

/* The keeper does these steps in the stem's own namespaces, then, if there is argv, executes that there; on_job() tells. Numbers are the caller's, below RUN_JOB_FIRST,
 * never 0 and never used again. Borrowed for the call. 0 or -errno: then nothing more comes. */
#define RUN_JOB_FIRST (UINT64_C(1) << 63)
int run_do(struct run *r, uint64_t job, uint64_t stem, struct view_step *steps, uint32_t n_steps,
	   const char *const *argv, uint32_t n_argv);

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

/* Output number `which` (1, 2; 3: what a recorded task has opened) of an attempt, running or over: a descriptor to close, or -errno. */
int run_open_output(const struct run *r, uint64_t attempt, unsigned which, uint64_t *size);

/* What a task saw, as its sandbox has it in `steps`: for `vine shell`. In a kept sandbox the overlays are those of the attempt: before one is mounted again
 * its SANDBOX/o/N/work goes. */
struct run_view {
	uint64_t stem;              /* the steps were written for this one */
	uint32_t flags, mask;       /* KEEPER_IN_VIEW, if it had a namespace of its own */
	const char *directory, *in; /* as the task sees them */
	struct view_step *steps;
	uint32_t n_steps;
	const char *const *environment; /* ends in NULL, like argv */
	const char *const *argv;
	uint32_t n_environment, n_argv;
	char *block; /* all texts */
};

/* 0 or -errno; -ENOENT: it never ran. Does not wait for anything but a small file. */
int run_read_view(const char *sandbox, struct run_view *v);
void run_view_fini(struct run_view *v);

#endif
