/* SPDX-License-Identifier: Apache-2.0
 * HOLD: trees that vined's tasks need are leased, so that they are not evicted; what people want here is pinned; the cluster's last copies go last. What is held stays so while vined is away; it says all of it anew after each JOIN.
 *
 * Pins outlive this process, so which of them are vined's does, too: in a file, a line each. A pin that a person has set here is not vined's. */
#include "vinefs/link_internal.h"

#include "common/log.h"
#include "common/path.h"

#define PINS_SIZE_MOST (1u << 20)

struct held {
	char text[DIGEST_TEXT_SIZE]; /* the tree's id */
	struct cache_lease *lease;
	bool is_named; /* of the list that is looked through */
};

/* ---- pins */

static void save_pins(const struct link *k)
{
	_cleanup_(buf_fini) struct buf text = {0};
	_free_ char *path = path_join(k->settings->state, "pins");
	const struct held *h;
	for (size_t i = 0; (h = map_next(&k->pins, &i));)
		buf_printf(&text, "%s\n", h->text);
	int r = path_write(path, text.at, text.n, 0600, false);
	if (r)
		log_errno(-r, "write %s", path);
}

static void put_pin(struct link *k, const char *text)
{
	struct held *h = NEW(struct held);
	snprintf(h->text, sizeof h->text, "%s", text);
	h->is_named = true;
	map_put_text(&k->pins, h->text, h);
}

void hold_open(struct link *k)
{
	_free_ char *path = path_join(k->settings->state, "pins");
	size_t n;
	_free_ char *text = path_read(path, PINS_SIZE_MOST, &n);
	struct digest tree;
	char *save = NULL;
	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save))
		if (digest_parse(line, &tree) == 0 && !map_get_text(&k->pins, line))
			put_pin(k, line);
}

void hold_pin(struct link *k, const struct digest *tree)
{
	struct cache_list list = {0};
	char text[DIGEST_TEXT_SIZE];
	struct held *h = map_get_text(&k->pins, digest_text(tree, text));
	if (h)
		h->is_named = true;
	/* One that is not here is said again when it is. */
	if (cache_show(k->parts.cache, tree, &list))
		return;
	bool is_pinned = list.at[0].is_pinned;
	cache_list_fini(&list);
	if (is_pinned)
		return;
	cache_pin(k->parts.cache, tree, true);
	if (!h) {
		put_pin(k, text);
		save_pins(k);
	}
	log_info("tree %.16s is pinned: it was staged so", text);
}

static void unpin(struct link *k, const struct digest *tree)
{
	char text[DIGEST_TEXT_SIZE];
	struct held *h = map_remove_text(&k->pins, digest_text(tree, text));
	if (!h)
		return;
	free(h);
	cache_pin(k->parts.cache, tree, false);
	save_pins(k);
	log_info("tree %.16s is not pinned any more", text);
}

/* What vined did not say. */
static void unpin_others(struct link *k)
{
	struct digest tree;
	struct held *h;
	for (size_t i = 0; (h = map_next(&k->pins, &i));)
		if (!h->is_named && digest_parse(h->text, &tree) == 0)
			unpin(k, &tree);
}

/* ---- leases */

static void let_go(struct link *k, struct held *h)
{
	map_remove_text(&k->held, h->text);
	cache_lease_free(h->lease);
	free(h);
}

void hold_tree(struct link *k, const struct digest *tree)
{
	char text[DIGEST_TEXT_SIZE];
	struct held *h = map_get_text(&k->held, digest_text(tree, text));
	struct cache_lease *lease;
	if (h)
		h->is_named = true;
	/* One that is not here is told by REPLICAS not to be. */
	if (h || cache_lease_new(k->parts.cache, tree, "vined", "tasks need it", &lease))
		return;
	h = NEW(struct held);
	memcpy(h->text, text, sizeof text);
	h->lease = lease;
	h->is_named = true;
	map_put_text(&k->held, h->text, h);
}

static void change(struct link *k, const struct wire_pledge *p)
{
	char text[DIGEST_TEXT_SIZE];
	struct held *h = map_get_text(&k->held, digest_text(&p->tree, text));
	if (p->is_pinned && p->is_over)
		unpin(k, &p->tree);
	else if (p->is_pinned)
		hold_pin(k, &p->tree);
	else if (p->is_last)
		cache_last(k->parts.cache, &p->tree, !p->is_over);
	else if (!p->is_over)
		hold_tree(k, &p->tree);
	else if (h)
		let_go(k, h);
}

void hold_change(struct link *k, const struct wire_hold *m)
{
	struct held *h;
	if (!k->parts.cache)
		return;
	for (size_t i = 0; m->is_all && (h = map_next(&k->held, &i));)
		h->is_named = false;
	for (size_t i = 0; m->is_all && (h = map_next(&k->pins, &i));)
		h->is_named = false;
	if (m->is_all)
		cache_none_last(k->parts.cache);
	for (uint32_t i = 0; i < m->trees.n; i++)
		change(k, &m->trees.at[i]);
	for (size_t i = 0; m->is_all && (h = map_next(&k->held, &i));)
		if (!h->is_named)
			let_go(k, h);
	if (m->is_all)
		unpin_others(k);
	log_debug("vined needs %zu of the trees here, and wants %zu pinned", k->held.n, k->pins.n);
}

void hold_close(struct link *k)
{
	struct held *h;
	for (size_t i = 0; (h = map_next(&k->held, &i));)
		let_go(k, h);
	map_fini(&k->held);
	for (size_t i = 0; (h = map_next(&k->pins, &i));)
		free(h);
	map_fini(&k->pins);
}
