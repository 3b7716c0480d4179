/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/store_past.h"

#include "vined/store_internal.h"

#include <stdio.h>

enum {
	SQL_LAST_EVENT,
	SQL_LAST_TASK,
	SQL_FIRST_EVENT,
	SQL_FIRST_TASK,
	SQL_OWNER,
	SQL_EVENTS_AFTER,
	SQL_SUBMITTED_AFTER,
	SQL_RANGE, /* and one for each kind */
	SQL_N = SQL_RANGE + STORE_PAST_KINDS,
};

/* number, at_usec, task, n, what, text, node, item, how, status, exceeded */
#define EVENT                                                                                                 \
	"SELECT e.id, e.at_usec, e.task, 0, e.what, e.text, n.name, i.name, 0, 0, 0 FROM events e LEFT JOIN " \
	"nodes n ON n.id = e.node LEFT JOIN items i ON i.id = e.item WHERE "
#define SUBMITTED(n, table) \
	"SELECT id, submitted_usec, id, " n ", 'submitted', '', '', '', 0, 0, 0 FROM " table " WHERE "
#define IN_RANGE(id, at, number) id " >= ?1 AND " id " < ?2 AND " at " >= ?3 AND " number " > ?4 AND " number " <= ?5 "

static const char *const texts[SQL_N] = {
	[SQL_LAST_EVENT] = "SELECT ifnull(max(id), 0) FROM events",
	[SQL_LAST_TASK] = "SELECT max(ifnull((SELECT max(id) FROM tasks), 0), ifnull((SELECT max(id) FROM arrays), 0))",
	[SQL_FIRST_EVENT] = "SELECT ifnull(min(id), 0) FROM events",
	[SQL_FIRST_TASK] = "SELECT ifnull(min(first), 0) FROM submits",
	[SQL_OWNER] = "SELECT s.first, s.first + s.n, s.run, r.name FROM submits s JOIN runs r ON r.id = s.run "
		      "WHERE s.first <= ?1 ORDER BY s.first DESC LIMIT 1",
	[SQL_EVENTS_AFTER] = EVENT "e.id > ?1 ORDER BY e.id LIMIT ?2",
	[SQL_SUBMITTED_AFTER] = "SELECT * FROM (" SUBMITTED(
		"1", "tasks") "id > ?1 ORDER BY id LIMIT ?2) UNION ALL "
			      "SELECT * FROM (" SUBMITTED("n",
							  "arrays") "id > ?1 ORDER BY id LIMIT ?2) ORDER BY 1 LIMIT ?2",
	[SQL_RANGE + STORE_PAST_EVENT] = EVENT IN_RANGE("e.id", "e.at_usec", "e.id"),
	[SQL_RANGE + STORE_PAST_SUBMITTED] =
		SUBMITTED("1", "tasks") IN_RANGE("id", "submitted_usec", "id") "UNION ALL " SUBMITTED("n", "arrays")
			IN_RANGE("id", "submitted_usec", "id"),
	[SQL_RANGE + STORE_PAST_STARTED] =
		"SELECT a.attempt, a.started_usec, a.task, a.attempts, 'started', '', n.name, '', 0, 0, 0 "
		"FROM attempts a LEFT JOIN nodes n ON n.id = a.node "
		"WHERE a.attempts > 0 AND " IN_RANGE("a.task", "a.started_usec", "a.attempt"),
	[SQL_RANGE + STORE_PAST_ENDED] =
		"SELECT e.place, e.ended_usec, e.task, 0, 'ended', e.reason, n.name, '', e.how, e.status, e.exceeded "
		"FROM results e LEFT JOIN nodes n ON n.id = e.node "
		"WHERE " IN_RANGE("e.task", "e.ended_usec", "e.place"),
};

struct store_past {
	sqlite3 *db;
	sqlite3_stmt *sql[SQL_N];
};

struct store_past *store_past_new(sqlite3 *db)
{
	struct store_past *p = NEW(struct store_past);
	p->db = db;
	if (store_sql_prepare(db, texts, p->sql, SQL_N)) {
		store_past_free(p);
		return NULL;
	}
	return p;
}

