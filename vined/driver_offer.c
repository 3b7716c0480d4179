/* SPDX-License-Identifier: Apache-2.0
 * Trees that clients have: each is given to the node with most room for it, which asks vined for its bytes, and vined the client.
 *
 * 1. A node that cannot, or of which nothing is heard for a while, is not asked again; one that went away may be. Where there is none the offer
 *    waits a while.
 * 2. What was given stays needed while its client is there, and a little longer: it names it soon. */
#include "vined/driver_internal.h"

#include "common/log.h"

#include <stdio.h>

#define OFFERS_MOST 64u  /* of one client at once */
#define GIVEN_MOST 4096u /* of one client that nobody need have named yet */
#define TRIES_MOST 4u
#define WAIT_USEC 60000000u /* for a node */
#define SILENT_USEC 60000000u
#define LINGER_USEC UINT64_C(600000000)

struct offer {
	struct list link;
	struct driver *driver;
	struct conn *client; /* NULL: gone; only of one that was given */
	uint64_t id;
	struct promise *promise; /* NULL: it was given */
	struct digest digest;
	uint64_t size;
	struct tree *tree; /* of one that was given */
	struct node *node; /* who was told to fetch it; NULL: nobody */
	uint64_t item;     /* the number by which it was told */
	uint64_t tried[TRIES_MOST];
	size_t n_tried;
	int error; /* of the last that could not */
	char reason[160];
	struct timer timer;
};

static void offer_free(struct offer *o)
{
	struct driver *d = o->driver;
	list_remove(&o->link);
	timer_stop(&o->timer);
	if (o->node && o->node->conn)
		conn_send(o->node->conn, WIRE_FETCH_STOP, &(struct wire_fetch_stop){.item = o->item});
	if (o->tree) {
		hold_release(d, o->tree);
		o->tree->n_items--;
		tree_put(d, o->tree);
	}
	free(o);
}

static void refuse(struct offer *o, int error, const char *reason)
{
	char text[DIGEST_TEXT_SIZE];
	promise_status(steal(o->promise), error, "tree %.16s: %s", digest_text(&o->digest, text), reason);
	offer_free(o);
}

/* ---- to a node */

static bool was_tried(const struct offer *o, const struct node *n)
{
	for (size_t i = 0; i < o->n_tried; i++)
		if (o->tried[i] == n->id)
			return true;
	return false;
}

/* What is under way to it counts. A node that does not say what it has is thought small. */
static uint64_t room_of(const struct node *n)
{
	uint64_t used = n->resident_size;
	list_foreach (&n->driver->offers, const struct offer, link, o)
		used += o->node == n ? o->size : 0;
	return n->spec.disk > used ? n->spec.disk - used : 1;
}

static struct node *choose(const struct offer *o)
{
	struct node *n, *best = NULL;
	uint64_t room, most = 0;
	for (size_t i = 0; (n = map_next(&o->driver->nodes, &i));) {
		bool may = n->conn && n->has_data && n->in_core == NODE_PRESENT && !was_tried(o, n);
		if (may && (room = room_of(n)) > most)
			best = n, most = room;
	}
	return best;
}

static void seek(struct offer *o);

/* A node brings a few at a time: what it asks for of one counts for all. */
static void on_silent(struct timer *t)
{
	struct offer *o = container_of(t, struct offer, timer);
	uint64_t now = loop_now_usec(o->driver->o.loop), silent_usec = now - min(now, o->node->asked_usec);
	if (silent_usec < SILENT_USEC) {
		timer_start(&o->timer, o->driver->o.loop, SILENT_USEC - silent_usec, on_silent);
		return;
	}
	log_warn("node %s: has not asked for bytes of a tree that a client offers for %u s: another node gets it",
		 o->node->name, SILENT_USEC / 1000000);
	conn_send(o->node->conn, WIRE_FETCH_STOP, &(struct wire_fetch_stop){.item = o->item});
	o->tried[o->n_tried++] = o->node->id;
	o->error = ETIMEDOUT;
	snprintf(o->reason, sizeof o->reason, "node %.64s has not asked for it", o->node->name);
	o->node = NULL;
	seek(o);
}

