/* SPDX-License-Identifier: Apache-2.0
 * Several nodes bring one tree together: each with a cache and a loop of its own, or one that plays and does wrong. */
#include "common/path.h"
#include "tests/unit/peer_world.h"
#include "tests/unit/unit.h"

struct swarm_test {
	struct world_copy copy;
	char *path;
	struct b_side b;
};

/* Who has no more to give is waited for so long. */
static void begin_with(struct swarm_test *t, uint64_t patience_usec)
{
	peer_patience_usec = patience_usec;
	t->path = peer_make_tree();
	world_copy_make(&t->copy, t->path);
	peer_node_open(&t->b, "b");
}

static void begin(struct swarm_test *t)
{
	begin_with(t, UNIT_PATIENCE_USEC);
}

static void end(struct swarm_test *t)
{
	peer_node_close(&t->b);
	world_copy_fini(&t->copy);
	free(t->path);
}

static void turn(struct b_side *b, struct b_side *c)
{
	loop_turn(b->world.loop, 1);
	if (c)
		loop_turn(c->world.loop, 1);
}

#define TURN_UNTIL(b, c, condition)                                                                           \
	do {                                                                                                  \
		for (uint64_t until = real_usec() + UNIT_PATIENCE_USEC; !(condition) && real_usec() < until;) \
			turn(b, c);                                                                           \
		ASSERT(condition);                                                                            \
	} while (0)

static unsigned n_absent(struct b_side *b, const struct digest *id)
{
	return peer_n_absent(b, id);
}

TEST(a_third_node_gets_from_the_second_what_that_still_gets_from_the_first)
{
	struct swarm_test t;
	struct b_side c;
	struct side source;
	struct pulling p, q;
	begin(&t);
	peer_node_open(&c, "c");
	uint64_t half = t.copy.n_chunks / 2;
	peer_swarm_open(&source, &t.b, &t.copy, FAULT_NONE, 0, half);
	peer_start(&t.b, &p, &t.copy.id, (struct side *[]){&source}, 1);
	peer_start(&c, &q, &t.copy.id, (struct side *[]){&t.b.own}, 1);
	TURN_UNTIL(&t.b, &c, q.n_index == 1 && c.n_flow > 0 && source.n_sent == half && c.flow_rest == t.b.flow_rest);
	ASSERT_EQ(p.n_done + q.n_done, 0);
	ASSERT(t.b.flow_rest > 0);
	peer_swarm_more(&source, t.copy.n_chunks);
	TURN_UNTIL(&t.b, &c, p.n_done && q.n_done);
	ASSERT_EQ(p.error, 0);
	ASSERT_EQ(q.error, 0);
	/* Not a byte twice, and none from the source but to one. */
	ASSERT_EQ(source.n_sent, t.copy.n_chunks);
	ASSERT_EQ(source.n_watches, 1);
	ASSERT_EQ(t.b.n_flow, c.n_flow);
	ASSERT_EQ(t.b.flow_rest + c.flow_rest, 0);
	ASSERT_EQ(n_absent(&c, &t.copy.id), 0);
	ASSERT_EQ(world_compare(c.world.cache, &t.copy.id, t.path), 0);
	peer_side_close(&source);
	peer_node_close(&c);
	end(&t);
}

TEST(who_watches_is_asked_in_turn)
{
	struct swarm_test t;
	struct b_side c;
	struct side low, high;
	struct pulling p, q;
	begin(&t);
	peer_node_open(&c, "c");
	uint64_t half = t.copy.n_chunks / 2;
	peer_swarm_open(&low, &t.b, &t.copy, FAULT_NONE, 0, half);
	peer_swarm_open(&high, &c, &t.copy, FAULT_NONE, half, 0);
	peer_start(&t.b, &p, &t.copy.id, (struct side *[]){&low}, 1);
	/* b was told of nobody but the one that has half of it. */
	peer_start(&c, &q, &t.copy.id, (struct side *[]){&t.b.own, &high}, 2);
	TURN_UNTIL(&t.b, &c, p.n_done && q.n_done);
	ASSERT_EQ(p.error, 0);
	ASSERT_EQ(q.error, 0);
	ASSERT_EQ(low.n_sent, half);
	ASSERT_EQ(high.n_sent, t.copy.n_chunks - half);
	ASSERT_EQ(world_compare(t.b.world.cache, &t.copy.id, t.path), 0);
	peer_side_close(&low);
	peer_side_close(&high);
	peer_node_close(&c);
	end(&t);
}

