/* SPDX-License-Identifier: Apache-2.0
 * Transfers among many nodes: whom each is told, who reads the source, what becomes of who is slow, silent or lies. */
#include "tests/unit/core_world.h"

#include <stdio.h>

#define N 40 /* nodes */

/* Nodes 1 to N, two racks; item and tree 1. */
static struct core *begin(struct world *w, uint64_t source)
{
	struct core *c = w->core;
	core_set_time(c, 1);
	for (uint64_t n = 1; n <= N; n++) {
		const struct core_node_spec spec = {.cores = 1, .rack = 1 + n % 2};
		ASSERT_EQ(core_node_add(c, n, &spec), 0);
	}
	item(c, 1, 100 * MB, source, 1);
	return c;
}

static struct said next(struct world *w)
{
	ASSERT(w->read < w->n);
	return w->said[w->read++];
}

static bool names(const struct said *s, uint64_t node)
{
	for (size_t i = 0; i < s->fetch.n_peers; i++)
		if (s->peers[i] == node)
			return true;
	return false;
}

static struct said bring(struct world *w, uint64_t node)
{
	ASSERT_EQ(core_item_bring(w->core, 1, node, 0), 0);
	decide(w);
	struct said s = expect(w, SAID_FETCH, 1);
	ASSERT_EQ(s.node, node);
	return s;
}

TEST(a_transfer_is_told_some_who_have_it_and_some_who_bring_it_half_of_them_of_its_rack)
{
	WORLD(w);
	begin(&w, 0);
	for (uint64_t n = 1; n <= 3; n++)
		ASSERT_EQ(core_replica_set(c, n, 1, 100 * MB), 0);
	for (uint64_t n = 4; n < N; n++)
		bring(&w, n);
	struct said s = bring(&w, N);
	ASSERT_EQ(s.fetch.n_peers, CORE_NEIGHBOURS);
	ASSERT(s.fetch.n_whole >= 2);
	unsigned n_near = 0;
	for (size_t i = 0; i < s.fetch.n_peers; i++) {
		ASSERT_EQ(i < s.fetch.n_whole, s.peers[i] <= 3);
		n_near += s.peers[i] % 2 == N % 2;
	}
	ASSERT(n_near >= CORE_NEIGHBOURS / 2);
}

static void list_peers(uint64_t seed, char text[256])
{
	WORLD(w);
	world_options(&w, &actions, &(struct core_options){.seed = seed});
	c = begin(&w, 0);
	for (uint64_t n = 1; n < N; n++)
		ASSERT_EQ(core_replica_set(c, n, 1, 100 * MB), 0);
	struct said s = bring(&w, N);
	size_t n = 0;
	for (size_t i = 0; i < s.fetch.n_peers; i++)
		n += (size_t)snprintf(text + n, 256 - n, "%d ", (int)s.peers[i]);
}

TEST(who_is_named_is_chance_and_the_same_for_the_same_seed)
{
	char one[256], same[256], other[256];
	list_peers(7, one);
	list_peers(7, same);
	list_peers(8, other);
	ASSERT_STR(one, same);
	ASSERT(strcmp(one, other) != 0);
}

TEST(one_reads_the_source_and_the_others_begin_at_once_with_him_as_neighbour)
{
	WORLD(w);
	begin(&w, 7);
	for (uint64_t n = 1; n <= 10; n++)
		ASSERT_EQ(core_item_bring(c, 1, n, 0), 0);
	decide(&w);
	struct said reader = expect(&w, SAID_FETCH, 1);
	ASSERT_EQ(reader.fetch.source, 7);
	for (unsigned i = 0; i < 9; i++) {
		struct said s = expect(&w, SAID_FETCH, 1);
		ASSERT_EQ(s.fetch.source, 0);
		ASSERT(names(&s, reader.node));
	}
	expect_nothing(&w);
}

