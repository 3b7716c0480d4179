/* SPDX-License-Identifier: Apache-2.0
 * Two kinds of foresight. A stream: chunks that are wanted one after the other; what follows is asked for in a window that doubles, and moves on when a
 * chunk in the middle of it is read, so that the reader never gets to its end. The plan: what somebody said will be wanted. */
#include "vinefs/fetch/internal.h"

#define WINDOW_LEAST (512u << 10)
#define PLANNED_MOST 8u
#define PACKS_APART 64u /* blobs that may lie between two packs that are read one after the other */

#define NO_CHUNK UINT64_MAX

/* What is read after it: a file's next chunk; after a pack the next pack, for large files lie between. */
static uint64_t next_chunk(const struct stock *s, uint64_t chunk)
{
	uint32_t blob = stock_blob(s, chunk), n_blobs = tree_n_blobs(s->index);
	const struct tree_blob *b = tree_blob(s->index, blob);
	if (chunk + 1 < b->first_chunk + data_n_chunks(b->size, b->chunk_size))
		return chunk + 1;
	if (b->kind != TREE_BLOB_PACK)
		return NO_CHUNK;
	for (uint32_t i = blob + 1; i < n_blobs && i <= blob + PACKS_APART; i++)
		if (tree_blob(s->index, i)->kind == TREE_BLOB_PACK)
			return tree_blob(s->index, i)->first_chunk;
	return NO_CHUNK;
}

/* ---- streams */

static void unmark(struct stock *s, size_t i)
{
	if (atomic_exchange(&s->marks[i], 0))
		atomic_fetch_sub(&s->n_marks, 1);
	s->streams[i].is_marked = false;
}

static void mark(struct stock *s, size_t i, uint64_t chunk)
{
	unmark(s, i);
	s->streams[i].is_marked = true;
	atomic_fetch_add(&s->n_marks, 1);
	atomic_store(&s->marks[i], chunk + 1);
}

/* Asks for `ahead` bytes more. */
static void extend(struct stock *s, size_t i)
{
	struct ahead *x = &s->streams[i];
	uint64_t left = x->ahead, start = x->next;
	while (left && x->next != NO_CHUNK) {
		const struct tree_blob *b = tree_blob(s->index, stock_blob(s, x->next));
		if (cache_tree_residency(s->cache_tree, x->next) == CACHE_ABSENT && !unkept_get(s, x->next) &&
		    !fill_need(s, x->next, POOL_BULK))
			return;
		left -= min(left, (uint64_t)b->chunk_size);
		x->asked = x->next;
		x->next = next_chunk(s, x->next);
	}
	/* When the first of them is read, a window is left in which the next one comes. */
	if (start != NO_CHUNK)
		mark(s, i, start);
}

static void widen(struct stock *s, size_t i)
{
	struct ahead *x = &s->streams[i];
	/* What is not kept must be read before others take its place. */
	uint64_t most = min(s->fetch->settings.ahead_size, s->unkept.n ? UNKEPT_SIZE / 4 : UINT64_MAX);
	x->ahead = min(max(x->ahead * 2, (uint64_t)WINDOW_LEAST), most);
	extend(s, i);
}

static size_t oldest(const struct stock *s)
{
	size_t found = 0;
	for (size_t i = 1; i < FETCH_STREAMS; i++)
		if (s->streams[i].used < s->streams[found].used)
			found = i;
	return found;
}

static bool is_next(const struct ahead *x, uint64_t first)
{
	return x->used && first > x->wanted && (first <= x->asked || first == x->next);
}

void ahead_wanted(struct stock *s, uint64_t first, uint64_t last)
{
	size_t i = 0;
	assert(first <= last);
	if (s->fetch->settings.ahead_size < WINDOW_LEAST)
		return;
	while (i < FETCH_STREAMS && !is_next(&s->streams[i], first))
		i++;
	bool is_new = i == FETCH_STREAMS;
	if (is_new) {
		i = oldest(s);
		unmark(s, i);
		s->streams[i] = (struct ahead){0};
	}
	struct ahead *x = &s->streams[i];
	bool is_behind = is_new || last > x->asked;
	x->used = ++s->clock;
	x->wanted = last;
	if (is_behind) {
		x->asked = last;
		x->next = next_chunk(s, last);
	}
	if (!is_new && is_behind)
		widen(s, i);
}

