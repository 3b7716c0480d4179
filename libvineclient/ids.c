/* SPDX-License-Identifier: Apache-2.0 */
#include "common/map.h"
#include "libvineclient/client.h"

#define IDS_PER_PAGE 4096u

/* The word that holds the id's bit. */
static uint64_t *ids_word(struct ids *s, uint64_t id)
{
	uint64_t *page = map_get(&s->pages, id / IDS_PER_PAGE);
	if (!page) {
		page = xcalloc(IDS_PER_PAGE / 64, sizeof *page);
		map_put(&s->pages, id / IDS_PER_PAGE, page);
	}
	return &page[id % IDS_PER_PAGE / 64];
}

bool ids_add(struct ids *s, uint64_t id)
{
	uint64_t *word = ids_word(s, id);
	uint64_t bit = 1ull << id % 64;
	bool is_new = !(*word & bit);
	*word |= bit;
	return is_new;
}

uint64_t ids_add_range(struct ids *s, uint64_t first, uint64_t n, const struct ids *also, uint64_t *n_also)
{
	uint64_t n_new = 0, end = first + n;
	assert(end >= first);
	*n_also = 0;
	while (first < end) {
		uint64_t stop = min(end, (first | 63) + 1), *word = ids_word(s, first);
		uint64_t bits = ~0ull >> (64 - (stop - first)) << first % 64;
		uint64_t fresh = bits & ~*word;
		const uint64_t *page = map_get(&also->pages, first / IDS_PER_PAGE);
		*word |= bits;
		n_new += (uint64_t)__builtin_popcountll(fresh);
		if (page)
			*n_also += (uint64_t)__builtin_popcountll(fresh & page[first % IDS_PER_PAGE / 64]);
		first = stop;
	}
	return n_new;
}

bool ids_has(const struct ids *s, uint64_t id)
{
	const uint64_t *page = map_get(&s->pages, id / IDS_PER_PAGE);
	return page && page[id % IDS_PER_PAGE / 64] & 1ull << id % 64;
}

void ids_fini(struct ids *s)
{
	size_t i = 0;
	for (void *page; (page = map_next(&s->pages, &i));)
		free(page);
	map_fini(&s->pages);
}
