/* SPDX-License-Identifier: Apache-2.0
 * What is over goes: runs that were for longer than they are kept into archive.sqlite, those that were forgotten for good; then the
 * commands and items that nobody names any more.
 *
 * 1. The writer thread calls store_archive_step() while nothing waits to be committed; a step is a few thousand rows.
 * 2. That a run goes is recorded (submits.leaving) before its first row does, so that after a crash loading does not take what is left of it
 *    for work to do.
 * 3. Rows are committed there before they are deleted here. A crash between leaves both; they are copied again under the same numbers.
 * 4. Nothing goes that whoever runs now may still name: what is submitted meanwhile lies behind `end`, commands are looked for again
 *    before each deletion, and of items only those go that loading did not tell. */
#include "vined/store_archive.h"

#include "common/log.h"

#include <time.h>

#define EVENTS_USEC ((uint64_t)30 * 86400 * 1000000)
#define SHORTEST_USEC ((uint64_t)1000000)
#define LONGEST_USEC ((uint64_t)3600 * 1000000)
#define FAILED_USEC ((uint64_t)60 * 1000000)

static uint64_t now_usec(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* The wall clock so long ago. */
static uint64_t before(uint64_t usec)
{
	uint64_t now = now_usec(CLOCK_REALTIME);
	return now > usec ? now - usec : 0;
}

/* ---- statements; steps are few, so each prepares its own */

static int prepare(struct store_archive *a, const char *sql, uint64_t x, uint64_t y, sqlite3_stmt **q)
{
	const int64_t values[] = {(int64_t)x, (int64_t)y};
	if (sqlite3_prepare_v2(a->db, sql, -1, q, NULL))
		return store_sql_errno(a->db);
	store_sql_bind(*q, min((size_t)sqlite3_bind_parameter_count(*q), countof(values)), values);
	return 0;
}

int store_archive_run(struct store_archive *a, const char *sql, uint64_t x, uint64_t y)
{
	sqlite3_stmt *q = NULL;
	int r = prepare(a, sql, x, y, &q);
	if (!r)
		r = store_sql_step(a->db, q);
	sqlite3_finalize(q);
	return r;
}

int store_archive_each(struct store_archive *a, const char *sql, uint64_t x, uint64_t y,
		       void (*on_row)(struct store_archive *a))
{
	sqlite3_stmt *q = NULL;
	int n = 0, step = SQLITE_DONE, r = prepare(a, sql, x, y, &q);
	while (!r && (step = sqlite3_step(q)) == SQLITE_ROW) {
		for (int i = 0; i < (int)countof(a->found); i++)
			a->found[i] = i < sqlite3_column_count(q) ? store_number(q, i) : 0;
		if (on_row)
			on_row(a);
		n++;
	}
	if (!r && step != SQLITE_DONE)
		r = store_sql_errno(a->db);
	sqlite3_finalize(q);
	return r ? r : n;
}

/* ---- which runs are over */

void store_hold_run(struct store *s, uint64_t run, bool is_held)
{
	assert(s->archive);
	pthread_mutex_lock(&s->lock);
	if (is_held)
		store_set_add(&s->archive->held, run);
	else
		store_set_remove(&s->archive->held, run);
	pthread_mutex_unlock(&s->lock);
}

static bool is_held(struct store_archive *a, uint64_t run)
{
	pthread_mutex_lock(&a->store->lock);
	bool is = store_set_has(&a->held, run);
	pthread_mutex_unlock(&a->store->lock);
	return is;
}

static int drop_events(struct store_archive *a)
{
	int r = store_archive_run(a,
				  "DELETE FROM events WHERE id <= (SELECT min(id) FROM events) + 1000 AND at_usec < ?1",
				  before(EVENTS_USEC), 0);
	return r ? r : sqlite3_changes(a->db) > 0;
}

static void add_bad(struct store_archive *a)
{
	store_set_add(&a->bad, a->found[0]);
}

/* The end of what is looked at: whoever submits to an old run from here on begins a new span. */
static int begin_survey(struct store_archive *a)
{
	a->w->span.n = 0;
	store_set_fini(&a->bad);
	buf_consume(&a->makes, a->makes.n);
	int r = store_archive_each(a, "SELECT ifnull(max(first + n), 0) FROM submits", 0, 0, NULL);
	a->end = a->found[0];
	if (r >= 0)
		r = store_archive_each(a, "SELECT id FROM runs WHERE created_usec > ?1", before(a->keep_usec), 0,
				       add_bad);
	return min(r, 0);
}

/* All that was submitted in [x, y) has been delivered, and ended long ago. 1, 0 or -errno. */
static int is_over(struct store_archive *a, uint64_t x, uint64_t y)
{
	int r = store_archive_each(
		a,
		"SELECT (SELECT count(*) FROM tasks WHERE id >= ?1 AND id < ?2) + (SELECT "
		"ifnull(sum(min(id + n, ?2) - max(id, ?1)), 0) FROM arrays WHERE id < ?2 AND id + n > ?1)",
		x, y, NULL);
	uint64_t n = a->found[0];
	if (r >= 0)
		r = store_archive_each(a,
				       "SELECT count(*), ifnull(max(ended_usec), 0) FROM results "
				       "WHERE task >= ?1 AND task < ?2 AND delivered",
				       x, y, NULL);
	return r < 0 ? r : n == a->found[0] && a->found[1] <= before(a->keep_usec);
}

/* The span that holds `at`, or the next one. a->found is its first number, how many, and its run. */
static int find_span(struct store_archive *a, uint64_t at)
{
	return store_archive_each(
		a,
		"SELECT first, n, run FROM submits WHERE first >= ifnull((SELECT max(first) FROM submits "
		"WHERE first <= ?1), 0) AND first + n > ?1 AND first < ?2 AND leaving = 0 "
		"ORDER BY first LIMIT 1",
		at, a->end, NULL);
}

static int survey(struct store_archive *a)
{
	uint64_t n_rows = 0;
	if (!a->is_keeping)
		return 0;
	if (!a->at) {
		int r = begin_survey(a);
		if (r)
			return r;
	}
	for (unsigned i = 0; i < 200 && n_rows < STORE_STEP_ROWS; i++) {
		int found = find_span(a, a->at);
		if (found <= 0)
			return found;
		uint64_t first = max(a->found[0], a->at), end = a->found[0] + a->found[1], run = a->found[2];
		a->at = end;
		if (store_set_has(&a->bad, run))
			continue;
		a->at = min(end, first + STORE_STEP_ROWS);
		n_rows += a->at - first;
		int r = is_over(a, first, a->at);
		if (r < 0)
			return r;
		if (!r)
			store_set_add(&a->bad, run);
	}
	return 1;
}

/* ---- whose outputs others name */

static void add_made(struct store_archive *a)
{
	const struct store_makes m = {a->found[0], a->found[1]};
	buf_put(&a->makes, &m, sizeof m);
}

/* Outputs with names of every run, of tasks that could go. */
static int find_makers(struct store_archive *a)
{
	struct buf found = {0};
	uint64_t last = 0;
	if (!a->is_keeping)
		return 0;
	size_t n_before = a->makes.n;
	int r = store_archive_each(a,
				   "SELECT id, producer FROM items WHERE id >= ?1 AND id < ?1 + ?2 AND run = 0 "
				   "AND producer AND NOT forgotten",
				   a->at, STORE_STEP_ROWS, add_made);
	if (r >= 0)
		r = store_archive_each(a, "SELECT ifnull(max(id), 0) FROM items", 0, 0, NULL);
	last = a->found[0];
	/* Of each the maker's run is wanted; those whose run stays anyway are left out. */
	for (size_t i = n_before; r >= 0 && i < a->makes.n; i += sizeof(struct store_makes)) {
		struct store_makes m;
		memcpy(&m, a->makes.at + i, sizeof m);
		r = find_span(a, m.run);
		m.run = a->found[2];
		if (r > 0 && !store_set_has(&a->bad, m.run))
			buf_put(&found, &m, sizeof m);
	}
	a->makes.n = n_before;
	buf_put(&a->makes, found.at, found.n);
	buf_fini(&found);
	/* What stays for ever is made again should it be lost. */
	if (r >= 0)
		r = store_archive_each(
			a, "SELECT DISTINCT run FROM items WHERE id >= ?1 AND id < ?1 + ?2 AND " STORE_LASTING, a->at,
			STORE_STEP_ROWS, add_bad);
	a->at += STORE_STEP_ROWS;
	return r < 0 ? r : a->at <= last;
}

static uint64_t who_makes(const struct store_archive *a, uint64_t item)
{
	const struct store_makes *m = (const void *)a->makes.at;
	for (size_t low = 0, high = a->makes.n / sizeof *m; low < high;) {
		size_t middle = (low + high) / 2;
		if (m[middle].item == item)
			return m[middle].run;
		if (m[middle].item < item)
			low = middle + 1;
		else
			high = middle;
	}
	return 0;
}

static void keep_maker(struct store_archive *a)
{
	uint64_t run = who_makes(a, a->found[1]);
	a->at = a->found[0] + 1;
	if (run && run != a->found[2])
		store_set_add(&a->bad, run);
}

/* Those that tasks which are not over name keep their makers here. */
static int find_named(struct store_archive *a)
{
	if (!a->is_keeping || !a->makes.n)
		return 0;
	/* A task that is over names nobody; an array names as long as it is there. */
	int r = store_archive_each(
		a,
		"SELECT b.id, CASE WHEN t.id AND e.delivered THEN 0 ELSE b.item END, ifnull(t.run, r.run) "
		"FROM bindings b LEFT JOIN tasks t ON t.id = b.id >> 16 LEFT JOIN arrays r ON r.id = b.id >> 16 "
		"LEFT JOIN results e ON e.task = b.id >> 16 WHERE b.id >= ?1 ORDER BY b.id LIMIT ?2",
		a->at, STORE_STEP_ROWS, keep_maker);
	return r < 0 ? r : r == STORE_STEP_ROWS;
}

/* ---- recorded */

/* What its tasks ended like is counted anew, should there be others. */
static int let_go(struct store_archive *a, uint64_t first, uint64_t run)
{
	store_sums_drop(a->w, run);
	int r = store_archive_run(a, "UPDATE submits SET leaving = 1 WHERE first = ?1", first, 0);
	return r ? r : store_archive_run(a, "DELETE FROM ends WHERE run = ?1", run, 0);
}

static int decide(struct store_archive *a)
{
	if (!a->is_keeping)
		return 0;
	int r = store_writer_begin(a->w), found = 1;
	for (unsigned i = 0; i < 1000 && !r && found > 0; i++) {
		found = find_span(a, a->at);
		if (found > 0) {
			uint64_t first = a->found[0];
			a->at = first + a->found[1];
			if (!store_set_has(&a->bad, a->found[2]) && !is_held(a, a->found[2]))
				r = let_go(a, first, a->found[2]);
		}
	}
	r = store_writer_end(a->w, r ? r : min(found, 0));
	return r ? r : found > 0;
}

/* ---- the sweep */

static int (*const phases[])(struct store_archive *a) = {
	drop_events,
	survey,
	find_makers,
	find_named,
	decide,
	store_archive_move,
	store_archive_commands,
	store_archive_orphans,
	store_archive_items,
};

static uint64_t rest(struct store_archive *a, uint64_t usec)
{
	if (a->n_moved)
		log_info("archive: %llu tasks of runs that are over have gone", (unsigned long long)a->n_moved);
	sqlite3_close(a->to);
	a->to = NULL;
	a->n_moved = a->at = a->phase = 0;
	a->is_sweeping = false;
	a->next_usec = now_usec(CLOCK_MONOTONIC) + usec;
	return usec;
}

uint64_t store_archive_step(struct store_archive *a)
{
	static struct log_limit limit;
	uint64_t now = now_usec(CLOCK_MONOTONIC);
	if (!a->is_sweeping && now < a->next_usec && !a->w->has_forgotten)
		return a->next_usec - now;
	if (!a->is_sweeping)
		a->w->has_forgotten = false;
	a->is_sweeping = true;
	int r = phases[a->phase](a);
	if (r < 0) {
		log_limited(&limit, 1, LOG_LEVEL_ERROR, "archive: runs that are over stay for now: %s", strerror(-r));
		return rest(a, FAILED_USEC);
	}
	if (r > 0)
		return 0;
	a->at = 0;
	if (++a->phase < countof(phases))
		return 0;
	return rest(a, min(max(a->keep_usec / 32, SHORTEST_USEC), LONGEST_USEC));
}

struct store_archive *store_archive_new(struct store *s, const char *path)
{
	struct store_archive *a = NEW(struct store_archive);
	a->store = s;
	a->w = s->writer;
	a->db = s->db;
	a->path = xstrdup(path);
	a->cluster = xstrdup(s->cluster);
	a->is_exclusive = s->reader_db == s->db;
	a->is_keeping = s->is_keeping;
	a->keep_usec = s->is_keeping ? s->keep_usec : LONGEST_USEC * 32;
	a->items = s->untold;
	s->untold = (struct store_set){0};
	return a;
}

void store_archive_free(struct store_archive *a)
{
	if (!a)
		return;
	sqlite3_close(a->to);
	store_set_fini(&a->bad);
	store_set_fini(&a->held);
	store_set_fini(&a->commands);
	store_set_fini(&a->items);
	buf_fini(&a->makes);
	free(a->path);
	free(a->cluster);
	free(a);
}
