/* SPDX-License-Identifier: Apache-2.0
 * Submits a bag of equal tasks and prints a line for each result as it comes.
 *
 *   [RUN=name] bag N COMMAND [ARG...]       prints "TASK HOW STATUS ATTEMPTS"
 *
 * With RUN the work has a name and outlives this process; N may be 0, to wait for what is left of it. */
#include "libvineclient/vine.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define BATCH 500

static int fail(const char *what)
{
	fprintf(stderr, "bag: %s: %s\n", what, vine_error());
	return 125;
}

static int submit(struct vine *v, struct vine_task *t, size_t n)
{
	struct vine_task *same[BATCH];
	for (size_t i = 0; i < BATCH; i++)
		same[i] = t;
	for (size_t done = 0; done < n;) {
		size_t some = n - done < BATCH ? n - done : BATCH;
		int r = vine_post(v, same, some, NULL);
		/* Full: the descriptor tells when to try again, or of a result, which waits until all are submitted. */
		if (r == -EAGAIN)
			poll(&(struct pollfd){.fd = vine_fd(v), .events = POLLIN}, 1, 200);
		else if (r < 0)
			return r;
		else
			done += some;
	}
	return 0;
}

static void print(struct vine_event *e)
{
	static const char *const names[] = {"task", "how", "status", "attempts"};
	for (size_t i = 0; i < 4; i++) {
		const char *value = "?";
		vine_event_get(e, names[i], &value);
		printf("%s%c", value, i < 3 ? ' ' : '\n');
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct vine *v;
	struct vine_task *t;
	struct vine_event *e;
	const char *run = getenv("RUN");
	int r;
	if (argc < 3) {
		fprintf(stderr, "usage: [RUN=name] bag N COMMAND [ARG...]\n");
		return 2;
	}
	if (vine_open(&v, NULL, run) < 0)
		return fail("open");
	if (vine_task_new((const char *const *)argv + 2, &t) < 0)
		return fail("task");
	if (submit(v, t, (size_t)atol(argv[1])) < 0)
		return fail("submit");
	vine_task_free(t);
	while ((r = vine_next(v, NULL, 120000, &e)) == 1) {
		print(e);
		if (vine_event_done(e) < 0)
			return fail("done");
	}
	if (r == 0) {
		fprintf(stderr, "bag: nothing came for two minutes\n");
		return 1;
	}
	return vine_close(v, 1) < 0 ? fail("close") : 0;
}
