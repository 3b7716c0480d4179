/* SPDX-License-Identifier: Apache-2.0
 * TARGETS `wire`: what a message costs, what bytes cost beside a bare loop (pairs, alternating), handshakes, idle connections. The last
 * line is the microseconds to encode a task of 10 inputs. */
#include "common/listen.h"
#include "tests/bench/bench.h"

#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <time.h>
#include <unistd.h>

#define PAIRS 9
#define BYTES ((uint64_t)1 << 30)
#define FILE_SIZE ((uint64_t)256 << 20)
#define IDLE 2000
#define HANDSHAKES 2000

static const uint8_t secret[TLS_SECRET_SIZE] = "a secret of this benchmark alone";
static const struct wire_hello hello_a = {.role = TLS_ROLE_VINED, .version = "bench", .name = "a"};
static const struct wire_hello hello_b = {.role = TLS_ROLE_NODE, .version = "bench", .name = "b"};

/* ---- messages */

static void bench_messages(struct spread *encode, struct spread *decode)
{
	static const char *const argv[] = {"python3", "-m", "work.unit", "--sample", "17"};
	static const char *const environment[] = {"PATH=/usr/bin:/bin", "HOME=/home/someone", "OMP_NUM_THREADS=4"};
	char paths[10][64], items[10][64];
	struct wire_binding bindings[10];
	for (int i = 0; i < 10; i++) {
		snprintf(paths[i], sizeof paths[i], "/data/project/inputs/sample-%04d.dat", i);
		snprintf(items[i], sizeof items[i], "file:///shared/project/sample-%04d.dat", i);
		bindings[i] = (struct wire_binding){.path = paths[i], .item = items[i], .mode = 1, .size = 25000000};
	}
	struct wire_task task = {.key = "run-7/17",
				 .argv = {argv, 5},
				 .environment = {environment, 3},
				 .tag = "sweep",
				 .cores = 1,
				 .memory = 1u << 30,
				 .bindings = {bindings, 10}};
	struct wire_submit m = {.run = "sweep", .tasks = {&task, 1}}, back;
	enum { N = 200000 };
	double to[PAIRS], from[PAIRS];
	struct buf b = {0};
	struct wire_arena arena = {0};
	for (int round = 0; round < PAIRS; round++) {
		double begun = bench_now_sec();
		for (int i = 0; i < N; i++) {
			buf_consume(&b, b.n);
			wire_encode(&b, WIRE_SUBMIT, 0, 1, &m);
		}
		to[round] = (bench_now_sec() - begun) / N * 1e6;
		begun = bench_now_sec();
		for (int i = 0; i < N; i++) {
			wire_arena_reset(&arena);
			if (wire_decode(WIRE_SUBMIT, b.at + WIRE_HEAD_SIZE, b.n - WIRE_HEAD_SIZE, &back, &arena) < 0)
				abort();
		}
		from[round] = (bench_now_sec() - begun) / N * 1e6;
	}
	wire_arena_fini(&arena);
	buf_fini(&b);
	*encode = spread_of(to, PAIRS);
	*decode = spread_of(from, PAIRS);
}

/* ---- bytes: a sender and a receiver, each a thread */

static void tcp_pair(int fd[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l < 0 || bind(l, (struct sockaddr *)&a, n) || listen(l, 1) || getsockname(l, (struct sockaddr *)&a, &n))
		bench_cannot("wire", "no TCP over loopback");
	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd[0] < 0 || connect(fd[0], (struct sockaddr *)&a, n) || (fd[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC)) < 0)
		bench_cannot("wire", "no TCP over loopback");
	close(l);
}

struct transfer {
	int fd[2];
	int file;
	SSL *ssl[2]; /* of the bare loop */
	bool has_tls, from_memory;
	struct tls_context *contexts[2];
	double seconds;
};

