/* SPDX-License-Identifier: Apache-2.0
 * Threads that may wait, and jobs for them in order of who waits for these. Jobs are embedded in what they are about. Private to fetch/. */
#ifndef FETCH_POOL_H
#define FETCH_POOL_H

#include "common/list.h"
#include "common/loop.h"

enum pool_rank { POOL_NOW /* a reader waits */, POOL_SOON /* a caller does */, POOL_BULK, POOL_RANKS };

/* Jobs that may all be stuck at once for one reason: no more than `most` of them are run together. */
struct pool_lane {
	unsigned most, n_running;
	unsigned wide_most, n_wide; /* beyond `most`, in threads that are there for this alone: see pool_widen() */
	bool is_local;              /* its jobs wait for nothing but our own disk */
	struct list waiting[POOL_RANKS];
	struct list link;
};

struct pool_job {
	struct list link;
	struct pool_lane *lane;
	enum pool_rank rank;
	uint64_t began_usec; /* 0: not yet */
	bool is_dropped; /* the pool is being stopped: run() is called all the same, on the loop, and has to end at once */
	void (*run)(struct pool_job *j);     /* a thread of the pool */
	void (*on_done)(struct pool_job *j); /* loop; NULL: run() is the end of it, and may free it */
};

struct pool;

/* `n_quick` threads take nothing but POOL_NOW without a lane, and are not niced. NULL with errno. */
struct pool *pool_new(struct loop *l, unsigned n_threads, unsigned n_quick);
/* Loop, outside its callbacks: no job begins any more, those that have not begun are dropped, all on_done are called. 0, or -ETIMEDOUT if a thread is not back after `msec`. */
int pool_stop(struct pool *p, int msec);
void pool_free(struct pool *p); /* after a pool_stop() that returned 0 */

void pool_lane_init(struct pool_lane *lane, unsigned most, bool is_local);
/* Loop. Up to `most` jobs more of this lane, in threads that all wide lanes share and nobody else needs: stuck, they are missed by those lanes alone, which go on
 * with what they had. */
void pool_widen(struct pool *p, struct pool_lane *lane, unsigned most);
/* Any thread: so many of them may run together from now on; those that run go on. */
void pool_lane_limit(struct pool *p, struct pool_lane *lane, unsigned most);
/* Any thread; lane NULL: none. */
void pool_put(struct pool *p, struct pool_job *j, enum pool_rank rank, struct pool_lane *lane);
/* Somebody waits for it now: a job that has not begun goes to the end of that rank. */
void pool_raise(struct pool *p, struct pool_job *j, enum pool_rank rank);
/* Since when it has been running; 0: it has not begun. */
uint64_t pool_began_usec(struct pool *p, const struct pool_job *j);
uint64_t pool_now_usec(void);

#endif
