/* SPDX-License-Identifier: Apache-2.0
 * Blobs that are bound over their paths: what their files look like, and that they stay. */
#include "tests/unit/cache_world.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>

/* The first file whose blob is number 0. */
static struct tree_node first_of(const struct cache_tree *t)
{
	const struct tree *index = cache_tree_index(t);
	for (uint32_t i = 0; i < tree_n_nodes(index); i++) {
		const struct tree_node *n = tree_node(index, i);
		if (n->type == TREE_FILE && tree_extent(index, n->first)->blob == 0)
			return *n;
	}
	ASSERT(!"no file of blob 0");
	return (struct tree_node){0};
}

static int bind_as(struct cache_tree *t, const struct tree_node *as, char path[CACHE_BLOB_PATH])
{
	return cache_tree_bind(t, 0, as, path);
}

static bool looks_as(const struct cache *c, const char *path, const struct tree_node *as)
{
	struct stat st;
	ASSERT_EQ(fstatat(cache_directory(c), path, &st, AT_SYMLINK_NOFOLLOW), 0);
	return (st.st_mode & 07777) == as->mode && st.st_mtim.tv_sec == as->mtime_sec &&
	       st.st_mtim.tv_nsec == (long)as->mtime_nsec;
}

static const struct cache_settings plain;

TEST(a_bound_blob_looks_as_its_first_path_until_it_is_bound_no_more)
{
	_free_ char *in = world_files("in", 2, 700000, 5);
	struct cache *c = world_open("cache", plain);
	struct digest id = world_seal(c, in);
	struct cache_tree *t;
	char path[CACHE_BLOB_PATH], other_path[CACHE_BLOB_PATH];
	ASSERT_EQ(cache_tree_open(c, &id, &t), 0);
	struct tree_node as = first_of(t), other = as, secret = as;
	as.mode = 0751;
	as.mtime_nsec = 123456789;
	other.mode = 0644;
	secret.mode = 0200;
	ASSERT_EQ(bind_as(t, &as, path), 0);
	ASSERT(looks_as(c, path, &as));
	ASSERT_EQ(bind_as(t, &as, other_path), 0);
	ASSERT_STR(path, other_path);
	ASSERT_EQ(bind_as(t, &other, other_path), -EBUSY);
	cache_tree_unbind(t, 0);
	ASSERT_EQ(bind_as(t, &other, other_path), -EBUSY);
	ASSERT(looks_as(c, path, &as));
	cache_tree_unbind(t, 0);
	ASSERT_EQ(bind_as(t, &secret, other_path), -ENODATA);
	ASSERT_EQ(bind_as(t, &other, other_path), 0);
	ASSERT(looks_as(c, path, &other));
	cache_tree_unbind(t, 0);
	cache_tree_close(t);
	/* The bytes are what they were. */
	ASSERT_EQ(world_compare(c, &id, in), 0);
	cache_free(c);
}
