/* SPDX-License-Identifier: Apache-2.0 */
#include "data/builder.h"
#include "tests/unit/unit.h"

#include <stdio.h>

static uint32_t put(struct builder *b, uint32_t parent, const char *name, enum tree_type type, const char *rest)
{
	const struct entry e = {.type = (uint8_t)type, .mode = 0644, .mtime_sec = 1700000000, .mtime_nsec = 5};
	int64_t at = builder_add(b, parent, &e, &name, &rest, 1);
	ASSERT(at > 0);
	if (type == TREE_FILE) {
		struct digest address;
		bool is_new;
		data_address_of(rest, strlen(rest), &address);
		uint32_t content = builder_content(b, strlen(rest), &address, &is_new);
		builder_entry(b, (uint32_t)at)->content = content;
		if (is_new && *rest) {
			struct digest chunk;
			digest_bytes(rest, strlen(rest), &chunk);
			struct blob_chunks c = {
				.size = strlen(rest), .chunk_size = DATA_PACK_CHUNK, .n = 1, .chunks = &chunk};
			data_address(c.size, c.chunk_size, &chunk, &c.address);
			builder_extent(b, content, builder_blob(b, TREE_BLOB_PACK, &c), 0);
		}
	}
	return (uint32_t)at;
}

static void make(void **vti, size_t *n)
{
	struct builder *b = builder_new();
	uint32_t z = put(b, BUILDER_ROOT, "z", TREE_DIRECTORY, NULL);
	uint32_t a = put(b, BUILDER_ROOT, "a", TREE_DIRECTORY, NULL);
	put(b, z, "second", TREE_FILE, "two");
	put(b, z, "first", TREE_FILE, "one");
	put(b, a, "again", TREE_FILE, "one");
	put(b, a, "empty", TREE_FILE, "");
	put(b, BUILDER_ROOT, "link", TREE_LINK, "z/first");
	put(b, BUILDER_ROOT, "a-b", TREE_FILE, "three");
	builder_order(b);
	ASSERT_EQ(builder_finish(b, vti, n), 0);
	builder_free(b);
}

static struct tree *make_tree(void)
{
	void *vti;
	size_t n;
	struct tree *t = NULL;
	make(&vti, &n);
	ASSERT_EQ(tree_take(vti, n, NULL, &t), 0);
	return t;
}

TEST(children_are_found_by_raw_bytes_and_paths_from_the_root)
{
	_cleanup_(tree_freep) struct tree *t = make_tree();
	ASSERT_EQ(tree_n_nodes(t), 9);
	ASSERT_STR(tree_name(t, 1), "a");
	ASSERT_STR(tree_name(t, 2), "a-b");
	ASSERT_EQ(tree_find(t, ""), 0);
	ASSERT_EQ(tree_find(t, "/z/first"), tree_find(t, "z//first"));
	ASSERT_EQ(tree_find(t, "z/fir"), -ENOENT);
	ASSERT_EQ(tree_find(t, "a-b/x"), -ENOTDIR);
	ASSERT_STR(tree_target(t, (uint32_t)tree_find(t, "link")), "z/first");
	_free_ char *path = tree_path(t, (uint32_t)tree_find(t, "z/second"));
	ASSERT_STR(path, "z/second");
	_free_ char *root = tree_path(t, 0);
	ASSERT_STR(root, "");
}

TEST(equal_contents_are_one_and_empty_ones_have_no_blob)
{
	_cleanup_(tree_freep) struct tree *t = make_tree();
	uint32_t one = (uint32_t)tree_find(t, "z/first"), again = (uint32_t)tree_find(t, "a/again");
	uint32_t empty = (uint32_t)tree_find(t, "a/empty");
	ASSERT_EQ(tree_node(t, one)->first, tree_node(t, again)->first);
	ASSERT_EQ(tree_n_contents(t), 4);
	ASSERT_EQ(tree_n_blobs(t), 3);
	ASSERT_EQ(tree_extent(t, tree_node(t, empty)->first)->blob, TREE_NO_BLOB);
	ASSERT_EQ(tree_size(t), 3 + 3 + 3 + 5);
}

TEST(the_order_of_adding_does_not_matter)
{
	struct digest first;
	for (int i = 0; i < 2; i++) {
		struct builder *b = builder_new();
		const char *names[] = {"x", "y", "x-", "X"};
		for (int k = 0; k < 4; k++)
			put(b, BUILDER_ROOT, names[i ? 3 - k : k], TREE_FILE, names[i ? 3 - k : k]);
		void *vti;
		size_t n;
		struct tree *t = NULL;
		builder_order(b);
		ASSERT_EQ(builder_finish(b, &vti, &n), 0);
		ASSERT_EQ(tree_take(vti, n, NULL, &t), 0);
		if (i == 0)
			first = *tree_id(t);
		else
			ASSERT(digest_is_equal(&first, tree_id(t)));
		tree_free(t);
		builder_free(b);
	}
}

