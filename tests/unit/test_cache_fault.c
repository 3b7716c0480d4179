/* SPDX-License-Identifier: Apache-2.0 */
#include "common/path.h"
#include "tests/unit/cache_world.h"
#include "tests/unit/unit.h"
#include "vinefs/cache/internal.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static const struct cache_settings plain;
static unsigned n_damages;
static struct cache_damage last_damage;

static void on_damage(void *arg, const struct cache_damage *d)
{
	(void)arg;
	n_damages++;
	last_damage = *d;
}

static const struct cache_settings boot_1 = {.boot_id = "boot-1", .on_damage = on_damage};
static const struct cache_settings boot_2 = {.boot_id = "boot-2", .on_damage = on_damage};

static struct cache_state state_of(struct cache *c)
{
	struct cache_state s;
	cache_get_state(c, &s);
	return s;
}

static void put(const char *name, const char *text)
{
	_free_ char *path = world_path(name);
	ASSERT_EQ(path_write(path, text, strlen(text), 0600, false), 0);
}

TEST(leftovers_of_a_death_are_removed)
{
	_free_ char *in = world_files("in", 3, 200000, 1);
	struct cache *c = world_open("cache", plain);
	struct digest id = world_seal(c, in);
	uint64_t size = state_of(c).size;
	cache_free(c);
	put("cache/tmp/7", "half");
	put("cache/b/zz", "what");
	put("cache/p/0123.part", "x");
	put("cache/p/0000000000000000000000000000000000000000000000000000000000000000.map", "x");
	put("cache/p/0000000000000000000000000000000000000000000000000000000000000001.part", "x");
	put("cache/t/x.vti", "x");
	put("cache/t/0000000000000000000000000000000000000000000000000000000000000001.vti", "x");
	c = world_open("cache", plain);
	ASSERT_EQ(world_count("cache", "tmp/*") + world_count("cache", "p/*"), 0);
	ASSERT_EQ(world_count("cache", "t/*"), 1);
	ASSERT_EQ(world_count("cache", "q/*"), 1);
	ASSERT_EQ(state_of(c).size, size);
	ASSERT_EQ(world_compare(c, &id, in), 0);
	cache_free(c);
}

TEST(after_a_reboot_every_blob_is_verified_before_its_first_use)
{
	_free_ char *in = world_files("in", 2, 300000, 1);
	_free_ _unused_ char *small = world_files("in/small", 10, 3000, 2);
	struct cache *c = world_open("cache", boot_1);
	struct digest id = world_seal(c, in);
	struct cache_tree *t;
	uint8_t byte;
	cache_free(c);
	c = world_open("cache", boot_2);
	ASSERT_EQ(state_of(c).n_doubtful, 3);
	ASSERT_EQ(cache_tree_open(c, &id, &t), 0);
	ASSERT_EQ(cache_tree_residency(t, 0), CACHE_DOUBTFUL);
	ASSERT_EQ(cache_tree_read(t, 0, 0, &byte, 1, true), -EUCLEAN);
	ASSERT_EQ(cache_tree_read(t, 0, 0, &byte, 1, false), -EUCLEAN);
	ASSERT_EQ(cache_tree_bind(t, 0), -EUCLEAN);
	ASSERT_EQ(cache_tree_verify(t, 0, 1), 0);
	ASSERT_EQ(cache_tree_read(t, 0, 0, &byte, 1, true), 0);
	cache_tree_close(t);
	/* A restart in between does not make trust out of doubt. */
	cache_free(c);
	c = world_open("cache", boot_2);
	ASSERT_EQ(state_of(c).n_doubtful, 3);
	ASSERT_EQ(world_compare(c, &id, in), 0);
	ASSERT_EQ(state_of(c).n_doubtful, 0);
	cache_free(c);
	c = world_open("cache", boot_2);
	ASSERT_EQ(state_of(c).n_doubtful, 0);
	/* Sealed again while doubtful: trusted. */
	cache_free(c);
	c = world_open("cache", boot_1);
	ASSERT_EQ(state_of(c).n_doubtful, 3);
	world_seal(c, in);
	ASSERT_EQ(state_of(c).n_doubtful, 0);
	cache_free(c);
	c = world_open("cache", boot_1);
	ASSERT_EQ(state_of(c).n_doubtful, 0);
	ASSERT_EQ(world_compare(c, &id, in), 0);
	cache_free(c);
}

