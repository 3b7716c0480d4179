/* SPDX-License-Identifier: Apache-2.0
 * A directory that is read while it is sealed. Private to draft.c (its life, and what becomes of it), span.c and haul.c (reads), fellow*.c (by several nodes) and near.c (what is read next). The loop owns all of it. */
#ifndef FETCH_DRAFT_H
#define FETCH_DRAFT_H

#include "common/conn.h"
#include "vinefs/fetch/internal.h"

/* Between readers and the sealing; threads of both look at it. */
struct draft_gate {
	_Atomic unsigned n_reading;       /* spans under way */
	_Atomic uint64_t busy_until_usec; /* a while after the last of them, for another may come */
	_Atomic uint64_t passed_usec;     /* a thread of the sealing, while there are readers */
	_Atomic uint64_t began_usec;      /* of giving way at all */
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
	struct digest face;      /* of names, attributes, sizes and times: also what other nodes see of it */
	struct fellows *fellows; /* who reads it, too; NULL: nobody is known to */
	bool is_left;            /* another node seals it */
	bool is_told;            /* its names came from there: inodes have other numbers there, maybe */
	uint8_t *names;          /* as names_pack() made them, once somebody has asked; NULL */
	size_t n_names, names_size;
	unsigned n_users; /* the sealing, handles, spans under way */
	struct pool_lane lane;
	struct map spans; /* under way, or warm */
	struct list warm; /* the newest last */
	uint64_t warm_size;
	struct map given;    /* struct given of each span that was read */
	struct map told;     /* node + 1: its change was logged */
	struct map changed;  /* node + 1: not what it was, once it is sealed */
	struct list waiting; /* reads, oldest first */
	struct timer timer;  /* their deadline */
	struct draft_gate *gate;
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
/* These spans are read, unless they were or are; for nobody yet. */
void span_ahead(struct draft *d, uint32_t node, uint64_t first, uint64_t n);
uint64_t span_count(uint64_t file_size);
/* How these bytes were packed, when they came or by span_keep_packed(); NULL: they are not here so. Borrowed until the loop's next turn. */
const uint8_t *span_packed(const struct draft *d, uint32_t node, uint64_t offset, uint32_t n, size_t *n_packed);
/* Takes over `packed`. */
void span_keep_packed(struct draft *d, uint32_t node, uint64_t offset, uint32_t n, uint8_t *packed, size_t n_packed);
/* What waits for spans ends in EIO. */
void span_fail_all(struct draft *d);

/* ---- fellow.c: a part is asked of another node that reads the same */

#define FELLOW_TRIES 3u /* of different ones, before the directory is read */

/* Zeroed before, but for what is asked for; not moved until on_done. */
struct fellow_ask {
	struct fetch *fetch;
	const char *path;          /* borrowed until on_done */
	const struct draft *draft; /* NULL: its names are asked for */
	uint32_t node, n;
	uint64_t offset;
	/* 0 and the answer, a struct wire_draft_part (n bytes, or a frame of what may be as many) or wire_names, borrowed for the call. -ESTALE: the file has changed, -EFBIG: there are too many names; else: ask again. */
	void (*on_done)(struct fellow_ask *a, int error, const void *message);
	/* private */
	struct list link;
	struct fellow *of; /* NULL: of none */
	struct call call;
	struct timer patience;
	uint64_t since_usec, late_usec;
	bool is_half_late;
	unsigned n_tries;
};

/* False: nobody is to be asked, or no more. on_done comes later, never within the call. */
bool fellow_ask(struct fellow_ask *a);
/* Parts begin at multiples of this; 0: there are no fellows. */
uint64_t fellow_block(const struct draft *d);
struct fellows *fellows_of(const struct fetch *f, const char *path); /* NULL */

/* ---- fellow_names.c */

/* Any thread. *size of them, yours to free: as n bytes, packed if these are fewer. */
int names_pack(const struct draft *d, uint8_t **out, size_t *n, size_t *size);

/* ---- near.c */

/* A file was asked for. */
void near_touch(struct draft *d, uint32_t node);
/* So much is read that nobody waits for that who comes waits for these. */
bool near_is_full(const struct draft *d);
/* Reads what is due of what is near. */
void near_go_on(struct draft *d);

/* ---- draft.c */

/* Of a node, yours to free. */
char *draft_path(const struct draft *d, uint32_t node);
/* What a file was, and what it is; yours to free. */
char *draft_say_changed(const struct draft *d, uint32_t node, uint64_t size, int64_t mtime_sec, uint32_t mtime_nsec);
char *draft_say_gone(const struct draft *d, uint32_t node);
/* A read of a file that is not in the sealed tree what it was. */
void draft_refuse(struct draft *d, uint32_t node);
/* Logs `text` of a file, if nothing was logged of it yet. */
void draft_complain(struct draft *d, uint32_t node, const char *text);
bool draft_is_changed(const struct draft *d, uint32_t node);

#endif
