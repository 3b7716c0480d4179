// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/store_submit_world.h"

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
	store_put(store,
		  &(struct store_op){.kind = STORE_SHAPE,
				     .shape = {4, 2, 1, 3, 1 << 20, 5, 6, 2, "a=1", "lic=2", "avx", "big", NULL}});
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
	struct store_shape shape = {4, 2, 0, 0, 0, 0, 0, 1, "", "", "", "", ""};
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
