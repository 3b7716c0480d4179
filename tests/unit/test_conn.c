/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/ends_talk.h"

#include <malloc.h>

/* ---- opening */

TEST(two_ends_say_hello_and_know_each_other)
{
	for (int tls = 0; tls < 2; tls++) {
		struct ends e;
		ends_init(&e, tls);
		ASSERT(ends_open(&e));
		ASSERT_STR(e.node.peer_name, "v");
		ASSERT_STR(e.vined.peer_name, "w");
		ASSERT_EQ(conn_peer_role(e.vined.conn), TLS_ROLE_NODE);
		ASSERT_EQ(conn_peer_role(e.node.conn), TLS_ROLE_VINED);
		ASSERT(strstr(conn_peer_name(e.vined.conn), "(node w)") != NULL);
		conn_close(e.node.conn, "enough", true);
		ASSERT(UNTIL(e.loop, e.node.is_closed && e.vined.is_closed));
		ASSERT_EQ(e.node.error, 0);
		ASSERT_EQ(e.vined.error, 0);
		ASSERT_STR(e.vined.reason, "enough");
		ASSERT(e.vined.is_final && !e.node.is_final);
		ends_fini(&e);
	}
}

TEST(whoever_does_not_belong_is_refused_with_the_reason)
{
	static const struct wire_hello table[] = {
		{.major = 2, .role = TLS_ROLE_NODE, .version = "2.0.0", .cluster = "c1"},
		{.role = TLS_ROLE_CLIENT, .cluster = "c1"},
		{.role = 0, .cluster = "c1"},
		{.role = TLS_ROLE_NODE, .cluster = "c2"},
	};
	static const char *const says[] = {"speaks protocol 2 (version 2.0.0), not our 1 (version 1.2.3)",
					   "wrong role: says it is a client, proved to be a node",
					   "wrong role: says it is a none, proved to be a node",
					   "another cluster: c2 is not c1"};
	for (size_t i = 0; i < countof(table); i++) {
		struct ends e;
		ends_init(&e, true);
		e.node_options.hello = &table[i];
		e.node_options.cluster = NULL;
		ends_connect(&e);
		ASSERT(UNTIL(e.loop, e.node.is_closed && e.vined.is_closed));
		ASSERT(e.vined.error < 0);
		ASSERT_STR(e.vined.reason, says[i]);
		ASSERT(e.node.is_final && e.vined.is_final);
		ASSERT_EQ(e.node.n_closed + e.vined.n_closed, 2);
		ends_fini(&e);
	}
}

TEST(a_peer_with_another_secret_is_told_so)
{
	struct ends e;
	uint8_t other[TLS_SECRET_SIZE] = "other";
	ends_init(&e, true);
	tls_context_free(e.tls_node);
	e.node_options.tls = e.tls_node = tls_context_new(other, TLS_ROLE_NODE, 1u << TLS_ROLE_VINED);
	ends_connect(&e);
	ASSERT(UNTIL(e.loop, e.node.is_closed && e.vined.is_closed));
	ASSERT_STR(e.node.reason, "wrong secret");
	ASSERT_STR(e.vined.reason, "wrong secret");
	ASSERT(e.node.is_final);
	ends_fini(&e);
}

TEST(a_silent_peer_is_closed_after_five_seconds_and_costs_nothing)
{
	for (int tls = 0; tls < 2; tls++) {
		struct ends e;
		int fd[2];
		ends_init(&e, tls);
		ends_stand_still();
		tcp_pair(fd);
		e.vined.conn = conn_new(e.loop, fd[1], true, &e.vined_options);
		for (int i = 0; i < 20; i++)
			loop_turn(e.loop, 1);
		ends_skipped_usec = 4900000;
		loop_turn(e.loop, 1);
		ASSERT(!e.vined.is_closed);
		ends_skipped_usec = 5100000;
		ASSERT(UNTIL(e.loop, e.vined.is_closed));
		ASSERT_EQ(e.vined.error, -ETIMEDOUT);
		ASSERT_STR(e.vined.reason, tls ? "no TLS handshake within 5 s" : "no HELLO within 5 s");
		close(fd[0]);
		ends_fini(&e);
	}
}

