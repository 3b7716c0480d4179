/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/swarm_world.h"

#define ASK_SIZE 100u /* bytes of a request, without its set; and of an answer */
#define VERIFY_NSEC 200000u
#define SEGMENT 16384u

static void serve(struct node *n);

uint64_t sim_dice(struct sim *s, uint64_t n)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return (s->random >> 11) % n;
}

static uint64_t now_usec(const struct sim *s)
{
	return s->clock.nsec / 1000;
}

struct member *sim_member(struct sim *s, unsigned node, unsigned tree)
{
	return &s->members[node * s->o.n_trees + tree];
}

struct peer *member_peer(const struct member *m, const struct member *other)
{
	for (unsigned i = 0; i < SWARM_NEIGHBOURS_MOST; i++)
		if (m->peers[i] && m->peers[i]->other == other)
			return m->peers[i];
	return NULL;
}

/* ---- the way from one node to another */

struct packet {
	struct node *from, *to;
	size_t size;
	void (*run)(void *arg, uint64_t number);
	void *arg;
	uint64_t number;
};

static void at_downlink(void *arg, uint64_t unused)
{
	struct packet *p = arg;
	struct clock *c = &p->from->sim->clock;
	(void)unused;
	clock_at(c, wire_pass(&p->to->down, c->nsec, p->size), p->run, p->arg, p->number);
	free(p);
}

static void at_rack(void *arg, uint64_t is_down)
{
	struct packet *p = arg;
	struct sim *s = p->from->sim;
	struct wire *w = is_down ? &s->rack_down[p->to->rack] : &s->rack_up[p->from->rack];
	clock_at(&s->clock, wire_pass(w, s->clock.nsec, p->size), is_down ? at_downlink : at_rack, p, 1);
}

/* Returns when it has left the uplink. */
static uint64_t send(struct node *from, struct node *to, size_t size, void (*run)(void *arg, uint64_t number),
		     void *arg, uint64_t number)
{
	struct sim *s = from->sim;
	struct packet *p = NEW(struct packet);
	*p = (struct packet){from, to, size, run, arg, number};
	uint64_t left = wire_pass(&from->up, s->clock.nsec, size), there = left + s->o.latency_usec * 1000;
	clock_at(&s->clock, there, s->rack_up && from->rack != to->rack ? at_rack : at_downlink, p, 0);
	return left;
}

/* ---- the giver */

static void ask_unref(struct ask *a)
{
	if (--a->n_refs)
		return;
	assert(!a->is_queued && !a->is_active);
	free(a->wish);
	free(a);
}

static void ask_send(struct ask *a, bool is_back, size_t size, void (*run)(void *arg, uint64_t number), uint64_t number)
{
	a->n_refs++;
	if (is_back)
		send(a->to->node, a->from->node, size, run, a, number);
	else
		send(a->from->node, a->to->node, size, run, a, number);
}

static void upload_over(struct ask *a)
{
	struct peer *p = member_peer(a->to, a->from);
	a->is_active = false;
	a->to->node->n_active--;
	if (p && p->served == a)
		p->served = NULL;
	serve(a->to->node);
	ask_unref(a);
}

static void push(struct ask *a);

static void on_acknowledged(void *arg, uint64_t size)
{
	struct ask *a = arg;
	struct peer *p = member_peer(a->to, a->from);
	if (p) {
		p->on_way -= min(p->on_way, (size_t)size);
		if (a->is_active)
			push(a);
		if (p->served && p->served != a)
			push(p->served);
	}
	ask_unref(a);
}

static void on_segment(void *arg, uint64_t size);

static void on_left(void *arg, uint64_t unused)
{
	(void)unused;
	upload_over(arg);
	ask_unref(arg);
}

static void push(struct ask *a)
{
	struct sim *s = a->from->node->sim;
	struct peer *p = member_peer(a->to, a->from);
	uint32_t size = s->o.chunk_size;
	uint64_t left = 0;
	if (a->is_cancelled || !p || a->pushed >= size)
		return;
	while (a->pushed < size && p->on_way < size) {
		uint32_t now = min(SEGMENT, size - a->pushed);
		a->pushed += now;
		p->on_way += now;
		a->n_refs++;
		left = send(a->to->node, a->from->node, now, on_segment, a, now);
	}
	if (a->pushed < size)
		return;
	a->n_refs++;
	clock_at(&s->clock, left, on_left, a, 0);
}

static bool is_here(void *arg, uint64_t chunk)
{
	return swarm_is_here(arg, chunk);
}

static void on_given(struct sim *s, const struct ask *a)
{
	uint8_t *out = &s->is_out[a->to->tree * s->o.n_chunks + a->chunk];
	if (a->to->node->number)
		return;
	s->source_sent += s->o.chunk_size;
	s->n_in += !*out;
	*out = 1;
	if (s->n_in == s->o.n_chunks * s->o.n_trees && !s->once_nsec) {
		s->once_nsec = s->clock.nsec;
		s->source_once = s->source_sent;
	}
}

