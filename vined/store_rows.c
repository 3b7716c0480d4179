/* SPDX-License-Identifier: Apache-2.0
 * Rows for people, newest first: by the numbers that each run was given, so that what is asked for is all that is read. */
#include "vined/store_internal.h"
#include "vined/store_read.h"

enum {
	SQL_SPANS,
	SQL_ARRAYS,
	SQL_TASKS,
	SQL_ELEMENTS,
	SQL_LIST_RUN,
	SQL_LIST_RUNS,
	SQL_FIND_TAG,
	SQL_FIND_KEY,
	SQL_BY_KEY,
	SQL_BY_INDEX,
	SQL_ENDED,
	SQL_COUNT,
	SQL_FIND_ENDS,
	SQL_RUNS,
	SQL_N,
};

/* Names come by joins from the same snapshot, so a row never mixes two states of a task. */
#define ROW(name)                                                                                              \
	", r.id, r.name, t.tag, CASE e.delivered WHEN 1 THEN 4 WHEN 0 THEN 3 ELSE ifnull(a.state, 0) END,"     \
	" ifnull(a.attempts, 0), n.name, e.how, e.status, e.reason, t.submitted_usec, " name                   \
	", ifnull(e.exceeded, 0), ifnull(e.err_size, 0), ifnull(e.wall_usec, 0), ifnull(a.started_usec, 0)"    \
	", ifnull(e.local_size, 0), ifnull(e.moved_size, 0), ifnull(e.peer_size, 0), ifnull(e.source_size, 0)" \
	", ifnull(e.client_size, 0) "
#define ROW_JOINS(id)                                                                                              \
	" JOIN runs r ON r.id = t.run LEFT JOIN attempts a ON a.task = " id " LEFT JOIN results e ON e.task = " id \
	" LEFT JOIN nodes n ON n.id = ifnull(e.node, a.node) "
#define RUN_ROW                                                                                                        \
	"SELECT id, id, name, '', 0, attached, '', 0, 0, '', created_usec, '', 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM runs r " \
	"WHERE (archived = 0 OR EXISTS (SELECT 1 FROM submits WHERE run = r.id AND leaving = 0)) "

/* enum store_end, and the status that a command would end with: `vine run` says the same of its one task. */
#define HOW_ENDED "CASE WHEN how = 5 THEN 3 WHEN how = 1 AND status = 0 THEN 1 ELSE 2 END"
#define AS_STATUS                                                                                                     \
	"CASE WHEN how = 1 AND status = 0 THEN 0 WHEN how = 5 THEN 125 WHEN exceeded = 3 THEN 124 WHEN how = 1 THEN " \
	"min(status, 255) WHEN how = 2 THEN 128 + status "                                                            \
	"WHEN how = 7 THEN 1 WHEN how = 3 AND reason LIKE 'exec %' THEN CASE status WHEN 2 THEN 127 ELSE 126 "        \
	"END ELSE 125 END"

