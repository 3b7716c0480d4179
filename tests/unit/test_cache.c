/* SPDX-License-Identifier: Apache-2.0 */
#include "common/path.h"
#include "tests/unit/cache_world.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static const struct cache_settings plain;

static uint64_t size_of(struct cache *c)
{
	struct cache_state s;
	cache_get_state(c, &s);
	return s.size;
}

/* Resident bytes of a tree. */
static uint64_t resident(struct cache *c, const struct digest *id)
{
	struct cache_list l;
	ASSERT_EQ(cache_show(c, id, &l), 0);
	uint64_t size = l.n ? l.at[0].resident_size : 0;
	cache_list_fini(&l);
	return size;
}

TEST(what_was_sealed_is_read_back_also_after_a_restart)
{
	_free_ char *in = world_files("in", 30, 50000, 1);
	_free_ _unused_ char *big = world_files("in/big", 2, 3 * MIB + 5, 2);
	struct cache *c = world_open("cache", plain);
	struct digest id = world_seal(c, in), again;
	ASSERT_EQ(world_compare(c, &id, in), 0);
	_free_ char *node = xstrdup(cache_node_id(c));
	uint64_t size = size_of(c);
	cache_free(c);
	ASSERT_EQ(world_count("cache", "tmp/*"), 0);
	c = world_open("cache", plain);
	ASSERT_STR(cache_node_id(c), node);
	ASSERT_EQ(size_of(c), size);
	ASSERT_EQ(world_compare(c, &id, in), 0);
	again = world_seal(c, in);
	ASSERT(digest_is_equal(&id, &again));
	ASSERT_EQ(size_of(c), size);
	cache_free(c);
}

TEST(blobs_are_read_only_and_directories_private)
{
	struct stat st;
	_free_ char *in = world_files("in", 1, MIB, 1);
	struct cache *c = world_open("cache", plain);
	world_seal(c, in);
	cache_free(c);
	ASSERT_EQ(world_count("cache", "b/*/*"), 1);
	_free_ char *root = world_path("cache");
	ASSERT_EQ(stat(root, &st), 0);
	ASSERT_EQ(st.st_mode & 07777, 0700);
	_free_ char *shell = xasprintf("find %s/b %s/t -type f ! -perm 0400 | grep -q .", root, root);
	ASSERT(system(shell) != 0);
}

TEST(an_unchanged_tree_is_not_read_again)
{
	uint64_t n_read = 1;
	_free_ char *in = world_files("in", 40, 40000, 1);
	_free_ _unused_ char *big = world_files("in/big", 2, MIB, 3);
	struct cache *c = world_open("cache", plain);
	struct digest id, again;
	ASSERT_EQ(world_try_seal(c, in, &id, &n_read), 0);
	ASSERT(n_read > 0);
	/* Young files are not remembered, and ctime cannot be set back. */
	for (time_t until = time(NULL) + UNIT_PATIENCE_SEC; n_read && time(NULL) < until;) {
		cache_flush(c);
		ASSERT_EQ(world_try_seal(c, in, &again, &n_read), 0);
	}
	ASSERT_EQ(n_read, 0);
	ASSERT(digest_is_equal(&id, &again));
	/* What was evicted is not recalled. */
	ASSERT_EQ(cache_evict(c, &id), 0);
	ASSERT_EQ(resident(c, &id), 0);
	ASSERT_EQ(world_try_seal(c, in, &again, &n_read), 0);
	ASSERT(n_read > 0);
	ASSERT_EQ(world_compare(c, &id, in), 0);
	cache_free(c);
}

TEST(a_newer_version_is_left_alone)
{
	struct cache *c = world_open("cache", plain);
	struct conf_error e;
	cache_free(c);
	_free_ char *version = world_path("cache/VERSION");
	_free_ char *leftover = world_path("cache/tmp/x");
	ASSERT_EQ(path_write(version, "7\n", 2, 0600, false), 0);
	ASSERT_EQ(path_write(leftover, "x", 1, 0600, false), 0);
	ASSERT_EQ(world_try_open("cache", plain, &c, &e), -EPROTONOSUPPORT);
	ASSERT(strstr(e.text, "version 7"));
	ASSERT_EQ(world_count("cache", "tmp/x"), 1);
}