/* It may be the last of many that wait to be accepted. */
TEST(who_has_connected_waits_longer_than_who_has_accepted)
{
	for (int tls = 0; tls < 2; tls++) {
		struct ends e;
		int fd[2];
		ends_init(&e, tls);
		tcp_pair(fd);
		e.node.conn = conn_new(e.loop, fd[0], false, &e.node_options);
		for (int i = 0; i < 3; i++) {
			for (int k = 0; k < 5; k++)
				loop_turn(e.loop, 1);
			ASSERT(!e.node.is_closed);
			ends_skipped_usec += 6000000;
		}
		ends_skipped_usec += 3000000;
		ASSERT(UNTIL(e.loop, e.node.is_closed));
		ASSERT_STR(e.node.reason, tls ? "no TLS handshake within 20 s" : "no HELLO within 20 s");
		close(fd[1]);
		ends_fini(&e);
	}
}

TEST(garbage_before_the_handshake_closes_the_connection)
{
	struct ends e;
	int fd[2];
	ends_init(&e, true);
	tcp_pair(fd);
	e.vined.conn = conn_new(e.loop, fd[1], true, &e.vined_options);
	ASSERT_EQ(send(fd[0], "hello there, whoever you are", 28, 0), 28);
	ASSERT(UNTIL(e.loop, e.vined.is_closed));
	ASSERT_EQ(e.vined.error, -EPROTO);
	ASSERT_STR(e.vined.reason, "not TLS");
	close(fd[0]);
	ends_fini(&e);
}

/* ---- frames */

TEST(a_broken_frame_closes_the_connection_and_says_why)
{
	static const struct {
		struct wire_head head;
		const char *reason;
	} table[] = {
		{{WIRE_QUERY, 0, 2147483647u, 1}, "sent a frame of 2147483647 bytes"},
		{{WIRE_QUERY, 0, WIRE_BODY_MAX + 1, 1}, "sent a frame of 8388609 bytes"},
		{{WIRE_DATA, WIRE_FLAG_REPLY, WIRE_DATA_MAX + 1, 1}, "sent a frame of 65537 bytes"},
		{{WIRE_DATA, 0, 5, 1}, "sent bytes of a stream that nobody asked for"},
		{{WIRE_DATA, WIRE_FLAG_REPLY | WIRE_FLAG_END, 3, 1}, "ended a stream with 3 bytes"},
		{{WIRE_QUERY, 0, 2, 1}, "sent a malformed QUERY"},
		{{WIRE_HELLO, 0, 0, 0}, "said HELLO twice"},
	};
	for (size_t i = 0; i < countof(table); i++) {
		struct raw r;
		struct buf b = {0};
		raw_open(&r);
		wire_put_head(&b, &table[i].head);
		buf_put(&b, "\xff\xff\xff\xff\xff\xff", 6);
		raw_send(&r, b.at, b.n);
		ASSERT(UNTIL(r.e.loop, r.e.vined.is_closed));
		ASSERT_STR(r.e.vined.reason, table[i].reason);
		ASSERT(r.e.vined.error < 0);
		ASSERT_EQ(r.e.vined.n_messages, 0);
		buf_fini(&b);
		raw_fini(&r);
	}
}

TEST(nothing_but_hello_is_taken_first_and_no_long_one)
{
	static const struct {
		struct wire_head head;
		const char *reason;
	} table[] = {
		{{WIRE_QUERY, 0, 10, 1}, "not Vine: its first message is of type 55"},
		{{WIRE_HELLO, 0, 1u << 20, 0}, "not Vine: its first message has 1048576 bytes"},
		{{0x4547, 0x2054, 7, 0}, "not Vine: its first message is of type 17735"},
	};
	for (size_t i = 0; i < countof(table); i++) {
		struct raw r;
		struct buf b = {0};
		raw_init(&r);
		wire_put_head(&b, &table[i].head);
		raw_send(&r, b.at, b.n);
		ASSERT(UNTIL(r.e.loop, r.e.vined.is_closed));
		ASSERT_STR(r.e.vined.reason, table[i].reason);
		buf_fini(&b);
		raw_fini(&r);
	}
}

