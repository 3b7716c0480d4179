/* SPDX-License-Identifier: Apache-2.0
 * A directory that is read while it is sealed. Private to draft.c (its life, and what becomes of it), span.c (reads) and near.c (what is read next). The loop owns all of it. */
#ifndef FETCH_DRAFT_H
#define FETCH_DRAFT_H

#include "vinefs/fetch/internal.h"

/* Between readers and the sealing; threads of both look at it. */
struct gate {
	_Atomic unsigned n_reading;   /* spans under way */
	_Atomic uint64_t quiet_usec;  /* when the last of them was over */
	_Atomic uint64_t passed_usec; /* a thread of the sealing, while there are readers */
	_Atomic uint64_t began_usec;  /* of giving way at all */
};

#define DRAFT_RUNS 8

/* A file that is read in order. */
struct draft_run {
	uint32_t node;
	uint64_t end, size; /* where it got to; how much of it without a gap */
};

#define NEAR_DIRECTORIES 16

/* Where a file was read: those beside it that are named like it are read next. */
struct near_place {
	uint32_t directory, file; /* the file that was read */
	uint32_t done;            /* of the directory's files, from it on and round */
};

struct near {
	struct near_place places[NEAR_DIRECTORIES]; /* the newest last */
	unsigned n;
	struct map seen;    /* the places that were, by directory and ending */
	unsigned n_reading; /* spans that nobody waits for */
	uint64_t reading_size;
};

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
	struct map given;    /* struct given of each span that was read */
	struct map told;     /* node + 1: its change was logged */
	struct map changed;  /* node + 1: not what it was, once it is sealed */
	struct list waiting; /* reads, oldest first */
	struct timer timer;  /* their deadline */
	struct gate *gate;
	struct near near;
	struct draft_run runs[DRAFT_RUNS];
	unsigned last_run;
	_Atomic int root;   /* the directory, once it was opened; -1 */
	unsigned n_reading; /* spans */
	struct list watches;
	struct post announce;
	unsigned n_awaited; /* who were told its number and have not come yet */
	uint64_t told_usec; /* the last of them */
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
/* The span is read, unless it was or is; for nobody yet. Its bytes to come; 0: none. */
size_t span_ahead(struct draft *d, uint32_t node, uint64_t number);
uint64_t span_count(uint64_t file_size);
/* What waits for spans ends in EIO. */
void span_fail_all(struct draft *d);

/* ---- near.c */

/* A file was asked for. */
void near_touch(struct draft *d, uint32_t node);
/* Reads what is due of what is near. */
void near_go_on(struct draft *d);

/* ---- draft.c */

/* Of a node, yours to free. */
char *draft_path(const struct draft *d, uint32_t node);
/* Logs `text` of a file, if nothing was logged of it yet. */
void draft_complain(struct draft *d, uint32_t node, const char *text);
bool draft_is_changed(const struct draft *d, uint32_t node);

#endif
