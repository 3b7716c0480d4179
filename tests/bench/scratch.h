/* SPDX-License-Identifier: Apache-2.0
 * Where a benchmark writes: a directory of its own on a local disk, below $VINE_BENCH_DIR or else /var/tmp. A child works in it, so that nothing is left whatever ends that. */
#ifndef BENCH_SCRATCH_H
#define BENCH_SCRATCH_H

#include <stdbool.h>

struct scratch {
	const char *name; /* the benchmark's */
	char directory[96];
	void (*on_end)(void *arg, int status); /* before the directory goes; NULL: nothing is to be done */
};

/* Ends the benchmark as impossible where there can be none, or where fewer MiB are free, unless it is the quick form. */
void scratch_make(struct scratch *s, const char *name, unsigned room_mib);

/* A child does `body` and exits; one that takes longer is killed, and one that a signal would leave behind. The directory is removed. Returns the exit status. */
int scratch_run(const struct scratch *s, unsigned limit_sec, void (*body)(void *arg), void *arg);

/* In a mount namespace of its own: where /dev/fuse is root's alone, one that all may open lies over it. `directory` is for the device. False: there is none. */
bool scratch_open_fuse(const char *directory);

#endif
