/* SPDX-License-Identifier: Apache-2.0
 * The bytes of an archive, uncompressed, with every checksum on the way compared. One thread. */
#ifndef DATA_ARCHIVE_STREAM_H
#define DATA_ARCHIVE_STREAM_H

#include "common/base.h"

struct archive_stream;

/* Of a file from its beginning, or of a pipe; `fd` is borrowed. A zip from a pipe goes through a nameless file first. */
int archive_stream_new(int fd, struct archive_stream **out);
void archive_stream_free(struct archive_stream *s);
DEFINE_FREEP(struct archive_stream, archive_stream_free)

/* By its first bytes: a zip, to be sought in; its descriptor. -1: anything else, which is a tar or no archive. */
int archive_stream_zip(const struct archive_stream *s);
bool archive_stream_is_compressed(const struct archive_stream *s);

/* The next bytes, valid until the next call; 0 at the end, which is reached only if what came is whole; or -errno. */
ssize_t archive_stream_read(struct archive_stream *s, const void **p);
/* Of a zip. */
int64_t archive_stream_seek(struct archive_stream *s, int64_t offset, int whence);

/* The rest must be the end of a tar that begins at `marker` of the bytes read: two blocks of zeros, and nothing but zeros. */
int archive_stream_end_tar(struct archive_stream *s, uint64_t marker, const bool *is_cancelled);

/* Why a call failed, and how many bytes of the file (not those of it uncompressed) were used until then. */
const char *archive_stream_error(const struct archive_stream *s);
uint64_t archive_stream_at(const struct archive_stream *s);

#endif
