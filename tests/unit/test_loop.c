/* SPDX-License-Identifier: Apache-2.0 */
#include "common/loop_internal.h"
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

static uint64_t real_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* Turns until *n reaches `goal`; false when the deadline came first. */
static bool turn_until(struct loop *l, const int *n, int goal)
{
	uint64_t end = real_usec() + UNIT_PATIENCE_USEC;
	while (*n < goal && real_usec() < end)
		if (loop_turn(l, 100) < 0)
			return false;
	return *n >= goal;
}

static void make_pipe(int ends[2])
{
	ASSERT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
}

static void close_pipe(int ends[2])
{
	close(ends[0]);
	close(ends[1]);
}

/* ---- descriptors */

struct reader {
	struct watch watch;
	int n_heard;
	uint32_t events;
	struct reader *victim; /* stopped by the first who hears */
	bool is_freeing;
};

static void on_reader(struct watch *w, uint32_t events)
{
	struct reader *r = container_of(w, struct reader, watch);
	r->n_heard++;
	r->events = events;
	struct reader *victim = steal(r->victim);
	if (victim) {
		watch_stop(&victim->watch);
		victim->victim = NULL;
		if (r->is_freeing)
			free(victim);
	}
}

TEST(a_readable_descriptor_is_told_every_turn_until_it_is_read)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	struct reader r = {0};
	int ends[2];
	make_pipe(ends);
	ASSERT_EQ(watch_start(&r.watch, l, ends[0], EPOLLIN, on_reader), 0);
	ASSERT_EQ(loop_turn(l, 0), 0);
	ASSERT_EQ(r.n_heard, 0);
	ASSERT_EQ(write(ends[1], "x", 1), 1);
	ASSERT_EQ(loop_turn(l, -1), 0);
	ASSERT_EQ(loop_turn(l, -1), 0);
	ASSERT_EQ(r.n_heard, 2);
	ASSERT_EQ(r.events, EPOLLIN);
	watch_stop(&r.watch);
	watch_stop(&r.watch);
	ASSERT_EQ(loop_turn(l, 0), 0);
	ASSERT_EQ(r.n_heard, 2);
	close_pipe(ends);
}

TEST(a_removed_watcher_hears_nothing)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	int ends[2][2];
	struct reader r[2] = {{.victim = &r[1]}, {.victim = &r[0]}};
	for (int i = 0; i < 2; i++) {
		make_pipe(ends[i]);
		ASSERT_EQ(write(ends[i][1], "x", 1), 1);
		ASSERT_EQ(watch_start(&r[i].watch, l, ends[i][0], EPOLLIN, on_reader), 0);
	}
	ASSERT_EQ(loop_turn(l, -1), 0);
	ASSERT_EQ(r[0].n_heard + r[1].n_heard, 1);
	for (int i = 0; i < 2; i++) {
		watch_stop(&r[i].watch);
		close_pipe(ends[i]);
	}
}

TEST(a_callback_may_free_another_watcher_of_the_same_turn)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	int ends[2][2];
	struct reader *r[2] = {NEW(struct reader), NEW(struct reader)};
	for (int i = 0; i < 2; i++) {
		make_pipe(ends[i]);
		ASSERT_EQ(write(ends[i][1], "x", 1), 1);
		r[i]->victim = r[!i];
		r[i]->is_freeing = true;
		ASSERT_EQ(watch_start(&r[i]->watch, l, ends[i][0], EPOLLIN, on_reader), 0);
	}
	/* epoll tells them in the order of their becoming ready. */
	ASSERT_EQ(loop_turn(l, -1), 0);
	ASSERT_EQ(r[0]->n_heard, 1);
	watch_stop(&r[0]->watch);
	free(r[0]);
	close_pipe(ends[0]);
	close_pipe(ends[1]);
}

static void on_restart(struct watch *w, uint32_t events _unused_)
{
	struct reader *r = container_of(w, struct reader, watch);
	struct loop *l = w->loop;
	int fd = w->fd;
	r->n_heard++;
	watch_stop(w);
	if (r->victim && r->victim->watch.loop)
		on_restart(&r->victim->watch, 0);
	ASSERT_EQ(watch_start(w, l, fd, EPOLLIN, on_restart), 0);
}

TEST(a_watcher_started_anew_in_a_turn_hears_only_the_next)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	int ends[2][2];
	struct reader r[2] = {{.victim = &r[1]}};
	for (int i = 0; i < 2; i++) {
		make_pipe(ends[i]);
		ASSERT_EQ(write(ends[i][1], "x", 1), 1);
		ASSERT_EQ(watch_start(&r[i].watch, l, ends[i][0], EPOLLIN, on_restart), 0);
	}
	ASSERT_EQ(loop_turn(l, -1), 0);
	ASSERT_EQ(r[0].n_heard, 1);
	ASSERT_EQ(r[1].n_heard, 1);
	for (int i = 0; i < 2; i++) {
		watch_stop(&r[i].watch);
		close_pipe(ends[i]);
	}
}

