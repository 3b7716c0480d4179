/* SPDX-License-Identifier: Apache-2.0
 * Takes files in depth-first order, drops contents that are there already, fills packs and hands them to the store. The pack rule depends on
 * order and sizes alone. Private to data/. One thread. */
#ifndef DATA_ASSEMBLER_H
#define DATA_ASSEMBLER_H

#include "data/builder.h"

struct assembler;

/* `load` brings the bytes of a small file that were left out (remembered), should its pack turn out not to be held. */
struct assembler *
assembler_new(struct builder *b, const struct seal_store *store,
	      int (*load)(void *arg, uint32_t entry, uint64_t size, const struct digest *address, void *p), void *arg);
void assembler_free(struct assembler *a);
DEFINE_FREEP(struct assembler, assembler_free)

/* A small file; `bytes` NULL: remembered. 0 or -errno of the store. */
int assembler_small(struct assembler *a, uint32_t entry, uint64_t size, const struct digest *address,
		    const void *bytes);
/* A large one, which is in the store. */
void assembler_large(struct assembler *a, uint32_t entry, const struct blob_chunks *chunks);
/* A directory has been left. */
int assembler_leave(struct assembler *a);
/* The last pack. */
int assembler_end(struct assembler *a);

#endif
