/* SPDX-License-Identifier: Apache-2.0
 * Which number is which node: each tree that is added gets a run of numbers, in whole granules, and no run is ever given twice. The first
 * granule is the connection's root. What is here once stays, so a slot may be read without a lock; only its contents come and go. */
#include "vinefs/mount/internal.h"

#include <time.h>

#define GRANULE (1ull << SLOT_GRANULE_BITS)
#define GRANULES_MAX (1ull << 28)                /* a table is from a process of ours, but that may have been damaged */
#define TABLE_MAGIC 0x32746c73u                  /* "slt2" */
#define TABLE_HEAD 16u                           /* magic, rows, granules that were ever given */
#define TABLE_ROW (8u + 4 + 1 + DIGEST_SIZE + 2) /* base, nodes, algorithm, id, name's length; the name follows */

void slots_init(struct slots *s, bool is_single)
{
	*s = (struct slots){.is_single = is_single, .n_granules = 1};
	s->granules = xcalloc(1, sizeof *s->granules);
	pthread_rwlock_init(&s->lock, NULL);
	clock_gettime(CLOCK_REALTIME, &s->changed);
}

void slots_fini(struct slots *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		if (s->at[i]->contents)
			contents_put(s->at[i]->contents);
		hot_fini(&s->at[i]->hot);
		free(s->at[i]->name);
		free(s->at[i]);
	}
	free(s->at);
	free(s->granules);
	pthread_rwlock_destroy(&s->lock);
}

struct contents *contents_new(struct slot *slot, const struct mount_tree *t, const struct mount_source *source)
{
	assert(slot->n_nodes == tree_n_nodes(t->index));
	struct contents *c = NEW(struct contents);
	*c = (struct contents){.n_users = 1, .slot = slot, .tree = *t, .source = source};
	c->complained = xcalloc(tree_n_blobs(t->index) / 64 + 1, sizeof *c->complained);
	return c;
}

void contents_put(struct contents *c)
{
	unsigned before = atomic_fetch_sub(&c->n_users, 1);
	assert(before > 0);
	if (before > 1)
		return;
	if (c->source->release)
		c->source->release(c->source->arg, c->tree.arg);
	/* What was read of it nobody will ask for. */
	if (c->slot->is_gone)
		hot_fini(&c->slot->hot);
	free((void *)c->complained);
	free(c);
}

uint64_t slot_number(const struct slots *s, const struct slot *slot, uint32_t node)
{
	assert(node < slot->n_nodes);
	return s->is_single && node == 0 ? FUSE_ROOT_ID : slot->base + node;
}

static struct contents *get(struct contents *c)
{
	if (c)
		atomic_fetch_add(&c->n_users, 1);
	return c;
}

struct contents *slots_get(struct slots *s, uint64_t number, uint32_t *node)
{
	struct contents *c = NULL;
	pthread_rwlock_rdlock(&s->lock);
	if (number == FUSE_ROOT_ID && s->is_single) {
		for (uint32_t i = s->n; i-- > 0 && !c;)
			c = get(s->at[i]->contents);
		*node = 0;
	} else if (number >> SLOT_GRANULE_BITS < s->n_granules && s->granules[number >> SLOT_GRANULE_BITS]) {
		struct slot *slot = s->at[s->granules[number >> SLOT_GRANULE_BITS] - 1];
		assert(number >= slot->base);
		if (number - slot->base < slot->n_nodes) {
			c = get(slot->contents);
			*node = (uint32_t)(number - slot->base);
		}
	}
	pthread_rwlock_unlock(&s->lock);
	return c;
}

struct contents *slots_get_named(struct slots *s, const char *name, size_t n)
{
	struct contents *c = NULL;
	pthread_rwlock_rdlock(&s->lock);
	for (uint32_t i = 0; i < s->n && !c; i++) {
		struct slot *slot = s->at[i];
		if (slot->contents && strlen(slot->name) == n && memcmp(slot->name, name, n) == 0)
			c = get(slot->contents);
	}
	pthread_rwlock_unlock(&s->lock);
	return c;
}

struct slot *slots_find(struct slots *s, const char *name)
{
	for (uint32_t i = 0; i < s->n; i++) {
		if (!s->at[i]->is_gone && streq(s->at[i]->name, name))
			return s->at[i];
	}
	return NULL;
}

