/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/give_world.h"

static const struct wire_hello hello_giver = {.role = TLS_ROLE_NODE, .version = "1", .cluster = "c1", .name = "a"};
static const struct wire_hello hello_asker = {.role = TLS_ROLE_NODE, .version = "1", .cluster = "c1", .name = "b"};
static unsigned n_ended;

/* ---- who gives */

static void on_open(struct conn *c, const struct wire_hello *peer)
{
	struct client *a = conn_owner(c);
	ASSERT_STR(peer->name, "b");
	a->is_open = true;
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	const struct client *a = conn_owner(c);
	ASSERT(serve_message(a->giver->serve, c, h, message));
}

static void on_cancel(struct conn *c, uint64_t id)
{
	const struct client *a = conn_owner(c);
	serve_cancel(a->giver->serve, c, id);
}

static void on_close(struct conn *c, int error, const char *reason)
{
	struct client *a = conn_owner(c);
	(void)error, (void)reason;
	serve_close(a->giver->serve, c);
	conn_free(c);
	a->far = NULL;
}

static void begin(struct giver *g, const char *path)
{
	*g = (struct giver){.n_chunks = 0};
	fetch_world_open_real(&g->world, "giver", (struct cache_settings){0}, (struct fetch_settings){.n_threads = 8});
	world_copy_make(&g->copy, path);
	g->n_chunks = g->copy.n_chunks;
	g->serve = serve_new(g->world.loop, g->world.fetch, g->world.cache, "a");
}

static void find_layout(struct giver *g)
{
	struct fetch_tree *t = fetch_world_tree(&g->world, &g->id);
	g->layout = *tree_layout_id(fetch_index(t));
	ASSERT_EQ(tree_n_chunks(fetch_index(t)), g->n_chunks);
	fetch_close(t);
}

void giver_open(struct giver *g, const char *path)
{
	begin(g, path);
	ASSERT_EQ(fetch_world_seal(&g->world, path, NULL, false, &g->id), 0);
	find_layout(g);
}

void giver_open_empty(struct giver *g, const char *path)
{
	begin(g, path);
	ASSERT_EQ(cache_publish(g->world.cache, g->copy.vti, g->copy.n, &g->id), 0);
	find_layout(g);
}

void giver_fill(struct giver *g, uint64_t from, uint64_t to)
{
	struct fetch_tree *t = fetch_world_tree(&g->world, &g->id);
	ASSERT_EQ(world_fill(fetch_cache_tree(t), &g->copy, from, to), 0);
	fetch_close(t);
}

void giver_close(struct giver *g)
{
	serve_free(g->serve);
	world_copy_fini(&g->copy);
	fetch_world_close(&g->world);
}

/* ---- who asks */

static void on_near_open(struct conn *c, const struct wire_hello *peer)
{
	(void)c, (void)peer;
}

static void on_near_message(struct conn *c, const struct wire_head *h, const void *message)
{
	(void)c, (void)h, (void)message;
	ASSERT(false);
}

static void on_near_close(struct conn *c, int error, const char *reason)
{
	struct client *a = conn_owner(c);
	(void)error, (void)reason;
	a->is_closed = true;
}

void client_open(struct client *a, struct giver *g)
{
	static const struct conn_ops far = {
		.on_open = on_open, .on_message = on_message, .on_cancel = on_cancel, .on_close = on_close};
	static const struct conn_ops near = {
		.on_open = on_near_open, .on_message = on_near_message, .on_close = on_near_close};
	int fd[2];
	*a = (struct client){.giver = g};
	tcp_pair(fd);
	const struct conn_options of = {.ops = &far, .owner = a, .hello = &hello_giver};
	const struct conn_options on = {.ops = &near, .owner = a, .hello = &hello_asker, .peer = TLS_ROLE_NODE};
	a->far = conn_new(g->world.loop, fd[1], true, &of);
	a->near = conn_new(g->world.loop, fd[0], false, &on);
	ASSERT(UNTIL(g->world.loop, a->is_open && conn_is_open(a->near)));
}

void client_close(struct client *a)
{
	conn_free(a->near);
	if (a->far) {
		serve_close(a->giver->serve, a->far);
		conn_free(a->far);
	}
	*a = (struct client){.is_closed = true};
}

static void on_want_reply(struct call *c, int error, uint16_t type, const void *message)
{
	struct want *w = container_of(c, struct want, call);
	w->n_replies++;
	w->error = error;
	if (error && type == WIRE_STATUS)
		snprintf(w->text, sizeof w->text, "%s", ((const struct wire_status *)message)->reason);
	if (error) {
		w->order = ++n_ended;
		return;
	}
	ASSERT_EQ(type, WIRE_SOME);
	w->some = *(const struct wire_some *)message;
	buf_put(&w->ticket, w->some.ticket.at, w->some.ticket.n);
	snprintf(w->address, sizeof w->address, "%s", w->some.address);
}

static bool on_want_data(struct call *c, const void *p, size_t n)
{
	struct want *w = container_of(c, struct want, call);
	buf_put(&w->bytes, p, n);
	return !w->is_held;
}

static void on_want_end(struct call *c, int error)
{
	struct want *w = container_of(c, struct want, call);
	w->n_ends++;
	w->error = error;
	w->order = ++n_ended;
}

