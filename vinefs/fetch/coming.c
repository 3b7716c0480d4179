/* SPDX-License-Identifier: Apache-2.0
 * Who gives a tree on is told of its chunks as they come. What this process stores is told at once; what came by another tree's blob, or went, is found by looking again. */
#include "vinefs/fetch/internal.h"

#define LOOK_USEC 1000000u
#define LOOK_CHUNKS 8192u /* in that time */

static bool is_here(const struct stock *s, uint64_t chunk)
{
	return cache_tree_residency(s->cache_tree, chunk) != CACHE_ABSENT;
}

static bool was_here(const struct stock *s, uint64_t chunk)
{
	return s->seen[chunk / 8] >> chunk % 8 & 1;
}

/* A callback may stop any of them, and start others. */
static void tell(struct stock *s, uint64_t chunk, bool is_there)
{
	struct list told = LIST_INIT(told);
	struct fetch_coming *w;
	list_splice(&told, &s->coming);
	while ((w = list_first(&told, struct fetch_coming, link))) {
		list_remove(&w->link);
		list_append(&s->coming, &w->link);
		if (is_there && w->on_chunk)
			w->on_chunk(w, chunk);
		else if (!is_there && w->on_lost)
			w->on_lost(w, chunk);
	}
}

static void look(struct stock *s, uint64_t chunk)
{
	bool here = is_here(s, chunk);
	if (here == was_here(s, chunk))
		return;
	s->seen[chunk / 8] ^= (uint8_t)(1u << chunk % 8);
	tell(s, chunk, here);
}

static uint64_t look_usec(const struct stock *s)
{
	return LOOK_USEC * (1 + tree_n_chunks(s->index) / LOOK_CHUNKS);
}

static void on_look(struct timer *t)
{
	struct stock *s = container_of(t, struct stock, comer);
	s->n_users++; /* who hears of it may close the tree */
	for (uint64_t i = 0, n = tree_n_chunks(s->index); i < n && !list_is_empty(&s->coming); i++)
		look(s, i);
	if (!list_is_empty(&s->coming))
		timer_start(t, s->fetch->loop, look_usec(s), on_look);
	stock_unref(s);
}

void stock_came(struct stock *s, uint64_t chunk)
{
	if (list_is_empty(&s->coming))
		return;
	s->n_users++;
	look(s, chunk);
	stock_unref(s);
}

void fetch_coming_start(struct fetch_tree *t, struct fetch_coming *w)
{
	struct stock *s = t->stock;
	assert(s);
	if (list_is_empty(&s->coming)) {
		uint64_t n = tree_n_chunks(s->index);
		free(s->seen);
		s->seen = xcalloc((size_t)(n / 8 + 1), 1);
		for (uint64_t i = 0; i < n; i++)
			s->seen[i / 8] |= (uint8_t)((unsigned)is_here(s, i) << i % 8);
		timer_start(&s->comer, s->fetch->loop, look_usec(s), on_look);
	}
	list_init(&w->link);
	list_append(&s->coming, &w->link);
}

void fetch_coming_stop(struct fetch_coming *w)
{
	if (w->link.next)
		list_remove(&w->link);
	w->link.next = NULL;
}
