/* SPDX-License-Identifier: Apache-2.0
 * What keys do to what is looked at, and what follows from two answers of vined, one after the other. */
#include "tests/unit/top_world.h"

static void press(struct top_state *s, const struct top_model *m, const char *keys)
{
	size_t n = strlen(keys), length;
	uint32_t key;
	while ((length = top_key_next(keys, n, true, &key))) {
		top_press(s, m, key, 10);
		keys += length;
		n -= length;
	}
}

TEST(keys_come_in_pieces)
{
	uint32_t key;
	ASSERT_EQ(top_key_next("\033", 1, false, &key), 0);
	ASSERT_EQ(top_key_next("\033[", 2, false, &key), 0);
	ASSERT_EQ(top_key_next("\033[A", 3, false, &key), 3);
	ASSERT_EQ(key, TOP_KEY_UP);
	ASSERT_EQ(top_key_next("\033[6~j", 5, false, &key), 4);
	ASSERT_EQ(key, TOP_KEY_PAGE_DOWN);
	ASSERT_EQ(top_key_next("\033[200;7Rq", 9, false, &key), 8);
	ASSERT_EQ(key, TOP_KEY_OTHER);
	ASSERT_EQ(top_key_next("\033", 1, true, &key), 1);
	ASSERT_EQ(key, TOP_KEY_ESCAPE);
	ASSERT_EQ(top_key_next("\033[1;", 4, true, &key), 4);
	ASSERT_EQ(key, TOP_KEY_OTHER);
	ASSERT_EQ(top_key_next("jk", 2, false, &key), 1);
	ASSERT_EQ(key, 'j');
	ASSERT_EQ(top_key_next("", 0, true, &key), 0);
}

TEST(numbers_and_tab_turn_the_pages)
{
	_cleanup_(top_model_freep) struct top_model *m = small_model();
	struct top_state s;
	top_state_init(&s, 1000);
	press(&s, m, "3");
	ASSERT_EQ(s.at.page, TOP_NODES_PAGE);
	press(&s, m, "\t\t");
	ASSERT_EQ(s.at.page, TOP_DATA_PAGE);
	press(&s, m, "\t\033[Z\033[Z");
	ASSERT_EQ(s.at.page, TOP_TASKS_PAGE);
	press(&s, m, "9z");
	ASSERT_EQ(s.at.page, TOP_TASKS_PAGE);
	press(&s, m, "6");
	ASSERT_EQ(s.at.page, TOP_TRANSFERS_PAGE);
	press(&s, m, "4");
	ASSERT_EQ(s.at.page, TOP_TASKS_PAGE);
	ASSERT(!s.is_over);
}

TEST(enter_looks_closer_and_escape_goes_back)
{
	_cleanup_(top_model_freep) struct top_model *m = small_model();
	struct top_state s;
	top_state_init(&s, 1000);
	press(&s, m, "\r");
	ASSERT_EQ(s.at.page, TOP_TASKS_PAGE);
	ASSERT_STR(s.at.run, "sweep");
	press(&s, m, "j\r");
	ASSERT_STR(s.at.task, "5");
	ASSERT(top_is_close(&s));
	press(&s, m, "\r");
	ASSERT_STR(s.at.task, "5");
	press(&s, m, "\033");
	ASSERT(!top_is_close(&s));
	ASSERT_EQ(s.at.row, 1);
	ASSERT_STR(s.at.run, "sweep");
	press(&s, m, "q");
	ASSERT_EQ(s.at.page, TOP_OVERVIEW);
	ASSERT(!s.is_over);
	press(&s, m, "q");
	ASSERT(s.is_over);
}

TEST(a_node_leads_to_its_tasks_and_an_item_to_who_has_it)
{
	_cleanup_(top_model_freep) struct top_model *m = small_model();
	struct top_state s;
	top_state_init(&s, 1000);
	press(&s, m, "3j\033[C");
	ASSERT_EQ(s.at.page, TOP_TASKS_PAGE);
	ASSERT_STR(s.at.node, "n2");
	press(&s, m, "5\r");
	ASSERT_STR(s.at.item, "temp:out");
	ASSERT_STR(s.at.node, "");
	/* Of an empty list nothing is looked at. */
	top_model_begin(m, TOP_ITEMS_LIST);
	press(&s, m, "5\rG\r");
	ASSERT(!top_is_close(&s));
}

