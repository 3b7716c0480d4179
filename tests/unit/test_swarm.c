/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/swarm_asks.h"
#include "tests/unit/unit.h"

TEST(nothing_is_asked_of_nobody)
{
	_cleanup_(swarm_freep) struct swarm *s = new_swarm(10);
	struct swarm_wish w;
	ASSERT_EQ(next(s, 0, &w), -EAGAIN);
	int a = swarm_join(s);
	ASSERT_EQ(next(s, 0, &w), -EAGAIN);
	swarm_has_chunk(s, a, 3);
	ASSERT_EQ(next(s, 0, &w), a);
	ASSERT_EQ(n_wanted(&w), 1);
	ASSERT(is_wanted(&w, 3));
	ASSERT_EQ(w.rank, SWARM_BULK);
	ASSERT_EQ(next(s, 0, &w), -EAGAIN);
}

TEST(a_tree_of_nothing_wants_nothing)
{
	_cleanup_(swarm_freep) struct swarm *s = new_swarm(0);
	struct swarm_wish w;
	int a = swarm_join(s);
	swarm_has_all(s, a);
	swarm_has_chunk(s, a, 0);
	ASSERT_EQ(next(s, 0, &w), -EAGAIN);
	ASSERT_EQ(swarm_n_missing(s), 0);
}

TEST(the_rarest_is_asked_for_first)
{
	_cleanup_(swarm_freep) struct swarm *s = new_swarm(1000);
	struct swarm_wish w;
	int a = swarm_join(s), b = swarm_join(s), c = swarm_join(s);
	for (uint64_t i = 0; i < 1000; i++) {
		swarm_has_chunk(s, a, i);
		if (i != 777)
			swarm_has_chunk(s, b, i);
		if (i % 2)
			swarm_has_chunk(s, c, i);
	}
	swarm_leave(s, c);
	/* One chunk that only the first has; of the others' all are equal. */
	for (int i = 0; i < 2; i++)
		if (next(s, 0, &w) == a)
			ASSERT(is_wanted(&w, 777));
}

TEST(a_neighbour_is_asked_once_and_once_more_while_it_serves)
{
	_cleanup_(swarm_freep) struct swarm *s = new_swarm(1000);
	struct swarm_wish first, second, w;
	int a = swarm_join(s);
	swarm_has_all(s, a);
	ASSERT_EQ(next(s, 0, &first), a);
	ASSERT_EQ(next(s, 0, &w), -EAGAIN);
	ASSERT(swarm_chosen(s, first.number, first_wanted(&first), 10));
	ASSERT_EQ(next(s, 10, &second), a);
	ASSERT_EQ(next(s, 10, &w), -EAGAIN);
	ASSERT(!is_wanted(&second, first_wanted(&first)));
	swarm_came(s, first.number, SIZE, 20);
	ASSERT_EQ(next(s, 20, &w), -EAGAIN);
	swarm_failed(s, second.number, 30);
	ASSERT_EQ(next(s, 30, &w), a);
}

TEST(no_chunk_is_asked_of_two)
{
	_cleanup_(swarm_freep) struct swarm *s = new_swarm(100);
	struct swarm_wish w[4];
	int neighbours[4];
	for (int i = 0; i < 4; i++)
		swarm_has_all(s, neighbours[i] = swarm_join(s));
	for (int i = 0; i < 4; i++)
		ASSERT(next(s, 0, &w[i]) >= 0);
	for (uint64_t i = 0; i < 100; i++)
		ASSERT(is_wanted(&w[0], i) + is_wanted(&w[1], i) + is_wanted(&w[2], i) + is_wanted(&w[3], i) <= 1);
}