static void start(struct want *w, struct client *a, const struct wire_read_some *m)
{
	w->client = a;
	w->call = (struct call){.on_reply = on_want_reply, .on_data = on_want_data, .on_end = on_want_end};
	ASSERT_EQ(call_start(&w->call, a->near, WIRE_READ_SOME, m, 0), 0);
}

void want_start(struct want *w, struct client *a, uint64_t first, const uint8_t *set, size_t n, unsigned rank)
{
	const struct giver *g = a->giver;
	const struct wire_read_some m = {.tree = g->id,
					 .layout = g->layout,
					 .first = first,
					 .wanted = {set, (uint32_t)n},
					 .rank = (uint8_t)rank,
					 .codecs = (uint8_t)w->codecs};
	start(w, a, &m);
}

void want_any(struct want *w, struct client *a, unsigned rank)
{
	uint8_t all[SWARM_WANTED_MAX];
	memset(all, 0xff, sizeof all);
	want_start(w, a, 0, all, sizeof all, rank);
}

void want_one(struct want *w, struct client *a, uint64_t chunk, unsigned rank)
{
	want_start(w, a, chunk, (const uint8_t[]){1}, 1, rank);
}

void want_part(struct want *w, struct client *a, const uint8_t *set, size_t n)
{
	const struct wire_read_some m = {
		.tree = a->giver->id, .wanted = {set, (uint32_t)n}, .rank = SWARM_GATING, .is_index = true};
	start(w, a, &m);
}

struct parts_call {
	struct call call;
	struct buf *digests;
	uint64_t size;
	bool is_over;
};

static void on_parts(struct call *c, int error, uint16_t type, const void *message)
{
	struct parts_call *p = container_of(c, struct parts_call, call);
	ASSERT_EQ(error, 0);
	ASSERT_EQ(type, WIRE_INDEX_PARTS);
	const struct wire_index_parts *m = message;
	ASSERT_EQ(m->size, p->size);
	ASSERT_EQ(m->part_size, 128u << 10);
	buf_put(p->digests, m->digests.at, m->digests.n);
	p->is_over = true;
}

void ask_parts(struct client *a, struct buf *digests, uint64_t size)
{
	struct parts_call p = {.call = {.on_reply = on_parts}, .digests = digests, .size = size};
	const struct wire_read_index_parts m = {.tree = a->giver->id};
	ASSERT_EQ(call_start(&p.call, a->near, WIRE_READ_INDEX_PARTS, &m, 0), 0);
	ASSERT(UNTIL(a->giver->world.loop, p.is_over));
}

bool want_is_good(const struct want *w)
{
	const struct world_copy *copy = &w->client->giver->copy;
	return w->n_ends == 1 && !w->error && w->some.chunk < copy->n_chunks && !w->some.codec &&
	       w->some.size == w->bytes.n && w->bytes.n == copy->sizes[w->some.chunk] &&
	       memcmp(w->bytes.at, copy->chunks[w->some.chunk], w->bytes.n) == 0;
}

void want_fini(struct want *w)
{
	call_stop(&w->call);
	buf_fini(&w->bytes);
	buf_fini(&w->ticket);
}

/* ---- who watches */

static void on_index(void *arg)
{
	struct watch_some *w = arg;
	w->n_index++;
}

static void on_part(void *arg, uint64_t part)
{
	struct watch_some *w = arg;
	(void)part;
	w->n_parts++;
}

static void on_all(void *arg)
{
	struct watch_some *w = arg;
	w->n_all++;
	memset(w->has, 1, w->n_chunks);
}

static void on_chunk(void *arg, uint64_t chunk)
{
	struct watch_some *w = arg;
	w->n_told++;
	ASSERT(chunk < w->n_chunks);
	w->has[chunk] = 1;
}

static void on_lost(void *arg, uint64_t chunk)
{
	struct watch_some *w = arg;
	w->n_lost++;
	ASSERT(chunk < w->n_chunks);
	w->has[chunk] = 0;
}

static void on_watch_reply(struct call *c, int error, uint16_t type, const void *message)
{
	struct watch_some *w = container_of(c, struct watch_some, call);
	(void)type, (void)message;
	w->n_replies++;
	w->error = error;
}

static bool on_watch_data(struct call *c, const void *p, size_t n)
{
	struct watch_some *w = container_of(c, struct watch_some, call);
	w->n_bytes += n;
	ASSERT_EQ(have_read(&w->reader, p, n), 0);
	return !w->is_held;
}

static void on_watch_end(struct call *c, int error)
{
	struct watch_some *w = container_of(c, struct watch_some, call);
	w->n_ends++;
	w->error = error;
}

void watch_some_start(struct watch_some *w, struct client *a)
{
	static const struct have_ops ops = {
		.on_index = on_index, .on_part = on_part, .on_all = on_all, .on_chunk = on_chunk, .on_lost = on_lost};
	const struct giver *g = a->giver;
	const struct wire_watch_chunks m = {.tree = g->id, .layout = g->layout, .name = "b", .address = ""};
	w->reader = (struct have_reader){.ops = &ops, .arg = w};
	w->n_chunks = g->n_chunks;
	w->has = xcalloc(g->n_chunks + 1, 1);
	w->call = (struct call){.on_reply = on_watch_reply, .on_data = on_watch_data, .on_end = on_watch_end};
	ASSERT_EQ(call_start(&w->call, a->near, WIRE_WATCH_CHUNKS, &m, 0), 0);
}

void watch_some_fini(struct watch_some *w)
{
	call_stop(&w->call);
	free(w->has);
}
