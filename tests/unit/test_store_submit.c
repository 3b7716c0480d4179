// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/store_world.h"

#define ARRAY 100u

static void put_item(uint64_t id, uint64_t run, const char *name, uint64_t producer, bool is_forgotten)
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

static void bind(struct store_task *t, const struct store_binding *b, size_t n)
{
	struct store_binding *copy = store_alloc(store, n * sizeof *copy);
	for (size_t i = 0; i < n; i++) {
		copy[i] = b[i];
		copy[i].path = store_text(store, b[i].path);
	}
	t->bindings = copy;
	t->n_bindings = n;
}

static struct store_task *new_task(uint64_t id, const char *key)
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

static void submit(struct store_task *t)
{
	store_put(store, &(struct store_op){.kind = STORE_SUBMIT, .on_stored = on_stored, .submit = {t, 1}});
}

static void put_array(uint64_t id, uint64_t n, const char *key)
{
	struct store_task *t = new_task(id, key);
	t->array = (struct store_array){.first_index = 10, .step = 5, .n = n, .running = 3};
	bind(t, (struct store_binding[]){{.item = 3, .path = "/in/{index}", .mode = 1}}, 1);
	submit(t);
}

static void put_each(enum store_kind kind, uint64_t task)
{
	uint64_t *id = store_alloc(store, sizeof *id);
	*id = task;
	store_put(store, &(struct store_op){.kind = kind, .on_stored = on_stored, .tasks = {id, 1}});
}

static void flush(int n)
{
	store_flush(store);
	wait_for(n);
}

static void reopen(struct seen *s)
{
	close_store();
	open_store();
	load(s);
}

TEST(shapes_items_and_bindings_are_read_back)
{
	const struct store_binding two[] = {{.item = 1, .path = "/data/a", .mode = 1},
					    {.item = 2, .path = "out.txt", .mode = 3}},
				   *b;
	struct store_item item = {.id = 5,
				  .name = "file:/b",
				  .signature = "",
				  .size = 7,
				  .producer = 10,
				  .is_lost = true,
				  .tree = {.algorithm = DIGEST_SHA256, .byte = {1, 2, 3}}};
	struct seen s;
	size_t n;
	open_store();
	put_run(1, "sweep");
	store_put(store, &(struct store_op){.kind = STORE_SHAPE,
					    .shape = {4, 2, 1, 3, 1 << 20, 5, 6, 2, "a=1", "lic=2", "avx", "big"}});
	put_item(1, 0, "file:/data/a", 0, false);
	put_item(2, 1, "temp:x", 10, false);
	put_item(3, 0, "file:/nobody", 0, false);
	store_put(store, &(struct store_op){.kind = STORE_ITEM, .item = item});
	struct store_task *t = new_task(10, "");
	bind(t, two, 2);
	submit(t);
	submit(new_task(11, ""));
	flush(3);
	reopen(&s);
	ASSERT_EQ(s.n_shapes, 1);
	ASSERT_EQ(s.shape.cores, 2);
	ASSERT_EQ(s.shape.retries, 3);
	ASSERT_EQ(s.shape.memory, 1 << 20);
	ASSERT_EQ(s.shape.wall_usec, 6);
	ASSERT_EQ(s.shape.staging, 2);
	ASSERT_STR(s.features, "a=1|lic=2|avx|big");
	ASSERT_EQ(s.n_items, 3); /* nobody names the third, and nobody makes it */
	ASSERT_STR(s.names[0], "file:/data/a");
	ASSERT_EQ(s.items[1].run, 1);
	ASSERT_EQ(s.items[1].producer, 10);
	ASSERT(!s.items[1].tree.algorithm);
	ASSERT(s.items[2].is_lost && digest_is_equal(&s.items[2].tree, &item.tree));
	ASSERT_EQ(s.at[0].n_bindings, 2);
	ASSERT_EQ(s.bindings[0][0].item, 1);
	ASSERT_EQ(s.bindings[0][1].item, 2);
	ASSERT_EQ(s.bindings[0][1].mode, 3);
	ASSERT_EQ(s.at[0].deadline_usec, 99);
	ASSERT_EQ(s.at[1].n_bindings, 0);
	ASSERT_EQ(store_read_bindings(store, 10, &b, &n), 0);
	ASSERT_EQ(n, 2);
	ASSERT_STR(b[0].path, "/data/a");
	ASSERT_STR(b[0].name, "file:/data/a");
	ASSERT_STR(b[0].signature, "10:20:30");
	ASSERT_STR(b[1].path, "out.txt");
	ASSERT_EQ(store_read_bindings(store, 11, &b, &n), 0);
	ASSERT_EQ(n, 0);
	ASSERT_EQ(store_read_item(store, 3, &item), 0);
	ASSERT_STR(item.name, "file:/nobody");
	close_store();
}

