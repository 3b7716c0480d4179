/* SPDX-License-Identifier: Apache-2.0
 * What a recorded task has read and written, made into declarations. Pure text: lines of `KIND PATH` in, with tab, size, tab and microseconds behind; lines out. */
#ifndef TOOLS_RECORD_H
#define TOOLS_RECORD_H

#include "common/buf.h"

struct record_options {
	const char *home; /* never offered as a whole, nor a directory above it; may be NULL */
	bool is_all;      /* nothing is left out or put together */
	bool is_job;      /* "input = PATH" in place of "-i PATH" */
};

/* Lines that are none are passed over. */
void record_declare(const char *text, size_t n, const struct record_options *o, struct buf *to);
/* All of it, in the order in which it happened: what, bytes when it was opened, seconds since the first, path as recorded. */
void record_list(const char *text, size_t n, struct buf *to);

#endif
