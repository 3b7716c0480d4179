/* SPDX-License-Identifier: Apache-2.0
 * Names from outside go through here: components only, no "..", no absolute path, no NUL; opened below a
 * directory descriptor without following a link. */
#ifndef COMMON_PATH_H
#define COMMON_PATH_H

#include "common/base.h"

#include <sys/types.h>

/* 0 if `path` (n bytes) is one or more components joined by single slashes, none of them "", ".", "..", none over 255
 * bytes, in all at most 4095, without NUL; else -EINVAL, -ENAMETOOLONG. */
int path_check(const char *path, size_t n);

/* Opens `path` below directory `dir` (flags as open(2), O_CLOEXEC added): openat2 RESOLVE_BENEATH | NO_SYMLINKS | NO_MAGICLINKS, before
 * kernel 5.6 component by component with O_NOFOLLOW. A descriptor or -errno (-EXDEV, -ELOOP for an escape). */
int path_open_beneath(int dir, const char *path, int flags, mode_t mode);
/* What path_open_beneath does where the kernel has no openat2; apart so that tests reach it on any kernel. */
int path_open_by_steps(int dir, const char *path, int flags, mode_t mode);

/* Makes every missing directory of `path` (absolute or relative to the working directory) with `mode`. 0 or -errno. */
int path_make_dirs(const char *path, mode_t mode);

/* a + "/" + b without doubled slashes; an absolute b stands alone. Yours to free. */
char *path_join(const char *a, const char *b);

/* The last component, borrowed from `path`. */
const char *path_base(const char *path);

/* Whole small files. path_read: at most `most` bytes, NUL added, *n without it; NULL with errno (EFBIG if larger).
 * path_write: written beside and renamed over; with `durable` file and directory are synced. */
char *path_read(const char *path, size_t most, size_t *n);
int path_write(const char *path, const void *p, size_t n, mode_t mode, bool durable);
/* The same, but -EEXIST if the name is taken. */
int path_make(const char *path, const void *p, size_t n, mode_t mode, bool durable);
/* Over what is there, in place: who meets it meanwhile may meet half. Its time is set to `usec` since the epoch unless that is 0. */
int path_overwrite(const char *path, const void *p, size_t n, mode_t mode, uint64_t usec);

#endif
