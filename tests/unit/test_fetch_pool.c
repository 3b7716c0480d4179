/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vinefs/fetch/pool.h"

#include <pthread.h>

#define N 64

struct scene {
	struct loop *loop;
	struct pool *pool;
	pthread_mutex_t lock;
	pthread_cond_t change;
	bool is_closed;
	unsigned n_begun, n_running, n_most, n_done, n_dropped;
	int order[N];
};

struct task {
	struct pool_job job;
	struct scene *scene;
	int number;
	bool is_blocking;
};

static void run(struct pool_job *j)
{
	struct task *t = container_of(j, struct task, job);
	struct scene *s = t->scene;
	pthread_mutex_lock(&s->lock);
	if (j->is_dropped) {
		s->n_dropped++;
	} else {
		s->order[s->n_begun++] = t->number;
		s->n_running++;
		s->n_most = s->n_most > s->n_running ? s->n_most : s->n_running;
		pthread_cond_broadcast(&s->change);
		while (t->is_blocking && s->is_closed)
			pthread_cond_wait(&s->change, &s->lock);
		s->n_running--;
	}
	pthread_mutex_unlock(&s->lock);
}

static void on_done(struct pool_job *j)
{
	container_of(j, struct task, job)->scene->n_done++;
}

static void scene_init(struct scene *s, unsigned n_threads)
{
	*s = (struct scene){.lock = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER};
	s->loop = loop_new();
	s->pool = pool_new(s->loop, n_threads, 1);
	ASSERT(s->loop && s->pool);
}

static void scene_end(struct scene *s)
{
	ASSERT_EQ(pool_stop(s->pool, 20000), 0);
	pool_free(s->pool);
	loop_free(s->loop);
}

static void task_put(struct scene *s, struct task *t, int number, bool is_blocking, enum pool_rank rank,
		     struct pool_lane *lane)
{
	*t = (struct task){.scene = s, .number = number, .is_blocking = is_blocking};
	t->job.run = run;
	t->job.on_done = on_done;
	pool_put(s->pool, &t->job, rank, lane);
}

