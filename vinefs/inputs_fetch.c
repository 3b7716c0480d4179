/* SPDX-License-Identifier: Apache-2.0
 * by its tree: opened -> its hot set, then all of it -> done. By its source: looked at, sealed -> done. What gates a start is attached then, so that the task meets it warm. */
#include "vinefs/inputs_internal.h"

#include <inttypes.h>
#include <stdio.h>

struct inputs_fetching {
	struct list link;
	struct inputs *owner;
	struct inputs_fetch *of; /* NULL: nobody waits any more, but a thread is at it */
	uint64_t item;
	struct digest tree;
	char *source, *signature;
	bool is_gating, is_hot;
	struct fetch_open open;
	struct fetch_tree *handle;
	struct hotset_load hot;
	bool is_loading;
	struct fetch_bring bring;
	struct fetch_look look;
	struct fetch_seal seal;
	struct timer patience; /* also: what is known within the call is told later */
	int error;
	char reason[600];
};

static void free_fetching(struct inputs_fetching *g)
{
	list_remove(&g->link);
	timer_stop(&g->patience);
	fetch_open_stop(&g->open);
	fetch_bring_stop(&g->bring);
	fetch_look_stop(&g->look);
	fetch_seal_stop(&g->seal);
	g->of = NULL;
	if (g->is_loading) /* on_hotset comes */
		return;
	if (g->handle)
		fetch_close(g->handle);
	free(g->source);
	free(g->signature);
	free(g);
}

/* ---- the end of it */

static void end(struct inputs_fetching *g, int error, bool is_final, uint64_t size, const char *reason)
{
	struct inputs_fetch *of = g->of;
	struct inputs *in = g->owner;
	const struct digest tree = g->tree;
	bool is_hot = g->is_hot;
	struct used *u;
	_free_ char *text = xstrdup(reason);
	/* Leased by that before our own lease goes. */
	if (!error && g->is_gating && in->node && in->tier >= 0 && used_get(in, &tree, &u) == 0)
		used_leave(u);
	free_fetching(g);
	of->work = NULL;
	if (!error && !is_hot && of->on_hot)
		of->on_hot(of);
	of->on_done(of, error, is_final, &tree, size, text);
}

static void on_end(struct timer *t)
{
	struct inputs_fetching *g = container_of(t, struct inputs_fetching, patience);
	end(g, g->error, source_is_at_fault(g->error) && g->error != -ENOENT, 0, g->reason);
}

static void end_later(struct inputs_fetching *g, int error, const char *reason)
{
	g->error = error;
	snprintf(g->reason, sizeof g->reason, "%s", reason);
	timer_start(&g->patience, g->owner->settings.loop, 0, on_end);
}

/* ---- by its tree */

static void on_all(struct fetch_bring *b, int error, const char *reason)
{
	struct inputs_fetching *g = container_of(b, struct inputs_fetching, bring);
	uint64_t size = tree_size(fetch_index(g->handle));
	char text[CACHE_TEXT_SIZE];
	bool is_full = error == -ENOSPC && cache_explain(g->owner->settings.cache, error, text);
	end(g, error, false, size, is_full ? text : reason);
}

static void on_hot(struct fetch_bring *b, int error, const char *reason _unused_)
{
	static const uint32_t all = 0;
	struct inputs_fetching *g = container_of(b, struct inputs_fetching, bring);
	/* What fails here fails again, and is told then. */
	g->bring.on_done = on_all;
	fetch_bring_start(g->handle, &g->bring, &all, 1, g->is_gating);
	g->is_hot = !error;
	/* Last, for whoever hears of it may stop all this. */
	if (!error && g->of->on_hot)
		g->of->on_hot(g->of);
}

static void on_hotset(struct hotset_load *h, const uint32_t *nodes, size_t n)
{
	static const uint32_t all = 0;
	struct inputs_fetching *g = container_of(h, struct inputs_fetching, hot);
	g->is_loading = false;
	if (!g->of) {
		free_fetching(g);
		return;
	}
	g->bring.on_done = n ? on_hot : on_all;
	fetch_bring_start(g->handle, &g->bring, n ? nodes : &all, n ? n : 1, g->is_gating);
	/* Nobody knows what is read first: it need not be waited for. */
	g->is_hot = !n;
	if (!n && g->of->on_hot)
		g->of->on_hot(g->of);
}

/* More than is kept of it cannot be here at once. */
static bool is_too_large(const struct inputs_fetching *g, char text[600])
{
	struct cache_state state;
	if (!cache_tree_is_chunkwise(fetch_cache_tree(g->handle)))
		return false;
	cache_get_state(g->owner->settings.cache, &state);
	snprintf(text, 600,
		 "the tree has %" PRIu64 " bytes, which is more than a quarter of this node's cache (%" PRIu64
		 "): it is kept in parts, and read as it is needed; let its tasks start without all of it, or raise "
		 "cache_size",
		 tree_size(fetch_index(g->handle)), state.quota);
	return true;
}

