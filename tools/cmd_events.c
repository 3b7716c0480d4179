/* SPDX-License-Identifier: Apache-2.0
 * vine events: what happened in the cluster, and what happens. vined is asked for what came after a moment, which it gave with the last answer
 * (vined/command_events.c): so nothing is told twice or left out, whatever connection or vined it is. */
#include "common/log.h"
#include "libvineclient/vine.h"
#include "tools/cmd.h"
#include "tools/counts.h"
#include "tools/json.h"
#include "tools/selector.h"
#include "tools/session.h"
#include "tools/when.h"

#include <inttypes.h>
#include <poll.h>
#include <time.h>

#define CONF_STRUCT events_options
#define CONF_FILE "tools/events.def"
#include "common/conf_struct.h"
#define CONF_STRUCT events_options
#define CONF_FILE "tools/events.def"
#include "common/conf_table.h"

const struct conf_table events_table = {
	.program = "vine events",
	.summary = "show what happened, and what happens",
	.usage = "[RUN|TASK]",
	.at = events_options_table,
	.n = countof(events_options_table),
};

#define SHOWN 50u
#define SHOWN_MOST 200000u /* in memory, until all are in order */
#define PAGE 1000u         /* so many in an answer: there are more */
#define LOOK_MSEC 200
#define OVER_LOOKS 2 /* the end of a run's last task is recorded a moment after it is over */

/* A row of vined's; cells in the order of the words. */
static const char *const words[] = {"at_usec", "event", "task", "run", "node", "item", "text"};
enum { CELL_AT, CELL_EVENT, CELL_TASK, CELL_RUN, CELL_NODE, CELL_ITEM, CELL_TEXT, CELLS };
struct event {
	int64_t at_usec;
	size_t order; /* of arrival: equal times stay in it */
	char *cells[CELLS];
};

struct watching {
	const struct events_options *o;
	struct vine *v;
	char subject[70]; /* a run or a task; "": all */
	size_t most;      /* of the past */
	int64_t since_usec;
	char *next;           /* of the last answer: the moment, or the page, to ask from */
	struct buf past;      /* struct event */
	size_t n_new, n_ever; /* n_new: of the last answer */
	bool is_live;         /* rows are printed as they come */
	bool is_away;         /* that vined does not answer was said */
};

/* ---- printing */

static void put_json(const struct event *e)
{
	char at[WHEN_TEXT];
	struct json j = {0};
	json_begin(&j, NULL, '{');
	json_text(&j, "at", when_text(e->at_usec, true, at));
	json_number(&j, "at_usec", e->at_usec);
	for (size_t i = CELL_EVENT; i < CELLS; i++) {
		if (i == CELL_TASK && *e->cells[i])
			json_number(&j, words[i], strtoll(e->cells[i], NULL, 10));
		else if (*e->cells[i])
			json_text(&j, words[i], e->cells[i]);
	}
	json_end(&j, '}');
	/* Line ends stand between values only; those in texts are escaped. */
	for (const char *p = buf_text(&j.out); *p; p++) {
		if (*p == '\n')
			p += strspn(p + 1, " ");
		else
			fputs(*p == ',' && p[1] == '\n' ? ", " : (char[]){*p, 0}, stdout);
	}
	putchar('\n');
	buf_fini(&j.out);
}

static void put_cell(const char *text, int width)
{
	char line[1024];
	printf(" %-*s", width, log_escape(text, strlen(text), line, sizeof line));
}

static void put_text(const struct event *e)
{
	char at[WHEN_TEXT], task[400];
	snprintf(task, sizeof task, "%s%s%s", e->cells[CELL_TASK], *e->cells[CELL_RUN] ? " " : "", e->cells[CELL_RUN]);
	fputs(when_text(e->at_usec, false, at), stdout);
	put_cell(e->cells[CELL_EVENT], 12);
	put_cell(task, 16);
	put_cell(*e->cells[CELL_NODE] ? e->cells[CELL_NODE] : "-", 8);
	for (size_t i = CELL_ITEM; i < CELLS; i++) {
		if (*e->cells[i])
			put_cell(e->cells[i], 0);
	}
	putchar('\n');
}

static void print(const struct watching *w, const struct event *e)
{
	if (w->o->json)
		put_json(e);
	else
		put_text(e);
}

/* ---- rows */

static void event_fini(struct event *e)
{
	for (size_t i = 0; i < CELLS; i++)
		free(e->cells[i]);
}

