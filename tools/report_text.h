/* SPDX-License-Identifier: Apache-2.0
 * Text of a page: everything that comes from outside goes through html_text(). */
#ifndef TOOLS_REPORT_TEXT_H
#define TOOLS_REPORT_TEXT_H

#include "tools/report.h"

/* Escaped for content and for quoted attributes. What is no UTF-8, a control character or turns the direction of writing becomes U+FFFD. */
void html_text(struct buf *b, const char *text);
/* The same, at most `most` characters, then "…". */
void html_short(struct buf *b, const char *text, size_t most);

#define TEXT_SIZE 40
/* "12,345" */
const char *text_count(uint64_t n, char to[TEXT_SIZE]);
/* "2.35 s", "3 min 12 s", "17 h 5 min" */
const char *text_usec(uint64_t usec, char to[TEXT_SIZE]);
const char *text_size(uint64_t size, char to[TEXT_SIZE]);
/* "12.5 %"; never 100 % of what is not all. */
const char *text_part(uint64_t n, uint64_t of, char to[TEXT_SIZE]);
/* "2026-11-22 02:15:03" and "02:15:03", UTC */
const char *text_time(uint64_t usec, char to[TEXT_SIZE]);
const char *text_clock(uint64_t usec, char to[TEXT_SIZE]);

#endif
