/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/sending.h"

#include "libvineclient/vine.h"
#include "tools/tools.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#define QUIET_SEC 1 /* what goes fast is not talked about */
#define PATIENT_SEC 3
#define TERMINAL_MSEC 200
#define ELSEWHERE_MSEC 1000

struct sending {
	struct vine *v;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool is_over; /* lock */
	bool is_terminal, is_shown, is_waiting;
	time_t began;
	struct binds said; /* files that were named */
	uint64_t size, sent;
	char file[200]; /* one of those under way */
	unsigned n;
};

static time_t now_sec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static bool is_said(struct sending *s, const char *file)
{
	for (size_t i = 0; i < s->said.n; i++) {
		if (streq(s->said.at[i].word, file))
			return true;
	}
	s->said.at = xrealloc(s->said.at, (s->said.n + 1) * sizeof *s->said.at);
	s->said.at[s->said.n++] = (struct bind){.word = xstrdup(file)};
	return false;
}

static int on_row(void *arg, size_t n, _unused_ const char *const names[], const char *const cells[])
{
	struct sending *s = arg;
	if (n < 3)
		return 0;
	uint64_t size = strtoull(cells[1], NULL, 10);
	char text[32];
	s->size += size;
	s->sent += strtoull(cells[2], NULL, 10);
	s->n++;
	snprintf(s->file, sizeof s->file, "%s", cells[0]);
	if (!s->is_terminal && !is_said(s, cells[0])) {
		print_size(text, size);
		tool_fail(NULL, "sending %s, %s", cells[0], text);
	}
	return 0;
}

static void show(struct sending *s)
{
	char sent[32], size[32], rate[32], left[32];
	s->size = s->sent = s->n = 0;
	vine_query(s->v, "sending", NULL, on_row, s);
	if (s->n && !s->sent && !s->is_waiting && now_sec() - s->began >= PATIENT_SEC) {
		tool_fail(NULL, "waiting: no node has asked for %s yet", s->file);
		s->is_waiting = true;
	}
	if (!s->is_terminal || !s->n)
		return;
	uint64_t per_sec = s->sent / (uint64_t)max(now_sec() - s->began, (time_t)1);
	print_size(sent, s->sent);
	print_size(size, s->size);
	print_size(rate, per_sec);
	print_usec(left, per_sec ? (s->size - s->sent) / per_sec * 1000000 : 0);
	fprintf(stderr, "\r\033[Ksending %s%s: %s of %s, %s/s, %s left", s->file, s->n > 1 ? " ..." : "", sent, size,
		rate, left);
	s->is_shown = true;
}

static void *sending_thread(void *arg)
{
	struct sending *s = arg;
	struct timespec until;
	pthread_mutex_lock(&s->lock);
	while (!s->is_over) {
		clock_gettime(CLOCK_REALTIME, &until);
		uint64_t nsec =
			(uint64_t)until.tv_nsec + (s->is_terminal ? TERMINAL_MSEC : ELSEWHERE_MSEC) * 1000000ull;
		until.tv_sec += (time_t)(nsec / 1000000000);
		until.tv_nsec = (long)(nsec % 1000000000);
		pthread_cond_timedwait(&s->wake, &s->lock, &until);
		if (s->is_over || now_sec() - s->began < QUIET_SEC)
			continue;
		pthread_mutex_unlock(&s->lock);
		show(s);
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static void sending_free(struct sending *s)
{
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->wake);
	binds_fini(&s->said);
	free(s);
}

struct sending *sending_start(struct vine *v, const struct binds *files)
{
	bool is_any = false;
	for (size_t i = 0; i < files->n; i++)
		is_any |= files->at[i].uri && has_prefix(files->at[i].uri, "client:");
	if (!is_any)
		return NULL;
	struct sending *s = NEW(struct sending);
	s->v = v;
	s->is_terminal = isatty(STDERR_FILENO);
	s->began = now_sec();
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	if (pthread_create(&s->thread, NULL, sending_thread, s) == 0)
		return s;
	sending_free(s); /* without it, it is sent all the same */
	return NULL;
}

void sending_stop(struct sending *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->is_over = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	if (s->is_shown)
		fputs("\r\033[K", stderr);
	sending_free(s);
}
