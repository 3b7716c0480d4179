/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conn_internal.h"
#include "common/log.h"

#include <sys/epoll.h>
#include <sys/socket.h>

/* ---- out */

/* Once the kernel takes no more, it is asked again when it says so. */
static ssize_t out_bytes(struct conn *c, struct buf *b, bool more)
{
	ssize_t n;
	if (c->tls) {
		n = tls_write(c->tls, b->at, min(b->n, (size_t)CONN_TURN_SIZE));
	} else {
		n = send(c->fd, b->at, b->n, MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0));
		if (n < 0)
			n = -errno;
	}
	if (n > 0)
		buf_consume(b, (size_t)n);
	return n;
}

/* 0: nothing to write. */
static ssize_t out_some(struct conn *c)
{
	if (c->frame.n)
		return out_bytes(c, &c->frame, c->file_left > 0);
	if (c->file_left) {
		ssize_t n = conn_stream_sendfile(c);
		/* 0: the file was short, its bytes are in `frame` now. */
		return n ? n : out_bytes(c, &c->frame, false);
	}
	if (!c->out.n && !conn_stream_file(c))
		return 0;
	return out_bytes(c, c->frame.n ? &c->frame : &c->out, c->frame.n && c->file_left);
}

static void out_trim(struct conn *c)
{
	/* A large one is kept while a stream needs it again and again. */
	if (list_is_empty(&c->ready) && list_is_empty(&c->idle)) {
		buf_trim(&c->out);
		buf_trim(&c->frame);
	}
}

int conn_io_write(struct conn *c)
{
	size_t budget = 4 * (size_t)CONN_TURN_SIZE;
	c->is_blocked = false;
	for (;;) {
		ssize_t n = out_some(c);
		if (n == 0) {
			out_trim(c);
			return 0;
		}
		if (n == -EINTR)
			continue;
		if (n < 0) {
			c->is_blocked = n == -EAGAIN;
			return (int)n;
		}
		c->counters.writes++;
		c->counters.bytes_out += (size_t)n;
		c->wrote_usec = loop_now_usec(c->loop);
		if ((size_t)n >= budget) {
			c->is_blocked = true; /* others are next; EPOLLOUT comes at once */
			return 0;
		}
		budget -= (size_t)n;
	}
}

/* ---- frames */

static void on_notice_unknown(struct conn *c, const struct wire_head *h)
{
	if (h->id)
		conn_reply_status(c, h->id, ENOSYS, "unknown message type %u", h->type);
	else
		log_debug("%s: notice of unknown type %u ignored", conn_peer_name(c), h->type);
}

static void on_bye(struct conn *c, const struct wire_bye *m)
{
	c->is_final = m->final;
	conn_end(c, c->was_open ? 0 : -ECONNREFUSED, "%s", m->reason[0] ? m->reason : "closed by the peer");
}

/* What every connection understands; false if it is for the owner. */
static bool on_own(struct conn *c, const struct wire_head *h, const void *message)
{
	switch (h->type) {
	case WIRE_HELLO:
		conn_end(c, -EPROTO, "said HELLO twice");
		return true;
	case WIRE_STATUS:
		return true;
	case WIRE_PING:
		conn_reply_status(c, h->id, 0, "%s", "");
		return true;
	case WIRE_CANCEL:
		if (!conn_stream_cancelled(c, h->id) && c->ops->on_cancel)
			c->ops->on_cancel(c, h->id);
		return true;
	case WIRE_CREDIT:
		conn_stream_credit(c, h->id, ((const struct wire_credit *)message)->bytes);
		return true;
	case WIRE_BYE:
		on_bye(c, message);
		return true;
	default:
		return false;
	}
}

static void on_frame(struct conn *c, const struct wire_head *h, const uint8_t *body)
{
	_Alignas(16) uint8_t message[512];
	c->counters.messages_in++;
	if (c->state == CONN_GREETING && h->type == WIRE_HELLO) {
		conn_greeted(c, h, body);
		return;
	}
	if (h->flags & WIRE_FLAG_REPLY) {
		conn_call_replied(c, h, body);
		return;
	}
	assert(wire_struct_size(h->type) <= sizeof message);
	if (!wire_name(h->type)) {
		on_notice_unknown(c, h);
		return;
	}
	wire_arena_reset(&c->arena);
	int r = wire_decode(h->type, body, h->length, message, &c->arena);
	if (r < 0)
		conn_end(c, r, "sent a malformed %s", wire_name(h->type));
	else if (!on_own(c, h, message))
		c->ops->on_message(c, h, message);
}

/* Bytes of a stream go on as they come, whole frame or not. */
static void on_data_bytes(struct conn *c)
{
	size_t n = min((size_t)c->data_left, c->in.n);
	const uint8_t *p = c->in.at;
	assert(n > 0);
	c->data_left -= (uint32_t)n;
	if (!c->data_is_ignored)
		conn_call_data(c, c->data_id, p, n);
	buf_consume(&c->in, n);
}

/* True if the frame is one of bytes, whose body need not be here as a whole. */
static bool on_data_head(struct conn *c, const struct wire_head *h)
{
	if (h->type != WIRE_DATA || (h->flags & WIRE_FLAG_END))
		return false;
	c->counters.messages_in++;
	c->data_id = h->id;
	c->data_left = h->length;
	c->data_is_ignored = !conn_call_is_streaming(c, h->id);
	buf_consume(&c->in, WIRE_HEAD_SIZE);
	return true;
}

