/* SPDX-License-Identifier: Apache-2.0
 *
 * The read_x() take a whole text and return NULL, or why it is none of theirs; only conf_value_set() makes of that a
 * sentence with its cure. No floating point: 1.1G is the same number of bytes on every machine. */
#include "common/conf_value.h"
#include "common/path.h"

#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#define FRACTION_DIGITS 9

/* Those that are printed come first, the largest before the others; below, what people write as well. */
struct unit {
	const char *name;
	uint64_t worth;
};

static const struct unit sizes[] = {
	{"P", 1ull << 50},
	{"T", 1ull << 40},
	{"G", 1ull << 30},
	{"M", 1ull << 20},
	{"K", 1ull << 10},
	{"", 1},
	{"B", 1},
	{"KiB", 1ull << 10},
	{"MiB", 1ull << 20},
	{"GiB", 1ull << 30},
	{"TiB", 1ull << 40},
	{"PiB", 1ull << 50},
	{"KB", 1000ull},
	{"MB", 1000000ull},
	{"GB", 1000000000ull},
	{"TB", 1000000000000ull},
	{"PB", 1000000000000000ull},
	{NULL, 0},
};

static const struct unit times[] = {
	{"d", 86400000000ull}, {"h", 3600000000ull}, {"m", 60000000ull}, {"s", 1000000ull},
	{"ms", 1000ull},       {"us", 1ull},         {NULL, 0},
};

