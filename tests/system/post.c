/* SPDX-License-Identifier: Apache-2.0
 * Posts tasks with any settings and prints what is asked of each result as it comes.
 *
 *   [RUN=name] [SHOW="task how status attempts"] post N [NAME=VALUE...] [COMMAND [ARG...]]
 *
 * {i} in a value or word is the task's number, from 1, and the word {1e6} so many characters. With RUN the work has a name and outlives this process; N may be 0, to wait
 * for what is left of it. Of a value its first line is shown, "-" if it is empty. It is shown before the result is acknowledged: if
 * this process is killed between, the result comes again. */
#include "libvineclient/vine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 50
#define QUIET_MSEC 120000
#define WORDS_MOST 64
#define LONG_SIZE 1000000

static int fail(const char *what)
{
	fprintf(stderr, "post: %s: %s\n", what, vine_error());
	return 125;
}

/* Yours to free. */
static char *with_number(const char *word, unsigned long i)
{
	const char *at = strstr(word, "{i}");
	char *text = NULL;
	if (strcmp(word, "{1e6}") == 0) {
		text = calloc(1, LONG_SIZE + 1);
		if (!text)
			abort();
		return memset(text, 'x', LONG_SIZE);
	}
	int n = at ? asprintf(&text, "%.*s%lu%s", (int)(at - word), word, i, at + 3) : asprintf(&text, "%s", word);
	if (n < 0)
		abort();
	return text;
}

/* settings: NAME=VALUE, up to the first word without '='; the rest is the command. */
static int make(char **words, unsigned long i, struct vine_task **t)
{
	char *copies[WORDS_MOST + 1] = {NULL};
	size_t n_settings = 0, n = 0;
	while (words[n_settings] && strchr(words[n_settings], '='))
		n_settings++;
	for (; words[n] && n < WORDS_MOST; n++)
		copies[n] = with_number(words[n], i);
	int r = vine_task_new((const char *const *)copies + n_settings, t);
	for (size_t k = 0; r >= 0 && k < n_settings; k++) {
		char *value = strchr(copies[k], '=');
		*value = 0;
		r = vine_task_set(*t, copies[k], value + 1);
	}
	while (n)
		free(copies[--n]);
	return r;
}

static int post_some(struct vine *v, char **words, unsigned long first, size_t n)
{
	struct vine_task *some[BATCH] = {NULL};
	int r = 0;
	for (size_t i = 0; i < n && r >= 0; i++)
		r = make(words, first + i, &some[i]);
	if (r >= 0)
		r = vine_post(v, some, n, NULL);
	while (n)
		vine_task_free(some[--n]);
	return r;
}

static int post(struct vine *v, char **words, unsigned long n)
{
	for (unsigned long done = 0; done < n; done += BATCH) {
		int r = post_some(v, words, done + 1, n - done < BATCH ? n - done : BATCH);
		if (r < 0)
			return r;
	}
	return 0;
}

static void print(struct vine_event *e, const char *show)
{
	char names[256];
	int n_printed = 0;
	snprintf(names, sizeof names, "%s", show);
	for (char *rest = names, *name; (name = strsep(&rest, " "));) {
		const char *value = "?";
		vine_event_get(e, name, &value);
		printf("%s%.*s", n_printed++ ? " " : "", (int)strcspn(value, "\n"), *value ? value : "-");
	}
	printf("\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct vine *v;
	struct vine_event *e;
	const char *run = getenv("RUN"), *show = getenv("SHOW");
	int r;
	if (argc < 2) {
		fprintf(stderr,
			"usage: [RUN=name] [SHOW=\"task how ...\"] post N [NAME=VALUE...] [COMMAND [ARG...]]\n");
		return 2;
	}
	if (vine_open(&v, NULL, run) < 0)
		return fail("open");
	if (post(v, argv + 2, strtoul(argv[1], NULL, 10)) < 0) {
		fail("post");
		vine_close(v, 1);
		return 125;
	}
	while ((r = vine_next(v, NULL, QUIET_MSEC, &e)) == 1) {
		print(e, show ? show : "task how status attempts");
		if (vine_event_done(e) < 0)
			return fail("done");
	}
	if (r < 0 && r != -ENODATA)
		return fail("next");
	if (r == 0) {
		fprintf(stderr, "post: nothing came for two minutes\n");
		return 1;
	}
	return vine_close(v, 1) < 0 ? fail("close") : 0;
}
