/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/store_read.h"

#include "vined/store_internal.h"

#define BODIES_SIZE ((size_t)32 << 20)

enum {
	SQL_BODY,
	SQL_RESULT,
	SQL_TASK,
	SQL_RUN,
	SQL_LIST_TASK,
	SQL_LIST_RUN_TASKS,
	SQL_LIST_TASKS,
	SQL_LIST_RUN,
	SQL_LIST_RUNS,
	SQL_N,
};

#define TASK_ROW                                                                                     \
	"SELECT t.id, t.run, r.name, t.tag, t.state, t.attempts, n.name, e.how, e.status, e.reason," \
	" t.submitted_usec FROM tasks t LEFT JOIN runs r ON r.id = t.run"                            \
	" LEFT JOIN nodes n ON n.id = t.node LEFT JOIN results e ON e.id = t.result "
#define RUN_ROW "SELECT id, id, name, '', 0, attached, '', 0, 0, '', created_usec FROM runs "

static const char *const texts[SQL_N] = {
	[SQL_BODY] = "SELECT body FROM commands WHERE id = ?1",
	[SQL_RESULT] = "SELECT id, task, attempt, node, how, status, wall_usec, cpu_usec, peak_memory, out_size,"
		       " err_size, reason, out, err FROM results WHERE id = ?1",
	[SQL_TASK] = "SELECT id, run, state, cancelled, command, environment, cores, memory, priority, attempt, node,"
		     " attempts, losses, result, tag, session FROM tasks WHERE id = ?1",
	[SQL_RUN] = "SELECT id, attached FROM runs WHERE name = ?1",
	[SQL_LIST_TASK] = TASK_ROW "WHERE t.id = ?2 LIMIT ?1",
	[SQL_LIST_RUN_TASKS] = TASK_ROW "WHERE t.run = ?2 ORDER BY t.id DESC LIMIT ?1",
	[SQL_LIST_TASKS] = TASK_ROW "ORDER BY t.id DESC LIMIT ?1",
	[SQL_LIST_RUN] = RUN_ROW "WHERE id = ?2 LIMIT ?1",
	[SQL_LIST_RUNS] = RUN_ROW "ORDER BY id DESC LIMIT ?1",
};

struct body {
	struct list link; /* newest first */
	uint64_t id;
	uint32_t n;
	uint8_t at[];
};

struct store_reader {
	sqlite3 *db;
	sqlite3_stmt *sql[SQL_N];
	struct map bodies;
	struct list used;
	size_t size;
	struct buf row; /* what the last result's texts lie in */
};

struct store_reader *store_reader_new(sqlite3 *db)
{
	struct store_reader *r = NEW(struct store_reader);
	r->db = db;
	list_init(&r->used);
	if (store_sql_prepare(db, texts, r->sql, SQL_N)) {
		store_reader_free(r);
		return NULL;
	}
	return r;
}

static void forget_body(struct store_reader *r, struct body *b)
{
	map_remove(&r->bodies, b->id);
	list_remove(&b->link);
	assert(r->size >= b->n);
	r->size -= b->n;
	free(b);
}

void store_reader_free(struct store_reader *r)
{
	if (!r)
		return;
	list_foreach (&r->used, struct body, link, b)
		forget_body(r, b);
	map_fini(&r->bodies);
	buf_fini(&r->row);
	store_sql_finalize(r->sql, SQL_N);
	free(r);
}

/* ---- bodies */

/* Tasks of one sweep share their environment and often their command, so a few hundred bodies answer almost every START. */
static struct body *remember(struct store_reader *r, uint64_t id, const void *p, size_t n)
{
	/* The newest two stay: the caller may be holding them. */
	while (r->bodies.n > 2 && (r->bodies.n >= STORE_BODIES || r->size + n > BODIES_SIZE))
		forget_body(r, list_entry(r->used.prev, struct body, link));
	struct body *b = xmalloc(sizeof *b + n);
	b->id = id;
	b->n = (uint32_t)n;
	if (n)
		memcpy(b->at, p, n);
	list_init(&b->link);
	list_prepend(&r->used, &b->link);
	r->size += n;
	map_put(&r->bodies, id, b);
	return b;
}

void store_remember_body(struct store *s, uint64_t id, const struct wire_bytes *body)
{
	assert(id);
	if (!map_get(&s->reader->bodies, id))
		remember(s->reader, id, body->at, body->n);
}