TEST(a_chunk_that_is_here_or_comes_already_is_not_taken_twice)
{
	_cleanup_(swarm_freep) struct swarm *s = new_swarm(2);
	struct swarm_wish w;
	int a = swarm_join(s);
	swarm_has_all(s, a);
	ASSERT_EQ(next(s, 0, &w), a);
	uint64_t chunk = first_wanted(&w);
	swarm_has(s, chunk);
	ASSERT(!swarm_chosen(s, w.number, chunk, 5));
	ASSERT(!swarm_chosen(s, w.number, chunk, 5));
	ASSERT_EQ(swarm_n_missing(s), 1);
	/* What was not asked for is not taken either. */
	ASSERT_EQ(next(s, 5, &w), a);
	ASSERT(!swarm_chosen(s, w.number, 1000000, 5));
}

TEST(what_failed_or_was_wrong_is_asked_for_again)
{
	_cleanup_(swarm_freep) struct swarm *s = new_swarm(1);
	struct swarm_wish w;
	int a = swarm_join(s), b = swarm_join(s);
	swarm_has_all(s, a);
	ASSERT_EQ(next(s, 0, &w), a);
	ASSERT(swarm_chosen(s, w.number, 0, 0));
	swarm_came(s, w.number, SIZE, 10);
	ASSERT_EQ(next(s, 10, &w), -EAGAIN);
	swarm_wrong(s, 0);
	ASSERT_EQ(next(s, 10, &w), a);
	ASSERT(swarm_chosen(s, w.number, 0, 20));
	swarm_has_all(s, b);
	swarm_leave(s, a);
	ASSERT_EQ(next(s, 30, &w), b);
	swarm_lacks_chunk(s, b, 0);
	swarm_failed(s, w.number, 40);
	ASSERT_EQ(next(s, 50, &w), -EAGAIN);
}

TEST(what_a_reader_waits_for_is_asked_for_and_nothing_else)
{
	_cleanup_(swarm_freep) struct swarm *s = new_swarm(100);
	struct swarm_wish bulk, now, w;
	int a = swarm_join(s), b = swarm_join(s);
	swarm_has_all(s, a);
	ASSERT_EQ(next(s, 0, &bulk), a);
	uint64_t chunk = first_wanted(&bulk);
	/* Though it was in the set of a request that waits. */
	swarm_has_all(s, b);
	swarm_prefer(s, chunk, SWARM_NOW);
	swarm_prefer(s, chunk, SWARM_BULK);
	ASSERT_EQ(swarm_n_urgent(s), 1);
	ASSERT_EQ(next(s, 1, &now), b);
	ASSERT_EQ(now.rank, SWARM_NOW);
	ASSERT_EQ(n_wanted(&now), 1);
	ASSERT(is_wanted(&now, chunk));
	ASSERT_EQ(next(s, 2, &w), -EAGAIN);
	ASSERT(swarm_chosen(s, now.number, chunk, 3));
	ASSERT_EQ(next(s, 3, &w), -EAGAIN);
	swarm_came(s, now.number, SIZE, 4);
	swarm_has(s, chunk);
	ASSERT_EQ(swarm_n_urgent(s), 0);
	ASSERT_EQ(next(s, 5, &w), b);
	ASSERT_EQ(w.rank, SWARM_BULK);
}

TEST(a_reader_of_what_nobody_has_does_not_stop_the_rest)
{
	_cleanup_(swarm_freep) struct swarm *s = new_swarm(100);
	struct swarm_wish w;
	int a = swarm_join(s);
	for (uint64_t i = 0; i < 99; i++)
		swarm_has_chunk(s, a, i);
	swarm_prefer(s, 99, SWARM_NOW);
	ASSERT_EQ(next(s, 0, &w), a);
	ASSERT_EQ(w.rank, SWARM_BULK);
}

TEST(a_late_chunk_is_asked_of_a_second_one_at_the_end)
{
	_cleanup_(swarm_freep) struct swarm *s = new_swarm(1);
	struct swarm_wish first, second, w;
	int a = swarm_join(s), b = swarm_join(s);
	swarm_has_all(s, a);
	ASSERT_EQ(next(s, 0, &first), a);
	ASSERT(swarm_chosen(s, first.number, 0, 0));
	swarm_has_all(s, b);
	ASSERT_EQ(next(s, 1000, &w), -EAGAIN);
	ASSERT_EQ(next(s, 10000000, &second), b);
	ASSERT_EQ(next(s, 10000000, &w), -EAGAIN);
	ASSERT(swarm_chosen(s, second.number, 0, 10000001));
	swarm_came(s, second.number, SIZE, 10000010);
	swarm_has(s, 0);
	swarm_came(s, first.number, SIZE, 10000020);
	ASSERT_EQ(swarm_n_missing(s), 0);
}

