/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/json.h"

#include <inttypes.h>
#include <stdio.h>

/* Bytes of the valid UTF-8 character at p (n > 0 left), or 0. */
static size_t utf8_length(const uint8_t *p, size_t n)
{
	if (p[0] < 0x80)
		return 1;
	assert(n);
	size_t length = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || length > n)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	/* Overlong forms, surrogates, and what lies beyond U+10FFFF. */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return length;
}

static void put_text(struct buf *b, const char *text)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t n = strlen(text);
	buf_puts(b, "\"");
	while (n) {
		size_t length = utf8_length(p, n);
		if (!length)
			buf_puts(b, "\\ufffd");
		else if (*p == '"' || *p == '\\')
			buf_printf(b, "\\%c", *p);
		else if (*p < 0x20 || *p == 0x7f)
			buf_printf(b, "\\u%04x", *p);
		else
			buf_put(b, p, length);
		p += length ? length : 1;
		n -= length ? length : 1;
	}
	buf_puts(b, "\"");
}

static void begin_value(struct json *j, const char *key)
{
	if (!j->is_first && j->depth)
		buf_puts(&j->out, ",");
	if (j->depth)
		buf_printf(&j->out, "\n%*s", (int)j->depth * 2, "");
	j->is_first = false;
	if (key) {
		put_text(&j->out, key);
		buf_puts(&j->out, ": ");
	}
}

void json_begin(struct json *j, const char *key, char bracket)
{
	assert(bracket == '{' || bracket == '[');
	begin_value(j, key);
	buf_put(&j->out, &bracket, 1);
	j->depth++;
	j->is_first = true;
}

void json_end(struct json *j, char bracket)
{
	assert(bracket == '}' || bracket == ']');
	assert(j->depth);
	j->depth--;
	if (!j->is_first)
		buf_printf(&j->out, "\n%*s", (int)j->depth * 2, "");
	buf_put(&j->out, &bracket, 1);
	j->is_first = false;
	if (!j->depth)
		buf_puts(&j->out, "\n");
}

void json_text(struct json *j, const char *key, const char *text)
{
	begin_value(j, key);
	put_text(&j->out, text);
}

void json_number(struct json *j, const char *key, int64_t number)
{
	begin_value(j, key);
	buf_printf(&j->out, "%" PRId64, number);
}

void json_bool(struct json *j, const char *key, bool value)
{
	begin_value(j, key);
	buf_puts(&j->out, value ? "true" : "false");
}

void json_print(struct json *j)
{
	assert(!j->depth);
	fwrite(j->out.at, 1, j->out.n, stdout);
	buf_fini(&j->out);
}
