/* SPDX-License-Identifier: Apache-2.0
 * The bytes of a gzip file. libarchive inflates one too, but looks neither at a member's checksum nor at its length. */
#ifndef DATA_ARCHIVE_GZIP_H
#define DATA_ARCHIVE_GZIP_H

#include "common/base.h"

struct archive_gzip;

struct archive_gzip *archive_gzip_new(void);
void archive_gzip_free(struct archive_gzip *g);

/* Inflates from *p, which moves on by what was used of *n: how many bytes there are at *out until the next call, 0 if it wants
 * more, -EBADMSG with `why` (static or of `g`) if it is damaged at *p. */
ssize_t archive_gzip_inflate(struct archive_gzip *g, const uint8_t **p, size_t *n, const void **out, const char **why);

/* True if the file may end here: every member begun was whole. */
bool archive_gzip_is_whole(const struct archive_gzip *g);

#endif
