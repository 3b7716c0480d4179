/* SPDX-License-Identifier: Apache-2.0
 * What is timed: work on a tree, done by an agent, a process that stands where the tree is seen (in a private mount, as another user) and does what it is told.
 * It speaks on its standard input and output: a line "NAME N M PATH" is answered by a line with the time in microseconds. */
#ifndef BENCH_FS_WORK_H
#define BENCH_FS_WORK_H

#include "tests/bench/fs_trees.h"

/* The agent's whole life; ends when its input does. Its name on the command line, in place of a benchmark's, is FS_AGENT; two FIFOs behind it are its input and output then. */
int fs_agent_main(char *const fifos[]);
#define FS_AGENT "--agent"

/* What crash readers (fs_crash.c) and who kills share, in a file that the command names. */
enum { CRASH_READERS = 8, CRASH_WINDOWS = 14, CRASH_FILES = 512, CRASH_FILE_SIZE = 512 * 1024, CRASH_RANGE = 65536 };
struct crash_log {
	unsigned window; /* CRASH_WINDOWS: the end */
	struct {
		uint64_t longest_nsec[CRASH_WINDOWS], n_reads, n_errors;
	} at[CRASH_READERS];
};

#endif