static void *bare_receive(void *arg)
{
	struct transfer *t = arg;
	size_t room = 256u << 10;
	char *p = xmalloc(room);
	for (uint64_t got = 0; got < BYTES;) {
		ssize_t n = t->has_tls ? SSL_read(t->ssl[1], p, (int)room) : recv(t->fd[1], p, room, 0);
		if (n <= 0)
			abort();
		got += (uint64_t)n;
	}
	free(p);
	return NULL;
}

static void bare_send(struct transfer *t)
{
	size_t part = t->has_tls ? WIRE_DATA_MAX : 256u << 10;
	char *p = xcalloc(1, part);
	for (uint64_t sent = 0; sent < BYTES;) {
		off_t at = (off_t)(sent % FILE_SIZE);
		size_t n = min(part, (size_t)(FILE_SIZE - (uint64_t)at));
		/* The same work: what a connection must read from a file, the bare loop reads too. */
		if (t->has_tls && !t->from_memory && pread(t->file, p, n, at) != (ssize_t)n)
			abort();
		ssize_t k = t->has_tls ? SSL_write(t->ssl[0], p, (int)n) : sendfile(t->fd[0], t->file, &at, n);
		if (k <= 0)
			abort();
		sent += (uint64_t)k;
	}
	free(p);
}

static unsigned on_psk_server(SSL *s, const char *identity, unsigned char *key, unsigned n)
{
	(void)s, (void)identity;
	memcpy(key, secret, min(n, 32u));
	return 32;
}

static unsigned on_psk_client(SSL *s, const char *hint, char *identity, unsigned n_identity, unsigned char *key,
			      unsigned n)
{
	snprintf(identity, n_identity, "bare");
	return on_psk_server(s, hint, key, n);
}

static void *bare_accept(void *ssl)
{
	if (SSL_accept(ssl) != 1)
		abort();
	return NULL;
}

static void bare(struct transfer *t)
{
	SSL_CTX *c[2] = {NULL, NULL};
	pthread_t other;
	tcp_pair(t->fd);
	for (int i = 0; t->has_tls && i < 2; i++) {
		c[i] = SSL_CTX_new(TLS_method());
		SSL_CTX_set_min_proto_version(c[i], TLS1_3_VERSION);
		SSL_CTX_set_ciphersuites(c[i], "TLS_AES_128_GCM_SHA256");
		SSL_CTX_set_psk_server_callback(c[i], on_psk_server);
		SSL_CTX_set_psk_client_callback(c[i], on_psk_client);
		t->ssl[i] = SSL_new(c[i]);
		SSL_set_fd(t->ssl[i], t->fd[i]);
	}
	if (t->has_tls) {
		pthread_create(&other, NULL, bare_accept, t->ssl[1]);
		if (SSL_connect(t->ssl[0]) != 1)
			abort();
		pthread_join(other, NULL);
	}
	double begun = bench_now_sec();
	pthread_create(&other, NULL, bare_receive, t);
	bare_send(t);
	pthread_join(other, NULL);
	t->seconds = bench_now_sec() - begun;
	for (int i = 0; i < 2; i++) {
		if (t->has_tls) {
			SSL_free(t->ssl[i]);
			SSL_CTX_free(c[i]);
		}
		close(t->fd[i]);
	}
}

/* ---- the same by connections */

struct giver {
	struct stream stream;
	struct transfer *transfer;
	struct loop *loop;
	uint64_t left;
};

static void giver_go_on(struct giver *g)
{
	static const uint8_t bytes[WIRE_DATA_MAX];
	while (g->transfer->from_memory && g->left) {
		size_t asked = (size_t)min(g->left, (uint64_t)sizeof bytes);
		size_t n = stream_send(&g->stream, bytes, asked);
		g->left -= n;
		if (n < asked)
			return;
	}
	uint64_t n = min(g->left, FILE_SIZE);
	if (!n) {
		stream_end(&g->stream, 0);
		return;
	}
	g->left -= n;
	stream_send_file(&g->stream, g->transfer->file, 0, n);
}

static void giver_on_room(struct stream *s)
{
	giver_go_on(container_of(s, struct giver, stream));
}

