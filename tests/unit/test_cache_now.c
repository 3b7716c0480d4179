/* SPDX-License-Identifier: Apache-2.0
 * What is opened and read at once, and what is remembered of it. */
#include "tests/unit/cache_world.h"
#include "tests/unit/unit.h"
#include "vinefs/cache/catalog_internal.h"
#include "vinefs/cache/internal.h"

#define MIB ((size_t)1 << 20)

static const struct cache_settings plain;

TEST(reading_without_waiting_reads_what_is_in_memory)
{
	uint8_t bytes[100];
	_free_ char *in = world_files("in", 1, MIB, 1);
	struct cache *c = world_open("cache", plain);
	struct digest id = world_seal(c, in);
	struct cache_tree *t;
	ASSERT_EQ(cache_tree_open(c, &id, &t), 0);
	/* Its file was not open; its name is known without the disk. */
	ASSERT_EQ(cache_tree_read(t, 0, 0, bytes, sizeof bytes, false), 0);
	ASSERT_EQ(cache_tree_read(t, 0, MIB - 50, bytes, sizeof bytes, false), -EINVAL);
	cache_tree_close(t);
	cache_free(c);
}

TEST(a_small_tree_in_memory_is_opened_without_waiting)
{
	_free_ char *in = world_files("in", 2, 1000, 1);
	_free_ char *much = world_files("much", 1200, 10, 2);
	struct cache *c = world_open("cache", plain);
	struct digest small = world_seal(c, in), large = world_seal(c, much), none = small;
	struct cache_tree *t, *again;
	none.byte[0] ^= 1;
	ASSERT_EQ(cache_tree_open_now(c, &small, &t), 0);
	ASSERT(digest_is_equal(tree_id(cache_tree_index(t)), &small));
	ASSERT_EQ(cache_tree_open_now(c, &small, &again), 0);
	ASSERT(again == t);
	cache_tree_close(again);
	cache_tree_close(t);
	ASSERT_EQ(cache_tree_open_now(c, &none, &t), -EAGAIN);
	ASSERT_EQ(cache_tree_open_now(c, &large, &t), -EAGAIN);
	ASSERT_EQ(cache_tree_open(c, &large, &t), 0);
	ASSERT_EQ(cache_tree_open_now(c, &large, &again), 0);
	cache_tree_close(again);
	cache_tree_close(t);
	cache_free(c);
}

TEST(the_last_use_of_a_tree_is_saved_once_a_minute_and_at_the_end)
{
	_free_ char *a = world_files("a", 2, 1000, 1);
	_free_ char *b = world_files("b", 2, 1000, 2);
	struct cache *c = world_open("cache", plain);
	struct digest first = world_seal(c, a), second = world_seal(c, b);
	cache_flush(c);
	uint64_t before = c->catalog->n_given;
	for (int i = 0; i < 10; i++) {
		struct cache_lease *lease;
		struct cache_tree *t;
		ASSERT_EQ(cache_lease_new(c, &first, "peers", "", &lease), 0);
		ASSERT_EQ(cache_tree_open(c, &first, &t), 0);
		cache_tree_close(t);
		cache_lease_free(lease);
	}
	ASSERT_EQ(c->catalog->n_given, before);
	cache_free(c);
	c = world_open("cache", plain);
	struct cache_list l;
	cache_list(c, &l);
	ASSERT_EQ(l.n, 2);
	ASSERT(digest_is_equal(&l.at[0].id, &first));
	ASSERT(digest_is_equal(&l.at[1].id, &second));
	cache_list_fini(&l);
	cache_free(c);
}
