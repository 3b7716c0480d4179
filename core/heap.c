/* SPDX-License-Identifier: Apache-2.0
 * The array has the keys, too: nothing else is looked at to find a place. */
#include "core/core_internal.h"

static bool is_before(const struct core_slot *a, const struct core_slot *b)
{
	return a->major != b->major ? a->major < b->major : a->minor < b->minor;
}

static void set(struct core_heap *h, size_t at, const struct core_slot *s)
{
	h->items[at] = *s;
	s->link->at = at + 1;
}

static void rise(struct core_heap *h, size_t at, const struct core_slot *s)
{
	while (at && is_before(s, &h->items[(at - 1) / 2])) {
		set(h, at, &h->items[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	set(h, at, s);
}

static void sink(struct core_heap *h, size_t at, const struct core_slot *s)
{
	for (size_t child; (child = 2 * at + 1) < h->n; at = child) {
		if (child + 1 < h->n && is_before(&h->items[child + 1], &h->items[child]))
			child++;
		if (!is_before(&h->items[child], s))
			break;
		set(h, at, &h->items[child]);
	}
	set(h, at, s);
}

static void settle(struct core_heap *h, size_t at, struct core_slot s)
{
	if (at && is_before(&s, &h->items[(at - 1) / 2]))
		rise(h, at, &s);
	else
		sink(h, at, &s);
}

static struct core_slot slot_of(struct core_link *l)
{
	return (struct core_slot){l->major, l->minor, l};
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
		h->items = xrealloc(h->items, h->room * sizeof *h->items);
	}
	struct core_slot s = slot_of(l);
	h->n++;
	rise(h, h->n - 1, &s);
}

void core_heap_remove(struct core_heap *h, struct core_link *l)
{
	assert(l->at && l->at <= h->n && h->items[l->at - 1].link == l);
	size_t at = l->at - 1;
	struct core_slot last = h->items[--h->n];
	if (last.link != l)
		settle(h, at, last);
	l->at = 0;
}

void core_heap_moved(struct core_heap *h, struct core_link *l)
{
	assert(l->at && l->at <= h->n && h->items[l->at - 1].link == l);
	settle(h, l->at - 1, slot_of(l));
}

void core_heap_check(const struct core_heap *h)
{
	for (size_t i = 0; i < h->n; i++) {
		const struct core_slot *s = &h->items[i];
		assert(s->link->at == i + 1 && s->link->major == s->major && s->link->minor == s->minor);
		assert(!i || !is_before(s, &h->items[(i - 1) / 2]));
	}
}
