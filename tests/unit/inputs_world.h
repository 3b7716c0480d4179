/* SPDX-License-Identifier: Apache-2.0
 * A node whose inputs are the test's to ask for: a cache, a fetch, a keeper with a stem, and what was told of each attempt. */
#ifndef UNIT_INPUTS_WORLD_H
#define UNIT_INPUTS_WORLD_H

#include "tests/unit/fetch_world.h"
#include "tests/unit/stem_world.h"
#include "tests/unit/unit.h"
#include "vinefs/inputs.h"

#define MIB ((size_t)1 << 20)
#define N_ATTEMPTS 100u

struct told {
	bool is_ready, is_unready, is_nodes_fault, is_lost;
	int error;
	char reason[700];
	char at[40][1024];
	bool is_file[40];
	struct digest tree[40];
};

struct inputs_world {
	struct fetch_world fetch; /* first: fetch_world_until() gets it */
	struct stem stems[2];
	struct stem_keeper keeper;
	struct mounts *mounts;
	struct inputs *inputs;
	struct inputs_settings settings;
	char *state, *mnt, *hot;
	struct told told[N_ATTEMPTS];
	uint64_t stem;
	unsigned n_tiers, n_jobs, n_steps, n_forgotten;
	char *job_from, *job_to;
	uint64_t job;
	bool is_holding_jobs, is_coming; /* is_coming: whatever tree is asked about */
};

/* False: namespaces cannot be had. */
bool inputs_world_open(struct inputs_world *w, enum probe_tier tier);
bool inputs_world_open_as(struct inputs_world *w, const struct inputs_settings *settings);
/* Leaves, or makes way for the next process. */
void inputs_world_stop(struct inputs_world *w, bool is_leaving);
/* The next one, of this tier; the keeper tells it what it holds. */
void inputs_world_again(struct inputs_world *w, enum probe_tier tier);
void inputs_world_close(struct inputs_world *w);
void inputs_world_turn(struct inputs_world *w);
void inputs_world_until(struct inputs_world *w, const bool *flag);
void inputs_world_await_tier(struct inputs_world *w);
/* Of what has run since before all has been told by then. */
void inputs_world_settle(struct inputs_world *w);

struct wire_input inputs_world_input(const char *source, const struct digest *tree);
/* `m` and what it points to live as long as the attempt. */
struct told *inputs_world_prepare(struct inputs_world *w, uint64_t attempt, struct wire_start *m,
				  const struct wire_input *i, uint32_t n);
/* In the stem; see stem_hear(). */
ssize_t inputs_world_see(struct inputs_world *w, char what, const char *path, const char *other,
			 char answer[STEM_ANSWER_MAX]);
/* A file of a tree is the same below the mount and where it is from. */
void inputs_world_check(struct inputs_world *w, const char *at, const char *name, const char *from);

#define WITH_VIEWS_OF(w, ...)                                                                                     \
	do {                                                                                                      \
		if (!inputs_world_open_as(w, &(struct inputs_settings){.tier = PROBE_TIER_VIEWS, __VA_ARGS__})) { \
			inputs_world_close(w);                                                                    \
			SKIP("no namespaces or no /dev/fuse");                                                    \
		}                                                                                                 \
		ASSERT_STR(inputs_tier((w)->inputs), "views");                                                    \
		ASSERT((w)->stem != 0);                                                                           \
	} while (0)
#define WITH_VIEWS(w) WITH_VIEWS_OF(w, .is_unshared = false)

#endif