TEST(what_the_reboot_damaged_is_never_read)
{
	struct cache_tree *t;
	uint8_t byte;
	_free_ char *in = world_files("in", 1, 300000, 1);
	struct cache *c = world_open("cache", boot_1);
	struct digest id = world_seal(c, in);
	cache_free(c);
	ASSERT(world_flip("cache", "b/*/*", 100000));
	c = world_open("cache", boot_2);
	n_damages = 0;
	ASSERT_EQ(cache_tree_open(c, &id, &t), 0);
	uint64_t n = tree_n_chunks(cache_tree_index(t));
	ASSERT_EQ(cache_tree_verify(t, 0, n), -EBADMSG);
	ASSERT_EQ(n_damages, 1);
	ASSERT(last_damage.is_whole && last_damage.is_quarantined);
	ASSERT_EQ(last_damage.chunk, 100000 / 32768);
	ASSERT_EQ(world_count("cache", "b/*/*"), 0);
	ASSERT_EQ(world_count("cache", "q/*"), 1);
	ASSERT_EQ(world_n_resident(t), 0);
	ASSERT_EQ(cache_tree_read(t, 0, 0, &byte, 1, true), -ENODATA);
	struct world_copy w;
	world_copy_make(&w, in);
	ASSERT_EQ(world_fill(t, &w, 0, n), 0);
	cache_tree_close(t);
	ASSERT_EQ(world_compare(c, &id, in), 0);
	world_copy_fini(&w);
	cache_free(c);
}

TEST(after_a_reboot_claimed_chunks_of_parts_are_verified_too)
{
	struct world_copy w;
	struct cache_tree *t;
	struct digest id;
	_free_ char *in = world_files("in", 1, 500000, 1);
	world_copy_make(&w, in);
	struct cache *c = world_open("cache", boot_1);
	ASSERT_EQ(cache_publish(c, w.vti, w.n, &id), 0);
	ASSERT_EQ(cache_tree_open(c, &id, &t), 0);
	ASSERT_EQ(world_fill(t, &w, 0, 6), 0);
	cache_tree_close(t);
	cache_free(c);
	ASSERT(world_flip("cache", "p/*.part", 2 * 32768 + 5));
	c = world_open("cache", boot_2);
	ASSERT_EQ(cache_tree_open(c, &id, &t), 0);
	ASSERT_EQ(world_n_resident(t), 0);
	ASSERT_EQ(cache_tree_residency(t, 5), CACHE_DOUBTFUL);
	ASSERT_EQ(cache_tree_residency(t, 6), CACHE_ABSENT);
	n_damages = 0;
	ASSERT_EQ(cache_tree_verify(t, 0, w.n_chunks), -EBADMSG);
	ASSERT_EQ(n_damages, 1);
	ASSERT(!last_damage.is_whole);
	ASSERT_EQ(last_damage.chunk, 2);
	ASSERT_EQ(world_n_resident(t), 5);
	ASSERT_EQ(cache_tree_residency(t, 2), CACHE_ABSENT);
	ASSERT_EQ(world_fill(t, &w, 0, w.n_chunks), 0);
	cache_tree_close(t);
	ASSERT_EQ(world_count("cache", "b/*/*"), 1);
	ASSERT_EQ(world_compare(c, &id, in), 0);
	world_copy_fini(&w);
	cache_free(c);
}

