/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire_table.h"

/* Names first: a list's field points at the layout of its record. */
#define WIRE_RECORD(name, doc) static const struct wire_layout layout_##name;
#define WIRE_MESSAGE(NAME, name, number, minor, doc) static const struct wire_layout layout_##name;
#define WIRE_FIELD(owner, type, name, doc)
#define WIRE_LIST(owner, record, name, doc)
#define WIRE_END(name)
#include "common/wire.def"
#undef WIRE_RECORD
#undef WIRE_MESSAGE
#undef WIRE_FIELD
#undef WIRE_LIST
#undef WIRE_END

/* clang-format off */
#define WIRE_RECORD(name, doc) static const struct wire_field fields_##name[] = {
#define WIRE_MESSAGE(NAME, name, number, minor, doc) WIRE_RECORD(name, doc)
#define WIRE_FIELD(owner, type, name, doc) {WIRE_KIND_##type, offsetof(struct wire_##owner, name), NULL, #name, doc},
#define WIRE_LIST(owner, record, name, doc) \
	{WIRE_KIND_LIST, offsetof(struct wire_##owner, name), &layout_##record, #name, doc},
#define WIRE_END(name) {WIRE_KIND_END, 0, NULL, NULL, NULL}};
/* clang-format on */
#include "common/wire.def"
#undef WIRE_RECORD
#undef WIRE_MESSAGE
#undef WIRE_FIELD
#undef WIRE_LIST
#undef WIRE_END

/* The interpreter reaches fields by offset and kind alone, so the compiler is asked here whether each is what its kind says. */
#define IS_TYPE(owner, name, type)                                                                       \
	_Static_assert(__builtin_types_compatible_p(__typeof__(((struct wire_##owner *)0)->name), type), \
		       #owner "." #name " is not " #type);
#define IS_RUN(type)                                                                  \
	_Static_assert(sizeof(type) == sizeof(struct wire_run) &&                     \
			       offsetof(type, at) == offsetof(struct wire_run, at) && \
			       offsetof(type, n) == offsetof(struct wire_run, n),     \
		       #type " is not laid out as a run");
#define WIRE_RECORD(name, doc) \
	static const struct wire_layout layout_##name = {#name, sizeof(struct wire_##name), 0, 0, fields_##name, doc};
#define WIRE_MESSAGE(NAME, name, number, minor, doc)                                    \
	_Static_assert((number) > 0 && (number) <= UINT16_MAX, #NAME " has no number"); \
	_Static_assert((minor) <= WIRE_MINOR, #NAME " is newer than WIRE_MINOR");       \
	static const struct wire_layout layout_##name = {                               \
		#NAME, sizeof(struct wire_##name), number, minor, fields_##name, doc};
#define WIRE_FIELD(owner, type, name, doc) IS_TYPE(owner, name, wire_c_##type)
#define WIRE_LIST(owner, record, name, doc) IS_RUN(__typeof__(((struct wire_##owner *)0)->name))
#define WIRE_END(name)
#include "common/wire.def"
#undef WIRE_RECORD
#undef WIRE_MESSAGE
#undef WIRE_FIELD
#undef WIRE_LIST
#undef WIRE_END

IS_RUN(struct wire_bytes)
IS_RUN(struct wire_texts)
IS_RUN(struct wire_u64s)
_Static_assert(sizeof(wire_c_boolean) == 1, "a boolean is one byte");
_Static_assert(sizeof(struct digest) == 1 + DIGEST_SIZE, "a digest has no padding");

#define WIRE_FIELD(owner, type, name, doc)
#define WIRE_LIST(owner, record, name, doc)
#define WIRE_END(name)
static const struct wire_layout *const all[] = {
#define WIRE_RECORD(name, doc) &layout_##name,
#define WIRE_MESSAGE(NAME, name, number, minor, doc) &layout_##name,
#include "common/wire.def"
#undef WIRE_RECORD
#undef WIRE_MESSAGE
};

/* A number given twice is an overridden initialiser: -Wextra refuses it. */
static const struct wire_layout *const by_number[] = {
#define WIRE_RECORD(name, doc)
#define WIRE_MESSAGE(NAME, name, number, minor, doc) [number] = &layout_##name,
#include "common/wire.def"
#undef WIRE_RECORD
#undef WIRE_MESSAGE
};
#undef WIRE_FIELD
#undef WIRE_LIST
#undef WIRE_END

const struct wire_layout *wire_layout(uint16_t type)
{
	return type < countof(by_number) ? by_number[type] : NULL;
}

const struct wire_layout *const *wire_layouts(size_t *n)
{
	*n = countof(all);
	return all;
}

const char *wire_name(uint16_t type)
{
	const struct wire_layout *l = wire_layout(type);
	return l ? l->name : NULL;
}

size_t wire_struct_size(uint16_t type)
{
	const struct wire_layout *l = wire_layout(type);
	return l ? l->size : 0;
}