static const char *const texts[SQL_N] = {
	[SQL_SPANS] = "SELECT first, first + n FROM submits WHERE ?1 IN (0, run) AND first < ?2 AND leaving = 0 ORDER "
		      "BY first DESC",
	[SQL_ARRAYS] = "SELECT id, id + n FROM arrays WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT 1",
	[SQL_TASKS] = "SELECT t.id" ROW("t.key") "FROM tasks t" ROW_JOINS("t.id") "WHERE t.id >= ?1 AND t.id < ?2 "
										  "ORDER BY t.id DESC LIMIT ?3",
	[SQL_ELEMENTS] = "WITH RECURSIVE element(id) AS (SELECT ?2 - 1 UNION ALL SELECT id - 1 FROM element "
			 "WHERE id > ?1 LIMIT ?3) SELECT i.id" ROW(
				 "t.first_index + (i.id - t.id) * t.step") "FROM element i CROSS JOIN arrays t ON t.id "
									   "= ?4" ROW_JOINS("i.id"),
	[SQL_LIST_RUN] = RUN_ROW "AND id = ?2 LIMIT ?1",
	[SQL_LIST_RUNS] = RUN_ROW "ORDER BY id DESC LIMIT ?1",
	[SQL_FIND_TAG] = "SELECT id, 1 FROM tasks WHERE id >= ?1 AND id < ?2 AND tag = ?3 UNION ALL "
			 "SELECT id, n FROM arrays WHERE id >= ?1 AND id < ?2 AND tag = ?3",
	[SQL_FIND_KEY] = "SELECT id, 1 FROM tasks WHERE id >= ?1 AND id < ?2 AND key = ?3 UNION ALL "
			 "SELECT id, n FROM arrays WHERE id >= ?1 AND id < ?2 AND key = ?3",
	[SQL_BY_KEY] = "SELECT id, 1 FROM tasks WHERE run = ?1 AND key = ?2 AND key <> ''",
	[SQL_BY_INDEX] = "SELECT id + (?2 - first_index) / step, 1 FROM arrays WHERE run = ?1 AND ?2 >= first_index "
			 "AND (?2 - first_index) % step = 0 AND (?2 - first_index) / step < n ORDER BY id DESC LIMIT 1",
	[SQL_ENDED] = "SELECT task, 1 FROM results WHERE task >= ?1 AND task < ?2 AND " HOW_ENDED
		      " = ?3 ORDER BY task DESC LIMIT ?4",
	[SQL_COUNT] = "SELECT count(*), sum(how = 1 AND status = 0), sum(how = 5), max(" AS_STATUS
		      ") FROM results WHERE task >= ?1 AND task < ?2",
	[SQL_FIND_ENDS] = STORE_FIND_ENDS,
	[SQL_RUNS] = "SELECT id, 1 FROM runs WHERE id > ?1 ORDER BY id LIMIT 1",
};

struct store_rows {
	sqlite3 *db;
	sqlite3_stmt *sql[SQL_N];
};

struct store_rows *store_rows_new(sqlite3 *db)
{
	struct store_rows *r = NEW(struct store_rows);
	r->db = db;
	if (store_sql_prepare(db, texts, r->sql, SQL_N)) {
		store_rows_free(r);
		return NULL;
	}
	return r;
}

void store_rows_free(struct store_rows *r)
{
	if (!r)
		return;
	store_sql_finalize(r->sql, SQL_N);
	free(r);
}

/* Where there is one connection for all, the writer's transactions are others' snapshots, too. */
void store_look(struct store *s, bool is_begun)
{
	if (s->reader_db == s->db)
		return;
	int r = store_sql_exec(s->reader_db, is_begun ? "BEGIN" : "COMMIT");
	/* Without it each question looks for itself. */
	(void)r;
}

struct listing {
	struct store_rows *rows;
	uint32_t most, n;
	store_on_row on_row;
	void *arg;
};

/* Tells what a bound statement finds. 0 or -errno. */
static int tell(struct listing *l, sqlite3_stmt *q)
{
	int step;
	while ((step = sqlite3_step(q)) == SQLITE_ROW) {
		struct store_row row = store_column_row(q);
		row.err_size = store_number(q, 13);
		row.wall_usec = store_number(q, 14);
		row.started_usec = sqlite3_column_int64(q, 15);
		row.local_size = store_number(q, 16);
		row.moved_size = store_number(q, 17);
		row.peer_size = store_number(q, 18);
		row.source_size = store_number(q, 19);
		row.client_size = store_number(q, 20);
		l->on_row(l->arg, &row);
		l->n++;
	}
	int r = step == SQLITE_DONE ? 0 : store_sql_errno(l->rows->db);
	store_sql_reset(q);
	return r;
}

static int tell_range(struct listing *l, int sql, uint64_t first, uint64_t end, uint64_t array)
{
	sqlite3_stmt *q = l->rows->sql[sql];
	if (first >= end || l->n >= l->most)
		return 0;
	sqlite3_bind_int64(q, 1, (int64_t)first);
	sqlite3_bind_int64(q, 2, (int64_t)end);
	sqlite3_bind_int64(q, 3, l->most - l->n);
	if (array)
		sqlite3_bind_int64(q, 4, (int64_t)array);
	return tell(l, q);
}

