/* SPDX-License-Identifier: Apache-2.0
 * vine fetch: what tasks left comes here. */
#include "common/map.h"
#include "common/path.h"
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/json.h"
#include "tools/selector.h"
#include "tools/session.h"

#include <inttypes.h>
#include <unistd.h>

#define CONF_STRUCT fetch_options
#define CONF_FILE "tools/fetch.def"
#include "common/conf_struct.h"
#define CONF_STRUCT fetch_options
#define CONF_FILE "tools/fetch.def"
#include "common/conf_table.h"

const struct conf_table fetch_table = {
	.program = "vine fetch",
	.summary = "bring what tasks left here",
	.usage = "ITEM|TASK|RUN [PATH]",
	.at = fetch_options_table,
	.n = countof(fetch_options_table),
};

/* Items of the cluster that are meant. */
struct wanted {
	const char *item, *run; /* "": any */
	struct map tasks;       /* by number */
	bool is_selected;       /* what these tasks, or all of the run, left */
	struct table found;     /* item, run, state, tree, path */
};

struct fetching {
	struct vine *v;
	struct json j; /* of what has come */
};

static const char *cell(size_t n, const char *const names[], const char *const cells[], const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (streq(names[i], name))
			return cells[i];
	}
	return "";
}

static int add_wanted(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	static const char *const kept[] = {"item", "run", "state", "tree", "path"};
	struct wanted *w = arg;
	const char *values[countof(kept)];
	for (size_t i = 0; i < countof(kept); i++)
		values[i] = cell(n, names, cells, kept[i]);
	uint64_t made_by = strtoull(cell(n, names, cells, "made_by"), NULL, 10);
	bool is_meant = (!*w->item || streq(values[0], w->item)) && (!*w->run || streq(values[1], w->run)) &&
			(!w->is_selected || made_by) && (!w->tasks.n || map_get(&w->tasks, made_by));
	return is_meant ? table_add(&w->found, countof(kept), kept, values) : 0;
}

static int fetch_tree(struct fetching *f, const char *item, const char *tree, const char *path)
{
	_free_ char *uri = xasprintf("tree:%s", tree);
	struct vine_file *file;
	int r = vine_file_new(f->v, uri, &file);
	if (r < 0)
		return tool_fail(&fetch_table, "%s: %s", item, vine_error());
	if (streq(path, "-"))
		r = vine_fetch(f->v, file, STDOUT_FILENO) < 0 ? -1 : 0;
	else
		r = vine_fetch_to(f->v, file, path);
	vine_file_free(file);
	if (r < 0)
		return tool_fail(&fetch_table, "%s: %s", item, vine_error());
	json_begin(&f->j, NULL, '{');
	json_text(&f->j, "item", item);
	json_text(&f->j, "tree", tree);
	json_text(&f->j, "path", path);
	json_end(&f->j, '}');
	return 0;
}

/* Where it goes: PATH, or below it, or its own name: what its task called it, if vined says so. */
static char *place_of(const char *item, const char *called, const char *path)
{
	const char *colon = strchr(item, ':');
	const char *name = path_base(*called ? called : colon ? colon + 1 : item);
	size_t n = path ? strlen(path) : 0;
	if (n && path[n - 1] != '/')
		return xstrdup(path);
	return xasprintf("%s%s", path ? path : "", name);
}

static int fetch_row(struct fetching *f, const struct table *t, size_t row, const char *path)
{
	const char *item = table_find(t, row, "item"), *tree = table_find(t, row, "tree");
	const char *state = table_find(t, row, "state");
	if (!*tree)
		return tool_fail(&fetch_table, "%s: it is not there: %s", item,
				 streq(state, "expected") ? "the task that makes it has not ended well" : state);
	_free_ char *place = place_of(item, table_find(t, row, "path"), path);
	return fetch_tree(f, item, tree, place);
}

static int fetch_found(struct fetching *f, const struct wanted *w, const char *word, const char *path)
{
	const struct table *t = &w->found;
	int status = 0;
	if (!t->n_rows)
		return tool_fail(&fetch_table, w->is_selected ? "%s leaves nothing in the cluster" : "there is no %s",
				 word);
	if (!w->is_selected && t->n_rows > 1)
		return tool_fail(&fetch_table, "%s: several runs have one (%s, %s): name it with -J RUN", word,
				 table_find(t, 0, "run"), table_find(t, 1, "run"));
	if (t->n_rows > 1 && path && path[strlen(path) - 1] != '/')
		return tool_fail(&fetch_table, "%s left %zu items: give a directory, %s/", word, t->n_rows, path);
	if (path && path[strlen(path) - 1] == '/') {
		int r = path_make_dirs(path, 0777);
		if (r < 0)
			return tool_fail(&fetch_table, "%s: %s", path, strerror(-r));
	}
	for (size_t i = 0; i < t->n_rows; i++) {
		int one = fetch_row(f, t, i, path);
		status = one ? one : status;
	}
	return status;
}

