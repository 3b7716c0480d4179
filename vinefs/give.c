/* SPDX-License-Identifier: Apache-2.0
 * asked -> the tree is open -> its turn: a chunk is chosen of those wanted and here -> read, sent (give_send.c).
 *
 * 1. Readers who wait come first and wait for nothing here; while one is served nothing of bulk is added to what is under way.
 * 2. Bulk: what others are waiting for sooner first; of these the asker who was served longest ago, and of his the tree.
 * 3. What of bulk is under way stays below what goes in 30 ms, or one chunk; in 10 ms while readers may ask, in 3 ms while one is at it, here or there, whose requests pass the same link: whoever comes next, a reader above all, waits no longer than that. The kernel tells no one when bytes were acknowledged, so it is asked again after some milliseconds, as long as something waits. */
#include "vinefs/give_internal.h"

#include "common/log.h"

#define BULK_MOST 4u
#define URGENT_MOST 16u
#define QUEUED_MOST 4096u
#define AHEAD_USEC 30000u        /* of bulk under way */
#define AHEAD_LEAST (128u << 10) /* however slow it is: smaller pieces cost more than they give */
#define READER_USEC 1000000u     /* who asked for a reader so long ago may do so again: until then */
#define READER_AHEAD_USEC 10000u /* so much lies before him */
#define READER_AHEAD_LEAST (64u << 10)
#define READING_USEC 100000u /* so long ago: he is at it */
#define READING_AHEAD_USEC 3000u
#define READING_AHEAD_LEAST (16u << 10)
#define READING_MOST_USEC 2000000u /* as long as he may keep bulk so low */
#define READING_PAUSE_USEC 500000u /* and then not for so long */
#define LOOK_LEAST_USEC 1000u
#define LOOK_MOST_USEC 5000u
#define STUCK_USEC 30000000u /* who takes nothing for so long gets no more: others wait for his place */
#define MOVING_USEC 200000u  /* a reader who takes nothing for so long stops nobody */
#define STALL_USEC 200000u   /* nor does one of bulk */
#define TRIES_MOST 8u

static void give_more(struct serve *s);

/* ---- who asks */

static struct asker *find_asker(const struct serve *s, const struct conn *c)
{
	list_foreach (&s->askers, struct asker, link, a) {
		if (a->conn == c)
			return a;
	}
	return NULL;
}

static struct asker *asker_of(struct serve *s, struct conn *c)
{
	struct asker *a = find_asker(s, c);
	if (a)
		return a;
	a = NEW(struct asker);
	a->conn = c;
	list_init(&a->link);
	list_append(&s->askers, &a->link);
	return a;
}

/* ---- what is under way */

/* Bytes of his lie in the kernel and do not go: he is away, or reads nothing. */
static bool is_stalled(const struct serve *s, const struct asker *a)
{
	return a->is_draining && loop_now_usec(s->loop) - a->moved_usec > STALL_USEC;
}

static void look_at(struct serve *s, struct asker *a, uint64_t now)
{
	uint64_t before = a->gone, gone;
	conn_progress(a->conn, &gone, &a->pending);
	a->gone = max(before, gone);
	if (a->gone > before || !a->pending)
		a->moved_usec = now;
	a->is_draining = a->n_bulk || a->pending;
	meter_look(&a->meter, now, a->gone, a->pending > 0);
	s->gone += a->gone - before;
}

static void look(struct serve *s)
{
	uint64_t now = loop_now_usec(s->loop);
	s->pending = 0;
	s->looked_usec = now;
	list_foreach (&s->askers, struct asker, link, a) {
		if (!a->is_draining)
			continue;
		look_at(s, a, now);
		s->pending += is_stalled(s, a) ? 0 : a->pending;
	}
	if (s->plain) {
		uint64_t before = s->plain_gone, pending;
		plain_progress(s->plain, &s->plain_gone, &pending);
		s->gone += s->plain_gone > before ? s->plain_gone - before : 0;
		s->pending += pending;
	}
	meter_look(&s->meter, now, s->gone, s->pending > 0);
}

