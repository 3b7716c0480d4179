/* SPDX-License-Identifier: Apache-2.0
 * The write-ahead log: folded back into the database when there is time, before a commit has to wait for it to be many pages; and watched, for
 * a reader that stays keeps it from ever beginning anew. */
#include "vined/store_internal.h"

#include "common/log.h"

#define IDLE_PAGES 1000   /* folded back when nothing waits */
#define BUSY_PAGES 4000   /* and from here on also when something does */
#define LARGE_PAGES 65536 /* 256 MiB */

static int on_commit(void *arg, sqlite3 *db, const char *name, int n_pages)
{
	struct store *s = arg;
	(void)db, (void)name;
	s->wal_pages = n_pages;
	return SQLITE_OK;
}

void store_wal_watch(struct store *s)
{
	sqlite3_wal_hook(s->db, on_commit, s);
}

static void say_size(struct store *s, int n_folded)
{
	bool is_large = s->wal_pages >= LARGE_PAGES;
	if (is_large && !s->is_wal_large)
		log_warn("database: its write-ahead log has grown to %d MiB, of which %d can be folded back: a reader "
			 "holds an old "
			 "snapshot (end sqlite3 sessions that have a transaction open), or the disk is full",
			 s->wal_pages / 256, n_folded / 256);
	else if (!is_large && s->is_wal_large)
		log_info("database: its write-ahead log is small again");
	s->is_wal_large = is_large;
}

/* What cannot be folded back now is tried again after so many pages more. */
void store_wal_care(struct store *s, bool is_idle)
{
	int n_pages = 0, n_folded = 0;
	if (s->wal_pages < s->wal_tried + (is_idle ? IDLE_PAGES : BUSY_PAGES))
		return;
	int r = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &n_pages, &n_folded);
	s->wal_tried = r == SQLITE_OK && n_pages == n_folded ? 0 : s->wal_pages;
	say_size(s, max(n_folded, 0));
	/* All of it is in the database: the next commit begins at the front. */
	if (!s->wal_tried)
		s->wal_pages = 0;
}
