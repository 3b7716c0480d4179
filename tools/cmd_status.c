/* SPDX-License-Identifier: Apache-2.0
 * vine status: the cluster, its nodes, the tasks by state. */
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/counts.h"
#include "tools/json.h"
#include "tools/moved.h"
#include "tools/selector.h"
#include "tools/session.h"

#include <inttypes.h>

#define CONF_STRUCT status_options
#define CONF_FILE "tools/status.def"
#include "common/conf_struct.h"
#define CONF_STRUCT status_options
#define CONF_FILE "tools/status.def"
#include "common/conf_table.h"

const struct conf_table status_table = {
	.program = "vine status",
	.summary = "show the cluster, its nodes and its tasks",
	.usage = "[RUN|TASK ...]",
	.at = status_options_table,
	.n = countof(status_options_table),
};

struct status {
	struct table cluster, nodes, runs, waiting;
	struct table moved, staged;
	struct table shown; /* of the runs, for people */
};

#define RUNS_SHOWN 5u
#define REASONS_SHOWN 4u

/* How a column is shown to people; what is not here is shown as it comes. */
enum kind { KIND_PLAIN, KIND_SIZE, KIND_NAME };
static const struct {
	const char *column;
	enum kind kind;
} kinds[] = {
	{"memory", KIND_SIZE},  {"disk", KIND_SIZE},    {"name", KIND_NAME},   {"node", KIND_NAME},
	{"cluster", KIND_NAME}, {"version", KIND_NAME}, {"kernel", KIND_NAME}, {"address", KIND_NAME},
};

static enum kind kind_of(const char *column)
{
	for (size_t i = 0; i < countof(kinds); i++) {
		if (streq(kinds[i].column, column))
			return kinds[i].kind;
	}
	return KIND_PLAIN;
}

static bool is_count(const char *column, const char *cell)
{
	size_t n = strlen(cell);
	return kind_of(column) != KIND_NAME && n && n < 19 && strspn(cell, "0123456789") == n &&
	       (*cell != '0' || n == 1);
}

static void put_row(struct json *j, const char *key, const struct table *t, size_t row)
{
	assert(row < t->n_rows);
	json_begin(j, key, '{');
	for (size_t c = 0; c < t->n_columns; c++) {
		const char *cell = table_cell(t, row, c);
		if (is_count(t->names[c], cell))
			json_number(j, t->names[c], strtoll(cell, NULL, 10));
		else
			json_text(j, t->names[c], cell);
	}
	json_end(j, '}');
}

/* Of what `vine stage` asked for, a row a tree and node. */
static size_t count_there(const struct table *t)
{
	size_t n = 0;
	for (size_t i = 0; i < t->n_rows; i++)
		n += streq(table_find(t, i, "state"), "there");
	return n;
}

static void print_json(const struct status *s)
{
	struct json j = {0};
	json_begin(&j, NULL, '{');
	json_begin(&j, "nodes", '[');
	for (size_t i = 0; i < s->nodes.n_rows; i++)
		put_row(&j, NULL, &s->nodes, i);
	json_end(&j, ']');
	json_begin(&j, "waiting", '[');
	for (size_t i = 0; i < s->waiting.n_rows; i++)
		put_row(&j, NULL, &s->waiting, i);
	json_end(&j, ']');
	for (size_t i = 0; i < min(s->cluster.n_rows, (size_t)1); i++)
		put_row(&j, "cluster", &s->cluster, i);
	for (size_t i = 0; i < min(s->moved.n_rows, (size_t)1); i++)
		put_row(&j, "moved", &s->moved, i);
	json_number(&j, "staged", (int64_t)s->staged.n_rows);
	json_number(&j, "staged_there", (int64_t)count_there(&s->staged));
	json_end(&j, '}');
	fputs(buf_text(&j.out), stdout);
	buf_fini(&j.out);
}

/* The same rows with sizes as people read them, and without what only programs look for. */
static int add_for_people(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	_free_ char(*texts)[32] = xcalloc(n, sizeof *texts);
	_free_ const char **heads = xcalloc(n, sizeof *heads);
	_free_ const char **shown = xcalloc(n, sizeof *shown);
	size_t n_shown = 0;
	for (size_t i = 0; i < n; i++) {
		if (streq(names[i], "node") || streq(names[i], "kernel"))
			continue;
		heads[n_shown] = names[i];
		shown[n_shown] = cells[i];
		if (kind_of(names[i]) == KIND_SIZE) {
			print_size(texts[i], strtoull(cells[i], NULL, 10));
			shown[n_shown] = texts[i];
		}
		n_shown++;
	}
	return table_add(arg, n_shown, heads, shown);
}

static const char *of_cluster(const struct status *s, const char *column)
{
	return table_find(&s->cluster, 0, column) ?: "?";
}

