/* SPDX-License-Identifier: Apache-2.0
 * needed -> room is reserved for the tree, once -> other nodes are asked, if some are known to have it -> source chosen, in the source's lane -> read, verified, stored -> waiters answered; or the next
 * source. What cannot be stored is served all the same: a full disk does not fail a read. */
#include "vinefs/fetch/internal.h"

#include "common/log.h"
#include "vinefs/fetch/swarm.h"

#include <stdio.h>

#define UNKEPT_USEC 5000000u
#define N_TRIED ((unsigned)countof(((struct fill *)0)->tried))

/* ---- pool */

/* It may have come another way: another tree's blob, an archive's other chunks. */
static bool read_cached(struct fill *x)
{
	struct stock *s = x->stock;
	uint32_t blob = stock_blob(s, x->chunk);
	const struct tree_blob *b = tree_blob(s->index, blob);
	if (cache_tree_residency(s->cache_tree, x->chunk) == CACHE_DOUBTFUL)
		cache_tree_verify(s->cache_tree, x->chunk, 1);
	return cache_tree_read(s->cache_tree, blob, (x->chunk - b->first_chunk) * b->chunk_size, x->bytes, x->n,
			       true) == 0;
}

static int refill(struct fill *x)
{
	struct cache *c = x->stock->fetch->settings.cache;
	x->sealing = cache_sealing_new(c, false);
	int r = origin_refill(&x->origin, cache_sealing_store(x->sealing));
	if (r == 0 && read_cached(x)) {
		x->is_kept = true;
		return 0;
	}
	return r == 0 ? -ENODATA : r;
}

static int read_source(struct fill *x)
{
	const struct stock *s = x->stock;
	if (x->origin.kind == FETCH_ARCHIVE && !x->origin.is_repacked && !s->reserve_error &&
	    !cache_tree_is_chunkwise(s->cache_tree)) {
		int r = refill(x);
		/* No room for all, or packed in another order: the chunk alone then. */
		if (r != -ENODATA && r != -ENOSPC)
			return r;
		free(steal(x->origin.text));
		free(steal(x->origin.about));
	}
	return origin_read(&x->origin, stock_blob(s, x->chunk), x->chunk, x->bytes, x->n);
}

static void fill_run(struct pool_job *j)
{
	struct fill *x = container_of(j, struct fill, job);
	struct stock *s = x->stock;
	/* Not before: behind a stalled source very many may wait. */
	if (!x->bytes && !j->is_dropped)
		x->bytes = malloc(x->n);
	if (!x->bytes || j->is_dropped) {
		x->error = j->is_dropped ? -ECANCELED : -ENOMEM;
		return;
	}
	x->is_here = read_cached(x);
	if (x->is_here) {
		x->error = 0;
		return;
	}
	if (!x->source) {
		x->error = -ENODATA;
		return;
	}
	x->origin.members = stock_members(s);
	x->error = read_source(x);
	if (x->error || x->is_kept)
		return;
	/* It is verified: -ENOSPC, -EROFS and the like only mean that it is read again next time. */
	x->is_kept = cache_tree_write(s->cache_tree, x->chunk, x->bytes, x->n) == 0;
}

/* ---- what found no room. A file is read in parts of less than a chunk, which would each read all of the chunk from its source. */

struct unkept {
	struct list link;
	struct stock *stock;
	uint64_t chunk, used_usec;
	uint8_t *bytes;
	size_t n;
};

static void unkept_free(struct unkept *u)
{
	struct fetch *f = u->stock->fetch;
	assert(f->unkept_size >= u->n);
	f->unkept_size -= u->n;
	map_remove(&u->stock->unkept, u->chunk);
	list_remove(&u->link);
	free(u->bytes);
	free(u);
}

static void on_unkept_timer(struct timer *t)
{
	struct fetch *f = container_of(t, struct fetch, unkept_timer);
	uint64_t now = loop_now_usec(f->loop);
	list_foreach (&f->unkept, struct unkept, link, u) {
		if (u->used_usec + UNKEPT_USEC <= now)
			unkept_free(u);
	}
	if (!list_is_empty(&f->unkept))
		timer_start(t, f->loop, UNKEPT_USEC, on_unkept_timer);
}

/* Takes over the fill's bytes. */
static void unkept_put(struct fill *x)
{
	struct stock *s = x->stock;
	struct fetch *f = s->fetch;
	struct unkept *before = map_get(&s->unkept, x->chunk);
	if (before)
		unkept_free(before);
	while (f->unkept_size + x->n > UNKEPT_SIZE)
		unkept_free(list_first(&f->unkept, struct unkept, link));
	struct unkept *u = NEW(struct unkept);
	list_init(&u->link);
	u->stock = s;
	u->chunk = x->chunk;
	u->used_usec = loop_now_usec(f->loop);
	u->bytes = steal(x->bytes);
	u->n = x->n;
	f->unkept_size += u->n;
	map_put(&s->unkept, u->chunk, u);
	list_append(&f->unkept, &u->link);
	if (!f->unkept_timer.loop)
		timer_start(&f->unkept_timer, f->loop, UNKEPT_USEC, on_unkept_timer);
}

