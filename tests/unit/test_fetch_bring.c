/* SPDX-License-Identifier: Apache-2.0
 * Who waits for parts of a tree, for what others bring, and for paths that may not answer. */
#include "common/path.h"
#include "tests/unit/fetch_world.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

static const struct cache_settings roomy;
static const struct fetch_settings plain;

struct brought {
	struct fetch_bring bring;
	bool is_done;
	int error;
	char *reason;
};

static void on_brought(struct fetch_bring *b, int error, const char *reason)
{
	struct brought *x = container_of(b, struct brought, bring);
	ASSERT(!x->is_done);
	x->is_done = true;
	x->error = error;
	x->reason = xstrdup(reason);
}

static void bring(struct brought *b, struct fetch_tree *t, const uint32_t *nodes, size_t n)
{
	*b = (struct brought){.bring = {.on_done = on_brought}};
	fetch_bring_start(t, &b->bring, nodes, n, true);
	ASSERT(!b->is_done);
}

static uint64_t n_absent(const struct fetch_tree *t)
{
	uint64_t n = 0;
	for (uint64_t i = 0; i < tree_n_chunks(fetch_index(t)); i++)
		n += cache_tree_residency(fetch_cache_tree(t), i) == CACHE_ABSENT;
	return n;
}

static const uint32_t all = 0;

