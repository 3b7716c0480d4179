/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/ends_talk.h"

TEST(a_stream_of_50_mb_arrives_intact)
{
	const uint64_t size = 50000000;
	int fd = pattern_file(size);
	for (int tls = 0; tls < 2; tls++) {
		for (int file = 0; file < 2; file++) {
			struct ends e;
			struct asker a;
			struct giver g;
			giver_init(&g, size);
			g.fd = file ? fd : -1;
			ends_init(&e, tls);
			e.vined.on_message = answer_stream;
			e.vined.arg = &g;
			ASSERT(ends_open(&e));
			asker_init(&a, true);
			ASSERT_EQ(ask(&a, &e.node, 5000000), 0);
			ASSERT(UNTIL(e.loop, a.n_ends == 1));
			ASSERT_EQ(a.error, 0);
			ASSERT_EQ(a.received, size);
			ASSERT_EQ(a.sum, 0);
			ASSERT_EQ(g.n_stopped, 0);
			ends_fini(&e);
		}
	}
	close(fd);
}

TEST(an_empty_stream_and_an_empty_file_end_too)
{
	for (int file = 0; file < 2; file++) {
		struct ends e;
		struct asker a;
		struct giver g;
		giver_init(&g, 0);
		g.fd = file ? pattern_file(0) : -1;
		ends_init(&e, false);
		e.vined.on_message = answer_stream;
		e.vined.arg = &g;
		ASSERT(ends_open(&e));
		asker_init(&a, true);
		ASSERT_EQ(ask(&a, &e.node, 0), 0);
		ASSERT(UNTIL(e.loop, a.n_ends == 1));
		ASSERT_EQ(a.received, 0);
		ASSERT_EQ(a.error, 0);
		close_fd(g.fd);
		ends_fini(&e);
	}
}

TEST(a_receiver_that_holds_back_gets_no_more_than_the_window)
{
	struct ends e;
	struct asker a;
	struct giver g;
	giver_init(&g, 4 * CONN_STREAM_WINDOW);
	ends_init(&e, true);
	e.vined.on_message = answer_stream;
	e.vined.arg = &g;
	ASSERT(ends_open(&e));
	asker_init(&a, true);
	a.holds = true;
	ASSERT_EQ(ask(&a, &e.node, 1000000), 0);
	ASSERT(UNTIL(e.loop, a.received == CONN_STREAM_WINDOW));
	for (int i = 0; i < 50; i++)
		loop_turn(e.loop, 1);
	ASSERT_EQ(a.received, CONN_STREAM_WINDOW);
	ASSERT_EQ(g.done, CONN_STREAM_WINDOW);
	/* The silence is the receiver's own: its deadline does not run. */
	ends_skipped_usec += 5000000;
	for (int i = 0; i < 10; i++)
		loop_turn(e.loop, 1);
	ASSERT_EQ(a.n_ends, 0);
	a.holds = false;
	call_more(&a.call);
	ASSERT(UNTIL(e.loop, a.n_ends == 1));
	ASSERT_EQ(a.error, 0);
	ASSERT_EQ(a.received, 4 * CONN_STREAM_WINDOW);
	ASSERT_EQ(a.sum, 0);
	ends_fini(&e);
}

static void stop_at_a_megabyte(struct asker *a)
{
	if (a->received > 1000000)
		call_stop(&a->call);
}

TEST(a_cancelled_stream_stops_at_both_ends)
{
	int fd = pattern_file(20000000);
	for (int file = 0; file < 2; file++) {
		struct ends e;
		struct asker a, b;
		struct giver g;
		giver_init(&g, 20000000);
		g.fd = file ? fd : -1;
		ends_init(&e, false);
		e.vined.on_message = answer_stream;
		e.vined.arg = &g;
		ASSERT(ends_open(&e));
		asker_init(&a, true);
		a.then = stop_at_a_megabyte;
		ASSERT_EQ(ask(&a, &e.node, 0), 0);
		ASSERT(UNTIL(e.loop, g.n_stopped == 1));
		ASSERT_EQ(g.error, -ECANCELED);
		ASSERT_EQ(a.n_ends, 0);
		/* The connection is as good as before. */
		giver_init(&g, 3000000);
		asker_init(&b, true);
		ASSERT_EQ(ask(&b, &e.node, 0), 0);
		ASSERT(UNTIL(e.loop, b.n_ends == 1));
		ASSERT_EQ(b.received, 3000000);
		ASSERT_EQ(b.sum, 0);
		ASSERT(!e.node.is_closed && !e.vined.is_closed);
		ends_fini(&e);
	}
	close(fd);
}