const uint8_t *unkept_get(struct stock *s, uint64_t chunk)
{
	struct unkept *u = map_get(&s->unkept, chunk);
	if (!u)
		return NULL;
	u->used_usec = loop_now_usec(s->fetch->loop);
	list_remove(&u->link);
	list_append(&s->fetch->unkept, &u->link);
	return u->bytes;
}

void unkept_forget(struct stock *s)
{
	struct unkept *u;
	for (size_t i = 0; (u = map_next(&s->unkept, &i)); i = 0)
		unkept_free(u);
	map_fini(&s->unkept);
}

/* ---- loop */

static void fill_free(struct fill *x)
{
	assert(list_is_empty(&x->waiters));
	list_remove(&x->link);
	free(x->origin.text);
	free(x->origin.about);
	free(x->bytes);
	free(x);
}

static void count_fill(struct fetch *f, const struct fill *x)
{
	if (x->error || x->is_here)
		return;
	COUNT(f, n_fills, 1);
	COUNT(f, fill_size, x->n);
	COUNT(f, n_ahead, x->is_ahead);
	COUNT(f, n_uncached, !x->is_kept);
	if (!x->source) {
		fetch_count_peer(f, x->n);
		if (f->peers)
			piece_came(f->peers, &x->stock->id, &x->piece);
		return;
	}
	x->source->read_size += x->n;
	fetch_count_source(f, x->source->path, &x->stock->id, x->n, false);
}

static void fill_end(struct fill *x)
{
	struct stock *s = x->stock;
	count_fill(s->fetch, x);
	map_remove(&s->fills, x->chunk);
	if (x->is_kept)
		stock_came(s, x->chunk);
	while (!list_is_empty(&x->waiters))
		waiter_answer(list_first(&x->waiters, struct waiter, fill_link), x);
	if (!x->error && !x->is_here && !x->is_kept)
		unkept_put(x);
	bring_filled(s, x->chunk, x->error ? x->error : x->is_here || x->is_kept ? 0 : -ENOSPC);
	if (x->is_planned) {
		assert(s->n_planned);
		s->n_planned--;
		/* A source that fails is not asked for all the rest; nor one for what nobody keeps. */
		if (x->error || (!x->is_here && !x->is_kept))
			s->plan_at = s->plan.n;
		ahead_go_on(s);
	}
	fill_go(s);
	fill_free(x);
	stock_unref(s);
}

static void fill_start(struct fill *x);

static void fill_done(struct pool_job *j)
{
	struct fill *x = container_of(j, struct fill, job);
	list_remove(&x->link);
	if (x->sealing)
		cache_sealing_free(steal(x->sealing));
	if (x->origin.is_repacked)
		source_repacked(x->source, &x->stock->id);
	if (x->error == 0 && !x->is_here)
		source_answered(x->source);
	if (x->error == 0 || x->stock->fetch->is_stopping) {
		fill_end(x);
		return;
	}
	if (!x->source) {
		fill_start(x);
		return;
	}
	const char *text = x->origin.text ? x->origin.text : strerror(-x->error);
	source_failed(x->source, text, x->origin.about);
	stock_failed(x->stock, x->source->error);
	fill_start(x); /* elsewhere */
}

static void no_source(struct fill *x)
{
	if (!x->n_tried && !x->error) {
		_free_ char *text = xasprintf("no source of tree %s is known", x->stock->text);
		stock_failed(x->stock, text);
		x->error = -EIO;
	}
	assert(x->error);
	fill_end(x);
}

/* ---- from another node */

static void store_run(struct pool_job *j)
{
	struct fill *x = container_of(j, struct fill, job);
	int r = j->is_dropped ? -ECANCELED : cache_tree_write(x->stock->cache_tree, x->chunk, x->bytes, x->n);
	/* As above: without room it is good all the same. */
	x->error = r == -EBADMSG || r == -ECANCELED ? r : 0;
	x->is_kept = r == 0;
}

static void store_done(struct pool_job *j)
{
	struct fill *x = container_of(j, struct fill, job);
	struct fetch *f = x->stock->fetch;
	if (x->error == 0 || f->is_stopping) {
		fill_end(x);
		return;
	}
	if (f->peers)
		piece_lied(f->peers, &x->stock->id, &x->piece);
	stock_failed(x->stock, "another node gave bytes that are not the tree's");
	fill_start(x);
}

static void on_piece(struct piece *p, int error, const char *reason)
{
	struct fill *x = container_of(p, struct fill, piece);
	struct fetch *f = x->stock->fetch;
	if (!error && p->is_here) {
		x->job.run = fill_run;
		x->job.on_done = fill_done;
		x->source = NULL;
		pool_put(f->pool, &x->job, x->rank, NULL);
		return;
	}
	if (!error) {
		x->job.run = store_run;
		x->job.on_done = store_done;
		pool_put(f->pool, &x->job, x->rank, NULL);
		return;
	}
	x->error = -EIO;
	x->is_lonely = true;
	stock_failed(x->stock, reason);
	fill_start(x);
}

