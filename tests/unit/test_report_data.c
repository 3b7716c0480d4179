// SPDX-License-Identifier: Apache-2.0
// What is asked of a cluster for a report: every page once, columns by their names, of an older vined as well.
#include "libvineclient/vine.h"
#include "tests/unit/report_world.h"

static char asked[4000], said[400];
static int answer; // what is wrong with the tasks' second page
static int n_busy; // so often it is to be asked again

int tool_fail(const struct conf_table *t, const char *fmt, ...)
{
	(void)t;
	snprintf(said, sizeof said, "%s", fmt);
	return EXIT_VINE_FAILED;
}

const char *vine_error(void)
{
	return "it broke";
}

static int tasks(const char *page, vine_row_fn *fn, void *arg)
{
	static const char *const names[] = {"how", "task", "new", "state", "run", "wall_usec", "node", "next"};
	const char *const rows[][8] = {{"exited", "1", "x", "ended", "sweep", "5000", "n1", ""},
				       {"", "2", "x", "queued", "sweep", "0", "", ""},
				       {"killed", "3", "x", "ended", "sweep", "7000", "n1", ""},
				       {"", "", "", "", "", "", "", *page == '0' ? "17" : "a5"}};
	const char *const last[8] = {"exited", "4", "x", "delivered", "sweep", "9000", "n1", ""};
	if (*page == '1' && answer)
		return answer;
	if (*page == 'a' && n_busy-- > 0)
		return -EBUSY;
	if (*page == 'a')
		return fn(arg, 8, names, last), 1;
	for (size_t i = *page == '0' ? 0 : 3; i < 4; i++)
		fn(arg, 8, names, rows[i]);
	return 4;
}

int vine_query(struct vine *v, const char *what, const char *selector, vine_row_fn *fn, void *arg)
{
	static const char *const names[] = {"item", "tasks", "size", "next"};
	(void)v;
	size_t n = strlen(asked);
	snprintf(asked + n, sizeof asked - n, "%s %s; ", what, selector ?: "-");
	if (streq(what, "report-tasks"))
		return tasks(selector, fn, arg);
	if (!streq(what, "report-inputs"))
		return 0;
	fn(arg, 4, names, (const char *const[]){"file:/a", *selector == '0' ? "2" : "3", "10", ""});
	if (*selector == '0')
		fn(arg, 4, names, (const char *const[]){"", "", "", "a0"});
	return 2;
}

TEST(pages_are_asked_for_until_there_is_none)
{
	struct report r;
	report_init(&r, "sweep", NOW);
	*asked = 0;
	ASSERT_EQ(report_ask(NULL, NULL, &r), 0);
	ASSERT_STR(asked, "report-tasks 0 sweep; report-tasks 17 sweep; report-tasks a5 sweep; report-inputs 0 sweep; "
			  "report-inputs a0 sweep; cluster -; nodes -; waiting sweep; settings sweep; ");
	ASSERT_EQ(report_all(&r), 4);
	ASSERT_EQ(r.n[REPORT_DONE], 2);
	ASSERT_EQ(r.n[REPORT_FAILED], 1);
	ASSERT_EQ(r.wall_usec, 21000);
	ASSERT_EQ(report_n_inputs(&r), 1);
	ASSERT_EQ(REPORT_LIST(&r, input)[0].n_tasks, 5);
	ASSERT_EQ(REPORT_LIST(&r, input)[0].size, 10);
	report_fini(&r);
}

TEST(what_is_busy_is_asked_again)
{
	struct report r;
	report_init(&r, "sweep", NOW);
	n_busy = 2;
	ASSERT_EQ(report_ask(NULL, NULL, &r), 0);
	ASSERT_EQ(n_busy, -1);
	ASSERT_EQ(report_all(&r), 4);
	report_fini(&r);
}

TEST(what_goes_wrong_is_said)
{
	struct report r;
	for (int i = 0; i < 2; i++) {
		answer = i ? -EIO : -ENOENT;
		report_init(&r, "sweep", NOW);
		ASSERT_EQ(report_ask(NULL, NULL, &r), EXIT_VINE_FAILED);
		ASSERT_STR(said, i ? "%s" : "there is no run '%s'; 'vine status' lists them");
		report_fini(&r);
	}
	answer = 0;
}
