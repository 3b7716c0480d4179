/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/dry_run.h"

#include "common/path.h"
#include "libvineclient/vine.h"
#include "tools/json.h"
#include "tools/node.h"
#include "tools/session.h"

#include <fts.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES_MOST 20000u /* of a directory that are counted */
#define NODES_SHOWN 4u

/* ---- where it could run */

static void put_number(struct buf *to, const char *name, uint64_t n)
{
	if (n)
		buf_printf(to, "%s %" PRIu64 "\n", name, n);
}

static void put_size(struct buf *to, const char *name, const char *text)
{
	uint64_t size;
	if (*text && conf_parse_size(text, &size) == 0)
		put_number(to, name, size);
}

/* The name by which vined knows an input; NULL: by none. Yours. */
static char *item_of(const struct bind *b)
{
	static const char *const kinds[] = {"file:", "tree:", "temp:"};
	for (size_t i = 0; i < countof(kinds); i++) {
		if (has_prefix(b->uri, kinds[i]))
			return xstrdup(b->uri);
	}
	if (strchr(b->uri, ':'))
		return NULL;
	_free_ char *here = getcwd(NULL, 0);
	_free_ char *path = path_join(here ?: "/", b->uri);
	return xasprintf("file:%s", path);
}

/* vined/command_where.c reads it. */
static char *question(const struct job_options *o, const struct binds *files)
{
	struct buf q = {0};
	unsigned n_items = 0;
	put_number(&q, "cores", *o->cores ? strtoull(o->cores, NULL, 10) : 1);
	put_number(&q, "gpus", strtoull(o->gpus, NULL, 10));
	put_size(&q, "memory", o->mem);
	put_size(&q, "disk", o->disk);
	_free_ char *features = xstrdup(o->feature);
	for (char *save = NULL, *w = strtok_r(features, ",", &save); w; w = strtok_r(NULL, ",", &save))
		buf_printf(&q, "feature %s\n", w);
	for (size_t i = 0; i < files->n && n_items < 64; i++) {
		_free_ char *item = files->at[i].is_output ? NULL : item_of(&files->at[i]);
		if (!item || strchr(item, '\n'))
			continue;
		buf_printf(&q, "item %s\n", item);
		n_items++;
	}
	return buf_steal_text(&q);
}

/* "3: n1, n2, n3"; of those that cannot the first one's reason. */
static void print_nodes(const struct table *rows, const char *could, const char *title)
{
	size_t n = 0, first = 0;
	_cleanup_(buf_fini) struct buf names = {0};
	for (size_t i = 0; i < rows->n_rows; i++) {
		if (!streq(table_find(rows, i, "could"), could))
			continue;
		if (n < NODES_SHOWN)
			buf_printf(&names, "%s%s", n ? ", " : "", table_find(rows, i, "node"));
		first = n++ ? first : i;
	}
	if (!n)
		return;
	const char *reason = table_find(rows, first, "reason");
	printf("  %-8s %zu node%s: %s%s%s%s%s\n", title, n, n == 1 ? "" : "s", buf_text(&names),
	       n > NODES_SHOWN ? ", ..." : "", *reason ? " (" : "", reason, *reason ? ")" : "");
}

static void print_holders(const struct table *rows)
{
	unsigned n_shown = 0;
	for (size_t i = 0; i < rows->n_rows && n_shown < NODES_SHOWN; i++) {
		uint64_t size = strtoull(table_find(rows, i, "size_there"), NULL, 10);
		char text[32];
		if (!size)
			continue;
		print_size(text, size);
		printf("  there    %s of the inputs on node %s\n", text, table_find(rows, i, "node"));
		n_shown++;
	}
}

/* 0, -ENOENT: no cluster is up; or -errno with vine_error(). */
static int ask_where(const struct job_options *o, const struct binds *files, struct table *rows)
{
	struct vine *v;
	_free_ char *q = question(o, files);
	int r = session_peek(&v);
	if (r == 0) {
		r = min(vine_query(v, "where", q, table_add, rows), 0);
		/* One of before this question was known. */
		r = r == -ENOENT ? -EPROTO : r;
		vine_close(v, 1);
	}
	return r;
}

static void print_where(const struct job_options *o, const struct binds *files)
{
	_cleanup_(table_fini) struct table rows = {0};
	int r = ask_where(o, files, &rows);
	if (r) {
		printf(r == -ENOENT ? "  where    no cluster is up: one would be started on this machine\n"
				    : "  where    the cluster cannot say: %s\n",
		       vine_error());
		return;
	}
	if (!rows.n_rows)
		printf("  where    no node is connected: it would wait for one\n");
	print_nodes(&rows, "now", "now");
	print_nodes(&rows, "later", "later");
	print_nodes(&rows, "no", "never");
	print_holders(&rows);
}

/* ---- what would move */

struct moving {
	struct node *node; /* NULL: there is none */
	uint64_t size_sent, size_sealed, size_here;
	unsigned n_sent, n_sealed, n_here;
	bool is_more; /* than was counted */
};

static uint64_t size_of(const char *path, bool *is_more)
{
	char *const paths[] = {(char *)(uintptr_t)path, NULL};
	FTS *f = fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, NULL);
	const FTSENT *e;
	uint64_t size = 0;
	unsigned n = 0;
	while (f && (e = fts_read(f)) && n++ < NAMES_MOST)
		size += e->fts_info == FTS_F ? (uint64_t)e->fts_statp->st_size : 0;
	*is_more |= n > NAMES_MOST;
	if (f)
		fts_close(f);
	return size;
}