TEST(one_process_at_a_time)
{
	struct conf_error e;
	struct cache *c = world_open("cache", plain), *other = NULL;
	ASSERT_EQ(world_try_open("cache", plain, &other, &e), -EBUSY);
	cache_free(c);
}

TEST(names_prefixes_and_pins_lead_to_trees_and_survive)
{
	char text[DIGEST_TEXT_SIZE];
	struct digest id, found;
	_free_ char *in = world_files("in", 3, 1000, 1);
	struct cache *c = world_open("cache", plain);
	id = world_seal(c, in);
	digest_text(&id, text);
	ASSERT_EQ(cache_name(c, "tools/py3.11", &id), 0);
	ASSERT_EQ(cache_name(c, "deadbeef", &id), -EINVAL);
	ASSERT_EQ(cache_name(c, "a b", &id), -EINVAL);
	ASSERT_EQ(cache_name(c, "", &id), -EINVAL);
	ASSERT_EQ(cache_pin(c, &id, true), 0);
	ASSERT_EQ(cache_evict(c, &id), -EBUSY);
	for (int i = 0; i < 2; i++) {
		struct cache_list l;
		ASSERT_EQ(cache_find(c, "tools/py3.11", &found), 0);
		ASSERT(digest_is_equal(&found, &id));
		ASSERT_EQ(cache_find(c, text, &found), 0);
		text[10] = 0;
		ASSERT_EQ(cache_find(c, text, &found), 0);
		digest_text(&id, text);
		ASSERT_EQ(cache_find(c, "nothing", &found), -ENOENT);
		cache_list(c, &l);
		ASSERT_EQ(l.n, 1);
		ASSERT(l.at[0].is_pinned);
		ASSERT_EQ(l.at[0].n_names, 1);
		ASSERT_STR(l.at[0].names[0], "tools/py3.11");
		cache_list_fini(&l);
		cache_free(c);
		c = world_open("cache", plain);
	}
	ASSERT_EQ(cache_name(c, "tools/py3.11", NULL), 0);
	ASSERT_EQ(cache_find(c, "tools/py3.11", &found), -ENOENT);
	cache_free(c);
}

TEST(a_person_is_shown_sizes_shares_and_leases)
{
	struct cache_list l;
	struct cache_lease *lease;
	_free_ char *a = world_files("a", 3, MIB, 1);
	_free_ char *b = world_files("b", 4, MIB, 1); /* three of its files are a's */
	struct cache *c = world_open("cache", plain);
	struct digest x = world_seal(c, a), y = world_seal(c, b);
	ASSERT_EQ(cache_lease_new(c, &x, "attempt 17", "input /data", &lease), 0);
	cache_list(c, &l);
	ASSERT_EQ(l.n, 2);
	ASSERT(digest_is_equal(&l.at[0].id, &x)); /* used last */
	ASSERT_EQ(l.at[0].n_leases, 1);
	ASSERT_STR(l.at[0].leases[0].who, "attempt 17");
	ASSERT_STR(l.at[0].leases[0].why, "input /data");
	ASSERT_EQ(l.at[0].resident_size, 3 * MIB);
	ASSERT_EQ(l.at[0].shared_size, 3 * MIB);
	ASSERT_EQ(l.at[1].resident_size, 4 * MIB);
	ASSERT_EQ(l.at[1].shared_size, 3 * MIB);
	cache_list_fini(&l);
	ASSERT(size_of(c) < 5 * MIB); /* counted once */
	ASSERT_EQ(cache_evict(c, &x), -EBUSY);
	ASSERT_EQ(cache_evict(c, &y), 0);
	ASSERT_EQ(resident(c, &x), 3 * MIB);
	ASSERT_EQ(resident(c, &y), 3 * MIB);
	ASSERT_EQ(world_compare(c, &x, a), 0);
	cache_lease_free(lease);
	cache_free(c);
}

