/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conn_internal.h"

#include <stdarg.h>
#include <stdio.h>

/* Appends a message to what leaves at the end of this turn. */
int conn_put(struct conn *c, uint16_t type, uint16_t flags, uint64_t id, const void *message)
{
	int r = wire_encode(&c->out, type, flags, id, message);
	if (r < 0)
		return r;
	c->counters.messages_out++;
	conn_dirty(c);
	return 0;
}

int conn_send(struct conn *c, uint16_t type, const void *message)
{
	return c->state == CONN_OPEN ? conn_put(c, type, 0, 0, message) : -ENOTCONN;
}

int conn_reply(struct conn *c, uint64_t id, uint16_t type, const void *message)
{
	if (c->state != CONN_OPEN)
		return -ENOTCONN;
	return id ? conn_put(c, type, WIRE_FLAG_REPLY, id, message) : 0;
}

int conn_reply_status(struct conn *c, uint64_t id, int error, const char *fmt, ...)
{
	char text[1024];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	struct wire_status m = {.error = error < 0 ? -error : error, .reason = text};
	return conn_reply(c, id, WIRE_STATUS, &m);
}

/* ---- asking */

static void call_forget(struct call *call)
{
	struct conn *c = call->conn;
	assert(c && map_get(&c->calls_by_id, call->id) == call);
	timer_stop(&call->timer);
	list_remove(&call->link);
	map_remove(&c->calls_by_id, call->id);
	call->conn = NULL;
}

static void call_cancel(struct call *call)
{
	struct conn *c = call->conn;
	if (c->state == CONN_OPEN)
		conn_put(c, WIRE_CANCEL, 0, call->id, &(struct wire_cancel){});
	call_forget(call);
}

/* The last word to the asker; the call may be gone afterwards. */
static void call_end(struct call *call, int error)
{
	bool was_streaming = call->is_streaming;
	assert(!call->conn);
	if (was_streaming)
		call->on_end(call, error);
	else
		call->on_reply(call, error, 0, NULL);
}

static void call_on_timeout(struct timer *t)
{
	struct call *call = container_of(t, struct call, timer);
	struct conn *c = call->conn;
	conn_enter(c);
	call_cancel(call);
	call_end(call, -ETIMEDOUT);
	conn_leave(c);
}

static void call_wait(struct call *call)
{
	if (call->timeout_usec)
		timer_start(&call->timer, call->conn->loop, call->timeout_usec, call_on_timeout);
}

int call_start(struct call *call, struct conn *c, uint16_t type, const void *message, uint64_t timeout_usec)
{
	assert(call->on_reply && (!call->on_data || call->on_end));
	assert(!call->timer.loop);
	call->conn = NULL;
	if (c->state != CONN_OPEN)
		return -ENOTCONN;
	uint64_t id = c->last_id + 1;
	int r = conn_put(c, type, 0, id, message);
	if (r < 0)
		return r;
	c->last_id = id;
	call->conn = c;
	call->id = id;
	call->timeout_usec = timeout_usec;
	call->unreturned = 0;
	call->is_streaming = call->is_held = false;
	list_init(&call->link);
	list_append(&c->calls, &call->link);
	map_put(&c->calls_by_id, id, call);
	call_wait(call);
	return 0;
}

void call_stop(struct call *call)
{
	if (call->conn)
		call_cancel(call);
}

static void call_give_credit(struct call *call)
{
	struct wire_credit m = {.bytes = call->unreturned};
	if (!m.bytes || call->conn->state != CONN_OPEN)
		return;
	call->unreturned = 0;
	conn_put(call->conn, WIRE_CREDIT, 0, call->id, &m);
}

void call_more(struct call *call)
{
	if (!call->conn || !call->is_held)
		return;
	assert(call->is_streaming);
	call->is_held = false;
	call_give_credit(call);
	call_wait(call);
}

/* ---- what comes back */

/* A STATUS with an error is the request's failure, whatever the request was. */
static int reply_error(uint16_t type, const void *message)
{
	if (type != WIRE_STATUS)
		return 0;
	const struct wire_status *m = message;
	if (!m->error)
		return 0;
	return m->error > 0 && m->error < 4096 ? -(int)m->error : -EPROTO;
}

void conn_call_replied(struct conn *c, const struct wire_head *h, const uint8_t *body)
{
	_Alignas(16) uint8_t message[512];
	struct call *call = map_get(&c->calls_by_id, h->id);
	if (!call || call->is_streaming)
		return; /* cancelled meanwhile, a PING's, or said twice */
	assert(wire_struct_size(h->type) <= sizeof message);
	if (!wire_name(h->type)) {
		call_forget(call);
		call->on_reply(call, -ENOSYS, h->type, NULL);
		return;
	}
	wire_arena_reset(&c->arena);
	int r = wire_decode(h->type, body, h->length, message, &c->arena);
	if (r < 0) {
		conn_end(c, r, "sent a malformed %s", wire_name(h->type));
		return;
	}
	int error = reply_error(h->type, message);
	bool has_stream = (h->flags & WIRE_FLAG_STREAM) && !error;
	if (has_stream && call->on_data) {
		call->is_streaming = true;
		call_wait(call);
	} else if (has_stream) {
		call_cancel(call);
	} else {
		call_forget(call);
	}
	call->on_reply(call, error, h->type, message);
}

bool conn_call_is_streaming(struct conn *c, uint64_t id)
{
	const struct call *call = map_get(&c->calls_by_id, id);
	return call && call->is_streaming;
}

void conn_call_data(struct conn *c, uint64_t id, const void *p, size_t n)
{
	struct call *call = map_get(&c->calls_by_id, id);
	if (!call || !call->is_streaming)
		return;
	if (call->unreturned + n > CONN_STREAM_WINDOW) {
		conn_end(c, -EPROTO, "sent more of a stream than its credit");
		return;
	}
	call->unreturned += n;
	bool wants_more = call->on_data(call, p, n);
	/* The callback may have ended it, and even have begun another at its place in memory, under another id. */
	if (map_get(&c->calls_by_id, id) != call)
		return;
	if (!wants_more) {
		/* The silence that follows is our own. */
		call->is_held = true;
		timer_stop(&call->timer);
		return;
	}
	if (!call->is_held) {
		call_wait(call);
		if (call->unreturned >= CONN_STREAM_WINDOW / 4)
			call_give_credit(call);
	}
}

void conn_call_ended(struct conn *c, uint64_t id, const struct wire_head *h, const uint8_t *body)
{
	assert(h->flags & WIRE_FLAG_END);
	struct call *call = map_get(&c->calls_by_id, id);
	if (!call || !call->is_streaming)
		return;
	uint32_t error = h->length ? get_le32(body) : 0;
	call_forget(call);
	call_end(call, error < 4096 ? -(int)error : -EPROTO);
}

void conn_call_end_all(struct conn *c, int error)
{
	assert(!conn_is_alive(c));
	struct call *call;
	while ((call = list_first(&c->calls, struct call, link))) {
		call_forget(call);
		call_end(call, error);
	}
	map_fini(&c->calls_by_id);
}
