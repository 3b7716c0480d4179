/* SPDX-License-Identifier: Apache-2.0
 * A draft is read by spans: a small file whole, a large one by its chunk. Spans side by side that are wanted at once are one haul: read from the directory by one job for all who want them, between two looks at the file, both
 * of which must show what the walk saw; or had from another node that reads the same directory. Each is digested as the sealing digests it, and the digest is kept. */
#include "vinefs/fetch/haul.h"

#include "common/log.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define HAUL_SIZE (256u << 10)   /* at most, but one span; more than the kernel asks for, wherever that begins */
#define BULK_SIZE (128u << 10)   /* of a haul that nobody waits for: who comes meanwhile waits for it */
#define AHEAD_SIZE (4u << 20)    /* at most, of a large file that is read in order */
#define WHOLE_SIZE (512u << 10)  /* a file of no more is read whole */
#define BESIDE_SIZE (128u << 10) /* of a larger one, before and behind what is asked for out of order */
#define QUIET_USEC \
	250000u /* after a read: he who reads one file after the other is at it still, or computes for a moment */
#define WARM_SIZE (32u << 20) /* spans in memory: the kernel asks for 128 KiB at a time */

struct draft_reading {
	struct post post;
	struct list link;      /* of the draft's waiting */
	struct list span_link; /* of the span's */
	struct fetch_read *caller;
	struct fetch_tree *tree;
	struct fetch_read inner; /* of the sealed tree */
	uint32_t done;
	int error; /* of its span */
	uint64_t since_usec;
	uint8_t *p;
};

/* ---- geometry */

/* A file of 2^32 spans would have 2^50 bytes. */
static uint64_t key_of(uint32_t node, uint64_t number)
{
	assert(number < UINT32_MAX);
	return (uint64_t)node << 32 | number;
}

/* ---- answering */

static void answer(struct draft_reading *g, int error)
{
	struct fetch_read *caller = g->caller;
	struct fetch_tree *t = g->tree;
	struct fetch *f = t->fetch;
	uint8_t *p = g->p;
	assert(error <= 0 && (error || g->done == caller->n));
	list_remove(&g->link);
	list_remove(&g->span_link);
	tree_answered(t, error);
	COUNT(f, n_waited, !caller->is_given);
	COUNT(f, source_size, error || caller->is_given ? 0 : caller->n);
	free(g);
	caller->on_done(caller, error ? NULL : p, error ? error : (ssize_t)caller->n);
	free(p);
	tree_unref(t);
}

/* Any thread: the caller's on_done may be called by any. */
static void on_inner(struct fetch_read *r, const void *p, ssize_t n)
{
	struct draft_reading *g = container_of(r, struct draft_reading, inner);
	struct fetch_tree *t = g->tree;
	if (n < 0 && n != -ECANCELED)
		atomic_fetch_add(&t->n_failed, 1); /* the other handle has counted it for all */
	g->caller->on_done(g->caller, p, n);
	free(g->p);
	free(g);
	tree_unref(t);
}

static bool is_inner_over(const struct fetch_read *r)
{
	const struct fetch_read *caller = container_of(r, const struct draft_reading, inner)->caller;
	return caller->is_over && caller->is_over(caller);
}

/* What is sealed is read from the cache, as any tree. */
static void read_sealed(struct draft_reading *g)
{
	struct draft *d = g->tree->draft;
	const struct tree *t = fetch_index(d->sealed);
	const struct fetch_read *r = g->caller;
	if (draft_is_changed(d, r->blob)) {
		draft_refuse(d, r->blob);
		answer(g, -ESTALE);
		return;
	}
	const struct tree_extent *e = tree_extent(t, tree_node(t, r->blob)->first);
	assert(list_is_empty(&g->link) && e->blob != TREE_NO_BLOB);
	g->inner = (struct fetch_read){.tree = d->sealed, .blob = e->blob, .n = r->n, .offset = e->offset + r->offset};
	g->inner.on_done = on_inner;
	g->inner.is_over = is_inner_over;
	fetch_read_start(&g->inner);
}

static struct span *span_need(struct draft *d, uint32_t node, uint64_t number);

