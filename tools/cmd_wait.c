/* SPDX-License-Identifier: Apache-2.0
 * vine wait: until tasks are over. vined answers when they are, so that waiting costs nothing while nothing happens. */
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/counts.h"
#include "tools/selector.h"
#include "tools/session.h"
#include "tools/why_failed.h"

#include <inttypes.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#define CONF_STRUCT wait_options
#define CONF_FILE "tools/wait.def"
#include "common/conf_struct.h"
#define CONF_STRUCT wait_options
#define CONF_FILE "tools/wait.def"
#include "common/conf_table.h"

const struct conf_table wait_table = {
	.program = "vine wait",
	.summary = "wait until a run, or tasks of it, are over",
	.usage = "RUN|TASK ...",
	.at = wait_options_table,
	.n = countof(wait_options_table),
};

#define EXIT_TIME_OVER 124
#define LEAST_MSEC 2000 /* until it is said why all waits, then longer */
#define MOST_MSEC 20000 /* so long vined lets a question wait */
#define LOOK_MSEC 200   /* at a vined that is older than the question */
#define LOOK_MOST_MSEC 5000

struct waiting {
	struct vine *v;
	const struct wait_options *o;
	struct selector s;
	uint64_t until_msec; /* monotonic; 0: none */
	bool is_old;         /* vined does not know the question whether something is over */
	char said[256];
};

static uint64_t now_msec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int note_reason(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	char *reason = arg;
	for (size_t i = 0; i < n; i++) {
		if (streq(names[i], "reason"))
			snprintf(reason, 256, "%s", cells[i]);
	}
	return 1; /* the commonest is the first */
}

/* Once for each reason. */
static void say_waiting(struct waiting *w)
{
	char reason[256] = "";
	struct counts c;
	if (w->o->quiet || !*w->s.run || counts_ask(w->v, w->s.run, &c) < 0 || !c.waiting || c.running)
		return;
	if (vine_query(w->v, "waiting", w->s.run, note_reason, reason) < 0 || !*reason || streq(reason, w->said))
		return;
	tool_fail(NULL, "waiting: %s", reason);
	memcpy(w->said, reason, sizeof reason);
}

/* For how long to be silent; 0: the time is over. */
static int patience(const struct waiting *w, int msec)
{
	uint64_t now = w->until_msec ? now_msec() : 0;
	return now < w->until_msec ? (int)min((uint64_t)msec, w->until_msec - now) : w->until_msec ? 0 : msec;
}

static int note_over(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	bool *is_over = arg;
	for (size_t i = 0; i < n; i++)
		*is_over |= streq(names[i], "over") && streq(cells[i], "yes");
	return 0;
}

/* Until it is over (1), or for so long (0). vined answers when it is: nothing is asked meanwhile. */
static int await(struct waiting *w, const char *what, int msec)
{
	_free_ char *question = xasprintf("%d000 %s", msec, what);
	bool is_over = false;
	int r = vine_query(w->v, "over", question, note_over, &is_over);
	w->is_old = r == -EINVAL;
	return r < 0 && !w->is_old ? r : is_over;
}

/* The same of a vined that one has to ask again and again. */
static int look(struct waiting *w, const char *what, int msec)
{
	struct counts c;
	poll(NULL, 0, msec);
	int r = counts_ask(w->v, what, &c);
	return r < 0 ? r : !counts_unfinished(&c);
}

static int say_time_over(const char *what)
{
	tool_fail(&wait_table, "%s is not over yet, and the time to wait is", what);
	return EXIT_TIME_OVER;
}

/* Of a run, or of one task, by its name or number. */
static int wait_until_over(struct waiting *w, const char *what, int *worst)
{
	struct counts c;
	for (int msec = LEAST_MSEC, pause = LOOK_MSEC;; msec = min(2 * msec, MOST_MSEC)) {
		int left = patience(w, w->is_old ? pause : msec);
		int r = w->is_old ? look(w, what, left) : await(w, what, left);
		if (r > 0)
			r = counts_ask(w->v, what, &c) < 0 ? -1 : 1;
		if (r < 0)
			return tool_fail(&wait_table, "%s", vine_error());
		if (r > 0) {
			*worst = max(*worst, c.worst);
			return 0;
		}
		if (!left)
			return say_time_over(what);
		if (!w->is_old || pause == LOOK_MOST_MSEC)
			say_waiting(w);
		pause = min(2 * pause, LOOK_MOST_MSEC);
	}
}

