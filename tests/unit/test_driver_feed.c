// SPDX-License-Identifier: Apache-2.0
// What happened, asked for by moments: told once each, page by page, and by whoever is vined now.
#include "tests/unit/driver_pair.h"

#include "vined/command_rows.h"
#include "vined/driver_internal.h"

// The last answer: how many rows are of each event, and where to go on.
static struct {
	int n, n_submitted, n_started, n_ended, n_others;
	char next[100], text[400], run[100];
} got;

static int ask_events(const char *selector)
{
	struct command m = {.driver = driver};
	struct rows t = {.command = &m, .most = 10000};
	int r = rows_list_events(&t, selector);
	memset(&got, 0, sizeof got);
	const char *cells[EVENT_N_COLUMNS], *at = (const char *)t.cells.at;
	ASSERT_EQ(t.n_cells, t.n_rows * EVENT_N_COLUMNS);
	ASSERT(!t.is_cut);
	for (uint32_t i = 0; i < t.n_rows && !r; i++) {
		for (size_t k = 0; k < EVENT_N_COLUMNS; k++) {
			cells[k] = at;
			at += strlen(at) + 1;
		}
		if (i + 1 == t.n_rows) {
			ASSERT_STR(cells[2], "");
			snprintf(got.next, sizeof got.next, "%s", cells[0]);
			break;
		}
		got.n++;
		int *n = streq(cells[2], "submitted") ? &got.n_submitted
			 : streq(cells[2], "started") ? &got.n_started
			 : streq(cells[2], "ended")   ? &got.n_ended
						      : &got.n_others;
		++*n;
		snprintf(got.text, sizeof got.text, "%s", cells[7]);
		snprintf(got.run, sizeof got.run, "%s", cells[4]);
	}
	buf_fini(&t.cells);
	return r;
}

static int ask_after(const char *moment, const char *subject)
{
	char text[300];
	snprintf(text, sizeof text, "after %s %s", moment, subject);
	return ask_events(text);
}

// All pages between two moments; returns how many there were.
static int ask_between(const char *low, const char *high, const char *subject, int *n)
{
	char text[400], next[100] = "-";
	int pages = 0;
	for (*n = 0; *next; pages++) {
		snprintf(text, sizeof text, "between %s %s 0 %s %s", low, high, next, subject);
		ASSERT_EQ(ask_events(text), 0);
		*n += got.n;
		memcpy(next, got.next, sizeof next);
	}
	return pages;
}

static void run_one(void)
{
	unsigned n = node.n_starts, n_results = client.n_results;
	ASSERT_EQ(SUBMIT(&client, TASK(.cores = 1)), 0);
	ASSERT(UNTIL(loop, node.n_starts == n + 1));
	ASSERT_EQ(ended_well(&node), 0);
	ASSERT(UNTIL(loop, client.n_results == n_results + 1));
}

static void now(char moment[100])
{
	settle_all();
	ASSERT_EQ(ask_events("now"), 0);
	ASSERT_EQ(got.n, 0);
	memcpy(moment, got.next, 100);
}

TEST(what_came_after_a_moment_is_told_once)
{
	char moment[100];
	begin();
	now(moment);
	run_one();
	settle_all();
	ASSERT_EQ(ask_after(moment, ""), 0);
	ASSERT_EQ(got.n_submitted, 1);
	ASSERT_EQ(got.n_started, 1);
	ASSERT_EQ(got.n_ended, 1);
	ASSERT_STR(got.text, "exit status 0");
	ASSERT_STR(got.run, "sweep");
	memcpy(moment, got.next, sizeof moment);
	ASSERT_EQ(ask_after(moment, ""), 0);
	ASSERT_EQ(got.n, 0);
	ASSERT_STR(got.next, moment);
	end();
}