TEST(what_only_the_richest_has_is_all_in_its_set)
{
	_cleanup_(swarm_freep) struct swarm *s = new_swarm(500);
	struct swarm_wish w;
	int a = swarm_join(s), b = swarm_join(s);
	for (uint64_t i = 0; i < 400; i++)
		swarm_has_chunk(s, a, i);
	ASSERT_EQ(next(s, 0, &w), a);
	ASSERT_EQ(n_wanted(&w), 400);
	/* And is nevertheless asked of another as soon as that has it. */
	swarm_has_chunk(s, b, 17);
	ASSERT_EQ(next(s, 0, &w), b);
	ASSERT(is_wanted(&w, 17));
	ASSERT_EQ(n_wanted(&w), 1);
}

TEST(what_a_silent_one_was_asked_for_is_asked_of_another)
{
	_cleanup_(swarm_freep) struct swarm *s = new_swarm(1);
	struct swarm_wish silent, w;
	swarm_has_all(s, swarm_join(s));
	swarm_has_all(s, swarm_join(s));
	int first = next(s, 0, &silent);
	ASSERT(first >= 0);
	ASSERT_EQ(next(s, 1000, &w), -EAGAIN);
	ASSERT_EQ(next(s, 10000000, &w), 1 - first);
	/* The first is to be cancelled. */
	ASSERT_EQ(swarm_useless(s), silent.number);
	ASSERT_EQ(swarm_useless(s), 0);
	ASSERT(swarm_chosen(s, w.number, 0, 10000010));
}

TEST(a_slow_one_gets_one_request_at_a_time)
{
	_cleanup_(swarm_freep) struct swarm *s = new_swarm(1000);
	int neighbours[3];
	uint64_t usec = 0;
	for (int i = 0; i < 3; i++)
		swarm_has_all(s, neighbours[i] = swarm_join(s));
	for (int round = 0; round < 6; round++) {
		struct swarm_wish w[8];
		int of[8], n = 0, n_slow = 0;
		uint64_t chosen_usec = usec += 1000;
		while (n < 8 && (of[n] = next(s, usec, &w[n])) >= 0) {
			if (swarm_chosen(s, w[n].number, first_wanted(&w[n]), chosen_usec))
				n_slow += of[n] == neighbours[0];
			n++;
		}
		/* Chosen at once: the second is asked for while the first is served, but of the slow one. */
		if (round > 2)
			ASSERT(n_slow <= 1);
		usec += 1000;
		for (int i = 0; i < n; i++)
			if (of[i] != neighbours[0])
				swarm_came(s, w[i].number, SIZE, usec);
		usec += 100000;
		for (int i = 0; i < n; i++) {
			if (of[i] == neighbours[0])
				swarm_came(s, w[i].number, SIZE, usec);
			swarm_has(s, first_wanted(&w[i]));
		}
	}
	ASSERT(swarm_lateness(s, neighbours[0], usec) > 4);
	ASSERT(swarm_rate(s, neighbours[0]) < swarm_rate(s, neighbours[1]));
}

