/* SPDX-License-Identifier: Apache-2.0
 * A damaged database read page by page, without SQLite, which gives up where we go on: what is whole in it, row by row. Pages of the
 * write-ahead log that were committed stand for those of the file. */
#ifndef VINED_STORE_PAGES_H
#define VINED_STORE_PAGES_H

#include "vined/store_internal.h"

#define STORE_COLUMNS_MAX 23

struct store_value {
	enum { STORE_NULL, STORE_INTEGER, STORE_TEXT, STORE_BLOB, STORE_REAL } type;
	int64_t number;
	const uint8_t *at;
	size_t n;
};

struct store_record {
	int64_t rowid;
	size_t n;
	struct store_value at[STORE_COLUMNS_MAX];
};

struct store_pages;

/* Reads the header and the log. -errno when there is no file. */
int store_pages_open(struct store_pages **p, const char *path);
void store_pages_free(struct store_pages *p);
DEFINE_FREEP(struct store_pages, store_pages_free)

/* How many the file and the log have, and how many of those read so far were damaged. */
uint32_t store_pages_n(const struct store_pages *p);
uint64_t store_pages_n_damaged(const struct store_pages *p);
/* Something that leads to leaves is damaged: they have to be looked for everywhere. */
bool store_pages_is_torn(const struct store_pages *p);

/* From a table's root: calls on_leaf for each leaf that is whole, on_lost for each that is not, with the numbers its rows lie between.
 * Visited pages are remembered. */
struct store_walk {
	void (*on_leaf)(void *arg, uint32_t page);
	void (*on_lost)(void *arg, int64_t above, int64_t most);
	void *arg;
};
void store_pages_walk(struct store_pages *p, uint32_t root, const struct store_walk *w);

/* The free list is visited, so that what was deleted does not come back. */
void store_pages_visit_free(struct store_pages *p);
bool store_pages_is_visited(const struct store_pages *p, uint32_t page);
/* It is a table's leaf, and whole. */
bool store_pages_is_leaf(struct store_pages *p, uint32_t page);

/* Calls on_row for each row of a leaf that can be decoded; the number of those that cannot. Values are valid during the call. */
uint32_t store_pages_rows(struct store_pages *p, uint32_t page, void (*on_row)(void *arg, const struct store_record *r),
			  void *arg);

#endif
