/* SPDX-License-Identifier: Apache-2.0
 * Disks that are full, too small or sick. */
#include "tests/unit/cache_world.h"
#include "tests/unit/unit.h"
#include "vinefs/cache/internal.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static struct cache_state state_of(struct cache *c)
{
	struct cache_state s;
	cache_get_state(c, &s);
	return s;
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
	/* Its content has gone, or its index, too: which is asked for last depends on what the catalog has written meanwhile. */
	int gone = world_compare(c, &x, a);
	ASSERT(gone == -ENODATA || gone == -ENOENT);
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

/* Whatever there is of it, to the last block. */
static void fill_all(const char *name)
{
	static uint8_t bytes[65536];
	_free_ char *path = world_path(name);
	_close_ int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	for (size_t n = sizeof bytes; n >= 512; n /= 2)
		while (write(fd, bytes, n) > 0)
			;
}

TEST(a_full_disk_takes_nobodys_names_away)
{
	NEED_SMALL("size=20m");
	_free_ char *a = world_files("a", 2, MIB, 1);
	_free_ char *fill = world_path("small/fill");
	struct cache *c = world_open("small/cache", generous);
	struct digest x = world_seal(c, a), found;
	ASSERT_EQ(cache_name(c, "before", &x), 0);
	cache_flush(c);
	fill_all("small/fill");
	/* What is said while nothing can be written waits for a better day. */
	ASSERT_EQ(cache_name(c, "full", &x), 0);
	ASSERT_EQ(cache_pin(c, &x, true), 0);
	for (int i = 0; i < 200; i++)
		ASSERT_EQ(cache_pin(c, &x, i % 2), 0);
	cache_flush(c);
	ASSERT_EQ(unlink(fill), 0);
	cache_maintain(c);
	ASSERT_EQ(cache_name(c, "after", &x), 0);
	cache_flush(c);
	cache_free(c);
	c = world_open("small/cache", generous);
	ASSERT(cache_find(c, "before", &found) == 0 && cache_find(c, "full", &found) == 0);
	ASSERT_EQ(cache_find(c, "after", &found), 0);
	struct cache_list l;
	ASSERT_EQ(cache_show(c, &x, &l), 0);
	ASSERT(l.at[0].is_pinned);
	cache_list_fini(&l);
	cache_free(c);
	/* One that starts on it serves what is there, and forgets nothing. */
	fill_all("small/fill");
	c = world_open("small/cache", generous);
	ASSERT_EQ(state_of(c).n_trees, 1);
	ASSERT_EQ(world_compare(c, &x, a), 0);
	cache_free(c);
	ASSERT_EQ(unlink(fill), 0);
	c = world_open("small/cache", generous);
	ASSERT_EQ(cache_find(c, "full", &found), 0);
	ASSERT_EQ(world_compare(c, &x, a), 0);
	cache_free(c);
	unmount_small();
}

TEST(the_quota_is_never_more_than_the_disk_has_and_a_little_is_left)
{
	NEED_SMALL("size=40m");
	char text[CACHE_TEXT_SIZE];
	_free_ char *a = world_files("a", 4, 2 * MIB, 1);
	struct cache *c = world_open("small/cache", generous);
	struct digest x = world_seal(c, a);
	ASSERT(state_of(c).quota > 35 * MIB && state_of(c).quota < 40 * MIB);
	/* Others want the room: what nobody uses gives way, so that names and sources can still be written. */
	fill_all("small/fill");
	ASSERT_EQ(cache_maintain(c), 0);
	ASSERT_EQ(world_compare(c, &x, a), -ENODATA);
	ASSERT(!state_of(c).is_sick);
	ASSERT(cache_explain(c, -ENOSPC, text));
	ASSERT(strstr(text, "in use") && strstr(text, "--cache-size"));
	ASSERT(!cache_explain(c, -ESTALE, text));
	cache_free(c);
	unmount_small();
}

/* Left open it is nine tenths of what there was: what is reserved and not written yet must not count for room that was found. */
TEST(an_open_quota_shrinks_with_the_disk_and_never_grows_beyond_the_start)
{
	NEED_SMALL("size=40m");
	struct cache *c = world_open("small/cache", generous);
	cache_limit(c, 0, 0);
	uint64_t quota = state_of(c).quota;
	ASSERT(quota > 30 * MIB && quota < 37 * MIB);
	ASSERT_EQ(cache_take_room(c, 8 * MIB, 1), 0);
	ASSERT_EQ(cache_maintain(c), 0);
	ASSERT_EQ(state_of(c).quota, quota);
	cache_give_room(c, 8 * MIB, 1);
	fill_all("small/fill");
	ASSERT_EQ(cache_maintain(c), 0);
	ASSERT(state_of(c).quota < MIB);
	_free_ char *fill = world_path("small/fill");
	ASSERT_EQ(unlink(fill), 0);
	ASSERT_EQ(cache_maintain(c), 0);
	ASSERT(state_of(c).quota <= quota && state_of(c).quota > quota - MIB);
	cache_free(c);
	unmount_small();
}

TEST(what_found_no_room_is_not_asked_for_again_at_once)
{
	struct cache_lease *lease;
	_free_ char *a = world_files("a", 1, MIB, 1);
	struct cache *c = world_open("cache", (struct cache_settings){.boot_id = "boot-1"});
	struct digest x = world_seal(c, a);
	ASSERT_EQ(cache_lease_new(c, &x, "view", "", &lease), 0);
	cache_refuse(c, MIB);
	ASSERT_EQ(cache_make_room(c, 2 * MIB, 1), -ENOSPC);
	ASSERT_EQ(cache_make_room(c, MIB / 2, 1), 0); /* less may still fit */
	cache_lease_free(lease);
	ASSERT_EQ(cache_make_room(c, 2 * MIB, 1), 0);
	cache_free(c);
	cache_free(NULL);
}
