/* SPDX-License-Identifier: Apache-2.0
 * READ_SOME: which chunk is given, to whom first. */
#include "common/path.h"
#include "tests/unit/give_world.h"
#include "tests/unit/unit.h"
#include "vinefs/fetch/peer.h"
#include "vinefs/give_internal.h"

TEST(a_rate_is_of_some_time_and_no_burst_s)
{
	struct meter m = {.rate = 0};
	meter_look(&m, 1000000, 0, true);
	meter_look(&m, 1010000, 200000, true);
	ASSERT_EQ(m.rate, 0);
	meter_look(&m, 1100000, 1000000, true);
	ASSERT_EQ(m.rate, 10000000);
	meter_look(&m, 1120000, 1600000, true);
	ASSERT_EQ(m.rate, 20000000);
	meter_look(&m, 1220000, 2800000, true);
	ASSERT_EQ(m.rate, 19000000);
	/* Nothing was under way for some of it. */
	meter_look(&m, 1320000, 2900000, false);
	ASSERT_EQ(m.rate, 19000000);
}

static char *few_chunks(void)
{
	return world_files("tree", 3, 300000, 7);
}

TEST(what_is_given_is_what_the_tree_has)
{
	_free_ char *path = few_chunks();
	struct giver g;
	struct client a;
	giver_open(&g, path);
	client_open(&a, &g);
	for (uint64_t i = 0; i < g.n_chunks; i++) {
		struct want w = {.error = 0};
		want_one(&w, &a, i, SWARM_BULK);
		ASSERT(UNTIL(g.world.loop, w.n_ends));
		ASSERT(want_is_good(&w));
		ASSERT_EQ(w.some.chunk, i);
		want_fini(&w);
	}
	client_close(&a);
	giver_close(&g);
}

TEST(every_chunk_is_given_once_before_any_is_given_twice_whoever_asks)
{
	_free_ char *path = few_chunks();
	struct giver g;
	struct client a[3];
	giver_open(&g, path);
	for (size_t i = 0; i < countof(a); i++)
		client_open(&a[i], &g);
	for (unsigned round = 1; round <= 2; round++) {
		_free_ unsigned *n_given = xcalloc(g.n_chunks, sizeof *n_given);
		for (uint64_t i = 0; i < g.n_chunks; i++) {
			struct want w = {.error = 0};
			want_any(&w, &a[i % countof(a)], SWARM_BULK);
			ASSERT(UNTIL(g.world.loop, w.n_ends));
			ASSERT(want_is_good(&w));
			ASSERT_EQ(n_given[w.some.chunk]++, 0);
			want_fini(&w);
		}
	}
	for (size_t i = 0; i < countof(a); i++)
		client_close(&a[i]);
	giver_close(&g);
}

TEST(what_is_not_here_is_not_given_and_what_is_wanted_is_looked_for)
{
	_free_ char *path = few_chunks();
	struct giver g;
	struct client a;
	giver_open_empty(&g, path);
	client_open(&a, &g);
	struct want w = {.error = 0};
	want_any(&w, &a, SWARM_BULK);
	ASSERT(UNTIL(g.world.loop, w.n_replies));
	ASSERT_EQ(w.error, -ENODATA);
	want_fini(&w);
	giver_fill(&g, 1, 2);
	w = (struct want){.error = 0};
	want_any(&w, &a, SWARM_BULK);
	ASSERT(UNTIL(g.world.loop, w.n_ends));
	ASSERT(want_is_good(&w));
	ASSERT_EQ(w.some.chunk, 1);
	want_fini(&w);
	client_close(&a);
	giver_close(&g);
}

static void never(struct shelf_user *u, int error)
{
	(void)u, (void)error;
	ASSERT(false);
}