/* The next thing to type, if something failed, and from what. */
static void say_end(const struct waiting *w)
{
	struct counts c;
	char text[200];
	const char *what = w->s.text;
	if (w->o->quiet || counts_ask(w->v, what, &c) < 0)
		return;
	if (!c.failed) {
		tool_fail(NULL, "%s: %s", what, counts_text(&c, text));
		return;
	}
	tool_fail(NULL, "%s: %s: vine why %s%s", what, counts_text(&c, text), what,
		  w->s.kind == SELECTOR_RUN ? "@failed" : "");
	_cleanup_(buf_fini) struct buf causes = {0};
	_free_ char *failed = w->s.kind == SELECTOR_RUN ? xasprintf("%s@failed", what) : xstrdup(what);
	why_failed_of(w->v, failed, &causes);
	fputs(buf_text(&causes), stderr);
}

static int wait_for_tasks(struct waiting *w, const struct table *rows, const char *run, int *worst)
{
	int status = 0;
	for (size_t i = 0; i < rows->n_rows && !status; i++) {
		if (streq(table_find(rows, i, "run"), run))
			status = wait_until_over(w, table_find(rows, i, "task"), worst);
	}
	return status;
}

static int wait_in(const struct wait_options *o, const struct selector *s, const struct table *rows, const char *run,
		   int *worst)
{
	struct waiting w = {.o = o, .s = *s, .until_msec = o->timeout ? now_msec() + o->timeout / 1000 : 0};
	int status = session_look(&wait_table, NULL, &w.v);
	if (status)
		return status;
	snprintf(w.s.run, sizeof w.s.run, "%s", run);
	status = s->kind == SELECTOR_RUN ? wait_until_over(&w, run, worst) : wait_for_tasks(&w, rows, run, worst);
	if (!status)
		say_end(&w);
	vine_close(w.v, 1);
	return status;
}

/* Which they are, before any run is attached to, since attaching makes one that is not there. */
static int find(const char *word, struct selector *s, struct table *rows)
{
	char why[SELECTOR_WHY];
	struct vine *v;
	struct counts c;
	if (selector_parse(word, s, why) < 0)
		return tool_fail(&wait_table, "%s", why);
	int status = session_look(&wait_table, NULL, &v);
	if (status)
		return status;
	if (s->kind != SELECTOR_RUN)
		status = selector_rows(&wait_table, v, s, rows);
	else
		status = counts_of_run(&wait_table, v, s->run, &c);
	vine_close(v, 1);
	return status;
}

static int wait_for(const struct wait_options *o, const char *word, int *worst)
{
	struct selector s;
	struct table rows = {0};
	int status = find(word, &s, &rows);
	const char *before = "";
	if (!status && s.kind == SELECTOR_RUN)
		status = wait_in(o, &s, &rows, s.run, worst);
	for (size_t i = 0; i < rows.n_rows && !status; i++) {
		const char *run = table_find(&rows, i, "run");
		if (!streq(run, before))
			status = wait_in(o, &s, &rows, run, worst);
		before = run;
	}
	table_fini(&rows);
	return status;
}

int cmd_wait(int argc, char **argv)
{
	struct wait_options o = {0};
	int worst = 0, status, n = tool_words(&wait_table, &o, argc, argv, &status);
	if (n == 0)
		status = tool_fail(&wait_table, "for what? Try: vine wait sweep, vine wait 17");
	else if (n > 0)
		status = 0;
	for (int i = 1; i <= n && !status; i++)
		status = wait_for(&o, argv[i], &worst);
	if (n > 0 && o.json && (!status || status == EXIT_TIME_OVER))
		status = counts_json(&wait_table, argv + 1, n, status ? status : worst);
	conf_fini(&wait_table, &o);
	return status ? status : worst;
}
