/* SPDX-License-Identifier: Apache-2.0
 * What a description of a task and a handle on a file are inside: task.c and file.c make them, post.c sends them. */
#ifndef TASK_H
#define TASK_H

#include "common/wire.h"
#include "libvineclient/vine.h"

#include <stdatomic.h>

enum { TASK_ENV_INHERIT, TASK_ENV_CLEAN };

#define CONF_STRUCT task_settings
#define CONF_FILE "libvineclient/task.def"
#include "common/conf_struct.h"

/* ---- file.c */

/* Does not change once it is made, but for `size`; the bindings that name it hold it, too, from any thread. */
struct vine_file {
	atomic_uint refs;
	char *item;          /* "file:/PATH", "node:/PATH", "tree:ID", "temp:NAME" */
	char *signature;     /* as in the wire; NULL: it was not looked at */
	uint64_t size;       /* estimated; 0: not known */
	bool is_pattern;     /* {index} is in its name: each element of an array has its own */
	struct local *local; /* NULL, or what this process alone sees; sealed.c */
};

struct binding {
	struct vine_file *file;
	char *path; /* where the task sees it; NULL: where the file itself lies */
	uint64_t size;
	uint8_t mode;   /* as in the wire */
	uint32_t flags; /* as in the wire */
};

enum { BINDING_RO = 1, BINDING_RW = 2, BINDING_OUT = 3 };

/* An output that has no name of its user's. */
struct vine_file *file_new_temp(void);
struct vine_file *file_ref(struct vine_file *f);
/* Where the file itself lies: the path of file:, node: and client:, else NULL. Borrowed. */
const char *file_path(const struct vine_file *f);

/* ---- value.c: values of settings that are more than a number or a word. Each takes a whole text and returns 0, or -errno with the text
 * set, and then nothing has changed. */

struct amounts {
	struct wire_amount *at; /* names are owned */
	uint32_t n;
};

struct words {
	char **at;
	uint32_t n;
};

struct array {
	uint64_t first, step, n; /* n 0: none */
	uint32_t running;        /* 0: any number at once */
};

struct deadline {
	bool is_relative; /* counted from vine_post on, else from 1970 */
	uint64_t usec;    /* 0: none */
};

/* Words go into lists, logs and other programs' lines. */
int value_check_word(const char *setting, const char *text, size_t most);
/* Puts `name` = text among them, in place of what was there; "0" takes it out. */
/* Names of what a node or the cluster has: they stand in lists and in NAME=AMOUNT. */
int value_check_name(const char *setting, const char *name, size_t n);
int value_amount(struct amounts *a, const char *setting, const char *name, const char *text);
int value_features(struct words *features, const char *text);
int value_array(struct array *a, const char *text);
int value_deadline(struct deadline *d, const char *text);
void amounts_fini(struct amounts *a);
void words_fini(struct words *w);

/* ---- how.c: what common/how.def has, as the wire takes it: NAME=value of what is not as by default */

bool how_is_name(const char *name);
/* 0, or -errno with the text set, and then nothing has changed. */
int how_set(struct words *how, const char *name, const char *value);

/* ---- task.c */

struct vine_task {
	char **argv; /* one block with its texts */
	uint32_t n_args;
	char **environment; /* NAME=value over what is inherited, in the order of names */
	size_t n_environment;
	struct task_settings settings;
	struct amounts resources, counters;
	struct words features, how;
	struct array array;
	struct deadline deadline;
	struct binding *bindings;
	uint32_t n_bindings;
};

/* Like strcmp of the NAMEs in two NAME=value. */
int variable_compare(const char *a, const char *b);

#endif
