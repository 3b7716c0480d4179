/* SPDX-License-Identifier: Apache-2.0
 * A node that says it has a tree, and then does not give what it should. The tree is that of one large file.
 *
 *   liar SOCKET SECRET VTI FILE wrong|half|slow|silent|other|absent|noise|beyond|endless|huge|parts      until SIGTERM
 *
 *   wrong    each chunk has a wrong byte
 *   half     half of each chunk, then the end, as if that were all
 *   slow     1 KB a second
 *   silent   says that the chunk comes, and sends none of it
 *   other    names, and sends, a chunk that was not asked for
 *   absent   its address leads nowhere
 *   noise    what it says that it has is noise
 *   beyond   it has chunks and parts that no tree has
 *   endless  it has, and has not, the same chunk, without end
 *   huge     a chunk of a terabyte, without end
 *   parts    an index of 64 MiB, whose parts it makes up
 * Joins vined, prints "liar ready", then "asked" for each chunk that it was asked for. */
#include "common/listen.h"
#include "common/secret.h"
#include "data/data.h"
#include "tests/system/talk.h"
#include "vinefs/fetch/swarm_have.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#define DRIP_SIZE 100u
#define DRIP_USEC 100000u
#define DATA_MOST (2u << 20)

static const char *const modes[] = {"wrong", "half",   "slow",    "silent", "other", "absent",
				    "noise", "beyond", "endless", "huge",   "parts"};
enum mode { WRONG, HALF, SLOW, SILENT, OTHER, ABSENT, NOISE, BEYOND, ENDLESS, HUGE_CHUNK, PARTS };

static enum mode mode;
static struct loop *loop;
static struct tree *tree;
static int vti, file;
static volatile sig_atomic_t is_over;

/* What is being given; they are few, and none is freed before the end. */
struct gift {
	struct stream stream;
	struct timer timer;
	uint8_t *bytes;
	size_t n, sent, most; /* most: so much of it is sent at all */
	bool is_endless;      /* the stream stays open; of ENDLESS and HUGE_CHUNK: it begins anew */
};

static void must(bool is_true, const char *what)
{
	if (is_true)
		return;
	fprintf(stderr, "liar: %s\n", what);
	exit(1);
}

/* ---- giving */

static void on_drip(struct timer *t);

static bool is_flood(void)
{
	return mode == ENDLESS || mode == HUGE_CHUNK;
}

static void send_more(struct gift *g)
{
	if (!g->stream.conn)
		return;
	size_t most = mode == SLOW && !g->is_endless ? min(g->sent + DRIP_SIZE, g->most) : g->most;
	g->sent += stream_send(&g->stream, g->bytes + g->sent, most - g->sent);
	for (; g->is_endless && is_flood() && g->sent == g->most; g->sent = stream_send(&g->stream, g->bytes, g->most))
		g->sent = 0;
	if (g->sent == g->most && !g->is_endless)
		stream_end(&g->stream, 0);
	else if (g->sent < g->most && mode == SLOW && !g->is_endless)
		timer_start(&g->timer, loop, DRIP_USEC, on_drip);
}

static void on_drip(struct timer *t)
{
	send_more(container_of(t, struct gift, timer));
}

static void on_room(struct stream *s)
{
	struct gift *g = container_of(s, struct gift, stream);
	if (mode != SLOW || g->is_endless)
		send_more(g);
}

static void on_stop(struct stream *s, int error)
{
	struct gift *g = container_of(s, struct gift, stream);
	(void)error;
	timer_stop(&g->timer);
}

/* Takes over the bytes. */
static void give(struct conn *c, uint64_t id, uint16_t type, const void *message, uint8_t *bytes, size_t n, size_t most,
		 bool is_endless)
{
	struct gift *g = NEW(struct gift);
	*g = (struct gift){.bytes = bytes, .n = n, .most = most, .is_endless = is_endless};
	g->stream.on_room = on_room;
	g->stream.on_stop = on_stop;
	must(stream_start(&g->stream, c, id, type, message) == 0, "a stream cannot be begun");
	send_more(g);
}

static uint8_t *read_at(int fd, uint64_t offset, size_t n)
{
	uint8_t *p = xmalloc(n ? n : 1);
	must(pread(fd, p, n, (off_t)offset) == (ssize_t)n, "its file cannot be read");
	return p;
}

static size_t size_of(uint64_t first, uint64_t n)
{
	const struct tree_blob *b = tree_blob(tree, 0);
	return (size_t)(min(b->size, (first + n) * b->chunk_size) - first * b->chunk_size);
}

