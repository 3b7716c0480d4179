/* SPDX-License-Identifier: Apache-2.0
 * Asks the cluster for all that a report says. Tasks come in pages, so that no answer is long and vined is not kept from its work. */
#include "tools/report.h"

#include "libvineclient/vine.h"

#include <unistd.h>

/* The archive cannot be read at each moment. */
#define BUSY_USEC 50000u
#define BUSY_TRIES 200u

/* ---- rows as structs */

static const struct column {
	const char *name;
	bool is_text;
	size_t at;
} columns[] = {
#define NUMBER(name, member)                                      \
	{                                                         \
		name, false, offsetof(struct report_task, member) \
	}
#define TEXT(name, member)                                       \
	{                                                        \
		name, true, offsetof(struct report_task, member) \
	}
	NUMBER("task", id),
	NUMBER("status", status),
	NUMBER("attempts", attempts),
	NUMBER("submitted_usec", submitted_usec),
	NUMBER("started_usec", started_usec),
	NUMBER("ended_usec", ended_usec),
	NUMBER("wall_usec", wall_usec),
	NUMBER("cpu_usec", cpu_usec),
	NUMBER("peak_memory", peak_memory),
	NUMBER("memory", memory),
	NUMBER("peak_disk", peak_disk),
	NUMBER("disk", disk),
	NUMBER("cores", cores),
	NUMBER("gpus", gpus),
	NUMBER("local_size", local_size),
	NUMBER("moved_size", moved_size),
	NUMBER("peer_size", peer_size),
	NUMBER("source_size", source_size),
	NUMBER("client_size", client_size),
	TEXT("run", run),
	TEXT("name", name),
	TEXT("tag", tag),
	TEXT("category", category),
	TEXT("state", state),
	TEXT("node", node),
	TEXT("how", how),
	TEXT("exceeded", exceeded),
	TEXT("reason", reason),
#undef NUMBER
#undef TEXT
};

struct pages {
	struct report *report;
	char next[32];                  /* "": there is no more */
	size_t where[countof(columns)]; /* in this page's rows; found with its first */
	bool is_known;
};

static const char *cell(size_t n, const char *const names[], const char *const cells[], const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (streq(names[i], name))
			return cells[i];
	}
	return "";
}

/* The last row says where the next page begins. */
static bool is_next(struct pages *p, size_t n, const char *const names[], const char *const cells[])
{
	const char *next = streq(names[n - 1], "next") ? cells[n - 1] : cell(n, names, cells, "next");
	if (*next)
		snprintf(p->next, sizeof p->next, "%s", next);
	return *next != 0;
}

static void find_columns(struct pages *p, size_t n, const char *const names[])
{
	for (size_t i = 0; i < countof(columns); i++) {
		p->where[i] = 0;
		while (p->where[i] < n && !streq(names[p->where[i]], columns[i].name))
			p->where[i]++;
	}
	p->is_known = true;
}

static int on_task(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct pages *p = arg;
	struct report_task t = {.id = 0};
	if (is_next(p, n, names, cells))
		return 0;
	if (!p->is_known)
		find_columns(p, n, names);
	for (size_t i = 0; i < countof(columns); i++) {
		const char *text = p->where[i] < n ? cells[p->where[i]] : "";
		char *to = (char *)&t + columns[i].at;
		if (columns[i].is_text)
			*(const char **)(void *)to = text;
		else
			*(uint64_t *)(void *)to = strtoull(text, NULL, 10);
	}
	report_add_task(p->report, &t);
	return 0;
}

static int on_input(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct pages *p = arg;
	if (!is_next(p, n, names, cells))
		report_add_input(p->report, cell(n, names, cells, "item"),
				 strtoull(cell(n, names, cells, "size"), NULL, 10),
				 strtoull(cell(n, names, cells, "tasks"), NULL, 10));
	return 0;
}

static int ask_pages(struct vine *v, struct report *r, const char *what, vine_row_fn *fn)
{
	struct pages p = {.report = r, .next = "0"};
	int found = 0;
	while (*p.next && found >= 0) {
		_free_ char *selector = xasprintf("%s %s", p.next, r->run);
		*p.next = 0;
		p.is_known = false;
		found = vine_query(v, what, selector, fn, &p);
		for (unsigned i = 0; found == -EBUSY && i < BUSY_TRIES; i++) {
			usleep(BUSY_USEC);
			found = vine_query(v, what, selector, fn, &p);
		}
	}
	return min(found, 0);
}

int report_ask(const struct conf_table *t, struct vine *v, struct report *r)
{
	const char *run = *r->run ? r->run : NULL;
	int failed = ask_pages(v, r, "report-tasks", on_task);
	if (failed == -ENOENT)
		return tool_fail(t, "there is no run '%s'; 'vine status' lists them", r->run);
	if (!failed)
		failed = ask_pages(v, r, "report-inputs", on_input);
	if (!failed)
		failed = min(vine_query(v, "cluster", NULL, table_add, &r->cluster), 0);
	if (!failed)
		failed = min(vine_query(v, "nodes", NULL, table_add, &r->nodes), 0);
	if (!failed)
		failed = min(vine_query(v, "waiting", run, table_add, &r->waiting), 0);
	if (!failed)
		failed = min(vine_query(v, "settings", run, table_add, &r->settings), 0);
	if (failed)
		return tool_fail(t, "%s", vine_error());
	report_finish(r);
	return 0;
}
