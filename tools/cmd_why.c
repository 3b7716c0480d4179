/* SPDX-License-Identifier: Apache-2.0
 * vine why: of a task why it waits, failed or ran where; of a run, what most of it comes to; of a path where bytes would come from, and why they do not; of a
 * node what it does, and of the cluster what is the matter. */
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/json.h"
#include "tools/selector.h"
#include "tools/session.h"
#include "tools/why_cluster.h"
#include "tools/why_failed.h"
#include "tools/why_path.h"
#include "tools/why_task.h"

#include <unistd.h>

#define CONF_STRUCT why_options
#define CONF_FILE "tools/why.def"
#include "common/conf_struct.h"
#define CONF_STRUCT why_options
#define CONF_FILE "tools/why.def"
#include "common/conf_table.h"

const struct conf_table why_table = {
	.program = "vine why",
	.summary = "say why a task waits or failed, what a node does, or where the bytes of a path come from",
	.usage = "[TASK|RUN|NODE|PATH|TREE]",
	.at = why_options_table,
	.n = countof(why_options_table),
};

/* ---- tasks */

#define SHOWN_MOST 20u
#define ALONE_MOST 3u /* more than these are said together */

static bool has_suffix(const char *text, const char *suffix)
{
	size_t n = strlen(text), k = strlen(suffix);
	return n >= k && streq(text + n - k, suffix);
}

