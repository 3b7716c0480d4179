/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/command_rows.h"

#include "vined/driver_flow.h"

static void on_flow(void *arg, const struct driver_flow *f)
{
	struct rows *t = arg;
	if (!rows_begin(t))
		return;
	rows_put(t, "%s", f->from);
	rows_put(t, "%s", f->to);
	rows_put(t, "%s", f->item);
	rows_put(t, "%s", f->tree);
	rows_put(t, "%s", flow_words[f->origin]);
	rows_put_number(t, f->rate);
	rows_put_number(t, f->size);
	rows_put_number(t, f->rest);
	rows_put(t, "%.1f", (double)f->since_usec / 1e6);
}

int rows_list_transfers(struct rows *t, const char *selector)
{
	driver_list_flows(t->command->driver, selector, t->most, on_flow, t);
	return 0;
}

static void put_origins(struct rows *t, const uint64_t from[FLOW_ORIGINS])
{
	for (size_t i = 0; i < FLOW_ORIGINS; i++)
		rows_put_number(t, from[i]);
}

static void on_tree(void *arg, const struct driver_moved_tree *m)
{
	struct rows *t = arg;
	if (!rows_begin(t))
		return;
	rows_put(t, "%s", m->name);
	rows_put(t, "%s", m->tree);
	rows_put_number(t, m->size);
	rows_put_number(t, m->n_nodes);
	put_origins(t, m->from);
}

int rows_list_bytes(struct rows *t, const char *selector)
{
	driver_list_moved(t->command->driver, selector, t->most, on_tree, t);
	return 0;
}

int rows_list_moved(struct rows *t, const char *selector _unused_)
{
	struct driver_moved m;
	driver_get_moved(t->command->driver, &m);
	rows_begin(t);
	put_origins(t, m.size);
	rows_put_number(t, m.needed_size);
	rows_put_number(t, m.n_transfers);
	return 0;
}