/* All of it was read, and is with the kernel: it is the first to go. */
static void note_use(struct span *x, size_t n, bool is_given)
{
	x->used_size += is_given ? 0 : n;
	if (is_given || x->used_size < x->n)
		return;
	list_remove(&x->link);
	list_prepend(&x->haul->draft->warm, &x->link);
}

/* Copies what has come, waits for what has not. */
static void go_on(struct draft_reading *g)
{
	struct draft *d = g->tree->draft;
	struct fetch_read *r = g->caller;
	uint32_t span_size = span_size_of(d->signatures[r->blob].size);
	list_remove(&g->span_link);
	while (g->done < r->n) {
		uint64_t at = r->offset + g->done;
		struct span *x = span_need(d, r->blob, at / span_size);
		if (!x->is_here) {
			list_append(&x->readings, &g->span_link);
			return;
		}
		uint32_t n = (uint32_t)min((uint64_t)(r->n - g->done), x->offset + x->n - at);
		memcpy(g->p + g->done, x->haul->bytes + (at - x->haul->offset), n);
		note_use(x, n, r->is_given);
		g->done += n;
	}
	answer(g, 0);
}

/* ---- spans, on the loop */

static void span_free(struct span *x)
{
	struct haul *h = x->haul;
	assert(list_is_empty(&x->readings) && h->n_used);
	list_remove(&x->link);
	map_remove(&h->draft->spans, key_of(h->node, x->number));
	free(x->digests);
	free(x);
	if (--h->n_used)
		return;
	free(h->bytes);
	free(h->packed);
	free(h->spans);
	free(h);
}

static struct haul *find_haul(const struct draft *d, uint32_t node, uint64_t offset, uint32_t n)
{
	const struct span *x = map_get(&d->spans, key_of(node, offset / span_size_of(d->signatures[node].size)));
	return x && x->is_here && x->haul->offset == offset && x->haul->n == n ? x->haul : NULL;
}

const uint8_t *span_packed(const struct draft *d, uint32_t node, uint64_t offset, uint32_t n, size_t *n_packed)
{
	const struct haul *h = find_haul(d, node, offset, n);
	*n_packed = h ? h->n_packed : 0;
	return h ? h->packed : NULL;
}

void span_keep_packed(struct draft *d, uint32_t node, uint64_t offset, uint32_t n, uint8_t *packed, size_t n_packed)
{
	struct haul *h = find_haul(d, node, offset, n);
	if (!h || h->packed) {
		free(packed);
		return;
	}
	h->packed = packed;
	h->n_packed = n_packed;
}

void span_cool(struct draft *d, uint64_t size)
{
	while (d->warm_size > size) {
		struct span *oldest = list_first(&d->warm, struct span, link);
		assert(d->warm_size >= oldest->n);
		d->warm_size -= oldest->n;
		span_free(oldest);
	}
}

static void tell(struct draft *d, const struct haul *h, int error)
{
	char text[128];
	const struct stat *is = &h->st;
	free(steal(d->trouble));
	if (error == -ESTALE) {
		d->trouble = S_ISREG(is->st_mode) ? draft_say_changed(d, h->node, (uint64_t)is->st_size,
								      is->st_mtim.tv_sec, (uint32_t)is->st_mtim.tv_nsec)
						  : draft_say_gone(d, h->node);
	} else {
		_free_ char *path = draft_path(d, h->node);
		d->trouble = xasprintf("%s: %s", path, strerror_r(-error, text, sizeof text));
	}
	draft_complain(d, h->node, d->trouble);
}

static bool is_gone(int error)
{
	return error == -ENOENT || error == -ENOTDIR || error == -ELOOP || error == -EISDIR || error == -EXDEV;
}

bool span_is_in(const struct tree *t, const struct given *g)
{
	uint32_t node = (uint32_t)(g->key >> 32), content = tree_node(t, node)->first;
	const struct tree_content *c = tree_content(t, content);
	if (c->size <= DATA_SMALL_MAX)
		return g->n == 1 && memcmp(c->address, g->at[0].byte, DIGEST_SIZE) == 0;
	const struct tree_blob *b = tree_blob(t, tree_extent(t, content)->blob);
	uint64_t first = (g->key & UINT32_MAX) * (span_size_of(c->size) / b->chunk_size);
	for (uint32_t i = 0; i < g->n; i++) {
		struct digest d;
		if (first + i >= data_n_chunks(b->size, b->chunk_size))
			return false;
		tree_chunk_digest(t, b->first_chunk + first + i, &d);
		if (!digest_is_equal(&d, &g->at[i]))
			return false;
	}
	return true;
}

