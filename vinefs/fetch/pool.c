/* SPDX-License-Identifier: Apache-2.0
 * Invariants, all under the lock:
 * 1. Jobs in lanes that are not local occupy at most n_threads - n_quick - N_FREE threads, so that all others find one that does not wait for a source.
 * 2. A lane is in `lanes` as long as a job waits in it.
 * 3. `done` is not empty exactly while the post is with the loop, or the loop is emptying it. */
#include "vinefs/fetch/pool.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NICE 5   /* behind all that answers somebody, but not starved by a full node's tasks */
#define N_FREE 5 /* threads that no source may occupy */
#define N_MOST 64
#define N_WIDE 28 /* threads for wide lanes, once there is one */
#define TURN_MSEC 2

struct pool {
	struct loop *loop;
	pthread_mutex_t lock;
	pthread_cond_t quick, work, left;
	struct list ready[POOL_RANKS]; /* jobs without a lane */
	struct list lanes, done;
	struct post post;
	bool is_posted, is_stopping;
	unsigned n_wanted, n_threads, n_quick, n_started, n_idle_quick, n_now, n_laned, n_left;
	unsigned n_wide, n_for_wide; /* wide jobs under way; threads for them */
	pthread_t threads[N_MOST + N_WIDE];
};

uint64_t pool_now_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* ---- choosing */

/* Has it room in the threads that all sources share? */
static bool is_within_share(const struct pool *p, const struct pool_lane *lane)
{
	bool is_full = p->n_laned + p->n_quick + N_FREE >= p->n_wanted;
	return lane->n_running - lane->n_wide < lane->most && (lane->is_local || !is_full);
}

static bool has_room(const struct pool *p, const struct pool_lane *lane)
{
	return is_within_share(p, lane) || (lane->n_wide < lane->wide_most && p->n_wide < p->n_for_wide);
}

static void take(struct pool *p, struct pool_job *j)
{
	struct pool_lane *lane = j->lane;
	list_remove(&j->link);
	j->began_usec = pool_now_usec();
	if (!lane) {
		p->n_now -= j->rank == POOL_NOW;
		return;
	}
	bool is_wide = !is_within_share(p, lane);
	lane->n_running++;
	lane->n_wide += is_wide;
	p->n_wide += is_wide;
	p->n_laned += !is_wide && !lane->is_local;
	assert(lane->n_wide <= lane->wide_most && p->n_wide <= p->n_for_wide);
	/* To the end: sources take turns. */
	list_remove(&lane->link);
	for (int i = 0; i < POOL_RANKS; i++) {
		if (!list_is_empty(&lane->waiting[i])) {
			list_append(&p->lanes, &lane->link);
			break;
		}
	}
}

static struct pool_job *choose_laned(struct pool *p, int rank)
{
	list_foreach (&p->lanes, struct pool_lane, link, lane) {
		if (!list_is_empty(&lane->waiting[rank]) && has_room(p, lane))
			return list_first(&lane->waiting[rank], struct pool_job, link);
	}
	return NULL;
}

static struct pool_job *choose(struct pool *p, bool is_quick)
{
	for (int rank = 0; rank < (is_quick ? POOL_NOW + 1 : POOL_RANKS); rank++) {
		struct pool_job *j = list_first(&p->ready[rank], struct pool_job, link);
		if (!j && !is_quick)
			j = choose_laned(p, rank);
		if (j) {
			take(p, j);
			return j;
		}
	}
	return NULL;
}

/* ---- threads */

static void on_post(struct post *post)
{
	struct pool *p = container_of(post, struct pool, post);
	struct list done;
	list_init(&done);
	pthread_mutex_lock(&p->lock);
	assert(p->is_posted);
	p->is_posted = false;
	list_splice(&done, &p->done);
	pthread_mutex_unlock(&p->lock);
	while (!list_is_empty(&done)) {
		struct pool_job *j = list_first(&done, struct pool_job, link);
		list_remove(&j->link);
		j->on_done(j);
	}
}