TEST(the_tree_used_longest_ago_goes_first_and_leased_and_pinned_ones_never)
{
	struct digest id[5];
	char *in[5];
	struct cache_lease *lease;
	struct cache *c = world_open("cache", (struct cache_settings){.quota = 64 * MIB});
	for (unsigned i = 0; i < 5; i++) {
		char name[8];
		snprintf(name, sizeof name, "t%u", i);
		in[i] = world_files(name, 4, 2 * MIB + 1, i + 10);
		id[i] = world_seal(c, in[i]);
	}
	ASSERT_EQ(cache_lease_new(c, &id[0], "view", "", &lease), 0);
	ASSERT_EQ(cache_pin(c, &id[1], true), 0);
	ASSERT_EQ(world_compare(c, &id[2], in[2]), 0); /* used: 3 is the oldest now */
	cache_limit(c, 42 * MIB, 0);
	ASSERT_EQ(cache_maintain(c), 0);
	ASSERT(size_of(c) <= 42 * MIB * 85 / 100 + MIB);
	ASSERT(resident(c, &id[3]) == 0);
	ASSERT(resident(c, &id[0]) > 8 * MIB);
	ASSERT(resident(c, &id[1]) > 8 * MIB);
	ASSERT(resident(c, &id[2]) > 8 * MIB);
	cache_limit(c, 36 * MIB, 0); /* 8 MiB is no more than a quarter */
	ASSERT_EQ(cache_make_room(c, 16 * MIB, 1), 0);
	ASSERT_EQ(resident(c, &id[4]), 0);
	ASSERT_EQ(resident(c, &id[2]), 0);
	ASSERT_EQ(cache_make_room(c, 24 * MIB, 1), -ENOSPC);
	ASSERT_EQ(world_compare(c, &id[0], in[0]), 0);
	ASSERT_EQ(world_compare(c, &id[1], in[1]), 0);
	/* The index is still there. */
	ASSERT_EQ(world_compare(c, &id[3], in[3]), -ENODATA);
	cache_lease_free(lease);
	for (unsigned i = 0; i < 5; i++)
		free(in[i]);
	cache_free(c);
}

TEST(an_evicted_tree_that_is_sealed_again_counts_as_used)
{
	struct cache *c = world_open("cache", (struct cache_settings){.quota = 40 * MIB});
	_free_ char *a = world_files("a", 4, 2 * MIB, 1);
	_free_ char *b = world_files("b", 4, 2 * MIB, 2);
	struct digest x = world_seal(c, a), y = world_seal(c, b);
	ASSERT_EQ(cache_evict(c, &x), 0);
	world_seal(c, a);
	ASSERT_EQ(cache_make_room(c, 26 * MIB, 1), 0);
	ASSERT_EQ(resident(c, &x), 8 * MIB);
	ASSERT_EQ(resident(c, &y), 0);
	cache_free(c);
}

TEST(the_last_copy_goes_after_all_others)
{
	struct cache *c = world_open("cache", (struct cache_settings){.quota = 64 * MIB});
	_free_ char *a = world_files("a", 4, 2 * MIB, 1);
	_free_ char *b = world_files("b", 4, 2 * MIB, 2);
	struct digest last = world_seal(c, a), other = world_seal(c, b);
	ASSERT_EQ(cache_last(c, &last, true), 0);
	ASSERT_EQ(cache_make_room(c, 52 * MIB, 1), 0);
	ASSERT_EQ(resident(c, &other), 0);
	ASSERT_EQ(resident(c, &last), 8 * MIB);
	/* Before there is no room, it goes. */
	ASSERT_EQ(cache_make_room(c, 60 * MIB, 1), 0);
	ASSERT_EQ(resident(c, &last), 0);
	ASSERT_EQ(cache_last(c, &(struct digest){.algorithm = 1}, true), -ENOENT);
	cache_free(c);
}