/* What one reader had, all have; and what the tree has, if that is known. */
static int check_given(const struct span *x)
{
	uint32_t node = x->haul->node;
	struct draft *d = x->haul->draft;
	struct given *g = map_get(&d->given, key_of(node, x->number));
	if (!g) {
		g = xmalloc(sizeof *g + x->n_digests * sizeof *g->at);
		*g = (struct given){.key = key_of(node, x->number), .n = x->n_digests};
		memcpy(g->at, x->digests, g->n * sizeof *g->at);
		map_put(&d->given, g->key, g);
	}
	if (g->n != x->n_digests || memcmp(g->at, x->digests, g->n * sizeof *g->at) != 0)
		return -ESTALE;
	if (!d->sealed)
		return 0;
	return draft_is_changed(d, node) || !span_is_in(fetch_index(d->sealed), g) ? -ESTALE : 0;
}

static void note_end(const struct haul *h)
{
	struct draft *d = h->draft;
	atomic_store(&d->gate->busy_until_usec, pool_now_usec() + QUIET_USEC);
	atomic_fetch_sub(&d->gate->n_reading, 1);
	if (h->is_ahead) {
		assert(d->near.n_reading && d->near.reading_size >= h->n);
		d->near.n_reading--;
		d->near.reading_size -= h->n;
	}
}

/* Warm, or gone; who waited for it is put behind `readings`. */
static void span_done(struct span *x, struct list *readings)
{
	const struct haul *h = x->haul;
	struct draft *d = h->draft;
	int error = h->error ? h->error : check_given(x);
	/* To a reader there is no difference between a file that is another now and one that is none. */
	if (is_gone(error))
		error = -ESTALE;
	/* What nobody wanted is no news yet. */
	if (error && h->is_wanted && !d->fetch->is_stopping)
		tell(d, h, error);
	list_foreach (&x->readings, struct draft_reading, span_link, g)
		g->error = !error || error == -ESTALE ? error : -EIO;
	list_splice(readings, &x->readings);
	x->is_here = !error;
	if (x->is_here) {
		list_append(&d->warm, &x->link);
		d->warm_size += x->n;
	} else {
		span_free(x);
	}
}

static void haul_done(struct pool_job *j)
{
	struct haul *h = container_of(j, struct haul, job);
	struct draft *d = h->draft;
	struct list readings = LIST_INIT(readings);
	_free_ struct span **spans = steal(h->spans);
	/* Taken out first: whoever goes on may want another span, or end the last use of the draft. */
	note_end(h);
	if (!h->error && h->is_given) {
		COUNT(d->fetch, peer_size, h->n);
	} else if (!h->error) {
		COUNT(d->fetch, n_fills, 1);
		COUNT(d->fetch, fill_size, h->n);
		fetch_count_source(d->fetch, d->path, NULL, h->n, false);
		COUNT(d->fetch, n_ahead, !h->is_wanted);
	}
	for (size_t i = 0, n = h->n_spans; i < n; i++)
		span_done(spans[i], &readings); /* the last may take the haul along */
	while (!list_is_empty(&readings)) {
		struct draft_reading *g = list_first(&readings, struct draft_reading, span_link);
		list_remove(&g->span_link);
		if (g->error)
			answer(g, g->error);
		else
			go_on(g);
	}
	span_cool(d, WARM_SIZE);
	near_go_on(d);
	draft_unref(d);
}

static void haul_go(struct haul *h)
{
	pool_put(h->draft->fetch->pool, &h->job, h->is_wanted ? POOL_NOW : POOL_BULK,
		 h->is_given ? NULL : &h->draft->lane);
}

static void on_given(struct fellow_ask *a, int error, const void *message)
{
	struct haul *h = container_of(a, struct haul, ask);
	const struct wire_draft_part *m = message;
	if (error && error != -ESTALE && fellow_ask(a))
		return;
	h->is_asking = false;
	h->is_given = !error;
	if (!error) {
		*(m->codec ? &h->packed : &h->bytes) = xmemdup(m->bytes.at, m->bytes.n);
		h->n_packed = m->codec ? m->bytes.n : 0;
	}
	haul_go(h);
}

