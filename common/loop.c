/* SPDX-License-Identifier: Apache-2.0 */
#include "common/loop_internal.h"

#include <limits.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* With a test's clock nobody knows when it moves: look this often. */
#define LOOP_FOREIGN_CLOCK_MSEC 1

static uint64_t monotonic_usec(void *arg _unused_)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* ---- the loop itself */

/* The descriptor is edge-triggered and never read: each write is a new edge, and its counter outlasts us. */
static void on_wake(struct watch *w, uint32_t events)
{
	assert(w == &w->loop->wake);
	assert(events == EPOLLIN);
	(void)events;
}

struct loop *loop_new(void)
{
	struct loop *l = NEW(struct loop);
	list_init(&l->sleepers);
	l->clock = monotonic_usec;
	l->now_usec = l->clock(NULL);
	l->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	int r = l->epoll < 0 || l->wake.fd < 0 ? -errno : loop_child_init(l);
	if (!r)
		r = loop_watch_own(&l->wake, l, l->wake.fd, EPOLLIN | EPOLLET, on_wake);
	if (r < 0) {
		loop_free(l);
		errno = -r;
		return NULL;
	}
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	assert(!l->is_turning);
	assert(l->n_watches == 0 && l->n_timers == 0);
	assert(list_is_empty(&l->sleepers));
	loop_signal_fini(l);
	int fd = l->wake.fd;
	watch_stop(&l->wake);
	close_fd(fd);
	close_fd(l->epoll);
	free(l->heap);
	free(l);
}

/* Within a turn time stands still: what is started together expires together, and a turn reads the clock once. */
uint64_t loop_now_usec(const struct loop *l)
{
	return l->is_turning ? l->now_usec : l->clock(l->clock_arg);
}

void loop_set_clock(struct loop *l, uint64_t (*now_usec)(void *arg), void *arg)
{
	loop_check_thread(l);
	l->clock = now_usec ? now_usec : monotonic_usec;
	l->clock_arg = arg;
	l->now_usec = l->clock(arg);
}

void loop_stop(struct loop *l, int status)
{
	loop_check_thread(l);
	l->is_stopped = true;
	l->status = status;
}

/* ---- descriptors */

/* Hang-ups are told whether one asks or not, and would spin a loop whose watch asks for nothing; by edge they are told
 * once, and dispatch() drops that one. */
static struct epoll_event event_of(struct watch *w)
{
	return (struct epoll_event){.events = w->events ? w->events : EPOLLET, .data.ptr = w};
}

int loop_watch_own(struct watch *w, struct loop *l, int fd, uint32_t events, void (*on_ready)(struct watch *, uint32_t))
{
	assert(!w->loop);
	assert(fd >= 0 && on_ready);
	loop_check_thread(l);
	*w = (struct watch){.fd = fd, .events = events, .on_ready = on_ready};
	struct epoll_event e = event_of(w);
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) < 0)
		return -errno;
	w->loop = l;
	return 0;
}

int watch_start(struct watch *w, struct loop *l, int fd, uint32_t events, void (*on_ready)(struct watch *, uint32_t))
{
	int r = loop_watch_own(w, l, fd, events, on_ready);
	l->n_watches += r == 0;
	return r;
}

void watch_change(struct watch *w, uint32_t events)
{
	assert(w->loop);
	loop_check_thread(w->loop);
	if (w->events == events)
		return;
	w->events = events;
	struct epoll_event e = event_of(w);
	int r = epoll_ctl(w->loop->epoll, EPOLL_CTL_MOD, w->fd, &e);
	assert(r == 0);
	(void)r;
}

void watch_stop(struct watch *w)
{
	struct loop *l = w->loop;
	if (!l)
		return;
	loop_check_thread(l);
	/* Fails only if the descriptor was closed before. */
	int r = epoll_ctl(l->epoll, EPOLL_CTL_DEL, w->fd, NULL);
	assert(r == 0);
	(void)r;
	/* The events of this turn were fetched before: the watch may be freed as soon as we return. */
	for (int i = l->batch_at; i < l->batch_n; i++)
		if (l->batch[i].data.ptr == w)
			l->batch[i].data.ptr = NULL;
	if (w != &l->wake && w != &l->signal_watch) {
		assert(l->n_watches > 0);
		l->n_watches--;
	}
	w->loop = NULL;
}

static void dispatch(struct loop *l, int n)
{
	assert(n <= LOOP_BATCH);
	l->batch_n = n;
	for (l->batch_at = 0; l->batch_at < l->batch_n;) {
		const struct epoll_event *e = &l->batch[l->batch_at++];
		struct watch *w = e->data.ptr;
		if (!w || !w->events)
			continue;
		assert(w->loop == l);
		/* What a callback of this turn no longer asks for is not told. */
		uint32_t events = e->events & (w->events | EPOLLERR | EPOLLHUP);
		if (events)
			w->on_ready(w, events);
	}
	l->batch_at = l->batch_n = 0;
}