TEST(what_others_have_again_goes_by_its_age)
{
	struct cache *c = world_open("cache", (struct cache_settings){.quota = 64 * MIB});
	_free_ char *a = world_files("a", 4, 2 * MIB, 1);
	_free_ char *b = world_files("b", 4, 2 * MIB, 2);
	struct digest old = world_seal(c, a), new = world_seal(c, b);
	ASSERT_EQ(cache_last(c, &old, true), 0);
	cache_none_last(c);
	ASSERT_EQ(cache_make_room(c, 52 * MIB, 1), 0);
	ASSERT_EQ(resident(c, &old), 0);
	ASSERT_EQ(resident(c, &new), 8 * MIB);
	cache_free(c);
}

TEST(chunks_come_one_by_one_and_a_wrong_one_is_never_seen)
{
	static const struct tree_node as = {.mode = 0400};
	char path[CACHE_BLOB_PATH];
	struct world_copy w;
	struct cache_tree *t;
	struct cache_lease *lease;
	uint8_t byte;
	_free_ char *in = world_files("in", 3, 700000, 5);
	world_copy_make(&w, in);
	struct cache *c = world_open("cache", plain);
	struct digest id;
	ASSERT_EQ(cache_publish(c, w.vti, w.n, &id), 0);
	ASSERT(digest_is_equal(&id, &w.id));
	ASSERT_EQ(cache_lease_new(c, &id, "view", "", &lease), 0);
	ASSERT_EQ(cache_tree_open(c, &id, &t), 0);
	ASSERT_EQ(cache_tree_reserve(t), 0);
	ASSERT_EQ(world_count("cache", "p/*.part"), 3);
	struct cache_state s;
	cache_get_state(c, &s);
	ASSERT(s.reserved_size >= 3 * 700000);
	ASSERT_EQ(cache_tree_residency(t, 0), CACHE_ABSENT);
	ASSERT_EQ(cache_tree_read(t, 0, 0, &byte, 1, true), -ENODATA);
	w.chunks[0][100] ^= 1;
	ASSERT_EQ(cache_tree_write(t, 0, w.chunks[0], w.sizes[0]), -EBADMSG);
	ASSERT_EQ(cache_tree_read(t, 0, 0, &byte, 1, true), -ENODATA);
	w.chunks[0][100] ^= 1;
	ASSERT_EQ(world_fill(t, &w, 0, 5), 0);
	ASSERT_EQ(world_n_resident(t), 5);
	ASSERT_EQ(cache_tree_read(t, 0, 0, &byte, 1, true), 0);
	ASSERT_EQ(byte, w.chunks[0][0]);
	ASSERT_EQ(cache_tree_read(t, 0, 5 * w.sizes[0] - 1, &byte, 1, true), 0);
	uint8_t two[2];
	ASSERT_EQ(cache_tree_read(t, 0, 5 * w.sizes[0] - 1, two, 2, true), -ENODATA);
	ASSERT_EQ(cache_tree_bind(t, 0, &as, false, path), -ENODATA);
	cache_tree_close(t);
	cache_lease_free(lease);
	cache_free(c);
	/* The same boot: what is claimed is there. */
	c = world_open("cache", plain);
	ASSERT_EQ(cache_tree_open(c, &id, &t), 0);
	ASSERT_EQ(world_n_resident(t), 5);
	ASSERT_EQ(world_fill(t, &w, 0, w.n_chunks), 0);
	ASSERT_EQ(world_n_resident(t), w.n_chunks);
	ASSERT_EQ(world_count("cache", "p/*"), 0);
	ASSERT_EQ(world_count("cache", "b/*/*"), 3);
	ASSERT_EQ(cache_tree_bind(t, 0, &as, false, path), 0);
	ASSERT_EQ(cache_evict(c, &id), -EBUSY);
	cache_tree_unbind(t, 0);
	cache_tree_close(t);
	ASSERT_EQ(world_compare(c, &id, in), 0);
	cache_get_state(c, &s);
	ASSERT_EQ(s.n_partial, 0);
	ASSERT_EQ(s.reserved_size, 0);
	cache_free(c);
	world_copy_fini(&w);
}

