/* SPDX-License-Identifier: Apache-2.0
 * Operations as statements. Each looks at what the task has come to, so one that is late or comes twice changes nothing. */
#include "vined/store_writer.h"

#include <time.h>
#include <unistd.h>

#define TASK_COLUMNS \
	"(id, run, user, shape, command, environment, priority, deadline_usec, session, submitted_usec, tag, key"
#define BINDING_ROW "(?,?,?,?,?)"
#define BINDING_ROWS_8                                                                                              \
	BINDING_ROW "," BINDING_ROW "," BINDING_ROW "," BINDING_ROW "," BINDING_ROW "," BINDING_ROW "," BINDING_ROW \
		    "," BINDING_ROW

static const char *const texts[SQL_N] = {
	[SQL_BEGIN] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",
	[SQL_RUN] =
		"INSERT INTO runs (id, user, attached, archived, created_usec, name) VALUES (?1, ?2, ?3, 0, ?4, ?5) "
		"ON CONFLICT DO NOTHING",
	[SQL_NODE] = "INSERT INTO nodes (id, user, uuid, name) VALUES (?1, ?2, ?3, ?4) "
		     "ON CONFLICT (id) DO UPDATE SET name = ?4",
	[SQL_ADD_BODY] = "INSERT INTO commands (id, digest, body) VALUES (?1, ?2, ?3)",
	[SQL_NO_BODY] = "DELETE FROM commands WHERE id > ?1",
	[SQL_FIND_KEY] = "SELECT id FROM tasks WHERE run = ?1 AND key = ?2 AND key <> ''",
	[SQL_FIND_ARRAY_KEY] = "SELECT id FROM arrays WHERE run = ?1 AND key = ?2 AND key <> ''",
	[SQL_SESSION] = "UPDATE tasks SET session = ?2 WHERE id = ?1",
	[SQL_ARRAY_SESSION] = "UPDATE arrays SET session = ?2 WHERE id = ?1",
	[SQL_TASK] = "INSERT INTO tasks " TASK_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) "
		     "ON CONFLICT (run, key) WHERE key <> '' DO NOTHING",
	[SQL_ARRAY] = "INSERT INTO arrays " TASK_COLUMNS ", n, first_index, step, running) "
		      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
	[SQL_BINDING] = "INSERT INTO bindings (id, item, mode, path, flags) VALUES " BINDING_ROW,
	[SQL_BINDINGS] = "INSERT INTO bindings (id, item, mode, path, flags) VALUES " BINDING_ROWS_8 "," BINDING_ROWS_8
			 "," BINDING_ROWS_8 "," BINDING_ROWS_8,
	[SQL_SPAN] =
		"INSERT INTO submits (first, n, run, leaving) VALUES (?1, ?2, ?3, 0) ON CONFLICT DO UPDATE SET n = ?2",
	[SQL_START] = "INSERT INTO attempts (task, attempt, node, attempts, started_usec, state, cancelled, losses, "
		      "failures, granted, within_usec) "
		      "VALUES (?1, ?2, ?3, ?4, ?5, 1, 0, 0, 0, 0, 0) ON CONFLICT DO UPDATE "
		      "SET state = 1, attempt = ?2, node = ?3, attempts = ?4, started_usec = ?5 WHERE attempt <= ?2",
	[SQL_LOST] = "UPDATE attempts SET state = ?3, losses = ?4, failures = ?5, node = CASE ?6 WHEN 0 THEN node ELSE "
		     "0 END "
		     "WHERE task = ?1 AND attempt = ?2",
	[SQL_CANCEL] = "INSERT INTO attempts (task, state, cancelled, attempts, losses, failures, node, attempt, "
		       "started_usec, granted, within_usec) "
		       "VALUES (?1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0) ON CONFLICT DO UPDATE SET cancelled = 1",
	[SQL_GRANT] = "UPDATE attempts SET granted = ?2, within_usec = ?3 WHERE task = ?1 AND attempt = ?2 "
		      "AND NOT EXISTS (SELECT 1 FROM results WHERE task = ?1)",
	[SQL_RESULT] =
		"INSERT INTO results (task, place, attempt, node, how, status, exceeded, ended_usec, wall_usec,"
		" cpu_usec, peak_memory, peak_disk, local_size, moved_size, out_size, err_size, n_left, written_size,"
		" peer_size, source_size, client_size, delivered, reason) "
		"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23) "
		"ON CONFLICT DO NOTHING",
	[SQL_HEADS] = "INSERT INTO heads (task, out, err) VALUES (?1, ?2, ?3)",
	[SQL_LEFTOVERS] = "INSERT INTO leftovers (task, names) VALUES (?1, ?2)",
	[SQL_DONE] = "UPDATE results SET delivered = 1 WHERE task = ?1",
	[SQL_SHAPE] = "INSERT INTO shapes (id, cores, gpus, memory, disk, wall_usec, retries, staging, named, counters,"
		      " features, category, how) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) "
		      "ON CONFLICT DO NOTHING",
	[SQL_ITEM] = "INSERT INTO items (id, run, user, size, producer, lost, forgotten, tree, name, signature) "
		     "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO UPDATE SET size = ?4,"
		     " producer = ?5, lost = ?6, forgotten = ?7, tree = ?8, signature = ?10",
	[SQL_REPLICA] = "INSERT INTO replicas (node, size, recorded_usec, tree) VALUES (?1, ?2, ?3, ?4) "
			"ON CONFLICT DO UPDATE SET size = ?2, recorded_usec = ?3",
	[SQL_NO_REPLICA] = "DELETE FROM replicas WHERE node = ?1 AND tree = ?2",
	[SQL_SETTING] = "INSERT INTO settings (run, user, name, value) VALUES (?1, ?2, ?3, ?4) "
			"ON CONFLICT DO UPDATE SET value = ?4, user = ?2",
	[SQL_NO_SETTING] = "DELETE FROM settings WHERE run = ?1 AND name = ?2",
	[SQL_EVENT] =
		"INSERT INTO events (at_usec, user, task, node, item, what, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[SQL_LEAVE] = "UPDATE submits SET leaving = 2 WHERE run = ?1",
	[SQL_MOVED] = "INSERT INTO meta VALUES ('moved', ?1) ON CONFLICT DO UPDATE SET value = ?1",
	[SQL_LAST_RUN] = "INSERT INTO meta VALUES ('last_run', ?1) ON CONFLICT DO UPDATE SET value = max(value, ?1)",
	[SQL_FORGET_RUN] = "DELETE FROM runs WHERE id = ?1",
	[SQL_FORGET_SETTINGS] = "DELETE FROM settings WHERE run = ?1",
	[SQL_FIND_ENDS] = STORE_FIND_ENDS,
	[SQL_ENDS] = "INSERT INTO ends VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET good = ?2, failed = ?3, "
		     "cancelled = ?4, worst = ?5",
	[SQL_FORGET_ENDS] = "DELETE FROM ends WHERE run = ?1",
};

