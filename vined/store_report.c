/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/store_report.h"

#include "common/log.h"
#include "vined/store_archive.h"
#include "vined/store_internal.h"

#include <stdio.h>
#include <sys/stat.h>

#define SPANS_MOST 2000u /* of other runs, looked at in vain by one page */

enum {
	PAGE_SPAN,
	PAGE_ARRAY_AT,
	PAGE_ARRAY_NEXT,
	PAGE_TASKS,
	PAGE_ELEMENTS,
	PAGE_INPUTS,
	PAGE_SQL_N,
};

#define ROW(name, sizes)                                                                                               \
	", r.id, r.name, t.tag, CASE e.delivered WHEN 1 THEN 4 WHEN 0 THEN 3 ELSE ifnull(a.state, 0) END, "            \
	"ifnull(a.attempts, 0), n.name, e.how, e.status, e.reason, t.submitted_usec, " name                            \
	", ifnull(e.exceeded, 0), ifnull(e.wall_usec, 0), ifnull(a.started_usec, 0), ifnull(e.ended_usec, 0), "        \
	"ifnull(e.cpu_usec, 0), ifnull(e.peak_memory, 0), ifnull(e.peak_disk, 0), ifnull(s.memory, 0), "               \
	"ifnull(s.disk, 0), ifnull(s.cores, 0), ifnull(s.gpus, 0), ifnull(e.local_size, 0), ifnull(e.moved_size, 0), " \
	"ifnull(s.category, ''), " sizes " "
#define ROW_JOINS(id)                                                            \
	" LEFT JOIN runs r ON r.id = t.run LEFT JOIN attempts a ON a.task = " id \
	" LEFT JOIN results e ON e.task = " id                                   \
	" LEFT JOIN nodes n ON n.id = ifnull(e.node, a.node) LEFT JOIN shapes s ON s.id = t.shape "

#define TEXTS(sizes)                                                                                                  \
	{                                                                                                             \
		[PAGE_SPAN] = "SELECT first, first + n, run, leaving FROM submits WHERE first >= ifnull((SELECT "     \
			      "max(first) FROM submits WHERE first <= ?1), 0) AND first + n > ?1 ORDER BY first "     \
			      "LIMIT 1",                                                                              \
		[PAGE_ARRAY_AT] = "SELECT id, id + n FROM arrays WHERE id <= ?1 ORDER BY id DESC LIMIT 1",            \
		[PAGE_ARRAY_NEXT] = "SELECT id, id + n FROM arrays WHERE id > ?1 ORDER BY id LIMIT 1",                \
		[PAGE_TASKS] = "SELECT t.id" ROW("t.key", sizes) "FROM tasks t" ROW_JOINS(                            \
			"t.id") "WHERE t.id >= ?1 AND t.id < ?2 ORDER BY t.id LIMIT ?3",                              \
		[PAGE_ELEMENTS] = "WITH RECURSIVE element(id) AS (SELECT ?1 UNION ALL SELECT id + 1 FROM element "    \
				  "WHERE id + 1 < ?2) SELECT i.id" ROW(                                               \
					  "t.first_index + (i.id - t.id) * t.step",                                   \
					  sizes) "FROM element i CROSS JOIN arrays t ON t.id = ?3" ROW_JOINS("i.id"), \
		[PAGE_INPUTS] = "SELECT max(b.id), count(*), b.mode = 3, ifnull(i.size, 0), sum(ifnull(r.n, 1)), "    \
				"i.name FROM (SELECT id, item, mode FROM bindings WHERE id >= ?1 AND id < ?2 "        \
				"ORDER BY id LIMIT ?3) b LEFT JOIN items i ON i.id = b.item "                         \
				"LEFT JOIN arrays r ON r.id = b.id >> 16 GROUP BY b.item, b.mode = 3",                \
	}
static const char *const texts[PAGE_SQL_N] =
	TEXTS("ifnull(e.peer_size, 0), ifnull(e.source_size, 0), ifnull(e.client_size, 0)");
/* An archive has the columns of version 6 once something is moved there by a vined that knows them. */
static const char *const texts_of_5[PAGE_SQL_N] = TEXTS("0, 0, 0");

/* The database, or the archive beside it. */
struct side {
	sqlite3 *db; /* NULL: nothing of it is wanted */
	sqlite3_stmt *sql[PAGE_SQL_N];
};

struct page {
	struct store *store;
	struct side here, archive;
	uint64_t run;
	struct store_report_at *at;
	uint32_t most, n;
	void (*on_task)(void *arg, const struct store_report_task *t);
	void (*on_input)(void *arg, const struct store_report_input *i);
	void *arg;
};

static int step(const struct side *e, sqlite3_stmt *q)
{
	int r = sqlite3_step(q);
	return r == SQLITE_ROW ? 1 : r == SQLITE_DONE ? 0 : store_sql_errno(e->db);
}

/* ---- rows */

