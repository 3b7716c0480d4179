/* SPDX-License-Identifier: Apache-2.0
 * How a .vti lies on disk; decisions/0002 says it in words. Private to tree.c, which reads it, and builder.c, which writes it. */
#ifndef DATA_FORMAT_H
#define DATA_FORMAT_H

#include "data/data.h"

#define FORMAT_MAGIC "VINETREE"
#define FORMAT_VERSION 1u

struct format_head {
	char magic[8];
	uint32_t version;
	uint32_t algorithm;
	uint64_t names_size, layout_size;
	uint8_t names_address[DIGEST_SIZE], layout_address[DIGEST_SIZE];
};

/* Then n_nodes nodes, n_contents contents, text_size bytes: each node's name and NUL, a link's target and NUL
 * behind it, in node order, so that there is one way only to write a tree. */
struct format_names {
	uint32_t n_nodes, n_contents;
	uint32_t text_size, reserved;
	uint64_t size; /* of all files */
	uint64_t reserved_too;
};

/* Then n_contents extents, n_blobs blobs, n_chunks digests of 32 bytes. */
struct format_layout {
	uint32_t n_blobs, n_contents;
	uint64_t n_chunks;
	uint64_t reserved[2];
};

_Static_assert(sizeof(struct format_head) == 96, "head");
_Static_assert(sizeof(struct format_names) == 32, "names");
_Static_assert(sizeof(struct format_layout) == 32, "layout");
_Static_assert(sizeof(struct tree_node) == 40, "node");
_Static_assert(sizeof(struct tree_content) == 40, "content");
_Static_assert(sizeof(struct tree_blob) == 56, "blob");
_Static_assert(sizeof(struct tree_extent) == 16, "extent");

/* The address of a section: by chunks, like that of any bytes, so that it can travel in chunks. */
static inline void format_address(const void *p, size_t n, struct digest *address)
{
	data_address_of(p, n, address);
}

#endif