static void on_opened(struct fetch_open *o, int error, struct fetch_tree *t)
{
	struct inputs_fetching *g = container_of(o, struct inputs_fetching, open);
	char text[600];
	g->handle = t;
	if (error) {
		end(g, error, false, 0, strerror(-error));
	} else if (is_too_large(g, text)) {
		end(g, -ENOSPC, false, tree_size(fetch_index(t)), text);
	} else {
		g->is_loading = true;
		g->hot.on_done = on_hotset;
		hotset_load(g->owner->settings.fetch, g->owner->settings.hot, fetch_index(t), &g->hot);
	}
}

static int open_tree(struct inputs_fetching *g)
{
	_free_ char *why = xasprintf("item %" PRIu64 " is fetched", g->item);
	g->open.on_done = on_opened;
	return fetch_open(g->owner->settings.fetch, &g->open, &g->tree, "vined", why);
}

/* ---- by its source */

static void on_sealed(struct fetch_seal *f, int error, const struct digest *id, const struct seal_report *errors,
		      const struct seal_report *notes _unused_)
{
	struct inputs_fetching *g = container_of(f, struct inputs_fetching, seal);
	char text[600];
	if (error) {
		end(g, error, source_is_at_fault(error), 0, errors->n ? errors->lines[0] : strerror(-error));
		return;
	}
	if (g->tree.algorithm != DIGEST_NONE && !digest_is_equal(&g->tree, id)) {
		snprintf(text, sizeof text, "%.400s has changed: it is another tree now", source_path(g->source));
		end(g, -ESTALE, true, 0, text);
		return;
	}
	g->tree = *id;
	/* Some of it may have found no room. */
	int r = open_tree(g);
	if (r)
		end(g, r, false, 0, strerror(-r));
}

static void on_impatience(struct timer *t)
{
	struct inputs_fetching *g = container_of(t, struct inputs_fetching, patience);
	double seconds = (double)g->owner->settings.patience_usec / 1e6;
	char text[600];
	snprintf(text, sizeof text, "%.400s: it does not answer on this node since %.0f s", g->source, seconds);
	if (g->look.looking || fetch_seal_is_stalled(&g->seal))
		end(g, -ETIMEDOUT, false, 0, text);
	else if (g->seal.sealing)
		timer_start(t, g->owner->settings.loop, g->owner->settings.patience_usec, on_impatience);
}

static void tell_source(struct inputs_fetching *g, enum fetch_kind kind)
{
	struct inputs_fetch *of = g->of;
	_free_ char *path = xstrdup(source_path(g->source));
	free_fetching(g);
	of->work = NULL;
	of->on_source(of, path, kind);
}

static void on_looked(struct fetch_look *l, int error, const struct stat *st)
{
	struct inputs_fetching *g = container_of(l, struct inputs_fetching, look);
	const char *path = source_path(g->source);
	char text[600];
	if (error) {
		snprintf(text, sizeof text, "%.400s: %s", path, strerror(-error));
		end(g, error, source_is_at_fault(error), 0, text);
	} else if (!source_is_for_tasks(g->owner, path, l->real, text)) {
		end(g, -EPERM, true, 0, text);
	} else if (!source_is_as_seen(path, g->signature, st, text)) {
		end(g, -ESTALE, true, 0, text);
	} else if (g->of->on_source) {
		tell_source(g, source_kind(st));
	} else {
		g->seal = (struct fetch_seal){.kind = source_kind(st), .on_done = on_sealed};
		int r = fetch_seal_start(g->owner->settings.fetch, &g->seal, path, NULL);
		if (r)
			end(g, r, false, 0, strerror(-r));
	}
}

/* ---- for others */

void inputs_fetch_start(struct inputs *in, struct inputs_fetch *f, const struct wire_fetch *m)
{
	struct inputs_fetching *g = NEW(struct inputs_fetching);
	const char *path = source_path(m->source);
	assert(f->on_done && !f->work);
	g->owner = in;
	g->of = f;
	g->item = m->item;
	g->tree = m->tree;
	g->source = xstrdup(m->source);
	g->signature = xstrdup(m->signature);
	g->is_gating = m->is_gating;
	list_init(&g->link);
	list_append(&in->fetchings, &g->link);
	f->work = g;
	int r = g->tree.algorithm != DIGEST_NONE && !f->on_source ? open_tree(g) : -ENOENT;
	if (r == -ENOENT && path) {
		timer_start(&g->patience, in->settings.loop, in->settings.patience_usec, on_impatience);
		g->look.on_done = on_looked;
		fetch_look_start(in->settings.fetch, &g->look, path);
	} else if (r == -ENOENT) {
		end_later(g, r, "its index is not here, and it has no path that this node could read");
	} else if (r) {
		end_later(g, r, strerror(-r));
	}
}

void inputs_fetch_stop(struct inputs_fetch *f)
{
	struct inputs_fetching *g = steal(f->work);
	if (g)
		free_fetching(g);
}

bool fetchings_has(const struct inputs *in, uint64_t item, const struct digest *tree)
{
	list_foreach (&in->fetchings, struct inputs_fetching, link, g)
		if (g->item == item || (tree->algorithm != DIGEST_NONE && digest_is_equal(&g->tree, tree)))
			return true;
	return false;
}

void fetchings_free(struct inputs *in)
{
	list_foreach (&in->fetchings, struct inputs_fetching, link, g) {
		g->of->work = NULL;
		free_fetching(g);
	}
}
