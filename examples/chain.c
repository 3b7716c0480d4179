/* SPDX-License-Identifier: Apache-2.0
 * Tasks that depend on each other: one makes numbers, some each square their part of them, one adds up what these made. All are
 * submitted at once; what one leaves and another reads is all that says in which order they run.
 *
 * cc chain.c $(pkg-config --cflags --libs vine) -o chain; ./chain DIR
 *
 * DIR is an absolute path of a directory that all nodes can write to. */
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

/* /bin/sh runs the script with the paths as $1, $2 ... */
static struct vine_task *task(const char *script, const char *a, const char *b)
{
	struct vine_task *t;
	check(vine_task_new((const char *const[]){"/bin/sh", "-c", script, "chain", a, b, NULL}, &t), "a task");
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
	struct vine_file *numbers, *parts[PARTS];
	uint64_t ids[PARTS + 2];
	char path[PARTS + 1][4096], script[200];
	if (argc != 2 || argv[1][0] != '/') {
		fprintf(stderr, "usage: chain DIR, with an absolute path of a directory that all nodes can write to\n");
		return 2;
	}
	check(vine_open(&v, NULL, NULL), "open");
	snprintf(path[PARTS], sizeof path[PARTS], "%s/numbers", argv[1]);
	snprintf(script, sizeof script, "seq 1 %d >\"$1\"", NUMBERS);
	tasks[0] = task(script, path[PARTS], NULL);
	check(vine_task_output(tasks[0], path[PARTS], 0, &numbers), "the numbers");
	tasks[PARTS + 1] = task("cat \"$1\"/part-* | awk '{ n += $1 } END { print n }'", argv[1], NULL);
	for (int i = 0; i < PARTS; i++) {
		snprintf(path[i], sizeof path[i], "%s/part-%d", argv[1], i);
		snprintf(script, sizeof script, "awk 'NR %% %d == %d { print $1 * $1 }' \"$1\" >\"$2\"", PARTS, i);
		tasks[i + 1] = task(script, path[PARTS], path[i]);
		check(vine_task_input(tasks[i + 1], numbers, path[PARTS], 0), "an input");
		check(vine_task_output(tasks[i + 1], path[i], 0, &parts[i]), "an output");
		check(vine_task_input(tasks[PARTS + 1], parts[i], path[i], 0), "an input");
	}
	check(vine_post(v, tasks, PARTS + 2, ids), "submit");
	char *sum = wait_for_all(v, ids[PARTS + 1]);
	printf("the sum of the squares of 1 to %d is %s", NUMBERS, sum ? sum : "not known\n");
	free(sum);
	/* Handles are no files: freeing them leaves these where they are. */
	vine_file_free(numbers);
	for (int i = 0; i < PARTS; i++)
		vine_file_free(parts[i]);
	for (int i = 0; i < PARTS + 2; i++)
		vine_task_free(tasks[i]);
	check(vine_close(v, 0), "close");
	return 0;
}
