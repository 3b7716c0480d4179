/* SPDX-License-Identifier: Apache-2.0
 * WATCH_CHUNKS: what is told, and what is kept for who does not listen. */
#include "common/path.h"
#include "tests/unit/give_world.h"
#include "tests/unit/unit.h"

static char *some_chunks(void)
{
	return world_files("tree", 4, 300000, 7);
}

static uint64_t n_has(const struct watch_some *w)
{
	uint64_t n = 0;
	for (uint64_t i = 0; i < w->n_chunks; i++)
		n += w->has[i];
	return n;
}

TEST(a_watcher_hears_of_all_that_is_here)
{
	_free_ char *path = some_chunks();
	struct giver g;
	struct client a;
	struct watch_some w = {.error = 0};
	giver_open(&g, path);
	client_open(&a, &g);
	watch_some_start(&w, &a);
	ASSERT(UNTIL(g.world.loop, w.n_all));
	ASSERT_EQ(w.n_index, 1);
	ASSERT_EQ(w.n_told, 0);
	ASSERT_EQ(w.n_ends, 0);
	watch_some_fini(&w);
	client_close(&a);
	giver_close(&g);
}

TEST(a_watcher_hears_of_what_comes)
{
	_free_ char *path = some_chunks();
	struct giver g;
	struct client a;
	struct watch_some w = {.error = 0};
	giver_open_empty(&g, path);
	giver_fill(&g, 0, 2);
	client_open(&a, &g);
	watch_some_start(&w, &a);
	ASSERT(UNTIL(g.world.loop, w.n_index && n_has(&w) == 2));
	ASSERT_EQ(w.n_all, 0);
	giver_fill(&g, 3, g.n_chunks);
	ASSERT(UNTIL(g.world.loop, n_has(&w) == g.n_chunks - 1));
	ASSERT_EQ(w.has[2], 0);
	giver_fill(&g, 2, 3);
	ASSERT(UNTIL(g.world.loop, n_has(&w) == g.n_chunks));
	watch_some_fini(&w);
	client_close(&a);
	giver_close(&g);
}

TEST(who_does_not_listen_is_told_the_difference_when_he_does)
{
	_free_ char *path = world_files("tree", 40, 300000, 7);
	struct giver g;
	struct client deaf, quick;
	struct watch_some d = {.error = 0}, q = {.error = 0};
	giver_open_empty(&g, path);
	client_open(&deaf, &g);
	client_open(&quick, &g);
	watch_some_start(&d, &deaf);
	watch_some_start(&q, &quick);
	ASSERT(UNTIL(g.world.loop, d.n_index && q.n_index));
	/* His credit is used up by what he does not take. */
	d.is_held = true;
	for (unsigned round = 0; round < 3; round++) {
		for (uint64_t i = round; i < g.n_chunks; i += 3)
			giver_fill(&g, i, i + 1);
		ASSERT(UNTIL(g.world.loop, n_has(&q) == (g.n_chunks * (round + 1) + 2 - round) / 3));
	}
	d.is_held = false;
	call_more(&d.call);
	ASSERT(UNTIL(g.world.loop, n_has(&d) == g.n_chunks));
	watch_some_fini(&d);
	watch_some_fini(&q);
	client_close(&deaf);
	client_close(&quick);
	giver_close(&g);
}

TEST(another_layout_is_no_lie_and_no_tree_is_no_stream)
{
	_free_ char *path = some_chunks();
	struct giver g;
	struct client a;
	struct watch_some w = {.error = 0}, other = {.error = 0};
	giver_open(&g, path);
	client_open(&a, &g);
	struct digest id = g.id, layout = g.layout;
	g.layout.byte[0] ^= 1;
	watch_some_start(&w, &a);
	g.layout = layout;
	g.id.byte[0] ^= 1;
	watch_some_start(&other, &a);
	g.id = id;
	ASSERT(UNTIL(g.world.loop, w.n_replies && other.n_replies));
	ASSERT_EQ(w.error, -ESTALE);
	ASSERT_EQ(other.error, -ENOENT);
	watch_some_fini(&w);
	watch_some_fini(&other);
	client_close(&a);
	giver_close(&g);
}

TEST(a_watcher_who_leaves_at_any_moment_leaves_nothing_behind)
{
	for (unsigned n = 0; n < 8; n++) {
		_free_ char *path = some_chunks();
		struct giver g;
		struct client a, other;
		struct watch_some w = {.error = 0}, stays = {.error = 0};
		giver_open_empty(&g, path);
		client_open(&a, &g);
		client_open(&other, &g);
		watch_some_start(&stays, &other);
		watch_some_start(&w, &a);
		for (unsigned i = 0; i < n / 2; i++)
			loop_turn(g.world.loop, 1);
		giver_fill(&g, 0, 1);
		if (n % 2)
			call_stop(&w.call);
		else
			conn_abort(a.near, ECONNRESET, "as told");
		giver_fill(&g, 1, g.n_chunks);
		ASSERT(UNTIL(g.world.loop, n_has(&stays) == g.n_chunks));
		watch_some_fini(&w);
		watch_some_fini(&stays);
		client_close(&a);
		client_close(&other);
		giver_close(&g);
	}
}
