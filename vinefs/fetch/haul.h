/* SPDX-License-Identifier: Apache-2.0
 * What one job of a draft reads. Private to span.c (the loop) and haul.c (the pool). */
#ifndef FETCH_HAUL_H
#define FETCH_HAUL_H

#include "vinefs/fetch/draft.h"

#include <sys/stat.h>

struct haul;

struct span {
	struct list link; /* of the warm ones */
	struct haul *haul;
	struct list readings;    /* that wait for it */
	uint64_t number, offset; /* within the file */
	bool is_here;
	size_t n, used_size;
	struct digest *digests;
	uint32_t n_digests;
};

/* What one job reads. Its bytes are here until the last of its spans is freed. */
struct haul {
	struct pool_job job;
	struct draft *draft;
	uint32_t node;
	bool is_wanted, is_ahead; /* ahead: nobody waited when it was begun */
	bool is_asking, is_given; /* of a fellow; by one */
	struct fellow_ask ask;
	uint8_t *packed; /* zstd; NULL: not packed, or not known */
	size_t n_packed;
	uint64_t offset;
	size_t n;
	uint8_t *bytes;
	struct span **spans;
	size_t n_spans, n_used; /* used: not freed yet */
	struct stat st;         /* as it was found */
	int error;
};

/* As the sealing digests a file: a small one whole, so that its digest is its address. */
static inline uint32_t span_size_of(uint64_t size)
{
	return size <= DATA_SMALL_MAX ? DATA_SMALL_MAX : data_chunk_size(size);
}

/* Pool: reads it, if that was not given, and digests it. */
void haul_run(struct pool_job *j);

#endif
