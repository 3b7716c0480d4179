/* SPDX-License-Identifier: Apache-2.0
 * What of a dry run the cluster and this machine's node are asked for: where it could run now, and what would move. Nothing is started, and nothing is changed. */
#ifndef TOOLS_DRY_RUN_H
#define TOOLS_DRY_RUN_H

#include "tools/job.h"

/* Prints it for one task with these files, which job_binds() made. */
void dry_run_where(const struct job_options *o, const struct binds *files);

/* The same and what job_print() prints, as members of an object that has begun. */
struct json;
void dry_run_json(struct json *j, const struct job_options *o, char *const *argv, const struct binds *files);
/* All of it, of one task. The exit status. */
int dry_run_json_alone(const struct conf_table *t, const struct job_options *o, char *const *argv,
		       const struct binds *files);

#endif
