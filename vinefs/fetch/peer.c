/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/fetch/peer.h"

#include "common/log.h"
#include "common/net.h"
#include "vinefs/fetch/piece.h"

#include <stdio.h>

#define IDLE_USEC 30000000u /* a connection that nobody uses is kept so long */

static void peer_free(struct peer *p)
{
	assert(list_is_empty(&p->users) && p->owner->n_peers);
	p->owner->n_peers--;
	list_remove(&p->link);
	timer_stop(&p->timer);
	conn_free(p->conn);
	free(p->address);
	free(p);
}

static void on_idle(struct timer *t)
{
	peer_free(container_of(t, struct peer, timer));
}

/* Whoever hears of it may join or leave others, and this one anew. */
static void tell(struct peer *p, int error, const char *reason)
{
	struct list told = LIST_INIT(told);
	struct peer_user *u;
	list_splice(&told, &p->users);
	while ((u = list_first(&told, struct peer_user, link))) {
		list_remove(&u->link);
		if (error)
			u->peer = NULL;
		else
			list_append(&p->users, &u->link);
		u->on_ready(u, error, reason);
	}
}

static void on_open(struct conn *c, const struct wire_hello *hello)
{
	struct peer *p = conn_owner(c);
	assert(hello && p->conn == c);
	timer_stop(&p->timer);
	tell(p, 0, NULL);
	if (list_is_empty(&p->users) && p->conn)
		timer_start(&p->timer, p->owner->settings.loop, IDLE_USEC, on_idle);
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	(void)message;
	conn_reply_status(c, h->id, ENOSYS, "whoever asks is not asked");
}

static void on_close(struct conn *c, int error, const char *reason)
{
	struct peer *p = conn_owner(c);
	char text[256];
	snprintf(text, sizeof text, "%.160s: %.80s", p->address, reason ? reason : "closed");
	p->conn = NULL;
	conn_free(c);
	timer_stop(&p->timer);
	/* Out of the list first: who joins this address again gets a new connection. */
	list_remove(&p->link);
	tell(p, error ? -abs(error) : -ECONNRESET, text);
	peer_free(p);
}

static void on_late(struct timer *t)
{
	struct peer *p = container_of(t, struct peer, timer);
	if (p->conn) {
		conn_abort(p->conn, ETIMEDOUT, "does not answer");
		return;
	}
	/* It could not even be begun; that is told here, outside the call that wanted it. */
	char text[256];
	snprintf(text, sizeof text, "%.160s: %s", p->address, strerror(-p->error));
	list_remove(&p->link);
	tell(p, p->error, text);
	peer_free(p);
}

static void begin(struct peer *p)
{
	static const struct conn_ops ops = {.on_open = on_open, .on_message = on_message, .on_close = on_close};
	const struct fetch_peers_settings *s = &p->owner->settings;
	const struct conn_options o = {.ops = &ops,
				       .owner = p,
				       .tls = s->tls,
				       .hello = s->hello,
				       .peer = TLS_ROLE_NODE,
				       .cluster = s->cluster};
	struct net_address a;
	int r = net_parse(p->address, &a);
	if (r == 0)
		r = net_connect(&a);
	p->conn = r >= 0 ? conn_new(s->loop, r, false, &o) : NULL;
	p->error = p->conn ? 0 : r < 0 ? r : -errno;
	timer_start(&p->timer, s->loop, p->conn ? s->silent_usec : 0, on_late);
}

static struct peer *find(struct fetch_peers *f, const char *address)
{
	list_foreach (&f->peers, struct peer, link, p) {
		if (streq(p->address, address))
			return p;
	}
	return NULL;
}

static void on_now(struct timer *t)
{
	struct peer *p = container_of(t, struct peer, timer);
	tell(p, 0, NULL);
}

void peer_join(struct fetch_peers *f, struct peer_user *u, const char *address)
{
	struct peer *p = find(f, address);
	assert(!u->peer && u->on_ready);
	if (!p) {
		p = NEW(struct peer);
		p->owner = f;
		p->address = xstrdup(address);
		list_init(&p->users);
		list_init(&p->link);
		list_append(&f->peers, &p->link);
		f->n_peers++;
		begin(p);
	}
	list_init(&u->link);
	list_append(&p->users, &u->link);
	u->peer = p;
	if (p->conn && conn_is_open(p->conn))
		timer_start(&p->timer, f->settings.loop, 0, on_now);
}

void peer_leave(struct peer_user *u)
{
	struct peer *p = u->peer;
	if (!p)
		return;
	list_remove(&u->link);
	u->peer = NULL;
	if (list_is_empty(&p->users) && p->conn && conn_is_open(p->conn))
		timer_start(&p->timer, p->owner->settings.loop, IDLE_USEC, on_idle);
}

struct conn *peer_conn(const struct peer_user *u)
{
	return u->peer && u->peer->conn && conn_is_open(u->peer->conn) ? u->peer->conn : NULL;
}

/* ---- life */

struct fetch_peers *fetch_peers_new(const struct fetch_peers_settings *s)
{
	struct fetch_peers *f = NEW(struct fetch_peers);
	assert(s->loop && s->fetch && s->cache && s->hello);
	f->settings = *s;
	f->settings.silent_usec = s->silent_usec ? s->silent_usec : PEER_SILENT_USEC;
	f->settings.patience_usec = s->patience_usec ? s->patience_usec : PEER_PATIENCE_USEC;
	list_init(&f->peers);
	list_init(&f->pulls);
	list_init(&f->waiting);
	list_init(&f->known_trees);
	list_init(&f->pieces);
	list_init(&f->plains);
	list_init(&f->fellows);
	f->seed = loop_now_usec(s->loop) ^ (uintptr_t)f;
	fetch_use_peers(s->fetch, f);
	return f;
}

void fetch_peers_free(struct fetch_peers *f)
{
	if (!f)
		return;
	fetch_use_peers(f->settings.fetch, NULL);
	pulls_stop(f);
	pieces_stop(f);
	pull_plains_stop(f);
	fellows_stop(f);
	list_foreach (&f->peers, struct peer, link, p)
		peer_free(p);
	assert(!f->n_peers);
	free(f);
}
