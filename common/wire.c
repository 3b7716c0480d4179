/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire_table.h"

/* Fewer bytes than this no element of a list takes: what bounds a count before it is believed. */
#define LEAST_ELEMENT_SIZE 4u
#define LISTS_MAX ((size_t)64 << 20)

#define BLOCK_LEAST ((size_t)4 << 10)
#define BLOCK_KEPT_MAX ((size_t)256 << 10)

/* ---- heads */

void wire_put_head(struct buf *b, const struct wire_head *h)
{
	uint8_t *to = buf_reserve(b, WIRE_HEAD_SIZE);
	put_le16(to, h->type);
	put_le16(to + 2, h->flags);
	put_le32(to + 4, h->length);
	put_le64(to + 8, h->id);
	buf_grew(b, WIRE_HEAD_SIZE);
}

void wire_get_head(const uint8_t at[WIRE_HEAD_SIZE], struct wire_head *h)
{
	h->type = get_le16(at);
	h->flags = get_le16(at + 2);
	h->length = get_le32(at + 4);
	h->id = get_le64(at + 8);
}

/* ---- encode */

/* Writes behind the buffer's end and commits in one step; `end` is the buffer's or the limit's, whichever
 * comes first, so that one comparison guards both. */
struct writer {
	struct buf *b;
	uint8_t *at, *end;
	size_t start; /* of the body, from b->at: the buffer may move */
};

static size_t writer_used(const struct writer *w)
{
	return (size_t)(w->at - w->b->at) - w->start;
}

static bool writer_enlarge(struct writer *w, size_t n)
{
	size_t used = writer_used(w);
	assert(used <= WIRE_BODY_MAX);
	if (n > WIRE_BODY_MAX - used)
		return false;
	w->b->n = w->start + used; /* what is written so far has to survive a move */
	w->at = buf_reserve(w->b, max(n, (size_t)512));
	size_t room = min(buf_room(w->b), WIRE_BODY_MAX - used);
	assert(room >= n);
	w->end = w->at + room;
	return true;
}

/* Where n more bytes go, or NULL if the body would grow too large. */
static inline uint8_t *writer_take(struct writer *w, size_t n)
{
	if (n > (size_t)(w->end - w->at) && !writer_enlarge(w, n))
		return NULL;
	uint8_t *to = w->at;
	w->at += n;
	return to;
}

static inline bool put_block(struct writer *w, const void *p, size_t n)
{
	uint8_t *to = n <= WIRE_BODY_MAX ? writer_take(w, 4 + n) : NULL;
	if (!to)
		return false;
	put_le32(to, (uint32_t)n);
	if (n)
		memcpy(to + 4, p, n);
	return true;
}

static inline bool put_text(struct writer *w, const char *text)
{
	if (!text)
		text = "";
	return put_block(w, text, strlen(text) + 1);
}

static bool put_texts(struct writer *w, const struct wire_texts *texts)
{
	uint8_t *to = writer_take(w, 4);
	if (!to)
		return false;
	put_le32(to, texts->n);
	for (uint32_t i = 0; i < texts->n; i++)
		if (!put_text(w, texts->at[i]))
			return false;
	return true;
}

static bool put_u64s(struct writer *w, const struct wire_u64s *numbers)
{
	uint8_t *to = writer_take(w, 4 + (size_t)numbers->n * 8);
	if (!to)
		return false;
	put_le32(to, numbers->n);
	if (numbers->n)
		memcpy(to + 4, numbers->at, (size_t)numbers->n * 8);
	return true;
}

static inline bool put_scalar(struct writer *w, const void *p, size_t n)
{
	uint8_t *to = writer_take(w, n);
	if (to)
		memcpy(to, p, n);
	return to;
}

static bool put_list(struct writer *w, const struct wire_layout *record, const struct wire_run *list);

