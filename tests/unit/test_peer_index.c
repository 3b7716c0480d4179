/* SPDX-License-Identifier: Apache-2.0
 * An index that is too large to be asked for whole comes in parts, from many; and who lies about it is found out. */
#include "common/path.h"
#include "tests/unit/peer_world.h"
#include "tests/unit/unit.h"
#include "vinefs/fetch/peer.h"

#include <fcntl.h>
#include <sys/stat.h>

/* Its index has several parts, and its contents are next to nothing. */
static char *make_tree(void)
{
	char *path = world_files("many", 5000, 3, 7);
	return path;
}

static void pull_from(enum fault first, enum fault second, unsigned n_bad)
{
	_free_ char *path = make_tree();
	struct world_copy copy;
	struct b_side b;
	struct side s[3];
	struct pulling p;
	world_copy_make(&copy, path);
	ASSERT(copy.n > 256u << 10);
	peer_node_open(&b, "b");
	peer_swarm_open(&s[0], &b, &copy, first, 0, 0);
	peer_swarm_open(&s[1], &b, &copy, second, 0, 0);
	peer_swarm_open(&s[2], &b, &copy, FAULT_NONE, 0, 0);
	ASSERT_EQ(peer_pull(&b, &p, &copy.id, (struct side *[]){&s[0], &s[1], &s[2]}, 3), 0);
	ASSERT_EQ(p.n_index, 1);
	ASSERT_EQ(s[0].n_index + s[1].n_index + s[2].n_index, 0);
	ASSERT_EQ(b.n_bad, n_bad);
	for (unsigned i = 0; i < 3; i++)
		ASSERT(n_bad || s[i].n_parts > 0);
	if (!n_bad)
		ASSERT(s[0].n_parts + s[1].n_parts + s[2].n_parts <= copy.n / 65536 + 4);
	ASSERT_EQ(world_compare(b.world.cache, &copy.id, path), 0);
	for (unsigned i = 0; i < 3; i++)
		peer_side_close(&s[i]);
	peer_node_close(&b);
	world_copy_fini(&copy);
}

TEST(a_large_index_comes_in_parts_from_all_neighbours)
{
	pull_from(FAULT_NONE, FAULT_NONE, 0);
}

TEST(who_gives_a_wrong_list_of_parts_is_the_liar_not_those_who_give_the_parts)
{
	pull_from(FAULT_LIST, FAULT_NONE, 1);
}

TEST(who_gives_a_wrong_part_is_known_once_the_index_is)
{
	pull_from(FAULT_NONE, FAULT_INDEX, 1);
}

TEST(parts_of_an_index_are_given_on_while_it_comes)
{
	_free_ char *path = make_tree();
	struct world_copy copy;
	struct b_side b, c;
	struct side s;
	struct pulling p, q;
	world_copy_make(&copy, path);
	/* Until b knows the list of parts c finds nothing there. */
	const uint64_t patience_usec = peer_patience_usec;
	peer_patience_usec = UNIT_PATIENCE_USEC;
	peer_node_open(&b, "b");
	peer_node_open(&c, "c");
	peer_swarm_open(&s, &b, &copy, FAULT_NONE, 0, 0);
	/* As b cuts it: once he has all of it he gives parts of his own. */
	s.part_size = 131072;
	peer_start(&b, &p, &copy.id, (struct side *[]){&s}, 1);
	/* The first part takes as long as its disk does. */
	c.peers->settings.patience_usec = UNIT_PATIENCE_USEC;
	peer_start(&c, &q, &copy.id, (struct side *[]){&b.own}, 1);
	for (uint64_t until = real_usec() + UNIT_PATIENCE_USEC; !(p.n_done && q.n_done) && real_usec() < until;) {
		loop_turn(b.world.loop, 1);
		loop_turn(c.world.loop, 1);
	}
	ASSERT(p.n_done && q.n_done);
	ASSERT_EQ(p.error, 0);
	ASSERT_EQ(q.error, 0);
	ASSERT_EQ(s.n_lists, 1);
	ASSERT_EQ(s.n_parts, (copy.n + 131071) / 131072);
	ASSERT_EQ(world_compare(c.world.cache, &copy.id, path), 0);
	peer_side_close(&s);
	peer_node_close(&c);
	peer_node_close(&b);
	world_copy_fini(&copy);
	peer_patience_usec = patience_usec;
}

/* As make_tree(), with contents of several chunks; then one file is another, of the same length. */
static char *make_two(struct b_side *b, struct world_copy *copy)
{
	char *path = world_files("changed", 3000, 250, 7);
	_free_ char *file = path_join(path, "f777");
	const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
	uint8_t bytes[250] = "another";
	world_seal(b->world.cache, path);
	ASSERT_EQ(path_write(file, bytes, sizeof bytes, 0644, false), 0);
	ASSERT_EQ(utimensat(AT_FDCWD, file, times, 0), 0);
	world_copy_make(copy, path);
	ASSERT(copy->n > 256u << 10);
	ASSERT_EQ(copy->n_chunks, 3);
	return path;
}

