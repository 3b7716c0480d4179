/* SPDX-License-Identifier: Apache-2.0
 * What nodes must not evict. A tree is needed while an item that is not forgotten is this tree and can be had from nodes alone: an upload that
 * tasks name, an output that is kept in the cluster; and while it was uploaded and its client is there, which may be about to name it. One
 * of the nodes that have all of it is told to hold it, one that stays before one that goes; the others' copies may go. Who alone has one that is not
 * needed is told so, too, now and then and many at once: it evicts it last. */
#include "vined/driver_internal.h"

#define SOLE_USEC 5000000u
#define SOLE_MOST 4096u /* trees looked at in one go */

static void put(struct node *n, const struct wire_pledge *p)
{
	struct driver *d = n->driver;
	buf_put(&n->pledges, p, sizeof *p);
	list_remove(&n->pledging);
	list_append(&d->pledging, &n->pledging);
}

static void tell(struct node *n, const struct tree *t, bool is_over)
{
	put(n, &(struct wire_pledge){.tree = t->digest, .is_over = is_over});
}

void hold_pin(struct node *n, const struct tree *t, bool is_over)
{
	put(n, &(struct wire_pledge){.tree = t->digest, .is_over = is_over, .is_pinned = true});
}

static bool has_all(const struct node *n, const struct tree *t)
{
	const struct replica *r = map_get(&n->replicas, t->number);
	return r && r->size >= t->size;
}

static struct node *choose(const struct driver *d, const struct tree *t)
{
	struct node *leaving = NULL;
	list_foreach (&t->replicas, const struct replica, of_tree, r) {
		if (r->node == d->past || !r->node->conn || !r->node->has_data || r->size < t->size)
			continue;
		if (!node_is_leaving(r->node))
			return r->node;
		leaving = r->node;
	}
	return leaving;
}

static void hold_at(struct tree *t, struct node *n)
{
	t->holder = n;
	tell(n, t, false);
	if (node_is_leaving(n))
		leave_holds(n, t);
}

/* ---- who alone has one */

/* NULL: nobody, or several do, or it is held anyway. */
static struct node *find_sole(const struct driver *d, const struct tree *t)
{
	struct node *sole = NULL;
	if (t->n_needs)
		return NULL;
	list_foreach (&t->replicas, const struct replica, of_tree, r) {
		if (r->node == d->past || !r->node->has_data || r->size < t->size)
			continue;
		if (sole)
			return NULL;
		sole = r->node;
	}
	return sole;
}

static void tell_sole(struct node *n, const struct tree *t, bool is_over)
{
	/* An older one would hold it. */
	if (n->conn && n->minor >= 4)
		put(n, &(struct wire_pledge){.tree = t->digest, .is_over = is_over, .is_last = true});
}

static void on_sole(struct timer *timer)
{
	struct driver *d = container_of(timer, struct driver, sole);
	struct tree *t;
	for (unsigned i = 0; i < SOLE_MOST && (t = list_first(&d->sole_changed, struct tree, sole)); i++) {
		struct node *sole = find_sole(d, t), *last = t->last;
		list_remove(&t->sole);
		if (sole == last)
			continue;
		t->last = sole;
		if (last)
			tell_sole(last, t, true);
		if (sole)
			tell_sole(sole, t, false);
	}
	if (!list_is_empty(&d->sole_changed))
		timer_start(timer, d->o.loop, SOLE_USEC / 10, on_sole);
}

static void sole_changed(struct driver *d, struct tree *t)
{
	if (!list_is_empty(&t->sole))
		return;
	list_append(&d->sole_changed, &t->sole);
	if (!d->sole.loop)
		timer_start(&d->sole, d->o.loop, SOLE_USEC, on_sole);
}

/* ---- who must not evict it */

void hold_settle(struct driver *d, struct tree *t)
{
	if (!t->digest.algorithm)
		return;
	stages_settle(d, t);
	sole_changed(d, t);
	if (!t->n_needs && !t->holder)
		return;
	if (t->holder && !has_all(t->holder, t))
		t->holder = NULL;
	if (!t->n_needs && t->holder)
		tell(steal(t->holder), t, true);
	if (!t->n_needs)
		return;
	struct node *n = !t->holder || node_is_leaving(t->holder) ? choose(d, t) : t->holder;
	if (!n || n == t->holder || (t->holder && node_is_leaving(n)))
		return;
	if (t->holder)
		tell(t->holder, t, true);
	hold_at(t, n);
}

void hold_need(struct driver *d, struct tree *t)
{
	t->n_needs++;
	hold_settle(d, t);
}

void hold_release(struct driver *d, struct tree *t)
{
	assert(t->n_needs);
	t->n_needs--;
	hold_settle(d, t);
}

void hold_item(struct driver *d, struct item *i, bool is_going)
{
	if (i->tree && i->n_stages)
		i->tree->is_staged = true;
	bool is_needing = !is_going && i->tree && i->tree->digest.algorithm && !i->source && !i->is_forgotten;
	if (is_needing == i->is_needing)
		return;
	i->is_needing = is_needing;
	if (is_needing)
		hold_need(d, i->tree);
	else
		hold_release(d, i->tree);
}

static void send_pledges(struct node *n, bool is_all)
{
	if (n->conn)
		conn_send(n->conn, WIRE_HOLD,
			  &(struct wire_hold){.trees = {(const struct wire_pledge *)(const void *)n->pledges.at,
							(uint32_t)(n->pledges.n / sizeof(struct wire_pledge))},
					      .is_all = is_all});
	buf_consume(&n->pledges, n->pledges.n);
	list_remove(&n->pledging);
}

void hold_tell_all(struct node *n)
{
	const struct replica *r;
	buf_consume(&n->pledges, n->pledges.n);
	for (size_t k = 0; (r = map_next(&n->replicas, &k));)
		if (r->tree->holder == n)
			tell(n, r->tree, false);
		else if (r->tree->last == n)
			tell_sole(n, r->tree, false);
	stages_node_came(n);
	send_pledges(n, true);
}

void holds_flush(struct driver *d)
{
	struct node *n;
	while ((n = list_first(&d->pledging, struct node, pledging)))
		send_pledges(n, false);
}
