/* SPDX-License-Identifier: Apache-2.0
 * What every file needs: scope-bound cleanup, allocation that cannot fail, checked arithmetic,
 * little-endian access, hex. Knows nothing of Vine. */
#ifndef COMMON_BASE_H
#define COMMON_BASE_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _free_ _cleanup_(base_freep)
#define _close_ _cleanup_(base_closep)
#define _unused_ __attribute__((unused))
#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))

/* Defines the cleanup function `name_freep` for a `name_free(struct name *)` that is safe on NULL. */
#define DEFINE_FREEP(type, free_it)                      \
	static inline _unused_ void free_it##p(type **p) \
	{                                                \
		if (*p)                                  \
			free_it(*p);                     \
	}

#define countof(array) (sizeof(array) / sizeof((array)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define min(a, b)                              \
	({                                     \
		__typeof__(a) min_a = (a);     \
		__typeof__(b) min_b = (b);     \
		min_a < min_b ? min_a : min_b; \
	})
#define max(a, b)                              \
	({                                     \
		__typeof__(a) max_a = (a);     \
		__typeof__(b) max_b = (b);     \
		max_a > max_b ? max_a : max_b; \
	})

/* Hands over what the pointer variable `p` holds and leaves NULL in it. */
#define steal(p)                                 \
	({                                       \
		__typeof__(p) steal_value = (p); \
		(p) = NULL;                      \
		steal_value;                     \
	})

static inline int steal_fd(int *fd)
{
	int value = *fd;
	*fd = -1;
	return value;
}

static inline bool streq(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

static inline bool has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* True if a op b does not fit; the result is in *r only if it does. */
static inline bool add_overflows(uint64_t a, uint64_t b, uint64_t *r)
{
	return __builtin_add_overflow(a, b, r);
}

static inline bool mul_overflows(uint64_t a, uint64_t b, uint64_t *r)
{
	return __builtin_mul_overflow(a, b, r);
}

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "a big-endian machine needs byte swaps in the four functions below"
#endif

static inline uint16_t get_le16(const void *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

static inline uint32_t get_le32(const void *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

static inline uint64_t get_le64(const void *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return v;
}

static inline void put_le16(void *p, uint16_t v)
{
	memcpy(p, &v, sizeof v);
}

static inline void put_le32(void *p, uint32_t v)
{
	memcpy(p, &v, sizeof v);
}

static inline void put_le64(void *p, uint64_t v)
{
	memcpy(p, &v, sizeof v);
}

/* Value of a hex digit, -1 if it is none. */
static inline int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Allocation for small, trusted sizes: aborts when memory is out, so callers need no check. A size that
 * a peer, a file or a user chose goes through malloc and is checked. */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
void *xmemdup(const void *p, size_t n);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) _printf_(1, 2);

#define NEW(type) ((type *)xcalloc(1, sizeof(type)))

/* Cleanup targets; they keep errno. */
void base_freep(void *p);
void base_closep(const int *fd);

/* Closes fd if it is one, keeps errno, returns -1: `fd = close_fd(fd)`. */
int close_fd(int fd);

#endif
