/* SPDX-License-Identifier: Apache-2.0
 * Messages for people: one line in a log, and the pages of protocol.md. */
#include "common/log.h"
#include "common/wire_table.h"

#include <inttypes.h>

/* A log line shows the beginning of what is long: a SUBMIT may be megabytes. */
#define TEXT_SHOWN_MAX 400
#define BYTES_SHOWN_MAX 64
#define ELEMENTS_SHOWN_MAX 32

/* ---- one line */

static void print_escaped(struct buf *to, const char *text, size_t n)
{
	char shown[TEXT_SHOWN_MAX];
	buf_puts(to, "\"");
	buf_puts(to, log_escape(text, n, shown, sizeof shown));
	buf_puts(to, "\"");
}

static void print_text(struct buf *to, const char *text)
{
	print_escaped(to, text ? text : "", text ? strlen(text) : 0);
}

static void print_bytes(struct buf *to, const struct wire_bytes *bytes)
{
	if (bytes->n > BYTES_SHOWN_MAX)
		buf_printf(to, "bytes[%" PRIu32 "]", bytes->n);
	else
		print_escaped(to, bytes->n ? bytes->at : "", bytes->n);
}

static void print_digest(struct buf *to, const struct digest *d)
{
	buf_printf(to, "%u:", d->algorithm);
	for (size_t i = 0; i < DIGEST_SIZE; i++)
		buf_printf(to, "%02x", d->byte[i]);
}

/* True for each element that is to be shown; writes what stands between them. */
static bool print_next(struct buf *to, uint32_t i, uint32_t n)
{
	if (i == n)
		return false;
	if (i == ELEMENTS_SHOWN_MAX) {
		buf_printf(to, " and %" PRIu32 " more", n - i);
		return false;
	}
	if (i)
		buf_puts(to, " ");
	return true;
}

static void print_fields(struct buf *to, const struct wire_field *f, const uint8_t *from);

static void print_run(struct buf *to, const struct wire_field *f, const struct wire_run *run)
{
	buf_puts(to, "[");
	for (uint32_t i = 0; print_next(to, i, run->n); i++) {
		if (f->kind == WIRE_KIND_texts) {
			print_text(to, ((const char *const *)run->at)[i]);
		} else if (f->kind == WIRE_KIND_u64s) {
			buf_printf(to, "%" PRIu64, ((const uint64_t *)run->at)[i]);
		} else {
			assert(f->kind == WIRE_KIND_LIST);
			buf_puts(to, "{");
			print_fields(to, f->record->fields, (const uint8_t *)run->at + (size_t)i * f->record->size);
			buf_puts(to, "}");
		}
	}
	buf_puts(to, "]");
}

static void print_value(struct buf *to, const struct wire_field *f, const void *p)
{
	switch ((enum wire_kind)f->kind) {
	case WIRE_KIND_boolean:
		buf_puts(to, *(const bool *)p ? "yes" : "no");
		break;
	case WIRE_KIND_u8:
		buf_printf(to, "%u", *(const uint8_t *)p);
		break;
	case WIRE_KIND_u32:
		buf_printf(to, "%" PRIu32, *(const uint32_t *)p);
		break;
	case WIRE_KIND_u64:
		buf_printf(to, "%" PRIu64, *(const uint64_t *)p);
		break;
	case WIRE_KIND_i64:
		buf_printf(to, "%" PRId64, *(const int64_t *)p);
		break;
	case WIRE_KIND_text:
		print_text(to, *(const char *const *)p);
		break;
	case WIRE_KIND_bytes:
		print_bytes(to, p);
		break;
	case WIRE_KIND_digest:
		print_digest(to, p);
		break;
	case WIRE_KIND_texts:
	case WIRE_KIND_u64s:
	case WIRE_KIND_LIST:
		print_run(to, f, p);
		break;
	case WIRE_KIND_END:
		break;
	}
}

static void print_fields(struct buf *to, const struct wire_field *f, const uint8_t *from)
{
	for (bool is_first = true; f->kind != WIRE_KIND_END; f++, is_first = false) {
		buf_printf(to, is_first ? "%s=" : " %s=", f->name);
		print_value(to, f, from + f->offset);
	}
}

void wire_print(struct buf *to, uint16_t type, const void *message)
{
	const struct wire_layout *l = wire_layout(type);
	if (!l) {
		buf_printf(to, "type %u, which is none of ours", type);
		return;
	}
	buf_puts(to, l->name);
	if (l->fields->kind != WIRE_KIND_END)
		buf_puts(to, " ");
	print_fields(to, l->fields, message);
}

/* ---- protocol.md */

