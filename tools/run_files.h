/* SPDX-License-Identifier: Apache-2.0
 * The files of one `vine run`: given to the task, and what it left brought here. Each returns 0, or the exit status after saying why. */
#ifndef TOOLS_RUN_FILES_H
#define TOOLS_RUN_FILES_H

#include "tools/bind.h"
#include "tools/tools.h"

struct vine;
struct vine_task;

/* Whether what is to be fetched will find room for its name; missing directories are made. */
int run_files_check(const struct conf_table *t, const struct binds *all);
int run_files_bind(const struct conf_table *t, struct vine *v, struct vine_task *task, struct binds *all);
/* The reason of a failure names an input that is here, but perhaps not where the task was to run: says what to try. */
void run_files_hint(const struct binds *all, const char *reason);
int run_files_fetch(const struct conf_table *t, struct vine *v, const struct binds *all, bool is_success);

#endif