/* Of `n` spans from `first` on, none of which is here or under way. */
static void haul_start(struct draft *d, uint32_t node, uint64_t first, size_t n, bool is_wanted)
{
	uint64_t size = d->signatures[node].size, span_size = span_size_of(size);
	struct haul *h = NEW(struct haul);
	*h = (struct haul){.draft = d, .node = node, .is_wanted = is_wanted, .is_ahead = !is_wanted};
	h->offset = first * span_size;
	h->n = (size_t)min(n * span_size, size - h->offset);
	h->spans = xcalloc(n, sizeof *h->spans);
	h->n_spans = h->n_used = n;
	for (size_t i = 0; i < n; i++) {
		struct span *x = h->spans[i] = NEW(struct span);
		*x = (struct span){.haul = h, .number = first + i, .offset = (first + i) * span_size};
		x->n = (size_t)min(span_size, size - x->offset);
		list_init(&x->link);
		list_init(&x->readings);
		map_put(&d->spans, key_of(node, x->number), x);
	}
	h->job.run = haul_run;
	h->job.on_done = haul_done;
	atomic_fetch_add(&d->gate->n_reading, 1);
	d->near.n_reading += h->is_ahead;
	d->near.reading_size += h->is_ahead ? h->n : 0;
	draft_ref(d);
	h->ask = (struct fellow_ask){.fetch = d->fetch, .path = d->path, .draft = d, .on_done = on_given};
	h->ask.node = node;
	h->ask.offset = h->offset;
	h->ask.n = (uint32_t)h->n;
	h->is_asking = fellow_ask(&h->ask);
	if (!h->is_asking)
		haul_go(h);
}

/* True if it need not be read. */
static bool is_had(struct draft *d, uint32_t node, uint64_t number, bool is_wanted)
{
	const struct span *x = map_get(&d->spans, key_of(node, number));
	if (x && is_wanted && !x->haul->is_wanted && !x->is_here) {
		x->haul->is_wanted = true;
		if (!x->haul->is_asking)
			pool_raise(d->fetch->pool, &x->haul->job, POOL_NOW);
	}
	/* What was read once is with the kernel. */
	return x || (!is_wanted && map_get(&d->given, key_of(node, number)));
}

/* Reads `n` spans from `first` on, as far as they are not here or under way. */
static void haul_all(struct draft *d, uint32_t node, uint64_t first, uint64_t n, bool is_wanted)
{
	uint64_t span_size = span_size_of(d->signatures[node].size), end = first + n;
	uint64_t most = max((is_wanted ? HAUL_SIZE : BULK_SIZE) / span_size, (uint64_t)1);
	uint64_t block = max(fellow_block(d) / span_size, (uint64_t)(fellow_block(d) != 0));
	while (first < end) {
		size_t run = 0;
		if (block)
			most = block - first % block;
		while (run < most && first + run < end && !is_had(d, node, first + run, is_wanted))
			run++;
		if (run)
			haul_start(d, node, first, run, is_wanted);
		first += max(run, (size_t)1);
	}
}

static struct span *span_need(struct draft *d, uint32_t node, uint64_t number)
{
	haul_all(d, node, number, 1, true);
	return map_get(&d->spans, key_of(node, number));
}

uint64_t span_count(uint64_t file_size)
{
	return (file_size + span_size_of(file_size) - 1) / span_size_of(file_size);
}

void span_ahead(struct draft *d, uint32_t node, uint64_t first, uint64_t n)
{
	haul_all(d, node, first, n, false);
}

/* ---- reads */

static void on_timer(struct timer *t)
{
	struct draft *d = container_of(t, struct draft, timer);
	uint64_t now = loop_now_usec(d->fetch->loop), deadline = d->fetch->settings.deadline_usec;
	for (;;) {
		struct draft_reading *g = list_first(&d->waiting, struct draft_reading, link);
		if (!g)
			return;
		if (now < g->since_usec + deadline) {
			timer_start(t, d->fetch->loop, g->since_usec + deadline - now, on_timer);
			return;
		}
		_free_ char *text = xasprintf("%s: it has not answered for %.0f s", d->path, (double)deadline / 1e6);
		if (!d->trouble || !streq(d->trouble, text))
			log_warn("%s", text);
		free(d->trouble);
		d->trouble = steal(text);
		COUNT(d->fetch, n_late, 1);
		answer(g, -EIO);
	}
}

