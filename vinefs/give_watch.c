/* SPDX-License-Identifier: Apache-2.0
 * Whoever watches a tree is told what of it is here, and then what comes and what goes.
 *
 * 1. Only what is here and verified is told of: what is in doubt after a reboot is verified first.
 * 2. What changes is gathered for some milliseconds and said to all in the same words.
 * 3. Who does not keep up is owed nothing but the difference between what he was told and what is so: what is kept for him is bounded by two sets of chunks, however long he sleeps. */
#include "vinefs/serve_internal.h"

#include "vinefs/fetch/swarm_have.h"

/* A word to each watcher costs a system call and a TLS record here, and a wake-up and as much again there. With 14 watchers on each of 32 nodes that is 90,000 a second if all are told every 5 ms, more than two cores can do; every 20 ms it is a quarter of that.
 * Nobody loses by it where there are many (he has enough to ask others for meanwhile) or where a chunk takes longer than that to come. */
#define GATHER_USEC 5000u
#define GATHER_LONG_USEC 20000u
#define GATHER_MOST_USEC 40000u /* where even so each chunk would be told of alone: in the simulator 32 nodes are as fast by it */
#define GATHER_CHUNKS 4u
#define MANY 4u
#define WATCHES_MOST 4096u
#define VERIFY_MOST 32u /* chunks at a time */

/* What watchers of a tree are told. */
struct news {
	struct shelf_user user; /* the tree stays open */
	struct shelf *shelf;
	struct serve *owner; /* NULL: over; it goes when the pool is done with it */
	struct list watches;
	unsigned n_watches;
	struct fetch_coming coming;
	uint64_t n_chunks, n_said;
	uint8_t *said;    /* chunks */
	uint8_t *changed; /* since then: the others, if set here */
	uint32_t *fresh;  /* the same as a list, in the order of coming */
	uint32_t n_fresh, room_fresh;
	struct timer timer;
	/* What is to be verified. */
	struct fetch_work work;
	struct cache_tree *tree;
	bool is_working;
	uint64_t next, first, n;
};

struct watching {
	struct list link;
	struct serve *owner;
	struct conn *conn;
	uint64_t id;
	struct digest tree, layout;
	struct shelf_user user;
	struct sheaf_user coming; /* the index is on its way */
	struct news *news;        /* NULL: of which there is no index yet */
	struct stream stream;
	bool is_streaming;
	struct buf out; /* what the connection has not taken */
	uint8_t *told;  /* he is behind: what he knows of; NULL: he knows what was said, but for `out` */
	uint8_t *parts; /* of the index: the same, always */
	uint64_t n_parts;
};

static bool bit(const uint8_t *set, uint64_t i)
{
	return set[i / 8] >> i % 8 & 1;
}

static void flip(uint8_t *set, uint64_t i)
{
	set[i / 8] ^= (uint8_t)(1u << i % 8);
}

/* ---- saying */

static void news_flush(struct news *n);

/* The difference between what he knows and what was said. */
static void put_difference(struct watching *w)
{
	const struct news *n = w->news;
	uint32_t list[64], some = 0;
	for (uint64_t byte = 0; byte <= n->n_chunks / 8; byte++) {
		unsigned differs = w->told[byte] ^ n->said[byte];
		for (; differs; differs &= differs - 1) {
			uint32_t chunk = (uint32_t)(8 * byte + (unsigned)__builtin_ctz(differs));
			if (bit(w->told, chunk))
				have_put_lost(&w->out, chunk);
			else
				list[some++] = chunk;
			if (some < countof(list))
				continue;
			have_put_chunks(&w->out, list, some);
			some = 0;
		}
	}
	if (some)
		have_put_chunks(&w->out, list, some);
	free(steal(w->told));
}

static void watching_send(struct watching *w)
{
	for (;;) {
		size_t n = w->out.n ? stream_send(&w->stream, w->out.at, w->out.n) : 0;
		buf_consume(&w->out, n);
		if (w->out.n || !w->told)
			break;
		put_difference(w);
		if (!w->out.n)
			break;
	}
	if (!w->out.n)
		buf_trim(&w->out);
}

