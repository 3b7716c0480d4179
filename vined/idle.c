/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/idle.h"

#include <unistd.h>

#define LOOK_MOST_USEC 15000000u

static bool is_needed(const struct idle *i)
{
	struct driver_numbers n;
	if (*i->n_clients)
		return true;
	driver_numbers(i->driver, &n);
	return n.queued || n.running || n.held || access(i->stay, F_OK) == 0;
}

static void on_time(struct timer *t)
{
	struct idle *i = container_of(t, struct idle, timer);
	uint64_t now = loop_now_usec(i->loop);
	if (is_needed(i))
		i->since_usec = now;
	if (now - i->since_usec >= i->limit_usec)
		i->on_idle(i);
	else
		timer_start(&i->timer, i->loop, min(i->limit_usec / 4 + 1, (uint64_t)LOOK_MOST_USEC), on_time);
}

void idle_start(struct idle *i)
{
	assert(i->driver && i->n_clients && i->stay && i->on_idle);
	if (!i->limit_usec)
		return;
	i->since_usec = loop_now_usec(i->loop);
	timer_start(&i->timer, i->loop, i->limit_usec / 4 + 1, on_time);
}

void idle_stop(struct idle *i)
{
	timer_stop(&i->timer);
}
