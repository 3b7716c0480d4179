/* SPDX-License-Identifier: Apache-2.0
 * A screen as cells: what is put beyond its edges is cut off, what others named is escaped, and no character takes another number of cells than
 * it is counted for. Knows no terminal: top_term.c writes what top_screen_line() makes. */
#ifndef TOOLS_TOP_SCREEN_H
#define TOOLS_TOP_SCREEN_H

#include "common/buf.h"

enum top_style {
	TOP_PLAIN,
	TOP_BOLD,
	TOP_DIM,
	TOP_BAR, /* of the head and the foot */
	TOP_CHOSEN,
	TOP_GOOD,
	TOP_WARN,
	TOP_BAD,
	TOP_BUSY,
	TOP_STYLES,
};

struct top_cell {
	uint32_t c; /* 0: the second half of a wide one */
	uint8_t style;
};

#define TOP_SIDE_MOST 1000u
struct top_screen {
	unsigned w, h;
	struct top_cell *cells;
	bool is_ascii;
};

/* Blank. Sides are at least 1 and at most TOP_SIDE_MOST. */
void top_screen_init(struct top_screen *s, unsigned w, unsigned h, bool is_ascii);
void top_screen_fini(struct top_screen *s);

/* Puts text from column x on, over at most `room` cells; what does not fit ends in "…". Returns the cells it took. */
unsigned top_put(struct top_screen *s, unsigned x, unsigned y, unsigned room, enum top_style style, const char *text);
unsigned top_put_right(struct top_screen *s, unsigned x, unsigned y, unsigned room, enum top_style style,
		       const char *text);
unsigned top_putf(struct top_screen *s, unsigned x, unsigned y, enum top_style style, const char *fmt, ...)
	_printf_(5, 6);
/* All cells of the row get the style. */
void top_paint(struct top_screen *s, unsigned y, enum top_style style);

/* Parts of a whole, side by side; each part that is not 0 gets a cell at least. */
struct top_part {
	uint64_t n;
	enum top_style style;
	char shape; /* 'f'ull, 'b'usy, 'x' bad, 'w'aiting */
};
void top_put_bar(struct top_screen *s, unsigned x, unsigned y, unsigned room, const struct top_part *parts,
		 size_t n_parts);
/* The last `room` values, as heights of one cell. */
void top_put_history(struct top_screen *s, unsigned x, unsigned y, unsigned room, enum top_style style,
		     const double *values, size_t n);

/* The row as text; with styles as SGR sequences (with colours or without), or without any and without blanks at its end. */
enum top_paint { TOP_NO_STYLES, TOP_NO_COLOURS, TOP_COLOURS };
void top_screen_line(const struct top_screen *s, unsigned y, enum top_paint paint, struct buf *to);

#endif
