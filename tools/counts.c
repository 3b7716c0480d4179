/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/counts.h"

#include "libvineclient/vine.h"
#include "tools/json.h"
#include "tools/session.h"

#include <inttypes.h>

static int on_row(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct counts *c = arg;
	const struct {
		const char *name;
		uint64_t *to;
	} numbers[] = {{"waiting", &c->waiting}, {"running", &c->running}, {"held", &c->held},
		       {"done", &c->done},       {"failed", &c->failed},   {"cancelled", &c->cancelled}};
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < countof(numbers); k++) {
			if (streq(names[i], numbers[k].name))
				*numbers[k].to = strtoull(cells[i], NULL, 10);
		}
		if (streq(names[i], "worst"))
			c->worst = atoi(cells[i]);
	}
	return 0;
}

int counts_ask(struct vine *v, const char *selector, struct counts *c)
{
	*c = (struct counts){.worst = 0};
	return min(vine_query(v, "counts", selector, on_row, c), 0);
}

int counts_of_run(const struct conf_table *t, struct vine *v, const char *run, struct counts *c)
{
	int r = counts_ask(v, run, c);
	if (r == -ENOENT)
		return tool_fail(t, "there is no run '%s'; 'vine status' lists them", run);
	return r < 0 ? tool_fail(t, "%s", vine_error()) : 0;
}

uint64_t counts_unfinished(const struct counts *c)
{
	return c->waiting + c->running + c->held;
}

uint64_t counts_all(const struct counts *c)
{
	return counts_unfinished(c) + c->done + c->failed + c->cancelled;
}

const char *counts_text(const struct counts *c, char to[200])
{
	const struct {
		const char *name;
		uint64_t n;
	} parts[] = {{"failed", c->failed},
		     {"cancelled", c->cancelled},
		     {"running", c->running},
		     {"waiting", c->waiting},
		     {"held", c->held}};
	int n = snprintf(to, 200, "%" PRIu64 " done", c->done);
	for (size_t i = 0; i < countof(parts); i++) {
		if (parts[i].n)
			n += snprintf(to + n, 200 - (size_t)n, ", %" PRIu64 " %s", parts[i].n, parts[i].name);
	}
	return to;
}

static void put_counts(struct json *j, const char *selector, const struct counts *c)
{
	json_begin(j, NULL, '{');
	json_text(j, "selector", selector);
	json_number(j, "done", (int64_t)c->done);
	json_number(j, "failed", (int64_t)c->failed);
	json_number(j, "cancelled", (int64_t)c->cancelled);
	json_number(j, "running", (int64_t)c->running);
	json_number(j, "waiting", (int64_t)c->waiting);
	json_number(j, "held", (int64_t)c->held);
	json_end(j, '}');
}

int counts_json(const struct conf_table *t, char *const words[], int n, int status)
{
	struct json j = {0};
	struct vine *v;
	int failed = session_look(t, NULL, &v);
	if (failed)
		return failed;
	json_begin(&j, NULL, '{');
	json_number(&j, "status", status);
	json_begin(&j, "waited", '[');
	for (int i = 0; i < n; i++) {
		struct counts c;
		if (counts_ask(v, words[i], &c) == 0)
			put_counts(&j, words[i], &c);
	}
	json_end(&j, ']');
	json_end(&j, '}');
	json_print(&j);
	vine_close(v, 1);
	return tool_end(t, status);
}
