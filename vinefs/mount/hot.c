/* SPDX-License-Identifier: Apache-2.0
 * The order in which a tree's nodes were first asked for. The kernel remembers what it was told, so a node comes here about once; the bit
 * keeps the second time cheap. */
#include "vinefs/mount/internal.h"

void hot_init(struct hot *h, uint32_t n_nodes)
{
	assert(!h->seen);
	h->seen = xcalloc(n_nodes / 64 + 1, sizeof *h->seen);
	h->n_nodes = n_nodes;
	pthread_mutex_init(&h->lock, NULL);
}

void hot_fini(struct hot *h)
{
	if (!h->seen)
		return;
	free((void *)h->seen);
	free(h->order);
	pthread_mutex_destroy(&h->lock);
	*h = (struct hot){0};
}

void hot_note(struct hot *h, uint32_t node)
{
	assert(node < h->n_nodes);
	_Atomic uint64_t *word = &h->seen[node / 64];
	uint64_t bit = 1ull << (node % 64);
	if (atomic_load_explicit(word, memory_order_relaxed) & bit)
		return;
	if (atomic_fetch_or_explicit(word, bit, memory_order_relaxed) & bit)
		return;
	pthread_mutex_lock(&h->lock);
	if (h->n == h->room) {
		h->room = h->room ? h->room * 2 : 64;
		h->order = xrealloc(h->order, h->room * sizeof *h->order);
	}
	h->order[h->n++] = node;
	pthread_mutex_unlock(&h->lock);
}

uint32_t *hot_copy(struct hot *h, size_t *n)
{
	pthread_mutex_lock(&h->lock);
	*n = h->n;
	uint32_t *copy = xmemdup(h->order, h->n * sizeof *copy);
	pthread_mutex_unlock(&h->lock);
	assert(*n <= h->n_nodes);
	return copy;
}
