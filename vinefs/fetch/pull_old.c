/* SPDX-License-Identifier: Apache-2.0
 * Who knows no swarm, or is no node (vined for a client): one of them at a time is asked for ranges, a few at a time, in rounds; for what no neighbour has. */
#include "vinefs/fetch/pull.h"

#define ASKS_MOST 4u        /* requests of one pull under way */
#define ASK_SIZE (2u << 20) /* of one, about */

/* Chunks [chunk, end) are still to come. */
struct ask {
	struct list link;
	struct pull *pull;
	struct call call;
	uint64_t chunk, end;
	uint8_t *bytes; /* of `chunk` */
	size_t have, size;
	bool is_held;
};

/* ---- whom */

/* The present one, if it is good; else the next that is. */
static struct holder *choose(struct pull *p)
{
	for (size_t i = 0; i < p->n_holders; i++) {
		size_t k = (p->at + i) % p->n_holders;
		if (!p->holders[k]->is_old || p->holders[k]->standing != HOLDER_GOOD)
			continue;
		if (k != p->at)
			old_let_go(p);
		p->at = k;
		return p->holders[k];
	}
	return NULL;
}

void old_let_go(struct pull *p)
{
	if (p->at < p->n_holders)
		index_left(p, p->holders[p->at]);
	old_drop(p);
	peer_leave(&p->user);
	p->is_joining = false;
}

void old_failed(struct pull *p, enum standing standing, const char *what)
{
	old_let_go(p);
	pull_set_standing(p->holders[p->at], standing, standing == HOLDER_BAD ? FAULT_LIED : FAULT_OF_NONE, what);
	p->next = 0;
	pull_go_on(p);
}

static void on_ready(struct peer_user *u, int error, const char *reason)
{
	struct pull *p = container_of(u, struct pull, user);
	p->is_joining = false;
	if (error)
		old_failed(p, error == -EPROTO ? HOLDER_BAD : HOLDER_AWAY, reason);
	else
		pull_go_on(p);
}

struct conn *old_conn(struct pull *p)
{
	struct holder *h = choose(p);
	if (!h)
		return NULL;
	struct conn *c = h->conn ? h->conn(h->arg) : peer_conn(&p->user);
	if (c || p->is_joining)
		return c;
	if (h->conn) {
		old_failed(p, HOLDER_AWAY, "it is not connected just now");
		return NULL;
	}
	peer_leave(&p->user);
	p->is_joining = true;
	p->user.on_ready = on_ready;
	peer_join(p->owner, &p->user, h->address);
	return NULL;
}

/* ---- requests */

static void ask_free(struct ask *a)
{
	struct pull *p = a->pull;
	assert(p->n_asks);
	p->n_asks--;
	call_stop(&a->call);
	list_remove(&a->link);
	/* What did not come may be asked of others. */
	for (uint64_t i = a->chunk; i < a->end; i++)
		if (cache_tree_residency(fetch_cache_tree(p->tree), i) == CACHE_ABSENT && !map_get(&p->stored, i))
			swarm_lacks(p->swarm, i);
	free(a->bytes);
	free(a);
}

void old_drop(struct pull *p)
{
	list_foreach (&p->asks, struct ask, link, a)
		ask_free(a);
}

void old_give_more(struct pull *p)
{
	list_foreach (&p->asks, struct ask, link, a) {
		if (!a->is_held)
			continue;
		a->is_held = false;
		call_more(&a->call);
	}
}

static void refused(struct pull *p, int error, uint16_t type, const void *message)
{
	char text[256];
	enum standing standing = pull_standing(p, error, type, message, text);
	old_failed(p, standing, text);
}

static void on_ask_reply(struct call *call, int error, uint16_t type, const void *message)
{
	struct ask *a = container_of(call, struct ask, call);
	struct pull *p = a->pull;
	if (error == -ENODATA) {
		p->is_short = true;
		ask_free(a);
		pull_go_on(p);
	} else if (error) {
		refused(p, error, type, message);
	} else if (type != WIRE_STATUS || !call->is_streaming) {
		old_failed(p, HOLDER_BAD, "its answer is none");
	}
}

