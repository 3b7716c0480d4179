/* SPDX-License-Identifier: Apache-2.0
 * Rows about what happened. A moment is four numbers, "E.T.A.P" (store_past.h). Selectors, each followed by nothing, a run or a task:
 *
 *   now                          no events; the moment
 *   recent N                     no events; a moment before the latest N, or "" if it is not at hand
 *   after MOMENT                 what came after it; -ESTALE: ask for what is between it and now
 *   between LOW HIGH SINCE FROM  the same from the tables, in no order and page by page: FROM is "-" first, then as the last row says
 *
 * The last row is none of an event: it has the moment to ask from next, or the page ("": there is none). */
#include "vined/command_rows.h"

#include "vined/driver_feed.h"

#include <inttypes.h>
#include <stdio.h>

#define PAGE_MOST 1000u   /* rows of a kind */
#define BLOCK 500u        /* numbers looked at at once; they make 4 rows each at most */
#define BLOCKS_MOST 20u   /* one after the other, if they are empty */
#define TEXT_MOST 200     /* of a row's text: all rows of a page fit an answer */
#define EVENTS_MOST 8000u /* more than a page can have */

struct events {
	struct rows *rows;
	uint64_t task, run;       /* of these alone; 0: of all */
	struct store_owner owner; /* of the last task */
	bool has_owner;
};

/* ---- one row */

static const struct store_owner *owner_of(struct events *e, uint64_t task)
{
	bool is_known = e->has_owner && task >= e->owner.first && task < e->owner.end;
	if (!is_known)
		e->has_owner = store_find_owner(driver_store(e->rows->command->driver), task, &e->owner) == 0;
	return e->has_owner ? &e->owner : NULL;
}

static const char *end_text(const struct store_past_row *r, char text[64])
{
	static const char *const hows[] = {"",     "exit status", "signal",      "not started",
					   "lost", "cancelled",   "not started", "no output"};
	static const char *const limits[] = {"", "memory limit", "disk limit", "time limit", "limit of processes"};
	if (r->exceeded && r->exceeded < countof(limits))
		return limits[r->exceeded];
	const char *how = r->how < countof(hows) ? hows[r->how] : "?";
	if (r->how != 1 && r->how != 2)
		return how;
	snprintf(text, 64, "%s %" PRIu32, how, r->status);
	return text;
}

static void put_text(struct rows *t, const struct store_past_row *r)
{
	char text[64];
	const char *more = *r->text ? ": " : "";
	if (r->kind == STORE_PAST_ENDED)
		rows_put(t, "%s%s%.*s", end_text(r, text), more, TEXT_MOST, r->text);
	else if (r->kind == STORE_PAST_STARTED)
		rows_put(t, "attempt %" PRIu64, r->n);
	else if (r->kind == STORE_PAST_SUBMITTED)
		rows_put(t, "%.*" PRIu64 "%s", r->n > 1, r->n > 1 ? r->n : 0, r->n > 1 ? " elements" : "");
	else
		rows_put(t, "%.*s", TEXT_MOST, r->text);
}

static void put_moment(struct rows *t, const struct store_moment *m)
{
	rows_put(t, "%" PRIu64 ".%" PRIu64 ".%" PRIu64 ".%" PRIu64, m->at[0], m->at[1], m->at[2], m->at[3]);
}

static bool is_meant(const struct events *e, const struct store_past_row *r, const struct store_owner *o)
{
	/* An array's submission stands at its first element. */
	uint64_t n = r->kind == STORE_PAST_SUBMITTED ? r->n : 1;
	if (e->task)
		return e->task >= r->task && e->task - r->task < n;
	return !e->run || (o && o->run == e->run);
}

static void put_event(void *arg, const struct store_past_row *r)
{
	struct events *e = arg;
	struct rows *t = e->rows;
	const struct store_owner *o = r->task ? owner_of(e, r->task) : NULL;
	if (!is_meant(e, r, o) || !rows_begin(t))
		return;
	rows_put(t, "%s", "");
	rows_put(t, "%" PRId64, r->at_usec);
	rows_put(t, "%.64s", r->what);
	if (r->task)
		rows_put_number(t, r->task);
	else
		rows_put(t, "%s", "");
	rows_put(t, "%s", o ? o->name : "");
	rows_put(t, "%.64s", r->node);
	rows_put(t, "%.*s", TEXT_MOST, r->item);
	put_text(t, r);
}

/* The row that is none of an event. */
static void put_end(struct rows *t, const struct store_moment *m, const char *next)
{
	t->n_rows++;
	if (m)
		put_moment(t, m);
	else
		rows_put(t, "%s", next);
	for (size_t i = 1; i < EVENT_N_COLUMNS; i++)
		rows_put(t, "%s", "");
}

/* ---- after: events and submissions from the tables, beginnings and ends from the feed, by time */

struct gathered {
	struct store_past_row *at;
	uint32_t n, next;
};