TEST(a_moment_moves_on_over_what_others_do)
{
	char moment[100], text[32];
	begin();
	now(moment);
	run_one();
	const uint64_t first = client.result.task;
	run_one();
	settle_all();
	snprintf(text, sizeof text, "%llu", (unsigned long long)first);
	ASSERT_EQ(ask_after(moment, text), 0);
	ASSERT_EQ(got.n, 3);
	memcpy(moment, got.next, sizeof moment);
	ASSERT_EQ(ask_after(moment, "sweep"), 0);
	ASSERT_EQ(got.n, 0);
	ASSERT_EQ(ask_after(moment, "nothing"), -ENOENT);
	end();
}

TEST(another_vined_tells_from_its_tables_what_was_before_it)
{
	char before[100], moment[100];
	int n;
	begin();
	now(before);
	run_one();
	end();
	begin();
	ASSERT_EQ(ask_after(before, ""), -ESTALE);
	now(moment);
	ask_between(before, moment, "", &n);
	ASSERT_EQ(got.n_submitted, 1);
	ASSERT_EQ(got.n_started, 1);
	ASSERT_EQ(got.n_ended, 1);
	ask_between(moment, moment, "", &n);
	ASSERT_EQ(n, 0);
	run_one();
	ASSERT_EQ(ask_after(moment, ""), 0);
	ASSERT_EQ(got.n_ended, 1);
	end();
}

TEST(much_is_told_page_by_page_and_so_is_the_past)
{
	enum { MANY = 2500 };
	static struct wire_task tasks[MANY];
	char before[100], moment[100];
	int n = 0, pages = 0;
	begin();
	now(before);
	for (int i = 0; i < MANY; i++)
		tasks[i] = TASK(.cores = 1000);
	ASSERT_EQ(submit_all(&client, tasks, MANY), 0);
	now(moment);
	for (char at[100]; memcpy(at, pages ? got.next : before, sizeof at), ask_after(at, "") == 0 && got.n; pages++)
		n += got.n;
	ASSERT_EQ(n, MANY);
	ASSERT_EQ(pages, 3);
	ASSERT(ask_between(before, moment, "", &n) >= 3);
	ASSERT_EQ(n, MANY);
	end();
}

TEST(who_is_too_far_behind_is_told_so)
{
	char moment[100];
	begin();
	now(moment);
	for (uint64_t i = 1; i <= FEED_ROOM; i++)
		feed_ended(driver, &(struct store_result){.task = i, .id = (store_boot(store) << 40) + i, .how = 1});
	ASSERT_EQ(ask_after(moment, ""), 0);
	ASSERT_EQ(got.n, 1000);
	feed_ended(driver,
		   &(struct store_result){.task = 1, .id = (store_boot(store) << 40) + FEED_ROOM + 1, .how = 1});
	ASSERT_EQ(ask_after(moment, ""), -ESTALE);
	end();
}

TEST(the_latest_are_behind_a_moment_that_is_at_hand)
{
	char moment[100];
	begin();
	for (int i = 0; i < 5; i++)
		run_one();
	settle_all();
	ASSERT_EQ(ask_events("recent 3"), 0);
	ASSERT_EQ(got.n, 0);
	memcpy(moment, got.next, sizeof moment);
	ASSERT_EQ(ask_after(moment, ""), 0);
	ASSERT_EQ(got.n_started + got.n_ended, 3);
	ASSERT_EQ(got.n_submitted, 3);
	ASSERT_EQ(ask_events("recent 11"), 0);
	ASSERT_STR(got.next, "");
	end();
}

TEST(a_selector_that_is_none_is_refused)
{
	static const char *const wrong[] = {"",
					    "x",
					    "after",
					    "after 1.2.3",
					    "after 1.2.3.x",
					    "after 1.2.3.4.5",
					    "after -1.2.3.4",
					    "between 1.2.3.4",
					    "between 1.2.3.4 1.2.3.4 0 x",
					    "between 1.2.3.4 1.2.3.4 0 1.2x",
					    "between 1.2.3.4 1.2.3.4 0 ",
					    "after 99999999999999999999.2.3.4"};
	begin();
	for (size_t i = 0; i < countof(wrong); i++)
		ASSERT_EQ(ask_events(wrong[i]), -EINVAL);
	end();
}
