/* SPDX-License-Identifier: Apache-2.0
 * Users' deadlines are wall-clock, all else is monotonic: each has a timer on the loop's clock, and those are set anew when the
 * distance between the two clocks is seen to have changed. A task that was begun has none any more. */
#include "vined/driver_internal.h"

#include "common/log.h"

#include <time.h>

#define LOOK_USEC 1000000u /* how often the clocks are compared, while there are deadlines */
#define JUMP_USEC 100000   /* less is the clocks' drift */
#define FAR_USEC UINT64_C(86400000000)

struct deadline {
	struct timer timer;
	struct task *task;
	uint64_t wall_usec;
};

uint64_t wall_usec(const struct driver *d)
{
	struct timespec t;
	if (d->wall_clock)
		return d->wall_clock();
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static void on_expire(struct timer *timer);

static void start(struct deadline *d)
{
	uint64_t now = wall_usec(d->task->run->driver), left = d->wall_usec > now ? d->wall_usec - now : 0;
	timer_start(&d->timer, d->task->run->driver->o.loop, min(left, FAR_USEC), on_expire);
}

/* False: it is yet to come. */
static bool expire(struct deadline *d)
{
	struct task *t = d->task;
	if (wall_usec(t->run->driver) < d->wall_usec)
		return false;
	deadline_end(t);
	if (t->state >= STORE_ENDED || t->is_cancelled)
		return true;
	log_info("task %llu: its deadline has passed before it was begun", (unsigned long long)t->id);
	t->is_late = true;
	core_task_cancel(t->run->driver->core, t->id);
	return true;
}

static void on_expire(struct timer *timer)
{
	struct deadline *d = container_of(timer, struct deadline, timer);
	if (!expire(d))
		start(d);
}

static void on_look(struct timer *timer)
{
	struct driver *d = container_of(timer, struct driver, wall);
	struct deadline *each;
	if (!d->deadlines.n)
		return;
	int64_t offset = (int64_t)(wall_usec(d) - loop_now_usec(d->o.loop));
	int64_t moved = offset - d->wall_offset_usec;
	if (moved > JUMP_USEC || moved < -JUMP_USEC) {
		log_info("the wall clock has moved by %lld s: %zu deadlines move with it", (long long)moved / 1000000,
			 d->deadlines.n);
		d->wall_offset_usec = offset;
		for (size_t i = 0; (each = map_next(&d->deadlines, &i));)
			start(each);
	}
	timer_start(&d->wall, d->o.loop, LOOK_USEC, on_look);
}

void deadline_set(struct task *t, uint64_t at_usec)
{
	struct driver *d = t->run->driver;
	struct deadline *each = NEW(struct deadline);
	assert(!t->has_deadline && at_usec);
	*each = (struct deadline){.task = t, .wall_usec = at_usec};
	t->has_deadline = true;
	map_put(&d->deadlines, t->id, each);
	/* By a timer it would be late: the turn that is under way decides before its timers are looked at. */
	if (expire(each))
		return;
	start(each);
	if (!d->wall.loop) {
		d->wall_offset_usec = (int64_t)(wall_usec(d) - loop_now_usec(d->o.loop));
		timer_start(&d->wall, d->o.loop, LOOK_USEC, on_look);
	}
}

void deadline_end(struct task *t)
{
	struct deadline *each = map_remove(&t->run->driver->deadlines, t->id);
	assert(each && t->has_deadline);
	t->has_deadline = false;
	timer_stop(&each->timer);
	free(each);
}

void driver_set_wall_clock(struct driver *d, uint64_t (*wall_clock)(void))
{
	d->wall_clock = wall_clock;
}
