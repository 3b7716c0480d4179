/* SPDX-License-Identifier: Apache-2.0
 * What the one who looks has chosen, and what keys make of it. Pure: no terminal, no connection. */
#ifndef TOOLS_TOP_KEYS_H
#define TOOLS_TOP_KEYS_H

#include "tools/top_model.h"

enum top_page {
	TOP_OVERVIEW,
	TOP_RUNS_PAGE,
	TOP_NODES_PAGE,
	TOP_TASKS_PAGE,
	TOP_DATA_PAGE,
	TOP_TRANSFERS_PAGE,
	TOP_PAGES
};

/* What is looked at: enough to come back to it. */
struct top_place {
	enum top_page page;
	char run[TOP_TEXT], node[TOP_TEXT]; /* of the tasks: only those; "": all */
	char task[24], item[TOP_TEXT];      /* looked at closely */
	char chosen[TOP_TEXT];              /* the row's key, so that it stays chosen when rows move */
	size_t row;                         /* where that was last */
	size_t line;                        /* the first that is shown of what is looked at closely */
	char find[64];
};

#define TOP_BACK 8u
struct top_state {
	struct top_place at, back[TOP_BACK];
	size_t n_back;
	unsigned sort[TOP_PAGES];
	unsigned interval; /* index; top_interval_msec() */
	bool is_typing, is_paused, has_help, is_over;
};

void top_state_init(struct top_state *s, uint64_t interval_msec);
unsigned top_interval_msec(const struct top_state *s);
bool top_is_close(const struct top_state *s);
/* The same answers do for both. */
bool top_wants_same(const struct top_state *a, const struct top_state *b);

/* Of a page: how it is sorted now, as vined and people call it; NULL: it is not sorted. */
const char *top_sort_name(const struct top_state *s);

/* Rows of the page that is looked at, as indexes of the model's, filtered and sorted. Returns how many; the overview's are runs. */
size_t top_rows(const struct top_state *s, const struct top_model *m, size_t rows[TOP_ROWS]);
/* What names a row, for top_place.chosen. */
const char *top_row_key(const struct top_state *s, const struct top_model *m, size_t row, char to[TOP_TEXT]);
/* The chosen row is found again after the model has changed. */
void top_state_follow(struct top_state *s, const struct top_model *m);

enum top_key {
	TOP_KEY_UP = 0x110000, /* beyond all characters */
	TOP_KEY_DOWN,
	TOP_KEY_LEFT,
	TOP_KEY_RIGHT,
	TOP_KEY_PAGE_UP,
	TOP_KEY_PAGE_DOWN,
	TOP_KEY_HOME,
	TOP_KEY_END,
	TOP_KEY_BACK_TAB,
	TOP_KEY_ESCAPE,
	TOP_KEY_OTHER, /* one that means nothing */
};
/* The first key of what was typed; returns its bytes, 0: more may follow (is_all: none does). */
size_t top_key_next(const char *bytes, size_t n, bool is_all, uint32_t *key);

/* `height`: rows of a list that are seen at once. */
void top_press(struct top_state *s, const struct top_model *m, uint32_t key, size_t height);

#endif