TEST(frames_that_come_byte_by_byte_are_put_together)
{
	struct raw r;
	struct buf b = {0};
	struct wire_query q = {.what = "tasks", .selector = "sweep"};
	raw_open(&r);
	for (int i = 0; i < 20; i++)
		wire_encode(&b, WIRE_QUERY, 0, (uint64_t)i + 1, &q);
	for (size_t i = 0; i < b.n; i++)
		raw_send(&r, b.at + i, 1);
	ASSERT(UNTIL(r.e.loop, r.e.vined.n_messages == 20));
	ASSERT(!r.e.vined.is_closed);
	buf_fini(&b);
	raw_fini(&r);
}

TEST(random_bytes_after_the_handshake_never_break_the_end)
{
	unsigned seed = 11;
	for (int round = 0; round < 300; round++) {
		struct raw r;
		uint8_t bytes[2000];
		raw_open(&r);
		for (size_t i = 0; i < sizeof bytes; i++)
			bytes[i] = (uint8_t)(rand_r(&seed) >> 4);
		/* Half of them begin as frames of types that exist. */
		for (size_t i = 0; round % 2 && i + WIRE_HEAD_SIZE + 20 < sizeof bytes; i += WIRE_HEAD_SIZE + 20) {
			put_le16(bytes + i, (uint16_t)(rand_r(&seed) % 100));
			put_le16(bytes + i + 2, (uint16_t)(rand_r(&seed) % 8));
			put_le32(bytes + i + 4, 20);
			put_le64(bytes + i + 8, (uint64_t)(rand_r(&seed) % 3));
		}
		raw_send(&r, bytes, sizeof bytes);
		close(r.fd);
		ASSERT(UNTIL(r.e.loop, r.e.vined.is_closed));
		ASSERT_EQ(r.e.vined.n_closed, 1);
		ends_fini(&r.e);
	}
}

TEST(an_unknown_request_is_answered_and_an_unknown_notice_ignored)
{
	struct raw r;
	struct buf b = {0};
	uint8_t answer[512];
	raw_open(&r);
	for (int i = 0; i < 5; i++)
		loop_turn(r.e.loop, 1);
	while (recv(r.fd, answer, sizeof answer, MSG_DONTWAIT) > 0)
		;
	raw_frame(&b, 4711, 0, 0, "what", 4);
	raw_frame(&b, 4711, 0, 99, "what", 4);
	ASSERT_EQ(send(r.fd, b.at, b.n, 0), (ssize_t)b.n);
	ssize_t n = -1;
	ASSERT(UNTIL(r.e.loop, (n = recv(r.fd, answer, sizeof answer, MSG_DONTWAIT)) > 0));
	struct wire_head h;
	wire_get_head(answer, &h);
	struct wire_status m;
	struct wire_arena a = {0};
	ASSERT_EQ(h.type, WIRE_STATUS);
	ASSERT_EQ(h.id, 99);
	ASSERT_EQ(wire_decode(WIRE_STATUS, answer + WIRE_HEAD_SIZE, h.length, &m, &a), 0);
	ASSERT_EQ(m.error, ENOSYS);
	ASSERT_STR(m.reason, "unknown message type 4711");
	ASSERT(!r.e.vined.is_closed);
	wire_arena_fini(&a);
	buf_fini(&b);
	raw_fini(&r);
}

/* ---- back-pressure */

static void answer_long(struct end *e, const struct wire_head *h, const void *message)
{
	static char text[10000];
	(void)message;
	memset(text, 'y', sizeof text - 1);
	conn_reply_status(e->conn, h->id, 0, "%s", text);
}