TEST(what_became_of_an_item_replaces_what_was)
{
	struct store_item item;
	struct seen s;
	open_store();
	put_run(1, "sweep");
	put_item(2, 1, "temp:x", 10, false);
	put_item(3, 1, "temp:y", 11, true);
	submit(new_task(12, ""));
	store_put(store, &(struct store_op){.kind = STORE_ITEM,
					    .item = {.id = 2,
						     .run = 1,
						     .name = "temp:x",
						     .signature = "",
						     .size = 9,
						     .producer = 10,
						     .tree = {.algorithm = DIGEST_SHA256, .byte = {9}}}});
	flush(2);
	reopen(&s);
	ASSERT_EQ(s.n_items, 1); /* what is forgotten is not told */
	ASSERT_EQ(s.items[0].tree.byte[0], 9);
	ASSERT_EQ(store_read_item(store, 2, &item), 0);
	ASSERT_EQ(item.size, 9);
	ASSERT_EQ(s.loader.last_item, 3);
	close_store();
}

/* More than one statement's worth, and not a multiple of it. */
TEST(many_bindings_keep_their_order)
{
	struct store_binding many[100];
	const struct store_binding *b;
	char path[20];
	size_t n;
	open_store();
	put_run(1, "sweep");
	put_item(1, 0, "file:/data/a", 0, false);
	for (uint64_t id = 10; id < 13; id++) {
		struct store_task *t = new_task(id, "");
		for (int i = 0; i < 33; i++) {
			snprintf(path, sizeof path, "/%d/%d", (int)id, i);
			many[i] = (struct store_binding){.item = 1, .path = store_text(store, path), .mode = 1};
		}
		bind(t, many, 33);
		submit(t);
	}
	flush(4);
	for (uint64_t id = 10; id < 13; id++) {
		ASSERT_EQ(store_read_bindings(store, id, &b, &n), 0);
		ASSERT_EQ(n, 33);
		for (int i = 0; i < 33; i++) {
			snprintf(path, sizeof path, "/%d/%d", (int)id, i);
			ASSERT_STR(b[i].path, path);
		}
	}
	close_store();
}

TEST(a_shape_may_not_be_changed_under_its_number)
{
	struct store_shape shape = {4, 2, 0, 0, 0, 0, 0, 1, "", "", "", ""};
	open_store();
	store_put(store, &(struct store_op){.kind = STORE_SHAPE, .on_stored = on_stored, .shape = shape});
	shape.cores = 3;
	store_put(store, &(struct store_op){.kind = STORE_SHAPE, .on_stored = on_stored, .shape = shape});
	flush(2);
	ASSERT_EQ(store_read_shape(store, 4, &shape), 0);
	ASSERT_EQ(shape.cores, 2);
	ASSERT_EQ(store_read_shape(store, 5, &shape), -ENOENT);
	close_store();
}

/* ---- arrays */

TEST(an_element_has_rows_only_once_it_begins_or_ends)
{
	const struct store_binding *b;
	struct store_result e;
	struct store_task t;
	struct seen s;
	size_t n;
	open_store();
	put_run(1, "sweep");
	put_item(3, 0, "file:/in/{index}", 0, false);
	put_array(ARRAY, 1000000, "");
	submit(new_task(ARRAY + 1000000, ""));
	put_start(ARRAY, 5, 1);
	put_start(ARRAY + 7, 6, 1);
	put_result(ARRAY + 7, 6, "seven");
	put_result(ARRAY + 9, 0, "");
	put_each(STORE_DONE, ARRAY + 9);
	put_each(STORE_CANCEL, ARRAY + 11);
	flush(7);
	ASSERT_EQ(ask("SELECT count(*) FROM tasks"), 1);
	ASSERT_EQ(ask("SELECT count(*) FROM attempts"), 3);
	reopen(&s);
	ASSERT_EQ(s.n_tasks, 6);
	ASSERT_EQ(s.at[0].id, ARRAY);
	ASSERT_EQ(s.at[0].array.n, 1000000);
	ASSERT_EQ(s.at[0].array.first_index, 10);
	ASSERT_EQ(s.at[0].array.step, 5);
	ASSERT_EQ(s.at[0].array.running, 3);
	ASSERT_EQ(s.at[0].n_bindings, 1);
	ASSERT_EQ(s.bindings[0][0].item, 3);
	/* Its first element has its number. */
	ASSERT_EQ(s.at[1].id, ARRAY);
	ASSERT_EQ(s.at[1].array_of, ARRAY);
	ASSERT_EQ(s.at[1].array.n, 0);
	ASSERT_EQ(s.at[1].state, STORE_RUNNING);
	ASSERT_EQ(s.at[1].attempt, 5);
	ASSERT_EQ(s.at[2].id, ARRAY + 9);
	ASSERT_EQ(s.at[2].state, STORE_DELIVERED);
	ASSERT_EQ(s.at[3].id, ARRAY + 11);
	ASSERT(s.at[3].is_cancelled && s.at[3].state == STORE_QUEUED);
	ASSERT_EQ(s.at[4].id, ARRAY + 1000000);
	ASSERT_EQ(s.at[4].array_of, 0);
	ASSERT_EQ(s.at[5].id, ARRAY + 7);
	ASSERT_EQ(s.at[5].index, 10 + 7 * 5);
	ASSERT_EQ(s.at[5].state, STORE_ENDED);
	ASSERT_EQ(s.loader.last_task, ARRAY + 1000000);
	ASSERT_EQ(s.n_items, 1);
	ASSERT_EQ(store_read_result(store, ARRAY + 7, &e, &t), 0);
	ASSERT_EQ(t.array_of, ARRAY);
	ASSERT_EQ(t.index, 45);
	ASSERT_EQ(t.shape, 4);
	ASSERT_STR((const char *)e.out.at, "seven");
	ASSERT_EQ(store_read_result(store, ARRAY + 8, &e, &t), -ENOENT);
	ASSERT_EQ(t.id, ARRAY + 8);
	ASSERT_EQ(store_read_result(store, ARRAY + 1000001, &e, &t), -ENOENT);
	ASSERT_EQ(t.id, 0);
	ASSERT_EQ(store_read_bindings(store, ARRAY + 8, &b, &n), 0);
	ASSERT_EQ(n, 1);
	ASSERT_STR(b[0].path, "/in/{index}");
	close_store();
}