struct store_writer *store_writer_new(sqlite3 *db, uint64_t boot)
{
	struct store_writer *w = NEW(struct store_writer);
	w->db = db;
	w->user = (int64_t)getuid();
	list_init(&w->changed);
	int64_t command = 0, has_keys = 0;
	int r = store_sql_prepare(db, texts, w->sql, SQL_N);
	if (!r)
		r = store_sql_number(db, STORE_LAST("command", "max(id) FROM commands"), &command);
	if (!r)
		r = store_sql_number(db, "SELECT count(*) > 0 FROM arrays WHERE key <> ''", &has_keys);
	if (r) {
		store_writer_free(w);
		return NULL;
	}
	/* Above those of all boots before. */
	w->last_place = boot << 40;
	w->last_command = (uint64_t)command;
	w->has_array_keys = has_keys > 0;
	return w;
}

void store_writer_free(struct store_writer *w)
{
	if (!w)
		return;
	store_sums_forget(w);
	store_rows_free(w->counter);
	store_sql_finalize(w->sql, SQL_N);
	free(w);
}

/* ---- attempts and results */

static int put_start(struct store_writer *w, const struct store_op *op)
{
	store_sql_bind(w->sql[SQL_START], 5,
		       (int64_t[]){(int64_t)op->attempt.task, (int64_t)op->attempt.attempt, (int64_t)op->attempt.node,
				   op->attempt.attempts, w->now_usec});
	return store_sql_step(w->db, w->sql[SQL_START]);
}

static int put_lost(struct store_writer *w, const struct store_op *op)
{
	store_sql_bind(w->sql[SQL_LOST], 6,
		       (int64_t[]){(int64_t)op->attempt.task, (int64_t)op->attempt.attempt,
				   op->attempt.is_held ? STORE_HELD : STORE_QUEUED, op->attempt.losses,
				   op->attempt.failures, op->attempt.is_settled});
	return store_sql_step(w->db, w->sql[SQL_LOST]);
}

/* The row as it is written decides: what else is under way to it came before. */
static int put_grant(struct store_writer *w, struct store_op *op)
{
	store_sql_bind(
		w->sql[SQL_GRANT], 3,
		(int64_t[]){(int64_t)op->attempt.task, (int64_t)op->attempt.attempt, (int64_t)op->attempt.within_usec});
	int r = store_sql_step(w->db, w->sql[SQL_GRANT]);
	op->attempt.is_granted = !r && sqlite3_changes(w->db) == 1;
	return r;
}

