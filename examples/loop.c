/* SPDX-License-Identifier: Apache-2.0
 * Vine in a program's own event loop: poll() waits for commands on standard input and for results at once. Each line is run by a
 * shell somewhere in the cluster, and what it printed is shown as soon as it comes, whichever comes first.
 *
 * cc loop.c $(pkg-config --cflags --libs vine) -o loop; printf 'hostname\ndate\n' | ./loop */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vine.h>

struct shell {
	struct vine *v;
	char text[65536]; /* read, and not yet submitted */
	size_t n;
	bool is_over;  /* standard input has ended */
	bool is_full;  /* the cluster takes no more now */
	size_t n_open; /* submitted, no result yet */
};

static void fail(const char *what)
{
	fprintf(stderr, "loop: %s: %s\n", what, vine_error());
	exit(125);
}

static int run(struct shell *s, char *line)
{
	struct vine_task *t;
	if (vine_task_new((const char *const[]){"/bin/sh", "-c", line, NULL}, &t) < 0 ||
	    vine_task_set(t, "tag", line) < 0)
		fail("the command");
	int r = vine_post(s->v, &t, 1, NULL);
	vine_task_free(t);
	if (r < 0 && r != -EAGAIN)
		fail("submit");
	return r;
}

/* Submits the whole lines; what the cluster does not take now stays for later. */
static void submit(struct shell *s)
{
	char *end;
	s->is_full = false;
	if (s->is_over && s->n && s->text[s->n - 1] != '\n' && s->n < sizeof s->text)
		s->text[s->n++] = '\n';
	while (!s->is_full && (end = memchr(s->text, '\n', s->n))) {
		*end = 0;
		if (end > s->text && run(s, s->text) == -EAGAIN) {
			*end = '\n';
			s->is_full = true;
			return;
		}
		s->n_open += end > s->text;
		s->n -= (size_t)(end + 1 - s->text);
		memmove(s->text, end + 1, s->n);
	}
	if (s->n == sizeof s->text) {
		fprintf(stderr, "loop: a line of more than 64 KiB\n");
		exit(2);
	}
}

static void read_more(struct shell *s)
{
	ssize_t n = read(STDIN_FILENO, s->text + s->n, sizeof s->text - s->n);
	if (n > 0)
		s->n += (size_t)n;
	else if (n == 0 || errno != EINTR)
		s->is_over = true;
	submit(s);
}

static void take_results(struct shell *s)
{
	struct vine_event *e;
	int r;
	while ((r = vine_next(s->v, NULL, 0, &e)) == 1) {
		const char *line, *status, *out;
		vine_event_get(e, "tag", &line);
		vine_event_get(e, "status", &status);
		int64_t n = vine_event_get(e, "out", &out);
		printf("%s: status %s\n", line, status);
		fwrite(out, 1, n > 0 ? (size_t)n : 0, stdout);
		fflush(stdout);
		vine_event_done(e);
		s->n_open--;
	}
	if (r < 0 && r != -ENODATA)
		fail("wait");
	if (s->is_full)
		submit(s);
}

int main(void)
{
	static struct shell s;
	if (vine_open(&s.v, NULL, NULL) < 0)
		fail("open");
	while (!s.is_over || s.n || s.n_open) {
		/* A full cluster is no reason to read on. */
		struct pollfd fds[] = {{.fd = vine_fd(s.v), .events = POLLIN},
				       {.fd = s.is_over || s.is_full ? -1 : STDIN_FILENO, .events = POLLIN}};
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[0].revents)
			take_results(&s);
		if (fds[1].revents)
			read_more(&s);
	}
	return vine_close(s.v, 0) < 0 ? 125 : 0;
}