TEST(no_chunk_is_asked_for_twice_of_three_who_have_all)
{
	struct swarm_test t;
	struct side s[3];
	struct pulling p;
	begin(&t);
	for (int i = 0; i < 3; i++)
		peer_swarm_open(&s[i], &t.b, &t.copy, FAULT_NONE, 0, 0);
	s[1].is_packed = true;
	ASSERT_EQ(peer_pull(&t.b, &p, &t.copy.id, (struct side *[]){&s[0], &s[1], &s[2]}, 3), 0);
	/* One of the last may be late, and asked of a second one. */
	uint64_t n = s[0].n_sent + s[1].n_sent + s[2].n_sent;
	ASSERT(n >= t.copy.n_chunks && n <= t.copy.n_chunks + 3);
	for (int i = 0; i < 3; i++)
		ASSERT(s[i].n_sent > 0);
	ASSERT_EQ(world_compare(t.b.world.cache, &t.copy.id, t.path), 0);
	ASSERT_EQ(t.b.n_bad, 0);
	for (int i = 0; i < 3; i++)
		peer_side_close(&s[i]);
	end(&t);
}

static void one_is_bad(enum fault fault, unsigned what)
{
	struct swarm_test t;
	struct side bad, good;
	struct pulling p;
	begin(&t);
	peer_swarm_open(&bad, &t.b, &t.copy, fault, 0, 0);
	peer_swarm_open(&good, &t.b, &t.copy, FAULT_NONE, 0, 0);
	peer_start(&t.b, &p, &t.copy.id, (struct side *[]){&bad, &good}, 2);
	if (fault == FAULT_SILENT) {
		TURN_UNTIL(&t.b, NULL, p.n_done || good.n_sent >= t.copy.n_chunks - 4);
		t.b.world.later_usec += 11000000;
	}
	ASSERT(peer_pull_until(&t.b, NULL, &p));
	ASSERT_EQ(p.error, 0);
	ASSERT_EQ(t.b.n_bad, what != 0);
	ASSERT_EQ(t.b.bad_what, what);
	if (what)
		ASSERT_STR(t.b.bad, bad.address);
	ASSERT_EQ(world_compare(t.b.world.cache, &t.copy.id, t.path), 0);
	peer_side_close(&bad);
	peer_side_close(&good);
	end(&t);
}

TEST(who_lies_is_dropped_and_vined_is_told)
{
	one_is_bad(FAULT_LIE, 1);
}

TEST(who_has_another_layout_is_left_out_and_is_no_liar)
{
	one_is_bad(FAULT_LAYOUT, 0);
}

TEST(who_lied_is_not_asked_again_by_another_pull)
{
	struct swarm_test t;
	struct side bad;
	struct pulling p;
	begin(&t);
	peer_swarm_open(&bad, &t.b, &t.copy, FAULT_LIE, 0, 0);
	ASSERT(peer_pull(&t.b, &p, &t.copy.id, (struct side *[]){&bad}, 1) < 0);
	ASSERT(strstr(p.reason, "not the tree's"));
	unsigned n = bad.n_watches;
	ASSERT(peer_pull(&t.b, &p, &t.copy.id, (struct side *[]){&bad}, 1) < 0);
	ASSERT_EQ(bad.n_watches, n);
	peer_side_close(&bad);
	end(&t);
}

TEST(a_silent_neighbour_is_left_and_the_rest_asked_of_others)
{
	struct swarm_test t;
	struct side bad, good;
	struct pulling p;
	begin_with(&t, 10000000);
	peer_swarm_open(&bad, &t.b, &t.copy, FAULT_SILENT, 0, 0);
	peer_swarm_open(&good, &t.b, &t.copy, FAULT_NONE, 1, 0);
	peer_start(&t.b, &p, &t.copy.id, (struct side *[]){&bad, &good}, 2);
	/* The first chunk is only there. */
	TURN_UNTIL(&t.b, NULL, good.n_sent >= t.copy.n_chunks - 1);
	TURN_UNTIL(&t.b, NULL, n_absent(&t.b, &t.copy.id) == 1);
	ASSERT_EQ(p.n_done, 0);
	t.b.world.later_usec += 11000000;
	TURN_UNTIL(&t.b, NULL, t.b.n_bad == 1);
	ASSERT_EQ(t.b.bad_what, 3);
	ASSERT_STR(t.b.bad, bad.address);
	t.b.world.later_usec += 10000000;
	TURN_UNTIL(&t.b, NULL, p.n_done);
	ASSERT_EQ(p.error, -ENODATA);
	ASSERT(strstr(p.reason, "nothing came of it for 10 s"));
	peer_side_close(&bad);
	peer_side_close(&good);
	end(&t);
}

