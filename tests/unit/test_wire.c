/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire.h"

#include "tests/unit/unit.h"

/* ---- messages at random: fillers and comparers made from wire.def, which know nothing of the codec's tables */

struct dice {
	uint64_t state;
	struct buf *owned; /* pointers to free */
};

static uint64_t roll(struct dice *d, uint64_t n)
{
	d->state ^= d->state << 13;
	d->state ^= d->state >> 7;
	d->state ^= d->state << 17;
	return (d->state >> 11) % n;
}

static void *own(struct dice *d, size_t n)
{
	void *p = xcalloc(1, n);
	buf_put(d->owned, &p, sizeof p);
	return p;
}

static void free_owned(struct buf *owned)
{
	for (size_t i = 0; i < owned->n / sizeof(void *); i++)
		free(((void **)(void *)owned->at)[i]);
	buf_fini(owned);
}

static void fill_boolean(struct dice *d, bool *p)
{
	*p = roll(d, 2);
}
static void fill_u8(struct dice *d, uint8_t *p)
{
	*p = (uint8_t)roll(d, 256);
}
static void fill_u32(struct dice *d, uint32_t *p)
{
	*p = (uint32_t)roll(d, UINT64_C(1) << 32);
}
static void fill_u64(struct dice *d, uint64_t *p)
{
	*p = roll(d, UINT64_MAX) << roll(d, 20);
}
static void fill_i64(struct dice *d, int64_t *p)
{
	*p = (int64_t)roll(d, UINT64_MAX) - INT32_MAX;
}

static void fill_text(struct dice *d, const char **p)
{
	size_t n = roll(d, 4) ? roll(d, 20) : roll(d, 2000);
	char *text = own(d, n + 1);
	for (size_t i = 0; i < n; i++)
		text[i] = (char)(1 + roll(d, 255));
	*p = roll(d, 10) ? text : NULL;
}

static void fill_bytes(struct dice *d, struct wire_bytes *p)
{
	p->n = (uint32_t)(roll(d, 3) ? roll(d, 30) : 0);
	uint8_t *at = own(d, p->n);
	for (size_t i = 0; i < p->n; i++)
		at[i] = (uint8_t)roll(d, 256);
	p->at = p->n ? at : NULL;
}

static _unused_ void fill_digest(struct dice *d, struct digest *p)
{
	p->algorithm = (uint8_t)roll(d, 2);
	for (size_t i = 0; i < DIGEST_SIZE; i++)
		p->byte[i] = (uint8_t)roll(d, 256);
}

static void fill_texts(struct dice *d, struct wire_texts *p)
{
	p->n = (uint32_t)roll(d, 6);
	const char **at = own(d, p->n * sizeof *at);
	for (size_t i = 0; i < p->n; i++)
		fill_text(d, &at[i]);
	p->at = at;
}

static void fill_u64s(struct dice *d, struct wire_u64s *p)
{
	p->n = (uint32_t)roll(d, 40);
	uint64_t *at = own(d, p->n * sizeof *at);
	for (size_t i = 0; i < p->n; i++)
		fill_u64(d, &at[i]);
	p->at = at;
}

#define same_scalar(a, b) (*(a) == *(b))
#define same_boolean same_scalar
#define same_u8 same_scalar
#define same_u32 same_scalar
#define same_u64 same_scalar
#define same_i64 same_scalar

static bool same_text(const char *const *a, const char *const *b)
{
	return *b && streq(*a ? *a : "", *b);
}

static bool same_bytes(const struct wire_bytes *a, const struct wire_bytes *b)
{
	return a->n == b->n && (!a->n || memcmp(a->at, b->at, a->n) == 0);
}

