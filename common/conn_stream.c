/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conn_internal.h"

#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static void stream_move(struct stream *s, struct list *to)
{
	list_remove(&s->link);
	list_append(to, &s->link);
}

/* Puts it among those that can go on, or among those that cannot. */
static void stream_settle(struct stream *s)
{
	struct conn *c = s->conn;
	bool is_done = s->has_file && s->rest == 0;
	bool is_ready = is_done || (s->credit > 0 && (s->has_file || s->is_blocked));
	stream_move(s, is_ready ? &c->ready : &c->idle);
	if (is_ready)
		conn_dirty(c);
}

static void put_data_head(struct buf *b, uint64_t id, uint16_t flags, size_t n)
{
	assert(n <= WIRE_DATA_MAX);
	wire_put_head(b, &(struct wire_head){.type = WIRE_DATA,
					     .flags = (uint16_t)(WIRE_FLAG_REPLY | flags),
					     .length = (uint32_t)n,
					     .id = id});
}

int stream_start(struct stream *s, struct conn *c, uint64_t id, uint16_t type, const void *message)
{
	assert(s->on_room && s->on_stop);
	s->conn = NULL;
	if (c->state != CONN_OPEN)
		return -ENOTCONN;
	if (id == 0 || map_get(&c->streams_by_id, id))
		return -EEXIST;
	int r = conn_put(c, type, WIRE_FLAG_REPLY | WIRE_FLAG_STREAM, id, message);
	if (r < 0)
		return r;
	s->conn = c;
	s->id = id;
	s->credit = CONN_STREAM_WINDOW;
	s->fd = -1;
	s->offset = s->rest = 0;
	s->is_blocked = s->has_file = false;
	list_init(&s->link);
	list_append(&c->idle, &s->link);
	map_put(&c->streams_by_id, id, s);
	return 0;
}

/* How much of the output this stream may fill now: all there is room for, unless others wait. */
static size_t stream_room(const struct stream *s)
{
	const struct conn *c = s->conn;
	if (c->state != CONN_OPEN)
		return 0;
	size_t room = c->out.n < CONN_BULK_MAX ? CONN_BULK_MAX - c->out.n : 0;
	if (c->granted == s)
		return min(room, c->grant);
	return list_is_empty(&c->ready) ? room : 0;
}

/* Over TLS a frame with its head fills whole records of 16 KiB: the head alone would cost one more, and a system call. */
static size_t most_of_frame(const struct conn *c)
{
	return c->tls ? WIRE_DATA_MAX - WIRE_HEAD_SIZE : WIRE_DATA_MAX;
}

size_t stream_send(struct stream *s, const void *p, size_t n)
{
	struct conn *c = s->conn;
	if (!c)
		return 0;
	assert(!s->has_file);
	uint64_t room = min((uint64_t)stream_room(s), s->credit);
	size_t most = min(n, (size_t)room), taken = 0;
	while (taken < most) {
		size_t part = min(most - taken, most_of_frame(c));
		put_data_head(&c->out, s->id, 0, part);
		buf_put(&c->out, (const uint8_t *)p + taken, part);
		c->counters.messages_out++;
		taken += part;
	}
	s->credit -= taken;
	if (c->granted == s)
		c->grant -= taken;
	if (taken)
		conn_dirty(c);
	s->is_blocked = taken < n;
	if (s->is_blocked)
		stream_settle(s);
	return taken;
}

void stream_send_file(struct stream *s, int fd, uint64_t offset, uint64_t size)
{
	if (!s->conn)
		return;
	assert(fd >= 0 && !s->has_file);
	s->fd = fd;
	s->offset = offset;
	s->rest = size;
	s->has_file = true;
	s->is_blocked = false;
	stream_settle(s);
}

static void stream_forget(struct stream *s)
{
	struct conn *c = s->conn;
	assert(c && map_get(&c->streams_by_id, s->id) == s);
	list_remove(&s->link);
	map_remove(&c->streams_by_id, s->id);
	if (c->granted == s)
		c->granted = NULL;
	s->conn = NULL;
	s->has_file = s->is_blocked = false;
}

/* A frame that has begun must have its bytes; they are read now, since the file may be closed when this returns. Past the
 * file's end there is nothing to send but zeros: whoever ends the stream then does so with an error. */