static void give_chunks(struct conn *c, uint64_t id, uint16_t type, const void *message, uint64_t first, uint64_t n)
{
	const struct tree_blob *b = tree_blob(tree, 0);
	size_t size = size_of(first, n);
	must(size <= DATA_MOST * 4, "too much is asked for");
	uint8_t *bytes = read_at(file, first * b->chunk_size, size);
	if (mode == WRONG)
		bytes[size / 2] ^= 1;
	give(c, id, type, message, bytes, size, mode == HALF ? size / 2 : mode == SILENT ? 0 : size, mode == SILENT);
}

/* ---- what it says that it has */

static void put_beyond(struct buf *b)
{
	static const uint8_t ones[1024] = {[0 ... 1023] = 255};
	static const uint32_t far[] = {UINT32_MAX, UINT32_MAX - 1, 1u << 31, 1u << 24};
	have_put_index(b);
	have_put_bitmap(b, UINT64_MAX - 7, ones, sizeof ones);
	have_put_bitmap(b, UINT64_C(1) << 40, ones, sizeof ones);
	have_put_bitmap(b, UINT64_C(1) << 25, ones, sizeof ones);
	have_put_chunks(b, far, countof(far));
	have_put_part(b, UINT32_MAX);
	have_put_lost(b, UINT32_MAX);
	have_put_all(b);
}

static void put_endless(struct buf *b)
{
	const uint32_t chunk = 0;
	have_put_all(b);
	for (unsigned i = 0; i < 4096; i++) {
		have_put_chunks(b, &chunk, 1);
		have_put_lost(b, chunk);
	}
}

static void give_watch(struct conn *c, uint64_t id)
{
	static const struct wire_status ok = {.error = 0};
	struct buf b = {0};
	if (mode == NOISE) {
		for (unsigned i = 0; i < 100000; i++)
			buf_put(&b, &(uint8_t){(uint8_t)(i * 2654435761u >> 24)}, 1);
	} else if (mode == BEYOND) {
		put_beyond(&b);
	} else if (mode == ENDLESS) {
		put_endless(&b);
	} else if (mode == PARTS) {
		have_put_index(&b);
		have_put_all(&b);
	} else {
		/* All chunks, and no word of the index: it knows no parts of that, and whoever fails there is not asked for chunks. */
		have_put_all(&b);
	}
	uint8_t *bytes = xmalloc(b.n);
	memcpy(bytes, b.at, b.n);
	give(c, id, WIRE_STATUS, &ok, bytes, b.n, b.n, true);
	buf_fini(&b);
}

/* Of an index of zeros. */
static void give_list(struct conn *c, uint64_t id)
{
	static uint8_t digests[DIGEST_SIZE * 64];
	static const uint8_t zeros[1u << 20];
	struct digest d;
	digest_bytes(zeros, sizeof zeros, &d);
	for (unsigned i = 0; i < 64; i++)
		memcpy(digests + (size_t)i * DIGEST_SIZE, d.byte, DIGEST_SIZE);
	conn_reply(c, id, WIRE_INDEX_PARTS,
		   &(struct wire_index_parts){.tree = *tree_id(tree),
					      .size = 64u << 20,
					      .part_size = 1u << 20,
					      .digests = {digests, sizeof digests}});
}

/* ---- being asked */

static void on_read_some(struct conn *c, uint64_t id, const struct wire_read_some *m)
{
	uint64_t i = 0, n_bits = (uint64_t)m->wanted.n * 8;
	const uint8_t *bits = m->wanted.at;
	bool is_inverted = mode == OTHER && m->wanted.n;
	while (i < n_bits && ((bits[i / 8] >> (i % 8) & 1) != 0) == is_inverted)
		i++;
	if (m->is_index) {
		const struct wire_some part = {.chunk = m->first + i, .size = 1u << 20};
		give(c, id, WIRE_SOME, &part, xcalloc(1u << 20, 1), 1u << 20, 1u << 20, false);
		return;
	}
	uint64_t chunk = min(m->first + i, tree_n_chunks(tree) - 1);
	if (mode == HUGE_CHUNK) {
		const struct wire_some huge = {.chunk = chunk, .size = UINT64_C(1) << 40};
		give(c, id, WIRE_SOME, &huge, xcalloc(1u << 20, 1), 1u << 20, 1u << 20, true);
		return;
	}
	give_chunks(c, id, WIRE_SOME, &(struct wire_some){.chunk = chunk, .size = size_of(chunk, 1)}, chunk, 1);
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	static const struct wire_status ok = {.error = 0};
	const struct wire_read_chunks *chunks = message;
	struct stat st;
	switch (h->type) {
	case WIRE_READ_INDEX:
		must(fstat(vti, &st) == 0, "its index is gone");
		give(c, h->id, WIRE_INDEX, &(struct wire_index){.tree = *tree_id(tree), .size = (uint64_t)st.st_size},
		     read_at(vti, 0, (size_t)st.st_size), (size_t)st.st_size, (size_t)st.st_size, false);
		break;
	case WIRE_WATCH_CHUNKS:
		puts("watched");
		give_watch(c, h->id);
		break;
	case WIRE_READ_INDEX_PARTS:
		if (mode != PARTS)
			conn_reply_status(c, h->id, ENOSYS, "unknown here");
		else
			give_list(c, h->id);
		break;
	case WIRE_READ_CHUNKS:
		puts("asked");
		give_chunks(c, h->id, WIRE_STATUS, &ok, chunks->first, chunks->n);
		break;
	case WIRE_READ_SOME:
		puts("asked");
		on_read_some(c, h->id, message);
		break;
	default:
		conn_reply_status(c, h->id, ENOSYS, "%s is unknown here", wire_name(h->type));
	}
	fflush(stdout);
}

