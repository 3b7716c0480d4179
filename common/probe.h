/* SPDX-License-Identifier: Apache-2.0
 * What this machine lets us do, found by trying it in a child process, for a node's tier and for `vine doctor`. */
#ifndef COMMON_PROBE_H
#define COMMON_PROBE_H

#include "common/base.h"

#define PROBE_TEXT_SIZE 192

enum probe_feature {
	PROBE_KERNEL,
	PROBE_FUSE,
	PROBE_USER_NAMESPACES, /* with a mount namespace and a bind in it */
	PROBE_PID_NAMESPACES,
	PROBE_OVERLAY, /* one that can be written as views write it */
	PROBE_CGROUPS,
	PROBE_FILES, /* open files */
	PROBE_PROCESSES,
	PROBE_DISK, /* room and kind of the state directory's filesystem */
	PROBE_CLOCK,
	PROBE_RECORD, /* seccomp tells what a task opens */
	PROBE_RESUME, /* the kernel sends requests again that a vinefs had when it died */
	PROBE_N
};

struct probe {
	const char *name; /* "user namespaces" */
	bool is_ok;
	char detail[PROBE_TEXT_SIZE]; /* what was found, or how it failed */
	const char *cost;             /* of lacking it */
	const char *cure;             /* how to get it */
};

enum probe_tier { PROBE_TIER_PLAIN, PROBE_TIER_MOUNT, PROBE_TIER_VIEWS };

struct probe_report {
	struct probe at[PROBE_N];
	enum probe_tier tier;
	char reason[PROBE_TEXT_SIZE]; /* why this tier */
	const char *lift;             /* the one line that would lift it; NULL: it is the highest */
	uint64_t memory;              /* bytes that processes here may use, a cgroup's limit considered */
	unsigned cores;               /* that they may run on */
};

/* Tries everything; takes some 10 ms. `state` (or its nearest parent that exists) is the directory that sandboxes
 * will lie in. Call it from a process without other threads: it forks. */
void probe_run(struct probe_report *r, const char *state);

/* Namespaces and mounts take a user namespace: of ordinary users, and of root that was denied to mount. */
bool probe_needs_user(void);

/* "views", "mount", "plain" */
const char *probe_tier_name(enum probe_tier tier);

#endif
