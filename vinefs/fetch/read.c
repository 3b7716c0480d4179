/* SPDX-License-Identifier: Apache-2.0
 * in the pool: what is in the cache -> all: answered there. Some is absent -> on the loop: waits on a fill for each chunk -> all came: answered there; some was
 * there meanwhile: to the pool again. The deadline runs while it waits on fills. */
#include "vinefs/fetch/internal.h"

#include "common/log.h"

#include <stdio.h>

#define TRIES 6 /* rounds in which the cache says that a chunk is there, and then it is not */

struct reading {
	struct pool_job job;
	struct post post;
	struct list link; /* of the fetch's waiting */
	struct list waiters;
	struct fetch_read *caller;
	struct fetch_tree *tree;
	uint64_t first, n_chunks; /* chunks of the tree */
	uint64_t have;            /* a bit for each that is in p */
	uint64_t since_usec;
	uint64_t source_size, memory_size;
	unsigned n_tries;
	int error;
	uint8_t *p;
};

_Static_assert(FETCH_READ_MAX / (32u << 10) + 1 <= 64, "a bit for each chunk");

static uint64_t all_bits(const struct reading *g)
{
	return g->n_chunks == 64 ? UINT64_MAX : ((uint64_t)1 << g->n_chunks) - 1;
}

static void answer(struct reading *g, int error)
{
	struct fetch_read *caller = g->caller;
	struct fetch_tree *t = g->tree;
	struct fetch *f = t->stock->fetch;
	uint8_t *p = g->p;
	assert(list_is_empty(&g->waiters) && error <= 0);
	COUNT(f, n_waited, 1);
	tree_answered(t, error);
	if (!error) {
		COUNT(f, source_size, g->source_size);
		COUNT(f, memory_size, g->memory_size);
		COUNT(f, disk_size, caller->n - g->source_size - g->memory_size);
	}
	free(g);
	caller->on_done(caller, error ? NULL : p, error ? error : (ssize_t)caller->n);
	free(p);
	tree_unref(t);
}

/* The part of a chunk that is wanted: where in the blob, where in p. */
static uint32_t part_of(const struct reading *g, uint64_t chunk, uint64_t *offset, uint32_t *at)
{
	const struct fetch_read *r = g->caller;
	const struct tree_blob *b = tree_blob(g->tree->stock->index, r->blob);
	uint64_t start = (chunk - b->first_chunk) * b->chunk_size;
	uint64_t low = max(start, r->offset), high = min(start + b->chunk_size, r->offset + r->n);
	assert(low < high);
	*offset = low;
	*at = (uint32_t)(low - r->offset);
	return (uint32_t)(high - low);
}

/* ---- pool */

static void read_chunks(struct reading *g)
{
	struct cache_tree *ct = g->tree->stock->cache_tree;
	for (uint64_t i = 0; i < g->n_chunks; i++) {
		uint64_t offset;
		uint32_t at;
		if (g->have >> i & 1)
			continue;
		uint32_t n = part_of(g, g->first + i, &offset, &at);
		if (cache_tree_read(ct, g->caller->blob, offset, g->p + at, n, true) == 0)
			g->have |= (uint64_t)1 << i;
	}
}

static void missing(struct post *p);

static void read_run(struct pool_job *j)
{
	struct reading *g = container_of(j, struct reading, job);
	struct fetch_read *r = g->caller;
	struct cache_tree *ct = g->tree->stock->cache_tree;
	if (j->is_dropped) {
		answer(g, -EIO);
		return;
	}
	if (r->is_over && r->is_over(r)) {
		answer(g, -ECANCELED);
		return;
	}
	int error = g->have ? -ENODATA : cache_tree_read(ct, r->blob, r->offset, g->p, r->n, true);
	if (error == -EUCLEAN) {
		cache_tree_verify(ct, g->first, g->n_chunks);
		error = cache_tree_read(ct, r->blob, r->offset, g->p, r->n, true);
	}
	if (error)
		read_chunks(g);
	if (error && g->have != all_bits(g)) {
		g->post.on_post = missing;
		loop_post(g->tree->stock->fetch->loop, &g->post);
		return;
	}
	answer(g, 0);
}

