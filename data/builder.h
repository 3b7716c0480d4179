/* SPDX-License-Identifier: Apache-2.0
 * Makes an index: entries come in any order, contents and blobs as they are digested; at the end nodes are numbered and written.
 * Private to data/. Adding entries takes a lock; everything else is one thread's, after the last entry was added. */
#ifndef DATA_BUILDER_H
#define DATA_BUILDER_H

#include "data/data.h"

#define BUILDER_ROOT 0u
#define BUILDER_NONE UINT32_MAX

struct entry {
	struct signature signature; /* of a file or directory on disk */
	int64_t mtime_sec;
	uint32_t mtime_nsec;
	uint32_t parent;
	uint32_t name, target; /* offsets in the builder's text */
	uint32_t target_size;
	uint32_t content;  /* BUILDER_NONE until it is known */
	uint32_t first, n; /* of a directory: its children in order, once builder_order() was called */
	uint16_t mode;
	uint8_t name_size, type; /* type 0: replaced by a later one of its name */
};

struct builder;

/* The root is entry 0: a directory, 0755, of time 0, until it is told otherwise. */
struct builder *builder_new(void);
void builder_free(struct builder *b);
DEFINE_FREEP(struct builder, builder_free)

/* Copies entries e[0..n) below `parent`; names[i] is NUL-terminated, targets[i] NULL but for links. Returns the first one's number, -EOVERFLOW beyond 2^32 bytes of names. */
int64_t builder_add(struct builder *b, uint32_t parent, const struct entry *e, const char *const *names,
		    const char *const *targets, size_t n);
/* Valid until the next builder_add. */
struct entry *builder_entry(struct builder *b, uint32_t i);
uint32_t builder_n_entries(const struct builder *b);
const char *builder_name(const struct builder *b, uint32_t i);
/* From the root; yours to free. */
char *builder_path(const struct builder *b, uint32_t i);

/* Sorts every directory's children. No entry is added after it. */
void builder_order(struct builder *b);

/* The depth-first walk by raw bytes: entries of files, and BUILDER_LEAVE when a directory is left; BUILDER_END at the end. */
#define BUILDER_LEAVE (-1)
#define BUILDER_END (-2)
struct builder_walk {
	struct builder *builder;
	uint32_t *stack; /* pairs: directory, next child */
	size_t depth, room;
};
void builder_walk_init(struct builder_walk *w, struct builder *b);
int64_t builder_walk_next(struct builder_walk *w);
void builder_walk_fini(struct builder_walk *w);

/* The number of a content; *is_new tells that it has no extent yet. */
uint32_t builder_content(struct builder *b, uint64_t size, const struct digest *address, bool *is_new);
/* Adds a blob and returns its number. */
uint32_t builder_blob(struct builder *b, enum tree_blob_kind kind, const struct blob_chunks *chunks);
void builder_extent(struct builder *b, uint32_t content, uint32_t blob, uint64_t offset);

/* The names as they are now, a draft: every file is a content of its own, of the size that its signature tells. signatures[i] is node i's, malloc'ed. 0 or -EOVERFLOW, -ENOMEM. */
int builder_draft(struct builder *b, struct tree **out, struct signature **signatures);

/* Writes the .vti. Every file has a content and every content of a size an extent by now. 0 or -EOVERFLOW, -ENOMEM. */
int builder_finish(struct builder *b, void **vti, size_t *n);

#endif