static void on_nobody(struct timer *t)
{
	struct offer *o = container_of(t, struct offer, timer);
	refuse(o, EAGAIN, "no node with a cache is there to take it: start one, or offer it again later");
}

static void seek(struct offer *o)
{
	struct driver *d = o->driver;
	struct node *n = o->n_tried < TRIES_MOST ? choose(o) : NULL;
	if (!n && o->n_tried) {
		refuse(o, o->error, o->reason);
		return;
	}
	if (!n) {
		if (!o->timer.loop)
			timer_start(&o->timer, d->o.loop, WAIT_USEC, on_nobody);
		return;
	}
	o->node = n;
	o->item = ++d->last_item;
	timer_start(&o->timer, d->o.loop, SILENT_USEC, on_silent);
	conn_send(n->conn, WIRE_FETCH,
		  &(struct wire_fetch){.item = o->item,
				       .tree = o->digest,
				       .size = o->size,
				       .source = "client:",
				       .signature = "",
				       .is_gating = true,
				       .hold = true});
	node_sent(n);
}

/* ---- given */

static void on_lingered(struct timer *t)
{
	offer_free(container_of(t, struct offer, timer));
}

static void trim(struct driver *d, const struct conn *client)
{
	struct offer *oldest = NULL;
	size_t n = 0;
	list_foreach (&d->given, struct offer, link, o) {
		if (o->client != client)
			continue;
		oldest = oldest ? oldest : o;
		n++;
	}
	if (n > GIVEN_MOST)
		offer_free(oldest);
}

/* A node has it. */
static void give(struct offer *o, struct tree *t)
{
	struct driver *d = o->driver;
	timer_stop(&o->timer);
	o->node = NULL;
	o->tree = t;
	list_remove(&o->link);
	list_append(&d->given, &o->link);
	t->n_items++;
	hold_need(d, t);
	promise_status(steal(o->promise), 0, "%s", "");
	trim(d, o->client);
}

/* Offers of the same tree have it with the first. */
static void give_all(struct driver *d, struct tree *t)
{
	list_foreach (&d->offers, struct offer, link, o) {
		if (!digest_is_equal(&o->digest, &t->digest))
			continue;
		if (o->node && o->node->conn)
			conn_send(o->node->conn, WIRE_FETCH_STOP, &(struct wire_fetch_stop){.item = o->item});
		give(o, t);
	}
}

static struct tree *find_whole(const struct driver *d, const struct digest *digest)
{
	char text[DIGEST_TEXT_SIZE];
	struct tree *t = map_get_text(&d->trees_by_digest, digest_text(digest, text));
	if (!t)
		return NULL;
	list_foreach (&t->replicas, const struct replica, of_tree, r) {
		if (r->node != d->past && r->node->conn && r->node->has_data && r->size >= t->size)
			return t;
	}
	return NULL;
}

bool offer_fetched(struct node *n, const struct wire_fetched *m)
{
	struct driver *d = n->driver;
	list_foreach (&d->offers, struct offer, link, o) {
		if (o->node != n || o->item != m->item)
			continue;
		bool is_it = !m->error && digest_is_equal(&m->tree, &o->digest);
		if (is_it && n->in_core != NODE_ABSENT) {
			struct tree *t = tree_get(d, &o->digest, max(m->size, o->size));
			t->n_items++; /* not freed under our hands */
			replica_set(n, t, max(t->size, UINT64_C(1)));
			give(o, t);
			give_all(d, t);
			t->n_items--;
			return true;
		}
		log_info("node %s: cannot take a tree that a client offers: %.150s", n->name,
			 is_it ? "it is lost" : m->reason);
		o->error = m->error > 0 && m->error < 4096 ? (int)m->error : EIO;
		snprintf(o->reason, sizeof o->reason, "node %.48s: %.100s", n->name,
			 *m->reason ? m->reason : strerror(o->error));
		o->tried[o->n_tried++] = n->id;
		o->node = NULL;
		timer_stop(&o->timer);
		seek(o);
		return true;
	}
	return false;
}

/* ---- nodes come and go */

