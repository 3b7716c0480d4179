/* SPDX-License-Identifier: Apache-2.0
 * What vine-mount says to a node's vinefs, one packet each way over STATE/mount.sock (SOCK_SEQPACKET): flat structs of this machine. The descriptor of
 * /dev/fuse comes with the offer; with an answer that is no error, one of a file in memory. */
#ifndef VINEFS_ATTACH_H
#define VINEFS_ATTACH_H

#include "common/digest.h"

#define ATTACH_SOCKET "mount.sock"
#define ATTACH_MAGIC UINT64_C(0x336863617474612e) /* other structs, another number */

struct attach_offer {
	uint64_t magic;
	struct digest tree;
	uint64_t draft; /* 0: none, the tree is sealed */
	uint32_t is_answered, n_init;
	uint64_t device; /* as of struct mount_connection */
	uint32_t is_file;
	uint32_t is_private; /* it is a namespace of its own ... */
	uint32_t is_bound;   /* ... in which large files are to be bound over their paths */
	uint8_t init[512];
	char name[256], directory[4096]; /* directory: absolute, in the sender's namespace */
};

/* The file has texts, each with its NUL: the path of the tree's index, if it has one yet, else ""; that of its hot set, which need not exist; then of each file to be bound its path in the
 * tree and that of its bytes. */
#define ATTACH_TEXTS_MAX (4u << 20)
#define ATTACH_TEXTS_BEFORE 2u /* of the first kind */

struct attach_answer {
	int32_t error; /* 0 or an errno of Linux */
	char reason[500];
	uint64_t number;
};

/* ---- attach_warm.c: of vine-mount itself */

/* Within a budget of time and names, has the kernel list the directories that the files of the hot set lie in, or all where there is none, and read these files ahead. What fails is left cold. */
void attach_warm(const char *directory, const struct digest *id, const char *index, const char *hot);

#endif
