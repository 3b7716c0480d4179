/* SPDX-License-Identifier: Apache-2.0 */
#include "common/loop_internal.h"
#include "tests/unit/unit.h"

#include <time.h>

static uint64_t real_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* Turns until *n reaches `goal`; false when the deadline came first. */
static bool turn_until(struct loop *l, const int *n, int goal)
{
	uint64_t end = real_usec() + UNIT_PATIENCE_USEC;
	while (*n < goal && real_usec() < end)
		if (loop_turn(l, 100) < 0)
			return false;
	return *n >= goal;
}

static uint64_t read_clock(void *arg)
{
	return *(uint64_t *)arg;
}

struct alarm {
	struct timer timer;
	int n_heard, place;
	int *count; /* of all */
	struct alarm *victim;
	struct loop *again; /* started anew with 0 */
};

static void on_alarm(struct timer *t)
{
	struct alarm *a = container_of(t, struct alarm, timer);
	a->n_heard++;
	if (a->count)
		a->place = (*a->count)++;
	if (a->victim)
		timer_stop(&a->victim->timer);
	if (a->again)
		timer_start(t, a->again, 0, on_alarm);
}

TEST(timers_expire_in_order_of_time_and_then_of_starting)
{
	uint64_t clock = 1000;
	_cleanup_(loop_freep) struct loop *l = loop_new();
	loop_set_clock(l, read_clock, &clock);
	int count = 0;
	static const uint64_t in_usec[] = {50, 10, 50, 0, 30, 10};
	static const int place[] = {4, 1, 5, 0, 3, 2};
	struct alarm a[countof(in_usec)] = {0};
	for (size_t i = 0; i < countof(a); i++) {
		a[i].count = &count;
		timer_start(&a[i].timer, l, in_usec[i], on_alarm);
	}
	clock += 49;
	ASSERT_EQ(loop_turn(l, 0), 0);
	ASSERT_EQ(count, 4);
	clock += 1;
	ASSERT_EQ(loop_turn(l, 0), 0);
	for (size_t i = 0; i < countof(a); i++)
		ASSERT_EQ(a[i].place, place[i]);
}

TEST(a_stopped_timer_never_expires_even_in_the_same_turn)
{
	uint64_t clock = 0;
	_cleanup_(loop_freep) struct loop *l = loop_new();
	loop_set_clock(l, read_clock, &clock);
	struct alarm a = {0}, b = {0};
	a.victim = &b;
	timer_start(&a.timer, l, 5, on_alarm);
	timer_start(&b.timer, l, 5, on_alarm);
	clock = 5;
	ASSERT_EQ(loop_turn(l, 0), 0);
	ASSERT_EQ(a.n_heard, 1);
	ASSERT_EQ(b.n_heard, 0);
	timer_stop(&b.timer);
}

TEST(starting_a_running_timer_moves_it)
{
	uint64_t clock = 0;
	_cleanup_(loop_freep) struct loop *l = loop_new();
	loop_set_clock(l, read_clock, &clock);
	struct alarm a = {0};
	timer_start(&a.timer, l, 5, on_alarm);
	clock = 3;
	timer_start(&a.timer, l, 5, on_alarm);
	clock = 7;
	ASSERT_EQ(loop_turn(l, 0), 0);
	ASSERT_EQ(a.n_heard, 0);
	clock = 8;
	ASSERT_EQ(loop_turn(l, 0), 0);
	ASSERT_EQ(a.n_heard, 1);
}

TEST(a_timer_that_starts_itself_with_zero_expires_once_a_turn)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	struct alarm a = {.again = l};
	timer_start(&a.timer, l, 0, on_alarm);
	for (int i = 1; i <= 3; i++) {
		ASSERT_EQ(loop_turn(l, -1), 0);
		ASSERT_EQ(a.n_heard, i);
	}
	timer_stop(&a.timer);
}

TEST(a_timer_beyond_the_end_of_time_is_never_due)
{
	uint64_t clock = 1000;
	_cleanup_(loop_freep) struct loop *l = loop_new();
	loop_set_clock(l, read_clock, &clock);
	struct alarm a = {0};
	timer_start(&a.timer, l, UINT64_MAX - 5, on_alarm);
	ASSERT_EQ(a.timer.at_usec, UINT64_MAX);
	ASSERT_EQ(loop_turn(l, 0), 0);
	ASSERT_EQ(a.n_heard, 0);
	timer_stop(&a.timer);
}

/* Checks invariant 2 of loop_internal.h. */
static void check_heap(const struct loop *l)
{
	for (size_t i = 0; i < l->n_timers; i++) {
		ASSERT_EQ(l->heap[i]->place, i);
		const struct timer *parent = l->heap[i ? (i - 1) / 2 : 0];
		ASSERT(parent->at_usec <= l->heap[i]->at_usec);
	}
}

TEST(ten_thousands_of_timers_started_moved_and_stopped_at_random_expire_in_order)
{
	enum { N = 30000 };
	static struct alarm a[N];
	memset(a, 0, sizeof a);
	uint64_t clock = 0, seed = 42;
	_cleanup_(loop_freep) struct loop *l = loop_new();
	loop_set_clock(l, read_clock, &clock);
	int count = 0;
	for (int i = 0; i < 4 * N; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		struct alarm *each = &a[(seed >> 33) % N];
		each->count = &count;
		if ((seed >> 20) % 4 == 0)
			timer_stop(&each->timer);
		else
			timer_start(&each->timer, l, (seed >> 40) % 100000, on_alarm);
	}
	check_heap(l);
	size_t running = l->n_timers;
	ASSERT(running > N / 2);
	clock = 50000;
	ASSERT_EQ(loop_turn(l, 0), 0);
	check_heap(l);
	for (int i = 0; i < N; i++)
		if (a[i].timer.loop)
			ASSERT(a[i].timer.at_usec > clock);
	clock = 100000;
	ASSERT_EQ(loop_turn(l, 0), 0);
	ASSERT_EQ(count, running);
	ASSERT_EQ(l->n_timers, 0);
	static uint64_t at[N];
	for (int i = 0; i < N; i++)
		if (a[i].n_heard)
			at[a[i].place] = a[i].timer.at_usec;
	for (int i = 1; i < count; i++)
		ASSERT(at[i - 1] <= at[i]);
}

TEST(the_loop_sleeps_until_a_timer_is_due_and_not_less)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	struct alarm a = {0};
	uint64_t begin = real_usec();
	timer_start(&a.timer, l, 20500, on_alarm);
	ASSERT(turn_until(l, &a.n_heard, 1));
	ASSERT(real_usec() - begin >= 20500);
}
