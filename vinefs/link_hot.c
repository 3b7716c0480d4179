/* SPDX-License-Identifier: Apache-2.0
 * HOT: of a tree that is pulled, what its first run read comes before the rest. */
#include "vinefs/link_internal.h"

#include "vinefs/hotset.h"

struct link_hot {
	struct link *owner; /* NULL: nobody waits any more */
	uint64_t item;
	struct fetch_open open;
	struct fetch_tree *tree;
	struct hotset_load load;
	bool is_loading;
	struct fetch_bring bring;
};

static void end(struct link_hot *h)
{
	h->owner = NULL;
	fetch_open_stop(&h->open);
	fetch_bring_stop(&h->bring);
	if (h->is_loading) /* that cannot be stopped, and reads the tree */
		return;
	if (h->tree)
		fetch_close(h->tree);
	free(h);
}

static void tell(struct link_hot *h)
{
	struct conn *c = link_conn(h->owner);
	if (c)
		conn_send(c, WIRE_HOT, &(struct wire_hot){.item = h->item});
	hot_stop(h);
}

static void on_here(struct fetch_bring *b, int error, const char *reason)
{
	struct link_hot *h = container_of(b, struct link_hot, bring);
	(void)reason;
	/* What failed is missing from the whole as well, and told of that. */
	if (error)
		hot_stop(h);
	else
		tell(h);
}

static void on_loaded(struct hotset_load *l, const uint32_t *nodes, size_t n)
{
	struct link_hot *h = container_of(l, struct link_hot, load);
	h->is_loading = false;
	if (!h->owner) {
		end(h);
	} else if (!n) {
		/* Nobody knows what is read first: it need not be waited for. */
		tell(h);
	} else {
		h->bring.on_done = on_here;
		fetch_bring_start(h->tree, &h->bring, nodes, n, true);
	}
}

static void on_opened(struct fetch_open *o, int error, struct fetch_tree *t)
{
	struct link_hot *h = container_of(o, struct link_hot, open);
	h->tree = t;
	if (error) {
		hot_stop(h);
		return;
	}
	h->is_loading = true;
	h->load.on_done = on_loaded;
	hotset_load(h->owner->parts.fetch, h->owner->hot_path, fetch_index(t), &h->load);
}

void hot_start(struct link *k, uint64_t item, const struct digest *tree)
{
	if (map_get(&k->hots, item))
		return;
	struct link_hot *h = NEW(struct link_hot);
	h->owner = k;
	h->item = item;
	h->open.on_done = on_opened;
	if (fetch_open(k->parts.fetch, &h->open, tree, "vined", "its hot set is brought here"))
		free(h);
	else
		map_put(&k->hots, item, h);
}

void hot_stop(struct link_hot *h)
{
	if (!h)
		return;
	map_remove(&h->owner->hots, h->item);
	end(h);
}

void hot_close(struct link *k)
{
	struct link_hot *h;
	for (size_t i = 0; (h = map_next(&k->hots, &i));)
		hot_stop(h);
	map_fini(&k->hots);
}