TEST(the_scrub_finds_flipped_bits_within_its_budget)
{
	struct world_copy w;
	struct cache_tree *t;
	struct digest id, other;
	_free_ char *in = world_files("in", 6, 300000, 1);
	_free_ char *part = world_files("part", 1, 500000, 2);
	struct cache *c = world_open("cache", boot_1);
	id = world_seal(c, in);
	world_copy_make(&w, part);
	ASSERT_EQ(cache_publish(c, w.vti, w.n, &other), 0);
	ASSERT_EQ(cache_tree_open(c, &other, &t), 0);
	ASSERT_EQ(world_fill(t, &w, 0, 6), 0);
	for (int i = 0; i < 100; i++)
		ASSERT(cache_scrub(c, 50000) > 0 && state_of(c).n_damaged == 0);
	struct cache_list l;
	ASSERT_EQ(cache_show(c, &id, &l), 0);
	ASSERT(l.at[0].verified_usec > 0);
	cache_list_fini(&l);
	n_damages = 0;
	ASSERT(world_flip("cache", "b/*/*", 299999));
	ASSERT(world_flip("cache", "p/*.part", 40000));
	int n = 0;
	while (n_damages < 2 && n++ < 200)
		ASSERT(cache_scrub(c, 50000) <= 50000 + 32768);
	ASSERT_EQ(n_damages, 2);
	ASSERT(n < 100);
	ASSERT_EQ(cache_tree_residency(t, 1), CACHE_ABSENT);
	ASSERT_EQ(world_n_resident(t), 5);
	ASSERT_EQ(world_compare(c, &id, in), -ENODATA);
	cache_tree_close(t);
	uint64_t n_damaged;
	ASSERT_EQ(cache_verify(c, &id, &n_damaged), 0);
	ASSERT_EQ(n_damaged, 0);
	world_seal(c, in);
	ASSERT_EQ(world_compare(c, &id, in), 0);
	world_copy_fini(&w);
	cache_free(c);
}

TEST(a_lost_or_damaged_catalog_is_made_anew)
{
	static const char *const garbage[] = {NULL, "", "SQLite format 3",
					      "not a database at all, nothing like it, no, and much more of it"};
	_free_ char *in = world_files("in", 5, 200000, 1);
	_free_ char *node = world_path("cache/node-id");
	_free_ char *path = world_path("cache/catalog.db");
	struct cache *c = world_open("cache", boot_1);
	struct digest id = world_seal(c, in), found;
	ASSERT_EQ(cache_name(c, "env", &id), 0);
	cache_free(c);
	for (unsigned i = 0; i < countof(garbage); i++) {
		_free_ char *shell = xasprintf("rm -f %s*", path);
		ASSERT_EQ(system(shell), 0);
		if (garbage[i])
			put("cache/catalog.db", garbage[i]);
		c = world_open("cache", boot_1);
		/* Nothing tells what was verified: all is doubtful, nothing is lost. */
		ASSERT_EQ(state_of(c).n_doubtful, 5);
		ASSERT_EQ(state_of(c).n_trees, 1);
		ASSERT_EQ(cache_find(c, "env", &found), -ENOENT);
		ASSERT_EQ(world_compare(c, &id, in), 0);
		ASSERT_EQ(cache_name(c, "env", &id), 0);
		cache_free(c);
	}
	/* Bytes in the middle of a good one. */
	for (uint64_t at = 20; at < 40000; at += 1777) {
		world_flip("cache", "catalog.db", at);
		c = world_open("cache", at % 2 ? boot_1 : boot_2);
		ASSERT_EQ(state_of(c).n_trees, 1);
		ASSERT_EQ(world_compare(c, &id, in), 0);
		cache_free(c);
	}
	ASSERT_EQ(unlink(node), 0);
	c = world_open("cache", boot_1);
	ASSERT_EQ(strlen(cache_node_id(c)), 36);
	ASSERT_EQ(world_compare(c, &id, in), 0);
	cache_free(c);
}

TEST(a_damaged_index_goes_into_quarantine)
{
	struct cache_tree *t;
	_free_ char *in = world_files("in", 5, 2000, 1);
	struct cache *c = world_open("cache", boot_1);
	struct digest id = world_seal(c, in);
	ASSERT(world_flip("cache", "t/*", 300));
	ASSERT_EQ(cache_tree_open(c, &id, &t), -EBADMSG);
	ASSERT_EQ(cache_tree_open(c, &id, &t), -ENOENT);
	ASSERT_EQ(world_count("cache", "q/*.vti"), 1);
	world_seal(c, in);
	ASSERT_EQ(world_compare(c, &id, in), 0);
	cache_free(c);
}