TEST(what_nobody_knows_the_tree_of_is_read_once_and_then_told)
{
	WORLD(w);
	begin(&w, 0);
	item(c, 2, MB, 7, 0);
	for (uint64_t n = 1; n <= 5; n++)
		ASSERT_EQ(core_item_bring(c, 2, n, 0), 0);
	decide(&w);
	struct said reader = expect(&w, SAID_FETCH, 2);
	ASSERT_EQ(reader.fetch.tree, 0);
	expect_nothing(&w);
	ASSERT_EQ(core_item_is_tree(c, 2, 2, MB), 0);
	ASSERT_EQ(core_replica_set(c, reader.node, 2, MB), 0);
	decide(&w);
	for (unsigned i = 0; i < 4; i++) {
		struct said s = expect(&w, SAID_FETCH, 2);
		ASSERT(s.fetch.source == 0 && s.fetch.tree == 2);
		ASSERT_EQ(s.peer, reader.node);
	}
}

TEST(where_a_source_has_no_limit_everybody_reads_for_himself)
{
	WORLD(w);
	begin(&w, 0);
	core_source_set(c, 7, 0);
	item(c, 2, MB, 7, 0);
	for (uint64_t n = 1; n <= 5; n++)
		ASSERT_EQ(core_item_bring(c, 2, n, 0), 0);
	decide(&w);
	for (unsigned i = 0; i < 5; i++)
		ASSERT_EQ(expect(&w, SAID_FETCH, 2).fetch.source, 7);
}

TEST(when_the_reader_is_lost_who_has_most_of_it_reads_the_rest)
{
	WORLD(w);
	begin(&w, 7);
	uint64_t reader = bring(&w, 1).node;
	for (uint64_t n = 2; n <= 6; n++)
		bring(&w, n);
	for (uint64_t n = 2; n <= 6; n++)
		ASSERT_EQ(core_replica_set(c, n, 1, (n == 4 ? 20 : 10) * MB), 0);
	ASSERT_EQ(core_node_lost(c, reader), 0);
	decide(&w);
	struct said s = next(&w);
	while (!s.fetch.source)
		s = next(&w);
	ASSERT_EQ(s.node, 4);
	/* Not all of it need be read again. */
	ASSERT_EQ(s.fetch.n_peers, 4);
	for (; w.read < w.n; w.read++)
		ASSERT(!w.said[w.read].fetch.source);
}

TEST(when_all_who_have_all_of_it_are_lost_who_has_most_of_it_reads_the_rest_and_who_comes_asks_others)
{
	for (unsigned way = 0; way < 3; way++) {
		WORLD(w);
		begin(&w, 7);
		ASSERT_EQ(core_replica_set(c, 1, 1, 100 * MB), 0);
		for (uint64_t n = 2; n <= 6; n++) {
			bring(&w, n);
			ASSERT_EQ(core_replica_set(c, n, 1, n == 4 ? 60 * MB : 10 * MB), 0);
		}
		decide(&w);
		expect_nothing(&w);
		if (way == 0)
			ASSERT_EQ(core_node_lost(c, 1), 0);
		else if (way == 1)
			ASSERT_EQ(core_node_serve(c, 1, false), 0);
		else
			ASSERT_EQ(core_replica_set(c, 1, 1, 50 * MB), 0);
		decide(&w);
		struct said s = next(&w);
		while (!s.fetch.source)
			s = next(&w);
		ASSERT(s.node == 4 && s.fetch.source == 7 && s.fetch.tree == 1);
		for (; w.read < w.n; w.read++)
			ASSERT(!w.said[w.read].fetch.source);
		s = bring(&w, 7);
		ASSERT(s.fetch.source == 0 && names(&s, 4));
	}
}

TEST(a_reader_that_fails_or_makes_no_progress_is_followed_by_another_node)
{
	WORLD(w);
	begin(&w, 0);
	item(c, 2, MB, 7, 0);
	for (uint64_t n = 1; n <= 3; n++)
		ASSERT_EQ(core_item_bring(c, 2, n, 0), 0);
	decide(&w);
	uint64_t first = expect(&w, SAID_FETCH, 2).node;
	ASSERT_EQ(core_fetch_failed(c, first, 2, false), 0);
	decide(&w);
	uint64_t second = expect(&w, SAID_FETCH, 2).node;
	ASSERT(second != first);
	expect_nothing(&w);
	core_set_time(c, core_next_due(c));
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FETCH_STOP, 2).node, second);
	uint64_t third = expect(&w, SAID_FETCH, 2).node;
	ASSERT(third != second);
	expect_nothing(&w);
}