static unsigned swarm_rank_of(enum pool_rank rank)
{
	return rank == POOL_NOW ? SWARM_NOW : rank == POOL_SOON ? SWARM_HOT : SWARM_BULK;
}

/* False: nobody is known to have it. */
static bool ask_others(struct fill *x)
{
	struct stock *s = x->stock;
	struct fetch *f = s->fetch;
	if (x->is_lonely || !f->peers)
		return false;
	x->bytes = x->bytes ? x->bytes : malloc(x->n);
	if (!x->bytes)
		return false;
	x->piece = (struct piece){.bytes = x->bytes,
				  .n = x->n,
				  .chunk = x->chunk,
				  .is_urgent = source_choose(f, &s->id, NULL, 0) != NULL,
				  .rank = swarm_rank_of(x->rank),
				  .index = s->index,
				  .on_done = on_piece};
	return piece_ask(f->peers, &s->id, &x->piece);
}

/* Gives it to whoever else has the tree: other nodes, else the next source. */
static void fill_start(struct fill *x)
{
	struct stock *s = x->stock;
	struct fetch *f = s->fetch;
	if (ask_others(x))
		return;
	x->job.run = fill_run;
	x->job.on_done = fill_done;
	x->source = x->n_tried < N_TRIED ? source_choose(f, &s->id, x->tried, x->n_tried) : NULL;
	if (!x->source && !x->n_tried && s->n_expecting && !f->is_stopping) {
		expect_fill(x);
		return;
	}
	if (!x->source) {
		no_source(x);
		return;
	}
	x->tried[x->n_tried++] = x->source;
	free(x->origin.text);
	free(x->origin.about);
	x->origin = (struct origin){.files = f->settings.files,
				    .path = x->source->path,
				    .kind = source_record(x->source, &s->id)->kind,
				    .index = s->index,
				    .is_repacked = source_record(x->source, &s->id)->is_repacked,
				    .is_cancelled = &f->is_cancelled};
	list_append(&x->source->fills, &x->link);
	pool_put(f->pool, &x->job, x->rank, &x->source->lane);
}

void fill_again(struct fill *x, bool is_over)
{
	if (is_over)
		no_source(x);
	else if (cache_tree_residency(x->stock->cache_tree, x->chunk) == CACHE_ABSENT)
		fill_start(x);
	else
		pool_put(x->stock->fetch->pool, &x->job, x->rank, NULL);
}

/* ---- room for the whole tree, before its first byte */

static void reserve_run(struct pool_job *j)
{
	struct stock *s = container_of(j, struct stock, reserve);
	s->reserve_error = j->is_dropped ? -ECANCELED : cache_tree_reserve(s->cache_tree);
}

static void reserve_done(struct pool_job *j)
{
	struct stock *s = container_of(j, struct stock, reserve);
	s->reservation = RESERVE_DONE;
	if (s->reserve_error && s->reserve_error != -ECANCELED)
		log_warn("no room for all of tree %s: %s; it is read from its source as it is wanted", s->text,
			 strerror(-s->reserve_error));
	fill_go(s);
	stock_unref(s);
}

static void reserve(struct stock *s)
{
	s->reservation = RESERVE_RUNNING;
	s->reserve.run = reserve_run;
	s->reserve.on_done = reserve_done;
	s->n_users++;
	pool_put(s->fetch->pool, &s->reserve, POOL_NOW, NULL);
}

void fill_go(struct stock *s)
{
	if (s->reservation == RESERVE_NONE && !list_is_empty(&s->unstarted))
		reserve(s);
	while (s->reservation == RESERVE_DONE && !list_is_empty(&s->unstarted)) {
		struct fill *x = list_first(&s->unstarted, struct fill, link);
		list_remove(&x->link);
		fill_start(x);
	}
}

static uint32_t chunk_length(const struct stock *s, uint64_t chunk)
{
	const struct tree_blob *b = tree_blob(s->index, stock_blob(s, chunk));
	return (uint32_t)min((uint64_t)b->chunk_size, b->size - (chunk - b->first_chunk) * b->chunk_size);
}

struct fill *fill_need(struct stock *s, uint64_t chunk, enum pool_rank rank)
{
	struct fetch *f = s->fetch;
	struct fill *x = map_get(&s->fills, chunk);
	if (f->is_stopping)
		return NULL;
	if (x && rank < x->rank) {
		x->rank = rank;
		if (x->source)
			pool_raise(f->pool, &x->job, rank);
		piece_raise(&x->piece, swarm_rank_of(rank));
	}
	if (x)
		return x;
	x = NEW(struct fill);
	list_init(&x->link);
	list_init(&x->waiters);
	x->stock = s;
	x->chunk = chunk;
	x->rank = rank;
	x->is_ahead = rank != POOL_NOW;
	x->n = chunk_length(s, chunk);
	x->job.run = fill_run;
	x->job.on_done = fill_done;
	s->n_users++;
	map_put(&s->fills, chunk, x);
	list_append(&s->unstarted, &x->link);
	return x;
}