static int put_heads(struct store_writer *w, const struct store_result *e)
{
	sqlite3_stmt *s = w->sql[SQL_HEADS];
	sqlite3_bind_int64(s, 1, (int64_t)e->task);
	store_bind_bytes(s, 2, &e->out);
	store_bind_bytes(s, 3, &e->err);
	return store_sql_step(w->db, s);
}

static int put_leftovers(struct store_writer *w, const struct store_result *e)
{
	sqlite3_bind_int64(w->sql[SQL_LEFTOVERS], 1, (int64_t)e->task);
	store_bind_text(w->sql[SQL_LEFTOVERS], 2, e->left);
	return store_sql_step(w->db, w->sql[SQL_LEFTOVERS]);
}

/* Whoever has the task's one row first has given its result; the other one is not even written. */
static int put_result(struct store_writer *w, struct store_result *e)
{
	const int64_t values[] = {
		(int64_t)e->task,
		(int64_t)w->last_place + 1,
		(int64_t)e->attempt,
		(int64_t)e->node,
		e->how,
		e->status,
		e->exceeded,
		w->now_usec,
		(int64_t)e->wall_usec,
		(int64_t)e->cpu_usec,
		(int64_t)e->peak_memory,
		(int64_t)e->peak_disk,
		(int64_t)e->local_size,
		(int64_t)e->moved_size,
		(int64_t)e->out_size,
		(int64_t)e->err_size,
		(int64_t)e->n_left,
		(int64_t)e->written_size,
		(int64_t)e->peer_size,
		(int64_t)e->source_size,
		(int64_t)e->client_size,
		e->is_taken,
	};
	store_sql_bind(w->sql[SQL_RESULT], countof(values), values);
	store_bind_text(w->sql[SQL_RESULT], (int)countof(values) + 1, e->reason);
	int r = store_sql_step(w->db, w->sql[SQL_RESULT]);
	e->is_first = !r && sqlite3_changes(w->db) == 1;
	if (r || !e->is_first)
		return r;
	e->id = ++w->last_place;
	r = store_sums_add(w, e);
	if (!r && (e->out.n || e->err.n))
		r = put_heads(w, e);
	return !r && e->left && *e->left ? put_leftovers(w, e) : r;
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

/* ---- what tasks refer to */

static int put_run(struct store_writer *w, const struct store_run *run)
{
	store_sql_bind(w->sql[SQL_RUN], 4, (int64_t[]){(int64_t)run->id, w->user, run->is_attached, w->now_usec});
	store_bind_text(w->sql[SQL_RUN], 5, run->name);
	return store_sql_step(w->db, w->sql[SQL_RUN]);
}

static int put_node(struct store_writer *w, const struct store_node *node)
{
	store_sql_bind(w->sql[SQL_NODE], 2, (int64_t[]){(int64_t)node->id, w->user});
	store_bind_text(w->sql[SQL_NODE], 3, node->uuid);
	store_bind_text(w->sql[SQL_NODE], 4, node->name);
	return store_sql_step(w->db, w->sql[SQL_NODE]);
}

static int put_shape(struct store_writer *w, const struct store_shape *s)
{
	sqlite3_stmt *q = w->sql[SQL_SHAPE];
	store_sql_bind(q, 8,
		       (int64_t[]){(int64_t)s->id, s->cores, s->gpus, (int64_t)s->memory, (int64_t)s->disk,
				   (int64_t)s->wall_usec, s->retries, s->staging});
	store_bind_text(q, 9, s->named);
	store_bind_text(q, 10, s->counters);
	store_bind_text(q, 11, s->features);
	store_bind_text(q, 12, s->category);
	store_bind_text(q, 13, s->how);
	return store_sql_step(w->db, q);
}

int store_put_item(struct store_writer *w, const struct store_item *i)
{
	sqlite3_stmt *q = w->sql[SQL_ITEM];
	store_sql_bind(q, 7,
		       (int64_t[]){(int64_t)i->id, (int64_t)i->run, w->user, (int64_t)i->size, (int64_t)i->producer,
				   i->is_lost, i->is_forgotten});
	store_bind_digest(q, 8, &i->tree);
	store_bind_text(q, 9, i->name);
	store_bind_text(q, 10, i->signature);
	return store_sql_step(w->db, q);
}

/* ---- for people */

static int put_replica(struct store_writer *w, const struct store_replica *p)
{
	sqlite3_stmt *q = w->sql[p->size ? SQL_REPLICA : SQL_NO_REPLICA];
	sqlite3_bind_int64(q, 1, (int64_t)p->node);
	if (p->size) {
		sqlite3_bind_int64(q, 2, (int64_t)p->size);
		sqlite3_bind_int64(q, 3, w->now_usec);
	}
	store_bind_digest(q, p->size ? 4 : 2, &p->tree);
	return store_sql_step(w->db, q);
}

static int put_replicas(struct store_writer *w, const struct store_op *op)
{
	int r = 0;
	for (size_t i = 0; i < op->replicas.n && !r; i++)
		r = put_replica(w, &op->replicas.at[i]);
	return r;
}

static int put_setting(struct store_writer *w, const struct store_op *op)
{
	bool is_set = op->setting.value && op->setting.value[0];
	sqlite3_stmt *q = w->sql[is_set ? SQL_SETTING : SQL_NO_SETTING];
	sqlite3_bind_int64(q, 1, (int64_t)op->setting.run);
	if (is_set) {
		sqlite3_bind_int64(q, 2, w->user);
		store_bind_text(q, 4, op->setting.value);
	}
	store_bind_text(q, is_set ? 3 : 2, op->setting.name);
	return store_sql_step(w->db, q);
}

static int put_event(struct store_writer *w, const struct store_event *e)
{
	sqlite3_stmt *q = w->sql[SQL_EVENT];
	store_sql_bind(q, 5, (int64_t[]){w->now_usec, w->user, (int64_t)e->task, (int64_t)e->node, (int64_t)e->item});
	store_bind_text(q, 6, e->what);
	store_bind_text(q, 7, e->text);
	return store_sql_step(w->db, q);
}

/* Its name and its keys are free at once; its rows leave when there is nothing else to do. */
static int put_forget(struct store_writer *w, uint64_t run)
{
	static const int steps[] = {SQL_LEAVE, SQL_FORGET_SETTINGS, SQL_FORGET_ENDS, SQL_LAST_RUN, SQL_FORGET_RUN};
	int r = 0;
	for (size_t i = 0; i < countof(steps) && !r; i++) {
		sqlite3_bind_int64(w->sql[steps[i]], 1, (int64_t)run);
		r = store_sql_step(w->db, w->sql[steps[i]]);
	}
	if (w->span.run == run)
		w->span.n = 0;
	w->has_forgotten = true;
	store_sums_drop(w, run);
	return r;
}

/* ---- a transaction */

static int put(struct store_writer *w, struct store_op *op)
{
	switch (op->kind) {
	case STORE_NOTHING:
		return 0;
	case STORE_RUN:
		return put_run(w, &op->run);
	case STORE_NODE:
		return put_node(w, &op->node);
	case STORE_SUBMIT:
		return store_put_submit(w, op->submit.at, op->submit.n);
	case STORE_START:
		return put_start(w, op);
	case STORE_LOST:
		return put_lost(w, op);
	case STORE_CANCEL:
		return put_each(w, SQL_CANCEL, op);
	case STORE_GRANT:
		return put_grant(w, op);
	case STORE_RESULT:
		return put_result(w, &op->result);
	case STORE_DONE:
		return put_each(w, SQL_DONE, op);
	case STORE_SHAPE:
		return put_shape(w, &op->shape);
	case STORE_ITEM:
		return store_put_item(w, &op->item);
	case STORE_REPLICAS:
		return put_replicas(w, op);
	case STORE_SETTING:
		return put_setting(w, op);
	case STORE_EVENT:
		return put_event(w, &op->event);
	case STORE_MOVED:
		store_bind_text(w->sql[SQL_MOVED], 1, op->moved);
		return store_sql_step(w->db, w->sql[SQL_MOVED]);
	case STORE_FORGET:
		return put_forget(w, op->run.id);
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
	return store_sums_flush(w);
}

int store_writer_begin(struct store_writer *w)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	w->now_usec = now.tv_sec * 1000000 + now.tv_nsec / 1000;
	return store_sql_step(w->db, w->sql[SQL_BEGIN]);
}

int store_writer_end(struct store_writer *w, int r)
{
	if (!r)
		r = store_sql_step(w->db, w->sql[SQL_COMMIT]);
	/* Some errors have rolled it back already. */
	if (r && !sqlite3_get_autocommit(w->db))
		store_sql_step(w->db, w->sql[SQL_ROLLBACK]);
	if (r) {
		store_submit_forget(w);
		store_sums_forget(w);
	}
	assert(sqlite3_get_autocommit(w->db));
	return r;
}

int store_writer_commit(struct store_writer *w, const struct list *batches)
{
	int r = store_writer_begin(w);
	r = store_writer_end(w, r ? r : put_all(w, batches));
	store_submit_end(w);
	return r;
}