TEST(a_reader_of_much_has_as_long_as_that_may_take)
{
	WORLD(w);
	world_options(&w, &actions, &(struct core_options){.rate = MB});
	c = begin(&w, 7);
	bring(&w, 1);
	ASSERT_EQ(core_next_due(c), 400000001);
	core_set_time(c, core_next_due(c));
	decide(&w);
	expect(&w, SAID_FETCH_STOP, 1);
}

TEST(nobody_is_to_blame_for_what_others_do_not_have_yet)
{
	WORLD(w);
	begin(&w, 7);
	for (uint64_t n = 3; n <= N; n++)
		ASSERT_EQ(core_node_suspend(c, n), 0);
	uint64_t reader = bring(&w, 1).node;
	task(c, 10, 1, 0, CORE_WHEN_STAGED);
	ASSERT_EQ(core_node_suspend(c, reader), 0);
	core_set_time(c, core_next_due(c));
	decide(&w);
	for (unsigned i = 0; i < 20; i++) {
		ASSERT_EQ(expect(&w, SAID_FETCH, 1).node, 2);
		ASSERT_EQ(core_fetch_failed(c, 2, 1, false), 0);
		decide(&w);
	}
	ASSERT_EQ(core_task_reason(c, 10), CORE_REASON_STAGING);
	ASSERT_EQ(core_node_health(c, 2), CORE_HEALTH_GOOD);
}

TEST(a_reader_with_progress_keeps_its_token)
{
	WORLD(w);
	begin(&w, 7);
	bring(&w, 1);
	for (uint64_t size = 10; size < 100; size += 10) {
		ASSERT_EQ(core_replica_set(c, 1, 1, size * MB), 0);
		core_set_time(c, core_next_due(c));
		decide(&w);
		expect_nothing(&w);
	}
	core_set_time(c, core_next_due(c));
	decide(&w);
	expect(&w, SAID_FETCH_STOP, 1);
}

TEST(what_a_task_waits_for_does_not_wait_behind_bulk_and_the_rest_begins_by_rank)
{
	WORLD(w);
	begin(&w, 0);
	core_source_set(c, 7, 0);
	for (uint64_t i = 2; i <= 12; i++)
		item(c, i, MB, 7, i);
	for (uint64_t n = 2; n <= N; n++)
		ASSERT_EQ(core_node_suspend(c, n), 0);
	for (uint64_t i = 2; i <= 6; i++)
		ASSERT_EQ(core_item_bring(c, i, 1, CORE_BRING_COPY), 0);
	ASSERT_EQ(core_item_bring(c, 7, 1, 0), 0);
	decide(&w);
	ASSERT_EQ(next(&w).fetch.item, 7);
	for (unsigned i = 0; i < 3; i++)
		ASSERT_EQ(next(&w).fetch.rank, CORE_RANK_COPY);
	expect_nothing(&w);
	task(c, 10, 12, 0, CORE_WHEN_STAGED);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FETCH, 12).fetch.rank, CORE_RANK_GATING);
	/* One that comes already, too, from when a task waits for it. */
	ASSERT_EQ(core_replica_set(c, 1, 12, MB), 0);
	decide(&w);
	ASSERT_EQ(core_attempt_ended(c, 10, expect(&w, SAID_START, 10).attempt), 0);
	ASSERT_EQ(core_replica_set(c, 5, 7, MB), 0);
	task(c, 11, 7, 0, CORE_WHEN_LAZY);
	task(c, 12, 3, 0, CORE_WHEN_STAGED);
	decide(&w);
}

TEST(a_node_hears_that_a_task_waits_now_for_what_comes_already)
{
	WORLD(w);
	begin(&w, 0);
	ASSERT_EQ(core_replica_set(c, 2, 1, 100 * MB), 0);
	ASSERT_EQ(bring(&w, 1).fetch.rank, CORE_RANK_BACKGROUND);
	for (uint64_t n = 2; n <= N; n++)
		ASSERT_EQ(core_node_suspend(c, n), 0);
	task(c, 10, 1, 0, CORE_WHEN_STAGED);
	decide(&w);
	struct said s = expect(&w, SAID_FETCH, 1);
	ASSERT(s.node == 1 && s.fetch.is_gating && s.peer == 2);
}

