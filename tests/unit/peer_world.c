/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/peer_world.h"

#include "tests/unit/unit.h"
#include "vinefs/fetch/swarm_have.h"

#include <zstd.h>

#define PART_SIZE_OF_PLAYERS 65536u

uint64_t peer_patience_usec = 2000000;

struct answer {
	struct stream stream;
	uint8_t *bytes;
	size_t n, sent;
	int error;
	struct timer drip;
	struct loop *loop;
};

static const struct wire_hello hello = {.role = TLS_ROLE_NODE, .version = "1", .cluster = "c1", .name = "a"};

/* ---- one that plays */

static void answer_free(struct answer *a)
{
	timer_stop(&a->drip);
	free(a->bytes);
	free(a);
}

static void on_answer_room(struct stream *s)
{
	struct answer *a = container_of(s, struct answer, stream);
	a->sent += stream_send(s, a->bytes + a->sent, a->n - a->sent);
	if (a->sent < a->n)
		return;
	stream_end(s, a->error);
	answer_free(a);
}

static void on_answer_stop(struct stream *s, int error)
{
	(void)error;
	answer_free(container_of(s, struct answer, stream));
}

static void on_no_room(struct stream *s)
{
	(void)s;
}

static void on_drip(struct timer *t)
{
	struct answer *a = container_of(t, struct answer, drip);
	if (a->sent < a->n)
		a->sent += stream_send(&a->stream, a->bytes + a->sent, 1);
	timer_start(t, a->loop, 50000, on_drip);
}

static struct answer *answer_new(struct buf *bytes, int error)
{
	struct answer *a = NEW(struct answer);
	a->n = bytes->n;
	a->bytes = xmalloc(bytes->n);
	if (bytes->n)
		memcpy(a->bytes, bytes->at, bytes->n);
	a->error = error;
	a->stream.on_room = on_answer_room;
	a->stream.on_stop = on_answer_stop;
	return a;
}

static void give(struct conn *c, uint64_t id, uint16_t type, const void *message, struct buf *bytes, int error)
{
	struct answer *a = answer_new(bytes, error);
	ASSERT_EQ(stream_start(&a->stream, c, id, type, message), 0);
	on_answer_room(&a->stream);
}

/* A byte now and then. */
static void drip(struct loop *l, struct conn *c, uint64_t id, const void *message, struct buf *bytes)
{
	struct answer *a = answer_new(bytes, 0);
	a->loop = l;
	a->stream.on_room = on_no_room;
	ASSERT_EQ(stream_start(&a->stream, c, id, WIRE_STATUS, message), 0);
	timer_start(&a->drip, l, 0, on_drip);
}

static void play_index(struct side *s, struct conn *c, uint64_t id)
{
	_cleanup_(buf_fini) struct buf b = {0};
	struct wire_index m = {.tree = s->copy->id, .size = s->copy->n, .rest = ""};
	buf_put(&b, s->copy->vti, s->copy->n);
	if (s->fault == FAULT_INDEX)
		b.at[b.n / 2] ^= 1;
	give(c, id, WIRE_INDEX, &m, &b, 0);
}

static void play_chunks(struct side *s, struct conn *c, uint64_t id, const struct wire_read_chunks *m)
{
	_cleanup_(buf_fini) struct buf b = {0};
	const struct wire_status ok = {.error = 0};
	int error = 0;
	for (uint64_t i = m->first; i < m->first + m->n; i++) {
		bool is_wrong = s->fault != FAULT_NONE && s->fault != FAULT_INDEX && s->n_sent >= s->n_before;
		if (is_wrong && (s->fault == FAULT_SHORT || s->fault == FAULT_LACKS)) {
			error = s->fault == FAULT_LACKS ? -ENODATA : 0;
			break;
		}
		if (is_wrong && s->fault == FAULT_HANGS_UP) {
			conn_abort(c, ECONNRESET, "as told");
			return;
		}
		if (is_wrong && s->fault == FAULT_SILENT)
			return;
		buf_put(&b, s->copy->chunks[i], s->copy->sizes[i]);
		if (is_wrong && s->fault == FAULT_LIE)
			b.at[b.n - 1] ^= 1;
		s->n_sent++;
	}
	if (s->fault == FAULT_MORE)
		buf_put(&b, "x", 1);
	if (s->fault == FAULT_SLOW)
		drip(s->loop, c, id, &ok, &b);
	else
		give(c, id, WIRE_STATUS, &ok, &b, error);
}

