/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/top_screen.h"

#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>

#define ELLIPSIS 0x2026u

void top_screen_init(struct top_screen *s, unsigned w, unsigned h, bool is_ascii)
{
	*s = (struct top_screen){
		.w = max(1u, min(w, TOP_SIDE_MOST)), .h = max(1u, min(h, TOP_SIDE_MOST)), .is_ascii = is_ascii};
	s->cells = xcalloc((size_t)s->w * s->h, sizeof *s->cells);
	for (size_t i = 0; i < (size_t)s->w * s->h; i++)
		s->cells[i].c = ' ';
}

void top_screen_fini(struct top_screen *s)
{
	free(s->cells);
	s->cells = NULL;
}

/* ---- characters */

/* Ranges of those that every terminal shows in one cell, or in two; what is in none of them is shown as '?': a mark that combines with what
 * stands before it, or what terminals disagree about, would move all that follows. */
static const struct range {
	uint32_t first, last;
	unsigned cells;
} ranges[] = {
	{0x20, 0x7e, 1},     {0xa1, 0xac, 1},     {0xae, 0x2ff, 1},    {0x370, 0x377, 1},   {0x37a, 0x37f, 1},
	{0x384, 0x482, 1},   {0x48a, 0x52f, 1},   {0x10d0, 0x10ff, 1}, {0x1e00, 0x1fff, 1}, {0x2010, 0x2027, 1},
	{0x2030, 0x205e, 1}, {0x2190, 0x21ff, 1}, {0x2200, 0x22ff, 1}, {0x2500, 0x259f, 1}, {0x3041, 0x3096, 2},
	{0x30a1, 0x30ff, 2}, {0x3400, 0x4dbf, 2}, {0x4e00, 0x9fff, 2}, {0xac00, 0xd7a3, 2}, {0xf900, 0xfaff, 2},
	{0xff01, 0xff60, 2},
};

static unsigned cells_of(uint32_t c)
{
	for (size_t i = 0; i < countof(ranges); i++) {
		if (c >= ranges[i].first && c <= ranges[i].last)
			return ranges[i].cells;
	}
	return 0;
}

/* The text was escaped: it is valid UTF-8. */
static uint32_t decode(const char **text)
{
	const uint8_t *p = (const uint8_t *)*text;
	unsigned n = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	uint32_t c = n == 1 ? p[0] : p[0] & (0x7fu >> n);
	for (unsigned i = 1; i < n; i++) {
		assert((p[i] & 0xc0) == 0x80);
		c = c << 6 | (p[i] & 0x3f);
	}
	*text += n;
	return c;
}