static bool put_fields(struct writer *w, const struct wire_field *f, const uint8_t *from)
{
	bool ok = true;
	for (; f->kind != WIRE_KIND_END && ok; f++) {
		const void *p = from + f->offset;
		const struct wire_run *run = p;
		switch ((enum wire_kind)f->kind) {
		case WIRE_KIND_boolean:
		case WIRE_KIND_u8:
			ok = put_scalar(w, p, 1);
			break;
		case WIRE_KIND_u32:
			ok = put_scalar(w, p, 4);
			break;
		case WIRE_KIND_u64:
		case WIRE_KIND_i64:
			ok = put_scalar(w, p, 8);
			break;
		case WIRE_KIND_text:
			ok = put_text(w, *(const char *const *)p);
			break;
		case WIRE_KIND_bytes:
			ok = put_block(w, run->at, run->n);
			break;
		case WIRE_KIND_digest:
			ok = put_scalar(w, p, sizeof(struct digest));
			break;
		case WIRE_KIND_texts:
			ok = put_texts(w, p);
			break;
		case WIRE_KIND_u64s:
			ok = put_u64s(w, p);
			break;
		case WIRE_KIND_LIST:
			ok = put_list(w, f->record, run);
			break;
		case WIRE_KIND_END:
			break;
		}
	}
	return ok;
}

static bool put_list(struct writer *w, const struct wire_layout *record, const struct wire_run *list)
{
	if (!put_scalar(w, &list->n, 4))
		return false;
	const uint8_t *element = list->at;
	for (uint32_t i = 0; i < list->n; i++, element += record->size) {
		size_t before = writer_used(w);
		if (!writer_take(w, 4) || !put_fields(w, record->fields, element))
			return false;
		size_t n = writer_used(w) - before - 4;
		put_le32(w->at - n - 4, (uint32_t)n);
	}
	return true;
}

int wire_encode(struct buf *b, uint16_t type, uint16_t flags, uint64_t id, const void *message)
{
	const struct wire_layout *l = wire_layout(type);
	assert(l);
	size_t before = b->n;
	wire_put_head(b, &(struct wire_head){.type = type, .flags = flags, .id = id});
	struct writer w = {.b = b, .at = b->at + b->n, .start = b->n};
	w.end = w.at + min(buf_room(b), (size_t)WIRE_BODY_MAX);
	if (!put_fields(&w, l->fields, message)) {
		b->n = before;
		return -EMSGSIZE;
	}
	size_t n = writer_used(&w);
	assert(n <= WIRE_BODY_MAX);
	b->n = w.start + n;
	put_le32(b->at + before + 4, (uint32_t)n);
	return 0;
}

/* ---- the arena */

struct wire_block {
	struct wire_block *older;
	size_t room, used;
	uint64_t bytes[]; /* lists of structs are aligned to 8 */
};

static struct wire_block *block_new(size_t room, struct wire_block *older)
{
	struct wire_block *b = malloc(sizeof *b + room);
	if (b)
		*b = (struct wire_block){.older = older, .room = room};
	return b;
}

/* NULL when memory is out: a peer chose n. */
static inline void *arena_take(struct wire_arena *a, size_t n)
{
	assert(n <= LISTS_MAX);
	n = (n + 7) & ~(size_t)7;
	struct wire_block *b = a->newest;
	if (!b || n > b->room - b->used) {
		size_t room = max(n, b ? min(b->room * 2, BLOCK_KEPT_MAX) : BLOCK_LEAST);
		b = block_new(room, a->newest);
		if (!b)
			return NULL;
		a->newest = b;
	}
	void *p = b->bytes + b->used / 8;
	b->used += n;
	return p;
}

static void arena_free_from(struct wire_block *b)
{
	while (b) {
		struct wire_block *older = b->older;
		free(b);
		b = older;
	}
}

void wire_arena_reset(struct wire_arena *a)
{
	struct wire_block *b = a->newest;
	if (!b)
		return;
	arena_free_from(steal(b->older));
	b->used = 0;
	/* One peer's huge message must not be remembered by every connection it ever used. */
	if (b->room > BLOCK_KEPT_MAX)
		wire_arena_fini(a);
}

void wire_arena_fini(struct wire_arena *a)
{
	arena_free_from(steal(a->newest));
}

/* ---- decode */

struct reader {
	const uint8_t *at, *end;
	struct wire_arena *arena;
	size_t lists_left; /* what this message's lists may still take */
};

static inline size_t reader_left(const struct reader *r)
{
	return (size_t)(r->end - r->at);
}

/* A u32 that counts elements of at least `least` bytes each that follow it. */
static inline int get_count(struct reader *r, size_t least, uint32_t *n)
{
	if (reader_left(r) < 4)
		return -EBADMSG;
	*n = get_le32(r->at);
	r->at += 4;
	return *n > reader_left(r) / least ? -EBADMSG : 0;
}

