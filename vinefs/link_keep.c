/* SPDX-License-Identifier: Apache-2.0
 * asked -> answered; or the connection is lost -> asked again when there is another; or too late. vined grants the same attempt twice, so asking again does no harm. */
#include "vinefs/link_internal.h"

#include <stdio.h>

struct keeping {
	struct list link;
	struct link *owner;
	struct call call;
	struct timer timer;
	struct wire_keep m;
};

static void keep_free(struct keeping *x)
{
	call_stop(&x->call);
	timer_stop(&x->timer);
	list_remove(&x->link);
	free(x);
}

static void answer(struct keeping *x, int error, const char *reason)
{
	struct link *k = x->owner;
	struct wire_keep m = x->m;
	assert(error <= 0);
	keep_free(x);
	run_keep_answered(k->run, m.attempt, m.item, error, reason);
}

static void on_late(struct timer *t)
{
	struct keeping *x = container_of(t, struct keeping, timer);
	answer(x, -ETIMEDOUT,
	       "vined has not granted it in time, so nothing was put in place; it is asked again when the task runs "
	       "again");
}

static void on_answer(struct call *call, int error, uint16_t type, const void *message)
{
	struct keeping *x = container_of(call, struct keeping, call);
	const struct wire_status *status = message;
	if (type == WIRE_STATUS)
		answer(x, error, status->reason);
	/* Else the connection is lost: the next one may come in time. */
}

static void ask(struct keeping *x)
{
	struct conn *c = link_conn(x->owner);
	assert(!x->call.conn);
	x->call = (struct call){.on_reply = on_answer};
	if (c)
		call_start(&x->call, c, WIRE_KEEP, &x->m, 0);
}

void keep_ask(struct link *k, const struct wire_keep *m)
{
	struct keeping *x = NEW(struct keeping);
	x->owner = k;
	x->m = *m;
	list_init(&x->link);
	list_append(&k->keeps, &x->link);
	timer_start(&x->timer, k->loop, m->within_usec, on_late);
	ask(x);
}

void keep_again(struct link *k)
{
	list_foreach (&k->keeps, struct keeping, link, x) {
		if (!x->call.conn)
			ask(x);
	}
}

void keep_close(struct link *k)
{
	list_foreach (&k->keeps, struct keeping, link, x)
		keep_free(x);
}
