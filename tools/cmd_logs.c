/* SPDX-License-Identifier: Apache-2.0
 * vine logs: what a task has written. */
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/json.h"
#include "tools/output.h"
#include "tools/selector.h"
#include "tools/session.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>

enum { LOGS_OUT, LOGS_ERR, LOGS_BOTH };
static const char *const logs_only_words[] = {"out", "err", "both", NULL};

#define CONF_STRUCT logs_options
#define CONF_FILE "tools/logs.def"
#include "common/conf_struct.h"
#define CONF_STRUCT logs_options
#define CONF_FILE "tools/logs.def"
#include "common/conf_table.h"

const struct conf_table logs_table = {
	.program = "vine logs",
	.summary = "print what a task has written",
	.usage = "TASK|RUN|RUN@failed",
	.at = logs_options_table,
	.n = countof(logs_options_table),
};

#define LOOK_MSEC 250 /* at a task that does not run */
#define LOOK_MOST_MSEC 4000

/* ---- what a task has written so far */

static int print_once(struct vine *v, uint64_t task, int which, uint64_t offset)
{
	int64_t r = vine_output(v, task, which, offset, which);
	/* A reader who went away has seen enough. */
	return r < 0 && r != -EPIPE ? tool_fail(&logs_table, "%s", vine_error()) : 0;
}

/* ---- as it writes */

struct follow {
	struct vine *v;
	uint64_t task, offset;
	int which;
	bool is_talking; /* one of two says why it waits */
	char said[256];
	int status;
};

/* Where the task is. */
struct place {
	char state[16], reason[256], how[32];
	uint64_t attempts;
};

static int note_place(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct place *p = arg;
	for (size_t i = 0; i < n; i++) {
		if (streq(names[i], "state"))
			snprintf(p->state, sizeof p->state, "%s", cells[i]);
		else if (streq(names[i], "reason"))
			snprintf(p->reason, sizeof p->reason, "%s", cells[i]);
		else if (streq(names[i], "how"))
			snprintf(p->how, sizeof p->how, "%s", cells[i]);
		else if (streq(names[i], "attempts"))
			p->attempts = strtoull(cells[i], NULL, 10);
	}
	return 0;
}

static int look(struct vine *v, uint64_t task, struct place *p)
{
	char selector[24];
	*p = (struct place){.attempts = 0};
	snprintf(selector, sizeof selector, "%" PRIu64, task);
	return vine_query(v, "tasks", selector, note_place, p);
}

static void say_waiting(struct follow *f, const struct place *p)
{
	if (!f->is_talking || !*p->reason || streq(p->reason, f->said))
		return;
	tool_fail(NULL, "waiting: %s", p->reason);
	snprintf(f->said, sizeof f->said, "%s", p->reason);
}

static bool is_over(const struct place *p)
{
	return streq(p->state, "ended") || streq(p->state, "delivered");
}

static bool is_waiting(const struct place *p)
{
	return streq(p->state, "queued") || streq(p->state, "held");
}

/* To the end of the task: over attempts that were lost, whose successors begin with nothing written. */
static int follow_one(struct follow *f)
{
	struct place p, before = {.attempts = 0};
	uint64_t done = f->offset;
	for (int msec = LOOK_MSEC;; msec = min(2 * msec, LOOK_MOST_MSEC)) {
		if (look(f->v, f->task, &p) < 0)
			return tool_fail(&logs_table, "%s", vine_error());
		if (p.attempts != before.attempts)
			done = f->offset;
		before = p;
		if (is_over(&p) && !p.attempts)
			return tool_fail(&logs_table, "task %" PRIu64 " never ran: %s%s%s", f->task, p.how,
					 *p.reason ? ": " : "", p.reason);
		if (is_over(&p))
			return print_once(f->v, f->task, f->which, done);
		say_waiting(f, &p);
		int64_t r = is_waiting(&p) ? 0 : vine_output(f->v, f->task, f->which | VINE_FOLLOW, done, f->which);
		if (r == -EPIPE)
			return 0;
		done += r > 0 ? (uint64_t)r : 0;
		msec = r > 0 ? LOOK_MSEC : msec;
		poll(NULL, 0, msec);
	}
}

static void *follow_thread(void *arg)
{
	struct follow *f = arg;
	f->status = follow_one(f);
	return NULL;
}

static int follow_both(struct vine *v, uint64_t task, uint64_t offset)
{
	struct follow out = {.v = v, .task = task, .offset = offset, .which = 1, .is_talking = true}, err = out;
	pthread_t thread;
	err.which = 2;
	err.is_talking = false;
	int r = pthread_create(&thread, NULL, follow_thread, &err);
	if (r)
		return tool_fail(&logs_table, "no thread: %s", strerror(r));
	follow_thread(&out);
	pthread_join(thread, NULL);
	return out.status ? out.status : err.status;
}