static int get_elements(struct reader *r, uint32_t n, size_t size, void *to)
{
	struct wire_run *run = to;
	*run = (struct wire_run){.n = n};
	if (!n)
		return 0;
	if (n > r->lists_left / size)
		return -EMSGSIZE;
	r->lists_left -= n * size;
	run->at = arena_take(r->arena, n * size);
	return run->at ? 0 : -ENOMEM;
}

static inline int get_text(struct reader *r, const char **text)
{
	uint32_t n;
	if (get_count(r, 1, &n) < 0 || !n || memchr(r->at, 0, n) != r->at + n - 1)
		return -EBADMSG;
	*text = (const char *)r->at;
	r->at += n;
	return 0;
}

static int get_bytes(struct reader *r, struct wire_bytes *bytes)
{
	uint32_t n;
	if (get_count(r, 1, &n) < 0)
		return -EBADMSG;
	*bytes = (struct wire_bytes){r->at, n};
	r->at += n;
	return 0;
}

static int get_texts(struct reader *r, struct wire_texts *texts)
{
	uint32_t n;
	int e = get_count(r, LEAST_ELEMENT_SIZE, &n);
	if (!e)
		e = get_elements(r, n, sizeof(char *), texts);
	const char **to = (const char **)texts->at;
	for (uint32_t i = 0; !e && i < n; i++)
		e = get_text(r, &to[i]);
	return e;
}

static int get_u64s(struct reader *r, struct wire_u64s *numbers)
{
	uint32_t n;
	int e = get_count(r, 8, &n);
	if (!e)
		e = get_elements(r, n, 8, numbers);
	if (e || !n)
		return e;
	memcpy((void *)numbers->at, r->at, (size_t)n * 8);
	r->at += (size_t)n * 8;
	return 0;
}

static inline int get_scalar(struct reader *r, void *to, size_t n)
{
	if (reader_left(r) < n)
		return -EBADMSG;
	memcpy(to, r->at, n);
	r->at += n;
	return 0;
}

/* Fields that the sender did not know. The structs need not have been cleared. */
static void zero_fields(const struct wire_field *f, uint8_t *to, size_t size)
{
	if (f->kind == WIRE_KIND_END)
		return;
	memset(to + f->offset, 0, size - f->offset);
	for (; f->kind != WIRE_KIND_END; f++)
		if (f->kind == WIRE_KIND_text)
			*(const char **)(void *)(to + f->offset) = "";
}

static int get_list(struct reader *r, const struct wire_layout *record, void *to);

static int get_fields(struct reader *r, const struct wire_layout *l, uint8_t *to)
{
	int e = 0;
	for (const struct wire_field *f = l->fields; f->kind != WIRE_KIND_END && !e; f++) {
		void *p = to + f->offset;
		if (r->at == r->end) {
			zero_fields(f, to, l->size);
			return 0;
		}
		switch ((enum wire_kind)f->kind) {
		case WIRE_KIND_boolean:
			*(bool *)p = *r->at++ != 0;
			break;
		case WIRE_KIND_u8:
			*(uint8_t *)p = *r->at++;
			break;
		case WIRE_KIND_u32:
			e = get_scalar(r, p, 4);
			break;
		case WIRE_KIND_u64:
		case WIRE_KIND_i64:
			e = get_scalar(r, p, 8);
			break;
		case WIRE_KIND_text:
			e = get_text(r, p);
			break;
		case WIRE_KIND_bytes:
			e = get_bytes(r, p);
			break;
		case WIRE_KIND_digest:
			e = get_scalar(r, p, sizeof(struct digest));
			break;
		case WIRE_KIND_texts:
			e = get_texts(r, p);
			break;
		case WIRE_KIND_u64s:
			e = get_u64s(r, p);
			break;
		case WIRE_KIND_LIST:
			e = get_list(r, f->record, p);
			break;
		case WIRE_KIND_END:
			break;
		}
	}
	return e;
}

static int get_list(struct reader *r, const struct wire_layout *record, void *to)
{
	uint32_t n;
	int e = get_count(r, LEAST_ELEMENT_SIZE, &n);
	if (!e)
		e = get_elements(r, n, record->size, to);
	uint8_t *element = e ? NULL : (uint8_t *)((struct wire_run *)to)->at;
	const uint8_t *outer_end = r->end;
	for (uint32_t i = 0; !e && i < n; i++, element += record->size) {
		uint32_t size;
		e = get_count(r, 1, &size);
		if (e)
			break;
		r->end = r->at + size;
		e = get_fields(r, record, element);
		r->at = r->end; /* over what a newer sender appended */
		r->end = outer_end;
	}
	return e;
}

