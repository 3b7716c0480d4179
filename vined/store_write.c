/* SPDX-License-Identifier: Apache-2.0
 * Operations as statements. Each looks at the task's state, so one that is late or comes twice changes nothing. */
#include "vined/store_internal.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define INTERNED 1024 /* ids of bodies remembered by their digest */

enum {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_RUN,
	SQL_NODE,
	SQL_FIND_BODY,
	SQL_ADD_BODY,
	SQL_FIND_KEY,
	SQL_SESSION,
	SQL_TASK,
	SQL_START,
	SQL_LOST,
	SQL_CANCEL,
	SQL_END,
	SQL_RESULT,
	SQL_DONE,
	SQL_N,
};

static const char *const texts[SQL_N] = {
	[SQL_BEGIN] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",
	[SQL_RUN] = "INSERT INTO runs (id, user, attached, created_usec, name) VALUES (?1, ?2, ?3, ?4, ?5) "
		    "ON CONFLICT DO NOTHING",
	[SQL_NODE] = "INSERT INTO nodes (id, uuid, name) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET name = ?3",
	[SQL_FIND_BODY] = "SELECT id FROM commands WHERE digest = ?1",
	[SQL_ADD_BODY] = "INSERT INTO commands (digest, body) VALUES (?1, ?2)",
	[SQL_FIND_KEY] = "SELECT id FROM tasks WHERE run = ?1 AND key = ?2 AND key <> ''",
	[SQL_SESSION] = "UPDATE tasks SET session = ?2 WHERE id = ?1 AND state < 4",
	[SQL_TASK] =
		"INSERT INTO tasks (id, run, user, state, cancelled, command, environment, cores, memory, priority,"
		" attempt, node, attempts, losses, result, submitted_usec, session, key, tag) "
		"VALUES (?1, ?2, ?3, 0, 0, ?4, ?5, ?6, ?7, ?8, 0, 0, 0, 0, 0, ?9, ?10, ?11, ?12)",
	[SQL_START] = "UPDATE tasks SET state = 1, attempt = ?2, node = ?3, attempts = ?4 "
		      "WHERE id = ?1 AND state < 3 AND attempt <= ?2",
	[SQL_LOST] = "UPDATE tasks SET state = ?3, losses = ?4 WHERE id = ?1 AND state < 3 AND attempt = ?2",
	[SQL_CANCEL] = "UPDATE tasks SET cancelled = 1 WHERE id = ?1 AND state < 3",
	[SQL_END] = "UPDATE tasks SET state = 3, result = ?2 WHERE id = ?1 AND state < 3",
	[SQL_RESULT] = "INSERT INTO results (id, task, attempt, node, how, status, ended_usec, wall_usec, cpu_usec,"
		       " peak_memory, out_size, err_size, reason, out, err) "
		       "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
	[SQL_DONE] = "UPDATE tasks SET state = 4 WHERE id = ?1 AND state = 3",
};

struct interned {
	struct digest digest;
	uint64_t id;
};

struct store_writer {
	sqlite3 *db;
	sqlite3_stmt *sql[SQL_N];
	uint64_t last_result;
	int64_t now_usec; /* wall clock, for people */
	struct interned interned[INTERNED];
	/* the last body that was looked up: tasks of one submit mostly share their environment */
	struct wire_bytes last_body;
	uint64_t last_body_id;
};

static int read_last_result(struct store_writer *w)
{
	sqlite3_stmt *s = NULL;
	if (sqlite3_prepare_v2(w->db, "SELECT ifnull(max(id), 0) FROM results", -1, &s, NULL))
		return store_sql_errno(w->db);
	int r = sqlite3_step(s) == SQLITE_ROW ? 0 : store_sql_errno(w->db);
	if (!r)
		w->last_result = (uint64_t)sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return r;
}

struct store_writer *store_writer_new(sqlite3 *db)
{
	struct store_writer *w = NEW(struct store_writer);
	w->db = db;
	if (store_sql_prepare(db, texts, w->sql, SQL_N) || read_last_result(w)) {
		store_writer_free(w);
		return NULL;
	}
	return w;
}

void store_writer_free(struct store_writer *w)
{
	if (!w)
		return;
	store_sql_finalize(w->sql, SQL_N);
	free(w);
}

static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
	sqlite3_bind_text(s, at, text ? text : "", -1, SQLITE_STATIC);
}