static bool may_be_read(const struct serve *s)
{
	if (s->peers && fetch_peers_may_be_read(s->peers))
		return true;
	return s->read_usec && loop_now_usec(s->loop) - s->read_usec < READER_USEC;
}

/* Some reader's requests pass our link, in whichever direction. */
static bool is_read(const struct serve *s)
{
	uint64_t now = loop_now_usec(s->loop);
	if (s->peers && fetch_peers_are_read(s->peers))
		return true;
	return s->read_usec && now - s->read_usec < READING_USEC &&
	       (now - s->reading_usec) % (READING_MOST_USEC + READING_PAUSE_USEC) < READING_MOST_USEC;
}

static uint64_t ahead(const struct serve *s)
{
	if (is_read(s))
		return max(meter_size(&s->meter, READING_AHEAD_USEC), (uint64_t)READING_AHEAD_LEAST);
	if (may_be_read(s))
		return max(meter_size(&s->meter, READER_AHEAD_USEC), (uint64_t)READER_AHEAD_LEAST);
	return max(meter_size(&s->meter, AHEAD_USEC), (uint64_t)AHEAD_LEAST);
}

/* Of one asker, who may be much slower than the others: else his bytes would be all that is under way. */
static uint64_t ahead_of(const struct asker *a)
{
	return a->meter.rate ? max(meter_size(&a->meter, AHEAD_USEC), (uint64_t)AHEAD_LEAST / 4) : AHEAD_LEAST;
}

/* Is a reader served who takes what he is given? */
static bool is_urgent(const struct serve *s)
{
	uint64_t now = loop_now_usec(s->loop);
	if (!s->n_urgent)
		return false;
	list_foreach (&s->giving, struct gift, link, g) {
		if (gift_is_urgent(g) && now - g->moved_usec < MOVING_USEC)
			return true;
	}
	return false;
}

static size_t room(const struct serve *s)
{
	uint64_t most = ahead(s);
	return s->pending < most && !is_urgent(s) ? (size_t)(most - s->pending) : 0;
}

size_t gift_room(const struct gift *g)
{
	uint64_t most = ahead_of(g->asker);
	if (gift_is_urgent(g))
		return SIZE_MAX;
	return g->asker->pending < most ? min(room(g->owner), (size_t)(most - g->asker->pending)) : 0;
}

uint64_t give_chunk_usec(const struct serve *s, uint64_t size)
{
	return meter_usec(&s->meter, size);
}

/* The first of them is finished first: whoever has a chunk can give it on. */
static void go_on(struct serve *s)
{
	s->is_giving = true;
	list_foreach (&s->giving, struct gift, link, g) {
		if (g->is_paused)
			gift_send(g);
	}
	s->is_giving = false;
}

static void on_look(struct timer *t)
{
	struct serve *s = container_of(t, struct serve, looker);
	look(s);
	go_on(s);
	give_more(s);
}

static bool is_waiting(const struct serve *s)
{
	list_foreach (&s->queued, struct gift, link, g) {
		if (!g->user.is_waiting)
			return true;
	}
	list_foreach (&s->giving, struct gift, link, g) {
		if (g->is_paused)
			return true;
	}
	return false;
}

/* When about half of what is too much will have gone. */
void give_look_later(struct serve *s)
{
	if (s->looker.loop || !is_waiting(s))
		return;
	uint64_t most = ahead(s), over = s->pending > most / 2 ? s->pending - most / 2 : 0;
	uint64_t due = max(meter_usec(&s->meter, over), (uint64_t)LOOK_LEAST_USEC);
	timer_start(&s->looker, s->loop, min(due, (uint64_t)LOOK_MOST_USEC), on_look);
}

/* ---- one of them */

void gift_free(struct gift *g)
{
	assert(!g->owner && !g->is_working && !g->is_streaming && !g->ticket.owner);
	close_fd(g->fd);
	shelf_leave(&g->user);
	sheaf_leave(&g->coming);
	free(g->wanted);
	free(g->bytes);
	free(g);
}