TEST(a_task_goes_to_a_node_to_which_its_input_is_on_the_way)
{
	WORLD(w);
	begin(&w, 0);
	ASSERT_EQ(core_replica_set(c, 1, 1, 100 * MB), 0);
	ASSERT_EQ(core_node_suspend(c, 1), 0);
	bring(&w, 17);
	item(c, 2, MB, 0, 2);
	ASSERT_EQ(core_replica_set(c, 9, 2, MB), 0);
	const uint64_t inputs[] = {1, 2};
	ASSERT_EQ(core_task_add(c, 10,
				&(struct core_task_spec){.inputs = inputs, .n_inputs = 2, .when = CORE_WHEN_STAGED}),
		  0);
	decide(&w);
	struct said s = next(&w);
	while (s.fetch.item != 2)
		s = next(&w);
	ASSERT_EQ(s.node, 17);
}

TEST(who_gave_wrong_bytes_is_named_to_nobody_until_he_has_found_out)
{
	WORLD(w);
	begin(&w, 0);
	for (uint64_t n = 1; n <= 3; n++)
		ASSERT_EQ(core_replica_set(c, n, 1, 100 * MB), 0);
	struct said s = bring(&w, 10);
	ASSERT(names(&s, 2));
	ASSERT_EQ(core_peer_bad(c, 1, 2, 10, CORE_FAULT_WRONG), 0);
	ASSERT_EQ(core_peer_bad(c, 1, 99, 10, CORE_FAULT_WRONG), -ENOENT);
	decide(&w);
	for (uint64_t n = 11; n < 20; n++) {
		s = bring(&w, n);
		ASSERT(!names(&s, 2));
	}
	/* It leaves and comes back, with the same. */
	ASSERT_EQ(core_node_lost(c, 2), 0);
	add_node(c, 2, 1, 0);
	ASSERT_EQ(core_replica_set(c, 2, 1, 100 * MB), 0);
	for (uint64_t n = 20; n < 25; n++) {
		s = bring(&w, n);
		ASSERT(!names(&s, 2));
	}
	ASSERT_EQ(core_replica_set(c, 2, 1, 90 * MB), 0);
	ASSERT_EQ(core_replica_set(c, 2, 1, 100 * MB), 0);
	ASSERT_EQ(core_replica_set(c, 1, 1, 0), 0);
	ASSERT_EQ(core_replica_set(c, 3, 1, 0), 0);
	s = bring(&w, 25);
	ASSERT_EQ(s.peer, 2);
}

TEST(who_alone_has_it_and_lies_is_not_waited_for_where_there_is_a_source)
{
	WORLD(w);
	begin(&w, 7);
	ASSERT_EQ(core_replica_set(c, 2, 1, 100 * MB), 0);
	ASSERT_EQ(bring(&w, 10).peer, 2);
	ASSERT_EQ(core_peer_bad(c, 1, 2, 10, CORE_FAULT_WRONG), 0);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FETCH, 1).fetch.source, 7);
}

TEST(who_cannot_be_reached_by_two_is_named_to_nobody_for_a_while)
{
	WORLD(w);
	begin(&w, 0);
	ASSERT_EQ(core_replica_set(c, 1, 1, 100 * MB), 0);
	bring(&w, 10);
	bring(&w, 11);
	ASSERT_EQ(core_peer_bad(c, 1, 1, 10, CORE_FAULT_UNREACHABLE), 0);
	ASSERT_EQ(core_peer_bad(c, 1, 1, 10, CORE_FAULT_UNREACHABLE), 0);
	decide(&w);
	struct said s = expect(&w, SAID_FETCH, 1);
	ASSERT(s.node == 10 && names(&s, 11) && !names(&s, 1));
	s = bring(&w, 12);
	ASSERT(names(&s, 1));
	ASSERT_EQ(core_peer_bad(c, 1, 1, 11, CORE_FAULT_SILENT), 0);
	decide(&w);
	w.read = w.n;
	ASSERT_EQ(core_item_bring(c, 1, 13, 0), 0);
	decide(&w);
	expect_nothing(&w);
	while (w.read == w.n) {
		core_set_time(c, core_next_due(c));
		decide(&w);
	}
	ASSERT(c->now_usec < 70000000);
	bool is_named = false;
	for (; w.read < w.n; w.read++)
		is_named |= names(&w.said[w.read], 1);
	ASSERT(is_named);
}

