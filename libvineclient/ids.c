/* SPDX-License-Identifier: Apache-2.0 */
#include "common/map.h"
#include "libvineclient/client.h"

#define IDS_PER_PAGE 4096u

bool ids_add(struct ids *s, uint64_t id)
{
	uint64_t *page = map_get(&s->pages, id / IDS_PER_PAGE);
	if (!page) {
		page = xcalloc(IDS_PER_PAGE / 64, sizeof *page);
		map_put(&s->pages, id / IDS_PER_PAGE, page);
	}
	uint64_t *word = &page[id % IDS_PER_PAGE / 64];
	uint64_t bit = 1ull << id % 64;
	bool is_new = !(*word & bit);
	*word |= bit;
	return is_new;
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
