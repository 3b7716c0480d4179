/* SPDX-License-Identifier: Apache-2.0
 * What this process alone sees, as a tree: a path or bytes. Its index is kept, its bytes are read again, and compared with their digests, when a node asks for
 * them. */
#ifndef SEALED_H
#define SEALED_H

#include "common/buf.h"
#include "data/data.h"

#include <stdatomic.h>

/* Does not change once it is made; any thread. */
struct sealed {
	atomic_uint refs;
	char *path; /* where it lies, or what it is, for messages */
	int memory; /* the bytes; -1: at `path` */
	struct tree *tree;
	void *vti; /* the index as nodes read it */
	size_t vti_size;
	char *name; /* "tree:ID" */
	struct member *members;
	size_t n_members;
};

/* Reads all of it once, with as many threads as there are cores. 0, or -errno with the text set. Takes over `memory` (or -1) in any case.
 * *is_cancelled (or NULL) ends it: -ECANCELED. */
int sealed_new(const char *path, int memory, const bool *is_cancelled, struct sealed **out);
struct sealed *sealed_ref(struct sealed *s);
void sealed_unref(struct sealed *s);
DEFINE_FREEP(struct sealed, sealed_unref)

/* Bytes of all its blobs. */
uint64_t sealed_size(const struct sealed *s);
/* Appends a chunk of it. 0, or -errno with `why`: which file is not what it was. */
int sealed_read(const struct sealed *s, uint64_t chunk, struct buf *to, char why[1024]);

/* ---- of a file: sealed once, when it is first needed */
struct local;
struct local *local_new(const char *path);
/* What is sealed already. */
struct local *local_of(struct sealed *s);
void local_free(struct local *l);
/* A reference in *out, or -errno with the text set. The calling thread seals, others wait for it. */
int local_seal(struct local *l, const bool *is_cancelled, struct sealed **out);
/* It is not as it was when that was made: it is sealed again when it is next needed. */
void local_drop(struct local *l, const struct sealed *s);

#endif