TEST(what_cannot_fit_is_refused_before_anything_is_thrown_away)
{
	struct world_copy w;
	struct cache_tree *t;
	struct cache_lease *lease[2];
	_free_ char *a = world_files("a", 4, 4 * MIB, 1);
	_free_ char *b = world_files("b", 4, 4 * MIB, 2);
	_free_ char *small = world_files("small", 4, MIB, 3);
	struct cache *c = world_open("cache", (struct cache_settings){.quota = 70 * MIB});
	struct digest x = world_seal(c, a), y = world_seal(c, small), id;
	ASSERT_EQ(cache_lease_new(c, &x, "view", "", &lease[0]), 0);
	world_copy_make(&w, b);
	ASSERT_EQ(cache_publish(c, w.vti, w.n, &id), 0);
	ASSERT_EQ(cache_lease_new(c, &id, "view", "", &lease[1]), 0);
	ASSERT_EQ(cache_tree_open(c, &id, &t), 0);
	ASSERT(!cache_tree_is_chunkwise(t));
	cache_limit(c, 70 * MIB, 9);
	ASSERT_EQ(cache_tree_reserve(t), -ENOSPC);
	cache_limit(c, 70 * MIB, 0);
	ASSERT_EQ(cache_tree_reserve(t), 0);
	ASSERT_EQ(resident(c, &y), 4 * MIB);
	cache_tree_close(t);
	cache_lease_free(lease[0]);
	cache_lease_free(lease[1]);
	cache_free(c);
	world_copy_fini(&w);
}

TEST(a_tree_too_large_is_kept_by_chunks_and_cold_ones_go_under_a_lease)
{
	struct world_copy w;
	struct cache_tree *t;
	struct cache_lease *lease;
	_free_ char *in = world_files("in", 1, 40 * MIB, 9);
	_free_ char *pin = world_files("pin", 2, MIB, 8);
	world_copy_make(&w, in);
	struct cache *c = world_open("cache", (struct cache_settings){.quota = 20 * MIB});
	struct digest id, pinned = world_seal(c, pin);
	ASSERT_EQ(cache_pin(c, &pinned, true), 0);
	ASSERT_EQ(cache_publish(c, w.vti, w.n, &id), 0);
	ASSERT_EQ(cache_lease_new(c, &id, "view", "", &lease), 0);
	ASSERT_EQ(cache_tree_open(c, &id, &t), 0);
	ASSERT(cache_tree_is_chunkwise(t));
	ASSERT_EQ(cache_tree_reserve(t), 0);
	for (uint64_t i = 0; i < w.n_chunks; i++) {
		_free_ uint8_t *got = xmalloc(w.sizes[i]);
		ASSERT_EQ(world_fill(t, &w, i, i + 1), 0);
		ASSERT_EQ(cache_tree_read(t, 0, i * w.sizes[0], got, w.sizes[i], true), 0);
		ASSERT(memcmp(got, w.chunks[i], w.sizes[i]) == 0);
		ASSERT(size_of(c) <= 20 * MIB);
	}
	ASSERT(world_n_resident(t) < w.n_chunks / 2);
	ASSERT(world_n_resident(t) > w.n_chunks / 4);
	ASSERT_EQ(resident(c, &pinned), 2 * MIB);
	/* What is on disk is what is counted. */
	_free_ char *root = world_path("cache");
	_free_ char *shell = xasprintf("test $(du -s -B1048576 %s/p | cut -f1) -le 20", root);
	ASSERT_EQ(system(shell), 0);
	/* And what went comes again. */
	for (uint64_t i = 0; i < w.n_chunks; i++) {
		uint8_t byte;
		int r = cache_tree_read(t, 0, i * w.sizes[0], &byte, 1, true);
		ASSERT_EQ(r, cache_tree_residency(t, i) == CACHE_RESIDENT ? 0 : -ENODATA);
		ASSERT(r < 0 || byte == w.chunks[i][0]);
	}
	ASSERT_EQ(world_fill(t, &w, 0, 3), 0);
	cache_tree_close(t);
	cache_lease_free(lease);
	cache_free(c);
	world_copy_fini(&w);
}

