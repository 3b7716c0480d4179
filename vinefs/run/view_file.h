/* SPDX-License-Identifier: Apache-2.0
 * What an attempt saw, in SANDBOX/steps: for the vinefs that finds it running, and for `vine shell`. Lines of fields, the first
 * of them a word; tabs between, and in them \\ \t \n. */
#ifndef RUN_VIEW_FILE_H
#define RUN_VIEW_FILE_H

#include "vinefs/run/hand.h"
#include "vinefs/run/view.h"

/* 0 or -errno. */
int view_file_write(const char *sandbox, const struct hand_start *s, const struct view *v);
/* Working directory, places and stem of what runs since before this process. 0, or -errno: then there is nothing in `v` but what is always so. */
int view_file_read(const char *sandbox, struct view *v, uint64_t *stem);

#endif
