/* SPDX-License-Identifier: Apache-2.0
 * FETCH: here already -> told at once; a tree that others have -> pulled, and if its source is named later what none of them has is read from there; else its source is sealed. Whatever comes of it is told by FETCHED, if vined is there to hear it; else by the
 * REPLICAS that follow the next JOIN, after which vined says anew what it wants. */
#include "vinefs/link_internal.h"

#include "common/log.h"
#include "common/path.h"

#include <inttypes.h>

enum { RANK_GATING = 1, RANK_COPY = 4 }; /* as wire.def has FETCH.rank */

struct fetching {
	struct link *owner;
	uint64_t item;
	struct digest tree; /* algorithm 0: nobody knows yet */
	char *source;       /* "": from the others alone */
	bool is_pulled, is_to_be_held, is_to_be_pinned;
	struct timer token; /* until then the source may be read */
	struct timer here;  /* answers what is here, outside the call */
	struct fetch_pull pull;
	struct inputs_fetch local;
};

static void on_bad(void *arg, const struct digest *tree, const char *address, unsigned what, const char *reason)
{
	struct conn *c = link_conn(arg);
	const struct wire_peer_bad m = {.tree = *tree, .address = address, .what = (uint8_t)what, .reason = reason};
	if (c)
		conn_send(c, WIRE_PEER_BAD, &m);
}

static struct conn *vined_conn(void *arg)
{
	return link_conn(arg);
}

static void fetching_free(struct fetching *f)
{
	map_remove(&f->owner->fetchings, f->item);
	hot_stop(map_get(&f->owner->hots, f->item));
	fetch_pull_stop(&f->pull);
	inputs_fetch_stop(&f->local);
	timer_stop(&f->token);
	timer_stop(&f->here);
	free(f->source);
	free(f);
}

/* f is gone afterwards. */
static void finish(struct fetching *f, int error, bool is_final, const char *reason)
{
	struct link *k = f->owner;
	struct cache_list list = {0};
	struct wire_fetched m = {
		.item = f->item, .error = -error, .is_final = is_final, .tree = f->tree, .reason = reason};
	struct conn *c = link_conn(k);
	if (f->tree.algorithm && cache_show(k->parts.cache, &f->tree, &list) == 0)
		m.size = list.at[0].size;
	cache_list_fini(&list);
	if (!error && f->is_to_be_held)
		hold_tree(k, &f->tree);
	if (!error && f->is_to_be_pinned)
		hold_pin(k, &f->tree);
	if (f->tree.algorithm)
		flow_tell(k, &f->tree);
	if (c)
		conn_send(c, WIRE_FETCHED, &m);
	if (error)
		log_info("item %" PRIu64 " was not brought here: %s", f->item, reason);
	fetching_free(f);
	report_soon(k);
}

/* Once, before FETCHED. */
static void tell_hot(struct fetching *f)
{
	struct conn *c = link_conn(f->owner);
	if (c)
		conn_send(c, WIRE_HOT, &(struct wire_hot){.item = f->item});
}

static bool is_whole(struct link *k, const struct digest *tree)
{
	struct cache_list list = {0};
	bool is_here = tree->algorithm && cache_show(k->parts.cache, tree, &list) == 0 &&
		       list.at[0].resident_size == list.at[0].size;
	cache_list_fini(&list);
	return is_here;
}

/* ---- its source */

static void on_hot(struct inputs_fetch *x)
{
	tell_hot(container_of(x, struct fetching, local));
}

static void on_local(struct inputs_fetch *x, int error, bool is_final, const struct digest *tree, uint64_t size,
		     const char *reason)
{
	struct fetching *f = container_of(x, struct fetching, local);
	(void)size;
	if (!error)
		f->tree = *tree;
	finish(f, error, is_final, reason);
}

static void on_token_over(struct timer *t)
{
	finish(container_of(t, struct fetching, token), -ETIMEDOUT, false, "its source was not read in time");
}

/* ---- pulling */

static void on_index(struct fetch_pull *x)
{
	struct fetching *f = container_of(x, struct fetching, pull);
	hot_start(f->owner, f->item, &f->tree);
	inputs_arrived(f->owner->parts.inputs, f->item, &f->tree);
}

static void on_pulled(struct fetch_pull *x, int error, const char *reason)
{
	struct fetching *f = container_of(x, struct fetching, pull);
	finish(f, error, false, reason);
}

static bool is_gating(const struct wire_fetch *m)
{
	return m->is_gating || m->rank == RANK_GATING;
}

/* Who can be asked; the caller's array, at least one long. */
static struct fetch_holder *holders_of(struct link *k, const struct wire_fetch *m, size_t *n)
{
	struct fetch_holder *h = xcalloc((size_t)m->peers.n + 1, sizeof *h);
	*n = 0;
	for (uint32_t i = 0; i < m->peers.n; i++)
		if (*m->peers.at[i].address)
			h[(*n)++] =
				(struct fetch_holder){.name = m->peers.at[i].name, .address = m->peers.at[i].address};
	if (streq(m->source, "client:"))
		h[(*n)++] = (struct fetch_holder){.name = "vined, for a client", .conn = vined_conn, .arg = k};
	return h;
}

/* ---- both: those who had all of what is pulled are gone, and this node is to read what the others lack */

static void on_source(struct inputs_fetch *x, const char *path, enum fetch_kind kind)
{
	struct fetching *f = container_of(x, struct fetching, local);
	if (f->pull.work)
		fetch_pull_read(&f->pull, path, kind);
}

static void read_rest(struct fetching *f, const struct wire_fetch *m)
{
	struct link *k = f->owner;
	free(f->source);
	f->source = xstrdup(m->source);
	inputs_fetch_stop(&f->local);
	f->local = (struct inputs_fetch){.on_source = on_source, .on_done = on_local};
	inputs_fetch_start(k->parts.inputs, &f->local, m);
	if (m->token_usec)
		timer_start(&f->token, k->loop, m->token_usec, on_token_over);
}

