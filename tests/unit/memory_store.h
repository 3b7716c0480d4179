/* SPDX-License-Identifier: Apache-2.0
 * A seal_store that keeps blobs, remembered files and remembered blobs in memory; and reads them back. */
#ifndef UNIT_MEMORY_STORE_H
#define UNIT_MEMORY_STORE_H

#include "data/data.h"

#include <stdatomic.h>

struct memory_store {
	struct seal_store store;
	struct blob_reader reader;
	struct memory_blob *blobs;
	struct memory_file *files;
	struct memory_key *keys;
	void *lock;
	atomic_uint n_blobs, n_begun, n_written;
	uint64_t most_size; /* a larger blob is -EFBIG; 0: any */
	int fail_begin;     /* errno that begin gives */
};

void memory_store_init(struct memory_store *m);
void memory_store_fini(struct memory_store *m);

#endif
