/* SPDX-License-Identifier: Apache-2.0
 * A directory that is read while it is sealed. */
#include "tests/unit/draft_world.h"

TEST(a_draft_is_read_before_it_is_sealed_and_has_its_trees_nodes)
{
	struct drafted d;
	_free_ char *in = make_source();
	draft_open(&d, in, plain);
	ASSERT(d.is_noted);
	ASSERT_EQ(check(&d, in, "f3", 0, 50000), 50000);
	ASSERT_EQ(check(&d, in, "f4", 49999, 1), 1);
	for (uint64_t at = 0; at + 128 * 1024 <= 3 * MIB; at += 128u << 10)
		ASSERT_EQ(check(&d, in, "big/f0", at, 128u << 10), 128 << 10);
	ASSERT_EQ(check(&d, in, "big/f1", 2 * MIB - 5, 10), 10);
	ASSERT_EQ(check(&d, in, "big/f1", 2 * MIB, 1u << 20), MIB);
	ASSERT(!d.is_over);
	seal_to_the_end(&d);
	ASSERT_EQ(d.error, 0);
	ASSERT_STR(d.reason, "");
	struct fetch_tree *t = fetch_world_tree(&d.world, &d.id);
	same_nodes(fetch_index(d.tree), fetch_index(t));
	ASSERT_EQ(world_compare(d.world.cache, &d.id, in), 0);
	/* Until somebody takes the tree in its place, the draft reads from it. */
	unsigned n_reads = fetch_world_n_reads(&d.world);
	ASSERT_EQ(check(&d, in, "f3", 0, 50000), 50000);
	ASSERT_EQ(check(&d, in, "big/f1", 100, 1u << 20), MIB);
	ASSERT_EQ(fetch_world_n_reads(&d.world), n_reads);
	fetch_close(t);
	draft_close(&d);
}

TEST(what_is_remembered_is_a_tree_at_once_unless_a_draft_is_asked_for)
{
	struct drafted d;
	struct digest id;
	_free_ char *in = make_source();
	drafted_open(&d, plain);
	d.world.n_read = 1;
	for (time_t until = time(NULL) + UNIT_PATIENCE_SEC; d.world.n_read && time(NULL) < until;) {
		cache_flush(d.world.cache);
		ASSERT_EQ(fetch_world_seal(&d.world, in, NULL, false, &id), 0);
	}
	ASSERT_EQ(d.world.n_read, 0);
	/* While the catalog is written what it remembers may be missed, and a draft is right. */
	cache_flush(d.world.cache);
	ASSERT_EQ(fetch_seal_start(d.world.fetch, &d.seal, in, NULL), 0);
	fetch_world_until(&d.world, &d.is_done);
	ASSERT(!d.is_drafted);
	d.is_done = false;
	d.seal.is_any_draft = true;
	ASSERT_EQ(fetch_seal_start(d.world.fetch, &d.seal, in, NULL), 0);
	fetch_world_until(&d.world, &d.is_drafted);
	ASSERT(!d.is_done);
	/* A number that was never given leads nowhere. */
	d.open.on_done = on_open;
	ASSERT_EQ(fetch_open_draft(d.world.fetch, &d.open, d.number + 1), -ENOENT);
	draft_close(&d);
}

TEST(a_file_that_changes_is_never_a_mixture)
{
	struct drafted d;
	_free_ char *in = make_source();
	_free_ char *big = path_join(in, "big/f0");
	_free_ char *unseen = path_join(in, "big/f1");
	_free_ char *other = NULL;
	draft_open(&d, in, plain);
	ASSERT_EQ(check(&d, in, "big/f0", 0, 4096), 4096);
	ASSERT_EQ(check(&d, in, "f1", 0, 50000), 50000);
	rewrite(big, 7);
	rewrite(unseen, 8);
	/* Nothing tells but the time of change; what was read ahead is what it was. */
	ASSERT_EQ(check(&d, in, "big/f0", 2 * MIB, 4096), -ESTALE);
	ASSERT_EQ(check(&d, in, "big/f1", 0, 4096), -ESTALE);
	_free_ char *why = fetch_world_why(d.tree, "big/f1");
	ASSERT(strstr(why, "being sealed") && strstr(why, "big/f1 has changed"));
	unsigned n;
	ASSERT(strstr(fetch_failure(d.tree, &n), "big/f1 has changed while it was sealed: it was "));
	ASSERT(strstr(fetch_failure(d.tree, &n), " bytes of 20"));
	ASSERT_EQ(n, 2);
	/* The sealing takes it as it finds it; the draft had other bytes of it. */
	seal_to_the_end(&d);
	ASSERT_EQ(d.error, -ESTALE);
	ASSERT(strstr(d.reason, "big/f0"));
	ASSERT_EQ(check(&d, in, "big/f0", 0, 4096), -ESTALE);
	ASSERT_EQ(check(&d, in, "big/f0", 2 * MIB, 4096), -ESTALE);
	ASSERT(strstr(fetch_failure(d.tree, &n), "big/f0 has changed while it was sealed: it was "));
	ASSERT_EQ(n, 4);
	/* Of this one nobody had a byte. */
	ASSERT_EQ(check(&d, in, "big/f1", 0, 4096), 4096);
	ASSERT_EQ(check(&d, in, "f1", 0, 50000), 50000);
	other = fetch_world_why(d.tree, "big/f0");
	ASSERT(strstr(other, "stays a draft") && strstr(other, "mount again"));
	ASSERT_EQ(world_compare(d.world.cache, &d.id, in), 0);
	draft_close(&d);
}