TEST(a_small_tree_in_memory_is_given_without_another_thread)
{
	_free_ char *path = world_files("tree", 1, 4096, 7);
	struct giver g;
	uint8_t bytes[4096];
	giver_open(&g, path);
	struct shelf_user u = {.on_open = never};
	ASSERT_EQ(shelf_join(g.serve, &u, &g.id), 0);
	ASSERT(!u.is_waiting && u.shelf->tree);
	ASSERT_EQ(cache_tree_read(shelf_cache_tree(u.shelf), 0, 0, bytes, sizeof bytes, false), 0);
	shelf_leave(&u);
	giver_close(&g);
}

static int error_of(struct client *a, const struct digest *tree, const struct digest *layout)
{
	struct digest id = a->giver->id, was = a->giver->layout;
	struct want w = {.error = 0};
	a->giver->id = *tree;
	a->giver->layout = *layout;
	want_any(&w, a, SWARM_BULK);
	a->giver->id = id;
	a->giver->layout = was;
	ASSERT(UNTIL(a->giver->world.loop, w.n_replies));
	want_fini(&w);
	return w.error;
}

TEST(another_layout_and_an_unknown_tree_are_told_apart)
{
	_free_ char *path = few_chunks();
	struct giver g;
	struct client a;
	giver_open(&g, path);
	client_open(&a, &g);
	struct digest other = g.id, layout = g.layout;
	other.byte[0] ^= 1;
	layout.byte[0] ^= 1;
	ASSERT_EQ(error_of(&a, &g.id, &layout), -ESTALE);
	ASSERT_EQ(error_of(&a, &other, &g.layout), -ENOENT);
	client_close(&a);
	giver_close(&g);
}

/* Packed, so larger than what is under way at most while nobody knows how fast it goes. */
static char *large_chunks(void)
{
	return world_files("tree", 80, 100000, 7);
}

TEST(two_who_ask_for_much_are_served_in_turn)
{
	_free_ char *path = few_chunks();
	struct giver g;
	struct client a[2];
	struct want w[12] = {{.error = 0}};
	giver_open(&g, path);
	client_open(&a[0], &g);
	client_open(&a[1], &g);
	/* All of the first's are here before the second's. */
	for (size_t i = 0; i < countof(w); i++)
		want_any(&w[i], &a[i / 6], SWARM_BULK);
	for (size_t i = 0; i < countof(w); i++)
		ASSERT(UNTIL(g.world.loop, w[i].n_ends) && want_is_good(&w[i]));
	unsigned first = 0, last = 0;
	for (size_t i = 0; i < 6; i++) {
		first = max(first, w[i].order);
		last = max(last, w[6 + i].order);
	}
	/* Else all of the first's ended before any of the second's. */
	ASSERT(first + 3 >= last);
	for (size_t i = 0; i < countof(w); i++)
		want_fini(&w[i]);
	client_close(&a[0]);
	client_close(&a[1]);
	giver_close(&g);
}

TEST(a_reader_overtakes_what_waits_and_what_is_sooner_needed_the_rest)
{
	_free_ char *path = large_chunks();
	struct giver g;
	struct client a[3];
	struct want bulk[24] = {{.error = 0}}, gating = {.error = 0}, urgent = {.error = 0};
	giver_open(&g, path);
	for (size_t i = 0; i < countof(a); i++)
		client_open(&a[i], &g);
	for (size_t i = 0; i < countof(bulk); i++)
		want_any(&bulk[i], &a[0], SWARM_BULK);
	want_one(&gating, &a[1], g.n_chunks - 1, SWARM_GATING);
	want_one(&urgent, &a[2], g.n_chunks - 2, SWARM_NOW);
	for (size_t i = 0; i < countof(bulk); i++)
		ASSERT(UNTIL(g.world.loop, bulk[i].n_ends));
	ASSERT(UNTIL(g.world.loop, gating.n_ends && urgent.n_ends));
	ASSERT(want_is_good(&gating) && want_is_good(&urgent));
	unsigned n_after[2] = {0};
	for (size_t i = 0; i < countof(bulk); i++) {
		n_after[0] += bulk[i].order > urgent.order;
		n_after[1] += bulk[i].order > gating.order;
		want_fini(&bulk[i]);
	}
	ASSERT(n_after[0] >= 12);
	ASSERT(n_after[1] >= 8);
	want_fini(&gating);
	want_fini(&urgent);
	for (size_t i = 0; i < countof(a); i++)
		client_close(&a[i]);
	giver_close(&g);
}

