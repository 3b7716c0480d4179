/* SPDX-License-Identifier: Apache-2.0
 * The newest beginnings and ends of attempts, for who watches. The database has them by task alone: to find what is new there, all of
 * it would have to be read. So the last some thousand are at hand here; a beginning or an end costs one entry, whoever watches. */
#ifndef VINED_DRIVER_FEED_H
#define VINED_DRIVER_FEED_H

#include "vined/store_past.h"

struct driver;

#define FEED_ROOM 16384u /* 0.7 MB, once so many have happened */

struct feed_entry {
	int64_t at_usec;
	uint64_t number, task, node; /* number: an attempt, or a result's place */
	uint32_t n, status;
	uint8_t kind, how, exceeded;
};

/* Since vined was started; for metrics. */
enum feed_end {
	FEED_GOOD,
	FEED_STATUS,
	FEED_SIGNAL,
	FEED_NOT_STARTED,
	FEED_LOST,
	FEED_CANCELLED,
	FEED_NO_OUTPUT,
	FEED_ENDS
};
enum feed_event {
	FEED_NODE_JOINED,
	FEED_NODE_LOST,
	FEED_TASK_HELD,
	FEED_TASK_RETRIED,
	FEED_FETCH_FAILED,
	FEED_TRANSFER_BEGUN,
	FEED_TRANSFER_ENDED,
	FEED_OTHER,
	FEED_EVENTS
};
extern const char *const feed_end_words[FEED_ENDS], *const feed_event_words[FEED_EVENTS];
struct driver_totals {
	uint64_t n_submitted; /* since the cluster was made */
	uint64_t n_started, n_decided;
	uint64_t n_ended[FEED_ENDS], n_events[FEED_EVENTS];
	uint64_t local_size, moved_size; /* of inputs of those that ended */
};

/* Numbers of both kinds rise from one entry to the next of it. */
struct feed {
	struct feed_entry *at;     /* a ring */
	uint64_t n;                /* entries ever */
	struct store_moment lost;  /* what is not behind it cannot be told */
	struct store_moment heard; /* the last entries */
	struct driver_totals totals;
};

void driver_get_totals(const struct driver *d, struct driver_totals *t);

/* Sets the two numbers that the database cannot tell at once. */
void driver_feed_now(const struct driver *d, struct store_moment *m);
/* The moment before the last n entries; false: there are not so many. */
bool driver_feed_back(const struct driver *d, uint64_t n, struct store_moment *m);
/* Tells up to `most` of what came after a moment, the oldest first. -ESTALE: it is not at hand any more, as always after vined has been
 * started again: see store_past_range(). */
int driver_feed_after(const struct driver *d, const struct store_moment *m, uint32_t most, store_on_past *on_row,
		      void *arg);

#endif