/* ---- one that plays and knows the swarm */

static uint64_t player_end(const struct side *s)
{
	return s->end ? s->end : s->copy->n_chunks;
}

static void on_watch_stop(struct stream *s, int error)
{
	(void)s, (void)error;
}

static void on_watch_room(struct stream *s)
{
	(void)s;
}

static void play_watch(struct side *s, struct conn *c, uint64_t id, const struct wire_watch_chunks *m)
{
	_cleanup_(buf_fini) struct buf b = {0};
	static const struct wire_status ok = {.error = 0};
	snprintf(s->watcher, sizeof s->watcher, "%s", m->address);
	s->n_watches++;
	have_put_index(&b);
	for (uint32_t i = (uint32_t)s->first; i < player_end(s); i++)
		have_put_chunks(&b, &i, 1);
	s->watch.on_room = on_watch_room;
	s->watch.on_stop = on_watch_stop;
	ASSERT_EQ(stream_start(&s->watch, c, id, WIRE_STATUS, &ok), 0);
	ASSERT_EQ(stream_send(&s->watch, b.at, b.n), b.n);
}

void peer_swarm_more(struct side *s, uint64_t end)
{
	_cleanup_(buf_fini) struct buf b = {0};
	for (uint32_t i = (uint32_t)player_end(s); i < end; i++)
		have_put_chunks(&b, &i, 1);
	s->end = end;
	if (s->watch.conn)
		ASSERT_EQ(stream_send(&s->watch, b.at, b.n), b.n);
}

static void play_parts(struct side *s, struct conn *c, uint64_t id)
{
	_cleanup_(buf_fini) struct buf b = {0};
	struct digest d;
	s->n_lists++;
	for (size_t at = 0; at < s->copy->n; at += s->part_size) {
		digest_bytes((const uint8_t *)s->copy->vti + at, min(s->copy->n - at, (size_t)s->part_size), &d);
		d.byte[0] ^= s->fault == FAULT_LIST && at == 0;
		buf_put(&b, d.byte, DIGEST_SIZE);
	}
	const struct wire_index_parts m = {.tree = s->copy->id,
					   .size = s->copy->n,
					   .part_size = s->part_size,
					   .digests = {.at = b.at, .n = (uint32_t)b.n}};
	conn_reply(c, id, WIRE_INDEX_PARTS, &m);
}

static void play_part(struct side *s, struct conn *c, uint64_t id, uint64_t part)
{
	_cleanup_(buf_fini) struct buf b = {0};
	size_t at = (size_t)part * s->part_size, n = min(s->copy->n - at, (size_t)s->part_size);
	const struct wire_some m = {.chunk = part, .size = n, .address = ""};
	buf_put(&b, (const uint8_t *)s->copy->vti + at, n);
	b.at[0] ^= s->fault == FAULT_INDEX;
	s->n_parts++;
	give(c, id, WIRE_SOME, &m, &b, 0);
}