TEST(when_those_who_have_it_fail_its_source_is_read_and_if_that_fails_they_are_asked_again)
{
	static const uint64_t sources[] = {0, 0, 7, 0, 7, 0};
	WORLD(w);
	begin(&w, 7);
	ASSERT_EQ(core_replica_set(c, 2, 1, 100 * MB), 0);
	ASSERT_EQ(core_item_bring(c, 1, 10, 0), 0);
	for (size_t i = 0; i < countof(sources); i++) {
		decide(&w);
		struct said s = expect(&w, SAID_FETCH, 1);
		ASSERT_EQ(s.fetch.source, sources[i]);
		ASSERT(names(&s, 2));
		ASSERT_EQ(core_fetch_failed(c, 10, 1, false), 0);
	}
}

TEST(what_a_node_cannot_get_from_the_only_one_who_has_it_is_to_be_relayed)
{
	WORLD(w);
	begin(&w, 0);
	ASSERT_EQ(core_replica_set(c, 1, 1, 100 * MB), 0);
	ASSERT(!bring(&w, 10).fetch.is_relayed);
	ASSERT_EQ(core_peer_bad(c, 1, 1, 10, CORE_FAULT_UNREACHABLE), 0);
	decide(&w);
	ASSERT(expect(&w, SAID_FETCH, 1).fetch.is_relayed);
	ASSERT_EQ(core_peer_bad(c, 1, 1, 10, CORE_FAULT_UNREACHABLE), 0);
	decide(&w);
	expect_nothing(&w);
	/* Another one who has it will do. */
	ASSERT_EQ(core_replica_set(c, 2, 1, 100 * MB), 0);
	core_set_time(c, core_next_due(c));
	decide(&w);
	struct said s = expect(&w, SAID_FETCH, 1);
	ASSERT(names(&s, 2) && !s.fetch.is_relayed);
}

TEST(who_is_slow_is_named_only_where_there_are_few_others)
{
	WORLD(w);
	begin(&w, 0);
	for (uint64_t n = 1; n <= 2; n++)
		ASSERT_EQ(core_replica_set(c, n, 1, 100 * MB), 0);
	bring(&w, 10);
	ASSERT_EQ(core_peer_bad(c, 1, 2, 10, CORE_FAULT_SLOW), 0);
	struct said s = bring(&w, 11);
	ASSERT(names(&s, 2));
	for (uint64_t n = 3; n <= 6; n++)
		ASSERT_EQ(core_replica_set(c, n, 1, 100 * MB), 0);
	s = bring(&w, 12);
	ASSERT(!names(&s, 2));
	core_set_time(c, UINT64_C(700000000));
	decide(&w);
	w.read = w.n;
	s = bring(&w, 13);
	ASSERT(names(&s, 2));
}

TEST(a_transfer_of_which_nothing_comes_is_told_others_and_never_waits_for_ever)
{
	WORLD(w);
	begin(&w, 0);
	ASSERT_EQ(core_replica_set(c, 1, 1, 100 * MB), 0);
	ASSERT_EQ(bring(&w, 10).fetch.n_peers, 1);
	ASSERT_EQ(core_replica_set(c, 2, 1, 100 * MB), 0);
	core_set_time(c, core_next_due(c));
	decide(&w);
	struct said s = expect(&w, SAID_FETCH, 1);
	ASSERT(names(&s, 1) && names(&s, 2));
	/* Now it has something to come from, and some comes. */
	ASSERT_EQ(core_replica_set(c, 10, 1, MB), 0);
	core_set_time(c, core_next_due(c));
	decide(&w);
	expect_nothing(&w);
	for (unsigned i = 0; i < 3; i++) {
		core_set_time(c, core_next_due(c));
		decide(&w);
	}
	expect(&w, SAID_FETCH_STOP, 1);
	expect(&w, SAID_FETCH, 1);
}

