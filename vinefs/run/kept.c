/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/run/kept.h"

#include "vinefs/run/attempt.h"
#include "vinefs/run/run.h"

#include <sys/stat.h>

struct keepsake {
	struct list link;
	uint64_t attempt, size, until_usec;
};

static void on_expire(struct timer *t);

static void remove_part(struct kept *k, uint64_t attempt, const char *part)
{
	_free_ char *sandbox = attempt_sandbox(k->state, attempt);
	removal_add(k->removal, xasprintf("%s%s", sandbox, part));
}

static void drop(struct kept *k, struct keepsake *s)
{
	assert(k->n && k->size >= s->size);
	list_remove(&s->link);
	k->n--;
	k->size -= s->size;
	remove_part(k, s->attempt, "");
	free(s);
}

static void drop_what_is_due(struct kept *k)
{
	struct keepsake *s;
	uint64_t now = loop_now_usec(k->loop);
	while ((s = list_first(&k->all, struct keepsake, link)) &&
	       (s->until_usec <= now || k->n > KEPT_MOST || k->size > k->most_size))
		drop(k, s);
	if (s)
		timer_start(&k->timer, k->loop, s->until_usec - now, on_expire);
	else
		timer_stop(&k->timer);
}

static void on_expire(struct timer *t)
{
	drop_what_is_due(container_of(t, struct kept, timer));
}

void kept_init(struct kept *k, struct loop *l, struct removal *removal, const char *state, uint64_t most_usec,
	       uint64_t most_size)
{
	assert(removal && *state == '/');
	*k = (struct kept){
		.loop = l, .removal = removal, .state = state, .most_usec = most_usec, .most_size = most_size};
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
	_free_ char *sandbox = attempt_sandbox(k->state, attempt);
	_free_ char *path = xasprintf("%s/%s", sandbox, name);
	return lstat(path, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

void kept_add(struct kept *k, uint64_t attempt, uint64_t age_usec)
{
	uint64_t out = output_size(k, attempt, "out"), err = output_size(k, attempt, "err");
	if ((out <= RUN_HEAD_SIZE && err <= RUN_HEAD_SIZE) || age_usec >= k->most_usec) {
		remove_part(k, attempt, "");
		return;
	}
	remove_part(k, attempt, "/cwd");
	remove_part(k, attempt, "/tmp");
	struct keepsake *s = NEW(struct keepsake);
	list_init(&s->link);
	s->attempt = attempt;
	s->size = out + err;
	s->until_usec = loop_now_usec(k->loop) + k->most_usec - age_usec;
	list_append(&k->all, &s->link);
	k->n++;
	k->size += s->size;
	drop_what_is_due(k);
}
