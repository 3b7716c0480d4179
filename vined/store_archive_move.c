/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/store_archive.h"

#include "common/log.h"

#include <stdio.h>

#define STEP_DELETED 1000u /* commands or items */

/* ---- archive.sqlite */

/* The same name, key or command may come there more than once, each time under another number. */
static const char archive_sql[] = "DROP INDEX IF EXISTS nodes_uuid; DROP INDEX IF EXISTS runs_name;"
				  "DROP INDEX IF EXISTS tasks_key; DROP INDEX IF EXISTS arrays_key;";

static int check_cluster(struct store_archive *a)
{
	char *sql = sqlite3_mprintf("INSERT INTO meta VALUES ('cluster', %Q) ON CONFLICT DO NOTHING", a->cluster);
	int r = store_sql_exec(a->to, sql);
	sqlite3_free(sql);
	if (r)
		return r;
	int64_t is_ours = 0;
	sql = sqlite3_mprintf("SELECT value = %Q FROM meta WHERE name = 'cluster'", a->cluster);
	r = store_sql_number(a->to, sql, &is_ours);
	sqlite3_free(sql);
	if (!r && !is_ours) {
		log_error("archive: %s is another cluster's: move it away", a->path);
		r = -EEXIST;
	}
	return r;
}

static int open_archive(struct store_archive *a)
{
	struct conf_error e = {""};
	if (a->to)
		return 0;
	int r = store_sql_open(a->path, false, a->is_exclusive, &a->to, &e);
	if (!r)
		r = store_migrate(a->to, a->path, &store_migrations, &e);
	if (r)
		log_error("archive: %s", e.text);
	if (!r)
		r = store_sql_exec(a->to, archive_sql);
	if (!r)
		r = check_cluster(a);
	if (r) {
		sqlite3_close(a->to);
		a->to = NULL;
	}
	return r;
}

/* What tasks refer to goes first. */
static const struct {
	const char *table, *sql;
} copies[] = {
	{"runs", "SELECT * FROM runs WHERE id IN (SELECT run FROM submits WHERE first < ?2 AND first + n > ?1)"},
	{"nodes", "SELECT * FROM nodes WHERE id IN (SELECT node FROM results WHERE task >= ?1 AND task < ?2)"},
	{"shapes", "SELECT * FROM shapes WHERE id IN (SELECT shape FROM tasks WHERE id >= ?1 AND id < ?2 "
		   "UNION SELECT shape FROM arrays WHERE id >= ?1 AND id < ?2)"},
	{"commands", "SELECT * FROM commands WHERE id IN (SELECT command FROM tasks WHERE id >= ?1 AND id < ?2 "
		     "UNION SELECT environment FROM tasks WHERE id >= ?1 AND id < ?2 "
		     "UNION SELECT command FROM arrays WHERE id >= ?1 AND id < ?2 "
		     "UNION SELECT environment FROM arrays WHERE id >= ?1 AND id < ?2)"},
	{"items",
	 "SELECT * FROM items WHERE id IN (SELECT item FROM bindings WHERE id >= ?1 * 65536 AND id < ?2 * 65536)"},
	{"submits", "SELECT first, min(first + n, ?2) - first, run, 0 FROM submits WHERE first >= ?1 AND first < ?2"},
	{"arrays", "SELECT * FROM arrays WHERE id >= ?1 AND id < ?2"},
	{"tasks", "SELECT * FROM tasks WHERE id >= ?1 AND id < ?2"},
	{"bindings", "SELECT * FROM bindings WHERE id >= ?1 * 65536 AND id < ?2 * 65536"},
	{"attempts", "SELECT * FROM attempts WHERE task >= ?1 AND task < ?2"},
	{"results", "SELECT * FROM results WHERE task >= ?1 AND task < ?2"},
	{"heads", "SELECT * FROM heads WHERE task >= ?1 AND task < ?2"},
	{"leftovers", "SELECT * FROM leftovers WHERE task >= ?1 AND task < ?2"},
};

