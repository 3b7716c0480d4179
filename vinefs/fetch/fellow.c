/* SPDX-License-Identifier: Apache-2.0
 * Nodes that read the same path, of which nobody knows yet which tree it is. Each part of a file has an order of its own among them, by hash: the first in it reads the directory, and who is at place n asks who is at place
 * (n - 1) / 2. So each byte is read once, each node gives about as much as it gets, and since whom one asks always stands before one, nobody waits for himself, whatever each of them knows of the others. Who does not answer, or has
 * another directory at this path, is left out for a while; where nobody is left the directory is read.
 *
 * What a fellow gives is worth what the sealing of one of them is worth: it cannot be verified until the tree is known, and is then (draft.c). */
#include "vinefs/fetch/draft.h"
#include "vinefs/fetch/peer.h"

#include "common/log.h"

#define PATHS_MOST 64u /* that are remembered; the one told longest ago goes */
#define BLOCK_SIZE (64u << 10)
#define AWAY_USEC 10000000u
#define LACKS_USEC 60000000u /* who has no draft of it will hardly have one soon */
#define LATE_USEC 5000000u   /* at most; else by what answers took */
#define LATE_LEAST_USEC 1000000u
#define NAMES_USEC 20000000u /* who has them may be reading them still */
#define SLOW 100000000u      /* bytes a second: of who is slower than zstd frames are asked for */

struct fellow {
	struct list link; /* of struct fellows */
	struct fellows *owner;
	struct peer_user user;
	uint64_t hash, away_until_usec;
	uint64_t usec; /* that an answer takes, of late */
	uint64_t rate; /* bytes a second of answers; 0: not known */
	struct list asks;
	char *name, *address;
};

struct fellows {
	struct list link; /* of fetch_peers; told last at the end */
	struct fetch_peers *peers;
	struct list all; /* but this node */
	uint64_t own_hash;
	struct fellow *reader; /* who has the names first; NULL: this node, or nobody */
	bool is_listed;        /* others ask this node */
	char *path;
};

/* ---- the order */

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}

static uint64_t hash_text(const char *text)
{
	uint64_t h = UINT64_C(14695981039346656037);
	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * UINT64_C(1099511628211);
	return mix(h);
}

static uint64_t place_of(uint64_t hash, uint64_t part)
{
	return mix(hash ^ mix(part));
}

/* Those before this node in the order of a part, the first first. */
static unsigned find_before(const struct fellows *g, uint64_t part, uint64_t now, struct fellow **before)
{
	uint64_t own = g->is_listed ? place_of(g->own_hash, part) : UINT64_MAX;
	unsigned n = 0;
	list_foreach (&g->all, struct fellow, link, w) {
		uint64_t place = place_of(w->hash, part);
		unsigned i = n;
		if (place >= own || now < w->away_until_usec || n == FETCH_FELLOWS_MOST)
			continue;
		for (; i && place_of(before[i - 1]->hash, part) > place; i--)
			before[i] = before[i - 1];
		before[i] = w;
		n++;
	}
	return n;
}

static struct fellow *whom(const struct fellows *g, const struct fellow_ask *a)
{
	struct fellow *before[FETCH_FELLOWS_MOST];
	uint64_t part = a->draft ? mix((uint64_t)a->node << 32 | a->offset / BLOCK_SIZE) : 0;
	unsigned n = find_before(g, part, loop_now_usec(g->peers->settings.loop), before);
	return n ? before[(n - 1) / 2] : NULL;
}

/* Names come from their reader by way of others, who do not make them up themselves meanwhile: he stands before all. */
static struct fellow *whom_for_names(const struct fellows *g, const struct fellow_ask *a)
{
	struct fellow *r = g->reader, *w = whom(g, a);
	bool is_there = r && loop_now_usec(g->peers->settings.loop) >= r->away_until_usec;
	return is_there && (!w || a->n_tries > 1) ? r : is_there ? w : NULL;
}

/* ---- asking */

static void stop_waiting(struct fellow_ask *a)
{
	list_remove(&a->link);
	call_stop(&a->call);
	timer_stop(&a->patience);
	a->of = NULL;
}