TEST(what_is_looked_for_is_typed)
{
	_cleanup_(top_model_freep) struct top_model *m = small_model();
	struct top_state s;
	size_t rows[TOP_ROWS];
	top_state_init(&s, 1000);
	press(&s, m, "4/FULLx\177");
	ASSERT_STR(s.at.find, "FULL");
	ASSERT_EQ(top_rows(&s, m, rows), 1);
	ASSERT_EQ(rows[0], 1);
	ASSERT(s.is_typing);
	press(&s, m, "\r");
	ASSERT(!s.is_typing);
	ASSERT_EQ(top_rows(&s, m, rows), 1);
	press(&s, m, "\r");
	ASSERT_STR(s.at.task, "5");
	/* Back to what was found, then to all. */
	press(&s, m, "\033");
	ASSERT_STR(s.at.find, "FULL");
	press(&s, m, "\033");
	ASSERT_EQ(top_rows(&s, m, rows), 3);
	ASSERT_EQ(s.at.page, TOP_TASKS_PAGE);
	for (unsigned i = 0; i < 200; i++)
		press(&s, m, i ? "y" : "/");
	ASSERT_EQ(strlen(s.at.find), sizeof s.at.find - 1);
	press(&s, m, "\033");
	ASSERT_STR(s.at.find, "");
	press(&s, m, "/\303\251\177");
	ASSERT_STR(s.at.find, "");
}

TEST(rows_are_sorted_as_one_asks)
{
	_cleanup_(top_model_freep) struct top_model *m = small_model();
	struct top_state s;
	size_t rows[TOP_ROWS];
	top_state_init(&s, 1000);
	put_run(m, "sweep10", (struct counts){.failed = 3});
	put_run(m, "sweep9", (struct counts){.failed = 0});
	press(&s, m, "2");
	ASSERT_STR(top_sort_name(&s), "work");
	ASSERT_EQ(top_rows(&s, m, rows), 3);
	ASSERT_EQ(rows[1], 1);
	press(&s, m, "s");
	ASSERT_STR(top_sort_name(&s), "name");
	top_rows(&s, m, rows);
	ASSERT_STR(m->runs[rows[1]].name, "sweep9");
	press(&s, m, "s");
	top_rows(&s, m, rows);
	ASSERT_STR(m->runs[rows[0]].name, "sweep10");
	press(&s, m, "ss");
	ASSERT_STR(top_sort_name(&s), "work");
	/* The shortest list of orders goes around, too; the overview has none. */
	press(&s, m, "5sss");
	ASSERT_STR(top_sort_name(&s), "size");
	press(&s, m, "1s");
	ASSERT(!top_sort_name(&s));
}

TEST(the_chosen_row_is_followed_where_it_goes)
{
	_cleanup_(top_model_freep) struct top_model *m = small_model();
	struct top_state s;
	top_state_init(&s, 1000);
	press(&s, m, "4G");
	ASSERT_STR(s.at.chosen, "3");
	struct top_task first = m->tasks[0];
	m->tasks[0] = m->tasks[2];
	m->tasks[2] = first;
	top_state_follow(&s, m);
	ASSERT_EQ(s.at.row, 0);
	/* It is gone: what stands in its place is chosen. */
	press(&s, m, "G");
	m->n_tasks = 1;
	top_state_follow(&s, m);
	ASSERT_EQ(s.at.row, 0);
	ASSERT_STR(s.at.chosen, "3");
	m->n_tasks = 0;
	top_state_follow(&s, m);
	press(&s, m, "jk\033[6~\033[5~g\r");
	ASSERT_EQ(s.at.row, 0);
}

TEST(it_stands_still_and_looks_more_or_less_often)
{
	_cleanup_(top_model_freep) struct top_model *m = small_model();
	struct top_state s;
	top_state_init(&s, 1000);
	ASSERT_EQ(top_interval_msec(&s), 1000);
	press(&s, m, "p+");
	ASSERT(s.is_paused);
	ASSERT_EQ(top_interval_msec(&s), 2000);
	press(&s, m, "p----------");
	ASSERT(!s.is_paused);
	ASSERT_EQ(top_interval_msec(&s), 250);
	press(&s, m, "++++++++++++++++++++");
	ASSERT_EQ(top_interval_msec(&s), 60000);
	press(&s, m, "?");
	ASSERT(s.has_help);
	press(&s, m, "4");
	ASSERT(!s.has_help);
	ASSERT_EQ(s.at.page, TOP_OVERVIEW);
}

