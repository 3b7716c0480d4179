/* SPDX-License-Identifier: Apache-2.0
 * FELLOWS: nodes that were given tasks with the same shared path while nobody knows which tree it is hear of each other, so that they read it once among them. Not kept: who comes after a restart, or after
 * the tree is known, needs none of it. */
#include "vined/driver_internal.h"

#define MOST 32u        /* who asks beyond them is told of them, and asked by nobody */
#define SOON_USEC 2000u /* many are begun at once */

struct fellows {
	struct driver *driver;
	uint64_t item;
	struct timer soon;
	uint32_t n;
	uint64_t nodes[MOST];
};

static void tell(const struct fellows *w, const struct node *n)
{
	const struct driver *d = w->driver;
	const struct item *i = map_get(&d->items, w->item);
	struct wire_peer peers[MOST];
	uint32_t n_peers = 0;
	if (!i || !n->conn)
		return;
	for (uint32_t k = 0; k < w->n; k++) {
		const struct node *p = map_get(&d->nodes, w->nodes[k]);
		if (p && p->conn && p->has_data && *p->address)
			peers[n_peers++] = (struct wire_peer){.name = p->name, .address = p->address};
	}
	conn_send(n->conn, WIRE_FELLOWS, &(struct wire_fellows){.source = i->name, .peers = {peers, n_peers}});
}

static void on_soon(struct timer *t)
{
	const struct fellows *w = container_of(t, struct fellows, soon);
	for (uint32_t k = 0; k < w->n; k++) {
		const struct node *n = map_get(&w->driver->nodes, w->nodes[k]);
		if (n)
			tell(w, n);
	}
}

static void join(struct fellows *w, const struct node *n)
{
	for (uint32_t k = 0; k < w->n; k++)
		if (w->nodes[k] == n->id)
			return;
	if (w->n == MOST) {
		tell(w, n);
		return;
	}
	w->nodes[w->n++] = n->id;
	/* Before its START, so that it asks for names at once. */
	if (w->n > 1)
		tell(w, n);
	if (w->n > 1 && !w->soon.loop)
		timer_start(&w->soon, w->driver->o.loop, SOON_USEC, on_soon);
}

void fellows_join(const struct item *i, const struct node *reader, const struct node *n)
{
	struct driver *d = n->driver;
	struct fellows *w = map_get(&d->fellows, i->id);
	assert(!i->tree);
	if (!w) {
		w = NEW(struct fellows);
		*w = (struct fellows){.driver = d, .item = i->id};
		map_put(&d->fellows, i->id, w);
		join(w, reader);
	}
	join(w, n);
}

void fellows_forget(struct driver *d, uint64_t item)
{
	struct fellows *w = map_remove(&d->fellows, item);
	if (!w)
		return;
	timer_stop(&w->soon);
	free(w);
}