static void bind_bytes(sqlite3_stmt *s, int at, const struct wire_bytes *b)
{
	/* A NULL pointer would be stored as NULL. */
	sqlite3_bind_blob(s, at, b->n ? b->at : "", (int)b->n, SQLITE_STATIC);
}

/* Steps a query for one id: 1 found, 0 not, or -errno. */
static int find_id(struct store_writer *w, sqlite3_stmt *s, uint64_t *id)
{
	int r = sqlite3_step(s);
	int found = r == SQLITE_ROW;
	if (found)
		*id = (uint64_t)sqlite3_column_int64(s, 0);
	else if (r != SQLITE_DONE)
		found = store_sql_errno(w->db);
	store_sql_reset(s);
	return found;
}

static int intern(struct store_writer *w, const struct wire_bytes *body, uint64_t *id)
{
	if (w->last_body_id && w->last_body.n == body->n && !memcmp(w->last_body.at, body->at, body->n)) {
		*id = w->last_body_id;
		return 0;
	}
	struct digest d;
	digest_bytes(body->at, body->n, &d);
	struct interned *known = &w->interned[get_le32(d.byte) % INTERNED];
	if (!known->id || !digest_is_equal(&known->digest, &d)) {
		sqlite3_stmt *find = w->sql[SQL_FIND_BODY];
		sqlite3_bind_blob(find, 1, d.byte, DIGEST_SIZE, SQLITE_STATIC);
		int r = find_id(w, find, &known->id);
		if (r == 0) {
			sqlite3_stmt *add = w->sql[SQL_ADD_BODY];
			sqlite3_bind_blob(add, 1, d.byte, DIGEST_SIZE, SQLITE_STATIC);
			bind_bytes(add, 2, body);
			r = store_sql_step(w->db, add);
			known->id = (uint64_t)sqlite3_last_insert_rowid(w->db);
		}
		if (r < 0) {
			known->id = 0;
			return r;
		}
		known->digest = d;
	}
	*id = known->id;
	w->last_body = *body;
	w->last_body_id = *id;
	return 0;
}

/* The key is looked up here, by the only writer, so two submits under one key cannot pass each other. */
static int put_task(struct store_writer *w, struct store_task *t)
{
	int r = 0;
	t->is_new = true;
	if (t->key && t->key[0]) {
		sqlite3_bind_int64(w->sql[SQL_FIND_KEY], 1, (int64_t)t->run);
		bind_text(w->sql[SQL_FIND_KEY], 2, t->key);
		r = find_id(w, w->sql[SQL_FIND_KEY], &t->id);
		t->is_new = r == 0;
	}
	if (r < 0)
		return r;
	if (!t->is_new) {
		store_sql_bind(w->sql[SQL_SESSION], 2, (int64_t[]){(int64_t)t->id, (int64_t)t->session});
		return store_sql_step(w->db, w->sql[SQL_SESSION]);
	}
	r = intern(w, &t->environment, &t->environment_id);
	if (!r)
		r = intern(w, &t->command, &t->command_id);
	if (r)
		return r;
	const int64_t values[] = {
		(int64_t)t->id,
		(int64_t)t->run,
		(int64_t)getuid(),
		(int64_t)t->command_id,
		(int64_t)t->environment_id,
		t->cores,
		(int64_t)t->memory,
		t->priority,
		w->now_usec,
		(int64_t)t->session,
	};
	store_sql_bind(w->sql[SQL_TASK], countof(values), values);
	bind_text(w->sql[SQL_TASK], 11, t->key);
	bind_text(w->sql[SQL_TASK], 12, t->tag);
	return store_sql_step(w->db, w->sql[SQL_TASK]);
}

/* Whoever changes the task's state first has given its result; the other one is not even written. */
static int put_result(struct store_writer *w, struct store_result *e)
{
	const int64_t end[] = {(int64_t)e->task, (int64_t)w->last_result + 1};
	store_sql_bind(w->sql[SQL_END], countof(end), end);
	int r = store_sql_step(w->db, w->sql[SQL_END]);
	e->is_first = !r && sqlite3_changes(w->db) == 1;
	if (r || !e->is_first)
		return r;
	e->id = ++w->last_result;
	const int64_t values[] = {
		(int64_t)e->id,
		(int64_t)e->task,
		(int64_t)e->attempt,
		(int64_t)e->node,
		e->how,
		e->status,
		w->now_usec,
		(int64_t)e->wall_usec,
		(int64_t)e->cpu_usec,
		(int64_t)e->peak_memory,
		(int64_t)e->out_size,
		(int64_t)e->err_size,
	};
	store_sql_bind(w->sql[SQL_RESULT], countof(values), values);
	bind_text(w->sql[SQL_RESULT], 13, e->reason);
	bind_bytes(w->sql[SQL_RESULT], 14, &e->out);
	bind_bytes(w->sql[SQL_RESULT], 15, &e->err);
	return store_sql_step(w->db, w->sql[SQL_RESULT]);
}

