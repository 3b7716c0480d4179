/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/why_failed.h"

#include "common/log.h"
#include "libvineclient/vine.h"
#include "tools/selector.h"
#include "tools/why_cause.h"

#include <ctype.h>

#define LOOKED_MOST 12u
#define GROUPS_SHOWN 4u

struct group {
	char kind[640]; /* what, with any number in place of each */
	char what[640], next[512];
	size_t row, n; /* row: one of them */
};

static const char *cell(const struct table *t, size_t row, const char *name)
{
	return table_find(t, row, name) ?: "";
}

/* What nothing more is known about is told apart by how it ended. */
static void describe(const struct table *t, size_t row, const struct cause *c, char what[640])
{
	const char *how = cell(t, row, "how"), *reason = cell(t, row, "reason");
	if (*c->what && !*cell(t, row, "exceeded"))
		snprintf(what, 640, "%s", c->what);
	else if (*reason)
		snprintf(what, 640, "%.600s", reason);
	else if (streq(how, "exited"))
		snprintf(what, 640, "exit status %s", cell(t, row, "status"));
	else
		snprintf(what, 640, "%s", how);
}

/* "in.30 is not there" and "in.29 is not there" are one to people. */
static void without_numbers(char *to, const char *from)
{
	for (bool was_digit = false; *from; from++) {
		bool is_digit = isdigit((unsigned char)*from);
		if (!is_digit || !was_digit)
			*to++ = is_digit ? '#' : *from;
		was_digit = is_digit;
	}
	*to = 0;
}

static void add(struct group *groups, size_t *n, const struct table *t, size_t row, const struct cause *c)
{
	char what[640], kind[640];
	size_t i = 0;
	describe(t, row, c, what);
	/* An exit status is no such number. */
	if (*c->what)
		without_numbers(kind, what);
	else
		memcpy(kind, what, sizeof kind);
	while (i < *n && !streq(groups[i].kind, kind))
		i++;
	if (i == *n) {
		struct group *g = &groups[(*n)++];
		*g = (struct group){.row = row};
		memcpy(g->what, what, sizeof what);
		memcpy(g->kind, kind, sizeof kind);
		snprintf(g->next, sizeof g->next, "%s", c->next);
	}
	groups[i].n++;
}

static int by_size(const void *a, const void *b)
{
	size_t x = ((const struct group *)a)->n, y = ((const struct group *)b)->n;
	return (x < y) - (x > y);
}

static bool has_failed(const struct table *t, size_t row)
{
	const char *how = cell(t, row, "how");
	bool is_over = streq(cell(t, row, "state"), "ended") || streq(cell(t, row, "state"), "delivered");
	bool is_well = streq(how, "exited") && streq(cell(t, row, "status"), "0");
	return is_over && !is_well && !streq(how, "cancelled");
}

/* Another one's failure is its cause, and stands among these, too. */
static bool is_taken_along(const struct table *t, size_t row)
{
	return strstr(cell(t, row, "reason"), " will never be there") != NULL;
}

size_t why_failed(struct vine *v, const struct table *rows, struct buf *text)
{
	struct group groups[LOOKED_MOST];
	char label[SELECTOR_LABEL];
	size_t n = 0, n_looked = 0, n_failed = 0, n_along = 0, along = 0;
	for (size_t i = 0; i < rows->n_rows; i++) {
		_free_ char *said = NULL;
		struct cause c;
		if (!has_failed(rows, i))
			continue;
		if (is_taken_along(rows, i)) {
			n_along++;
			along = i;
			continue;
		}
		n_failed++;
		if (n_looked == LOOKED_MOST)
			continue;
		why_cause(v, rows, i, &c, &said);
		add(groups, &n, rows, i, &c);
		n_looked++;
	}
	char first[40];
	snprintf(first, sizeof first, " of %zu looked at", n_looked);
	qsort(groups, n, sizeof *groups, by_size);
	for (size_t i = 0; i < n && i < GROUPS_SHOWN; i++) {
		const struct group *g = &groups[i];
		char raw[1300], safe[1300];
		snprintf(raw, sizeof raw, "%.639s%s%.511s", g->what, *g->next ? "; next: " : "", g->next);
		buf_printf(text, "  %zu%s (as %s): %s\n", g->n, n_looked < n_failed ? first : "",
			   selector_label(rows, g->row, label), log_escape(raw, strlen(raw), safe, sizeof safe));
	}
	if (n > GROUPS_SHOWN)
		buf_printf(text, "  others failed otherwise\n");
	if (n_along) {
		char safe[400];
		const char *reason = cell(rows, along, "reason");
		buf_printf(text, "  %zu (as %s) taken along: %s\n", n_along, selector_label(rows, along, label),
			   log_escape(reason, strlen(reason), safe, sizeof safe));
	}
	return n ? groups->row : along;
}

void why_failed_of(struct vine *v, const char *selector, struct buf *text)
{
	struct table rows = {0};
	if (vine_query(v, "tasks", selector, table_add, &rows) > 0)
		why_failed(v, &rows, text);
	table_fini(&rows);
}
