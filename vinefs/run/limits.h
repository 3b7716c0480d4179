/* SPDX-License-Identifier: Apache-2.0
 * What an attempt may use, and what it has used: cgroup v2 where it is delegated, v1 controllers where they can be written, else looking now and then.
 *
 * Looking happens four times a second, less often where that would take more than a hundredth of a core. It cannot see what comes and goes in between, memory of files
 * in /dev/shm that nobody has mapped, nor files that are deleted and still open; cgroups see all but the last. */
#ifndef RUN_LIMITS_H
#define RUN_LIMITS_H

#include "common/buf.h"
#include "common/loop.h"
#include "common/wire.h"
#include "vinefs/keeper/keeper.h"

struct limits;

enum limits_kind {
	LIMITS_NONE,
	LIMITS_MEMORY,
	LIMITS_DISK,
	LIMITS_WALL,
	LIMITS_PROCESSES
}; /* as `exceeded` of ENDED */

struct limits_settings {
	struct loop *loop;
	const char *name; /* of the node: its cgroups lie below vine-NAME.INODE, of the directory `sandboxes` */
	const char *
		cgroup; /* root of the hierarchy to use; NULL or "": found out; tests give a directory of plain files. "none": none */
	int sandboxes;      /* STATE/s; all borrowed */
	uint64_t processes; /* of an attempt that does not say; 0: a quarter of what the machine lets this user have */
	/* The attempt is over a limit: the caller ends it. Once each. The text says which, how much, where. */
	void (*on_exceeded)(void *arg, uint64_t attempt, enum limits_kind kind, const char *text);
	void *arg;
};

/* NULL with errno. */
struct limits *limits_new(const struct limits_settings *s);
void limits_free(struct limits *l);
DEFINE_FREEP(struct limits, limits_free)
/* For people: "cgroup v2: memory processes", "cgroup v1: memory; by looking: processes", "by looking: memory processes". */
const char *limits_how(const struct limits *l);

/* What the keeper is to do with it; freed by limits_plan_fini(). */
struct limits_plan {
	char **cgroups; /* files to write its pid to */
	uint32_t n_cgroups;
	struct keeper_limit limits[8];
	uint32_t n_limits;
};

/* Before it is started: 0 or -errno, the node's own trouble. `processes`: 0 as the node says; `has_init`: it is alone in a PID namespace. What was
 * begun is ended, also if it never ran. */
int limits_begin(struct limits *l, const struct wire_start *m, uint64_t processes, bool has_init,
		 struct limits_plan *plan);
void limits_plan_fini(struct limits_plan *p);
/* It runs: pid is its first process as this process sees it; its wall time is counted from started_usec (loop's clock). Also for one that runs since before this process: then how many processes it may have is taken from `how`; pid 0: it has ended meanwhile, and limits_end() follows. */
void limits_watch(struct limits *l, const struct wire_start *m, bool has_init, int pid, uint64_t started_usec);

struct limits_usage {
	bool is_gone; /* its group had no process left, and that group could hold all of them */
	enum limits_kind exceeded;                 /* also if only its cgroup has seen it */
	char text[256];                            /* of what it exceeded */
	uint64_t cpu_usec, peak_memory, peak_disk; /* 0: not known here; then what wait(2) said counts */
};

/* Nothing of it is to run any more (what still does is killed): what it used; its cgroups go. Also of one that ended before this process began; those of others that nobody speaks of go after a minute. */
void limits_end(struct limits *l, uint64_t attempt, struct limits_usage *u);

#endif