static void on_chosen(void *arg, uint64_t chunk);
static void on_refused(void *arg, uint64_t unused);

static void give(struct ask *a)
{
	struct sim *s = a->from->node->sim;
	struct peer *p = member_peer(a->to, a->from);
	a->is_queued = false;
	list_remove(&a->link);
	a->chunk = p ? swarm_pick(a->to->given, a->wish->first, a->wish->wanted, a->wish->n, is_here, a->to->swarm)
		     : SWARM_NONE;
	if (a->chunk == SWARM_NONE) {
		ask_send(a, true, ASK_SIZE, on_refused, 0);
		ask_unref(a);
		return;
	}
	on_given(s, a);
	a->is_active = true;
	p->served = a;
	a->to->node->n_active++;
	ask_send(a, true, ASK_SIZE, on_chosen, a->chunk);
	push(a);
}

/* The next to be served: what a reader waits for first, else who came first; one at a time to an asker. */
static struct ask *next_of(struct node *n)
{
	struct ask *best = NULL;
	list_foreach (&n->queue, struct ask, link, a) {
		const struct peer *p = member_peer(a->to, a->from);
		if (a->rank == SWARM_NOW)
			return a;
		if (!best && (!p || !p->served))
			best = a;
	}
	return best;
}

static void serve(struct node *n)
{
	for (struct ask *a;
	     !n->is_gone && (a = next_of(n)) && (n->n_active < n->sim->o.n_uploads || a->rank == SWARM_NOW);)
		give(a);
}

static void on_asked(void *arg, uint64_t unused)
{
	struct ask *a = arg;
	struct node *n = a->to->node;
	(void)unused;
	if (n->is_gone || a->is_cancelled) {
		ask_unref(a);
		return;
	}
	a->is_queued = true;
	list_append(&n->queue, &a->link);
	serve(n);
}

static void drop(struct ask *a)
{
	a->is_cancelled = true;
	if (a->is_queued) {
		a->is_queued = false;
		list_remove(&a->link);
		ask_unref(a);
	} else if (a->is_active && a->pushed < a->from->node->sim->o.chunk_size) {
		upload_over(a);
	}
}

static void on_cancelled(void *arg, uint64_t unused)
{
	(void)unused;
	drop(arg);
	ask_unref(arg);
}

/* ---- the asker */

static void ask_over(struct ask *a)
{
	a->is_over = true;
	list_remove(&a->open);
	ask_unref(a);
}

static void cancel(struct ask *a)
{
	ask_send(a, false, ASK_SIZE, on_cancelled, 0);
	ask_over(a);
}

static void cancel_useless(struct member *m)
{
	for (uint64_t number; (number = swarm_useless(m->swarm));)
		list_foreach (&m->asks, struct ask, open, a)
			if (a->number == number) {
				if (a->got)
					m->node->sim->result.n_overtaken++;
				else
					m->node->sim->result.n_useless++;
				cancel(a);
				break;
			}
}

static void on_chosen(void *arg, uint64_t chunk)
{
	struct ask *a = arg;
	struct member *m = a->from;
	if (!a->is_over && !m->node->is_gone) {
		if (!swarm_chosen(m->swarm, a->number, chunk, now_usec(m->node->sim)))
			m->node->sim->result.n_rejected++, cancel(a);
		cancel_useless(m);
		member_pump(m);
	}
	ask_unref(a);
}

static void forget_wanted(struct member *m, int neighbour, const struct swarm_wish *w)
{
	for (uint64_t i = 0; i < 8 * w->n; i++)
		if (w->wanted[i / 8] >> (i % 8) & 1)
			swarm_lacks_chunk(m->swarm, neighbour, w->first + i);
}

static void on_refused(void *arg, uint64_t unused)
{
	struct ask *a = arg;
	struct member *m = a->from;
	const struct peer *p = member_peer(m, a->to);
	(void)unused;
	if (!a->is_over && !m->node->is_gone) {
		ask_over(a);
		swarm_failed(m->swarm, a->number, now_usec(m->node->sim));
		if (p)
			forget_wanted(m, p->number, a->wish);
		member_pump(m);
	}
	ask_unref(a);
}

static void on_tell(void *arg, uint64_t unused);

static void reader_got(struct sim *s, uint64_t chunk)
{
	if (chunk != s->read_chunk)
		return;
	uint64_t took = now_usec(s) - s->read_nsec / 1000;
	s->read_chunk = SWARM_NONE;
	s->read_sum += took;
	s->read_most = max(s->read_most, took);
	s->result.n_reads++;
}

void member_has(struct member *m, uint64_t chunk)
{
	struct sim *s = m->node->sim;
	if (swarm_is_here(m->swarm, chunk))
		return;
	swarm_has(m->swarm, chunk);
	m->untold[m->n_untold++] = (uint32_t)chunk;
	if (!m->is_telling)
		clock_at(&s->clock, s->clock.nsec + s->o.tell_usec * 1000, on_tell, m, 0);
	m->is_telling = true;
	if (m->node->number == 1 && !m->tree)
		reader_got(s, chunk);
	if (!swarm_n_missing(m->swarm) && m->node->number) {
		m->done_nsec = s->clock.nsec;
		s->n_left--;
	}
}