static void giver_on_stop(struct stream *s, int error)
{
	(void)s, (void)error;
	abort();
}

static void giver_on_open(struct conn *c, const struct wire_hello *peer)
{
	(void)c, (void)peer;
}

static void giver_on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	struct giver *g = conn_owner(c);
	(void)message;
	if (stream_start(&g->stream, c, h->id, WIRE_STATUS, &(struct wire_status){.error = 0}) < 0)
		abort();
	giver_go_on(g);
}

static void giver_on_close(struct conn *c, int error, const char *reason)
{
	struct giver *g = conn_owner(c);
	(void)error, (void)reason;
	loop_stop(g->loop, 0);
	conn_free(c);
}

static void *give(void *arg)
{
	static const struct conn_ops ops = {
		.on_open = giver_on_open, .on_message = giver_on_message, .on_close = giver_on_close};
	struct transfer *t = arg;
	struct giver g = {.stream = {.on_room = giver_on_room, .on_stop = giver_on_stop},
			  .transfer = t,
			  .loop = loop_new(),
			  .left = BYTES};
	struct conn_options o = {.ops = &ops, .owner = &g, .tls = t->contexts[0], .hello = &hello_a};
	conn_new(g.loop, t->fd[0], true, &o);
	loop_run(g.loop);
	loop_free(g.loop);
	return NULL;
}

struct taker {
	struct call call;
	struct loop *loop;
	struct conn *conn;
	uint64_t got;
	double begun;
};

static void taker_on_reply(struct call *call, int error, uint16_t type, const void *message)
{
	(void)call, (void)type, (void)message;
	if (error)
		abort();
}

static bool taker_on_data(struct call *call, const void *p, size_t n)
{
	(void)p;
	container_of(call, struct taker, call)->got += n;
	return true;
}

static void taker_on_end(struct call *call, int error)
{
	struct taker *t = container_of(call, struct taker, call);
	if (error || t->got != BYTES)
		abort();
	conn_close(t->conn, "done", true);
}

static void taker_on_open(struct conn *c, const struct wire_hello *peer)
{
	struct taker *t = conn_owner(c);
	(void)peer;
	t->begun = bench_now_sec();
	t->call = (struct call){.on_reply = taker_on_reply, .on_data = taker_on_data, .on_end = taker_on_end};
	if (call_start(&t->call, c, WIRE_READ_OUTPUT, &(struct wire_read_output){.task = 1}, 0) < 0)
		abort();
}

static void taker_on_close(struct conn *c, int error, const char *reason)
{
	struct taker *t = conn_owner(c);
	(void)error, (void)reason;
	loop_stop(t->loop, 0);
	conn_free(c);
}

static void ours(struct transfer *t)
{
	static const struct conn_ops ops = {
		.on_open = taker_on_open, .on_message = giver_on_message, .on_close = taker_on_close};
	struct taker k = {.loop = loop_new()};
	struct conn_options o = {
		.ops = &ops, .owner = &k, .tls = t->contexts[1], .hello = &hello_b, .peer = TLS_ROLE_VINED};
	pthread_t other;
	tcp_pair(t->fd);
	pthread_create(&other, NULL, give, t);
	k.conn = conn_new(k.loop, t->fd[1], false, &o);
	loop_run(k.loop);
	t->seconds = bench_now_sec() - k.begun;
	pthread_join(other, NULL);
	loop_free(k.loop);
}

struct bytes {
	struct spread ours, bare, ratio; /* GB/s, GB/s, ours / bare of each pair */
};

static struct bytes bench_bytes(bool has_tls, bool from_memory, struct tls_context *const contexts[2], int file)
{
	double a[PAIRS], b[PAIRS], ratio[PAIRS];
	struct transfer t = {.has_tls = has_tls, .from_memory = from_memory, .file = file};
	if (has_tls)
		memcpy(t.contexts, contexts, sizeof t.contexts);
	for (int i = 0; i < PAIRS; i++) {
		bare(&t);
		b[i] = (double)BYTES / t.seconds / 1e9;
		ours(&t);
		a[i] = (double)BYTES / t.seconds / 1e9;
		ratio[i] = a[i] / b[i];
	}
	return (struct bytes){spread_of(a, PAIRS), spread_of(b, PAIRS), spread_of(ratio, PAIRS)};
}

