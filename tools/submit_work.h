/* SPDX-License-Identifier: Apache-2.0
 * What one `vine submit` submits: parts, each a task, an array of them, or one for each line of a file. Where it says status: 0, or the exit status
 * after saying what is wrong. */
#ifndef TOOLS_SUBMIT_WORK_H
#define TOOLS_SUBMIT_WORK_H

#include "tools/job.h"

struct vine;

/* "1-1000:2%50"; first, first + step, ... */
struct work_array {
	uint64_t first, step, n, at_once; /* at_once 0: any number */
};

struct work_part {
	char *name; /* of a job file's section; NULL: none */
	struct job_options o;
	char **argv;
	struct work_array array; /* n 0: none */
	char **lines;            /* of --each; NULL: none */
	size_t n_lines;
	bool is_native; /* an array of vined's, for its elements differ in their words alone */
};

struct work {
	struct work_part *parts;
	size_t n;
};

/* From options, words, a job file or a script. Status. */
int work_read(struct work *w, const struct job_options *o, int argc, char **argv, int first);
void work_fini(struct work *w);

const char *work_run(const struct work *w);  /* "": not said */
const char *work_base(const struct work *w); /* the program's name, to make one of */
bool work_is_added(const struct work *w);
uint64_t work_count(const struct work_part *p);

/* ---- submit_save.c: a job file that says the same. Status. */
int work_save(const struct work *w, const char *path);

/* ---- submit_post.c. Status. */
int work_print(const struct work *w, bool is_json);
int work_post(const struct work *w, struct vine *v);

#endif
