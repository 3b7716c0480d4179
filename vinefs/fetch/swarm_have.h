/* SPDX-License-Identifier: Apache-2.0
 * The stream that answers WATCH_CHUNKS: what somebody has of a tree, and what comes. A sequence of records, each a byte that says which and then, numbers little-endian:
 *   'i'                       the whole index is there (not said by one that can give no more than parts of it)
 *   'p' u32 part              this part of the index is there
 *   'a'                       all chunks are there
 *   'b' u64 first, u32 n, n bytes   a bitmap: bit i % 8 of byte i / 8 is chunk first + i; n at most 64 KiB
 *   'd' u32 n, n times u32    these chunks are there now; n at most 4096
 *   'l' u32 chunk             this one is not there any more
 * Whoever watches without an index keeps 'a', 'b', 'd' until he knows how many chunks there are. */
#ifndef FETCH_SWARM_HAVE_H
#define FETCH_SWARM_HAVE_H

#include "common/buf.h"

void have_put_index(struct buf *b);
void have_put_part(struct buf *b, uint32_t part);
void have_put_all(struct buf *b);
/* Of chunks [first, first + 8 * n). */
void have_put_bitmap(struct buf *b, uint64_t first, const uint8_t *bits, size_t n);
void have_put_chunks(struct buf *b, const uint32_t *chunks, uint32_t n);
void have_put_lost(struct buf *b, uint32_t chunk);

/* Takes the stream in pieces of any size; hostile ones, too. Any of these may be NULL. */
struct have_ops {
	void (*on_index)(void *arg);
	void (*on_part)(void *arg, uint64_t part);
	void (*on_all)(void *arg);
	void (*on_chunk)(void *arg, uint64_t chunk); /* not checked against how many there are */
	void (*on_lost)(void *arg, uint64_t chunk);
};
struct have_reader {
	const struct have_ops *ops;
	void *arg;
	uint8_t head[16];
	size_t n_head;
	uint64_t at;   /* of a bitmap: the chunk of the next bit */
	uint32_t rest; /* of a bitmap: bytes; of a list: numbers */
};
/* 0, -EBADMSG: it is no such stream. A callback may not free the reader. */
int have_read(struct have_reader *r, const void *p, size_t n);

#endif
