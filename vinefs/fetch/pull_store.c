/* SPDX-License-Identifier: Apache-2.0
 * A chunk has come -> it is unpacked, verified and stored in the pool -> whoever waits for it is told. */
#include "vinefs/fetch/codec.h"
#include "vinefs/fetch/internal.h"
#include "vinefs/fetch/pull.h"

struct storing {
	struct pool_job job;
	struct pull *pull;
	struct cache_tree *tree;
	struct holder *holder;
	uint64_t chunk;
	uint8_t *bytes;
	size_t n, size; /* as they came; of the chunk */
	uint8_t codec;
	int error;
};

size_t pull_size_of(const struct tree *t, uint64_t chunk)
{
	const struct tree_blob *b = tree_blob(t, tree_blob_of(t, chunk));
	return (size_t)min((uint64_t)b->chunk_size, b->size - (chunk - b->first_chunk) * b->chunk_size);
}

static void run_store(struct pool_job *j)
{
	struct storing *s = container_of(j, struct storing, job);
	s->error = j->is_dropped ? -ECANCELED : 0;
	if (!s->error && s->codec)
		s->error = codec_unpack(&s->bytes, s->n, s->size);
	if (!s->error)
		s->error = cache_tree_write(s->tree, s->chunk, s->bytes, s->size);
}

static void on_lie(struct pull *p, struct holder *h, uint64_t chunk)
{
	static const char what[] = "it gave bytes that are not the tree's";
	p->owner->n_wrong++;
	swarm_wrong(p->swarm, chunk);
	swarm_lacks(p->swarm, chunk);
	p->next = min(p->next, chunk);
	pull_set_standing(h, HOLDER_BAD, FAULT_LIED, what);
	peers_lied(p->owner, &p->id, h->address);
	if (h->watching != WATCH_NONE)
		watch_failed(h, HOLDER_BAD, FAULT_LIED, what);
	else if (h->is_old && p->holders[p->at] == h)
		old_failed(p, HOLDER_BAD, what);
	else
		pull_go_on(p);
}

static void tell_flow(struct pull *p, const struct holder *h, size_t n)
{
	const struct fetch_peers_settings *s = &p->owner->settings;
	if (s->on_flow)
		s->on_flow(s->arg, &p->id, h->name, h->conn ? 3 : 1, n, p->rest);
}

static void on_stored(struct pool_job *j)
{
	struct storing *s = container_of(j, struct storing, job);
	struct pull *p = s->pull;
	struct holder *h = s->holder;
	int error = s->error;
	size_t n = s->size;
	uint64_t chunk = s->chunk;
	if (!error)
		stock_came(p->tree->stock, chunk);
	map_remove(&p->stored, chunk);
	p->storing_size -= n;
	free(s->bytes);
	free(s);
	if (!p->caller) {
		pull_free_if_idle(p);
	} else if (error == -EBADMSG) {
		on_lie(p, h, chunk);
	} else if (error) {
		pull_fail_here(p, error);
	} else {
		pull_progressed(p);
		h->given += n;
		fetch_count_peer(p->owner->settings.fetch, n);
		peers_gave(p->owner, &p->id, tree_n_chunks(fetch_index(p->tree)), chunk, h->name);
		pull_has(p, chunk);
		tell_flow(p, h, n);
		if (p->storing_size < STORING_MOST / 2)
			old_give_more(p);
		pull_go_on(p);
	}
}

void store_chunk(struct pull *p, struct holder *h, uint64_t chunk, uint8_t *bytes, size_t n, uint8_t codec)
{
	struct storing *s = NEW(struct storing);
	struct fetch_peers *f = p->owner;
	s->pull = p;
	s->tree = fetch_cache_tree(p->tree);
	s->holder = h;
	s->chunk = chunk;
	s->bytes = bytes;
	s->n = n;
	s->codec = codec;
	s->size = pull_size_of(fetch_index(p->tree), chunk);
	s->job.run = run_store;
	s->job.on_done = on_stored;
	struct storing *before = map_put(&p->stored, chunk, s);
	assert(!before);
	p->storing_size += s->size;
	bool is_urgent = f->n_readers > 0;
	struct fetch *fetch = f->settings.fetch;
	pool_put(fetch->pool, &s->job, is_urgent ? POOL_NOW : POOL_SOON, is_urgent ? NULL : &fetch->store_lane);
}
