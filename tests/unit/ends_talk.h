/* SPDX-License-Identifier: Apache-2.0
 * For the tests of connections: an end that writes raw bytes, one that asks, one that answers with a stream. */
#ifndef TESTS_UNIT_ENDS_TALK_H
#define TESTS_UNIT_ENDS_TALK_H

#include "tests/unit/ends.h"

#include <sys/mman.h>

/* ---- raw bytes at an end without TLS */

struct raw {
	struct ends e;
	int fd;
};

static inline void raw_init(struct raw *r)
{
	int fd[2];
	ends_init(&r->e, false);
	unix_pair(fd);
	r->fd = fd[0];
	r->e.vined.conn = conn_new(r->e.loop, fd[1], true, &r->e.vined_options);
}

static inline void raw_fini(struct raw *r)
{
	close(r->fd);
	ends_fini(&r->e);
}

/* True when the end is closed or has taken all. */
static inline bool raw_send(struct raw *r, const void *p, size_t n)
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

static inline void raw_open(struct raw *r)
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

static inline void raw_frame(struct buf *b, uint16_t type, uint16_t flags, uint64_t id, const void *p, size_t n)
{
	wire_put_head(b, &(struct wire_head){.type = type, .flags = flags, .length = (uint32_t)n, .id = id});
	buf_put(b, p, n);
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

static inline void asker_on_reply(struct call *call, int error, uint16_t type, const void *message)
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
static inline uint8_t pattern(uint64_t at)
{
	return (uint8_t)(at * 31 + (at >> 13) * 7);
}

static inline bool asker_on_data(struct call *call, const void *p, size_t n)
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

static inline void asker_on_end(struct call *call, int error)
{
	struct asker *a = container_of(call, struct asker, call);
	a->n_ends++;
	a->error = error;
	if (a->then)
		a->then(a);
}

static inline void asker_init(struct asker *a, bool has_stream)
{
	*a = (struct asker){.call.on_reply = asker_on_reply};
	if (has_stream) {
		a->call.on_data = asker_on_data;
		a->call.on_end = asker_on_end;
	}
}

static inline int ask(struct asker *a, struct end *e, uint64_t timeout_usec)
{
	struct wire_read_output m = {.task = 1};
	return call_start(&a->call, e->conn, WIRE_READ_OUTPUT, &m, timeout_usec);
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

static inline void giver_fill(struct giver *g)
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

static inline void giver_on_room(struct stream *s)
{
	struct giver *g = container_of(s, struct giver, stream);
	g->n_room++;
	if (g->fd >= 0)
		stream_end(s, 0);
	else
		giver_fill(g);
}

static inline void giver_on_stop(struct stream *s, int error)
{
	struct giver *g = container_of(s, struct giver, stream);
	g->n_stopped++;
	g->error = error;
}

static inline void giver_init(struct giver *g, uint64_t size)
{
	*g = (struct giver){.stream = {.on_room = giver_on_room, .on_stop = giver_on_stop}, .size = size, .fd = -1};
}

static inline void answer_stream(struct end *e, const struct wire_head *h, const void *message)
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

static inline int pattern_file(uint64_t size)
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

#endif
