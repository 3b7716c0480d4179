/* SPDX-License-Identifier: Apache-2.0
 * Reads of a tree of which the index alone is here, and no source. */
#include "common/path.h"
#include "tests/unit/peer_world.h"
#include "tests/unit/unit.h"
#include "vinefs/fetch/internal.h"

static void stop_at_index(struct fetch_pull *x)
{
	container_of(x, struct pulling, pull)->n_index++;
	fetch_pull_stop(x);
}

/* Its index is here, and who has it is known; nothing else. */
static struct fetch_tree *open_index(struct b_side *b, const struct digest *id, struct side *const *sides, size_t n)
{
	struct pulling p;
	peer_start(b, &p, id, sides, n);
	p.pull.on_index = stop_at_index;
	ASSERT(UNTIL(b->world.loop, p.n_index));
	struct fetch_tree *t = fetch_world_tree(&b->world, id);
	ASSERT_EQ(world_n_resident(fetch_cache_tree(t)), 0);
	return t;
}

TEST(what_is_read_of_a_tree_that_has_no_source_here_comes_from_a_node_that_has_it)
{
	_free_ char *path = peer_make_tree(), *file = path_join(path, "f3");
	struct side a;
	struct b_side b;
	struct world_copy copy;
	world_copy_make(&copy, path);
	peer_b_open(&b, (struct cache_settings){0});
	peer_player_open(&a, &b, &copy, FAULT_NONE, 0);
	struct fetch_tree *t = open_index(&b, &copy.id, (struct side *[]){&a}, 1);
	ASSERT_EQ(fetch_world_check(&b.world, t, "f3", file), 5 << 19);
	fetch_world_settle(&b.world, t, "f3");
	/* The file and what may be read next, not all. */
	uint64_t n = world_n_resident(fetch_cache_tree(t));
	ASSERT(n >= (5u << 19) / data_chunk_size(5 << 19) && n < copy.n_chunks);
	fetch_close(t);
	peer_side_close(&a);
	peer_b_close(&b);
	world_copy_fini(&copy);
}

TEST(a_reader_never_sees_the_bytes_of_a_node_that_lies)
{
	_free_ char *path = peer_make_tree(), *file = path_join(path, "f1");
	struct side bad, good;
	struct b_side b;
	struct world_copy copy;
	world_copy_make(&copy, path);
	peer_b_open(&b, (struct cache_settings){0});
	peer_player_open(&bad, &b, &copy, FAULT_LIE, 0);
	peer_player_open(&good, &b, &copy, FAULT_NONE, 0);
	/* The last that was told is asked first. */
	struct fetch_tree *t = open_index(&b, &copy.id, (struct side *[]){&good, &bad}, 2);
	ASSERT_EQ(fetch_world_check(&b.world, t, "f1", file), 5 << 19);
	fetch_world_settle(&b.world, t, "f1");
	ASSERT(bad.n_chunks > 0 && good.n_chunks > 0);
	fetch_close(t);
	peer_side_close(&bad);
	peer_side_close(&good);
	peer_b_close(&b);
	world_copy_fini(&copy);
}

/* Time passes at once whenever somebody has been asked, so many times. */
struct hurry {
	struct timer timer;
	struct fetch_world *world;
	const struct side *side;
	unsigned n_asked, n_times;
	uint64_t usec;
};

static void on_hurry(struct timer *t)
{
	struct hurry *h = container_of(t, struct hurry, timer);
	if (h->side->n_chunks != h->n_asked) {
		h->n_asked = h->side->n_chunks;
		h->world->later_usec += h->usec;
		h->n_times--;
	}
	if (h->n_times)
		timer_start(t, h->world->loop, 10000, on_hurry);
}

static void hurry_start(struct hurry *h, struct b_side *b, const struct side *side, unsigned n_times, uint64_t usec)
{
	*h = (struct hurry){
		.world = &b->world, .side = side, .n_asked = side->n_chunks, .n_times = n_times, .usec = usec};
	timer_start(&h->timer, b->world.loop, 0, on_hurry);
}

TEST(a_read_that_no_node_can_answer_fails_with_the_reason)
{
	_free_ char *path = peer_make_tree(), *file _unused_ = path_join(path, "f1");
	struct side a;
	struct b_side b;
	struct world_copy copy;
	world_copy_make(&copy, path);
	peer_b_open(&b, (struct cache_settings){0});
	peer_player_open(&a, &b, &copy, FAULT_LACKS, 0);
	struct fetch_tree *t = open_index(&b, &copy.id, (struct side *[]){&a}, 1);
	unsigned before = a.n_chunks;
	char byte;
	/* Its patience is shorter than the reader's. */
	struct hurry hurry;
	hurry_start(&hurry, &b, &a, 4, 5000000);
	ASSERT_EQ(fetch_world_read(&b.world, t, (uint32_t)tree_find(fetch_index(t), "f1"), 0, &byte, 1), -EIO);
	timer_stop(&hurry.timer);
	ASSERT(a.n_chunks > before);
	_free_ char *why = fetch_world_why(t, "f1");
	if (!strstr(why, "No data available"))
		ASSERT_STR(why, "No data available");
	fetch_close(t);
	peer_side_close(&a);
	peer_b_close(&b);
	world_copy_fini(&copy);
}