static void end(struct fellow_ask *a, int error, const void *message)
{
	stop_waiting(a);
	a->on_done(a, error, message);
}

/* It is asked no more for a while, and what it was asked for goes elsewhere. */
static void leave_out(struct fellow *w, int error, const char *reason)
{
	uint64_t usec = error == -ENOENT ? LACKS_USEC : AWAY_USEC;
	w->away_until_usec = loop_now_usec(w->owner->peers->settings.loop) + usec;
	log_debug("%s: node %s gives nothing of it: %s", w->owner->path, w->name, reason);
	while (!list_is_empty(&w->asks))
		end(list_first(&w->asks, struct fellow_ask, link), error, NULL);
}

static uint64_t late_usec(const struct fellow *w, const struct fellow_ask *a)
{
	if (!a->draft)
		return NAMES_USEC;
	return w->usec ? min(max(4 * w->usec, (uint64_t)LATE_LEAST_USEC), (uint64_t)LATE_USEC) : LATE_USEC;
}

/* Half of the time has passed, then all: where it was this node that stood still, what has come meanwhile is seen in between. */
static void on_late(struct timer *t)
{
	struct fellow_ask *a = container_of(t, struct fellow_ask, patience);
	if (a->is_half_late) {
		leave_out(a->of, -ETIMEDOUT, "it does not answer");
		return;
	}
	a->is_half_late = true;
	timer_start(t, a->fetch->loop, a->late_usec / 2, on_late);
}

static void measure(struct fellow *w, const struct fellow_ask *a)
{
	uint64_t usec = max(loop_now_usec(w->owner->peers->settings.loop) - a->since_usec, UINT64_C(1));
	uint64_t rate = a->n * UINT64_C(1000000) / usec;
	w->usec = w->usec ? (7 * w->usec + usec) / 8 : usec;
	w->rate = w->rate ? (7 * w->rate + rate) / 8 : rate;
}

static void on_reply(struct call *c, int error, uint16_t type, const void *message)
{
	struct fellow_ask *a = container_of(c, struct fellow_ask, call);
	struct fellow *w = a->of;
	const struct wire_draft_part *m = message;
	if (!error && type != (a->draft ? WIRE_DRAFT_PART : WIRE_NAMES))
		error = -EPROTO;
	if (!error && a->draft && (m->codec > 1 || (!m->codec && m->bytes.n != a->n)))
		error = -EBADMSG;
	if (error == -ESTALE || error == -EFBIG) {
		/* The file has changed for it, so it may have for us: the directory tells. */
		end(a, error, NULL);
	} else if (error) {
		leave_out(w, error, strerror(-error));
	} else if (!a->draft) {
		end(a, 0, message);
	} else {
		measure(w, a);
		if (w->owner->peers->settings.on_part)
			w->owner->peers->settings.on_part(w->owner->peers->settings.arg, w->owner->path, w->name, a->n);
		end(a, 0, m);
	}
}

static int send_ask(struct fellow_ask *a, struct conn *c)
{
	const struct wire_read_names names = {.path = a->path};
	a->call.on_reply = on_reply;
	if (!a->draft)
		return call_start(&a->call, c, WIRE_READ_NAMES, &names, 0);
	const struct wire_read_draft m = {.path = a->path,
					  .face = a->draft->face,
					  .node = a->node,
					  .offset = a->offset,
					  .n = a->n,
					  .codecs = a->of->rate < SLOW};
	return call_start(&a->call, c, WIRE_READ_DRAFT, &m, 0);
}

static void on_ready(struct peer_user *u, int error, const char *reason)
{
	struct fellow *w = container_of(u, struct fellow, user);
	struct conn *c = peer_conn(u);
	if (error) {
		leave_out(w, error, reason);
		return;
	}
	list_foreach (&w->asks, struct fellow_ask, link, a) {
		error = a->call.conn || !c ? 0 : send_ask(a, c);
		if (error) {
			leave_out(w, error, strerror(-error));
			return;
		}
	}
}