TEST(any_keys_at_all_do_no_harm)
{
	static const char keys[] =
		"123456789jkgG \r\n\t/sp+-?hq\033[A\033[B\033[C\033[D\033[Zabc\177\b\001\377\303\251xyz";
	_cleanup_(top_model_freep) struct top_model *m = small_model();
	struct top_state s;
	uint64_t seed = 7;
	top_state_init(&s, 1000);
	for (unsigned i = 0; i < 20000; i++) {
		char key[] = {keys[unit_random(&seed) % (sizeof keys - 1)], 0};
		if (unit_random(&seed) % 50 == 0)
			m->n_tasks = unit_random(&seed) % 4;
		press(&s, m, key);
		s.is_over = false;
		top_state_follow(&s, m);
		if (i % 50 == 0)
			free(screen_text(&s, m, 40, 12, false));
		ASSERT(s.n_back <= TOP_BACK);
	}
}

/* ---- two answers */

static struct top_model *answer(const struct top_model *before, uint64_t at_usec, const char *over,
				const char *is_settled, const char *unfinished)
{
	struct top_model *m = top_model_copy(before);
	top_model_begin(m, TOP_RUNS_LIST);
	PUT(top_on_cluster, m, "over", over, "is_settled", is_settled, "uptime_sec", "5");
	PUT(top_on_run, m, "run", "other", "unfinished", "1");
	PUT(top_on_run, m, "run", "sweep", "unfinished", unfinished);
	m->at_usec = m->runs_usec = at_usec;
	top_follow_cluster(m, before);
	top_follow_runs(m, before);
	return m;
}

TEST(rates_and_rests_follow_from_two_answers)
{
	_cleanup_(top_model_freep) struct top_model *none = top_model_new();
	_cleanup_(top_model_freep) struct top_model *a = answer(none, 1000000, "100", "1", "1000");
	ASSERT_EQ(a->n_rates, 0);
	_cleanup_(top_model_freep) struct top_model *b = answer(a, 3000000, "300", "1", "800");
	ASSERT_EQ(b->n_rates, 1);
	ASSERT_EQ(b->rates[0], 100);
	ASSERT_EQ(top_rest_sec(&b->runs[1]), 9);
	ASSERT_EQ(top_rest_sec(&b->runs[0]), 0);
	/* While tasks are on their way to the disk nobody knows how many have ended. */
	_cleanup_(top_model_freep) struct top_model *c = answer(b, 4000000, "9300", "0", "9800");
	ASSERT_EQ(c->n_rates, 1);
	ASSERT_EQ(c->runs[1].rate, b->runs[1].rate);
	_cleanup_(top_model_freep) struct top_model *d = answer(c, 5000000, "500", "1", "9000");
	ASSERT_EQ(d->n_rates, 1);
}

TEST(of_many_rates_the_newest_are_kept)
{
	struct top_model *m = top_model_new();
	char over[24];
	for (unsigned i = 1; i < 3 * TOP_HISTORY; i++) {
		snprintf(over, sizeof over, "%u", i * i);
		struct top_model *next = answer(m, i * 1000000, over, "1", "1");
		top_model_free(m);
		m = next;
	}
	ASSERT_EQ(m->n_rates, TOP_HISTORY);
	ASSERT_EQ(m->rates[TOP_HISTORY - 1], 2 * (3 * TOP_HISTORY - 1) - 1);
	top_model_free(m);
}

TEST(counts_of_a_run_are_kept_until_they_are_asked_again)
{
	_cleanup_(top_model_freep) struct top_model *a = top_model_new();
	put_run(a, "sweep", (struct counts){.waiting = 10, .done = 90});
	_cleanup_(top_model_freep) struct top_model *b = answer(a, 1000000, "1", "1", "5");
	ASSERT(b->runs[1].has_counts);
	ASSERT_EQ(top_run_tasks(&b->runs[1]), 100);
	/* What is not unfinished any more is over. */
	ASSERT_EQ(top_run_over(&b->runs[1]), 95);
	ASSERT_EQ(top_run_tasks(&b->runs[0]), 0);
}
