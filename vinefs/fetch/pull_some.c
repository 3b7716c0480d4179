/* SPDX-License-Identifier: Apache-2.0
 * What the swarm wants next is asked of whom it says: READ_SOME -> the giver chooses -> the bytes, in the answer or beside it -> stored, or, of the index, verified here. */
#include "vinefs/fetch/pull.h"

#define SHARE_GATING 4u       /* of the bytes under way of all trees, against one for what nobody waits for */
#define READERS_USEC 2000000u /* readers hold up bulk so long at most */
#define BULK_USEC 500000u     /* and then not for so long */
#define NEXT_USEC 20000u      /* who has read may read on: asking again is put off so long */
#define LATER_USEC 1000000u   /* and so long what is under way is kept low */
#define READER_WINDOW_USEC 10000u

static uint64_t now_of(const struct pull *p)
{
	return loop_now_usec(p->owner->settings.loop);
}

static struct swarm *swarm_of(const struct some *s)
{
	return s->is_index ? s->pull->index.swarm : s->pull->swarm;
}

static void some_free(struct some *s)
{
	struct pull *p = s->pull;
	assert(p->flying >= s->flying && p->owner->flying >= s->flying && s->holder->n_asks);
	p->flying -= s->flying;
	p->owner->flying -= s->flying;
	s->holder->n_asks--;
	call_stop(&s->call);
	pull_plain_stop(s);
	list_remove(&s->link);
	free(s->bytes);
	free(s);
}

/* Ended without what it was for. */
static void some_end(struct some *s)
{
	swarm_failed(swarm_of(s), s->wish.number, now_of(s->pull));
	some_free(s);
}

void some_drop(struct pull *p, const struct holder *h)
{
	list_foreach (&p->somes, struct some, link, s) {
		if (!h || s->holder == h)
			some_end(s);
	}
}

static void lied(struct some *s, const char *what)
{
	watch_failed(s->holder, HOLDER_BAD, FAULT_LIED, what);
}

/* ---- it has come */

/* A chunk that was late is asked of two. */
static void drop_doubles(const struct some *s)
{
	list_foreach (&s->pull->somes, struct some, link, other) {
		if (other != s && other->is_chosen && other->is_index == s->is_index && other->chunk == s->chunk)
			some_end(other);
	}
}

static void came(struct some *s)
{
	struct pull *p = s->pull;
	struct holder *h = s->holder;
	uint64_t chunk = s->chunk;
	if (s->is_index) {
		_free_ uint8_t *bytes = steal(s->bytes);
		size_t n = s->size;
		swarm_came(p->index.swarm, s->wish.number, n, now_of(p));
		some_free(s);
		index_parts_came(p, h, chunk, bytes, n);
		pull_go_on(p);
		return;
	}
	bool is_new = !swarm_is_here(p->swarm, chunk) && !map_get(&p->stored, chunk);
	swarm_came(p->swarm, s->wish.number, s->size, now_of(p));
	drop_doubles(s);
	if (is_new)
		store_chunk(p, h, chunk, steal(s->bytes), s->size, s->codec);
	some_free(s);
	pull_go_on(p);
}

void some_plain_over(struct some *s, int error)
{
	struct holder *h = s->holder;
	struct pull *p = s->pull;
	if (!error) {
		came(s);
		return;
	}
	/* It may be a port that is closed to us: asked again, on the connection. */
	h->is_no_plain = true;
	some_end(s);
	pull_go_on(p);
}

/* ---- the answer */

static bool is_wished(const struct some *s, uint64_t chunk)
{
	uint64_t i = chunk - s->wish.first;
	return chunk >= s->wish.first && i / 8 < s->wish.n && s->wish.wanted[i / 8] >> i % 8 & 1;
}

static size_t size_wanted(const struct some *s, uint64_t chunk)
{
	const struct pull_index *x = &s->pull->index;
	if (s->is_index)
		return (size_t)min((uint64_t)x->part_size, x->size - chunk * x->part_size);
	return pull_size_of(fetch_index(s->pull->tree), chunk);
}

