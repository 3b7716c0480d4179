/* SPDX-License-Identifier: Apache-2.0
 * Blobs that are bound over their paths: what their files look like, and that they stay; and an index that is opened as it is published. */
#include "tests/unit/cache_world.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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
	return cache_tree_bind(t, 0, as, false, path);
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

/* Two looks of one content, neither of them what a blob has that nobody bound. */
static void two_looks(const struct cache_tree *t, struct tree_node *as, struct tree_node *other)
{
	*as = *other = first_of(t);
	as->mode = 0644;
	other->mode = 0600;
	other->mtime_sec = 1000000000;
}

TEST(what_a_process_before_bound_keeps_its_look_while_its_mounts_are_there)
{
	_free_ char *in = world_files("in", 2, 700000, 5);
	struct cache *c = world_open("cache", plain);
	struct digest id = world_seal(c, in);
	struct cache_tree *t;
	struct tree_node as, other;
	char path[CACHE_BLOB_PATH], other_path[CACHE_BLOB_PATH];
	ASSERT_EQ(cache_tree_open(c, &id, &t), 0);
	two_looks(t, &as, &other);
	ASSERT_EQ(bind_as(t, &as, path), 0);
	cache_tree_unbind(t, 0);
	cache_tree_close(t);
	cache_free(c);

	c = world_open("cache", plain);
	ASSERT_EQ(cache_tree_open(c, &id, &t), 0);
	ASSERT_EQ(cache_tree_bind(t, 0, &other, true, other_path), -EBUSY);
	ASSERT_EQ(cache_tree_bind(t, 0, &as, true, path), 0);
	cache_tree_unbind(t, 0);
	ASSERT_EQ(cache_tree_bind(t, 0, &other, true, other_path), -EBUSY);
	ASSERT(looks_as(c, path, &as));
	/* One that nobody bound yet is free for the taking. */
	ASSERT_EQ(cache_tree_bind(t, 1, &other, true, other_path), 0);
	ASSERT(looks_as(c, other_path, &other));
	cache_tree_unbind(t, 1);
	/* Without them nobody knows why it looks so. */
	ASSERT_EQ(bind_as(t, &other, path), -EUCLEAN);
	ASSERT_EQ(cache_tree_residency(t, 0), CACHE_DOUBTFUL);
	ASSERT_EQ(cache_tree_verify(t, 0, tree_n_chunks(cache_tree_index(t))), 0);
	ASSERT_EQ(bind_as(t, &other, path), 0);
	ASSERT(looks_as(c, path, &other));
	cache_tree_unbind(t, 0);
	ASSERT_EQ(cache_tree_bind(t, 0, &as, true, path), 0);
	cache_tree_unbind(t, 0);
	cache_tree_close(t);
	cache_free(c);
}

/* As its owner can, by the path in the state directory. */
static void overwrite(const struct cache *c, const char *path, off_t at)
{
	ASSERT_EQ(fchmodat(cache_directory(c), path, 0600, 0), 0);
	int fd = openat(cache_directory(c), path, O_WRONLY | O_CLOEXEC);
	ASSERT(fd >= 0);
	ASSERT_EQ(pwrite(fd, "?!", 2, at), 2);
	close(fd);
}

TEST(a_blob_whose_file_is_not_as_it_was_left_is_verified_before_it_is_bound_again)
{
	_free_ char *in = world_files("in", 3, 700000, 5);
	struct cache *c = world_open("cache", plain);
	struct digest id = world_seal(c, in);
	struct cache_tree *t;
	struct tree_node as, other;
	char path[CACHE_BLOB_PATH];
	ASSERT_EQ(cache_tree_open(c, &id, &t), 0);
	uint64_t n = tree_n_chunks(cache_tree_index(t));
	two_looks(t, &as, &other);
	/* Bound while it is overwritten; it is found at the next bind, and gone. */
	ASSERT_EQ(bind_as(t, &as, path), 0);
	overwrite(c, path, 1000);
	ASSERT_EQ(cache_tree_bind(t, 0, &as, true, path), -EUCLEAN);
	ASSERT_EQ(cache_tree_verify(t, 0, n), -EBADMSG);
	ASSERT_EQ(bind_as(t, &as, path), -ENODATA);
	cache_tree_unbind(t, 0);
	/* Bound no more, and to be bound with another look. */
	ASSERT_EQ(cache_tree_bind(t, 1, &as, false, path), 0);
	cache_tree_unbind(t, 1);
	overwrite(c, path, 2000);
	ASSERT_EQ(cache_tree_bind(t, 1, &other, false, path), -EUCLEAN);
	ASSERT_EQ(cache_tree_verify(t, 0, n), -EBADMSG);
	/* One that grew has all its chunks, and is another file. */
	ASSERT_EQ(cache_tree_bind(t, 2, &as, false, path), 0);
	cache_tree_unbind(t, 2);
	overwrite(c, path, 900000);
	ASSERT_EQ(cache_tree_bind(t, 2, &as, false, path), -ENODATA);
	ASSERT_EQ(cache_tree_bind(t, 2, &as, false, path), -ENODATA);
	cache_tree_close(t);
	cache_free(c);
}

TEST(an_index_that_is_published_and_opened_is_verified_once_and_not_read_again)
{
	_free_ char *in = world_files("in", 30, 50000, 1);
	struct world_copy copy;
	struct cache *c = world_open("cache", plain);
	struct cache_tree *t = NULL, *again;
	world_copy_make(&copy, in);
	struct digest other = copy.id;
	other.byte[0] ^= 1;
	ASSERT_EQ(cache_publish_open(c, xmemdup(copy.vti, copy.n), copy.n, &other, &t), -ESTALE);
	ASSERT_EQ(world_count("cache", "t/*"), 0);
	ASSERT_EQ(cache_publish_open(c, xmemdup(copy.vti, copy.n), copy.n, &copy.id, &t), 0);
	ASSERT(world_flip("cache", "t/*", 200));
	ASSERT_EQ(cache_tree_open(c, &copy.id, &again), 0);
	ASSERT(again == t);
	cache_tree_close(again);
	/* One that somebody has open, too. */
	ASSERT_EQ(cache_publish_open(c, xmemdup(copy.vti, copy.n), copy.n, &copy.id, &again), 0);
	ASSERT(again == t);
	cache_tree_close(again);
	ASSERT_EQ(world_fill(t, &copy, 0, copy.n_chunks), 0);
	ASSERT_EQ(world_compare(c, &copy.id, in), 0);
	cache_tree_close(t);
	ASSERT_EQ(cache_tree_open(c, &copy.id, &t), -EBADMSG);
	world_copy_fini(&copy);
	cache_free(c);
}
