/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/selector.h"

#include "libvineclient/vine.h"

#define FORMS "17, RUN, RUN/17, RUN/1-9, RUN@failed or tag:WORD"

static const char *const states[] = {"failed", "running", "waiting", "done", "cancelled", "queued", "held"};

static int refuse(char why[SELECTOR_WHY], const char *text, const char *reason)
{
	snprintf(why, SELECTOR_WHY, "'%.100s': %s; tasks are named " FORMS, text, reason);
	return -EINVAL;
}

static bool is_state(const char *word)
{
	for (size_t i = 0; i < countof(states); i++) {
		if (streq(states[i], word))
			return true;
	}
	return false;
}

int selector_parse(const char *text, struct selector *s, char why[SELECTOR_WHY])
{
	size_t n = strcspn(text, "/@");
	*s = (struct selector){.kind = SELECTOR_RUN, .text = text, .task = tool_task(text)};
	if (s->task) {
		s->kind = SELECTOR_TASK;
		return 0;
	}
	if (!*text)
		return refuse(why, text, "nothing is named");
	const char *tag = has_prefix(text, "tag:") ? text : text[n] == '@' ? text + n + 1 : "";
	if (has_prefix(tag, "tag:")) {
		s->kind = SELECTOR_TAG;
		s->word = tag + strlen("tag:");
		n = tag == text ? 0 : n;
		if (!*s->word)
			return refuse(why, text, "which tag?");
	} else if (text[n] == '@') {
		s->kind = SELECTOR_STATE;
		s->word = text + n + 1;
		if (!is_state(s->word))
			return refuse(why, text, "behind @ stands failed, running, waiting, done, cancelled or held");
	} else if (text[n]) {
		s->kind = SELECTOR_WORD;
		s->word = text + n + 1;
		if (!n || !*s->word)
			return refuse(why, text, n ? "which task of the run?" : "the run's name is missing");
	}
	if (n >= sizeof s->run)
		return refuse(why, text, "no run has so long a name");
	if (n && strspn(text, "0123456789-,") >= n)
		return refuse(why, text, "a run's name has a letter");
	snprintf(s->run, sizeof s->run, "%.*s", (int)n, text);
	return 0;
}

int selector_rows(const struct conf_table *t, struct vine *v, const struct selector *s, struct table *rows)
{
	int r = vine_query(v, "tasks", s->text, table_add, rows);
	if (r == -ENOENT && s->kind == SELECTOR_TASK)
		return tool_fail(t, "there is no task %s; 'vine status' lists runs", s->text);
	if (r == -ENOENT && s->kind == SELECTOR_WORD)
		return tool_fail(t, "%s: there is no such task: 'vine status %s' says what the run has", s->text,
				 s->run);
	if (r == -ENOENT)
		return tool_fail(t, "there is no run '%s'; 'vine status' lists them", s->run);
	return r < 0 ? tool_fail(t, "%s", vine_error()) : 0;
}

uint64_t selector_one(const struct conf_table *t, struct vine *v, const char *text, int *status)
{
	struct selector s;
	struct table rows = {0};
	char why[SELECTOR_WHY];
	uint64_t task = 0;
	if (selector_parse(text, &s, why) < 0)
		*status = tool_fail(t, "%s", why);
	else
		*status = selector_rows(t, v, &s, &rows);
	if (!*status && rows.n_rows != 1)
		*status = tool_fail(t, "%s: means %zu tasks; name one, as in 17 or RUN/17", text, rows.n_rows);
	else if (!*status)
		task = tool_task(table_find(&rows, 0, "task"));
	table_fini(&rows);
	return task;
}

const char *selector_label(const struct table *rows, size_t row, char to[SELECTOR_LABEL])
{
	const char *name = table_find(rows, row, "name") ?: "";
	if (*name)
		snprintf(to, SELECTOR_LABEL, "%s/%s", table_find(rows, row, "run"), name);
	else
		snprintf(to, SELECTOR_LABEL, "%s", table_find(rows, row, "task"));
	return to;
}
