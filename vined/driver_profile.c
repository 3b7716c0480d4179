/* SPDX-License-Identifier: Apache-2.0
 * What is read first of a tree, as the first nodes that ran tasks with it have seen it: told to the others before they fetch it, so that they fetch that first
 * and start. Nothing depends on it being right; it is in memory only, and nodes tell it again when they join. */
#include "vined/driver_internal.h"

#define SIZE_MOST 65536u                   /* of one */
#define ALL_SIZE_MOST (UINT64_C(64) << 20) /* of all; then no more are kept */

bool profile_is_known(const struct item *i)
{
	return i->tree && i->tree->profile.n;
}

void driver_hot_set(struct node *n, const struct wire_hot_set *m)
{
	struct driver *d = n->driver;
	char text[DIGEST_TEXT_SIZE];
	struct tree *t = m->tree.algorithm ? map_get_text(&d->trees_by_digest, digest_text(&m->tree, text)) : NULL;
	uint32_t size = min(m->nodes.n, SIZE_MOST) / 4 * 4;
	if (!t || !size)
		return;
	map_remove(&n->profiles, t->number);
	map_put(&n->profiles, t->number, (void *)(uintptr_t)size);
	/* What is longer knows more. */
	if (size <= t->profile.n || d->profiles_size + size > ALL_SIZE_MOST)
		return;
	profile_forget(d, t);
	buf_put(&t->profile, m->nodes.at, size);
	d->profiles_size += size;
}

void profile_tell(struct node *n, const struct item *i)
{
	const struct tree *t = i->tree;
	if (!t || !t->profile.n || !n->conn || n->minor < 4 ||
	    (uintptr_t)map_get(&n->profiles, t->number) >= t->profile.n)
		return;
	map_remove(&n->profiles, t->number);
	map_put(&n->profiles, t->number, (void *)(uintptr_t)t->profile.n);
	conn_send(n->conn, WIRE_HOT_SET,
		  &(struct wire_hot_set){.tree = t->digest, .nodes = {t->profile.at, (uint32_t)t->profile.n}});
}

void profile_forget(struct driver *d, struct tree *t)
{
	d->profiles_size -= t->profile.n;
	buf_fini(&t->profile);
}
