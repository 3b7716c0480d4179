/* SPDX-License-Identifier: Apache-2.0 */
#include "common/path.h"
#include "tests/unit/fetch_world.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static const struct cache_settings roomy;
static const struct fetch_settings plain, no_ahead = {.ahead_size = 1};

static void put_bytes(const char *path, size_t n, int each)
{
	_free_ char *bytes = xmalloc(n);
	memset(bytes, each, n);
	ASSERT_EQ(path_write(path, bytes, n, 0644, false), 0);
}

static struct fetch_numbers numbers(struct fetch_world *w)
{
	struct fetch_numbers n;
	fetch_get_numbers(w->fetch, &n);
	return n;
}

/* Seals, evicts all bytes, opens. */
static struct fetch_tree *open_evicted(struct fetch_world *w, const char *in, struct digest *id)
{
	ASSERT_EQ(fetch_world_seal(w, in, NULL, false, id), 0);
	fetch_world_evict(w, id);
	return fetch_world_tree(w, id);
}

static void check_all(struct fetch_world *w, struct fetch_tree *t, const char *in, const char *below, unsigned n,
		      ssize_t size)
{
	for (unsigned i = 0; i < n; i++) {
		_free_ char *name = xasprintf("%sf%u", below, i);
		_free_ char *path = path_join(in, name);
		ASSERT_EQ(fetch_world_check(w, t, name, path), size);
	}
}

struct one {
	struct fetch_read read;
	ssize_t n;
	uint8_t first;
	bool is_over;
};

static void on_one(struct fetch_read *r, const void *p, ssize_t n)
{
	struct one *o = container_of(r, struct one, read);
	o->n = n;
	if (n > 0)
		o->first = *(const uint8_t *)p;
	__atomic_store_n(&o->is_over, true, __ATOMIC_RELEASE);
}

static void start(struct one *o, struct fetch_tree *t, const char *node, uint64_t offset, uint32_t n)
{
	const struct tree *x = fetch_index(t);
	int64_t i = tree_find(x, node);
	ASSERT(i >= 0);
	const struct tree_extent *e = tree_extent(x, tree_node(x, (uint32_t)i)->first);
	*o = (struct one){
		.read = {.tree = t, .blob = e->blob, .offset = e->offset + offset, .n = n, .on_done = on_one}};
	fetch_read_start(&o->read);
}