/* 1 and the pair of numbers of the next row, 0 at the end (the statement is reset), or -errno. */
static int next_pair(struct store_rows *r, sqlite3_stmt *q, uint64_t *a, uint64_t *b)
{
	int step = sqlite3_step(q);
	if (step == SQLITE_ROW) {
		*a = store_number(q, 0);
		*b = store_number(q, 1);
		return 1;
	}
	int error = step == SQLITE_DONE ? 0 : store_sql_errno(r->db);
	store_sql_reset(q);
	return error;
}

/* The newest array that begins in [first, end). */
static int find_array(struct store_rows *r, uint64_t first, uint64_t end, uint64_t *array, uint64_t *array_end)
{
	sqlite3_stmt *q = r->sql[SQL_ARRAYS];
	sqlite3_bind_int64(q, 1, (int64_t)first);
	sqlite3_bind_int64(q, 2, (int64_t)end);
	int found = next_pair(r, q, array, array_end);
	store_sql_reset(q);
	return found;
}

/* Tasks lie before, between and behind arrays. */
static int tell_span(struct listing *l, uint64_t first, uint64_t end)
{
	uint64_t array = 0, array_end = 0;
	while (first < end && l->n < l->most) {
		int found = find_array(l->rows, first, end, &array, &array_end);
		int r = found < 0 ? found : tell_range(l, SQL_TASKS, found ? array_end : first, end, 0);
		if (!r && found)
			r = tell_range(l, SQL_ELEMENTS, array, min(array_end, end), array);
		if (r || !found)
			return r;
		end = array;
	}
	return 0;
}

static int list_spans(struct listing *l, uint64_t run)
{
	sqlite3_stmt *q = l->rows->sql[SQL_SPANS];
	uint64_t first, end, before = INT64_MAX;
	int found = 1, r = 0;
	/* Asked for one at a time, so that no statement is left in the middle. */
	while (!r && found > 0 && l->n < l->most) {
		store_sql_bind(q, 2, (int64_t[]){(int64_t)run, (int64_t)before});
		found = next_pair(l->rows, q, &first, &end);
		store_sql_reset(q);
		r = found > 0 ? tell_span(l, first, end) : found;
		before = first;
	}
	return r;
}

/* An array's first element has its number, so arrays are looked for first. */
static int list_task(struct listing *l, uint64_t task)
{
	uint64_t array = 0, end = 0;
	int found = find_array(l->rows, 0, task + 1, &array, &end);
	if (found < 0)
		return found;
	if (found && task < end)
		return tell_range(l, SQL_ELEMENTS, task, task + 1, array);
	return tell_range(l, SQL_TASKS, task, task + 1, 0);
}

int store_list_tasks(struct store *s, uint64_t task, uint64_t run, uint32_t most, store_on_row on_row, void *arg)
{
	struct listing l = {s->rows, most, 0, on_row, arg};
	assert(!task || !run);
	int r = task ? list_task(&l, task) : list_spans(&l, run);
	return r ? r : (int)l.n;
}

int store_list_runs(struct store *s, uint64_t run, uint32_t most, store_on_row on_row, void *arg)
{
	struct listing l = {s->rows, most, 0, on_row, arg};
	sqlite3_stmt *q = s->rows->sql[run ? SQL_LIST_RUN : SQL_LIST_RUNS];
	sqlite3_bind_int64(q, 1, most);
	if (run)
		sqlite3_bind_int64(q, 2, (int64_t)run);
	int r = tell(&l, q);
	return r ? r : (int)l.n;
}

