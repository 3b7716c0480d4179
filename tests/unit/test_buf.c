// SPDX-License-Identifier: Apache-2.0
#include "common/buf.h"
#include "tests/unit/unit.h"

TEST(an_empty_buffer_is_the_empty_text_and_costs_nothing)
{
	struct buf b = {0};
	ASSERT_EQ(buf_room(&b), 0);
	buf_put(&b, NULL, 0);
	ASSERT(b.base == NULL);
	buf_consume(&b, 0);
	ASSERT_STR(buf_text(&b), "");
	buf_trim(&b);
	ASSERT(b.base == NULL);
	buf_fini(&b);
}

TEST(what_goes_in_at_one_end_comes_out_at_the_other)
{
	struct buf b _cleanup_(buf_fini) = {0};
	uint32_t in = 0, out = 0, seed = 1;
	for (unsigned step = 0; step < 20000; step++) {
		seed = seed * 1664525 + 1013904223;
		if (seed >> 31) {
			for (unsigned i = 0; i < seed >> 24; i++, in++)
				buf_put(&b, &in, sizeof in);
		} else {
			for (unsigned i = 0; i < seed >> 23 && out < in; i++, out++) {
				ASSERT_EQ(get_le32(b.at), out);
				buf_consume(&b, 4);
			}
		}
		ASSERT_EQ(b.n, (in - out) * 4);
		ASSERT(!b.base || b.at + b.n <= b.base + b.room);
	}
	ASSERT(in > 100000);
}

TEST(reserved_room_is_filled_in_place)
{
	struct buf b _cleanup_(buf_fini) = {0};
	buf_puts(&b, "head ");
	uint8_t *to = buf_reserve(&b, 1000);
	ASSERT(buf_room(&b) >= 1000);
	memset(to, 'x', 1000);
	buf_grew(&b, 3);
	ASSERT_STR(buf_text(&b), "head xxx");
}

TEST(formatted_text_is_appended_however_long)
{
	struct buf b _cleanup_(buf_fini) = {0};
	char long_text[5000];
	memset(long_text, 'y', sizeof long_text - 1);
	long_text[sizeof long_text - 1] = 0;
	buf_printf(&b, "%d:", 7);
	buf_printf(&b, "%s", long_text);
	ASSERT_EQ(b.n, 2 + sizeof long_text - 1);
	ASSERT(has_prefix(buf_text(&b), "7:yyy"));
}

TEST(consumed_room_is_used_again)
{
	struct buf b _cleanup_(buf_fini) = {0};
	char block[200] = {0};
	for (int i = 0; i < 10000; i++) {
		buf_put(&b, block, sizeof block);
		buf_consume(&b, i ? sizeof block : 100);
	}
	ASSERT_EQ(b.n, 100);
	ASSERT(b.room <= 1024);
}

TEST(a_stolen_text_belongs_to_the_taker)
{
	struct buf b = {0};
	buf_puts(&b, "skip me, keep me");
	buf_consume(&b, 9);
	_free_ char *text = buf_steal_text(&b);
	ASSERT_STR(text, "keep me");
	ASSERT(b.base == NULL && b.n == 0);
	_free_ char *empty = buf_steal_text(&b);
	ASSERT_STR(empty, "");
}
