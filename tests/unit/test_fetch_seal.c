/* SPDX-License-Identifier: Apache-2.0 */
#include "common/path.h"
#include "tests/unit/fetch_world.h"
#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static const struct cache_settings roomy;
static const struct fetch_settings plain;

static void put_text(const char *path, const char *text)
{
	ASSERT_EQ(path_write(path, text, strlen(text), 0644, false), 0);
}

static void shell(const char *command)
{
	ASSERT_EQ(system(command), 0);
}

TEST(a_path_becomes_a_tree_with_a_name)
{
	struct fetch_world w;
	struct digest id, found;
	const char *rest;
	_free_ char *in = world_files("in", 20, 50000, 1);
	fetch_world_open(&w, "cache", roomy, plain);
	ASSERT_EQ(fetch_world_seal(&w, in, "env/one", false, &id), 0);
	ASSERT(w.n_progress > 0);
	ASSERT_EQ(fetch_find(w.fetch, "env/one", &found, &rest), 0);
	ASSERT(digest_is_equal(&found, &id));
	ASSERT_STR(rest, "");
	ASSERT_EQ(fetch_find(w.fetch, "env/one/f3", &found, &rest), 0);
	ASSERT_STR(rest, "f3");
	_free_ char *below = path_join(in, "f3");
	ASSERT_EQ(fetch_find(w.fetch, below, &found, &rest), 0);
	ASSERT_STR(rest, "f3");
	ASSERT(digest_is_equal(&found, &id));
	_free_ char *beside = xasprintf("%sx", in);
	ASSERT_EQ(fetch_find(w.fetch, beside, &found, &rest), -ENOENT);
	ASSERT_EQ(fetch_find(w.fetch, "nothing/here", &found, &rest), -ENOENT);
	ASSERT_EQ(world_compare(w.cache, &id, in), 0);
	fetch_world_close(&w);
}

TEST(what_cannot_be_sealed_is_said)
{
	struct fetch_world w;
	struct digest id;
	_free_ char *in = world_files("in", 2, 1000, 1);
	_free_ char *fifo = world_path("fifo");
	_free_ char *none = world_path("none");
	ASSERT_EQ(mkfifo(fifo, 0600), 0);
	fetch_world_open(&w, "cache", roomy, plain);
	ASSERT_EQ(fetch_world_seal(&w, none, NULL, false, &id), -ENOENT);
	ASSERT(strstr(w.text, none));
	ASSERT_EQ(fetch_world_seal(&w, fifo, NULL, false, &id), -EINVAL);
	ASSERT(strstr(w.text, "neither"));
	ASSERT_EQ(fetch_world_seal(&w, in, "no name", false, &id), -EINVAL);
	ASSERT(strstr(w.text, "not a name"));
	ASSERT_EQ(fetch_world_seal(&w, "relative", NULL, false, &id), -EINVAL);
	fetch_world_close(&w);
}

struct caller {
	struct fetch_seal seal;
	struct digest id;
	int error;
	unsigned n_called;
	bool is_over;
};

static void on_done(struct fetch_seal *s, int error, const struct digest *id, const struct seal_report *errors _unused_,
		    const struct seal_report *notes _unused_)
{
	struct caller *c = container_of(s, struct caller, seal);
	c->n_called++;
	c->error = error;
	if (id)
		c->id = *id;
	c->is_over = true;
}

TEST(callers_of_one_path_share_one_sealing)
{
	struct fetch_world w;
	struct fetch_numbers n;
	struct caller c[4] = {{.seal.on_done = on_done},
			      {.seal.on_done = on_done},
			      {.seal.on_done = on_done},
			      {.seal.on_done = on_done}};
	_free_ char *in = world_files("in", 10, 300000, 1);
	_free_ char *slash = xasprintf("%s//", in);
	fetch_world_open(&w, "cache", roomy, plain);
	ASSERT_EQ(fetch_seal_start(w.fetch, &c[0].seal, in, "a"), 0);
	ASSERT_EQ(fetch_seal_start(w.fetch, &c[1].seal, slash, "b"), 0);
	ASSERT_EQ(fetch_seal_start(w.fetch, &c[2].seal, in, "c"), 0);
	ASSERT_EQ(fetch_seal_start(w.fetch, &c[3].seal, in, NULL), 0);
	fetch_seal_stop(&c[2].seal);
	fetch_world_until(&w, &c[0].is_over);
	fetch_world_until(&w, &c[1].is_over);
	fetch_world_until(&w, &c[3].is_over);
	fetch_get_numbers(w.fetch, &n);
	/* The first may look at it already when the others come. */
	ASSERT(n.n_sealed == 1 || n.n_sealed == 2);
	ASSERT_EQ(c[0].error | c[1].error | c[3].error, 0);
	ASSERT_EQ(c[2].n_called, 0);
	ASSERT(digest_is_equal(&c[0].id, &c[1].id));
	struct digest id;
	const char *rest;
	ASSERT_EQ(fetch_find(w.fetch, "b", &id, &rest), 0);
	ASSERT_EQ(fetch_find(w.fetch, "c", &id, &rest), -ENOENT);
	fetch_world_close(&w);
}