TEST(a_sparse_file_takes_the_room_of_its_bytes)
{
	_free_ char *path = world_path("sparse");
	struct cache *c = world_open("cache", (struct cache_settings){.quota = 64 * MIB});
	_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ASSERT_EQ(ftruncate(fd, 200 * MIB), 0);
	ASSERT_EQ(pwrite(fd, "here", 4, 150 * MIB), 4);
	struct digest id = world_seal(c, path);
	ASSERT(size_of(c) < 4 * MIB);
	ASSERT_EQ(world_compare(c, &id, path), 0);
	/* Smaller ones are reserved whole and give back what was zero. */
	ASSERT_EQ(ftruncate(fd, 10 * MIB), 0);
	id = world_seal(c, path);
	ASSERT(size_of(c) < 6 * MIB);
	ASSERT_EQ(world_compare(c, &id, path), 0);
	cache_free(c);
}

TEST(descriptors_are_bounded)
{
	_free_ char *in = world_files("in", 60, 200000, 1);
	struct cache *c = world_open("cache", (struct cache_settings){.n_open = 8});
	struct digest id = world_seal(c, in);
	struct cache_tree *t;
	ASSERT_EQ(cache_tree_open(c, &id, &t), 0);
	for (int round = 0; round < 3; round++) {
		uint8_t byte;
		for (uint32_t i = 0; i < tree_n_blobs(cache_tree_index(t)); i++)
			ASSERT_EQ(cache_tree_read(t, i, 0, &byte, 1, true), 0);
	}
	_free_ char *shell = xasprintf("test $(ls -l /proc/%d/fd | grep -c '/cache/b/') -le 40", getpid());
	ASSERT_EQ(system(shell), 0);
	cache_tree_close(t);
	cache_free(c);
}

static void seal_dropping(struct cache *c, const char *in, struct digest *id, uint64_t *dropped)
{
	_cleanup_(cache_sealing_freep) struct cache_sealing *s = cache_sealing_new(c, true);
	struct seal_report errors = {0}, notes = {0};
	const struct seal_options o = {.store = cache_sealing_store(s), .n_threads = 2};
	_free_ void *vti = NULL;
	size_t n;
	_close_ int fd = open(in, O_RDONLY | O_CLOEXEC);
	ASSERT_EQ(seal_directory(fd, in, &o, &vti, &n, &errors, &notes), 0);
	ASSERT_EQ(cache_publish(c, vti, n, id), 0);
	*dropped = cache_sealing_dropped(s);
}