static void on_unwant(struct watch *w, uint32_t events _unused_)
{
	struct reader *r = container_of(w, struct reader, watch);
	r->n_heard++;
	watch_change(&r->victim->watch, 0);
}

TEST(what_a_callback_no_longer_asks_for_is_not_told)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	int ends[2][2];
	struct reader r[2] = {{.victim = &r[1]}, {.victim = &r[0]}};
	for (int i = 0; i < 2; i++) {
		make_pipe(ends[i]);
		ASSERT_EQ(write(ends[i][1], "x", 1), 1);
		ASSERT_EQ(watch_start(&r[i].watch, l, ends[i][0], EPOLLIN, on_unwant), 0);
	}
	ASSERT_EQ(loop_turn(l, -1), 0);
	ASSERT_EQ(r[0].n_heard + r[1].n_heard, 1);
	for (int i = 0; i < 2; i++) {
		watch_stop(&r[i].watch);
		close_pipe(ends[i]);
	}
}

TEST(a_watcher_that_asks_for_nothing_does_not_spin_on_a_hang_up)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	struct reader r = {0};
	int ends[2];
	make_pipe(ends);
	ASSERT_EQ(watch_start(&r.watch, l, ends[0], 0, on_reader), 0);
	close(ends[1]);
	ASSERT_EQ(loop_turn(l, 0), 0);
	ASSERT_EQ(epoll_wait(l->epoll, l->batch, LOOP_BATCH, 0), 0);
	ASSERT_EQ(r.n_heard, 0);
	watch_change(&r.watch, EPOLLIN);
	ASSERT_EQ(loop_turn(l, -1), 0);
	ASSERT_EQ(r.n_heard, 1);
	ASSERT(r.events & EPOLLHUP);
	watch_stop(&r.watch);
	close(ends[0]);
}

TEST(a_regular_file_cannot_be_watched)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	struct watch w = {0};
	_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	ASSERT_EQ(watch_start(&w, l, fd, EPOLLIN, on_reader), -EPERM);
	ASSERT(!w.loop);
	watch_stop(&w);
}

TEST(more_descriptors_than_a_batch_are_all_told)
{
	enum { N = LOOP_BATCH + 50 };
	static struct reader r[N];
	static int ends[N][2];
	_cleanup_(loop_freep) struct loop *l = loop_new();
	memset(r, 0, sizeof r);
	for (int i = 0; i < N; i++) {
		make_pipe(ends[i]);
		ASSERT_EQ(write(ends[i][1], "x", 1), 1);
		ASSERT_EQ(watch_start(&r[i].watch, l, ends[i][0], EPOLLIN, on_reader), 0);
	}
	ASSERT_EQ(loop_turn(l, 0), 0);
	ASSERT_EQ(loop_turn(l, 0), 0);
	for (int i = 0; i < N; i++) {
		ASSERT(r[i].n_heard >= 1);
		watch_stop(&r[i].watch);
		close_pipe(ends[i]);
	}
}

/* ---- posts */

struct note {
	struct post post;
	int from, number;
};

static struct loop *note_loop;
static int notes_heard, notes_last[4];
static bool notes_in_order;

static void on_note(struct post *p)
{
	struct note *n = container_of(p, struct note, post);
	notes_in_order = notes_in_order && n->number == notes_last[n->from] + 1;
	notes_last[n->from] = n->number;
	notes_heard++;
	free(n);
}

static void *post_notes(void *arg)
{
	int from = (int)(intptr_t)arg;
	for (int i = 1; i <= 20000; i++) {
		struct note *n = NEW(struct note);
		*n = (struct note){.post.on_post = on_note, .from = from, .number = i};
		loop_post(note_loop, &n->post);
	}
	return NULL;
}

TEST(posts_of_each_of_several_threads_arrive_all_and_in_order)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	note_loop = l;
	notes_heard = 0;
	notes_in_order = true;
	memset(notes_last, 0, sizeof notes_last);
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(pthread_create(&threads[i], NULL, post_notes, (void *)(intptr_t)i), 0);
	bool all = turn_until(l, &notes_heard, 4 * 20000);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ASSERT(all);
	ASSERT(notes_in_order);
}

static struct post again_post;
static int again_heard;

static void on_post_again(struct post *p)
{
	if (++again_heard < 3)
		loop_post(note_loop, p);
}

