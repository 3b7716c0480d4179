/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/fetch/internal.h"

#define N_THREADS 19u
#define N_QUICK 2u
#define N_LEAST 8u
#define N_MOST 64u
#define N_PER_SOURCE 4u
#define N_STORING 3u /* chunks at once, of those that no reader waits for */
#define N_WORKS 3u
#define DEADLINE_USEC 25000000u
#define PATIENCE_USEC 20000000u
#define AHEAD_SIZE (16u << 20)
#define TURNS 1000

struct fetch *fetch_new(struct loop *l, const struct fetch_settings *s)
{
	_cleanup_(fetch_freep) struct fetch *f = NEW(struct fetch);
	f->loop = l;
	f->settings = *s;
	f->settings.n_threads = min(max(s->n_threads ? s->n_threads : N_THREADS, N_LEAST), N_MOST);
	f->settings.n_per_source = s->n_per_source ? s->n_per_source : N_PER_SOURCE;
	f->settings.deadline_usec = s->deadline_usec ? s->deadline_usec : DEADLINE_USEC;
	f->settings.patience_usec = s->patience_usec ? s->patience_usec : PATIENCE_USEC;
	f->settings.ahead_size = s->ahead_size ? s->ahead_size : AHEAD_SIZE;
	f->settings.files = s->files ? s->files : &origin_filesystem;
	f->directory = xstrdup(s->directory);
	f->settings.directory = f->directory;
	list_init(&f->sources);
	list_init(&f->sealings);
	list_init(&f->drafts);
	list_init(&f->givings);
	list_init(&f->namings);
	list_init(&f->waiting);
	list_init(&f->unkept);
	list_init(&f->looks);
	pool_lane_init(&f->seal_lane, N_SEALINGS, false);
	pool_lane_init(&f->draft_lane, N_DRAFTS, false);
	pool_lane_init(&f->save_lane, 1, true);
	pool_lane_init(&f->work_lane, N_WORKS, true);
	pool_lane_init(&f->store_lane, N_STORING, true);
	pool_lane_init(&f->look_lane, FETCH_LOOKS, false);
	/* No number of a process before means another draft now. */
	f->last_draft = loop_now_usec(l) + pool_now_usec();
	sources_load(f);
	f->pool = pool_new(l, f->settings.n_threads, N_QUICK);
	return f->pool ? steal(f) : NULL;
}

int fetch_stop(struct fetch *f, int msec)
{
	f->is_stopping = true;
	__atomic_store_n(&f->is_cancelled, true, __ATOMIC_RELAXED);
	sealing_cancel_all(f);
	read_fail_all(f);
	expect_stop(f);
	fellow_give_stop(f);
	drafts_stop(f);
	int r = pool_stop(f->pool, msec);
	/* Trees that were closed go by posts. */
	for (int i = 0; r == 0 && f->n_trees && i < TURNS; i++)
		loop_turn(f->loop, 1);
	return r;
}

void fetch_free(struct fetch *f)
{
	if (!f)
		return;
	assert(!f->n_trees && !f->n_openings && !f->stocks.n);
	assert(list_is_empty(&f->sealings) && list_is_empty(&f->waiting));
	assert(list_is_empty(&f->unkept) && !f->unkept_size && list_is_empty(&f->looks));
	timer_stop(&f->timer);
	timer_stop(&f->unkept_timer);
	timer_stop(&f->stall_timer);
	drafts_free(f);
	pool_free(f->pool);
	sources_free(f);
	map_fini(&f->stocks);
	free(f->directory);
	free(f);
}

void fetch_use_peers(struct fetch *f, struct fetch_peers *p)
{
	assert(!f->peers || !p);
	f->peers = p;
}

/* ---- work of others */

struct fetch_lane {
	struct pool_lane lane;
};

struct work {
	struct pool_job job;
	struct fetch_work *of;
};

static void work_run(struct pool_job *j)
{
	struct work *w = container_of(j, struct work, job);
	if (!j->is_dropped)
		w->of->run(w->of);
}

static void work_done(struct pool_job *j)
{
	struct work *w = container_of(j, struct work, job);
	struct fetch_work *of = w->of;
	bool is_run = !j->is_dropped;
	free(w);
	of->on_done(of, is_run);
}

void fetch_work(struct fetch *f, struct fetch_work *w)
{
	struct work *x = NEW(struct work);
	assert(w->run && w->on_done);
	x->of = w;
	x->job.run = work_run;
	x->job.on_done = work_done;
	struct pool_lane *lane = w->lane ? &w->lane->lane : w->is_short ? NULL : &f->work_lane;
	pool_put(f->pool, &x->job, POOL_SOON, lane);
}

struct fetch_lane *fetch_lane_new(unsigned most, bool is_local)
{
	struct fetch_lane *l = NEW(struct fetch_lane);
	pool_lane_init(&l->lane, most, is_local);
	return l;
}

void fetch_lane_free(struct fetch_lane *lane)
{
	free(lane);
}

void fetch_count_peer(struct fetch *f, uint64_t size)
{
	COUNT(f, peer_size, size);
}

void fetch_on_read(struct fetch *f,
		   void (*on_read)(void *arg, const char *path, const struct digest *tree, uint64_t size,
				   bool is_sealing),
		   void *arg)
{
	f->on_read = on_read;
	f->on_read_arg = arg;
}

void fetch_count_source(struct fetch *f, const char *path, const struct digest *tree, uint64_t size, bool is_sealing)
{
	COUNT(f, source_read_size, size);
	if (f->on_read && !f->is_stopping)
		f->on_read(f->on_read_arg, path, tree, size, is_sealing);
}

void fetch_get_numbers(struct fetch *f, struct fetch_numbers *out)
{
#define GET(field) .field = atomic_load_explicit(&f->counts.field, memory_order_relaxed)
	*out = (struct fetch_numbers){GET(memory_size), GET(disk_size),      GET(source_size), GET(n_now),
				      GET(n_waited),    GET(n_fills),        GET(fill_size),   GET(n_ahead),
				      GET(n_failed),    GET(n_late),         GET(n_uncached),  GET(n_sealed),
				      GET(sealed_size), GET(seal_read_size), GET(peer_size),   GET(source_read_size)};
#undef GET
}