TEST(a_file_that_shrank_ends_the_stream_with_an_error)
{
	for (int tls = 0; tls < 2; tls++) {
		struct ends e;
		struct asker a;
		struct giver g;
		giver_init(&g, 500000);
		g.fd = pattern_file(300000);
		ends_init(&e, tls);
		e.vined.on_message = answer_stream;
		e.vined.arg = &g;
		ASSERT(ends_open(&e));
		asker_init(&a, true);
		ASSERT_EQ(ask(&a, &e.node, 0), 0);
		ASSERT(UNTIL(e.loop, a.n_ends == 1 && g.n_stopped == 1));
		ASSERT_EQ(a.error, -EIO);
		ASSERT_EQ(g.error, -EIO);
		ASSERT(!e.node.is_closed);
		close(g.fd);
		ends_fini(&e);
	}
}

static struct giver givers[8];
static unsigned n_givers;

static void answer_next_stream(struct end *e, const struct wire_head *h, const void *message)
{
	if (h->type != WIRE_READ_OUTPUT) {
		conn_reply_status(e->conn, h->id, 0, "%s", "");
		return;
	}
	e->arg = &givers[n_givers++];
	answer_stream(e, h, message);
}

TEST(streams_share_the_link_and_messages_pass_them)
{
	int fd = pattern_file(20000000);
	for (int kind = 0; kind < 3; kind++) {
		struct ends e;
		static struct asker a[8];
		struct asker word;
		uint64_t before = 0, after = 0;
		n_givers = 0;
		ends_init(&e, kind == 2);
		e.vined.on_message = answer_next_stream;
		ASSERT(ends_open(&e));
		for (int i = 0; i < 8; i++) {
			giver_init(&givers[i], 20000000);
			givers[i].fd = kind ? fd : -1;
			asker_init(&a[i], true);
			ASSERT_EQ(ask(&a[i], &e.node, 0), 0);
		}
		ASSERT(UNTIL(e.loop, a[0].received > 2000000));
		for (int i = 0; i < 8; i++) {
			before += a[i].received;
			ASSERT(a[i].received > 500000);
		}
		asker_init(&word, false);
		ASSERT_EQ(call_start(&word.call, e.node.conn, WIRE_DONE, &(struct wire_done){.tasks = {0}}, 0), 0);
		ASSERT(UNTIL(e.loop, word.n_replies == 1));
		for (int i = 0; i < 8; i++)
			after += a[i].received;
		/* Both ends' turns, the kernel's buffers and the queue. */
		ASSERT(after - before < 4000000);
		ASSERT(UNTIL(e.loop, a[0].n_ends && a[1].n_ends && a[2].n_ends && a[3].n_ends && a[4].n_ends &&
					     a[5].n_ends && a[6].n_ends && a[7].n_ends));
		for (int i = 0; i < 8; i++) {
			ASSERT_EQ(a[i].received, 20000000);
			ASSERT_EQ(a[i].sum + (unsigned)-a[i].error, 0);
		}
		ends_fini(&e);
	}
	close(fd);
}

TEST(a_peer_that_dies_mid_stream_is_an_error_at_the_receiver)
{
	for (int tls = 0; tls < 2; tls++) {
		struct ends e;
		struct asker a;
		struct giver g;
		giver_init(&g, 50000000);
		ends_init(&e, tls);
		e.vined.on_message = answer_stream;
		e.vined.arg = &g;
		ASSERT(ends_open(&e));
		asker_init(&a, true);
		ASSERT_EQ(ask(&a, &e.node, 0), 0);
		ASSERT(UNTIL(e.loop, a.received > 3000000));
		conn_free(steal(e.vined.conn));
		ASSERT_EQ(g.n_stopped, 1);
		ASSERT_EQ(g.error, -ECANCELED);
		ASSERT(UNTIL(e.loop, e.node.is_closed));
		ASSERT_EQ(a.n_ends, 1);
		ASSERT(a.error < 0);
		ASSERT_EQ(a.sum, 0);
		ends_fini(&e);
	}
}

TEST(a_peer_that_overruns_its_credit_is_closed)
{
	struct raw r;
	struct asker a;
	struct buf b = {0};
	static const uint8_t zeros[WIRE_DATA_MAX];
	raw_open(&r);
	asker_init(&a, true);
	a.holds = true;
	ASSERT_EQ(ask(&a, &r.e.vined, 0), 0);
	struct wire_status m = {.error = 0};
	wire_encode(&b, WIRE_STATUS, WIRE_FLAG_REPLY | WIRE_FLAG_STREAM, 1, &m);
	for (unsigned i = 0; i < CONN_STREAM_WINDOW / WIRE_DATA_MAX + 1; i++)
		raw_frame(&b, WIRE_DATA, WIRE_FLAG_REPLY, 1, zeros, sizeof zeros);
	raw_send(&r, b.at, b.n);
	ASSERT(UNTIL(r.e.loop, r.e.vined.is_closed));
	ASSERT_STR(r.e.vined.reason, "sent more of a stream than its credit");
	ASSERT_EQ(a.received, CONN_STREAM_WINDOW);
	ASSERT_EQ(a.n_ends, 1);
	buf_fini(&b);
	raw_fini(&r);
}

