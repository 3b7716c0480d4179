/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/store_survey.h"

/* ---- cursors */

static void fail(struct store_load *l)
{
	if (!l->error)
		l->error = store_sql_errno(l->db);
}

sqlite3_stmt *store_load_prepare(struct store_load *l, const char *sql)
{
	sqlite3_stmt *q = NULL;
	if (!l->error && sqlite3_prepare_v2(l->db, sql, -1, &q, NULL))
		fail(l);
	return q;
}

bool store_load_step(struct store_load *l, sqlite3_stmt *q)
{
	if (l->error || !q)
		return false;
	int r = sqlite3_step(q);
	if (r != SQLITE_ROW && r != SQLITE_DONE)
		fail(l);
	return r == SQLITE_ROW;
}

void store_cursor_next(struct store_load *l, struct store_cursor *c)
{
	c->id = store_load_step(l, c->q) ? store_number(c->q, 0) : UINT64_MAX;
}

void store_cursor_open(struct store_load *l, struct store_cursor *c, const char *sql, uint64_t from)
{
	*c = (struct store_cursor){store_load_prepare(l, sql), UINT64_MAX};
	if (c->q)
		sqlite3_bind_int64(c->q, 1, (int64_t)from);
	store_cursor_next(l, c);
}

void store_cursor_close(struct store_cursor *c)
{
	sqlite3_finalize(c->q);
	*c = (struct store_cursor){NULL, UINT64_MAX};
}

bool store_cursor_find(struct store_load *l, struct store_cursor *c, uint64_t id)
{
	while (c->id < id)
		store_cursor_next(l, c);
	return c->id == id;
}

/* ---- what is not over */

static void open_leaving(struct store_load *l)
{
	store_cursor_open(l, &l->leaving, "SELECT first, n FROM submits WHERE first >= ?1 AND leaving ORDER BY first",
			  0);
}

/* Numbers are asked for in their order. */
static bool is_leaving(struct store_load *l, uint64_t id)
{
	while (l->leaving.id <= id && id - l->leaving.id >= store_number(l->leaving.q, 1))
		store_cursor_next(l, &l->leaving);
	return l->leaving.id <= id;
}

void store_survey_tasks(struct store_load *l)
{
	struct store_cursor t, r;
	store_cursor_open(l, &t, "SELECT id, run FROM tasks WHERE id >= ?1 ORDER BY id", 0);
	store_cursor_open(l, &r, "SELECT task, delivered FROM results WHERE task >= ?1 ORDER BY task", 0);
	open_leaving(l);
	for (; t.id != UINT64_MAX && !l->error; store_cursor_next(l, &t)) {
		bool is_over = store_cursor_find(l, &r, t.id);
		if ((is_over && sqlite3_column_int(r.q, 1)) || is_leaving(l, t.id))
			continue;
		store_set_add(&l->runs, store_number(t.q, 1));
		if (is_over)
			continue;
		if (l->first_unfinished == UINT64_MAX)
			l->first_unfinished = l->unfinished.base = t.id;
		store_set_add(&l->unfinished, t.id);
	}
	store_cursor_close(&t);
	store_cursor_close(&r);
	store_cursor_close(&l->leaving);
}

/* After the tasks: an array's number is no task's. */
void store_survey_arrays(struct store_load *l)
{
	struct store_cursor a;
	sqlite3_stmt *count = store_load_prepare(
		l, "SELECT count(*), total(delivered) FROM results WHERE task >= ?1 AND task < ?1 + ?2");
	store_cursor_open(l, &a, "SELECT id, n, run FROM arrays WHERE id >= ?1 ORDER BY id", 0);
	open_leaving(l);
	for (; a.id != UINT64_MAX && !l->error; store_cursor_next(l, &a)) {
		const struct store_kept_array kept = {a.id, store_number(a.q, 1)};
		if (is_leaving(l, a.id))
			continue;
		store_sql_bind(count, 2, (int64_t[]){(int64_t)kept.id, (int64_t)kept.n});
		if (store_load_step(l, count) && store_number(count, 1) < kept.n) {
			buf_put(&l->arrays, &kept, sizeof kept);
			store_set_add(&l->runs, store_number(a.q, 2));
		}
		store_sql_reset(count);
	}
	sqlite3_finalize(count);
	store_cursor_close(&a);
	store_cursor_close(&l->leaving);
}

/* What is to stay until it is forgotten keeps its name, though its run is over. */
void store_survey_lasting(struct store_load *l)
{
	sqlite3_stmt *any = store_load_prepare(l, "SELECT 1 WHERE EXISTS (" STORE_LASTING_RUNS ")");
	/* Mostly there is no such run, and items may be a million. */
	sqlite3_stmt *q = store_load_step(l, any)
				  ? store_load_prepare(l, "SELECT DISTINCT run FROM items WHERE " STORE_LASTING)
				  : NULL;
	while (store_load_step(l, q))
		store_set_add(&l->runs, store_number(q, 0));
	sqlite3_finalize(any);
	sqlite3_finalize(q);
}

bool store_load_has_array(const struct store_load *l, uint64_t id)
{
	const struct store_kept_array *at = (const void *)l->arrays.at;
	size_t low = 0, high = l->arrays.n / sizeof *at;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (at[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < l->arrays.n / sizeof *at && at[low].id == id;
}

static void put_number(struct buf *b, uint64_t n)
{
	buf_put(b, &n, sizeof n);
}

void store_survey_bindings(struct store_load *l)
{
	const struct store_kept_array *first_array = (const void *)l->arrays.at;
	uint64_t from = l->arrays.n ? min(first_array->id, l->first_unfinished) : l->first_unfinished, task = 0;
	struct store_cursor b;
	if (from == UINT64_MAX)
		return;
	store_cursor_open(l, &b, "SELECT id, item, mode FROM bindings WHERE id >= ?1 ORDER BY id",
			  from * STORE_BINDINGS_MAX);
	for (; b.id != UINT64_MAX && !l->error; store_cursor_next(l, &b)) {
		uint64_t of = b.id / STORE_BINDINGS_MAX, item = store_number(b.q, 1), mode = store_number(b.q, 2);
		if (of != task && !store_set_has(&l->unfinished, of) && !store_load_has_array(l, of))
			continue;
		if (item >> STORE_MODE_SHIFT || mode > 3) {
			l->error = -EUCLEAN;
			break;
		}
		if (of != task)
			put_number(&l->bindings, STORE_TASK_MARK | of);
		task = of;
		put_number(&l->bindings, item | mode << STORE_MODE_SHIFT);
		store_set_add(&l->items, item);
	}
	store_cursor_close(&b);
}
