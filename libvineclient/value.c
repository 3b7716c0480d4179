/* SPDX-License-Identifier: Apache-2.0
 * Values that are more than a number or a word: amounts by name, lists, arrays, points in time. */
#include "common/conf.h"
#include "libvineclient/client.h"
#include "libvineclient/task.h"

#include <time.h>

#define NAME_MOST 64            /* of a resource, counter or feature */
#define ARRAY_MOST 100000000u   /* elements; each takes a bit or two here */
#define INDEX_MOST (1ull << 53) /* so that programs with floating point read an index right */

int value_check_word(const char *setting, const char *text, size_t most)
{
	size_t n = strlen(text);
	if (n > most)
		return error_set(EINVAL, "%s: %zu characters; at most %zu", setting, n, most);
	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 127)
			return error_set(EINVAL, "%s '%s': control characters cannot be used", setting, text);
	}
	return 0;
}

int value_check_name(const char *setting, const char *name, size_t n)
{
	if (!n || n > NAME_MOST)
		return error_set(EINVAL, "%s '%.*s': %zu characters; a name has 1 to %d", setting,
				 (int)min(n, (size_t)80), name, n, NAME_MOST);
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)name[i] <= ' ' || name[i] == 127 || strchr(",=", name[i]))
			return error_set(EINVAL,
					 "%s '%.*s': blanks, control characters, '=' and ',' cannot be in a name",
					 setting, (int)n, name);
	}
	return 0;
}

void amounts_fini(struct amounts *a)
{
	for (uint32_t i = 0; i < a->n; i++)
		free((char *)a->at[i].name);
	free(a->at);
	*a = (struct amounts){0};
}

void words_fini(struct words *w)
{
	for (uint32_t i = 0; i < w->n; i++)
		free(w->at[i]);
	free(w->at);
	*w = (struct words){0};
}

static void remove_amount(struct amounts *a, uint32_t i)
{
	free((char *)a->at[i].name);
	a->at[i] = a->at[--a->n];
}

int value_amount(struct amounts *a, const char *setting, const char *name, const char *text)
{
	uint64_t amount;
	int r = value_check_name(setting, name, strlen(name));
	if (r < 0)
		return r;
	if (conf_parse_size(text, &amount) < 0 || amount > INT64_MAX)
		return error_set(EINVAL, "%s.%s '%s': not an amount: give a number like 4, or a size like 10G", setting,
				 name, text);
	uint32_t i = 0;
	while (i < a->n && !streq(a->at[i].name, name))
		i++;
	if (i < a->n && !amount) {
		remove_amount(a, i);
	} else if (amount) {
		if (i == a->n) {
			a->at = xrealloc(a->at, (i + 1) * sizeof *a->at);
			a->at[a->n++].name = xstrdup(name);
		}
		a->at[i].amount = amount;
	}
	return 0;
}

static bool has_word(const struct words *w, const char *word, size_t n)
{
	for (uint32_t i = 0; i < w->n; i++) {
		if (strlen(w->at[i]) == n && memcmp(w->at[i], word, n) == 0)
			return true;
	}
	return false;
}

int value_features(struct words *features, const char *text)
{
	for (const char *p = text;; p++) {
		size_t n = strcspn(p, ",");
		int r = value_check_name("feature", p, n);
		if (r < 0)
			return r;
		p += n;
		if (!*p)
			break;
	}
	for (const char *p = text;; p++) {
		size_t n = strcspn(p, ",");
		if (!has_word(features, p, n)) {
			features->at = xrealloc(features->at, (features->n + 1) * sizeof *features->at);
			features->at[features->n++] = xstrndup(p, n);
		}
		p += n;
		if (!*p)
			return 0;
	}
}

/* Digits alone, at most `most`. Moves behind them. */
static bool read_number(const char **at, uint64_t most, uint64_t *value)
{
	const char *p = *at;
	*value = 0;
	for (; *p >= '0' && *p <= '9'; p++) {
		*value = *value * 10 + (uint64_t)(*p - '0');
		if (*value > most)
			return false;
	}
	bool is_any = p > *at;
	*at = p;
	return is_any;
}

/* With `mark` before it; `preset` if the mark is not there. */
static bool read_option(const char **at, char mark, uint64_t most, uint64_t preset, uint64_t *value)
{
	*value = preset;
	if (**at != mark)
		return true;
	++*at;
	return read_number(at, most, value) && *value;
}

