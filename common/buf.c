/* SPDX-License-Identifier: Apache-2.0 */
#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>

#define BUF_LEAST 256

void buf_fini(struct buf *b)
{
	free(b->base);
	*b = (struct buf){0};
}

static void buf_enlarge(struct buf *b, size_t need)
{
	size_t room = max(b->room, (size_t)BUF_LEAST);
	while (room < need) {
		if (room > SIZE_MAX / 2)
			abort();
		room *= 2;
	}
	size_t offset = b->base ? (size_t)(b->at - b->base) : 0;
	assert(offset == 0);
	b->base = xrealloc(b->base, room);
	b->at = b->base;
	b->room = room;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
	if (n > SIZE_MAX - b->n)
		abort();
	if (!b->base || n > buf_room(b)) {
		if (b->base && b->at != b->base) {
			memmove(b->base, b->at, b->n);
			b->at = b->base;
		}
		if (!b->base || n > buf_room(b))
			buf_enlarge(b, b->n + n);
	}
	return b->at + b->n;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list args, again;
	va_start(args, fmt);
	va_copy(again, args);
	char none[1]; /* gcc's sanitizers take NULL here for a mistake */
	int n = vsnprintf(none, sizeof none, fmt, args);
	va_end(args);
	if (n < 0)
		abort();
	vsnprintf((char *)buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
	va_end(again);
	b->n += (size_t)n;
}

void buf_trim(struct buf *b)
{
	if (!b->n)
		buf_fini(b);
}

const char *buf_text(struct buf *b)
{
	*buf_reserve(b, 1) = 0;
	return (const char *)b->at;
}

char *buf_steal_text(struct buf *b)
{
	buf_text(b);
	if (b->at != b->base)
		memmove(b->base, b->at, b->n + 1);
	char *text = (char *)b->base;
	*b = (struct buf){0};
	return text;
}
