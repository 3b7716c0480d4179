/* SPDX-License-Identifier: Apache-2.0
 * Reads and digests the files of a directory ahead of the assembler, on several threads, and hands them over in order. Small files
 * come with their bytes; large ones are already in the store. Private to data/. */
#ifndef DATA_FEEDER_H
#define DATA_FEEDER_H

#include "data/builder.h"

struct feed {
	uint32_t entry;
	uint32_t place; /* in the order they are wanted */
	int error;      /* reported already */
	uint64_t size;
	struct digest address;
	uint8_t *bytes;            /* of a small file; NULL if it was not read, being remembered or another name */
	struct blob_chunks chunks; /* of a large file; without digests if it is another name of one that came before */
	bool is_ready;
};

struct feeder_job {
	int root; /* borrowed */
	const char *path;
	struct builder *builder; /* ordered */
	const struct seal_options *options;
	const uint32_t *files; /* entries, in the order they are wanted */
	uint32_t n_files;
	unsigned n_threads;
	struct seal_progress *progress; /* updated atomically */
	struct seal_report *errors;
};

struct feeder;
struct feeder *feeder_new(const struct feeder_job *job);
/* Stops the threads. */
void feeder_free(struct feeder *f);
DEFINE_FREEP(struct feeder, feeder_free)

/* The next file, waited for `msec` at most; NULL if it is not there yet. It stays until feeder_done(). */
const struct feed *feeder_next(struct feeder *f, int msec);
void feeder_done(struct feeder *f);

/* Reads a small file whose content was remembered after all: size bytes into p. -ESTALE if it is not what was remembered. */
int feeder_load(struct feeder *f, uint32_t entry, uint64_t size, const struct digest *address, void *p);

#endif
