/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/cache/internal.h"

#include <ctype.h>

#define NAME_MAX_SIZE 200
#define PREFIX_LEAST 8

struct cache_lease {
	struct list link;
	struct cache *cache;
	struct known *known;
	struct lease_text text;
};

/* ---- names */

static bool is_hex(const char *text)
{
	return strspn(text, "0123456789abcdefABCDEF") == strlen(text);
}

static bool is_name(const char *name)
{
	size_t n = strlen(name);
	if (!n || n > NAME_MAX_SIZE || (n >= PREFIX_LEAST && is_hex(name)))
		return false;
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("._-+/@:", *p))
			return false;
	return true;
}

/* Locked: the only tree whose id begins so. */
static int find_prefix(struct cache *c, const char *text, struct digest *id)
{
	struct known *k;
	size_t n = strlen(text);
	int r = -ENOENT;
	if (n < PREFIX_LEAST || n >= DIGEST_TEXT_SIZE || !is_hex(text))
		return -ENOENT;
	for (size_t i = 0; (k = map_next(&c->trees, &i));) {
		if (strncasecmp(k->text, text, n) != 0)
			continue;
		if (r == 0)
			return -ENOTUNIQ;
		*id = k->id;
		r = 0;
	}
	return r;
}

int cache_find(struct cache *c, const char *text, struct digest *id)
{
	cache_lock(c);
	const struct cache_name_entry *n = map_get_text(&c->names, text);
	int r;
	if (n && known_get(c, &n->id)) {
		*id = n->id;
		r = 0;
	} else {
		r = find_prefix(c, text, id);
	}
	cache_unlock(c);
	return r;
}

int cache_name(struct cache *c, const char *name, const struct digest *id)
{
	int r = 0;
	if (!is_name(name))
		return -EINVAL;
	cache_lock(c);
	if (id && !known_get(c, id)) {
		r = -ENOENT;
	} else if (id) {
		struct cache_name_entry *n = xcalloc(1, sizeof *n + strlen(name) + 1);
		memcpy(n->name, name, strlen(name) + 1);
		n->id = *id;
		free(map_put_text(&c->names, n->name, n));
	} else {
		struct cache_name_entry *n = map_remove_text(&c->names, name);
		r = n ? 0 : -ENOENT;
		free(n);
	}
	if (r == 0)
		catalog_put_name(c->catalog, name, id);
	cache_unlock(c);
	return r;
}

/* ---- pins and leases */

int cache_pin(struct cache *c, const struct digest *id, bool is_pinned)
{
	cache_lock(c);
	struct known *k = known_get(c, id);
	if (k && k->is_pinned != is_pinned) {
		k->is_pinned = is_pinned;
		c->refused_usec = 0;
		if (is_pinned)
			known_want(c, k);
		known_save(c, k);
	}
	cache_unlock(c);
	return k ? 0 : -ENOENT;
}

int cache_last(struct cache *c, const struct digest *id, bool is_last)
{
	cache_lock(c);
	struct known *k = known_get(c, id);
	if (k)
		k->is_last = is_last;
	cache_unlock(c);
	return k ? 0 : -ENOENT;
}

void cache_none_last(struct cache *c)
{
	struct known *k;
	cache_lock(c);
	for (size_t i = 0; (k = map_next(&c->trees, &i));)
		k->is_last = false;
	cache_unlock(c);
}

int cache_lease_new(struct cache *c, const struct digest *id, const char *who, const char *why,
		    struct cache_lease **out)
{
	cache_lock(c);
	struct known *k = known_get(c, id);
	if (k) {
		struct cache_lease *l = NEW(struct cache_lease);
		l->cache = c;
		l->known = k;
		l->text = (struct lease_text){.who = xstrdup(who), .why = xstrdup(why), .since_usec = cache_now_usec()};
		list_init(&l->link);
		list_append(&k->leases, &l->link);
		k->n_leases++;
		k->used_usec = cache_tick(c);
		known_want(c, k);
		*out = l;
	}
	cache_unlock(c);
	return k ? 0 : -ENOENT;
}

void cache_lease_free(struct cache_lease *l)
{
	struct cache *c = l->cache;
	struct known *k = l->known;
	cache_lock(c);
	assert(k->n_leases);
	k->n_leases--;
	c->refused_usec = 0;
	list_remove(&l->link);
	known_used(c, k);
	cache_unlock(c);
	free(l->text.who);
	free(l->text.why);
	free(l);
}

const struct lease_text *lease_next(const struct known *k, struct list **at)
{
	*at = *at ? (*at)->next : k->leases.next;
	return *at == &k->leases ? NULL : &list_entry(*at, struct cache_lease, link)->text;
}
