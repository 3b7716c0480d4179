/* SPDX-License-Identifier: Apache-2.0
 * A connection whose peer says HELLO and then what it likes: frames of every kind with any flags and ids, bytes of streams, credit,
 * silence, not reading. The end under test answers with streams and asks for some itself. Whatever comes, nothing breaks, each call ends once, and
 * on_close comes once and last. The input is a list of steps, see step(). */
#include "common/conn.h"
#include "common/log.h"

#include <sys/socket.h>
#include <unistd.h>

#define CALLS_MOST 8
#define STREAMS_MOST 8
#define STREAM_SIZE 100000
#define TURNS_AT_END 20

struct asked {
	struct call call;
	unsigned n_replies, n_ends;
};

struct given {
	struct stream stream;
	size_t left;
};

struct world {
	struct loop *loop;
	struct conn *conn; /* NULL once it is closed */
	int peer;
	uint64_t now_usec;
	unsigned n_opened, n_closed;
	struct asked asked[CALLS_MOST];
	size_t n_asked;
	struct given given[STREAMS_MOST];
	size_t n_given;
};

struct input {
	const uint8_t *at, *end;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool is_true)
{
	if (!is_true)
		abort();
}

static uint8_t take(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

static uint64_t clock_of(void *arg)
{
	return ((const struct world *)arg)->now_usec;
}

/* ---- the end under test */

static void on_reply(struct call *call, int error, uint16_t type, const void *message)
{
	struct asked *a = container_of(call, struct asked, call);
	(void)error, (void)type, (void)message;
	must(++a->n_replies == 1 && !a->n_ends);
}

static bool on_data(struct call *call, const void *p, size_t n)
{
	struct asked *a = container_of(call, struct asked, call);
	(void)p;
	must(n && a->n_replies == 1 && !a->n_ends);
	return n % 2;
}

static void on_end(struct call *call, int error)
{
	struct asked *a = container_of(call, struct asked, call);
	(void)error;
	must(a->n_replies == 1 && ++a->n_ends == 1);
}

static void ask(struct world *w)
{
	struct asked *a = &w->asked[w->n_asked];
	if (w->n_asked == CALLS_MOST || !w->conn || !conn_is_open(w->conn))
		return;
	*a = (struct asked){.call = {.on_reply = on_reply, .on_data = on_data, .on_end = on_end}};
	int r = call_start(&a->call, w->conn, WIRE_READ_OUTPUT, &(struct wire_read_output){.task = 1},
			   w->n_asked % 2 ? 1000000 : 0);
	must(r == 0);
	w->n_asked++;
}

static void on_room(struct stream *s)
{
	static const char bytes[8192];
	struct given *g = container_of(s, struct given, stream);
	while (g->left) {
		size_t n = stream_send(s, bytes, min(g->left, sizeof bytes));
		g->left -= n;
		if (!n)
			return;
	}
	stream_end(s, 0);
}

static void on_stop(struct stream *s, int error)
{
	(void)s, (void)error;
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	struct world *w = conn_owner(c);
	must(c == w->conn && w->n_opened && !w->n_closed && message);
	if (h->type != WIRE_READ_OUTPUT || !h->id || w->n_given == STREAMS_MOST) {
		conn_reply_status(c, h->id, ENOSYS, "%s is not known here", wire_name(h->type));
		return;
	}
	struct given *g = &w->given[w->n_given++];
	*g = (struct given){.stream = {.on_room = on_room, .on_stop = on_stop}, .left = STREAM_SIZE};
	if (stream_start(&g->stream, c, h->id, WIRE_STATUS, &(struct wire_status){.reason = "here"}) == 0)
		on_room(&g->stream);
}

static void on_open(struct conn *c, const struct wire_hello *peer)
{
	struct world *w = conn_owner(c);
	must(peer->major == WIRE_MAJOR && ++w->n_opened == 1 && !w->n_closed);
}

static void on_cancel(struct conn *c, uint64_t id)
{
	const struct world *w = conn_owner(c);
	(void)id;
	must(w->n_opened && !w->n_closed);
}

static void on_conn_room(struct conn *c)
{
	const struct world *w = conn_owner(c);
	must(w->n_opened && !w->n_closed);
}

static void on_close(struct conn *c, int error, const char *reason)
{
	struct world *w = conn_owner(c);
	(void)error;
	must(++w->n_closed == 1 && reason[0]);
	for (size_t i = 0; i < w->n_asked; i++)
		must(!w->asked[i].call.conn);
	w->conn = NULL;
	conn_free(c);
}

static const struct conn_ops ops = {
	.on_open = on_open,
	.on_message = on_message,
	.on_cancel = on_cancel,
	.on_room = on_conn_room,
	.on_close = on_close,
};

/* ---- the peer */

static void turn(struct world *w)
{
	loop_turn(w->loop, 0);
}

static void push(struct world *w, const void *p, size_t n)
{
	const char *at = p;
	for (int tries = 0; n && tries < 100; tries++) {
		ssize_t k = send(w->peer, at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (k > 0) {
			at += k;
			n -= (size_t)k;
		}
		turn(w);
		/* One that does not read us may be waiting for us to read it. */
		if (k < 0)
			return;
	}
}

static void push_frame(struct world *w, uint16_t type, uint16_t flags, uint64_t id, const void *body, size_t n)
{
	_cleanup_(buf_fini) struct buf b = {0};
	wire_put_head(&b, &(struct wire_head){.type = type, .flags = flags, .length = (uint32_t)n, .id = id});
	buf_put(&b, body, n);
	push(w, b.at, b.n);
}

static uint16_t kind(uint8_t i)
{
	static const uint16_t known[] = {WIRE_STATUS, WIRE_PING,  WIRE_CANCEL,      WIRE_CREDIT, WIRE_DATA,
					 WIRE_BYE,    WIRE_HELLO, WIRE_READ_OUTPUT, WIRE_SUBMIT, WIRE_READ_OUTPUT};
	return i < 200 ? known[i % countof(known)] : (uint16_t)(i - 200);
}

static void step(struct world *w, struct input *in)
{
	static const uint8_t filler[65536];
	char drop[65536];
	uint8_t what = take(in), a = take(in), b = take(in);
	size_t n = min((size_t)(what >> 3), (size_t)(in->end - in->at));
	uint8_t credit[8];
	switch (what & 7) {
	case 0: /* bytes as they are */
		push(w, in->at, n);
		in->at += n;
		break;
	case 1: /* a frame of any kind, its body from the input */
		push_frame(w, kind(a), b >> 5, b & 31, in->at, n);
		in->at += n;
		break;
	case 2: /* bytes of a stream, up to the most there may be and a little more */
		push_frame(w, WIRE_DATA, b >> 5, b & 31, filler, (size_t)a * 257);
		break;
	case 3:
		put_le64(credit, (uint64_t)a << (b >> 5) * 8);
		push_frame(w, WIRE_CREDIT, 0, b & 31, credit, sizeof credit);
		break;
	case 4: /* time goes by */
		w->now_usec += (uint64_t)a * 250000;
		break;
	case 5: /* what came is read */
		while (recv(w->peer, drop, sizeof drop, MSG_DONTWAIT) > 0)
			turn(w);
		break;
	case 6:
		ask(w);
		break;
	default:
		if (a < 64 && w->conn)
			conn_close(w->conn, "enough", b & 1);
		else if (a < 128)
			shutdown(w->peer, SHUT_WR);
		else if (a < 192 && w->conn)
			call_stop(&w->asked[a % CALLS_MOST].call);
	}
	turn(w);
}

static void begin(struct world *w)
{
	static const struct wire_hello hello = {.role = TLS_ROLE_VINED, .version = "1", .cluster = "c", .name = "here"};
	_cleanup_(buf_fini) struct buf b = {0};
	int fd[2];
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) == 0);
	*w = (struct world){.loop = loop_new(), .peer = fd[0], .now_usec = 1000000};
	must(w->loop != NULL);
	loop_set_clock(w->loop, clock_of, w);
	w->conn = conn_new(w->loop, fd[1], true, &(struct conn_options){.ops = &ops, .owner = w, .hello = &hello});
	wire_encode(
		&b, WIRE_HELLO, 0, 0,
		&(struct wire_hello){.major = WIRE_MAJOR, .role = TLS_ROLE_CLIENT, .version = "x", .name = "there"});
	push(w, b.at, b.n);
	must(w->n_opened == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct world w;
	struct input in = {data, data + n};
	log_init("fuzz", LOG_LEVEL_ERROR, STDERR_FILENO, true);
	begin(&w);
	while (in.at < in.end && w.conn)
		step(&w, &in);
	for (int i = 0; i < TURNS_AT_END && w.conn; i++)
		turn(&w);
	conn_free(w.conn);
	for (size_t i = 0; i < w.n_asked; i++)
		must(!w.asked[i].call.conn && !(w.asked[i].n_ends && !w.asked[i].n_replies));
	close(w.peer);
	loop_free(w.loop);
	return 0;
}