static void gift_queue(struct gift *g)
{
	struct serve *s = g->owner;
	list_append(&s->queued, &g->link);
	s->n_queued++;
}

static unsigned *counter_of(struct gift *g)
{
	return gift_is_urgent(g) ? &g->owner->n_urgent : &g->owner->n_bulk;
}

static void gift_leave_list(struct gift *g)
{
	struct serve *s = g->owner;
	list_remove(&g->link);
	if (g->is_giving) {
		assert(*counter_of(g));
		--*counter_of(g);
		g->asker->n_bulk -= !gift_is_urgent(g);
	} else {
		assert(s->n_queued);
		s->n_queued--;
	}
	g->is_giving = false;
}

/* Out of every list: what the pool still has of it is freed when that is done. */
static void gift_drop(struct gift *g)
{
	gift_leave_list(g);
	g->owner = NULL;
	g->asker = NULL;
	g->is_streaming = false;
	plain_revoke(&g->ticket);
	if (!g->is_working)
		gift_free(g);
}

void gift_end(struct gift *g)
{
	struct serve *s = g->owner;
	gift_drop(g);
	give_more(s);
}

static void refuse(struct gift *g, int error)
{
	if (g->is_streaming)
		stream_end(&g->stream, error);
	else
		serve_refuse(g->owner, g->asker->conn, g->id, &g->tree, error);
	gift_drop(g);
}

void gift_fail(struct gift *g, int error)
{
	struct serve *s = g->owner;
	refuse(g, error);
	give_more(s);
}

void gift_again(struct gift *g)
{
	struct serve *s = g->owner;
	struct swarm_given *given = g->is_index ? g->user.shelf->given_parts : g->user.shelf->given;
	assert(g->is_giving && !g->is_streaming && !g->is_working);
	swarm_ungive(given, g->chunk);
	if (++g->n_tries == TRIES_MOST) {
		gift_fail(g, -ENODATA);
		return;
	}
	gift_leave_list(g);
	gift_queue(g);
	give_more(s);
}

/* ---- which chunk */

static bool is_resident(void *arg, uint64_t chunk)
{
	return cache_tree_residency(arg, chunk) == CACHE_RESIDENT;
}

/* It is verified before it is given. */
static bool is_there(void *arg, uint64_t chunk)
{
	return cache_tree_residency(arg, chunk) != CACHE_ABSENT;
}

static bool is_part(void *arg, uint64_t part)
{
	(void)arg, (void)part;
	return true;
}

static int choose_chunk(struct gift *g)
{
	struct shelf *b = g->user.shelf;
	struct cache_tree *t = shelf_cache_tree(b);
	if (!b->given)
		b->given = swarm_given_new(tree_n_chunks(cache_tree_index(t)), loop_now_usec(g->owner->loop));
	if (!b->given)
		return -ENOMEM;
	g->chunk = swarm_pick(b->given, g->first, g->wanted, g->n_wanted, is_resident, t);
	if (g->chunk == SWARM_NONE)
		g->chunk = swarm_pick(b->given, g->first, g->wanted, g->n_wanted, is_there, t);
	if (g->chunk == SWARM_NONE)
		return -ENODATA;
	g->blob = shelf_place(b, g->chunk, &g->offset, &g->n);
	return 0;
}

static int choose_part(struct gift *g)
{
	struct shelf *b = g->user.shelf;
	uint64_t n_parts = data_n_chunks(b->index_size, PART_SIZE);
	if (!b->given_parts)
		b->given_parts = swarm_given_new(n_parts, loop_now_usec(g->owner->loop));
	if (!b->given_parts)
		return -ENOMEM;
	g->chunk = swarm_pick(b->given_parts, g->first, g->wanted, g->n_wanted, is_part, NULL);
	if (g->chunk == SWARM_NONE)
		return -ENODATA;
	g->offset = g->chunk * PART_SIZE;
	g->n = (size_t)min((uint64_t)PART_SIZE, b->index_size - g->offset);
	return 0;
}

