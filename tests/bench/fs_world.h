/* SPDX-License-Identifier: Apache-2.0
 * What the fs-* benchmarks stand on: namespaces, a directory and a node of their own, synthetic trees, and a comparison with the native filesystem. */
#ifndef BENCH_FS_WORLD_H
#define BENCH_FS_WORLD_H

#include "common/base.h"

#include <stdio.h>
#include <sys/types.h>

enum { FS_PAIRS = 5, FS_DIRECTORIES = 100, FS_FILES = 10000 };

struct fs_world {
	const char *name;
	char directory[64]; /* on the local disk; removed at the end */
	pid_t keeper;       /* of the standalone vinefs */
	FILE *details;      /* of the line of JSON */
	char *details_text;
	size_t n_details;
};

/* Runs `body` as process 1 of a PID and mount namespace with a node (vinefs --vined=none) of its own, and removes all that is left of it.
 * The exit status: 77 if it cannot run here, 1 if it failed or took longer than `limit_sec`. */
int fs_world_run(const char *name, unsigned limit_sec, void (*body)(struct fs_world *));

/* Prints why and ends the benchmark as failed: something is wrong, not merely missing. */
_Noreturn void fs_fail(const char *fmt, ...) _printf_(1, 2);

/* Runs a command to its end; fails unless it succeeds. argv ends with NULL. */
void fs_run(const char *const argv[]);

/* vine mount and vine umount, of a tree at `path` on `directory`, which is made. */
void fs_mount(const char *path, const char *directory);
void fs_umount(const char *directory);

/* The serving process below the keeper, 0 while there is none. */
pid_t fs_worker(const struct fs_world *w);

/* Makes FS_FILES small files below `root`, all different, also from those of another seed; and their paths. */
void fs_make_files(const char *root, unsigned seed);
void fs_path_of(char *to, size_t n, const char *root, unsigned i);

/* Makes a file in which the 8 bytes at each offset are fs_word(offset). */
void fs_make_big(const char *path, uint64_t size);
uint64_t fs_word(uint64_t offset);

/* One line of the table: the same work on the native and the mounted side, alternately, FS_PAIRS times. */
struct fs_compare {
	const char *what;
	void (*work)(const struct fs_compare *c, const char *root);
	void (*prepare)(struct fs_compare *c, unsigned round); /* not timed, before each pair; may change the roots */
	char native[256], served[256];
	unsigned n;       /* files, reads or processes of one round, for `work` */
	unsigned n_steps; /* what the printed times are divided by */
	bool is_first;    /* no round of the served side that does not count */
};

/* Prints it, adds it to the details, and returns the median of the ratios. */
double fs_compare(struct fs_world *w, struct fs_compare *c);

/* The last line. */
void fs_end(struct fs_world *w, double value, const char *unit, const char *target);

#endif