static int by_time(const void *a, const void *b)
{
	const struct event *x = a, *y = b;
	if (x->at_usec != y->at_usec)
		return x->at_usec < y->at_usec ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static struct event *past_of(struct watching *w, size_t *n)
{
	*n = w->past.n / sizeof(struct event);
	return (struct event *)(void *)w->past.at;
}

/* Only the latest are kept; older ones need not even be told from now on. */
static void trim(struct watching *w)
{
	size_t n;
	struct event *e = past_of(w, &n);
	if (n)
		qsort(e, n, sizeof *e, by_time);
	if (n <= w->most)
		return;
	for (size_t i = 0; i < n - w->most; i++)
		event_fini(&e[i]);
	buf_consume(&w->past, (n - w->most) * sizeof *e);
	e = past_of(w, &n);
	if (n)
		w->since_usec = max(w->since_usec, e[0].at_usec);
}

static const char *cell(size_t n, const char *const names[], const char *const cells[], const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (streq(names[i], name))
			return cells[i];
	}
	return "";
}

static int on_row(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	struct watching *w = arg;
	struct event e = {.order = w->n_ever++};
	if (!*cell(n, names, cells, "event")) {
		free(w->next);
		w->next = xstrdup(cell(n, names, cells, "position"));
		return 0;
	}
	w->n_new++;
	for (size_t i = 0; i < CELLS; i++)
		e.cells[i] = xstrdup(cell(n, names, cells, words[i]));
	e.at_usec = strtoll(e.cells[CELL_AT], NULL, 10);
	if (w->is_live) {
		print(w, &e);
		event_fini(&e);
		return 0;
	}
	buf_put(&w->past, &e, sizeof e);
	if (w->past.n / sizeof e >= 2 * w->most + SHOWN)
		trim(w);
	return 0;
}

/* While vined is away one who follows waits for it. What was asked is not lost: an answer is told whole, or not at all. */
static int ask(struct watching *w, const char *selector)
{
	int r;
	w->n_new = 0;
	while ((r = vine_query(w->v, "events", selector, on_row, w)) == -ETIMEDOUT && w->o->follow) {
		if (!w->is_away)
			tool_fail(NULL, "%s; waiting for it", vine_error());
		w->is_away = true;
	}
	w->is_away = false;
	return min(r, 0);
}

/* ---- what has happened */

/* All that was between two moments, or the latest of it, in order. 0 or -errno. */
static int read_past(struct watching *w, const char *low, const char *high)
{
	int r = 0;
	free(w->next);
	w->next = xstrdup("-");
	w->is_live = false;
	while (!r && *w->next) {
		_free_ char *selector =
			xasprintf("between %s %s %" PRId64 " %s %s", low, high, w->since_usec, w->next, w->subject);
		r = ask(w, selector);
	}
	return r;
}

static void print_past(struct watching *w)
{
	size_t n;
	trim(w);
	struct event *e = past_of(w, &n);
	for (size_t i = 0; i < n; i++) {
		print(w, &e[i]);
		event_fini(&e[i]);
	}
	buf_consume(&w->past, w->past.n);
}

/* Of a past that could not be read to its end. */
static void forget_past(struct watching *w)
{
	size_t n;
	struct event *e = past_of(w, &n);
	for (size_t i = 0; i < n; i++)
		event_fini(&e[i]);
	buf_fini(&w->past);
}

/* Where vined has the latest at hand, nothing older need be looked at. 1: it has; 0, or -errno. */
static int read_recent(struct watching *w, char **moment)
{
	_free_ char *selector = xasprintf("recent %zu", w->most);
	if (*w->subject || w->since_usec)
		return 0;
	int r = ask(w, selector);
	if (r || !*w->next)
		return r;
	do {
		_free_ char *after = xasprintf("after %s", w->next);
		r = ask(w, after);
	} while (!r && w->n_new >= PAGE);
	if (!r) {
		free(*moment);
		*moment = xstrdup(w->next);
	}
	if (r != -ESTALE)
		return r ? r : 1;
	/* So much has happened meanwhile. */
	forget_past(w);
	w->since_usec = 0;
	return 0;
}

static int note_unfinished(void *arg, size_t n, const char *const names[], const char *const cells[])
{
	*(bool *)arg = streq(cell(n, names, cells, "unfinished"), "0");
	return 0;
}

/* ---- what happens */

static bool is_over(struct watching *w)
{
	bool is_over = false;
	struct counts c;
	if (!*w->subject)
		return false;
	if (tool_task(w->subject))
		return counts_ask(w->v, w->subject, &c) == 0 && !counts_unfinished(&c);
	return vine_query(w->v, "runs", w->subject, note_unfinished, &is_over) >= 0 && is_over;
}

