/* SPDX-License-Identifier: Apache-2.0
 * All that is not over, at start, in one snapshot. Every large table is read once, in the order of its key, side by side with those that
 * tell how its tasks went:
 *
 * 1. a survey of tasks, arrays and results: which are over, and which runs that leaves; with those whose items are to stay for ever;
 * 2. the bindings of those that are not, which say what items to tell; numbers only, kept until their task is told;
 * 3. nodes, settings, runs, shapes, items, arrays with their elements, tasks, and what has ended, by its place. */
#include "vined/store_survey.h"

/* Hands a task its bindings; tasks ask in the order of their numbers, or from the beginning again. */
static void give_bindings(struct store_load *l, struct store_task *t)
{
	const uint64_t *at = (const void *)l->bindings.at;
	size_t n = l->bindings.n / sizeof *at, first;
	while (l->binding < n && (!(at[l->binding] & STORE_TASK_MARK) || (at[l->binding] & ~STORE_TASK_MARK) < t->id))
		l->binding++;
	if (l->binding == n || at[l->binding] != (STORE_TASK_MARK | t->id))
		return;
	first = ++l->binding;
	while (l->binding < n && !(at[l->binding] & STORE_TASK_MARK))
		l->binding++;
	t->n_bindings = l->binding - first;
	if (t->n_bindings > l->told_room) {
		l->told_room = t->n_bindings;
		l->told = xrealloc(l->told, l->told_room * sizeof *l->told);
	}
	for (size_t i = 0; i < t->n_bindings; i++) {
		l->told[i] = (struct store_binding){
			.item = at[first + i] & (((uint64_t)1 << STORE_MODE_SHIFT) - 1),
			.mode = (uint8_t)(at[first + i] >> STORE_MODE_SHIFT),
		};
	}
	t->bindings = l->told;
}

/* ---- telling */

static void load_last(struct store_load *l)
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

static void load_nodes(struct store_load *l)
{
	sqlite3_stmt *q = store_load_prepare(l, "SELECT id, uuid, name FROM nodes");
	while (store_load_step(l, q))
		l->l->on_node(l->l->arg, &(struct store_node){store_number(q, 0), store_column_text(q, 1),
							      store_column_text(q, 2)});
	sqlite3_finalize(q);
}

static void load_settings(struct store_load *l)
{
	sqlite3_stmt *q = store_load_prepare(l, "SELECT run, name, value FROM settings");
	while (store_load_step(l, q)) {
		uint64_t run = store_number(q, 0);
		if (!run || store_set_has(&l->runs, run))
			l->l->on_setting(l->l->arg, run, store_column_text(q, 1), store_column_text(q, 2));
	}
	sqlite3_finalize(q);
}

static void load_runs(struct store_load *l)
{
	sqlite3_stmt *q = store_load_prepare(l, "SELECT id, name, attached FROM runs");
	while (store_load_step(l, q)) {
		const struct store_run r = {store_number(q, 0), store_column_text(q, 1), store_number(q, 2) != 0};
		store_set_add(&l->known_runs, r.id);
		if (store_set_has(&l->runs, r.id))
			l->l->on_run(l->l->arg, &r);
	}
	sqlite3_finalize(q);
}

static void load_shapes(struct store_load *l)
{
	sqlite3_stmt *q = store_load_prepare(l, "SELECT " STORE_SHAPE_COLUMNS " FROM shapes");
	struct store_shape s;
	while (store_load_step(l, q)) {
		store_get_shape(q, &s);
		l->l->on_shape(l->l->arg, &s);
	}
	sqlite3_finalize(q);
}

