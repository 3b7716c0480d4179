/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/fetch/codec.h"

#include <zstd.h>

#define LEVEL 1
#define LEAST 4096u

int codec_unpack_to(const void *frame, size_t n, void *to, size_t size)
{
	size_t got = ZSTD_decompress(to, size, frame, n);
	return ZSTD_isError(got) || got != size ? -EBADMSG : 0;
}

int codec_unpack(uint8_t **bytes, size_t n, size_t size)
{
	_free_ uint8_t *out = malloc(size ? size : 1);
	int r = out ? codec_unpack_to(*bytes, n, out, size) : -ENOMEM;
	if (r)
		return r;
	free(*bytes);
	*bytes = steal(out);
	return 0;
}

uint8_t *codec_pack(const void *bytes, size_t n, size_t *n_packed)
{
	size_t most = ZSTD_compressBound(n);
	_free_ uint8_t *room = n < LEAST ? NULL : malloc(most);
	if (!room)
		return NULL;
	*n_packed = ZSTD_compress(room, most, bytes, n, LEVEL);
	return ZSTD_isError(*n_packed) || *n_packed >= n / 20 * 19 ? NULL : steal(room);
}