static void on_close(struct conn *c, int error, const char *reason)
{
	(void)error, (void)reason;
	conn_free(c);
}

static void on_open(struct conn *c, const struct wire_hello *hello)
{
	static const struct conn_ops ops = {.on_message = on_message, .on_close = on_close};
	(void)hello;
	conn_set(c, &ops, NULL);
}

/* ---- life */

static struct listener *listen_for_nodes(const char *secret_path, const struct wire_hello *hello, char *address)
{
	static const struct conn_ops ops = {.on_open = on_open};
	struct conf_error e;
	uint8_t secret[SECRET_SIZE];
	struct net_address a;
	must(secret_read(secret_path, secret, &e) == 0, "its secret cannot be read");
	struct tls_context *tls = tls_context_new(secret, TLS_ROLE_NODE, 1u << TLS_ROLE_NODE);
	must(tls && net_parse("127.0.0.1:0", &a) == 0, "it cannot listen");
	int fd = net_listen(&a, 16);
	must(fd >= 0 && net_own_address(fd, &a) == 0, "it cannot listen");
	net_text(&a, address);
	struct listener *s =
		listener_new(loop, fd, &(struct listener_options){.conn = {.ops = &ops, .tls = tls, .hello = hello}});
	must(s != NULL, "it cannot listen");
	return s;
}

static void on_signal(int s)
{
	(void)s;
	is_over = 1;
}

int main(int argc, char **argv)
{
	struct talk t = {.loop = NULL};
	char address[NET_TEXT_SIZE] = "127.0.0.1:1", id[40];
	while (mode < countof(modes) && (argc != 6 || !streq(argv[5], modes[mode])))
		mode++;
	if (argc != 6 || mode == countof(modes)) {
		fprintf(stderr, "usage: liar SOCKET SECRET VTI FILE HOW\n");
		return 2;
	}
	signal(SIGTERM, on_signal);
	vti = open(argv[3], O_RDONLY | O_CLOEXEC);
	file = open(argv[4], O_RDONLY | O_CLOEXEC);
	must(vti >= 0 && file >= 0 && tree_read(vti, NULL, &tree) == 0, "it has no tree");
	must(tree_n_blobs(tree) == 1, "its tree is not one large file");
	talk_open(&t, argv[1], TLS_ROLE_NODE);
	loop = t.loop;
	struct wire_hello hello = {.role = TLS_ROLE_NODE, .version = "1", .name = "liar", .instance = 9};
	if (mode != ABSENT)
		listen_for_nodes(argv[2], &hello, address);
	/* What is held against one is not held against the next. */
	snprintf(id, sizeof id, "deadbeef-0000-4000-8000-%012u", (unsigned)getpid());
	must(talk_ask(&t, WIRE_JOIN,
		      &(struct wire_join){.node = id,
					  .tier = "views",
					  .cores = 1,
					  .task_limit = 1,
					  .kernel = "x",
					  .features = {(const char *const[]){"liar"}, 1},
					  .has_data = true,
					  .address = address}) == 0,
	     "it may not join");
	const uint64_t size = tree_blob(tree, 0)->size;
	const struct wire_replica has = {.tree = *tree_id(tree), .size = size, .total = size};
	conn_send(t.conn, WIRE_REPLICAS, &(struct wire_replicas){.trees = {&has, 1}, .is_all = true});
	printf("liar ready\n");
	fflush(stdout);
	while (!is_over)
		loop_turn(loop, TALK_TURN_MSEC);
	/* What it gives goes with it. */
	_exit(0);
}
