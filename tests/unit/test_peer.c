/* SPDX-License-Identifier: Apache-2.0
 * A tree comes from another node: two caches with their loops, and TLS between them; or a holder that does wrong. */
#include "tests/unit/peer_world.h"
#include "tests/unit/unit.h"

TEST(a_tree_comes_whole_from_a_node_that_has_it)
{
	_free_ char *path = peer_make_tree();
	struct fetch_world w;
	struct side a;
	struct b_side b;
	struct pulling p;
	struct digest id;
	peer_honest_open(&a, &w, path, &id);
	peer_b_open(&b, (struct cache_settings){0});
	ASSERT_EQ(peer_pull(&b, &p, &id, (struct side *[]){&a}, 1), 0);
	ASSERT_EQ(p.n_index, 1);
	ASSERT_EQ(peer_n_absent(&b, &id), 0);
	ASSERT_EQ(world_compare(b.world.cache, &id, path), 0);
	/* What is here is not asked for again. */
	unsigned n_chunks = a.n_chunks;
	ASSERT_EQ(peer_pull(&b, &p, &id, (struct side *[]){&a}, 1), 0);
	ASSERT_EQ(p.n_index, 0);
	ASSERT_EQ(a.n_chunks, n_chunks);
	ASSERT_EQ(a.n_index, 1);
	peer_b_close(&b);
	peer_honest_close(&a);
}

TEST(a_tree_that_is_here_in_part_gets_the_rest)
{
	_free_ char *path = peer_make_tree();
	struct fetch_world w;
	struct side a, half;
	struct b_side b;
	struct pulling p;
	struct digest id;
	struct world_copy copy;
	peer_honest_open(&a, &w, path, &id);
	world_copy_make(&copy, path);
	peer_b_open(&b, (struct cache_settings){0});
	peer_player_open(&half, &b, &copy, FAULT_HANGS_UP, copy.n_chunks / 2);
	ASSERT_EQ(peer_pull(&b, &p, &id, (struct side *[]){&half}, 1), -EHOSTUNREACH);
	unsigned n = peer_n_absent(&b, &id);
	ASSERT(n > 0);
	ASSERT_EQ(peer_pull(&b, &p, &id, (struct side *[]){&a}, 1), 0);
	ASSERT_EQ(p.n_index, 0);
	ASSERT_EQ(a.n_index, 0);
	ASSERT_EQ(peer_n_absent(&b, &id), 0);
	ASSERT_EQ(world_compare(b.world.cache, &id, path), 0);
	peer_side_close(&half);
	peer_b_close(&b);
	peer_honest_close(&a);
	world_copy_fini(&copy);
}

static void fails_then_next(enum fault fault, uint64_t n_before, const char *reason)
{
	_free_ char *path = peer_make_tree();
	struct side bad, good;
	struct b_side b;
	struct pulling p;
	struct world_copy copy;
	world_copy_make(&copy, path);
	peer_b_open(&b, (struct cache_settings){0});
	peer_player_open(&bad, &b, &copy, fault, n_before);
	peer_player_open(&good, &b, &copy, FAULT_NONE, 0);
	ASSERT(peer_pull(&b, &p, &copy.id, (struct side *[]){&bad}, 1) < 0);
	if (!strstr(p.reason, reason))
		ASSERT_STR(p.reason, reason);
	bad.n_sent = 0;
	ASSERT_EQ(peer_pull(&b, &p, &copy.id, (struct side *[]){&bad, &good}, 2), 0);
	ASSERT(bad.n_chunks + bad.n_index > 0 && good.n_chunks > 0);
	ASSERT(good.n_sent <= copy.n_chunks); /* nothing is asked for twice */
	ASSERT_EQ(peer_n_absent(&b, &copy.id), 0);
	ASSERT_EQ(world_compare(b.world.cache, &copy.id, path), 0);
	peer_side_close(&bad);
	peer_side_close(&good);
	peer_b_close(&b);
	world_copy_fini(&copy);
}

TEST(a_chunk_that_is_not_the_trees_is_dropped_and_another_node_asked)
{
	fails_then_next(FAULT_LIE, 3, "not the tree's");
}

TEST(an_answer_that_is_too_short_leads_to_the_next_node)
{
	fails_then_next(FAULT_SHORT, 3, "less than was asked for");
}

TEST(an_answer_that_is_too_long_leads_to_the_next_node)
{
	fails_then_next(FAULT_MORE, 0, "more than was asked for");
}

TEST(a_wrong_index_leads_to_the_next_node)
{
	fails_then_next(FAULT_INDEX, 0, "not the tree's index");
}