static bool is_item(const char *word)
{
	static const char *const kinds[] = {"temp:", "file:", "keep:", "node:"};
	for (size_t i = 0; i < countof(kinds); i++) {
		if (has_prefix(word, kinds[i]))
			return true;
	}
	return false;
}

static int fetch_item(struct fetching *f, struct wanted *w, const char *word, const char *path)
{
	/* What was to be kept at a path is known by that. */
	_free_ char *item = has_prefix(word, "keep:") ? xasprintf("file:%s", word + strlen("keep:")) : xstrdup(word);
	w->item = item;
	int r = vine_query(f->v, "items", item, add_wanted, w);
	return r < 0 ? tool_fail(&fetch_table, "%s", vine_error()) : fetch_found(f, w, word, path);
}

/* What the tasks left that a selector means. */
static int fetch_selected(struct fetching *f, struct wanted *w, const char *word, const char *path)
{
	static char is_there;
	struct selector s;
	struct table rows = {0};
	char why[SELECTOR_WHY];
	if (selector_parse(word, &s, why) < 0)
		return tool_fail(&fetch_table, "%s; an ITEM is named temp:NAME", why);
	int status = selector_rows(&fetch_table, f->v, &s, &rows);
	w->is_selected = true;
	if (s.kind == SELECTOR_RUN)
		w->run = s.run;
	for (size_t i = 0; i < rows.n_rows && s.kind != SELECTOR_RUN; i++)
		map_put(&w->tasks, strtoull(table_find(&rows, i, "task"), NULL, 10), &is_there);
	bool is_any = rows.n_rows != 0;
	table_fini(&rows);
	if (!status && !is_any)
		return tool_fail(&fetch_table, "%s: there is no such task", word);
	if (!status && vine_query(f->v, "items", *s.run ? s.run : NULL, add_wanted, w) < 0)
		status = tool_fail(&fetch_table, "%s", vine_error());
	return status ? status : fetch_found(f, w, word, path);
}

static int fetch_word(const struct fetch_options *o, struct fetching *f, const char *word, const char *path)
{
	struct wanted w = {.item = "", .run = o->name};
	int status;
	if (has_prefix(word, "tree:")) {
		_free_ char *short_name = xasprintf("tree:%.12s", word + strlen("tree:"));
		_free_ char *place = place_of(short_name, "", path);
		return fetch_tree(f, word, word + strlen("tree:"), place);
	}
	status = is_item(word) ? fetch_item(f, &w, word, path) : fetch_selected(f, &w, word, path);
	table_fini(&w.found);
	map_fini(&w.tasks);
	return status;
}

static int fetch(const struct fetch_options *o, const char *word, const char *path)
{
	struct fetching f = {.v = NULL};
	if (o->json && path && streq(path, "-"))
		return tool_fail(&fetch_table, "--json and - both want standard output; give one of them");
	int status = session_look(&fetch_table, NULL, &f.v);
	if (status)
		return status;
	json_begin(&f.j, NULL, '{');
	json_begin(&f.j, "fetched", '[');
	status = fetch_word(o, &f, word, path);
	json_end(&f.j, ']');
	json_end(&f.j, '}');
	if (o->json && !status)
		json_print(&f.j);
	buf_fini(&f.j.out);
	vine_close(f.v, 1);
	return status ? status : tool_end(&fetch_table, 0);
}

int cmd_fetch(int argc, char **argv)
{
	struct fetch_options o = {0};
	int status, n = tool_words(&fetch_table, &o, argc, argv, &status);
	if (n >= 0 && (n < 1 || n > 2))
		status = tool_fail(&fetch_table, "what, and to where? Try: vine fetch temp:table table.csv");
	else if (n > 0)
		status = fetch(&o, argv[1], n > 1 && *argv[2] ? argv[2] : NULL);
	conf_fini(&fetch_table, &o);
	return status;
}