/* As of what was said so far. */
static void put_first(struct watching *w)
{
	const struct news *n = w->news;
	have_put_index(&w->out);
	if (n->n_said == n->n_chunks)
		have_put_all(&w->out);
	else if (n->n_said)
		have_put_bitmap(&w->out, 0, n->said, (size_t)(n->n_chunks + 7) / 8);
}

/* ---- what comes and goes */

static uint64_t gather_usec(const struct news *n)
{
	const struct tree *t = fetch_index(n->shelf->tree);
	uint64_t size = n->n_chunks ? tree_blob(t, 0)->chunk_size : 0;
	uint64_t chunk_usec = give_chunk_usec(n->owner, size);
	if (n->n_watches > MANY)
		return min(max(GATHER_CHUNKS * chunk_usec, (uint64_t)GATHER_LONG_USEC), (uint64_t)GATHER_MOST_USEC);
	return chunk_usec > GATHER_LONG_USEC ? GATHER_LONG_USEC : GATHER_USEC;
}

static void on_gathered(struct timer *t)
{
	news_flush(container_of(t, struct news, timer));
}

static void changes(struct news *n, uint64_t chunk)
{
	flip(n->changed, chunk);
	if (n->n_fresh == n->room_fresh) {
		n->room_fresh = max(2 * n->room_fresh, 64u);
		n->fresh = xrealloc(n->fresh, n->room_fresh * sizeof *n->fresh);
	}
	n->fresh[n->n_fresh++] = (uint32_t)chunk;
	if (!n->timer.loop)
		timer_start(&n->timer, n->owner->loop, gather_usec(n), on_gathered);
}

static void verify_later(struct news *n);

/* As often as anybody thinks that it may have changed. */
static enum cache_residency see(struct news *n, uint64_t chunk)
{
	enum cache_residency r = cache_tree_residency(n->tree, chunk);
	bool will_be_said = bit(n->said, chunk) != bit(n->changed, chunk);
	if ((r == CACHE_RESIDENT) != will_be_said)
		changes(n, chunk);
	return r;
}

static void see_and_verify(struct news *n, uint64_t chunk)
{
	if (see(n, chunk) != CACHE_DOUBTFUL)
		return;
	n->next = min(n->next, chunk);
	verify_later(n);
}

static void on_chunk(struct fetch_coming *c, uint64_t chunk)
{
	see_and_verify(container_of(c, struct news, coming), chunk);
}

/* Those that came and went meanwhile are in the list twice, or an even number of times. */
static void news_words(struct news *n, struct buf *b)
{
	uint32_t some = 0;
	for (uint32_t i = 0; i < n->n_fresh; i++) {
		uint32_t chunk = n->fresh[i];
		if (!bit(n->changed, chunk))
			continue;
		flip(n->changed, chunk);
		flip(n->said, chunk);
		bool is_here = bit(n->said, chunk);
		n->n_said += is_here ? 1 : (uint64_t)-1;
		if (is_here)
			n->fresh[some++] = chunk;
		else
			have_put_lost(b, chunk);
	}
	if (some)
		have_put_chunks(b, n->fresh, some);
	n->n_fresh = 0;
}

static uint8_t *copy(const uint8_t *set, uint64_t n_bits)
{
	uint8_t *c = xmalloc((size_t)n_bits / 8 + 1);
	return memcpy(c, set, (size_t)n_bits / 8 + 1);
}

static void news_flush(struct news *n)
{
	_cleanup_(buf_fini) struct buf words = {0};
	list_foreach (&n->watches, struct watching, link, w) {
		/* What he was told already, and what he will be told of this with the rest. */
		if (w->out.n && !w->told)
			w->told = copy(n->said, n->n_chunks);
	}
	news_words(n, &words);
	list_foreach (&n->watches, struct watching, link, w) {
		if (w->told)
			continue;
		buf_put(&w->out, words.at, words.n);
		watching_send(w);
	}
}

/* ---- what is in doubt */

static void run_verify(struct fetch_work *work)
{
	struct news *n = container_of(work, struct news, work);
	cache_tree_verify(n->tree, n->first, n->n);
}

static void news_free(struct news *n)
{
	assert(!n->owner && !n->is_working && !n->n_watches);
	shelf_leave(&n->user);
	free(n->said);
	free(n->changed);
	free(n->fresh);
	free(n);
}

