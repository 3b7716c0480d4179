/* SPDX-License-Identifier: Apache-2.0
 * SQLite's write-ahead log (PATH-wal), read without SQLite: it takes the log to end at the first frame that is not whole. */
#ifndef VINED_STORE_LOG_H
#define VINED_STORE_LOG_H

#include "vined/store_internal.h"

#define STORE_LOG_HEADER ((size_t)32)
#define STORE_LOG_FRAME \
	((size_t)24 + STORE_PAGE_SIZE) /* page, size after a commit, salts, sums; then the page's bytes */

struct store_log {
	uint8_t *at; /* all of it, yours to free; NULL: there is none */
	size_t size;
	bool is_big;
	size_t end;        /* of the last commit: what lies behind was never promised, or cannot be read */
	uint32_t n_pages;  /* of the database after it */
	unsigned n_beyond; /* commits in a row that lie behind a frame that is not whole */
};

void store_log_read(const char *path, struct store_log *l);

/* Whether the frame at this offset is, as far as it and the one before can tell. */
bool store_log_is_whole(const struct store_log *l, size_t at);

/* True: commits lie behind a damaged frame, which SQLite would forget. */
bool store_log_is_damaged(const char *path);

static inline uint32_t store_get_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

#endif