static void load_items(struct store_load *l)
{
	struct store_cursor c;
	struct store_item i;
	store_cursor_open(l, &c, "SELECT " STORE_ITEM_COLUMNS " FROM items WHERE id >= ?1 ORDER BY id", 0);
	for (; c.id != UINT64_MAX && !l->error; store_cursor_next(l, &c)) {
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
	store_cursor_close(&c);
}

static void open_states(struct store_load *l, uint64_t from)
{
	store_cursor_open(l, &l->attempts,
			  "SELECT " STORE_ATTEMPT_COLUMNS " FROM attempts WHERE task >= ?1 ORDER BY task", from);
	store_cursor_open(l, &l->results, "SELECT task, delivered, place FROM results WHERE task >= ?1 ORDER BY task",
			  from);
}

static void close_states(struct store_load *l)
{
	store_cursor_close(&l->attempts);
	store_cursor_close(&l->results);
}

/* What has happened to it. */
static void add_state(struct store_load *l, struct store_task *t)
{
	if (store_cursor_find(l, &l->attempts, t->id))
		store_get_attempt(l->attempts.q, t);
	if (store_cursor_find(l, &l->results, t->id)) {
		t->state = sqlite3_column_int(l->results.q, 1) ? STORE_DELIVERED : STORE_ENDED;
		t->result = store_number(l->results.q, 2);
	}
}

static void load_elements(struct store_load *l, const struct store_task *array)
{
	uint64_t end = array->id + array->array.n;
	store_cursor_find(l, &l->attempts, array->id);
	store_cursor_find(l, &l->results, array->id);
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
		store_cursor_find(l, &l->attempts, id + 1);
		store_cursor_find(l, &l->results, id + 1);
	}
}

static void load_arrays(struct store_load *l)
{
	const struct store_kept_array *first = (const void *)l->arrays.at;
	struct store_task t;
	struct store_cursor c;
	if (!l->arrays.n)
		return;
	store_cursor_open(l, &c, "SELECT " STORE_ARRAY_COLUMNS " FROM arrays WHERE id >= ?1 ORDER BY id", first->id);
	open_states(l, first->id);
	for (; c.id != UINT64_MAX && !l->error; store_cursor_next(l, &c)) {
		if (!store_load_has_array(l, c.id))
			continue;
		store_get_array(c.q, &t);
		give_bindings(l, &t);
		l->l->on_task(l->l->arg, &t);
		load_elements(l, &t);
	}
	close_states(l);
	store_cursor_close(&c);
}

static void load_tasks(struct store_load *l)
{
	struct store_task t;
	struct store_cursor c;
	if (l->first_unfinished == UINT64_MAX)
		return;
	store_cursor_open(l, &c, "SELECT " STORE_TASK_COLUMNS " FROM tasks WHERE id >= ?1 ORDER BY id",
			  l->first_unfinished);
	open_states(l, l->first_unfinished);
	l->binding = 0;
	for (; c.id != UINT64_MAX && !l->error; store_cursor_next(l, &c)) {
		if (!store_set_has(&l->unfinished, c.id))
			continue;
		store_get_task(c.q, &t);
		add_state(l, &t);
		give_bindings(l, &t);
		l->l->on_task(l->l->arg, &t);
	}
	close_states(l);
	store_cursor_close(&c);
}

/* ---- what has ended and waits to be delivered */

#define ENDED_STATE                                                                                        \
	"e.place, ifnull(a.state, 0), ifnull(a.cancelled, 0), ifnull(a.attempts, 0), ifnull(a.losses, 0)," \
	" ifnull(a.failures, 0), ifnull(a.node, 0), e.attempt, e.task"
#define ENDED_TASKS \
	"SELECT t.id, t.run, t.shape, t.command, t.environment, t.priority, t.deadline_usec, t.session, t.tag, "

static void load_ended(struct store_load *l)
{
	sqlite3_stmt *q = store_load_prepare(
		l, ENDED_TASKS
		"0, 0, 0, 0, " ENDED_STATE
		" FROM results e CROSS JOIN tasks t ON t.id = e.task LEFT JOIN attempts a ON a.task = e.task"
		" WHERE e.delivered = 0 UNION ALL " ENDED_TASKS "t.n, t.first_index, t.step, t.running, " ENDED_STATE
		" FROM arrays t CROSS JOIN results e ON e.task >= t.id AND e.task < t.id + t.n"
		" LEFT JOIN attempts a ON a.task = e.task WHERE e.delivered = 0 ORDER BY 14");
	struct store_task t;
	while (store_load_step(l, q)) {
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
	static void (*const parts[])(struct store_load * l) = {
		store_survey_tasks, store_survey_arrays, store_survey_lasting, store_survey_bindings,
		load_last,          load_nodes,          load_settings,        load_runs,
		load_shapes,        load_items,          load_arrays,          load_tasks,
		load_ended,
	};
	struct store_load l = {.db = s->reader_db, .l = to, .untold = &s->untold, .first_unfinished = UINT64_MAX};
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