static const struct unit *find_unit(const struct unit *units, const char *name, size_t n)
{
	for (; units->name; units++)
		if (strlen(units->name) == n && !strncasecmp(units->name, name, n))
			return units;
	return NULL;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char not_a_number[] = "not a number";
static const char too_large[] = "too large a number";

/* Reads "1.5G" at *at and moves behind it; `bare` is what a number without unit is worth. Returns NULL or why not. */
static const char *read_term(const char **at, const struct unit *units, uint64_t bare, uint64_t *value)
{
	const char *p = *at;
	uint64_t whole = 0, fraction = 0, scale = 1;
	if (!is_digit(*p))
		return not_a_number;
	for (; is_digit(*p); p++)
		if (mul_overflows(whole, 10, &whole) || add_overflows(whole, (uint64_t)(*p - '0'), &whole))
			return too_large;
	if (*p == '.') {
		const char *first = ++p;
		for (; is_digit(*p); p++, scale *= 10) {
			if (p - first == FRACTION_DIGITS)
				return "too many digits after the point";
			fraction = fraction * 10 + (uint64_t)(*p - '0');
		}
		if (p == first)
			return not_a_number;
	}
	while (*p == ' ')
		p++;
	size_t n = 0;
	while ((p[n] | 0x20) >= 'a' && (p[n] | 0x20) <= 'z')
		n++;
	const struct unit *unit = n ? find_unit(units, p, n) : NULL;
	if (n && !unit)
		return "unknown unit";
	uint64_t worth = unit ? unit->worth : bare;
	/* A unit's worth is below 2^50 and scale at most 10^9: only 128 bits hold the product. */
	uint64_t part = (uint64_t)((__uint128_t)fraction * worth / scale);
	if (scale > 1 && worth == 1 && fraction)
		return "less than a whole unit";
	if (mul_overflows(whole, worth, &whole) || add_overflows(whole, part, value))
		return too_large;
	*at = p + n;
	return NULL;
}

static const char *read_size(const char *text, uint64_t *size)
{
	const char *why = read_term(&text, sizes, 1, size);
	return why || !*text ? why : not_a_number;
}

/* "1h30m" is a sum; a number without unit stands alone. */
static const char *read_time(const char *text, uint64_t *usec)
{
	uint64_t sum = 0, term;
	for (const char *first = text;;) {
		const char *start = text;
		const char *why = read_term(&text, times, 1000000, &term);
		if (why)
			return why;
		if (add_overflows(sum, term, &sum))
			return too_large;
		bool has_unit = !is_digit(text[-1]) && text[-1] != ' ';
		if (!has_unit && (start != first || *text))
			return not_a_number;
		if (!*text)
			break;
	}
	*usec = sum;
	return NULL;
}

static const char *read_int(const char *text, int64_t *value)
{
	bool is_negative = *text == '-';
	const char *p = text + is_negative;
	/* No strtoll: it would take blanks, a plus and, of "", nothing at all. */
	if (!is_digit(*p))
		return not_a_number;
	int64_t sum = 0;
	for (; is_digit(*p); p++)
		if (__builtin_mul_overflow(sum, 10, &sum) ||
		    __builtin_sub_overflow(sum, *p - '0', &sum)) /* downwards: INT64_MIN has no positive */
			return too_large;
	if (*p)
		return "not a plain number";
	if (!is_negative && sum == INT64_MIN)
		return too_large;
	*value = is_negative ? sum : -sum;
	return NULL;
}

int conf_parse_size(const char *text, uint64_t *size)
{
	uint64_t value;
	if (read_size(text, &value))
		return -EINVAL;
	*size = value;
	return 0;
}

int conf_parse_time(const char *text, uint64_t *usec)
{
	uint64_t value;
	if (read_time(text, &value))
		return -EINVAL;
	*usec = value;
	return 0;
}

static const char *read_bool(const char *text, bool *value)
{
	static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
	for (size_t i = 0; i < countof(words); i++) {
		if (!strcasecmp(text, words[i])) {
			*value = i % 2;
			return NULL;
		}
	}
	return "neither yes nor no";
}

static const char *read_word(const char *text, const char *const *words, int *value)
{
	assert(words);
	for (int i = 0; words[i]; i++) {
		if (streq(text, words[i])) {
			*value = i;
			return NULL;
		}
	}
	return "none of the words";
}

void conf_value_range(const struct conf_setting *s, struct buf *to)
{
	if (s->type == CONF_TYPE_WORD) {
		buf_puts(to, "one of ");
		for (size_t i = 0; s->words[i]; i++)
			buf_printf(to, "%s%s", i ? ", " : "", s->words[i]);
	} else if (s->least && !s->most && s->type != CONF_TYPE_INT && *s->least == '0') {
		return; /* no size and no time is below it */
	} else if (s->least && s->most) {
		buf_printf(to, "%s to %s", s->least, s->most);
	} else if (s->least) {
		buf_printf(to, "%s or more", s->least);
	} else if (s->most) {
		buf_printf(to, "%s or less", s->most);
	}
}

/* The cure that goes with a reason: what this type takes. */
static const char *notation(enum conf_type type)
{
	switch (type) {
	case CONF_TYPE_SIZE:
		return "a size like 10, 4K, 1.5G or 2GB";
	case CONF_TYPE_TIME:
		return "a time like 250ms, 10s, 5m, 1h30m or 2d";
	case CONF_TYPE_INT:
		return "a plain number like 10";
	case CONF_TYPE_BOOL:
		return "yes or no";
	default:
		return NULL;
	}
}

static int refuse(const struct conf_setting *s, const char *reason, struct conf_reason *why)
{
	assert(reason);
	struct buf range _cleanup_(buf_fini) = {0};
	conf_value_range(s, &range);
	const char *takes = notation(s->type);
	snprintf(why->text, sizeof why->text, "%s: give %s%s%s", reason, takes ? takes : "",
		 takes && range.n ? ", " : "", buf_text(&range));
	return -EINVAL;
}

/* Bounds are written as a user would write them: the table's own text is what an error shows. */
static const char *check_unsigned(const struct conf_setting *s, uint64_t value)
{
	uint64_t bound;
	const char *(*read_it)(const char *, uint64_t *) = s->type == CONF_TYPE_SIZE ? read_size : read_time;
	if (s->least) {
		const char *bad = read_it(s->least, &bound);
		assert(!bad);
		if (!bad && value < bound)
			return "too small";
	}
	if (s->most) {
		const char *bad = read_it(s->most, &bound);
		assert(!bad);
		if (!bad && value > bound)
			return "too large";
	}
	return NULL;
}

static const char *check_int(const struct conf_setting *s, int64_t value)
{
	int64_t bound;
	if (s->least && !read_int(s->least, &bound) && value < bound)
		return "too small";
	if (s->most && !read_int(s->most, &bound) && value > bound)
		return "too large";
	return NULL;
}

/* "~" and "~/x" of whoever runs this. Settings are read before threads exist: getpwuid is safe. */
static char *home_of_user(void)
{
	const char *home = getenv("HOME");
	if (!home || !*home) {
		struct passwd *user = getpwuid(getuid());
		home = user ? user->pw_dir : NULL;
	}
	return home ? xstrdup(home) : NULL;
}

/* Absolute, since a daemon may go on in another directory; "" stays what it is. */
static char *resolve_path(const char *path)
{
	/* As everywhere: standard input or output. */
	if (streq(path, "-"))
		return xstrdup(path);
	bool is_home = path[0] == '~' && (!path[1] || path[1] == '/');
	_free_ char *from = is_home ? home_of_user() : *path && *path != '/' ? getcwd(NULL, 0) : NULL;
	if (!from)
		return xstrdup(path);
	return is_home ? xasprintf("%s%s", from, path + 1) : path_join(from, path);
}

static void *field_of(const struct conf_setting *s, void *into)
{
	return (char *)into + s->offset;
}

static void replace(char **field, char *text)
{
	free(*field);
	*field = text;
}

static void add(struct conf_many *many, const char *value)
{
	many->at = xrealloc(many->at, (many->n + 1) * sizeof *many->at);
	many->at[many->n++] = xstrdup(value);
}

static const char *set_number(const struct conf_setting *s, void *field, const char *value)
{
	uint64_t number = 0;
	int64_t plain = 0;
	const char *bad;
	if (s->type == CONF_TYPE_INT) {
		bad = read_int(value, &plain);
		if (!bad)
			bad = check_int(s, plain);
		if (!bad)
			*(int64_t *)field = plain;
	} else {
		bad = s->type == CONF_TYPE_SIZE ? read_size(value, &number) : read_time(value, &number);
		if (!bad)
			bad = check_unsigned(s, number);
		if (!bad)
			*(uint64_t *)field = number;
	}
	return bad;
}

int conf_value_set(const struct conf_setting *s, void *into, const char *value, struct conf_reason *why)
{
	void *field = field_of(s, into);
	const char *bad = NULL;
	switch (s->type) {
	case CONF_TYPE_TEXT:
		replace(field, xstrdup(value));
		break;
	case CONF_TYPE_PATH:
		replace(field, resolve_path(value));
		break;
	case CONF_TYPE_MANY:
		add(field, value);
		break;
	case CONF_TYPE_BOOL:
		bad = read_bool(value, field);
		break;
	case CONF_TYPE_WORD:
		bad = read_word(value, s->words, field);
		break;
	default:
		bad = set_number(s, field, value);
	}
	return !bad ? 0 : refuse(s, *value ? bad : "the value is missing", why);
}

void conf_value_fini(const struct conf_setting *s, void *into)
{
	void *field = field_of(s, into);
	if (s->type == CONF_TYPE_TEXT || s->type == CONF_TYPE_PATH) {
		replace(field, NULL);
	} else if (s->type == CONF_TYPE_MANY) {
		struct conf_many *many = field;
		for (size_t i = 0; i < many->n; i++)
			free(many->at[i]);
		free(many->at);
		*many = (struct conf_many){0};
	}
}

/* In the largest unit that divides it, so that reading it again gives the same number. */
static void put_units(const struct unit *units, uint64_t value, struct buf *to)
{
	while (value % units->worth)
		units++;
	assert(units->name);
	buf_printf(to, "%" PRIu64 "%s", value / units->worth, value ? units->name : "");
}

void conf_value_text(const struct conf_setting *s, const void *into, size_t i, struct buf *to)
{
	const void *field = (const char *)into + s->offset;
	const char *text;
	switch (s->type) {
	case CONF_TYPE_TEXT:
	case CONF_TYPE_PATH:
		text = *(char *const *)field;
		buf_puts(to, text ? text : "");
		break;
	case CONF_TYPE_BOOL:
		buf_puts(to, *(const bool *)field ? "yes" : "no");
		break;
	case CONF_TYPE_INT:
		buf_printf(to, "%" PRId64, *(const int64_t *)field);
		break;
	case CONF_TYPE_SIZE:
		put_units(sizes, *(const uint64_t *)field, to);
		break;
	case CONF_TYPE_TIME:
		put_units(times, *(const uint64_t *)field, to);
		break;
	case CONF_TYPE_WORD:
		buf_puts(to, s->words[*(const int *)field]);
		break;
	case CONF_TYPE_MANY:
		assert(i < ((const struct conf_many *)field)->n);
		buf_puts(to, ((const struct conf_many *)field)->at[i]);
		break;
	}
}
