/* SPDX-License-Identifier: Apache-2.0
 * Tasks and arrays as they are submitted: what they share is interned, their keys are looked up, their rows appended. */
#include "vined/store_writer.h"

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

/* ---- bodies */

/* Numbers are never given twice: the reader remembers bodies by them. */
static int add_body(struct store_writer *w, const struct digest *d, const struct wire_bytes *body, uint64_t *id)
{
	sqlite3_stmt *add = w->sql[SQL_ADD_BODY];
	*id = w->last_command + 1;
	sqlite3_bind_int64(add, 1, (int64_t)*id);
	sqlite3_bind_blob(add, 2, d->byte, DIGEST_SIZE, SQLITE_STATIC);
	store_bind_bytes(add, 3, body);
	int r = store_sql_step(w->db, add);
	w->last_command += r == 0;
	return r;
}

static int intern(struct store_writer *w, struct store_bodies *all, const struct wire_bytes *body, uint64_t *id)
{
	bool is_same = all->last_id && all->last.n == body->n &&
		       (all->last.at == body->at || !memcmp(all->last.at, body->at, body->n));
	if (is_same) {
		*id = all->last_id;
		return 0;
	}
	struct digest d;
	digest_bytes(body->at, body->n, &d);
	struct store_interned *known = &all->known[get_le32(d.byte) % STORE_INTERNED];
	if (!known->id || !digest_is_equal(&known->digest, &d)) {
		int r = add_body(w, &d, body, &known->id);
		if (r < 0) {
			known->id = 0;
			return r;
		}
		known->digest = d;
	}
	*id = known->id;
	all->last = *body;
	all->last_id = *id;
	return 0;
}

static void forget_above(struct store_bodies *all, uint64_t id)
{
	for (size_t i = 0; i < STORE_INTERNED; i++)
		if (all->known[i].id > id)
			all->known[i].id = 0;
	if (all->last_id > id)
		all->last_id = 0;
}

/* What was added for a task that is there already is nobody's. */
static int take_back(struct store_writer *w, uint64_t last_command)
{
	if (w->last_command == last_command)
		return 0;
	forget_above(&w->commands, last_command);
	forget_above(&w->environments, last_command);
	sqlite3_bind_int64(w->sql[SQL_NO_BODY], 1, (int64_t)last_command);
	return store_sql_step(w->db, w->sql[SQL_NO_BODY]);
}

/* ---- bindings */

static void bind_row(sqlite3_stmt *s, int at, const struct store_row_binding *row)
{
	sqlite3_bind_int64(s, at + 1, (int64_t)row->id);
	sqlite3_bind_int64(s, at + 2, (int64_t)row->at->item);
	sqlite3_bind_int64(s, at + 3, row->at->mode);
	store_bind_text(s, at + 4, row->at->path);
	sqlite3_bind_int64(s, at + 5, row->at->flags);
}

static int flush_bindings(struct store_writer *w)
{
	int r = 0;
	if (w->n_rows == STORE_ROWS) {
		for (size_t i = 0; i < STORE_ROWS; i++)
			bind_row(w->sql[SQL_BINDINGS], (int)i * 5, &w->rows[i]);
		r = store_sql_step(w->db, w->sql[SQL_BINDINGS]);
	} else {
		for (size_t i = 0; i < w->n_rows && !r; i++) {
			bind_row(w->sql[SQL_BINDING], 0, &w->rows[i]);
			r = store_sql_step(w->db, w->sql[SQL_BINDING]);
		}
	}
	w->n_rows = 0;
	return r;
}

static int put_bindings(struct store_writer *w, const struct store_task *t)
{
	int r = 0;
	assert(t->n_bindings <= STORE_BINDINGS_MAX);
	for (size_t i = 0; i < t->n_bindings && !r; i++) {
		w->rows[w->n_rows++] = (struct store_row_binding){t->id * STORE_BINDINGS_MAX + i, &t->bindings[i]};
		if (w->n_rows == STORE_ROWS)
			r = flush_bindings(w);
	}
	return r;
}

/* ---- tasks */

static int find_key(struct store_writer *w, int sql, const struct store_task *t, uint64_t *id)
{
	sqlite3_bind_int64(w->sql[sql], 1, (int64_t)t->run);
	store_bind_text(w->sql[sql], 2, t->key);
	return find_id(w, w->sql[sql], id);
}