/* By reason, the commonest first; of very many tasks only some were asked. */
static void print_waiting(const struct table *t)
{
	for (size_t i = 0; i < t->n_rows && i < REASONS_SHOWN; i++) {
		const char *n = table_find(t, i, "tasks");
		bool is_part = strtoull(table_find(t, i, "asked"), NULL, 10) >= 2000;
		printf("waiting  %s%s: %s (as task %s)\n", n, is_part ? " of the first 2000" : "",
		       table_find(t, i, "reason"), table_find(t, i, "task"));
	}
	if (t->n_rows > REASONS_SHOWN)
		printf("waiting  ... for other reasons, too\n");
}

/* How far the newest runs are. */
static void count_runs(struct status *s, struct vine *v)
{
	static const char *const names[] = {"run",       "tasks",   "done",    "failed",
					    "cancelled", "running", "waiting", "submitted"};
	for (size_t i = 0; i < s->runs.n_rows; i++) {
		const char *cells[countof(names)] = {table_find(&s->runs, i, "run")};
		char texts[countof(names)][24];
		struct counts c;
		if (counts_ask(v, cells[0], &c) < 0)
			continue;
		const uint64_t n[] = {counts_all(&c), c.done, c.failed, c.cancelled, c.running, c.waiting + c.held};
		for (size_t k = 0; k < countof(n); k++) {
			snprintf(texts[k], sizeof texts[k], "%" PRIu64, n[k]);
			cells[1 + k] = texts[k];
		}
		cells[countof(names) - 1] = table_find(&s->runs, i, "created");
		table_add(&s->shown, countof(names), names, cells);
	}
}

static void print_runs(const struct table *t)
{
	if (!t->n_rows)
		return;
	printf("\n");
	table_print(t, stdout);
}

/* What one would do next. */
static void print_next(const struct status *s)
{
	if (!s->nodes.n_rows)
		return;
	for (size_t i = 0; i < s->runs.n_rows; i++) {
		if (!streq(table_find(&s->runs, i, "unfinished"), "0")) {
			printf("\nnext: vine status %s\n", table_find(&s->runs, i, "run"));
			return;
		}
	}
	if (s->runs.n_rows)
		printf("\nnext: vine status %s\n", table_find(&s->runs, 0, "run"));
	else
		printf("\nnext: vine run -- hostname\n");
}

static void print_text(const struct status *s)
{
	char up[32], moved[200];
	print_usec(up, strtoull(of_cluster(s, "uptime_sec"), NULL, 10) * 1000000);
	printf("cluster  %s%s%s (%s), vined %s up %s\n", colour(COLOUR_BOLD), of_cluster(s, "state"),
	       colour(COLOUR_NONE), of_cluster(s, "cluster"), of_cluster(s, "version"), up);
	printf("address  %s\n", of_cluster(s, "address"));
	printf("tasks    %s queued, %s running, %s held, %s ended whose results nobody has taken\n",
	       of_cluster(s, "queued"), of_cluster(s, "running"), of_cluster(s, "held"), of_cluster(s, "ended"));
	print_waiting(&s->waiting);
	if (*moved_text(&s->moved, moved))
		printf("moved    %s\n", moved);
	if (s->staged.n_rows)
		printf("staged   %zu of %zu trees on nodes are there: vine stage\n", count_there(&s->staged),
		       s->staged.n_rows);
	const char *n_nodes = of_cluster(s, "nodes");
	printf("cores    %s free of %s on %s node%s\n\n", of_cluster(s, "cores_free"), of_cluster(s, "cores"), n_nodes,
	       streq(n_nodes, "1") ? "" : "s");
	if (s->nodes.n_rows)
		table_print(&s->nodes, stdout);
	else
		printf("No node has joined. On each one: vinefs --vined=%s --secret=FILE\n", of_cluster(s, "address"));
	print_runs(&s->shown);
	print_next(s);
}

/* The newest come first. */
static int add_run(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct table *t = arg;
	table_add(t, n, names, cells);
	return t->n_rows >= RUNS_SHOWN;
}

static int read_status(struct status *s, bool for_people)
{
	struct vine *v;
	vine_row_fn *add = for_people ? add_for_people : table_add;
	int failed = session_look(&status_table, NULL, &v);
	if (failed)
		return failed;
	int r = vine_query(v, "cluster", NULL, add, &s->cluster);
	if (r >= 0)
		r = vine_query(v, "nodes", NULL, add, &s->nodes);
	if (r >= 0)
		r = vine_query(v, "runs", NULL, add_run, &s->runs);
	/* An older vined does not know. */
	if (r >= 0)
		vine_query(v, "waiting", NULL, table_add, &s->waiting);
	if (r >= 0)
		vine_query(v, "moved", NULL, table_add, &s->moved);
	if (r >= 0)
		vine_query(v, "staged", NULL, table_add, &s->staged);
	if (r >= 0 && for_people)
		count_runs(s, v);
	int status = r < 0 ? tool_fail(&status_table, "%s", vine_error()) : 0;
	vine_close(v, 1);
	return status;
}

/* ---- of a run, or of tasks */

struct of_run {
	const char *run;
	struct counts c;
	uint64_t n_untaken; /* results that nobody has waited for */
	struct table waiting;
};

static int note_untaken(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	for (size_t i = 0; i < n; i++) {
		if (streq(names[i], "unacknowledged"))
			*(uint64_t *)arg = strtoull(cells[i], NULL, 10);
	}
	return 0;
}