/* ---- handshakes, both ends in this thread */

static struct spread bench_handshakes(struct tls_context *const contexts[2])
{
	double rate[5];
	for (size_t round = 0; round < countof(rate); round++) {
		double begun = bench_now_sec();
		for (int i = 0; i < HANDSHAKES / 5; i++) {
			int fd[2];
			if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0)
				abort();
			struct tls *a = tls_accept(contexts[0], fd[0]);
			struct tls *b = tls_connect(contexts[1], fd[1], TLS_ROLE_VINED);
			int ra = -EAGAIN, rb = -EAGAIN;
			while (ra == -EAGAIN || rb == -EAGAIN) {
				rb = rb == -EAGAIN ? tls_handshake(b) : rb;
				ra = ra == -EAGAIN ? tls_handshake(a) : ra;
			}
			if (ra || rb)
				abort();
			tls_free(a);
			tls_free(b);
			close(fd[0]);
			close(fd[1]);
		}
		rate[round] = HANDSHAKES / 5 / (bench_now_sec() - begun);
	}
	return spread_of(rate, countof(rate));
}

/* ---- idle connections */

static unsigned n_open;

static void idle_on_open(struct conn *c, const struct wire_hello *peer)
{
	(void)c, (void)peer;
	n_open++;
}

static void idle_on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	(void)c, (void)h, (void)message;
}

static void idle_on_close(struct conn *c, int error, const char *reason)
{
	(void)c;
	fprintf(stderr, "an idle connection ended: %d %s\n", error, reason);
	abort();
}

static size_t memory_now(void)
{
	struct mallinfo2 m = mallinfo2();
	return m.uordblks + m.hblkhd;
}