TEST(a_blob_that_was_cut_or_removed_is_fetched_again)
{
	_free_ char *in = world_files("in", 2, 300000, 1);
	_free_ char *root = world_path("cache");
	_free_ char *cut = xasprintf("chmod 600 %s/b/*/* && truncate -s 1000 %s/b/*/*", root, root);
	_free_ char *drop = xasprintf("rm -rf %s/b/*", root);
	struct cache *c = world_open("cache", boot_1);
	struct digest id = world_seal(c, in);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(system(i ? drop : cut), 0);
		/* What was removed can still be read where it is open. */
		int r = world_compare(c, &id, in);
		ASSERT(r == -ENODATA || (i && r == 0));
		world_seal(c, in);
		ASSERT_EQ(world_compare(c, &id, in), 0);
	}
	ASSERT_EQ(system(cut), 0);
	cache_free(c);
	c = world_open("cache", boot_1);
	ASSERT_EQ(state_of(c).n_blobs, 0);
	ASSERT_EQ(world_compare(c, &id, in), -ENODATA);
	cache_free(c);
}

/* ---- deaths */

/* What the child does until it is killed: seals, publishes, fills by chunks, evicts, names, all over again. */
static void live(const char *in, const struct world_copy *w)
{
	struct cache *c = NULL;
	struct conf_error e;
	if (world_try_open("cache", boot_1, &c, &e) < 0)
		_exit(1);
	for (;;) {
		struct digest id, other;
		struct cache_tree *t;
		world_try_seal(c, in, &id, NULL);
		cache_name(c, "in", &id);
		if (cache_publish(c, w->vti, w->n, &other) == 0 && cache_tree_open(c, &other, &t) == 0) {
			cache_tree_reserve(t);
			world_fill(t, w, 0, w->n_chunks);
			cache_tree_close(t);
		}
		cache_evict(c, &other);
		cache_evict(c, &id);
	}
}

/* Every chunk that is claimed is right, and the books are what lies on disk. */
static void check_all(struct cache *c, const struct world_copy *w)
{
	struct cache_tree *t;
	if (cache_tree_open(c, &w->id, &t) == 0) {
		const struct tree *index = cache_tree_index(t);
		for (uint32_t i = 0; i < tree_n_blobs(index); i++) {
			const struct tree_blob *b = tree_blob(index, i);
			for (uint64_t at = 0, k = b->first_chunk; at < b->size; at += b->chunk_size, k++) {
				_free_ uint8_t *got = xmalloc(w->sizes[k]);
				if (cache_tree_residency(t, k) != CACHE_RESIDENT)
					continue;
				ASSERT_EQ(cache_tree_read(t, i, at, got, w->sizes[k], true), 0);
				ASSERT(memcmp(got, w->chunks[k], w->sizes[k]) == 0);
			}
		}
		cache_tree_close(t);
	}
	/* The map of a part takes a block. */
	_free_ char *root = world_path("cache");
	_free_ char *shell = xasprintf("test $(find %s/b %s/p %s/t -type f | wc -l) -eq %llu", root, root, root,
				       (unsigned long long)state_of(c).n_inodes);
	ASSERT_EQ(system(shell), 0);
}

TEST(a_publisher_killed_at_any_instant_leaves_the_old_or_the_new)
{
	struct world_copy w;
	uint64_t seed = 20261121;
	unsigned n_parts = 0, n_blobs = 0, n_tmp = 0;
	unsigned n = getenv("SOAK") ? 2000 : 200;
	_free_ char *in = world_files("in", 12, 150000, 1);
	_free_ char *other = world_files("other", 3, 400000, 2);
	world_copy_make(&w, other);
	struct world_copy v;
	world_copy_make(&v, in);
	for (unsigned i = 0; i < n; i++) {
		pid_t pid = fork();
		if (pid == 0)
			live(in, &w);
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		const struct timespec wait = {.tv_nsec = (long)(seed >> 33) % 40000000};
		nanosleep(&wait, NULL); /* the instant */
		kill(pid, SIGKILL);
		ASSERT_EQ(waitpid(pid, NULL, 0), pid);
		n_parts += world_count("cache", "p/*.part") != 0;
		n_blobs += world_count("cache", "b/*/*") != 0;
		n_tmp += world_count("cache", "tmp/*") != 0;
		if (i % 4)
			continue;
		struct cache *c = world_open("cache", boot_1);
		ASSERT_EQ(world_count("cache", "tmp/*"), 0);
		ASSERT_EQ(state_of(c).n_damaged, 0);
		check_all(c, &w);
		check_all(c, &v);
		cache_free(c);
	}
	/* They did die in the middle. */
	ASSERT(n_parts > n / 40 && n_blobs > n / 10 && n_tmp > n / 40);
	struct cache *c = world_open("cache", boot_1);
	struct digest id = world_seal(c, in);
	ASSERT_EQ(world_compare(c, &id, in), 0);
	cache_free(c);
	world_copy_fini(&w);
	world_copy_fini(&v);
}

