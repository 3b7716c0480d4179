/* SPDX-License-Identifier: Apache-2.0
 * Outputs over a real cache, with a sandbox STATE/s/17 whose files a shell makes, and vined's answers as the test says. */
#ifndef UNIT_OUTPUTS_WORLD_H
#define UNIT_OUTPUTS_WORLD_H

#include "tests/unit/fetch_world.h"
#include "vinefs/run/outputs.h"

#define OUTPUTS_WORLD_ATTEMPT 17
#define OUTPUTS_WORLD_WAIT 1 /* the test answers itself */

struct outputs_world {
	struct fetch_world f;
	struct outputs *o;
	struct outputs_job job;
	struct wire_start start;
	struct wire_input inputs[16];
	char *texts[32];
	unsigned n_texts;
	struct outputs_place places[4];
	char *sandbox, *cwd;
	char *path; /* of outputs_world_path() */
	struct cache_settings cache_settings;
	uint64_t patience_usec, keep_usec;
	int answer;
	struct wire_keep asked;
	unsigned n_asked;
	int error;
	char *reason;
	bool is_done;
};

void outputs_world_open(struct outputs_world *w);
void outputs_world_open_as(struct outputs_world *w, struct outputs_world as); /* its settings */
void outputs_world_reopen(struct outputs_world *w);                           /* what a process before has left */
void outputs_world_close(struct outputs_world *w);
/* In the sandbox, with -e. */
void outputs_world_shell(struct outputs_world *w, const char *commands);
const char *outputs_world_path(struct outputs_world *w, const char *name); /* in the sandbox; until the next call */
char *outputs_world_new_path(struct outputs_world *w, const char *name);   /* yours */
void outputs_world_out(struct outputs_world *w, uint64_t item, const char *path, const char *name, uint32_t flags);
/* The target is in the sandbox, too. */
void outputs_world_keep(struct outputs_world *w, uint64_t item, const char *path, const char *target, uint32_t flags);
/* The upper `up` of an overlay at `path`, over what nobody knows; over a tree of that directory of the sandbox. */
void outputs_world_over(struct outputs_world *w, const char *path);
void outputs_world_lower(struct outputs_world *w, const char *path, const char *directory);
void outputs_world_start(struct outputs_world *w, bool is_success);
int outputs_world_finish(struct outputs_world *w);
int outputs_world_run(struct outputs_world *w, bool is_success);
void outputs_world_again(struct outputs_world *w); /* lets go of the job; it may be run once more */
void outputs_world_until_asked(struct outputs_world *w, unsigned n);
/* Until no name in that directory begins with ".vine-17". */
void outputs_world_settle(struct outputs_world *w, const char *directory);
/* The tree of output number i is what lies there. */
void outputs_world_equal(struct outputs_world *w, unsigned i, const char *name);

#endif