void offers_node_came(struct driver *d)
{
	list_foreach (&d->offers, struct offer, link, o) {
		if (!o->node)
			seek(o);
	}
}

void offers_node_left(struct node *n)
{
	list_foreach (&n->driver->offers, struct offer, link, o) {
		if (o->node != n)
			continue;
		/* It is back, and may know nothing of it. */
		if (n->conn)
			conn_send(n->conn, WIRE_FETCH_STOP, &(struct wire_fetch_stop){.item = o->item});
		o->node = NULL;
		timer_stop(&o->timer);
		seek(o);
	}
}

void offers_free(struct driver *d)
{
	list_foreach (&d->offers, struct offer, link, o)
		refuse(o, ECANCELED, "vined stops");
	list_foreach (&d->given, struct offer, link, o)
		offer_free(o);
}

/* ---- what clients do */

static const char *find_fault(const struct driver *d, const struct conn *client, const struct wire_offer *m)
{
	size_t n = 0;
	list_foreach (&d->offers, const struct offer, link, o)
		n += o->client == client;
	if (n >= OFFERS_MOST)
		return "too many trees are offered at once on this connection: wait for one";
	if (!m->tree.algorithm)
		return "it is no tree's id";
	return m->size > INT64_MAX ? "it is larger than anything can be" : NULL;
}

void driver_offer(struct driver *d, struct conn *client, uint64_t id, const struct wire_offer *m, struct promise *p)
{
	const char *fault = find_fault(d, client, m);
	if (fault) {
		promise_status(p, has_prefix(fault, "too many") ? EAGAIN : EINVAL, "OFFER: %s", fault);
		return;
	}
	struct offer *o = NEW(struct offer);
	*o = (struct offer){.driver = d, .client = client, .id = id, .promise = p, .digest = m->tree, .size = m->size};
	list_init(&o->link);
	list_append(&d->offers, &o->link);
	struct tree *t = find_whole(d, &m->tree);
	if (t)
		give(o, t);
	else
		seek(o);
}

void driver_offer_cancel(struct driver *d, const struct conn *client, uint64_t id)
{
	list_foreach (&d->offers, struct offer, link, o) {
		if (o->client == client && o->id == id)
			refuse(o, ECANCELED, "cancelled");
	}
}

void driver_offer_leave(struct driver *d, const struct conn *client)
{
	list_foreach (&d->offers, struct offer, link, o) {
		if (o->client == client)
			refuse(o, ECONNRESET, "its client is gone");
	}
	list_foreach (&d->given, struct offer, link, o) {
		if (o->client != client)
			continue;
		o->client = NULL;
		timer_start(&o->timer, d->o.loop, LINGER_USEC, on_lingered);
	}
}

static struct offer *find_offer(struct driver *d, const struct digest *tree)
{
	list_foreach (&d->offers, struct offer, link, o) {
		if (digest_is_equal(&o->digest, tree))
			return o;
	}
	return NULL;
}

void driver_offer_moves(void *driver, const struct digest *tree)
{
	struct offer *o = find_offer(driver, tree);
	if (o && o->node)
		o->node->asked_usec = loop_now_usec(o->driver->o.loop);
}

struct conn *driver_find_offerer(struct driver *d, const struct digest *tree)
{
	struct offer *o = find_offer(d, tree);
	driver_offer_moves(d, tree);
	return o ? o->client : NULL;
}

int driver_find_holder(const struct driver *d, const struct digest *tree, struct conn **c, char reason[256])
{
	char text[DIGEST_TEXT_SIZE];
	const struct tree *t = map_get_text(&d->trees_by_digest, digest_text(tree, text));
	const struct replica *best = NULL;
	if (t)
		list_foreach (&t->replicas, const struct replica, of_tree, r) {
			if (r->node == d->past || !r->node->conn || !r->node->has_data || r->size < t->size)
				continue;
			if (!best || r->node->n_running < best->node->n_running)
				best = r;
		}
	if (!best) {
		snprintf(reason, 256, "tree %.16s: no node that is connected has all of it", text);
		return t ? -EHOSTUNREACH : -ENOENT;
	}
	*c = best->node->conn;
	return 0;
}
