/* SPDX-License-Identifier: Apache-2.0
 * A directory that is read while it is sealed. Private to draft.c (its life, and what becomes of it) and span.c (reads). The loop owns all of it. */
#ifndef FETCH_DRAFT_H
#define FETCH_DRAFT_H

#include "vinefs/fetch/internal.h"

struct draft {
	struct list link;
	struct fetch *fetch;
	uint64_t number;
	char *path;
	struct tree *index;
	struct signature *signatures;
	struct digest face; /* of both */
	unsigned n_users;   /* the sealing, handles, spans under way */
	struct pool_lane lane;
	struct map spans; /* under way, or warm */
	struct list warm; /* the newest last */
	uint64_t warm_size;
	struct map given;          /* struct given of each span that was read */
	struct map told;           /* node + 1: its change was logged */
	struct map changed;        /* node + 1: not what it was, once it is sealed */
	struct list waiting;       /* reads, oldest first */
	struct timer timer;        /* their deadline */
	_Atomic unsigned n_wanted; /* spans that a reader waits for */
	struct list watches;
	struct post announce;
	bool is_used;       /* it has been opened */
	bool is_announcing; /* the post is with the loop */
	bool is_over;       /* whoever watches may be told */
	int error;
	char *trouble; /* the last of a read; NULL */
	char *reason;  /* why it was not sealed, or not as it was given; NULL */
	struct digest id;
	struct fetch_open open;
	struct fetch_tree *sealed; /* what reads come from, once it is open */
	struct seal_progress progress;
};

/* What was given to readers. */
struct given {
	uint64_t key;
	uint32_t n;
	struct digest at[];
};

/* ---- span.c */

/* True if the sealed tree has these bytes. */
bool span_is_in(const struct tree *t, const struct given *g);
/* Spans that are kept for neighbours, until no more than `size` bytes are. */
void span_cool(struct draft *d, uint64_t size);
/* What waits for spans ends in EIO. */
void span_fail_all(struct draft *d);

/* ---- draft.c */

/* Of a node, yours to free. */
char *draft_path(const struct draft *d, uint32_t node);
/* Logs `text` of a file, if nothing was logged of it yet. */
void draft_complain(struct draft *d, uint32_t node, const char *text);
bool draft_is_changed(const struct draft *d, uint32_t node);

#endif
