/* SPDX-License-Identifier: Apache-2.0
 * What a batch system has given this process of the machine it runs on, read from what it says in the environment. */
#ifndef TOOLS_SHARE_H
#define TOOLS_SHARE_H

#include "common/base.h"

struct share {
	char *node; /* what the batch system calls this machine; NULL: nothing here is a batch system's, and all else is 0 */
	char *rack; /* the switch above it; NULL: it does not say */
	uint64_t cores, memory, gpus;
	uint64_t left_usec; /* until the job ends */
};

/* now_sec is of the wall clock. In a process of a Slurm job on one of its nodes; elsewhere everything is 0. */
void share_read(struct share *s, uint64_t now_sec);
void share_fini(struct share *s);

#endif
