/* SPDX-License-Identifier: Apache-2.0
 * Chunks of trees that other nodes are asked for, by somebody else: who reads them waits until they lie in the cache, or a source is known after all. */
#include "vinefs/fetch/internal.h"

#define LOOK_USEC 30000u

static void look(struct stock *s)
{
	bool is_over = !s->n_expecting || s->fetch->is_stopping;
	struct list all = LIST_INIT(all);
	list_splice(&all, &s->expected);
	while (!list_is_empty(&all)) {
		struct fill *x = list_first(&all, struct fill, link);
		list_remove(&x->link);
		bool is_wanted = !list_is_empty(&x->waiters) || !list_is_empty(&s->brings);
		fill_again(x, is_over || !is_wanted);
	}
}

static void on_look(struct timer *t)
{
	struct stock *s = container_of(t, struct stock, looker);
	s->n_users++; /* the last fill may be its last user */
	look(s);
	if (!list_is_empty(&s->expected))
		timer_start(t, s->fetch->loop, LOOK_USEC, on_look);
	stock_unref(s);
}

void expect_fill(struct fill *x)
{
	struct stock *s = x->stock;
	list_append(&s->expected, &x->link);
	if (!s->looker.loop)
		timer_start(&s->looker, s->fetch->loop, LOOK_USEC, on_look);
}

void expect_stop(struct fetch *f)
{
	struct stock *s;
	for (size_t i = 0; (s = map_next(&f->stocks, &i));) {
		timer_stop(&s->looker);
		s->n_users++;
		look(s);
		stock_unref(s);
	}
}

void fetch_expect(struct fetch_tree *t, bool is_expected)
{
	assert(t->stock);
	if (t->is_expecting == is_expected)
		return;
	t->is_expecting = is_expected;
	t->stock->n_expecting += is_expected ? 1 : -1;
}