TEST(credit_that_cannot_be_counted_closes_the_connection)
{
	struct raw r;
	struct giver g;
	struct buf b = {0};
	giver_init(&g, 10 * CONN_STREAM_WINDOW);
	raw_open(&r);
	r.e.vined.on_message = answer_stream;
	r.e.vined.arg = &g;
	wire_encode(&b, WIRE_READ_OUTPUT, 0, 5, &(struct wire_read_output){.task = 1});
	wire_encode(&b, WIRE_CREDIT, 0, 5, &(struct wire_credit){.bytes = UINT64_MAX - 5});
	wire_encode(&b, WIRE_CREDIT, 0, 5, &(struct wire_credit){.bytes = UINT64_MAX - 5});
	raw_send(&r, b.at, b.n);
	ASSERT(UNTIL(r.e.loop, r.e.vined.is_closed));
	ASSERT_STR(r.e.vined.reason, "gave a stream more credit than can be counted");
	ASSERT_EQ(g.n_stopped, 1);
	buf_fini(&b);
	raw_fini(&r);
}

/* ---- freeing in callbacks. Run under a sanitizer, this is where it would show. */

enum place { AT_OPEN, AT_MESSAGE, AT_CLOSE, AT_REPLY, AT_DATA, AT_END, AT_ROOM, PLACES };

static struct {
	enum place place;
	int way; /* 0 free, 1 abort, 2 close */
	bool is_done;
} bomb;

static void explode(struct end *e, enum place at)
{
	if (bomb.place != at || bomb.is_done || !e->conn)
		return;
	bomb.is_done = true;
	struct conn *c = e->conn;
	if (bomb.way == 0) {
		e->conn = NULL;
		e->is_closed = true;
		conn_free(c);
	} else if (bomb.way == 1) {
		conn_abort(c, -EIO, "in a callback");
	} else {
		conn_close(c, "in a callback", false);
	}
}

static void explode_at_open(struct end *e)
{
	explode(e, AT_OPEN);
}

static void explode_at_close(struct end *e)
{
	explode(e, AT_CLOSE);
}

static void explode_at_message(struct end *e, const struct wire_head *h, const void *message)
{
	explode(e, AT_MESSAGE);
	if (e->conn && conn_is_open(e->conn))
		answer_stream(e, h, message);
	/* Its memory lives until the callback is over. */
	if (h->type != WIRE_READ_OUTPUT || ((const struct wire_read_output *)message)->task != 1)
		abort();
}

static void explode_in_asker(struct asker *a)
{
	explode(a->end, a->n_ends ? AT_END : a->received ? AT_DATA : AT_REPLY);
}

static void explode_at_room(struct stream *s)
{
	struct giver *g = container_of(s, struct giver, stream);
	explode(g->end, AT_ROOM);
	giver_fill(g);
}

TEST(a_connection_may_be_ended_in_any_callback)
{
	for (int i = 0; i < PLACES * 3 * 2; i++) {
		struct ends e;
		struct asker a;
		struct giver g;
		bomb.place = (enum place)(i % PLACES);
		bomb.way = i / PLACES % 3;
		bomb.is_done = false;
		ends_init(&e, i / PLACES / 3);
		giver_init(&g, 2500000);
		g.end = &e.vined;
		g.stream.on_room = explode_at_room;
		e.vined.arg = &g;
		e.vined.on_open = explode_at_open;
		e.vined.on_message = explode_at_message;
		e.vined.on_close = e.node.on_close = explode_at_close;
		e.vined.frees_on_close = e.node.frees_on_close = bomb.way == 0;
		ends_connect(&e);
		ASSERT(UNTIL(e.loop, e.node.is_open || e.node.is_closed));
		asker_init(&a, true);
		a.end = &e.node;
		a.then = explode_in_asker;
		if (e.node.conn && conn_is_open(e.node.conn) && ask(&a, &e.node, 0) == 0)
			ASSERT(UNTIL(e.loop, !a.call.conn));
		if (e.node.conn)
			conn_abort(e.node.conn, -EIO, "over");
		ASSERT(UNTIL(e.loop, e.vined.is_closed));
		ASSERT(bomb.is_done);
		ASSERT(e.node.n_closed <= 1 && e.vined.n_closed <= 1);
		ASSERT(!g.stream.conn);
		ends_fini(&e);
	}
}