static void play_chunk(struct side *s, struct conn *c, uint64_t id, uint64_t chunk)
{
	_cleanup_(buf_fini) struct buf b = {0};
	bool is_wrong = s->n_sent >= s->n_before;
	size_t n = s->copy->sizes[chunk];
	buf_put(&b, s->copy->chunks[chunk], n);
	b.at[n - 1] ^= is_wrong && s->fault == FAULT_LIE;
	if (s->is_packed) {
		size_t room = ZSTD_compressBound(n);
		_free_ uint8_t *frame = xmalloc(room);
		size_t packed = ZSTD_compress(frame, room, b.at, n, 1);
		ASSERT(!ZSTD_isError(packed));
		if (packed < n) {
			buf_fini(&b);
			b = (struct buf){0};
			buf_put(&b, frame, packed);
		}
	}
	const struct wire_some m = {.chunk = chunk, .codec = b.n < n, .size = b.n, .address = ""};
	s->n_sent++;
	give(c, id, WIRE_SOME, &m, &b, 0);
}

static void play_some(struct side *s, struct conn *c, uint64_t id, const struct wire_read_some *m)
{
	const uint8_t *bits = m->wanted.at;
	if (s->fault == FAULT_SILENT && s->n_sent >= s->n_before)
		return;
	if (s->fault == FAULT_LAYOUT) {
		conn_reply_status(c, id, ESTALE, "another layout");
		return;
	}
	s->n_by_rank[m->rank]++;
	for (uint64_t i = 0; i < m->wanted.n * 8ull; i++) {
		uint64_t chunk = m->first + i;
		bool is_wanted = bits[i / 8] >> i % 8 & 1;
		if (is_wanted && m->is_index && s->parts_end && chunk >= s->parts_end)
			return;
		if (is_wanted && m->is_index) {
			play_part(s, c, id, chunk);
			return;
		}
		if (is_wanted && chunk >= s->first && chunk < player_end(s)) {
			play_chunk(s, c, id, chunk);
			return;
		}
	}
	conn_reply_status(c, id, ENODATA, "none of these");
}

static bool play_swarm(struct side *s, struct conn *c, const struct wire_head *h, const void *message)
{
	if (h->type == WIRE_WATCH_CHUNKS)
		play_watch(s, c, h->id, message);
	else if (h->type == WIRE_READ_INDEX_PARTS)
		play_parts(s, c, h->id);
	else if (h->type == WIRE_READ_SOME)
		play_some(s, c, h->id, message);
	return h->type == WIRE_WATCH_CHUNKS || h->type == WIRE_READ_INDEX_PARTS || h->type == WIRE_READ_SOME;
}

/* ---- both */

/* ---- one that plays a fellow: n_sent counts what it was asked for */

static void play_draft(struct side *s, struct conn *c, uint64_t id, const struct wire_read_draft *m)
{
	_free_ char *bytes = xcalloc(1, m->n);
	s->n_sent++;
	if (s->fault == FAULT_HANGS_UP)
		conn_abort(c, ECONNRESET, "as told");
	else if (s->fault == FAULT_LACKS)
		conn_reply_status(c, id, ENOENT, "not here");
	else if (s->fault != FAULT_SILENT)
		conn_reply(c, id, WIRE_DRAFT_PART,
			   &(struct wire_draft_part){.bytes = {bytes, m->n - (s->fault == FAULT_SHORT)}});
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	struct side *s = conn_owner(c);
	s->n_index += h->type == WIRE_READ_INDEX;
	s->n_chunks += h->type == WIRE_READ_CHUNKS || h->type == WIRE_READ_SOME;
	if (s->serve && serve_message(s->serve, c, h, message))
		return;
	if (s->is_swarm && play_swarm(s, c, h, message))
		return;
	if (!s->serve && h->type == WIRE_READ_DRAFT) {
		play_draft(s, c, h->id, message);
		return;
	}
	if (!s->serve && h->type == WIRE_READ_INDEX)
		play_index(s, c, h->id);
	else if (!s->serve && h->type == WIRE_READ_CHUNKS)
		play_chunks(s, c, h->id, message);
	else
		conn_reply_status(c, h->id, ENOSYS, "unknown");
}

static void on_cancel(struct conn *c, uint64_t id)
{
	struct side *s = conn_owner(c);
	s->n_cancels++;
	if (s->serve)
		serve_cancel(s->serve, c, id);
}

