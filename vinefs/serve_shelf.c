/* SPDX-License-Identifier: Apache-2.0
 * Trees that are read from stay open a while: who asks for one thing of a tree asks for the next. */
#include "vinefs/serve_internal.h"

#define OPEN_MOST 64u      /* trees that stay open a while */
#define OPEN_USEC 5000000u /* so long after their last use */

static void shelf_part(struct shelf *b)
{
	assert(b->owner && b->owner->n_trees);
	b->owner->n_trees--;
	b->owner = NULL;
	list_remove(&b->link);
}

static void shelf_free(struct shelf *b)
{
	assert(!b->n_users && !b->news && list_is_empty(&b->users));
	if (b->owner)
		shelf_part(b);
	fetch_open_stop(&b->open);
	if (b->tree)
		fetch_close(b->tree);
	swarm_given_free(b->given);
	swarm_given_free(b->given_parts);
	free(b->part_digests);
	free(b);
}

static void on_timer(struct timer *t)
{
	struct serve *s = container_of(t, struct serve, timer);
	uint64_t now = loop_now_usec(s->loop);
	serve_end_stuck(s);
	list_foreach (&s->trees, struct shelf, link, b) {
		if (!b->n_users && b->used_usec + OPEN_USEC <= now)
			shelf_free(b);
	}
	if (s->n_trees)
		timer_start(&s->timer, s->loop, OPEN_USEC, on_timer);
}

static void make_room(struct serve *s)
{
	list_foreach (&s->trees, struct shelf, link, b) {
		if (s->n_trees < OPEN_MOST)
			return;
		if (!b->n_users)
			shelf_free(b);
	}
}

/* Whoever is told may leave, join anew, or make others leave. */
static void on_opened(struct fetch_open *o, int error, struct fetch_tree *t)
{
	struct shelf *b = container_of(o, struct shelf, open);
	struct shelf_user *u;
	b->tree = t;
	b->n_users++; /* until all were told */
	while ((u = list_first(&b->users, struct shelf_user, link))) {
		list_remove(&u->link);
		u->is_waiting = false;
		if (error) {
			u->shelf = NULL;
			b->n_users--;
		}
		u->on_open(u, error);
	}
	b->n_users--;
	if (error)
		shelf_free(b);
}

static struct shelf *find(const struct serve *s, const struct digest *id)
{
	list_foreach (&s->trees, struct shelf, link, b) {
		if (digest_is_equal(&b->id, id))
			return b;
	}
	return NULL;
}

static int shelf_new(struct serve *s, const struct digest *id, struct shelf **out)
{
	make_room(s);
	struct shelf *b = NEW(struct shelf);
	b->owner = s;
	b->id = *id;
	b->open.on_done = on_opened;
	int r = fetch_open_now(s->fetch, id, "peers", "they read it", &b->tree);
	if (r == -EAGAIN)
		r = fetch_open(s->fetch, &b->open, id, "peers", "they read it");
	if (r) {
		free(b);
		return r;
	}
	list_init(&b->users);
	list_init(&b->link);
	list_append(&s->trees, &b->link);
	s->n_trees++;
	if (!s->timer.loop)
		timer_start(&s->timer, s->loop, OPEN_USEC, on_timer);
	*out = b;
	return 0;
}

int shelf_join(struct serve *s, struct shelf_user *u, const struct digest *id)
{
	struct shelf *b = find(s, id);
	assert(!u->shelf && u->on_open);
	int r = b ? 0 : shelf_new(s, id, &b);
	if (r)
		return r;
	u->shelf = b;
	b->n_users++;
	list_init(&u->link);
	u->is_waiting = !b->tree;
	if (u->is_waiting)
		list_append(&b->users, &u->link);
	return 0;
}

void shelf_leave(struct shelf_user *u)
{
	struct shelf *b = steal(u->shelf);
	if (!b)
		return;
	assert(b->n_users);
	list_remove(&u->link);
	u->is_waiting = false;
	b->n_users--;
	if (!b->owner) {
		if (!b->n_users)
			shelf_free(b);
		return;
	}
	b->used_usec = loop_now_usec(b->owner->loop);
	list_remove(&b->link);
	list_append(&b->owner->trees, &b->link);
}

uint32_t shelf_place(const struct shelf *b, uint64_t chunk, uint64_t *offset, size_t *size)
{
	const struct tree *t = fetch_index(b->tree);
	uint32_t blob = tree_blob_of(t, chunk);
	const struct tree_blob *at = tree_blob(t, blob);
	*offset = (chunk - at->first_chunk) * at->chunk_size;
	*size = (size_t)min((uint64_t)at->chunk_size, at->size - *offset);
	return blob;
}

void shelves_close(struct serve *s)
{
	timer_stop(&s->timer);
	list_foreach (&s->trees, struct shelf, link, b) {
		if (b->n_users)
			shelf_part(b);
		else
			shelf_free(b);
	}
}