static int copy_range(struct store_archive *a, uint64_t first, uint64_t end)
{
	uint64_t n = 0;
	int r = open_archive(a);
	if (r)
		return r;
	r = store_sql_exec(a->to, "BEGIN IMMEDIATE");
	for (size_t i = 0; i < countof(copies) && !r; i++)
		r = store_copy(a->db, copies[i].sql, first, end, a->to, copies[i].table, &n);
	if (!r)
		r = store_sql_exec(a->to, "COMMIT");
	if (r)
		sqlite3_exec(a->to, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

/* ---- moving */

/* A span of which only the beginning goes begins later then. What has been given as a number is not given again. */
static const char *const deletions[] = {
	"DELETE FROM heads WHERE task >= ?1 AND task < ?2",
	"DELETE FROM leftovers WHERE task >= ?1 AND task < ?2",
	"DELETE FROM results WHERE task >= ?1 AND task < ?2",
	"DELETE FROM attempts WHERE task >= ?1 AND task < ?2",
	"DELETE FROM bindings WHERE id >= ?1 * 65536 AND id < ?2 * 65536",
	"DELETE FROM tasks WHERE id >= ?1 AND id < ?2",
	"DELETE FROM arrays WHERE id >= ?1 AND id < ?2",
	"INSERT INTO meta VALUES ('last_task', ?2 - 1) ON CONFLICT DO UPDATE SET value = max(value, ?2 - 1)",
	"INSERT INTO meta SELECT 'last_command', ifnull(max(id), 0) FROM commands WHERE true "
	"ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
	"UPDATE runs SET archived = 1 WHERE id IN (SELECT run FROM submits WHERE first < ?2 AND first + n > ?1)",
	"INSERT INTO submits SELECT ?2, first + n - ?2, run, leaving FROM submits "
	"WHERE first >= ?1 AND first < ?2 AND first + n > ?2",
	"DELETE FROM submits WHERE first >= ?1 AND first < ?2",
};

static int delete_range(struct store_archive *a, uint64_t first, uint64_t end)
{
	int r = store_writer_begin(a->w);
	for (size_t i = 0; i < countof(deletions) && !r; i++)
		r = store_archive_run(a, deletions[i], first, end);
	r = store_writer_end(a->w, r);
	a->n_moved += r ? 0 : end - first;
	return r;
}

struct moving {
	uint64_t first, end, kind;
};

/* From a->at on: neighbours that go the same way, together up to a step. 1, 0 or -errno. */
static int find_moving(struct store_archive *a, struct moving *m)
{
	int found = store_archive_each(
		a, "SELECT first, n, leaving FROM submits WHERE first >= ?1 AND leaving ORDER BY first LIMIT 1", a->at,
		0, NULL);
	if (found <= 0)
		return found;
	*m = (struct moving){a->found[0], a->found[0] + a->found[1], a->found[2]};
	while (m->end - m->first < STORE_STEP_NUMBERS) {
		found = store_archive_each(
			a, "SELECT first, n, leaving FROM submits WHERE first >= ?1 ORDER BY first LIMIT 1", m->end, 0,
			NULL);
		if (found < 0)
			return found;
		if (!found || a->found[2] != m->kind)
			break;
		m->end = a->found[0] + a->found[1];
	}
	m->end = min(m->end, m->first + STORE_STEP_NUMBERS);
	return 1;
}

static void add_commands(struct store_archive *a)
{
	store_set_add(&a->commands, a->found[0]);
	store_set_add(&a->commands, a->found[1]);
}

int store_archive_move(struct store_archive *a)
{
	struct moving m;
	int r = find_moving(a, &m);
	if (r <= 0)
		return r;
	r = store_archive_each(a,
			       "SELECT command, environment FROM tasks WHERE id >= ?1 AND id < ?2 "
			       "UNION SELECT command, environment FROM arrays WHERE id >= ?1 AND id < ?2",
			       m.first, m.end, add_commands);
	if (r >= 0)
		r = m.kind == 1 ? copy_range(a, m.first, m.end) : 0;
	if (!r)
		r = delete_range(a, m.first, m.end);
	a->at = m.first;
	return r ? r : 1;
}

/* ---- commands that nobody names any more */

static void keep_commands(struct store_archive *a)
{
	a->at = a->found[0] + 1;
	store_set_remove(&a->commands, a->found[1]);
	store_set_remove(&a->commands, a->found[2]);
}

/* Numbers of a set that go, up to a step, in one transaction. 1: there may be more, 0, or -errno. */
static int delete_set(struct store_archive *a, struct store_set *set, const char *sql)
{
	int r = store_writer_begin(a->w);
	uint64_t id = 0;
	unsigned n = 0;
	for (; n < STEP_DELETED && !r && (id = store_set_next(set, id)) != UINT64_MAX; n++) {
		r = store_archive_run(a, sql, id, 0);
		store_set_remove(set, id);
	}
	r = store_writer_end(a->w, r);
	return r ? r : n == STEP_DELETED;
}

/* All tasks are looked at once, then those that came meanwhile, before each deletion. */
int store_archive_commands(struct store_archive *a)
{
	if (store_set_next(&a->commands, 0) == UINT64_MAX)
		return 0;
	int r = store_archive_each(a, "SELECT id, command, environment FROM tasks WHERE id >= ?1 ORDER BY id LIMIT ?2",
				   a->at, STORE_STEP_ROWS, keep_commands);
	if (r < 0 || r == STORE_STEP_ROWS)
		return min(r, 1);
	uint64_t at = a->at;
	r = store_archive_each(a, "SELECT id, command, environment FROM arrays", 0, 0, keep_commands);
	a->at = at;
	if (r < 0)
		return r;
	store_submit_forget(a->w);
	return delete_set(a, &a->commands, "DELETE FROM commands WHERE id = ?1");
}

/* ---- items */

/* Those of runs that are gone. */
int store_archive_orphans(struct store_archive *a)
{
	int r = store_archive_run(a,
				  "INSERT INTO meta SELECT 'last_item', ifnull(max(id), 0) FROM items WHERE true "
				  "ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
				  0, 0);
	if (!r)
		r = store_archive_run(a,
				      "DELETE FROM items WHERE id >= ?1 AND id < ?1 + ?2 AND run AND run NOT IN "
				      "(SELECT id FROM runs)",
				      a->at, STORE_STEP_ROWS);
	a->at += STORE_STEP_ROWS;
	if (r)
		return r;
	r = store_archive_each(a, "SELECT ifnull(max(id), 0) FROM items", 0, 0, NULL);
	return r < 0 ? r : a->at <= a->found[0];
}

static void keep_item(struct store_archive *a)
{
	a->at = a->found[0] + 1;
	store_set_remove(&a->items, a->found[1]);
}

/* Once after a start. */
int store_archive_items(struct store_archive *a)
{
	if (store_set_next(&a->items, 0) == UINT64_MAX)
		return 0;
	int r = store_archive_each(a, "SELECT id, item FROM bindings WHERE id >= ?1 ORDER BY id LIMIT ?2", a->at,
				   STORE_STEP_ROWS, keep_item);
	if (r < 0 || r == STORE_STEP_ROWS)
		return min(r, 1);
	return delete_set(a, &a->items, "DELETE FROM items WHERE id = ?1");
}
