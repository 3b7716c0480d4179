/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/moved.h"

#include "libvineclient/vine.h"
#include "tools/json.h"
#include "tools/session.h"

static uint64_t number(const struct table *t, size_t row, const char *name)
{
	return row < t->n_rows ? strtoull(table_find(t, row, name) ?: "0", NULL, 10) : 0;
}

static const char *size_text(uint64_t size, char to[32])
{
	if (size)
		print_size(to, size);
	else
		strcpy(to, "0");
	return to;
}

const char *moved_text(const struct table *moved, char to[200])
{
	uint64_t nodes = number(moved, 0, "from_nodes"), sources = number(moved, 0, "from_sources");
	uint64_t clients = number(moved, 0, "from_clients"), needed = number(moved, 0, "needed");
	char a[32], b[32], c[32], times[64] = "";
	*to = 0;
	if (needed)
		snprintf(times, sizeof times, " (%.2f x of what was needed once)", (double)sources / (double)needed);
	if (nodes | sources | clients)
		snprintf(to, 200, "%s from nodes, %s from sources%s, %s from clients", size_text(nodes, a),
			 size_text(sources, b), times, size_text(clients, c));
	return to;
}

/* ---- of each tree */

static const char *const columns[] = {"item", "tree", "size", "nodes", "from_nodes", "from_sources", "from_clients"};

static void put_json(struct json *j, const struct table *t, size_t row)
{
	json_begin(j, NULL, '{');
	for (size_t i = 0; i < countof(columns); i++) {
		if (i < 2)
			json_text(j, columns[i], table_find(t, row, columns[i]) ?: "");
		else
			json_number(j, columns[i], (int64_t)number(t, row, columns[i]));
	}
	json_end(j, '}');
}

static void print_trees_json(const struct table *trees, const struct table *moved)
{
	static const char *const sums[] = {"from_nodes", "from_sources", "from_clients", "needed"};
	struct json j = {0};
	json_begin(&j, NULL, '{');
	json_begin(&j, "trees", '[');
	for (size_t i = 0; i < trees->n_rows; i++)
		put_json(&j, trees, i);
	json_end(&j, ']');
	json_begin(&j, "moved", '{');
	for (size_t i = 0; i < countof(sums); i++)
		json_number(&j, sums[i], (int64_t)number(moved, 0, sums[i]));
	json_end(&j, '}');
	json_end(&j, '}');
	json_print(&j);
}

static void print_trees(const struct table *trees, const struct table *moved)
{
	static const char *const heads[] = {"item", "tree", "size", "nodes", "from nodes", "from sources", "clients"};
	struct table shown = {0};
	char text[200], cells[countof(columns)][32];
	for (size_t i = 0; i < trees->n_rows; i++) {
		const char *row[countof(columns)] = {
			table_find(trees, i, "item") ?: "", cells[1], cells[2], cells[3], cells[4], cells[5], cells[6]};
		snprintf(cells[1], sizeof cells[1], "%.12s", table_find(trees, i, "tree") ?: "");
		snprintf(cells[3], sizeof cells[3], "%.20s", table_find(trees, i, "nodes") ?: "");
		for (size_t k = 2; k < countof(columns); k++)
			if (k != 3)
				size_text(number(trees, i, columns[k]), cells[k]);
		table_add(&shown, countof(heads), heads, row);
	}
	if (shown.n_rows)
		table_print(&shown, stdout);
	moved_text(moved, text);
	printf("%s%s\n", *text ? "moved: " : "nothing has been moved since the scheduler was started", text);
	table_fini(&shown);
}

int moved_trees(const struct conf_table *t, const char *find, bool is_json)
{
	struct table trees = {0}, moved = {0};
	struct vine *v;
	int status = session_look(t, NULL, &v);
	if (status)
		return status;
	int r = vine_query(v, "bytes", find, table_add, &trees);
	if (r >= 0)
		r = vine_query(v, "moved", NULL, table_add, &moved);
	if (r < 0)
		status = tool_fail(t, "%s", vine_error());
	else if (*find && !trees.n_rows && !is_json)
		status = tool_fail(t, "'%s': nothing of such a tree has been moved; 'vine tree bytes' lists what has",
				   find);
	else if (is_json)
		print_trees_json(&trees, &moved);
	else
		print_trees(&trees, &moved);
	table_fini(&trees);
	table_fini(&moved);
	vine_close(v, 1);
	return tool_end(t, status);
}