static bool is_sound(const struct some *s, const struct wire_some *m)
{
	if (!is_wished(s, m->chunk) || m->codec > 1 || (m->codec && s->is_index) || !m->size)
		return false;
	size_t size = size_wanted(s, m->chunk);
	bool has_ticket = m->ticket.n > 0;
	if (m->codec ? m->size > size : m->size != size)
		return false;
	return has_ticket ? !s->call.is_streaming && !s->is_index && !s->holder->is_no_plain : s->call.is_streaming;
}

/* A part of another size than the list has it: the list may be the lie. */
static bool is_of_another_list(const struct some *s, uint16_t type, const struct wire_some *m)
{
	return s->is_index && type == WIRE_SOME && is_wished(s, m->chunk) && m->size != size_wanted(s, m->chunk);
}

static void on_lacking(struct some *s)
{
	struct holder *h = s->holder;
	struct pull *p = s->pull;
	int number = s->is_index ? h->part_number : h->number;
	for (uint64_t i = 0; i < s->wish.n * 8 && number >= 0; i++)
		if (s->wish.wanted[i / 8] >> i % 8 & 1)
			swarm_lacks_chunk(swarm_of(s), number, s->wish.first + i);
	some_end(s);
	pull_go_on(p);
}

static void refused(struct some *s, int error, uint16_t type, const void *message)
{
	char text[256];
	enum standing standing = pull_standing(s->pull, error, type, message, text);
	if (error == -ENODATA)
		on_lacking(s);
	else
		watch_failed(s->holder, standing, error == -ETIMEDOUT ? FAULT_SILENT_LONG : FAULT_OF_NONE, text);
}

static void set_flying(struct some *s, size_t n)
{
	s->pull->flying += n - s->flying;
	s->pull->owner->flying += n - s->flying;
	s->flying = n;
}

static void on_reply(struct call *call, int error, uint16_t type, const void *message)
{
	struct some *s = container_of(call, struct some, call);
	struct pull *p = s->pull;
	const struct wire_some *m = message;
	if (error) {
		refused(s, error, type, message);
		return;
	}
	if (is_of_another_list(s, type, m)) {
		struct holder *h = s->holder;
		some_end(s);
		index_parts_doubt(p, h);
		pull_go_on(p);
		return;
	}
	if (type != WIRE_SOME || !is_sound(s, m)) {
		lied(s, "its answer is none");
		return;
	}
	if (!swarm_chosen(swarm_of(s), s->wish.number, m->chunk, now_of(p))) {
		some_free(s);
		pull_soon(p);
		return;
	}
	s->is_chosen = true;
	s->chunk = m->chunk;
	s->codec = m->codec;
	s->size = (size_t)m->size;
	s->bytes = xmalloc(s->size);
	set_flying(s, s->size);
	int r = m->ticket.n ? pull_plain_start(s, m->address, m->ticket.at, m->ticket.n) : 0;
	if (r)
		some_plain_over(s, r);
	else
		pull_soon(p);
}

static bool on_data(struct call *call, const void *bytes, size_t n)
{
	struct some *s = container_of(call, struct some, call);
	if (n > s->size - s->have) {
		lied(s, "it gave more than was asked for");
		return false;
	}
	memcpy(s->bytes + s->have, bytes, n);
	s->have += n;
	return true;
}

static void on_end(struct call *call, int error)
{
	struct some *s = container_of(call, struct some, call);
	if (error)
		refused(s, error, 0, NULL);
	else if (s->have < s->size)
		lied(s, "it gave less than was asked for");
	else
		came(s);
}

/* ---- asking */

static struct holder *holder_of(const struct pull *p, int number, bool is_index)
{
	for (size_t i = 0; i < p->n_holders; i++) {
		struct holder *h = p->holders[i];
		if ((is_index ? h->part_number : h->number) == number)
			return h;
	}
	return NULL;
}

