/* SPDX-License-Identifier: Apache-2.0
 * How tasks are named on the command line. */
#include "tests/unit/unit.h"
#include "tools/selector.h"

uint64_t tool_task(const char *word)
{
	char *end;
	uint64_t n = strtoull(word, &end, 10);
	return *word >= '0' && *word <= '9' && !*end ? n : 0;
}

int tool_fail(const struct conf_table *t, const char *fmt, ...)
{
	(void)t, (void)fmt;
	return EXIT_VINE_FAILED;
}

TEST(a_selector_is_a_task_a_run_or_some_of_a_run)
{
	static const struct {
		const char *text;
		enum selector_kind kind;
		const char *run, *word;
	} cases[] = {
		{"17", SELECTOR_TASK, "", ""},
		{"sweep", SELECTOR_RUN, "sweep", ""},
		{"sweep-2.b", SELECTOR_RUN, "sweep-2.b", ""},
		{"sweep/17", SELECTOR_WORD, "sweep", "17"},
		{"sweep/1-9", SELECTOR_WORD, "sweep", "1-9"},
		{"sweep/model.3", SELECTOR_WORD, "sweep", "model.3"},
		{"sweep@failed", SELECTOR_STATE, "sweep", "failed"},
		{"@running", SELECTOR_STATE, "", "running"},
		{"tag:x/y@z", SELECTOR_TAG, "", "x/y@z"},
		{"sweep@tag:x", SELECTOR_TAG, "sweep", "x"},
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct selector s;
		char why[SELECTOR_WHY];
		ASSERT_EQ(selector_parse(cases[i].text, &s, why), 0);
		ASSERT_EQ(s.kind, cases[i].kind);
		ASSERT_STR(s.run, cases[i].run);
		ASSERT_STR(s.word ?: "", cases[i].word);
		ASSERT_STR(s.text, cases[i].text);
	}
}

TEST(what_names_nothing_is_refused_with_the_forms_there_are)
{
	static const char *const cases[] = {
		"",       "/17",          "sweep/",
		"sweep@", "sweep@fialed", "17/3",
		"1-9",    "17@done",      "a-name-of-more-than-sixty-four-characters-which-no-run-can-have-at-all/3"};
	for (size_t i = 0; i < countof(cases); i++) {
		struct selector s;
		char why[SELECTOR_WHY];
		ASSERT_EQ(selector_parse(cases[i], &s, why), -EINVAL);
		ASSERT(strstr(why, "RUN@failed"));
	}
}
