/* SPDX-License-Identifier: Apache-2.0
 * Files that say what is to be submitted.
 *
 * A job file has lines of `name = value`, the options of `vine submit` by their long names. What stands before the first section is for all tasks;
 * a section [task NAME] is a task, or an array of them, with what stands in it besides. `$word = value` is a variable: ${word} in later
 * lines is its value; a ${word} that is none of them is left for the shell. A script has its options in lines that begin with #VINE. */
#ifndef TOOLS_JOB_FILE_H
#define TOOLS_JOB_FILE_H

#include "common/buf.h"

struct job_section {
	char *name; /* NULL: the file has no sections, and this is all of it */
	struct buf text;
	size_t n_skipped; /* lines between what is for all and it */
};

struct job_file {
	struct buf common; /* what is for all */
	struct job_section *at;
	size_t n;
};

#define JOB_WHY 256
/* Of the file's n bytes. 0, or -EINVAL with `why`, which names the line. */
int job_file_read(const char *text, size_t n, struct job_file *f, char why[JOB_WHY]);
void job_file_fini(struct job_file *f);
/* What conf_read_text() takes of section i; lines of others are empty, so that a fault's line is the file's. Yours. */
char *job_section_text(struct job_file *f, size_t i);

/* Splits as sh does: blanks, '...', "..." and \; nothing is replaced. A list that ends in NULL, each yours; NULL: a quote is open. */
char **job_split(const char *text);

/* The words of a script's #VINE lines, up to the first line that is no comment, as job_split(); NULL: a quote is open. */
char **job_script_words(const char *text);
/* What runs it by its first line, "#!/usr/bin/env python3": up to two words, then NULL. /bin/sh if it has none. */
char **job_script_interpreter(const char *text);

#endif