static void stream_complete_frame(struct conn *c)
{
	struct stream *s = c->filing;
	size_t left = c->file_left, done = 0;
	uint8_t *to = buf_reserve(&c->frame, left);
	while (done < left) {
		ssize_t n = pread(s->fd, to + done, left - done, (off_t)(s->offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	memset(to + done, 0, left - done);
	buf_grew(&c->frame, left);
	c->file_left = 0;
	c->filing = NULL;
	conn_dirty(c);
}

void stream_end(struct stream *s, int error)
{
	struct conn *c = s->conn;
	if (!c)
		return;
	assert(error <= 0);
	if (c->filing == s)
		stream_complete_frame(c);
	if (c->state == CONN_OPEN) {
		uint8_t number[4];
		put_le32(number, (uint32_t)-error);
		put_data_head(&c->out, s->id, WIRE_FLAG_END, error ? sizeof number : 0);
		buf_put(&c->out, number, error ? sizeof number : 0);
		c->counters.messages_out++;
		conn_dirty(c);
	}
	stream_forget(s);
}

/* ---- what the peer says of a stream */

void conn_stream_credit(struct conn *c, uint64_t id, uint64_t bytes)
{
	struct stream *s = map_get(&c->streams_by_id, id);
	if (!s)
		return; /* it ended while the credit was under way */
	if (add_overflows(s->credit, bytes, &s->credit)) {
		conn_end(c, -EPROTO, "gave a stream more credit than can be counted");
		return;
	}
	stream_settle(s);
}

bool conn_stream_cancelled(struct conn *c, uint64_t id)
{
	struct stream *s = map_get(&c->streams_by_id, id);
	if (!s)
		return false;
	if (c->filing == s)
		stream_complete_frame(c);
	stream_forget(s);
	s->on_stop(s, -ECANCELED);
	return true;
}

void conn_stream_end_all(struct conn *c, int error)
{
	c->filing = NULL;
	c->file_left = 0;
	list_splice(&c->idle, &c->ready);
	struct stream *s;
	while ((s = list_first(&c->idle, struct stream, link))) {
		stream_forget(s);
		s->on_stop(s, error);
	}
	map_fini(&c->streams_by_id);
}

/* ---- files */

static size_t stream_frame_size(const struct stream *s)
{
	uint64_t most = min(s->rest, s->credit);
	return (size_t)min(most, (uint64_t)most_of_frame(s->conn));
}

/* Over TLS the file is read straight into the output. Short only if the file is. */
static ssize_t stream_read_frame(struct conn *c, struct stream *s, size_t n)
{
	size_t before = c->out.n;
	put_data_head(&c->out, s->id, 0, n);
	uint8_t *to = buf_reserve(&c->out, n);
	size_t done = 0;
	while (done < n) {
		ssize_t r = pread(s->fd, to + done, n - done, (off_t)(s->offset + done));
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0) {
			c->out.n = before;
			return r < 0 ? -errno : -EIO;
		}
		done += (size_t)r;
	}
	buf_grew(&c->out, n);
	return (ssize_t)n;
}

static void stream_advance(struct stream *s, size_t n)
{
	assert(n <= s->rest);
	s->offset += n;
	s->rest -= n;
}

/* The file could not be read, which was found where no callback is allowed. */
static void stream_break(struct stream *s, int error)
{
	struct conn *c = s->conn;
	conn_enter(c);
	stream_end(s, error);
	s->on_stop(s, error);
	conn_leave(c);
}

bool conn_stream_file(struct conn *c)
{
	struct stream *s = list_first(&c->ready, struct stream, link);
	if (!s || !s->has_file || !s->rest || c->state != CONN_OPEN || s->fd < 0)
		return false;
	assert(!c->filing && !c->file_left && !c->frame.n);
	size_t n = stream_frame_size(s);
	assert(n > 0);
	if (c->tls) {
		ssize_t r = stream_read_frame(c, s, n);
		if (r < 0) {
			s->fd = (int)r; /* pump ends it */
			conn_again(c);
			return false;
		}
		stream_advance(s, n);
	} else {
		put_data_head(&c->frame, s->id, 0, n);
		c->filing = s;
		c->file_left = (uint32_t)n;
	}
	c->counters.messages_out++;
	s->credit -= n;
	/* To the end of the ring. Of a file under way the rest is counted as it goes, so it may look unfinished till then. */
	stream_settle(s);
	return true;
}

ssize_t conn_stream_sendfile(struct conn *c)
{
	struct stream *s = c->filing;
	assert(s && s->conn == c && c->file_left > 0);
	off_t at = (off_t)s->offset;
	ssize_t n = sendfile(c->fd, s->fd, &at, c->file_left);
	if (n < 0 && errno != EINVAL && errno != EIO)
		return -errno;
	if (n <= 0) {
		int error = n < 0 ? -errno : -EIO;
		stream_complete_frame(c);
		s->fd = error;
		stream_settle(s);
		conn_again(c);
		return 0;
	}
	c->file_left -= (uint32_t)n;
	stream_advance(s, (size_t)n);
	if (!c->file_left) {
		c->filing = NULL;
		if (!s->rest)
			stream_settle(s);
	}
	return n;
}

/* ---- the ring */

bool conn_stream_has_work(const struct conn *c)
{
	return c->state == CONN_OPEN && !list_is_empty(&c->ready) && c->out.n < CONN_BULK_LOW;
}

/* Calls the first one that waits for a word from us, not for the socket. */
static void stream_call(struct conn *c, struct stream *s)
{
	if (s->has_file && s->fd < 0) {
		stream_break(s, s->fd);
		return;
	}
	bool is_alone = c->ready.next == &s->link && c->ready.prev == &s->link;
	s->has_file = s->is_blocked = false;
	stream_move(s, &c->idle);
	c->granted = s;
	c->grant = is_alone ? CONN_BULK_MAX : WIRE_DATA_MAX;
	s->on_room(s);
	c->granted = NULL;
}

bool conn_stream_pump(struct conn *c)
{
	assert(c->depth > 0);
	bool did = false;
	if (!conn_stream_has_work(c))
		return false;
	for (unsigned i = 0; i < 64 && c->state == CONN_OPEN && c->out.n <= CONN_BULK_MAX - WIRE_DATA_MAX; i++) {
		struct stream *s = list_first(&c->ready, struct stream, link);
		if (!s)
			break;
		bool is_owed = !s->has_file || s->fd < 0 || (!s->rest && c->filing != s);
		if (!is_owed) {
			/* A file's frame goes out as such; without TLS only when all before it is out. */
			if (c->filing || c->frame.n || (!c->tls && c->out.n))
				break;
			if (!conn_stream_file(c))
				continue;
		} else {
			stream_call(c, s);
		}
		did = true;
	}
	return did;
}