TEST(a_file_whose_size_is_known_to_readers_keeps_it_or_is_stale)
{
	struct drafted d;
	_free_ char *in = make_source();
	_free_ char *f2 = path_join(in, "f2");
	draft_open(&d, in, plain);
	ASSERT_EQ(truncate(f2, 100), 0);
	seal_to_the_end(&d);
	ASSERT_EQ(d.error, -ESTALE);
	ASSERT(strstr(d.reason, "f2"));
	ASSERT_EQ(check(&d, in, "f2", 0, 50), -ESTALE);
	ASSERT_EQ(check(&d, in, "f3", 0, 50), 50);
	int64_t node = tree_find(fetch_index(d.tree), "f2");
	ASSERT_EQ(tree_file_size(fetch_index(d.tree), (uint32_t)node), 50000);
	draft_close(&d);
}

TEST(a_sealing_that_fails_leaves_what_can_be_read)
{
	struct drafted d;
	_free_ char *in = make_source();
	_free_ char *gone = path_join(in, "zz");
	ASSERT_EQ(path_write(gone, "z", 1, 0600, false), 0);
	draft_open(&d, in, (struct fetch_settings){.n_seal_threads = 2});
	ASSERT_EQ(check(&d, in, "zz", 0, 1), 1);
	/* It is the last one, and both threads of the sealing stand before the first ones. */
	ASSERT_EQ(unlink(gone), 0);
	seal_to_the_end(&d);
	ASSERT(d.error < 0 && d.error != -ESTALE);
	ASSERT(strstr(d.reason, "zz"));
	ASSERT_EQ(check(&d, in, "f3", 0, 50000), 50000);
	ASSERT_EQ(check(&d, in, "big/f0", MIB, 4096), 4096);
	_free_ char *why = fetch_world_why(d.tree, "f3");
	ASSERT(strstr(why, "stays a draft") && strstr(why, "zz") && strstr(why, "from the directory"));
	draft_close(&d);
}

TEST(readers_of_one_place_wait_for_one_read_and_not_for_ever)
{
	struct drafted d;
	struct got a, b, nobody, late;
	_free_ char *in = make_source();
	draft_open(&d, in, (struct fetch_settings){.deadline_usec = 20000000, .ahead_size = 1});
	fetch_world_gate(&d.world, in);
	get_start(&a, &d, "f5", 0, 50000);
	get_start(&b, &d, "f5", 10000, 100);
	while (fetch_world_n_waiting(&d.world) < 1)
		fetch_world_turn(&d.world);
	get_start(&nobody, &d, "f6", 0, 1);
	nobody.is_nobody = true;
	fetch_world_until(&d.world, &nobody.is_over);
	ASSERT_EQ(nobody.n, -ECANCELED);
	fetch_world_gate(&d.world, NULL);
	fetch_world_until(&d.world, &a.is_over);
	fetch_world_until(&d.world, &b.is_over);
	ASSERT_EQ(a.n, 50000);
	ASSERT_EQ(b.n, 100);
	ASSERT_EQ(memcmp(a.p + 10000, b.p, 100), 0);
	/* The bytes, and a look at the file after them. */
	ASSERT_EQ(fetch_world_n_reads(&d.world), 2);
	fetch_world_gate(&d.world, in);
	get_start(&late, &d, "f7", 0, 1);
	while (fetch_world_n_waiting(&d.world) < 1)
		fetch_world_turn(&d.world);
	d.world.later_usec += 21000000;
	fetch_world_until(&d.world, &late.is_over);
	ASSERT_EQ(late.n, -EIO);
	free(a.p);
	free(b.p);
	free(nobody.p);
	free(late.p);
	draft_close(&d);
}

