/* SPDX-License-Identifier: Apache-2.0
 * TARGETS `peer-small`: trees of one 4 KiB file from a peer, over one connection that is kept: what each costs the giver and the asker in processor time, encrypted and not. The asker is bare: he compares
 * digests and stores nothing. */
#include "common/path.h"
#include "tests/bench/bench.h"
#include "tests/bench/scratch.h"
#include "vinefs/serve.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#define FILE_SIZE 4096u
#define WINDOW 16u /* trees that are asked for at once */
#define ROUNDS 5

static const uint8_t secret[TLS_SECRET_SIZE] = "a secret of this benchmark alone";
static const struct wire_hello hello_a = {.role = TLS_ROLE_NODE, .version = "bench", .cluster = "c", .name = "a"};
static const struct wire_hello hello_b = {.role = TLS_ROLE_NODE, .version = "bench", .cluster = "c", .name = "b"};

static double cpu_of(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* ---- the giver: a thread, and its pool */

struct giver {
	const char *path;
	struct digest *ids;
	unsigned n;
	int fd;
	struct tls_context *tls;
	pthread_barrier_t ready;
	struct cache *cache;
	struct serve *serve;
	struct loop *loop;
};

static void on_open(struct conn *c, const struct wire_hello *peer)
{
	(void)c, (void)peer;
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	struct giver *g = conn_owner(c);
	if (!serve_message(g->serve, c, h, message))
		abort();
}

static void on_close(struct conn *c, int error, const char *reason)
{
	struct giver *g = conn_owner(c);
	(void)error, (void)reason;
	serve_close(g->serve, c);
	conn_free(c);
	loop_stop(g->loop, 0);
}

static void seal_all(struct giver *g)
{
	_free_ char *path = path_join(g->path, "file");
	struct cache_sealing *s = cache_sealing_new(g->cache, false);
	const struct seal_options o = {.store = cache_sealing_store(s), .n_threads = 1};
	uint8_t bytes[FILE_SIZE];
	for (unsigned i = 0; i < g->n; i++) {
		struct seal_report errors = {0};
		void *vti;
		size_t n;
		for (size_t at = 0; at < sizeof bytes; at += 4)
			put_le32(bytes + at, (uint32_t)(at * 2654435761u + i));
		if (path_write(path, bytes, sizeof bytes, 0644, false))
			abort();
		_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (seal_file(fd, path, &o, &vti, &n, &errors) || cache_publish(g->cache, vti, n, &g->ids[i]))
			abort();
		free(vti);
	}
	cache_sealing_free(s);
}

static void *give(void *arg)
{
	static const struct conn_ops ops = {.on_open = on_open, .on_message = on_message, .on_close = on_close};
	struct giver *g = arg;
	const struct conn_options o = {.ops = &ops, .owner = g, .tls = g->tls, .hello = &hello_a};
	const struct fetch_settings fs = {.cache = g->cache, .directory = g->path};
	g->loop = loop_new();
	struct fetch *f = fetch_new(g->loop, &fs);
	g->serve = serve_new(g->loop, f, g->cache, "a");
	conn_new(g->loop, g->fd, true, &o);
	loop_run(g->loop);
	serve_free(g->serve);
	if (fetch_stop(f, 10000))
		abort();
	for (int i = 0; i < 3; i++)
		loop_turn(g->loop, 0);
	fetch_free(f);
	loop_free(g->loop);
	return NULL;
}

/* ---- the asker */

struct asking {
	struct call index, chunk;
	struct asker *owner;
	struct digest id;
	uint8_t bytes[2][FILE_SIZE + 2048];
	size_t n[2];
	unsigned n_left;
};

struct asker {
	struct loop *loop;
	struct conn *conn;
	const struct digest *ids;
	unsigned n, next, n_done;
	struct asking at[WINDOW];
	double begun, all_begun;
};

static void ask(struct asking *a);

static void on_reply(struct call *c, int error, uint16_t type, const void *message)
{
	(void)c, (void)type, (void)message;
	if (error)
		abort();
}

static void take(struct asking *a, unsigned which, const void *p, size_t n)
{
	if (n > sizeof a->bytes[which] - a->n[which])
		abort();
	memcpy(a->bytes[which] + a->n[which], p, n);
	a->n[which] += n;
}

static bool on_index_data(struct call *c, const void *p, size_t n)
{
	take(container_of(c, struct asking, index), 0, p, n);
	return true;
}

static bool on_chunk_data(struct call *c, const void *p, size_t n)
{
	take(container_of(c, struct asking, chunk), 1, p, n);
	return true;
}

static void verify(const struct asking *a)
{
	_cleanup_(tree_freep) struct tree *t = NULL;
	struct digest wanted, found;
	void *vti = xmalloc(a->n[0]);
	memcpy(vti, a->bytes[0], a->n[0]);
	if (tree_take(vti, a->n[0], &a->id, &t))
		abort();
	tree_chunk_digest(t, 0, &wanted);
	digest_bytes(a->bytes[1], a->n[1], &found);
	if (!digest_is_equal(&wanted, &found))
		abort();
}

static void ended(struct asking *a, int error)
{
	struct asker *k = a->owner;
	if (error)
		abort();
	if (--a->n_left)
		return;
	verify(a);
	if (++k->n_done == k->n)
		loop_stop(k->loop, 0);
	else
		ask(a);
}

static void on_index_end(struct call *c, int error)
{
	ended(container_of(c, struct asking, index), error);
}

static void on_chunk_end(struct call *c, int error)
{
	ended(container_of(c, struct asking, chunk), error);
}

/* A file of one chunk: it is asked for with its index. */
static void ask(struct asking *a)
{
	struct asker *k = a->owner;
	char text[DIGEST_TEXT_SIZE];
	if (k->next == k->n)
		return;
	a->id = k->ids[k->next++];
	a->n[0] = a->n[1] = 0;
	a->n_left = 2;
	a->index = (struct call){.on_reply = on_reply, .on_data = on_index_data, .on_end = on_index_end};
	a->chunk = (struct call){.on_reply = on_reply, .on_data = on_chunk_data, .on_end = on_chunk_end};
	if (call_start(&a->index, k->conn, WIRE_READ_INDEX,
		       &(struct wire_read_index){.tree = digest_text(&a->id, text)}, 0) ||
	    call_start(&a->chunk, k->conn, WIRE_READ_CHUNKS, &(struct wire_read_chunks){.tree = a->id, .n = 1}, 0))
		abort();
}

static void on_asker_open(struct conn *c, const struct wire_hello *peer)
{
	struct asker *k = conn_owner(c);
	(void)peer;
	k->begun = cpu_of(CLOCK_THREAD_CPUTIME_ID);
	k->all_begun = cpu_of(CLOCK_PROCESS_CPUTIME_ID);
	for (unsigned i = 0; i < WINDOW; i++) {
		k->at[i].owner = k;
		ask(&k->at[i]);
	}
}

static void on_asker_close(struct conn *c, int error, const char *reason)
{
	(void)c, (void)error;
	fprintf(stderr, "the giver has gone: %s\n", reason);
	abort();
}

static void tcp_pair(int fd[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l < 0 || bind(l, (struct sockaddr *)&a, n) || listen(l, 1) || getsockname(l, (struct sockaddr *)&a, &n))
		bench_cannot("peer-small", "no TCP over loopback");
	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd[0] < 0 || connect(fd[0], (struct sockaddr *)&a, n) || (fd[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC)) < 0)
		bench_cannot("peer-small", "no TCP over loopback");
	close(l);
}

