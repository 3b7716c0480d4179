/* SPDX-License-Identifier: Apache-2.0
 * CACHE_LIST and CACHE_CHANGE. */
#include "vinefs/door_internal.h"

#include "common/log.h"

#include <time.h>

enum { PIN = 1, UNPIN, EVICT, LIMIT, VERIFY, NAME, UNNAME };

/* ---- listing */

static void add_source(void *arg, const struct fetch_source_info *s)
{
	buf_put(arg, &s->path, sizeof s->path);
}

/* Texts and numbers of one tree; all of it lives until free_row. */
struct row {
	struct buf leases, since, sources; /* char *; uint64_t; const char * */
};

static void fill_row(struct fetch *f, const struct cache_tree_info *i, struct wire_cached_tree *m, struct row *row)
{
	for (unsigned k = 0; k < i->n_leases; k++) {
		char *text = xasprintf("%s: %s", i->leases[k].who, i->leases[k].why);
		buf_put(&row->leases, &text, sizeof text);
		buf_put(&row->since, &i->leases[k].since_usec, sizeof(uint64_t));
	}
	assert(!row->sources.n);
	unsigned n_sources = fetch_sources(f, &i->id, add_source, &row->sources);
	*m = (struct wire_cached_tree){
		.tree = i->id,
		.names = {.at = (const char *const *)i->names, .n = i->n_names},
		.size = i->size,
		.resident_size = i->resident_size,
		.shared_size = i->shared_size,
		.index_size = i->index_size,
		.used_usec = i->used_usec,
		.verified_usec = i->verified_usec,
		.is_pinned = i->is_pinned,
		.is_chunkwise = i->is_chunkwise,
		.leases = {.at = (const char *const *)(void *)row->leases.at, .n = i->n_leases},
		.since_usec = {.at = (const uint64_t *)(void *)row->since.at, .n = i->n_leases},
		.sources = {.at = (const char *const *)(void *)row->sources.at, .n = n_sources},
	};
}

static void free_row(struct row *row)
{
	char **leases = (char **)(void *)row->leases.at;
	for (size_t i = 0; i < row->leases.n / sizeof *leases; i++)
		free(leases[i]);
	buf_fini(&row->leases);
	buf_fini(&row->since);
	buf_fini(&row->sources);
}

static void reply_list(struct client *c, uint64_t id, const struct cache_list *list)
{
	struct cache_state s;
	_free_ struct wire_cached_tree *trees = xcalloc(list->n + 1, sizeof *trees);
	_free_ struct row *rows = xcalloc(list->n + 1, sizeof *rows);
	cache_get_state(c->door->settings.cache, &s);
	for (size_t i = 0; i < list->n; i++)
		fill_row(c->door->settings.fetch, &list->at[i], &trees[i], &rows[i]);
	const struct wire_cached m = {.trees = {.at = trees, .n = (uint32_t)list->n},
				      .size = s.size,
				      .quota = s.quota,
				      .n_inodes = s.n_inodes,
				      .inode_quota = s.inode_quota,
				      .reserved_size = s.reserved_size,
				      .n_blobs = s.n_blobs,
				      .n_partial = s.n_partial,
				      .n_doubtful = s.n_doubtful,
				      .n_damaged = s.n_damaged,
				      .is_memory = s.is_memory,
				      .is_sick = s.is_sick,
				      .reason = s.reason,
				      .sick_since_usec = s.since_usec,
				      .path = c->door->settings.cache_path};
	int r = conn_reply(c->conn, id, WIRE_CACHED, &m);
	if (r)
		conn_reply_status(c->conn, id, -r, "too many trees for one answer; ask for one by its name");
	for (size_t i = 0; i < list->n; i++)
		free_row(&rows[i]);
}

/* By what a person calls it; answers for itself if there is none. */
static bool find(struct client *c, uint64_t id, const char *text, struct digest *tree)
{
	const char *rest = "";
	int r = fetch_find(c->door->settings.fetch, text, tree, &rest);
	if (!r && *rest)
		conn_reply_status(c->conn, id, EINVAL, "%s is a part of a tree; the cache keeps whole ones", text);
	else if (r)
		conn_reply_status(c->conn, id, -r, "%s: %s", text, door_why_not_found(r));
	return !r && !*rest;
}

void door_cache_list(struct client *c, uint64_t id, const struct wire_cache_list *m)
{
	struct cache_list list = {0};
	struct digest tree;
	if (*m->tree && !find(c, id, m->tree, &tree))
		return;
	if (!*m->tree)
		cache_list(c->door->settings.cache, &list);
	else if (cache_show(c->door->settings.cache, &tree, &list))
		list.n = 0;
	reply_list(c, id, &list);
	cache_list_fini(&list);
}

/* ---- changes */

#define SHED_TRIES 30u

struct change_job {
	struct job job;
	struct fetch_work work;
	struct cache *cache;
	struct digest tree;
	char *text;
	unsigned action;
	uint64_t before, n_damaged;
	int error;
	bool is_working, is_shed;
};

