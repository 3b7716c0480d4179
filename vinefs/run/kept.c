/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/run/kept.h"

#include "vinefs/run/run.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

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

void kept_add(struct kept *k, uint64_t attempt, uint64_t age_usec, bool is_unsent)
{
	uint64_t out = output_size(k, attempt, "out"), err = output_size(k, attempt, "err");
	is_unsent |= out > RUN_HEAD_SIZE || err > RUN_HEAD_SIZE;
	if (!is_unsent || age_usec >= k->most_usec) {
		removal_add(k->removal, attempt, NULL);
		return;
	}
	removal_add(k->removal, attempt, "cwd");
	removal_add(k->removal, attempt, "tmp");
	struct keepsake *s = NEW(struct keepsake);
	list_init(&s->link);
	s->attempt = attempt;
	s->size = out + err;
	uint64_t now = loop_now_usec(k->loop);
	s->until_usec = now + k->most_usec - age_usec;
	s->least_usec = now + (age_usec < KEPT_LEAST_USEC ? KEPT_LEAST_USEC - age_usec : 0);
	list_append(&k->all, &s->link);
	k->n++;
	k->size += s->size;
	drop_what_is_due(k);
}