/* Many at once, though a source has but four threads of those that all share. */
TEST(what_lies_beside_a_file_that_is_read_is_here_before_it_is_asked_for)
{
	struct drafted d;
	struct got got;
	struct fetch_numbers n = {0};
	_free_ char *in = make_source();
	draft_open(&d, in, plain);
	fetch_world_gate(&d.world, in);
	get_start(&got, &d, "f5", 0, 50000);
	while (fetch_world_n_waiting(&d.world) < 8)
		fetch_world_turn(&d.world);
	fetch_world_gate(&d.world, NULL);
	fetch_world_until(&d.world, &got.is_over);
	ASSERT_EQ(got.n, 50000);
	while (fetch_get_numbers(d.world.fetch, &n), n.n_ahead < 19)
		fetch_world_turn(&d.world);
	unsigned n_reads = fetch_world_n_reads(&d.world);
	ASSERT_EQ(check(&d, in, "f6", 0, 50000), 50000);
	ASSERT_EQ(check(&d, in, "f4", 0, 50000), 50000);
	ASSERT_EQ(fetch_world_n_reads(&d.world), n_reads);
	seal_to_the_end(&d);
	ASSERT_EQ(d.error, 0);
	free(got.p);
	draft_close(&d);
}

#define KIB 1024u

TEST(of_a_large_file_no_more_is_read_than_the_chunks_that_are_asked_for_and_what_lies_beside_them)
{
	struct drafted d;
	_free_ char *in = make_source();
	_free_ _unused_ char *large = world_files("in/large", 1, 8 * MIB, 3);
	draft_open(&d, in, (struct fetch_settings){.ahead_size = 1});
	/* As the kernel asks for what is mapped: five chunks of 32 KiB in one go, and a second look. */
	ASSERT_EQ(check(&d, in, "large/f0", 2 * MIB + 60 * KIB, 128 * KIB), 128 * KIB);
	ASSERT_EQ(fetch_world_size(&d.world), 160 * KIB);
	ASSERT_EQ(fetch_world_n_reads(&d.world), 2);
	/* Nothing of it again. */
	ASSERT_EQ(check(&d, in, "large/f0", 2 * MIB + 100 * KIB, 128 * KIB), 128 * KIB);
	ASSERT_EQ(fetch_world_size(&d.world), (160 + 64) * KIB);
	draft_close(&d);
	/* What its sealing has read by now is not read again. */
	_free_ _unused_ char *another = world_files("in/large", 1, 8 * MIB, 4);
	draft_open(&d, in, plain);
	ASSERT_EQ(check(&d, in, "large/f0", 4 * MIB, 4 * KIB), 4 * KIB);
	while (fetch_world_size(&d.world) < (128 + 32 + 128) * KIB)
		fetch_world_turn(&d.world);
	ASSERT_EQ(fetch_world_size(&d.world), (128 + 32 + 128) * KIB);
	ASSERT_EQ(check(&d, in, "large/f0", 4 * MIB - 128 * KIB, (128 + 32 + 128) * KIB), (128 + 32 + 128) * KIB);
	draft_close(&d);
}

TEST(a_sealing_goes_on_when_its_draft_is_closed)
{
	struct drafted d;
	struct digest id;
	const char *rest;
	_free_ char *in = make_source();
	draft_open(&d, in, plain);
	fetch_watch_stop(&d.watch);
	fetch_close(d.tree);
	d.tree = NULL;
	draft_hold(NULL);
	for (time_t until = time(NULL) + UNIT_PATIENCE_SEC;
	     fetch_find(d.world.fetch, in, &id, &rest) && time(NULL) < until;)
		fetch_world_turn(&d.world);
	ASSERT_EQ(fetch_find(d.world.fetch, in, &id, &rest), 0);
	draft_close(&d);
}