/* Known under its key: only whose it is may be new. */
static int renew(struct store_writer *w, int sql, struct store_task *t, uint64_t id)
{
	t->id = id;
	t->is_new = false;
	store_sql_bind(w->sql[sql], 2, (int64_t[]){(int64_t)id, (int64_t)t->session});
	return store_sql_step(w->db, w->sql[sql]);
}

static int insert(struct store_writer *w, int sql, const struct store_task *t)
{
	sqlite3_stmt *s = w->sql[sql];
	const struct store_array *a = &t->array;
	const int64_t values[] = {
		(int64_t)t->id,    (int64_t)t->run,           w->user,
		(int64_t)t->shape, (int64_t)t->command_id,    (int64_t)t->environment_id,
		t->priority,       (int64_t)t->deadline_usec, (int64_t)t->session,
		w->now_usec,
	};
	store_sql_bind(s, countof(values), values);
	store_bind_text(s, 11, t->tag);
	store_bind_text(s, 12, t->key);
	if (a->n) {
		sqlite3_bind_int64(s, 13, (int64_t)a->n);
		sqlite3_bind_int64(s, 14, (int64_t)a->first_index);
		sqlite3_bind_int64(s, 15, (int64_t)a->step);
		sqlite3_bind_int64(s, 16, a->running);
	}
	return store_sql_step(w->db, s);
}

/* Items have their maker's number, so they may not be there without it. */
static int put_new(struct store_writer *w, const struct store_task *t)
{
	int r = 0;
	for (size_t i = 0; i < t->n_outputs && !r; i++)
		r = store_put_item(w, &t->outputs[i]);
	return r ? r : put_bindings(w, t);
}

/* The key is looked up here, by the only writer, so two submits under one key cannot pass each other. An array and a task of one run
 * share no key either, but an array's is looked for only where there is one. */
static int put_task(struct store_writer *w, struct store_task *t)
{
	bool is_array = t->array.n > 0, has_key = t->key && t->key[0];
	uint64_t id = 0, last_command = w->last_command;
	int r = has_key && w->has_array_keys ? find_key(w, SQL_FIND_ARRAY_KEY, t, &id) : 0;
	if (r)
		return r < 0 ? r : renew(w, SQL_ARRAY_SESSION, t, id);
	if (has_key && is_array)
		r = find_key(w, SQL_FIND_KEY, t, &id);
	if (r)
		return r < 0 ? r : renew(w, SQL_SESSION, t, id);
	r = intern(w, &w->environments, &t->environment, &t->environment_id);
	if (!r)
		r = intern(w, &w->commands, &t->command, &t->command_id);
	if (!r)
		r = insert(w, is_array ? SQL_ARRAY : SQL_TASK, t);
	if (r)
		return r;
	t->is_new = sqlite3_changes(w->db) == 1;
	w->has_array_keys |= is_array && has_key;
	if (t->is_new)
		return put_new(w, t);
	r = take_back(w, last_command);
	if (!r)
		r = find_key(w, SQL_FIND_KEY, t, &id);
	return r == 1 ? renew(w, SQL_SESSION, t, id) : r ? r : -EEXIST;
}

/* ---- whose numbers they are */

static int put_span(struct store_writer *w)
{
	if (!w->span.n)
		return 0;
	store_sql_bind(w->sql[SQL_SPAN], 3,
		       (int64_t[]){(int64_t)w->span.first, (int64_t)w->span.n, (int64_t)w->span.run});
	return store_sql_step(w->db, w->sql[SQL_SPAN]);
}

static int extend_span(struct store_writer *w, const struct store_task *t)
{
	struct store_span *s = &w->span;
	uint64_t end = t->id + max(t->array.n, (uint64_t)1);
	int r = 0;
	if (!s->n || s->run != t->run || t->id < s->first + s->n) {
		r = put_span(w);
		*s = (struct store_span){t->id, 0, t->run};
	}
	s->n = end - s->first;
	return r;
}

int store_put_submit(struct store_writer *w, struct store_task *at, size_t n)
{
	int r = 0;
	for (size_t i = 0; i < n && !r; i++) {
		r = put_task(w, &at[i]);
		if (!r && at[i].is_new)
			r = extend_span(w, &at[i]);
	}
	if (!r)
		r = flush_bindings(w);
	w->n_rows = 0;
	return r ? r : put_span(w);
}

void store_submit_forget(struct store_writer *w)
{
	forget_above(&w->commands, 0);
	forget_above(&w->environments, 0);
	w->span.n = 0;
}

void store_submit_end(struct store_writer *w)
{
	w->commands.last_id = w->environments.last_id = 0;
}
