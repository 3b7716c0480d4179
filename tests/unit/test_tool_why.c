/* SPDX-License-Identifier: Apache-2.0
 * The sentences about a task, from vined's row alone; test_tool_cause has what its words mean. */
#include "libvineclient/vine.h"
#include "tests/unit/unit.h"
#include "tools/why_task.h"

uint64_t tool_task(const char *word)
{
	return strtoull(word, NULL, 10);
}

int tool_fail(const struct conf_table *t, const char *fmt, ...)
{
	(void)t, (void)fmt;
	return EXIT_VINE_FAILED;
}

static void expect_sentence(const char *const values[], const char *wanted)
{
	static const char *const names[] = {"task",   "run",    "name",     "state",    "node",      "attempts", "how",
					    "status", "reason", "exceeded", "err_size", "wall_usec", "started"};
	struct table rows = {0};
	_cleanup_(buf_fini) struct buf text = {0};
	table_add(&rows, countof(names), names, values);
	why_task(NULL, &rows, 0, &text);
	ASSERT_STR(buf_text(&text), wanted);
	table_fini(&rows);
}

TEST(a_task_is_explained_in_one_sentence)
{
	const char *const waits[] = {"17", "sweep", "3", "queued", "", "0", "", "0", "no node is there",
				     "",   "0",     "0", ""};
	expect_sentence(waits, "task 17 (sweep/3) waits: no node is there\n");
	const char *const runs[] = {"17", "sweep", "", "running", "n1", "2", "", "0", "", "", "0", "0", "2026"};
	expect_sentence(runs, "task 17 runs on node n1 since 2026, attempt 2\n");
	const char *const well[] = {"17", "sweep", "", "delivered", "n1",      "1", "exited",
				    "0",  "",      "", "0",         "2000000", ""};
	expect_sentence(well, "task 17 ended well on node n1 after 2 s\n");
	const char *const over[] = {"17", "sweep", "",       "ended", "n1",      "1", "killed",
				    "9",  "limit", "memory", "0",     "2000000", ""};
	expect_sentence(over, "task 17 failed: killed by signal 9 (SIGKILL): limit; on node n1, after 2 s\n"
			      "  next: say how much it needs: --mem 4G\n"
			      "  next: vine logs 17, vine shell 17\n");
	const char *const never[] = {"17", "sweep", "", "ended", "", "0", "cancelled", "0", "", "", "0", "0", ""};
	expect_sentence(never, "task 17 was cancelled\n");
}