TEST(a_node_that_hangs_up_leads_to_the_next_one)
{
	fails_then_next(FAULT_HANGS_UP, 3, "reset");
}

TEST(a_node_that_lacks_a_part_leads_to_the_next_one)
{
	fails_then_next(FAULT_LACKS, 3, "does not have all of it yet");
}

TEST(a_silent_node_leads_to_the_next_one)
{
	_free_ char *path = peer_make_tree();
	struct side bad, good;
	struct b_side b;
	struct pulling p;
	struct world_copy copy;
	world_copy_make(&copy, path);
	peer_b_open(&b, (struct cache_settings){0});
	peer_player_open(&bad, &b, &copy, FAULT_SILENT, 3);
	peer_player_open(&good, &b, &copy, FAULT_NONE, 0);
	peer_start(&b, &p, &copy.id, (struct side *[]){&bad, &good}, 2);
	ASSERT(UNTIL(b.world.loop, bad.n_chunks > 0 && bad.n_sent >= 3));
	for (int i = 0; i < 50; i++)
		fetch_world_turn(&b.world);
	ASSERT_EQ(good.n_chunks, 0);
	b.world.later_usec += 11000000;
	ASSERT(peer_pull_until(&b, NULL, &p));
	ASSERT_EQ(p.error, 0);
	ASSERT_EQ(peer_n_absent(&b, &copy.id), 0);
	peer_side_close(&bad);
	peer_side_close(&good);
	peer_b_close(&b);
	world_copy_fini(&copy);
}

TEST(who_lacks_a_part_now_is_asked_again_and_has_it_then)
{
	_free_ char *path = peer_make_tree();
	struct side a;
	struct b_side b;
	struct pulling p;
	struct world_copy copy;
	world_copy_make(&copy, path);
	peer_b_open(&b, (struct cache_settings){0});
	peer_player_open(&a, &b, &copy, FAULT_LACKS, 3);
	peer_start(&b, &p, &copy.id, (struct side *[]){&a}, 1);
	ASSERT(UNTIL(b.world.loop, a.n_sent == 3 && a.n_chunks > 4));
	ASSERT_EQ(p.n_done, 0);
	a.fault = FAULT_NONE;
	ASSERT(peer_pull_until(&b, NULL, &p));
	ASSERT_EQ(p.error, 0);
	peer_side_close(&a);
	peer_b_close(&b);
	world_copy_fini(&copy);
}

TEST(a_node_that_does_not_have_the_tree_says_so)
{
	_free_ char *path = peer_make_tree();
	struct fetch_world w;
	struct side a;
	struct b_side b;
	struct pulling p;
	struct digest id, other;
	peer_honest_open(&a, &w, path, &id);
	peer_b_open(&b, (struct cache_settings){0});
	digest_bytes("no", 2, &other);
	ASSERT_EQ(peer_pull(&b, &p, &other, (struct side *[]){&a}, 1), -ENODATA);
	ASSERT(strstr(p.reason, "this tree is not here"));
	peer_b_close(&b);
	peer_honest_close(&a);
}

TEST(nobody_to_ask_is_said)
{
	struct b_side b;
	struct pulling p;
	struct digest id;
	digest_bytes("no", 2, &id);
	peer_b_open(&b, (struct cache_settings){0});
	ASSERT_EQ(peer_pull(&b, &p, &id, NULL, 0), -EHOSTUNREACH);
	struct side away = {.address = "127.0.0.1:1"};
	ASSERT_EQ(peer_pull(&b, &p, &id, (struct side *[]){&away}, 1), -EHOSTUNREACH);
	ASSERT(strstr(p.reason, "127.0.0.1:1"));
	peer_b_close(&b);
}

TEST(only_what_is_here_is_served)
{
	_free_ char *path = peer_make_tree();
	struct fetch_world w;
	struct side a;
	struct b_side b;
	struct pulling p;
	struct digest id;
	peer_honest_open(&a, &w, path, &id);
	peer_b_open(&b, (struct cache_settings){0});
	/* Its source is there; but whoever asks a node is not to make it read that. */
	fetch_world_evict(&w, &id);
	ASSERT_EQ(peer_pull(&b, &p, &id, (struct side *[]){&a}, 1), -ENODATA);
	ASSERT_EQ(p.n_index, 1);
	peer_b_close(&b);
	peer_honest_close(&a);
}