TEST(what_is_in_the_cache_never_touches_the_source)
{
	struct fetch_world w;
	struct digest id;
	_free_ char *in = world_files("in", 30, 40000, 1);
	_free_ _unused_ char *big = world_files("in/big", 2, MIB, 2);
	fetch_world_open(&w, "cache", roomy, plain);
	ASSERT_EQ(fetch_world_seal(&w, in, NULL, false, &id), 0);
	struct fetch_tree *t = fetch_world_tree(&w, &id);
	check_all(&w, t, in, "", 30, 40000);
	check_all(&w, t, in, "big/", 2, MIB);
	ASSERT_EQ(fetch_world_n_reads(&w), 0);
	struct fetch_numbers n = numbers(&w);
	ASSERT_EQ(n.memory_size + n.disk_size, 30 * 40000 + 2 * MIB);
	ASSERT_EQ(n.n_fills | n.source_size | n.n_failed, 0);
	_free_ char *why = fetch_world_why(t, "");
	ASSERT(strstr(why, "32 of 32 files whole") && strstr(why, "next read: from the cache\n"));
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(what_was_evicted_comes_from_the_source_again_and_stays)
{
	struct fetch_world w;
	struct digest id;
	_free_ char *in = world_files("in", 100, 30000, 1);
	_free_ _unused_ char *big = world_files("in/big", 2, 3 * MIB + 7, 2);
	fetch_world_open(&w, "cache", roomy, plain);
	struct fetch_tree *t = open_evicted(&w, in, &id);
	_free_ char *before = fetch_world_why(t, "big/f0");
	ASSERT(strstr(before, "missing: 3.0 MiB") && strstr(before, "next read: from the source\n") &&
	       strstr(before, in));
	check_all(&w, t, in, "", 100, 30000);
	check_all(&w, t, in, "big/", 2, 3 * MIB + 7);
	struct fetch_numbers n = numbers(&w);
	ASSERT_EQ(n.memory_size + n.disk_size + n.source_size, 100 * 30000 + 2 * (3 * MIB + 7));
	/* A chunk that came ahead is in the cache before it is counted. */
	while (numbers(&w).fill_size < 100 * 30000 + 2 * (3 * MIB + 7))
		fetch_world_turn(&w);
	ASSERT_EQ(numbers(&w).fill_size, 100 * 30000 + 2 * (3 * MIB + 7));
	unsigned n_reads = fetch_world_n_reads(&w);
	check_all(&w, t, in, "", 100, 30000);
	check_all(&w, t, in, "big/", 2, 3 * MIB + 7);
	ASSERT_EQ(fetch_world_n_reads(&w), n_reads);
	ASSERT_EQ(numbers(&w).n_failed, 0);
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(readers_of_one_missing_chunk_cause_one_read)
{
	struct fetch_world w;
	struct digest id;
	struct one o[20];
	_free_ char *in = world_files("in", 2, MIB, 1);
	fetch_world_open(&w, "cache", roomy, no_ahead);
	struct fetch_tree *t = open_evicted(&w, in, &id), *again = fetch_world_tree(&w, &id);
	fetch_world_gate(&w, in);
	for (unsigned i = 0; i < countof(o); i++)
		start(&o[i], i % 2 ? t : again, "f1", i * 100, 500);
	while (!fetch_world_n_waiting(&w))
		fetch_world_turn(&w);
	fetch_world_gate(&w, NULL);
	for (unsigned i = 0; i < countof(o); i++) {
		fetch_world_until(&w, &o[i].is_over);
		ASSERT_EQ(o[i].n, 500);
	}
	ASSERT_EQ(fetch_world_n_reads(&w), 1);
	ASSERT_EQ(numbers(&w).n_fills, 1);
	fetch_close(t);
	fetch_close(again);
	fetch_world_close(&w);
}

TEST(a_sequential_reader_finds_the_next_chunks_there)
{
	struct fetch_world w;
	struct digest id;
	uint8_t p[128 << 10];
	_free_ char *in = world_files("in", 1, 8 * MIB, 1);
	fetch_world_open(&w, "cache", roomy, plain);
	struct fetch_tree *t = open_evicted(&w, in, &id);
	int64_t f0 = tree_find(fetch_index(t), "f0");
	for (unsigned i = 0; i < 64; i++)
		ASSERT_EQ(fetch_world_read(&w, t, (uint32_t)f0, i * sizeof p, p, sizeof p), sizeof p);
	while (numbers(&w).fill_size < 8 * MIB)
		fetch_world_turn(&w);
	struct fetch_numbers n = numbers(&w);
	ASSERT_EQ(n.n_fills, 8 * MIB / (32 << 10));
	ASSERT(n.n_ahead > n.n_fills * 3 / 4);
	fetch_close(t);
	fetch_world_close(&w);
	/* A reader that jumps about gets no more than it asks for. */
	fetch_world_open(&w, "other", roomy, plain);
	t = open_evicted(&w, in, &id);
	for (unsigned i = 0; i < 16; i++)
		ASSERT_EQ(fetch_world_read(&w, t, (uint32_t)f0, (i * 37 % 64) * sizeof p, p, 4096), 4096);
	ASSERT_EQ(numbers(&w).n_ahead, 0);
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(a_changed_file_is_stale_and_the_text_names_old_and_new)
{
	struct fetch_world w;
	struct digest id;
	_free_ char *in = world_files("in", 4, 20000, 1);
	_free_ _unused_ char *big = world_files("in/big", 2, MIB, 2);
	_free_ char *f2 = path_join(in, "f2"), *f0 = path_join(in, "big/f0"), *f1 = path_join(in, "big/f1");
	fetch_world_open(&w, "cache", roomy, no_ahead);
	struct fetch_tree *t = open_evicted(&w, in, &id);
	put_bytes(f2, 10, 'x');
	put_bytes(f0, MIB, 'y');
	ASSERT_EQ(fetch_world_check(&w, t, "big/f1", f1), MIB);
	ASSERT_EQ(fetch_world_check(&w, t, "big/f0", f0), -ESTALE);
	_free_ char *why = fetch_world_why(t, "big/f0");
	ASSERT(strstr(why, f0) &&
	       strstr(why, "it was 1048576 bytes of 2001-09-09 01:46:40.000000000, it is 1048576 bytes"));
	fetch_world_settle(&w, t, "big/f0");
	/* All four small files lie in one chunk. */
	_free_ char *f3 = path_join(in, "f3");
	ASSERT_EQ(fetch_world_check(&w, t, "f3", f3), -ESTALE);
	_free_ char *whyever = fetch_world_why(t, "f3");
	ASSERT(strstr(whyever, f2) && strstr(whyever, "it was 20000 bytes") && strstr(whyever, "it is 10 bytes"));
	ASSERT_EQ(numbers(&w).n_failed, 2);
	unsigned n;
	ASSERT(strstr(fetch_failure(t, &n), "it is 10 bytes"));
	ASSERT_EQ(n, 2);
	/* Put back, it is good again. */
	_free_ _unused_ char *same = world_files("in/big", 2, MIB, 2);
	ASSERT_EQ(fetch_world_check(&w, t, "big/f0", f0), MIB);
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(a_removed_source_is_stale_and_another_source_is_used)
{
	struct fetch_world w;
	struct digest id, other;
	_free_ char *in = world_files("in", 3, MIB, 1);
	_free_ char *gone = world_path("gone");
	_free_ char *copy = world_path("copy");
	_free_ char *shell = xasprintf("cp -a %s %s", in, copy);
	_free_ char *f1 = path_join(copy, "f1"), *f2 = path_join(copy, "f2");
	ASSERT_EQ(system(shell), 0);
	fetch_world_open(&w, "cache", roomy, no_ahead);
	struct fetch_tree *t = open_evicted(&w, in, &id);
	ASSERT_EQ(rename(in, gone), 0);
	ASSERT_EQ(fetch_world_check(&w, t, "f1", f1), -ESTALE);
	_free_ char *why = fetch_world_why(t, "f1");
	ASSERT(strstr(why, "the source is gone"));
	ASSERT_EQ(fetch_world_seal(&w, copy, NULL, false, &other), 0);
	ASSERT(digest_is_equal(&id, &other));
	ASSERT_EQ(fetch_world_check(&w, t, "f1", f1), MIB);
	fetch_close(t);
	fetch_world_turn(&w);
	fetch_world_evict(&w, &id);
	t = fetch_world_tree(&w, &id);
	ASSERT_EQ(fetch_world_check(&w, t, "f2", f2), MIB);
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(a_copy_elsewhere_in_the_tree_stands_in_for_a_file_that_is_gone)
{
	struct fetch_world w;
	struct digest id;
	_free_ char *in = world_files("in", 2, 50000, 1);
	_free_ _unused_ char *more = world_files("in/more", 2, 50000, 1);
	_free_ _unused_ char *big = world_files("in/b1", 1, MIB, 2), *same = world_files("in/b2", 1, MIB, 2);
	_free_ char *f0 = path_join(in, "f0"), *b1 = path_join(in, "b1/f0");
	_free_ char *other = path_join(in, "more/f0"), *b2 = path_join(in, "b2/f0");
	fetch_world_open(&w, "cache", roomy, no_ahead);
	struct fetch_tree *t = open_evicted(&w, in, &id);
	ASSERT_EQ(unlink(f0), 0);
	ASSERT_EQ(unlink(b1), 0);
	ASSERT_EQ(fetch_world_check(&w, t, "f0", other), 50000);
	ASSERT_EQ(fetch_world_check(&w, t, "b1/f0", b2), MIB);
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(an_archive_is_read_again_once_for_all)
{
	struct fetch_world w;
	struct digest id;
	_free_ char *in = world_files("in", 50, 20000, 1);
	_free_ _unused_ char *big = world_files("in/big", 2, MIB, 2);
	_free_ char *tar = world_path("in.tar.zst");
	_free_ char *shell = xasprintf("tar -C %s --format=pax --zstd -cf %s .", in, tar);
	ASSERT_EQ(system(shell), 0);
	fetch_world_open(&w, "cache", roomy, plain);
	struct fetch_tree *t = open_evicted(&w, tar, &id);
	check_all(&w, t, in, "", 50, 20000);
	check_all(&w, t, in, "big/", 2, MIB);
	/* The first one brought all the others. */
	ASSERT(numbers(&w).n_fills <= 4);
	fetch_close(t);
	fetch_world_turn(&w);
	fetch_world_evict(&w, &id);
	t = fetch_world_tree(&w, &id);
	put_bytes(tar, 1000, 0);
	_free_ char *f0 = path_join(in, "f0");
	ssize_t r = fetch_world_check(&w, t, "f0", f0);
	ASSERT(r == -ESTALE || r == -EIO);
	_free_ char *why = fetch_world_why(t, "f0");
	ASSERT(strstr(why, tar));
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(an_archive_larger_than_the_cache_gives_its_chunks_one_by_one)
{
	struct fetch_world w;
	struct digest id;
	const struct cache_settings small = {.quota = 3 * MIB};
	_free_ char *in = world_files("in", 4, MIB, 1);
	_free_ _unused_ char *packed = world_files("in/small", 60, 30000, 2);
	_free_ char *tar = world_path("in.tar");
	_free_ char *shell = xasprintf("tar -C %s --format=pax -cf %s .", in, tar);
	ASSERT_EQ(system(shell), 0);
	fetch_world_open(&w, "cache", small, plain);
	ASSERT_EQ(fetch_world_seal(&w, tar, NULL, false, &id), 0);
	struct fetch_tree *t = fetch_world_tree(&w, &id);
	check_all(&w, t, in, "", 4, MIB);
	_free_ char *f7 = path_join(in, "small/f7");
	ASSERT_EQ(fetch_world_check(&w, t, "small/f7", f7), 30000);
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(an_archive_in_another_order_gives_large_files_and_says_why_no_small_ones)
{
	struct fetch_world w;
	struct digest id, other;
	_free_ char *in = world_files("in", 50, 20000, 1);
	_free_ _unused_ char *large = world_files("in/big", 2, MIB, 2);
	_free_ char *tar = world_path("in.tar");
	_free_ char *gone = world_path("gone");
	_free_ char *shell = xasprintf(
		"cd %s && find . | sort -r >../list && tar --format=pax --no-recursion -cf %s -T ../list", in, tar);
	ASSERT_EQ(system(shell), 0);
	fetch_world_open(&w, "cache", roomy, no_ahead);
	ASSERT_EQ(fetch_world_seal(&w, in, NULL, false, &id), 0);
	ASSERT_EQ(fetch_world_seal(&w, tar, NULL, false, &other), 0);
	ASSERT(digest_is_equal(&id, &other));
	fetch_world_evict(&w, &id);
	ASSERT_EQ(rename(in, gone), 0);
	struct fetch_tree *t = fetch_world_tree(&w, &id);
	_free_ char *f0 = path_join(gone, "f0");
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(fetch_world_check(&w, t, "f0", f0), -EIO);
	_free_ char *why = fetch_world_why(t, "f0");
	ASSERT(strstr(why, "not in the order"));
	check_all(&w, t, gone, "big/", 2, MIB);
	fetch_close(t);
	fetch_world_close(&w);
}

/* A reader asks for 128 KiB at a time, of chunks that may be larger and packs of many files. */
TEST(what_cannot_be_kept_is_read_from_its_source_about_once)
{
	struct fetch_world w;
	struct digest id;
	const struct cache_settings full = {.quota = 24 * MIB};
	_free_ char *in = world_files("in", 60, 30000, 2);
	_free_ _unused_ char *big = world_files("in/big", 1, 4 * MIB, 3);
	struct fetch_tree *held[4]; /* each of them small enough to be kept whole */
	fetch_world_open(&w, "cache", full, plain);
	for (unsigned i = 0; i < countof(held); i++) {
		char name[8];
		snprintf(name, sizeof name, "held%u", i);
		_free_ char *other = world_files(name, 1, 5 * MIB, 10 + i);
		ASSERT_EQ(fetch_world_seal(&w, other, NULL, false, &id), 0);
		held[i] = fetch_world_tree(&w, &id);
		check_all(&w, held[i], other, "", 1, 5 * MIB);
	}
	ASSERT_EQ(fetch_world_seal(&w, in, NULL, false, &id), 0);
	struct fetch_tree *t = fetch_world_tree(&w, &id);
	uint64_t before = fetch_world_size(&w);
	for (int i = 0; i < 2; i++) { /* the second time, all is at hand */
		check_all(&w, t, in, "", 60, 30000);
		check_all(&w, t, in, "big/", 1, 4 * MIB);
	}
	ASSERT(numbers(&w).n_uncached > 0);
	/* Reads ahead that nobody waited for end before they are counted. */
	ASSERT(fetch_world_size(&w) - before <= (60 * 30000 + 4 * MIB) * 5 / 4);
	fetch_close(t);
	for (unsigned i = 0; i < countof(held); i++)
		fetch_close(held[i]);
	fetch_world_close(&w);
}

TEST(a_stalled_source_holds_up_nobody_else)
{
	struct fetch_world w;
	struct digest slow_id, quick_id;
	struct one o[40];
	_free_ char *slow = world_files("slow", 40, MIB, 1), *quick = world_files("quick", 10, MIB, 2);
	const struct fetch_settings fs = {.ahead_size = 1, .n_threads = 12, .n_per_source = 3};
	fetch_world_open(&w, "cache", roomy, fs);
	struct fetch_tree *s = open_evicted(&w, slow, &slow_id), *q = open_evicted(&w, quick, &quick_id);
	fetch_world_gate(&w, slow);
	for (unsigned i = 0; i < countof(o); i++) {
		_free_ char *name = xasprintf("f%u", i);
		start(&o[i], s, name, 0, 1000);
	}
	while (fetch_world_n_waiting(&w) < 3)
		fetch_world_turn(&w);
	_free_ char *why = fetch_world_why(s, "f0");
	while (!strstr(why, "readers wait for 40")) {
		fetch_world_turn(&w);
		free(why);
		why = fetch_world_why(s, "f0");
	}
	check_all(&w, q, quick, "", 10, MIB);
	for (unsigned i = 0; i < 50; i++)
		fetch_world_turn(&w);
	ASSERT_EQ(fetch_world_n_waiting(&w), 3);
	ASSERT_EQ(o[0].is_over | o[39].is_over, 0);
	/* Nobody waits for ever. */
	w.later_usec = 26000000;
	for (unsigned i = 0; i < countof(o); i++) {
		fetch_world_until(&w, &o[i].is_over);
		ASSERT_EQ(o[i].n, -EIO);
	}
	ASSERT_EQ(numbers(&w).n_late, 40);
	_free_ char *later = fetch_world_why(s, "f0");
	ASSERT(strstr(later, "has not answered for 25.0 s: its filesystem stalls") && strstr(later, "last failure: "));
	/* What comes in the end is kept all the same. */
	fetch_world_gate(&w, NULL);
	check_all(&w, s, slow, "", 40, MIB);
	fetch_close(s);
	fetch_close(q);
	fetch_world_close(&w);
}

TEST(a_fetch_that_is_stopped_answers_what_waits)
{
	struct fetch_world w;
	struct digest id;
	struct one o[8];
	_free_ char *in = world_files("in", 8, MIB, 1);
	fetch_world_open(&w, "cache", roomy, plain);
	struct fetch_tree *t = open_evicted(&w, in, &id);
	fetch_world_gate(&w, in);
	for (unsigned i = 0; i < countof(o); i++) {
		_free_ char *name = xasprintf("f%u", i);
		start(&o[i], t, name, 0, 1000);
	}
	while (fetch_world_n_waiting(&w) < 4)
		fetch_world_turn(&w);
	ASSERT_EQ(fetch_stop(w.fetch, 10), -ETIMEDOUT);
	for (unsigned i = 0; i < countof(o); i++) {
		fetch_world_until(&w, &o[i].is_over);
		ASSERT_EQ(o[i].n, -EIO);
	}
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(a_tree_or_a_hot_set_is_fetched_ahead)
{
	struct fetch_world w;
	struct digest id;
	_free_ char *in = world_files("in", 20, 100000, 1);
	_free_ _unused_ char *big = world_files("in/big", 2, MIB, 2);
	fetch_world_open(&w, "cache", roomy, plain);
	struct fetch_tree *t = open_evicted(&w, in, &id);
	const uint32_t hot[] = {(uint32_t)tree_find(fetch_index(t), "big/f1"),
				(uint32_t)tree_find(fetch_index(t), "f3")};
	fetch_ahead(t, hot, countof(hot));
	for (unsigned i = 0; i < countof(hot); i++) {
		char *why = fetch_world_why(t, i ? "f3" : "big/f1");
		while (!strstr(why, "1 of 1 files whole")) {
			fetch_world_turn(&w);
			free(why);
			why = fetch_world_why(t, i ? "f3" : "big/f1");
		}
		free(why);
	}
	ASSERT(numbers(&w).fill_size < 2 * MIB);
	fetch_ahead(t, &(const uint32_t){0}, 1);
	while (numbers(&w).fill_size < 20 * 100000 + 2 * MIB)
		fetch_world_turn(&w);
	ASSERT_EQ(numbers(&w).fill_size, 20 * 100000 + 2 * MIB);
	_free_ char *now = fetch_world_why(t, "");
	ASSERT(strstr(now, "22 of 22 files whole"));
	fetch_ahead(t, &(const uint32_t){0}, 1);
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(what_is_doubtful_is_verified_and_what_is_damaged_is_fetched_again)
{
	struct fetch_world w;
	struct digest id;
	const struct cache_settings rebooted = {.boot_id = "boot-2"};
	_free_ char *in = world_files("in", 3, MIB, 1);
	fetch_world_open(&w, "cache", roomy, no_ahead);
	ASSERT_EQ(fetch_world_seal(&w, in, NULL, false, &id), 0);
	fetch_world_close(&w);
	ASSERT(world_flip("cache", "b/*/*", 40000));
	fetch_world_open(&w, "cache", rebooted, no_ahead);
	struct fetch_tree *t = fetch_world_tree(&w, &id);
	check_all(&w, t, in, "", 3, MIB);
	ASSERT(fetch_world_n_reads(&w) > 0);
	ASSERT_EQ(numbers(&w).n_failed, 0);
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(what_took_the_place_of_a_file_is_never_read)
{
	struct fetch_world w;
	struct digest id;
	const char *const names[] = {"f0", "f1", "f2", "f3", "sub/f0"};
	_free_ char *in = world_files("in", 5, MIB, 1);
	_free_ _unused_ char *more = world_files("in/sub", 1, MIB, 2);
	_free_ char *keep = world_path("keep");
	_free_ char *shell = xasprintf("cp -a %s %s", in, keep);
	/* A link to the right bytes is refused all the same: links are not followed. */
	_free_ char *swap = xasprintf("cd %s && rm f0 f1 f2 f3 && mkfifo f0 && mkdir f1 && ln -s %s/f2 f2 && : >f3 && "
				      "mv sub elsewhere && ln -s elsewhere sub",
				      in, keep);
	ASSERT_EQ(system(shell), 0);
	fetch_world_open_real(&w, "cache", roomy, no_ahead);
	struct fetch_tree *t = open_evicted(&w, in, &id);
	ASSERT_EQ(system(swap), 0);
	for (unsigned i = 0; i < countof(names); i++) {
		_free_ char *path = path_join(keep, names[i]);
		ASSERT_EQ(fetch_world_check(&w, t, names[i], path), -ESTALE);
	}
	_free_ char *path = path_join(keep, "f4");
	ASSERT_EQ(fetch_world_check(&w, t, "f4", path), MIB);
	_free_ char *fifo = fetch_world_why(t, "f0");
	ASSERT(strstr(fifo, "last failure"));
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(a_single_file_is_a_source_too)
{
	struct fetch_world w;
	struct digest id;
	_free_ char *in = world_files("in", 2, 3 * MIB, 1);
	_free_ char *f0 = path_join(in, "f0");
	fetch_world_open_real(&w, "cache", roomy, plain);
	struct fetch_tree *t = open_evicted(&w, f0, &id);
	ASSERT_EQ(fetch_world_check(&w, t, "", f0), 3 * MIB);
	fetch_close(t);
	fetch_world_close(&w);
}

static bool is_over_at_once(const struct fetch_read *r _unused_)
{
	return true;
}

TEST(a_read_that_nobody_waits_for_is_not_done)
{
	struct fetch_world w;
	struct digest id;
	_free_ char *in = world_files("in", 1, MIB, 1);
	fetch_world_open(&w, "cache", roomy, plain);
	struct fetch_tree *t = open_evicted(&w, in, &id);
	struct one o = {.read = {.tree = t, .n = 100, .on_done = on_one, .is_over = is_over_at_once}};
	fetch_read_start(&o.read);
	fetch_world_until(&w, &o.is_over);
	ASSERT_EQ(o.n, -ECANCELED);
	ASSERT_EQ(fetch_world_n_reads(&w), 0);
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(a_tree_without_a_source_says_so)
{
	struct fetch_world w;
	_free_ char *in = world_files("in", 3, MIB, 1);
	_free_ char *f0 = path_join(in, "f0");
	fetch_world_open(&w, "cache", roomy, plain);
	struct digest id = world_seal(w.cache, in), none = {.algorithm = DIGEST_SHA256};
	fetch_world_evict(&w, &id);
	struct fetch_open o = {.on_done = NULL};
	o.on_done = (void (*)(struct fetch_open *, int, struct fetch_tree *))abort;
	ASSERT_EQ(fetch_open(w.fetch, &o, &none, "test", "a test"), -ENOENT);
	ASSERT_EQ(fetch_open(w.fetch, &o, &id, "test", "a test"), 0);
	fetch_open_stop(&o);
	struct fetch_tree *t = fetch_world_tree(&w, &id);
	ASSERT_EQ(fetch_world_check(&w, t, "f0", f0), -EIO);
	_free_ char *why = fetch_world_why(t, "f0");
	ASSERT(strstr(why, "source: none is known here") && strstr(why, "fails (EIO)"));
	fetch_close(t);
	fetch_world_close(&w);
}
