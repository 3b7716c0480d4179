/* SPDX-License-Identifier: Apache-2.0
 * A tree's index from a hostile peer: the digests are made good, so that only the checks of structure stand between the bytes and
 * those who walk the tree without checking anything. Input: a u32 size of the names section, then both sections. */
#include "data/format.h"

static void walk(const struct tree *t)
{
	for (uint32_t i = 0; i < tree_n_nodes(t); i++) {
		const struct tree_node *n = tree_node(t, i);
		_free_ char *path = tree_path(t, i);
		if (tree_find(t, path) != i)
			abort();
		if (n->type == TREE_LINK && strlen(tree_target(t, i)) != n->n)
			abort();
		if (n->type == TREE_FILE) {
			const struct tree_extent *e = tree_extent(t, n->first);
			if (tree_file_size(t, i) && tree_blob(t, e->blob)->size - e->offset < tree_file_size(t, i))
				abort();
		}
	}
	struct digest d;
	for (uint64_t i = 0; i < tree_n_chunks(t); i++)
		tree_chunk_digest(t, i, &d);
}

static void nothing(void *arg, char mark, const char *path)
{
	(void)arg;
	(void)mark;
	(void)path;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	if (n < 4)
		return 0;
	size_t names = min((size_t)get_le32(p), n - 4), layout = n - 4 - names;
	size_t padded = (names + 7) & ~(size_t)7;
	struct format_head head = {.magic = FORMAT_MAGIC,
				   .version = FORMAT_VERSION,
				   .algorithm = DIGEST_SHA256,
				   .names_size = names,
				   .layout_size = layout};
	struct digest d;
	format_address(p + 4, names, &d);
	memcpy(head.names_address, d.byte, DIGEST_SIZE);
	format_address(p + 4 + names, layout, &d);
	memcpy(head.layout_address, d.byte, DIGEST_SIZE);
	size_t size = sizeof head + padded + layout;
	uint8_t *vti = xcalloc(1, size);
	memcpy(vti, &head, sizeof head);
	memcpy(vti + sizeof head, p + 4, names);
	memcpy(vti + sizeof head + padded, p + 4 + names, layout);
	struct tree *t = NULL;
	if (tree_take(vti, size, NULL, &t) == 0) {
		walk(t);
		if (tree_diff(t, t, nothing, NULL))
			abort();
		tree_free(t);
	}
	return 0;
}
