/* SPDX-License-Identifier: Apache-2.0
 * How much a swarm asks for at once, and what it cannot ask anybody for. */
#include "tests/unit/swarm_asks.h"
#include "tests/unit/unit.h"

TEST(what_nobody_has_is_known)
{
	_cleanup_(swarm_freep) struct swarm *s = new_swarm(200);
	ASSERT_EQ(swarm_nobodys(s, 0), 0);
	int a = swarm_join(s), b = swarm_join(s);
	for (uint64_t i = 0; i < 100; i++)
		swarm_has_chunk(s, i % 2 ? a : b, i);
	ASSERT_EQ(swarm_nobodys(s, 0), 100);
	ASSERT_EQ(swarm_nobodys(s, 150), 150);
	swarm_has(s, 100);
	ASSERT_EQ(swarm_nobodys(s, 0), 101);
	swarm_lacks_chunk(s, a, 7);
	ASSERT_EQ(swarm_nobodys(s, 0), 7);
	swarm_has_all(s, b);
	ASSERT_EQ(swarm_nobodys(s, 0), SWARM_NONE);
	swarm_leave(s, b);
	ASSERT_EQ(swarm_nobodys(s, 198), 198);
	ASSERT_EQ(swarm_nobodys(s, 200), SWARM_NONE);
}

/* Asks for all that it may now and says how much that is. */
static unsigned ask_all(struct swarm *s, uint64_t now_usec)
{
	struct swarm_wish w;
	unsigned n = 0;
	for (; next(s, now_usec, &w) >= 0; n++)
		ASSERT(swarm_chosen(s, w.number, first_wanted(&w), now_usec));
	return n;
}

TEST(less_is_asked_for_in_a_smaller_window)
{
	unsigned n[2];
	for (unsigned i = 0; i < 2; i++) {
		_cleanup_(swarm_freep) struct swarm *s = new_swarm(2000);
		struct swarm_wish w;
		for (unsigned k = 0; k < 16; k++)
			swarm_has_all(s, swarm_join(s));
		uint64_t now = 1000000;
		/* A chunk each ms. */
		for (unsigned k = 0; k < 200; k++, now += 1000) {
			ASSERT(next(s, now, &w) >= 0);
			uint64_t chunk = first_wanted(&w);
			ASSERT(swarm_chosen(s, w.number, chunk, now));
			swarm_came(s, w.number, SIZE, now + 1000);
			swarm_has(s, chunk);
		}
		swarm_set_window(s, i ? 5000 : 0);
		n[i] = ask_all(s, now);
	}
	ASSERT_EQ(n[0], 30);
	ASSERT_EQ(n[1], 5);
}