TEST(a_peer_that_asks_and_does_not_read_costs_bounded_memory)
{
	struct raw r;
	struct buf b = {0};
	raw_open(&r);
	r.e.vined.on_message = answer_long;
	for (unsigned i = 0; i < 400000; i++)
		wire_encode(&b, WIRE_QUERY, 0, i + 1, &(struct wire_query){.what = "x"});
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd, most = 0, done = 0;
	uint64_t end = real_usec() + 1500000;
	while (real_usec() < end && done < b.n) {
		ssize_t k = send(r.fd, b.at + done, b.n - done, MSG_NOSIGNAL | MSG_DONTWAIT);
		done += k > 0 ? (size_t)k : 0;
		ASSERT_EQ(loop_turn(r.e.loop, 1), 0);
		size_t now = mallinfo2().uordblks + mallinfo2().hblkhd;
		most = max(most, now > before ? now - before : 0);
	}
	ASSERT(done < b.n);
	ASSERT(most < 48u << 20);
	ASSERT(!r.e.vined.is_closed);
	buf_fini(&b);
	raw_fini(&r);
}

TEST(a_full_connection_says_so_and_tells_when_there_is_room)
{
	struct ends e;
	struct wire_query m = {.what = "x"};
	char *text = xmalloc(100001);
	memset(text, 'z', 100000);
	text[100000] = 0;
	m.selector = text;
	ends_init(&e, false);
	ASSERT(ends_open(&e));
	unsigned n = 0;
	while (!conn_is_full(e.node.conn)) {
		ASSERT_EQ(conn_send(e.node.conn, WIRE_QUERY, &m), 0);
		n++;
	}
	ASSERT(n >= 10 && n <= 12);
	ASSERT_EQ(e.node.n_room, 0);
	ASSERT(UNTIL(e.loop, e.node.n_room == 1));
	ASSERT(UNTIL(e.loop, e.vined.n_messages == n));
	ASSERT_EQ(e.node.n_room, 1);
	free(text);
	ends_fini(&e);
}

static void fill_output(struct end *e, const struct wire_head *h, const void *message)
{
	struct wire_query m = {.what = "x", .selector = e->arg};
	(void)h, (void)message;
	while (e->n_messages == 1 && !conn_is_full(e->conn))
		ASSERT_EQ(conn_send(e->conn, WIRE_QUERY, &m), 0);
}

/* Each end in a loop of its own, so that one can send while the other sleeps. */
static void send_many_records(unsigned n, const char *text)
{
	struct ends e;
	int fd[2];
	_cleanup_(loop_freep) struct loop *other = loop_new();
	ends_init(&e, true);
	/* An answer to a PING would wake it. */
	e.node_options.ping_usec = e.vined_options.ping_usec = UINT64_C(3600000000);
	e.node_options.silent_usec = e.vined_options.silent_usec = UINT64_C(3600000000);
	tcp_pair(fd);
	e.node.conn = conn_new(e.loop, fd[0], false, &e.node_options);
	e.vined.conn = conn_new(other, fd[1], true, &e.vined_options);
	ASSERT(UNTIL(e.loop, loop_turn(other, 0) == 0 && e.node.is_open && e.vined.is_open));
	e.vined.on_message = fill_output;
	e.vined.arg = (void *)(uintptr_t)text;
	for (unsigned i = 0; i < n; i++) {
		ASSERT_EQ(conn_send(e.node.conn, WIRE_QUERY, &(struct wire_query){.what = "y"}), 0);
		loop_turn(e.loop, 0);
	}
	ASSERT(UNTIL(e.loop, loop_turn(other, 0) == 0 && e.vined.n_messages == n));
	conn_free(e.vined.conn);
	e.vined.conn = NULL;
	ends_fini(&e);
}

/* Records that came together lie with TLS, where no poll tells of them, when output is full after the first, and when a turn's budget is used. */
TEST(what_tls_has_taken_is_read_on_without_a_poll)
{
	char *text = xmalloc(100001);
	memset(text, 'z', 100000);
	text[100000] = 0;
	send_many_records(8, text); /* so many are sent before the first is acknowledged, and come at once */
	send_many_records(700, text);
	free(text);
}

/* ---- ends */