TEST(an_array_that_is_all_delivered_is_not_told)
{
	struct seen s;
	open_store();
	put_run(1, "sweep");
	put_array(ARRAY, 3, "");
	for (uint64_t i = 0; i < 3; i++) {
		put_result(ARRAY + i, 0, "");
		put_each(STORE_DONE, ARRAY + i);
	}
	flush(8);
	reopen(&s);
	ASSERT_EQ(s.n_tasks, 0);
	ASSERT_EQ(s.n_runs, 0);
	ASSERT_EQ(s.loader.last_task, ARRAY + 2);
	close_store();
}

TEST(the_keys_of_arrays_and_tasks_are_known_to_each_other)
{
	open_store();
	put_run(1, "sweep");
	put_array(ARRAY, 10, "k1");
	submit(new_task(200, "k2"));
	flush(3);
	put_array(300, 10, "k1");
	flush(4);
	ASSERT(!stored[0].is_new && stored[0].id == ARRAY);
	submit(new_task(400, "k1"));
	flush(5);
	ASSERT(!stored[0].is_new && stored[0].id == ARRAY);
	put_array(500, 10, "k2");
	flush(6);
	ASSERT(!stored[0].is_new && stored[0].id == 200);
	/* Also after a restart. */
	close_store();
	open_store();
	submit(new_task(400, "k1"));
	flush(1);
	ASSERT(!stored[0].is_new && stored[0].id == ARRAY);
	ASSERT_EQ(ask("SELECT (SELECT count(*) FROM tasks) * 10 + (SELECT count(*) FROM arrays)"), 11);
	ASSERT_EQ(ask("SELECT count(*) FROM bindings"), 1);
	close_store();
}

/* ---- settings, replicas, events */

static void put_setting(uint64_t run, const char *name, const char *value)
{
	store_put(store,
		  &(struct store_op){.kind = STORE_SETTING, .on_stored = on_stored, .setting = {run, name, value}});
}

static void count_setting(void *arg, uint64_t run, const char *name, const char *value)
{
	(void)run, (void)name, (void)value;
	++*(int *)arg;
}

TEST(a_setting_is_replaced_and_taken_away)
{
	struct seen s;
	int n = 0;
	open_store();
	put_run(1, "sweep");
	put_run(9, "idle");
	put_setting(0, "counter.lic", "4");
	put_setting(1, "lifetime", "1d");
	put_setting(0, "counter.lic", "5");
	put_setting(1, "lifetime", "");
	put_setting(9, "lifetime", "2d");
	flush(7);
	reopen(&s);
	ASSERT_EQ(s.n_settings, 1); /* those of a run without tasks are read when it is attached to */
	ASSERT_STR(s.setting, "0 counter.lic=5");
	ASSERT_EQ(store_read_settings(store, 9, count_setting, &n), 0);
	ASSERT_EQ(n, 1);
	close_store();
}

