/* SPDX-License-Identifier: Apache-2.0
 * Rows about what people want on nodes: of each wish and each node that it means, how much is there. The selector is the item's name. */
#include "vined/command_rows.h"

#include "vined/driver_data.h"

static bool on_row(void *arg, const struct driver_staged *r)
{
	struct rows *t = arg;
	if (!rows_begin(t))
		return false;
	rows_put(t, "%s", r->item);
	rows_put(t, "%s", r->run);
	rows_put(t, "%s", r->tree);
	rows_put(t, "%s", r->node);
	rows_put(t, "%s", r->state);
	rows_put_number(t, r->size);
	rows_put_number(t, r->total);
	rows_put(t, "%s", r->is_pinned ? "yes" : "no");
	rows_put(t, "%s", r->is_for_all ? "yes" : "no");
	rows_put(t, "%s", r->reason);
	return true;
}

int rows_list_staged(struct rows *t, const char *selector)
{
	driver_staged(t->command->driver, selector, on_row, t);
	return 0;
}
