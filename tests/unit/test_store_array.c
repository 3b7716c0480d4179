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

/* ---- what tasks are called, and how they ended */

TEST(a_task_is_called_by_its_key_an_element_by_its_index)
{
	uint64_t id;
	open_store();
	put_run(1, "sweep");
	submit(new_task(5, "model.3"));
	put_array(20, 5, ""); /* indices 10, 15, ... 30 */
	flush(3);
	ASSERT_EQ(store_find_task(store, 1, "model.3", &id), 0);
	ASSERT_EQ(id, 5);
	ASSERT_EQ(store_find_task(store, 1, "15", &id), 0);
	ASSERT_EQ(id, 21);
	ASSERT_EQ(store_find_task(store, 1, "30", &id), 0);
	ASSERT_EQ(id, 24);
	static const char *const none[] = {"16", "5", "35", "", "model", "99999999999999999999"};
	for (size_t i = 0; i < countof(none); i++)
		ASSERT_EQ(store_find_task(store, 1, none[i], &id), -ENOENT);
	ASSERT_EQ(store_find_task(store, 2, "15", &id), -ENOENT);
	close_store();
}

static void put_end(uint64_t task, uint8_t how, uint32_t status, const char *reason)
{
	store_put(store, &(struct store_op){.kind = STORE_RESULT,
					    .on_stored = on_stored,
					    .result = {.task = task,
						       .run = 1,
						       .how = how,
						       .status = status,
						       .reason = reason,
						       .left = store_text(store, "")}});
}

static void on_ended(void *arg, uint64_t id)
{
	on_found(arg, id, 1);
}

TEST(ends_are_counted_and_listed)
{
	static const struct {
		uint8_t how;
		uint32_t status;
		const char *reason;
		uint32_t worst;
	} ends[] = {{1, 0, "", 0},         {1, 3, "", 3},          {2, 9, "", 137},   {5, 0, "", 125},
		    {3, 2, "exec x", 127}, {3, 13, "exec x", 126}, {7, 0, "gone", 1}, {3, 2, "its input x", 125},
		    {4, 0, "", 125}};
	struct store_ends all = {0};
	struct found f = {0};
	open_store();
	put_run(1, "sweep");
	put_array(20, 20, "");
	for (size_t i = 0; i < countof(ends); i++)
		put_end(20 + i, ends[i].how, ends[i].status, ends[i].reason);
	flush(2 + (int)countof(ends));
	for (size_t i = 0; i < countof(ends); i++) {
		struct store_ends one = {0};
		ASSERT_EQ(store_count_ended(store, 20 + i, 0, &one), 0);
		ASSERT_EQ(one.worst, ends[i].worst);
	}
	ASSERT_EQ(store_count_ended(store, 0, 1, &all), 0);
	ASSERT_EQ(all.n[STORE_END_GOOD], 1);
	ASSERT_EQ(all.n[STORE_END_FAILED], 7);
	ASSERT_EQ(all.n[STORE_END_CANCELLED], 1);
	ASSERT_EQ(all.worst, 137);
	ASSERT_EQ(store_list_ended(store, 1, STORE_END_FAILED, 100, on_ended, &f), 0);
	ASSERT_EQ(f.n, 7);
	ASSERT_EQ(f.sum, 21 + 22 + 24 + 25 + 26 + 27 + 28);
	f = (struct found){0};
	ASSERT_EQ(store_list_ended(store, 0, STORE_END_FAILED, 2, on_ended, &f), 0);
	ASSERT_EQ(f.sum, 28 + 27);
	/* What was submitted before is looked at, too. */
	put_array(60, 5, "");
	put_end(61, 1, 3, "");
	flush(4 + (int)countof(ends));
	for (uint64_t run = 0; run < 2; run++) {
		f = (struct found){0};
		ASSERT_EQ(store_list_ended(store, run, STORE_END_FAILED, 100, on_ended, &f), 0);
		ASSERT_EQ(f.n, 8);
	}
	close_store();
}

static uint64_t count_ends(void)
{
	struct store_ends all = {0};
	ASSERT_EQ(store_count_ended(store, 0, 1, &all), 0);
	return all.n[STORE_END_GOOD] * 10000 + all.n[STORE_END_FAILED] * 1000 + all.n[STORE_END_CANCELLED] * 100 +
	       all.worst;
}

/* What is summed up; -1: nothing. */
static int64_t summed(void)
{
	return ask("SELECT good * 10000 + failed * 1000 + cancelled * 100 + worst FROM ends WHERE run = 1");
}

static void put_and_flush(uint64_t task, uint8_t how, uint32_t status)
{
	n_called = 0;
	put_end(task, how, status, "");
	flush(1);
}

TEST(sums_of_a_run_are_those_of_its_results_also_after_a_restart_and_after_a_vined_that_knows_none)
{
	open_store();
	put_run(1, "sweep");
	put_array(20, 20, "");
	flush(2);
	put_and_flush(20, 1, 0);
	put_and_flush(21, 1, 3);
	put_and_flush(21, 5, 0); /* it has its result */
	put_and_flush(22, 1, 0);
	ASSERT_EQ(summed(), 21003);
	ASSERT_EQ(count_ends(), 21003);
	close_store();
	open_store();
	put_and_flush(23, 5, 0);
	ASSERT_EQ(summed(), 21225);
	close_store();
	run_sql("UPDATE meta SET value = value + 1 WHERE name = 'boot';"
		"INSERT INTO results SELECT 24, delivered, place + 1, node, attempt, how, status, exceeded, "
		"ended_usec, wall_usec,"
		" cpu_usec, peak_memory, peak_disk, local_size, moved_size, out_size, err_size, reason, n_left, "
		"written_size, 0, 0, 0"
		" FROM results WHERE task = 20");
	open_store();
	ASSERT_EQ(summed(), -1);
	ASSERT_EQ(count_ends(), 31225);
	put_and_flush(25, 1, 9);
	ASSERT_EQ(summed(), 32225);
	ASSERT_EQ(count_ends(), 32225);
	close_store();
}

TEST(what_could_not_be_committed_is_not_summed_up)
{
	open_store();
	put_run(1, "sweep");
	put_array(20, 20, "");
	flush(2);
	put_and_flush(20, 1, 0);
	run_sql("CREATE TRIGGER no BEFORE INSERT ON results WHEN new.task = 22 BEGIN SELECT RAISE(ABORT, 'no'); END");
	n_called = 0;
	put_end(21, 1, 0, "");
	put_end(22, 1, 0, "");
	flush(2);
	ASSERT(last_error < 0);
	run_sql("DROP TRIGGER no");
	ASSERT_EQ(count_ends(), 10000);
	put_and_flush(21, 1, 0);
	ASSERT_EQ(summed(), 20000);
	put_and_flush(22, 2, 9);
	ASSERT_EQ(summed(), 21137);
	close_store();
}
