/* SPDX-License-Identifier: Apache-2.0
 * All that is not over, at start, in one snapshot. Every large table is read once, in the order of its key, side by side with those that
 * tell how its tasks went:
 *
 * 1. a survey of tasks, arrays and results: which are over, and which runs that leaves;
 * 2. the bindings of those that are not, which say what items to tell; numbers only, kept until their task is told;
 * 3. nodes, settings, runs, shapes, items, arrays with their elements, tasks, and what has ended, by its place. */
#include "vined/store_internal.h"
#include "vined/store_read.h"
#include "vined/store_set.h"

/* Of a statement in the order of its first column; UINT64_MAX: at its end. */
struct cursor {
	sqlite3_stmt *q;
	uint64_t id;
};

struct kept_array {
	uint64_t id, n;
};

struct load {
	sqlite3 *db;
	struct store_loader *l;
	int error;
	struct cursor attempts, results;
	struct store_set unfinished, runs, items, known_runs;
	struct store_set *untold;
	struct cursor leaving; /* spans whose rows are on their way out */
	uint64_t first_unfinished;
	struct buf arrays;          /* struct kept_array: not all delivered */
	struct buf bindings;        /* uint64_t: TASK_MARK and a task, then its items with their modes */
	size_t binding;             /* the next one to tell */
	struct store_binding *told; /* of one task */
	size_t told_room;
};

#define TASK_MARK ((uint64_t)1 << 63)
#define MODE_SHIFT 60

/* ---- cursors */

static void fail(struct load *l)
{
	if (!l->error)
		l->error = store_sql_errno(l->db);
}

static sqlite3_stmt *prepare(struct load *l, const char *sql)
{
	sqlite3_stmt *q = NULL;
	if (!l->error && sqlite3_prepare_v2(l->db, sql, -1, &q, NULL))
		fail(l);
	return q;
}

static bool step(struct load *l, sqlite3_stmt *q)
{
	if (l->error || !q)
		return false;
	int r = sqlite3_step(q);
	if (r != SQLITE_ROW && r != SQLITE_DONE)
		fail(l);
	return r == SQLITE_ROW;
}

static void cursor_next(struct load *l, struct cursor *c)
{
	c->id = step(l, c->q) ? store_number(c->q, 0) : UINT64_MAX;
}

/* From the first row at or behind `from`. */
static void cursor_open(struct load *l, struct cursor *c, const char *sql, uint64_t from)
{
	*c = (struct cursor){prepare(l, sql), UINT64_MAX};
	if (c->q)
		sqlite3_bind_int64(c->q, 1, (int64_t)from);
	cursor_next(l, c);
}

static void cursor_close(struct cursor *c)
{
	sqlite3_finalize(c->q);
	*c = (struct cursor){NULL, UINT64_MAX};
}

/* Whether it has a row of this number, after passing over those before. */
static bool cursor_find(struct load *l, struct cursor *c, uint64_t id)
{
	while (c->id < id)
		cursor_next(l, c);
	return c->id == id;
}

/* ---- what is not over */

static void open_leaving(struct load *l)
{
	cursor_open(l, &l->leaving, "SELECT first, n FROM submits WHERE first >= ?1 AND leaving ORDER BY first", 0);
}

/* Numbers are asked for in their order. */
static bool is_leaving(struct load *l, uint64_t id)
{
	while (l->leaving.id <= id && id - l->leaving.id >= store_number(l->leaving.q, 1))
		cursor_next(l, &l->leaving);
	return l->leaving.id <= id;
}

static void survey_tasks(struct load *l)
{
	struct cursor t, r;
	cursor_open(l, &t, "SELECT id, run FROM tasks WHERE id >= ?1 ORDER BY id", 0);
	cursor_open(l, &r, "SELECT task, delivered FROM results WHERE task >= ?1 ORDER BY task", 0);
	open_leaving(l);
	for (; t.id != UINT64_MAX && !l->error; cursor_next(l, &t)) {
		bool is_over = cursor_find(l, &r, t.id);
		if ((is_over && sqlite3_column_int(r.q, 1)) || is_leaving(l, t.id))
			continue;
		store_set_add(&l->runs, store_number(t.q, 1));
		if (is_over)
			continue;
		if (l->first_unfinished == UINT64_MAX)
			l->first_unfinished = l->unfinished.base = t.id;
		store_set_add(&l->unfinished, t.id);
	}
	cursor_close(&t);
	cursor_close(&r);
	cursor_close(&l->leaving);
}

