/* SPDX-License-Identifier: Apache-2.0
 * As gzip itself reads: members one after another, and zeros behind the last (a tape's padding). Anything else behind it is
 * refused, where gzip only warns: a damaged head of a second member looks just like it. */
#include "data/archive_gzip.h"

#define ZLIB_CONST
#include <zlib.h>

#define OUT_SIZE (256u << 10)
#define GZIP_ONLY (16 + MAX_WBITS)

enum place { PLACE_WITHIN, PLACE_BETWEEN, PLACE_PADDING };

struct archive_gzip {
	z_stream z;
	enum place place;
	uint8_t out[OUT_SIZE];
};

struct archive_gzip *archive_gzip_new(void)
{
	struct archive_gzip *g = xcalloc(1, sizeof *g);
	if (inflateInit2(&g->z, GZIP_ONLY) != Z_OK) {
		free(g);
		return NULL;
	}
	return g;
}

void archive_gzip_free(struct archive_gzip *g)
{
	if (!g)
		return;
	inflateEnd(&g->z);
	free(g);
}

bool archive_gzip_is_whole(const struct archive_gzip *g)
{
	return g->place != PLACE_WITHIN;
}

/* Between members, with a byte at hand: goes into the next one or the padding. */
static int go_on(struct archive_gzip *g, const uint8_t **p, size_t *n, const char **why)
{
	assert(g->place != PLACE_WITHIN && *n);
	if (g->place == PLACE_BETWEEN && **p == 0x1f) {
		g->place = PLACE_WITHIN;
		return inflateReset(&g->z) == Z_OK ? 0 : -EBADMSG;
	}
	g->place = PLACE_PADDING;
	for (; *n && **p == 0; ++*p)
		--*n;
	if (!*n)
		return 0;
	*why = "neither gzip nor zeros behind the end of the gzip data";
	return -EBADMSG;
}

/* zlib says Z_STREAM_END only if the member's CRC and length are right. */
static ssize_t go_within(struct archive_gzip *g, const uint8_t **p, size_t *n, const char **why)
{
	g->z.next_in = *p;
	g->z.avail_in = (uInt)min(*n, (size_t)UINT_MAX);
	g->z.next_out = g->out;
	g->z.avail_out = OUT_SIZE;
	int r = inflate(&g->z, Z_NO_FLUSH);
	*n -= (size_t)(g->z.next_in - *p);
	*p = g->z.next_in;
	if (r == Z_STREAM_END)
		g->place = PLACE_BETWEEN;
	else if (r == Z_MEM_ERROR)
		return -ENOMEM;
	else if (r != Z_OK && r != Z_BUF_ERROR && g->z.avail_out == OUT_SIZE) {
		/* What came before the damage goes first, so that the entry in which it is can be named; zlib says it again. */
		*why = g->z.msg ? g->z.msg : "damaged gzip data";
		return -EBADMSG;
	}
	return (ssize_t)(OUT_SIZE - g->z.avail_out);
}

ssize_t archive_gzip_inflate(struct archive_gzip *g, const uint8_t **p, size_t *n, const void **out, const char **why)
{
	*why = "damaged gzip data";
	*out = g->out;
	do {
		ssize_t r = g->place == PLACE_WITHIN ? go_within(g, p, n, why) : *n ? go_on(g, p, n, why) : 0;
		if (r != 0)
			return r;
	} while (*n);
	return 0;
}