static void gather(void *arg, const struct store_past_row *row)
{
	struct gathered *g = arg;
	assert(g->n < PAGE_MOST);
	if (!g->at)
		g->at = xcalloc(PAGE_MOST, sizeof *g->at);
	struct store_past_row *r = &g->at[g->n++];
	*r = *row;
	r->what = xstrdup(row->what);
	r->text = xstrdup(row->text);
	r->node = xstrdup(row->node);
	r->item = xstrdup(row->item);
}

static void gathered_fini(struct gathered *g)
{
	for (uint32_t i = 0; i < g->n; i++) {
		const struct store_past_row *r = &g->at[i];
		free((char *)r->what);
		free((char *)r->text);
		free((char *)r->node);
		free((char *)r->item);
	}
	free(g->at);
}

/* The list with the earliest row; NULL: there is none, or one of them may go on earlier than the others do. */
static struct gathered *earliest(struct gathered *all, size_t n)
{
	struct gathered *found = NULL;
	for (size_t i = 0; i < n; i++) {
		struct gathered *g = &all[i];
		if (g->next == g->n && g->n == PAGE_MOST)
			return NULL;
		if (g->next < g->n && (!found || g->at[g->next].at_usec < found->at[found->next].at_usec))
			found = g;
	}
	return found;
}

static void put_again(void *arg, const struct store_past_row *row)
{
	struct store_past_row *r = arg;
	r->text = xstrdup(row->text);
}

/* The feed has no texts; only who did not exit may have one. */
static void add_reason(struct store *s, struct store_past_row *r)
{
	const struct store_span all = {.high = {{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}}};
	struct store_past_row found = {0};
	if (r->kind != STORE_PAST_ENDED || r->how == 1 ||
	    store_past_range(s, STORE_PAST_ENDED, r->task, r->task + 1, &all, put_again, &found) < 0 || !found.text)
		return;
	free((char *)r->text);
	r->text = found.text;
}

static int list_after(struct events *e, struct store_moment *m)
{
	struct store *s = driver_store(e->rows->command->driver);
	struct gathered all[3] = {{0}}, *g;
	struct store_moment last = {{0}};
	int r = store_past_now(s, &last);
	/* Old events go, and if all have gone their numbers begin again. */
	m->at[STORE_PAST_EVENT] = m->at[STORE_PAST_EVENT] > last.at[STORE_PAST_EVENT] ? 0 : m->at[STORE_PAST_EVENT];
	if (!r)
		r = driver_feed_after(e->rows->command->driver, m, PAGE_MOST, gather, &all[0]);
	for (size_t i = STORE_PAST_EVENT; i <= STORE_PAST_SUBMITTED && !r; i++)
		r = store_past_after(s, (enum store_past_kind)i, m->at[i], PAGE_MOST, gather, &all[1 + i]);
	while (!r && (g = earliest(all, countof(all)))) {
		struct store_past_row *row = &g->at[g->next++];
		m->at[row->kind] = row->number;
		add_reason(s, row);
		put_event(e, row);
	}
	for (size_t i = 0; i < countof(all); i++)
		gathered_fini(&all[i]);
	if (!r)
		put_end(e->rows, m, NULL);
	return r;
}

/* ---- between: two walks from the newest down, of events and of tasks */

/* One block; *end is where the next one ends, 0: there is none. */
static int walk_block(struct events *e, bool is_tasks, const struct store_span *span, uint64_t least, uint64_t *end)
{
	struct store *s = driver_store(e->rows->command->driver);
	uint64_t first = *end > BLOCK ? max(*end - BLOCK, least) : least;
	int r = 0;
	first = max(first, UINT64_C(1));
	if (first >= *end) {
		*end = 0;
		return 0;
	}
	for (size_t i = 0; i < STORE_PAST_KINDS && !r; i++) {
		if (is_tasks == (i != STORE_PAST_EVENT))
			r = store_past_range(s, (enum store_past_kind)i, first, *end, span, put_event, e);
	}
	*end = first > max(least, UINT64_C(1)) ? first : 0;
	return r;
}

static int walk(struct events *e, bool is_tasks, const struct store_span *span, uint64_t *end)
{
	struct store *s = driver_store(e->rows->command->driver);
	uint64_t least = 0;
	int r = *end ? store_past_first(s, is_tasks ? STORE_PAST_SUBMITTED : STORE_PAST_EVENT, &least) : 0;
	/* What came before the span has lower ids. Of tasks any may have begun or ended since. */
	if (!is_tasks)
		least = max(least, span->low.at[STORE_PAST_EVENT] + 1);
	for (unsigned i = 0; i < BLOCKS_MOST && !r && *end && e->rows->n_rows < BLOCK; i++)
		r = walk_block(e, is_tasks, span, least, end);
	return r;
}

