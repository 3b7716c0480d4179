/* SPDX-License-Identifier: Apache-2.0
 * Somebody waits until some of a tree is here. Its chunks are asked for in order, so many at once; one that cannot be had, or not be kept, is the end. */
#include "vinefs/fetch/internal.h"

#define BRING_MOST 16u /* fills under way for one of them */

/* Chunks from `at` on that are here are behind it; `asked` is the first that nobody was asked for. */
struct bringing {
	struct list link; /* in the stock's */
	struct fetch_bring *of;
	struct stock *stock;
	struct chunks chunks;
	size_t at, asked;
	enum pool_rank rank;
	struct timer timer; /* its end, told later */
	int error;
};

static void end(struct bringing *b, int error);

static bool is_here(const struct bringing *b, size_t i)
{
	return cache_tree_residency(b->stock->cache_tree, b->chunks.at[i]) != CACHE_ABSENT;
}

static void go_on(struct bringing *b)
{
	while (b->at < b->chunks.n && is_here(b, b->at))
		b->at++;
	b->asked = max(b->asked, b->at);
	if (b->at == b->chunks.n) {
		end(b, 0);
		return;
	}
	for (; b->asked < b->chunks.n && b->asked < b->at + BRING_MOST; b->asked++)
		if (!is_here(b, b->asked) && !fill_need(b->stock, b->chunks.at[b->asked], b->rank)) {
			end(b, -ECANCELED);
			return;
		}
}

static void on_end(struct timer *t)
{
	struct bringing *b = container_of(t, struct bringing, timer);
	struct fetch_bring *of = b->of;
	int error = b->error;
	_free_ char *reason = xstrdup(error && b->stock->error ? b->stock->error : strerror(-error));
	fetch_bring_stop(of);
	of->on_done(of, error, reason);
}

static void end(struct bringing *b, int error)
{
	assert(error <= 0);
	b->error = error;
	list_remove(&b->link);
	timer_start(&b->timer, b->stock->fetch->loop, 0, on_end);
}

static bool has_asked(const struct bringing *b, uint64_t chunk)
{
	for (size_t i = b->at; i < b->asked; i++)
		if (b->chunks.at[i] == chunk)
			return true;
	return false;
}

void bring_filled(struct stock *s, uint64_t chunk, int error)
{
	list_foreach (&s->brings, struct bringing, link, b) {
		if (error && has_asked(b, chunk))
			end(b, error);
		else
			go_on(b);
	}
}

void bring_each(const struct stock *s, void *arg, void (*each)(void *arg, uint64_t chunk, bool is_urgent))
{
	list_foreach (&s->brings, struct bringing, link, b) {
		for (size_t i = b->at; i < b->chunks.n; i++)
			each(arg, b->chunks.at[i], b->rank != POOL_BULK);
	}
}

void bring_chunks(struct stock *s, struct fetch_bring *o, struct chunks chunks, bool is_urgent)
{
	struct bringing *b = NEW(struct bringing);
	assert(s && o->on_done && !o->bringing);
	o->bringing = b;
	b->of = o;
	b->stock = s;
	b->rank = is_urgent ? POOL_SOON : POOL_BULK;
	b->chunks = chunks;
	list_init(&b->link);
	list_append(&s->brings, &b->link);
	s->n_users++;
	go_on(b);
	fill_go(s);
}

void fetch_bring_start(struct fetch_tree *t, struct fetch_bring *o, const uint32_t *nodes, size_t n, bool is_urgent)
{
	struct stock *s = t->stock;
	struct chunks chunks = {0};
	ahead_chunks(s, nodes, n, &chunks);
	if (is_urgent && s->fetch->peers)
		pulls_prefer(s->fetch->peers, &s->id, chunks.at, chunks.n);
	bring_chunks(s, o, chunks, is_urgent);
}

void fetch_bring_stop(struct fetch_bring *o)
{
	struct bringing *b = steal(o->bringing);
	if (!b)
		return;
	timer_stop(&b->timer);
	list_remove(&b->link);
	stock_unref(b->stock);
	free(b->chunks.at);
	free(b);
}
