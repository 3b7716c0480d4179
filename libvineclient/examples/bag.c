/* SPDX-License-Identifier: Apache-2.0
 * A bag of tasks: submits the same command N times and prints a line for each result as it comes:
 *
 *     TASK HOW STATUS ATTEMPTS
 *
 * cc bag.c $(pkg-config --cflags --libs vine) -o bag; ./bag [N [COMMAND [ARG ...]]]
 *
 * With RUN=NAME in the environment the run has that name: if this program is killed, the tasks go on, and the next call with the
 * same name gets the results that nobody has acknowledged. N may be 0 then. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <vine.h>

static int fail(const char *what)
{
	fprintf(stderr, "bag: %s: %s\n", what, vine_error());
	return 125;
}

static int submit(struct vine *v, size_t n, char **argv)
{
	static const char *const echo[] = {"echo", "hello", NULL};
	struct vine_task *t;
	size_t batch = 500;
	if (vine_task_new(*argv ? (const char *const *)argv : echo, &t) < 0)
		return fail("the command");
	struct vine_task **tasks = calloc(batch, sizeof *tasks);
	for (size_t i = 0; i < batch && tasks; i++)
		tasks[i] = t; /* one description, any number of tasks */
	int status = tasks ? 0 : 125;
	for (size_t done = 0; done < n && !status; done += batch) {
		if (n - done < batch)
			batch = n - done;
		if (vine_post(v, tasks, batch, NULL) < 0)
			status = fail("submit");
	}
	free(tasks);
	vine_task_free(t);
	return status;
}

static int print_results(struct vine *v)
{
	static const char *const names[] = {"task", "how", "status", "attempts"};
	struct vine_event *e;
	int r;
	/* -ENODATA: nothing is left to wait for. */
	while ((r = vine_next(v, NULL, -1, &e)) == 1) {
		for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
			const char *value = "";
			vine_event_get(e, names[i], &value);
			printf("%s%c", value, i + 1 < sizeof names / sizeof *names ? ' ' : '\n');
		}
		/* Only what is safely written down is acknowledged; else it comes again to the next caller. */
		if (fflush(stdout) != 0) {
			perror("bag: write");
			return 125;
		}
		vine_event_done(e);
	}
	return r == -ENODATA ? 0 : fail("wait");
}

int main(int argc, char **argv)
{
	struct vine *v;
	size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 10;
	if (vine_open(&v, NULL, getenv("RUN")) < 0)
		return fail("open");
	int status = submit(v, n, argv + (argc > 1 ? 2 : 1));
	if (!status)
		status = print_results(v);
	if (vine_close(v, getenv("RUN") != NULL) < 0)
		return fail("close");
	return status;
}
