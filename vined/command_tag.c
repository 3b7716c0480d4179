/* SPDX-License-Identifier: Apache-2.0
 * Tasks by their tags. */
#include "vined/command_rows.h"

struct tagged {
	struct buf *ids;
	uint32_t most;
};

static void on_task(void *arg, uint64_t id, uint64_t n)
{
	struct tagged *g = arg;
	for (uint64_t i = 0; i < n && g->ids->n / sizeof id < g->most; i++, id++)
		buf_put(g->ids, &id, sizeof id);
}

int rows_find_tag(struct rows *t, uint64_t run, const char *tag, uint32_t most, struct buf *ids)
{
	struct tagged g = {.ids = ids, .most = most};
	return store_find_tasks(driver_store(t->command->driver), run, STORE_TAG, tag, on_task, &g);
}