static const char doc_frames[] = "# Vine's protocol\n\n"
				 "Made from `common/wire.def` by `tests/wire-doc`; do not edit. Protocol %u.%u.\n\n"
				 "## Connections\n\n"
				 "Every connection is authenticated before its first frame: over TCP by TLS 1.3 with "
				 "an external pre-shared key, over a\n"
				 "Unix socket by SO_PEERCRED. Then both sides send HELLO, and nothing else before they "
				 "have read the other's.\n\n"
				 "## Frames\n\n"
				 "A frame is a head of %u bytes and a body. All numbers are little endian.\n\n"
				 "| offset | size | field | |\n"
				 "|---|---|---|---|\n"
				 "| 0 | 2 | type | the number of a message below |\n"
				 "| 2 | 2 | flags | see below; those not named are sent as 0 and ignored |\n"
				 "| 4 | 4 | length | of the body in bytes, at most %u; of DATA at most %u |\n"
				 "| 8 | 8 | id | correlation: chosen by whoever asks, 0 if no answer is wanted |\n\n"
				 "| flag | name | |\n"
				 "|---|---|---|\n"
				 "| %u | REPLY | the id is one that the receiver gave out: this is the answer to it |\n"
				 "| %u | STREAM | an answer after which DATA frames with the same id follow |\n"
				 "| %u | END | the last DATA frame of a stream; if its body is not empty it is a u32 "
				 "errno: the stream broke off |\n\n";

static const char doc_rules[] =
	"A request has one answer: the message named with it, or STATUS. A stream's sender may send as many bytes as "
	"it was given\n"
	"CREDIT for. CANCEL says that an answer is no longer wanted; one that was already on its way is ignored.\n\n"
	"## Bodies\n\n"
	"The fields of a message follow each other in the order of its table, without padding or tags.\n\n"
	"| type | in the body |\n"
	"|---|---|\n";

static const char doc_versions[] =
	"| list of R | u32 count, then so many records, each a u32 length and so many bytes of fields |\n\n"
	"A length or count that does not fit into what is left of its body or record, a text without its NUL or with "
	"another one,\n"
	"and a field that is cut in the middle make the frame malformed, and the connection is closed. So do lists "
	"that\n"
	"would take more than 64 MiB of the receiver's memory.\n\n"
	"## Versions\n\n"
	"- Fields are only ever appended, and messages only added, both with a higher MINOR. No number is used again.\n"
	"- A receiver takes fields that are missing at the end of a body or record as 0, empty or false, and skips "
	"bytes that\n"
	"  follow the last field it knows.\n"
	"- A request of an unknown type is answered by STATUS with ENOSYS; an unknown message that wants no answer is "
	"dropped.\n"
	"- Peers of another MAJOR are refused after HELLO, with both versions in the text.\n\n";

static void doc_layout(struct buf *to, const struct wire_layout *l)
{
	if (l->number)
		buf_printf(to, "### %u %s\n\nSince %u.%u. %s.\n\n", l->number, l->name, WIRE_MAJOR, l->minor, l->doc);
	else
		buf_printf(to, "### %s\n\n%s.\n\n", l->name, l->doc);
	if (l->fields->kind == WIRE_KIND_END) {
		buf_puts(to, "No fields.\n\n");
		return;
	}
	static const char *const type_name[] = {
#define X(type, doc) [WIRE_KIND_##type] = #type,
		WIRE_TYPES(X)
#undef X
	};
	buf_puts(to, "| field | type | |\n|---|---|---|\n");
	for (const struct wire_field *f = l->fields; f->kind != WIRE_KIND_END; f++) {
		if (f->kind == WIRE_KIND_LIST)
			buf_printf(to, "| %s | list of [%s](#%s) | %s |\n", f->name, f->record->name, f->record->name,
				   f->doc);
		else
			buf_printf(to, "| %s | %s | %s |\n", f->name, type_name[f->kind], f->doc);
	}
	buf_puts(to, "\n");
}

static void doc_layouts(struct buf *to, const char *title, bool are_records)
{
	size_t n;
	const struct wire_layout *const *all = wire_layouts(&n);
	buf_printf(to, "## %s\n\n", title);
	for (size_t i = 0; i < n; i++)
		if (!all[i]->number == are_records)
			doc_layout(to, all[i]);
}

void wire_print_doc(struct buf *to)
{
	buf_printf(to, doc_frames, WIRE_MAJOR, WIRE_MINOR, WIRE_HEAD_SIZE, WIRE_BODY_MAX, WIRE_DATA_MAX,
		   (unsigned)WIRE_FLAG_REPLY, (unsigned)WIRE_FLAG_STREAM, (unsigned)WIRE_FLAG_END);
	buf_puts(to, doc_rules);
#define X(type, doc) buf_puts(to, "| " #type " | " doc " |\n");
	WIRE_TYPES(X)
#undef X
	buf_puts(to, doc_versions);
	doc_layouts(to, "Records", true);
	doc_layouts(to, "Messages", false);
}
