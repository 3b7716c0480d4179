/* SPDX-License-Identifier: Apache-2.0
 * What this process alone sees is offered to the cluster before tasks name it, and read out of here by a node, over vined.
 *
 * 1. One thread at a time offers a tree; the others wait for what comes of it.
 * 2. An offer is never freed before the session; what it is about may be sealed anew. */
#include "libvineclient/client.h"
#include "libvineclient/sealed.h"

#include <inttypes.h>
#include <stdio.h>

#define OFFER_USEC 120000000u /* without a byte asked for */
#define SERVINGS_MOST 64      /* at once */

struct offer {
	struct vine *v;
	char id[DIGEST_TEXT_SIZE];
	/* lock */
	struct sealed *sealed;
	bool is_asked; /* by a thread that is in offer_one() */
	bool is_taken; /* a node has all of it */
	struct ask *ask;
	/* loop; others read it by __atomic functions */
	uint64_t n_served;
};

/* ---- reading out: the loop's thread */

struct serving {
	struct list link; /* in v->servings */
	struct offer *offer;
	struct sealed *sealed;
	struct stream stream;
	struct buf bytes; /* what is next to go */
	uint64_t chunk, end;
};

static void serving_free(struct serving *s)
{
	list_remove(&s->link);
	sealed_unref(s->sealed);
	buf_fini(&s->bytes);
	free(s);
}

/* The offer's thread hears what the node only guesses. */
static void offer_spoiled(struct offer *o, const char *why)
{
	struct vine *v = o->v;
	pthread_mutex_lock(&v->lock);
	struct ask *ask = o->ask && !o->ask->is_over && o->ask->n_sent ? o->ask : NULL;
	o->is_taken = false;
	pthread_mutex_unlock(&v->lock);
	if (ask)
		ask_fail(ask, ESTALE, why);
}

/* The next chunk, if what came before has gone. 1: there is something to send, 0: that was all, or -errno. */
static int serving_next(struct serving *s, char why[1024])
{
	if (s->bytes.n)
		return 1;
	if (s->chunk == s->end)
		return 0;
	int r = sealed_read(s->sealed, s->chunk, &s->bytes, why);
	s->chunk += r == 0;
	return r < 0 ? r : 1;
}

static void serving_go_on(struct serving *s)
{
	char why[1024];
	int r;
	while ((r = serving_next(s, why)) > 0) {
		size_t n = stream_send(&s->stream, s->bytes.at, s->bytes.n);
		__atomic_store_n(&s->offer->n_served, s->offer->n_served + n, __ATOMIC_RELAXED);
		buf_consume(&s->bytes, n);
		if (s->bytes.n)
			return;
	}
	if (r < 0)
		offer_spoiled(s->offer, why);
	stream_end(&s->stream, r);
	serving_free(s);
}

static void on_room(struct stream *stream)
{
	serving_go_on(container_of(stream, struct serving, stream));
}

static void on_stop(struct stream *stream, _unused_ int error)
{
	serving_free(container_of(stream, struct serving, stream));
}

/* Takes over nothing; the answer is sent in any case. */
static void serve(struct offer *o, struct sealed *sealed, struct conn *c, uint64_t id, uint16_t type,
		  const void *message, struct serving from)
{
	struct vine *v = o->v;
	char why[1024];
	size_t n = 0;
	list_foreach (&v->servings, struct serving, link, each)
		n++;
	if (n >= SERVINGS_MOST) {
		conn_reply_status(c, id, EAGAIN, "%d of its trees are being read: ask again later", SERVINGS_MOST);
		buf_fini(&from.bytes);
		return;
	}
	struct serving *s = NEW(struct serving);
	*s = from;
	s->offer = o;
	s->sealed = sealed_ref(sealed);
	s->stream = (struct stream){.on_room = on_room, .on_stop = on_stop};
	list_init(&s->link);
	list_append(&v->servings, &s->link);
	/* What cannot be read at all is told with its reason. */
	int r = serving_next(s, why);
	if (r < 0) {
		conn_reply_status(c, id, -r, "%s", why);
		offer_spoiled(o, why);
		serving_free(s);
	} else if (stream_start(&s->stream, c, id, type, message) < 0) {
		serving_free(s);
	} else {
		serving_go_on(s);
	}
}