/* Who sends a byte now and then is never silent, and what it was asked for is under way. */
TEST(who_drips_does_not_keep_others_from_being_asked)
{
	enum { TURN_USEC = 10000, BUSY_USEC = 2000000 };
	_cleanup_(swarm_freep) struct swarm *s = new_swarm(4);
	struct swarm_wish w, waiting[4];
	unsigned n_waiting = 0;
	int drips = swarm_join(s), gives = swarm_join(s);
	swarm_has_all(s, drips);
	swarm_has_all(s, gives);
	/* One chooses at once and then gives nothing; the other is busy for two seconds, and then gives all that it is asked for. */
	for (uint64_t now = 0; now < 10 * BUSY_USEC && swarm_n_missing(s); now += TURN_USEC) {
		int who;
		while ((who = next(s, now, &w)) >= 0) {
			if (who == drips)
				swarm_chosen(s, w.number, first_wanted(&w), now);
			else
				waiting[n_waiting++] = w;
		}
		for (; n_waiting && now >= BUSY_USEC; n_waiting--) {
			const struct swarm_wish *one = &waiting[n_waiting - 1];
			uint64_t chunk = first_wanted(one);
			if (!swarm_chosen(s, one->number, chunk, now))
				continue;
			swarm_came(s, one->number, SIZE, now);
			swarm_has(s, chunk);
		}
	}
	ASSERT_EQ(swarm_n_missing(s), 0);
}

TEST(a_request_that_brings_nothing_any_more_is_named)
{
	_cleanup_(swarm_freep) struct swarm *s = new_swarm(8);
	struct swarm_wish first, second;
	int a = swarm_join(s), b = swarm_join(s);
	swarm_has_all(s, a);
	ASSERT_EQ(next(s, 0, &first), a);
	ASSERT(swarm_chosen(s, first.number, first_wanted(&first), 0));
	ASSERT_EQ(next(s, 0, &second), a);
	ASSERT_EQ(swarm_useless(s), 0);
	swarm_has(s, first_wanted(&first));
	ASSERT_EQ(swarm_useless(s), first.number);
	ASSERT_EQ(swarm_useless(s), 0);
	for (uint64_t i = 0; i < 8; i++)
		swarm_has(s, i);
	ASSERT_EQ(swarm_useless(s), second.number);
	ASSERT_EQ(swarm_useless(s), 0);
	swarm_leave(s, b);
	swarm_leave(s, a);
}

TEST(a_neighbour_may_claim_what_there_is_not)
{
	_cleanup_(swarm_freep) struct swarm *s = new_swarm(65);
	struct swarm_wish w;
	int a = swarm_join(s);
	swarm_has_chunk(s, a, 65);
	swarm_has_chunk(s, a, UINT64_MAX);
	swarm_lacks_chunk(s, a, UINT64_MAX);
	ASSERT(!swarm_may_have(s, a, 65));
	ASSERT_EQ(next(s, 0, &w), -EAGAIN);
	swarm_has_all(s, a);
	swarm_has_all(s, a);
	ASSERT(swarm_may_have(s, a, 64));
	ASSERT_EQ(next(s, 0, &w), a);
	for (uint64_t i = 65; i < 200; i++)
		ASSERT(!is_wanted(&w, i));
}

TEST(there_is_room_for_so_many_neighbours)
{
	_cleanup_(swarm_freep) struct swarm *s = new_swarm(3);
	for (unsigned i = 0; i < SWARM_NEIGHBOURS_MOST; i++)
		swarm_has_all(s, swarm_join(s));
	ASSERT_EQ(swarm_join(s), -ENOSPC);
	swarm_leave(s, 5);
	ASSERT_EQ(swarm_join(s), 5);
	ASSERT(!swarm_may_have(s, 5, 0));
}

/* ---- the giver */

static bool is_even(void *arg, uint64_t chunk)
{
	(void)arg;
	return chunk % 2 == 0;
}

TEST(each_is_given_once_before_any_twice)
{
	_cleanup_(swarm_given_freep) struct swarm_given *g = swarm_given_new(40, 7);
	const uint8_t all[8] = {255, 255, 255, 255, 255, 255, 255, 255};
	unsigned times[40] = {0};
	for (unsigned round = 1; round <= 3; round++) {
		for (unsigned i = 0; i < 20; i++)
			times[swarm_pick(g, 0, all, sizeof all, is_even, NULL)]++;
		for (unsigned i = 0; i < 40; i++)
			ASSERT_EQ(times[i], i % 2 ? 0 : round);
	}
	swarm_ungive(g, 12);
	ASSERT_EQ(swarm_pick(g, 8, all, 1, is_even, NULL), 12);
	ASSERT_EQ(swarm_pick(g, 1, (const uint8_t[]){0x55}, 1, is_even, NULL), SWARM_NONE);
	ASSERT_EQ(swarm_pick(g, 40, all, 8, is_even, NULL), SWARM_NONE);
	ASSERT_EQ(swarm_pick(g, UINT64_MAX - 2, all, 8, is_even, NULL), SWARM_NONE);
	swarm_ungive(g, 1000);
}

