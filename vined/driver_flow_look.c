/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/driver_flow_parts.h"

#define STILL_USEC 3000000u /* a giver of whom nothing is heard gives nothing now */

static int by_rate(const void *a, const void *b)
{
	const struct driver_flow *x = a, *y = b;
	if (x->rate != y->rate)
		return x->rate < y->rate ? 1 : -1;
	int order = strverscmp(x->to, y->to);
	return order ? order : strverscmp(x->from, y->from);
}

static bool is_found(const struct driver_flow *f, const char *find)
{
	return !*find || strstr(f->from, find) || strstr(f->to, find) || strstr(f->item, find) ||
	       has_prefix(f->tree, find);
}

static void list_givers(struct flows *f, const struct transfer *t, const char *find, struct buf *all)
{
	uint64_t now = flow_now_usec(f);
	list_foreach (&t->givers, struct giver, link, g) {
		const struct driver_flow one = {
			.from = g->name,
			.to = t->to->name,
			.item = flow_name(f, t),
			.tree = t->of ? t->of->key : "",
			.origin = g->origin,
			.rate = g->is_over || g->last_usec + STILL_USEC <= now ? 0 : g->rate,
			.size = g->size,
			.rest = t->first_size - min(t->size, t->first_size),
			.since_usec = now - t->began_usec,
		};
		if (is_found(&one, find))
			buf_put(all, &one, sizeof one);
	}
}

void driver_list_flows(struct driver *d, const char *find, size_t most,
		       void (*on_flow)(void *arg, const struct driver_flow *f), void *arg)
{
	_cleanup_(buf_fini) struct buf all = {0};
	list_foreach (&d->flows->transfers, struct transfer, link, t)
		list_givers(d->flows, t, find, &all);
	size_t n = all.n / sizeof(struct driver_flow);
	struct driver_flow *at = (void *)all.at;
	if (n)
		qsort(at, n, sizeof *at, by_rate);
	for (size_t i = 0; i < min(n, most); i++)
		on_flow(arg, &at[i]);
}

void driver_get_moved(const struct driver *d, struct driver_moved *out)
{
	const struct flows *f = d->flows;
	memcpy(out->size, f->size, sizeof out->size);
	out->needed_size = f->forgotten_size;
	out->n_transfers = f->n_transfers;
	list_foreach (&f->trees, const struct moved_tree, link, t)
		out->needed_size += flow_needed_size(t);
}

static size_t count_whole(const struct driver *d, const char *key)
{
	const struct tree *t = map_get_text(&d->trees_by_digest, key);
	size_t n = 0;
	if (!t)
		return 0;
	list_foreach (&t->replicas, const struct replica, of_tree, r)
		n += r->size >= t->size;
	return n;
}

void driver_list_moved(struct driver *d, const char *find, size_t most,
		       void (*on_tree)(void *arg, const struct driver_moved_tree *t), void *arg)
{
	size_t n = 0;
	for (struct list *at = d->flows->trees.prev; at != &d->flows->trees && n < most; at = at->prev) {
		struct moved_tree *t = list_entry(at, struct moved_tree, link);
		const struct driver_moved_tree one = {.name = flow_tree_name(d, t),
						      .tree = t->key,
						      .size = t->size,
						      .n_nodes = count_whole(d, t->key),
						      .from = {t->from[0], t->from[1], t->from[2]}};
		if (*find && !strstr(one.name, find) && !has_prefix(one.tree, find))
			continue;
		on_tree(arg, &one);
		n++;
	}
}

/* ---- whose inputs they were */

static void add_givers(const struct flows *f, uint64_t node, const char *tree, char to[256])
{
	for (size_t i = 0; i < min(f->n_ended, (size_t)FLOW_ENDED_MOST); i++) {
		const struct ended *e = &f->ended[i];
		size_t n = strlen(to);
		if (e->node == node && streq(e->tree, tree) && !strstr(to, e->from))
			snprintf(to + n, 256 - n, "%s%s", n ? ", " : "", e->from);
	}
	list_foreach (&f->transfers, struct transfer, link, t) {
		_cleanup_(buf_fini) struct buf names = {0};
		size_t n = strlen(to);
		if (t->to->id != node || !t->of || !streq(t->of->key, tree))
			continue;
		flow_put_names(t, &names);
		if (!strstr(to, buf_text(&names)))
			snprintf(to + n, 256 - n, "%s%s", n ? ", " : "", buf_text(&names));
	}
}

void driver_givers(struct driver *d, uint64_t task, uint64_t node, char to[256])
{
	const struct store_binding *at;
	size_t n;
	*to = 0;
	if (store_read_bindings(d->o.store, task, &at, &n))
		return;
	_free_ uint64_t *ids = xcalloc(n + 1, sizeof *ids);
	for (size_t i = 0; i < n; i++)
		ids[i] = at[i].mode == 3 ? 0 : at[i].item;
	for (size_t i = 0; i < n; i++) {
		char text[DIGEST_TEXT_SIZE];
		const struct item *item = map_get(&d->items, ids[i]);
		struct store_item row = {0};
		if (!ids[i] || (!item && store_read_item(d->o.store, ids[i], &row)))
			continue;
		const struct digest *tree = !item ? &row.tree : item->tree ? &item->tree->digest : NULL;
		if (tree && tree->algorithm)
			add_givers(d->flows, node, digest_text(tree, text), to);
	}
}
