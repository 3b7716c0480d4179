/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/cache/internal.h"

#include <stdio.h>
#include <sys/statvfs.h>

#define MIB(n) ((double)(n) / (1u << 20))

static uint64_t resident_size(const struct blob *b)
{
	switch (atomic_load(&b->state)) {
	case BLOB_ABSENT:
		return 0;
	case BLOB_PART: {
		uint64_t size = 0;
		for (uint64_t i = 0; i < b->n_chunks; i++)
			if (blob_bit(b->present, i))
				size += blob_chunk_size(b, i);
		return size;
	}
	default:
		return b->size;
	}
}

static void show_names(struct cache *c, struct cache_tree_info *i)
{
	const struct cache_name_entry *n;
	for (size_t at = 0; (n = map_next(&c->names, &at));) {
		if (!digest_is_equal(&n->id, &i->id))
			continue;
		i->names = xrealloc(i->names, (i->n_names + 1) * sizeof(char *));
		i->names[i->n_names++] = xstrdup(n->name);
	}
}

static void show_leases(const struct known *k, struct cache_tree_info *i)
{
	struct list *at = NULL;
	i->leases = xcalloc(k->n_leases, sizeof *i->leases);
	for (const struct lease_text *l; (l = lease_next(k, &at));)
		i->leases[i->n_leases++] = (struct cache_lease_info){
			.who = xstrdup(l->who), .why = xstrdup(l->why), .since_usec = l->since_usec};
	assert(i->n_leases == k->n_leases);
}

/* Locked. */
static void show(struct cache *c, const struct known *k, struct cache_tree_info *i)
{
	*i = (struct cache_tree_info){.id = k->id,
				      .size = k->size,
				      .index_size = k->index_size,
				      .used_usec = k->used_usec,
				      .verified_usec = k->verified_usec,
				      .is_pinned = k->is_pinned,
				      .is_chunkwise = known_is_chunkwise(c, k)};
	for (uint32_t n = 0; n < k->n_blobs; n++) {
		uint64_t size = resident_size(k->blobs[n]);
		i->resident_size += size;
		i->shared_size += k->blobs[n]->n_known > 1 ? size : 0;
	}
	assert(i->shared_size <= i->resident_size && i->resident_size <= i->size);
	show_names(c, i);
	show_leases(k, i);
}

static int later_first(const void *a, const void *b)
{
	uint64_t x = ((const struct cache_tree_info *)a)->used_usec, y = ((const struct cache_tree_info *)b)->used_usec;
	return (x < y) - (x > y);
}

void cache_list(struct cache *c, struct cache_list *out)
{
	struct known *k;
	cache_lock(c);
	*out = (struct cache_list){.at = xcalloc(c->trees.n, sizeof *out->at)};
	for (size_t i = 0; (k = map_next(&c->trees, &i));)
		show(c, k, &out->at[out->n++]);
	assert(out->n == c->trees.n);
	cache_unlock(c);
	qsort(out->at, out->n, sizeof *out->at, later_first);
}

int cache_show(struct cache *c, const struct digest *id, struct cache_list *out)
{
	*out = (struct cache_list){0};
	cache_lock(c);
	struct known *k = known_get(c, id);
	if (k) {
		out->at = xcalloc(1, sizeof *out->at);
		show(c, k, &out->at[out->n++]);
	}
	cache_unlock(c);
	return k ? 0 : -ENOENT;
}

void cache_list_fini(struct cache_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		struct cache_tree_info *t = &l->at[i];
		for (unsigned n = 0; n < t->n_names; n++)
			free(t->names[n]);
		for (unsigned n = 0; n < t->n_leases; n++) {
			free(t->leases[n].who);
			free(t->leases[n].why);
		}
		free(t->names);
		free(t->leases);
	}
	free(l->at);
	*l = (struct cache_list){0};
}

/* ---- why not */

static void explain_room(struct cache *c, char text[CACHE_TEXT_SIZE])
{
	struct statvfs fs = {.f_bsize = 0};
	uint64_t firm, n_firm;
	fstatvfs(c->root, &fs);
	cache_lock(c);
	evict_firm(c, &firm, &n_firm);
	bool is_inodes = c->size < c->quota / 100 * 90 && c->n_inodes + CACHE_N_NEAR > c->inode_quota;
	if (is_inodes)
		snprintf(text, CACHE_TEXT_SIZE,
			 "the cache %s may have %llu files and has %llu, %llu of them in use; its disk has room for "
			 "%llu "
			 "more: unmount or unpin something, delete other files there, or give it more by --cache-files",
			 c->path, (unsigned long long)c->inode_quota, (unsigned long long)c->n_inodes,
			 (unsigned long long)n_firm, (unsigned long long)fs.f_favail);
	else
		snprintf(
			text, CACHE_TEXT_SIZE,
			"the cache %s may have %.1f MiB and has %.1f MiB, %.1f MiB of it in use; its disk has %.1f MiB "
			"free: unmount or unpin something, delete other files there, or give it more by --cache-size",
			c->path, MIB(c->quota), MIB(c->size), MIB(firm), MIB((uint64_t)fs.f_bavail * fs.f_frsize));
	cache_unlock(c);
}

bool cache_explain(struct cache *c, int error, char text[CACHE_TEXT_SIZE])
{
	cache_lock(c);
	bool is_sick = c->is_sick;
	if (is_sick)
		snprintf(text, CACHE_TEXT_SIZE,
			 "the cache %s is out of service: %s; nothing new is kept, what is in it can be read; look "
			 "after "
			 "its disk, which is tried again by itself",
			 c->path, c->reason);
	cache_unlock(c);
	if (!is_sick && error == -ENOSPC)
		explain_room(c, text);
	return error == -ENOSPC || (is_sick && (error == -EROFS || error == -EIO));
}