/* Whether this machine's node has it sealed, and how much of it. */
static bool is_sealed_here(const struct moving *m, const char *path, uint64_t *resident)
{
	_free_ char *here = getcwd(NULL, 0);
	_free_ char *absolute = path_join(here ?: "/", path);
	const struct wire_cache_list ask = {.tree = absolute};
	_free_ void *reply = NULL;
	if (!m->node ||
	    node_ask(m->node, &(struct node_ask){.type = WIRE_CACHE_LIST, .message = &ask, .answer = WIRE_CACHED},
		     &reply))
		return false;
	const struct wire_cached *cached = reply;
	*resident = cached->trees.n ? cached->trees.at[0].resident_size : 0;
	return cached->trees.n;
}

static void count_input(struct moving *m, const struct bind *b)
{
	bool is_sent = has_prefix(b->uri, "client:");
	const char *path = is_sent                       ? b->uri + strlen("client:")
			   : has_prefix(b->uri, "file:") ? b->uri + strlen("file:")
							 : b->uri;
	uint64_t resident = 0;
	if (b->is_output || access(path, R_OK) < 0)
		return;
	if (!is_sent && is_sealed_here(m, path, &resident)) {
		m->n_here++;
		m->size_here += resident;
	} else if (is_sent) {
		m->n_sent++;
		m->size_sent += size_of(path, &m->is_more);
	} else {
		m->n_sealed++;
		m->size_sealed += size_of(path, &m->is_more);
	}
}

static void count_inputs(struct moving *m, const struct binds *files)
{
	struct node *n = NULL;
	m->node = node_open(&n, false) ? NULL : n;
	for (size_t i = 0; i < files->n; i++)
		count_input(m, &files->at[i]);
	node_free(n);
}

static void print_moving(const struct binds *files)
{
	struct moving m = {.n_sent = 0};
	char text[32];
	count_inputs(&m, files);
	const char *more = m.is_more ? "more than " : "";
	print_size(text, m.size_sent);
	if (m.n_sent)
		printf("  sent     %u input%s, %s%s, from here\n", m.n_sent, m.n_sent == 1 ? "" : "s", more, text);
	print_size(text, m.size_sealed);
	if (m.n_sealed)
		printf("  sealed   %u input%s, %s%s, would be read by a node for the first time\n", m.n_sealed,
		       m.n_sealed == 1 ? "" : "s", more, text);
	print_size(text, m.size_here);
	if (m.n_here)
		printf("  here     %u input%s sealed before, %s of it in this machine's cache\n", m.n_here,
		       m.n_here == 1 ? "" : "s", text);
}

void dry_run_where(const struct job_options *o, const struct binds *files)
{
	print_moving(files);
	print_where(o, files);
}

/* ---- JSON */

static void put_file(struct json *j, const struct bind *b)
{
	const char *path = job_here_of(b);
	json_begin(j, NULL, '{');
	json_text(j, "path", b->path ?: path ?: b->uri);
	if (b->is_output) {
		json_text(j, "to", b->here ?: b->uri ?: "");
		json_bool(j, "optional", b->flags & VINE_OPTIONAL);
	} else {
		json_text(j, "from", path ?: b->uri);
		json_bool(j, "sent", has_prefix(b->uri, "client:"));
		json_bool(j, "word", b->is_word);
		json_bool(j, "missing", job_is_missing(b));
	}
	json_end(j, '}');
}

static void put_files(struct json *j, const char *key, const struct binds *files, bool is_output)
{
	json_begin(j, key, '[');
	for (size_t i = 0; i < files->n; i++) {
		if (files->at[i].is_output == is_output)
			put_file(j, &files->at[i]);
	}
	json_end(j, ']');
}

static void put_where(struct json *j, const struct job_options *o, const struct binds *files)
{
	_cleanup_(table_fini) struct table rows = {0};
	int r = ask_where(o, files, &rows);
	json_text(j, "cluster", r == -ENOENT ? "would be started" : r ? vine_error() : "up");
	json_begin(j, "nodes", '[');
	for (size_t i = 0; i < rows.n_rows; i++) {
		json_begin(j, NULL, '{');
		for (size_t c = 0; c < rows.n_columns; c++)
			json_text(j, rows.names[c], table_cell(&rows, i, c));
		json_end(j, '}');
	}
	json_end(j, ']');
}

void dry_run_json(struct json *j, const struct job_options *o, char *const *argv, const struct binds *files)
{
	struct moving m = {.n_sent = 0};
	json_begin(j, "command", '[');
	for (size_t i = 0; argv[i]; i++)
		json_text(j, NULL, argv[i]);
	json_end(j, ']');
	put_files(j, "inputs", files, false);
	put_files(j, "outputs", files, true);
	count_inputs(&m, files);
	json_number(j, "size_sent", (int64_t)m.size_sent);
	json_number(j, "size_sealed", (int64_t)m.size_sealed);
	json_number(j, "size_here", (int64_t)m.size_here);
	json_bool(j, "sizes_are_all", !m.is_more);
	put_where(j, o, files);
}

int dry_run_json_alone(const struct conf_table *t, const struct job_options *o, char *const *argv,
		       const struct binds *files)
{
	struct json j = {0};
	unsigned n_missing = 0;
	json_begin(&j, NULL, '{');
	dry_run_json(&j, o, argv, files);
	job_count_missing(files, &n_missing);
	json_number(&j, "missing", n_missing);
	json_end(&j, '}');
	json_print(&j);
	return tool_end(t, n_missing ? 1 : 0);
}
