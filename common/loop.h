/* SPDX-License-Identifier: Apache-2.0
 * The event loop of one thread: epoll, timers, signals, child processes, posts from other threads.
 *
 * Watchers are embedded in what they watch for and never allocated. Their callbacks run on the loop's
 * thread; a callback may stop or free any watcher, its own included, and a stopped watcher hears nothing more, not even
 * an event of the same turn. Only loop_post() may be called from another thread. A turn is: descriptors, signals and
 * children, then timers, then posts, then before_sleep. Every descriptor of the loop is close-on-exec. */
#ifndef COMMON_LOOP_H
#define COMMON_LOOP_H

#include "common/base.h"
#include "common/list.h"

#include <sys/resource.h>
#include <sys/types.h>

struct loop;

/* NULL with errno if the kernel refuses. Freeing a loop with active watchers is a bug; posts that it has not come to
 * are not called. */
struct loop *loop_new(void);
void loop_free(struct loop *l);
DEFINE_FREEP(struct loop, loop_free)

/* Runs until loop_stop(); returns its status, or -errno. loop_turn() makes one turn, waiting at most max_msec (-1: as
 * long as it takes), and returns 0 or -errno. */
int loop_run(struct loop *l);
int loop_turn(struct loop *l, int max_msec);
void loop_stop(struct loop *l, int status);

/* Monotonic microseconds as of this turn's start. A test may put a clock of its own in place (NULL: the
 * real one); timers then expire by it. */
uint64_t loop_now_usec(const struct loop *l);
void loop_set_clock(struct loop *l, uint64_t (*now_usec)(void *arg), void *arg);

/* ---- descriptors */
struct watch {
	struct loop *loop; /* NULL when stopped */
	int fd;
	uint32_t events;
	void (*on_ready)(struct watch *w, uint32_t events); /* EPOLLIN ... */
};

int watch_start(struct watch *w, struct loop *l, int fd, uint32_t events, void (*on_ready)(struct watch *, uint32_t));
/* With 0 it hears nothing, hang-ups included, until it is changed again. */
void watch_change(struct watch *w, uint32_t events);
/* Safe on a zeroed or stopped one. Call it before closing fd. */
void watch_stop(struct watch *w);

/* ---- timers: heap, one shot; starting a running timer moves it. 0 us means the next turn, which then does not sleep */
struct timer {
	struct loop *loop; /* NULL when stopped */
	uint64_t at_usec;
	size_t place;
	uint64_t order; /* of starting: equal times expire in it */
	void (*on_expire)(struct timer *t);
};

void timer_start(struct timer *t, struct loop *l, uint64_t in_usec, void (*on_expire)(struct timer *));
void timer_stop(struct timer *t);

/* ---- child processes, by pidfd, where there is none by SIGCHLD; the child is reaped. `status` is wait's,
 * -1 if someone else had reaped it. child_start: 0 or -errno; child_stop: from then on reaping it is the caller's */
struct child {
	struct watch watch;
	struct list link;
	struct loop *loop; /* NULL when stopped */
	pid_t pid;
	void (*on_exit)(struct child *c, int status, const struct rusage *usage);
};

int child_start(struct child *c, struct loop *l, pid_t pid,
		void (*on_exit)(struct child *, int status, const struct rusage *));
void child_stop(struct child *c);

/* ---- signals, blocked in the whole process by this call (make it before other threads start; a
 * child inherits the mask and wants it reset before exec). 0 or -errno; SIGCHLD is refused, see child_start */
int loop_on_signal(struct loop *l, int signo, void (*on_signal)(int signo, void *arg), void *arg);

/* ---- posts: `p` belongs to the loop until on_post has been called; posts of one thread arrive in order */
struct post {
	struct post *next;
	void (*on_post)(struct post *p);
};

void loop_post(struct loop *l, struct post *p);

/* ---- called at the end of every turn, the last one too, and before the first: where batches are sent. A hook may post or start
 * timers: the loop then does not sleep over it */
struct before_sleep {
	struct list link;
	void (*on_sleep)(struct before_sleep *b);
};

void before_sleep_start(struct before_sleep *b, struct loop *l, void (*on_sleep)(struct before_sleep *));
void before_sleep_stop(struct before_sleep *b);

#endif