static void on_verified(struct fetch_work *work, bool is_run)
{
	struct news *n = container_of(work, struct news, work);
	n->is_working = false;
	if (!n->owner) {
		news_free(n);
		return;
	}
	/* What could not be read stays in doubt, and is not told of. */
	for (uint64_t i = n->first; is_run && i < n->first + n->n; i++)
		see(n, i);
	if (is_run)
		verify_later(n);
}

/* The next of them, if it is not under way. */
static void verify_later(struct news *n)
{
	if (n->is_working)
		return;
	while (n->next < n->n_chunks && cache_tree_residency(n->tree, n->next) != CACHE_DOUBTFUL)
		n->next++;
	if (n->next == n->n_chunks)
		return;
	n->first = n->next;
	n->n = min(n->n_chunks - n->first, (uint64_t)VERIFY_MOST);
	n->next = n->first + n->n;
	n->is_working = true;
	n->work = (struct fetch_work){.run = run_verify, .on_done = on_verified};
	fetch_work(n->owner->fetch, &n->work);
}

/* ---- of a tree */

static void on_never(struct shelf_user *u, int error)
{
	(void)u, (void)error;
	assert(false); /* it is open */
}

static struct news *news_of(struct shelf *b)
{
	if (b->news)
		return b->news;
	struct news *n = NEW(struct news);
	n->owner = b->owner;
	n->shelf = b;
	n->user.on_open = on_never;
	int r = shelf_join(b->owner, &n->user, &b->id);
	assert(r == 0 && !n->user.is_waiting);
	n->tree = shelf_cache_tree(b);
	n->n_chunks = tree_n_chunks(fetch_index(b->tree));
	n->said = xcalloc((size_t)n->n_chunks / 8 + 1, 1);
	n->changed = xcalloc((size_t)n->n_chunks / 8 + 1, 1);
	n->next = n->n_chunks;
	list_init(&n->watches);
	n->coming = (struct fetch_coming){.on_chunk = on_chunk, .on_lost = on_chunk};
	fetch_coming_start(b->tree, &n->coming);
	b->news = n;
	for (uint64_t i = 0; i < n->n_chunks; i++)
		see_and_verify(n, i);
	timer_stop(&n->timer);
	news_flush(n);
	free(steal(n->fresh));
	n->room_fresh = 0;
	return n;
}

static void news_leave(struct watching *w)
{
	struct news *n = steal(w->news);
	assert(n->n_watches);
	list_remove(&w->link);
	if (--n->n_watches)
		return;
	fetch_coming_stop(&n->coming);
	timer_stop(&n->timer);
	n->shelf->news = NULL;
	n->owner = NULL;
	if (!n->is_working)
		news_free(n);
}

/* ---- one that watches */

static void watching_free(struct watching *w)
{
	struct serve *s = w->owner;
	assert(s->n_watches && !w->is_streaming);
	s->n_watches--;
	if (w->news)
		news_leave(w);
	else
		list_remove(&w->link);
	shelf_leave(&w->user);
	sheaf_leave(&w->coming);
	buf_fini(&w->out);
	free(w->told);
	free(w->parts);
	free(w);
}

static void refuse(struct watching *w, int error)
{
	if (w->is_streaming)
		stream_end(&w->stream, error);
	else
		serve_refuse(w->owner, w->conn, w->id, &w->tree, error);
	w->is_streaming = false;
	watching_free(w);
}

static void on_room(struct stream *s)
{
	watching_send(container_of(s, struct watching, stream));
}

static void on_stop(struct stream *s, int error)
{
	struct watching *w = container_of(s, struct watching, stream);
	assert(error <= 0);
	w->is_streaming = false;
	watching_free(w);
}

/* False: it is gone. */
static bool start(struct watching *w)
{
	static const struct wire_status ok = {.error = 0};
	w->stream.on_room = on_room;
	w->stream.on_stop = on_stop;
	if (!w->is_streaming && stream_start(&w->stream, w->conn, w->id, WIRE_STATUS, &ok)) {
		watching_free(w);
		return false;
	}
	w->is_streaming = true;
	return true;
}

