/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vinefs/fetch/swarm_have.h"

#include <stdio.h>

static void on_index(void *arg)
{
	buf_puts(arg, "i ");
}

static void on_all(void *arg)
{
	buf_puts(arg, "a ");
}

static void on_part(void *arg, uint64_t part)
{
	buf_printf(arg, "p%llu ", (unsigned long long)part);
}

static void on_chunk(void *arg, uint64_t chunk)
{
	buf_printf(arg, "%llu ", (unsigned long long)chunk);
}

static void on_lost(void *arg, uint64_t chunk)
{
	buf_printf(arg, "-%llu ", (unsigned long long)chunk);
}

static const struct have_ops all_ops = {
	.on_index = on_index, .on_part = on_part, .on_all = on_all, .on_chunk = on_chunk, .on_lost = on_lost};

/* What is heard when the stream comes in pieces of this size. */
static int hear(const struct buf *said, size_t piece, struct buf *heard)
{
	struct have_reader r = {.ops = &all_ops, .arg = heard};
	int error = 0;
	for (size_t at = 0; at < said->n && !error; at += piece)
		error = have_read(&r, said->at + at, min(piece, said->n - at));
	return error;
}

TEST(what_is_said_is_heard_in_pieces_of_any_size)
{
	_cleanup_(buf_fini) struct buf said = {0};
	have_put_index(&said);
	have_put_part(&said, 7);
	have_put_bitmap(&said, 16, (const uint8_t[]){0x81, 0x00, 0x02}, 3);
	have_put_chunks(&said, (const uint32_t[]){5, 4000000000, 0}, 3);
	have_put_chunks(&said, NULL, 0);
	have_put_bitmap(&said, 0, NULL, 0);
	have_put_lost(&said, 23);
	have_put_all(&said);
	for (size_t piece = 1; piece <= said.n; piece++) {
		_cleanup_(buf_fini) struct buf heard = {0};
		ASSERT_EQ(hear(&said, piece, &heard), 0);
		ASSERT_STR(buf_text(&heard), "i p7 16 23 33 5 4000000000 0 -23 a ");
	}
}

TEST(long_lists_and_bitmaps_are_said_in_several_records)
{
	_cleanup_(buf_fini) struct buf said = {0}, heard = {0}, expected = {0};
	uint32_t chunks[10000];
	uint8_t *bits = xcalloc(200000, 1);
	for (uint32_t i = 0; i < countof(chunks); i++) {
		chunks[i] = 3 * i;
		on_chunk(&expected, chunks[i]);
	}
	for (size_t i = 0; i < 200000; i += 1000) {
		bits[i] = 1;
		on_chunk(&expected, 8 + 8 * i);
	}
	have_put_chunks(&said, chunks, countof(chunks));
	have_put_bitmap(&said, 8, bits, 200000);
	free(bits);
	ASSERT_EQ(hear(&said, 4095, &heard), 0);
	ASSERT_STR(buf_text(&heard), buf_text(&expected));
}

static int hear_bytes(const uint8_t *p, size_t n)
{
	struct have_reader r = {.ops = &(const struct have_ops){0}};
	return have_read(&r, p, n);
}

TEST(what_is_no_such_stream_is_refused)
{
	uint8_t bitmap[13] = {'b'}, list[5] = {'d'};
	ASSERT_EQ(hear_bytes((const uint8_t *)"x", 1), -EBADMSG);
	ASSERT_EQ(hear_bytes((const uint8_t *)"ax", 2), -EBADMSG);
	put_le32(bitmap + 9, 64 << 10);
	ASSERT_EQ(hear_bytes(bitmap, sizeof bitmap), 0);
	put_le32(bitmap + 9, (64 << 10) + 1);
	ASSERT_EQ(hear_bytes(bitmap, sizeof bitmap), -EBADMSG);
	/* Its last chunk would have no number. */
	put_le32(bitmap + 9, 1);
	put_le64(bitmap + 1, UINT64_MAX - 7);
	ASSERT_EQ(hear_bytes(bitmap, sizeof bitmap), -EBADMSG);
	put_le64(bitmap + 1, UINT64_MAX - 8);
	ASSERT_EQ(hear_bytes(bitmap, sizeof bitmap), 0);
	put_le32(list + 1, 4096);
	ASSERT_EQ(hear_bytes(list, sizeof list), 0);
	put_le32(list + 1, 4097);
	ASSERT_EQ(hear_bytes(list, sizeof list), -EBADMSG);
}

TEST(who_wants_to_hear_nothing_hears_nothing)
{
	_cleanup_(buf_fini) struct buf said = {0};
	have_put_index(&said);
	have_put_part(&said, 7);
	have_put_bitmap(&said, 16, (const uint8_t[]){0x81}, 1);
	have_put_chunks(&said, (const uint32_t[]){5}, 1);
	have_put_lost(&said, 5);
	have_put_all(&said);
	ASSERT_EQ(hear_bytes(said.at, said.n), 0);
}