/* How many bytes were read up to here without a gap. What is mapped is touched here and there: that is no order. */
static uint64_t run_until(struct draft *d, const struct fetch_read *r)
{
	unsigned i = 0;
	while (i < DRAFT_RUNS && (d->runs[i].node != r->blob || d->runs[i].end != r->offset || !d->runs[i].size))
		i++;
	struct draft_run *run = &d->runs[i < DRAFT_RUNS ? i : d->last_run++ % DRAFT_RUNS];
	*run = (struct draft_run){
		.node = r->blob, .end = r->offset + r->n, .size = (i < DRAFT_RUNS ? run->size : 0) + r->n};
	return run->size - r->n;
}

/* What is mapped is touched here and there, and soon beside it. */
static void look_beside(struct draft *d, uint32_t node, uint64_t first, uint64_t last, uint64_t n)
{
	uint64_t some = BESIDE_SIZE / span_size_of(d->signatures[node].size);
	uint64_t before = min(some, first);
	span_ahead(d, node, last + 1, min(some, n - last - 1));
	span_ahead(d, node, first - before, before);
}

static void need_all(struct draft *d, const struct fetch_read *r)
{
	uint64_t span_size = span_size_of(d->signatures[r->blob].size), first = r->offset / span_size;
	haul_all(d, r->blob, first, (r->offset + r->n - 1) / span_size + 1 - first, true);
}

/* The sealing will read all of it, but not soon: what is read in order is read as far ahead as it came in order, and a small library whole, which is touched all over. */
static void look_ahead(struct draft *d, const struct fetch_read *r)
{
	uint64_t size = d->signatures[r->blob].size, span_size = span_size_of(size), n = span_count(size);
	uint64_t first = r->offset / span_size, last = (r->offset + r->n - 1) / span_size;
	uint64_t most = min((uint64_t)AHEAD_SIZE, d->fetch->settings.ahead_size), run = run_until(d, r);
	need_all(d, r);
	if (d->fetch->settings.ahead_size < span_size)
		return;
	if (size <= WHOLE_SIZE)
		span_ahead(d, r->blob, 0, n);
	else if (!run && !near_is_full(d))
		look_beside(d, r->blob, first, last, n);
	run = min(run, most) / span_size;
	span_ahead(d, r->blob, last + 1, min(run, n - last - 1));
	near_touch(d, r->blob);
	near_go_on(d);
}

static void on_read(struct post *p)
{
	struct draft_reading *g = container_of(p, struct draft_reading, post);
	struct draft *d = g->tree->draft;
	struct fetch *f = d->fetch;
	struct fetch_read *r = g->caller;
	if (f->is_stopping || (r->is_over && r->is_over(r))) {
		answer(g, f->is_stopping ? -EIO : -ECANCELED);
		return;
	}
	if (d->sealed) {
		read_sealed(g);
		return;
	}
	g->since_usec = loop_now_usec(f->loop);
	list_append(&d->waiting, &g->link);
	if (!d->timer.loop)
		timer_start(&d->timer, f->loop, f->settings.deadline_usec, on_timer);
	if (r->is_given)
		need_all(d, r);
	else
		look_ahead(d, r);
	go_on(g);
}

void draft_read_start(struct fetch_read *r)
{
	struct draft_reading *g = NEW(struct draft_reading);
	const struct draft *d = r->tree->draft;
	assert(tree_node(d->index, r->blob)->type == TREE_FILE);
	assert(r->n <= d->signatures[r->blob].size && r->offset <= d->signatures[r->blob].size - r->n);
	list_init(&g->link);
	list_init(&g->span_link);
	g->caller = r;
	g->tree = r->tree;
	g->p = xmalloc(r->n);
	g->post.on_post = on_read;
	tree_ref(r->tree);
	loop_post(r->tree->fetch->loop, &g->post);
}

void span_fail_all(struct draft *d)
{
	while (!list_is_empty(&d->waiting))
		answer(list_first(&d->waiting, struct draft_reading, link), -EIO);
	timer_stop(&d->timer);
}
