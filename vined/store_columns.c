/* SPDX-License-Identifier: Apache-2.0
 * Rows as structs, for loading and for reading single ones. */
#include "vined/store_internal.h"
#include "vined/store_read.h"

void store_get_task(sqlite3_stmt *q, struct store_task *t)
{
	*t = (struct store_task){
		.id = store_number(q, 0),
		.run = store_number(q, 1),
		.shape = store_number(q, 2),
		.command_id = store_number(q, 3),
		.environment_id = store_number(q, 4),
		.priority = sqlite3_column_int64(q, 5),
		.deadline_usec = store_number(q, 6),
		.session = store_number(q, 7),
		.tag = store_column_text(q, 8),
	};
}

void store_get_array(sqlite3_stmt *q, struct store_task *t)
{
	store_get_task(q, t);
	t->array = (struct store_array){
		.n = store_number(q, 9),
		.first_index = store_number(q, 10),
		.step = store_number(q, 11),
		.running = (uint32_t)store_number(q, 12),
	};
}

void store_make_element(struct store_task *t, uint64_t id)
{
	assert(id >= t->id && id < t->id + t->array.n);
	t->array_of = t->id;
	t->index = t->array.first_index + (id - t->id) * t->array.step;
	t->id = id;
	t->array = (struct store_array){0};
}

void store_get_attempt(sqlite3_stmt *q, struct store_task *t)
{
	t->state = (enum store_state)store_number(q, 1);
	t->is_cancelled = store_number(q, 2) != 0;
	t->attempts = (uint32_t)store_number(q, 3);
	t->losses = (uint32_t)store_number(q, 4);
	t->failures = (uint32_t)store_number(q, 5);
	t->node = store_number(q, 6);
	t->attempt = store_number(q, 7);
	t->granted = store_number(q, 8);
	t->within_usec = store_number(q, 9);
}

void store_get_item(sqlite3_stmt *q, struct store_item *i)
{
	*i = (struct store_item){
		.id = store_number(q, 0),
		.run = store_number(q, 1),
		.size = store_number(q, 2),
		.producer = store_number(q, 3),
		.is_lost = store_number(q, 4) != 0,
		.is_forgotten = store_number(q, 5) != 0,
		.name = store_column_text(q, 7),
		.signature = store_column_text(q, 8),
	};
	if (sqlite3_column_bytes(q, 6) == sizeof i->tree)
		memcpy(&i->tree, sqlite3_column_blob(q, 6), sizeof i->tree);
}

void store_get_shape(sqlite3_stmt *q, struct store_shape *s)
{
	*s = (struct store_shape){
		.id = store_number(q, 0),
		.cores = (uint32_t)store_number(q, 1),
		.gpus = (uint32_t)store_number(q, 2),
		.memory = store_number(q, 3),
		.disk = store_number(q, 4),
		.wall_usec = store_number(q, 5),
		.retries = (uint32_t)store_number(q, 6),
		.staging = (uint8_t)store_number(q, 7),
		.named = store_column_text(q, 8),
		.counters = store_column_text(q, 9),
		.features = store_column_text(q, 10),
		.category = store_column_text(q, 11),
		.how = store_column_text(q, 12),
	};
}

struct store_row store_column_row(sqlite3_stmt *q)
{
	return (struct store_row){
		.id = store_number(q, 0),
		.run = store_number(q, 1),
		.name = store_column_text(q, 2),
		.tag = store_column_text(q, 3),
		.state = (enum store_state)store_number(q, 4),
		.attempts = store_number(q, 5),
		.node = store_column_text(q, 6),
		.how = (uint8_t)store_number(q, 7),
		.status = (uint32_t)store_number(q, 8),
		.reason = store_column_text(q, 9),
		.at_usec = sqlite3_column_int64(q, 10),
		.word = store_column_text(q, 11),
		.exceeded = (uint8_t)store_number(q, 12),
	};
}
