/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/run/kept.h"

#include "vinefs/run/run.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct keepsake {
	struct list link;
	uint64_t attempt, size, least_usec, until_usec; /* it stays to the one, and at most to the other */
};

static void on_expire(struct timer *t);

static void drop(struct kept *k, struct keepsake *s)
{
	assert(k->n && k->size >= s->size);
	list_remove(&s->link);
	k->n--;
	k->size -= s->size;
	removal_add(k->removal, s->attempt, NULL);
	free(s);
}

static uint64_t due_usec(const struct kept *k, const struct keepsake *s)
{
	if (k->n > KEPT_MOST)
		return 0;
	return k->n > 1 && k->size > k->most_size ? s->least_usec : s->until_usec;
}

static void drop_what_is_due(struct kept *k)
{
	struct keepsake *s;
	uint64_t now = loop_now_usec(k->loop);
	while ((s = list_first(&k->all, struct keepsake, link)) && due_usec(k, s) <= now)
		drop(k, s);
	if (s)
		timer_start(&k->timer, k->loop, due_usec(k, s) - now, on_expire);
	else
		timer_stop(&k->timer);
}

static void on_expire(struct timer *t)
{
	drop_what_is_due(container_of(t, struct kept, timer));
}

void kept_init(struct kept *k, struct loop *l, struct removal *removal, int sandboxes, uint64_t most_usec,
	       uint64_t most_size)
{
	assert(removal && sandboxes >= 0);
	*k = (struct kept){.loop = l, .removal = removal, .sandboxes = sandboxes, .most_size = most_size};
	k->most_usec = max(most_usec, (uint64_t)KEPT_LEAST_USEC);
	list_init(&k->all);
}

void kept_fini(struct kept *k)
{
	timer_stop(&k->timer);
	list_foreach (&k->all, struct keepsake, link, s) {
		list_remove(&s->link);
		free(s);
	}
	k->n = 0;
}

static uint64_t output_size(const struct kept *k, uint64_t attempt, const char *name)
{
	struct stat st;
	char path[64];
	/* By name, so that it needs no descriptor; a link in the attempt's place could only lead to a wrong number. */
	snprintf(path, sizeof path, "%" PRIu64 "/%s", attempt, name);
	return fstatat(k->sandboxes, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size
												 : 0;
}

static void keep(struct kept *k, uint64_t attempt, uint64_t age_usec, uint64_t size)
{
	struct keepsake *s = NEW(struct keepsake);
	list_init(&s->link);
	s->attempt = attempt;
	s->size = size;
	uint64_t now = loop_now_usec(k->loop);
	s->until_usec = now + k->most_usec - age_usec;
	s->least_usec = now + (age_usec < KEPT_LEAST_USEC ? KEPT_LEAST_USEC - age_usec : 0);
	list_append(&k->all, &s->link);
	k->n++;
	k->size += s->size;
	drop_what_is_due(k);
}

void kept_add(struct kept *k, uint64_t attempt, uint64_t age_usec, bool is_unsent)
{
	static const char *const rest[] = {"cwd", "tmp", "home", "root", "o"};
	uint64_t out = output_size(k, attempt, "out"), err = output_size(k, attempt, "err");
	uint64_t record = output_size(k, attempt, "record");
	is_unsent |= out > RUN_HEAD_SIZE || err > RUN_HEAD_SIZE || record;
	if (!is_unsent || age_usec >= k->most_usec) {
		removal_add(k->removal, attempt, NULL);
		return;
	}
	for (size_t i = 0; i < countof(rest); i++)
		removal_add(k->removal, attempt, rest[i]);
	keep(k, attempt, age_usec, out + err + record);
}

/* A link to a number: made and read in one step. */
static void mark_path(uint64_t attempt, char path[64])
{
	snprintf(path, 64, "%" PRIu64 "/kept", attempt);
}

void kept_add_whole(struct kept *k, uint64_t attempt, uint64_t age_usec, uint64_t size)
{
	char path[64], text[32];
	size += output_size(k, attempt, "out") + output_size(k, attempt, "err");
	mark_path(attempt, path);
	snprintf(text, sizeof text, "%" PRIu64, size);
	bool is_marked = symlinkat(text, k->sandboxes, path) == 0 || errno == EEXIST;
	if (!is_marked || age_usec >= k->most_usec)
		removal_add(k->removal, attempt, NULL);
	else
		keep(k, attempt, age_usec, size);
}

bool kept_is_whole(const struct kept *k, uint64_t attempt, uint64_t *size)
{
	char path[64], text[32];
	mark_path(attempt, path);
	ssize_t n = readlinkat(k->sandboxes, path, text, sizeof text - 1);
	text[n > 0 ? n : 0] = 0;
	*size = strtoull(text, NULL, 10);
	return n > 0;
}