static _unused_ bool same_digest(const struct digest *a, const struct digest *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

static bool same_texts(const struct wire_texts *a, const struct wire_texts *b)
{
	bool same = a->n == b->n;
	for (size_t i = 0; i < a->n && same; i++)
		same = same_text(&a->at[i], &b->at[i]);
	return same;
}

static bool same_u64s(const struct wire_u64s *a, const struct wire_u64s *b)
{
	return a->n == b->n && (!a->n || memcmp(a->at, b->at, a->n * 8) == 0);
}

#define WIRE_RECORD(name, doc)                                         \
	static void fill_##name(struct dice *d, struct wire_##name *m) \
	{                                                              \
		(void)d, (void)m;
#define WIRE_MESSAGE(NAME, name, number, minor, doc) WIRE_RECORD(name, doc)
#define WIRE_FIELD(owner, type, name, doc) fill_##type(d, &m->name);
#define WIRE_LIST(owner, record, name, doc)                                \
	{                                                                  \
		m->name.n = (uint32_t)roll(d, 5);                          \
		struct wire_##record *at = own(d, m->name.n * sizeof *at); \
		for (size_t i = 0; i < m->name.n; i++)                     \
			fill_##record(d, &at[i]);                          \
		m->name.at = at;                                           \
	}
#define WIRE_END(name) }
#include "common/wire.def"
#undef WIRE_RECORD
#undef WIRE_MESSAGE
#undef WIRE_FIELD
#undef WIRE_LIST
#undef WIRE_END

#define WIRE_RECORD(name, doc)                                                            \
	static bool same_##name(const struct wire_##name *a, const struct wire_##name *b) \
	{                                                                                 \
		bool same = true;                                                         \
		(void)a, (void)b;
#define WIRE_MESSAGE(NAME, name, number, minor, doc) WIRE_RECORD(name, doc)
#define WIRE_FIELD(owner, type, name, doc) same = same && same_##type(&a->name, &b->name);
#define WIRE_LIST(owner, record, name, doc)            \
	same = same && a->name.n == b->name.n;         \
	for (size_t i = 0; same && i < a->name.n; i++) \
		same = same_##record(&a->name.at[i], &b->name.at[i]);
#define WIRE_END(name) \
	return same;   \
	}
#include "common/wire.def"
#undef WIRE_RECORD
#undef WIRE_MESSAGE
#undef WIRE_FIELD
#undef WIRE_LIST
#undef WIRE_END

static void fill(uint16_t type, struct dice *d, void *m)
{
	switch (type) {
#define WIRE_RECORD(name, doc)
#define WIRE_MESSAGE(NAME, name, number, minor, doc) \
	case number:                                 \
		fill_##name(d, m);                   \
		break;
#define WIRE_FIELD(owner, type, name, doc)
#define WIRE_LIST(owner, record, name, doc)
#define WIRE_END(name)
#include "common/wire.def"
#undef WIRE_MESSAGE
	}
}

static bool same(uint16_t type, const void *a, const void *b)
{
	switch (type) {
#define WIRE_MESSAGE(NAME, name, number, minor, doc) \
	case number:                                 \
		return same_##name(a, b);
#include "common/wire.def"
#undef WIRE_MESSAGE
	}
	return false;
}

static const uint16_t types[] = {
#define WIRE_MESSAGE(NAME, name, number, minor, doc) number,
#include "common/wire.def"
#undef WIRE_MESSAGE
#undef WIRE_RECORD
#undef WIRE_FIELD
#undef WIRE_LIST
#undef WIRE_END
};

/* A random message of a type, encoded. */
struct sample {
	uint16_t type;
	void *message;
	struct buf owned, frame;
};

static void sample_init(struct sample *s, uint16_t type, uint64_t seed)
{
	*s = (struct sample){.type = type};
	struct dice d = {.state = seed * 0x9E3779B97F4A7C15u + type + 1, .owned = &s->owned};
	s->message = xcalloc(1, wire_struct_size(type) + 1);
	fill(type, &d, s->message);
	ASSERT_EQ(wire_encode(&s->frame, type, WIRE_FLAG_STREAM, seed, s->message), 0);
}

static void sample_fini(struct sample *s)
{
	free(s->message);
	free_owned(&s->owned);
	buf_fini(&s->frame);
}

/* Decodes from a block of exactly n bytes, so that ASan sees one byte read too far; the struct is filled with
 * rubbish before, since callers need not clear it. */
static int decode_exactly(uint16_t type, const uint8_t *body, size_t n, void *m, uint8_t **block, struct wire_arena *a)
{
	*block = malloc(n);
	if (n)
		memcpy(*block, body, n);
	memset(m, 0xa5, wire_struct_size(type));
	return wire_decode(type, *block, n, m, a);
}

TEST(a_random_message_of_every_type_comes_back_as_it_was)
{
	struct wire_arena arena = {0};
	for (size_t t = 0; t < countof(types); t++) {
		for (uint64_t seed = 1; seed <= 300; seed++) {
			_cleanup_(sample_fini) struct sample s;
			sample_init(&s, types[t], seed);
			struct wire_head h;
			wire_get_head(s.frame.at, &h);
			ASSERT_EQ(h.type, types[t]);
			ASSERT_EQ(h.flags, WIRE_FLAG_STREAM);
			ASSERT_EQ(h.id, seed);
			ASSERT_EQ(h.length, s.frame.n - WIRE_HEAD_SIZE);
			_free_ void *m = xmalloc(wire_struct_size(types[t]));
			_free_ uint8_t *block = NULL;
			wire_arena_reset(&arena);
			ASSERT_EQ(decode_exactly(types[t], s.frame.at + WIRE_HEAD_SIZE, h.length, m, &block, &arena),
				  0);
			ASSERT(same(types[t], s.message, m));
		}
	}
	wire_arena_fini(&arena);
}

TEST(a_body_cut_anywhere_is_refused_or_read_as_an_older_senders)
{
	struct wire_arena arena = {0};
	for (size_t t = 0; t < countof(types); t++) {
		for (uint64_t seed = 1; seed <= 5; seed++) {
			_cleanup_(sample_fini) struct sample s;
			sample_init(&s, types[t], seed);
			_free_ void *m = xmalloc(wire_struct_size(types[t]));
			for (size_t n = 0; n < min(s.frame.n - WIRE_HEAD_SIZE, (size_t)3000); n++) {
				_free_ uint8_t *block = NULL;
				wire_arena_reset(&arena);
				int e = decode_exactly(types[t], s.frame.at + WIRE_HEAD_SIZE, n, m, &block, &arena);
				ASSERT(e == 0 || e == -EBADMSG);
				struct buf again = {0};
				if (!e)
					ASSERT_EQ(wire_encode(&again, types[t], 0, 0, m), 0);
				buf_fini(&again);
			}
		}
	}
	wire_arena_fini(&arena);
}

TEST(damaged_bodies_never_lead_outside)
{
	struct wire_arena arena = {0};
	struct dice d = {.state = 4711};
	for (size_t i = 0; i < 20000; i++) {
		_cleanup_(sample_fini) struct sample s;
		sample_init(&s, types[roll(&d, countof(types))], i % 50 + 1);
		uint8_t *body = s.frame.at + WIRE_HEAD_SIZE;
		size_t n = s.frame.n - WIRE_HEAD_SIZE;
		for (unsigned k = 0; k < 3 && n; k++)
			body[roll(&d, min(n, (size_t)200))] = (uint8_t)(roll(&d, 2) ? 0xff : roll(&d, 256));
		_free_ void *m = xmalloc(wire_struct_size(s.type));
		_free_ uint8_t *block = NULL;
		wire_arena_reset(&arena);
		int e = decode_exactly(s.type, body, n, m, &block, &arena);
		ASSERT(e == 0 || e == -EBADMSG || e == -EMSGSIZE);
		struct buf line = {0};
		if (!e)
			wire_print(&line, s.type, m);
		buf_fini(&line);
	}
	wire_arena_fini(&arena);
}

TEST(a_copy_outlives_the_message_and_is_one_block)
{
	for (size_t t = 0; t < countof(types); t++) {
		for (uint64_t seed = 1; seed <= 50; seed++) {
			_cleanup_(sample_fini) struct sample s;
			sample_init(&s, types[t], seed);
			_free_ void *copy = wire_copy(types[t], s.message);
			_free_ void *second = wire_copy(types[t], copy);
			ASSERT(same(types[t], s.message, copy));
			ASSERT(same(types[t], s.message, second));
			free(steal(copy));
			ASSERT(same(types[t], s.message, second));
		}
	}
}

TEST(fields_that_an_older_sender_left_out_are_zero_and_texts_empty)
{
	struct wire_arena arena = {0};
	struct wire_hello hello;
	memset(&hello, 0xa5, sizeof hello);
	ASSERT_EQ(wire_decode(WIRE_HELLO, "\1\0\0\0\2\0\0\0", 8, &hello, &arena), 0);
	ASSERT_EQ(hello.major, 1);
	ASSERT_EQ(hello.minor, 2);
	ASSERT_EQ(hello.role, 0);
	ASSERT_STR(hello.version, "");
	ASSERT_STR(hello.name, "");
	ASSERT_EQ(hello.features.n, 0);
	ASSERT_EQ(hello.instance, 0);
	ASSERT_EQ(wire_decode(WIRE_HELLO, NULL, 0, &hello, &arena), 0);
	ASSERT_EQ(hello.major, 0);
	wire_arena_fini(&arena);
}

TEST(a_record_of_an_older_sender_is_filled_and_one_of_a_newer_is_skipped_over)
{
	/* JOIN up to its list, as MINOR 0 had it, then three records: empty, with 3 bytes too many, and with half its fields. */
	enum { LATER = 4 + 8 + 4 + 4 + 8 + 1 + 5 + 5 };
	struct buf b = {0};
	struct wire_join join = {.node = "n", .tier = "plain", .cores = 2};
	ASSERT_EQ(wire_encode(&b, WIRE_JOIN, 0, 0, &join), 0);
	buf_puts(&b, "what the next version appends");
	struct wire_arena arena = {0};
	ASSERT_EQ(wire_decode(WIRE_JOIN, b.at + WIRE_HEAD_SIZE, b.n - WIRE_HEAD_SIZE, &join, &arena), 0);
	b.n -= strlen("what the next version appends") + LATER;
	put_le32(b.at + b.n - 4, 3);
	buf_put(&b, "\0\0\0\0", 4);
	buf_put(&b, "\23\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0abc", 4 + 19);
	buf_put(&b, "\10\0\0\0\3\0\0\0\0\0\0\0", 4 + 8);
	ASSERT_EQ(wire_decode(WIRE_JOIN, b.at + WIRE_HEAD_SIZE, b.n - WIRE_HEAD_SIZE, &join, &arena), 0);
	ASSERT_STR(join.node, "n");
	ASSERT_EQ(join.attempts.n, 3);
	ASSERT_EQ(join.attempts.at[0].attempt, 0);
	ASSERT_EQ(join.attempts.at[0].task, 0);
	ASSERT_EQ(join.attempts.at[1].attempt, 1);
	ASSERT_EQ(join.attempts.at[1].task, 2);
	ASSERT_EQ(join.attempts.at[2].attempt, 3);
	ASSERT_EQ(join.attempts.at[2].task, 0);
	wire_arena_fini(&arena);
	buf_fini(&b);
}

TEST(an_unknown_type_is_told_from_a_malformed_body)
{
	struct wire_arena arena = {0};
	struct wire_credit credit;
	ASSERT_EQ(wire_decode(40000, "x", 1, NULL, &arena), -ENOSYS);
	ASSERT_EQ(wire_decode(0, "x", 1, NULL, &arena), -ENOSYS);
	ASSERT_EQ(wire_decode(WIRE_CREDIT, "x", 1, &credit, &arena), -EBADMSG);
	ASSERT(!wire_name(40000));
	ASSERT_EQ(wire_struct_size(0), 0);
	ASSERT_STR(wire_name(WIRE_PING), "PING");
}

TEST(texts_must_end_in_their_only_nul)
{
	struct wire_arena arena = {0};
	struct wire_bye bye;
	ASSERT_EQ(wire_decode(WIRE_BYE, "\3\0\0\0ab\0", 7, &bye, &arena), 0);
	ASSERT_STR(bye.reason, "ab");
	ASSERT_EQ(wire_decode(WIRE_BYE, "\3\0\0\0abc", 7, &bye, &arena), -EBADMSG);
	ASSERT_EQ(wire_decode(WIRE_BYE, "\3\0\0\0a\0\0", 7, &bye, &arena), -EBADMSG);
	ASSERT_EQ(wire_decode(WIRE_BYE, "\0\0\0\0", 4, &bye, &arena), -EBADMSG);
	ASSERT_EQ(wire_decode(WIRE_BYE, "\377\377\377\377ab\0", 7, &bye, &arena), -EBADMSG);
}

TEST(a_boolean_is_true_whatever_byte_it_is_but_zero)
{
	struct wire_arena arena = {0};
	struct wire_bye bye;
	ASSERT_EQ(wire_decode(WIRE_BYE, "\1\0\0\0\0\376", 6, &bye, &arena), 0);
	ASSERT_EQ(bye.final, 1);
	ASSERT_EQ(wire_decode(WIRE_BYE, "\1\0\0\0\0\0", 6, &bye, &arena), 0);
	ASSERT_EQ(bye.final, 0);
}

TEST(a_huge_count_is_refused_before_memory_is_taken)
{
	struct wire_arena arena = {0};
	struct wire_done done;
	struct wire_submit submit;
	struct wire_rows rows;
	ASSERT_EQ(wire_decode(WIRE_DONE, "\377\377\377\377", 4, &done, &arena), -EBADMSG);
	ASSERT_EQ(wire_decode(WIRE_DONE, "\2\0\0\0\0\0\0\0\0\0\0\0", 12, &done, &arena), -EBADMSG);
	ASSERT_EQ(wire_decode(WIRE_ROWS, "\377\377\377\177", 4, &rows, &arena), -EBADMSG);
	ASSERT_EQ(wire_decode(WIRE_SUBMIT, "\1\0\0\0\0\377\377\377\377....", 13, &submit, &arena), -EBADMSG);
	ASSERT(!arena.newest);
}

TEST(lists_of_one_message_take_at_most_64_mib)
{
	/* As many empty records as a body can hold: 4 bytes each here, a whole struct each in memory. */
	uint32_t n = (WIRE_BODY_MAX - 16) / 4;
	_free_ uint8_t *body = xcalloc(1, WIRE_BODY_MAX);
	put_le32(body, 1);
	put_le32(body + 5, n);
	struct wire_arena arena = {0};
	struct wire_submit submit;
	ASSERT_EQ(wire_decode(WIRE_SUBMIT, body, WIRE_BODY_MAX, &submit, &arena), -EMSGSIZE);
	ASSERT(!arena.newest);
	uint32_t fit = (uint32_t)((64u << 20) / sizeof(struct wire_task));
	put_le32(body + 5, fit);
	ASSERT_EQ(wire_decode(WIRE_SUBMIT, body, WIRE_BODY_MAX, &submit, &arena), 0);
	ASSERT_EQ(submit.tasks.n, fit);
	ASSERT_STR(submit.tasks.at[fit - 1].tag, "");
	wire_arena_reset(&arena);
	ASSERT(!arena.newest);
	wire_arena_fini(&arena);
}

TEST(what_is_too_large_is_not_appended)
{
	struct buf b = {0};
	_free_ char *long_text = xcalloc(1, WIRE_BODY_MAX + 1);
	memset(long_text, 'x', WIRE_BODY_MAX);
	struct wire_bye bye = {.reason = "first"};
	ASSERT_EQ(wire_encode(&b, WIRE_BYE, 0, 0, &bye), 0);
	size_t before = b.n;
	bye.reason = long_text;
	ASSERT_EQ(wire_encode(&b, WIRE_BYE, 0, 0, &bye), -EMSGSIZE);
	ASSERT_EQ(b.n, before);
	long_text[WIRE_BODY_MAX - 6] = 0; /* its length, its NUL and the boolean fill the body to the last byte */
	ASSERT_EQ(wire_encode(&b, WIRE_BYE, 0, 0, &bye), 0);
	ASSERT_EQ(b.n, before + WIRE_HEAD_SIZE + WIRE_BODY_MAX);
	ASSERT_EQ(get_le32(b.at + before + 4), WIRE_BODY_MAX);
	b.n = before;
	long_text[WIRE_BODY_MAX - 6] = 'x';
	long_text[WIRE_BODY_MAX - 5] = 0;
	ASSERT_EQ(wire_encode(&b, WIRE_BYE, 0, 0, &bye), -EMSGSIZE);
	struct wire_u64s huge = {.at = NULL, .n = UINT32_MAX};
	ASSERT_EQ(wire_encode(&b, WIRE_DONE, 0, 0, &(struct wire_done){.tasks = huge}), -EMSGSIZE);
	ASSERT_EQ(b.n, before);
	buf_fini(&b);
}

TEST(encoding_appends_to_a_buffer_that_was_consumed_from)
{
	struct buf b = {0};
	struct wire_arena arena = {0};
	for (uint64_t i = 0; i < 200; i++) {
		ASSERT_EQ(wire_encode(&b, WIRE_CREDIT, 0, i, &(struct wire_credit){.bytes = i * 3}), 0);
		ASSERT_EQ(wire_encode(&b, WIRE_PING, 0, i, NULL), 0);
		if (i < 100)
			continue;
		struct wire_head h;
		wire_get_head(b.at, &h);
		ASSERT_EQ(h.id, i - 100);
		struct wire_credit credit;
		ASSERT_EQ(wire_decode(h.type, b.at + WIRE_HEAD_SIZE, h.length, &credit, &arena), 0);
		ASSERT_EQ(credit.bytes, (i - 100) * 3);
		buf_consume(&b, WIRE_HEAD_SIZE + h.length);
		wire_get_head(b.at, &h);
		ASSERT_EQ(h.type, WIRE_PING);
		ASSERT_EQ(h.length, 0);
		buf_consume(&b, WIRE_HEAD_SIZE);
	}
	buf_fini(&b);
}

TEST(a_message_prints_as_one_line_that_nothing_in_it_can_break)
{
	struct buf line = {0};
	const char *argv[] = {"echo", "a\nERROR forged", "\033[31m"};
	struct wire_start start = {.attempt = 7, .argv = {argv, 3}, .cores = 2};
	wire_print(&line, WIRE_START, &start);
	ASSERT_STR(buf_text(&line), "START attempt=7 task=0 argv=[\"echo\" \"a\\nERROR forged\" \"\\x1b[31m\"] "
				    "environment=[] directory=\"\" cores=2 memory=0 disk=0 core_bits=[] gpu_bits=0 "
				    "wall_usec=0 inputs=[] run=\"\" tag=\"\" how=[]");
	line.n = 0;
	_free_ char *bytes = xcalloc(1, 123);
	struct wire_ended ended = {.attempt = 1, .out = {bytes, 123}, .err = {"oh\n", 3}};
	wire_print(&line, WIRE_ENDED, &ended);
	ASSERT(strstr(buf_text(&line), " out=bytes[123] err=\"oh\\n\""));
	line.n = 0;
	wire_print(&line, WIRE_PING, NULL);
	ASSERT_STR(buf_text(&line), "PING");
	line.n = 0;
	_free_ uint64_t *many = xcalloc(1000, 8);
	wire_print(&line, WIRE_DONE, &(struct wire_done){.tasks = {many, 1000}});
	ASSERT(strstr(buf_text(&line), "0 and 968 more]"));
	buf_fini(&line);
}

TEST(the_protocol_page_names_every_message_and_field)
{
	struct buf doc = {0};
	wire_print_doc(&doc);
	const char *text = buf_text(&doc);
#define WIRE_RECORD(name, doc) ASSERT(strstr(text, "### " #name "\n"));
#define WIRE_MESSAGE(NAME, name, number, minor, doc) ASSERT(strstr(text, "### " #number " " #NAME "\n"));
#define WIRE_FIELD(owner, type, name, doc) ASSERT(strstr(text, "| " #name " | " #type " | " doc " |\n"));
#define WIRE_LIST(owner, record, name, doc) ASSERT(strstr(text, "| " #name " | list of [" #record "]"));
#define WIRE_END(name)
#include "common/wire.def"
#undef WIRE_RECORD
#undef WIRE_MESSAGE
#undef WIRE_FIELD
#undef WIRE_LIST
#undef WIRE_END
	buf_fini(&doc);
}