static void free_change(struct change_job *x)
{
	/* The pool may still be at it. */
	assert(!x->is_working);
	job_end(&x->job);
	free(x->text);
	free(x);
}

static void on_change_stop(struct job *j)
{
	struct change_job *x = container_of(j, struct change_job, job);
	if (!x->is_working)
		free_change(x);
}

/* What was held for tasks to come is let go by the loop, in its next turns. */
static void evict(struct change_job *x)
{
	const struct timespec moment = {.tv_nsec = 10000000};
	for (unsigned i = 0; i < SHED_TRIES; i++) {
		x->error = cache_evict(x->cache, &x->tree);
		if (x->error != -EBUSY || !x->is_shed)
			return;
		nanosleep(&moment, NULL);
	}
}

static void run_change(struct fetch_work *w)
{
	struct change_job *x = container_of(w, struct change_job, work);
	assert(x->is_working);
	if (x->action == EVICT)
		evict(x);
	else if (x->action == VERIFY)
		x->error = cache_verify(x->cache, &x->tree, &x->n_damaged);
	else if (x->action == LIMIT)
		x->error = cache_maintain(x->cache);
	else /* it is done; whoever is told so relies on it, whatever dies next */
		cache_flush(x->cache);
}

static uint64_t resident_size(struct cache *c, const struct digest *tree, bool *is_pinned)
{
	struct cache_list list = {0};
	uint64_t size = 0;
	if (cache_show(c, tree, &list) == 0 && list.n) {
		size = list.at[0].resident_size;
		*is_pinned = list.at[0].is_pinned;
	}
	cache_list_fini(&list);
	return size;
}

static void on_changed(struct fetch_work *w, bool is_run)
{
	struct change_job *x = container_of(w, struct change_job, work);
	struct wire_cache_changed m = {.tree = x->tree, .n_damaged = x->n_damaged, .size = x->before};
	bool is_pinned = false;
	x->is_working = false;
	if (!is_run)
		x->error = -ECANCELED;
	if (x->action == LIMIT) {
		struct cache_state s;
		cache_get_state(x->cache, &s);
		m.size = s.size;
	}
	uint64_t now = x->action == EVICT ? resident_size(x->cache, &x->tree, &is_pinned) : 0;
	if (x->action == EVICT)
		m.size = x->before > now ? x->before - now : 0;
	/* Damage is an answer, and room that cannot be made yet is made when leases end. */
	if (x->error == -EBUSY)
		job_fail(&x->job, x->error,
			 is_pinned ? "%s is pinned; `vine cache unpin` lets it go"
				   : "%s is in use; `vine cache show` says by whom",
			 x->text);
	else if (x->error && x->action != LIMIT && x->error != -EBADMSG)
		job_fail(&x->job, x->error, "%s: %s", x->text, strerror(-x->error));
	else
		job_reply(&x->job, WIRE_CACHE_CHANGED, &m);
	free_change(x);
}

static void change_later(struct client *c, uint64_t id, const struct wire_cache_change *m, const struct digest *tree)
{
	struct change_job *x = NEW(struct change_job);
	bool is_pinned;
	x->cache = c->door->settings.cache;
	x->action = m->action;
	x->tree = *tree;
	x->text = xstrdup(m->tree);
	bool is_short = m->action == PIN || m->action == UNPIN || m->action == NAME || m->action == UNNAME;
	x->work = (struct fetch_work){.run = run_change, .on_done = on_changed, .is_short = is_short};
	x->before = m->action == EVICT ? resident_size(x->cache, tree, &is_pinned) : 0;
	if (m->action == EVICT && c->door->settings.shed)
		x->is_shed = c->door->settings.shed(c->door->settings.arg) > 0;
	x->is_working = true;
	job_start(&x->job, c, id, on_change_stop);
	fetch_work(c->door->settings.fetch, &x->work);
}

void door_cache_change(struct client *c, uint64_t id, const struct wire_cache_change *m)
{
	struct cache *cache = c->door->settings.cache;
	struct digest tree = {0};
	int r = 0;
	if (m->action < PIN || m->action > UNNAME) {
		conn_reply_status(c->conn, id, EINVAL, "there is no such change");
		return;
	}
	if (m->action != LIMIT && !find(c, id, m->tree, &tree))
		return;
	if (m->action == LIMIT) {
		struct cache_state s;
		cache_get_state(cache, &s);
		cache_limit(cache, m->size ? m->size : s.quota, m->n_inodes ? m->n_inodes : s.inode_quota);
	}
	if (m->action == PIN || m->action == UNPIN)
		r = cache_pin(cache, &tree, m->action == PIN);
	else if (m->action == NAME || m->action == UNNAME)
		r = cache_name(cache, m->action == NAME ? m->name : m->tree, m->action == NAME ? &tree : NULL);
	if (r)
		conn_reply_status(c->conn, id, -r, "%s: %s", m->action == NAME ? m->name : m->tree,
				  r == -EINVAL ? "this cannot be a tree's name" : strerror(-r));
	else
		change_later(c, id, m, &tree);
}