TEST(what_was_on_its_way_is_mounted_as_the_tree_it_has_become)
{
	struct drafted d;
	struct digest id;
	const char *rest;
	_free_ char *in = make_source();
	drafted_open(&d, plain);
	ASSERT_EQ(fetch_seal_start(d.world.fetch, &d.seal, in, NULL), 0);
	fetch_world_until(&d.world, &d.is_drafted);
	for (time_t until = time(NULL) + UNIT_PATIENCE_SEC;
	     fetch_find(d.world.fetch, in, &id, &rest) && time(NULL) < until;)
		fetch_world_turn(&d.world);
	d.open.on_done = on_open;
	d.watch.on_over = on_over;
	ASSERT_EQ(fetch_open_draft(d.world.fetch, &d.open, d.number), 0);
	fetch_world_until(&d.world, &d.is_open);
	/* Who comes now takes a draft of what was sealed before; later he asks for what became of it. */
	struct timespec now;
	uint64_t draft;
	clock_gettime(CLOCK_REALTIME, &now);
	fetch_watch_start(d.tree, &d.watch);
	fetch_world_until(&d.world, &d.is_over);
	ASSERT_EQ(d.error, 0);
	ASSERT(digest_is_equal(&d.id, &id));
	fetch_close(steal(d.tree));
	fetch_world_turn(&d.world);
	uint64_t came_usec = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	ASSERT_EQ(fetch_sealed_since(d.world.fetch, in, came_usec, &id, &draft), 0);
	ASSERT(!draft && digest_is_equal(&d.id, &id));
	draft_close(&d);
}

/* ---- at random */

#define FILES 24u

struct model {
	struct drafted d;
	char *in;
	uint32_t sizes[FILES];
	uint8_t versions[FILES]; /* as it lies there: all its bytes */
	uint8_t seen[FILES];     /* what a reader had of it; 0: nothing */
	uint64_t random;
	unsigned n_good, n_stale, n_written;
};

static uint32_t dice(struct model *m, uint32_t n)
{
	m->random = m->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((m->random >> 33) % n);
}

static char *model_path(const struct model *m, uint32_t i)
{
	return xasprintf("%s/file%u", m->in, i);
}

static void model_write(struct model *m, uint32_t i)
{
	_free_ char *path = model_path(m, i);
	m->versions[i]++;
	m->n_written++;
	rewrite(path, m->versions[i]);
}

static void model_read(struct model *m, uint32_t i)
{
	struct got g;
	_free_ char *name = xasprintf("file%u", i);
	uint32_t offset = dice(m, m->sizes[i]), n = 1 + dice(m, min(m->sizes[i] - offset, 200000u));
	get_start(&g, &m->d, name, offset, n);
	fetch_world_until(&m->d.world, &g.is_over);
	if (g.n > 0) {
		if (!m->seen[i])
			m->seen[i] = g.p[0];
		for (uint32_t k = 0; k < n; k++)
			ASSERT_EQ(g.p[k], m->seen[i]);
		m->n_good++;
	} else {
		ASSERT_EQ(g.n, -ESTALE);
		m->n_stale++;
	}
	free(g.p);
}

static void model_run(struct model *m, unsigned n_steps)
{
	for (unsigned i = 0; i < n_steps; i++) {
		uint32_t file = dice(m, FILES);
		if (dice(m, 12) == 0)
			model_write(m, file);
		else
			model_read(m, file);
	}
}

TEST(readers_see_one_version_of_a_file_whatever_is_written)
{
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct model m = {.random = seed};
		_free_ char *name = xasprintf("random%d", (int)seed);
		m.in = world_files(name, 20, 1, 1); /* the sealing stands still there: "f0" and so on */
		for (uint32_t i = 0; i < FILES; i++) {
			_free_ char *path = model_path(&m, i);
			m.sizes[i] = 1 + (i % 2 ? dice(&m, 3000) : dice(&m, 1500000));
			_free_ uint8_t *p = xcalloc(1, m.sizes[i]);
			ASSERT_EQ(path_write(path, p, m.sizes[i], 0600, false), 0);
			model_write(&m, i);
		}
		draft_open(&m.d, m.in, plain);
		model_run(&m, 120);
		draft_hold(NULL);
		model_run(&m, 40); /* while it goes on */
		fetch_world_until(&m.d.world, &m.d.is_over);
		ASSERT(m.d.error == 0 || m.d.error == -ESTALE || m.d.error == -EIO);
		model_run(&m, 120);
		ASSERT(m.n_good > 30 && m.n_stale > 0 && m.n_written > FILES);
		draft_close(&m.d);
		_free_ char *cache = world_path("cache");
		_free_ char *away = xasprintf("rm -rf %s %s", cache, m.in);
		ASSERT_EQ(system(away), 0);
		free(m.in);
	}
}

TEST(all_that_waits_ends_with_the_fetch)
{
	struct drafted d;
	struct got g;
	_free_ char *in = make_source();
	draft_open(&d, in, plain);
	fetch_world_gate(&d.world, in);
	get_start(&g, &d, "f5", 0, 50000);
	while (fetch_world_n_waiting(&d.world) < 1)
		fetch_world_turn(&d.world);
	draft_close(&d);
	ASSERT_EQ(g.n, -EIO);
	free(g.p);
}
