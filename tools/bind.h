/* SPDX-License-Identifier: Apache-2.0
 * What -i and -o mean: FROM[:TO][:WORDS]. A colon after a scheme or one of our words (client: file: node: tree: temp: keep:) is no separator, nor is "\:". */
#ifndef TOOLS_BIND_H
#define TOOLS_BIND_H

#include "common/base.h"

struct vine_file;

/* A path without a word before it: looked at by nodes, or sent to them? auto: sent, if the cluster is on another machine and the path on a filesystem of this one. */
enum bind_send { BIND_SEND_AUTO, BIND_SEND_YES, BIND_SEND_NO };

struct bind {
	char *word; /* as it was given */
	char *uri;  /* for vine_file_new(); of an output: NULL if it needs no name */
	char *path; /* where the task sees it; NULL: where the file itself lies */
	char *here; /* of an output: where it is fetched to; NULL: it stays in the cluster, or is published */
	bool is_output, is_word; /* is_word: the command names it, nothing else does */
	unsigned flags; /* of vine_task_input() or vine_task_output() */
	struct vine_file *file;
};

struct binds {
	struct bind *at;
	size_t n;
};

#define BIND_WHY 512
/* Each adds one: 0, or -EINVAL with `why`. */
int bind_input(struct binds *all, const char *word, enum bind_send send, char why[BIND_WHY]);
int bind_output(struct binds *all, const char *word, char why[BIND_WHY]);
/* The same of what becomes standard input, unless an input has it already; *path is where the task finds it, yours. */
int bind_stdin(struct binds *all, const char *word, enum bind_send send, char **path, char why[BIND_WHY]);
/* Files are freed with it. */
void binds_fini(struct binds *all);

#endif
