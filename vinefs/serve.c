/* SPDX-License-Identifier: Apache-2.0
 * asked -> its turn -> the tree is opened -> a piece is read in the pool, sent, the next one ... -> the end, or the first chunk that is not here.
 *
 * A request holds one piece at a time, so a receiver who does not read holds no more than that. */
#include "vinefs/serve_internal.h"

#include "common/log.h"

#define ACTIVE_MOST 32u    /* at once; the others wait */
#define WAITING_MOST 4096u /* beyond that they are sent away */
#define SMALL_MOST (64u << 10)
#define PIECE_SIZE (1u << 20)  /* no chunk is larger */
#define STUCK_USEC 30000000u   /* who takes nothing for so long gets no more: others wait for his place */

struct request {
	struct list link;
	struct serve *owner; /* NULL: nobody waits for it any more; it goes when the pool is done with it */
	struct conn *conn;
	uint64_t id;
	struct digest tree;
	bool is_index, is_active, is_working, is_streaming;
	struct shelf_user user;
	struct fetch_work work;
	struct stream stream;
	uint64_t next, end; /* chunks that are left, and the blob that the next is in */
	uint32_t blob;
	uint8_t *bytes;
	const uint8_t *from; /* `bytes`, or the open tree's own: its index */
	size_t n, sent;
	uint64_t moved_usec; /* when it was begun, or something of it was last sent */
	int error;
};

static void begin_more(struct serve *s);

static void request_free(struct request *q);
static void request_go_on(struct request *q);

/* ---- requests */

/* Out of every list: what the pool still has of it is freed when that is done. */
static void request_drop(struct request *q)
{
	struct serve *s = q->owner;
	assert(s && (q->is_active ? s->n_active : s->n_waiting));
	list_remove(&q->link);
	*(q->is_active ? &s->n_active : &s->n_waiting) -= 1;
	if (!q->is_working)
		shelf_leave(&q->user);
	q->owner = NULL;
	if (!q->is_working)
		request_free(q);
}

static void request_free(struct request *q)
{
	assert(!q->owner && !q->is_working && !q->user.shelf);
	free(q->bytes);
	free(q);
}

static void request_end(struct request *q)
{
	struct serve *s = q->owner;
	request_drop(q);
	begin_more(s);
}

const char *serve_why(int error)
{
	switch (error) {
	case -ENOENT:
		return "this tree is not here";
	case -ENODATA:
		return "this part of the tree is not here";
	case -EBADMSG:
		return "what was here of the tree is damaged";
	case -ESTALE:
		return "it has another layout here";
	default:
		return strerror(-error);
	}
}

void serve_refuse(struct serve *s, struct conn *c, uint64_t id, const struct digest *tree, int error)
{
	char text[DIGEST_TEXT_SIZE];
	assert(error < 0);
	conn_reply_status(c, id, -error, "node %s, tree %s: %s", s->name, digest_text(tree, text), serve_why(error));
}

static void request_fail(struct request *q, int error)
{
	assert(error < 0);
	if (q->is_streaming)
		stream_end(&q->stream, error);
	else
		serve_refuse(q->owner, q->conn, q->id, &q->tree, error);
	request_drop(q);
}

/* ---- pool */

/* Bytes [offset, offset + n) of the blob, which begin with chunk q->next. */
static int read_piece(struct request *q, uint64_t offset, size_t n)
{
	struct cache_tree *ct = shelf_cache_tree(q->user.shelf);
	const struct tree_blob *b = tree_blob(cache_tree_index(ct), q->blob);
	int r = cache_tree_read(ct, q->blob, offset, q->bytes, n, true);
	if (r != -EUCLEAN)
		return r;
	cache_tree_verify(ct, q->next, data_n_chunks(n, b->chunk_size));
	return cache_tree_read(ct, q->blob, offset, q->bytes, n, true);
}

/* As many whole chunks of one blob as a piece has room for; if they are not all here, the first alone. */
static int read_chunks(struct request *q)
{
	const struct tree *t = cache_tree_index(shelf_cache_tree(q->user.shelf));
	const struct tree_blob *b = tree_blob(t, q->blob);
	uint64_t n_chunks = data_n_chunks(b->size, b->chunk_size);
	while (q->next >= b->first_chunk + n_chunks) {
		b = tree_blob(t, ++q->blob);
		n_chunks = data_n_chunks(b->size, b->chunk_size);
	}
	uint64_t last = min(q->end, b->first_chunk + n_chunks),
		 n = min(last - q->next, PIECE_SIZE / (uint64_t)b->chunk_size);
	uint64_t offset = (q->next - b->first_chunk) * b->chunk_size;
	int r;
	for (;; n = 1) {
		assert(n);
		q->n = (size_t)min(n * b->chunk_size, b->size - offset);
		r = read_piece(q, offset, q->n);
		if (r == 0 || n == 1)
			break;
	}
	q->next += n;
	return r;
}

/* ---- what is small and in memory: not worth two ways to another thread */

