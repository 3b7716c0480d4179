// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/unit.h"
#include "tools/when.h"

#include <stdlib.h>
#include <time.h>

#define USEC INT64_C(1000000)
#define NOW (INT64_C(1795314395) * USEC) /* 2026-11-22T02:26:35Z */

static int64_t parse(const char *text)
{
	int64_t usec = -1;
	return when_parse(text, NOW, &usec) == 0 ? usec : -1;
}

TEST(times_are_read_as_people_write_them)
{
	static const struct {
		const char *text;
		int64_t sec;
	} cases[] = {
		{"10m", 1795314395 - 600},
		{"1h30m", 1795314395 - 5400},
		{"90", 1795314395 - 90},
		{"0", 1795314395},
		{"2026-11-22T02:00:00Z", 1795314395 - 1595},
		{"2026-11-22T03:00:00", 1795314395 - 1595},
		{"2026-11-22T03:00", 1795314395 - 1595},
		{"2026-11-22 03:00:00", 1795314395 - 1595},
		{"2026-11-22 03:00", 1795314395 - 1595},
		{"2026-11-22", 1795314395 - 1595 - 3 * 3600},
		{"03:00", 1795314395 - 1595},
		{"03:00:05", 1795314395 - 1590},
	};
	setenv("TZ", "XYZ-1", 1);
	tzset();
	for (size_t i = 0; i < countof(cases); i++)
		ASSERT_EQ(parse(cases[i].text), cases[i].sec * USEC);
}

TEST(what_is_no_time_is_refused)
{
	static const char *const wrong[] = {"",        "yesterday",         "25:00",     "2026-13-01",
					    "10m ago", "2026-11-22 03:00Z", "2026-02-30"};
	for (size_t i = 0; i < countof(wrong); i++)
		ASSERT_EQ(parse(wrong[i]), -1);
}

TEST(times_are_written_in_local_time_and_in_utc)
{
	char text[WHEN_TEXT];
	setenv("TZ", "XYZ-1", 1);
	tzset();
	ASSERT_STR(when_text(NOW + 7000, false, text), "2026-11-22 03:26:35.007");
	ASSERT_STR(when_text(NOW + 7999, true, text), "2026-11-22T02:26:35.007Z");
}