/* ---- loop */

static void go_on(struct reading *g)
{
	if (g->have == all_bits(g)) {
		answer(g, 0);
		return;
	}
	g->n_tries++;
	pool_put(g->tree->stock->fetch->pool, &g->job, POOL_NOW, NULL);
}

static void stop_waiting(struct reading *g)
{
	list_foreach (&g->waiters, struct waiter, read_link, w) {
		list_remove(&w->fill_link);
		list_remove(&w->read_link);
		free(w);
	}
	list_remove(&g->link);
}

/* Takes what is wanted of a chunk that is in memory; returns how much it was. */
static uint32_t take(struct reading *g, uint64_t chunk, const uint8_t *bytes)
{
	const struct tree_blob *b = tree_blob(g->tree->stock->index, g->caller->blob);
	uint64_t offset;
	uint32_t at, n = part_of(g, chunk, &offset, &at);
	memcpy(g->p + at, bytes + (offset - (chunk - b->first_chunk) * b->chunk_size), n);
	g->have |= (uint64_t)1 << (chunk - g->first);
	return n;
}

static bool take_unkept(struct reading *g, uint64_t chunk)
{
	const uint8_t *bytes = unkept_get(g->tree->stock, chunk);
	if (bytes)
		g->memory_size += take(g, chunk, bytes);
	return bytes;
}

void waiter_answer(struct waiter *w, const struct fill *x)
{
	struct reading *g = w->reading;
	assert(w->chunk == x->chunk && w->chunk - g->first < g->n_chunks);
	if (!x->error) {
		uint32_t n = take(g, w->chunk, x->bytes);
		g->source_size += x->is_here ? 0 : n;
	}
	list_remove(&w->fill_link);
	list_remove(&w->read_link);
	free(w);
	if (x->error) {
		stop_waiting(g);
		answer(g, x->error == -ESTALE ? -ESTALE : -EIO);
	} else if (list_is_empty(&g->waiters)) {
		list_remove(&g->link);
		go_on(g);
	}
}

/* Why nothing came, once for a source that says nothing at all. */
static void tell_late(const struct reading *g)
{
	struct stock *s = g->tree->stock;
	struct fetch *f = s->fetch;
	double sec = (double)f->settings.deadline_usec / 1e6;
	const struct waiter *w = list_first(&g->waiters, struct waiter, read_link);
	const struct fill *x = w ? map_get(&s->fills, w->chunk) : NULL;
	struct source *from = x ? x->source : NULL;
	if (!from) {
		const char *what = x && x->piece.work               ? "no node that has it has answered"
				   : s->reservation != RESERVE_DONE ? "this node's disk has not made room for it"
								    : "nobody has brought it";
		_free_ char *text = xasprintf("tree %s: %s in %.1f s", s->text, what, sec);
		log_warn("%s", text);
		stock_failed(s, text);
		return;
	}
	_free_ char *text =
		xasprintf(source_stalled_usec(f, from) ? "%s has not answered for %.1f s: its filesystem stalls"
						       : "%s was not read in %.1f s: others are, and it waits its turn",
			  from->path, sec);
	source_failed(from, text, from->path);
	stock_failed(s, from->error);
}

static void on_timer(struct timer *t)
{
	struct fetch *f = container_of(t, struct fetch, timer);
	uint64_t now = loop_now_usec(f->loop);
	for (;;) {
		struct reading *g = list_first(&f->waiting, struct reading, link);
		if (!g)
			return;
		uint64_t end = g->since_usec + f->settings.deadline_usec;
		if (now < end) {
			timer_start(t, f->loop, end - now, on_timer);
			return;
		}
		tell_late(g);
		COUNT(f, n_late, 1);
		stop_waiting(g);
		answer(g, -EIO);
	}
}