/* After the tasks: an array's number is no task's. */
static void survey_arrays(struct load *l)
{
	struct cursor a;
	sqlite3_stmt *count =
		prepare(l, "SELECT count(*), total(delivered) FROM results WHERE task >= ?1 AND task < ?1 + ?2");
	cursor_open(l, &a, "SELECT id, n, run FROM arrays WHERE id >= ?1 ORDER BY id", 0);
	open_leaving(l);
	for (; a.id != UINT64_MAX && !l->error; cursor_next(l, &a)) {
		const struct kept_array kept = {a.id, store_number(a.q, 1)};
		if (is_leaving(l, a.id))
			continue;
		store_sql_bind(count, 2, (int64_t[]){(int64_t)kept.id, (int64_t)kept.n});
		if (step(l, count) && store_number(count, 1) < kept.n) {
			buf_put(&l->arrays, &kept, sizeof kept);
			store_set_add(&l->runs, store_number(a.q, 2));
		}
		store_sql_reset(count);
	}
	sqlite3_finalize(count);
	cursor_close(&a);
	cursor_close(&l->leaving);
}

static bool has_array(const struct load *l, uint64_t id)
{
	const struct kept_array *at = (const void *)l->arrays.at;
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

static void gather_bindings(struct load *l)
{
	const struct kept_array *first_array = (const void *)l->arrays.at;
	uint64_t from = l->arrays.n ? min(first_array->id, l->first_unfinished) : l->first_unfinished, task = 0;
	struct cursor b;
	if (from == UINT64_MAX)
		return;
	cursor_open(l, &b, "SELECT id, item, mode FROM bindings WHERE id >= ?1 ORDER BY id", from * STORE_BINDINGS_MAX);
	for (; b.id != UINT64_MAX && !l->error; cursor_next(l, &b)) {
		uint64_t of = b.id / STORE_BINDINGS_MAX, item = store_number(b.q, 1), mode = store_number(b.q, 2);
		if (of != task && !store_set_has(&l->unfinished, of) && !has_array(l, of))
			continue;
		if (item >> MODE_SHIFT || mode > 3) {
			l->error = -EUCLEAN;
			break;
		}
		if (of != task)
			put_number(&l->bindings, TASK_MARK | of);
		task = of;
		put_number(&l->bindings, item | mode << MODE_SHIFT);
		store_set_add(&l->items, item);
	}
	cursor_close(&b);
}

/* Hands a task its bindings; tasks ask in the order of their numbers, or from the beginning again. */
static void give_bindings(struct load *l, struct store_task *t)
{
	const uint64_t *at = (const void *)l->bindings.at;
	size_t n = l->bindings.n / sizeof *at, first;
	while (l->binding < n && (!(at[l->binding] & TASK_MARK) || (at[l->binding] & ~TASK_MARK) < t->id))
		l->binding++;
	if (l->binding == n || at[l->binding] != (TASK_MARK | t->id))
		return;
	first = ++l->binding;
	while (l->binding < n && !(at[l->binding] & TASK_MARK))
		l->binding++;
	t->n_bindings = l->binding - first;
	if (t->n_bindings > l->told_room) {
		l->told_room = t->n_bindings;
		l->told = xrealloc(l->told, l->told_room * sizeof *l->told);
	}
	for (size_t i = 0; i < t->n_bindings; i++) {
		l->told[i] = (struct store_binding){
			.item = at[first + i] & (((uint64_t)1 << MODE_SHIFT) - 1),
			.mode = (uint8_t)(at[first + i] >> MODE_SHIFT),
		};
	}
	t->bindings = l->told;
}

/* ---- telling */

static void load_last(struct load *l)
{
	struct store_loader *to = l->l;
	const struct {
		const char *sql;
		uint64_t *to;
	} last[] = {
		{STORE_LAST("task", "max(first + n - 1) FROM submits"), &to->last_task},
		{STORE_LAST("run", "max(id) FROM runs"), &to->last_run},
		{STORE_LAST("node", "max(id) FROM nodes"), &to->last_node},
		{STORE_LAST("shape", "max(id) FROM shapes"), &to->last_shape},
		{STORE_LAST("item", "max(id) FROM items"), &to->last_item},
	};
	for (size_t i = 0; i < countof(last) && !l->error; i++) {
		int64_t value = 0;
		l->error = store_sql_number(l->db, last[i].sql, &value);
		*last[i].to = (uint64_t)value;
	}
}

static void load_nodes(struct load *l)
{
	sqlite3_stmt *q = prepare(l, "SELECT id, uuid, name FROM nodes");
	while (step(l, q))
		l->l->on_node(l->l->arg, &(struct store_node){store_number(q, 0), store_column_text(q, 1),
							      store_column_text(q, 2)});
	sqlite3_finalize(q);
}

static void load_settings(struct load *l)
{
	sqlite3_stmt *q = prepare(l, "SELECT run, name, value FROM settings");
	while (step(l, q)) {
		uint64_t run = store_number(q, 0);
		if (!run || store_set_has(&l->runs, run))
			l->l->on_setting(l->l->arg, run, store_column_text(q, 1), store_column_text(q, 2));
	}
	sqlite3_finalize(q);
}

static void load_runs(struct load *l)
{
	sqlite3_stmt *q = prepare(l, "SELECT id, name, attached FROM runs");
	while (step(l, q)) {
		const struct store_run r = {store_number(q, 0), store_column_text(q, 1), store_number(q, 2) != 0};
		store_set_add(&l->known_runs, r.id);
		if (store_set_has(&l->runs, r.id))
			l->l->on_run(l->l->arg, &r);
	}
	sqlite3_finalize(q);
}

static void load_shapes(struct load *l)
{
	sqlite3_stmt *q = prepare(l, "SELECT " STORE_SHAPE_COLUMNS " FROM shapes");
	struct store_shape s;
	while (step(l, q)) {
		store_get_shape(q, &s);
		l->l->on_shape(l->l->arg, &s);
	}
	sqlite3_finalize(q);
}

static void load_items(struct load *l)
{
	struct cursor c;
	struct store_item i;
	cursor_open(l, &c, "SELECT " STORE_ITEM_COLUMNS " FROM items WHERE id >= ?1 ORDER BY id", 0);
	for (; c.id != UINT64_MAX && !l->error; cursor_next(l, &c)) {
		uint64_t run = store_number(c.q, 1);
		bool is_made = store_number(c.q, 3) && !store_number(c.q, 5);
		bool is_orphan = run && !store_set_has(&l->known_runs, run);
		if (is_orphan || (!is_made && !store_set_has(&l->items, c.id))) {
			store_set_add(l->untold, c.id);
			continue;
		}
		store_get_item(c.q, &i);
		l->l->on_item(l->l->arg, &i);
	}
	cursor_close(&c);
}

static void open_states(struct load *l, uint64_t from)
{
	cursor_open(l, &l->attempts, "SELECT " STORE_ATTEMPT_COLUMNS " FROM attempts WHERE task >= ?1 ORDER BY task",
		    from);
	cursor_open(l, &l->results, "SELECT task, delivered, place FROM results WHERE task >= ?1 ORDER BY task", from);
}

static void close_states(struct load *l)
{
	cursor_close(&l->attempts);
	cursor_close(&l->results);
}

/* What has happened to it. */
static void add_state(struct load *l, struct store_task *t)
{
	if (cursor_find(l, &l->attempts, t->id))
		store_get_attempt(l->attempts.q, t);
	if (cursor_find(l, &l->results, t->id)) {
		t->state = sqlite3_column_int(l->results.q, 1) ? STORE_DELIVERED : STORE_ENDED;
		t->result = store_number(l->results.q, 2);
	}
}

static void load_elements(struct load *l, const struct store_task *array)
{
	uint64_t end = array->id + array->array.n;
	cursor_find(l, &l->attempts, array->id);
	cursor_find(l, &l->results, array->id);
	while (!l->error) {
		uint64_t id = min(l->attempts.id, l->results.id);
		if (id >= end)
			return;
		struct store_task t = *array;
		store_make_element(&t, id);
		t.bindings = NULL;
		t.n_bindings = 0;
		add_state(l, &t);
		if (t.state != STORE_ENDED)
			l->l->on_task(l->l->arg, &t);
		cursor_find(l, &l->attempts, id + 1);
		cursor_find(l, &l->results, id + 1);
	}
}

static void load_arrays(struct load *l)
{
	const struct kept_array *first = (const void *)l->arrays.at;
	struct store_task t;
	struct cursor c;
	if (!l->arrays.n)
		return;
	cursor_open(l, &c, "SELECT " STORE_ARRAY_COLUMNS " FROM arrays WHERE id >= ?1 ORDER BY id", first->id);
	open_states(l, first->id);
	for (; c.id != UINT64_MAX && !l->error; cursor_next(l, &c)) {
		if (!has_array(l, c.id))
			continue;
		store_get_array(c.q, &t);
		give_bindings(l, &t);
		l->l->on_task(l->l->arg, &t);
		load_elements(l, &t);
	}
	close_states(l);
	cursor_close(&c);
}

static void load_tasks(struct load *l)
{
	struct store_task t;
	struct cursor c;
	if (l->first_unfinished == UINT64_MAX)
		return;
	cursor_open(l, &c, "SELECT " STORE_TASK_COLUMNS " FROM tasks WHERE id >= ?1 ORDER BY id", l->first_unfinished);
	open_states(l, l->first_unfinished);
	l->binding = 0;
	for (; c.id != UINT64_MAX && !l->error; cursor_next(l, &c)) {
		if (!store_set_has(&l->unfinished, c.id))
			continue;
		store_get_task(c.q, &t);
		add_state(l, &t);
		give_bindings(l, &t);
		l->l->on_task(l->l->arg, &t);
	}
	close_states(l);
	cursor_close(&c);
}

/* ---- what has ended and waits to be delivered */

#define ENDED_STATE                                                                                        \
	"e.place, ifnull(a.state, 0), ifnull(a.cancelled, 0), ifnull(a.attempts, 0), ifnull(a.losses, 0)," \
	" ifnull(a.failures, 0), ifnull(a.node, 0), e.attempt, e.task"
#define ENDED_TASKS \
	"SELECT t.id, t.run, t.shape, t.command, t.environment, t.priority, t.deadline_usec, t.session, t.tag, "

static void load_ended(struct load *l)
{
	sqlite3_stmt *q = prepare(
		l, ENDED_TASKS
		"0, 0, 0, 0, " ENDED_STATE
		" FROM results e CROSS JOIN tasks t ON t.id = e.task LEFT JOIN attempts a ON a.task = e.task"
		" WHERE e.delivered = 0 UNION ALL " ENDED_TASKS "t.n, t.first_index, t.step, t.running, " ENDED_STATE
		" FROM arrays t CROSS JOIN results e ON e.task >= t.id AND e.task < t.id + t.n"
		" LEFT JOIN attempts a ON a.task = e.task WHERE e.delivered = 0 ORDER BY 14");
	struct store_task t;
	while (step(l, q)) {
		store_get_array(q, &t);
		if (t.array.n)
			store_make_element(&t, store_number(q, 21));
		t.state = STORE_ENDED;
		t.result = store_number(q, 13);
		t.is_cancelled = store_number(q, 15) != 0;
		t.attempts = (uint32_t)store_number(q, 16);
		t.losses = (uint32_t)store_number(q, 17);
		t.failures = (uint32_t)store_number(q, 18);
		t.node = store_number(q, 19);
		t.attempt = store_number(q, 20);
		l->l->on_task(l->l->arg, &t);
	}
	sqlite3_finalize(q);
}

int store_load(struct store *s, struct store_loader *to)
{
	static void (*const parts[])(struct load * l) = {
		survey_tasks, survey_arrays, gather_bindings, load_last,   load_nodes, load_settings,
		load_runs,    load_shapes,   load_items,      load_arrays, load_tasks, load_ended,
	};
	struct load l = {.db = s->reader_db, .l = to, .untold = &s->untold, .first_unfinished = UINT64_MAX};
	l.attempts.id = l.results.id = UINT64_MAX;
	store_set_fini(&s->untold);
	int begun = store_sql_exec(s->reader_db, "BEGIN");
	l.error = begun;
	for (size_t i = 0; i < countof(parts) && !l.error; i++)
		parts[i](&l);
	if (!begun)
		store_sql_exec(s->reader_db, "COMMIT");
	store_set_fini(&l.unfinished);
	store_set_fini(&l.runs);
	store_set_fini(&l.known_runs);
	store_set_fini(&l.items);
	free(l.told);
	buf_fini(&l.arrays);
	buf_fini(&l.bindings);
	return l.error;
}
