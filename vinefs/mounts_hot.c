/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/hotset.h"
#include "vinefs/mounts_internal.h"

/* One that is read: its mount waits for it. */
struct hot_load {
	struct hotset_load load;
	struct served *served;
};

void mounts_hot_save(struct served *s, bool is_last)
{
	const struct mounts_settings *m = &s->owner->settings;
	uint32_t *nodes;
	size_t n;
	if (s->source) /* a draft has no name to keep it under */
		return;
	if (mount_hot(s->mount, "", &nodes, &n) == 0)
		hotset_save(is_last ? NULL : m->fetch, m->hot, fetch_index(s->tree), nodes, n);
}

static void on_loaded(struct hotset_load *l, const uint32_t *nodes, size_t n)
{
	struct hot_load *h = container_of(l, struct hot_load, load);
	struct served *s = h->served;
	if (n)
		fetch_ahead(s->tree, nodes, n);
	free(h);
	mounts_unuse(s);
}

void mounts_hot_load(struct served *s)
{
	struct hot_load *h = NEW(struct hot_load);
	assert(s->tree);
	h->served = s;
	h->load.on_done = on_loaded;
	atomic_fetch_add(&s->n_users, 1);
	hotset_load(s->owner->settings.fetch, s->owner->settings.hot, fetch_index(s->tree), &h->load);
}