/* As read_chunks() does it. */
static bool read_chunks_now(struct request *q)
{
	struct cache_tree *ct = shelf_cache_tree(q->user.shelf);
	uint64_t offset;
	size_t size;
	if (q->end - q->next != 1)
		return false;
	uint32_t blob = shelf_place(q->user.shelf, q->next, &offset, &size);
	if (size > SMALL_MOST)
		return false;
	q->bytes = xmalloc(size);
	if (cache_tree_read(ct, blob, offset, q->bytes, size, false)) {
		free(steal(q->bytes));
		return false;
	}
	q->n = size;
	q->next++;
	return true;
}

static void run_request(struct fetch_work *w)
{
	struct request *q = container_of(w, struct request, work);
	assert(q->is_working);
	q->error = read_chunks(q);
}

/* ---- loop */

static void send_more(struct request *q)
{
	size_t n = stream_send(&q->stream, q->from + q->sent, q->n - q->sent);
	q->sent += n;
	q->owner->given_size += n;
	if (n)
		q->moved_usec = loop_now_usec(q->owner->loop);
	if (q->sent < q->n)
		return;
	if (!q->is_index && q->next < q->end) {
		request_go_on(q);
		return;
	}
	stream_end(&q->stream, 0);
	request_end(q);
}

static void on_room(struct stream *s)
{
	struct request *q = container_of(s, struct request, stream);
	if (!q->is_working)
		send_more(q);
}

static void on_stop(struct stream *s, int error)
{
	assert(error <= 0);
	request_end(container_of(s, struct request, stream));
}

static int start_stream(struct request *q)
{
	static const struct wire_status ok = {.error = 0};
	const struct wire_index m = {.tree = q->tree, .size = q->n, .rest = ""};
	q->stream.on_room = on_room;
	q->stream.on_stop = on_stop;
	int r = stream_start(&q->stream, q->conn, q->id, q->is_index ? WIRE_INDEX : WIRE_STATUS,
			     q->is_index ? (const void *)&m : &ok);
	q->is_streaming = r == 0;
	return r;
}

static void begin_sending(struct request *q, const void *from)
{
	q->from = from;
	q->sent = 0;
	if (!q->is_streaming && start_stream(q))
		request_drop(q);
	else
		send_more(q);
}

static void on_read(struct fetch_work *w, bool is_run)
{
	struct request *q = container_of(w, struct request, work);
	struct serve *s = q->owner;
	q->is_working = false;
	if (!s) {
		shelf_leave(&q->user);
		request_free(q);
		return;
	}
	int error = is_run ? q->error : -ECANCELED;
	if (error)
		request_fail(q, error);
	else
		begin_sending(q, q->bytes);
	begin_more(s);
}

/* The tree is open: the next piece. */
static void request_go_on(struct request *q)
{
	const struct tree *t = fetch_index(q->user.shelf->tree);
	uint64_t n_chunks = tree_n_chunks(t);
	if (q->is_index) {
		const void *from = tree_bytes(t, &q->n);
		begin_sending(q, from);
		return;
	}
	if (!q->bytes && (q->next >= n_chunks || q->end > n_chunks)) {
		request_fail(q, -ERANGE);
		return;
	}
	if (!q->bytes && read_chunks_now(q)) {
		begin_sending(q, q->bytes);
		return;
	}
	if (!q->bytes)
		q->bytes = xmalloc(PIECE_SIZE);
	q->is_working = true;
	q->work = (struct fetch_work){.run = run_request, .on_done = on_read};
	fetch_work(q->owner->fetch, &q->work);
}

static void on_open(struct shelf_user *u, int error)
{
	struct request *q = container_of(u, struct request, user);
	struct serve *s = q->owner;
	if (error)
		request_fail(q, error);
	else
		request_go_on(q);
	begin_more(s);
}

static void begin(struct request *q)
{
	q->user.on_open = on_open;
	int r = shelf_join(q->owner, &q->user, &q->tree);
	if (r)
		request_fail(q, r);
	else if (!q->user.is_waiting)
		request_go_on(q);
}

static void begin_more(struct serve *s)
{
	/* Those that end at once come back here. */
	if (s->is_beginning)
		return;
	s->is_beginning = true;
	while (s->n_active < ACTIVE_MOST && s->n_waiting) {
		struct request *q = list_first(&s->waiting, struct request, link);
		list_remove(&q->link);
		s->n_waiting--;
		list_append(&s->active, &q->link);
		s->n_active++;
		q->is_active = true;
		q->moved_usec = loop_now_usec(s->loop);
		begin(q);
	}
	s->is_beginning = false;
}

static void ask(struct serve *s, struct conn *c, uint64_t id, const struct digest *tree, bool is_index, uint64_t first,
		uint64_t n)
{
	if (!id)
		return;
	if (s->n_waiting == WAITING_MOST) {
		conn_reply_status(c, id, EAGAIN, "node %s: %u requests wait already; ask again in a while", s->name,
				  s->n_waiting);
		return;
	}
	struct request *q = NEW(struct request);
	q->owner = s;
	q->conn = c;
	q->id = id;
	q->tree = *tree;
	q->is_index = is_index;
	q->next = first;
	q->end = first + n;
	list_init(&q->link);
	list_append(&s->waiting, &q->link);
	s->n_waiting++;
	begin_more(s);
}

