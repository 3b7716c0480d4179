/* SPDX-License-Identifier: Apache-2.0
 * How bytes of a chunk are packed between nodes: zstd, one frame. Pool. */
#ifndef FETCH_CODEC_H
#define FETCH_CODEC_H

#include "common/base.h"

/* In place of the n bytes of a frame the `size` bytes that are in it. -EBADMSG: it has others. */
int codec_unpack(uint8_t **bytes, size_t n, size_t size);
/* The same beside them. */
int codec_unpack_to(const void *frame, size_t n, void *to, size_t size);

/* A frame of `n` bytes, yours to free, and its size; NULL: it would not be worth it. */
uint8_t *codec_pack(const void *bytes, size_t n, size_t *n_packed);

#endif
