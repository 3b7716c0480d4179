/* SPDX-License-Identifier: Apache-2.0
 * Output on its way from a node, or from the database, to a client. A node's bytes get credit again only when the client has
 * taken them, so no more than one stream's window is held here. */
#include "vined/client.h"

#include "common/log.h"

#define ASK_USEC 30000000u
#define OUTPUTS_MOST 32 /* of one connection at once */

struct output {
	struct list link;
	struct conn *client;
	uint64_t id;
	struct call call;
	struct stream stream;
	struct buf held;
	struct driver *driver;
	struct wire_read_output ask; /* of short output: what has not gone yet */
	bool is_streaming, is_ended, is_short;
	int error; /* when it ended */
};

static void output_free(struct output *o)
{
	list_remove(&o->link);
	call_stop(&o->call);
	if (o->is_streaming)
		stream_end(&o->stream, o->error);
	buf_fini(&o->held);
	free(o);
}

/* Short output was committed with the result. It is read again for each stretch, so that nothing is held for a client that
 * does not read. */
static void pass_short(struct output *o)
{
	char reason[256];
	struct conn *node = NULL;
	struct wire_bytes head = {0};
	int r = driver_find_output(o->driver, o->ask.task, &o->ask.attempt, o->ask.which, &node, &head, reason);
	size_t rest = r == 1 && o->ask.offset < head.n ? head.n - (size_t)o->ask.offset : 0;
	size_t n = rest ? stream_send(&o->stream, (const uint8_t *)head.at + o->ask.offset, rest) : 0;
	o->ask.offset += n;
	o->error = r < 0 ? -r : 0;
	if (n == rest)
		output_free(o);
}

/* Gives the client what it takes; frees the output when all has gone. */
static void pass_on(struct output *o)
{
	if (o->is_short) {
		pass_short(o);
		return;
	}
	size_t n = stream_send(&o->stream, o->held.at, o->held.n);
	buf_consume(&o->held, n);
	if (o->held.n)
		return;
	if (o->is_ended)
		output_free(o);
	else
		call_more(&o->call);
}

static void on_room(struct stream *s)
{
	pass_on(container_of(s, struct output, stream));
}

static void on_stop(struct stream *s, int error)
{
	struct output *o = container_of(s, struct output, stream);
	(void)error;
	o->is_streaming = false;
	output_free(o);
}

static int begin(struct output *o)
{
	o->stream.on_room = on_room;
	o->stream.on_stop = on_stop;
	int r = stream_start(&o->stream, o->client, o->id, WIRE_STATUS, &(struct wire_status){.error = 0});
	o->is_streaming = r == 0;
	return r;
}

static void on_reply(struct call *call, int error, uint16_t type, const void *message)
{
	struct output *o = container_of(call, struct output, call);
	if (error) {
		const struct wire_status *s = type == WIRE_STATUS ? message : NULL;
		conn_reply_status(o->client, o->id, -error, "%s", s ? s->reason : strerror(-error));
		output_free(o);
	} else if (begin(o) < 0) {
		output_free(o);
	}
}

/* Bytes pass straight through as long as the client keeps up; what it does not take is held, and its credit with it. */
static bool on_data(struct call *call, const void *p, size_t n)
{
	struct output *o = container_of(call, struct output, call);
	assert(!o->is_ended);
	size_t gone = o->held.n ? 0 : stream_send(&o->stream, p, n);
	if (gone < n)
		buf_put(&o->held, (const uint8_t *)p + gone, n - gone);
	return o->held.n == 0;
}

static void on_end(struct call *call, int error)
{
	struct output *o = container_of(call, struct output, call);
	o->is_ended = true;
	o->error = error < 0 ? -error : error;
	if (!o->held.n)
		output_free(o);
}

/* No node is asked: it may be long gone. */
static void answer_short(struct output *o)
{
	o->is_short = true;
	if (begin(o) < 0)
		output_free(o);
	else
		pass_short(o);
}

static void ask_node(struct output *o, struct conn *node, const struct wire_read_output *m)
{
	o->call.on_reply = on_reply;
	o->call.on_data = on_data;
	o->call.on_end = on_end;
	int r = call_start(&o->call, node, WIRE_READ_OUTPUT, m, ASK_USEC);
	if (r < 0) {
		conn_reply_status(o->client, o->id, -r, "the node cannot be asked: %s", strerror(-r));
		output_free(o);
	}
}

void client_read_output(struct list *all, struct driver *d, struct conn *c, uint64_t id,
			const struct wire_read_output *m)
{
	char reason[256];
	struct conn *node = NULL;
	struct wire_bytes head = {0};
	struct wire_read_output ask = *m;
	size_t n = 0;
	list_foreach (all, struct output, link, each)
		n++;
	if (n >= OUTPUTS_MOST) {
		conn_reply_status(c, id, EAGAIN,
				  "%d outputs are on their way on this connection: read one to its end first",
				  OUTPUTS_MOST);
		return;
	}
	if (m->which != 1 && m->which != 2) {
		conn_reply_status(c, id, EINVAL, "%s", "output is 1 (standard output) or 2 (standard error)");
		return;
	}
	int r = driver_find_output(d, m->task, &ask.attempt, m->which, &node, &head, reason);
	if (r < 0) {
		conn_reply_status(c, id, -r, "%s", reason);
		return;
	}
	struct output *o = NEW(struct output);
	o->client = c;
	o->id = id;
	list_init(&o->link);
	list_append(all, &o->link);
	o->driver = d;
	o->ask = ask;
	if (r == 1)
		answer_short(o);
	else
		ask_node(o, node, &ask);
}

void client_cancel_output(struct list *all, uint64_t id)
{
	list_foreach (all, struct output, link, o) {
		if (o->id == id)
			output_free(o);
	}
}

void client_stop_outputs(struct list *all)
{
	list_foreach (all, struct output, link, o) {
		o->error = ECONNRESET;
		output_free(o);
	}
}