bool fellow_ask(struct fellow_ask *a)
{
	struct fetch_peers *p = a->fetch->peers;
	const struct fellows *g = a->draft ? a->draft->fellows : fellows_of(a->fetch, a->path);
	assert(!a->of && a->on_done);
	if (!p || !g || a->n_tries++ == FELLOW_TRIES)
		return false;
	struct fellow *w = a->draft ? whom(g, a) : whom_for_names(g, a);
	if (!w)
		return false;
	list_init(&a->link);
	list_append(&w->asks, &a->link);
	a->of = w;
	a->since_usec = loop_now_usec(p->settings.loop);
	if (!w->user.peer) {
		w->user.on_ready = on_ready;
		peer_join(p, &w->user, w->address);
	}
	struct conn *c = peer_conn(&w->user);
	if (c && send_ask(a, c)) {
		list_remove(&a->link);
		a->of = NULL;
		return false;
	}
	a->is_half_late = false;
	a->late_usec = late_usec(w, a);
	timer_start(&a->patience, p->settings.loop, a->late_usec / 2, on_late);
	return true;
}

uint64_t fellow_block(const struct draft *d)
{
	return d->fellows && d->fetch->peers && !list_is_empty(&d->fellows->all) ? BLOCK_SIZE : 0;
}

/* ---- who they are */

static void fellow_free(struct fellow *w)
{
	leave_out(w, -ECANCELED, "forgotten");
	list_remove(&w->link);
	peer_leave(&w->user);
	free(w->name);
	free(w->address);
	free(w);
}

static void fellows_free(struct fellows *g)
{
	list_foreach (&g->peers->settings.fetch->drafts, struct draft, link, d)
		if (d->fellows == g)
			d->fellows = NULL;
	list_foreach (&g->all, struct fellow, link, w)
		fellow_free(w);
	list_remove(&g->link);
	free(g->path);
	free(g);
}

static struct fellows *find(const struct fetch_peers *p, const char *path)
{
	list_foreach (&p->fellows, struct fellows, link, g) {
		if (streq(g->path, path))
			return g;
	}
	return NULL;
}

static struct fellows *fellows_new(struct fetch_peers *p, const char *path)
{
	struct fellows *g = NEW(struct fellows);
	g->peers = p;
	g->path = xstrdup(path);
	list_init(&g->all);
	list_init(&g->link);
	list_append(&p->fellows, &g->link);
	if (++p->n_fellows > PATHS_MOST) {
		fellows_free(list_first(&p->fellows, struct fellows, link));
		p->n_fellows--;
	}
	return g;
}

static void add(struct fellows *g, const struct fetch_holder *h)
{
	const char *own = g->peers->settings.address;
	assert(*h->address);
	if (own && streq(own, h->address)) {
		g->is_listed = true;
		g->own_hash = hash_text(own);
		return;
	}
	list_foreach (&g->all, struct fellow, link, each)
		if (streq(each->address, h->address))
			return;
	struct fellow *w = NEW(struct fellow);
	w->owner = g;
	w->name = xstrdup(h->name);
	w->address = xstrdup(h->address);
	w->hash = hash_text(h->address);
	list_init(&w->link);
	list_init(&w->asks);
	list_append(&g->all, &w->link);
	/* Its first answer is not to wait for a connection. */
	w->user.on_ready = on_ready;
	peer_join(g->peers, &w->user, w->address);
}

void fetch_fellows(struct fetch_peers *p, const char *path, const struct fetch_holder *fellows, size_t n)
{
	struct fellows *g = find(p, path);
	if (!g)
		g = fellows_new(p, path);
	for (size_t i = 0; i < min(n, (size_t)FETCH_FELLOWS_MOST); i++)
		add(g, &fellows[i]);
	g->reader = NULL;
	list_foreach (&g->all, struct fellow, link, w)
		if (n && streq(w->address, fellows[0].address))
			g->reader = w;
	list_foreach (&p->settings.fetch->drafts, struct draft, link, d)
		if (streq(d->path, path))
			d->fellows = g;
}

struct fellows *fellows_of(const struct fetch *f, const char *path)
{
	return f->peers ? find(f->peers, path) : NULL;
}

void fellows_stop(struct fetch_peers *p)
{
	list_foreach (&p->fellows, struct fellows, link, g)
		fellows_free(g);
	p->n_fellows = 0;
}
