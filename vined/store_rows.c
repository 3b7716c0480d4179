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
	SQL_N,
};

/* Names come by joins from the same snapshot, so a row never mixes two states of a task. */
#define ROW                                                                                                \
	", r.id, r.name, t.tag, CASE e.delivered WHEN 1 THEN 4 WHEN 0 THEN 3 ELSE ifnull(a.state, 0) END," \
	" ifnull(a.attempts, 0), n.name, e.how, e.status, e.reason, t.submitted_usec "
#define ROW_JOINS(id)                                                                                              \
	" JOIN runs r ON r.id = t.run LEFT JOIN attempts a ON a.task = " id " LEFT JOIN results e ON e.task = " id \
	" LEFT JOIN nodes n ON n.id = ifnull(e.node, a.node) "
#define RUN_ROW                                                                         \
	"SELECT id, id, name, '', 0, attached, '', 0, 0, '', created_usec FROM runs r " \
	"WHERE (archived = 0 OR EXISTS (SELECT 1 FROM submits WHERE run = r.id AND leaving = 0)) "

static const char *const texts[SQL_N] = {
	[SQL_SPANS] = "SELECT first, first + n FROM submits WHERE ?1 IN (0, run) AND first < ?2 AND leaving = 0 ORDER "
		      "BY first DESC",
	[SQL_ARRAYS] = "SELECT id, id + n FROM arrays WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT 1",
	[SQL_TASKS] = "SELECT t.id" ROW "FROM tasks t" ROW_JOINS("t.id") "WHERE t.id >= ?1 AND t.id < ?2 "
									 "ORDER BY t.id DESC LIMIT ?3",
	[SQL_ELEMENTS] = "WITH RECURSIVE element(id) AS (SELECT ?2 - 1 UNION ALL SELECT id - 1 FROM element "
			 "WHERE id > ?1 LIMIT ?3) SELECT i.id" ROW
			 "FROM element i CROSS JOIN arrays t ON t.id = ?4" ROW_JOINS("i.id"),
	[SQL_LIST_RUN] = RUN_ROW "AND id = ?2 LIMIT ?1",
	[SQL_LIST_RUNS] = RUN_ROW "ORDER BY id DESC LIMIT ?1",
	[SQL_FIND_TAG] = "SELECT id, 1 FROM tasks WHERE id >= ?1 AND id < ?2 AND tag = ?3 UNION ALL "
			 "SELECT id, n FROM arrays WHERE id >= ?1 AND id < ?2 AND tag = ?3",
	[SQL_FIND_KEY] = "SELECT id, 1 FROM tasks WHERE id >= ?1 AND id < ?2 AND key = ?3 UNION ALL "
			 "SELECT id, n FROM arrays WHERE id >= ?1 AND id < ?2 AND key = ?3",
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
		const struct store_row row = {
			.id = store_number(q, 0),
			.run = store_number(q, 1),
			.name = store_column_text(q, 2),
			.tag = store_column_text(q, 3),
			.state = (enum store_state)store_number(q, 4),
			.attempts = store_number(q, 5),
			.node = store_column_text(q, 6),
			.how = (uint8_t)store_number(q, 7),
			.status = (uint32_t)store_number(q, 8),
			.reason = store_column_text(q, 9),
			.at_usec = sqlite3_column_int64(q, 10),
		};
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