/* Locked; j may be gone afterwards unless it has an on_done. */
static void finish(struct pool *p, struct pool_job *j, struct pool_lane *lane, bool has_end)
{
	if (lane) {
		bool is_wide = lane->n_wide;
		assert(lane->n_running && (is_wide || p->n_laned >= !lane->is_local));
		lane->n_running--;
		lane->n_wide -= is_wide;
		p->n_wide -= is_wide;
		p->n_laned -= !is_wide && !lane->is_local;
	}
	if (!has_end)
		return;
	list_append(&p->done, &j->link);
	if (!p->is_posted) {
		p->is_posted = true;
		loop_post(p->loop, &p->post);
	}
}

static void work(struct pool *p, bool is_quick)
{
	bool is_room = false; /* this thread has just left some in a lane */
	while (!p->is_stopping) {
		struct pool_job *j = choose(p, is_quick);
		/* It is for one job more, which this thread takes itself unless another goes before. */
		if (is_room && j && !j->lane && !list_is_empty(&p->lanes))
			pthread_cond_signal(&p->work);
		is_room = false;
		if (!j) {
			p->n_idle_quick += is_quick;
			pthread_cond_wait(is_quick ? &p->quick : &p->work, &p->lock);
			p->n_idle_quick -= is_quick;
			continue;
		}
		struct pool_lane *lane = j->lane;
		bool has_end = j->on_done;
		pthread_mutex_unlock(&p->lock);
		j->run(j);
		pthread_mutex_lock(&p->lock);
		finish(p, j, lane, has_end);
		is_room = lane;
	}
}

