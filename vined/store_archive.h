/* SPDX-License-Identifier: Apache-2.0
 * What the two files of the archive share: store_archive.c decides what goes, store_archive_move.c moves and deletes it. */
#ifndef VINED_STORE_ARCHIVE_H
#define VINED_STORE_ARCHIVE_H

#include "vined/store_writer.h"

#define STORE_STEP_NUMBERS 2000u /* tasks moved by one step */
#define STORE_STEP_ROWS 20000u   /* rows looked at by one step */

struct store_archive {
	struct store *store;
	struct store_writer *w;
	sqlite3 *db, *to; /* to: archive.sqlite, while runs move there */
	char *path, *cluster;
	bool is_exclusive, is_keeping, is_sweeping;
	uint64_t keep_usec, next_usec; /* monotonic */
	size_t phase;
	uint64_t at;               /* how far the phase is */
	uint64_t end;              /* numbers from here on were submitted after the sweep began */
	struct store_set bad;      /* runs that stay */
	struct store_set held;     /* under the store's lock: runs that somebody is attached to */
	struct buf makes;          /* struct store_makes: what runs that could go make for others */
	struct store_set commands; /* that moved tasks used */
	struct store_set items;    /* that loading did not tell and nobody has named so far */
	uint64_t n_moved;
	uint64_t found[3]; /* the columns of the last row */
};

struct store_makes {
	uint64_t item, run;
};

/* A statement without rows; ?1 and ?2 are x and y. */
int store_archive_run(struct store_archive *a, const char *sql, uint64_t x, uint64_t y);
/* Calls on_row with a->found filled, for each row. The number of rows, or -errno. */
int store_archive_each(struct store_archive *a, const char *sql, uint64_t x, uint64_t y,
		       void (*on_row)(struct store_archive *a));

/* Steps: 1 there is more to do, 0 done, or -errno. */
int store_archive_move(struct store_archive *a);
int store_archive_commands(struct store_archive *a);
int store_archive_orphans(struct store_archive *a);
int store_archive_items(struct store_archive *a);

#endif
