/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/why_path.h"

#include "common/path.h"
#include "common/wire.h"
#include "libvineclient/vine.h"
#include "tools/json.h"
#include "tools/node.h"
#include "tools/why_cluster.h"

#include <limits.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define ITEMS_SHOWN 5u

static const char *cell(const struct table *t, size_t row, const char *name)
{
	return table_find(t, row, name) ?: "";
}

/* ---- what the node says */

/* The mount that we see a path in, by its st_dev: of one directory each namespace may have another. A file of it may be the cache's own, bound over it. */
static uint64_t device_of(const char *path)
{
	size_t n = (size_t)(path_base(path) - path);
	_free_ char *parent = n ? xstrndup(path, n) : xstrdup(".");
	struct statfs fs;
	struct stat st;
	bool is_fuse = statfs(path, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC;
	return stat(is_fuse ? path : parent, &st) == 0 ? st.st_dev : 0;
}

/* As people write a tree, and as the node knows it. */
static const char *plain(const char *what)
{
	return has_prefix(what, "tree:") ? what + 5 : what;
}

/* NULL: it knows nothing of it, or there is none; `error` says so. */
static struct wire_why *ask_node(const char *what, char error[1200])
{
	_cleanup_(node_freep) struct node *n = NULL;
	void *reply = NULL;
	struct wire_ask_why ask = {.what = plain(what), .device = device_of(what)};
	const struct node_ask a = {.type = WIRE_ASK_WHY, .message = &ask, .answer = WIRE_WHY};
	if (node_open(&n, false) || node_ask_word(n, &a, &ask.what, &reply))
		snprintf(error, 1200, "%s", node_error(n));
	return reply;
}

/* ---- what the cluster says */

/* Absolute, as tasks declare it; NULL: it is no path. Yours. */
static char *absolute(const char *what)
{
	char here[PATH_MAX];
	if (*what == '/')
		return xstrdup(what);
	if (has_prefix(what, "tree:") || !getcwd(here, sizeof here))
		return NULL;
	return path_join(here, has_prefix(what, "./") ? what + 2 : what);
}

static void ask_cluster(const char *path, struct table *items)
{
	struct vine *v;
	if (!path || !why_has_cluster() || vine_open(&v, NULL, NULL) < 0)
		return;
	/* An older vined does not know. */
	vine_query(v, "path", path, table_add, items);
	vine_close(v, 1);
}

/* What the cluster knows to be a tree, at this path or above, the node may have from others, who know it by its id alone. Yours; NULL: nothing. */
static char *tree_at(const char *path)
{
	struct table trees = {0};
	struct vine *v;
	char *found = NULL;
	if (!path || !why_has_cluster() || vine_open(&v, NULL, NULL) < 0)
		return NULL;
	vine_query(v, "bytes", NULL, table_add, &trees);
	vine_close(v, 1);
	for (size_t i = 0; i < trees.n_rows && !found; i++) {
		const char *item = cell(&trees, i, "item"), *colon = strchr(item, ':');
		size_t n = colon ? strlen(colon + 1) : 0;
		bool is_path = has_prefix(item, "file:/") || has_prefix(item, "node:/");
		if (is_path && strncmp(path, colon + 1, n) == 0 && (!path[n] || path[n] == '/'))
			found = xasprintf("%s%s", cell(&trees, i, "tree"), path + n);
	}
	table_fini(&trees);
	return found;
}

static void print_item(const struct table *t, size_t row)
{
	const char *state = cell(t, row, "state"), *maker = cell(t, row, "made_by"), *n = cell(t, row, "nodes");
	const char *tasks = cell(t, row, "tasks");
	printf("%s: declared%s%s", cell(t, row, "item"), *cell(t, row, "run") ? " in run " : "", cell(t, row, "run"));
	if (!streq(tasks, "0"))
		printf(" by %s task%s that %s not over", tasks, streq(tasks, "1") ? "" : "s",
		       streq(tasks, "1") ? "is" : "are");
	if (!streq(maker, "0"))
		printf(", made by task %s", maker);
	if (streq(n, "0"))
		printf("; %s, and no node that is there has a copy of it", state);
	else
		printf("; %s, and node%s %s%s %s all of it", state, streq(n, "1") ? "" : "s", cell(t, row, "holders"),
		       strtoul(n, NULL, 10) > 3 ? " and others" : "", streq(n, "1") ? "has" : "have");
	printf("\n");
	if (!streq(maker, "0") && !streq(state, "there"))
		printf("  next: vine why %s\n", maker);
}

/* ---- what is here */

/* Of a path that is not there, the last directory that is. */
static void print_missing(const char *path)
{
	struct stat st;
	_free_ char *at = xstrdup(path);
	char *slash;
	while ((slash = strrchr(at, '/')) && slash != at) {
		*slash = 0;
		if (lstat(at, &st) == 0)
			break;
	}
	printf("%s is not there on this machine (%s is); no task of the cluster that is not over declares it, and no "
	       "node "
	       "has it\n  next: check the name; if nodes see it, -i node:%s names theirs\n",
	       path, slash && slash != at ? at : "/", path);
}

static void print_here(const char *path)
{
	struct stat st;
	if (access(path, R_OK) == 0)
		printf("%s is here, but no task that is not over declares it, and no copy of it was made\n"
		       "  next: vine run -i %s -- ... brings it to a task; vine mount %s ./mnt makes reading it fast\n",
		       path, path, path);
	else if (lstat(path, &st) == 0)
		printf("%s is here, but cannot be read by this user: %s\n  next: ls -ld %s shows who may\n", path,
		       strerror(errno), path);
	else
		print_missing(path);
}

/* ---- all of it */

static void put_json(struct json *j, const char *what, const struct wire_why *m, const struct table *items)
{
	char id[DIGEST_TEXT_SIZE];
	json_begin(j, NULL, '{');
	json_text(j, "what", what);
	json_text(j, "tree", m ? digest_text(&m->tree, id) : "");
	json_begin(j, "lines", '[');
	_free_ char *text = xstrdup(m ? m->text : "");
	for (char *save = NULL, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		json_text(j, NULL, line);
	json_end(j, ']');
	json_begin(j, "declared", '[');
	for (size_t i = 0; i < items->n_rows; i++) {
		json_begin(j, NULL, '{');
		for (size_t c = 0; c < items->n_columns; c++)
			json_text(j, items->names[c], table_cell(items, i, c));
		json_end(j, '}');
	}
	json_end(j, ']');
	json_end(j, '}');
}

static void print_json(const char *what, const struct wire_why *m, const struct table *items)
{
	struct json j = {0};
	put_json(&j, what, m, items);
	fputs(buf_text(&j.out), stdout);
	buf_fini(&j.out);
}

static void print_text(const char *path, const struct wire_why *m, const struct table *items)
{
	if (m)
		printf("%s%s", m->text, *m->text && m->text[strlen(m->text) - 1] == '\n' ? "" : "\n");
	for (size_t i = 0; i < items->n_rows && i < ITEMS_SHOWN; i++)
		print_item(items, i);
	if (items->n_rows > ITEMS_SHOWN)
		printf("... and %zu more declarations\n", items->n_rows - ITEMS_SHOWN);
	if (!m && !items->n_rows)
		print_here(path);
}

int why_path(const struct conf_table *t, bool is_json, const char *what)
{
	char error[1200] = "";
	struct table items = {0};
	_free_ struct wire_why *m = ask_node(what, error);
	bool is_word = !strchr(what, '/') && access(what, F_OK) < 0;
	_free_ char *path = is_word ? NULL : absolute(what);
	ask_cluster(path, &items);
	_free_ char *tree = m ? NULL : tree_at(path);
	if (tree)
		m = ask_node(tree, error);
	int status = 0;
	if (!m && !items.n_rows && is_word)
		status = tool_fail(t,
				   "%s: there is no run, node, tree or file of this name; 'vine status' lists runs and "
				   "nodes, 'vine cache ls' trees",
				   what);
	else if (!m && !items.n_rows && !path)
		status = tool_fail(t, "%s", error);
	else if (is_json)
		print_json(what, m, &items);
	else
		print_text(path, m, &items);
	table_fini(&items);
	return status ? status : tool_end(t, 0);
}