TEST(of_who_knows_no_swarm_comes_what_no_neighbour_has)
{
	struct swarm_test t;
	struct side old, part;
	struct pulling p;
	begin(&t);
	uint64_t half = t.copy.n_chunks / 2;
	peer_player_open(&old, &t.b, &t.copy, FAULT_NONE, 0);
	peer_swarm_open(&part, &t.b, &t.copy, FAULT_NONE, half, 0);
	ASSERT_EQ(peer_pull(&t.b, &p, &t.copy.id, (struct side *[]){&old, &part}, 2), 0);
	ASSERT_EQ(old.n_sent + part.n_sent, t.copy.n_chunks);
	ASSERT(part.n_sent > 0 && old.n_sent >= half);
	ASSERT_EQ(old.n_watches, 0);
	ASSERT_EQ(world_compare(t.b.world.cache, &t.copy.id, t.path), 0);
	peer_side_close(&old);
	peer_side_close(&part);
	end(&t);
}

TEST(two_who_want_one_tree_bring_it_once)
{
	struct swarm_test t;
	struct side s;
	struct pulling p, q;
	begin(&t);
	peer_swarm_open(&s, &t.b, &t.copy, FAULT_NONE, 0, 0);
	peer_start(&t.b, &p, &t.copy.id, (struct side *[]){&s}, 1);
	peer_start(&t.b, &q, &t.copy.id, (struct side *[]){&s}, 1);
	TURN_UNTIL(&t.b, NULL, p.n_done && q.n_done);
	ASSERT_EQ(p.error, 0);
	ASSERT_EQ(q.error, 0);
	ASSERT_EQ(p.n_index, 1);
	ASSERT_EQ(q.n_index, 1);
	ASSERT_EQ(s.n_sent, t.copy.n_chunks);
	peer_side_close(&s);
	end(&t);
}

TEST(what_another_tree_has_brought_is_not_asked_for)
{
	struct swarm_test t;
	struct side s;
	struct pulling p;
	struct digest id;
	begin(&t);
	_free_ char *one = world_files("other", 1, 5u << 19, 7);
	ASSERT_EQ(fetch_world_seal(&t.b.world, one, NULL, false, &id), 0);
	peer_swarm_open(&s, &t.b, &t.copy, FAULT_NONE, 0, 0);
	ASSERT_EQ(peer_pull(&t.b, &p, &t.copy.id, (struct side *[]){&s}, 1), 0);
	ASSERT(s.n_sent < t.copy.n_chunks);
	ASSERT_EQ(world_compare(t.b.world.cache, &t.copy.id, t.path), 0);
	peer_side_close(&s);
	end(&t);
}

TEST(what_none_of_them_has_is_read_from_the_source_and_nothing_else)
{
	struct swarm_test t;
	struct side s;
	struct pulling p;
	struct fetch_numbers n;
	begin(&t);
	peer_swarm_open(&s, &t.b, &t.copy, FAULT_NONE, t.copy.n_chunks / 3, t.copy.n_chunks / 2);
	peer_start(&t.b, &p, &t.copy.id, (struct side *[]){&s}, 1);
	TURN_UNTIL(&t.b, NULL, p.n_index);
	fetch_pull_read(&p.pull, t.path, FETCH_DIRECTORY);
	TURN_UNTIL(&t.b, NULL, p.n_done);
	ASSERT_EQ(p.error, 0);
	ASSERT_EQ(n_absent(&t.b, &t.copy.id), 0);
	ASSERT_EQ(s.n_sent, t.copy.n_chunks / 2 - t.copy.n_chunks / 3);
	struct fetch_tree *tree = fetch_world_tree(&t.b.world, &t.copy.id);
	fetch_get_numbers(t.b.world.fetch, &n);
	ASSERT(n.peer_size > 0 && n.source_read_size > 0);
	ASSERT_EQ(n.peer_size + n.source_read_size, tree_size(fetch_index(tree)));
	fetch_close(tree);
	peer_side_close(&s);
	end(&t);
}

