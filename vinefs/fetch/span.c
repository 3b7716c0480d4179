/* SPDX-License-Identifier: Apache-2.0
 * A draft is read by spans: a small file whole, a large one by 128 KiB or its chunk. A span is read from the directory by one job for all who want it, between two looks at the file, both
 * of which must show what the walk saw; it is digested as the sealing digests it, and the digest is kept. */
#include "vinefs/fetch/draft.h"

#include "common/log.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define SPAN_SIZE (128u << 10)  /* what the kernel asks for */
#define AHEAD_SIZE (4u << 20)   /* at most, of a large file that is read in order */
#define WHOLE_SIZE (512u << 10) /* a file of no more is read whole */
#define GRAIN_NSEC 20000000     /* of time stamps that have nanoseconds: a tick of the kernel, at most 10 ms */
#define COARSE_GRAIN_NSEC 2000000000
#define WARM_SIZE (32u << 20) /* spans in memory: the kernel asks for 128 KiB at a time */

struct span {
	struct pool_job job;
	struct list link; /* of the warm ones */
	struct draft *draft;
	struct list readings; /* that wait for it */
	uint32_t node;
	uint64_t number, offset; /* within the file */
	bool is_wanted, is_here;
	bool is_ahead; /* nobody waited when it was begun */
	size_t used_size;
	uint8_t *bytes;
	size_t n;
	struct digest *digests;
	uint32_t n_digests;
	struct stat st; /* as it was found */
	int error;
};

struct draft_reading {
	struct post post;
	struct list link;      /* of the draft's waiting */
	struct list span_link; /* of the span's */
	struct fetch_read *caller;
	struct fetch_tree *tree;
	struct fetch_read inner; /* of the sealed tree */
	uint32_t done;
	uint64_t since_usec;
	uint8_t *p;
};

/* ---- geometry */

/* As the sealing digests a file: a small one whole, so that its digest is its address. */
static uint32_t chunk_size_of(uint64_t size)
{
	return size <= DATA_SMALL_MAX ? DATA_SMALL_MAX : data_chunk_size(size);
}

static uint32_t span_size_of(uint64_t size)
{
	return size <= DATA_SMALL_MAX ? DATA_SMALL_MAX : max(data_chunk_size(size), SPAN_SIZE);
}

/* A file of 2^32 spans would have 2^50 bytes. */
static uint64_t key_of(uint32_t node, uint64_t number)
{
	assert(number < UINT32_MAX);
	return (uint64_t)node << 32 | number;
}

/* ---- a span, in the pool */

static bool is_as_seen(const struct span *x)
{
	struct signature now;
	signature_of(&x->st, &now);
	return signature_is_equal(&now, &x->draft->signatures[x->node]);
}

static void digest_span(struct span *x)
{
	uint64_t size = x->draft->signatures[x->node].size;
	uint32_t chunk = chunk_size_of(size);
	x->n_digests = (uint32_t)((x->n + chunk - 1) / chunk);
	x->digests = xcalloc(x->n_digests, sizeof *x->digests);
	if (size <= DATA_SMALL_MAX)
		data_address_of(x->bytes, x->n, x->digests);
	for (uint32_t i = 0; size > DATA_SMALL_MAX && i < x->n_digests; i++) {
		size_t at = (size_t)i * chunk;
		digest_bytes(x->bytes + at, min((size_t)chunk, x->n - at), &x->digests[i]);
	}
}

/* The second look follows the last byte: what was changed between the two is not given. Each opens anew, so that a network filesystem asks its server. */
static int read_span(struct span *x, int root)
{
	const struct draft *d = x->draft;
	const struct fetch_files *files = d->fetch->settings.files;
	_free_ char *path = tree_path(d->index, x->node);
	int r = files->read(files->arg, root, path, x->offset, x->bytes, x->n, &x->st);
	if (r == 0 && is_as_seen(x))
		r = files->read(files->arg, root, path, 0, x->bytes, 0, &x->st);
	return r < 0 ? r : is_as_seen(x) ? 0 : -ESTALE;
}

/* The directory stays open: a look-up of its path for each span would cost a slow source as much as the file. */
static int open_root(struct draft *d)
{
	const struct fetch_files *files = d->fetch->settings.files;
	int root = atomic_load(&d->root), none = -1;
	if (root >= 0)
		return root;
	root = files->open(files->arg, d->path);
	if (root < 0 || atomic_compare_exchange_strong(&d->root, &none, root))
		return root;
	close(root);
	return none;
}

