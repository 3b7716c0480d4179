/* SPDX-License-Identifier: Apache-2.0
 * What one task is to see, as the flat steps that the keeper carries out, and what must be there in the sandbox before. Pure but for
 * reading the host's answers.
 *
 * The first n_kept steps are the same for all tasks with the same inputs: a root, places for declared paths that the host lacks, inputs that are
 * read only. The others are of this attempt: overlays and copies for what is written, its /tmp, its working directory, and the end
 * of what it must not see. Below STATE and /tmp nothing is mounted twice: what lies there is put together in the sandbox and in STATE/view, and bound last.
 *
 * An attempt's SANDBOX: cwd/ tmp/ home/ out err, o/N/{upper,work} of overlay N or o/N itself, root/ (what VINE_ROOT names where there is no view), start, view. */
#ifndef RUN_VIEW_H
#define RUN_VIEW_H

#include "common/conf.h"
#include "vinefs/keeper/keeper.h"
#include "vinefs/run/host.h"
#include "vinefs/run/how.h"
#include "vinefs/run/outputs.h"
#include "vinefs/run/run.h"

struct view_make { /* on the host, before the keeper is asked; parents too */
	char *path;
	bool is_file;
	char *target; /* not NULL: a link to this */
};

struct view_copy {        /* private copies of inputs, likewise */
	const char *from; /* in the stem */
	char *to;
};

struct view {
	struct view_step *steps;
	uint32_t n_steps, n_kept;
	uint64_t kept; /* 0: nothing that is worth it */
	struct outputs_place *places;
	size_t n_places;
	struct view_make *makes;
	size_t n_makes;
	struct view_copy *copies;
	size_t n_copies;
	char *directory; /* the working directory, as the task sees it */
	char *cwd;       /* the same on the host */
	bool is_view;    /* else there are links, and no steps but one for /proc */
	/* private */
	size_t room_steps, room_places, room_makes, room_copies;
	char **texts;
	size_t n_texts, room_texts;
};

/* Borrowed for the call; what a view points to in it must outlive that. */
struct view_asked {
	const struct wire_start *start;
	const struct how *how;
	const char *state, *sandbox;
	const struct run_input *inputs;
	size_t n_inputs;
	const char *const *hidden; /* absolute, ends in NULL */
	const char *const *shared; /* what is mounted below the host's /tmp, and stays in sight; ends in NULL */
	struct host *host;         /* who knows all of view_ask() */
	bool is_view, is_root;
	bool has_user;  /* the stem is in a user namespace */
	bool is_inside; /* without a view, but where the node's mount is: a PID namespace of its own it has all the same */
};

/* The host's paths that view_compose() has to know of, the caller's to free by view_free_texts(). */
char **view_ask(const struct view_asked *q, size_t *n);
void view_free_texts(char **texts, size_t n);

/* 0, or -EINVAL, -ENOTDIR ...: what was declared cannot be shown, with the reason. view_fini() in either case. */
int view_compose(const struct view_asked *q, struct view *v, struct conf_error *e);
void view_fini(struct view *v);

#endif
