/* SPDX-License-Identifier: Apache-2.0
 * What the cache remembers beside the files themselves: names, pins, uses, digests by signature, which blobs are doubtful. SQLite; a thread of its own
 * writes in batches. Losing it costs time, names and pins, never a wrong byte. Private to the cache. */
#ifndef CACHE_CATALOG_H
#define CACHE_CATALOG_H

#include "common/digest.h"
#include "data/data.h"

struct catalog;

/* As in the table of trees. */
struct catalog_blob {
	uint8_t address[DIGEST_SIZE];
	uint64_t size;
	uint32_t chunk_size, reserved;
};

struct catalog_tree {
	struct digest id;
	uint64_t index_size, used_usec, verified_usec;
	bool is_pinned, is_wanted;
	const struct catalog_blob *blobs; /* borrowed */
	uint32_t n_blobs;
};

/* Opens or makes `path`. One that is damaged is removed and made anew: *is_new. Before threads. */
int catalog_open(const char *path, const char *boot_id, struct catalog **out, bool *is_new, bool *is_new_boot);
void catalog_close(struct catalog *c); /* writes what is left */
void catalog_flush(struct catalog *c);

/* At the start: everything in it. */
int catalog_load_trees(struct catalog *c, void (*on_tree)(void *arg, const struct catalog_tree *t), void *arg);
int catalog_load_names(struct catalog *c, void (*on_name)(void *arg, const char *name, const struct digest *id),
		       void *arg);
int catalog_load_doubts(struct catalog *c, void (*on_doubt)(void *arg, const struct digest *blob), void *arg);
/* Synchronously, at the start: these blobs are doubtful, and this is the boot by whose word. */
int catalog_begin_boot(struct catalog *c, const char *boot_id, const struct digest *doubts, size_t n);

/* Any thread, without waiting: written soon. */
void catalog_put_tree(struct catalog *c, const struct catalog_tree *t);
void catalog_drop_tree(struct catalog *c, const struct digest *id);
void catalog_put_name(struct catalog *c, const char *name, const struct digest *id); /* NULL: removed */
void catalog_trust(struct catalog *c, const struct digest *blob);
void catalog_learn_file(struct catalog *c, const char *path, const struct signature *s, const struct digest *address);
void catalog_learn_blob(struct catalog *c, const struct digest *key, const struct blob_chunks *chunks);

/* Pool. */
bool catalog_recall_file(struct catalog *c, const char *path, const struct signature *s, struct digest *address);
bool catalog_recall_blob(struct catalog *c, const struct digest *key, struct blob_chunks *chunks);

/* 0, or what the last batch failed with. */
int catalog_error(struct catalog *c);

#endif