/* Of bulk, on a link of 10 MB/s on which nothing is under way. */
static size_t room(const struct giver *g)
{
	struct serve *s = g->serve;
	struct asker *a = list_first(&s->askers, struct asker, link);
	struct gift bulk = {.owner = s, .asker = a, .rank = SWARM_BULK};
	s->meter.rate = a->meter.rate = 10000000;
	s->pending = a->pending = 0;
	return gift_room(&bulk);
}

TEST(less_lies_before_readers_who_may_come_back)
{
	_free_ char *path = large_chunks();
	struct giver g;
	struct client a;
	struct want bulk = {.error = 0}, urgent = {.error = 0};
	giver_open(&g, path);
	client_open(&a, &g);
	want_one(&bulk, &a, 0, SWARM_BULK);
	ASSERT(UNTIL(g.world.loop, bulk.n_ends) && want_is_good(&bulk));
	ASSERT_EQ(room(&g), 300000);
	fetch_world_stand_still(&g.world);
	want_one(&urgent, &a, 1, SWARM_NOW);
	ASSERT(UNTIL(g.world.loop, urgent.n_ends) && want_is_good(&urgent));
	ASSERT_EQ(room(&g), 30000);
	/* He has read so for 2 s: then bulk has its turn for a while. */
	g.serve->reading_usec = loop_now_usec(g.world.loop) - 2100000;
	ASSERT_EQ(room(&g), 100000);
	g.serve->reading_usec = loop_now_usec(g.world.loop) - 2600000;
	ASSERT_EQ(room(&g), 30000);
	g.serve->read_usec = loop_now_usec(g.world.loop) - 500000;
	ASSERT_EQ(room(&g), 100000);
	g.serve->read_usec = loop_now_usec(g.world.loop) - 1500000;
	ASSERT_EQ(room(&g), 300000);
	want_fini(&bulk);
	want_fini(&urgent);
	client_close(&a);
	giver_close(&g);
}

TEST(what_is_given_keeps_low_for_readers_of_this_node)
{
	static const struct wire_hello hello = {.cluster = ""};
	_free_ char *path = large_chunks();
	struct giver g;
	struct client a;
	struct want bulk = {.error = 0};
	giver_open(&g, path);
	struct fetch_peers *f = fetch_peers_new(&(struct fetch_peers_settings){
		.loop = g.world.loop, .fetch = g.world.fetch, .cache = g.world.cache, .hello = &hello});
	serve_use_peers(g.serve, f);
	client_open(&a, &g);
	want_one(&bulk, &a, 0, SWARM_BULK);
	ASSERT(UNTIL(g.world.loop, bulk.n_ends) && want_is_good(&bulk));
	ASSERT_EQ(room(&g), 300000);
	fetch_world_stand_still(&g.world);
	readers_join(f);
	ASSERT_EQ(room(&g), 30000);
	readers_leave(f);
	ASSERT_EQ(room(&g), 30000);
	f->left_usec -= 500000;
	ASSERT_EQ(room(&g), 100000);
	f->left_usec -= 1000000;
	ASSERT_EQ(room(&g), 300000);
	want_fini(&bulk);
	client_close(&a);
	serve_use_peers(g.serve, NULL);
	fetch_peers_free(f);
	giver_close(&g);
}

