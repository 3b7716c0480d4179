/* SPDX-License-Identifier: Apache-2.0 */
#include "common/path.h"
#include "tests/unit/cache_world.h"
#include "tests/unit/unit.h"
#include "vinefs/cache/internal.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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
	char path[CACHE_BLOB_PATH];
	uint8_t byte;
	cache_free(c);
	c = world_open("cache", boot_2);
	ASSERT_EQ(state_of(c).n_doubtful, 3);
	ASSERT_EQ(cache_tree_open(c, &id, &t), 0);
	ASSERT_EQ(cache_tree_residency(t, 0), CACHE_DOUBTFUL);
	ASSERT_EQ(cache_tree_read(t, 0, 0, &byte, 1, true), -EUCLEAN);
	ASSERT_EQ(cache_tree_read(t, 0, 0, &byte, 1, false), -EUCLEAN);
	ASSERT_EQ(cache_tree_bind(t, 0, &(struct tree_node){.mode = 0400}, false, path), -EUCLEAN);
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
	ASSERT_EQ(cache_scrub(c, 50000), 0); /* it has just come */
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

TEST(the_scrub_waits_while_chunks_come_but_not_for_ever)
{
	struct world_copy w;
	struct cache_tree *t;
	struct digest id;
	unsigned n_scrubs = 0;
	_free_ char *in = world_files("in", 1, 64 * 32768, 1);
	struct cache *c = world_open("cache", boot_1);
	world_copy_make(&w, in);
	ASSERT(w.n_chunks > 3 * CACHE_SCRUB_WAITS);
	ASSERT_EQ(cache_publish(c, w.vti, w.n, &id), 0);
	ASSERT_EQ(cache_tree_open(c, &id, &t), 0);
	for (uint64_t i = 0; i < 2 * CACHE_SCRUB_WAITS + 2; i++) {
		ASSERT_EQ(world_fill(t, &w, i, i + 1), 0);
		bool is_scrubbed = cache_scrub(c, 50000) > 0;
		ASSERT(is_scrubbed == (i % (CACHE_SCRUB_WAITS + 1) == CACHE_SCRUB_WAITS));
		n_scrubs += is_scrubbed;
	}
	ASSERT_EQ(n_scrubs, 2);
	ASSERT(cache_scrub(c, 50000) > 0);
	cache_tree_close(t);
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

/* What was found after so many of them. */
struct deaths {
	unsigned n, n_parts, n_blobs, n_tmp;
};

static bool were_in_the_middle(const struct deaths *d, unsigned n)
{
	return d->n_parts > n / 40 && d->n_blobs > n / 10 && d->n_tmp > n / 40;
}

static void die_at(const char *in, const struct world_copy *w, uint64_t nsec, struct deaths *d)
{
	const struct timespec wait = {.tv_sec = (time_t)(nsec / 1000000000), .tv_nsec = (long)(nsec % 1000000000)};
	pid_t pid = fork();
	if (pid == 0)
		live(in, w);
	nanosleep(&wait, NULL); /* the instant */
	kill(pid, SIGKILL);
	ASSERT_EQ(waitpid(pid, NULL, 0), pid);
	d->n++;
	d->n_parts += world_count("cache", "p/*.part") != 0;
	d->n_blobs += world_count("cache", "b/*/*") != 0;
	d->n_tmp += world_count("cache", "tmp/*") != 0;
}

TEST(a_publisher_killed_at_any_instant_leaves_the_old_or_the_new)
{
	struct world_copy w;
	uint64_t seed = 20261121;
	struct deaths d = {.n = 0};
	unsigned n = getenv("SOAK") ? 2000 : 200;
	_free_ char *in = world_files("in", 12, 150000, 1);
	_free_ char *other = world_files("other", 3, 400000, 2);
	world_copy_make(&w, other);
	struct world_copy v;
	world_copy_make(&v, in);
	/* On a busy machine it takes them longer to come to anything: then there are more, and they live longer. */
	while (d.n < n || (d.n < 6 * n && !were_in_the_middle(&d, n))) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		die_at(in, &w, (seed >> 33) % (40000000u * (1 + d.n / n)), &d);
		if (d.n % 4)
			continue;
		struct cache *c = world_open("cache", boot_1);
		ASSERT_EQ(world_count("cache", "tmp/*"), 0);
		ASSERT_EQ(state_of(c).n_damaged, 0);
		check_all(c, &w);
		check_all(c, &v);
		cache_free(c);
	}
	ASSERT(were_in_the_middle(&d, n));
	struct cache *c = world_open("cache", boot_1);
	struct digest id = world_seal(c, in);
	ASSERT_EQ(world_compare(c, &id, in), 0);
	cache_free(c);
	world_copy_fini(&w);
	world_copy_fini(&v);
}
