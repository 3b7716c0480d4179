/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core_internal.h"

#define LAST (CORE_BUCKETS - 1)

static unsigned bucket_of(uint64_t cores)
{
	return (unsigned)min(cores, (uint64_t)LAST);
}

void core_index_fini(struct core_index *x)
{
	for (size_t i = 0; i < CORE_BUCKETS; i++)
		core_heap_fini(&x->buckets[i]);
}

static void take_out(struct core_index *x, struct core_room *r)
{
	unsigned i = bucket_of(r->cores);
	core_heap_remove(&x->buckets[i], &r->link);
	if (!x->buckets[i].n)
		x->filled[i / 64] &= ~(UINT64_C(1) << i % 64);
}

void core_index_set(struct core_index *x, struct core_room *r, uint64_t cores, uint64_t memory, uint64_t number)
{
	unsigned i = bucket_of(cores);
	bool stays = r->link.at && cores && bucket_of(r->cores) == i;
	if (r->link.at && !stays)
		take_out(x, r);
	r->cores = cores;
	r->memory = memory;
	r->link.major = ~memory;
	r->link.minor = number;
	if (stays) {
		core_heap_moved(&x->buckets[i], &r->link);
	} else if (cores) {
		core_heap_put(&x->buckets[i], &r->link);
		x->filled[i / 64] |= UINT64_C(1) << i % 64;
	}
}

/* The highest bucket that is not empty and at most i, or 0, which is always empty. */
static unsigned filled_from(const struct core_index *x, unsigned i)
{
	uint64_t word = x->filled[i / 64] & (~UINT64_C(0) >> (63 - i % 64));
	for (i /= 64; !word && i; word = x->filled[i])
		i--;
	return word ? i * 64 + 63 - (unsigned)__builtin_clzll(word) : 0;
}

/* Machines of a thousand cores and more are few: they share a bucket and are looked at one by one. */
static struct core_room *find_in_last(const struct core_heap *h, uint64_t cores, uint64_t memory)
{
	for (size_t i = 0; i < h->n; i++) {
		struct core_room *r = container_of(h->items[i], struct core_room, link);
		if (r->cores >= cores && r->memory >= memory)
			return r;
	}
	return NULL;
}

struct core_room *core_index_find(const struct core_index *x, uint64_t cores, uint64_t memory)
{
	assert(cores);
	for (unsigned i = filled_from(x, LAST); i >= bucket_of(cores) && i; i = filled_from(x, i - 1)) {
		struct core_room *r = container_of(core_heap_first(&x->buckets[i]), struct core_room, link);
		if (r->memory >= memory && r->cores < cores)
			r = find_in_last(&x->buckets[i], cores, memory);
		if (r && r->memory >= memory)
			return r;
	}
	return NULL;
}

void core_index_check(const struct core_index *x)
{
	assert(!x->buckets[0].n);
	for (unsigned i = 0; i < CORE_BUCKETS; i++) {
		const struct core_heap *h = &x->buckets[i];
		core_heap_check(h);
		assert(!!h->n == (x->filled[i / 64] >> i % 64 & 1));
		for (size_t k = 0; k < h->n; k++)
			assert(bucket_of(container_of(h->items[k], struct core_room, link)->cores) == i);
	}
}
