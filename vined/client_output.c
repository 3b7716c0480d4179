/* SPDX-License-Identifier: Apache-2.0
 * Output on its way to a client: from the node where it lies, or, where it is short, from the database. */
#include "vined/client.h"
#include "vined/relay.h"

#define ASK_USEC 30000000u
#define OUTPUTS_MOST 32 /* of one connection at once */

/* Short output. */
struct output {
	struct list link;
	struct conn *client;
	uint64_t id;
	struct stream stream;
	struct driver *driver;
	struct wire_read_output ask; /* what has not gone yet */
	bool is_streaming;
	int error; /* when it ended: 0 or -errno */
};

static void output_free(struct output *o)
{
	list_remove(&o->link);
	if (o->is_streaming)
		stream_end(&o->stream, o->error);
	free(o);
}

/* It was committed with the result. It is read again for each stretch, so that nothing is held for a client that does not read. */
static void pass_on(struct output *o)
{
	char reason[256];
	struct conn *node = NULL;
	struct wire_bytes head = {0};
	int r = driver_find_output(o->driver, o->ask.task, &o->ask.attempt, o->ask.which, &node, &head, reason);
	size_t rest = r == 1 && o->ask.offset < head.n ? head.n - (size_t)o->ask.offset : 0;
	size_t n = rest ? stream_send(&o->stream, (const uint8_t *)head.at + o->ask.offset, rest) : 0;
	o->ask.offset += n;
	o->error = min(r, 0);
	if (n == rest)
		output_free(o);
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

/* No node is asked: it may be long gone. */
static void answer_short(struct list *all, struct driver *d, struct conn *c, uint64_t id,
			 const struct wire_read_output *ask)
{
	struct output *o = NEW(struct output);
	*o = (struct output){.client = c, .id = id, .driver = d, .ask = *ask};
	list_init(&o->link);
	list_append(all, &o->link);
	o->stream.on_room = on_room;
	o->stream.on_stop = on_stop;
	o->is_streaming = !stream_start(&o->stream, c, id, WIRE_STATUS, &(struct wire_status){.error = 0});
	if (o->is_streaming)
		pass_on(o);
	else
		output_free(o);
}

static size_t count(const struct list *all)
{
	size_t n = 0;
	list_foreach (all, const struct output, link, o)
		n++;
	return n;
}

void client_read_output(struct list *all, struct list *relays, struct driver *d, struct conn *c, uint64_t id,
			const struct wire_read_output *m)
{
	char reason[256];
	struct conn *node = NULL;
	struct wire_bytes head = {0};
	struct wire_read_output ask = *m;
	if (m->which < 1 || m->which > 3) {
		conn_reply_status(c, id, EINVAL, "%s",
				  "output is 1 (standard output), 2 (standard error) or 3 (what it has opened)");
		return;
	}
	int r = driver_find_output(d, m->task, &ask.attempt, m->which, &node, &head, reason);
	if (r < 0)
		conn_reply_status(c, id, -r, "%s", reason);
	else if (r == 1 && count(all) >= OUTPUTS_MOST)
		conn_reply_status(c, id, EAGAIN,
				  "%d outputs are on their way on this connection: read one to its end first",
				  OUTPUTS_MOST);
	else if (r == 1)
		answer_short(all, d, c, id, &ask);
	else /* What is followed may be silent for as long as its task is. */
		relay_start(&(struct relay_ask){.all = relays,
						.to = c,
						.id = id,
						.from = node,
						.whom = "the node where it lies",
						.type = WIRE_READ_OUTPUT,
						.message = &ask,
						.timeout_usec = m->follow ? 0 : ASK_USEC});
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
		o->error = -ECONNRESET;
		output_free(o);
	}
}
