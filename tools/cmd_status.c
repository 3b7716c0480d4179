/* SPDX-License-Identifier: Apache-2.0
 * vine status: the cluster, its nodes, the tasks by state. */
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/json.h"

#define CONF_STRUCT status_options
#define CONF_FILE "tools/status.def"
#include "common/conf_struct.h"
#define CONF_STRUCT status_options
#define CONF_FILE "tools/status.def"
#include "common/conf_table.h"

const struct conf_table status_table = {
	.program = "vine status",
	.summary = "show the cluster, its nodes and its tasks",
	.usage = "",
	.at = status_options_table,
	.n = countof(status_options_table),
};

struct status {
	struct table cluster, nodes;
};

/* How a column is shown to people; what is not here is shown as it comes. */
enum kind { KIND_PLAIN, KIND_SIZE, KIND_NAME };
static const struct {
	const char *column;
	enum kind kind;
} kinds[] = {
	{"memory", KIND_SIZE},  {"name", KIND_NAME},   {"node", KIND_NAME},    {"cluster", KIND_NAME},
	{"version", KIND_NAME}, {"kernel", KIND_NAME}, {"address", KIND_NAME},
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

static void print_json(const struct status *s)
{
	struct json j = {0};
	json_begin(&j, NULL, '{');
	json_begin(&j, "nodes", '[');
	for (size_t i = 0; i < s->nodes.n_rows; i++)
		put_row(&j, NULL, &s->nodes, i);
	json_end(&j, ']');
	for (size_t i = 0; i < min(s->cluster.n_rows, (size_t)1); i++)
		put_row(&j, "cluster", &s->cluster, i);
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

static void print_text(const struct status *s)
{
	char up[32];
	print_usec(up, strtoull(of_cluster(s, "uptime_sec"), NULL, 10) * 1000000);
	printf("cluster  %s%s%s (%s), vined %s up %s\n", colour(COLOUR_BOLD), of_cluster(s, "state"),
	       colour(COLOUR_NONE), of_cluster(s, "cluster"), of_cluster(s, "version"), up);
	printf("address  %s\n", of_cluster(s, "address"));
	printf("tasks    %s queued, %s running, %s held, %s ended but not fetched, in %s runs\n",
	       of_cluster(s, "queued"), of_cluster(s, "running"), of_cluster(s, "held"), of_cluster(s, "ended"),
	       of_cluster(s, "runs"));
	printf("cores    %s free of %s on %s nodes\n\n", of_cluster(s, "cores_free"), of_cluster(s, "cores"),
	       of_cluster(s, "nodes"));
	if (s->nodes.n_rows)
		table_print(&s->nodes, stdout);
	else
		printf("No node has joined. On each one: vinefs --vined=%s --secret=FILE\n", of_cluster(s, "address"));
}

static int read_status(struct status *s, bool for_people)
{
	struct vine *v;
	vine_row_fn *add = for_people ? add_for_people : table_add;
	int r = vine_open(&v, NULL, NULL);
	if (r < 0)
		return tool_fail(&status_table, "%s", vine_error());
	r = vine_query(v, "cluster", NULL, add, &s->cluster);
	if (r >= 0)
		r = vine_query(v, "nodes", NULL, add, &s->nodes);
	int status = r < 0 ? tool_fail(&status_table, "%s", vine_error()) : 0;
	vine_close(v, 1);
	return status;
}

int cmd_status(int argc, char **argv)
{
	struct status_options o = {0};
	struct status s = {0};
	int status, first = tool_options(&status_table, &o, argc, argv, &status);
	if (first >= 0 && first < argc)
		status = tool_fail(&status_table, "'%s': takes no words", argv[first]);
	else if (first >= 0)
		status = read_status(&s, !o.json);
	if (first >= 0 && !status && s.cluster.n_rows) {
		o.json ? print_json(&s) : print_text(&s);
		status = tool_end(&status_table, 0);
	}
	table_fini(&s.cluster);
	table_fini(&s.nodes);
	conf_fini(&status_table, &o);
	return status;
}