/* ---- random drives */

#define N_MOST 300u
#define OPEN_MOST 128u

struct open {
	struct swarm_wish wish;
	int neighbour;
	uint64_t chunk;
};

struct drive {
	struct swarm *s;
	uint64_t seed, n, now_usec;
	bool here[N_MOST], has[SWARM_NEIGHBOURS_MOST][N_MOST], is_in[SWARM_NEIGHBOURS_MOST];
	struct open open[OPEN_MOST];
	unsigned n_open;
	uint64_t verifying[N_MOST * 2];
	unsigned n_verifying;
};

static uint64_t dice(struct drive *d, uint64_t n)
{
	return unit_random(&d->seed) % n;
}

static int any_neighbour(struct drive *d)
{
	int i = (int)dice(d, SWARM_NEIGHBOURS_MOST);
	return d->is_in[i] ? i : -1;
}

static void drop_open(struct drive *d, unsigned i)
{
	d->open[i] = d->open[--d->n_open];
}

static void ask(struct drive *d)
{
	struct open *o = &d->open[d->n_open];
	uint64_t due;
	int neighbour = swarm_next(d->s, d->now_usec, &o->wish, &due);
	if (neighbour < 0) {
		ASSERT_EQ(neighbour, -EAGAIN);
		ASSERT(due > d->now_usec);
		return;
	}
	ASSERT(d->is_in[neighbour]);
	ASSERT(o->wish.n && o->wish.n <= SWARM_WANTED_MAX && n_wanted(&o->wish));
	for (uint64_t i = 0; i < 8 * o->wish.n; i++)
		if (is_wanted(&o->wish, o->wish.first + i)) {
			ASSERT(o->wish.first + i < d->n);
			ASSERT(!d->here[o->wish.first + i]);
			ASSERT(d->has[neighbour][o->wish.first + i]);
		}
	unsigned n_same = 0;
	for (unsigned i = 0; i < d->n_open; i++)
		n_same += d->open[i].neighbour == neighbour;
	ASSERT(n_same <= 2);
	o->neighbour = neighbour;
	o->chunk = SWARM_NONE;
	ASSERT(++d->n_open < OPEN_MOST);
}

static void answer(struct drive *d, unsigned i)
{
	struct open *o = &d->open[i];
	uint64_t start = dice(d, 8 * o->wish.n), at = start;
	if (o->chunk == SWARM_NONE) {
		while (!is_wanted(&o->wish, o->wish.first + at % (8 * o->wish.n)))
			at++;
		uint64_t chunk = o->wish.first + at % (8 * o->wish.n);
		if (!swarm_chosen(d->s, o->wish.number, chunk, d->now_usec))
			drop_open(d, i);
		else {
			ASSERT(!d->here[chunk]);
			o->chunk = chunk;
		}
		return;
	}
	swarm_came(d->s, o->wish.number, SIZE, d->now_usec);
	if (!d->here[o->chunk])
		d->verifying[d->n_verifying++] = o->chunk;
	drop_open(d, i);
}

static void verify(struct drive *d)
{
	uint64_t chunk = d->verifying[--d->n_verifying];
	if (dice(d, 10) == 0)
		swarm_wrong(d->s, chunk);
	else {
		swarm_has(d->s, chunk);
		d->here[chunk] = true;
	}
}

static void cancel_useless(struct drive *d)
{
	for (uint64_t number; (number = swarm_useless(d->s));) {
		unsigned i = 0;
		while (d->open[i].wish.number != number)
			ASSERT(++i < d->n_open);
		drop_open(d, i);
	}
}

