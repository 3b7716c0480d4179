/* SPDX-License-Identifier: Apache-2.0
 * One tree on its way here. fetch.c asks for its index and its chunks and verifies them, fetch_to.c makes files of them. */
#ifndef FETCH_H
#define FETCH_H

#include "common/buf.h"
#include "data/data.h"
#include "libvineclient/vine.h"

struct fetch {
	struct vine *v;
	const char *name; /* the file's, for messages */
	struct tree *tree;
	uint64_t *places;   /* of each blob: where its bytes begin among all of them */
	struct buf bytes;   /* of the index, or of a chunk that has not come whole */
	uint64_t next, end; /* chunks still to come */
	int n_tries;        /* in a row that brought nothing */
	bool was_lost;      /* the connection, at some time */
	bool is_damaged;    /* what came last is not what was asked for */
	/* Takes the chunk; -errno with the text set ends it. */
	int (*put)(struct fetch *f, uint64_t chunk, const void *p, size_t n);
	int put_error;
	/* ---- of whoever takes them */
	int fd;
	uint64_t offset, size; /* bytes that are wanted of all that come; written so far */
	uint64_t at;
};

/* Which tree `file` is, and its index: 0, or -errno with the text set. fetch_fini() in either case. */
int fetch_begin(struct vine *v, const struct vine_file *file, struct fetch *f);
void fetch_fini(struct fetch *f);
/* Chunks first to end - 1, in order, each to f->put when it is verified. A connection that was lost, and a node that has it no more or damaged, are worth
 * another try: vined may ask another one. */
int fetch_chunks(struct fetch *f, uint64_t first, uint64_t end);
/* Where a chunk lies among the bytes of all blobs, one behind the other, and its size. */
uint64_t fetch_place(const struct fetch *f, uint64_t chunk, size_t *n);

#endif
