/* SPDX-License-Identifier: Apache-2.0
 * The played scheduler's store: it takes a tree that is offered, as a node would, and gives back what it has, damaged or cut as it is told. */
#ifndef CLIENT_DATA_H
#define CLIENT_DATA_H

#include "data/data.h"
#include "tests/unit/client_world.h"

/* Of one tree. */
struct cargo {
	char id[DIGEST_TEXT_SIZE];
	struct buf vti, bytes;
	struct tree *tree;
	bool is_whole;
};

struct depot {
	struct fake *fake;
	struct cargo *cargo[32];
	size_t n;
	atomic_int n_offers;
	/* So often still: the connection is lost in the middle of an OFFER, of READ_CHUNKS; a byte is wrong; the last ones are missing; the index is another. */
	atomic_int lose_offers, lose_reads, lies, cuts, wrong_indices;
	atomic_int full_offers;
	atomic_bool is_waiting; /* between an index and its chunks */
	atomic_bool has_index;
	atomic_bool is_stuck; /* never asks for chunks, nor says so */
	struct pulling *stuck;
	char item[200], tree[DIGEST_TEXT_SIZE]; /* the one row of a QUERY for items */
};

/* An OFFER that is being read. */
struct pulling {
	struct depot *depot;
	struct cargo *cargo;
	struct conn *conn;
	struct call call;
	struct timer timer;
	uint64_t id;
	char reason[600];
};

static struct cargo *cargo_get(struct depot *d, const char *id)
{
	for (size_t i = 0; i < d->n; i++) {
		if (streq(d->cargo[i]->id, id))
			return d->cargo[i];
	}
	return NULL;
}

static void pulling_end(struct pulling *p, int error, const char *reason)
{
	if (p->conn)
		conn_reply_status(p->conn, p->id, error, "%s", reason);
	timer_stop(&p->timer);
	free(p);
}

static void on_pull_refused(struct pulling *p, int error, uint16_t type, const void *message)
{
	const struct wire_status *s = message;
	if (error == -ECONNRESET || error == -ECANCELED || !message)
		p->conn = NULL;
	pulling_end(p, -error, message && type == WIRE_STATUS ? s->reason : "");
}

static bool on_pull_chunk(struct call *c, const void *p, size_t n)
{
	buf_put(&container_of(c, struct pulling, call)->cargo->bytes, p, n);
	return true;
}

static void on_pull_done(struct call *c, int error)
{
	struct pulling *p = container_of(c, struct pulling, call);
	p->cargo->is_whole = !error;
	if (error == -ECONNRESET || error == -ECANCELED)
		p->conn = NULL;
	pulling_end(p, error < 0 ? -error : error, "");
}

static void on_pull_chunks(struct call *c, int error, uint16_t type, const void *message)
{
	if (error)
		on_pull_refused(container_of(c, struct pulling, call), error, type, message);
}

static void pull_chunks(struct timer *t)
{
	struct pulling *p = container_of(t, struct pulling, timer);
	struct depot *d = p->depot;
	if (d->is_waiting) {
		timer_start(t, d->fake->loop, 5000, pull_chunks);
		return;
	}
	struct wire_read_chunks m = {.tree = *tree_id(p->cargo->tree), .n = tree_n_chunks(p->cargo->tree)};
	p->call = (struct call){.on_reply = on_pull_chunks, .on_data = on_pull_chunk, .on_end = on_pull_done};
	buf_consume(&p->cargo->bytes, p->cargo->bytes.n);
	ASSERT_EQ(call_start(&p->call, p->conn, WIRE_READ_CHUNKS, &m, 0), 0);
	if (d->lose_offers > 0) {
		d->lose_offers--;
		conn_abort(p->conn, ECONNRESET, "as told");
	}
}

static bool on_pull_index(struct call *c, const void *p, size_t n)
{
	buf_put(&container_of(c, struct pulling, call)->cargo->vti, p, n);
	return true;
}

static void on_pull_indexed(struct call *c, int error)
{
	struct pulling *p = container_of(c, struct pulling, call);
	struct cargo *cargo = p->cargo;
	struct digest d;
	ASSERT_EQ(error, 0);
	ASSERT_EQ(digest_parse(cargo->id, &d), 0);
	if (!cargo->tree)
		ASSERT_EQ(tree_take(xmemdup(cargo->vti.at, cargo->vti.n), cargo->vti.n, &d, &cargo->tree), 0);
	p->depot->has_index = true;
	if (p->depot->is_stuck)
		p->depot->stuck = p;
	else
		timer_start(&p->timer, p->depot->fake->loop, 0, pull_chunks);
}

static void on_pull_begun(struct call *c, int error, uint16_t type, const void *message)
{
	if (error)
		on_pull_refused(container_of(c, struct pulling, call), error, type, message);
	else
		ASSERT_EQ(type, WIRE_INDEX);
}

static void on_offer(struct depot *d, struct conn *c, uint64_t id, const struct wire_offer *m)
{
	char text[DIGEST_TEXT_SIZE];
	struct cargo *cargo = cargo_get(d, digest_text(&m->tree, text));
	d->n_offers++;
	if (d->full_offers > 0) {
		d->full_offers--;
		conn_reply_status(c, id, EAGAIN, "no node has room");
		return;
	}
	if (cargo && cargo->is_whole) {
		conn_reply_status(c, id, 0, "%s", "");
		return;
	}
	if (!cargo) {
		ASSERT(d->n < countof(d->cargo));
		cargo = d->cargo[d->n++] = NEW(struct cargo);
		memcpy(cargo->id, text, sizeof text);
	}
	buf_consume(&cargo->vti, cargo->vti.n);
	struct pulling *p = NEW(struct pulling);
	*p = (struct pulling){.depot = d, .cargo = cargo, .conn = c, .id = id};
	p->call = (struct call){.on_reply = on_pull_begun, .on_data = on_pull_index, .on_end = on_pull_indexed};
	struct wire_read_index read = {.tree = cargo->id};
	ASSERT_EQ(call_start(&p->call, c, WIRE_READ_INDEX, &read, 0), 0);
}

