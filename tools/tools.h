/* SPDX-License-Identifier: Apache-2.0
 * The command `vine`. vine.c has the one table of its commands; cmd_*.c is one command each, its options are in *.def. Below them
 * submit_post.c and submit_work.c (what one `vine submit` submits), job_file.c (files that say it), job.c (a task of options and words),
 * cause.c and cause_said.c (what a failure means), why_cause.c, why_failed.c (of many), why_cluster.c and why_path.c (the rest of vine why),
 * why_task.c (why a task waits or failed), counts.c (tasks by state), selector.c (how tasks are named), session.c (the way to the cluster),
 * run_files.c (files of one `vine run`), sending.c (progress of what goes out), bind.c (the words of -i and -o), record.c (what a task opened, as such words), shell_where.c (where a task's view is), node.c (this machine's
 * node, asked), embed.c, embed_start.c, embed_plan.c, embed_place.c and embed_watch.c (the user's own cluster, started), share.c (what a batch system has given a node), top_model.c, top_ask.c, top_keys.c, top_view.c, top_list.c, top_text.c, top_screen.c,
 * top_term.c and top_json.c (vine top: what is known, asked, chosen and shown), when.c (times as people write them), table.c (rows for people and for programs) and json.c, moved.c (whence bytes came), output.c (what a task has written, as JSON), tree_name.c (trees as people name them), report_*.c (what a report says, and its page; report.h).
 * Words: submit_save.c (a job file of what was typed), job_foreign.c (options of sbatch), dry_run.c (what the cluster says of a dry run), complete.c (what a
 * word may become in a shell), topic.c (what help explains beside commands), spool.c (a stream as a file, for `vine seal -`).
 *
 * To add a command: its cmd_NAME.c, its options in NAME.def, a line in vine.c and in the Makefile's list. */
#ifndef TOOLS_H
#define TOOLS_H

#include "common/buf.h"
#include "common/conf.h"

#include <stdio.h>

#define EXIT_VINE_FAILED 125

struct command {
	const char *name;
	/* argv[0] is the command's name; the exit status is returned. */
	int (*run)(int argc, char **argv);
	const struct conf_table *options; /* its summary is the command's */
	const char *about;                /* some sentences for help and the man page; lines are joined */
};

extern const struct command commands[];
extern const size_t n_commands;

/* Letters to change, insert, remove or exchange to make b of a; of long words many. */
size_t tool_distance(const char *a, const char *b);

/* The command of that name, or NULL; *nearest is then the most similar one, or NULL. */
const struct command *command_find(const char *name, const char **nearest);

/* Reads the options; answers --help. Returns the index of the first word that is none, or -1 with *status to end with. */
int tool_options(const struct conf_table *t, void *into, int argc, char **argv, int *status);

/* The same where options may follow words; argv[1 ..] are then the words, up to a NULL. Returns how many, or -1. */
int tool_words(const struct conf_table *t, void *into, int argc, char **argv, int *status);

/* Prints "vine NAME: TEXT" in one line on standard error, escaped, and returns EXIT_VINE_FAILED. */
int tool_fail(const struct conf_table *t, const char *fmt, ...) _printf_(2, 3);

/* A task's number; 0: the word is none. */
uint64_t tool_task(const char *word);

/* Flushes standard output; the status, or 125 if something could not be written. */
int tool_end(const struct conf_table *t, int status);

/* ---- table.c: rows of text */
struct table {
	size_t n_columns, n_rows;
	char **names;
	struct buf cells; /* char *, row by row */
};

/* As a vine_row_fn; arg is the table. Takes copies. */
int table_add(void *arg, size_t n, const char *const names[], const char *const cells[]);
void table_fini(struct table *t);
const char *table_cell(const struct table *t, size_t row, size_t column);
/* The cell of that column in that row; NULL if there is none. */
const char *table_find(const struct table *t, size_t row, const char *column);

/* Columns as wide as they must be, numbers to the right, headings bold on a terminal. */
void table_print(const struct table *t, FILE *to);

/* "1.5 GB", "12.3 s" of a number in text, in place of bytes and microseconds. */
void print_size(char to[32], uint64_t size);
void print_usec(char to[32], uint64_t usec);
/* "3 min ago" of a time of the wall clock; "never" of 0. */
void print_age(char to[32], uint64_t usec);

/* ---- colours: "" where standard output is no terminal, or NO_COLOR is set */
enum colour { COLOUR_NONE, COLOUR_BOLD, COLOUR_GREEN, COLOUR_YELLOW, COLOUR_RED };
const char *colour(enum colour c);

#endif
