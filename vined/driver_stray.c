/* SPDX-License-Identifier: Apache-2.0
 * Items that a restart left nameless: what a run made that was over by then is not read again, so nobody can name it. The database is
 * told, or they would be read with each start. A few at a time: there may be a million. */
#include "vined/driver_internal.h"

#include "common/log.h"

#define AT_ONCE 1024u
#define MOST_BACKLOG ((size_t)16 << 20)
#define WAIT_USEC 100000u

static void forget(struct driver *d, uint64_t id)
{
	struct store *s = d->o.store;
	struct store_item i;
	if (map_get(&d->items, id) || store_read_item(s, id, &i) || i.is_forgotten)
		return;
	i.name = store_text(s, i.name);
	i.signature = store_text(s, i.signature);
	i.is_forgotten = true;
	store_put(s, &(struct store_op){.kind = STORE_ITEM, .is_kept = true, .item = i});
}

static void on_stray(struct timer *t)
{
	struct driver *d = container_of(t, struct driver, stray);
	for (unsigned k = 0; k < AT_ONCE && d->strays.n && store_backlog(d->o.store) < MOST_BACKLOG; k++) {
		uint64_t id;
		memcpy(&id, d->strays.at, sizeof id);
		buf_consume(&d->strays, sizeof id);
		forget(d, id);
	}
	if (d->strays.n)
		timer_start(&d->stray, d->o.loop, WAIT_USEC, on_stray);
}

void stray_found(struct driver *d, uint64_t item)
{
	buf_put(&d->strays, &item, sizeof item);
}

void strays_forget(struct driver *d)
{
	if (!d->strays.n)
		return;
	log_debug("%zu items of runs that are over are forgotten", d->strays.n / sizeof(uint64_t));
	timer_start(&d->stray, d->o.loop, 0, on_stray);
}
