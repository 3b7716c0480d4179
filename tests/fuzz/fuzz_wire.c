/* SPDX-License-Identifier: Apache-2.0
 * The first two bytes choose the type, the rest is a body. What decodes must encode, decode again, and print and
 * encode the same. */
#include "common/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct decoded {
	struct wire_arena arena;
	struct buf line, frame;
	void *message;
};

static void decoded_fini(struct decoded *d)
{
	wire_arena_fini(&d->arena);
	buf_fini(&d->line);
	buf_fini(&d->frame);
	free(d->message);
}

static int decode(struct decoded *d, uint16_t type, const uint8_t *body, size_t n)
{
	d->message = xmalloc(wire_struct_size(type));
	int e = wire_decode(type, body, n, d->message, &d->arena);
	if (e)
		return e;
	wire_print(&d->line, type, d->message);
	return wire_encode(&d->frame, type, WIRE_FLAG_REPLY, 7, d->message);
}

static bool is_equal(const struct buf *a, const struct buf *b)
{
	return a->n == b->n && (!a->n || memcmp(a->at, b->at, a->n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n < 2)
		return 0;
	uint16_t type = get_le16(data);
	/* A block of exactly its size, so that one byte read too far is seen. */
	_free_ uint8_t *body = xmemdup(data + 2, n - 2);
	if (!wire_name(type)) {
		struct wire_arena arena = {0};
		if (wire_decode(type, body, n - 2, NULL, &arena) != -ENOSYS)
			abort();
		return 0;
	}
	_cleanup_(decoded_fini) struct decoded first = {0};
	if (decode(&first, type, body, n - 2) < 0)
		return 0;
	struct wire_head h;
	wire_get_head(first.frame.at, &h);
	if (h.type != type || h.length != first.frame.n - WIRE_HEAD_SIZE || h.id != 7)
		abort();
	_cleanup_(decoded_fini) struct decoded again = {0};
	if (decode(&again, type, first.frame.at + WIRE_HEAD_SIZE, h.length) < 0)
		abort();
	if (!is_equal(&first.line, &again.line) || !is_equal(&first.frame, &again.frame))
		abort();
	_cleanup_(decoded_fini) struct decoded copied = {0};
	copied.message = wire_copy(type, first.message);
	wire_print(&copied.line, type, copied.message);
	if (!is_equal(&first.line, &copied.line))
		abort();
	return 0;
}
