/* SPDX-License-Identifier: Apache-2.0
 * Bodies of messages from a seed: every field of every kind, some with what means something there, some with extremes, some damaged. */
#ifndef TESTS_SYSTEM_FUZZ_BODY_H
#define TESTS_SYSTEM_FUZZ_BODY_H

#include "common/net.h"
#include "common/tls.h"
#include "common/wire_table.h"

#define LONG_TEXT 70000
#define KNOWN_MOST 16

struct fuzz {
	struct net_address to;
	struct tls_context *tls_context;
	enum tls_role role;
	uint64_t state;
	size_t n_frames, n_closed, n_heard;
	/* What the daemon has spoken of, so that answers to it can be meant: the newest of each, and the one that a frame is about. */
	struct known {
		uint64_t attempt, task, item;
	} known[KNOWN_MOST];
	size_t n_known, about;
};

static inline uint64_t next(struct fuzz *f)
{
	uint64_t z = f->state += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static inline uint32_t below(struct fuzz *f, uint32_t n)
{
	return (uint32_t)(next(f) % n);
}

#define PICK(f, table) ((table)[below(f, countof(table))])

/* ---- bodies */

static inline void put_u32(struct buf *b, uint32_t n)
{
	uint8_t bytes[4];
	put_le32(bytes, n);
	buf_put(b, bytes, sizeof bytes);
}

static inline void put_u64(struct buf *b, uint64_t n)
{
	uint8_t bytes[8];
	put_le64(bytes, n);
	buf_put(b, bytes, sizeof bytes);
}

static inline void put_noise(struct fuzz *f, struct buf *b, uint32_t n)
{
	for (; n; n--) {
		uint8_t byte = (uint8_t)(1 + below(f, 255));
		buf_put(b, &byte, 1);
	}
}

static inline uint64_t number(struct fuzz *f)
{
	static const uint64_t odd[] = {0, INT64_MAX, UINT64_MAX, UINT32_MAX, (uint64_t)1 << 63, (uint64_t)99 << 40 | 1};
	uint32_t how = below(f, 8);
	return how < 5 ? below(f, 30) : how < 7 ? PICK(f, odd) : next(f);
}

/* What means something in a field of that name. */
static const struct {
	const char *field;
	const char *words[6];
} sensible[] = {
	{"argv", {"true", "", "no-such-program", "a\nb", "{index}"}},
	{"run", {"", "a", "b"}},
	{"node", {"deadbeef-0000-0000-0000-000000000001", "deadbeef-0000-0000-0000-000000000002"}},
	{"what", {"cluster", "nodes", "tasks", "runs", "items", "why"}},
	{"item", {"temp:a", "temp:b", "file:/no/such/x", "node:/no/such/y", "tree:0"}},
	{"path", {"/no/such/x", "/no/such/y", "relative", "/x/../y"}},
	{"name", {"category.a.running", "counter.a", "a", "b"}},
	{"category", {"", "a", "b"}},
	{"key", {"", "a", "b"}},
	{"tier", {"views", "plain"}},
	{"environment", {"A=1", "B=2"}},
	{"directory", {"", "/tmp"}},
	{"tag", {"", "a", "b"}},
	{"features", {"fast"}},
	{"signature", {"", "1:2:3"}},
};

static inline const char *word_for(struct fuzz *f, const char *field)
{
	static const char *const words[] = {"",
					    "a",
					    "b",
					    "17",
					    "true",
					    "tasks",
					    "nodes",
					    "cluster",
					    "a\nb",
					    "\x1b[2J",
					    "../..",
					    "/x/../y",
					    "\xff\xfe",
					    "/no/such/x",
					    "=",
					    "A=1",
					    "tag:a",
					    "temp:a",
					    "%s%n",
					    "{index}",
					    "views",
					    "tree:0",
					    "counter.a",
					    "file:/no/such/x",
					    "node:/no/such/x",
					    "a b",
					    "-n",
					    "category.a.running"};
	for (size_t i = 0; i < countof(sensible); i++) {
		uint32_t n = 0;
		if (!streq(sensible[i].field, field))
			continue;
		while (n < countof(sensible[i].words) && sensible[i].words[n])
			n++;
		/* A command is never any other word. */
		if (i == 0 || below(f, 4))
			return sensible[i].words[below(f, n)];
	}
	return PICK(f, words);
}

/* What is not refused at first sight lies below these. */
static const struct {
	const char *field;
	uint32_t end;
} bounds[] = {
	{"gpus", 2},       {"staging", 4},  {"retries", 3},       {"array_n", 1},   {"array_running", 2},
	{"memory", 2},     {"disk", 2},     {"mode", 4},          {"how", 8},       {"exceeded", 6},
	{"task_limit", 3}, {"priority", 9}, {"deadline_usec", 1}, {"wall_usec", 2}, {"error", 3},
	{"stays_usec", 2}, {"size", 9},     {"total", 9},
};

static inline uint64_t number_for(struct fuzz *f, const char *field)
{
	const struct known *k = &f->known[f->about];
	bool is_meant = f->n_known && below(f, 4);
	if (streq(field, "cores"))
		return below(f, 2);
	if (is_meant && (streq(field, "attempt") || streq(field, "attempts")))
		return k->attempt;
	if (is_meant && (streq(field, "task") || streq(field, "tasks")))
		return k->task;
	if (is_meant && streq(field, "item"))
		return k->item;
	for (size_t i = 0; i < countof(bounds); i++) {
		if (streq(bounds[i].field, field) && below(f, 20))
			return below(f, bounds[i].end);
	}
	return number(f);
}

static inline void put_text(struct fuzz *f, struct buf *b, const char *field)
{
	const char *word = word_for(f, field);
	uint32_t how = below(f, 64);
	uint32_t n = how == 0 ? LONG_TEXT : how < 4 ? below(f, 40) : (uint32_t)strlen(word);
	put_u32(b, n + 1);
	if (how >= 4)
		buf_put(b, word, n);
	else
		put_noise(f, b, n);
	buf_put(b, "", 1);
}

static inline void put_body(struct fuzz *f, struct buf *b, const struct wire_layout *l);

/* Of these none is as good as a refusal. */
static inline uint32_t is_needed(const char *field)
{
	return streq(field, "argv") || streq(field, "tasks") || streq(field, "environment");
}

static inline void put_field(struct fuzz *f, struct buf *b, const struct wire_field *t)
{
	uint64_t n = number_for(f, t->name);
	uint8_t byte = (uint8_t)n;
	uint32_t count = below(f, 2) ? below(f, 5) : is_needed(t->name);
	switch (t->kind) {
	case WIRE_KIND_boolean:
	case WIRE_KIND_u8:
		buf_put(b, &byte, 1);
		break;
	case WIRE_KIND_u32:
		put_u32(b, (uint32_t)n);
		break;
	case WIRE_KIND_u64:
	case WIRE_KIND_i64:
		put_u64(b, n);
		break;
	case WIRE_KIND_text:
		put_text(f, b, t->name);
		break;
	case WIRE_KIND_bytes:
		put_u32(b, count * 50);
		put_noise(f, b, count * 50);
		break;
	case WIRE_KIND_digest:
		byte &= 1;
		buf_put(b, &byte, 1);
		for (int i = 0; i < 4; i++)
			put_u64(b, byte ? below(f, 3) : 0);
		break;
	case WIRE_KIND_texts:
		for (put_u32(b, count); count; count--)
			put_text(f, b, t->name);
		break;
	case WIRE_KIND_u64s:
		for (put_u32(b, count); count; count--)
			put_u64(b, number_for(f, t->name));
		break;
	default:
		for (put_u32(b, count); count; count--) {
			_cleanup_(buf_fini) struct buf record = {0};
			put_body(f, &record, t->record);
			put_u32(b, (uint32_t)record.n);
			buf_put(b, record.at, record.n);
		}
	}
}

static inline void put_body(struct fuzz *f, struct buf *b, const struct wire_layout *l)
{
	for (const struct wire_field *t = l->fields; t->kind != WIRE_KIND_END; t++)
		put_field(f, b, t);
}

static inline void damage(struct fuzz *f, struct buf *b)
{
	switch (below(f, 4)) {
	case 0:
		for (uint32_t n = 1 + below(f, 4); n && b->n; n--)
			b->at[below(f, (uint32_t)b->n)] = (uint8_t)next(f);
		break;
	case 1:
		b->n -= below(f, (uint32_t)b->n + 1);
		break;
	case 2:
		put_noise(f, b, 1 + below(f, 30));
		break;
	default:
		if (b->n >= 4) {
			uint32_t at = below(f, (uint32_t)b->n - 3);
			put_le32(b->at + at, UINT32_MAX >> below(f, 32));
		}
	}
}

#endif