TEST(one_that_waits_behind_another_of_its_tree_has_the_source_read_by_that)
{
	struct swarm_test t;
	struct side s;
	struct pulling p, q;
	begin(&t);
	peer_swarm_open(&s, &t.b, &t.copy, FAULT_NONE, 0, 2);
	peer_start(&t.b, &p, &t.copy.id, (struct side *[]){&s}, 1);
	peer_start(&t.b, &q, &t.copy.id, (struct side *[]){&s}, 1);
	TURN_UNTIL(&t.b, NULL, p.n_index);
	fetch_pull_read(&q.pull, t.path, FETCH_DIRECTORY);
	TURN_UNTIL(&t.b, NULL, p.n_done && q.n_done);
	ASSERT(p.error == 0 && q.error == 0);
	ASSERT_EQ(n_absent(&t.b, &t.copy.id), 0);
	peer_side_close(&s);
	end(&t);
}

TEST(a_source_that_has_changed_ends_the_pull_that_was_to_read_it)
{
	struct swarm_test t;
	struct side s;
	struct pulling p;
	begin(&t);
	_free_ char *changed = path_join(t.path, "f1");
	peer_swarm_open(&s, &t.b, &t.copy, FAULT_NONE, 0, 1);
	peer_start(&t.b, &p, &t.copy.id, (struct side *[]){&s}, 1);
	TURN_UNTIL(&t.b, NULL, p.n_index);
	ASSERT_EQ(path_write(changed, "x", 1, 0600, false), 0);
	fetch_pull_read(&p.pull, t.path, FETCH_DIRECTORY);
	TURN_UNTIL(&t.b, NULL, p.n_done);
	ASSERT_EQ(p.error, -ESTALE);
	if (!strstr(p.reason, "f1 has changed since it was sealed"))
		ASSERT_STR(p.reason, "f1 has changed since it was sealed");
	peer_side_close(&s);
	end(&t);
}

TEST(what_a_reader_waits_for_is_asked_first_and_once)
{
	struct swarm_test t;
	struct side s;
	struct pulling p;
	char byte;
	begin(&t);
	/* Nobody has anything, so nothing is asked for. */
	peer_swarm_open(&s, &t.b, &t.copy, FAULT_NONE, 0, 0);
	s.first = s.end = t.copy.n_chunks;
	peer_start(&t.b, &p, &t.copy.id, (struct side *[]){&s}, 1);
	TURN_UNTIL(&t.b, NULL, p.n_index && s.n_watches);
	struct fetch_tree *tree = fetch_world_tree(&t.b.world, &t.copy.id);
	uint32_t node = (uint32_t)tree_find(fetch_index(tree), "f3");
	s.first = 0;
	s.end = 0;
	ASSERT_EQ(fetch_world_read(&t.b.world, tree, node, 0, &byte, 1), 1);
	ASSERT(s.n_by_rank[0] > 0);
	peer_swarm_more(&s, t.copy.n_chunks);
	fetch_close(tree);
	fetch_pull_stop(&p.pull);
	peer_side_close(&s);
	end(&t);
}

TEST(what_others_were_asked_for_lets_a_reader_of_another_tree_go_first)
{
	struct swarm_test t;
	struct side silent, s;
	struct pulling bulk, p;
	struct world_copy copy;
	char byte;
	begin(&t);
	_free_ char *path = world_files("tree2", 5, 5u << 19, 99);
	world_copy_make(&copy, path);
	peer_swarm_open(&silent, &t.b, &t.copy, FAULT_SILENT, 0, 0);
	peer_swarm_open(&s, &t.b, &copy, FAULT_NONE, 0, 0);
	s.first = s.end = copy.n_chunks;
	peer_start(&t.b, &bulk, &t.copy.id, (struct side *[]){&silent}, 1);
	peer_start(&t.b, &p, &copy.id, (struct side *[]){&s}, 1);
	TURN_UNTIL(&t.b, NULL, silent.n_chunks > 0 && p.n_index && s.n_watches);
	ASSERT_EQ(silent.n_cancels, 0);
	struct fetch_tree *tree = fetch_world_tree(&t.b.world, &copy.id);
	s.first = 0;
	s.end = 0;
	/* A moment after the reader is served they are asked again. */
	fetch_world_stand_still(&t.b.world);
	ASSERT_EQ(fetch_world_read(&t.b.world, tree, (uint32_t)tree_find(fetch_index(tree), "f3"), 0, &byte, 1), 1);
	unsigned n_asked = silent.n_chunks;
	TURN_UNTIL(&t.b, NULL, silent.n_cancels == n_asked);
	/* And goes on after it. */
	t.b.world.later_usec += 1000000;
	TURN_UNTIL(&t.b, NULL, silent.n_chunks > n_asked);
	fetch_close(tree);
	fetch_pull_stop(&p.pull);
	fetch_pull_stop(&bulk.pull);
	peer_side_close(&silent);
	peer_side_close(&s);
	world_copy_fini(&copy);
	end(&t);
}

