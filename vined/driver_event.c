/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/driver_internal.h"

void driver_on_event(struct driver *d, void (*on_event)(void *arg, const struct run *r, const struct wire_event *e),
		     void *arg)
{
	d->on_event = on_event;
	d->on_event_arg = arg;
}

/* In the database for people, and to whoever listens now. */
void event_tell(struct driver *d, const struct run *r, const char *what, uint64_t task, const struct node *n,
		const char *reason)
{
	struct store *s = d->o.store;
	const struct wire_event e = {
		.what = what,
		.at_usec = wall_usec(d),
		.task = task,
		.node = n ? n->name : "",
		.reason = reason,
	};
	store_put(s, &(struct store_op){.kind = STORE_EVENT,
					.event = {.task = task,
						  .node = n ? n->id : 0,
						  .what = store_text(s, what),
						  .text = store_text(s, reason)}});
	feed_event(d, what);
	if (d->on_event)
		d->on_event(d->on_event_arg, r, &e);
}