/* ---- giving back */

struct giving {
	struct stream stream;
	struct buf bytes;
};

static void giving_free(struct giving *g)
{
	buf_fini(&g->bytes);
	free(g);
}

static void on_giving_room(struct stream *s)
{
	struct giving *g = container_of(s, struct giving, stream);
	buf_consume(&g->bytes, stream_send(s, g->bytes.at, g->bytes.n));
	if (!g->bytes.n) {
		stream_end(s, 0);
		giving_free(g);
	}
}

static void on_giving_stop(struct stream *s, int error)
{
	(void)error;
	giving_free(container_of(s, struct giving, stream));
}

static void give(struct conn *c, uint64_t id, uint16_t type, const void *message, const void *p, size_t n)
{
	struct giving *g = NEW(struct giving);
	buf_put(&g->bytes, p, n);
	g->stream = (struct stream){.on_room = on_giving_room, .on_stop = on_giving_stop};
	if (stream_start(&g->stream, c, id, type, message) < 0)
		giving_free(g);
	else
		on_giving_room(&g->stream);
}

static bool takes(atomic_int *n)
{
	bool is_more = *n > 0;
	*n -= is_more;
	return is_more;
}

static uint64_t place_of(const struct tree *t, uint64_t chunk)
{
	uint64_t place = 0;
	for (uint32_t i = 0; i < tree_n_blobs(t); i++) {
		const struct tree_blob *b = tree_blob(t, i);
		uint64_t n = data_n_chunks(b->size, b->chunk_size);
		if (chunk < b->first_chunk + n)
			return place + (chunk - b->first_chunk) * b->chunk_size;
		place += b->size;
	}
	return place;
}

static void on_read_chunks(struct depot *d, struct conn *c, uint64_t id, const struct wire_read_chunks *m)
{
	char text[DIGEST_TEXT_SIZE];
	struct cargo *cargo = cargo_get(d, digest_text(&m->tree, text));
	ASSERT(cargo && m->first + m->n <= tree_n_chunks(cargo->tree));
	uint64_t from = place_of(cargo->tree, m->first), to = place_of(cargo->tree, m->first + m->n);
	_free_ uint8_t *bytes = xmemdup(cargo->bytes.at + from, to - from);
	if (takes(&d->lies))
		bytes[(to - from) / 2] ^= 1;
	if (takes(&d->cuts))
		to = from + (to - from) / 2;
	bool is_lost = takes(&d->lose_reads);
	give(c, id, WIRE_STATUS, &(struct wire_status){.error = 0}, bytes, is_lost ? (to - from) / 2 : to - from);
	if (is_lost)
		conn_abort(c, ECONNRESET, "as told");
}

static void on_read_index(struct depot *d, struct conn *c, uint64_t id, const struct wire_read_index *m)
{
	struct cargo *cargo = cargo_get(d, m->tree);
	if (!cargo) {
		conn_reply_status(c, id, ENOENT, "no node has it");
		return;
	}
	_free_ uint8_t *vti = xmemdup(cargo->vti.at, cargo->vti.n);
	if (takes(&d->wrong_indices))
		vti[cargo->vti.n / 2] ^= 1;
	give(c, id, WIRE_INDEX, &(struct wire_index){.tree = *tree_id(cargo->tree), .size = cargo->vti.n}, vti,
	     cargo->vti.n);
}

/* Output of a task whose node goes away. */
static void break_off(struct conn *c, uint64_t id)
{
	struct stream s = {.on_room = on_giving_room, .on_stop = on_giving_stop};
	ASSERT_EQ(stream_start(&s, c, id, WIRE_STATUS, &(struct wire_status){.error = 0}), 0);
	ASSERT_EQ(stream_send(&s, "abc", 3), 3);
	stream_end(&s, -ECONNRESET);
}

static bool depot_on_message(void *arg, struct conn *c, const struct wire_head *h, const void *message)
{
	struct depot *d = arg;
	const struct wire_query *q = message;
	if (h->type == WIRE_OFFER) {
		on_offer(d, c, h->id, message);
	} else if (h->type == WIRE_READ_CHUNKS) {
		on_read_chunks(d, c, h->id, message);
	} else if (h->type == WIRE_READ_INDEX) {
		on_read_index(d, c, h->id, message);
	} else if (h->type == WIRE_READ_OUTPUT) {
		break_off(c, h->id);
	} else if (h->type == WIRE_QUERY && streq(q->what, "items")) {
		static const char *const columns[] = {"item", "run", "state", "tree"};
		const char *cells[] = {d->item, "r", *d->tree ? "known" : "expected", d->tree};
		conn_reply(c, h->id, WIRE_ROWS,
			   &(struct wire_rows){.columns = {columns, 4}, .cells = {cells, *d->item ? 4 : 0}});
	} else {
		return false;
	}
	return true;
}

static struct fake *depot_start(struct depot *d)
{
	struct fake *f = fake_start();
	d->fake = f;
	f->arg = d;
	f->on_other = depot_on_message;
	return f;
}

/* After the fake has stopped. */
static void depot_fini(struct depot *d)
{
	for (size_t i = 0; i < d->n; i++) {
		buf_fini(&d->cargo[i]->vti);
		buf_fini(&d->cargo[i]->bytes);
		if (d->cargo[i]->tree)
			tree_free(d->cargo[i]->tree);
		free(d->cargo[i]);
	}
	free(d->stuck);
	*d = (struct depot){.n = 0};
}

#endif
