/* SPDX-License-Identifier: Apache-2.0
 * What the files of the loop share: loop.c (the turn), loop_timer.c (the heap), loop_child.c (children, signals).
 *
 * 1. A watch is in epoll exactly while its loop is set; batch[batch_at..batch_n) holds the events of this turn that
 *    are still to be told, NULL where the watch was stopped since.
 * 2. Every running timer t has heap[t->place] == t; no timer is before its parent.
 * 3. Who posts writes to wake only if is_asleep was set; the loop sets is_asleep before it looks at posts for the last
 *    time. Both in sequential order, so one of them sees the other. */
#ifndef COMMON_LOOP_INTERNAL_H
#define COMMON_LOOP_INTERNAL_H

#include "common/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>

#define LOOP_BATCH 256

struct loop_signal {
	void (*on_signal)(int signo, void *arg);
	void *arg;
};

struct loop {
	int epoll;
	int batch_at, batch_n;
	size_t n_watches; /* without our own */

	struct timer **heap;
	size_t n_timers, room;
	uint64_t order; /* of the next timer to be started */

	uint64_t now_usec;
	uint64_t (*clock)(void *arg);
	void *clock_arg;

	bool is_turning, is_stopped;
	int status;
	pthread_t thread; /* the one that is_turning */

	struct list sleepers;
	struct list *due_sleepers; /* while they are called: those whose turn is still to come */

	struct list children; /* those without a pidfd */
	struct timer sweep;   /* one of them may have ended before it was added */
	bool has_pidfd;

	struct watch signal_watch;
	sigset_t signal_set;
	struct loop_signal signals[_NSIG];

	/* What other threads touch. */
	_Atomic(struct post *) posts; /* newest first */
	atomic_bool is_asleep;
	struct watch wake;

	struct epoll_event batch[LOOP_BATCH];
};

/* Only loop_post() crosses threads. */
static inline void loop_check_thread(const struct loop *l)
{
	assert(!l->is_turning || pthread_equal(l->thread, pthread_self()));
}

/* UINT64_MAX if no timer runs. */
uint64_t loop_timer_next_usec(const struct loop *l);
/* Calls what is due by now_usec and was started before this call. */
void loop_timer_expire(struct loop *l);

/* Finds out whether there are pidfds, and arranges for SIGCHLD if not. 0 or -errno. */
int loop_child_init(struct loop *l);
/* As on a kernel before 5.3, for tests; before the first child_start(). 0 or -errno. */
int loop_child_forgo_pidfd(struct loop *l);

int loop_signal_add(struct loop *l, int signo, void (*on_signal)(int signo, void *arg), void *arg);
void loop_signal_fini(struct loop *l);

/* A watch of the loop's own: not counted in n_watches. */
int loop_watch_own(struct watch *w, struct loop *l, int fd, uint32_t events,
		   void (*on_ready)(struct watch *, uint32_t));

#endif