int store_read_body(struct store *s, uint64_t id, struct wire_bytes *body)
{
	struct store_reader *r = s->reader;
	struct body *b = map_get(&r->bodies, id);
	int error = 0;
	if (b) {
		list_remove(&b->link);
		list_prepend(&r->used, &b->link);
	} else {
		sqlite3_stmt *q = r->sql[SQL_BODY];
		sqlite3_bind_int64(q, 1, (int64_t)id);
		int step = sqlite3_step(q);
		if (step == SQLITE_ROW)
			b = remember(r, id, sqlite3_column_blob(q, 0), (size_t)sqlite3_column_bytes(q, 0));
		else
			error = step == SQLITE_DONE ? -ENOENT : store_sql_errno(r->db);
		store_sql_reset(q);
	}
	if (b)
		*body = (struct wire_bytes){b->at, b->n};
	return error;
}

/* ---- single rows */

static uint64_t number(sqlite3_stmt *q, int at)
{
	return (uint64_t)sqlite3_column_int64(q, at);
}

static const char *text(sqlite3_stmt *q, int at)
{
	const char *t = (const char *)sqlite3_column_text(q, at);
	return t ? t : "";
}

static void get_task(sqlite3_stmt *q, struct store_task *t)
{
	*t = (struct store_task){
		.id = number(q, 0),
		.run = number(q, 1),
		.state = (enum store_state)number(q, 2),
		.is_cancelled = number(q, 3) != 0,
		.command_id = number(q, 4),
		.environment_id = number(q, 5),
		.cores = (uint32_t)number(q, 6),
		.memory = number(q, 7),
		.priority = sqlite3_column_int64(q, 8),
		.attempt = number(q, 9),
		.node = number(q, 10),
		.attempts = (uint32_t)number(q, 11),
		.losses = (uint32_t)number(q, 12),
		.result = number(q, 13),
		.tag = text(q, 14),
		.session = number(q, 15),
	};
}

static void get_result(sqlite3_stmt *q, struct store_result *e)
{
	*e = (struct store_result){
		.id = number(q, 0),
		.task = number(q, 1),
		.attempt = number(q, 2),
		.node = number(q, 3),
		.how = (uint8_t)number(q, 4),
		.status = (uint32_t)number(q, 5),
		.wall_usec = number(q, 6),
		.cpu_usec = number(q, 7),
		.peak_memory = number(q, 8),
		.out_size = number(q, 9),
		.err_size = number(q, 10),
		.reason = text(q, 11),
		.out = {sqlite3_column_blob(q, 12), (uint32_t)sqlite3_column_bytes(q, 12)},
		.err = {sqlite3_column_blob(q, 13), (uint32_t)sqlite3_column_bytes(q, 13)},
		.is_first = true,
	};
}

/* Leaves the statement on its row. */
static int step_to(struct store_reader *r, sqlite3_stmt *q, uint64_t id)
{
	sqlite3_bind_int64(q, 1, (int64_t)id);
	int step = sqlite3_step(q);
	if (step == SQLITE_ROW)
		return 0;
	return step == SQLITE_DONE ? -ENOENT : store_sql_errno(r->db);
}

static size_t keep(struct buf *b, const void *p, size_t n)
{
	size_t at = b->n;
	if (n)
		buf_put(b, p, n);
	buf_put(b, "", 1);
	return at;
}

/* Copies what a row points to: a statement left on its row would hold the database as it was then. */
static void keep_texts(struct store_reader *r, struct store_task *t, struct store_result *e)
{
	struct buf *b = &r->row;
	buf_consume(b, b->n);
	size_t tag = keep(b, t->tag, strlen(t->tag)), reason = keep(b, e->reason, strlen(e->reason));
	size_t out = keep(b, e->out.at, e->out.n), err = keep(b, e->err.at, e->err.n);
	const char *base = buf_text(b);
	t->tag = base + tag;
	e->reason = base + reason;
	e->out.at = base + out;
	e->err.at = base + err;
}

int store_read_result(struct store *s, uint64_t task, struct store_result *e, struct store_task *out)
{
	struct store_reader *r = s->reader;
	struct store_task local = {0}, *t = out ? out : &local;
	*t = (struct store_task){.tag = ""};
	*e = (struct store_result){.reason = ""};
	int error = step_to(r, r->sql[SQL_TASK], task);
	if (!error) {
		get_task(r->sql[SQL_TASK], t);
		error = t->result ? step_to(r, r->sql[SQL_RESULT], t->result) : -ENOENT;
		if (!error)
			get_result(r->sql[SQL_RESULT], e);
		keep_texts(r, t, e);
	}
	store_sql_reset(r->sql[SQL_TASK]);
	store_sql_reset(r->sql[SQL_RESULT]);
	return error;
}