TEST(a_sealing_ends_with_its_last_caller)
{
	struct fetch_world w;
	struct fetch_numbers n;
	struct digest id;
	struct caller c = {.seal.on_done = on_done};
	_free_ char *in = world_files("in", 20, 4 * MIB, 1);
	_free_ char *other = world_files("other", 1, 10, 1);
	fetch_world_open(&w, "cache", roomy, plain);
	ASSERT_EQ(fetch_seal_start(w.fetch, &c.seal, in, NULL), 0);
	fetch_seal_stop(&c.seal);
	fetch_seal_stop(&c.seal);
	ASSERT_EQ(fetch_world_seal(&w, other, NULL, false, &id), 0);
	fetch_get_numbers(w.fetch, &n);
	ASSERT_EQ(c.n_called, 0);
	/* And whatever runs ends with the fetch, with -ECANCELED. */
	ASSERT_EQ(fetch_seal_start(w.fetch, &c.seal, in, NULL), 0);
	fetch_world_close(&w);
	ASSERT_EQ(c.n_called, 1);
	ASSERT(c.error == -ECANCELED || c.error == 0);
}

/* Until nothing of it is young any more: ctime cannot be set back. */
static void seal_until_unread(struct fetch_world *w, const char *path, struct digest *id)
{
	w->n_read = 1;
	for (time_t until = time(NULL) + UNIT_PATIENCE_SEC; w->n_read && time(NULL) < until;) {
		cache_flush(w->cache);
		ASSERT_EQ(fetch_world_seal(w, path, NULL, false, id), 0);
	}
	ASSERT_EQ(w->n_read, 0);
}

TEST(what_is_unchanged_is_not_read_and_what_is_changed_is_noticed)
{
	struct fetch_world w;
	struct digest id, again, other;
	_free_ char *in = world_files("in", 8, 60000, 1);
	_free_ char *big = world_path("in/f0");
	_free_ char *tar = world_path("in.tar.gz");
	_free_ char *pack = xasprintf("tar -C %s -czf %s --format=pax .", in, tar);
	shell(pack);
	fetch_world_open(&w, "cache", roomy, plain);
	seal_until_unread(&w, in, &id);
	seal_until_unread(&w, big, &other);
	seal_until_unread(&w, tar, &again);
	ASSERT(digest_is_equal(&id, &again));
	/* Evicted: an archive or a file is known all the same. */
	fetch_world_evict(&w, &id);
	ASSERT_EQ(fetch_world_seal(&w, tar, NULL, false, &again), 0);
	ASSERT_EQ(w.n_read, 0);
	/* Asked for, it is read. */
	ASSERT_EQ(fetch_world_seal(&w, tar, NULL, true, &again), 0);
	ASSERT(w.n_read > 0);
	ASSERT_EQ(fetch_world_seal(&w, in, NULL, true, &again), 0);
	ASSERT_EQ(w.n_read, 8 * 60000);
	put_text(big, "changed");
	ASSERT_EQ(fetch_world_seal(&w, in, NULL, false, &again), 0);
	ASSERT(!digest_is_equal(&id, &again));
	/* What it was before is not forgotten. */
	ASSERT_EQ(fetch_sources(w.fetch, &id, NULL, NULL), 2);
	ASSERT_EQ(fetch_sources(w.fetch, &again, NULL, NULL), 1);
	ASSERT_EQ(fetch_sources(w.fetch, NULL, NULL, NULL), 3);
	fetch_world_close(&w);
}