TEST(what_is_to_be_brought_comes_without_a_task_behind_what_tasks_need)
{
	WORLD(w);
	add_node(c, 1, 1, 0);
	add_node(c, 2, 1, 0);
	item(c, 1, MB, 0, 1);
	ASSERT_EQ(core_item_bring(c, 2, 2, 0), -ENOENT);
	ASSERT_EQ(core_item_bring(c, 1, 3, 0), -ENOENT);
	ASSERT_EQ(core_replica_set(c, 1, 1, MB), 0);
	ASSERT_EQ(core_item_bring(c, 1, 1, 0), -EALREADY);
	ASSERT_EQ(core_item_bring(c, 1, 2, CORE_BRING_PIN), 0);
	decide(&w);
	struct core_fetch f = expect(&w, SAID_FETCH, 1).fetch;
	ASSERT_EQ(f.node, 2);
	ASSERT_EQ(f.rank, CORE_RANK_BACKGROUND);
	ASSERT(f.is_pinned && !f.is_gating);
	ASSERT_EQ(core_replica_set(c, 2, 1, MB), 0);
	decide(&w);
	expect_nothing(&w);
	/* What is there already is pinned where it is. */
	ASSERT_EQ(core_item_bring(c, 1, 1, CORE_BRING_PIN), -EALREADY);
	decide(&w);
	f = expect(&w, SAID_FETCH, 1).fetch;
	ASSERT(f.node == 1 && f.is_pinned && !f.n_peers && !f.source);
}

TEST(what_is_not_to_be_brought_any_more_is_stopped_unless_a_task_needs_it)
{
	WORLD(w);
	add_node(c, 1, 1, 0);
	add_node(c, 2, 1, 0);
	item(c, 1, MB, 0, 1);
	ASSERT_EQ(core_replica_set(c, 1, 1, MB), 0);
	ASSERT_EQ(core_item_bring(c, 1, 2, CORE_BRING_COPY), 0);
	decide(&w);
	ASSERT_EQ(expect(&w, SAID_FETCH, 1).fetch.rank, CORE_RANK_COPY);
	ASSERT_EQ(core_item_bring(c, 1, 2, CORE_BRING_OVER), 0);
	decide(&w);
	expect(&w, SAID_FETCH_STOP, 1);
	ASSERT_EQ(c->n_moves, 0);
	ASSERT_EQ(core_item_bring(c, 1, 2, CORE_BRING_OVER), 0);
	/* Now a task waits for it there as well. */
	ASSERT_EQ(core_node_suspend(c, 1), 0);
	task(c, 10, 1, 0, CORE_WHEN_STAGED);
	core_set_time(c, core_next_due(c));
	decide(&w);
	expect(&w, SAID_FETCH, 1);
	ASSERT_EQ(core_item_bring(c, 1, 2, 0), 0);
	ASSERT_EQ(core_item_bring(c, 1, 2, CORE_BRING_OVER), 0);
	decide(&w);
	expect_nothing(&w);
	ASSERT_EQ(c->n_moves, 1);
}

/* ---- what is learnt of a source */

/* So many readers at once have `total` bytes a second between them. */
static unsigned settle(uint64_t (*total)(unsigned n_readers))
{
	WORLD(w);
	world_options(&w, &actions, &(struct core_options){.token_usec = 1000000000});
	c = w.core;
	uint64_t now_usec = 1;
	for (uint64_t n = 1; n <= 50; n++)
		add_node(c, n, 1, 0);
	for (uint64_t i = 1; i <= 1000; i++) {
		item(c, i, 10 * MB, 7, i);
		ASSERT_EQ(core_item_bring(c, i, 1 + i % 50, 0), 0);
	}
	const struct core_source *s = core_source_get(c, 7);
	uint64_t sum = 0;
	for (unsigned n = 0; n < 900; n++) {
		core_decide(c, 0);
		now_usec += 10 * MB * 1000000 / total(s->n_active);
		core_set_time(c, now_usec);
		struct said f = expect(&w, SAID_FETCH, w.said[w.read].task);
		ASSERT_EQ(core_replica_set(c, f.node, f.task, 10 * MB), 0);
		sum += n >= 700 ? s->limit : 0;
	}
	return (unsigned)(sum / 200);
}

static uint64_t a_disk(unsigned n_readers)
{
	return 100 * MB / (n_readers * n_readers);
}

static uint64_t a_wire(unsigned n_readers)
{
	return 100 * MB + n_readers;
}

static uint64_t servers(unsigned n_readers)
{
	return 20 * MB * min(n_readers, 12u);
}

TEST(where_a_second_reader_makes_each_slower_than_half_there_is_one_again)
{
	ASSERT_EQ(settle(a_disk), 1);
}

TEST(where_more_readers_bring_nothing_there_are_few_and_where_they_do_there_are_many)
{
	ASSERT(settle(a_wire) <= 4);
	ASSERT(settle(servers) >= 10);
}
