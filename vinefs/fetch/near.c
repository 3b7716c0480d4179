/* SPDX-License-Identifier: Apache-2.0
 * Who reads a file of a directory soon reads others beside it that are named like it: modules, libraries, pictures. From a source that takes a millisecond for each
 * step, they are asked for many at once before they are wanted, the newest place first, and never so much that who waits for his own bytes waits for these. */
#include "vinefs/fetch/draft.h"

#define READING_MOST 20u          /* the lane's other threads are for who waits */
#define READING_SIZE (768u << 10) /* some milliseconds of a source of 50 MB/s */
#define FILE_SIZE (512u << 10)    /* of a larger one little may be wanted */

static const char *ending_of(const struct tree *t, uint32_t node)
{
	const char *dot = strrchr(tree_name(t, node), '.');
	return dot ? dot : "";
}

static bool is_alike(const struct draft *d, uint32_t a, uint32_t b)
{
	return streq(ending_of(d->index, a), ending_of(d->index, b));
}

static uint64_t hash_place(uint32_t directory, const char *ending)
{
	uint32_t h = 2166136261u;
	for (; *ending; ending++)
		h = (h ^ (uint8_t)*ending) * 16777619u;
	return (uint64_t)directory << 32 | (h | 1);
}

void near_touch(struct draft *d, uint32_t node)
{
	struct near *x = &d->near;
	uint32_t directory = tree_node(d->index, node)->parent;
	assert(x->n <= NEAR_DIRECTORIES);
	if (node == 0 || map_put(&x->seen, hash_place(directory, ending_of(d->index, node)), d))
		return;
	/* The oldest has waited in vain. */
	if (x->n == NEAR_DIRECTORIES)
		memmove(x->places, x->places + 1, --x->n * sizeof *x->places);
	x->places[x->n++] = (struct near_place){.directory = directory, .file = node};
}

bool near_is_full(const struct draft *d)
{
	const struct near *x = &d->near;
	return x->n_reading >= READING_MOST || x->reading_size >= READING_SIZE;
}

/* A step of a place; false: it is done. */
static bool step(struct draft *d, struct near_place *p)
{
	const struct tree_node *directory = tree_node(d->index, p->directory);
	assert(p->file >= directory->first && p->file - directory->first < directory->n);
	if (++p->done >= directory->n)
		return false;
	uint32_t node = directory->first + (p->file - directory->first + p->done) % directory->n;
	uint64_t size = d->signatures[node].size;
	if (tree_node(d->index, node)->type != TREE_FILE || !size || size > FILE_SIZE || !is_alike(d, node, p->file))
		return true;
	span_ahead(d, node, 0, span_count(size));
	return true;
}

void near_go_on(struct draft *d)
{
	struct near *x = &d->near;
	if (d->is_over || d->fetch->is_stopping)
		x->n = 0;
	while (x->n && !near_is_full(d)) {
		if (!step(d, &x->places[x->n - 1]))
			x->n--;
	}
}