static void encode(uint32_t c, struct buf *to)
{
	uint8_t text[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const uint8_t leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
	for (size_t i = n; i-- > 1; c >>= 6)
		text[i] = (uint8_t)(0x80 | (c & 0x3f));
	text[0] = (uint8_t)(leads[n] | c);
	buf_put(to, text, n);
}

/* As it will be shown; *cells is set. */
static uint32_t shown(const struct top_screen *s, uint32_t c, unsigned *cells)
{
	*cells = s->is_ascii && c > 0x7e ? 0 : cells_of(c);
	if (*cells)
		return c;
	*cells = 1;
	return '?';
}

/* ---- text */

static struct top_cell *cell_at(struct top_screen *s, unsigned x, unsigned y)
{
	assert(x < s->w && y < s->h);
	return &s->cells[(size_t)y * s->w + x];
}

static unsigned put_char(struct top_screen *s, unsigned x, unsigned y, enum top_style style, uint32_t c)
{
	unsigned cells;
	c = shown(s, c, &cells);
	/* Of a wide one that stood here no half is left. */
	if (!cell_at(s, x, y)->c)
		cell_at(s, x - 1, y)->c = ' ';
	if (x + cells < s->w && !cell_at(s, x + cells, y)->c)
		cell_at(s, x + cells, y)->c = ' ';
	*cell_at(s, x, y) = (struct top_cell){c, (uint8_t)style};
	if (cells == 2)
		*cell_at(s, x + 1, y) = (struct top_cell){0, (uint8_t)style};
	return cells;
}

static unsigned length_of(const struct top_screen *s, const char *text)
{
	unsigned n = 0, cells;
	while (*text) {
		shown(s, decode(&text), &cells);
		n += cells;
	}
	return n;
}

static void put_ellipsis(struct top_screen *s, unsigned x, unsigned y, enum top_style style)
{
	put_char(s, x, y, style, s->is_ascii ? '~' : ELLIPSIS);
}

/* Texts are cut at some hundred bytes: none is as wide as the widest screen can be. */
static unsigned put_escaped(struct top_screen *s, unsigned x, unsigned y, unsigned room, enum top_style style,
			    const char *safe)
{
	unsigned at = 0, cells;
	room = x < s->w && y < s->h ? min(room, s->w - x) : 0;
	bool is_cut = length_of(s, safe) > room;
	while (*safe && at < room) {
		const char *before = safe;
		shown(s, decode(&safe), &cells);
		if (at + cells + is_cut > room)
			break;
		at += put_char(s, x + at, y, style, decode(&before));
	}
	if (is_cut && at < room)
		put_ellipsis(s, x + at++, y, style);
	return at;
}

unsigned top_put(struct top_screen *s, unsigned x, unsigned y, unsigned room, enum top_style style, const char *text)
{
	char safe[2400];
	return put_escaped(s, x, y, room, style, log_escape(text, strlen(text), safe, sizeof safe));
}

unsigned top_put_right(struct top_screen *s, unsigned x, unsigned y, unsigned room, enum top_style style,
		       const char *text)
{
	char safe[2400];
	unsigned n = length_of(s, log_escape(text, strlen(text), safe, sizeof safe));
	unsigned blank = n < room ? room - n : 0;
	return put_escaped(s, x + blank, y, room - blank, style, safe) + blank;
}

unsigned top_putf(struct top_screen *s, unsigned x, unsigned y, enum top_style style, const char *fmt, ...)
{
	char text[1200];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	return top_put(s, x, y, s->w, style, text);
}

void top_paint(struct top_screen *s, unsigned y, enum top_style style)
{
	for (unsigned x = 0; y < s->h && x < s->w; x++)
		cell_at(s, x, y)->style = (uint8_t)style;
}

/* ---- bars */

static uint32_t shape_of(const struct top_screen *s, char shape)
{
	static const struct {
		char shape, ascii;
		uint32_t c;
	} shapes[] = {{'f', '#', 0x2588}, {'b', '=', 0x2593}, {'x', 'x', 0x2592}, {'w', '.', 0x2591}};
	for (size_t i = 0; i < countof(shapes); i++) {
		if (shapes[i].shape == shape)
			return s->is_ascii ? (uint32_t)shapes[i].ascii : shapes[i].c;
	}
	return '?';
}

void top_put_bar(struct top_screen *s, unsigned x, unsigned y, unsigned room, const struct top_part *parts,
		 size_t n_parts)
{
	uint64_t all = 0;
	unsigned at = 0, later = 0;
	room = x < s->w && y < s->h ? min(room, s->w - x) : 0;
	for (size_t i = 0; i < n_parts; i++) {
		all += parts[i].n;
		later += parts[i].n > 0;
	}
	for (size_t i = 0; i < n_parts && at < room; i++) {
		if (!parts[i].n)
			continue;
		later--;
		unsigned cells = (unsigned)((double)parts[i].n / (double)all * (double)room + 0.5);
		/* Who has few is seen, too. */
		unsigned most = room - at > later ? room - at - later : 1;
		cells = later ? max(1u, min(cells, most)) : room - at;
		for (; cells; cells--)
			put_char(s, x + at++, y, parts[i].style, shape_of(s, parts[i].shape));
	}
	assert(at <= room);
}

void top_put_history(struct top_screen *s, unsigned x, unsigned y, unsigned room, enum top_style style,
		     const double *values, size_t n)
{
	static const char ascii[] = "_.:-=+*#";
	double most = 0;
	room = x < s->w && y < s->h ? min(room, s->w - x) : 0;
	size_t first = n > room ? n - room : 0;
	for (size_t i = first; i < n; i++)
		most = max(most, values[i]);
	for (size_t i = first; i < n; i++) {
		unsigned level = most > 0 ? (unsigned)(values[i] / most * 7 + 0.5) : 0;
		assert(level < 8);
		put_char(s, x + (unsigned)(i - first), y, style, s->is_ascii ? (uint32_t)ascii[level] : 0x2581 + level);
	}
}

/* ---- lines */

static const char *sequence(enum top_style style, enum top_paint paint)
{
	static const char *const colours[TOP_STYLES] = {
		[TOP_PLAIN] = "\033[0m",   [TOP_BOLD] = "\033[0;1m",        [TOP_DIM] = "\033[0;2m",
		[TOP_BAR] = "\033[0;7m",   [TOP_CHOSEN] = "\033[0;1;7;36m", [TOP_GOOD] = "\033[0;32m",
		[TOP_WARN] = "\033[0;33m", [TOP_BAD] = "\033[0;31m",        [TOP_BUSY] = "\033[0;36m",
	};
	static const char *const plain[TOP_STYLES] = {
		[TOP_PLAIN] = "\033[0m",  [TOP_BOLD] = "\033[0;1m",     [TOP_DIM] = "\033[0m",
		[TOP_BAR] = "\033[0;7m",  [TOP_CHOSEN] = "\033[0;1;7m", [TOP_GOOD] = "\033[0m",
		[TOP_WARN] = "\033[0;1m", [TOP_BAD] = "\033[0;1m",      [TOP_BUSY] = "\033[0m",
	};
	assert(style < TOP_STYLES && paint != TOP_NO_STYLES);
	return paint == TOP_COLOURS ? colours[style] : plain[style];
}

void top_screen_line(const struct top_screen *s, unsigned y, enum top_paint paint, struct buf *to)
{
	const struct top_cell *row = s->cells + (size_t)y * s->w;
	unsigned n = s->w;
	int style = TOP_PLAIN;
	assert(y < s->h);
	while (n && row[n - 1].c == ' ' && (paint == TOP_NO_STYLES || row[n - 1].style == TOP_PLAIN))
		n--;
	for (unsigned x = 0; x < n; x++) {
		if (paint != TOP_NO_STYLES && row[x].style != style)
			buf_puts(to, sequence(row[x].style, paint));
		style = row[x].style;
		if (row[x].c)
			encode(row[x].c, to);
	}
	if (paint != TOP_NO_STYLES && style != TOP_PLAIN)
		buf_puts(to, sequence(TOP_PLAIN, paint));
}
