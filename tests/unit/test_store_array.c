// SPDX-License-Identifier: Apache-2.0
// Arrays: one row for all, and lists in which their elements are tasks like others.
#include "tests/unit/store_submit_world.h"

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