static void print_task_json(struct json *j, const struct table *rows, size_t row, const char *text)
{
	_free_ char *copy = xstrdup(text);
	json_begin(j, NULL, '{');
	for (size_t c = 0; c < rows->n_columns && row < rows->n_rows; c++)
		json_text(j, rows->names[c], table_cell(rows, row, c));
	json_begin(j, "lines", '[');
	for (char *save = NULL, *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		json_text(j, NULL, line);
	json_end(j, ']');
	json_end(j, '}');
}

static void print_task(struct vine *v, const struct table *rows, size_t row)
{
	_cleanup_(buf_fini) struct buf text = {0};
	why_task(v, rows, row, &text);
	fputs(buf_text(&text), stdout);
}

static int print_all_json(struct vine *v, const struct table *rows)
{
	struct json j = {0};
	json_begin(&j, NULL, '[');
	for (size_t i = 0; i < rows->n_rows && i < SHOWN_MOST; i++) {
		_cleanup_(buf_fini) struct buf text = {0};
		why_task(v, rows, i, &text);
		print_task_json(&j, rows, i, buf_text(&text));
	}
	json_end(&j, ']');
	fputs(buf_text(&j.out), stdout);
	buf_fini(&j.out);
	return tool_end(&why_table, 0);
}

/* By cause, then one of the commonest in full. */
static void print_failures(struct vine *v, const struct table *rows, const char *what)
{
	_cleanup_(buf_fini) struct buf text = {0};
	size_t example = why_failed(v, rows, &text);
	printf("%s: %zu failed\n%sone of them:\n", what, rows->n_rows, buf_text(&text));
	print_task(v, rows, example);
}

static int print_tasks(const struct why_options *o, struct vine *v, const struct table *rows, const char *what)
{
	bool are_failures = rows->n_rows && has_suffix(what, "@failed");
	if (o->json)
		return print_all_json(v, rows);
	if (rows->n_rows > ALONE_MOST && are_failures) {
		print_failures(v, rows, what);
		return tool_end(&why_table, 0);
	}
	for (size_t i = 0; i < rows->n_rows && i < ALONE_MOST; i++)
		print_task(v, rows, i);
	if (rows->n_rows > ALONE_MOST)
		printf("... and %zu more: vine status %s lists them\n", rows->n_rows - ALONE_MOST, what);
	return tool_end(&why_table, 0);
}

static int why_rows(const struct why_options *o, struct vine *v, const char *text, int *status)
{
	struct table rows = {0};
	int r = vine_query(v, "tasks", text, table_add, &rows);
	*status = r < 0 ? tool_fail(&why_table, "%s", vine_error()) : r ? print_tasks(o, v, &rows, text) : 0;
	table_fini(&rows);
	return r;
}

/* What waits, by its reasons. */
static int why_waiting(const struct why_options *o, struct vine *v, const char *run, int *status)
{
	struct table reasons = {0};
	_free_ char *text = xasprintf("%s@waiting", run);
	int r = o->json ? 0 : vine_query(v, "waiting", run, table_add, &reasons);
	bool is_one = r == 1 && streq(table_find(&reasons, 0, "tasks"), "1");
	if (r <= 0 || is_one)
		r = why_rows(o, v, text, status);
	for (size_t i = 0; i < reasons.n_rows && !is_one; i++)
		printf("%s of run %s wait: %s\n  next: vine why %s\n", table_find(&reasons, i, "tasks"), run,
		       table_find(&reasons, i, "reason"), table_find(&reasons, i, "task"));
	table_fini(&reasons);
	return r;
}

/* Of a run what is wrong: its failures, else what waits, else what runs. */
static int why_run(const struct why_options *o, struct vine *v, const char *run)
{
	static const char *const states[] = {"failed", "waiting", "running", "cancelled"};
	for (size_t i = 0; i < countof(states); i++) {
		_free_ char *text = xasprintf("%s@%s", run, states[i]);
		int status = 0;
		int r = i == 1 ? why_waiting(o, v, run, &status) : why_rows(o, v, text, &status);
		if (r)
			return status;
	}
	if (o->json)
		printf("[]\n");
	else
		printf("run %s: all of its tasks ended well\n", run);
	return tool_end(&why_table, 0);
}

static int why_selected(const struct why_options *o, struct vine *v, const struct selector *s)
{
	struct table rows = {0};
	int status = selector_rows(&why_table, v, s, &rows);
	if (!status && !rows.n_rows && !o->json)
		printf("%s: there is none\n", s->text);
	if (!status && (rows.n_rows || o->json))
		status = print_tasks(o, v, &rows, s->text);
	table_fini(&rows);
	return status;
}

/* ---- nodes */

static int print_node(const struct why_options *o, const struct table *t)
{
	struct json j = {0};
	_cleanup_(buf_fini) struct buf text = {0};
	why_node(t, 0, &text);
	if (o->json) {
		print_task_json(&j, t, 0, buf_text(&text));
		fputs(buf_text(&j.out), stdout);
		buf_fini(&j.out);
	} else {
		fputs(buf_text(&text), stdout);
	}
	return tool_end(&why_table, 0);
}

static int why_all(const struct why_options *o)
{
	struct vine *v;
	struct json j = {0};
	_cleanup_(buf_fini) struct buf text = {0};
	int status = session_look(&why_table, NULL, &v);
	if (status)
		return status;
	why_cluster(v, &text);
	vine_close(v, 1);
	if (o->json) {
		struct table none = {0};
		print_task_json(&j, &none, 0, buf_text(&text));
		fputs(buf_text(&j.out), stdout);
		buf_fini(&j.out);
	} else {
		fputs(buf_text(&text), stdout);
	}
	return tool_end(&why_table, 0);
}

/* A word without a slash may be a run, a node, or a tree's name: -1: it is neither of the first two. */
static int why_name(const struct why_options *o, struct vine *v, const char *name)
{
	struct table runs = {0}, nodes = {0};
	int status = -1;
	if (vine_query(v, "runs", name, table_add, &runs) > 0)
		status = why_run(o, v, name);
	else if (vine_query(v, "nodes", name, table_add, &nodes) > 0)
		status = print_node(o, &nodes);
	table_fini(&runs);
	table_fini(&nodes);
	return status;
}

/* ---- which of them */

/* A word without a slash may be a run as well as a file here: that is asked first. */
static bool is_path(const char *what)
{
	return strchr("/.~", *what) || has_prefix(what, "tree:") || (strchr(what, '/') && access(what, F_OK) == 0);
}

static int why(const struct why_options *o, const char *what)
{
	struct selector s;
	char reason[SELECTOR_WHY];
	struct vine *v;
	if (is_path(what))
		return why_path(&why_table, o->json, what);
	bool is_selector = selector_parse(what, &s, reason) == 0;
	if (!is_selector && strchr(what, '@'))
		return tool_fail(&why_table, "%s", reason);
	/* Trees are known to this machine's node alone. */
	if (!is_selector || (s.kind == SELECTOR_RUN && !why_has_cluster()))
		return why_path(&why_table, o->json, what);
	int status = session_look(&why_table, NULL, &v);
	if (status)
		return status;
	status = s.kind == SELECTOR_RUN ? why_name(o, v, s.run) : why_selected(o, v, &s);
	vine_close(v, 1);
	return status < 0 ? why_path(&why_table, o->json, what) : status;
}

int cmd_why(int argc, char **argv)
{
	struct why_options o = {0};
	int status, n = tool_words(&why_table, &o, argc, argv, &status);
	if (n > 1)
		status = tool_fail(&why_table, "one thing at a time: vine why %s", argv[1]);
	else if (n == 1)
		status = why(&o, argv[1]);
	else if (n == 0)
		status = why_all(&o);
	conf_fini(&why_table, &o);
	return status;
}
