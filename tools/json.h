/* SPDX-License-Identifier: Apache-2.0
 * Writes JSON: commas by itself, text escaped, bytes that are not UTF-8 replaced by U+FFFD. */
#ifndef TOOLS_JSON_H
#define TOOLS_JSON_H

#include "common/buf.h"

struct json {
	struct buf out;
	unsigned depth;
	bool is_first; /* nothing stands yet in the innermost object or array */
};

void json_begin(struct json *j, const char *key, char bracket); /* '{' or '['; key NULL in an array or at the top */
void json_end(struct json *j, char bracket);                    /* '}' or ']' */
void json_text(struct json *j, const char *key, const char *text);
void json_number(struct json *j, const char *key, int64_t number);
void json_bool(struct json *j, const char *key, bool value);

/* Writes it to standard output, and frees it. */
void json_print(struct json *j);

#endif