static int put_run(struct store_writer *w, const struct store_run *run)
{
	const int64_t values[] = {(int64_t)run->id, (int64_t)getuid(), run->is_attached, w->now_usec};
	store_sql_bind(w->sql[SQL_RUN], countof(values), values);
	bind_text(w->sql[SQL_RUN], 5, run->name);
	return store_sql_step(w->db, w->sql[SQL_RUN]);
}

static int put_node(struct store_writer *w, const struct store_node *node)
{
	sqlite3_bind_int64(w->sql[SQL_NODE], 1, (int64_t)node->id);
	bind_text(w->sql[SQL_NODE], 2, node->uuid);
	bind_text(w->sql[SQL_NODE], 3, node->name);
	return store_sql_step(w->db, w->sql[SQL_NODE]);
}

static int put_each(struct store_writer *w, int sql, const struct store_op *op)
{
	int r = 0;
	for (size_t i = 0; i < op->tasks.n && !r; i++) {
		sqlite3_bind_int64(w->sql[sql], 1, (int64_t)op->tasks.at[i]);
		r = store_sql_step(w->db, w->sql[sql]);
	}
	return r;
}

static int put(struct store_writer *w, struct store_op *op)
{
	const int64_t id = (int64_t)op->attempt.task, attempt = (int64_t)op->attempt.attempt;
	int r = 0;
	switch (op->kind) {
	case STORE_NOTHING:
		return 0;
	case STORE_RUN:
		return put_run(w, &op->run);
	case STORE_NODE:
		return put_node(w, &op->node);
	case STORE_SUBMIT:
		for (size_t i = 0; i < op->submit.n && !r; i++)
			r = put_task(w, &op->submit.at[i]);
		return r;
	case STORE_START:
		store_sql_bind(w->sql[SQL_START], 4,
			       (int64_t[]){id, attempt, (int64_t)op->attempt.node, op->attempt.attempts});
		return store_sql_step(w->db, w->sql[SQL_START]);
	case STORE_LOST:
		store_sql_bind(
			w->sql[SQL_LOST], 4,
			(int64_t[]){id, attempt, op->attempt.is_held ? STORE_HELD : STORE_QUEUED, op->attempt.losses});
		return store_sql_step(w->db, w->sql[SQL_LOST]);
	case STORE_CANCEL:
		return put_each(w, SQL_CANCEL, op);
	case STORE_RESULT:
		return put_result(w, &op->result);
	case STORE_DONE:
		return put_each(w, SQL_DONE, op);
	}
	return -EINVAL;
}

static int put_all(struct store_writer *w, const struct list *batches)
{
	list_foreach (batches, struct store_batch, link, b) {
		list_foreach (&b->ops, struct store_op, link, op) {
			int r = put(w, op);
			if (r)
				return r;
		}
	}
	return 0;
}

/* What was interned in a transaction that failed is not there. */
static void forget_interned(struct store_writer *w)
{
	for (size_t i = 0; i < INTERNED; i++)
		w->interned[i].id = 0;
}

int store_writer_commit(struct store_writer *w, const struct list *batches)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	w->now_usec = now.tv_sec * 1000000 + now.tv_nsec / 1000;
	int r = store_sql_step(w->db, w->sql[SQL_BEGIN]);
	if (!r)
		r = put_all(w, batches);
	if (!r)
		r = store_sql_step(w->db, w->sql[SQL_COMMIT]);
	if (r) {
		/* Some errors have rolled it back already. */
		if (!sqlite3_get_autocommit(w->db))
			store_sql_step(w->db, w->sql[SQL_ROLLBACK]);
		forget_interned(w);
	}
	w->last_body_id = 0; /* its bytes go with the batch */
	assert(sqlite3_get_autocommit(w->db));
	return r;
}
