/* SPDX-License-Identifier: Apache-2.0
 * The fs-* benchmarks that fill files of their own; bench_fs.c has the table. */
#ifndef BENCH_BENCH_FS_H
#define BENCH_BENCH_FS_H

#include "tests/bench/fs_world.h"

/* fs_import.c. The environment that was found or made, and a way to it for the ordinary user. */
void fs_prepare_import(void);
void fs_prepare_import_and_torch(void);
const char *fs_environment(const struct fs_world *w);
void fs_import(struct fs_world *w);
void fs_import_first(struct fs_world *w);
void fs_import_cold(struct fs_world *w);

void fs_crash(struct fs_world *w);   /* fs_crash.c */
void fs_overlay(struct fs_world *w); /* fs_overlay.c */
void fs_slow(struct fs_world *w);    /* fs_slow.c */
void fs_start_first(struct fs_world *w);
void fs_write(struct fs_world *w); /* fs_write.c */

#endif
