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
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <vine.h>

#define BATCH 500

static int fail(const char *what)
{
	fprintf(stderr, "bag: %s: %s\n", what, vine_error());
	return 125;
}

/* Prints a result that comes within msec. 1, 0 if none came, or -errno; -ENODATA: nothing is left to wait for. */
static int print_result(struct vine *v, int msec)
{
	static const char *const names[] = {"task", "how", "status", "attempts"};
	struct vine_event *e;
	int r = vine_next(v, NULL, msec, &e);
	if (r != 1)
		return r;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const char *value = "";
		vine_event_get(e, names[i], &value);
		printf("%s%c", value, i + 1 < sizeof names / sizeof *names ? ' ' : '\n');
	}
	/* Only what is safely written down is acknowledged; else it comes again to the next caller. */
	if (fflush(stdout) != 0) {
		perror("bag: write");
		exit(125);
	}
	vine_event_done(e);
	return 1;
}

/* While the cluster is full results are taken; vine_fd is readable for one, or because there may be room again. */
static int post(struct vine *v, struct vine_task *const tasks[], size_t n)
{
	int r;
	while ((r = vine_post(v, tasks, n, NULL)) == -EAGAIN) {
		poll(&(struct pollfd){.fd = vine_fd(v), .events = POLLIN}, 1, -1);
		r = print_result(v, 0);
		if (r < 0 && r != -ENODATA)
			return r;
	}
	return r;
}

static int submit(struct vine *v, size_t n, char **argv)
{
	static const char *const echo[] = {"echo", "hello", NULL};
	struct vine_task *t, *tasks[BATCH];
	int status = 0;
	if (vine_task_new(*argv ? (const char *const *)argv : echo, &t) < 0)
		return fail("the command");
	for (size_t i = 0; i < BATCH; i++)
		tasks[i] = t; /* one description, any number of tasks */
	for (size_t some; n && !status; n -= some) {
		some = n < BATCH ? n : BATCH;
		if (post(v, tasks, some) < 0)
			status = fail("submit");
	}
	vine_task_free(t);
	return status;
}

int main(int argc, char **argv)
{
	struct vine *v;
	size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 10;
	int r;
	if (vine_open(&v, NULL, getenv("RUN")) < 0)
		return fail("open");
	int status = submit(v, n, argv + (argc > 1 ? 2 : 1));
	while (!status && (r = print_result(v, -1)) != -ENODATA) {
		if (r < 0)
			status = fail("wait");
	}
	if (vine_close(v, getenv("RUN") != NULL) < 0)
		return fail("close");
	return status;
}
