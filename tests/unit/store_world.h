/* SPDX-License-Identifier: Apache-2.0
 * A store with its loop, what to put into it, and what a second reader and a restart see of it. */
#ifndef TESTS_UNIT_STORE_WORLD_H
#define TESTS_UNIT_STORE_WORLD_H

#include "tests/unit/unit.h"

#include "vined/store_internal.h"
#include "vined/store_read.h"

#include <stdio.h>

#define DEADLINE_TURNS 1000

static struct loop *loop;
static struct store *store;
static int n_called, last_error;
static struct store_task stored[8];
static bool first[8];
static int n_first;

static inline const char *db_path(void)
{
	static char path[512];
	snprintf(path, sizeof path, "%s/vined.db", unit_tmpdir());
	return path;
}

static inline int open_error(char text[512])
{
	struct conf_error e = {""};
	int r = store_open(&store, &(struct store_options){db_path(), false}, &e);
	snprintf(text, 512, "%s", e.text);
	return r;
}

static inline void open_store(void)
{
	char text[512];
	ASSERT_EQ(open_error(text), 0);
	loop = loop_new();
	ASSERT(loop);
	ASSERT_EQ(store_start(store, loop), 0);
	n_called = n_first = last_error = 0;
}

static inline void close_store(void)
{
	store_finish(store);
	loop_turn(loop, 0);
	store_free(store);
	loop_free(loop);
	store = NULL;
	loop = NULL;
}

static inline void wait_for(int n)
{
	for (int i = 0; i < DEADLINE_TURNS && n_called < n; i++)
		loop_turn(loop, 20);
	ASSERT_EQ(n_called, n);
}

static inline void on_stored(struct store_op *op, int error)
{
	n_called++;
	last_error = error;
	if (error)
		return;
	for (size_t i = 0; op->kind == STORE_SUBMIT && i < op->submit.n && i < 8; i++)
		stored[i] = op->submit.at[i];
	if (op->kind == STORE_RESULT && n_first < 8)
		first[n_first++] = op->result.is_first;
}

static inline void put_run(uint64_t id, const char *name)
{
	store_put(store, &(struct store_op){.kind = STORE_RUN,
					    .on_stored = on_stored,
					    .run = {id, store_text(store, name), false}});
}

static inline struct wire_bytes bytes(const char *p, uint32_t n)
{
	char *copy = store_alloc(store, n);
	memcpy(copy, p, n);
	return (struct wire_bytes){copy, n};
}

static inline void put_task(uint64_t id, const char *key, const char *argument)
{
	char body[300];
	int n = snprintf(body, sizeof body, "/tmp%c%s", 0, argument);
	struct store_task *t = store_alloc(store, sizeof *t);
	*t = (struct store_task){.id = id,
				 .run = 1,
				 .key = store_text(store, key),
				 .tag = store_text(store, "a tag"),
				 .command = bytes(body, (uint32_t)n + 1),
				 .environment = bytes("A=1\0B=2", 8),
				 .shape = 4,
				 .priority = -3};
	store_put(store, &(struct store_op){.kind = STORE_SUBMIT, .on_stored = on_stored, .submit = {t, 1}});
}

static inline void put_start(uint64_t task, uint64_t attempt, uint32_t attempts)
{
	store_put(store,
		  &(struct store_op){.kind = STORE_START,
				     .is_kept = true,
				     .attempt = {.task = task, .attempt = attempt, .node = 7, .attempts = attempts}});
}

static inline void put_result(uint64_t task, uint64_t attempt, const char *out)
{
	store_put(store, &(struct store_op){.kind = STORE_RESULT,
					    .on_stored = on_stored,
					    .result = {.task = task,
						       .attempt = attempt,
						       .node = 7,
						       .how = 1,
						       .status = 3,
						       .reason = "",
						       .out_size = strlen(out),
						       .out = bytes(out, (uint32_t)strlen(out))}});
}

/* ---- what a second reader sees */

static inline int64_t ask_file(const char *path, const char *sql)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *s = NULL;
	int64_t n = -1;
	// A reader alone may not recover what a killed writer left.
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
	    sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW)
		n = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	sqlite3_close(db);
	return n;
}

static inline int64_t ask(const char *sql)
{
	return ask_file(db_path(), sql);
}

static inline void run_sql(const char *sql)
{
	sqlite3 *db = NULL;
	ASSERT_EQ(sqlite3_open_v2(db_path(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, store_vfs()), SQLITE_OK);
	ASSERT_EQ(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* ---- a restart */

struct seen {
	int n_nodes, n_runs, n_settings, n_shapes, n_items, n_tasks;
	struct store_task at[64];
	struct store_binding bindings[64][8];
	struct store_item items[16];
	char names[16][64];
	struct store_shape shape; /* the last; numbers only */
	char features[64];
	char setting[64];
	struct store_loader loader;
};

static inline void see_node(void *arg, const struct store_node *n)
{
	struct seen *s = arg;
	s->n_nodes++;
	ASSERT_STR(n->name, "w7");
}

static inline void see_run(void *arg, const struct store_run *r)
{
	struct seen *s = arg;
	s->n_runs++;
	ASSERT_STR(r->name, "sweep");
}

static inline void see_setting(void *arg, uint64_t run, const char *name, const char *value)
{
	struct seen *s = arg;
	s->n_settings++;
	snprintf(s->setting, sizeof s->setting, "%d %s=%s", (int)run, name, value);
}

static inline void see_shape(void *arg, const struct store_shape *p)
{
	struct seen *s = arg;
	s->n_shapes++;
	s->shape = *p;
	snprintf(s->features, sizeof s->features, "%s|%s|%s|%s", p->named, p->counters, p->features, p->category);
}

static inline void see_item(void *arg, const struct store_item *i)
{
	struct seen *s = arg;
	if (s->n_items < 16) {
		s->items[s->n_items] = *i;
		snprintf(s->names[s->n_items], 64, "%s", i->name);
	}
	s->n_items++;
}

static inline void see_task(void *arg, const struct store_task *t)
{
	struct seen *s = arg;
	if (s->n_tasks < 64) {
		s->at[s->n_tasks] = *t;
		for (size_t i = 0; i < t->n_bindings && i < 8; i++)
			s->bindings[s->n_tasks][i] = t->bindings[i];
	}
	s->n_tasks++;
}

static inline void load(struct seen *s)
{
	*s = (struct seen){.loader = {.on_node = see_node,
				      .on_run = see_run,
				      .on_setting = see_setting,
				      .on_shape = see_shape,
				      .on_item = see_item,
				      .on_task = see_task,
				      .arg = s}};
	ASSERT_EQ(store_load(store, &s->loader), 0);
}

#endif
