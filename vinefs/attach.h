/* SPDX-License-Identifier: Apache-2.0
 * What vine-mount says to a node's vinefs, one packet each way over STATE/mount.sock (SOCK_SEQPACKET): flat structs of this machine. The descriptor of
 * /dev/fuse comes with the offer. */
#ifndef VINEFS_ATTACH_H
#define VINEFS_ATTACH_H

#include "common/digest.h"

#define ATTACH_SOCKET "mount.sock"
#define ATTACH_MAGIC UINT64_C(0x316863617474612e)

struct attach_offer {
	uint64_t magic;
	struct digest tree;
	uint32_t is_answered, n_init;
	uint8_t init[512];
	char name[256], directory[4096]; /* directory: absolute, in the sender's namespace */
};

struct attach_answer {
	int32_t error; /* 0 or an errno of Linux */
	char reason[500];
	uint64_t number;
};

#endif