/* The tree before it is here, with a bit of what `flip` names another; so many parts and chunks are asked for then. */
static void pull_changed(const char *flip, off_t at, unsigned least, unsigned most, unsigned n_sent)
{
	struct world_copy copy;
	struct b_side b;
	struct side s;
	struct pulling p;
	peer_node_open(&b, "b");
	_free_ char *path = make_two(&b, &copy);
	ASSERT(!flip || world_flip("b", flip, at));
	peer_swarm_open(&s, &b, &copy, FAULT_NONE, 0, 0);
	ASSERT_EQ(peer_pull(&b, &p, &copy.id, (struct side *[]){&s}, 1), 0);
	ASSERT(s.n_parts >= least && s.n_parts <= most);
	ASSERT_EQ(s.n_sent, n_sent);
	ASSERT_EQ(peer_n_absent(&b, &copy.id), 0);
	ASSERT_EQ(world_compare(b.world.cache, &copy.id, path), 0);
	peer_side_close(&s);
	peer_node_close(&b);
	world_copy_fini(&copy);
}

/* The head, the content's entry, the pack's; and the chunk that it lies in. */
TEST(of_a_tree_that_has_changed_little_only_that_is_asked_for)
{
	pull_changed(NULL, 0, 0, 3, 1);
}

TEST(what_is_like_it_and_damaged_here_comes_from_others)
{
	pull_changed("b/*/*", 300000, 0, 3, 2);
}

TEST(an_index_that_is_like_it_and_damaged_is_no_help_and_no_harm)
{
	pull_changed("t/*", 150000, 2, 4, 3);
}

static unsigned n_told;

static void on_part(struct fetch_parts *w, uint64_t part)
{
	(void)w, (void)part;
	n_told++;
}

static void on_over(struct fetch_parts *w, int error)
{
	(void)w, (void)error;
}

TEST(parts_go_on_to_the_third_while_the_second_lacks_the_rest)
{
	_free_ char *path = make_tree();
	struct world_copy copy;
	struct b_side b, c;
	struct side s;
	struct pulling p, q;
	struct fetch_parts w = {.on_part = on_part, .on_over = on_over};
	world_copy_make(&copy, path);
	ASSERT(copy.n > 3 * 65536);
	/* As above. */
	const uint64_t patience_usec = peer_patience_usec;
	peer_patience_usec = UNIT_PATIENCE_USEC;
	peer_node_open(&b, "b");
	peer_node_open(&c, "c");
	peer_swarm_open(&s, &b, &copy, FAULT_NONE, 0, 0);
	s.parts_end = 3;
	n_told = 0;
	peer_start(&b, &p, &copy.id, (struct side *[]){&s}, 1);
	peer_start(&c, &q, &copy.id, (struct side *[]){&b.own}, 1);
	for (uint64_t until = real_usec() + UNIT_PATIENCE_USEC; n_told < 3 && real_usec() < until;) {
		loop_turn(b.world.loop, 1);
		loop_turn(c.world.loop, 1);
		if (!w.pull)
			fetch_parts_start(c.peers, &w, &copy.id);
	}
	ASSERT_EQ(n_told, 3);
	ASSERT_EQ(s.n_parts, 3);
	ASSERT_EQ(p.n_index + q.n_index, 0);
	fetch_parts_stop(&w);
	fetch_pull_stop(&q.pull);
	fetch_pull_stop(&p.pull);
	peer_side_close(&s);
	peer_node_close(&c);
	peer_node_close(&b);
	world_copy_fini(&copy);
	peer_patience_usec = patience_usec;
}

TEST(of_who_knows_no_swarm_a_large_index_comes_whole)
{
	_free_ char *path = make_tree();
	struct world_copy copy;
	struct b_side b;
	struct side old;
	struct pulling p;
	world_copy_make(&copy, path);
	peer_node_open(&b, "b");
	peer_player_open(&old, &b, &copy, FAULT_NONE, 0);
	ASSERT_EQ(peer_pull(&b, &p, &copy.id, (struct side *[]){&old}, 1), 0);
	ASSERT_EQ(old.n_index, 1);
	ASSERT_EQ(old.n_lists + old.n_parts, 0);
	ASSERT_EQ(b.n_bad, 0);
	ASSERT_EQ(world_compare(b.world.cache, &copy.id, path), 0);
	peer_side_close(&old);
	peer_node_close(&b);
	world_copy_fini(&copy);
}
