/* SPDX-License-Identifier: Apache-2.0
 * systemd's journal, by its own protocol: a datagram of fields for each line. What it does not take goes where it went before. */
#ifndef COMMON_LOG_JOURNAL_H
#define COMMON_LOG_JOURNAL_H

#include "common/log.h"

#define LOG_JOURNAL_SOCKET "/run/systemd/journal/socket"

/* What a setting `log` may say: "journal", "journal:SOCKET", "stderr", or a FILE, which comes back absolute; yours to free. */
char *log_where(const char *text);
bool log_where_is_file(const char *where);

/* After log_init(), before threads exist: lines go to the journal from now on, if that is what was said; with "" if systemd has connected standard
 * error to it. Where it cannot be, that is logged where lines went before. */
void log_use(const char *where);

/* systemd's rule: JOURNAL_STREAM, "DEVICE:INODE", is this descriptor. */
bool log_is_journal(const char *journal_stream, int fd);

/* ---- for log.c: false if the journal does not take it, or there is none. Never waits. */
bool log_journal_put(enum log_level level, const char *program, const char *text, size_t n);

#endif