void store_past_free(struct store_past *p)
{
	if (!p)
		return;
	store_sql_finalize(p->sql, SQL_N);
	free(p);
}

static int get_number(struct store_past *p, int sql, uint64_t *number)
{
	sqlite3_stmt *q = p->sql[sql];
	int r = sqlite3_step(q) == SQLITE_ROW ? 0 : store_sql_errno(p->db);
	*number = r ? 0 : store_number(q, 0);
	store_sql_reset(q);
	return r;
}

int store_past_now(struct store *s, struct store_moment *m)
{
	int r = get_number(s->past, SQL_LAST_EVENT, &m->at[STORE_PAST_EVENT]);
	return r ? r : get_number(s->past, SQL_LAST_TASK, &m->at[STORE_PAST_SUBMITTED]);
}

int store_past_first(struct store *s, enum store_past_kind kind, uint64_t *first)
{
	return get_number(s->past, kind == STORE_PAST_EVENT ? SQL_FIRST_EVENT : SQL_FIRST_TASK, first);
}

static int tell(struct store_past *p, sqlite3_stmt *q, enum store_past_kind kind, store_on_past *on_row, void *arg)
{
	int step;
	while ((step = sqlite3_step(q)) == SQLITE_ROW) {
		const struct store_past_row row = {
			.kind = kind,
			.number = store_number(q, 0),
			.at_usec = sqlite3_column_int64(q, 1),
			.task = store_number(q, 2),
			.n = store_number(q, 3),
			.what = store_column_text(q, 4),
			.text = store_column_text(q, 5),
			.node = store_column_text(q, 6),
			.item = store_column_text(q, 7),
			.how = (uint8_t)store_number(q, 8),
			.status = (uint32_t)store_number(q, 9),
			.exceeded = (uint8_t)store_number(q, 10),
		};
		on_row(arg, &row);
	}
	int r = step == SQLITE_DONE ? 0 : store_sql_errno(p->db);
	store_sql_reset(q);
	return r;
}

int store_past_after(struct store *s, enum store_past_kind kind, uint64_t number, uint32_t most, store_on_past *on_row,
		     void *arg)
{
	sqlite3_stmt *q = s->past->sql[kind == STORE_PAST_EVENT ? SQL_EVENTS_AFTER : SQL_SUBMITTED_AFTER];
	assert(kind == STORE_PAST_EVENT || kind == STORE_PAST_SUBMITTED);
	store_sql_bind(q, 2, (int64_t[]){(int64_t)number, most});
	return tell(s->past, q, kind, on_row, arg);
}

int store_past_range(struct store *s, enum store_past_kind kind, uint64_t first, uint64_t end,
		     const struct store_span *span, store_on_past *on_row, void *arg)
{
	assert(kind < STORE_PAST_KINDS && first <= end);
	sqlite3_stmt *q = s->past->sql[SQL_RANGE + kind];
	store_sql_bind(q, 5,
		       (int64_t[]){(int64_t)first, (int64_t)end, span->since_usec, (int64_t)span->low.at[kind],
				   (int64_t)min(span->high.at[kind], (uint64_t)INT64_MAX)});
	return tell(s->past, q, kind, on_row, arg);
}

int store_find_owner(struct store *s, uint64_t task, struct store_owner *o)
{
	sqlite3_stmt *q = s->past->sql[SQL_OWNER];
	sqlite3_bind_int64(q, 1, (int64_t)task);
	int step = sqlite3_step(q), r = step == SQLITE_DONE ? -ENOENT : 0;
	if (step == SQLITE_ROW) {
		o->first = store_number(q, 0);
		o->end = store_number(q, 1);
		o->run = store_number(q, 2);
		snprintf(o->name, sizeof o->name, "%s", store_column_text(q, 3));
		r = task < o->end ? 0 : -ENOENT;
	} else if (step != SQLITE_DONE) {
		r = store_sql_errno(s->past->db);
	}
	store_sql_reset(q);
	return r;
}