TEST(who_takes_nothing_keeps_nobody_else_from_his_turn)
{
	_free_ char *path = large_chunks();
	struct giver g;
	struct client a[2];
	struct want held[12] = {{.error = 0}}, w = {.error = 0};
	giver_open(&g, path);
	client_open(&a[0], &g);
	client_open(&a[1], &g);
	for (size_t i = 0; i < countof(held); i++) {
		held[i].is_held = true;
		want_any(&held[i], &a[0], i % 2 ? SWARM_NOW : SWARM_BULK);
	}
	ASSERT(UNTIL(g.world.loop, held[0].bytes.n));
	for (unsigned i = 0; i < 5; i++) {
		want_any(&w, &a[1], SWARM_BULK);
		ASSERT(UNTIL(g.world.loop, w.n_ends) && want_is_good(&w));
		want_fini(&w);
		w = (struct want){.error = 0};
	}
	for (size_t i = 0; i < countof(held); i++)
		want_fini(&held[i]);
	client_close(&a[0]);
	client_close(&a[1]);
	giver_close(&g);
}

/* So many turns after the asking; it is cancelled, or the connection goes. */
static void leave_after(unsigned n_turns, bool is_cancel, unsigned rank)
{
	_free_ char *path = large_chunks();
	struct giver g;
	struct client a, other;
	struct want w[6] = {{.error = 0}}, last = {.error = 0};
	giver_open(&g, path);
	client_open(&a, &g);
	client_open(&other, &g);
	for (size_t i = 0; i < countof(w); i++) {
		w[i].is_held = true;
		want_any(&w[i], &a, rank);
	}
	for (unsigned i = 0; i < n_turns; i++)
		loop_turn(g.world.loop, 1);
	for (size_t i = 0; is_cancel && i < countof(w); i++)
		call_stop(&w[i].call);
	if (!is_cancel)
		conn_abort(a.near, ECONNRESET, "as told");
	want_any(&last, &other, SWARM_BULK);
	ASSERT(UNTIL(g.world.loop, last.n_ends) && want_is_good(&last));
	for (size_t i = 0; i < countof(w); i++)
		want_fini(&w[i]);
	want_fini(&last);
	client_close(&a);
	client_close(&other);
	giver_close(&g);
}

TEST(who_leaves_at_any_moment_leaves_nothing_behind)
{
	for (unsigned n = 0; n < 12; n++) {
		leave_after(n, n % 2, n % 3 ? SWARM_BULK : SWARM_NOW);
		leave_after(n, !(n % 2), SWARM_GATING);
	}
}

static const uint8_t all_parts[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

TEST(an_index_is_given_in_parts_that_their_digests_tell)
{
	_free_ char *path = world_files("tree", 4000, 10, 7);
	struct giver g;
	struct client a;
	giver_open(&g, path);
	client_open(&a, &g);
	uint64_t n_parts = data_n_chunks(g.copy.n, 128u << 10);
	ASSERT(n_parts > 1);
	_cleanup_(buf_fini) struct buf digests = {0};
	ask_parts(&a, &digests, g.copy.n);
	ASSERT_EQ(digests.n, n_parts * DIGEST_SIZE);
	uint64_t seen = 0;
	for (uint64_t i = 0; i < n_parts; i++) {
		struct want w = {.error = 0};
		struct digest d;
		want_part(&w, &a, all_parts, sizeof all_parts);
		ASSERT(UNTIL(g.world.loop, w.n_ends) && !w.error);
		ASSERT(!(seen & 1u << w.some.chunk));
		seen |= 1u << w.some.chunk;
		ASSERT_EQ(w.bytes.n, min((uint64_t)128 << 10, g.copy.n - w.some.chunk * (128u << 10)));
		ASSERT(memcmp(w.bytes.at, (uint8_t *)g.copy.vti + w.some.chunk * (128u << 10), w.bytes.n) == 0);
		digest_bytes(w.bytes.at, w.bytes.n, &d);
		ASSERT(memcmp(d.byte, digests.at + w.some.chunk * DIGEST_SIZE, DIGEST_SIZE) == 0);
		want_fini(&w);
	}
	/* Beyond them there is none. */
	struct want w = {.error = 0};
	want_part(&w, &a, (const uint8_t[16]){[15] = 0x80}, 16);
	ASSERT(UNTIL(g.world.loop, w.n_replies));
	ASSERT_EQ(w.error, -ENODATA);
	want_fini(&w);
	client_close(&a);
	giver_close(&g);
}
