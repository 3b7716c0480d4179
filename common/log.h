/* SPDX-License-Identifier: Apache-2.0
 * One line an event: time, level, program, text, with control characters and invalid UTF-8 escaped, so
 * that nothing from outside can forge a line or reach a terminal. Any thread may log; a line is one write(2),
 * so lines of threads and processes never mix. Functions below the one that can name the object return -errno
 * and do not log. */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/base.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* "error", "warn", "info", "debug", NULL: the words of a CONF_WORD whose index is the level. */
extern const char *const log_level_words[];

/* Where and how much; `program` is borrowed for ever. Without it: stderr, INFO. `plain` leaves time and level
 * out ("vined: text"), for what a person reads at a terminal. Call it before threads exist. */
void log_init(const char *program, enum log_level level, int fd, bool plain);

bool log_is_on(enum log_level level);

/* At most `per_sec` lines a second of one call site's `*limit` (zeroed, shared by threads); what was swallowed is
 * counted and said with the first line of a later second. */
struct log_limit {
	uint64_t second;
	unsigned n, swallowed;
};

/* A line is cut at 4 KiB. errno is kept. */
void log_at(enum log_level level, const char *fmt, ...) _printf_(2, 3);
void log_limited(struct log_limit *limit, unsigned per_sec, enum log_level level, const char *fmt, ...) _printf_(4, 5);

#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                        \
	do {                                                  \
		if (log_is_on(LOG_LEVEL_DEBUG))               \
			log_at(LOG_LEVEL_DEBUG, __VA_ARGS__); \
	} while (0)

/* Logs "TEXT: strerror(e)" at ERROR and returns -e: `return log_errno(-r, "open %s", path)`. */
int log_errno(int e, const char *fmt, ...) _printf_(2, 3);

/* Writes text with \n, \t, \\, \xNN for what is not printable UTF-8 into `to` (always NUL-terminated, cut with
 * "..." if it does not fit) and returns `to`. C1 controls and bidirectional overrides count as not printable. */
char *log_escape(const char *text, size_t n, char *to, size_t room);

#endif
