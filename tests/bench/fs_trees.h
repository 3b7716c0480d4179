/* SPDX-License-Identifier: Apache-2.0
 * The synthetic trees of the fs-* and seal benchmarks. All from seeds: the same bytes on every machine, and no two files alike. */
#ifndef BENCH_FS_TREES_H
#define BENCH_FS_TREES_H

#include "common/base.h"

#define MIB ((uint64_t)1 << 20)

/* Prints why and ends the benchmark as failed: something is wrong, not merely missing. */
_Noreturn void fs_fail(const char *fmt, ...) _printf_(1, 2);

/* `n` small files of 500 to 7,500 bytes below `root`, in directories of 100; and the path of one of them. */
void fs_make_files(const char *root, unsigned n, unsigned seed);
void fs_path_of(char *to, size_t n, const char *root, unsigned i);

/* The sizes of a real environment (DESIGN 4): `n_small` files of at most 64 KiB with a fifth of the bytes, and one of 128 KiB to 4 MiB after each
 * 32 of them. Returns the bytes. fs_all_files: how many that makes; fs_small_path: the path of small file `i`, in the tree's order. */
uint64_t fs_make_real(const char *root, unsigned n_small);
unsigned fs_all_files(unsigned n_small);
void fs_small_path(char *to, size_t n, const char *root, unsigned i);

/* A file in which the 8 bytes at each offset are fs_word(offset + first). */
void fs_make_big(const char *path, uint64_t size, uint64_t first);
uint64_t fs_word(uint64_t offset);

#endif
