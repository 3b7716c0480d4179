/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/fetch/peer.h"

#include "common/log.h"

#define KNOWN_MOST 1024u /* trees */

static void holder_free(struct known_holder *h)
{
	free(h->name);
	free(h->address);
}

static void known_free(struct fetch_peers *f, struct known_tree *k)
{
	map_remove_text(&f->known, k->text);
	list_remove(&k->link);
	for (unsigned i = 0; i < k->n; i++)
		holder_free(&k->holders[i]);
	for (unsigned i = 0; i < k->n_givers; i++)
		free(k->givers[i]);
	free(k->given);
	free(k);
}

struct known_tree *knowns_get(struct fetch_peers *f, const struct digest *id)
{
	char text[DIGEST_TEXT_SIZE];
	struct known_tree *k = map_get_text(&f->known, digest_text(id, text));
	if (!k)
		return NULL;
	list_remove(&k->link);
	list_append(&f->known_trees, &k->link);
	return k;
}

static struct known_tree *known_new(struct fetch_peers *f, const struct digest *id)
{
	struct known_tree *k = NEW(struct known_tree);
	if (f->known.n == KNOWN_MOST)
		known_free(f, list_first(&f->known_trees, struct known_tree, link));
	k->id = *id;
	digest_text(id, k->text);
	list_init(&k->link);
	list_append(&f->known_trees, &k->link);
	map_put_text(&f->known, k->text, k);
	return k;
}

static struct known_holder *find(struct known_tree *k, const struct fetch_holder *h)
{
	for (unsigned i = 0; i < k->n; i++) {
		struct known_holder *x = &k->holders[i];
		if (h->conn ? x->conn == h->conn && x->arg == h->arg : !x->conn && streq(x->address, h->address))
			return x;
	}
	return NULL;
}

/* In front, for it is news. */
static void known_add(struct known_tree *k, const struct fetch_holder *h)
{
	struct known_holder *x = find(k, h);
	/* One that is named again may be another process by now. */
	if (x) {
		x->silent_until_usec = 0;
		x->is_old = h->conn != NULL;
		return;
	}
	if (k->n == KNOWN_HOLDERS_MOST)
		holder_free(&k->holders[--k->n]);
	memmove(k->holders + 1, k->holders, k->n * sizeof *k->holders);
	k->n++;
	k->holders[0] = (struct known_holder){.name = xstrdup(h->name),
					      .address = xstrdup(h->address ? h->address : ""),
					      .conn = h->conn,
					      .arg = h->arg,
					      .is_old = h->conn != NULL};
}

void peers_learn(struct fetch_peers *f, const struct digest *tree, const struct fetch_holder *holders, size_t n)
{
	struct known_tree *k = knowns_get(f, tree);
	for (size_t i = 0; i < n; i++) {
		if (!holders[i].conn && !(holders[i].address && *holders[i].address))
			continue;
		k = k ? k : known_new(f, tree);
		known_add(k, &holders[i]);
	}
}

void knowns_free(struct fetch_peers *f)
{
	while (!list_is_empty(&f->known_trees))
		known_free(f, list_first(&f->known_trees, struct known_tree, link));
	map_fini(&f->known);
}

static struct known_holder *find_address(struct fetch_peers *f, const struct digest *tree, const char *address)
{
	struct known_tree *k = knowns_get(f, tree);
	for (unsigned i = 0; k && *address && i < k->n; i++)
		if (streq(k->holders[i].address, address))
			return &k->holders[i];
	return NULL;
}

void peers_lied(struct fetch_peers *f, const struct digest *tree, const char *address)
{
	struct known_holder *h = find_address(f, tree, address);
	if (h)
		h->is_liar = true;
}

bool peers_is_liar(struct fetch_peers *f, const struct digest *tree, const char *address)
{
	const struct known_holder *h = find_address(f, tree, address);
	return h && h->is_liar;
}

static unsigned giver_of(struct known_tree *k, const char *name)
{
	for (unsigned i = 0; i < k->n_givers; i++)
		if (streq(k->givers[i], name))
			return i + 1;
	if (k->n_givers == KNOWN_GIVERS_MOST)
		return 0;
	k->givers[k->n_givers++] = xstrdup(name);
	return k->n_givers;
}

void peers_gave(struct fetch_peers *f, const struct digest *tree, uint64_t n_chunks, uint64_t chunk, const char *name)
{
	struct known_tree *k = knowns_get(f, tree);
	if (!k)
		return;
	if (!k->given)
		k->given = calloc((size_t)n_chunks, 1);
	k->n_given = k->given ? n_chunks : 0;
	if (chunk < k->n_given)
		k->given[chunk] = (uint8_t)giver_of(k, name);
}