int value_array(struct array *a, const char *text)
{
	const char *p = text;
	uint64_t first, last, step, running;
	bool is_good = read_number(&p, INDEX_MOST, &first);
	last = first;
	if (is_good && *p == '-') {
		p++;
		is_good = read_number(&p, INDEX_MOST, &last);
	}
	is_good = is_good && read_option(&p, ':', INDEX_MOST, 1, &step) &&
		  read_option(&p, '%', UINT32_MAX, 0, &running) && !*p;
	if (!is_good)
		return error_set(EINVAL, "array '%s': give FIRST-LAST[:STEP][%%N], as in 1-1000 or 0-998:2%%50", text);
	if (last < first)
		return error_set(EINVAL, "array '%s': the last index is below the first", text);
	uint64_t n = (last - first) / step + 1;
	if (n > ARRAY_MOST)
		return error_set(ERANGE, "array '%s': %llu elements; at most %u", text, (unsigned long long)n,
				 ARRAY_MOST);
	*a = (struct array){first, step, n, (uint32_t)running};
	return 0;
}

/* So many digits, from least to most. */
static bool read_part(const char **at, int n_digits, int least, int most, int *value)
{
	*value = 0;
	for (int i = 0; i < n_digits; i++, ++*at) {
		if (**at < '0' || **at > '9')
			return false;
		*value = *value * 10 + **at - '0';
	}
	return *value >= least && *value <= most;
}

static bool skip(const char **at, const char *any_of)
{
	if (!**at || !strchr(any_of, **at))
		return false;
	++*at;
	return true;
}

/* ".123": microseconds; what is finer is dropped. */
static bool read_fraction(const char **at, uint64_t *usec)
{
	uint64_t worth = 100000;
	const char *first = *at;
	for (; **at >= '0' && **at <= '9'; ++*at, worth /= 10)
		*usec += (uint64_t)(**at - '0') * worth;
	return *at > first;
}

/* "Z" or "+01:00": seconds to take off. */
static bool read_zone(const char **at, int *offset)
{
	int hours, minutes, sign = **at == '-' ? -1 : 1;
	*offset = 0;
	if (skip(at, "Zz"))
		return true;
	if (!skip(at, "+-") || !read_part(at, 2, 0, 23, &hours) || !skip(at, ":") || !read_part(at, 2, 0, 59, &minutes))
		return false;
	*offset = sign * (hours * 3600 + minutes * 60);
	return true;
}

/* RFC 3339, "2026-11-21T17:00:00Z". */
static bool read_date(const char *p, uint64_t *usec)
{
	struct tm tm = {0};
	int offset;
	uint64_t fraction = 0;
	bool is_good = read_part(&p, 4, 1970, 9999, &tm.tm_year) && skip(&p, "-") &&
		       read_part(&p, 2, 1, 12, &tm.tm_mon) && skip(&p, "-") && read_part(&p, 2, 1, 31, &tm.tm_mday) &&
		       skip(&p, "Tt ") && read_part(&p, 2, 0, 23, &tm.tm_hour) && skip(&p, ":") &&
		       read_part(&p, 2, 0, 59, &tm.tm_min) && skip(&p, ":") && read_part(&p, 2, 0, 60, &tm.tm_sec) &&
		       (!skip(&p, ".") || read_fraction(&p, &fraction)) && read_zone(&p, &offset) && !*p;
	if (!is_good)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	int day = tm.tm_mday;
	bool is_leap = tm.tm_sec == 60;
	time_t at = timegm(&tm) - offset;
	/* timegm makes of the 31st of June the 1st of July; only a leap second may lead into the next day. */
	if (at < 0 || (tm.tm_mday != day && !is_leap))
		return false;
	*usec = (uint64_t)at * 1000000 + fraction;
	return true;
}

int value_deadline(struct deadline *d, const char *text)
{
	uint64_t usec;
	bool is_relative = *text == '+';
	if (!*text) {
		*d = (struct deadline){0};
		return 0;
	}
	if (is_relative ? conf_parse_time(text + 1, &usec) < 0 || !usec : !read_date(text, &usec))
		return error_set(EINVAL,
				 "deadline '%s': give a time with its zone, as in 2026-11-21T17:00:00Z or "
				 "2026-11-21T18:00:00+01:00, or +DURATION, as in +90m",
				 text);
	*d = (struct deadline){is_relative, usec};
	return 0;
}
