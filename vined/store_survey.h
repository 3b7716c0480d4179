/* SPDX-License-Identifier: Apache-2.0
 * The first half of loading: which tasks are not over, and what they name. */
#ifndef VINED_STORE_SURVEY_H
#define VINED_STORE_SURVEY_H

#include "vined/store_internal.h"
#include "vined/store_read.h"

/* Of a statement in the order of its first column; UINT64_MAX: at its end. */
struct store_cursor {
	sqlite3_stmt *q;
	uint64_t id;
};

struct store_kept_array {
	uint64_t id, n;
};

struct store_load {
	sqlite3 *db;
	struct store_loader *l;
	int error;
	struct store_cursor attempts, results;
	struct store_set unfinished, runs, items, known_runs;
	struct store_set *untold;
	struct store_cursor leaving; /* spans whose rows are on their way out */
	uint64_t first_unfinished;
	struct buf arrays;          /* struct store_kept_array: not all delivered */
	struct buf bindings;        /* uint64_t: STORE_TASK_MARK and a task, then its items with their modes */
	size_t binding;             /* the next one to tell */
	struct store_binding *told; /* of one task */
	size_t told_room;
};

#define STORE_TASK_MARK ((uint64_t)1 << 63)
#define STORE_MODE_SHIFT 60

/* Once something has failed (l->error) every statement is at its end. */
sqlite3_stmt *store_load_prepare(struct store_load *l, const char *sql);
bool store_load_step(struct store_load *l, sqlite3_stmt *q);

/* From the first row at or behind `from`. */
void store_cursor_open(struct store_load *l, struct store_cursor *c, const char *sql, uint64_t from);
void store_cursor_next(struct store_load *l, struct store_cursor *c);
void store_cursor_close(struct store_cursor *c);
/* Whether it has a row of this number, after passing over those before. */
bool store_cursor_find(struct store_load *l, struct store_cursor *c, uint64_t id);

/* In this order. */
void store_survey_tasks(struct store_load *l);
void store_survey_arrays(struct store_load *l);
void store_survey_lasting(struct store_load *l);
void store_survey_bindings(struct store_load *l);
bool store_load_has_array(const struct store_load *l, uint64_t id);

#endif
