/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/ends.h"

#include "common/secret.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/epoll.h>
#include <sys/mman.h>

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

/* ---- raw bytes at an end without TLS */

struct raw {
	struct ends e;
	int fd;
};

static void raw_init(struct raw *r)
{
	int fd[2];
	ends_init(&r->e, false);
	unix_pair(fd);
	r->fd = fd[0];
	r->e.vined.conn = conn_new(r->e.loop, fd[1], true, &r->e.vined_options);
}

static void raw_fini(struct raw *r)
{
	close(r->fd);
	ends_fini(&r->e);
}

/* True when the end is closed or has taken all. */
static bool raw_send(struct raw *r, const void *p, size_t n)
{
	for (size_t done = 0; done < n && !r->e.vined.is_closed;) {
		ssize_t k = send(r->fd, (const char *)p + done, n - done, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (k > 0)
			done += (size_t)k;
		loop_turn(r->e.loop, 0);
		char ignored[4096];
		while (recv(r->fd, ignored, sizeof ignored, MSG_DONTWAIT) > 0)
			;
	}
	return true;
}

static void raw_open(struct raw *r)
{
	struct buf b = {0};
	struct wire_hello h = hello_node;
	raw_init(r);
	h.major = WIRE_MAJOR;
	wire_encode(&b, WIRE_HELLO, 0, 0, &h);
	raw_send(r, b.at, b.n);
	buf_fini(&b);
	if (!UNTIL(r->e.loop, r->e.vined.is_open))
		abort();
}

static void raw_frame(struct buf *b, uint16_t type, uint16_t flags, uint64_t id, const void *p, size_t n)
{
	wire_put_head(b, &(struct wire_head){.type = type, .flags = flags, .length = (uint32_t)n, .id = id});
	buf_put(b, p, n);
}

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

/* ---- messages and calls */

struct asker {
	struct call call;
	struct end *end;
	unsigned n_replies, n_ends;
	int error;
	uint16_t type;
	uint64_t received;
	uint64_t sum;
	bool holds;
	char reason[128];
	void (*then)(struct asker *a);
};

static void asker_on_reply(struct call *call, int error, uint16_t type, const void *message)
{
	struct asker *a = container_of(call, struct asker, call);
	a->n_replies++;
	a->error = error;
	a->type = type;
	if (type == WIRE_STATUS)
		snprintf(a->reason, sizeof a->reason, "%s", ((const struct wire_status *)message)->reason);
	if (a->then)
		a->then(a);
}

/* What byte lies at an offset of the streams of these tests. */
static uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at * 31 + (at >> 13) * 7);
}

static bool asker_on_data(struct call *call, const void *p, size_t n)
{
	struct asker *a = container_of(call, struct asker, call);
	const uint8_t *byte = p;
	for (size_t i = 0; i < n; i++)
		a->sum += byte[i] != pattern(a->received + i);
	a->received += n;
	if (a->then)
		a->then(a);
	return !a->holds;
}

static void asker_on_end(struct call *call, int error)
{
	struct asker *a = container_of(call, struct asker, call);
	a->n_ends++;
	a->error = error;
	if (a->then)
		a->then(a);
}

static void asker_init(struct asker *a, bool has_stream)
{
	*a = (struct asker){.call.on_reply = asker_on_reply};
	if (has_stream) {
		a->call.on_data = asker_on_data;
		a->call.on_end = asker_on_end;
	}
}

static int ask(struct asker *a, struct end *e, uint64_t timeout_usec)
{
	struct wire_read_output m = {.task = 1};
	return call_start(&a->call, e->conn, WIRE_READ_OUTPUT, &m, timeout_usec);
}

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
		for (uint64_t end = real_usec() + 20000000; real_usec() < end;) {
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

/* ---- streams */

struct giver {
	struct stream stream;
	struct end *end;
	uint64_t size, done;
	int fd;
	unsigned n_room, n_stopped;
	int error;
};

static void giver_fill(struct giver *g)
{
	uint8_t bytes[30000];
	while (g->done < g->size) {
		size_t n = (size_t)min(g->size - g->done, (uint64_t)sizeof bytes);
		for (size_t i = 0; i < n; i++)
			bytes[i] = pattern(g->done + i);
		size_t taken = stream_send(&g->stream, bytes, n);
		g->done += taken;
		if (taken < n)
			return;
	}
	stream_end(&g->stream, 0);
}

static void giver_on_room(struct stream *s)
{
	struct giver *g = container_of(s, struct giver, stream);
	g->n_room++;
	if (g->fd >= 0)
		stream_end(s, 0);
	else
		giver_fill(g);
}

static void giver_on_stop(struct stream *s, int error)
{
	struct giver *g = container_of(s, struct giver, stream);
	g->n_stopped++;
	g->error = error;
}

static void giver_init(struct giver *g, uint64_t size)
{
	*g = (struct giver){.stream = {.on_room = giver_on_room, .on_stop = giver_on_stop}, .size = size, .fd = -1};
}

static void answer_stream(struct end *e, const struct wire_head *h, const void *message)
{
	struct giver *g = e->arg;
	(void)message;
	if (stream_start(&g->stream, e->conn, h->id, WIRE_STATUS, &(struct wire_status){.reason = "here"}))
		abort();
	if (g->fd >= 0)
		stream_send_file(&g->stream, g->fd, 0, g->size);
	else
		giver_fill(g);
}

static int pattern_file(uint64_t size)
{
	int fd = memfd_create("pattern", MFD_CLOEXEC);
	uint8_t *bytes = xmalloc(size + 1);
	for (uint64_t i = 0; i < size; i++)
		bytes[i] = pattern(i);
	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
		abort();
	free(bytes);
	return fd;
}

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

/* ---- ends */

TEST(a_silent_open_peer_is_pinged_and_then_given_up)
{
	struct raw r;
	uint8_t bytes[4096];
	struct wire_head h = {0};
	raw_open(&r);
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

TEST(two_living_ends_keep_each_other_for_hours)
{
	struct ends e;
	ends_init(&e, true);
	ASSERT(ends_open(&e));
	for (int i = 0; i < 1000; i++) {
		ends_skipped_usec += 7000000;
		for (int k = 0; k < 4; k++)
			loop_turn(e.loop, 0);
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
	conn_close(r.e.vined.conn, "bye", false);
	for (int i = 0; i < 10; i++)
		loop_turn(r.e.loop, 1);
	ASSERT(!r.e.vined.is_closed);
	ends_skipped_usec += 2100000;
	ASSERT(UNTIL(r.e.loop, r.e.vined.is_closed));
	ASSERT_EQ(r.e.vined.error, 0);
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