static int choose(struct gift *g)
{
	if (g->coming.sheaf)
		return sheaf_choose(&g->coming, g->first, g->wanted, g->n_wanted, &g->chunk, &g->bytes, &g->n);
	return g->is_index ? choose_part(g) : choose_chunk(g);
}

/* ---- whose turn it is */

static bool is_before(const struct gift *a, const struct gift *b)
{
	if (a->rank != b->rank)
		return a->rank < b->rank;
	if (a->asker->n_bulk != b->asker->n_bulk)
		return a->asker->n_bulk < b->asker->n_bulk;
	if (a->asker->served != b->asker->served)
		return a->asker->served < b->asker->served;
	return a->user.shelf && b->user.shelf && a->user.shelf->served < b->user.shelf->served;
}

/* Those who take nothing keep nobody else from his turn. */
static unsigned n_moving(const struct serve *s)
{
	uint64_t now = loop_now_usec(s->loop);
	unsigned n = 0;
	list_foreach (&s->giving, struct gift, link, g) {
		bool is_late = gift_is_offered(g) && now - g->moved_usec > STALL_USEC;
		n += !gift_is_urgent(g) && !is_late && !is_stalled(s, g->asker);
	}
	return n;
}

static bool may_begin(const struct serve *s, const struct gift *g)
{
	if (g->user.is_waiting)
		return false;
	if (gift_is_urgent(g))
		return s->n_urgent < URGENT_MOST;
	return n_moving(s) < BULK_MOST && room(s) && !is_stalled(s, g->asker);
}

static struct gift *next(struct serve *s)
{
	struct gift *best = NULL;
	list_foreach (&s->queued, struct gift, link, g) {
		if ((!best || is_before(g, best)) && may_begin(s, g))
			best = g;
	}
	return best;
}

static void give(struct gift *g)
{
	struct serve *s = g->owner;
	int r = choose(g);
	if (r) {
		refuse(g, r);
		return;
	}
	gift_leave_list(g);
	list_append(&s->giving, &g->link);
	g->is_giving = true;
	++*counter_of(g);
	g->moved_usec = loop_now_usec(s->loop);
	g->asker->served = ++s->turn;
	if (g->user.shelf)
		g->user.shelf->served = s->turn;
	if (!gift_is_urgent(g)) {
		g->asker->n_bulk++;
		if (!g->asker->is_draining)
			g->asker->moved_usec = loop_now_usec(s->loop);
		g->asker->is_draining = true;
	}
	gift_begin(g);
}

static void give_more(struct serve *s)
{
	struct gift *g;
	/* Those that end at once come back here. */
	if (s->is_giving)
		return;
	if (s->n_queued && s->looked_usec != loop_now_usec(s->loop))
		look(s);
	s->is_giving = true;
	while (s->n_queued && (g = next(s)))
		give(g);
	s->is_giving = false;
	give_look_later(s);
}

/* ---- READ_SOME */

static int check(const struct gift *g)
{
	const struct tree *t = fetch_index(g->user.shelf->tree);
	if (g->is_index)
		return shelf_measure_index(g->owner, g->user.shelf);
	return digest_is_equal(&g->layout, tree_layout_id(t)) ? 0 : -ESTALE;
}

static void on_open(struct shelf_user *u, int error)
{
	struct gift *g = container_of(u, struct gift, user);
	struct serve *s = g->owner;
	int r = error ? error : check(g);
	if (r)
		refuse(g, r);
	give_more(s);
}

static void on_over(struct sheaf_user *u, int error);

static int begin(struct gift *g)
{
	g->user.on_open = on_open;
	g->coming.on_over = on_over;
	int r = shelf_join(g->owner, &g->user, &g->tree);
	if (r == -ENOENT && g->is_index)
		r = sheaf_join(g->owner, &g->coming, &g->tree);
	else if (r == 0 && !g->user.is_waiting)
		r = check(g);
	return r;
}

