/* SPDX-License-Identifier: Apache-2.0
 * How tasks are named on the command line: 17, RUN, RUN/17, RUN/1-9, RUN/NAME, RUN@failed, @failed, tag:WORD. vined says which they are. */
#ifndef TOOLS_SELECTOR_H
#define TOOLS_SELECTOR_H

#include "tools/tools.h"

struct vine;

enum selector_kind {
	SELECTOR_TASK,  /* a number */
	SELECTOR_RUN,   /* all of a run */
	SELECTOR_WORD,  /* RUN/WORD: what a task is called in it, or a range of numbers */
	SELECTOR_STATE, /* [RUN]@STATE */
	SELECTOR_TAG,   /* tag:WORD, RUN@tag:WORD */
};

#define SELECTOR_WHY 256
struct selector {
	enum selector_kind kind;
	uint64_t task;           /* of SELECTOR_TASK */
	char run[65];            /* "": all runs */
	const char *word, *text; /* within what was given */
};

/* 0, or -EINVAL with `why`. */
int selector_parse(const char *text, struct selector *s, char why[SELECTOR_WHY]);

/* The tasks that it means, as rows (tools.h) with vined's columns; at most 10,000. The exit status after saying what is wrong; that there is no
 * such run or task is wrong, that none is in a state is not. */
int selector_rows(const struct conf_table *t, struct vine *v, const struct selector *s, struct table *rows);

/* The one task that it means, by number: 0 with *status to end with, after saying why, if it means none or several. */
uint64_t selector_one(const struct conf_table *t, struct vine *v, const char *text, int *status);

/* "sweep/3", or "17" of a task without a name. */
#define SELECTOR_LABEL 400
const char *selector_label(const struct table *rows, size_t row, char to[SELECTOR_LABEL]);

#endif