int store_find_tasks(struct store *s, uint64_t run, enum store_word which, const char *word,
		     void (*on_task)(void *arg, uint64_t id, uint64_t n), void *arg)
{
	struct store_rows *rows = s->rows;
	sqlite3_stmt *spans = rows->sql[SQL_SPANS], *q = rows->sql[which == STORE_TAG ? SQL_FIND_TAG : SQL_FIND_KEY];
	uint64_t first, end, before = INT64_MAX, id, n;
	int found = 1, r = 0;
	while (!r && found > 0) {
		store_sql_bind(spans, 2, (int64_t[]){(int64_t)run, (int64_t)before});
		found = next_pair(rows, spans, &first, &end);
		store_sql_reset(spans);
		if (found <= 0)
			return found;
		store_sql_bind(q, 2, (int64_t[]){(int64_t)first, (int64_t)end});
		sqlite3_bind_text(q, 3, word, -1, SQLITE_STATIC);
		while ((r = next_pair(rows, q, &id, &n)) == 1)
			on_task(arg, id, n);
		before = first;
	}
	return r;
}

/* ---- what is asked by words and by ends */

static int find_one(struct store_rows *rows, int sql, uint64_t *id)
{
	uint64_t n;
	int found = next_pair(rows, rows->sql[sql], id, &n);
	store_sql_reset(rows->sql[sql]);
	return found == 1 ? 0 : found ? found : -ENOENT;
}

int store_find_task(struct store *s, uint64_t run, const char *word, uint64_t *id)
{
	struct store_rows *rows = s->rows;
	sqlite3_stmt *q = rows->sql[SQL_BY_KEY];
	sqlite3_bind_int64(q, 1, (int64_t)run);
	sqlite3_bind_text(q, 2, word, -1, SQLITE_STATIC);
	int r = find_one(rows, SQL_BY_KEY, id);
	bool is_number = *word && strlen(word) < 19 && word[strspn(word, "0123456789")] == 0;
	if (r != -ENOENT || !is_number)
		return r;
	store_sql_bind(rows->sql[SQL_BY_INDEX], 2, (int64_t[]){(int64_t)run, strtoll(word, NULL, 10)});
	return find_one(rows, SQL_BY_INDEX, id);
}

/* One at a time, so that no statement is left in the middle. 1, 0 at the end, or -errno. */
static int next_span(struct store_rows *rows, uint64_t run, uint64_t before, uint64_t *first, uint64_t *end)
{
	sqlite3_stmt *q = rows->sql[SQL_SPANS];
	store_sql_bind(q, 2, (int64_t[]){(int64_t)run, (int64_t)before});
	int found = next_pair(rows, q, first, end);
	store_sql_reset(q);
	return found;
}

void store_get_ends(sqlite3_stmt *q, struct store_ends *e)
{
	e->n[STORE_END_GOOD] += store_number(q, 0);
	e->n[STORE_END_FAILED] += store_number(q, 1);
	e->n[STORE_END_CANCELLED] += store_number(q, 2);
	e->worst = max(e->worst, (uint32_t)store_number(q, 3));
}

/* 1: its sums are written down, 0, or -errno. */
static int find_ends(struct store_rows *rows, uint64_t run, struct store_ends *e)
{
	sqlite3_stmt *q = rows->sql[SQL_FIND_ENDS];
	sqlite3_bind_int64(q, 1, (int64_t)run);
	int step = sqlite3_step(q);
	if (step == SQLITE_ROW)
		store_get_ends(q, e);
	int r = step == SQLITE_ROW ? 1 : step == SQLITE_DONE ? 0 : store_sql_errno(rows->db);
	store_sql_reset(q);
	return r;
}

/* How many were told, or -errno. */
static int list_ended(struct store_rows *rows, uint64_t run, enum store_end which, uint32_t most,
		      void (*on_task)(void *arg, uint64_t id), void *arg)
{
	struct store_ends ends = {.worst = 0};
	uint64_t first = INT64_MAX, end, id, one;
	uint32_t n = 0;
	int found = 0, r = find_ends(rows, run, &ends);
	/* Nobody looks through a million for what is not there. */
	if (r > 0)
		most = (uint32_t)min((uint64_t)most, ends.n[which]);
	r = min(r, 0);
	while (!r && n < most && (found = next_span(rows, run, first, &first, &end)) == 1) {
		sqlite3_stmt *q = rows->sql[SQL_ENDED];
		store_sql_bind(q, 4, (int64_t[]){(int64_t)first, (int64_t)end, which, most - n});
		for (; (r = next_pair(rows, q, &id, &one)) == 1; n++)
			on_task(arg, id);
	}
	return r ? r : found < 0 ? found : (int)n;
}

