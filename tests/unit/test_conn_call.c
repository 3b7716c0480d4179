/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/ends_talk.h"

/* The answering side tells back what it was sent. */
static void echo(struct end *e, const struct wire_head *h, const void *message)
{
	conn_reply(e->conn, h->id, h->type, message);
}

static unsigned n_echoed_wrong;

static void echo_on_reply(struct call *call, int error, uint16_t type, const void *message)
{
	struct asker *a = container_of(call, struct asker, call);
	const struct wire_query *m = message;
	a->n_replies++;
	if (error || type != WIRE_QUERY || strlen(m->selector) != a->received || m->most != (uint32_t)a->received)
		n_echoed_wrong++;
}

TEST(messages_of_any_size_are_echoed_both_ways_at_once)
{
	enum { N = 200 };
	for (int tls = 0; tls < 2; tls++) {
		struct ends e;
		static struct asker askers[2][N];
		unsigned seed = 3, n = 0;
		char *text = xmalloc(300001);
		memset(text, 'x', 300000);
		n_echoed_wrong = 0;
		ends_init(&e, tls);
		e.node.on_message = e.vined.on_message = echo;
		ASSERT(ends_open(&e));
		for (int i = 0; i < N; i++) {
			for (int side = 0; side < 2; side++) {
				struct asker *a = &askers[side][i];
				asker_init(a, false);
				a->call.on_reply = echo_on_reply;
				a->received = (unsigned)rand_r(&seed) % (i % 10 ? 300u : 300000u);
				text[a->received] = 0;
				struct wire_query m = {.what = "x", .selector = text, .most = (uint32_t)a->received};
				struct end *from = side ? &e.vined : &e.node;
				ASSERT_EQ(call_start(&a->call, from->conn, WIRE_QUERY, &m, 0), 0);
				text[a->received] = 'x';
			}
			if (i % 7 == 0)
				loop_turn(e.loop, 0);
		}
		/* Both sides stand above their mark here: neither may wait for the other for ever. */
		for (uint64_t end = real_usec() + UNIT_PATIENCE_USEC; real_usec() < end;) {
			n = 0;
			for (int i = 0; i < N; i++)
				n += askers[0][i].n_replies + askers[1][i].n_replies;
			if (n == 2 * N)
				break;
			loop_turn(e.loop, 5);
		}
		ASSERT_EQ(n, 2 * N);
		ASSERT_EQ(n_echoed_wrong, 0);
		free(text);
		ends_fini(&e);
	}
}

TEST(what_is_sent_in_one_turn_leaves_in_one_write)
{
	struct ends e;
	ends_init(&e, false);
	ASSERT(ends_open(&e));
	uint64_t writes = conn_counters(e.node.conn)->writes;
	struct wire_stop m = {.attempt = 1};
	for (int i = 0; i < 100; i++)
		ASSERT_EQ(conn_send(e.node.conn, WIRE_STOP, &m), 0);
	ASSERT(UNTIL(e.loop, e.vined.n_messages == 100));
	ASSERT_EQ(conn_counters(e.node.conn)->writes - writes, 1);
	ASSERT_EQ(conn_counters(e.vined.conn)->messages_in, 101);
	ends_fini(&e);
}

static void answer_status(struct end *e, const struct wire_head *h, const void *message)
{
	(void)message;
	conn_reply_status(e->conn, h->id, -ENOENT, "task %d is not there", 17);
}

TEST(a_status_with_an_error_is_the_calls_error)
{
	struct ends e;
	struct asker a;
	ends_init(&e, true);
	e.vined.on_message = answer_status;
	ASSERT(ends_open(&e));
	asker_init(&a, true);
	ASSERT_EQ(ask(&a, &e.node, 0), 0);
	ASSERT(UNTIL(e.loop, a.n_replies == 1));
	ASSERT_EQ(a.error, -ENOENT);
	ASSERT_EQ(a.type, WIRE_STATUS);
	ASSERT_STR(a.reason, "task 17 is not there");
	ASSERT(a.call.conn == NULL);
	ends_fini(&e);
}

TEST(a_call_ends_in_time_and_its_late_answer_is_ignored)
{
	struct ends e;
	struct asker a;
	ends_init(&e, false);
	ASSERT(ends_open(&e));
	asker_init(&a, false);
	ASSERT_EQ(ask(&a, &e.node, 3000000), 0);
	ASSERT(UNTIL(e.loop, e.vined.n_messages == 1));
	ends_skipped_usec += 3100000;
	ASSERT(UNTIL(e.loop, a.n_replies == 1));
	ASSERT_EQ(a.error, -ETIMEDOUT);
	ASSERT(UNTIL(e.loop, e.vined.n_cancelled == 1));
	ASSERT_EQ(e.vined.cancelled_id, 1);
	ASSERT_EQ(conn_reply_status(e.vined.conn, 1, 0, "late"), 0);
	asker_init(&a, false);
	e.vined.on_message = answer_status;
	ASSERT_EQ(ask(&a, &e.node, 0), 0);
	ASSERT(UNTIL(e.loop, a.n_replies == 1));
	ASSERT_EQ(a.error, -ENOENT);
	ends_fini(&e);
}

TEST(a_stopped_call_hears_nothing_and_the_peer_is_told)
{
	struct ends e;
	struct asker a;
	ends_init(&e, false);
	ASSERT(ends_open(&e));
	asker_init(&a, false);
	ASSERT_EQ(ask(&a, &e.node, 1000000), 0);
	call_stop(&a.call);
	call_stop(&a.call);
	ASSERT(UNTIL(e.loop, e.vined.n_cancelled == 1));
	ends_skipped_usec += 2000000;
	for (int i = 0; i < 10; i++)
		loop_turn(e.loop, 1);
	ASSERT_EQ(a.n_replies, 0);
	ends_fini(&e);
}

TEST(calls_and_streams_end_before_the_connection_does)
{
	struct ends e;
	struct asker a[3];
	ends_init(&e, false);
	ASSERT(ends_open(&e));
	for (int i = 0; i < 3; i++) {
		asker_init(&a[i], true);
		ASSERT_EQ(ask(&a[i], &e.node, 0), 0);
	}
	conn_abort(e.vined.conn, -EIO, "the test wants it");
	ASSERT_STR(e.vined.reason, "the test wants it");
	ASSERT_EQ(e.vined.error, -EIO);
	ASSERT(UNTIL(e.loop, e.node.is_closed));
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(a[i].n_replies, 1);
	ASSERT_EQ(a[0].error, -ECONNRESET);
	ASSERT_EQ(ask(&a[0], &e.node, 0), -ENOTCONN);
	ASSERT_EQ(conn_send(e.node.conn, WIRE_STOP, &(struct wire_stop){.attempt = 1}), -ENOTCONN);
	ends_fini(&e);
}