TEST(a_tree_larger_than_the_cache_can_be_sealed_and_comes_again_by_chunks)
{
	struct world_copy w;
	struct digest id;
	struct cache_tree *t;
	struct cache_lease *lease;
	uint64_t dropped;
	_free_ char *in = world_files("in", 10, 2 * MIB, 1);
	struct cache *c = world_open("cache", (struct cache_settings){.quota = 8 * MIB});
	ASSERT_EQ(world_try_seal(c, in, &id, NULL), -ENOSPC);
	ASSERT_EQ(world_count("cache", "tmp/*"), 0);
	seal_dropping(c, in, &id, &dropped);
	ASSERT(dropped >= 12 * MIB);
	ASSERT(size_of(c) <= 8 * MIB);
	world_copy_make(&w, in);
	ASSERT(digest_is_equal(&id, &w.id));
	ASSERT_EQ(cache_lease_new(c, &id, "view", "", &lease), 0);
	ASSERT_EQ(cache_tree_open(c, &id, &t), 0);
	ASSERT(cache_tree_is_chunkwise(t));
	ASSERT(world_n_resident(t) > 0 && world_n_resident(t) < w.n_chunks / 2);
	ASSERT_EQ(world_fill(t, &w, 0, w.n_chunks), 0);
	ASSERT(size_of(c) <= 8 * MIB);
	ASSERT(world_n_resident(t) > w.n_chunks / 5);
	cache_tree_close(t);
	cache_lease_free(lease);
	world_copy_fini(&w);
	cache_free(c);
}

TEST(a_verified_tree_says_when)
{
	uint64_t n_damaged = 7;
	struct cache_list l;
	_free_ char *in = world_files("in", 3, MIB, 1);
	struct cache *c = world_open("cache", plain);
	struct digest id = world_seal(c, in);
	const struct digest none = {.algorithm = DIGEST_SHA256};
	ASSERT_EQ(cache_verify(c, &id, &n_damaged), 0);
	ASSERT_EQ(n_damaged, 0);
	ASSERT(world_flip("cache", "b/*/*", 70000));
	ASSERT(world_flip("cache", "b/*/*", 170000));
	ASSERT_EQ(cache_verify(c, &id, &n_damaged), 0);
	ASSERT_EQ(n_damaged, 1); /* the blob went with its first one */
	ASSERT_EQ(cache_verify(c, &none, &n_damaged), -ENOENT);
	ASSERT_EQ(cache_show(c, &none, &l), -ENOENT);
	ASSERT_EQ(cache_show(c, &id, &l), 0);
	ASSERT(l.at[0].verified_usec > 0);
	ASSERT_EQ(l.at[0].resident_size, 2 * MIB);
	cache_list_fini(&l);
	cache_free(c);
}

TEST(indexes_stay_as_long_as_there_is_room_for_them)
{
	struct digest id[4], found;
	char *in[4];
	struct cache_lease *lease;
	struct cache *c = world_open("cache", (struct cache_settings){.n_inodes = 100});
	for (unsigned i = 0; i < 4; i++) {
		char name[8];
		snprintf(name, sizeof name, "t%u", i);
		in[i] = world_files(name, 3, 200000, i + 10);
		id[i] = world_seal(c, in[i]);
	}
	ASSERT_EQ(cache_name(c, "kept", &id[0]), 0);
	ASSERT_EQ(cache_lease_new(c, &id[3], "view", "", &lease), 0);
	for (unsigned i = 0; i < 3; i++)
		ASSERT_EQ(cache_evict(c, &id[i]), 0);
	ASSERT_EQ(world_count("cache", "t/*"), 4);
	ASSERT_EQ(cache_make_room(c, 1, 94), 0); /* 3 blobs and 2 indexes are left, and one goes for room */
	ASSERT_EQ(world_count("cache", "t/*"), 3);
	ASSERT_EQ(cache_make_room(c, 1, 96), -ENOSPC);
	ASSERT_EQ(cache_find(c, "kept", &found), 0);
	ASSERT_EQ(world_compare(c, &id[3], in[3]), 0);
	ASSERT_EQ(world_compare(c, &id[1], in[1]), -ENOENT);
	world_seal(c, in[1]);
	ASSERT_EQ(world_compare(c, &id[1], in[1]), 0);
	cache_lease_free(lease);
	cache_free(c);
	c = world_open("cache", plain);
	ASSERT_EQ(cache_find(c, "kept", &found), 0);
	ASSERT_EQ(world_compare(c, &id[1], in[1]), 0);
	cache_free(c);
	for (unsigned i = 0; i < 4; i++)
		free(in[i]);
}
