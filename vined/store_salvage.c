/* SPDX-License-Identifier: Apache-2.0
 * 1. Leaves that a table's tree leads to are that table's. Where a page on the way is damaged, the leaves behind it are found by looking at
 *    all pages, and what table they are of by the types of their columns, which differ.
 * 2. What a row refers to may be lost: a run gets a name, a task of which something is lost is held, so that it does not run as
 *    something else than was submitted.
 * 3. Numbers that may have been given are not given again. */
#include "vined/store_salvage.h"

#include "common/digest.h"
#include "vined/store_pages.h"

#include <stdio.h>
#include <unistd.h>

#define LOST_MAX 4096
#define GAP "1000000"

/* k: the row's number; i integer, t text, b blob, x anything */
static const struct {
	const char *name, *types;
	unsigned n_then[2]; /* columns before versions 5 and 6, where there were fewer */
	bool is_new;     /* with version 5 */
} tables[] = {
	{"meta", "tx", {0}, false},
	{"nodes", "kitt", {0}, false},
	{"runs", "kitiii", {0}, false},
	{"submits", "kiii", {0}, false},
	{"settings", "itti", {0}, false},
	{"commands", "kbb", {0}, false},
	{"shapes", "kiiiiiiittttt", {12}, false},
	{"items", "kiiiiiibtt", {0}, false},
	{"tasks", "kiiiiiiiiitt", {0}, false},
	{"arrays", "kiiiiiiiiittiiii", {0}, false},
	{"bindings", "kiiti", {4}, false},
	{"attempts", "kiiiiiiiiii", {9}, false},
	{"results", "kiiiiiiiiiiiiiiiitiiiii", {18, 20}, false},
	{"heads", "kbb", {0}, false},
	{"leftovers", "kt", {0}, true},
	{"events", "kiiiiitt", {0}, false},
};
#define N_TABLES countof(tables)

struct lost {
	int64_t above, most; /* row numbers */
};

struct salvage {
	struct store_pages *pages;
	struct store_salvaged *s;
	sqlite3 *to;
	sqlite3_stmt *insert[N_TABLES];
	uint32_t roots[N_TABLES];
	bool has_schema;
	size_t table;               /* whose tree is walked; N_TABLES: look at each row */
	struct lost lost[LOST_MAX]; /* bindings */
	size_t n_lost;
	int error;
};

/* ---- rows */

static bool has_types(const struct store_record *r, const char *types)
{
	for (size_t i = 0; i < r->n; i++) {
		static const char letters[] = {[STORE_NULL] = 'k',
					       [STORE_INTEGER] = 'i',
					       [STORE_TEXT] = 't',
					       [STORE_BLOB] = 'b',
					       [STORE_REAL] = '-'};
		if (types[i] != 'x' && letters[r->at[i].type] != types[i])
			return false;
	}
	return true;
}

static bool matches(const struct store_record *r, size_t table)
{
	return (r->n == strlen(tables[table].types) || r->n == tables[table].n_then[0] ||
		r->n == tables[table].n_then[1]) &&
	       has_types(r, tables[table].types);
}

/* Commands and heads are two blobs each, but the one's first is the other's digest. */
static bool is_command(const struct store_record *r)
{
	struct digest d;
	digest_bytes(r->at[2].at, r->at[2].n, &d);
	return r->at[1].n == DIGEST_SIZE && memcmp(d.byte, r->at[1].at, DIGEST_SIZE) == 0;
}

static size_t guess_table(const struct store_record *r)
{
	for (size_t i = 0; i < N_TABLES; i++) {
		bool is_it = matches(r, i);
		if (is_it && streq(tables[i].types, "kbb"))
			is_it = is_command(r) == streq(tables[i].name, "commands");
		if (is_it)
			return i;
	}
	return N_TABLES;
}

