/* SPDX-License-Identifier: Apache-2.0
 * A growing run of bytes that is appended at one end and consumed at the other. Zero-initialised is
 * empty; buf_fini() frees. Growing aborts when memory is out, so whoever appends what others sent bounds
 * it first. */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include "common/base.h"

struct buf {
	uint8_t *at;   /* first byte not consumed */
	size_t n;      /* bytes from `at` */
	uint8_t *base; /* the allocation */
	size_t room;   /* its size */
};

void buf_fini(struct buf *b);

/* Makes room for n more bytes and returns where they go; buf_grew() says how many were put there. */
uint8_t *buf_reserve(struct buf *b, size_t n);

static inline void buf_grew(struct buf *b, size_t n)
{
	assert(b->at + b->n + n <= b->base + b->room);
	b->n += n;
}

static inline size_t buf_room(const struct buf *b)
{
	return b->base ? (size_t)(b->base + b->room - (b->at + b->n)) : 0;
}

static inline void buf_put(struct buf *b, const void *p, size_t n)
{
	if (!n)
		return;
	uint8_t *to = n <= buf_room(b) ? b->at + b->n : buf_reserve(b, n);
	assert(to);
	memcpy(to, p, n);
	b->n += n;
}

static inline void buf_puts(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...) _printf_(2, 3);

/* Forgets the first n bytes. An empty buffer keeps its memory; buf_trim() gives it back. */
static inline void buf_consume(struct buf *b, size_t n)
{
	assert(n <= b->n);
	if (!n)
		return;
	b->at += n;
	b->n -= n;
	if (!b->n)
		b->at = b->base;
}

void buf_trim(struct buf *b);

/* The bytes as a NUL-terminated string owned by the buffer, valid until it is next changed. */
const char *buf_text(struct buf *b);

/* The same as a string of the caller's own; the buffer is empty afterwards. */
char *buf_steal_text(struct buf *b);

#endif
