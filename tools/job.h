/* SPDX-License-Identifier: Apache-2.0
 * What `vine run` and `vine submit` make of options and words: a task and its files. Where it says status: 0, or the exit status after saying what is wrong. */
#ifndef TOOLS_JOB_H
#define TOOLS_JOB_H

#include "tools/bind.h"
#include "tools/tools.h"

extern const char *const job_send_words[]; /* as in enum bind_send */

/* Options of submit; run has some of them. */
#define CONF_STRUCT job_options
#define CONF_FILE "tools/submit.def"
#include "common/conf_struct.h"

struct vine;
struct vine_task;

/* ---- job_foreign.c: what fingers know from elsewhere, of run and submit */
extern const struct conf_foreign job_foreign[];
/* "1:30:00", "2-12", "90:00" as sbatch reads them; a bare number is none. 0 or -EINVAL. */
int job_clock_time(const char *text, uint64_t *sec);
/* Values that mean something else there. Status. */
int job_check_habits(const struct conf_table *t, const struct job_options *o);

/* ---- job.c */

/* For which element of an array or line of a file; "" and NULL: there is none, and what stands for it is left as it is. */
struct job_place {
	const char *index, *line;
};

/* With {i} and {} replaced; yours. */
char *job_expand(const char *text, const struct job_place *p);
/* The same of all options, which conf_fini(t) frees, and of the words, each and the list yours. */
void job_expand_options(const struct conf_table *t, const struct job_options *from, const struct job_place *p,
			struct job_options *to);
char **job_expand_words(char *const *words, const struct job_place *p);
void job_free_words(char **words);
/* Appends it as a shell, and job_split(), take it for one word. */
void job_quote(struct buf *to, const char *word);

/* The description, without files. Status. */
int job_task(const struct conf_table *t, const struct job_options *o, char *const *argv, struct vine_task **task);

/* -i, -o, --stdin and the words of the command that name files. `stdin_path`: yours, NULL if there is none. Status. */
int job_binds(const struct conf_table *t, const struct job_options *o, char *const *argv, struct binds *files,
	      char **stdin_path);

/* How many words of the command name files that become inputs. */
size_t job_count_files(const struct job_options *o, char *const *argv);

/* Whether the cluster's nodes see what lies at this path here, or it has to be sent or fetched. */
bool job_is_shared(const struct job_options *o, const char *path);

/* The path here of an input, NULL: it does not lie here; and whether nothing can be read there. */
const char *job_here_of(const struct bind *b);
bool job_is_missing(const struct bind *b);
/* Prints what it would be; adds what cannot be read here to *n_missing. */
void job_count_missing(const struct binds *files, unsigned *n_missing);
void job_print(const struct job_options *o, char *const *argv, const struct binds *files, unsigned *n_missing);

#endif
