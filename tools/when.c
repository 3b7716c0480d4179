/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/when.h"

#include "common/conf.h"

#include <stdio.h>
#include <time.h>

#define USEC 1000000

static const struct form {
	const char *text;
	bool is_utc, is_today;
} forms[] = {
	{"%Y-%m-%dT%H:%M:%SZ", true, false}, {"%Y-%m-%dT%H:%M:%S", false, false},
	{"%Y-%m-%dT%H:%M", false, false},    {"%Y-%m-%d %H:%M:%S", false, false},
	{"%Y-%m-%d %H:%M", false, false},    {"%Y-%m-%d", false, false},
	{"%H:%M:%S", false, true},           {"%H:%M", false, true},
};

static bool parse_form(const struct form *f, const char *text, time_t now, int64_t *usec)
{
	struct tm tm = {0};
	if (f->is_today)
		localtime_r(&now, &tm);
	tm.tm_sec = 0;
	const char *end = strptime(text, f->text, &tm);
	if (!end || *end)
		return false;
	/* Whether the clocks were put forward then is for the library to find out. */
	tm.tm_isdst = -1;
	struct tm noon = {.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = tm.tm_mday, .tm_hour = 12};
	const int day = tm.tm_mday;
	timegm(&noon);
	*usec = (int64_t)(f->is_utc ? timegm(&tm) : mktime(&tm)) * USEC;
	return noon.tm_mday == day; /* else the month has not so many */
}

int when_parse(const char *text, int64_t now_usec, int64_t *usec)
{
	uint64_t age;
	if (conf_parse_time(text, &age) == 0) {
		*usec = age < (uint64_t)now_usec ? now_usec - (int64_t)age : 0;
		return 0;
	}
	for (size_t i = 0; i < countof(forms); i++) {
		if (parse_form(&forms[i], text, (time_t)(now_usec / USEC), usec))
			return 0;
	}
	return -EINVAL;
}

const char *when_text(int64_t usec, bool is_utc, char to[WHEN_TEXT])
{
	time_t sec = (time_t)(usec / USEC);
	struct tm tm;
	is_utc ? gmtime_r(&sec, &tm) : localtime_r(&sec, &tm);
	size_t n = strftime(to, WHEN_TEXT, is_utc ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(to + n, WHEN_TEXT - n, ".%03d%s", (int)(usec % USEC / 1000), is_utc ? "Z" : "");
	return to;
}