/* By its deadline it has been asked for a moment only. */
TEST(a_read_that_is_late_names_whom_it_waits_for)
{
	_free_ char *path = peer_make_tree();
	struct side a;
	struct b_side b;
	struct world_copy copy;
	world_copy_make(&copy, path);
	peer_b_open(&b, (struct cache_settings){0});
	peer_player_open(&a, &b, &copy, FAULT_SILENT, 0);
	struct fetch_tree *t = open_index(&b, &copy.id, (struct side *[]){&a}, 1);
	b.world.fetch->settings.deadline_usec = 1000000;
	char byte;
	ASSERT_EQ(fetch_world_read(&b.world, t, (uint32_t)tree_find(fetch_index(t), "f1"), 0, &byte, 1), -EIO);
	_free_ char *why = fetch_world_why(t, "f1");
	ASSERT(strstr(why, "no node that has it has answered in 1.0 s"));
	fetch_close(t);
	peer_side_close(&a);
	peer_b_close(&b);
	world_copy_fini(&copy);
}

TEST(a_silent_node_delays_the_reads_of_what_has_a_source_once)
{
	_free_ char *path = peer_make_tree(), *f1 = path_join(path, "f1"), *f2 = path_join(path, "f2");
	struct side a;
	struct b_side b;
	struct world_copy copy;
	struct digest id;
	world_copy_make(&copy, path);
	peer_b_open(&b, (struct cache_settings){0});
	peer_player_open(&a, &b, &copy, FAULT_SILENT, 0);
	ASSERT_EQ(fetch_world_seal(&b.world, path, NULL, false, &id), 0);
	fetch_world_evict(&b.world, &id);
	struct pulling p;
	peer_start(&b, &p, &id, (struct side *[]){&a}, 1);
	fetch_pull_stop(&p.pull);
	struct fetch_tree *t = fetch_world_tree(&b.world, &id);
	struct hurry hurry;
	hurry_start(&hurry, &b, &a, 1, 3000000);
	ASSERT_EQ(fetch_world_check(&b.world, t, "f1", f1), 5 << 19);
	fetch_world_settle(&b.world, t, "f1");
	timer_stop(&hurry.timer);
	unsigned n_asked = a.n_chunks;
	ASSERT(n_asked > 0);
	ASSERT_EQ(fetch_world_check(&b.world, t, "f2", f2), 5 << 19);
	ASSERT_EQ(a.n_chunks, n_asked);
	fetch_close(t);
	peer_side_close(&a);
	peer_b_close(&b);
	world_copy_fini(&copy);
}

static void read_past_bad_ones(enum fault fault, bool has_source)
{
	_free_ char *path = peer_make_tree(), *file = path_join(path, "f1");
	struct side sides[4], *asked[countof(sides)];
	struct b_side b;
	struct world_copy copy;
	struct digest id;
	struct pulling p;
	world_copy_make(&copy, path);
	peer_b_open(&b, (struct cache_settings){0});
	/* The last that was told is asked first. */
	for (unsigned i = 0; i < countof(sides); i++) {
		asked[i] = &sides[i];
		peer_player_open(asked[i], &b, &copy, i || has_source ? fault : FAULT_NONE, 0);
	}
	if (has_source) {
		ASSERT_EQ(fetch_world_seal(&b.world, path, NULL, false, &id), 0);
		fetch_world_evict(&b.world, &id);
		peer_start(&b, &p, &id, asked, countof(sides));
		fetch_pull_stop(&p.pull);
	}
	struct fetch_tree *t =
		has_source ? fetch_world_tree(&b.world, &id) : open_index(&b, &copy.id, asked, countof(sides));
	ASSERT_EQ(fetch_world_check(&b.world, t, "f1", file), 5 << 19);
	fetch_world_settle(&b.world, t, "f1");
	/* Others are given less time, which a busy machine may need to reach them. */
	ASSERT(asked[countof(sides) - 1]->n_chunks > 0);
	fetch_close(t);
	for (unsigned i = 0; i < countof(sides); i++)
		peer_side_close(&sides[i]);
	peer_b_close(&b);
	world_copy_fini(&copy);
}

TEST(a_read_passes_many_silent_nodes_on_its_way_to_one_that_answers)
{
	read_past_bad_ones(FAULT_SILENT, false);
}

TEST(a_read_passes_many_silent_nodes_on_its_way_to_the_source)
{
	read_past_bad_ones(FAULT_SILENT, true);
}

TEST(a_read_passes_slow_nodes_on_its_way_to_one_that_is_not)
{
	read_past_bad_ones(FAULT_SLOW, false);
}

TEST(a_read_passes_slow_nodes_on_its_way_to_the_source)
{
	read_past_bad_ones(FAULT_SLOW, true);
}