/* ---- FETCH */

static void on_here(struct timer *t)
{
	finish(container_of(t, struct fetching, here), 0, false, "");
}

static void begin(struct fetching *f, const struct wire_fetch *m)
{
	struct link *k = f->owner;
	bool has_source = *m->source && !streq(m->source, "client:");
	size_t n;
	_free_ struct fetch_holder *holders = holders_of(k, m, &n);
	f->is_pulled = f->tree.algorithm && (n || !has_source);
	if (is_whole(k, &f->tree)) {
		timer_start(&f->here, k->loop, 0, on_here);
	} else if (f->is_pulled) {
		f->pull = (struct fetch_pull){.on_index = on_index, .on_done = on_pulled};
		hot_start(k, f->item, &f->tree);
		f->pull.is_copy = m->rank == RANK_COPY;
		fetch_pull_start(k->fetch_peers, &f->pull, &f->tree, holders, n, is_gating(m));
	} else {
		f->local = (struct inputs_fetch){.on_hot = on_hot, .on_done = on_local};
		inputs_fetch_start(k->parts.inputs, &f->local, m);
		if (m->token_usec)
			timer_start(&f->token, k->loop, m->token_usec, on_token_over);
	}
}

void data_fetch(struct link *k, const struct wire_fetch *m)
{
	struct fetching *f = map_get(&k->fetchings, m->item);
	if (!k->serve)
		return;
	log_debug("item %" PRIu64 " is wanted here: source '%s', %u peers (%s)", m->item, m->source, m->peers.n,
		  m->peers.n ? m->peers.at[0].address : "");
	if (f) {
		f->is_to_be_held |= m->hold;
		f->is_to_be_pinned |= m->pin;
	}
	if (f && f->is_pulled && f->pull.work && digest_is_equal(&f->tree, &m->tree) && streq(f->source, m->source)) {
		size_t n;
		_free_ struct fetch_holder *holders = holders_of(k, m, &n);
		fetch_pull_more(&f->pull, holders, n, is_gating(m));
		return;
	}
	if (f && f->is_pulled && f->pull.work && digest_is_equal(&f->tree, &m->tree) && source_path(m->source)) {
		read_rest(f, m);
		return;
	}
	/* Another way than before: what has come is not lost with it. */
	if (f)
		fetching_free(f);
	f = NEW(struct fetching);
	f->owner = k;
	f->item = m->item;
	f->tree = m->tree;
	f->is_to_be_held = m->hold;
	f->is_to_be_pinned = m->pin;
	f->source = xstrdup(m->source);
	map_put(&k->fetchings, f->item, f);
	begin(f, m);
}

void data_fellows(struct link *k, const struct wire_fellows *m)
{
	const char *path = source_path(m->source);
	struct fetch_holder *all = xcalloc((size_t)m->peers.n + 1, sizeof *all);
	size_t n = 0;
	for (uint32_t i = 0; i < m->peers.n; i++)
		if (*m->peers.at[i].address)
			all[n++] =
				(struct fetch_holder){.name = m->peers.at[i].name, .address = m->peers.at[i].address};
	if (k->fetch_peers && path && k->settings->share_unsealed)
		fetch_fellows(k->fetch_peers, path, all, n);
	free(all);
}

void data_stop(struct link *k, uint64_t item)
{
	struct fetching *f = map_get(&k->fetchings, item);
	if (f)
		fetching_free(f);
}

bool data_is_coming(void *link, const struct digest *tree)
{
	struct link *k = link;
	struct fetching *f;
	for (size_t i = 0; (f = map_next(&k->fetchings, &i));)
		if (f->is_pulled && digest_is_equal(&f->tree, tree))
			return true;
	return false;
}

/* ---- life */

int data_open(struct link *k)
{
	if (!k->parts.fetch)
		return 0;
	if (peers_check(k->settings->listen)) {
		log_error("--listen=%s: not HOST:PORT, nor none", k->settings->listen);
		return -EINVAL;
	}
	k->hot_path = path_join(k->settings->state, "hot");
	k->serve = serve_new(k->loop, k->parts.fetch, k->parts.cache, k->settings->name);
	const struct peers_settings p = {.loop = k->loop,
					 .serve = k->serve,
					 .tls = k->tls_peers,
					 .hello = &k->hello,
					 .cluster = k->cluster,
					 .is_plain = k->settings->data == DATA_PLAIN,
					 .listen = k->settings->listen,
					 .vined = k->settings->vined,
					 .state = k->settings->state};
	k->peers = peers_new(&p);
	const struct fetch_peers_settings f = {.loop = k->loop,
					       .fetch = k->parts.fetch,
					       .cache = k->parts.cache,
					       .tls = k->tls_peers,
					       .hello = &k->hello,
					       .cluster = k->cluster,
					       .address = peers_address(k->peers),
					       .arg = k,
					       .on_bad = on_bad,
					       .on_part = flow_on_part,
					       .on_flow = flow_on_peer};
	k->fetch_peers = fetch_peers_new(&f);
	serve_use_peers(k->serve, k->fetch_peers);
	return 0;
}

void data_close(struct link *k)
{
	struct fetching *f;
	for (size_t i = 0; (f = map_next(&k->fetchings, &i));)
		fetching_free(f);
	map_fini(&k->fetchings);
	hot_close(k);
	hold_close(k);
	free(k->hot_path);
	if (k->serve)
		serve_use_peers(k->serve, NULL);
	fetch_peers_free(k->fetch_peers);
	peers_free(k->peers);
	serve_free(k->serve);
}
