/* SPDX-License-Identifier: Apache-2.0
 * Reads the names of a directory and all below it into a builder, several directories at a time. Private to data/. */
#ifndef DATA_WALK_H
#define DATA_WALK_H

#include "data/builder.h"

struct walk_job {
	int root;         /* borrowed */
	const char *path; /* in messages */
	struct builder *builder;
	unsigned n_threads;
	const bool *is_cancelled;
	bool (*is_wanted)(void *arg, const char *path); /* as in seal_options */
	void *arg;
	struct seal_progress *progress; /* files_found, bytes_found; updated atomically */
	struct seal_report *errors, *notes;
};

/* 0, -ECANCELED, -EIO (errors tell), -EOVERFLOW. */
int walk_run(const struct walk_job *job);

#endif