static bool on_ask_data(struct call *call, const void *bytes, size_t n)
{
	struct ask *a = container_of(call, struct ask, call);
	struct pull *p = a->pull;
	for (size_t at = 0; at < n;) {
		if (a->chunk == a->end) {
			old_failed(p, HOLDER_BAD, "it gave more than was asked for");
			return false;
		}
		if (!a->bytes) {
			a->have = 0;
			a->size = pull_size_of(fetch_index(p->tree), a->chunk);
			a->bytes = xmalloc(a->size);
		}
		size_t part = min(n - at, a->size - a->have);
		memcpy(a->bytes + a->have, (const uint8_t *)bytes + at, part);
		a->have += part;
		at += part;
		if (a->have < a->size)
			continue;
		if (map_get(&p->stored, a->chunk))
			free(steal(a->bytes));
		else
			store_chunk(p, p->holders[p->at], a->chunk, steal(a->bytes), a->size, 0);
		a->chunk++;
	}
	/* What is still under way comes all the same, and frees nobody. */
	a->is_held |= p->storing_size >= STORING_MOST;
	return !a->is_held;
}

static void on_ask_end(struct call *call, int error)
{
	struct ask *a = container_of(call, struct ask, call);
	struct pull *p = a->pull;
	bool is_short = error == -ENODATA, is_whole = error == 0 && a->chunk == a->end;
	if (!is_short && !is_whole) {
		if (error)
			refused(p, error, 0, NULL);
		else
			old_failed(p, HOLDER_BAD, "it gave less than was asked for");
		return;
	}
	p->is_short |= is_short;
	ask_free(a);
	pull_go_on(p);
}

bool old_is_asked(const struct pull *p, uint64_t chunk)
{
	bool found = false;
	list_foreach (&p->asks, struct ask, link, a)
		found |= a->chunk <= chunk && chunk < a->end;
	return found;
}

static bool is_elsewhere(const struct pull *p, uint64_t chunk)
{
	for (size_t i = 0; i < p->n_holders; i++) {
		const struct holder *h = p->holders[i];
		if (h->number >= 0 && swarm_may_have(p->swarm, h->number, chunk))
			return true;
	}
	return false;
}

static bool is_wanted(const struct pull *p, uint64_t chunk)
{
	return cache_tree_residency(fetch_cache_tree(p->tree), chunk) == CACHE_ABSENT && !map_get(&p->stored, chunk) &&
	       !old_is_asked(p, chunk) && !is_elsewhere(p, chunk);
}

/* From p->next on, which is wanted, as many as are in one piece. False: that failed, and p may be gone. */
static bool ask_range(struct pull *p, struct conn *c)
{
	const struct tree *t = fetch_index(p->tree);
	struct ask *a = NEW(struct ask);
	a->pull = p;
	a->chunk = a->end = p->next;
	for (uint64_t size = 0; size < ASK_SIZE && a->end < tree_n_chunks(t) && is_wanted(p, a->end); a->end++)
		size += pull_size_of(t, a->end);
	assert(a->end > a->chunk);
	const struct wire_read_chunks m = {.tree = p->id, .first = a->chunk, .n = a->end - a->chunk};
	/* Nobody else is asked for them meanwhile. */
	for (uint64_t i = a->chunk; i < a->end; i++)
		swarm_has(p->swarm, i);
	a->call = (struct call){.on_reply = on_ask_reply, .on_data = on_ask_data, .on_end = on_ask_end};
	list_init(&a->link);
	list_append(&p->asks, &a->link);
	p->n_asks++;
	p->next = a->end;
	int r = call_start(&a->call, c, WIRE_READ_CHUNKS, &m, p->owner->settings.silent_usec);
	if (r)
		refused(p, r, 0, NULL);
	return r == 0;
}

void old_go_on(struct pull *p)
{
	uint64_t n_chunks = tree_n_chunks(fetch_index(p->tree));
	if (!choose(p))
		return;
	for (;;) {
		while (p->next < n_chunks && !is_wanted(p, p->next))
			p->next++;
		if (p->next == n_chunks || p->n_asks == ASKS_MOST || p->storing_size >= STORING_MOST)
			break;
		struct conn *c = old_conn(p);
		if (!c || !ask_range(p, c))
			return;
	}
	if (p->next < n_chunks || p->n_asks || !p->is_short)
		return;
	/* The end of a round in which something did not come. */
	p->is_short = false;
	old_failed(p, HOLDER_LACKING, "it does not have all of it yet");
}