/* Of all run by run, the newest first, since their sums say where to look. */
int store_list_ended(struct store *s, uint64_t run, enum store_end which, uint32_t most,
		     void (*on_task)(void *arg, uint64_t id), void *arg)
{
	struct store_rows *rows = s->rows;
	_cleanup_(buf_fini) struct buf runs = {0};
	uint64_t one;
	int r = run ? list_ended(rows, run, which, most, on_task, arg) : 0;
	while (!r && !run) {
		uint64_t last = runs.n ? ((const uint64_t *)(const void *)runs.at)[runs.n / sizeof last - 1] : 0;
		sqlite3_bind_int64(rows->sql[SQL_RUNS], 1, (int64_t)last);
		int found = next_pair(rows, rows->sql[SQL_RUNS], &last, &one);
		store_sql_reset(rows->sql[SQL_RUNS]);
		if (found <= 0) {
			r = found;
			break;
		}
		buf_put(&runs, &last, sizeof last);
	}
	for (size_t i = runs.n / sizeof one; i && r >= 0 && most; i--) {
		r = list_ended(rows, ((const uint64_t *)(const void *)runs.at)[i - 1], which, most, on_task, arg);
		most -= (uint32_t)max(r, 0);
	}
	return min(r, 0);
}

static int count_range(struct store_rows *rows, uint64_t first, uint64_t end, struct store_ends *e)
{
	sqlite3_stmt *q = rows->sql[SQL_COUNT];
	int step;
	store_sql_bind(q, 2, (int64_t[]){(int64_t)first, (int64_t)end});
	if ((step = sqlite3_step(q)) == SQLITE_ROW) {
		uint64_t n = store_number(q, 0), n_good = store_number(q, 1), n_cancelled = store_number(q, 2);
		assert(n_good + n_cancelled <= n);
		e->n[STORE_END_GOOD] += n_good;
		e->n[STORE_END_CANCELLED] += n_cancelled;
		e->n[STORE_END_FAILED] += n - n_good - n_cancelled;
		e->worst = max(e->worst, (uint32_t)store_number(q, 3));
		step = SQLITE_DONE;
	}
	int r = step == SQLITE_DONE ? 0 : store_sql_errno(rows->db);
	store_sql_reset(q);
	return r;
}

int store_rows_count(struct store_rows *rows, uint64_t run, struct store_ends *e)
{
	uint64_t first = INT64_MAX, end;
	int r = 0, found = 1;
	while (!r && (found = next_span(rows, run, first, &first, &end)) == 1)
		r = count_range(rows, first, end, e);
	return found < 0 ? found : r;
}

static int count_run(struct store_rows *rows, uint64_t run, struct store_ends *e)
{
	int r = find_ends(rows, run, e);
	return r ? min(r, 0) : store_rows_count(rows, run, e);
}

int store_count_ended(struct store *s, uint64_t task, uint64_t run, struct store_ends *e)
{
	struct store_rows *rows = s->rows;
	uint64_t one;
	int r = 0, found = 1;
	if (task)
		return count_range(rows, task, task + 1, e);
	if (run)
		return count_run(rows, run, e);
	while (!r && found == 1) {
		sqlite3_bind_int64(rows->sql[SQL_RUNS], 1, (int64_t)run);
		found = next_pair(rows, rows->sql[SQL_RUNS], &run, &one);
		store_sql_reset(rows->sql[SQL_RUNS]);
		r = found == 1 ? count_run(rows, run, e) : min(found, 0);
	}
	return r;
}