TEST(sources_outlive_a_restart)
{
	struct fetch_world w;
	struct digest id, found;
	const char *rest;
	_free_ char *in = world_files("a b%\n\xff", 3, 30000, 1);
	_free_ char *file = path_join(in, "f1");
	fetch_world_open(&w, "cache", roomy, plain);
	ASSERT_EQ(fetch_world_seal(&w, in, NULL, false, &id), 0);
	fetch_world_close(&w);
	fetch_world_open(&w, "cache", roomy, plain);
	ASSERT_EQ(fetch_find(w.fetch, file, &found, &rest), 0);
	ASSERT_STR(rest, "f1");
	ASSERT(digest_is_equal(&id, &found));
	fetch_world_evict(&w, &id);
	struct fetch_tree *t = fetch_world_tree(&w, &id);
	ASSERT_EQ(fetch_world_check(&w, t, "f1", file), 30000);
	fetch_close(t);
	fetch_world_close(&w);
	/* Damaged lines cost no more than themselves; another version nothing but what it knew. */
	_free_ char *sources = world_path("cache/sources");
	_free_ char *add = xasprintf("{ echo directory; echo x /; head -c 300 /dev/urandom; echo; } >>%s", sources);
	shell(add);
	fetch_world_open(&w, "cache", roomy, plain);
	ASSERT_EQ(fetch_sources(w.fetch, &id, NULL, NULL), 1);
	fetch_world_close(&w);
	put_text(sources, "vine sources 2\n");
	fetch_world_open(&w, "cache", roomy, plain);
	ASSERT_EQ(fetch_sources(w.fetch, NULL, NULL, NULL), 0);
	fetch_world_close(&w);
}

TEST(a_tree_larger_than_the_cache_is_sealed_and_read)
{
	struct fetch_world w;
	struct digest id;
	const struct cache_settings small = {.quota = 4 * MIB};
	_free_ char *in = world_files("in", 10, MIB, 1);
	_free_ _unused_ char *packed = world_files("in/small", 100, 30000, 2);
	fetch_world_open(&w, "cache", small, plain);
	ASSERT_EQ(fetch_world_seal(&w, in, NULL, false, &id), 0);
	ASSERT(strstr(w.text, "no room"));
	struct fetch_tree *t = fetch_world_tree(&w, &id);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 10; i++) {
			_free_ char *name = xasprintf("f%d", i);
			_free_ char *path = path_join(in, name);
			ASSERT_EQ(fetch_world_check(&w, t, name, path), MIB);
			_free_ char *below = xasprintf("small/f%d", i * 10);
			_free_ char *full = path_join(in, below);
			ASSERT_EQ(fetch_world_check(&w, t, below, full), 30000);
		}
	}
	struct cache_state s;
	cache_get_state(w.cache, &s);
	ASSERT(s.size <= 4 * MIB);
	fetch_close(t);
	fetch_world_close(&w);
}

static void damage_index(const struct digest *id)
{
	char text[DIGEST_TEXT_SIZE];
	_free_ char *pattern = xasprintf("t/%s.vti", digest_text(id, text));
	ASSERT(world_flip("cache", pattern, 300));
}

/* Directory and archive are one tree in two layouts; an archive or a file that is as it was is not even opened to be read. */
TEST(one_sealing_heals_a_damaged_index)
{
	struct fetch_world w;
	struct digest id, again;
	_free_ char *in = world_files("in", 50, 20000, 1);
	_free_ char *tar = world_path("in.tar"), *file = path_join(in, "f3");
	_free_ char *pack = xasprintf(
		"cd %s && find . | sort -r >../list && tar --format=pax --no-recursion -cf %s -T ../list", in, tar);
	const char *const paths[] = {in, tar, file, in, tar};
	shell(pack);
	fetch_world_open(&w, "cache", roomy, plain);
	for (unsigned i = 0; i < countof(paths); i++) {
		ASSERT_EQ(fetch_world_seal(&w, paths[i], NULL, false, &id), 0);
		for (time_t until = time(NULL) + UNIT_PATIENCE_SEC; w.n_read && time(NULL) < until;)
			ASSERT_EQ(fetch_world_seal(&w, paths[i], NULL, false, &again), 0);
		ASSERT_EQ(w.n_read, 0);
		damage_index(&id);
		ASSERT_EQ(fetch_world_seal(&w, paths[i], NULL, false, &again), 0);
		ASSERT(digest_is_equal(&again, &id));
		struct fetch_tree *t = fetch_world_tree(&w, &id);
		ASSERT_EQ(fetch_world_check(&w, t, paths[i] == file ? "" : "f3", file), 20000);
		fetch_close(t);
		fetch_world_turn(&w);
	}
	fetch_world_close(&w);
}