static void on_verified(void *arg, uint64_t chunk)
{
	struct member *m = arg;
	if (m->node->is_gone)
		return;
	member_has(m, chunk);
	cancel_useless(m);
	member_pump(m);
}

static void on_segment(void *arg, uint64_t size)
{
	struct ask *a = arg;
	struct member *m = a->from;
	struct sim *s = m->node->sim;
	a->n_refs++;
	clock_at(&s->clock, s->clock.nsec + s->o.latency_usec * 1000, on_acknowledged, a, size);
	a->got += (uint32_t)size;
	if (a->is_over || m->node->is_gone) {
		m->wasted += size;
	} else if (a->got == s->o.chunk_size) {
		ask_over(a);
		if (swarm_is_here(m->swarm, a->chunk))
			m->wasted += s->o.chunk_size;
		swarm_came(m->swarm, a->number, s->o.chunk_size, now_usec(s));
		clock_at(&s->clock, s->clock.nsec + VERIFY_NSEC, on_verified, m, a->chunk);
		member_pump(m);
	}
	ask_unref(a);
}

static void on_due(void *arg, uint64_t due_nsec)
{
	struct member *m = arg;
	if (m->due_nsec == due_nsec && !m->node->is_gone)
		member_pump(m);
}

void member_pump(struct member *m)
{
	struct sim *s = m->node->sim;
	struct swarm_wish wish;
	uint64_t due_usec;
	int neighbour;
	while ((s->result.n_next++, neighbour = swarm_next(m->swarm, now_usec(s), &wish, &due_usec)) >= 0) {
		struct ask *a = NEW(struct ask);
		s->result.n_asked++;
		*a = (struct ask){.from = m,
				  .to = m->peers[neighbour]->other,
				  .number = wish.number,
				  .rank = wish.rank,
				  .chunk = SWARM_NONE,
				  .n_refs = 1};
		list_init(&a->link);
		list_init(&a->open);
		a->wish = xmemdup(&wish, sizeof wish);
		list_append(&m->asks, &a->open);
		ask_send(a, false, ASK_SIZE + wish.n, on_asked, 0);
	}
	cancel_useless(m);
	if (due_usec == UINT64_MAX || (m->due_nsec > s->clock.nsec && m->due_nsec <= due_usec * 1000))
		return;
	m->due_nsec = due_usec * 1000;
	clock_at(&s->clock, m->due_nsec, on_due, m, m->due_nsec);
}

/* ---- who has what */

static void on_news(void *arg, uint64_t to)
{
	struct news *w = arg;
	struct member *m = &w->from->node->sim->members[to];
	const struct peer *p = member_peer(m, w->from);
	if (p && !m->node->is_gone) {
		for (unsigned i = 0; i < w->n; i++)
			swarm_has_chunk(m->swarm, p->number, w->chunks[i]);
		member_pump(m);
	}
	if (!--w->n_refs)
		free(w);
}

static void on_tell(void *arg, uint64_t unused)
{
	struct member *m = arg;
	struct sim *s = m->node->sim;
	(void)unused;
	m->is_telling = false;
	if (m->node->is_gone || !m->n_peers) {
		m->n_untold = 0;
		return;
	}
	struct news *w = xcalloc(1, sizeof *w + m->n_untold * sizeof *w->chunks);
	w->from = m;
	w->n = m->n_untold;
	w->n_refs = m->n_peers;
	memcpy(w->chunks, m->untold, m->n_untold * sizeof *w->chunks);
	m->n_untold = 0;
	for (unsigned i = 0; i < SWARM_NEIGHBOURS_MOST; i++)
		if (m->peers[i])
			send(m->node, m->peers[i]->other->node, ASK_SIZE + 4 * w->n, on_news, w,
			     (uint64_t)(m->peers[i]->other - s->members));
}

void member_watch(struct member *m, struct member *other)
{
	int number = swarm_join(m->swarm);
	assert(number >= 0);
	struct peer *p = m->peers[number] = NEW(struct peer);
	m->n_peers++;
	p->other = other;
	p->number = number;
	for (uint64_t i = 0; i < m->node->sim->o.n_chunks; i++)
		if (swarm_is_here(other->swarm, i))
			swarm_has_chunk(m->swarm, number, i);
}

void member_unwatch(struct member *m, const struct member *other)
{
	struct peer *p = member_peer(m, other);
	if (!p)
		return;
	list_foreach (&m->asks, struct ask, open, a)
		if (a->to == other) {
			drop(a);
			ask_over(a);
		}
	swarm_leave(m->swarm, p->number);
	m->peers[p->number] = NULL;
	m->n_peers--;
	free(p);
}