static void *thread(void *arg)
{
	struct pool *p = arg;
	pthread_mutex_lock(&p->lock);
	bool is_quick = p->n_started++ < p->n_quick;
	if (!is_quick)
		setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
	work(p, is_quick);
	p->n_left++;
	pthread_cond_signal(&p->left);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* ---- jobs */

void pool_lane_init(struct pool_lane *lane, unsigned most, bool is_local)
{
	*lane = (struct pool_lane){.most = most, .is_local = is_local};
	for (int i = 0; i < POOL_RANKS; i++)
		list_init(&lane->waiting[i]);
	list_init(&lane->link);
}

void pool_lane_limit(struct pool *p, struct pool_lane *lane, unsigned most)
{
	pthread_mutex_lock(&p->lock);
	bool is_more = most > lane->most;
	lane->most = most;
	if (is_more && !list_is_empty(&lane->link))
		pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
}

/* Locked. What is to be signalled when the lock is free: who wakes would wait for it at once. */
static pthread_cond_t *enqueue(struct pool *p, struct pool_job *j)
{
	struct pool_lane *lane = j->lane;
	bool is_now = j->rank == POOL_NOW && !lane;
	list_append(lane ? &lane->waiting[j->rank] : &p->ready[j->rank], &j->link);
	if (lane && list_is_empty(&lane->link))
		list_append(&p->lanes, &lane->link);
	p->n_now += is_now;
	/* As many quick threads were woken as there were such jobs: the next one wakes one more. */
	return is_now && p->n_now <= p->n_idle_quick ? &p->quick : &p->work;
}

void pool_put(struct pool *p, struct pool_job *j, enum pool_rank rank, struct pool_lane *lane)
{
	assert(j->run && rank < POOL_RANKS);
	list_init(&j->link);
	pthread_mutex_lock(&p->lock);
	j->rank = rank;
	j->lane = lane;
	j->began_usec = 0;
	j->is_dropped = p->is_stopping;
	if (!p->is_stopping) {
		pthread_cond_t *wake = enqueue(p, j);
		pthread_mutex_unlock(&p->lock);
		pthread_cond_signal(wake);
		return;
	}
	bool has_end = j->on_done;
	pthread_mutex_unlock(&p->lock);
	j->run(j);
	pthread_mutex_lock(&p->lock);
	finish(p, j, NULL, has_end);
	pthread_mutex_unlock(&p->lock);
}

void pool_raise(struct pool *p, struct pool_job *j, enum pool_rank rank)
{
	pthread_cond_t *wake = NULL;
	pthread_mutex_lock(&p->lock);
	if (!j->began_usec && !j->is_dropped && rank < j->rank && !list_is_empty(&j->link)) {
		list_remove(&j->link);
		j->rank = rank;
		wake = enqueue(p, j);
	}
	pthread_mutex_unlock(&p->lock);
	if (wake)
		pthread_cond_signal(wake);
}

uint64_t pool_began_usec(struct pool *p, const struct pool_job *j)
{
	pthread_mutex_lock(&p->lock);
	uint64_t began_usec = j->began_usec;
	pthread_mutex_unlock(&p->lock);
	return began_usec;
}

/* ---- life */

struct pool *pool_new(struct loop *l, unsigned n_threads, unsigned n_quick)
{
	struct pool *p = NEW(struct pool);
	pthread_condattr_t monotonic;
	assert(n_threads <= N_MOST && n_quick + N_FREE < n_threads);
	p->loop = l;
	p->n_quick = n_quick;
	p->n_wanted = n_threads;
	p->post.on_post = on_post;
	for (int i = 0; i < POOL_RANKS; i++)
		list_init(&p->ready[i]);
	list_init(&p->lanes);
	list_init(&p->done);
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&p->left, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_cond_init(&p->quick, NULL);
	pthread_cond_init(&p->work, NULL);
	int r = 0;
	while (p->n_threads < n_threads && r == 0) {
		r = pthread_create(&p->threads[p->n_threads], NULL, thread, p);
		p->n_threads += r == 0;
	}
	if (r) {
		pool_stop(p, -1);
		pool_free(p);
		errno = r;
		return NULL;
	}
	return p;
}

/* With fewer threads than it should have it is less wide, and as right. */
void pool_widen(struct pool *p, struct pool_lane *lane, unsigned most)
{
	pthread_mutex_lock(&p->lock);
	lane->wide_most = min(most, (unsigned)N_WIDE);
	while (!p->is_stopping && p->n_for_wide < N_WIDE &&
	       pthread_create(&p->threads[p->n_threads], NULL, thread, p) == 0) {
		p->n_threads++;
		p->n_for_wide++;
	}
	pthread_mutex_unlock(&p->lock);
}

/* Locked. */
static void drop_list(struct pool *p, struct list *jobs)
{
	while (!list_is_empty(jobs)) {
		struct pool_job *j = list_first(jobs, struct pool_job, link);
		bool has_end = j->on_done;
		list_remove(&j->link);
		j->is_dropped = true;
		pthread_mutex_unlock(&p->lock);
		j->run(j);
		pthread_mutex_lock(&p->lock);
		finish(p, j, NULL, has_end);
	}
}

static void drop_all(struct pool *p)
{
	for (int i = 0; i < POOL_RANKS; i++)
		drop_list(p, &p->ready[i]);
	p->n_now = 0;
	while (!list_is_empty(&p->lanes)) {
		struct pool_lane *lane = list_first(&p->lanes, struct pool_lane, link);
		list_remove(&lane->link);
		for (int i = 0; i < POOL_RANKS; i++)
			drop_list(p, &lane->waiting[i]);
	}
}

static int wait_for_threads(struct pool *p, int msec)
{
	struct timespec until;
	int r = 0;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += msec / 1000;
	until.tv_nsec += (long)(msec % 1000) * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while (p->n_left < p->n_threads && r == 0)
		r = msec < 0 ? pthread_cond_wait(&p->left, &p->lock)
			     : pthread_cond_timedwait(&p->left, &p->lock, &until);
	return -r;
}

int pool_stop(struct pool *p, int msec)
{
	pthread_mutex_lock(&p->lock);
	p->is_stopping = true;
	pthread_cond_broadcast(&p->quick);
	pthread_cond_broadcast(&p->work);
	drop_all(p);
	int r = wait_for_threads(p, msec);
	bool is_posted = p->is_posted;
	pthread_mutex_unlock(&p->lock);
	if (r < 0)
		return r;
	while (p->n_threads)
		pthread_join(p->threads[--p->n_threads], NULL);
	/* What they posted is called, and may put jobs that are dropped and post again. */
	while (is_posted) {
		loop_turn(p->loop, TURN_MSEC);
		pthread_mutex_lock(&p->lock);
		is_posted = p->is_posted;
		pthread_mutex_unlock(&p->lock);
	}
	return 0;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	assert(!p->n_threads && !p->is_posted);
	pthread_cond_destroy(&p->quick);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->left);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