static bool wait_for(struct reading *g, uint64_t chunk)
{
	struct fill *x = fill_need(g->tree->stock, chunk, POOL_NOW);
	if (!x)
		return false;
	struct waiter *w = NEW(struct waiter);
	list_init(&w->fill_link);
	list_init(&w->read_link);
	w->reading = g;
	w->chunk = chunk;
	list_append(&x->waiters, &w->fill_link);
	list_append(&g->waiters, &w->read_link);
	return true;
}

static void start_waiting(struct reading *g)
{
	struct fetch *f = g->tree->stock->fetch;
	struct list *at = &f->waiting;
	if (!g->since_usec)
		g->since_usec = loop_now_usec(f->loop);
	/* One that waits again is as old as it was. */
	while (at->prev != &f->waiting && list_entry(at->prev, struct reading, link)->since_usec > g->since_usec)
		at = at->prev;
	list_insert_before(at, &g->link);
	if (!f->timer.loop)
		timer_start(&f->timer, f->loop, f->settings.deadline_usec, on_timer);
}

static void missing(struct post *p)
{
	struct reading *g = container_of(p, struct reading, post);
	struct stock *s = g->tree->stock;
	uint64_t first = UINT64_MAX, last = 0;
	if (s->fetch->is_stopping) {
		answer(g, -EIO);
		return;
	}
	for (uint64_t i = 0; i < g->n_chunks; i++) {
		uint64_t chunk = g->first + i;
		bool is_here = cache_tree_residency(s->cache_tree, chunk) != CACHE_ABSENT && g->n_tries < TRIES;
		if (!(g->have >> i & 1) && !is_here && !take_unkept(g, chunk) && wait_for(g, chunk)) {
			first = min(first, chunk);
			last = chunk;
		}
	}
	if (list_is_empty(&g->waiters)) {
		go_on(g);
		return;
	}
	start_waiting(g);
	/* From here on it may be answered; the stock stays until the loop's next turn. */
	ahead_wanted(s, first, last);
	fill_go(s);
}

void read_fail_all(struct fetch *f)
{
	while (!list_is_empty(&f->waiting)) {
		struct reading *g = list_first(&f->waiting, struct reading, link);
		stop_waiting(g);
		answer(g, -EIO);
	}
	timer_stop(&f->timer);
}

/* ---- for others */

static void chunks_of(const struct stock *s, uint32_t blob, uint64_t offset, uint32_t n, uint64_t *first,
		      uint64_t *last)
{
	const struct tree_blob *b = tree_blob(s->index, blob);
	assert(n && n <= b->size && offset <= b->size - n);
	*first = b->first_chunk + offset / b->chunk_size;
	*last = b->first_chunk + (offset + n - 1) / b->chunk_size;
}

ssize_t fetch_read_now(struct fetch_tree *t, uint32_t blob, uint64_t offset, void *p, uint32_t n)
{
	struct stock *s = t->stock;
	uint64_t first, last;
	if (t->draft)
		return -EAGAIN;
	if (cache_tree_read(s->cache_tree, blob, offset, p, n, false) < 0)
		return -EAGAIN;
	COUNT(s->fetch, n_now, 1);
	COUNT(s->fetch, memory_size, n);
	if (n && atomic_load_explicit(&s->n_marks, memory_order_relaxed)) {
		chunks_of(s, blob, offset, n, &first, &last);
		ahead_touch(t, first, last);
	}
	return n;
}

void fetch_read_start(struct fetch_read *r)
{
	uint64_t last;
	assert(r->n && r->n <= FETCH_READ_MAX && r->on_done);
	if (r->tree->draft) {
		draft_read_start(r);
		return;
	}
	struct reading *g = NEW(struct reading);
	list_init(&g->link);
	list_init(&g->waiters);
	g->caller = r;
	g->tree = r->tree;
	chunks_of(r->tree->stock, r->blob, r->offset, r->n, &g->first, &last);
	g->n_chunks = last - g->first + 1;
	g->p = xmalloc(r->n);
	g->job.run = read_run;
	tree_ref(r->tree);
	if (atomic_load_explicit(&r->tree->stock->n_marks, memory_order_relaxed))
		ahead_touch(r->tree, g->first, last);
	pool_put(r->tree->stock->fetch->pool, &g->job, POOL_NOW, NULL);
}
