/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core_internal.h"

static bool is_before(const struct core_link *a, const struct core_link *b)
{
	return a->major != b->major ? a->major < b->major : a->minor < b->minor;
}

static void set(struct core_heap *h, size_t at, struct core_link *l)
{
	h->items[at] = l;
	l->at = at + 1;
}

static void rise(struct core_heap *h, size_t at, struct core_link *l)
{
	while (at && is_before(l, h->items[(at - 1) / 2])) {
		set(h, at, h->items[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	set(h, at, l);
}

static void sink(struct core_heap *h, size_t at, struct core_link *l)
{
	for (size_t child; (child = 2 * at + 1) < h->n; at = child) {
		if (child + 1 < h->n && is_before(h->items[child + 1], h->items[child]))
			child++;
		if (!is_before(h->items[child], l))
			break;
		set(h, at, h->items[child]);
	}
	set(h, at, l);
}

static void settle(struct core_heap *h, size_t at, struct core_link *l)
{
	if (at && is_before(l, h->items[(at - 1) / 2]))
		rise(h, at, l);
	else
		sink(h, at, l);
}

void core_heap_fini(struct core_heap *h)
{
	free(h->items);
	*h = (struct core_heap){0};
}

void core_heap_put(struct core_heap *h, struct core_link *l)
{
	assert(!l->at);
	if (h->n == h->room) {
		h->room = max(h->room * 2, (size_t)8);
		h->items = xrealloc(h->items, h->room * sizeof(struct core_link *));
	}
	h->n++;
	rise(h, h->n - 1, l);
}

void core_heap_remove(struct core_heap *h, struct core_link *l)
{
	assert(l->at && l->at <= h->n && h->items[l->at - 1] == l);
	size_t at = l->at - 1;
	struct core_link *last = h->items[--h->n];
	if (last != l)
		settle(h, at, last);
	l->at = 0;
}

void core_heap_moved(struct core_heap *h, struct core_link *l)
{
	assert(l->at && l->at <= h->n && h->items[l->at - 1] == l);
	settle(h, l->at - 1, l);
}

void core_heap_check(const struct core_heap *h)
{
	for (size_t i = 0; i < h->n; i++) {
		assert(h->items[i]->at == i + 1);
		assert(!i || !is_before(h->items[i], h->items[(i - 1) / 2]));
	}
}
