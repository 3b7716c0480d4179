/* SPDX-License-Identifier: Apache-2.0
 * Tasks, arrays and items to submit. */
#ifndef TESTS_UNIT_STORE_SUBMIT_WORLD_H
#define TESTS_UNIT_STORE_SUBMIT_WORLD_H

#include "tests/unit/store_world.h"

#define ARRAY 100u

static inline void put_item(uint64_t id, uint64_t run, const char *name, uint64_t producer, bool is_forgotten)
{
	store_put(store, &(struct store_op){.kind = STORE_ITEM,
					    .item = {.id = id,
						     .run = run,
						     .name = store_text(store, name),
						     .signature = store_text(store, "10:20:30"),
						     .size = 4096,
						     .producer = producer,
						     .is_forgotten = is_forgotten}});
}

static inline void bind(struct store_task *t, const struct store_binding *b, size_t n)
{
	struct store_binding *copy = store_alloc(store, n * sizeof *copy);
	for (size_t i = 0; i < n; i++) {
		copy[i] = b[i];
		copy[i].path = store_text(store, b[i].path);
	}
	t->bindings = copy;
	t->n_bindings = n;
}

static inline struct store_task *new_task(uint64_t id, const char *key)
{
	struct store_task *t = store_alloc(store, sizeof *t);
	*t = (struct store_task){.id = id,
				 .run = 1,
				 .key = store_text(store, key),
				 .tag = store_text(store, "a tag"),
				 .command = bytes("/tmp\0true", 10),
				 .environment = bytes("A=1", 4),
				 .session = 77,
				 .deadline_usec = 99,
				 .shape = 4};
	return t;
}

static inline void submit(struct store_task *t)
{
	store_put(store, &(struct store_op){.kind = STORE_SUBMIT, .on_stored = on_stored, .submit = {t, 1}});
}

static inline void put_array(uint64_t id, uint64_t n, const char *key)
{
	struct store_task *t = new_task(id, key);
	t->array = (struct store_array){.first_index = 10, .step = 5, .n = n, .running = 3};
	bind(t, (struct store_binding[]){{.item = 3, .path = "/in/{index}", .mode = 1}}, 1);
	submit(t);
}

static inline void put_each(enum store_kind kind, uint64_t task)
{
	uint64_t *id = store_alloc(store, sizeof *id);
	*id = task;
	store_put(store, &(struct store_op){.kind = kind, .on_stored = on_stored, .tasks = {id, 1}});
}

static inline void flush(int n)
{
	store_flush(store);
	wait_for(n);
}

static inline void reopen(struct seen *s)
{
	close_store();
	open_store();
	load(s);
}

#endif
