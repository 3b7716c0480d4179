/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/run/share.h"

struct shared {
	struct list link;
	uint64_t number, used_usec;
	char **at;
	size_t n;
	bool is_kept;
};

static void on_idle(struct timer *t);

static void drop(struct share *s, struct shared *x)
{
	assert(s->n && s->n_kept <= s->n);
	list_remove(&x->link);
	s->n--;
	s->n_kept -= x->is_kept;
	if (x->is_kept)
		s->unkeep(s->arg, x->number);
	for (size_t i = 0; i < x->n; i++)
		free(x->at[i]);
	free(x->at);
	free(x);
}

static void drop_idle(struct share *s)
{
	uint64_t now = loop_now_usec(s->loop), next = 0;
	list_foreach (&s->all, struct shared, link, x) {
		uint64_t until = x->used_usec + SHARE_IDLE_USEC;
		if (until <= now)
			drop(s, x);
		else
			next = until;
	}
	/* The last is the one that was used before all others. */
	if (next)
		timer_start(&s->timer, s->loop, next - now, on_idle);
}

static void on_idle(struct timer *t)
{
	drop_idle(container_of(t, struct share, timer));
}

void share_init(struct share *s, struct loop *l, void (*unkeep)(void *arg, uint64_t kept), void *arg)
{
	assert(unkeep);
	*s = (struct share){.loop = l, .unkeep = unkeep, .arg = arg};
	list_init(&s->all);
}

void share_fini(struct share *s)
{
	timer_stop(&s->timer);
	share_forget(s, NULL);
}

static struct shared *add(struct share *s, uint64_t number, const struct run_input *inputs, size_t n)
{
	struct shared *x = NEW(struct shared);
	list_init(&x->link);
	x->number = number;
	x->n = n;
	x->at = xcalloc(n + 1, sizeof *x->at);
	for (size_t i = 0; i < n; i++)
		x->at[i] = xstrdup(inputs[i].at);
	s->n++;
	return x;
}

static struct shared *find(struct share *s, uint64_t number)
{
	list_foreach (&s->all, struct shared, link, x)
		if (x->number == number)
			return x;
	return NULL;
}

/* The one used before all others; of the kept ones, or of all. */
static void drop_oldest(struct share *s, bool of_kept)
{
	struct shared *oldest = NULL;
	list_foreach (&s->all, struct shared, link, x)
		if (x->is_kept || !of_kept)
			oldest = x;
	assert(oldest);
	drop(s, oldest);
}

uint64_t share_take(struct share *s, uint64_t stem, uint64_t hash, const struct run_input *inputs, size_t n)
{
	uint64_t number = hash ^ stem * UINT64_C(0x9e3779b97f4a7c15);
	struct shared *x = number ? find(s, number) : NULL;
	if (!number)
		return 0;
	bool is_known = x;
	if (!x && s->n == SHARE_SEEN)
		drop_oldest(s, false);
	if (!x)
		x = add(s, number, inputs, n);
	list_remove(&x->link);
	if (is_known && !x->is_kept && s->n_kept == SHARE_MOST)
		drop_oldest(s, true);
	s->n_kept += is_known && !x->is_kept;
	x->is_kept |= is_known;
	x->used_usec = loop_now_usec(s->loop);
	list_prepend(&s->all, &x->link);
	if (!s->timer.loop)
		timer_start(&s->timer, s->loop, SHARE_IDLE_USEC, on_idle);
	return x->is_kept ? number : 0;
}

void share_forget(struct share *s, const char *at)
{
	list_foreach (&s->all, struct shared, link, x) {
		bool has = !at;
		for (size_t i = 0; i < x->n && !has; i++)
			has = streq(x->at[i], at);
		if (has)
			drop(s, x);
	}
}