int store_find_run(struct store *s, const char *name, struct store_run *run)
{
	sqlite3_stmt *q = s->reader->sql[SQL_RUN];
	sqlite3_bind_text(q, 1, name, -1, SQLITE_STATIC);
	int step = sqlite3_step(q), r = 0;
	if (step == SQLITE_ROW)
		*run = (struct store_run){number(q, 0), name, number(q, 1) != 0};
	else
		r = step == SQLITE_DONE ? -ENOENT : store_sql_errno(s->reader->db);
	store_sql_reset(q);
	return r;
}

/* ---- lists */

/* Names come by joins from the same snapshot, so a row never mixes two states of a task. */
static int list_rows(struct store *s, int sql, uint64_t id, uint32_t most, store_on_row on_row, void *arg)
{
	sqlite3_stmt *q = s->reader->sql[sql];
	int n = 0, step;
	sqlite3_bind_int64(q, 1, most);
	if (sqlite3_bind_parameter_count(q) > 1)
		sqlite3_bind_int64(q, 2, (int64_t)id);
	while ((step = sqlite3_step(q)) == SQLITE_ROW) {
		const struct store_row row = {
			.id = number(q, 0),
			.run = number(q, 1),
			.name = text(q, 2),
			.tag = text(q, 3),
			.state = (enum store_state)number(q, 4),
			.attempts = number(q, 5),
			.node = text(q, 6),
			.how = (uint8_t)number(q, 7),
			.status = (uint32_t)number(q, 8),
			.reason = text(q, 9),
			.at_usec = sqlite3_column_int64(q, 10),
		};
		on_row(arg, &row);
		n++;
	}
	int r = step == SQLITE_DONE ? n : store_sql_errno(s->reader->db);
	store_sql_reset(q);
	return r;
}

int store_list_tasks(struct store *s, uint64_t task, uint64_t run, uint32_t most, store_on_row on_row, void *arg)
{
	assert(!task || !run);
	int sql = task ? SQL_LIST_TASK : run ? SQL_LIST_RUN_TASKS : SQL_LIST_TASKS;
	return list_rows(s, sql, task ? task : run, most, on_row, arg);
}

int store_list_runs(struct store *s, uint64_t run, uint32_t most, store_on_row on_row, void *arg)
{
	return list_rows(s, run ? SQL_LIST_RUN : SQL_LIST_RUNS, run, most, on_row, arg);
}

/* ---- all, at start */

static void load_node(sqlite3_stmt *q, struct store_loader *l)
{
	const struct store_node n = {number(q, 0), text(q, 1), text(q, 2)};
	l->on_node(l->arg, &n);
}

static void load_run(sqlite3_stmt *q, struct store_loader *l)
{
	const struct store_run r = {number(q, 0), text(q, 1), number(q, 2) != 0};
	l->on_run(l->arg, &r);
}

static void load_task(sqlite3_stmt *q, struct store_loader *l)
{
	struct store_task t;
	get_task(q, &t);
	l->on_task(l->arg, &t);
}

static void load_last(sqlite3_stmt *q, struct store_loader *l)
{
	l->last_task = number(q, 0);
	l->last_run = number(q, 1);
	l->last_node = number(q, 2);
}

#define LOAD_TASKS                                                                                        \
	"SELECT id, run, state, cancelled, command, environment, cores, memory, priority, attempt, node," \
	" attempts, losses, result, tag, session FROM tasks "

static const struct {
	const char *sql;
	void (*on_row)(sqlite3_stmt *q, struct store_loader *l);
} loads[] = {
	{"SELECT (SELECT max(id) FROM tasks), (SELECT max(id) FROM runs), (SELECT max(id) FROM nodes)", load_last},
	{"SELECT id, uuid, name FROM nodes", load_node},
	{"SELECT id, name, attached FROM runs WHERE id IN (SELECT DISTINCT run FROM tasks WHERE state < 4)", load_run},
	{LOAD_TASKS "WHERE state < 3", load_task},
	{LOAD_TASKS "WHERE state = 3 ORDER BY result", load_task},
};

int store_load(struct store *s, struct store_loader *l)
{
	sqlite3 *db = s->reader_db;
	int step = SQLITE_DONE;
	for (size_t i = 0; i < countof(loads) && step == SQLITE_DONE; i++) {
		sqlite3_stmt *q = NULL;
		step = sqlite3_prepare_v2(db, loads[i].sql, -1, &q, NULL);
		if (step == SQLITE_OK) {
			while ((step = sqlite3_step(q)) == SQLITE_ROW)
				loads[i].on_row(q, l);
		}
		sqlite3_finalize(q);
	}
	return step == SQLITE_DONE ? 0 : store_sql_errno(db);
}