static void on_open(struct conn *c, const struct wire_hello *peer)
{
	struct side *s = conn_owner(c);
	ASSERT(*peer->name);
	ASSERT(s->n_conns < countof(s->conns));
	s->conns[s->n_conns++] = c;
}

static void on_close(struct conn *c, int error, const char *reason)
{
	struct side *s = conn_owner(c);
	(void)error, (void)reason;
	if (s->serve)
		serve_close(s->serve, c);
	for (unsigned i = 0; i < s->n_conns; i++)
		if (s->conns[i] == c)
			s->conns[i] = NULL;
	conn_free(c);
}

static const struct conn_ops side_ops = {
	.on_open = on_open, .on_message = on_message, .on_cancel = on_cancel, .on_close = on_close};

static void side_listen(struct side *s, struct loop *l)
{
	struct net_address a;
	s->loop = l;
	s->tls = tls_context_new(ends_secret, TLS_ROLE_NODE, 1u << TLS_ROLE_NODE);
	ASSERT_EQ(net_parse("127.0.0.1:0", &a), 0);
	int fd = net_listen(&a, 16);
	ASSERT(fd >= 0);
	ASSERT_EQ(net_own_address(fd, &a), 0);
	net_text(&a, s->address);
	const struct listener_options o = {
		.conn = {.ops = &side_ops, .owner = s, .tls = s->tls, .hello = &hello, .cluster = "c1"}};
	s->listener = listener_new(l, fd, &o);
	ASSERT(s->listener);
}

void peer_side_close(struct side *s)
{
	listener_free(s->listener);
	for (unsigned i = 0; i < s->n_conns; i++) {
		if (s->conns[i] && s->serve)
			serve_close(s->serve, s->conns[i]);
		conn_free(s->conns[i]);
	}
	serve_free(s->serve);
	tls_context_free(s->tls);
}

/* ---- who asks */

static void on_bad(void *arg, const struct digest *tree, const char *address, unsigned what, const char *reason)
{
	struct b_side *b = arg;
	(void)tree;
	ASSERT(*reason);
	b->n_bad++;
	b->bad_what = what;
	snprintf(b->bad, sizeof b->bad, "%s", address);
}

static void on_flow(void *arg, const struct digest *tree, const char *name, unsigned origin, uint64_t bytes,
		    uint64_t rest)
{
	struct b_side *b = arg;
	(void)tree;
	ASSERT(*name && origin == 1);
	b->n_flow += bytes;
	b->flow_rest = rest;
}

static void b_open(struct b_side *b, const char *name, struct cache_settings cs)
{
	*b = (struct b_side){.n_bad = 0};
	fetch_world_open(&b->world, name, cs, (struct fetch_settings){.n_threads = 8});
	b->tls = tls_context_new(ends_secret, TLS_ROLE_NODE, 1u << TLS_ROLE_NODE);
	b->hello = hello;
	b->hello.name = name;
	const struct fetch_peers_settings s = {.loop = b->world.loop,
					       .fetch = b->world.fetch,
					       .cache = b->world.cache,
					       .tls = b->tls,
					       .hello = &b->hello,
					       .cluster = "c1",
					       .patience_usec = peer_patience_usec,
					       .address = b->own.address,
					       .arg = b,
					       .on_bad = on_bad,
					       .on_flow = on_flow};
	b->peers = fetch_peers_new(&s);
}

void peer_b_open(struct b_side *b, struct cache_settings cs)
{
	b_open(b, "b", cs);
}

void peer_node_open(struct b_side *b, const char *name)
{
	b_open(b, name, (struct cache_settings){0});
	b->own.world = &b->world;
	b->own.serve = serve_new(b->world.loop, b->world.fetch, b->world.cache, name);
	serve_use_peers(b->own.serve, b->peers);
	side_listen(&b->own, b->world.loop);
}