int wire_decode(uint16_t type, const void *body, size_t n, void *message, struct wire_arena *a)
{
	const struct wire_layout *l = wire_layout(type);
	if (!l)
		return -ENOSYS;
	assert(n <= UINT32_MAX && (body || !n));
	const uint8_t *at = body ? body : (const uint8_t *)"";
	struct reader r = {.at = at, .end = at + n, .arena = a, .lists_left = LISTS_MAX};
	return get_fields(&r, l, message);
}

/* ---- copy */

/* First counts, with both at NULL; then places the same things in the same order. Lists come first in the
 * block, since their structs need alignment and texts none. */
struct copier {
	uint8_t *list, *byte;
	size_t list_size, byte_size;
};

static void *copier_take_list(struct copier *c, const void *from, size_t n)
{
	void *to = c->list ? c->list + c->list_size : NULL;
	c->list_size += (n + 7) & ~(size_t)7;
	if (to && n)
		memcpy(to, from, n);
	return to;
}

static void *copier_take_bytes(struct copier *c, const void *from, size_t n)
{
	void *to = c->byte ? c->byte + c->byte_size : NULL;
	c->byte_size += n;
	if (to && n)
		memcpy(to, from, n);
	return to;
}

static const char *copier_take_text(struct copier *c, const char *text)
{
	if (!text)
		text = "";
	return copier_take_bytes(c, text, strlen(text) + 1);
}

static void copy_texts(struct copier *c, struct wire_texts *texts)
{
	const char *const *from = texts->at;
	const char **to = copier_take_list(c, from, texts->n * sizeof *to);
	for (uint32_t i = 0; i < texts->n; i++) {
		const char *text = copier_take_text(c, from[i]);
		if (to)
			to[i] = text;
	}
	if (to)
		texts->at = to;
}

static void copy_list(struct copier *c, const struct wire_layout *record, struct wire_run *list);

/* The struct at `of` is one of ours and already a flat copy if the block is there, else the caller's, which
 * counting leaves as it is. */
static void copy_fields(struct copier *c, const struct wire_field *f, uint8_t *of)
{
	for (; f->kind != WIRE_KIND_END; f++) {
		void *p = of + f->offset;
		struct wire_run *run = p;
		const void *to = NULL;
		if (f->kind == WIRE_KIND_text) {
			to = copier_take_text(c, *(const char **)p);
			if (to)
				*(const char **)p = to;
		} else if (f->kind == WIRE_KIND_bytes) {
			to = copier_take_bytes(c, run->at, run->n);
			if (to)
				run->at = to;
		} else if (f->kind == WIRE_KIND_u64s) {
			to = copier_take_list(c, run->at, (size_t)run->n * 8);
			if (to)
				run->at = to;
		} else if (f->kind == WIRE_KIND_texts) {
			copy_texts(c, p);
		} else if (f->kind == WIRE_KIND_LIST) {
			copy_list(c, f->record, run);
		}
	}
}

static void copy_list(struct copier *c, const struct wire_layout *record, struct wire_run *list)
{
	uint8_t *to = copier_take_list(c, list->at, (size_t)list->n * record->size);
	uint8_t *element = to ? to : (uint8_t *)list->at;
	for (uint32_t i = 0; i < list->n; i++, element += record->size)
		copy_fields(c, record->fields, element);
	if (to)
		list->at = to;
}

void *wire_copy(uint16_t type, const void *message)
{
	const struct wire_layout *l = wire_layout(type);
	assert(l);
	struct copier count = {0};
	copy_fields(&count, l->fields, (uint8_t *)message);
	size_t head_size = (l->size + 7u) & ~7u;
	uint8_t *block = xmalloc(head_size + count.list_size + count.byte_size);
	if (l->size)
		memcpy(block, message, l->size);
	struct copier place = {.list = block + head_size, .byte = block + head_size + count.list_size};
	copy_fields(&place, l->fields, block);
	assert(place.list_size == count.list_size && place.byte_size == count.byte_size);
	return block;
}
