/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/fetch/swarm_have.h"

#define BITMAP_MOST (64u << 10) /* bytes */
#define LIST_MOST 4096u         /* numbers */

/* ---- saying */

static void put_u8(struct buf *b, uint8_t v)
{
	buf_put(b, &v, sizeof v);
}

static void put_u32(struct buf *b, uint32_t v)
{
	put_le32(buf_reserve(b, sizeof v), v);
	buf_grew(b, sizeof v);
}

static void put_u64(struct buf *b, uint64_t v)
{
	put_le64(buf_reserve(b, sizeof v), v);
	buf_grew(b, sizeof v);
}

void have_put_index(struct buf *b)
{
	put_u8(b, 'i');
}

void have_put_part(struct buf *b, uint32_t part)
{
	put_u8(b, 'p');
	put_u32(b, part);
}

void have_put_all(struct buf *b)
{
	put_u8(b, 'a');
}

void have_put_bitmap(struct buf *b, uint64_t first, const uint8_t *bits, size_t n)
{
	for (size_t at = 0; at < n;) {
		size_t now = min(n - at, (size_t)BITMAP_MOST);
		put_u8(b, 'b');
		put_u64(b, first + 8 * at);
		put_u32(b, (uint32_t)now);
		buf_put(b, bits + at, now);
		at += now;
	}
}

void have_put_chunks(struct buf *b, const uint32_t *chunks, uint32_t n)
{
	for (uint32_t at = 0; at < n;) {
		uint32_t now = min(n - at, LIST_MOST);
		put_u8(b, 'd');
		put_u32(b, now);
		for (uint32_t end = at + now; at < end; at++)
			put_u32(b, chunks[at]);
	}
}

void have_put_lost(struct buf *b, uint32_t chunk)
{
	put_u8(b, 'l');
	put_u32(b, chunk);
}

/* ---- hearing */

static void tell(void (*on)(void *arg, uint64_t number), struct have_reader *r, uint64_t number)
{
	if (on)
		on(r->arg, number);
}

/* Bytes of a record up to where its bits or numbers begin; 0: there is none of this kind. */
static size_t head_size(uint8_t kind)
{
	switch (kind) {
	case 'i':
	case 'a':
		return 1;
	case 'p':
	case 'l':
	case 'd':
		return 5;
	case 'b':
		return 13;
	default:
		return 0;
	}
}

static int begin_bitmap(struct have_reader *r)
{
	uint64_t end;
	r->at = get_le64(r->head + 1);
	r->rest = get_le32(r->head + 9);
	return r->rest > BITMAP_MOST || add_overflows(r->at, 8ull * r->rest, &end) ? -EBADMSG : 0;
}

static int begin_list(struct have_reader *r)
{
	r->rest = get_le32(r->head + 1);
	return r->rest > LIST_MOST ? -EBADMSG : 0;
}

/* The head is complete. What follows it, if anything, is counted in `rest`. */
static int on_head(struct have_reader *r)
{
	r->n_head = 1;
	switch (r->head[0]) {
	case 'i':
		if (r->ops->on_index)
			r->ops->on_index(r->arg);
		break;
	case 'a':
		if (r->ops->on_all)
			r->ops->on_all(r->arg);
		break;
	case 'p':
		tell(r->ops->on_part, r, get_le32(r->head + 1));
		break;
	case 'l':
		tell(r->ops->on_lost, r, get_le32(r->head + 1));
		break;
	case 'd':
		return begin_list(r);
	default:
		return begin_bitmap(r);
	}
	return 0;
}

/* How many bytes of p it took. */
static size_t read_bits(struct have_reader *r, const uint8_t *p, size_t n)
{
	size_t now = min(n, (size_t)r->rest);
	for (size_t i = 0; i < now; i++, r->at += 8)
		for (unsigned bits = p[i]; bits; bits &= bits - 1)
			tell(r->ops->on_chunk, r, r->at + (unsigned)__builtin_ctz(bits));
	r->rest -= (uint32_t)now;
	return now;
}

static size_t read_numbers(struct have_reader *r, const uint8_t *p, size_t n)
{
	size_t at = 0;
	while (r->rest && at < n) {
		r->head[r->n_head++] = p[at++];
		if (r->n_head < 5)
			continue;
		r->n_head = 1;
		r->rest--;
		tell(r->ops->on_chunk, r, get_le32(r->head + 1));
	}
	return at;
}

int have_read(struct have_reader *r, const void *from, size_t n)
{
	const uint8_t *p = from, *end = p + n;
	while (p < end) {
		if (r->rest) {
			p += r->head[0] == 'b' ? read_bits(r, p, (size_t)(end - p))
					       : read_numbers(r, p, (size_t)(end - p));
			/* The record is over: the next byte begins one. */
			if (!r->rest)
				r->n_head = 0;
			continue;
		}
		assert(r->n_head < sizeof r->head);
		r->head[r->n_head++] = *p++;
		size_t size = head_size(r->head[0]);
		if (!size)
			return -EBADMSG;
		if (r->n_head < size)
			continue;
		int error = on_head(r);
		if (error)
			return error;
		if (!r->rest)
			r->n_head = 0;
	}
	return 0;
}
