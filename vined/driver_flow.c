/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/driver_flow_parts.h"

#include <inttypes.h>
#include <stdio.h>

#define TICK_USEC 1000000u
#define SEEN_USEC 3000000u    /* one that is over is seen for so long, however fast it was */
#define SILENT_USEC 10000000u /* a transfer of which nothing is heard is over */
#define RECORD_USEC 5000000u
#define TRANSFERS_MOST 4096u
#define GIVERS_MOST 64u /* of a transfer */
#define TREES_MOST 4096u
#define FLOW_MOST (UINT64_C(1) << 50) /* more cannot have come within a second */

const char *const flow_words[FLOW_ORIGINS] = {"node", "source", "client"};

/* ---- trees */

static void forget_tree(struct flows *f, struct moved_tree *t)
{
	assert(!t->n_transfers && f->n_trees);
	f->forgotten_size += flow_needed_size(t);
	map_remove_text(&f->trees_by_key, t->key);
	list_remove(&t->link);
	f->n_trees--;
	free(t->name);
	free(t->path);
	free(t);
}

static void forget_oldest_tree(struct flows *f)
{
	list_foreach (&f->trees, struct moved_tree, link, t)
		if (!t->n_transfers) {
			forget_tree(f, t);
			return;
		}
}

/* Nodes say how large it is when they have it. */
static void note_size(struct flows *f, struct moved_tree *t)
{
	const struct tree *known = map_get_text(&f->driver->trees_by_digest, t->key);
	if (known)
		t->size = max(t->size, known->size);
}

static struct moved_tree *tree_of(struct flows *f, const struct digest *digest)
{
	char key[DIGEST_TEXT_SIZE];
	struct moved_tree *t = map_get_text(&f->trees_by_key, digest_text(digest, key));
	if (!t) {
		if (f->n_trees >= TREES_MOST)
			forget_oldest_tree(f);
		t = NEW(struct moved_tree);
		memcpy(t->key, key, sizeof key);
		list_init(&t->link);
		map_put_text(&f->trees_by_key, t->key, t);
		f->n_trees++;
	}
	list_remove(&t->link);
	list_append(&f->trees, &t->link);
	return t;
}

/* ---- transfers */

static void free_transfer(struct flows *f, struct transfer *t)
{
	map_remove_text(&f->by_key, t->key);
	list_remove(&t->link);
	f->n_transfers--;
	if (t->of) {
		note_size(f, t->of);
		t->of->n_transfers--;
	}
	list_foreach (&t->givers, struct giver, link, g) {
		list_remove(&g->link);
		free(g);
	}
	free(t->key);
	free(t->path);
	free(t);
}

static void end_transfer(struct flows *f, struct transfer *t)
{
	flow_tell_end(f, t);
	free_transfer(f, t);
}

static struct transfer *transfer_new(struct flows *f, struct node *n, const char *key)
{
	struct transfer *t = NEW(struct transfer);
	if (f->n_transfers >= TRANSFERS_MOST)
		end_transfer(f, list_first(&f->transfers, struct transfer, link));
	t->key = xstrdup(key);
	t->to = n;
	t->began_usec = t->last_usec = flow_now_usec(f);
	list_init(&t->link);
	list_init(&t->givers);
	list_append(&f->transfers, &t->link);
	map_put_text(&f->by_key, t->key, t);
	f->n_transfers++;
	return t;
}

static void set_tree(struct flows *f, struct transfer *t, const struct digest *digest)
{
	assert(!t->of);
	t->of = tree_of(f, digest);
	t->of->n_transfers++;
	for (size_t i = 0; i < FLOW_ORIGINS; i++)
		t->of->from[i] += t->from[i];
}

/* It was a path's, and is the tree's from now on. */
static void rename_transfer(struct flows *f, struct transfer *t, const char *key)
{
	map_remove_text(&f->by_key, t->key);
	free(t->key);
	t->key = xstrdup(key);
	map_put_text(&f->by_key, t->key, t);
}

static struct transfer *find_transfer(struct flows *f, struct node *n, const struct wire_flow *w)
{
	char text[DIGEST_TEXT_SIZE] = "";
	_free_ char *by_path = xasprintf("%" PRIu64 " %s", n->id, w->from);
	if (w->tree.algorithm)
		digest_text(&w->tree, text);
	_free_ char *by_tree = xasprintf("%" PRIu64 "=%s", n->id, text);
	struct transfer *t = *text ? map_get_text(&f->by_key, by_tree) : NULL;
	bool is_source = w->origin == FLOW_SOURCE + 1;
	if (!t && is_source && (t = map_get_text(&f->by_key, by_path)) && *text)
		rename_transfer(f, t, by_tree);
	if (!t)
		t = transfer_new(f, n, *text ? by_tree : by_path);
	if (!*text && !t->path)
		t->path = xstrdup(w->from);
	if (*text && !t->of)
		set_tree(f, t, &w->tree);
	return t;
}

