/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/why_task.h"

#include "common/log.h"
#include "libvineclient/vine.h"
#include "tools/selector.h"
#include "tools/why_cause.h"

#include <inttypes.h>
#include <time.h>

#define TAIL_LINES 5u
#define LABEL_MOST 40u
#define SLOW_TIMES 2u /* as long as those beside it */
#define SLOW_USEC 1000000u

static const char *cell(const struct table *t, size_t row, const char *name)
{
	return row < t->n_rows ? table_find(t, row, name) ?: "" : "";
}

static uint64_t number(const struct table *t, size_t row, const char *name)
{
	return strtoull(cell(t, row, name), NULL, 10);
}

/* A line of its own; nothing of "". */
static void put_line(struct buf *text, const char *before, const char *line)
{
	char safe[1200];
	if (*line)
		buf_printf(text, "  %s%s\n", before, log_escape(line, strlen(line), safe, sizeof safe));
}

/* ---- what failed */

/* The last lines, escaped, each behind a bar. */
static void put_tail(struct buf *text, char *tail)
{
	size_t n = strlen(tail), n_lines = 0;
	while (n && tail[n - 1] == '\n')
		tail[--n] = 0;
	char *at = tail + n;
	while (at > tail && n_lines < TAIL_LINES) {
		at--;
		n_lines += *at == '\n';
	}
	at += n_lines == TAIL_LINES;
	for (char *save = NULL, *line = strtok_r(at, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char safe[512];
		buf_printf(text, "  | %s\n", log_escape(line, strlen(line), safe, sizeof safe));
	}
}

static void put_how(struct buf *text, const struct table *t, size_t row)
{
	const char *how = cell(t, row, "how"), *status = cell(t, row, "status");
	const char *reason = cell(t, row, "reason"), *node = cell(t, row, "node");
	const char *signal = cause_signal((unsigned)atoi(status));
	char wall[32];
	print_usec(wall, number(t, row, "wall_usec"));
	if (streq(how, "exited"))
		buf_printf(text, "exit status %s", status);
	else if (streq(how, "killed"))
		buf_printf(text, "killed by signal %s%s%s%s", status, signal ? " (SIG" : "", signal ?: "",
			   signal ? ")" : "");
	else if (streq(how, "not started"))
		buf_printf(text, "it could not be started");
	else if (streq(how, "no output"))
		buf_printf(text, "it ended well, but left not what it declared");
	else
		buf_printf(text, "%s", how);
	if (*reason)
		buf_printf(text, ": %s", reason);
	/* The reason may name it already. */
	if (*node && !strstr(reason, "on node "))
		buf_printf(text, "; on node %s", node);
	if (*node)
		buf_printf(text, ", after %s", wall);
}

static void put_failure(struct vine *v, struct buf *text, const struct table *t, size_t row)
{
	uint64_t task = tool_task(cell(t, row, "task"));
	_free_ char *said = NULL;
	struct cause c;
	why_cause(v, t, row, &c, &said);
	buf_printf(text, "failed: ");
	put_how(text, t, row);
	buf_printf(text, "\n");
	put_tail(text, said);
	/* What the node says of a limit tells more. */
	put_line(text, "", *cell(t, row, "exceeded") && *cell(t, row, "reason") ? "" : c.what);
	put_line(text, "next: ", c.next);
	if (number(t, row, "attempts"))
		buf_printf(text, "  next: vine logs %" PRIu64 ", vine shell %" PRIu64 "\n", task, task);
}

/* ---- what is not over */

/* How long all that waits takes to begin, if the run goes on as the tasks beside this one went. */
static void put_outlook(struct buf *text, const struct table *more)
{
	char each[32], all[32];
	uint64_t waiting = number(more, 0, "run_waiting"), running = number(more, 0, "run_running");
	uint64_t median = number(more, 0, "median_usec"), usec;
	if (!running || !waiting)
		return;
	buf_printf(text, "  of its run %" PRIu64 " wait and %" PRIu64 " run", waiting, running);
	if (median && !mul_overflows(waiting / running + 1, median, &usec)) {
		print_usec(each, median);
		print_usec(all, usec);
		buf_printf(text, ", about %s each: the last begins in about %s", each, all);
	}
	buf_puts(text, "\n");
}

static void put_waiting(struct vine *v, struct buf *text, const struct table *t, size_t row)
{
	struct table more = {0};
	const char *reason = cell(t, row, "reason"), *state = cell(t, row, "state");
	buf_printf(text, "%s: %s\n", streq(state, "held") ? "is held" : "waits",
		   *reason ? reason : "it is about to begin");
	why_ask(v, tool_task(cell(t, row, "task")), &more);
	if (number(t, row, "attempts"))
		buf_printf(text, "  it was begun %s before, and did not end well: vine logs %s\n",
			   streq(cell(t, row, "attempts"), "1") ? "once" : "more than once", cell(t, row, "task"));
	put_outlook(text, &more);
	put_line(text, "next: ", cell(&more, 0, "cure"));
	table_fini(&more);
}

/* The wall clock's time of "2026-11-22T02:00:00Z"; 0: it is none. */
static time_t parse_time(const char *text)
{
	struct tm tm = {0};
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return end && !*end ? timegm(&tm) : 0;
}

/* Compared with those beside it in its run, of which enough are over. */
static void put_slow(struct buf *text, uint64_t usec, const struct table *more)
{
	char median_text[32], moved_text[32];
	uint64_t median = number(more, 0, "median_usec"), moved = number(more, 0, "moved_size");
	if (!median || usec < SLOW_USEC || usec / SLOW_TIMES < median)
		return;
	print_usec(median_text, median);
	print_size(moved_text, moved);
	buf_printf(text, "  that is long: half of those beside it took less than %s", median_text);
	if (moved)
		buf_printf(text, "; %s of its inputs were brought from elsewhere first or meanwhile", moved_text);
	buf_puts(text, "\n");
}

static void put_running(struct vine *v, struct buf *text, const struct table *t, size_t row)
{
	struct table more = {0};
	const char *attempts = cell(t, row, "attempts");
	time_t started = parse_time(cell(t, row, "started")), now = time(NULL);
	bool is_again = number(t, row, "attempts") > 1;
	buf_printf(text, "runs on node %s since %s%s%s\n", cell(t, row, "node"), cell(t, row, "started"),
		   is_again ? ", attempt " : "", is_again ? attempts : "");
	why_ask(v, tool_task(cell(t, row, "task")), &more);
	if (started && now > started)
		put_slow(text, (uint64_t)(now - started) * 1000000, &more);
	if (more.n_rows)
		buf_printf(text, "  next: vine logs -f %s\n", cell(t, row, "task"));
	table_fini(&more);
}

/* ---- what went well: why there, and why so slowly */

/* "; its inputs: 120.0 MB were there, 30.0 MB came from n3, n4". What an older node did not tell apart was brought from somewhere. */
static void put_inputs(struct buf *text, const struct table *more)
{
	static const struct {
		const char *column, *words;
	} origins[] = {{"peer_size", "came from other nodes"},
		       {"source_size", "were read where they lie"},
		       {"client_size", "were sent by a client"}};
	uint64_t local = number(more, 0, "local_size"), rest = number(more, 0, "moved_size");
	const char *from = cell(more, 0, "from"), *between = " ";
	char size[32];
	if (!local && !rest)
		return;
	buf_puts(text, "\n  its inputs:");
	print_size(size, local);
	if (local) {
		buf_printf(text, " %s were there, which is why it ran there", size);
		between = ", ";
	}
	for (size_t i = 0; i < countof(origins); i++) {
		uint64_t n = number(more, 0, origins[i].column);
		print_size(size, n);
		if (n && !i && *from)
			buf_printf(text, "%s%s came from %s", between, size, from);
		else if (n)
			buf_printf(text, "%s%s %s", between, size, origins[i].words);
		between = n ? ", " : between;
		rest -= min(n, rest);
	}
	print_size(size, rest);
	if (rest)
		buf_printf(text, "%s%s were brought", between, size);
}

static void put_done(struct vine *v, struct buf *text, const struct table *t, size_t row)
{
	struct table more = {0};
	char wall[32];
	const char *attempts = cell(t, row, "attempts");
	print_usec(wall, number(t, row, "wall_usec"));
	buf_printf(text, "ended well on node %s after %s", cell(t, row, "node"), wall);
	if (number(t, row, "attempts") > 1)
		buf_printf(text, ", in attempt %s", attempts);
	why_ask(v, tool_task(cell(t, row, "task")), &more);
	put_inputs(text, &more);
	buf_puts(text, "\n");
	put_slow(text, number(t, row, "wall_usec"), &more);
	table_fini(&more);
}

void why_task(struct vine *v, const struct table *t, size_t row, struct buf *text)
{
	char label[SELECTOR_LABEL];
	const char *state = cell(t, row, "state"), *how = cell(t, row, "how"), *task = cell(t, row, "task");
	const char *node = cell(t, row, "node");
	selector_label(t, row, label);
	/* A key that a program made up tells nobody anything. */
	bool is_told = streq(label, task) || strlen(label) > LABEL_MOST;
	buf_printf(text, is_told ? "task %s " : "task %s (%s) ", task, label);
	if (streq(state, "running"))
		put_running(v, text, t, row);
	else if (streq(state, "queued") || streq(state, "held"))
		put_waiting(v, text, t, row);
	else if (streq(how, "cancelled"))
		buf_printf(text, "was cancelled%s%s\n", *node ? " while it ran on node " : "", node);
	else if (streq(how, "exited") && streq(cell(t, row, "status"), "0"))
		put_done(v, text, t, row);
	else
		put_failure(v, text, t, row);
}