TEST(a_pull_that_stands_still_says_who_was_asked_for_what)
{
	struct swarm_test t;
	struct side s;
	struct pulling p;
	begin_with(&t, 2000000);
	peer_swarm_open(&s, &t.b, &t.copy, FAULT_NONE, 0, t.copy.n_chunks / 2);
	ASSERT_EQ(peer_pull(&t.b, &p, &t.copy.id, (struct side *[]){&s}, 1), -ENODATA);
	ASSERT(strstr(p.reason, "node player was asked for what it has of the tree"));
	ASSERT(strstr(p.reason, "nothing has come for"));
	peer_side_close(&s);
	end(&t);
}

TEST(two_trees_share_what_is_under_way)
{
	struct swarm_test t;
	struct side s, other;
	struct pulling p, q;
	struct world_copy copy;
	begin(&t);
	_free_ char *path = world_files("tree2", 5, 5u << 19, 99);
	world_copy_make(&copy, path);
	peer_swarm_open(&s, &t.b, &t.copy, FAULT_NONE, 0, 1);
	peer_swarm_open(&other, &t.b, &copy, FAULT_NONE, 0, 1);
	peer_start(&t.b, &p, &t.copy.id, (struct side *[]){&s}, 1);
	peer_start(&t.b, &q, &copy.id, (struct side *[]){&other}, 1);
	/* None is ahead of the other by what its disk did. */
	TURN_UNTIL(&t.b, NULL, s.n_sent && other.n_sent);
	peer_swarm_more(&s, t.copy.n_chunks);
	peer_swarm_more(&other, copy.n_chunks);
	/* Whichever is first, the other has had its share by then; one after the other it would have nothing. */
	TURN_UNTIL(&t.b, NULL, p.n_done || q.n_done);
	uint64_t late = p.n_done ? other.n_sent * 100 / copy.n_chunks : s.n_sent * 100 / t.copy.n_chunks;
	ASSERT(late >= 25);
	TURN_UNTIL(&t.b, NULL, p.n_done && q.n_done);
	ASSERT_EQ(p.error + q.error, 0);
	peer_side_close(&s);
	peer_side_close(&other);
	world_copy_fini(&copy);
	end(&t);
}

TEST(what_is_known_of_a_chunk_is_told)
{
	struct swarm_test t;
	struct side s;
	struct pulling p;
	_cleanup_(buf_fini) struct buf out = {0};
	begin(&t);
	uint64_t half = t.copy.n_chunks / 2;
	peer_swarm_open(&s, &t.b, &t.copy, FAULT_NONE, 0, half);
	peer_start(&t.b, &p, &t.copy.id, (struct side *[]){&s}, 1);
	TURN_UNTIL(&t.b, NULL, s.n_sent == half && t.b.n_flow > 0);
	TURN_UNTIL(&t.b, NULL,
		   (buf_fini(&out), out = (struct buf){0}, fetch_peers_why(t.b.peers, &t.copy.id, 0, &out),
		    buf_put(&out, "", 1), strstr((const char *)out.at, "came from node player")));
	ASSERT(strstr((const char *)out.at, "has it"));
	buf_fini(&out);
	out = (struct buf){0};
	fetch_peers_why(t.b.peers, &t.copy.id, half, &out);
	buf_put(&out, "", 1);
	ASSERT(!strstr((const char *)out.at, "has it"));
	fetch_pull_stop(&p.pull);
	peer_side_close(&s);
	end(&t);
}