TEST(a_replica_of_no_size_is_none)
{
	struct store_replica at[] = {{.node = 7, .size = 5, .tree = {.algorithm = 1, .byte = {1}}},
				     {.node = 7, .size = 6, .tree = {.algorithm = 1, .byte = {2}}},
				     {.node = 7, .size = 0, .tree = {.algorithm = 1, .byte = {1}}},
				     {.node = 7, .size = 8, .tree = {.algorithm = 1, .byte = {2}}}};
	open_store();
	store_put(store, &(struct store_op){.kind = STORE_REPLICAS, .on_stored = on_stored, .replicas = {at, 4}});
	flush(1);
	ASSERT_EQ(ask("SELECT count(*) FROM replicas"), 1);
	ASSERT_EQ(ask("SELECT size FROM replicas"), 8);
	close_store();
}

TEST(retries_are_recorded_apart_from_losses)
{
	struct seen s;
	open_store();
	put_run(1, "sweep");
	submit(new_task(10, ""));
	put_start(10, 5, 1);
	store_put(store, &(struct store_op){.kind = STORE_LOST,
					    .on_stored = on_stored,
					    .attempt = {.task = 10, .attempt = 5, .losses = 1, .failures = 2}});
	/* One that is late changes nothing. */
	store_put(store, &(struct store_op){.kind = STORE_LOST,
					    .on_stored = on_stored,
					    .attempt = {.task = 10, .attempt = 4, .losses = 8, .failures = 9}});
	put_start(10, 3, 9);
	flush(4);
	reopen(&s);
	ASSERT_EQ(s.at[0].state, STORE_QUEUED);
	ASSERT_EQ(s.at[0].losses, 1);
	ASSERT_EQ(s.at[0].failures, 2);
	ASSERT_EQ(s.at[0].attempt, 5);
	close_store();
}

/* ---- rows */

struct rows {
	int n;
	uint64_t id[32];
	enum store_state state[32];
};

static void on_row(void *arg, const struct store_row *row)
{
	struct rows *r = arg;
	ASSERT(r->n < 32);
	ASSERT_STR(row->tag, "a tag");
	r->id[r->n] = row->id;
	r->state[r->n++] = row->state;
}

TEST(tasks_are_listed_newest_first_arrays_among_them)
{
	static const uint64_t order[] = {31, 30, 25, 24, 23, 22, 21, 20, 11, 10};
	struct rows r = {0};
	open_store();
	put_run(1, "sweep");
	put_run(2, "other");
	submit(new_task(10, ""));
	submit(new_task(11, ""));
	put_array(20, 5, "");
	submit(new_task(25, ""));
	struct store_task *t = new_task(26, "");
	t->run = 2;
	submit(t);
	submit(new_task(30, ""));
	submit(new_task(31, ""));
	put_result(22, 0, "");
	flush(10);
	ASSERT_EQ(store_list_tasks(store, 0, 1, 30, on_row, &r), 10);
	for (int i = 0; i < 10; i++)
		ASSERT_EQ(r.id[i], order[i]);
	ASSERT_EQ(r.state[5], STORE_ENDED);
	r.n = 0;
	ASSERT_EQ(store_list_tasks(store, 0, 0, 4, on_row, &r), 4);
	ASSERT_EQ(r.id[2], 26);
	ASSERT_EQ(r.id[3], 25);
	r.n = 0;
	ASSERT_EQ(store_list_tasks(store, 24, 0, 4, on_row, &r), 1);
	ASSERT_EQ(r.id[0], 24);
	ASSERT_EQ(store_list_tasks(store, 12, 0, 4, on_row, &r), 0);
	ASSERT_EQ(ask("SELECT count(*) FROM submits"), 3);
	close_store();
}

struct found {
	uint64_t n, sum;
};

static void on_found(void *arg, uint64_t id, uint64_t n)
{
	struct found *f = arg;
	f->n += n;
	f->sum += id;
}

TEST(tasks_are_found_by_tag_and_by_key)
{
	struct found f = {0};
	open_store();
	put_run(1, "sweep");
	submit(new_task(10, "k"));
	put_array(20, 5, "");
	struct store_task *t = new_task(30, "");
	t->tag = store_text(store, "another");
	submit(t);
	flush(4);
	ASSERT_EQ(store_find_tasks(store, 1, STORE_TAG, "a tag", on_found, &f), 0);
	ASSERT_EQ(f.n, 6);
	ASSERT_EQ(f.sum, 30);
	f = (struct found){0};
	ASSERT_EQ(store_find_tasks(store, 1, STORE_KEY, "k", on_found, &f), 0);
	ASSERT_EQ(f.sum, 10);
	ASSERT_EQ(store_find_tasks(store, 2, STORE_KEY, "k", on_found, &f), 0);
	ASSERT_EQ(f.sum, 10);
	close_store();
}
