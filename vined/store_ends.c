/* SPDX-License-Identifier: Apache-2.0
 * How tasks of a run ended, summed up: a row of `ends` for each run, written in the transaction that writes the results, and so as true as
 * they are. A run without a row is counted from its results: one whose results are older than the table, or on their way into the archive.
 *
 * The table is no part of the schema's versions: a vined that does not know it can run between two that do. They notice by the boot number
 * (store.c), and begin anew. */
#include "vined/store_writer.h"

#include "vined/store_read.h"

#define KEPT 1000u /* runs, beyond a transaction */

struct store_sum {
	struct list changed;
	uint64_t run;
	struct store_ends ends;
};

enum store_end store_end_of(const struct store_result *e)
{
	if (e->how == STORE_CANCELLED)
		return STORE_END_CANCELLED;
	return e->how == 1 && e->status == 0 ? STORE_END_GOOD : STORE_END_FAILED;
}

/* The same as AS_STATUS in store_rows.c says in SQL. */
uint32_t store_status_of(const struct store_result *e)
{
	if (e->how == 1 && e->status == 0)
		return 0;
	if (e->how == STORE_CANCELLED)
		return 125;
	if (e->exceeded == 3)
		return 124;
	if (e->how == 1)
		return min(e->status, 255u);
	if (e->how == 2)
		return 128 + e->status;
	if (e->how == 7)
		return 1;
	if (e->how == 3 && e->reason && has_prefix(e->reason, "exec "))
		return e->status == 2 ? 127 : 126;
	return 125;
}

void store_sums_forget(struct store_writer *w)
{
	struct store_sum *s;
	for (size_t i = 0; (s = map_next(&w->sums, &i));)
		free(s);
	map_fini(&w->sums);
	list_init(&w->changed);
}

void store_sums_drop(struct store_writer *w, uint64_t run)
{
	struct store_sum *s = map_remove(&w->sums, run);
	if (s)
		list_remove(&s->changed);
	free(s);
}

/* 1: there is a row, 0, or -errno. */
static int read_row(struct store_writer *w, struct store_sum *s)
{
	sqlite3_stmt *q = w->sql[SQL_FIND_ENDS];
	sqlite3_bind_int64(q, 1, (int64_t)s->run);
	int step = sqlite3_step(q);
	if (step == SQLITE_ROW)
		store_get_ends(q, &s->ends);
	int r = step == SQLITE_ROW ? 1 : step == SQLITE_DONE ? 0 : store_sql_errno(w->db);
	store_sql_reset(q);
	return r;
}

/* As it was before the transaction: 1; with all that is in the database already: 0; or -errno. */
static int find(struct store_writer *w, uint64_t run, struct store_sum **out)
{
	struct store_sum *s = map_get(&w->sums, run);
	int r = 1;
	if (!s) {
		s = NEW(struct store_sum);
		s->run = run;
		list_init(&s->changed);
		map_put(&w->sums, run, s);
		r = read_row(w, s);
		if (!r && !w->counter && !(w->counter = store_rows_new(w->db)))
			r = min(store_sql_errno(w->db), -1);
		if (!r)
			r = store_rows_count(w->counter, run, &s->ends);
	}
	*out = s;
	return r;
}

int store_sums_add(struct store_writer *w, const struct store_result *e)
{
	struct store_sum *s;
	if (!e->run)
		return 0;
	int r = find(w, e->run, &s);
	if (r < 0)
		return r;
	if (r) {
		s->ends.n[store_end_of(e)]++;
		s->ends.worst = max(s->ends.worst, store_status_of(e));
	}
	list_remove(&s->changed);
	list_append(&w->changed, &s->changed);
	return 0;
}

int store_sums_flush(struct store_writer *w)
{
	int r = 0;
	list_foreach (&w->changed, struct store_sum, changed, s) {
		const struct store_ends *e = &s->ends;
		store_sql_bind(w->sql[SQL_ENDS], 5,
			       (int64_t[]){(int64_t)s->run, (int64_t)e->n[STORE_END_GOOD],
					   (int64_t)e->n[STORE_END_FAILED], (int64_t)e->n[STORE_END_CANCELLED],
					   e->worst});
		r = r ? r : store_sql_step(w->db, w->sql[SQL_ENDS]);
		list_remove(&s->changed);
	}
	if (!r && w->sums.n > KEPT)
		store_sums_forget(w);
	return r;
}