static void bind_value(sqlite3_stmt *q, int at, const struct store_value *v, int64_t rowid)
{
	if (v->type == STORE_NULL)
		sqlite3_bind_int64(q, at, rowid);
	else if (v->type == STORE_INTEGER)
		sqlite3_bind_int64(q, at, v->number);
	else if (v->type == STORE_TEXT)
		sqlite3_bind_text(q, at, (const char *)v->at, (int)v->n, SQLITE_STATIC);
	else
		sqlite3_bind_blob(q, at, v->n ? (const void *)v->at : "", (int)v->n, SQLITE_STATIC);
}

static void on_row(void *arg, const struct store_record *r)
{
	struct salvage *v = arg;
	size_t table = v->table < N_TABLES ? v->table : guess_table(r);
	if (v->error || (v->table == N_TABLES && table == N_TABLES))
		return;
	bool is_command_lost = streq(tables[table].name, "commands") && r->n == 3 && !is_command(r);
	if (!matches(r, table) || is_command_lost) {
		v->s->n_rows_lost++;
		return;
	}
	sqlite3_stmt *q = v->insert[table];
	for (size_t i = 0; i < r->n; i++)
		bind_value(q, (int)i + 1, &r->at[i], r->rowid);
	/* An older row asks for nothing new. */
	for (size_t i = r->n; i < strlen(tables[table].types); i++) {
		bool is_text = tables[table].types[i] == 't';
		const struct store_value none = {.type = is_text ? STORE_TEXT : STORE_INTEGER,
						 .at = (const uint8_t *)""};
		bind_value(q, (int)i + 1, &none, 0);
	}
	v->error = store_sql_step(v->to, q);
	v->s->tables[table].n_rows += (uint64_t)sqlite3_changes(v->to);
}

/* ---- trees */

static void on_leaf(void *arg, uint32_t page)
{
	struct salvage *v = arg;
	v->s->n_rows_lost += store_pages_rows(v->pages, page, on_row, v);
}

static void on_lost(void *arg, int64_t above, int64_t most)
{
	struct salvage *v = arg;
	v->s->tables[v->table].n_pages_lost++;
	if (streq(tables[v->table].name, "bindings") && v->n_lost < LOST_MAX)
		v->lost[v->n_lost++] = (struct lost){above, most};
}

/* A row of sqlite_master: type, name, table, root, text. */
static void on_schema(void *arg, const struct store_record *r)
{
	struct salvage *v = arg;
	if (r->n != 5 || !has_types(r, "tttit") || r->at[0].n != 5 || memcmp(r->at[0].at, "table", 5) != 0)
		return;
	for (size_t i = 0; i < N_TABLES; i++) {
		if (r->at[1].n == strlen(tables[i].name) && !memcmp(r->at[1].at, tables[i].name, r->at[1].n))
			v->roots[i] = (uint32_t)r->at[3].number, v->has_schema = true;
	}
}

static void on_schema_leaf(void *arg, uint32_t page)
{
	struct salvage *v = arg;
	store_pages_rows(v->pages, page, on_schema, v);
}

/* Where the schema can be read, what is new was not there before version 5. */
static bool is_missed(const struct salvage *v, size_t table)
{
	return !v->roots[table] && !(tables[table].is_new && v->has_schema);
}

static void read_trees(struct salvage *v)
{
	store_pages_walk(v->pages, 1, &(struct store_walk){on_schema_leaf, NULL, v});
	for (v->table = 0; v->table < N_TABLES && !v->error; v->table++) {
		if (v->roots[v->table])
			store_pages_walk(v->pages, v->roots[v->table], &(struct store_walk){on_leaf, on_lost, v});
		else if (is_missed(v, v->table))
			on_lost(v, INT64_MIN, INT64_MAX);
	}
}

static bool lacks_root(const struct salvage *v)
{
	for (size_t i = 0; i < N_TABLES; i++) {
		if (is_missed(v, i))
			return true;
	}
	return false;
}