/* ---- full and sick disks: a tmpfs of the test's own */

static bool mount_small(const char *options)
{
	static bool is_own;
	_free_ char *path = world_path("small");
	if (!is_own && (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0))
		return false;
	is_own = true;
	mkdir(path, 0700);
	return mount("small", path, "tmpfs", MS_NOSUID | MS_NODEV, options) == 0;
}

static void unmount_small(void)
{
	_free_ char *path = world_path("small");
	umount2(path, MNT_DETACH);
}

#define NEED_SMALL(options)                                                     \
	do {                                                                    \
		if (!mount_small(options))                                      \
			SKIP("needs a mount namespace and a tmpfs of its own"); \
	} while (0)

/* The quota is the whole filesystem's, and others fill it. */
static const struct cache_settings generous = {.quota = (uint64_t)1 << 40, .boot_id = "boot-1"};

TEST(a_disk_that_others_fill_is_no_room_and_no_sickness)
{
	NEED_SMALL("size=40m");
	_free_ char *a = world_files("a", 4, 2 * MIB, 1);
	_free_ char *b = world_files("b", 4, 2 * MIB, 2);
	struct cache *c = world_open("small/cache", generous);
	struct cache_lease *lease;
	ASSERT(state_of(c).is_memory);
	struct digest x = world_seal(c, a), y;
	ASSERT_EQ(cache_lease_new(c, &x, "view", "", &lease), 0);
	_free_ char *fill = world_path("small/fill");
	_close_ int fd = open(fill, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ASSERT_EQ(fallocate(fd, 0, 0, 27 * MIB), 0);
	ASSERT_EQ(world_try_seal(c, b, &y, NULL), -ENOSPC);
	ASSERT(!state_of(c).is_sick);
	ASSERT_EQ(world_count("small/cache", "tmp/*"), 0);
	ASSERT_EQ(world_compare(c, &x, a), 0);
	/* Without the lease the older tree gives way. */
	cache_lease_free(lease);
	ASSERT_EQ(world_try_seal(c, b, &y, NULL), 0);
	ASSERT_EQ(world_compare(c, &y, b), 0);
	ASSERT_EQ(world_compare(c, &x, a), -ENODATA);
	cache_free(c);
	unmount_small();
}

TEST(chunks_that_find_the_disk_full_are_not_half_there)
{
	NEED_SMALL("size=24m");
	struct world_copy w;
	struct cache_tree *t;
	struct cache_lease *lease;
	struct digest id;
	_free_ char *in = world_files("in", 1, 16 * MIB, 1);
	world_copy_make(&w, in);
	struct cache *c = world_open("small/cache", (struct cache_settings){.quota = 20 * MIB, .boot_id = "boot-1"});
	ASSERT_EQ(cache_publish(c, w.vti, w.n, &id), 0);
	ASSERT_EQ(cache_lease_new(c, &id, "view", "", &lease), 0);
	ASSERT_EQ(cache_tree_open(c, &id, &t), 0);
	ASSERT(cache_tree_is_chunkwise(t));
	ASSERT_EQ(world_fill(t, &w, 0, 64), 0);
	_free_ char *fill = world_path("small/fill");
	_close_ int fd = open(fill, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ASSERT_EQ(fallocate(fd, 0, 0, 21 * MIB), 0);
	/* Cold chunks make room for new ones. */
	ASSERT_EQ(world_fill(t, &w, 64, 200), 0);
	for (uint64_t i = 0; i < w.n_chunks; i++) {
		_free_ uint8_t *got = xmalloc(w.sizes[i]);
		int r = cache_tree_read(t, 0, i * w.sizes[0], got, w.sizes[i], true);
		ASSERT(r == -ENODATA || (r == 0 && memcmp(got, w.chunks[i], w.sizes[i]) == 0));
	}
	ASSERT(world_n_resident(t) > 10);
	cache_tree_close(t);
	cache_lease_free(lease);
	cache_free(c);
	world_copy_fini(&w);
	unmount_small();
}

TEST(inodes_run_out_like_bytes)
{
	NEED_SMALL("size=100m,nr_inodes=80");
	_free_ char *a = world_files("a", 20, 140000, 1);
	_free_ char *b = world_files("b", 20, 140000, 2);
	struct cache_lease *lease;
	struct cache *c = world_open("small/cache", generous);
	struct digest x = world_seal(c, a), y;
	ASSERT_EQ(cache_lease_new(c, &x, "view", "", &lease), 0);
	ASSERT_EQ(world_try_seal(c, b, &y, NULL), -ENOSPC);
	ASSERT_EQ(world_compare(c, &x, a), 0);
	cache_lease_free(lease);
	ASSERT_EQ(world_try_seal(c, b, &y, NULL), 0);
	ASSERT_EQ(world_compare(c, &y, b), 0);
	cache_free(c);
	unmount_small();
}

/* What is written goes through a read-only bind of the cache's tmp/ from now on. Returns the descriptor of the real one. */
static int make_read_only(struct cache *c)
{
	_free_ char *tmp = world_path("small/cache/tmp");
	_free_ char *bind = world_path("bind");
	mkdir(bind, 0700);
	if (mount(tmp, bind, NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, bind, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0)
		return -1;
	int kept = dup(c->tmp_fd);
	_close_ int fd = open(bind, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 && dup3(fd, c->tmp_fd, O_CLOEXEC) >= 0 ? kept : -1;
}

TEST(a_sick_disk_takes_the_cache_out_of_service_until_it_recovers)
{
	NEED_SMALL("size=40m");
	_free_ char *a = world_files("a", 2, 2 * MIB, 1);
	_free_ char *b = world_files("b", 2, 2 * MIB, 2);
	struct cache *c = world_open("small/cache", (struct cache_settings){.boot_id = "boot-1", .retry_usec = 1});
	struct digest x = world_seal(c, a), y;
	int kept = make_read_only(c);
	ASSERT(kept >= 0);
	ASSERT_EQ(world_try_seal(c, b, &y, NULL), -EROFS);
	struct cache_state s = state_of(c);
	ASSERT(s.is_sick);
	ASSERT(strstr(s.reason, "Read-only"));
	ASSERT(s.since_usec > 0);
	ASSERT_EQ(world_compare(c, &x, a), 0);
	ASSERT_EQ(cache_maintain(c), -EROFS);
	ASSERT_EQ(cache_make_room(c, 1, 1), -EROFS);
	struct world_copy w;
	struct cache_tree *t;
	struct digest id;
	world_copy_make(&w, b);
	ASSERT_EQ(cache_publish(c, w.vti, w.n, &id), -EROFS);
	ASSERT_EQ(cache_tree_open(c, &x, &t), 0);
	ASSERT_EQ(cache_tree_reserve(t), 0); /* all of it is there */
	cache_tree_close(t);
	world_copy_fini(&w);
	ASSERT_EQ(dup3(kept, c->tmp_fd, O_CLOEXEC), c->tmp_fd);
	ASSERT_EQ(cache_maintain(c), 0);
	ASSERT(!state_of(c).is_sick);
	ASSERT_EQ(world_try_seal(c, b, &y, NULL), 0);
	ASSERT_EQ(world_compare(c, &y, b), 0);
	close(kept);
	cache_free(c);
	_free_ char *bind = world_path("bind");
	umount2(bind, MNT_DETACH);
	unmount_small();
}