/* All of the index is here now: what is wanted of it as well. */
static void on_over(struct sheaf_user *u, int error)
{
	struct gift *g = container_of(u, struct gift, coming);
	struct serve *s = g->owner;
	/* What is being sent was copied. */
	if (g->is_giving)
		return;
	int r = error ? -ENOENT : begin(g);
	if (r)
		refuse(g, r);
	give_more(s);
}

static void note_reader(struct serve *s)
{
	uint64_t now = loop_now_usec(s->loop);
	if (now - s->read_usec >= READING_USEC)
		s->reading_usec = now;
	s->read_usec = now;
}

void give_ask(struct serve *s, struct conn *c, uint64_t id, const struct wire_read_some *m)
{
	if (!id)
		return;
	if (!m->wanted.n || m->wanted.n > SWARM_WANTED_MAX || m->rank >= SWARM_RANKS) {
		conn_reply_status(c, id, EINVAL, "a set of 1 to %u bytes and a rank below %d are asked for",
				  SWARM_WANTED_MAX, SWARM_RANKS);
		return;
	}
	if (s->n_queued == QUEUED_MOST) {
		conn_reply_status(c, id, EAGAIN, "node %s: %u requests wait already; ask again in a while", s->name,
				  s->n_queued);
		return;
	}
	struct gift *g = NEW(struct gift);
	g->owner = s;
	g->cache = s->cache;
	g->asker = asker_of(s, c);
	g->id = id;
	g->tree = m->tree;
	g->layout = m->layout;
	g->first = m->first;
	g->wanted = xmalloc(m->wanted.n);
	memcpy(g->wanted, m->wanted.at, m->wanted.n);
	g->n_wanted = m->wanted.n;
	g->rank = (enum swarm_rank)m->rank;
	g->codecs = m->codecs;
	g->fd = -1;
	g->is_index = m->is_index;
	if (gift_is_urgent(g))
		note_reader(s);
	list_init(&g->link);
	gift_queue(g);
	int r = begin(g);
	if (r)
		refuse(g, r);
	give_more(s);
}

/* ---- whoever has gone */

static struct gift *find(struct serve *s, const struct conn *c, const uint64_t *id)
{
	struct list *const lists[] = {&s->giving, &s->queued};
	for (size_t i = 0; i < countof(lists); i++)
		list_foreach (lists[i], struct gift, link, g) {
			if (g->asker->conn == c && (!id || g->id == *id))
				return g;
		}
	return NULL;
}

static void drop(struct gift *g)
{
	stream_end(&g->stream, -ECANCELED);
	gift_drop(g);
}

bool give_cancel(struct serve *s, const struct conn *c, uint64_t id)
{
	struct gift *g = find(s, c, &id);
	if (!g)
		return false;
	drop(g);
	give_more(s);
	return true;
}

void give_close(struct serve *s, const struct conn *c)
{
	struct asker *a = find_asker(s, c);
	struct gift *g;
	while ((g = find(s, c, NULL)))
		drop(g);
	if (a) {
		list_remove(&a->link);
		free(a);
		look(s);
	}
	give_more(s);
}

void give_drop_tickets(struct serve *s)
{
	s->is_giving = true;
	list_foreach (&s->giving, struct gift, link, g) {
		if (g->ticket.owner)
			gift_drop(g);
	}
	s->is_giving = false;
	give_more(s);
}

void give_end_stuck(struct serve *s)
{
	uint64_t now = loop_now_usec(s->loop);
	list_foreach (&s->giving, struct gift, link, g) {
		bool is_sending = g->is_streaming || g->ticket.guest;
		if (!is_sending || g->is_working || g->is_paused || g->moved_usec + STUCK_USEC > now)
			continue;
		log_info("%s takes nothing of a chunk that it asked for: given up", conn_peer_name(g->asker->conn));
		refuse(g, -ETIMEDOUT);
	}
	give_more(s);
}