void ahead_touch(struct fetch_tree *t, uint64_t first, uint64_t last)
{
	struct stock *s = t->stock;
	bool is_due = false;
	for (size_t i = 0; i < FETCH_STREAMS; i++) {
		uint64_t m = atomic_load_explicit(&s->marks[i], memory_order_relaxed);
		if (!m || m - 1 < first || m - 1 > last || !atomic_compare_exchange_strong(&s->marks[i], &m, 0))
			continue;
		atomic_fetch_sub(&s->n_marks, 1);
		is_due = true;
	}
	if (!is_due || atomic_exchange(&t->is_advancing, true))
		return;
	tree_ref(t);
	loop_post(s->fetch->loop, &t->advance);
}

void ahead_on_advance(struct post *p)
{
	struct fetch_tree *t = container_of(p, struct fetch_tree, advance);
	struct stock *s = t->stock;
	atomic_store(&t->is_advancing, false);
	for (size_t i = 0; i < FETCH_STREAMS; i++) {
		struct ahead *x = &s->streams[i];
		if (!x->is_marked || atomic_load(&s->marks[i]))
			continue;
		x->is_marked = false;
		x->used = ++s->clock;
		widen(s, i);
	}
	fill_go(s);
	tree_unref(t);
}

/* ---- the plan */

void ahead_go_on(struct stock *s)
{
	/* Nobody has it open any more: nobody wants it. */
	if (!s->n_handles)
		s->plan_at = s->plan.n;
	while (s->n_planned < PLANNED_MOST && s->plan_at < s->plan.n) {
		uint64_t chunk = s->plan.at[s->plan_at++];
		if (map_get(&s->fills, chunk) || cache_tree_residency(s->cache_tree, chunk) != CACHE_ABSENT)
			continue;
		struct fill *x = fill_need(s, chunk, POOL_BULK);
		if (!x)
			return;
		x->is_planned = true;
		s->n_planned++;
	}
}

static void put_chunks(struct chunks *c, uint64_t first, uint64_t n)
{
	c->at = xrealloc(c->at, (c->n + n + 1) * sizeof *c->at);
	for (uint64_t i = first; i < first + n; i++)
		if (!c->n || c->at[c->n - 1] != i)
			c->at[c->n++] = i;
}

static void put_node(const struct stock *s, uint32_t node, struct chunks *c)
{
	const struct tree_node *n = tree_node(s->index, node);
	for (uint32_t i = 0; n->type == TREE_DIRECTORY && i < n->n; i++)
		put_node(s, n->first + i, c);
	const struct tree_extent *e = n->type == TREE_FILE ? tree_extent(s->index, n->first) : NULL;
	if (!e || e->blob == TREE_NO_BLOB)
		return;
	const struct tree_blob *b = tree_blob(s->index, e->blob);
	uint64_t first = e->offset / b->chunk_size;
	uint64_t last = (e->offset + tree_file_size(s->index, node) - 1) / b->chunk_size;
	put_chunks(c, b->first_chunk + first, last - first + 1);
}

void ahead_chunks(const struct stock *s, const uint32_t *nodes, size_t n, struct chunks *c)
{
	for (size_t i = 0; i < n; i++) {
		assert(nodes[i] < tree_n_nodes(s->index));
		if (nodes[i] == 0 && tree_node(s->index, 0)->type == TREE_DIRECTORY)
			put_chunks(c, 0, tree_n_chunks(s->index));
		else
			put_node(s, nodes[i], c);
	}
}

void fetch_ahead(struct fetch_tree *t, const uint32_t *nodes, size_t n)
{
	struct stock *s = t->stock;
	/* What was done of an older plan is not kept. */
	s->plan.n -= s->plan_at;
	if (s->plan.n)
		memmove(s->plan.at, s->plan.at + s->plan_at, s->plan.n * sizeof *s->plan.at);
	s->plan_at = 0;
	ahead_chunks(s, nodes, n, &s->plan);
	ahead_go_on(s);
	fill_go(s);
}
