/* SPDX-License-Identifier: Apache-2.0
 * A stream as a file for a moment: what a node is to read by a path. Left behind by nobody for long: the next one takes away what has no owner. */
#ifndef TOOLS_SPOOL_H
#define TOOLS_SPOOL_H

#include "common/base.h"

struct spool {
	int fd; /* locked as long as it is wanted; -1: none */
	char *path;
	char error[256];
};

/* All of `from` into a file below `directory`; of an archive, told by its first bytes, it is named as one. 0, or -errno with the text. */
int spool_read(struct spool *s, int from, const char *directory);
/* The file is gone then. */
void spool_fini(struct spool *s);

#endif
