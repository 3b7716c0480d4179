/* SPDX-License-Identifier: Apache-2.0
 * The terminal of `vine top`: raw, on the alternate screen, without a cursor; and as it was again whatever ends the program but SIGKILL. The
 * one part that speaks to it. */
#ifndef TOOLS_TOP_TERM_H
#define TOOLS_TOP_TERM_H

#include "tools/top_screen.h"

struct top_term;

/* Whether standard input and output are a terminal that can be drawn on. */
bool top_term_is_there(void);
/* What the locale says of characters. */
bool top_term_is_ascii(void);
/* Of the terminal, else of COLUMNS and LINES, else 100 x 40. */
void top_term_size(unsigned *w, unsigned *h);

/* Signals that end or stop are blocked from here on; start threads after this. 0 or -errno. */
int top_term_new(struct top_term **out);
/* As it was. */
void top_term_free(struct top_term *t);
DEFINE_FREEP(struct top_term, top_term_free)

/* Draws what has changed; a terminal that does not read gets the newest screen when it does. */
void top_term_draw(struct top_term *t, const struct top_screen *s);

enum top_happened {
	TOP_TYPED = 1,   /* top_term_keys() has some */
	TOP_RESIZED = 2, /* or it is to be drawn anew */
	TOP_ANSWERED = 4,
	TOP_ENDED = 8, /* by a signal, or the terminal is gone; top_term_signal() */
};
/* Waits for something to happen, at `fd`, too. */
unsigned top_term_wait(struct top_term *t, int fd, int msec);
/* Bytes that were typed; the caller consumes them. */
struct buf *top_term_keys(struct top_term *t);
/* That ended it; 0: none. */
int top_term_signal(const struct top_term *t);

#endif
