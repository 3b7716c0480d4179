/* SPDX-License-Identifier: Apache-2.0 */
#include "data/data.h"

#define CHUNK_LEAST (32u << 10)
#define CHUNK_MOST (1u << 20)
#define CHUNKS_WANTED 512u

uint32_t data_chunk_size(uint64_t size)
{
	uint32_t chunk = CHUNK_LEAST;
	while (chunk < CHUNK_MOST && (uint64_t)chunk * CHUNKS_WANTED < size)
		chunk *= 2;
	return chunk;
}

uint64_t data_n_chunks(uint64_t size, uint32_t chunk_size)
{
	assert(chunk_size);
	return size / chunk_size + (size % chunk_size != 0);
}

void data_address(uint64_t size, uint32_t chunk_size, const struct digest *chunks, struct digest *address)
{
	uint64_t n = data_n_chunks(size, chunk_size);
	uint8_t few[12 + 8 * DIGEST_SIZE];
	size_t room = 12 + (size_t)n * DIGEST_SIZE;
	_free_ uint8_t *many = room > sizeof few ? xmalloc(room) : NULL;
	uint8_t *at = many ? many : few;

	put_le64(at, size);
	put_le32(at + 8, chunk_size);
	for (uint64_t i = 0; i < n; i++)
		memcpy(at + 12 + i * DIGEST_SIZE, chunks[i].byte, DIGEST_SIZE);
	digest_bytes(at, room, address);
}

void data_address_of(const void *p, size_t n, struct digest *address)
{
	uint32_t chunk_size = data_chunk_size(n);
	size_t n_chunks = data_n_chunks(n, chunk_size);
	struct digest few[8];
	_free_ struct digest *many = n_chunks > countof(few) ? xcalloc(n_chunks, sizeof *many) : NULL;
	struct digest *chunks = many ? many : few;

	for (size_t i = 0; i < n_chunks; i++) {
		size_t at = i * chunk_size;
		digest_bytes((const uint8_t *)p + at, min((size_t)chunk_size, n - at), &chunks[i]);
	}
	data_address(n, chunk_size, chunks, address);
}