TEST(a_pull_that_is_stopped_or_whose_peers_go_says_nothing_more)
{
	_free_ char *path = peer_make_tree();
	struct fetch_world w;
	struct side a;
	struct b_side b;
	struct pulling p, q[6];
	struct digest id;
	peer_honest_open(&a, &w, path, &id);
	peer_b_open(&b, (struct cache_settings){0});
	for (unsigned k = 0; k < 60; k += 3) {
		peer_start(&b, &p, &id, (struct side *[]){&a}, 1);
		for (unsigned i = 0; i < k && !p.n_done; i++) {
			loop_turn(b.world.loop, 0);
			loop_turn(w.loop, 0);
		}
		fetch_pull_stop(&p.pull);
	}
	/* More than are served at once: the rest waits its turn. */
	struct digest none[countof(q)];
	for (unsigned i = 0; i < countof(q); i++) {
		digest_bytes(&i, sizeof i, &none[i]);
		peer_start(&b, &q[i], &none[i], (struct side *[]){&a}, 1);
	}
	loop_turn(b.world.loop, 1);
	peer_b_close(&b);
	for (unsigned i = 0; i < countof(q); i++)
		ASSERT_EQ(q[i].n_done, 0);
	peer_honest_close(&a);
}

TEST(a_full_disk_is_this_nodes_own_trouble)
{
	_free_ char *path = peer_make_tree();
	struct fetch_world w;
	struct side a;
	struct b_side b;
	struct pulling p;
	struct digest id, pinned;
	peer_honest_open(&a, &w, path, &id);
	peer_b_open(&b, (struct cache_settings){.quota = 20u << 20});
	_free_ char *large = world_files("large", 4, 3u << 20, 9);
	ASSERT_EQ(fetch_world_seal(&b.world, large, NULL, false, &pinned), 0);
	ASSERT_EQ(cache_pin(b.world.cache, &pinned, true), 0);
	int r = peer_pull(&b, &p, &id, (struct side *[]){&a}, 1);
	ASSERT_EQ(r, -ENOSPC);
	ASSERT(strstr(p.reason, "the cache"));
	peer_b_close(&b);
	peer_honest_close(&a);
}

/* ---- one who asks and does not read */

struct taker {
	struct end end;
	struct call call;
	size_t n;
	int error;
	bool is_over;
};

static void on_taken(struct call *call, int error, uint16_t type, const void *message)
{
	(void)call, (void)type, (void)message;
	ASSERT_EQ(error, 0);
}

static bool on_bytes(struct call *call, const void *p, size_t n)
{
	(void)p;
	container_of(call, struct taker, call)->n += n;
	return false;
}

static void on_over(struct call *call, int error)
{
	struct taker *t = container_of(call, struct taker, call);
	t->error = error;
	t->is_over = true;
}

TEST(who_takes_nothing_of_what_he_asked_for_is_given_up)
{
	_free_ char *path = peer_make_tree();
	struct fetch_world w;
	struct side a;
	struct taker t = {.call = {.on_reply = on_taken, .on_data = on_bytes, .on_end = on_over}};
	struct digest id;
	struct net_address at;
	peer_honest_open(&a, &w, path, &id);
	struct tls_context *tls = tls_context_new(ends_secret, TLS_ROLE_NODE, 1u << TLS_ROLE_NODE);
	struct wire_hello hello = hello_node;
	hello.name = "b";
	const struct conn_options o = {.ops = &end_ops,
				       .owner = &t.end,
				       .tls = tls,
				       .hello = &hello,
				       .peer = TLS_ROLE_NODE,
				       .silent_usec = 1000000000};
	ASSERT_EQ(net_parse(a.address, &at), 0);
	t.end.conn = conn_new(w.loop, net_connect(&at), false, &o);
	ASSERT(UNTIL(w.loop, t.end.is_open));
	const struct wire_read_chunks m = {.tree = id, .n = 100};
	ASSERT_EQ(call_start(&t.call, t.end.conn, WIRE_READ_CHUNKS, &m, 0), 0);
	ASSERT(UNTIL(w.loop, t.n > 0));
	for (int i = 0; i < 20; i++)
		fetch_world_turn(&w);
	ASSERT(!t.is_over);
	/* Not so far that the connection itself counts as silent. */
	for (int i = 0; i < 8 && !t.is_over; i++) {
		w.later_usec += 6000000;
		for (int k = 0; k < 20; k++)
			fetch_world_turn(&w);
	}
	ASSERT(t.is_over);
	ASSERT_EQ(t.error, -ETIMEDOUT);
	ASSERT(!t.end.is_closed);
	conn_free(t.end.conn);
	peer_honest_close(&a);
	tls_context_free(tls);
}