static int show(const struct logs_options *o, struct vine *v, uint64_t task)
{
	struct follow one = {.v = v,
			     .task = task,
			     .offset = (uint64_t)o->offset,
			     .which = o->only == LOGS_ERR ? 2 : 1,
			     .is_talking = true};
	int status = 0;
	if (o->follow && o->only == LOGS_BOTH)
		return follow_both(v, task, (uint64_t)o->offset);
	if (o->follow)
		return follow_one(&one);
	for (int which = 1; which <= 2 && !status; which++) {
		if (o->only != (which == 1 ? LOGS_ERR : LOGS_OUT))
			status = print_once(v, task, which, (uint64_t)o->offset);
	}
	return status;
}

static int put_logs(const struct logs_options *o, struct vine *v, struct json *j, uint64_t task, const char *run)
{
	int status = 0;
	json_begin(j, NULL, '{');
	json_number(j, "task", (int64_t)task);
	json_text(j, "run", run);
	if (o->only != LOGS_ERR)
		status = output_json(&logs_table, v, j, "out", task, 1, (uint64_t)o->offset);
	if (!status && o->only != LOGS_OUT)
		status = output_json(&logs_table, v, j, "err", task, 2, (uint64_t)o->offset);
	json_end(j, '}');
	return status;
}

/* How it ended, or where it is. */
static void describe(const struct table *rows, size_t row, char to[64])
{
	const char *state = table_find(rows, row, "state"), *how = table_find(rows, row, "how");
	const char *status = table_find(rows, row, "status");
	bool is_over_now = streq(state, "ended") || streq(state, "delivered");
	if (is_over_now && streq(how, "exited"))
		snprintf(to, 64, "exit status %.10s", status);
	else if (is_over_now && streq(how, "killed"))
		snprintf(to, 64, "signal %.10s", status);
	else
		snprintf(to, 64, "%.60s", is_over_now ? how : state);
}

/* Of several tasks, which; as tail does. */
static void print_head(const struct table *rows, size_t row, bool is_first)
{
	char label[SELECTOR_LABEL], how[64];
	const char *node = table_find(rows, row, "node");
	describe(rows, row, how);
	printf("%s==> task %s (%s): %s%s%s <==\n", is_first ? "" : "\n", table_find(rows, row, "task"),
	       selector_label(rows, row, label), how, *node ? " on node " : "", node);
	fflush(stdout);
}

/* Rows are the newest first; one reads from the oldest on. */
static int print_rows(const struct logs_options *o, struct vine *v, const struct table *rows, const char *word)
{
	int status = 0;
	size_t n_shown = min(rows->n_rows, (size_t)o->most);
	if (!rows->n_rows)
		tool_fail(NULL, "%s: there is none", word);
	for (size_t n = n_shown; n > 0; n--) {
		if (rows->n_rows > 1)
			print_head(rows, n - 1, n == n_shown);
		int one = show(o, v, tool_task(table_find(rows, n - 1, "task")));
		status = one ? one : status;
	}
	if (n_shown < rows->n_rows)
		tool_fail(NULL, "these are the newest %zu of %zu tasks; --most %zu shows all of them", n_shown,
			  rows->n_rows, rows->n_rows);
	return status;
}

/* As print_rows(), an array of objects. */
static int print_json(const struct logs_options *o, struct vine *v, const struct table *rows)
{
	int status = 0;
	struct json j = {0};
	json_begin(&j, NULL, '[');
	for (size_t n = min(rows->n_rows, (size_t)o->most); n > 0 && !status; n--)
		status = put_logs(o, v, &j, tool_task(table_find(rows, n - 1, "task")), table_find(rows, n - 1, "run"));
	json_end(&j, ']');
	if (status)
		buf_fini(&j.out);
	else
		json_print(&j);
	return status;
}

static int print_selected(const struct logs_options *o, struct vine *v, const char *word)
{
	struct selector s;
	struct table rows = {0};
	char why[SELECTOR_WHY];
	if (selector_parse(word, &s, why) < 0)
		return tool_fail(&logs_table, "%s", why);
	if (s.kind == SELECTOR_TASK && !o->json)
		return show(o, v, s.task);
	int status = selector_rows(&logs_table, v, &s, &rows);
	if (!status)
		status = o->json ? print_json(o, v, &rows) : print_rows(o, v, &rows, word);
	table_fini(&rows);
	return status;
}

static int print_logs(const struct logs_options *o, const char *word)
{
	struct vine *v;
	int status = session_look(&logs_table, NULL, &v);
	if (status)
		return status;
	/* One can be followed, however it is named. */
	uint64_t task = o->follow ? selector_one(&logs_table, v, word, &status) : 0;
	if (!o->follow)
		status = print_selected(o, v, word);
	else if (task)
		status = show(o, v, task);
	vine_close(v, 1);
	return status;
}

int cmd_logs(int argc, char **argv)
{
	struct logs_options o = {0};
	int status, n = tool_words(&logs_table, &o, argc, argv, &status);
	if (n >= 0 && n != 1)
		status = tool_fail(&logs_table, "which task? Try: vine logs 17, vine logs sweep@failed");
	else if (n == 1 && o.json && o.follow)
		status = tool_fail(&logs_table, "--json wants what is written, --follow what will be: one of them");
	else if (n == 1)
		status = print_logs(&o, argv[1]);
	conf_fini(&logs_table, &o);
	return status;
}