static struct giver *find_giver(struct transfer *t, enum flow_origin origin, const char *name)
{
	list_foreach (&t->givers, struct giver, link, g)
		if (g->origin == origin && streq(g->name, name))
			return g;
	if (t->n_givers >= GIVERS_MOST)
		return list_first(&t->givers, struct giver, link);
	size_t n = strlen(name) + 1;
	struct giver *g = xcalloc(1, sizeof *g + n);
	memcpy(g->name, name, n);
	g->origin = origin;
	list_init(&g->link);
	list_append(&t->givers, &g->link);
	t->n_givers++;
	return g;
}

static bool are_all_over(const struct transfer *t)
{
	list_foreach (&t->givers, struct giver, link, g)
		if (!g->is_over)
			return false;
	return true;
}

static bool is_over(const struct transfer *t, uint64_t now)
{
	uint64_t silent_usec = now - min(t->last_usec, now);
	return silent_usec >= (are_all_over(t) ? SEEN_USEC : SILENT_USEC);
}

/* Seldom: who crashes loses some seconds of sums. */
static void record(struct flows *f)
{
	struct driver_moved m;
	char text[120];
	driver_get_moved(f->driver, &m);
	uint64_t all = m.size[FLOW_NODE] + m.size[FLOW_SOURCE] + m.size[FLOW_CLIENT] + m.needed_size;
	bool is_due = !f->n_transfers || f->recorded_usec + RECORD_USEC <= flow_now_usec(f);
	if (!is_due || all == f->recorded_size)
		return;
	f->recorded_usec = flow_now_usec(f);
	f->recorded_size = all;
	snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, m.size[FLOW_NODE],
		 m.size[FLOW_SOURCE], m.size[FLOW_CLIENT], m.needed_size);
	store_put(f->driver->o.store,
		  &(struct store_op){.kind = STORE_MOVED, .moved = store_text(f->driver->o.store, text)});
}

static void on_tick(struct timer *tick)
{
	struct flows *f = container_of(tick, struct flows, tick);
	uint64_t now = flow_now_usec(f);
	list_foreach (&f->transfers, struct transfer, link, t)
		if (is_over(t, now))
			end_transfer(f, t);
	if (!f->n_transfers)
		flow_tell_small(f);
	record(f);
	if (f->n_transfers)
		timer_start(tick, f->driver->o.loop, TICK_USEC, on_tick);
}

/* ---- what nodes say */

static void take(struct flows *f, struct node *n, const struct wire_flow *w)
{
	enum flow_origin origin = (enum flow_origin)(w->origin - 1);
	uint64_t size = min(w->size, FLOW_MOST);
	struct transfer *t = find_transfer(f, n, w);
	struct giver *g = find_giver(t, origin, w->from);
	uint64_t first_usec = min(w->usec, t->began_usec);
	uint64_t rate = (uint64_t)((double)size * 1e6 / (double)max(w->usec, UINT64_C(1000)));
	if (!t->size)
		t->began_usec -= first_usec;
	g->rate = g->rate ? (g->rate + rate) / 2 : rate;
	g->size += size;
	g->is_over = w->is_over;
	if (size)
		g->last_usec = t->last_usec = flow_now_usec(f);
	t->size += size;
	t->from[origin] += size;
	f->size[origin] += size;
	if (t->of) {
		t->of->from[origin] += size;
		note_size(f, t->of);
	}
	if (t->of && origin == FLOW_SOURCE && !t->of->path)
		t->of->path = xstrdup(w->from);
	if (!t->first_size && w->rest)
		t->first_size = min(w->rest, FLOW_MOST) + t->size;
	list_remove(&t->link);
	list_append(&f->transfers, &t->link);
}

void flows_new(struct driver *d)
{
	struct flows *f = d->flows = NEW(struct flows);
	f->driver = d;
	list_init(&f->transfers);
	list_init(&f->trees);
	sscanf(store_moved(d->o.store), "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &f->size[FLOW_NODE],
	       &f->size[FLOW_SOURCE], &f->size[FLOW_CLIENT], &f->forgotten_size);
}

void driver_flows(struct node *n, const struct wire_flows *m)
{
	struct flows *f = n->driver->flows;
	for (uint32_t i = 0; i < m->flows.n; i++) {
		const struct wire_flow *w = &m->flows.at[i];
		bool is_known = w->origin >= 1 && w->origin <= FLOW_ORIGINS;
		if (is_known && (w->tree.algorithm || *w->from))
			take(f, n, w);
	}
	/* All who give it are known by now. Those of which something came stand last. */
	for (struct list *at = f->transfers.prev; at != &f->transfers; at = at->prev) {
		struct transfer *t = list_entry(at, struct transfer, link);
		if (t->to != n)
			break;
		flow_tell_begin(f, t);
	}
	if (f->n_transfers && !f->tick.loop)
		timer_start(&f->tick, n->driver->o.loop, TICK_USEC, on_tick);
}

void flows_free(struct driver *d)
{
	struct flows *f = steal(d->flows);
	timer_stop(&f->tick);
	list_foreach (&f->transfers, struct transfer, link, t)
		free_transfer(f, t);
	list_foreach (&f->trees, struct moved_tree, link, t)
		forget_tree(f, t);
	map_fini(&f->by_key);
	map_fini(&f->trees_by_key);
	free(f);
}