TEST(a_post_from_a_callback_comes_in_the_next_turn_without_sleep)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	note_loop = l;
	again_heard = 0;
	again_post.on_post = on_post_again;
	loop_post(l, &again_post);
	for (int i = 1; i <= 3; i++) {
		ASSERT_EQ(loop_turn(l, -1), 0);
		ASSERT_EQ(again_heard, i);
	}
}

/* Two loops on two threads that post to each other as soon as they hear. */
struct player {
	struct post post;
	struct loop *loop;
	struct player *other;
	int n_left;
};

static void on_ball(struct post *p)
{
	struct player *me = container_of(p, struct player, post);
	if (--me->n_left <= 0)
		loop_stop(me->loop, 7);
	if (me->n_left >= 0)
		loop_post(me->other->loop, &me->other->post);
}

static void *play(void *arg)
{
	struct player *me = arg;
	return (void *)(intptr_t)loop_run(me->loop);
}

TEST(a_post_wakes_a_sleeping_loop_every_time)
{
	struct player a = {.n_left = 20000}, b = {.n_left = 20000};
	a.loop = loop_new();
	b.loop = loop_new();
	a.other = &b;
	b.other = &a;
	a.post.on_post = b.post.on_post = on_ball;
	pthread_t thread;
	ASSERT_EQ(pthread_create(&thread, NULL, play, &b), 0);
	loop_post(a.loop, &a.post);
	ASSERT_EQ(loop_run(a.loop), 7);
	void *status;
	pthread_join(thread, &status);
	ASSERT_EQ((intptr_t)status, 7);
	loop_free(a.loop);
	loop_free(b.loop);
}

/* ---- before sleep, run, stop */

struct sleeper {
	struct before_sleep hook;
	struct loop *loop;
	int n_heard;
	struct sleeper *victim;
	struct post post;
	int n_posts;
};

static void on_sleeper_post(struct post *p)
{
	container_of(p, struct sleeper, post)->n_posts++;
}

static void on_sleep(struct before_sleep *b)
{
	struct sleeper *s = container_of(b, struct sleeper, hook);
	s->n_heard++;
	if (s->victim)
		before_sleep_stop(&s->victim->hook);
	if (s->loop && s->n_posts == 0 && s->n_heard == 1) {
		s->post.on_post = on_sleeper_post;
		loop_post(s->loop, &s->post);
	}
}

TEST(hooks_run_before_the_first_sleep_and_at_the_end_of_each_turn)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	struct sleeper s = {0};
	before_sleep_start(&s.hook, l, on_sleep);
	ASSERT_EQ(loop_turn(l, 0), 0);
	ASSERT_EQ(s.n_heard, 2);
	before_sleep_stop(&s.hook);
	before_sleep_stop(&s.hook);
	ASSERT_EQ(loop_turn(l, 0), 0);
	ASSERT_EQ(s.n_heard, 2);
}

TEST(a_hook_may_stop_itself_and_others)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	struct sleeper a = {0}, b = {0}, c = {0};
	a.victim = &b;
	c.victim = &c;
	before_sleep_start(&a.hook, l, on_sleep);
	before_sleep_start(&b.hook, l, on_sleep);
	before_sleep_start(&c.hook, l, on_sleep);
	ASSERT_EQ(loop_turn(l, 0), 0);
	ASSERT_EQ(a.n_heard, 2);
	ASSERT_EQ(b.n_heard, 0);
	ASSERT_EQ(c.n_heard, 1);
	before_sleep_stop(&a.hook);
}

static void on_sleep_starting(struct before_sleep *b)
{
	struct sleeper *s = container_of(b, struct sleeper, hook);
	if (s->n_heard++ == 0)
		before_sleep_start(&s->victim->hook, s->loop, on_sleep);
}

TEST(a_hook_that_another_one_starts_is_called_in_the_same_turn)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	struct sleeper late = {0}, s = {.loop = l, .victim = &late};
	before_sleep_start(&s.hook, l, on_sleep_starting);
	ASSERT_EQ(loop_turn(l, 0), 0);
	ASSERT_EQ(s.n_heard, 2);
	ASSERT_EQ(late.n_heard, 2);
	before_sleep_stop(&s.hook);
	before_sleep_stop(&late.hook);
}

TEST(the_loop_does_not_sleep_over_what_a_hook_posted)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	struct sleeper s = {.loop = l};
	before_sleep_start(&s.hook, l, on_sleep);
	ASSERT_EQ(loop_turn(l, -1), 0);
	ASSERT_EQ(s.n_posts, 1);
	before_sleep_stop(&s.hook);
}

TEST(a_stop_before_the_run_ends_it_at_once_and_only_it)
{
	_cleanup_(loop_freep) struct loop *l = loop_new();
	loop_stop(l, 3);
	ASSERT_EQ(loop_run(l), 3);
	loop_stop(l, 4);
	ASSERT_EQ(loop_run(l), 4);
}
