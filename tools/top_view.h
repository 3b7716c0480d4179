/* SPDX-License-Identifier: Apache-2.0
 * What `vine top` shows: of what is known and what is looked at a screen is made. Pure: the time is given. */
#ifndef TOOLS_TOP_VIEW_H
#define TOOLS_TOP_VIEW_H

#include "tools/top_keys.h"
#include "tools/top_screen.h"

struct top_now {
	uint64_t wall_usec;
	uint64_t silent_sec; /* since something was answered */
	bool is_still;       /* nobody presses keys */
};

/* The whole screen. */
void top_view(struct top_screen *s, const struct top_state *state, const struct top_model *m,
	      const struct top_now *now);
/* The page alone, without head and foot, from row y up to `end`; what a pipe gets. */
void top_view_page(struct top_screen *s, unsigned y, unsigned end, const struct top_state *state,
		   const struct top_model *m, const struct top_now *now);
/* How many rows of a list such a screen shows at once. */
size_t top_view_height(const struct top_state *state, unsigned h);

/* ---- top_list.c: the rows of a page under their titles, from y up to end; the chosen one is seen. Returns the row behind the last. */
struct top_list {
	unsigned y, end;
	enum top_page page;
	const size_t *rows;
	size_t n, chosen; /* chosen: SIZE_MAX: none */
	uint64_t wall_usec;
};
unsigned top_view_list(struct top_screen *s, const struct top_model *m, const struct top_list *l);

/* ---- top_text.c: numbers as people read them */
const char *top_number(char to[32], uint64_t n);   /* "1,000,000" */
const char *top_span(char to[32], uint64_t sec);   /* "3:07", "2 h 05", "3 d 4 h" */
const char *top_rate(char to[32], double per_sec); /* "12/s", "0.3/s" */
const char *top_meter(char to[64], uint64_t n, uint64_t all, unsigned cells, bool is_ascii); /* "████░░" */

#endif
