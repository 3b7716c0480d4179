/* SPDX-License-Identifier: Apache-2.0
 * A chosen chunk is read, here if that costs no wait, else in the pool, and sent as the link takes it. */
#include "vinefs/give_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define NOW_MOST (256u << 10)   /* larger ones are copied by others than the loop's thread */
#define PLAIN_LEAST (64u << 10) /* smaller ones cost less encrypted than a ticket does */

/* ---- pool */

static int read_part(struct gift *g)
{
	char text[DIGEST_TEXT_SIZE], path[DIGEST_TEXT_SIZE + 16];
	snprintf(path, sizeof path, "t/%s.vti", digest_text(&g->tree, text));
	_close_ int fd = openat(cache_directory(g->cache), path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? -ENODATA : -errno;
	for (size_t done = 0; done < g->n;) {
		ssize_t n = pread(fd, g->bytes + done, g->n - done, (off_t)(g->offset + done));
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		done += (size_t)n;
	}
	return 0;
}

static int read_once(struct gift *g)
{
	struct cache_tree *t = shelf_cache_tree(g->user.shelf);
	if (g->bytes)
		return cache_tree_read(t, g->blob, g->offset, g->bytes, g->n, true);
	g->fd = cache_tree_file(t, g->chunk, true);
	return min(g->fd, 0);
}

static int read_chunk(struct gift *g)
{
	int r = read_once(g);
	if (r != -EUCLEAN)
		return r;
	r = cache_tree_verify(shelf_cache_tree(g->user.shelf), g->chunk, 1);
	return r < 0 ? r : read_once(g);
}

static void run(struct fetch_work *w)
{
	struct gift *g = container_of(w, struct gift, work);
	assert(g->is_working);
	g->error = g->is_index ? read_part(g) : read_chunk(g);
	if (!g->error && g->is_to_be_packed)
		zstd_run(g);
}

/* ---- loop */

static void on_room(struct stream *s)
{
	gift_send(container_of(s, struct gift, stream));
}

static void on_stop(struct stream *s, int error)
{
	struct gift *g = container_of(s, struct gift, stream);
	assert(error <= 0);
	g->is_streaming = false;
	gift_end(g);
}

/* The last byte goes if all of them were the chunk's: whoever gets less does not take the giver for a liar. As stream_send(); -errno: it is over. */
static ssize_t send_plain(struct gift *g, size_t n)
{
	size_t left = g->n - g->sent;
	if (left > 1)
		return plain_send(&g->ticket, min(n, left - 1));
	if (cache_tree_residency(shelf_cache_tree(g->user.shelf), g->chunk) != CACHE_RESIDENT)
		return -ENODATA;
	return plain_send(&g->ticket, 1);
}

static ssize_t send_some(struct gift *g, size_t n)
{
	if (!g->ticket.owner)
		return (ssize_t)stream_send(&g->stream, g->bytes + g->sent, n);
	ssize_t some = send_plain(g, n);
	/* Only the last byte is left, and there is room for it. */
	if (some <= 0 || (size_t)some == n || g->sent + (size_t)some + 1 != g->n)
		return some;
	g->sent += (size_t)some;
	ssize_t last = send_plain(g, 1);
	g->sent -= (size_t)some;
	return last < 0 ? last : some + last;
}

void gift_send(struct gift *g)
{
	struct serve *s = g->owner;
	assert((g->is_streaming || g->ticket.guest) && !g->is_working);
	size_t left = g->n - g->sent, asked = min(left, gift_room(g));
	ssize_t some = asked ? send_some(g, asked) : 0;
	if (some < 0) {
		gift_end(g);
		return;
	}
	size_t n = (size_t)some;
	g->sent += n;
	s->given_size += n;
	if (!gift_is_urgent(g)) {
		g->asker->pending += n;
		s->pending += n;
	}
	/* Else the stream tells when there is room. Who pauses is not to blame. */
	g->is_paused = n == asked && n < left;
	if (n || g->is_paused)
		g->moved_usec = loop_now_usec(s->loop);
	if (g->is_paused)
		give_look_later(s);
	if (g->sent < g->n)
		return;
	stream_end(&g->stream, 0);
	g->is_streaming = false;
	gift_end(g);
}

static void start(struct gift *g)
{
	const struct wire_some m = {
		.chunk = g->chunk, .codec = g->is_packed ? CODEC_ZSTD : 0, .size = g->n, .address = ""};
	g->stream.on_room = on_room;
	g->stream.on_stop = on_stop;
	g->is_streaming = stream_start(&g->stream, g->asker->conn, g->id, WIRE_SOME, &m) == 0;
	if (g->is_streaming)
		gift_send(g);
	else
		gift_end(g);
}

static void on_guest(struct plain_ticket *t)
{
	gift_send(container_of(t, struct gift, ticket));
}

static void on_guest_over(struct plain_ticket *t, int error)
{
	assert(error < 0);
	gift_end(container_of(t, struct gift, ticket));
}

static void offer(struct gift *g)
{
	struct plain *p = g->owner->plain;
	struct wire_some m = {.chunk = g->chunk, .size = g->n};
	g->ticket.on_ready = on_guest;
	g->ticket.on_over = on_guest_over;
	int r = p ? plain_offer(p, &g->ticket, g->fd, g->offset, g->n) : -EAGAIN;
	if (r) {
		gift_fail(g, r);
		return;
	}
	m.ticket.at = g->ticket.secret;
	m.ticket.n = PLAIN_TICKET_SIZE;
	m.address = plain_address(p);
	conn_reply(g->asker->conn, g->id, WIRE_SOME, &m);
}

static void on_read(struct fetch_work *w, bool is_run)
{
	struct gift *g = container_of(w, struct gift, work);
	int error = is_run ? g->error : -ECANCELED;
	g->is_working = false;
	if (g->owner && !error)
		zstd_ran(g);
	if (!g->owner)
		gift_free(g);
	else if (error == -ENODATA || error == -EBADMSG)
		gift_again(g);
	else if (error)
		gift_fail(g, error);
	else if (g->fd >= 0)
		offer(g);
	else
		start(g);
}

static bool read_now(struct gift *g)
{
	return !g->is_index && g->n <= NOW_MOST &&
	       cache_tree_read(shelf_cache_tree(g->user.shelf), g->blob, g->offset, g->bytes, g->n, false) == 0;
}

/* Whoever has a reader waiting gets it at once. */
static bool is_plain(const struct gift *g)
{
	return g->owner->plain && g->codecs & CODEC_TICKET && !g->is_index && !gift_is_urgent(g) && g->n >= PLAIN_LEAST;
}

void gift_begin(struct gift *g)
{
	g->sent = 0;
	/* Of an index that is coming: it was in memory. */
	if (!g->user.shelf) {
		start(g);
		return;
	}
	free(steal(g->bytes));
	if (is_plain(g)) {
		g->fd = cache_tree_file(shelf_cache_tree(g->user.shelf), g->chunk, false);
	} else {
		g->bytes = xmalloc(g->n);
		g->is_to_be_packed = zstd_is_worth(g);
		if (!g->is_to_be_packed && read_now(g)) {
			start(g);
			return;
		}
	}
	if (g->fd >= 0) {
		offer(g);
		return;
	}
	g->is_working = true;
	g->work = (struct fetch_work){.run = run, .on_done = on_read};
	fetch_work(g->owner->fetch, &g->work);
}
