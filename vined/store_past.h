/* SPDX-License-Identifier: Apache-2.0
 * What happened, from the tables that keep it: events have rows of their own, and that tasks were submitted, began and ended stands
 * where they are. Each kind has numbers that only grow, so a moment is one number of each, and what came after it can be told. */
#ifndef VINED_STORE_PAST_H
#define VINED_STORE_PAST_H

#include "vined/store.h"

enum store_past_kind {
	STORE_PAST_EVENT,     /* by its id */
	STORE_PAST_SUBMITTED, /* by the task's number, an array's by its first */
	STORE_PAST_STARTED,   /* by the attempt; only a task's latest is told */
	STORE_PAST_ENDED,     /* by the result's place */
	STORE_PAST_KINDS,
};

struct store_moment {
	uint64_t at[STORE_PAST_KINDS];
};

struct store_past_row {
	enum store_past_kind kind;
	int64_t at_usec;
	uint64_t number, task, n; /* n: elements submitted, or attempts */
	const char *what, *text, *node, *item;
	uint8_t how, exceeded;
	uint32_t status;
};
typedef void store_on_past(void *arg, const struct store_past_row *row);

/* Of events and of what was submitted: the last numbers there are. 0 or -errno, as all here. */
int store_past_now(struct store *s, struct store_moment *m);
/* Of the same two kinds, up to `most` behind a number, in order. */
int store_past_after(struct store *s, enum store_past_kind kind, uint64_t number, uint32_t most, store_on_past *on_row,
		     void *arg);

/* Of all that happened between two moments, not before a time. */
struct store_span {
	struct store_moment low, high; /* behind low, up to high */
	int64_t since_usec;
};
/* Of the events with these ids, or of the tasks with these numbers: in [first, end). Reads all rows there. */
int store_past_range(struct store *s, enum store_past_kind kind, uint64_t first, uint64_t end,
		     const struct store_span *span, store_on_past *on_row, void *arg);
/* The lowest id of an event, or number of a task, that there may be; 0: none. */
int store_past_first(struct store *s, enum store_past_kind kind, uint64_t *first);

/* Whose numbers [first, end) are. -ENOENT: nobody's any more. */
struct store_owner {
	uint64_t first, end, run;
	char name[256];
};
int store_find_owner(struct store *s, uint64_t task, struct store_owner *o);

#endif