struct cost {
	double giver, asker; /* microseconds a tree */
};

static struct cost round_of(struct giver *g, struct tls_context *tls)
{
	static const struct conn_ops ops = {
		.on_open = on_asker_open, .on_message = on_message, .on_close = on_asker_close};
	struct asker *k = NEW(struct asker);
	pthread_t other;
	int fd[2];
	tcp_pair(fd);
	g->fd = fd[1];
	g->tls = tls;
	pthread_create(&other, NULL, give, g);
	k->loop = loop_new();
	k->ids = g->ids;
	k->n = g->n;
	const struct conn_options o = {.ops = &ops, .owner = k, .tls = tls, .hello = &hello_b, .peer = TLS_ROLE_NODE};
	k->conn = conn_new(k->loop, fd[0], false, &o);
	loop_run(k->loop);
	double asker = cpu_of(CLOCK_THREAD_CPUTIME_ID) - k->begun;
	double all = cpu_of(CLOCK_PROCESS_CPUTIME_ID) - k->all_begun;
	conn_free(k->conn);
	pthread_join(other, NULL);
	loop_free(k->loop);
	free(k);
	return (struct cost){.giver = (all - asker) / g->n, .asker = asker / g->n};
}

static void rounds(struct giver *g, struct tls_context *tls, struct spread *giver, struct spread *asker)
{
	double a[ROUNDS], b[ROUNDS];
	for (size_t i = 0; i < ROUNDS; i++) {
		struct cost c = round_of(g, tls);
		a[i] = c.giver;
		b[i] = c.asker;
	}
	*giver = spread_of(a, ROUNDS);
	*asker = spread_of(b, ROUNDS);
}

static void row(const char *what, struct spread s)
{
	printf("  %-34s %9.2f us (%.2f .. %.2f)  target 20\n", what, s.median, s.low, s.high);
}

static void measure(void *arg)
{
	const struct scratch *at = arg;
	struct conf_error e = {""};
	struct giver g = {.path = at->directory, .n = bench_is_quick() ? 200 : 5000};
	_free_ char *cache = path_join(g.path, "cache");
	const struct cache_settings cs = {.path = cache, .n_inodes = 100000, .quota = 1u << 30};
	struct tls_context *tls = tls_context_new(secret, TLS_ROLE_NODE, 1u << TLS_ROLE_NODE);
	struct spread giver[2], asker[2];
	if (!tls || cache_open(&cs, &g.cache, &e))
		bench_cannot("peer-small", tls ? e.text : "OpenSSL has no TLS 1.3 with pre-shared keys");
	g.ids = xcalloc(g.n, sizeof *g.ids);
	seal_all(&g);
	rounds(&g, tls, &giver[0], &asker[0]);
	rounds(&g, NULL, &giver[1], &asker[1]);
	row("TLS, the giver", giver[0]);
	row("TLS, the asker", asker[0]);
	row("plain, the giver", giver[1]);
	row("plain, the asker", asker[1]);
	tls_context_free(tls);
	cache_free(g.cache);
	free(g.ids);
	bench_end("peer-small", giver[0].median, "us", "20",
		  "\"tls_giver_us\":%.2f,\"tls_asker_us\":%.2f,\"plain_giver_us\":%.2f,\"plain_asker_us\":%.2f",
		  giver[0].median, asker[0].median, giver[1].median, asker[1].median);
}

int main(void)
{
	struct scratch at;
	scratch_make(&at, "peer-small", 200);
	return scratch_run(&at, 300, measure, &at);
}