/* ---- posts */

/* No address can be taken for another here (ABA): the loop takes all posts or none. */
void loop_post(struct loop *l, struct post *p)
{
	assert(p->on_post);
	struct post *head = atomic_load_explicit(&l->posts, memory_order_relaxed);
	do
		p->next = head;
	while (!atomic_compare_exchange_weak(&l->posts, &head, p));
	if (atomic_load(&l->is_asleep) && atomic_exchange(&l->is_asleep, false)) {
		uint64_t one = 1;
		ssize_t n = write(l->wake.fd, &one, sizeof one);
		assert(n == sizeof one);
		(void)n;
	}
}

/* Those that come meanwhile wait for the next turn, in which the loop does not sleep. */
static void run_posts(struct loop *l)
{
	if (!atomic_load_explicit(&l->posts, memory_order_relaxed))
		return;
	struct post *newest = atomic_exchange(&l->posts, NULL), *oldest = NULL;
	while (newest) {
		struct post *next = newest->next;
		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (oldest) {
		struct post *p = oldest;
		oldest = p->next;
		p->on_post(p);
	}
}

/* ---- before sleep */

void before_sleep_start(struct before_sleep *b, struct loop *l, void (*on_sleep)(struct before_sleep *))
{
	assert(on_sleep);
	assert(!b->link.next || list_is_empty(&b->link));
	loop_check_thread(l);
	list_init(&b->link);
	b->on_sleep = on_sleep;
	list_append(l->due_sleepers ? l->due_sleepers : &l->sleepers, &b->link);
}

void before_sleep_stop(struct before_sleep *b)
{
	if (b->link.next)
		list_remove(&b->link);
}

/* As in sweep(): each is back in its list before it is called. One that another one starts is due too: what a decision of this turn
 * sends must not wait for the next event. */
static void run_sleepers(struct loop *l)
{
	struct list todo;
	list_init(&todo);
	list_splice(&todo, &l->sleepers);
	l->due_sleepers = &todo;
	struct before_sleep *b;
	while ((b = list_first(&todo, struct before_sleep, link))) {
		list_remove(&b->link);
		list_append(&l->sleepers, &b->link);
		b->on_sleep(b);
	}
	l->due_sleepers = NULL;
}

/* ---- turning */

/* How long to sleep; a part of a millisecond counts as one, else the loop would spin through it. */
static int sleep_msec(struct loop *l, int most_msec)
{
	uint64_t at = loop_timer_next_usec(l);
	if (most_msec == 0 || at == UINT64_MAX)
		return most_msec;
	uint64_t now = l->clock(l->clock_arg);
	if (at <= now)
		return 0;
	uint64_t msec = (at - now - 1) / 1000u + 1;
	if (l->clock != monotonic_usec)
		msec = min(msec, (uint64_t)LOOP_FOREIGN_CLOCK_MSEC);
	return (int)min(msec, (uint64_t)(most_msec < 0 ? INT_MAX : most_msec));
}

/* See invariant 3: only who is going to sleep says so, a turn that does not sleep costs no poster a system call. */
static int wait_events(struct loop *l, int most_msec)
{
	int msec = sleep_msec(l, most_msec);
	if (msec) {
		/* A post from before this line is seen below, one from after it sees is_asleep. */
		atomic_store(&l->is_asleep, true);
		if (atomic_load(&l->posts))
			msec = 0;
	}
	int n = epoll_wait(l->epoll, l->batch, LOOP_BATCH, msec);
	int error = errno;
	atomic_store_explicit(&l->is_asleep, false, memory_order_relaxed);
	if (n >= 0)
		return n;
	return error == EINTR ? 0 : -error;
}

/* Descriptors come first since they are what others wait for; timers after them, so that an answer which came in time counts
 * before its deadline does; posts after both, since they often were caused by them. */
static int turn(struct loop *l, int most_msec)
{
	int n = wait_events(l, most_msec);
	if (n < 0)
		return n;
	l->now_usec = l->clock(l->clock_arg);
	dispatch(l, n);
	loop_timer_expire(l);
	run_posts(l);
	run_sleepers(l);
	return 0;
}

/* What was queued between turns is sent before the first sleep, too. */
static void begin(struct loop *l)
{
	assert(!l->is_turning);
	l->thread = pthread_self();
	l->is_turning = true;
	l->now_usec = l->clock(l->clock_arg);
	run_sleepers(l);
}

int loop_turn(struct loop *l, int max_msec)
{
	begin(l);
	int r = turn(l, max_msec);
	l->is_turning = false;
	return r;
}

int loop_run(struct loop *l)
{
	begin(l);
	int r = 0;
	while (!r && !l->is_stopped)
		r = turn(l, -1);
	l->is_turning = false;
	/* Only now: a stop from before the run counts. */
	l->is_stopped = false;
	return r ? r : l->status;
}