static void tell_task(struct page *p, sqlite3_stmt *q)
{
	struct store_report_task t = {
		.row = store_column_row(q),
		.ended_usec = sqlite3_column_int64(q, 15),
		.cpu_usec = store_number(q, 16),
		.peak_memory = store_number(q, 17),
		.peak_disk = store_number(q, 18),
		.memory = store_number(q, 19),
		.disk = store_number(q, 20),
		.cores = store_number(q, 21),
		.gpus = store_number(q, 22),
		.local_size = store_number(q, 23),
		.moved_size = store_number(q, 24),
		.category = store_column_text(q, 25),
		.peer_size = store_number(q, 26),
		.source_size = store_number(q, 27),
		.client_size = store_number(q, 28),
	};
	t.row.wall_usec = store_number(q, 13);
	t.row.started_usec = sqlite3_column_int64(q, 14);
	p->on_task(p->arg, &t);
}

static int tell_rows(struct page *p, const struct side *e, int sql, uint64_t first, uint64_t end, uint64_t third,
		     uint64_t *last)
{
	sqlite3_stmt *q = e->sql[sql];
	int r;
	uint32_t n = 0;
	assert(first < end);
	store_sql_bind(q, 3, (int64_t[]){(int64_t)first, (int64_t)end, (int64_t)third});
	for (; (r = step(e, q)) == 1; n++) {
		*last = store_number(q, 0);
		tell_task(p, q);
	}
	store_sql_reset(q);
	p->n += n;
	return r < 0 ? r : (int)n;
}

/* Tasks of their own from `first` on; *to is where to go on. */
static int tell_tasks(struct page *p, const struct side *e, uint64_t first, uint64_t end, uint64_t *to)
{
	uint32_t room = p->most - p->n;
	uint64_t last = first;
	int n = tell_rows(p, e, PAGE_TASKS, first, end, room, &last);
	*to = n == (int)room ? last + 1 : end;
	return min(n, 0);
}

static int find_array(const struct side *e, int sql, uint64_t at, uint64_t *array, uint64_t *end)
{
	sqlite3_stmt *q = e->sql[sql];
	store_sql_bind(q, 1, (int64_t[]){(int64_t)at});
	int r = step(e, q);
	if (r == 1) {
		*array = store_number(q, 0);
		*end = store_number(q, 1);
	}
	store_sql_reset(q);
	return r;
}

/* Tasks lie before, between and behind arrays. */
static int tell_span(struct page *p, const struct side *e, uint64_t first, uint64_t end, uint64_t *to)
{
	uint64_t array = 0, array_end = 0, last;
	int found = find_array(e, PAGE_ARRAY_AT, first, &array, &array_end);
	if (found == 1 && array_end > first) {
		array_end = min(array_end, end);
		*to = min(array_end, first + (p->most - p->n));
		return min(tell_rows(p, e, PAGE_ELEMENTS, first, *to, array, &last), 0);
	}
	if (found >= 0)
		found = find_array(e, PAGE_ARRAY_NEXT, first, &array, &array_end);
	return found < 0 ? found : tell_tasks(p, e, first, found && array < end ? array : end, to);
}

/* Whatever of one statement's rows are wanted; room is left by the page's caller. */
static int tell_inputs(struct page *p, const struct side *e, uint64_t first, uint64_t end, uint64_t *to)
{
	sqlite3_stmt *q = e->sql[PAGE_INPUTS];
	uint64_t n = 0, last = first;
	uint32_t room = p->most - p->n;
	int r;
	store_sql_bind(q, 3, (int64_t[]){(int64_t)first, (int64_t)end, room});
	while ((r = step(e, q)) == 1) {
		last = max(last, store_number(q, 0));
		n += store_number(q, 1);
		if (!store_number(q, 2) && *store_column_text(q, 5))
			p->on_input(p->arg, &(struct store_report_input){.name = store_column_text(q, 5),
									 .size = store_number(q, 3),
									 .n_tasks = store_number(q, 4)});
	}
	store_sql_reset(q);
	p->n += (uint32_t)n;
	*to = n == room ? last + 1 : end;
	return r;
}

/* ---- spans of numbers */

struct span {
	uint64_t first, end, run, leaving;
};

/* The one that holds this number, or the next. 1, 0 or -errno. */
static int find_span(const struct side *e, uint64_t from, struct span *s)
{
	if (!e->db)
		return 0;
	sqlite3_stmt *q = e->sql[PAGE_SPAN];
	store_sql_bind(q, 1, (int64_t[]){(int64_t)from});
	int r = step(e, q);
	if (r == 1)
		*s = (struct span){max(store_number(q, 0), from), store_number(q, 1), store_number(q, 2),
				   store_number(q, 3)};
	store_sql_reset(q);
	return r;
}

/* What is here is told from here: rows are committed to the archive before they are deleted here, so there is no number that is nowhere, and one that is in both
 * is told once. */