static void on_read_index(struct serve *s, struct conn *c, uint64_t request, const struct wire_read_index *m)
{
	struct digest id;
	/* By its whole id: names are for people, and each node has its own. */
	if (digest_parse(m->tree, &id))
		conn_reply_status(c, request, EINVAL, "'%.80s' is not the id of a tree", m->tree);
	else
		ask(s, c, request, &id, true, 0, 0);
}

static void on_read_chunks(struct serve *s, struct conn *c, uint64_t request, const struct wire_read_chunks *m)
{
	uint64_t end;
	if (!m->n || add_overflows(m->first, m->n, &end))
		conn_reply_status(c, request, ERANGE, "no chunks are asked for, or more than can be");
	else
		ask(s, c, request, &m->tree, false, m->first, m->n);
}

bool serve_message(struct serve *s, struct conn *c, const struct wire_head *h, const void *message)
{
	switch (h->type) {
	case WIRE_READ_INDEX:
		on_read_index(s, c, h->id, message);
		return true;
	case WIRE_READ_CHUNKS:
		on_read_chunks(s, c, h->id, message);
		return true;
	case WIRE_READ_SOME:
		give_ask(s, c, h->id, message);
		return true;
	case WIRE_WATCH_CHUNKS:
		watch_ask(s, c, h->id, message);
		return true;
	case WIRE_READ_INDEX_PARTS:
		give_parts_ask(s, c, h->id, message);
		return true;
	case WIRE_READ_DRAFT:
		fetch_give_draft(s->fetch, c, h->id, message);
		return true;
	case WIRE_READ_NAMES:
		fetch_give_names(s->fetch, c, h->id, message);
		return true;
	default:
		return false;
	}
}

/* ---- whoever has gone */

static void drop(struct request *q)
{
	stream_end(&q->stream, -ECANCELED);
	request_drop(q);
}

static struct request *find(struct serve *s, const struct conn *c, const uint64_t *id)
{
	struct list *const lists[] = {&s->active, &s->waiting};
	for (size_t i = 0; i < countof(lists); i++)
		list_foreach (lists[i], struct request, link, q) {
			if ((!c || q->conn == c) && (!id || q->id == *id))
				return q;
		}
	return NULL;
}

void serve_end_stuck(struct serve *s)
{
	uint64_t now = loop_now_usec(s->loop);
	list_foreach (&s->active, struct request, link, q) {
		if (!q->is_streaming || q->is_working || q->moved_usec + STUCK_USEC > now)
			continue;
		log_info("%s takes nothing of what it asked for: given up", conn_peer_name(q->conn));
		request_fail(q, -ETIMEDOUT);
	}
	begin_more(s);
	give_end_stuck(s);
}

void serve_cancel(struct serve *s, const struct conn *c, uint64_t id)
{
	struct request *q = find(s, c, &id);
	if (q)
		drop(q);
	else if (!give_cancel(s, c, id) && !watch_cancel(s, c, id) && !parts_cancel(s, c, id))
		fetch_give_draft_stop(s->fetch, c, id);
	begin_more(s);
}

void serve_close(struct serve *s, const struct conn *c)
{
	struct request *q;
	while ((q = find(s, c, NULL)))
		drop(q);
	fetch_give_draft_stop(s->fetch, c, 0);
	watch_close(s, c);
	parts_close(s, c);
	give_close(s, c);
	begin_more(s);
}

void serve_get_numbers(const struct serve *s, struct serve_numbers *out)
{
	*out = (struct serve_numbers){.given_size = s->given_size, .n_queued = s->n_queued + s->n_waiting};
}

/* ---- life */

struct serve *serve_new(struct loop *l, struct fetch *f, struct cache *c, const char *name)
{
	struct serve *s = NEW(struct serve);
	s->loop = l;
	s->fetch = f;
	s->cache = c;
	s->name = name;
	list_init(&s->trees);
	list_init(&s->active);
	list_init(&s->waiting);
	list_init(&s->askers);
	list_init(&s->queued);
	list_init(&s->giving);
	list_init(&s->watches);
	list_init(&s->sheaves);
	list_init(&s->asked_parts);
	return s;
}

void serve_use_peers(struct serve *s, struct fetch_peers *p)
{
	if (!p)
		sheaves_close(s);
	s->peers = p;
}

void serve_use_plain(struct serve *s, struct plain *p)
{
	if (!p)
		give_drop_tickets(s);
	s->plain = p;
}

void serve_free(struct serve *s)
{
	if (!s)
		return;
	assert(!s->n_active && !s->n_waiting && !s->n_queued && !s->n_watches && list_is_empty(&s->giving));
	serve_use_peers(s, NULL);
	timer_stop(&s->looker);
	shelves_close(s);
	free(s);
}