void peer_node_close(struct b_side *b)
{
	serve_use_peers(b->own.serve, NULL);
	fetch_peers_free(b->peers);
	peer_side_close(&b->own);
	fetch_world_close(&b->world);
	tls_context_free(b->tls);
}

void peer_b_close(struct b_side *b)
{
	fetch_peers_free(b->peers);
	fetch_world_close(&b->world);
	tls_context_free(b->tls);
}

static void on_index(struct fetch_pull *x)
{
	container_of(x, struct pulling, pull)->n_index++;
}

static void on_done(struct fetch_pull *x, int error, const char *reason)
{
	struct pulling *p = container_of(x, struct pulling, pull);
	p->error = error;
	p->n_done++;
	snprintf(p->reason, sizeof p->reason, "%s", reason);
}

void peer_start(struct b_side *b, struct pulling *p, const struct digest *id, struct side *const *sides, size_t n)
{
	struct fetch_holder h[8];
	for (size_t i = 0; i < n; i++)
		h[i] = (struct fetch_holder){.name = sides[i]->serve ? "honest" : "player",
					     .address = sides[i]->address};
	*p = (struct pulling){.pull = {.on_index = on_index, .on_done = on_done}};
	fetch_pull_start(b->peers, &p->pull, id, h, n, true);
}

/* The honest side has a loop of its own; those that play live on b's. */
bool peer_pull_until(struct b_side *b, struct side *a, const struct pulling *p)
{
	for (uint64_t end = real_usec() + UNIT_PATIENCE_USEC; !p->n_done && real_usec() < end;) {
		loop_turn(b->world.loop, 1);
		if (a)
			loop_turn(a->world->loop, 1);
	}
	return p->n_done == 1;
}

int peer_pull(struct b_side *b, struct pulling *p, const struct digest *id, struct side *const *sides, size_t n)
{
	struct side *a = NULL;
	for (size_t i = 0; i < n; i++)
		a = sides[i]->serve ? sides[i] : a;
	peer_start(b, p, id, sides, n);
	ASSERT_EQ(p->n_done, 0);
	ASSERT(peer_pull_until(b, a, p));
	return p->error;
}

unsigned peer_n_absent(struct b_side *b, const struct digest *id)
{
	struct fetch_tree *t = fetch_world_tree(&b->world, id);
	uint64_t n = tree_n_chunks(fetch_index(t));
	uint64_t here = world_n_resident(fetch_cache_tree(t));
	fetch_close(t);
	return (unsigned)(n - here);
}

void peer_fellow_open(struct side *s, struct b_side *b)
{
	side_listen(s, b->world.loop);
}

char *peer_make_tree(void)
{
	char *path = world_files("tree", 5, 5u << 19, 7);
	_free_ char *more _unused_ = world_files("tree/small", 40, 20000, 8);
	return path;
}

void peer_honest_open(struct side *a, struct fetch_world *w, const char *path, struct digest *id)
{
	fetch_world_open_real(w, "a", (struct cache_settings){0}, (struct fetch_settings){.n_threads = 8});
	ASSERT_EQ(fetch_world_seal(w, path, NULL, false, id), 0);
	*a = (struct side){.world = w};
	a->serve = serve_new(w->loop, w->fetch, w->cache, "a");
	side_listen(a, w->loop);
}

void peer_honest_close(struct side *a)
{
	peer_side_close(a);
	fetch_world_close(a->world);
}

void peer_player_open(struct side *s, struct b_side *b, struct world_copy *copy, enum fault fault, uint64_t n_before)
{
	*s = (struct side){.copy = copy, .fault = fault, .n_before = n_before, .part_size = PART_SIZE_OF_PLAYERS};
	side_listen(s, b->world.loop);
}

void peer_swarm_open(struct side *s, struct b_side *b, struct world_copy *copy, enum fault fault, uint64_t first,
		     uint64_t end)
{
	peer_player_open(s, b, copy, fault, 0);
	s->is_swarm = true;
	s->first = first;
	s->end = end;
}
