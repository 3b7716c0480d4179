/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/relay.h"

struct relay {
	struct list link;
	struct relay_ask ask; /* without its message */
	struct call call;
	struct stream stream;
	struct buf held;
	bool is_streaming, is_ended;
	int error; /* when it ended: 0 or -errno */
};

static void relay_free(struct relay *r)
{
	list_remove(&r->link);
	call_stop(&r->call);
	if (r->is_streaming)
		stream_end(&r->stream, r->error);
	buf_fini(&r->held);
	free(r);
}

/* Gives who asked what it takes; frees the relay when all has gone. */
static void pass_on(struct relay *r)
{
	size_t n = stream_send(&r->stream, r->held.at, r->held.n);
	buf_consume(&r->held, n);
	if (r->held.n)
		return;
	if (r->is_ended)
		relay_free(r);
	else
		call_more(&r->call);
}

static void on_room(struct stream *s)
{
	pass_on(container_of(s, struct relay, stream));
}

static void on_stop(struct stream *s, int error)
{
	struct relay *r = container_of(s, struct relay, stream);
	(void)error;
	r->is_streaming = false;
	relay_free(r);
}

static void on_reply(struct call *call, int error, uint16_t type, const void *message)
{
	struct relay *r = container_of(call, struct relay, call);
	if (error) {
		const struct wire_status *s = type == WIRE_STATUS ? message : NULL;
		if (s && *s->reason)
			conn_reply_status(r->ask.to, r->ask.id, -error, "%s", s->reason);
		else
			conn_reply_status(r->ask.to, r->ask.id, -error, "%s: %s", r->ask.whom, strerror(-error));
		relay_free(r);
		return;
	}
	r->stream.on_room = on_room;
	r->stream.on_stop = on_stop;
	r->is_streaming = !stream_start(&r->stream, r->ask.to, r->ask.id, type, message);
	if (!r->is_streaming)
		relay_free(r);
}

/* Bytes pass straight through as long as who asked keeps up; what it does not take is held, and its credit with it. */
static bool on_data(struct call *call, const void *p, size_t n)
{
	struct relay *r = container_of(call, struct relay, call);
	assert(!r->is_ended);
	if (r->ask.on_bytes)
		r->ask.on_bytes(r->ask.arg, &r->ask.tree);
	size_t gone = r->held.n ? 0 : stream_send(&r->stream, p, n);
	if (gone < n)
		buf_put(&r->held, (const uint8_t *)p + gone, n - gone);
	return r->held.n == 0;
}

static void on_end(struct call *call, int error)
{
	struct relay *r = container_of(call, struct relay, call);
	r->is_ended = true;
	r->error = error < 0 ? error : -error;
	if (!r->held.n)
		relay_free(r);
}

void relay_start(const struct relay_ask *ask)
{
	size_t n = 0;
	list_foreach (ask->all, struct relay, link, each)
		n++;
	if (n >= RELAYS_MOST) {
		conn_reply_status(
			ask->to, ask->id, EAGAIN,
			"%u requests are on their way through vined on this connection: read one to its end first",
			RELAYS_MOST);
		return;
	}
	struct relay *r = NEW(struct relay);
	r->ask = *ask;
	r->ask.message = NULL;
	list_init(&r->link);
	list_append(ask->all, &r->link);
	r->call.on_reply = on_reply;
	r->call.on_data = on_data;
	r->call.on_end = on_end;
	int error = call_start(&r->call, ask->from, ask->type, ask->message, ask->timeout_usec);
	if (error < 0) {
		conn_reply_status(ask->to, ask->id, -error, "%s cannot be asked: %s", ask->whom, strerror(-error));
		relay_free(r);
	}
}

void relay_cancel(struct list *all, uint64_t id)
{
	list_foreach (all, struct relay, link, r) {
		if (r->ask.id == id)
			relay_free(r);
	}
}

void relay_stop(struct list *all)
{
	list_foreach (all, struct relay, link, r) {
		r->error = -ECONNRESET;
		relay_free(r);
	}
}
