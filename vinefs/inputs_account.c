/* SPDX-License-Identifier: Apache-2.0
 * An account is a tree's, or a path's whose tree is not known. What came while nobody who will read it was known is nobody's: the account of the
 * first who joins begins at nothing, unless a FETCH has said before that a task waits. What several attempts read is the first one's that ends. */
#include "vinefs/inputs_internal.h"

#include <stdio.h>

#define ACCOUNTS_MOST 1024u /* with nobody in them */
enum { PEER, SOURCE, CLIENT, ORIGINS };

struct account {
	struct list link;
	unsigned n_users;
	bool is_due; /* a task waits for it that is not here yet */
	uint64_t size[ORIGINS];
	char key[];
};

static void account_free(struct inputs *in, struct account *a)
{
	map_remove_text(&in->accounts_by_key, a->key);
	list_remove(&a->link);
	in->n_accounts--;
	free(a);
}

static void shed(struct inputs *in)
{
	list_foreach (&in->accounts, struct account, link, a) {
		if (in->n_accounts < ACCOUNTS_MOST)
			break;
		if (!a->n_users)
			account_free(in, a);
	}
}

static struct account *find(struct inputs *in, const char *key)
{
	struct account *a = map_get_text(&in->accounts_by_key, key);
	if (!a) {
		shed(in);
		size_t n = strlen(key) + 1;
		a = xcalloc(1, sizeof *a + n);
		memcpy(a->key, key, n);
		list_init(&a->link);
		map_put_text(&in->accounts_by_key, a->key, a);
		in->n_accounts++;
	}
	list_remove(&a->link);
	list_append(&in->accounts, &a->link);
	return a;
}

static struct account *find_tree(struct inputs *in, const struct digest *tree)
{
	char text[DIGEST_TEXT_SIZE];
	return find(in, digest_text(tree, text));
}

static void begin(struct account *a)
{
	if (!a->is_due && !a->n_users)
		memset(a->size, 0, sizeof a->size);
}

void inputs_due(struct inputs *in, const struct wire_fetch *m)
{
	const char *path = source_path(m->source);
	if (!m->is_gating && m->rank != 1)
		return;
	struct account *a = m->tree.algorithm ? find_tree(in, &m->tree) : path ? find(in, path) : NULL;
	if (!a)
		return;
	begin(a);
	a->is_due = true;
}

void inputs_came(struct inputs *in, const struct digest *tree, const char *path, unsigned origin, uint64_t size)
{
	assert(origin >= 1 && origin <= ORIGINS);
	struct account *a = tree ? find_tree(in, tree) : find(in, path);
	a->size[origin - 1] += size;
}

static void join(struct account **to, struct account *a)
{
	begin(a);
	a->n_users++;
	*to = a;
}

void account_join(struct want *w)
{
	const struct digest *tree = w->used ? &w->used->id : &w->input->tree;
	const char *path = source_path(w->input->source);
	if (!w->by_tree && tree->algorithm != DIGEST_NONE)
		join(&w->by_tree, find_tree(w->owner, tree));
	if (!w->by_path && path)
		join(&w->by_path, find(w->owner, path));
}

static void leave(struct account **from)
{
	struct account *a = steal(*from);
	if (!a)
		return;
	assert(a->n_users);
	a->n_users--;
	a->is_due = false;
}

void account_leave(struct want *w)
{
	leave(&w->by_tree);
	leave(&w->by_path);
}

static uint64_t sum(const struct account *a)
{
	return a ? a->size[PEER] + a->size[SOURCE] + a->size[CLIENT] : 0;
}

uint64_t account_size(const struct want *w)
{
	return sum(w->by_tree) + sum(w->by_path);
}

static void take(struct account *a, struct run_sizes *s)
{
	if (!a)
		return;
	s->peer += a->size[PEER];
	s->source += a->size[SOURCE];
	s->client += a->size[CLIENT];
	memset(a->size, 0, sizeof a->size);
}

void account_take(struct want *w, struct run_sizes *s)
{
	/* A draft's tree may have become known meanwhile. */
	account_join(w);
	take(w->by_tree, s);
	take(w->by_path, s);
}

void accounts_free(struct inputs *in)
{
	list_foreach (&in->accounts, struct account, link, a)
		account_free(in, a);
	map_fini(&in->accounts_by_key);
}
