/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/report_text.h"

#include <inttypes.h>
#include <time.h>

/* Bytes of the character at p and its number; 0: it is none. */
static size_t decode(const uint8_t *p, uint32_t *c)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	*c = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));
	if (p[0] >= 0xf8 || (n > 1 && p[0] < 0xc0))
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*c = *c << 6 | (p[i] & 0x3f);
	}
	return *c < least[n] || *c > 0x10ffff || (*c >= 0xd800 && *c < 0xe000) ? 0 : n;
}

/* Not to be shown as it is: control characters, and those that make a text look like another one. */
static bool is_odd(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c & 0xfffe) == 0xfffe;
}

static void put_escaped(struct buf *b, uint32_t c, const uint8_t *p, size_t n)
{
	switch (c) {
	case '&':
		buf_puts(b, "&amp;");
		break;
	case '<':
		buf_puts(b, "&lt;");
		break;
	case '>':
		buf_puts(b, "&gt;");
		break;
	case '"':
		buf_puts(b, "&quot;");
		break;
	case '\'':
		buf_puts(b, "&#39;");
		break;
	default:
		buf_put(b, p, n);
	}
}

void html_short(struct buf *b, const char *text, size_t most)
{
	const uint8_t *p = (const uint8_t *)text;
	for (size_t n_shown = 0; *p; n_shown++) {
		uint32_t c;
		size_t n = decode(p, &c);
		if (n_shown == most) {
			buf_puts(b, "…");
			return;
		}
		if (!n || is_odd(c))
			buf_puts(b, "\xef\xbf\xbd");
		else
			put_escaped(b, c, p, n);
		p += n ? n : 1;
	}
}

void html_text(struct buf *b, const char *text)
{
	html_short(b, text, SIZE_MAX);
}

const char *text_count(uint64_t n, char to[TEXT_SIZE])
{
	char plain[24];
	int length = snprintf(plain, sizeof plain, "%" PRIu64, n), at = 0;
	for (int i = 0; i < length; i++) {
		if (i && (length - i) % 3 == 0)
			to[at++] = ',';
		to[at++] = plain[i];
	}
	to[at] = 0;
	return to;
}

/* "3 min 12 s", without what is 0. */
static void put_two(char to[TEXT_SIZE], uint64_t large, const char *name, uint64_t small, const char *other)
{
	int n = snprintf(to, TEXT_SIZE, "%" PRIu64 " %s", large, name);
	if (small)
		snprintf(to + n, TEXT_SIZE - (size_t)n, " %" PRIu64 " %s", small, other);
}

const char *text_usec(uint64_t usec, char to[TEXT_SIZE])
{
	uint64_t sec = (usec + 500000) / 1000000;
	if (usec < 1000)
		snprintf(to, TEXT_SIZE, usec ? "%" PRIu64 " µs" : "0", usec);
	else if (usec < 999500)
		snprintf(to, TEXT_SIZE, usec < 9995 ? "%.1f ms" : "%.0f ms", (double)usec / 1e3);
	else if (usec < 59950000)
		snprintf(to, TEXT_SIZE, usec < 9995000 ? "%.2f s" : "%.1f s", (double)usec / 1e6);
	else if (sec < 3600)
		put_two(to, sec / 60, "min", sec % 60, "s");
	else if (sec < 48 * 3600)
		put_two(to, sec / 3600, "h", sec / 60 % 60, "min");
	else
		put_two(to, sec / 86400, "d", sec / 3600 % 24, "h");
	return to;
}

const char *text_size(uint64_t size, char to[TEXT_SIZE])
{
	char text[32];
	print_size(text, size);
	snprintf(to, TEXT_SIZE, "%s", text);
	return to;
}

const char *text_part(uint64_t n, uint64_t of, char to[TEXT_SIZE])
{
	double part = of ? 100.0 * (double)n / (double)of : 0;
	if (n && n < of)
		part = min(max(part, 0.1), 99.9);
	snprintf(to, TEXT_SIZE, part > 0 && part < 100 ? "%.1f %%" : "%.0f %%", part);
	return to;
}

const char *text_time(uint64_t usec, char to[TEXT_SIZE])
{
	time_t sec = (time_t)(usec / 1000000);
	struct tm tm;
	if (!gmtime_r(&sec, &tm) || !strftime(to, TEXT_SIZE, "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(to, TEXT_SIZE, "?");
	return to;
}

const char *text_clock(uint64_t usec, char to[TEXT_SIZE])
{
	char text[TEXT_SIZE];
	const char *space = strchr(text_time(usec, text), ' ');
	snprintf(to, TEXT_SIZE, "%s", space ? space + 1 : text);
	return to;
}
