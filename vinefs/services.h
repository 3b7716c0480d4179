/* SPDX-License-Identifier: Apache-2.0
 * What a node has besides tasks: cache, fetch, mounts and the door, put together, kept healthy, and taken apart again. */
#ifndef VINEFS_SERVICES_H
#define VINEFS_SERVICES_H

#include "common/loop.h"
#include "common/probe.h"
#include "vinefs/link.h"
#include "vinefs/settings.h"

struct services;

/* What the machine has; borrowed for the call. */
struct services_found {
	enum probe_tier tier;
	const char *warmer; /* the program vine-mount; NULL: it is not found */
};

/* `keeper` is the descriptor from KEEPER_MOUNTS_FD, taken over. After the loop's signals were blocked, before other threads exist. NULL after logging why. */
struct services *services_new(struct loop *l, const struct settings *s, int keeper, const struct services_found *found);
#define SERVICES_UPGRADE 1 /* what loop_run() returns when `vine node upgrade` has asked for it */

/* What the link needs. */
struct link_parts services_parts(const struct services *s);

/* For metrics: mounts that people see, the node's own not among them. */
unsigned services_n_mounts(const struct services *s);

/* After loop_run() has ended, and the link is freed. With `is_leaving` everything is unmounted first; else it
 * waits at the keeper for the next vinefs, and no reader sees an error.
 * False: a source holds a thread that uses all this, and nothing was freed; the process has to end. */
bool services_end(struct services *s, bool is_leaving);

#endif