/* False: the neighbour failed, and p may be gone. */
static bool ask(struct pull *p, struct holder *h, const struct swarm_wish *wish, bool is_index)
{
	struct some *s = NEW(struct some);
	assert(h);
	s->pull = p;
	s->holder = h;
	s->wish = *wish;
	s->is_index = is_index;
	s->asked_usec = now_of(p);
	s->call = (struct call){.on_reply = on_reply, .on_data = on_data, .on_end = on_end};
	list_init(&s->link);
	list_append(&p->somes, &s->link);
	h->n_asks++;
	set_flying(s, is_index ? p->index.part_size : p->unit);
	struct wire_read_some m = {.tree = p->id,
				   .first = wish->first,
				   .wanted = {.at = s->wish.wanted, .n = (uint32_t)wish->n},
				   .rank = (uint8_t)wish->rank,
				   .codecs = is_index         ? 0
					     : h->is_no_plain ? 1
							      : 3,
				   .is_index = is_index};
	if (p->tree)
		m.layout = *tree_layout_id(fetch_index(p->tree));
	struct conn *c = peer_conn(&h->user);
	int r = c ? call_start(&s->call, c, WIRE_READ_SOME, &m, p->owner->settings.silent_usec) : -ENOTCONN;
	if (r)
		refused(s, r, 0, NULL);
	return r == 0;
}

void readers_join(struct fetch_peers *f)
{
	uint64_t now = loop_now_usec(f->settings.loop);
	if (f->n_readers++)
		return;
	if (now - f->left_usec >= NEXT_USEC)
		f->readers_usec = now;
	pulls_wake(f);
}

void readers_leave(struct fetch_peers *f)
{
	assert(f->n_readers);
	if (--f->n_readers == 0)
		f->left_usec = loop_now_usec(f->settings.loop);
}

bool fetch_peers_are_read(const struct fetch_peers *f)
{
	uint64_t now = loop_now_usec(f->settings.loop);
	if (!f->n_readers && now - f->left_usec >= NEXT_USEC)
		return false;
	return (now - f->readers_usec) % (READERS_USEC + BULK_USEC) < READERS_USEC;
}

bool fetch_peers_may_be_read(const struct fetch_peers *f)
{
	return f->n_readers || (f->left_usec && loop_now_usec(f->settings.loop) - f->left_usec < LATER_USEC);
}

/* Readers of another tree wait, or did a moment ago. */
static bool is_held_up(const struct pull *p)
{
	return !(p->swarm && swarm_n_urgent(p->swarm)) && fetch_peers_are_read(p->owner);
}

/* What has been asked for and not begun would come in the way of what a reader waits for. */
static void drop_waiting(struct pull *p)
{
	list_foreach (&p->somes, struct some, link, s) {
		if (!s->is_chosen && !s->is_index)
			some_end(s);
	}
}

static unsigned weight(const struct pull *p)
{
	return p->is_gating ? SHARE_GATING : 1;
}

/* Windows are a tree's own; what is under way of all trees together is shared by their weights, two chunks to spare. */
static bool may_ask(const struct pull *p)
{
	struct fetch_peers *f = p->owner;
	uint64_t all = 0;
	if (p->storing_size >= STORING_MOST)
		return false;
	list_foreach (&f->pulls, struct pull, link, other)
		all += other->flying || other == p ? weight(other) : 0;
	return p->flying <= f->flying * weight(p) / all + 2 * (uint64_t)p->unit;
}

static void on_soon(struct timer *t)
{
	pull_go_on(container_of(t, struct pull, soon));
}

void some_go_on(struct pull *p)
{
	bool is_index = !p->swarm;
	struct swarm *s = is_index ? p->index.swarm : p->swarm;
	uint64_t now = now_of(p), due = 0;
	struct swarm_wish wish;
	if (is_held_up(p)) {
		drop_waiting(p);
		timer_start(&p->soon, p->owner->settings.loop, NEXT_USEC, on_soon);
		return;
	}
	if (s)
		swarm_set_window(s, fetch_peers_may_be_read(p->owner) ? READER_WINDOW_USEC : 0);
	while (s && may_ask(p)) {
		int number = swarm_next(s, now, &wish, &due);
		if (number < 0)
			break;
		if (!ask(p, holder_of(p, number, is_index), &wish, is_index))
			return;
	}
	if (due > now && due != UINT64_MAX)
		timer_start(&p->soon, p->owner->settings.loop, due - now, on_soon);
}

void pull_soon(struct pull *p)
{
	timer_start(&p->soon, p->owner->settings.loop, 0, on_soon);
}