TEST(all_of_a_tree_is_brought_and_then_told)
{
	struct fetch_world w;
	struct digest id;
	struct brought b, again;
	_free_ char *in = world_files("in", 3, 5 * MIB, 1);
	fetch_world_open(&w, "cache", roomy, plain);
	ASSERT_EQ(fetch_world_seal(&w, in, NULL, false, &id), 0);
	fetch_world_evict(&w, &id);
	struct fetch_tree *t = fetch_world_tree(&w, &id);
	ASSERT(n_absent(t) == tree_n_chunks(fetch_index(t)));
	bring(&b, t, &all, 1);
	bring(&again, t, &all, 1);
	fetch_world_until(&w, &b.is_done);
	fetch_world_until(&w, &again.is_done);
	ASSERT_EQ(b.error, 0);
	ASSERT_EQ(again.error, 0);
	ASSERT_EQ(n_absent(t), 0);
	free(b.reason);
	free(again.reason);
	/* And what is here already. */
	bring(&b, t, &all, 1);
	fetch_world_until(&w, &b.is_done);
	ASSERT_EQ(b.error, 0);
	free(b.reason);
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(a_part_of_a_tree_is_brought_without_the_rest)
{
	struct fetch_world w;
	struct digest id;
	struct brought b;
	_free_ char *in = world_files("in", 3, 5 * MIB, 1);
	fetch_world_open(&w, "cache", roomy, plain);
	ASSERT_EQ(fetch_world_seal(&w, in, NULL, false, &id), 0);
	fetch_world_evict(&w, &id);
	struct fetch_tree *t = fetch_world_tree(&w, &id);
	uint32_t node = (uint32_t)tree_find(fetch_index(t), "f1");
	bring(&b, t, &node, 1);
	fetch_world_until(&w, &b.is_done);
	ASSERT_EQ(b.error, 0);
	ASSERT_EQ(n_absent(t), tree_n_chunks(fetch_index(t)) / 3 * 2);
	free(b.reason);
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(what_cannot_be_brought_is_said_with_its_reason)
{
	struct fetch_world w;
	struct digest id;
	struct brought b;
	_free_ char *in = world_files("in", 3, 5 * MIB, 1);
	_free_ char *gone = path_join(in, "f1");
	fetch_world_open(&w, "cache", roomy, plain);
	ASSERT_EQ(fetch_world_seal(&w, in, NULL, false, &id), 0);
	fetch_world_evict(&w, &id);
	ASSERT_EQ(unlink(gone), 0);
	struct fetch_tree *t = fetch_world_tree(&w, &id);
	bring(&b, t, &all, 1);
	fetch_world_until(&w, &b.is_done);
	ASSERT(b.error < 0 && strstr(b.reason, "f1"));
	free(b.reason);
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(whoever_stops_waiting_hears_nothing)
{
	struct fetch_world w;
	struct digest id;
	struct brought b;
	_free_ char *in = world_files("in", 3, 5 * MIB, 1);
	fetch_world_open(&w, "cache", roomy, plain);
	ASSERT_EQ(fetch_world_seal(&w, in, NULL, false, &id), 0);
	fetch_world_evict(&w, &id);
	struct fetch_tree *t = fetch_world_tree(&w, &id);
	bring(&b, t, &all, 1);
	fetch_world_turn(&w);
	fetch_bring_stop(&b.bring);
	fetch_bring_stop(&b.bring);
	for (unsigned i = 0; i < 20; i++)
		fetch_world_turn(&w);
	ASSERT(!b.is_done);
	fetch_close(t);
	fetch_world_close(&w);
}

/* ---- what others bring */

struct got {
	struct fetch_read read;
	bool is_over;
	ssize_t n;
};

static void on_read(struct fetch_read *r, const void *p, ssize_t n)
{
	struct got *g = container_of(r, struct got, read);
	(void)p;
	g->n = n;
	__atomic_store_n(&g->is_over, true, __ATOMIC_RELEASE);
}

/* A tree of which nobody has a source, and nothing is here. */
static struct fetch_tree *open_bare(struct fetch_world *w, struct world_copy *copy)
{
	struct digest id;
	_free_ _unused_ char *in = world_files("elsewhere", 3, 2 * MIB, 1);
	world_copy_make(copy, in);
	ASSERT_EQ(cache_publish(w->cache, copy->vti, copy->n, &id), 0);
	return fetch_world_tree(w, &id);
}

static void read_first(struct got *g, struct fetch_tree *t)
{
	*g = (struct got){.read = {.tree = t, .blob = 0, .n = 1000, .on_done = on_read}};
	fetch_read_start(&g->read);
}

TEST(what_others_bring_is_waited_for_by_who_reads_it)
{
	struct fetch_world w;
	struct world_copy copy;
	struct got g;
	struct brought b;
	fetch_world_open(&w, "cache", roomy, plain);
	struct fetch_tree *t = open_bare(&w, &copy);
	fetch_expect(t, true);
	read_first(&g, t);
	bring(&b, t, &all, 1);
	for (unsigned i = 0; i < 30; i++)
		fetch_world_turn(&w);
	ASSERT(!g.is_over && !b.is_done);
	ASSERT_EQ(world_fill(fetch_cache_tree(t), &copy, 0, 1), 0);
	fetch_world_until(&w, &g.is_over);
	ASSERT_EQ(g.n, 1000);
	ASSERT(!b.is_done);
	ASSERT_EQ(world_fill(fetch_cache_tree(t), &copy, 1, copy.n_chunks), 0);
	fetch_world_until(&w, &b.is_done);
	ASSERT_EQ(b.error, 0);
	free(b.reason);
	world_copy_fini(&copy);
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(what_nobody_brings_is_an_error_at_once_or_when_it_is_expected_no_more)
{
	struct fetch_world w;
	struct world_copy copy;
	struct got g, h;
	fetch_world_open(&w, "cache", roomy, plain);
	struct fetch_tree *t = open_bare(&w, &copy);
	read_first(&g, t);
	fetch_world_until(&w, &g.is_over);
	ASSERT_EQ(g.n, -EIO);
	fetch_expect(t, true);
	read_first(&h, t);
	for (unsigned i = 0; i < 20; i++)
		fetch_world_turn(&w);
	ASSERT(!h.is_over);
	fetch_expect(t, false);
	fetch_world_until(&w, &h.is_over);
	ASSERT_EQ(h.n, -EIO);
	world_copy_fini(&copy);
	fetch_close(t);
	fetch_world_close(&w);
}

TEST(the_end_does_not_wait_for_what_is_expected)
{
	struct fetch_world w;
	struct world_copy copy;
	struct got g;
	fetch_world_open(&w, "cache", roomy, plain);
	struct fetch_tree *t = open_bare(&w, &copy);
	fetch_expect(t, true);
	read_first(&g, t);
	for (unsigned i = 0; i < 20; i++)
		fetch_world_turn(&w);
	fetch_close(t);
	fetch_world_close(&w);
	ASSERT(g.is_over && g.n < 0);
	world_copy_fini(&copy);
}

/* ---- looks */

struct looked {
	struct fetch_look look;
	bool is_done;
	int error;
	struct stat st;
};

static void on_looked(struct fetch_look *l, int error, const struct stat *st)
{
	struct looked *x = container_of(l, struct looked, look);
	ASSERT(!x->is_done);
	x->is_done = true;
	x->error = error;
	x->st = *st;
}

TEST(what_lies_at_a_path_is_told_to_all_who_ask)
{
	struct fetch_world w;
	struct looked a = {.look = {.on_done = on_looked}}, b = a, none = a, stopped = a;
	_free_ char *in = world_files("in", 1, 1000, 1);
	_free_ char *file = path_join(in, "f0");
	fetch_world_open(&w, "cache", roomy, plain);
	fetch_look_start(w.fetch, &a.look, file);
	fetch_look_start(w.fetch, &b.look, file);
	fetch_look_start(w.fetch, &stopped.look, file);
	fetch_look_start(w.fetch, &none.look, "/nowhere/at/all");
	fetch_look_stop(&stopped.look);
	fetch_world_until(&w, &a.is_done);
	fetch_world_until(&w, &b.is_done);
	fetch_world_until(&w, &none.is_done);
	ASSERT(a.error == 0 && S_ISREG(a.st.st_mode) && a.st.st_size == 1000);
	ASSERT(b.error == 0 && b.st.st_ino == a.st.st_ino);
	ASSERT_EQ(none.error, -ENOENT);
	ASSERT(!stopped.is_done);
	fetch_world_close(&w);
}
