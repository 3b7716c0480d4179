/* SPDX-License-Identifier: Apache-2.0
 * The messages of wire.def as structs, and one encoder, decoder, printer and documenter that walk the same
 * table. A frame is a 16-byte header and a body; in a body the fields follow each other in the table's order, little endian;
 * texts and bytes are a u32 length and so many bytes (a text's last one is NUL and counted), lists a u32 count, each record
 * of a list a u32 length and its fields.
 *
 * A decoder zero-fills fields that the sender did not know and skips those it does not know itself. Any thread. */
#ifndef COMMON_WIRE_H
#define COMMON_WIRE_H

#include "common/base.h"
#include "common/buf.h"
#include "common/digest.h"

#define WIRE_MAJOR 1u
#define WIRE_MINOR 4u

#define WIRE_HEAD_SIZE 16
#define WIRE_BODY_MAX (8u << 20) /* of an authenticated peer */
#define WIRE_DATA_MAX (64u << 10)

/* What both sides check, so that neither promises what the other refuses. */
#define WIRE_RUN_NAME_MAX 128u
#define WIRE_NAME_MAX 64 /* of a daemon, for people */
#define WIRE_CORES_MAX 65536u

enum wire_flag {
	WIRE_FLAG_REPLY = 1,  /* the correlation id is one that the receiver gave out */
	WIRE_FLAG_STREAM = 2, /* a reply after which DATA frames follow */
	WIRE_FLAG_END = 4,    /* the last DATA frame of a stream; its body is a u32 errno if not empty */
};

struct wire_head {
	uint16_t type;
	uint16_t flags;
	uint32_t length; /* of the body */
	uint64_t id;     /* correlation: chosen by whoever asks; 0: no answer wanted */
};

struct wire_bytes {
	const void *at;
	uint32_t n;
};

struct wire_texts {
	const char *const *at;
	uint32_t n;
};

struct wire_u64s {
	const uint64_t *at;
	uint32_t n;
};

/* C types of the fields. Decoded texts, bytes and lists point into the frame or into the arena; a text is never NULL then;
 * encoding NULL sends "". */
typedef bool wire_c_boolean;
typedef uint8_t wire_c_u8;
typedef uint32_t wire_c_u32;
typedef uint64_t wire_c_u64;
typedef int64_t wire_c_i64;
typedef const char *wire_c_text;
typedef struct wire_bytes wire_c_bytes;
typedef struct digest wire_c_digest;
typedef struct wire_texts wire_c_texts;
typedef struct wire_u64s wire_c_u64s;

/* clang-format off */
#define WIRE_RECORD(name, doc) struct wire_##name {
#define WIRE_MESSAGE(NAME, name, number, minor, doc) struct wire_##name { char wire_empty[0];
#define WIRE_FIELD(owner, type, name, doc) wire_c_##type name;
#define WIRE_LIST(owner, record, name, doc) struct { const struct wire_##record *at; uint32_t n; } name;
#define WIRE_END(name) };
/* clang-format on */
#include "common/wire.def"
#undef WIRE_RECORD
#undef WIRE_MESSAGE
#undef WIRE_FIELD
#undef WIRE_LIST
#undef WIRE_END

#define WIRE_RECORD(name, doc)
#define WIRE_MESSAGE(NAME, name, number, minor, doc) WIRE_##NAME = (number),
#define WIRE_FIELD(owner, type, name, doc)
#define WIRE_LIST(owner, record, name, doc)
#define WIRE_END(name)
enum wire_type {
#include "common/wire.def"
};
#undef WIRE_RECORD
#undef WIRE_MESSAGE
#undef WIRE_FIELD
#undef WIRE_LIST
#undef WIRE_END

/* Memory for the lists of decoded messages: what was decoded is valid until the reset, which keeps a block
 * for the next message. Zero-initialised is empty. */
struct wire_block;
struct wire_arena {
	struct wire_block *newest;
};

void wire_arena_reset(struct wire_arena *a);
void wire_arena_fini(struct wire_arena *a);

void wire_put_head(struct buf *b, const struct wire_head *h);
void wire_get_head(const uint8_t at[WIRE_HEAD_SIZE], struct wire_head *h);

/* "HELLO"; NULL if the number is none of ours. */
const char *wire_name(uint16_t type);
/* sizeof its struct; 0 if the number is none of ours. */
size_t wire_struct_size(uint16_t type);

/* Appends header and body. Returns 0, or -EMSGSIZE if the body would exceed WIRE_BODY_MAX (nothing is appended then). */
int wire_encode(struct buf *b, uint16_t type, uint16_t flags, uint64_t id, const void *message);

/* Decodes a body into `message` (wire_struct_size bytes). 0, -EBADMSG (malformed), -ENOSYS (a type we do not know),
 * -EMSGSIZE (its lists would take more than 64 MiB). */
int wire_decode(uint16_t type, const void *body, size_t n, void *message, struct wire_arena *a);

/* The message as one line "HELLO major=1 ... " with escapes, for logs and tests. */
void wire_print(struct buf *to, uint16_t type, const void *message);

/* protocol.md */
void wire_print_doc(struct buf *to);

/* A copy that outlives the frame: everything it points to lies in one block with it, freed by free(). */
void *wire_copy(uint16_t type, const void *message);

#endif