/* What has become of the directory itself is seen by its path. */
static int read_span_anew(struct span *x)
{
	const struct fetch_files *files = x->draft->fetch->settings.files;
	_close_ int root = files->open(files->arg, x->draft->path);
	return root < 0 ? root : read_span(x, root);
}

/* Within the grain of its time stamps a file can change unseen: what is so young is read when it no longer is. */
static void let_age(const struct span *x)
{
	const struct signature *s = &x->draft->signatures[x->node];
	int64_t grain_nsec = s->ctime_nsec ? GRAIN_NSEC : COARSE_GRAIN_NSEC;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	int64_t age_sec = now.tv_sec - s->ctime_sec, age_nsec = now.tv_nsec - (int64_t)s->ctime_nsec;
	if (age_sec > 3 || age_sec < -3)
		return;
	int64_t left = grain_nsec - age_sec * 1000000000 - age_nsec;
	left = min(left, grain_nsec); /* a server's clock may be ahead */
	if (left > 0)
		nanosleep(&(struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000}, NULL);
}

static void span_run(struct pool_job *j)
{
	struct span *x = container_of(j, struct span, job);
	if (!j->is_dropped)
		let_age(x);
	x->bytes = j->is_dropped ? NULL : malloc(x->n);
	int root = j->is_dropped || !x->bytes ? -1 : open_root(x->draft);
	x->error = j->is_dropped ? -ECANCELED : !x->bytes ? -ENOMEM : root < 0 ? root : read_span(x, root);
	/* Its server may know it by a new handle. */
	if (x->error == -EREMOTEIO)
		x->error = read_span_anew(x);
	if (!x->error)
		digest_span(x);
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
	COUNT(f, n_waited, 1);
	COUNT(f, n_failed, error != 0 && error != -ECANCELED);
	COUNT(f, source_size, error ? 0 : caller->n);
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
	const struct draft *d = g->tree->draft;
	const struct tree *t = fetch_index(d->sealed);
	const struct fetch_read *r = g->caller;
	if (draft_is_changed(d, r->blob)) {
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

static struct span *span_need(struct draft *d, uint32_t node, uint64_t number, bool is_wanted);

/* All of it was read, and is with the kernel: it is the first to go. */
static void note_use(struct span *x, size_t n)
{
	x->used_size += n;
	if (x->used_size < x->n)
		return;
	list_remove(&x->link);
	list_prepend(&x->draft->warm, &x->link);
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
		struct span *x = span_need(d, r->blob, at / span_size, true);
		if (!x->is_here) {
			list_append(&x->readings, &g->span_link);
			return;
		}
		uint32_t n = (uint32_t)min((uint64_t)(r->n - g->done), x->offset + x->n - at);
		memcpy(g->p + g->done, x->bytes + (at - x->offset), n);
		note_use(x, n);
		g->done += n;
	}
	answer(g, 0);
}

/* ---- spans, on the loop */

static void span_free(struct span *x)
{
	assert(list_is_empty(&x->readings));
	list_remove(&x->link);
	map_remove(&x->draft->spans, key_of(x->node, x->number));
	free(x->digests);
	free(x->bytes);
	free(x);
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

static void tell(struct draft *d, const struct span *x)
{
	char text[128];
	_free_ char *path = draft_path(d, x->node);
	const struct signature *was = &d->signatures[x->node];
	free(d->trouble);
	if (x->error != -ESTALE || !S_ISREG(x->st.st_mode))
		d->trouble = xasprintf("%s: %s", path,
				       x->error == -ESTALE ? "it is gone, or no file any more"
							   : strerror_r(-x->error, text, sizeof text));
	else
		d->trouble = xasprintf("%s has changed while it is sealed: it was %llu bytes of %lld.%09u, it is %llu "
				       "bytes of %lld.%09u",
				       path, (unsigned long long)was->size, (long long)was->mtime_sec, was->mtime_nsec,
				       (unsigned long long)x->st.st_size, (long long)x->st.st_mtim.tv_sec,
				       (unsigned)x->st.st_mtim.tv_nsec);
	draft_complain(d, x->node, d->trouble);
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
static int check_given(struct span *x)
{
	struct draft *d = x->draft;
	struct given *g = map_get(&d->given, key_of(x->node, x->number));
	if (!g) {
		g = xmalloc(sizeof *g + x->n_digests * sizeof *g->at);
		*g = (struct given){.key = key_of(x->node, x->number), .n = x->n_digests};
		memcpy(g->at, x->digests, g->n * sizeof *g->at);
		map_put(&d->given, g->key, g);
	}
	if (g->n != x->n_digests || memcmp(g->at, x->digests, g->n * sizeof *g->at) != 0)
		return -ESTALE;
	if (!d->sealed)
		return 0;
	return draft_is_changed(d, x->node) || !span_is_in(fetch_index(d->sealed), g) ? -ESTALE : 0;
}

static void note_end(const struct span *x)
{
	struct draft *d = x->draft;
	atomic_store(&d->gate->quiet_usec, pool_now_usec());
	atomic_fetch_sub(&d->gate->n_reading, 1);
	if (x->is_ahead) {
		assert(d->near.n_reading && d->near.reading_size >= x->n);
		d->near.n_reading--;
		d->near.reading_size -= x->n;
	}
}

static void span_done(struct pool_job *j)
{
	struct span *x = container_of(j, struct span, job);
	struct draft *d = x->draft;
	struct list readings;
	list_init(&readings);
	list_splice(&readings, &x->readings);
	/* Taken out first: whoever goes on may want another span, or end the last use of the draft. */
	note_end(x);
	if (!x->error)
		x->error = check_given(x);
	/* To a reader there is no difference between a file that is another now and one that is none. */
	if (is_gone(x->error))
		x->error = -ESTALE;
	/* What nobody wanted is no news yet. */
	if (x->error && x->is_wanted && !d->fetch->is_stopping)
		tell(d, x);
	int error = !x->error || x->error == -ESTALE ? x->error : -EIO;
	x->is_here = !error;
	if (x->is_here) {
		COUNT(d->fetch, n_fills, 1);
		COUNT(d->fetch, fill_size, x->n);
		COUNT(d->fetch, n_ahead, !x->is_wanted);
		list_append(&d->warm, &x->link);
		d->warm_size += x->n;
	} else {
		span_free(x);
	}
	while (!list_is_empty(&readings)) {
		struct draft_reading *g = list_first(&readings, struct draft_reading, span_link);
		list_remove(&g->span_link);
		if (error)
			answer(g, error);
		else
			go_on(g);
	}
	span_cool(d, WARM_SIZE);
	near_go_on(d);
	draft_unref(d);
}

static struct span *span_need(struct draft *d, uint32_t node, uint64_t number, bool is_wanted)
{
	struct span *x = map_get(&d->spans, key_of(node, number));
	uint64_t size = d->signatures[node].size;
	if (x && is_wanted && !x->is_wanted && !x->is_here) {
		x->is_wanted = true;
		pool_raise(d->fetch->pool, &x->job, POOL_NOW);
	}
	if (x)
		return x;
	x = NEW(struct span);
	list_init(&x->link);
	list_init(&x->readings);
	x->draft = d;
	x->node = node;
	x->number = number;
	x->offset = number * span_size_of(size);
	x->n = (size_t)min((uint64_t)span_size_of(size), size - x->offset);
	x->is_wanted = is_wanted;
	x->job.run = span_run;
	x->job.on_done = span_done;
	map_put(&d->spans, key_of(node, number), x);
	atomic_fetch_add(&d->gate->n_reading, 1);
	x->is_ahead = !is_wanted;
	d->near.n_reading += x->is_ahead;
	d->near.reading_size += x->is_ahead ? x->n : 0;
	draft_ref(d);
	pool_put(d->fetch->pool, &x->job, is_wanted ? POOL_NOW : POOL_BULK, &d->lane);
	return x;
}

uint64_t span_count(uint64_t file_size)
{
	return (file_size + span_size_of(file_size) - 1) / span_size_of(file_size);
}

size_t span_ahead(struct draft *d, uint32_t node, uint64_t number)
{
	if (map_get(&d->given, key_of(node, number)) || map_get(&d->spans, key_of(node, number)))
		return 0;
	return span_need(d, node, number, false)->n;
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

/* The sealing will read all of it, but not soon: what is read in order is read as far ahead as it came in order, and a small library whole, which is touched all over. */
static void look_ahead(struct draft *d, const struct fetch_read *r)
{
	uint64_t size = d->signatures[r->blob].size, span_size = span_size_of(size), n = span_count(size);
	uint64_t first = r->offset / span_size, last = (r->offset + r->n - 1) / span_size;
	uint64_t most = min((uint64_t)AHEAD_SIZE, d->fetch->settings.ahead_size), run = run_until(d, r);
	for (uint64_t i = first; i <= last; i++)
		span_need(d, r->blob, i, true);
	if (d->fetch->settings.ahead_size < span_size)
		return;
	for (uint64_t i = last + 1; i < n && i <= last + min(run, most) / span_size; i++)
		span_ahead(d, r->blob, i);
	for (uint64_t i = 0; i < n && size <= WHOLE_SIZE; i++)
		span_ahead(d, r->blob, i);
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