static void print_run_json(const struct of_run *r)
{
	struct json j = {0};
	const struct {
		const char *name;
		uint64_t n;
	} numbers[] = {{"tasks", counts_all(&r->c)}, {"waiting", r->c.waiting}, {"running", r->c.running},
		       {"held", r->c.held},          {"done", r->c.done},       {"failed", r->c.failed},
		       {"cancelled", r->c.cancelled}};
	json_begin(&j, NULL, '{');
	json_text(&j, "run", r->run);
	for (size_t i = 0; i < countof(numbers); i++)
		json_number(&j, numbers[i].name, (int64_t)numbers[i].n);
	json_number(&j, "worst", r->c.worst);
	json_begin(&j, "reasons", '[');
	for (size_t i = 0; i < r->waiting.n_rows; i++)
		put_row(&j, NULL, &r->waiting, i);
	json_end(&j, ']');
	json_end(&j, '}');
	fputs(buf_text(&j.out), stdout);
	buf_fini(&j.out);
}

static void print_run(const struct of_run *r)
{
	char text[200];
	printf("run      %s%s%s\n", colour(COLOUR_BOLD), r->run, colour(COLOUR_NONE));
	printf("tasks    %" PRIu64 ": %s\n", counts_all(&r->c), counts_text(&r->c, text));
	print_waiting(&r->waiting);
	if (r->c.failed)
		printf("next     vine why %s@failed; vine logs %s@failed\n", r->run, r->run);
	else if (r->c.waiting && !r->c.running)
		printf("next     vine why %s; vine cancel %s ends it\n", r->run, r->run);
	else if (counts_unfinished(&r->c) || r->n_untaken)
		printf("next     vine wait %s\n", r->run);
	else
		printf("next     vine logs %s; vine forget %s, when it is not needed any more\n", r->run, r->run);
}

static int show_run(const struct status_options *o, struct vine *v, const char *run)
{
	struct of_run r = {.run = run};
	int status = counts_of_run(&status_table, v, run, &r.c);
	if (status)
		return status;
	vine_query(v, "runs", run, note_untaken, &r.n_untaken);
	if (r.c.waiting + r.c.held && vine_query(v, "waiting", run, table_add, &r.waiting) < 0)
		status = tool_fail(&status_table, "%s", vine_error());
	else if (o->json)
		print_run_json(&r);
	else
		print_run(&r);
	table_fini(&r.waiting);
	return status;
}

static void add_task(struct table *to, const struct table *all, size_t row)
{
	static const char *const shown[] = {"task", "run", "name", "state", "node", "how", "status", "reason"};
	const char *values[countof(shown)];
	for (size_t i = 0; i < countof(shown); i++)
		values[i] = table_find(all, row, shown[i]) ?: "";
	table_add(to, countof(shown), shown, values);
}

static int show_tasks(const struct status_options *o, struct vine *v, const struct selector *s)
{
	struct table rows = {0}, all = {0};
	struct json j = {0};
	int status = selector_rows(&status_table, v, s, &all);
	json_begin(&j, NULL, '[');
	for (size_t i = 0; i < all.n_rows && o->json; i++)
		put_row(&j, NULL, &all, i);
	json_end(&j, ']');
	for (size_t i = 0; i < all.n_rows && !o->json; i++)
		add_task(&rows, &all, i);
	if (!status && o->json)
		fputs(buf_text(&j.out), stdout);
	else if (!status && rows.n_rows)
		table_print(&rows, stdout);
	else if (!status)
		printf("%s: there is none\n", s->text);
	buf_fini(&j.out);
	table_fini(&rows);
	table_fini(&all);
	return status;
}

static int show_words(const struct status_options *o, char **words)
{
	struct vine *v;
	int status = session_look(&status_table, NULL, &v);
	if (status)
		return status;
	for (; *words && !status; words++) {
		struct selector s;
		char why[SELECTOR_WHY];
		if (selector_parse(*words, &s, why) < 0)
			status = tool_fail(&status_table, "%s", why);
		else if (s.kind == SELECTOR_RUN)
			status = show_run(o, v, s.run);
		else
			status = show_tasks(o, v, &s);
	}
	vine_close(v, 1);
	return status;
}

int cmd_status(int argc, char **argv)
{
	struct status_options o = {0};
	struct status s = {0};
	int status, n = tool_words(&status_table, &o, argc, argv, &status);
	if (n > 0)
		status = show_words(&o, argv + 1);
	else if (n == 0)
		status = read_status(&s, !o.json);
	if (n == 0 && !status && s.cluster.n_rows)
		o.json ? print_json(&s) : print_text(&s);
	if (n >= 0 && !status)
		status = tool_end(&status_table, 0);
	table_fini(&s.staged);
	table_fini(&s.cluster);
	table_fini(&s.nodes);
	table_fini(&s.runs);
	table_fini(&s.shown);
	table_fini(&s.waiting);
	table_fini(&s.moved);
	conf_fini(&status_table, &o);
	return status;
}