static bool is_head_good(struct conn *c, const struct wire_head *h)
{
	bool is_end = h->type == WIRE_DATA && (h->flags & WIRE_FLAG_END);
	if (c->state == CONN_GREETING && h->type != WIRE_HELLO && h->type != WIRE_BYE)
		conn_end(c, -EPROTO, "not Vine: its first message is of type %u", h->type);
	else if (c->state == CONN_GREETING && h->length > CONN_HELLO_MAX)
		conn_end(c, -EMSGSIZE, "not Vine: its first message has %u bytes", h->length);
	else if (h->type == WIRE_DATA && !(h->flags & WIRE_FLAG_REPLY))
		conn_end(c, -EPROTO, "sent bytes of a stream that nobody asked for");
	else if (is_end && h->length != 0 && h->length != 4)
		conn_end(c, -EPROTO, "ended a stream with %u bytes", h->length);
	else if (h->length > (h->type == WIRE_DATA ? WIRE_DATA_MAX : WIRE_BODY_MAX))
		conn_end(c, -EMSGSIZE, "sent a frame of %u bytes", h->length);
	else
		return true;
	return false;
}

/* Takes one frame, or some of a stream's bytes. False if what is here is not enough. */
static bool take_frame(struct conn *c)
{
	struct wire_head h;
	if (c->data_left && c->in.n) {
		on_data_bytes(c);
		return true;
	}
	if (c->in.n < WIRE_HEAD_SIZE)
		return false;
	wire_get_head(c->in.at, &h);
	if (!is_head_good(c, &h))
		return false;
	if (on_data_head(c, &h))
		return true;
	if (c->in.n - WIRE_HEAD_SIZE < h.length)
		return false;
	const uint8_t *body = c->in.at + WIRE_HEAD_SIZE;
	if (h.type == WIRE_DATA) {
		c->counters.messages_in++;
		conn_call_ended(c, h.id, &h, body);
	} else {
		on_frame(c, &h, body);
	}
	buf_consume(&c->in, WIRE_HEAD_SIZE + h.length);
	return true;
}

/* Handles what is here until it is not enough, the turn's budget is used, or our own output is too high. */
static void take_frames(struct conn *c)
{
	c->has_more = false;
	while (conn_is_alive(c)) {
		if (c->state == CONN_CLOSING) {
			buf_consume(&c->in, c->in.n);
			return;
		}
		bool has_some = c->data_left ? c->in.n > 0 : c->in.n >= WIRE_HEAD_SIZE;
		if (!has_some)
			return;
		if (!c->messages_left || !conn_may_read(c)) {
			c->has_more = true;
			return;
		}
		c->messages_left--;
		if (!take_frame(c))
			return;
	}
}

/* ---- in */

/* Reads once. > 0, 0 = the end, -errno. */
static ssize_t in_bytes(struct conn *c)
{
	uint8_t *to = buf_reserve(&c->in, c->want);
	size_t room = min(buf_room(&c->in), (size_t)CONN_READ_MOST);
	ssize_t n;
	assert(room > 0);
	if (c->tls) {
		n = tls_read(c->tls, to, room);
		if (n == -EAGAIN && tls_events(c->tls) == EPOLLOUT)
			c->is_blocked = true;
	} else {
		n = recv(c->fd, to, room, MSG_DONTWAIT);
		if (n < 0)
			n = -errno;
	}
	if (n > 0) {
		buf_grew(&c->in, (size_t)n);
		c->counters.bytes_in += (size_t)n;
		c->heard_usec = loop_now_usec(c->loop);
		if (!c->tls && (size_t)n == room)
			c->want = min(c->want * 4, CONN_READ_MOST);
		else if (!c->tls && (size_t)n < c->want / 4)
			c->want = max(c->want / 2, CONN_READ_LEAST);
	}
	return n;
}

static void in_failed(struct conn *c, ssize_t n)
{
	if (n == -EAGAIN || n == -EINTR)
		return;
	if (c->state == CONN_CLOSING)
		conn_end(c, c->close_error, "%s", c->reason);
	else if (n == 0 && c->state == CONN_GREETING)
		conn_end(c, -ECONNRESET, "closed before it said HELLO");
	else if (n == 0)
		conn_end(c, -ECONNRESET, "closed without a word");
	else if (c->tls && tls_reason(c->tls)[0])
		conn_end(c, (int)n, "%s", tls_reason(c->tls));
	else
		conn_end(c, (int)n, "%s", strerror((int)-n));
}

void conn_io_trim(struct conn *c, bool fully)
{
	if (c->in.n || !(fully || c->want == CONN_READ_LEAST))
		return;
	buf_trim(&c->in);
	wire_arena_fini(&c->arena);
}

void conn_io_read(struct conn *c)
{
	assert(c->depth > 0 && c->state >= CONN_GREETING);
	size_t left = CONN_TURN_SIZE;
	bool is_dry = false;
	c->messages_left = CONN_TURN_MESSAGES;
	take_frames(c);
	while (conn_is_alive(c) && !c->has_more && conn_may_read(c) && left && !is_dry) {
		size_t asked = max(buf_room(&c->in), (size_t)c->want);
		ssize_t n = in_bytes(c);
		if (n <= 0) {
			is_dry = true;
			in_failed(c, n);
			break;
		}
		left -= min(left, (size_t)n);
		take_frames(c);
		if (conn_is_alive(c))
			is_dry = c->tls ? tls_is_drained(c->tls) : (size_t)n < min(asked, (size_t)CONN_READ_MOST);
	}
	if (!conn_is_alive(c))
		return;
	/* The kernel's bytes are announced again, those that TLS has taken are not. */
	if (!is_dry && c->tls && tls_has_pending(c->tls))
		c->has_more = true;
	conn_io_trim(c, false);
}