/* vined has been started again, or much has happened meanwhile: what is behind the moment is read from its tables. */
static int catch_up(struct watching *w, char **moment)
{
	_free_ char *low = steal(*moment);
	int r = ask(w, "now");
	*moment = xstrdup(w->next);
	w->most = SHOWN_MOST;
	w->since_usec = 0;
	if (!r)
		r = read_past(w, low, *moment);
	if (!r)
		print_past(w);
	return r;
}

static int look(struct watching *w, char **moment)
{
	_free_ char *selector = xasprintf("after %s %s", *moment, w->subject);
	w->is_live = true;
	int r = ask(w, selector);
	if (r == -ESTALE)
		return catch_up(w, moment);
	if (!r) {
		free(*moment);
		*moment = xstrdup(w->next);
	}
	return r;
}

static int follow(struct watching *w, char **moment)
{
	int r = 0;
	for (int n_over = 0; !r && n_over < OVER_LOOKS;) {
		bool was_over = is_over(w);
		r = look(w, moment);
		/* Somebody has forgotten it, so it was over. */
		if (r == -ENOENT && *w->subject)
			return 0;
		/* A reader who went away has seen enough. */
		if (fflush(stdout) < 0)
			break;
		n_over = was_over && !w->n_new ? n_over + 1 : 0;
		if (!r && !w->n_new && n_over < OVER_LOOKS)
			poll(NULL, 0, LOOK_MSEC);
	}
	return r;
}

static int watch(struct watching *w)
{
	static const char none[] = "0.0.0.0";
	_free_ char *moment = NULL;
	int r = ask(w, "now");
	moment = xstrdup(w->next ?: none);
	bool has_past = !r && w->most;
	if (has_past)
		r = read_recent(w, &moment);
	if (!r && has_past)
		r = read_past(w, none, moment);
	if (r >= 0)
		print_past(w);
	if (r >= 0 && w->o->follow)
		r = follow(w, &moment);
	return r < 0 ? tool_fail(&events_table, "%s", vine_error()) : 0;
}

/* ---- words */

static int read_options(struct watching *w)
{
	const struct events_options *o = w->o;
	struct timespec now;
	char *end = o->number;
	clock_gettime(CLOCK_REALTIME, &now);
	w->most = *o->since ? SHOWN_MOST : o->follow ? 0 : SHOWN;
	if (*o->number)
		w->most = strtoul(o->number, &end, 10);
	if (*end || *o->number == '-' || w->most > SHOWN_MOST)
		return tool_fail(&events_table, "-n %s: wants a number up to %u", o->number, SHOWN_MOST);
	int64_t now_usec = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
	if (*o->since && when_parse(o->since, now_usec, &w->since_usec) < 0)
		return tool_fail(&events_table,
				 "--since '%s': wants an age, as in 10m, or a time, as in 14:30 or "
				 "'2026-01-31 14:30'",
				 o->since);
	return 0;
}

static int read_subject(struct watching *w, const char *word)
{
	struct selector s;
	char why[SELECTOR_WHY];
	int status = 0;
	struct counts c;
	if (selector_parse(word, &s, why) < 0)
		return tool_fail(&events_table, "%s", why);
	if (s.kind == SELECTOR_RUN) {
		snprintf(w->subject, sizeof w->subject, "%s", s.run);
		return counts_of_run(&events_table, w->v, s.run, &c);
	}
	uint64_t task = selector_one(&events_table, w->v, word, &status);
	snprintf(w->subject, sizeof w->subject, "%" PRIu64, task);
	return task ? 0 : status;
}

int cmd_events(int argc, char **argv)
{
	struct events_options o = {0};
	struct watching w = {.o = &o};
	int status, n = tool_words(&events_table, &o, argc, argv, &status);
	if (n > 1)
		status = tool_fail(&events_table, "of which one? Try: vine events sweep, vine events 17");
	else if (n >= 0)
		status = read_options(&w);
	if ((n == 0 || n == 1) && !status)
		status = session_look(&events_table, NULL, &w.v);
	if (w.v && n == 1 && !status)
		status = read_subject(&w, argv[1]);
	if (w.v && !status)
		status = watch(&w);
	if (w.v)
		vine_close(w.v, 1);
	forget_past(&w);
	free(w.next);
	conf_fini(&events_table, &o);
	return n >= 0 && !status ? tool_end(&events_table, 0) : status;
}