static void begin_chunks(struct watching *w)
{
	struct shelf *b = w->user.shelf;
	if (w->layout.algorithm && !digest_is_equal(&w->layout, tree_layout_id(fetch_index(b->tree)))) {
		refuse(w, -ESTALE);
		return;
	}
	if (!start(w))
		return;
	struct news *n = news_of(b);
	list_remove(&w->link);
	list_append(&n->watches, &w->link);
	n->n_watches++;
	w->news = n;
	put_first(w);
	watching_send(w);
}

static void on_open(struct shelf_user *u, int error)
{
	struct watching *w = container_of(u, struct watching, user);
	if (error)
		refuse(w, error);
	else
		begin_chunks(w);
}

/* ---- of an index that comes */

/* Who does not keep up is told of the others when he does: `parts` says what he knows of. */
static void put_parts(struct watching *w)
{
	uint64_t n = sheaf_n_parts(&w->coming);
	if (n && !w->parts) {
		w->n_parts = n;
		w->parts = xcalloc((size_t)n / 8 + 1, 1);
	}
	for (uint64_t i = 0; i < w->n_parts; i++) {
		if (bit(w->parts, i) || !sheaf_has(&w->coming, i))
			continue;
		flip(w->parts, i);
		have_put_part(&w->out, (uint32_t)i);
	}
	watching_send(w);
}

static void on_part(struct sheaf_user *u, uint64_t part)
{
	struct watching *w = container_of(u, struct watching, coming);
	(void)part;
	put_parts(w);
}

static int begin(struct watching *w);

static void on_over(struct sheaf_user *u, int error)
{
	struct watching *w = container_of(u, struct watching, coming);
	int r = error ? -ENOENT : begin(w);
	if (r)
		refuse(w, r);
}

/* 0: it goes on, or is gone. */
static int begin(struct watching *w)
{
	int r = shelf_join(w->owner, &w->user, &w->tree);
	if (r == -ENOENT) {
		r = sheaf_join(w->owner, &w->coming, &w->tree);
		if (r == 0 && start(w))
			put_parts(w);
	} else if (r == 0 && !w->user.is_waiting) {
		begin_chunks(w);
	}
	return r;
}

/* ---- WATCH_CHUNKS */

void watch_ask(struct serve *s, struct conn *c, uint64_t id, const struct wire_watch_chunks *m)
{
	if (!id)
		return;
	if (s->n_watches == WATCHES_MOST) {
		conn_reply_status(c, id, EAGAIN, "node %s: %u watch already; watch another node", s->name,
				  s->n_watches);
		return;
	}
	struct watching *w = NEW(struct watching);
	w->owner = s;
	w->conn = c;
	w->id = id;
	w->tree = m->tree;
	w->layout = m->layout;
	w->user.on_open = on_open;
	w->coming.on_part = on_part;
	w->coming.on_over = on_over;
	list_init(&w->link);
	list_append(&s->watches, &w->link);
	s->n_watches++;
	int r = begin(w);
	if (r)
		refuse(w, r);
	/* He has some of it, or will have. */
	else if (s->peers && *m->address)
		fetch_pull_meet(s->peers, &m->tree, m->name, m->address);
}

/* ---- whoever has gone */

static struct watching *find_in(struct list *watches, const struct conn *c, const uint64_t *id)
{
	list_foreach (watches, struct watching, link, w) {
		if (w->conn == c && (!id || w->id == *id))
			return w;
	}
	return NULL;
}

static struct watching *find(struct serve *s, const struct conn *c, const uint64_t *id)
{
	struct watching *found = find_in(&s->watches, c, id);
	if (found)
		return found;
	list_foreach (&s->trees, struct shelf, link, b) {
		if (b->news && (found = find_in(&b->news->watches, c, id)))
			return found;
	}
	return NULL;
}

static void drop(struct watching *w)
{
	stream_end(&w->stream, -ECANCELED);
	w->is_streaming = false;
	watching_free(w);
}

bool watch_cancel(struct serve *s, const struct conn *c, uint64_t id)
{
	struct watching *w = find(s, c, &id);
	if (w)
		drop(w);
	return w;
}

void watch_close(struct serve *s, const struct conn *c)
{
	struct watching *w;
	while ((w = find(s, c, NULL)))
		drop(w);
}