static void wait_begun(struct scene *s, unsigned n)
{
	pthread_mutex_lock(&s->lock);
	while (s->n_begun < n)
		pthread_cond_wait(&s->change, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

static void set_closed(struct scene *s, bool is_closed)
{
	pthread_mutex_lock(&s->lock);
	s->is_closed = is_closed;
	pthread_cond_broadcast(&s->change);
	pthread_mutex_unlock(&s->lock);
}

static void wait_done(struct scene *s, unsigned n)
{
	while (s->n_done < n)
		ASSERT_EQ(loop_turn(s->loop, 1000), 0);
}

TEST(jobs_run_and_end_on_the_loop)
{
	struct scene s;
	struct task t[16];
	scene_init(&s, 8);
	for (int i = 0; i < 16; i++)
		task_put(&s, &t[i], i, false, (enum pool_rank)(i % POOL_RANKS), NULL);
	wait_done(&s, 16);
	ASSERT_EQ(s.n_begun, 16);
	scene_end(&s);
}

TEST(a_lane_has_no_more_threads_than_its_share)
{
	struct scene s;
	struct task t[8];
	struct pool_lane lane;
	scene_init(&s, 10);
	pool_lane_init(&lane, 2, false);
	s.is_closed = true;
	for (int i = 0; i < 8; i++)
		task_put(&s, &t[i], i, true, POOL_NOW, &lane);
	wait_begun(&s, 2);
	ASSERT(pool_began_usec(s.pool, &t[0].job) && !pool_began_usec(s.pool, &t[7].job));
	set_closed(&s, false);
	wait_done(&s, 8);
	ASSERT(s.n_most <= 2);
	scene_end(&s);
}

TEST(all_sources_stuck_leave_threads_for_the_rest)
{
	struct scene s;
	struct task stuck[8], t[4], local;
	struct pool_lane lanes[4], disk;
	scene_init(&s, 9);
	s.is_closed = true;
	for (int i = 0; i < 4; i++)
		pool_lane_init(&lanes[i], 4, false);
	for (int i = 0; i < 8; i++)
		task_put(&s, &stuck[i], i, true, POOL_NOW, &lanes[i % 4]);
	wait_begun(&s, 3); /* nine less a quick one less five */
	for (int i = 0; i < 4; i++)
		task_put(&s, &t[i], 100 + i, false, (enum pool_rank)(i % POOL_RANKS), NULL);
	pool_lane_init(&disk, 1, true);
	task_put(&s, &local, 200, false, POOL_BULK, &disk);
	wait_done(&s, 5);
	ASSERT_EQ(s.n_running, 3);
	set_closed(&s, false);
	wait_done(&s, 13);
	scene_end(&s);
}

TEST(a_wide_lane_goes_beyond_its_share_in_threads_that_nobody_else_needs)
{
	struct scene s;
	struct task t[12], other, local;
	struct pool_lane wide, lane, disk;
	scene_init(&s, 9);
	pool_lane_init(&wide, 2, false);
	pool_lane_init(&lane, 4, false);
	pool_lane_init(&disk, 1, true);
	pool_widen(s.pool, &wide, 6);
	s.is_closed = true;
	for (int i = 0; i < 12; i++)
		task_put(&s, &t[i], i, true, POOL_BULK, &wide);
	wait_begun(&s, 8);
	/* Of the three threads that all sources share the third is free still. */
	task_put(&s, &other, 20, true, POOL_NOW, &lane);
	wait_begun(&s, 9);
	task_put(&s, &local, 30, false, POOL_BULK, &disk);
	wait_done(&s, 1);
	ASSERT_EQ(s.n_most, 10);
	set_closed(&s, false);
	wait_done(&s, 14);
	ASSERT_EQ(wide.n_running + wide.n_wide, 0);
	scene_end(&s);
}

TEST(wide_lanes_that_are_stuck_leave_another_what_it_had)
{
	struct scene s;
	struct task stuck[40], t[2], now;
	struct pool_lane first, second;
	scene_init(&s, 9);
	pool_lane_init(&first, 1, false);
	pool_lane_init(&second, 1, false);
	pool_widen(s.pool, &first, 40);
	pool_widen(s.pool, &second, 40);
	s.is_closed = true;
	for (int i = 0; i < 40; i++)
		task_put(&s, &stuck[i], i, true, POOL_BULK, &first);
	wait_begun(&s, 29); /* its own, and all 28 that are there for wide ones */
	for (int i = 0; i < 2; i++)
		task_put(&s, &t[i], 50 + i, true, POOL_BULK, &second);
	wait_begun(&s, 30);
	task_put(&s, &now, 60, false, POOL_NOW, NULL);
	wait_done(&s, 1);
	ASSERT(pool_began_usec(s.pool, &t[0].job) && !pool_began_usec(s.pool, &t[1].job));
	ASSERT(s.n_most <= 31);
	set_closed(&s, false);
	wait_done(&s, 43);
	scene_end(&s);
}

TEST(what_somebody_waits_for_goes_first)
{
	struct scene s;
	struct task first, t[4];
	struct pool_lane lane;
	scene_init(&s, 7);
	pool_lane_init(&lane, 1, false);
	s.is_closed = true;
	task_put(&s, &first, 0, true, POOL_BULK, &lane);
	wait_begun(&s, 1);
	task_put(&s, &t[0], 1, false, POOL_BULK, &lane);
	task_put(&s, &t[1], 2, false, POOL_BULK, &lane);
	task_put(&s, &t[2], 3, false, POOL_NOW, &lane);
	task_put(&s, &t[3], 4, false, POOL_SOON, &lane);
	pool_raise(s.pool, &t[1].job, POOL_NOW);
	set_closed(&s, false);
	wait_done(&s, 5);
	const int wanted[] = {0, 3, 2, 4, 1};
	for (int i = 0; i < 5; i++)
		ASSERT_EQ(s.order[i], wanted[i]);
	scene_end(&s);
}

static void run_after_all(struct pool_job *j)
{
	struct task *t = container_of(j, struct task, job);
	wait_begun(t->scene, 2);
}

/* Who leaves room in a lane may take a job that goes before the lane's next, and that another thread was woken for which takes nothing of lanes. */
TEST(room_in_a_lane_is_seen_whoever_takes_what)
{
	struct scene s;
	struct task first, next, now;
	struct pool_lane lane;
	scene_init(&s, 8);
	pool_lane_init(&lane, 1, false);
	for (unsigned i = 0; i < 3000; i++) {
		s.n_begun = s.n_done = 0;
		s.is_closed = true;
		task_put(&s, &first, 0, true, POOL_SOON, &lane);
		wait_begun(&s, 1);
		task_put(&s, &next, 1, false, POOL_SOON, &lane);
		now = (struct task){.scene = &s, .job = {.run = run_after_all, .on_done = on_done}};
		if (i % 2)
			set_closed(&s, false);
		pool_put(s.pool, &now.job, POOL_NOW, NULL);
		set_closed(&s, false);
		wait_done(&s, 3);
	}
	scene_end(&s);
}

TEST(stopping_drops_what_has_not_begun_and_says_what_is_stuck)
{
	struct scene s;
	struct task t[4];
	struct pool_lane lane;
	scene_init(&s, 7);
	pool_lane_init(&lane, 1, false);
	s.is_closed = true;
	for (int i = 0; i < 4; i++)
		task_put(&s, &t[i], i, true, POOL_NOW, &lane);
	wait_begun(&s, 1);
	ASSERT_EQ(pool_stop(s.pool, 10), -ETIMEDOUT);
	set_closed(&s, false);
	ASSERT_EQ(pool_stop(s.pool, 20000), 0);
	ASSERT_EQ(s.n_dropped, 3);
	ASSERT_EQ(s.n_done, 4);
	scene_end(&s);
}