/* Leaves that no tree led to. */
static void read_rest(struct salvage *v)
{
	if (!store_pages_is_torn(v->pages) && !lacks_root(v))
		return;
	store_pages_visit_free(v->pages);
	for (uint32_t page = 1; page <= store_pages_n(v->pages) && !v->error; page++) {
		if (!store_pages_is_visited(v->pages, page) && store_pages_is_leaf(v->pages, page))
			v->s->n_rows_lost += store_pages_rows(v->pages, page, on_row, v);
	}
}

/* ---- mending */

#define HELD "INSERT INTO attempts SELECT t.id, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM "
#define IS_OPEN " AND NOT EXISTS (SELECT 1 FROM results WHERE task = t.id) "
#define HOLD " ON CONFLICT DO UPDATE SET state = 2"
#define LAST(what, sql)                                                                                    \
	"INSERT INTO meta SELECT 'last_" what "', ifnull(max(id), 0) + " GAP " FROM (" sql ") WHERE true " \
	"ON CONFLICT DO UPDATE SET value = max(value, excluded.value)"
#define COVERED(id) \
	"ifnull((SELECT s.first + s.n FROM submits s WHERE s.first <= " id " ORDER BY s.first DESC LIMIT 1), 0) > " id

static const char *const mending[] = {
	"INSERT INTO meta SELECT 'boot', ifnull(max(attempt) >> 40, 0) + 1 FROM attempts WHERE true "
	"ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
	LAST("task", "SELECT id FROM tasks UNION ALL SELECT id + n FROM arrays UNION ALL SELECT first + n FROM submits "
		     "UNION ALL SELECT task FROM attempts UNION ALL SELECT task FROM results"),
	LAST("run", "SELECT id FROM runs UNION ALL SELECT run FROM tasks UNION ALL SELECT run FROM arrays"),
	LAST("node", "SELECT id FROM nodes UNION ALL SELECT node FROM attempts UNION ALL SELECT node FROM results"),
	LAST("shape", "SELECT id FROM shapes UNION ALL SELECT shape FROM tasks"),
	LAST("item", "SELECT id FROM items UNION ALL SELECT item FROM bindings"),
	LAST("command",
	     "SELECT id FROM commands UNION ALL SELECT command FROM tasks UNION ALL SELECT environment FROM tasks"),
	"INSERT INTO submits SELECT id, 1, run, 0 FROM tasks WHERE NOT " COVERED("id"),
	"INSERT INTO submits SELECT id, n, run, 0 FROM arrays WHERE NOT " COVERED("id"),
	/* Also of a shape that nobody knows any more: the smallest there is, and nothing of it runs. */
	"INSERT INTO shapes SELECT DISTINCT shape, 1, 0, 0, 0, 0, 0, 1, '', '', '', 'lost', '' FROM "
	"(SELECT shape FROM tasks UNION SELECT shape FROM arrays) WHERE shape NOT IN (SELECT id FROM shapes)",
	HELD "tasks t WHERE (command NOT IN (SELECT id FROM commands) OR environment NOT IN (SELECT id FROM commands) "
	     "OR shape IN (SELECT id FROM shapes WHERE category = 'lost'))" IS_OPEN HOLD,
	HELD "bindings b JOIN tasks t ON t.id = b.id >> 16 WHERE b.item NOT IN (SELECT id FROM items)" IS_OPEN HOLD,
};

static int count(struct salvage *v, const char *sql, uint64_t *n)
{
	int64_t value = 0;
	int r = store_sql_number(v->to, sql, &value);
	*n = (uint64_t)value;
	return r;
}

/* Their bindings may have lain on a page that is lost. */
static int hold_unbound(struct salvage *v)
{
	int r = 0;
	for (size_t i = 0; i < v->n_lost && !r; i++) {
		const struct lost *l = &v->lost[i];
		char *sql = sqlite3_mprintf(HELD "tasks t WHERE t.id >= %lld AND t.id <= %lld" IS_OPEN HOLD,
					    (long long)max(l->above, (int64_t)0) >> 16, (long long)l->most >> 16);
		r = store_sql_exec(v->to, sql);
		sqlite3_free(sql);
	}
	return r;
}

