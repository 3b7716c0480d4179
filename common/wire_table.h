/* SPDX-License-Identifier: Apache-2.0
 * wire.def as data: what the codec (wire.c) and the printers (wire_text.c) walk. Private to these two. */
#ifndef COMMON_WIRE_TABLE_H
#define COMMON_WIRE_TABLE_H

#include "common/wire.h"

/* Each type of a field and how it lies in a body, in protocol.md's words. */
#define WIRE_TYPES(X)                                                                           \
	X(boolean, "one byte: 0 is false, any other true")                                      \
	X(u8, "one byte")                                                                       \
	X(u32, "4 bytes, little endian")                                                        \
	X(u64, "8 bytes, little endian")                                                        \
	X(i64, "8 bytes, little endian, two's complement")                                      \
	X(text, "u32 length, then so many bytes: the last is NUL and counted, no other is NUL") \
	X(bytes, "u32 length, then so many bytes")                                              \
	X(digest, "one byte for the algorithm (0 none, 1 SHA-256), then 32 bytes")              \
	X(texts, "u32 count, then so many texts")                                               \
	X(u64s, "u32 count, then so many u64")

enum wire_kind {
	WIRE_KIND_END,
#define X(type, doc) WIRE_KIND_##type,
	WIRE_TYPES(X)
#undef X
		WIRE_KIND_LIST,
};

/* What struct wire_bytes, wire_texts, wire_u64s and every list have in common. */
struct wire_run {
	const void *at;
	uint32_t n;
};

struct wire_field {
	uint8_t kind; /* WIRE_KIND_END ends an array of fields */
	uint32_t offset;
	const struct wire_layout *record; /* of a list's elements */
	const char *name, *doc;
};

struct wire_layout {
	const char *name;
	uint32_t size;   /* of the struct */
	uint16_t number; /* 0: a record */
	uint16_t minor;  /* since which it exists */
	const struct wire_field *fields;
	const char *doc;
};

/* NULL if the number is none of ours. */
const struct wire_layout *wire_layout(uint16_t type);

/* Records, then messages, as wire.def lists them. */
const struct wire_layout *const *wire_layouts(size_t *n);

#endif
