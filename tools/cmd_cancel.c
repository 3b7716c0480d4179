/* SPDX-License-Identifier: Apache-2.0
 * vine cancel: ends what is not over. */
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/counts.h"
#include "tools/json.h"
#include "tools/selector.h"
#include "tools/session.h"

#include <inttypes.h>

#define CONF_STRUCT cancel_options
#define CONF_FILE "tools/cancel.def"
#include "common/conf_struct.h"
#define CONF_STRUCT cancel_options
#define CONF_FILE "tools/cancel.def"
#include "common/conf_table.h"

const struct conf_table cancel_table = {
	.program = "vine cancel",
	.summary = "cancel a run, or tasks of it",
	.usage = "RUN|TASK ...",
	.at = cancel_options_table,
	.n = countof(cancel_options_table),
};

#define ROUNDS_MOST 1000 /* of 10,000 tasks */

static bool is_over(const struct table *rows, size_t row)
{
	const char *state = table_find(rows, row, "state");
	return streq(state, "ended") || streq(state, "delivered");
}

/* selector NULL: all of the run. */
static int cancel_in(const char *run, const char *selector)
{
	struct vine *v;
	int status = session_look(&cancel_table, run, &v);
	if (status)
		return status;
	if (vine_cancel(v, selector) < 0)
		status = tool_fail(&cancel_table, "%s", vine_error());
	vine_close(v, 1);
	return status;
}

/* Rows of one run stand together. */
static int cancel_rows(const struct table *rows, uint64_t *n)
{
	int status = 0;
	for (size_t i = 0; i < rows->n_rows && !status;) {
		const char *run = table_find(rows, i, "run");
		_cleanup_(buf_fini) struct buf tasks = {0};
		for (; i < rows->n_rows && streq(table_find(rows, i, "run"), run); i++) {
			if (is_over(rows, i))
				continue;
			buf_printf(&tasks, "%s%s", tasks.n ? "," : "", table_find(rows, i, "task"));
			++*n;
		}
		status = tasks.n ? cancel_in(run, buf_text(&tasks)) : 0;
	}
	return status;
}

/* There are only so many rows at once: what was cancelled is not among the next. */
static int cancel_selected(struct vine *v, const struct selector *s, uint64_t *n)
{
	int status = 0;
	for (unsigned i = 0; i < ROUNDS_MOST && !status; i++) {
		struct table rows = {0};
		uint64_t before = *n;
		status = selector_rows(&cancel_table, v, s, &rows);
		if (!status)
			status = cancel_rows(&rows, n);
		bool is_more = rows.n_rows >= 10000 && *n > before;
		table_fini(&rows);
		if (!is_more)
			break;
	}
	return status;
}

static int cancel_run(struct vine *v, const struct selector *s, uint64_t *n)
{
	struct counts c;
	int status = counts_of_run(&cancel_table, v, s->run, &c);
	*n = counts_unfinished(&c);
	return !status && *n ? cancel_in(s->run, NULL) : status;
}

static int cancel(const struct cancel_options *o, const char *word, struct json *j)
{
	struct selector s;
	char why[SELECTOR_WHY];
	struct vine *v;
	uint64_t n = 0;
	if (selector_parse(word, &s, why) < 0)
		return tool_fail(&cancel_table, "%s", why);
	int status = session_look(&cancel_table, NULL, &v);
	if (status)
		return status;
	status = s.kind == SELECTOR_RUN ? cancel_run(v, &s, &n) : cancel_selected(v, &s, &n);
	vine_close(v, 1);
	if (status)
		return status;
	if (o->json) {
		json_begin(j, NULL, '{');
		json_text(j, "selector", word);
		json_number(j, "tasks", (int64_t)n);
		json_end(j, '}');
	} else if (!o->quiet) {
		printf("%s: %" PRIu64 " task%s cancelled\n", word, n, n == 1 ? "" : "s");
	}
	return 0;
}

int cmd_cancel(int argc, char **argv)
{
	struct cancel_options o = {0};
	struct json j = {0};
	int status, n = tool_words(&cancel_table, &o, argc, argv, &status);
	if (n == 0)
		status = tool_fail(&cancel_table,
				   "what? Try: vine cancel 17, vine cancel sweep, vine cancel sweep@waiting");
	else if (n > 0)
		status = 0;
	json_begin(&j, NULL, '{');
	json_begin(&j, "cancelled", '[');
	for (int i = 1; i <= n && !status; i++)
		status = cancel(&o, argv[i], &j);
	json_end(&j, ']');
	json_end(&j, '}');
	if (o.json && !status)
		json_print(&j);
	buf_fini(&j.out);
	conf_fini(&cancel_table, &o);
	return status ? status : tool_end(&cancel_table, 0);
}