static size_t resident_now(void)
{
	unsigned long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	if (!f || fscanf(f, "%lu %lu", &size, &resident) != 2)
		abort();
	fclose(f);
	return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static double bench_idle(struct tls_context *const contexts[2], double *resident_kib)
{
	static const struct conn_ops ops = {
		.on_open = idle_on_open, .on_message = idle_on_message, .on_close = idle_on_close};
	struct loop *l = loop_new();
	struct conn **at = xcalloc((size_t)2 * IDLE, sizeof *at);
	malloc_trim(0);
	size_t before = memory_now(), resident = resident_now();
	for (unsigned i = 0; i < IDLE; i++) {
		struct conn_options o = {.ops = &ops, .tls = contexts[0], .hello = &hello_a};
		int fd[2];
		tcp_pair(fd);
		at[2 * i] = conn_new(l, fd[1], true, &o);
		o = (struct conn_options){.ops = &ops, .tls = contexts[1], .hello = &hello_b, .peer = TLS_ROLE_VINED};
		at[2 * i + 1] = conn_new(l, fd[0], false, &o);
		while (n_open < 2 * i)
			loop_turn(l, 10);
	}
	while (n_open < 2 * IDLE)
		loop_turn(l, 10);
	for (int i = 0; i < 20; i++)
		loop_turn(l, 1);
	double kib = (double)(memory_now() - before) / 1024 / (2 * IDLE);
	*resident_kib = (double)(resident_now() - resident) / 1024 / (2 * IDLE);
	for (unsigned i = 0; i < 2 * IDLE; i++)
		conn_free(at[i]);
	free(at);
	loop_free(l);
	return kib;
}

/* ---- */

static void row(const char *what, struct spread s, const char *unit, const char *target)
{
	printf("  %-34s %9.3f %-5s (%.3f .. %.3f)  target %s\n", what, s.median, unit, s.low, s.high, target);
}

static void end(const struct spread *encode, const struct spread *decode, const struct bytes *plain,
		const struct bytes *tls, const struct bytes *tls_file, const struct spread *handshakes, double kib,
		double resident_kib)
{
	bench_end("wire", encode->median, "us", "0.6",
		  "\"encode_us\":%.4f,\"decode_us\":%.4f,"
		  "\"plain_gbs\":%.3f,\"sendfile_gbs\":%.3f,\"plain_ratio\":%.3f,\"plain_ratio_low\":%.3f,"
		  "\"plain_ratio_high\":%.3f,"
		  "\"tls_gbs\":%.3f,\"ssl_write_gbs\":%.3f,\"tls_ratio\":%.3f,\"tls_ratio_low\":%.3f,"
		  "\"tls_ratio_high\":%.3f,"
		  "\"tls_file_gbs\":%.3f,\"pread_ssl_write_gbs\":%.3f,\"tls_file_ratio\":%.3f,"
		  "\"handshakes_per_s\":%.0f,\"idle_kib\":%.2f,\"idle_resident_kib\":%.2f",
		  encode->median, decode->median, plain->ours.median, plain->bare.median, plain->ratio.median,
		  plain->ratio.low, plain->ratio.high, tls->ours.median, tls->bare.median, tls->ratio.median,
		  tls->ratio.low, tls->ratio.high, tls_file->ours.median, tls_file->bare.median, tls_file->ratio.median,
		  handshakes->median, kib, resident_kib);
}

static int make_file(void)
{
	int fd = memfd_create("bench_wire", MFD_CLOEXEC);
	char *p = xmalloc(1u << 20);
	memset(p, 'v', 1u << 20);
	for (uint64_t done = 0; fd >= 0 && done < FILE_SIZE; done += 1u << 20)
		if (write(fd, p, 1u << 20) != 1 << 20)
			bench_cannot("wire", "256 MiB of memory cannot be had");
	free(p);
	if (fd < 0)
		bench_cannot("wire", "no memfd");
	return fd;
}

int main(void)
{
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_cur < 2 * IDLE + 100)
		bench_cannot("wire", "4,100 descriptors are needed, see ulimit -n");
	struct tls_context *contexts[2] = {tls_context_new(secret, TLS_ROLE_VINED, 1u << TLS_ROLE_NODE),
					   tls_context_new(secret, TLS_ROLE_NODE, 1u << TLS_ROLE_VINED)};
	if (!contexts[0] || !contexts[1])
		bench_cannot("wire", "OpenSSL has no TLS 1.3 with pre-shared keys");
	int file = make_file();
	struct spread encode, decode;
	double resident_kib = 0;
	bench_messages(&encode, &decode);
	double kib = bench_idle(contexts, &resident_kib);
	struct spread handshakes = bench_handshakes(contexts);
	struct bytes plain = bench_bytes(false, false, contexts, file);
	struct bytes tls = bench_bytes(true, true, contexts, file);
	struct bytes tls_file = bench_bytes(true, false, contexts, file);
	row("encode a task of 10 inputs", encode, "us", "0.6");
	row("decode it", decode, "us", "0.3");
	row("plain path", plain.ours, "GB/s", "");
	row("  bare sendfile loop", plain.bare, "GB/s", "");
	row("  ratio of pairs", plain.ratio, "", "0.9");
	row("TLS path", tls.ours, "GB/s", "");
	row("  bare SSL_write loop", tls.bare, "GB/s", "");
	row("  ratio of pairs", tls.ratio, "", "0.9");
	row("TLS path, of a file", tls_file.ours, "GB/s", "");
	row("  bare pread and SSL_write loop", tls_file.bare, "GB/s", "");
	row("  ratio of pairs", tls_file.ratio, "", "0.9");
	row("handshakes, both ends", handshakes, "/s", "1000");
	printf("  %-34s %9.2f KiB   (%.2f resident)  target 20\n", "an idle TLS connection, one end", kib,
	       resident_kib);
	tls_context_free(contexts[0]);
	tls_context_free(contexts[1]);
	close(file);
	end(&encode, &decode, &plain, &tls, &tls_file, &handshakes, kib, resident_kib);
	return 0;
}
