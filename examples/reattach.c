/* SPDX-License-Identifier: Apache-2.0
 * A program that may be killed at any moment and run again, and loses and doubles nothing:
 *
 * - each piece of work has a key, so what is submitted again is not done again;
 * - a result is written to a journal before it is acknowledged, so it is either there or comes again.
 *
 * cc reattach.c $(pkg-config --cflags --libs vine) -o reattach; ./reattach [JOURNAL]
 *
 * It squares the numbers 0 to 99; kill it and start it again as often as you like. */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vine.h>

#define N 100

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "reattach: %s: %s\n", what, why);
	return 125;
}

/* Lines "KEY RESULT"; of one that is cut off nothing was acknowledged, so it is taken away. Returns how many there are, or -1. */
static int read_journal(FILE *journal, bool done[N])
{
	char line[100];
	int n = 0, key;
	long end = 0;
	while (fgets(line, sizeof line, journal) && strchr(line, '\n')) {
		end = ftell(journal);
		if (sscanf(line, "%d", &key) == 1 && key >= 0 && key < N && !done[key]) {
			done[key] = true;
			n++;
		}
	}
	return ftruncate(fileno(journal), end) == 0 && fseek(journal, end, SEEK_SET) == 0 ? n : -1;
}

static int submit(struct vine *v, const bool done[N])
{
	struct vine_task *t[N];
	size_t n = 0;
	int r = 0;
	for (int i = 0; i < N && r >= 0; i++) {
		char command[40], key[12];
		if (done[i])
			continue;
		snprintf(command, sizeof command, "echo $((%d * %d))", i, i);
		snprintf(key, sizeof key, "%d", i);
		r = vine_task_new((const char *const[]){"/bin/sh", "-c", command, NULL}, &t[n]);
		if (r >= 0)
			r = vine_task_set(t[n++], "key", key);
		if (r >= 0)
			r = vine_task_set(t[n - 1], "tag", key);
	}
	if (r >= 0)
		r = vine_post(v, t, n, NULL);
	while (n)
		vine_task_free(t[--n]);
	return r;
}

/* One that came in the moment of the last death is in the journal and comes again: it is only acknowledged. */
static int record(FILE *journal, struct vine_event *e, bool done[N])
{
	const char *key, *out;
	vine_event_get(e, "tag", &key);
	vine_event_get(e, "out", &out);
	int i = atoi(key), is_new = !done[i];
	if (is_new && (fprintf(journal, "%s %.*s\n", key, (int)strcspn(out, "\n"), out) < 0 || fflush(journal) != 0 ||
		       fdatasync(fileno(journal)) < 0))
		return -1;
	done[i] = true;
	vine_event_done(e);
	return is_new;
}

static int run(FILE *journal, bool done[N], int n_done)
{
	struct vine *v;
	struct vine_event *e;
	if (vine_open(&v, NULL, "squares") < 0)
		return fail("open", vine_error());
	if (submit(v, done) < 0)
		return fail("submit", vine_error());
	while (n_done < N) {
		/* In an event loop, vine_fd() would be one of many. */
		poll(&(struct pollfd){.fd = vine_fd(v), .events = POLLIN}, 1, -1);
		int r = vine_next(v, NULL, 0, &e);
		if (r < 0)
			return fail("wait", vine_error());
		if (r == 1 && (r = record(journal, e, done)) < 0)
			return fail("write", "the journal");
		n_done += r;
	}
	return vine_close(v, 1) < 0 ? fail("close", vine_error()) : 0;
}

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "reattach.journal";
	bool done[N] = {false};
	FILE *journal = fopen(path, "a+");
	int n_done = journal ? read_journal(journal, done) : -1;
	if (n_done < 0)
		return fail("cannot write the journal", path);
	printf("%d of %d results are in %s\n", n_done, N, path);
	int status = run(journal, done, n_done);
	if (status == 0)
		printf("all %d results are in %s\n", N, path);
	return fclose(journal) == 0 ? status : fail("write", path);
}