/* Of one task its numbers are known: the walk has one step. */
static int walk_task(struct events *e, const struct store_span *span, uint64_t *end)
{
	struct store *s = driver_store(e->rows->command->driver);
	int r = 0;
	/* Where it is an element its array was submitted. */
	uint64_t first = owner_of(e, e->task) ? e->owner.first : e->task;
	if (*end)
		r = store_past_range(s, STORE_PAST_SUBMITTED, first, e->task + 1, span, put_event, e);
	for (size_t i = STORE_PAST_STARTED; i < STORE_PAST_KINDS && !r && *end; i++)
		r = store_past_range(s, (enum store_past_kind)i, e->task, e->task + 1, span, put_event, e);
	*end = 0;
	return r;
}

static int list_between(struct events *e, const struct store_span *span, const char *from)
{
	uint64_t events = span->high.at[STORE_PAST_EVENT] + 1, tasks = 0;
	char next[64] = "";
	struct store_moment last;
	int n = -1, r = store_past_now(driver_store(e->rows->command->driver), &last);
	if (!streq(from, "-") && (sscanf(from, "%20" SCNu64 ".%20" SCNu64 "%n", &events, &tasks, &n) != 2 || from[n]))
		return -EINVAL;
	if (streq(from, "-"))
		tasks = UINT64_MAX;
	/* Elements have the numbers behind their array's, which is the last there is. */
	if (!r && tasks == UINT64_MAX)
		tasks = owner_of(e, last.at[STORE_PAST_SUBMITTED]) ? e->owner.end : 0;
	if (!r)
		r = walk(e, false, span, &events);
	if (!r)
		r = e->task ? walk_task(e, span, &tasks) : walk(e, true, span, &tasks);
	if (r)
		return r;
	if (events || tasks)
		snprintf(next, sizeof next, "%" PRIu64 ".%" PRIu64, events, tasks);
	put_end(e->rows, NULL, next);
	return 0;
}

/* ---- selectors */

/* Cuts off the next word; "": there is none. */
static const char *next_word(char **text)
{
	char *word = *text;
	*text += strcspn(*text, " ");
	if (**text)
		*(*text)++ = 0;
	return word;
}

static int parse_moment(const char *word, struct store_moment *m)
{
	for (size_t i = 0; i < STORE_PAST_KINDS; i++) {
		size_t n = strspn(word, "0123456789");
		if (!n || n > 18 || word[n] != (i + 1 < STORE_PAST_KINDS ? '.' : 0))
			return -EINVAL;
		m->at[i] = strtoull(word, NULL, 10);
		word += n + 1;
	}
	return 0;
}

static int parse_subject(struct events *e, const char *word)
{
	size_t n, digits = strspn(word, "0123456789");
	if (!*word)
		return 0;
	if (digits < 19 && !word[digits])
		e->task = strtoull(word, NULL, 10);
	else
		e->run = driver_find_run(e->rows->command->driver, word, &n, &n);
	return e->run || e->task ? 0 : -ENOENT;
}

static int list_now(struct events *e)
{
	struct driver *d = e->rows->command->driver;
	struct store_moment m = {{0}};
	int r = store_past_now(driver_store(d), &m);
	driver_feed_now(d, &m);
	if (!r)
		put_end(e->rows, &m, NULL);
	return r;
}

/* Of each kind the latest so many are behind it, so the latest of all are, too. */
static int list_recent(struct events *e, const char *text)
{
	struct driver *d = e->rows->command->driver;
	struct store_moment m = {{0}};
	uint64_t n = strtoull(text, NULL, 10);
	int r = store_past_now(driver_store(d), &m);
	for (size_t i = STORE_PAST_EVENT; i <= STORE_PAST_SUBMITTED; i++)
		m.at[i] -= min(m.at[i], n);
	if (!r)
		put_end(e->rows, driver_feed_back(d, n, &m) ? &m : NULL, "");
	return r;
}

int rows_list_events(struct rows *t, const char *selector)
{
	struct events e = {.rows = t};
	struct store_span span = {.since_usec = 0};
	_free_ char *copy = xstrdup(selector);
	char *rest = copy;
	const char *what = next_word(&rest);
	bool is_between = streq(what, "between"), is_after = streq(what, "after");
	if (streq(what, "recent"))
		return list_recent(&e, rest);
	if (!is_between && !is_after && !streq(what, "now"))
		return -EINVAL;
	if ((is_between || is_after) && parse_moment(next_word(&rest), &span.low) < 0)
		return -EINVAL;
	if (is_between && parse_moment(next_word(&rest), &span.high) < 0)
		return -EINVAL;
	span.since_usec = is_between ? strtoll(next_word(&rest), NULL, 10) : 0;
	const char *from = is_between ? next_word(&rest) : "";
	int r = parse_subject(&e, rest);
	/* There is room for a page and its last row, whatever was asked for. */
	t->most = EVENTS_MOST;
	if (r)
		return r;
	return is_between ? list_between(&e, &span, from) : is_after ? list_after(&e, &span.low) : list_now(&e);
}