static struct offer *find_offer(struct vine *v, const char *id, struct sealed **sealed)
{
	pthread_mutex_lock(&v->lock);
	struct offer *o = map_get_text(&v->offers, id);
	if (o)
		*sealed = sealed_ref(o->sealed);
	pthread_mutex_unlock(&v->lock);
	return o;
}

void offer_read_index(struct vine *v, struct conn *c, uint64_t id, const struct wire_read_index *m)
{
	_cleanup_(sealed_unrefp) struct sealed *s = NULL;
	struct offer *o = find_offer(v, m->tree, &s);
	if (!o) {
		conn_reply_status(c, id, ENOENT, "tree %.80s is not with this client", m->tree);
		return;
	}
	struct wire_index index = {.tree = *tree_id(s->tree), .size = s->vti_size, .rest = ""};
	struct serving from = {.chunk = 0};
	buf_put(&from.bytes, s->vti, s->vti_size);
	serve(o, s, c, id, WIRE_INDEX, &index, from);
}

void offer_read_chunks(struct vine *v, struct conn *c, uint64_t id, const struct wire_read_chunks *m)
{
	_cleanup_(sealed_unrefp) struct sealed *s = NULL;
	char text[DIGEST_TEXT_SIZE];
	struct offer *o = find_offer(v, digest_text(&m->tree, text), &s);
	uint64_t end;
	if (!o) {
		conn_reply_status(c, id, ENOENT, "tree %.80s is not with this client", text);
		return;
	}
	if (add_overflows(m->first, m->n, &end) || end > tree_n_chunks(s->tree)) {
		conn_reply_status(c, id, ERANGE, "tree %.80s has %llu chunks", text,
				  (unsigned long long)tree_n_chunks(s->tree));
		return;
	}
	struct serving from = {.chunk = m->first, .end = end};
	serve(o, s, c, id, WIRE_STATUS, &(struct wire_status){.error = 0}, from);
}

void offer_lost(struct vine *v)
{
	size_t i = 0;
	struct offer *o;
	pthread_mutex_lock(&v->lock);
	while ((o = map_next(&v->offers, &i)))
		o->is_taken = false;
	pthread_mutex_unlock(&v->lock);
}

/* ---- offering: the calling thread */

/* Lock held. */
static struct offer *get_offer(struct vine *v, struct sealed *s)
{
	const char *id = s->name + strlen("tree:");
	struct offer *o = map_get_text(&v->offers, id);
	if (!o) {
		o = NEW(struct offer);
		o->v = v;
		memcpy(o->id, id, sizeof o->id);
		map_put_text(&v->offers, o->id, o);
	}
	if (!o->is_asked && o->sealed != s) {
		sealed_unref(o->sealed);
		o->sealed = sealed_ref(s);
	}
	return o;
}

/* NULL: a node has it already, or, unless it is waited for, another thread offers it just now. Else the offer is the calling thread's. */
static struct offer *offer_claim(struct vine *v, struct sealed *s, bool is_waiting)
{
	pthread_mutex_lock(&v->lock);
	struct offer *o = get_offer(v, s);
	while (o->is_asked && is_waiting) {
		pthread_cond_wait(&v->wake, &v->lock);
		o = get_offer(v, s);
	}
	if (o->is_taken || o->is_asked)
		o = NULL;
	else
		o->is_asked = true;
	pthread_mutex_unlock(&v->lock);
	return o;
}

static void offer_settle(struct offer *o, bool is_taken)
{
	struct vine *v = o->v;
	pthread_mutex_lock(&v->lock);
	assert(o->is_asked);
	o->is_asked = false;
	o->is_taken = is_taken;
	o->ask = NULL;
	pthread_cond_broadcast(&v->wake);
	pthread_mutex_unlock(&v->lock);
}

struct offering {
	struct offer *offer;
	struct wire_offer message;
	struct ask ask;
};