TEST(another_tree_than_the_one_wanted_is_stale)
{
	void *vti;
	size_t n;
	struct tree *t = NULL;
	const struct digest other = {.algorithm = DIGEST_SHA256};
	make(&vti, &n);
	ASSERT_EQ(tree_take(vti, n, &other, &t), -ESTALE);
	ASSERT(t == NULL);
}

TEST(every_flipped_bit_and_every_cut_is_refused)
{
	void *vti;
	size_t n;
	struct tree *t = NULL;
	make(&vti, &n);
	for (size_t i = 0; i < n; i++) {
		uint8_t *copy = xmemdup(vti, n);
		copy[i] ^= (uint8_t)(1u << (i % 8));
		int r = tree_take(copy, n, NULL, &t);
		ASSERT(r < 0);
		ASSERT(tree_take(xmemdup(vti, i), i, NULL, &t) < 0);
	}
	free(vti);
}

/* The digests are made good again, so that only the checks of structure stand in the way. */
TEST(a_hostile_index_with_good_digests_is_refused_or_harmless)
{
	void *vti;
	size_t n;
	make(&vti, &n);
	uint64_t names = get_le64((uint8_t *)vti + 16), layout = get_le64((uint8_t *)vti + 24);
	size_t layout_at = 96 + ((names + 7) & ~7u);
	uint64_t state = 88172645463325252u;
	unsigned refused = 0, taken = 0;
	for (unsigned i = 0; i < 20000; i++) {
		uint8_t *copy = xmemdup(vti, n);
		for (unsigned k = 0; k < 1 + i % 3; k++) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			copy[96 + state % (n - 96)] = (uint8_t)(state >> 32);
		}
		struct digest d;
		data_address_of(copy + 96, names, &d);
		memcpy(copy + 32, d.byte, DIGEST_SIZE);
		data_address_of(copy + layout_at, layout, &d);
		memcpy(copy + 64, d.byte, DIGEST_SIZE);
		struct tree *t = NULL;
		if (tree_take(copy, n, NULL, &t) < 0) {
			refused++;
			continue;
		}
		taken++;
		for (uint32_t k = 0; k < tree_n_nodes(t); k++) {
			_free_ char *path = tree_path(t, k);
			ASSERT_EQ(tree_find(t, path), k);
		}
		tree_free(t);
	}
	ASSERT(refused > 10000);
	ASSERT(taken > 0);
	free(vti);
}

static struct tree *make_file(const char *text, uint16_t mode, int64_t mtime)
{
	struct builder *b = builder_new();
	void *vti;
	size_t n;
	struct tree *t;
	struct entry *root = builder_entry(b, BUILDER_ROOT);
	struct digest address;
	bool is_new;
	data_address_of(text, strlen(text), &address);
	*root = (struct entry){.type = TREE_FILE, .mode = mode, .mtime_sec = mtime};
	uint32_t content = builder_content(b, strlen(text), &address, &is_new);
	builder_entry(b, BUILDER_ROOT)->content = content;
	if (*text) {
		struct digest chunk;
		digest_bytes(text, strlen(text), &chunk);
		struct blob_chunks c = {.size = strlen(text), .chunk_size = DATA_PACK_CHUNK, .n = 1, .chunks = &chunk};
		data_address(c.size, c.chunk_size, &chunk, &c.address);
		builder_extent(b, content, builder_blob(b, TREE_BLOB_PACK, &c), 0);
	}
	builder_order(b);
	ASSERT_EQ(builder_finish(b, &vti, &n), 0);
	ASSERT_EQ(tree_take(vti, n, NULL, &t), 0);
	builder_free(b);
	return t;
}

TEST(files_of_several_trees_are_one_directory_by_their_order)
{
	_cleanup_(tree_freep) struct tree *one = make_file("one", 0755, 100), *none = make_file("", 0644, 300);
	const struct tree *const files[] = {one, none, one};
	const char *const names[] = {"a", "a.b", "b"}, *const alike[] = {"a", "b", "b"};
	struct tree *t = NULL;
	ASSERT_EQ(tree_compose(files, alike, 3, &t), -EBADMSG);
	ASSERT_EQ(tree_compose(files, names, 3, &t), 0);
	ASSERT_EQ(tree_n_nodes(t), 4);
	for (uint32_t i = 0; i < 3; i++) {
		const struct tree_node *n = tree_node(t, i + 1), *of = tree_node(files[i], 0);
		ASSERT_EQ(tree_child(t, 0, names[i], strlen(names[i])), i + 1);
		ASSERT(n->type == TREE_FILE && n->mode == of->mode && n->mtime_sec == of->mtime_sec);
		ASSERT_EQ(tree_file_size(t, i + 1), tree_file_size(files[i], 0));
	}
	ASSERT_EQ(tree_node(t, 0)->mtime_sec, 300);
	tree_free(t);
}