static struct slot *append(struct slots *s, char *name, uint64_t base, uint32_t n_nodes)
{
	assert(base == s->n_granules << SLOT_GRANULE_BITS);
	struct slot *slot = NEW(struct slot);
	*slot = (struct slot){.name = name, .base = base, .n_nodes = n_nodes, .place = s->n};
	hot_init(&slot->hot, n_nodes);
	uint64_t n = ((uint64_t)n_nodes + GRANULE - 1) >> SLOT_GRANULE_BITS;
	pthread_rwlock_wrlock(&s->lock);
	s->granules = xrealloc(s->granules, (s->n_granules + n) * sizeof *s->granules);
	for (uint64_t i = 0; i < n; i++)
		s->granules[s->n_granules + i] = s->n + 1;
	s->n_granules += n;
	s->at = xrealloc(s->at, (s->n + 1) * sizeof(struct slot *));
	s->at[s->n++] = slot;
	pthread_rwlock_unlock(&s->lock);
	return slot;
}

struct slot *slots_append(struct slots *s, const char *name, const struct mount_tree *t)
{
	assert(!slots_find(s, name));
	struct slot *slot = append(s, xstrdup(name), s->n_granules << SLOT_GRANULE_BITS, tree_n_nodes(t->index));
	if (!t->is_draft)
		slot->id = *tree_id(t->index);
	return slot;
}

void slots_set(struct slots *s, struct slot *slot, struct contents *contents)
{
	assert(!contents || !slot->is_gone);
	pthread_rwlock_wrlock(&s->lock);
	struct contents *old = slot->contents;
	slot->contents = contents;
	clock_gettime(CLOCK_REALTIME, &s->changed);
	pthread_rwlock_unlock(&s->lock);
	if (old)
		contents_put(old);
}

/* Of what is gone nothing is kept but that its numbers were given. */
void slots_save(struct slots *s, struct buf *to)
{
	uint8_t row[TABLE_ROW];
	uint32_t n_rows = 0;
	for (uint32_t i = 0; i < s->n; i++)
		n_rows += !s->at[i]->is_gone;
	put_le32(row, TABLE_MAGIC);
	put_le32(row + 4, n_rows);
	put_le64(row + 8, s->n_granules);
	buf_put(to, row, TABLE_HEAD);
	for (uint32_t i = 0; i < s->n; i++) {
		const struct slot *slot = s->at[i];
		size_t n = strlen(slot->name);
		if (slot->is_gone)
			continue;
		put_le64(row, slot->base);
		put_le32(row + 8, slot->n_nodes);
		row[12] = slot->id.algorithm;
		memcpy(row + 13, slot->id.byte, DIGEST_SIZE);
		put_le16(row + 13 + DIGEST_SIZE, (uint16_t)n);
		buf_put(to, row, sizeof row);
		buf_put(to, slot->name, n);
	}
}

/* Up to here all numbers were given, and those between mean nothing any more. */
static void skip_to(struct slots *s, uint64_t n_granules)
{
	assert(n_granules >= s->n_granules);
	pthread_rwlock_wrlock(&s->lock);
	s->granules = xrealloc(s->granules, n_granules * sizeof *s->granules);
	memset(s->granules + s->n_granules, 0, (n_granules - s->n_granules) * sizeof *s->granules);
	s->n_granules = n_granules;
	pthread_rwlock_unlock(&s->lock);
}

int slots_load(struct slots *s, const void *table, size_t n)
{
	const uint8_t *p = table, *end = p + n;
	assert(s->n == 0);
	if (n < TABLE_HEAD || get_le32(p) != TABLE_MAGIC)
		return -EBADMSG;
	uint32_t n_rows = get_le32(p + 4);
	uint64_t n_granules = get_le64(p + 8);
	if (n_granules > GRANULES_MAX)
		return -EBADMSG;
	p += TABLE_HEAD;
	for (uint32_t i = 0; i < n_rows; i++) {
		if ((size_t)(end - p) < TABLE_ROW)
			return -EBADMSG;
		size_t name = get_le16(p + 13 + DIGEST_SIZE);
		uint64_t base = get_le64(p);
		uint32_t n_nodes = get_le32(p + 8);
		if ((size_t)(end - p) - TABLE_ROW < name || base % GRANULE || !n_nodes ||
		    base >> SLOT_GRANULE_BITS < s->n_granules || base >> SLOT_GRANULE_BITS >= n_granules)
			return -EBADMSG;
		skip_to(s, base >> SLOT_GRANULE_BITS);
		struct slot *slot = append(s, xstrndup((const char *)p + TABLE_ROW, name), base, n_nodes);
		slot->id.algorithm = p[12];
		memcpy(slot->id.byte, p + 13, DIGEST_SIZE);
		p += TABLE_ROW + name;
	}
	if (p != end || n_granules < s->n_granules)
		return -EBADMSG;
	skip_to(s, n_granules);
	return 0;
}