static void offering_begin(struct vine *v, struct offering *g, const struct sealed *s)
{
	g->message = (struct wire_offer){.tree = *tree_id(s->tree), .size = sealed_size(s)};
	g->ask = (struct ask){.type = WIRE_OFFER,
			      .message = &g->message,
			      .needs_minor = 3,
			      .patience_usec = OFFER_USEC,
			      .n_moved = &g->offer->n_served};
	pthread_mutex_lock(&v->lock);
	g->offer->ask = &g->ask;
	pthread_mutex_unlock(&v->lock);
	ask_begin(v, &g->ask);
}

/* What came of it; `path` names it in the text. */
static int offering_end(struct offering *g, const struct sealed *s)
{
	int r = ask_end(&g->ask);
	offer_settle(g->offer, r == 0);
	if (r == -ESTALE)
		return error_set(ESTALE, "file %s", g->ask.text);
	return r < 0 ? error_set(-r, "file %s: no node has taken it: %s", s->path, g->ask.text) : 0;
}

int offer_all(struct vine *v, struct sealed *const s[], size_t n)
{
	_free_ struct offering *all = xcalloc(n + 1, sizeof *all);
	int r = 0;
	char text[ERROR_SIZE] = "";
	/* The answers are taken in the order of the questions, all of which are under way. */
	for (size_t i = 0; i < n; i++) {
		all[i].offer = offer_claim(v, s[i], false);
		if (all[i].offer)
			offering_begin(v, &all[i], s[i]);
	}
	for (size_t i = 0; i < n; i++) {
		int one = all[i].offer ? offering_end(&all[i], s[i]) : 0;
		if (one < 0 && !r) {
			r = one;
			snprintf(text, sizeof text, "%s", vine_error());
		}
	}
	/* What others were at is waited for with nothing in hand, so that no two wait for each other. */
	for (size_t i = 0; i < n && !r; i++) {
		struct offering again = {.offer = offer_claim(v, s[i], true)};
		if (!again.offer)
			continue;
		offering_begin(v, &again, s[i]);
		r = offering_end(&again, s[i]);
		snprintf(text, sizeof text, "%s", vine_error());
	}
	return r < 0 ? error_set(-r, "%s", text) : 0;
}

/* ---- how far it is */

struct row {
	char *path;
	char size[24], sent[24];
};

/* What is under way; to be freed. */
static struct row *list_rows(struct vine *v, size_t *n)
{
	struct offer *o;
	size_t i = 0;
	*n = 0;
	pthread_mutex_lock(&v->lock);
	struct row *rows = xcalloc(v->offers.n + 1, sizeof *rows);
	while ((o = map_next(&v->offers, &i))) {
		if (!o->is_asked)
			continue;
		struct row *r = &rows[(*n)++];
		uint64_t size = sealed_size(o->sealed), sent = __atomic_load_n(&o->n_served, __ATOMIC_RELAXED);
		r->path = xstrdup(o->sealed->path);
		snprintf(r->size, sizeof r->size, "%" PRIu64, size);
		snprintf(r->sent, sizeof r->sent, "%" PRIu64, min(sent, size));
	}
	pthread_mutex_unlock(&v->lock);
	return rows;
}

int offer_list(struct vine *v, vine_row_fn *fn, void *arg)
{
	static const char *const names[] = {"file", "size", "sent"};
	size_t n;
	_free_ struct row *rows = list_rows(v, &n);
	int r = 0, stop = 0;
	for (size_t i = 0; i < n; i++) {
		if (!stop) {
			stop = fn(arg, countof(names), names,
				  (const char *const[]){rows[i].path, rows[i].size, rows[i].sent});
			r++;
		}
		free(rows[i].path);
	}
	return stop < 0 ? stop : r;
}

void offer_free_all(struct vine *v)
{
	size_t i = 0;
	struct offer *o;
	assert(list_is_empty(&v->servings));
	while ((o = map_next(&v->offers, &i))) {
		sealed_unref(o->sealed);
		free(o);
	}
	map_fini(&v->offers);
}
