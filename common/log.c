/* SPDX-License-Identifier: Apache-2.0 */
#include "common/log_journal.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE 4096 /* of the escaped line: PIPE_BUF, so that a pipe takes it whole */
#define UNIT_SIZE 5    /* the longest thing that stands for one character: "\xNN" */

const char *const log_level_words[] = {"error", "warn", "info", "debug", NULL};

static const char *const level_names[] = {"ERROR", "WARN ", "INFO ", "DEBUG"};

static struct {
	const char *program;
	enum log_level level;
	int fd;
	bool plain;
} sink = {.program = "vine", .level = LOG_LEVEL_INFO, .fd = STDERR_FILENO};

void log_init(const char *program, enum log_level level, int fd, bool plain)
{
	assert(program);
	assert(level <= LOG_LEVEL_DEBUG);
	sink.program = program;
	sink.level = level;
	sink.fd = fd;
	sink.plain = plain;
}

bool log_is_on(enum log_level level)
{
	return level <= sink.level;
}

/* What a terminal may obey, or show as other than it is: C1 controls, bidirectional marks and overrides, line
 * and paragraph separators, the byte order mark, surrogates, noncharacters. */
static bool is_treacherous(uint32_t c)
{
	return (c >= 0x80 && c < 0xa0) || c == 0xad || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
	       (c >= 0xd800 && c < 0xe000) || (c & 0xfffe) == 0xfffe || (c >= 0xfff0 && c <= 0xfffb) ||
	       (c >= 0xe0000 && c <= 0xe007f);
}

/* Bytes of the UTF-8 sequence that begins at p and is safe to show; 0 if there is none. */
static size_t utf8_length(const uint8_t *p, size_t n)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length = p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
	if (!length || p[0] >= 0xf5 || length > n)
		return 0;
	uint32_t c = p[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3fu);
	}
	return c < least[length] || c > 0x10ffff || is_treacherous(c) ? 0 : length;
}

static bool is_plain(uint8_t c)
{
	return c >= 0x20 && c < 0x7f && c != '\\';
}

/* Writes what stands for the character at p into `unit`; returns the bytes of p it stands for. */
static size_t escape_one(const uint8_t *p, size_t n, char unit[UNIT_SIZE])
{
	assert(n > 0);
	size_t took = 1;
	if (*p == '\n' || *p == '\t' || *p == '\r' || *p == '\\') {
		snprintf(unit, UNIT_SIZE, "\\%c", *p == '\n' ? 'n' : *p == '\t' ? 't' : *p == '\r' ? 'r' : '\\');
	} else if (is_plain(*p)) {
		unit[0] = (char)*p;
		unit[1] = 0;
	} else if (*p >= 0x80 && (took = utf8_length(p, n))) {
		memcpy(unit, p, took);
		unit[took] = 0;
	} else {
		snprintf(unit, UNIT_SIZE, "\\x%02x", *p);
		took = 1;
	}
	return took;
}

char *log_escape(const char *text, size_t n, char *to, size_t room)
{
	assert(room > 0);
	const uint8_t *p = (const uint8_t *)text;
	size_t at = 0;
	size_t dots_at = 0; /* the last place where "..." still fits */
	char unit[UNIT_SIZE];
	for (size_t i = 0; i < n;) {
		if (at + 4 <= room) {
			dots_at = at;
			if (is_plain(p[i])) {
				to[at++] = (char)p[i++];
				continue;
			}
		}
		i += escape_one(p + i, n - i, unit);
		size_t length = strlen(unit);
		if (at + length >= room) {
			at = dots_at;
			for (int dots = 0; dots < 3 && at + 1 < room; dots++)
				to[at++] = '.';
			break;
		}
		memcpy(to + at, unit, length);
		at += length;
	}
	assert(at < room);
	to[at] = 0;
	return to;
}

/* Time in UTC, formatted by hand: localtime() takes a lock and reads files, a line must do neither. */
static size_t put_prefix(char line[LINE_SIZE], enum log_level level)
{
	int n;
	if (sink.plain) {
		n = snprintf(line, LINE_SIZE, "%s: ", sink.program);
	} else {
		struct timespec now;
		struct tm tm;
		clock_gettime(CLOCK_REALTIME, &now);
		gmtime_r(&now.tv_sec, &tm);
		n = snprintf(line, LINE_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s %s[%d]: ", tm.tm_year + 1900,
			     tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, now.tv_nsec / 1000000,
			     level_names[level], sink.program, (int)getpid());
	}
	assert(n > 0 && n < LINE_SIZE / 2);
	return (size_t)n;
}

/* `cause` is NULL or what is added after ": ". */
static void _printf_(3, 0) put_line(enum log_level level, const char *cause, const char *fmt, va_list args)
{
	char raw[LINE_SIZE], line[LINE_SIZE];
	int n = vsnprintf(raw, sizeof raw, fmt, args);
	if (n < 0)
		n = snprintf(raw, sizeof raw, "(a line that cannot be formatted: %s)", fmt);
	size_t length = min((size_t)n, sizeof raw - 1);
	if (cause && length < sizeof raw - 1) {
		n = snprintf(raw + length, sizeof raw - length, ": %s", cause);
		length = min(length + (size_t)n, sizeof raw - 1);
	}
	if (log_journal_put(level, sink.program, raw, length))
		return;
	size_t at = put_prefix(line, level);
	log_escape(raw, length, line + at, sizeof line - at - 1);
	at = strlen(line);
	line[at++] = '\n';
	assert(at < sizeof line);
	/* One write: O_APPEND files and pipes keep it whole. There is nowhere to report that it failed. */
	ssize_t r;
	do
		r = write(sink.fd, line, at);
	while (r < 0 && errno == EINTR);
}

void log_at(enum log_level level, const char *fmt, ...)
{
	if (!log_is_on(level))
		return;
	int saved = errno;
	va_list args;
	va_start(args, fmt);
	put_line(level, NULL, fmt, args);
	va_end(args);
	errno = saved;
}

/* Threads may meet in one limit: counters are atomic, and an occasional line too many at the turn of a second is
 * cheaper than a lock. */
void log_limited(struct log_limit *limit, unsigned per_sec, enum log_level level, const char *fmt, ...)
{
	if (!log_is_on(level))
		return;
	int saved = errno;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	uint64_t second = (uint64_t)now.tv_sec + 1; /* never 0, which is a fresh limit's */
	unsigned swallowed = 0;
	if (__atomic_exchange_n(&limit->second, second, __ATOMIC_RELAXED) != second) {
		__atomic_store_n(&limit->n, 0, __ATOMIC_RELAXED);
		swallowed = __atomic_exchange_n(&limit->swallowed, 0, __ATOMIC_RELAXED);
	}
	if (__atomic_fetch_add(&limit->n, 1, __ATOMIC_RELAXED) >= per_sec) {
		__atomic_fetch_add(&limit->swallowed, swallowed + 1, __ATOMIC_RELAXED);
	} else {
		char cause[64];
		snprintf(cause, sizeof cause, "%u more like this were not logged", swallowed);
		va_list args;
		va_start(args, fmt);
		put_line(level, swallowed ? cause : NULL, fmt, args);
		va_end(args);
	}
	errno = saved;
}

int log_errno(int e, const char *fmt, ...)
{
	assert(e >= 0);
	char room[128];
	va_list args;
	va_start(args, fmt);
	put_line(LOG_LEVEL_ERROR, strerror_r(e, room, sizeof room), fmt, args);
	va_end(args);
	errno = e;
	return -e;
}
