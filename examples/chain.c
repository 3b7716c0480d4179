/* SPDX-License-Identifier: Apache-2.0
 * Tasks that depend on each other: one makes numbers, some each square their part of them, one adds up what these made. All are
 * submitted at once; what one leaves and another reads is all that says in which order they run. The numbers of the first come from here, the
 * table of squares comes back.
 *
 * cc chain.c $(pkg-config --cflags --libs vine) -o chain; ./chain TABLE */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vine.h>

#define PARTS 4
#define NUMBERS 100

static void check(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "chain: %s: %s\n", what, vine_error());
	exit(125);
}

/* /bin/sh runs the script in a directory of its own, where its inputs lie and its outputs are left. */
static struct vine_task *task(const char *script)
{
	struct vine_task *t;
	check(vine_task_new((const char *const[]){"/bin/sh", "-c", script, NULL}, &t), "a task");
	return t;
}

/* Waits for the tasks that are left; returns what the one of that number printed. */
static char *wait_for_all(struct vine *v, uint64_t last)
{
	struct vine_event *e;
	char *printed = NULL;
	int r;
	while ((r = vine_next(v, NULL, -1, &e)) == 1) {
		const char *how, *status, *number, *out;
		vine_event_get(e, "how", &how);
		vine_event_get(e, "status", &status);
		vine_event_get(e, "task", &number);
		vine_event_get(e, "out", &out);
		if (strcmp(how, "exited") != 0 || strcmp(status, "0") != 0) {
			const char *reason;
			vine_event_get(e, "reason", &reason);
			fprintf(stderr, "chain: task %s: %s %s %s\n", number, how, status, reason);
			exit(1);
		}
		if (strtoull(number, NULL, 10) == last)
			printed = strdup(out);
		vine_event_done(e);
	}
	check(r == -ENODATA ? 0 : r, "wait");
	return printed;
}

int main(int argc, char **argv)
{
	struct vine *v;
	struct vine_task *tasks[PARTS + 2];
	struct vine_file *limit, *numbers, *parts[PARTS], *table;
	uint64_t ids[PARTS + 2];
	char name[40], script[200], text[20];
	if (argc != 2) {
		fprintf(stderr, "usage: chain TABLE, which it makes\n");
		return 2;
	}
	check(vine_open(&v, NULL, NULL), "open");
	snprintf(text, sizeof text, "%d\n", NUMBERS);
	check(vine_file_bytes(v, text, strlen(text), &limit), "how many numbers");
	tasks[0] = task("seq 1 \"$(cat limit)\" >numbers");
	check(vine_task_input(tasks[0], limit, "limit", 0), "an input");
	check(vine_task_output(tasks[0], "numbers", 0, &numbers), "the numbers");
	tasks[PARTS + 1] = task("sort -n part-* | tee table | awk '{ n += $1 } END { print n }'");
	check(vine_task_output(tasks[PARTS + 1], "table", 0, &table), "the table");
	for (int i = 0; i < PARTS; i++) {
		snprintf(script, sizeof script, "awk 'NR %% %d == %d { print $1 * $1 }' numbers >part", PARTS, i);
		tasks[i + 1] = task(script);
		check(vine_task_input(tasks[i + 1], numbers, "numbers", 0), "an input");
		check(vine_task_output(tasks[i + 1], "part", 0, &parts[i]), "an output");
		snprintf(name, sizeof name, "part-%d", i);
		check(vine_task_input(tasks[PARTS + 1], parts[i], name, 0), "an input");
	}
	check(vine_post(v, tasks, PARTS + 2, ids), "submit");
	char *sum = wait_for_all(v, ids[PARTS + 1]);
	printf("the sum of the squares of 1 to %d is %s", NUMBERS, sum ? sum : "not known\n");
	free(sum);
	check(vine_fetch_to(v, table, argv[1]), "fetch the table");
	/* Handles are no files: freeing them leaves these where they are. */
	vine_file_free(limit);
	vine_file_free(numbers);
	vine_file_free(table);
	for (int i = 0; i < PARTS; i++)
		vine_file_free(parts[i]);
	for (int i = 0; i < PARTS + 2; i++)
		vine_task_free(tasks[i]);
	check(vine_close(v, 0), "close");
	return 0;
}