static int mend(struct salvage *v)
{
	uint64_t n_held = 0;
	int r = count(v,
		      "SELECT count(*) FROM (SELECT run FROM tasks UNION SELECT run FROM arrays) "
		      "WHERE run NOT IN (SELECT id FROM runs)",
		      &v->s->n_runs);
	if (!r)
		r = store_sql_exec(v->to,
				   "INSERT OR IGNORE INTO runs SELECT run, max(user), 'salvaged-' || run, 0, 0, 0 FROM "
				   "(SELECT run, user FROM tasks UNION SELECT run, user FROM arrays) "
				   "WHERE run NOT IN (SELECT id FROM runs) GROUP BY run");
	if (!r)
		r = count(v, "SELECT count(*) FROM attempts WHERE state = 2", &n_held);
	for (size_t i = 0; i < countof(mending) && !r; i++)
		r = store_sql_exec(v->to, mending[i]);
	if (!r)
		r = hold_unbound(v);
	if (!r)
		r = count(v, "SELECT count(*) FROM attempts WHERE state = 2", &v->s->n_held);
	v->s->n_held -= min(n_held, v->s->n_held);
	uint64_t n_cluster = 0;
	if (!r)
		r = count(v, "SELECT count(*) FROM meta WHERE name = 'cluster'", &n_cluster);
	v->s->is_cluster_lost = n_cluster == 0;
	return r;
}

/* ---- */

static int prepare(struct salvage *v)
{
	int r = 0;
	for (size_t i = 0; i < N_TABLES && !r; i++) {
		struct buf sql = {0};
		buf_printf(&sql, "INSERT OR IGNORE INTO %s VALUES (?", tables[i].name);
		for (size_t k = 1; k < strlen(tables[i].types); k++)
			buf_puts(&sql, ",?");
		buf_puts(&sql, ")");
		if (sqlite3_prepare_v2(v->to, buf_text(&sql), -1, &v->insert[i], NULL))
			r = store_sql_errno(v->to);
		buf_fini(&sql);
		v->s->tables[i].name = tables[i].name;
	}
	v->s->n_tables = N_TABLES;
	return r;
}

static int copy_all(struct salvage *v)
{
	int r = store_sql_exec(v->to, "BEGIN IMMEDIATE");
	if (!r)
		r = prepare(v);
	if (!r) {
		read_trees(v);
		v->table = N_TABLES;
		read_rest(v);
		r = v->error;
	}
	store_sql_finalize(v->insert, N_TABLES);
	v->s->n_damaged = store_pages_n_damaged(v->pages);
	v->s->n_pages = store_pages_n(v->pages);
	bool is_whole = !v->s->n_damaged && !v->s->n_rows_lost;
	if (!r && !is_whole)
		r = mend(v);
	return r ? r : store_sql_exec(v->to, "COMMIT");
}

int store_salvage(const char *from, const char *to, struct store_salvaged *s, struct conf_error *e)
{
	_Static_assert(N_TABLES <= countof(s->tables), "a line for each");
	struct salvage *v = NEW(struct salvage);
	*s = (struct store_salvaged){0};
	v->s = s;
	int r = store_pages_open(&v->pages, from);
	if (r)
		snprintf(e->text, sizeof e->text, "%s: %s", from, strerror(-r));
	if (!r)
		r = store_sql_open(to, false, false, &v->to, e);
	if (!r)
		r = store_migrate(v->to, to, &store_migrations, e);
	if (!r && (r = copy_all(v)))
		store_sql_say(e, r, to, "cannot write what was salvaged");
	sqlite3_close(v->to);
	store_pages_free(v->pages);
	free(v);
	return r;
}
