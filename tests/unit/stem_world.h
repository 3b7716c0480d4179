/* SPDX-License-Identifier: Apache-2.0
 * A keeper for tests of who speaks with it about mounts: it holds what it is given, and its stem is a process of its own, through which a test sees what is mounted there. */
#ifndef UNIT_STEM_WORLD_H
#define UNIT_STEM_WORLD_H

#include "common/base.h"
#include "vinefs/keeper/keeper.h"

#include <sys/types.h>

#define STEM_ANSWER_MAX (128u << 10)

/* A process in namespaces of its own; made before there are threads. */
struct stem {
	pid_t pid;
	int fd;
	bool is_allowed; /* it could make its namespaces */
};

void stem_open(struct stem *s);
void stem_close(struct stem *s);
/* Mounts /dev/fuse on a directory: a descriptor, or -errno. */
int stem_mount(struct stem *s, const char *directory);
/* What it is to do next; stem_hear() has the answer when there is one. */
void stem_ask(struct stem *s, char what, const char *path, const char *other);
/* -EAGAIN: not yet. Else the number of bytes, or -errno: 'r' the file's first ones, 's' "device size mode", 'b' (`other` bound over path) and 'u' (a path unmounted) none. */
ssize_t stem_hear(struct stem *s, char answer[STEM_ANSWER_MAX]);

/* The keeper's end of the pair for mounts. */
struct stem_keeper {
	int theirs, ours; /* theirs: for mounts_new() */
	struct stem *stems[3];
	unsigned n_stems, n_made;
	int refusal; /* what it says to KEEPER_STEM in place of doing it */
	const char *directory;
	uint64_t stem, held; /* numbers; 0: none */
	int fds[2];
	unsigned n_drops;
};

void stem_keeper_open(struct stem_keeper *k, const char *directory);
/* Says what has been held to a new vinefs. */
void stem_keeper_meet(struct stem_keeper *k);
void stem_keeper_turn(struct stem_keeper *k);
void stem_keeper_close(struct stem_keeper *k);

#endif