static int next_span(struct page *p, uint64_t from, struct span *s, const struct side **where)
{
	struct span there;
	int is_here = find_span(&p->here, from, s);
	int is_there = is_here < 0 ? is_here : find_span(&p->archive, from, &there);
	*where = &p->here;
	if (is_there < 0 || (!is_here && !is_there))
		return is_there;
	if (is_there && (!is_here || there.first < s->first)) {
		if (is_here)
			there.end = min(there.end, s->first);
		*s = there;
		*where = &p->archive;
	}
	return 1;
}

static int tell_page(struct page *p, uint64_t unit)
{
	int r = 0;
	for (unsigned i = 0; i < SPANS_MOST && p->n < p->most && !r; i++) {
		struct span s = {.first = 0};
		const struct side *where;
		int found = next_span(p, p->at->from / unit, &s, &where);
		if (found <= 0) {
			p->at->is_over = !found;
			return found;
		}
		uint64_t first = max(s.first * unit, p->at->from), to = s.end * unit;
		bool is_meant = (!p->run || s.run == p->run) && s.leaving < 2;
		if (is_meant)
			r = p->on_task ? tell_span(p, where, first, s.end, &to) : tell_inputs(p, where, first, to, &to);
		p->at->from = to;
	}
	return r;
}

/* ---- pages */

static int prepare(struct side *e)
{
	int64_t is_new = 1;
	int r = store_sql_number(e->db, "SELECT count(*) FROM pragma_table_info('results') WHERE name = 'peer_size'",
				 &is_new);
	return r ? r : store_sql_prepare(e->db, is_new ? texts : texts_of_5, e->sql, PAGE_SQL_N);
}

/* 0: nothing of the run has left, so that the archive need not be there, nor sound. */
static int is_archived(const struct page *p)
{
	char sql[100];
	int64_t is = 1;
	struct stat st;
	if (!p->store->archive || stat(p->store->archive->path, &st) < 0)
		return 0;
	snprintf(sql, sizeof sql, "SELECT archived FROM runs WHERE id = %llu", (unsigned long long)p->run);
	int r = p->run ? store_sql_number(p->store->reader_db, sql, &is) : 0;
	return r == -ENOENT ? 0 : r ? r : is != 0;
}

/* The loop waits for nobody: while the archive is being written where only one may have it open, the question is refused. There, without shared memory,
 * a reader alone could not lock it either. */
static int open_now(const char *path, bool is_exclusive, sqlite3 **db)
{
	int flags = is_exclusive ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
	int r = sqlite3_open_v2(path, db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, store_vfs());
	if (!r && is_exclusive)
		r = sqlite3_exec(*db, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL);
	if (!r)
		return 0;
	r = *db ? store_sql_errno(*db) : -ENOMEM;
	sqlite3_close(*db);
	*db = NULL;
	log_warn("report: %s: cannot open it: %s", path, strerror(-r));
	return r;
}

/* For each page: hardly anybody asks, and a connection held would keep its files from being moved away. */
static int open_archive(struct page *p)
{
	const struct store *s = p->store;
	int r = is_archived(p);
	if (r <= 0)
		return r;
	r = open_now(s->archive->path, s->reader_db == s->db, &p->archive.db);
	return r ? r : prepare(&p->archive);
}

/* A page sees one moment of the database, and then the archive: what leaves the one meanwhile it sees here, what had left before it sees there. Where one
 * connection is all there is, what left meanwhile may have been missed, unless the archive was open: then nothing is moved. */
static int next_page(struct page *p)
{
	struct store *s = p->store;
	const struct store_report_at at = *p->at;
	assert(p->most && !at.is_over);
	p->here.db = s->reader_db;
	store_look(s, true);
	int r = prepare(&p->here);
	if (!r)
		r = open_archive(p);
	if (!r)
		r = tell_page(p, p->on_task ? 1 : STORE_BINDINGS_MAX);
	store_sql_finalize(p->here.sql, PAGE_SQL_N);
	store_sql_finalize(p->archive.sql, PAGE_SQL_N);
	store_look(s, false);
	if (!r && !p->archive.db && s->reader_db == s->db && is_archived(p))
		r = -EBUSY;
	sqlite3_close(p->archive.db);
	if (r)
		*p->at = at;
	return r;
}

int store_report_tasks(struct store *s, uint64_t run, struct store_report_at *at, uint32_t most,
		       void (*on_task)(void *arg, const struct store_report_task *t), void *arg)
{
	struct page p = {.store = s, .run = run, .at = at, .most = most, .on_task = on_task, .arg = arg};
	return next_page(&p);
}

int store_report_inputs(struct store *s, uint64_t run, struct store_report_at *at, uint32_t most,
			void (*on_input)(void *arg, const struct store_report_input *i), void *arg)
{
	struct page p = {.store = s, .run = run, .at = at, .most = most, .on_input = on_input, .arg = arg};
	return next_page(&p);
}
