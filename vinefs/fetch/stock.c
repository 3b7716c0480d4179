/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/fetch/internal.h"

#include <stdio.h>

/* ---- which files a blob's bytes are in */

struct place {
	uint64_t offset;
	uint32_t blob, content;
};

static int by_place(const void *x, const void *y)
{
	const struct place *a = x, *b = y;
	if (a->blob != b->blob)
		return a->blob < b->blob ? -1 : 1;
	return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static void members_make(struct members *m, const struct tree *t)
{
	uint32_t n_contents = tree_n_contents(t), n_blobs = tree_n_blobs(t), n = 0;
	_free_ struct place *places = xcalloc(n_contents, sizeof *places);
	for (uint32_t i = 0; i < n_contents; i++) {
		const struct tree_extent *e = tree_extent(t, i);
		if (e->blob != TREE_NO_BLOB)
			places[n++] = (struct place){.offset = e->offset, .blob = e->blob, .content = i};
	}
	qsort(places, n, sizeof *places, by_place);
	m->order = xcalloc(n, sizeof *m->order);
	m->first = xcalloc((size_t)n_blobs + 1, sizeof *m->first);
	m->node = xcalloc(n_contents, sizeof *m->node);
	uint32_t at = 0;
	for (uint32_t blob = 0; blob < n_blobs; blob++) {
		m->first[blob] = at;
		for (; at < n && places[at].blob == blob; at++)
			m->order[at] = places[at].content;
	}
	assert(at == n);
	m->first[n_blobs] = n;
	/* Backwards, so that the first file of a content stays. */
	for (uint32_t i = tree_n_nodes(t); i-- > 0;)
		if (tree_node(t, i)->type == TREE_FILE)
			m->node[tree_node(t, i)->first] = i;
}

const struct members *stock_members(struct stock *s)
{
	pthread_mutex_lock(&s->lock);
	if (!s->members.first)
		members_make(&s->members, s->index);
	pthread_mutex_unlock(&s->lock);
	return &s->members;
}

uint32_t stock_blob(const struct stock *s, uint64_t chunk)
{
	return tree_blob_of(s->index, chunk);
}

/* ---- life */

/* Takes over the user that `ct` is. */
static struct stock *stock_get(struct fetch *f, const struct digest *id, struct cache_tree *ct)
{
	char text[DIGEST_TEXT_SIZE];
	struct stock *s = map_get_text(&f->stocks, digest_text(id, text));
	if (s) {
		assert(s->cache_tree == ct); /* the cache shares it too */
		cache_tree_close(ct);
		s->n_users++;
		return s;
	}
	s = NEW(struct stock);
	s->fetch = f;
	s->id = *id;
	digest_text(id, s->text);
	s->cache_tree = ct;
	s->index = cache_tree_index(ct);
	s->n_users = 1;
	list_init(&s->unstarted);
	list_init(&s->brings);
	list_init(&s->expected);
	list_init(&s->coming);
	pthread_mutex_init(&s->lock, NULL);
	map_put_text(&f->stocks, s->text, s);
	return s;
}

void stock_unref(struct stock *s)
{
	assert(s->n_users);
	if (--s->n_users)
		return;
	assert(!s->fills.n && list_is_empty(&s->unstarted) && list_is_empty(&s->brings) && list_is_empty(&s->expected));
	assert(list_is_empty(&s->coming));
	timer_stop(&s->looker);
	timer_stop(&s->comer);
	map_remove_text(&s->fetch->stocks, s->text);
	map_fini(&s->fills);
	unkept_forget(s);
	cache_tree_close(s->cache_tree);
	pthread_mutex_destroy(&s->lock);
	free(s->members.order);
	free(s->members.first);
	free(s->members.node);
	free(s->plan.at);
	free(s->seen);
	free(s->error);
	free(s);
}

void stock_failed(struct stock *s, const char *text)
{
	free(s->error);
	s->error = xstrdup(text);
}

/* ---- handles */

static void on_gone(struct post *p)
{
	struct fetch_tree *t = container_of(p, struct fetch_tree, gone);
	assert(t->fetch->n_trees);
	t->fetch->n_trees--;
	if (t->draft) {
		draft_unref(t->draft);
	} else {
		assert(t->stock->n_handles);
		fetch_expect(t, false);
		t->stock->n_handles--;
		stock_unref(t->stock);
		cache_lease_free(t->lease);
	}
	free(t);
}

/* Takes over the user of one or the other. */
static struct fetch_tree *tree_new(struct fetch *f, struct stock *s, struct draft *d)
{
	struct fetch_tree *t = NEW(struct fetch_tree);
	assert(!s != !d);
	t->fetch = f;
	t->stock = s;
	t->draft = d;
	t->n_refs = 1;
	t->gone.on_post = on_gone;
	t->advance.on_post = ahead_on_advance;
	f->n_trees++;
	if (s)
		s->n_handles++;
	return t;
}

struct fetch_tree *tree_of_draft(struct fetch *f, struct draft *d)
{
	return tree_new(f, NULL, d);
}

void tree_ref(struct fetch_tree *t)
{
	atomic_fetch_add(&t->n_refs, 1);
}

void tree_unref(struct fetch_tree *t)
{
	unsigned before = atomic_fetch_sub(&t->n_refs, 1);
	assert(before);
	if (before == 1)
		loop_post(t->fetch->loop, &t->gone);
}

void fetch_close(struct fetch_tree *t)
{
	tree_unref(t);
}

const struct tree *fetch_index(const struct fetch_tree *t)
{
	return t->draft ? draft_index(t->draft) : t->stock->index;
}

struct cache_tree *fetch_cache_tree(const struct fetch_tree *t)
{
	return t->draft ? NULL : t->stock->cache_tree;
}

/* ---- opening */

struct opening {
	struct pool_job job;
	struct fetch *fetch;
	struct fetch_open *caller; /* NULL: not interested any more */
	struct digest id;
	struct cache_lease *lease;
	struct cache_tree *cache_tree;
	struct draft *draft; /* in place of all that */
	int error;
};

static void open_run(struct pool_job *j)
{
	struct opening *o = container_of(j, struct opening, job);
	o->error = j->is_dropped ? -ECANCELED : 0;
	if (!o->error && !o->draft)
		o->error = cache_tree_open(o->fetch->settings.cache, &o->id, &o->cache_tree);
}

static void open_done(struct pool_job *j)
{
	struct opening *o = container_of(j, struct opening, job);
	struct fetch_open *caller = o->caller;
	struct fetch_tree *t = NULL;
	int error = o->error;
	if (error == 0 && (!caller || o->fetch->is_stopping))
		error = -ECANCELED;
	if (error == 0 && o->draft) {
		t = tree_new(o->fetch, NULL, steal(o->draft));
	} else if (error == 0) {
		t = tree_new(o->fetch, stock_get(o->fetch, &o->id, steal(o->cache_tree)), NULL);
		t->lease = steal(o->lease);
	}
	if (o->draft)
		draft_unref(o->draft);
	if (o->cache_tree)
		cache_tree_close(o->cache_tree);
	if (o->lease)
		cache_lease_free(o->lease);
	o->fetch->n_openings--;
	free(o);
	if (caller) {
		caller->opening = NULL;
		caller->on_done(caller, error, t);
	}
}

static struct opening *opening_new(struct fetch *f, struct fetch_open *o)
{
	struct opening *x = NEW(struct opening);
	x->fetch = f;
	x->caller = o;
	x->job.run = open_run;
	x->job.on_done = open_done;
	o->opening = x;
	f->n_openings++;
	return x;
}

int fetch_open(struct fetch *f, struct fetch_open *o, const struct digest *id, const char *who, const char *why)
{
	struct cache_lease *lease;
	assert(o->on_done && !o->opening);
	if (f->is_stopping)
		return -ECANCELED;
	int r = cache_lease_new(f->settings.cache, id, who, why, &lease);
	if (r < 0)
		return r;
	struct opening *x = opening_new(f, o);
	x->id = *id;
	x->lease = lease;
	pool_put(f->pool, &x->job, POOL_SOON, NULL);
	return 0;
}

int fetch_open_now(struct fetch *f, const struct digest *id, const char *who, const char *why, struct fetch_tree **out)
{
	_cleanup_(cache_lease_freep) struct cache_lease *lease = NULL;
	struct cache_tree *ct;
	if (f->is_stopping)
		return -ECANCELED;
	int r = cache_lease_new(f->settings.cache, id, who, why, &lease);
	if (r == 0)
		r = cache_tree_open_now(f->settings.cache, id, &ct);
	if (r < 0)
		return r;
	struct fetch_tree *t = tree_new(f, stock_get(f, id, ct), NULL);
	t->lease = steal(lease);
	*out = t;
	return 0;
}

int fetch_open_draft(struct fetch *f, struct fetch_open *o, uint64_t number)
{
	struct draft *d = f->is_stopping ? NULL : draft_get(f, number);
	assert(o->on_done && !o->opening);
	if (!d)
		return f->is_stopping ? -ECANCELED : -ENOENT;
	struct opening *x = opening_new(f, o);
	x->draft = d;
	pool_put(f->pool, &x->job, POOL_NOW, NULL);
	return 0;
}

void fetch_open_stop(struct fetch_open *o)
{
	if (o->opening)
		o->opening->caller = NULL;
	o->opening = NULL;
}