static void change_neighbour(struct drive *d)
{
	int i = any_neighbour(d);
	if (i < 0 || dice(d, 20) == 0) {
		i = swarm_join(d->s);
		if (i == -ENOSPC)
			return;
		d->is_in[i] = true;
		memset(d->has[i], dice(d, 4) == 0, d->n);
		if (d->has[i][0])
			swarm_has_all(d->s, i);
	} else if (dice(d, 20) == 0) {
		swarm_leave(d->s, i);
		d->is_in[i] = false;
		for (unsigned k = d->n_open; k--;)
			if (d->open[k].neighbour == i)
				drop_open(d, k);
	} else {
		uint64_t chunk = dice(d, d->n);
		d->has[i][chunk] = dice(d, 4) != 0;
		(d->has[i][chunk] ? swarm_has_chunk : swarm_lacks_chunk)(d->s, i, chunk);
	}
}

static void step(struct drive *d)
{
	uint64_t chunk = dice(d, d->n);
	d->now_usec += dice(d, 3000);
	switch (dice(d, 8)) {
	case 0:
	case 1:
	case 2:
		ask(d);
		break;
	case 3:
	case 4:
		if (d->n_open)
			answer(d, (unsigned)dice(d, d->n_open));
		break;
	case 5:
		if (d->n_verifying)
			verify(d);
		if (dice(d, 2))
			cancel_useless(d);
		break;
	case 6:
		change_neighbour(d);
		break;
	default:
		if (d->n_open && dice(d, 2)) {
			unsigned i = (unsigned)dice(d, d->n_open);
			swarm_failed(d->s, d->open[i].wish.number, d->now_usec);
			drop_open(d, i);
		} else if (dice(d, 10) == 0) {
			swarm_prefer(d->s, chunk, (enum swarm_rank)dice(d, SWARM_RANKS));
		} else if (dice(d, 20) == 0) {
			swarm_has(d->s, chunk);
			d->here[chunk] = true;
		} else if (dice(d, 20) == 0 && d->here[chunk]) {
			swarm_lacks(d->s, chunk);
			d->here[chunk] = false;
		}
	}
}

static void check_all(struct drive *d)
{
	uint64_t n_missing = 0;
	for (uint64_t i = 0; i < d->n; i++) {
		n_missing += !d->here[i];
		ASSERT_EQ(swarm_is_here(d->s, i), d->here[i]);
		for (int k = 0; k < (int)SWARM_NEIGHBOURS_MOST; k++)
			ASSERT_EQ(swarm_may_have(d->s, k, i), d->is_in[k] && d->has[k][i]);
	}
	ASSERT_EQ(swarm_n_missing(d->s), n_missing);
}

/* Whatever happened before: one who has all and answers is enough. */
static void finish(struct drive *d)
{
	int i = swarm_join(d->s);
	if (i < 0)
		i = 0;
	d->is_in[i] = true;
	memset(d->has[i], 1, d->n);
	swarm_has_all(d->s, i);
	for (unsigned n = 0; swarm_n_missing(d->s); n++) {
		ASSERT(n < 100000);
		d->now_usec += 1000;
		ask(d);
		if (d->n_open)
			answer(d, (unsigned)dice(d, d->n_open));
		while (d->n_verifying)
			verify(d);
	}
}

static void drive(uint64_t seed, unsigned n_steps, unsigned check_each)
{
	struct drive *d = NEW(struct drive);
	d->seed = seed;
	d->n = 1 + dice(d, N_MOST);
	d->s = new_swarm(d->n);
	for (unsigned i = 0; i < n_steps; i++) {
		step(d);
		if (i % check_each == 0)
			check_all(d);
	}
	finish(d);
	check_all(d);
	swarm_free(d->s);
	free(d);
}

TEST(whatever_happens_only_what_is_missing_is_asked_of_who_has_it_and_all_comes)
{
	unit_run_seeds(&(const struct unit_seeds){.name = "SWARM_SEED",
						  .n_seeds = 60,
						  .n_soak = 5000,
						  .n_steps = 3000,
						  .n_dense = 3,
						  .check_each = 500},
		       drive);
}