TEST(a_silent_open_peer_is_pinged_and_then_given_up)
{
	struct raw r;
	uint8_t bytes[4096];
	struct wire_head h = {0};
	struct buf word = {0};
	raw_open(&r);
	ends_stand_still();
	/* From its last word on it is silent. */
	wire_encode(&word, WIRE_PING, 0, 1, &(struct wire_ping){});
	raw_send(&r, word.at, word.n);
	buf_fini(&word);
	for (int i = 0; i < 5; i++)
		loop_turn(r.e.loop, 1);
	while (recv(r.fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
		;
	ends_skipped_usec += CONN_PING_USEC + 100000;
	ASSERT(UNTIL(r.e.loop, recv(r.fd, bytes, sizeof bytes, MSG_DONTWAIT) >= WIRE_HEAD_SIZE));
	wire_get_head(bytes, &h);
	ASSERT_EQ(h.type, WIRE_PING);
	ASSERT(h.id != 0);
	ASSERT(!r.e.vined.is_closed);
	ends_skipped_usec += CONN_SILENT_USEC - CONN_PING_USEC;
	ASSERT(UNTIL(r.e.loop, r.e.vined.is_closed));
	ASSERT_EQ(r.e.vined.error, -ETIMEDOUT);
	ASSERT(has_prefix(r.e.vined.reason, "silent for 30 s"));
	raw_fini(&r);
}

static bool is_nothing_on_the_way(const struct ends *e)
{
	const struct conn_counters *node = conn_counters(e->node.conn), *vined = conn_counters(e->vined.conn);
	return node->bytes_out == vined->bytes_in && vined->bytes_out == node->bytes_in;
}

TEST(two_living_ends_keep_each_other_for_hours)
{
	struct ends e;
	ends_init(&e, true);
	ASSERT(ends_open(&e));
	for (int i = 0; i < 1000; i++) {
		ends_skipped_usec += 7000000;
		for (int k = 0; k < 4; k++) {
			loop_turn(e.loop, 0);
			ASSERT(UNTIL(e.loop, is_nothing_on_the_way(&e)));
		}
	}
	/* This process was stopped for a long time: what has come meanwhile is no silence. */
	ends_skipped_usec += 60000000;
	for (int k = 0; k < 20; k++)
		loop_turn(e.loop, 1);
	ASSERT(!e.node.is_closed && !e.vined.is_closed);
	ends_fini(&e);
}

TEST(what_is_queued_arrives_before_the_end)
{
	for (int tls = 0; tls < 2; tls++) {
		struct ends e;
		struct wire_query m = {.what = "x"};
		char *text = xmalloc(100001);
		memset(text, 'q', 100000);
		text[100000] = 0;
		m.selector = text;
		ends_init(&e, tls);
		ASSERT(ends_open(&e));
		for (int i = 0; i < 50; i++)
			ASSERT_EQ(conn_send(e.node.conn, WIRE_QUERY, &m), 0);
		conn_close(e.node.conn, "done", false);
		ASSERT_EQ(e.node.n_closed, 0);
		ASSERT_EQ(conn_send(e.node.conn, WIRE_QUERY, &m), -ENOTCONN);
		ASSERT(UNTIL(e.loop, e.vined.is_closed && e.node.is_closed));
		ASSERT_EQ(e.vined.n_messages, 50);
		ASSERT_EQ(e.vined.error, 0);
		ASSERT_STR(e.vined.reason, "done");
		ASSERT(!e.vined.is_final);
		free(text);
		ends_fini(&e);
	}
}

TEST(a_peer_that_does_not_go_is_left_after_two_seconds)
{
	struct raw r;
	raw_open(&r);
	ends_stand_still();
	conn_close(r.e.vined.conn, "bye", false);
	for (int i = 0; i < 10; i++)
		loop_turn(r.e.loop, 1);
	ASSERT(!r.e.vined.is_closed);
	ends_skipped_usec += 2100000;
	ASSERT(UNTIL(r.e.loop, r.e.vined.is_closed));
	ASSERT_EQ(r.e.vined.error, 0);
	raw_fini(&r);
}
