/* SPDX-License-Identifier: Apache-2.0
 * A peer that knows the secret and then sends whatever comes out of a seed: messages of every kind with extreme and senseless
 * values, some of them damaged. What would only make the test useless is not sent: large offers of cores, commands that do something.
 *
 *   fuzzed ADDRESS SECRET_FILE|- client|node SEED CONNECTIONS FRAMES
 *
 * Prints "C connections, F frames, K closed by the daemon". The same seed sends the same. */
#include "common/net.h"
#include "common/secret.h"
#include "common/tls.h"
#include "common/wire_table.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MSEC 5000 /* for the daemon to take or send something */
#define LINGER_MSEC 20
#define LONG_TEXT 70000

struct fuzz {
	struct net_address to;
	struct tls_context *tls_context;
	enum tls_role role;
	uint64_t state;
	size_t n_frames, n_closed;
};

struct peer {
	int fd;
	struct tls *tls; /* NULL on a Unix socket */
	bool is_closed;
};

static uint64_t next(struct fuzz *f)
{
	uint64_t z = f->state += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint32_t below(struct fuzz *f, uint32_t n)
{
	return (uint32_t)(next(f) % n);
}

#define PICK(f, table) ((table)[below(f, countof(table))])

/* ---- bodies */

static void put_u32(struct buf *b, uint32_t n)
{
	uint8_t bytes[4];
	put_le32(bytes, n);
	buf_put(b, bytes, sizeof bytes);
}

static void put_u64(struct buf *b, uint64_t n)
{
	uint8_t bytes[8];
	put_le64(bytes, n);
	buf_put(b, bytes, sizeof bytes);
}

static void put_noise(struct fuzz *f, struct buf *b, uint32_t n)
{
	for (; n; n--) {
		uint8_t byte = (uint8_t)(1 + below(f, 255));
		buf_put(b, &byte, 1);
	}
}

static uint64_t number(struct fuzz *f)
{
	static const uint64_t odd[] = {0, INT64_MAX, UINT64_MAX, UINT32_MAX, (uint64_t)1 << 63, (uint64_t)99 << 40 | 1};
	uint32_t how = below(f, 8);
	return how < 5 ? below(f, 30) : how < 7 ? PICK(f, odd) : next(f);
}

static void put_text(struct fuzz *f, struct buf *b, const char *field)
{
	static const char *const words[] = {"",
					    "a",
					    "b",
					    "17",
					    "true",
					    "tasks",
					    "nodes",
					    "cluster",
					    "a\nb",
					    "\x1b[2J",
					    "../..",
					    "/x/../y",
					    "/no/such/x",
					    "\xff\xfe",
					    "A=1",
					    "=",
					    "tag:a",
					    "temp:a",
					    "temp:b",
					    "file:/no/such/x",
					    "node:/no/such/x",
					    "tree:0",
					    "category.a.running",
					    "counter.a",
					    "deadbeef-0000-0000-0000-000000000001",
					    "views",
					    "%s%n",
					    "{index}"};
	static const char *const commands[] = {"true", "", "no-such-program", "a\nb", "{index}"};
	const char *word = streq(field, "argv") ? PICK(f, commands) : PICK(f, words);
	uint32_t how = below(f, 64);
	uint32_t n = how == 0 ? LONG_TEXT : how < 4 ? below(f, 40) : (uint32_t)strlen(word);
	put_u32(b, n + 1);
	if (n == strlen(word))
		buf_put(b, word, n);
	else
		put_noise(f, b, n);
	buf_put(b, "", 1);
}

static void put_body(struct fuzz *f, struct buf *b, const struct wire_layout *l);

static void put_field(struct fuzz *f, struct buf *b, const struct wire_field *t)
{
	uint64_t n = streq(t->name, "cores") ? below(f, 2) : number(f);
	uint8_t byte = (uint8_t)n;
	uint32_t count = below(f, 5);
	switch (t->kind) {
	case WIRE_KIND_boolean:
	case WIRE_KIND_u8:
		buf_put(b, &byte, 1);
		break;
	case WIRE_KIND_u32:
		put_u32(b, (uint32_t)n);
		break;
	case WIRE_KIND_u64:
	case WIRE_KIND_i64:
		put_u64(b, n);
		break;
	case WIRE_KIND_text:
		put_text(f, b, t->name);
		break;
	case WIRE_KIND_bytes:
		put_u32(b, count * 50);
		put_noise(f, b, count * 50);
		break;
	case WIRE_KIND_digest:
		byte &= 1;
		buf_put(b, &byte, 1);
		for (int i = 0; i < 4; i++)
			put_u64(b, byte ? below(f, 3) : 0);
		break;
	case WIRE_KIND_texts:
		for (put_u32(b, count); count; count--)
			put_text(f, b, t->name);
		break;
	case WIRE_KIND_u64s:
		for (put_u32(b, count); count; count--)
			put_u64(b, number(f));
		break;
	default:
		for (put_u32(b, count); count; count--) {
			_cleanup_(buf_fini) struct buf record = {0};
			put_body(f, &record, t->record);
			put_u32(b, (uint32_t)record.n);
			buf_put(b, record.at, record.n);
		}
	}
}

static void put_body(struct fuzz *f, struct buf *b, const struct wire_layout *l)
{
	for (const struct wire_field *t = l->fields; t->kind != WIRE_KIND_END; t++)
		put_field(f, b, t);
}

static void damage(struct fuzz *f, struct buf *b)
{
	switch (below(f, 4)) {
	case 0:
		for (uint32_t n = 1 + below(f, 4); n && b->n; n--)
			b->at[below(f, (uint32_t)b->n)] = (uint8_t)next(f);
		break;
	case 1:
		b->n -= below(f, (uint32_t)b->n + 1);
		break;
	case 2:
		put_noise(f, b, 1 + below(f, 30));
		break;
	default:
		if (b->n >= 4) {
			uint32_t at = below(f, (uint32_t)b->n - 3);
			put_le32(b->at + at, UINT32_MAX >> below(f, 32));
		}
	}
}

/* A place where real tasks would go and stay is no damage, but nothing else would be served then. */
static bool is_spoiling(uint16_t type, const struct buf *b)
{
	_cleanup_(wire_arena_fini) struct wire_arena arena = {0};
	struct wire_join m;
	if (type == WIRE_NODE_UPGRADE)
		return true;
	return type == WIRE_JOIN && wire_decode(type, b->at, b->n, &m, &arena) == 0 && m.cores > 1;
}

static uint16_t kind(struct fuzz *f)
{
	size_t n;
	const struct wire_layout *const *all = wire_layouts(&n);
	const struct wire_layout *l;
	if (below(f, 30) == 0)
		return (uint16_t)next(f);
	/* What a client or node begins with, more often: the rest means more then. */
	if (below(f, 6) == 0)
		return f->role == TLS_ROLE_NODE ? WIRE_JOIN : below(f, 2) ? WIRE_ATTACH : WIRE_SUBMIT;
	do
		l = all[below(f, (uint32_t)n)];
	while (!l->number || l->number == WIRE_HELLO || l->number == WIRE_BYE);
	return l->number;
}

static void put_frame(struct fuzz *f, struct buf *out)
{
	_cleanup_(buf_fini) struct buf body = {0};
	struct wire_head h = {.type = kind(f), .id = below(f, 4) ? next(f) % 1000 : 0};
	const struct wire_layout *l = wire_layout(h.type);
	if (l)
		put_body(f, &body, l);
	else
		put_noise(f, &body, below(f, 100));
	if (below(f, 4) == 0)
		damage(f, &body);
	if (is_spoiling(h.type, &body))
		return;
	if (below(f, 20) == 0)
		h.flags = (uint16_t)below(f, 8);
	h.length = below(f, 100) ? (uint32_t)body.n : (uint32_t)next(f);
	wire_put_head(out, &h);
	buf_put(out, body.at, body.n);
	f->n_frames++;
}

/* ---- connections */

static bool wait_for(const struct peer *p, short events, int msec)
{
	struct pollfd fd = {.fd = p->fd, .events = events};
	return poll(&fd, 1, msec) == 1;
}

/* What comes is of no interest, but must be taken. */
static void drain(struct peer *p)
{
	char drop[16384];
	ssize_t n;
	while ((n = p->tls ? tls_read(p->tls, drop, sizeof drop) : recv(p->fd, drop, sizeof drop, MSG_DONTWAIT)) > 0)
		;
	if (n == 0 || (p->tls ? n != -EAGAIN : errno != EAGAIN))
		p->is_closed = true;
}

static void send_all(struct peer *p, struct buf *b)
{
	while (b->n && !p->is_closed) {
		ssize_t n =
			p->tls ? tls_write(p->tls, b->at, b->n) : send(p->fd, b->at, b->n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			buf_consume(b, (size_t)n);
		else if (p->tls ? n != -EAGAIN : errno != EAGAIN)
			p->is_closed = true;
		else if (!wait_for(p, POLLIN | POLLOUT, WAIT_MSEC))
			return;
		if (!p->is_closed)
			drain(p);
	}
}

static bool open_peer(struct fuzz *f, struct peer *p)
{
	int r = -EAGAIN;
	*p = (struct peer){.fd = net_connect(&f->to)};
	if (p->fd < 0 || !wait_for(p, POLLOUT, WAIT_MSEC) || net_connect_error(p->fd))
		return false;
	if (!f->tls_context)
		return true;
	p->tls = tls_connect(f->tls_context, p->fd, TLS_ROLE_VINED);
	while ((r = tls_handshake(p->tls)) == -EAGAIN) {
		if (!wait_for(p, tls_events(p->tls) & 1 ? POLLIN : POLLOUT, WAIT_MSEC))
			break;
	}
	return r == 0;
}

static bool talk(struct fuzz *f, unsigned n_frames)
{
	static const char *const names[] = {"fuzz", "a\nb", "\x1b[31m", "%s", ""};
	_cleanup_(buf_fini) struct buf out = {0};
	struct peer p;
	bool is_open = open_peer(f, &p);
	if (is_open) {
		wire_encode(&out, WIRE_HELLO, 0, 0,
			    &(struct wire_hello){.major = WIRE_MAJOR,
						 .minor = WIRE_MINOR,
						 .role = (uint8_t)f->role,
						 .version = "fuzz",
						 .name = PICK(f, names),
						 .instance = 1 + below(f, 3)});
		for (; n_frames && !p.is_closed; n_frames--) {
			put_frame(f, &out);
			send_all(&p, &out);
		}
		if (!p.is_closed && below(f, 2) && wait_for(&p, POLLIN, LINGER_MSEC))
			drain(&p);
		f->n_closed += p.is_closed;
	}
	tls_free(p.tls);
	close_fd(p.fd);
	return is_open;
}

static int begin(struct fuzz *f, char **argv)
{
	uint8_t secret[SECRET_SIZE];
	struct conf_error e = {""};
	f->role = streq(argv[3], "node") ? TLS_ROLE_NODE : TLS_ROLE_CLIENT;
	if (net_parse(argv[1], &f->to) < 0)
		return -EINVAL;
	if (streq(argv[2], "-"))
		return 0;
	int r = secret_read(argv[2], secret, &e);
	if (!r)
		f->tls_context = tls_context_new(secret, f->role, 1u << TLS_ROLE_VINED);
	return r ? r : f->tls_context ? 0 : -errno;
}

int main(int argc, char **argv)
{
	struct fuzz f = {.role = TLS_ROLE_CLIENT};
	if (argc != 7 || begin(&f, argv) < 0) {
		fprintf(stderr, "usage: fuzzed ADDRESS SECRET_FILE|- client|node SEED CONNECTIONS FRAMES\n");
		return 2;
	}
	unsigned long n = strtoul(argv[5], NULL, 10), i = 0;
	bool is_good = true;
	for (; i < n && is_good; i++) {
		/* Each connection can be had again alone: its seed is the first one's and its number. */
		f.state = strtoull(argv[4], NULL, 10) + i;
		is_good = talk(&f, (unsigned)strtoul(argv[6], NULL, 10));
	}
	if (!is_good)
		fprintf(stderr, "fuzzed: connection %lu was not accepted: %s\n", i, strerror(errno));
	printf("%lu connections, %zu frames, %zu closed by the daemon\n", i, f.n_frames, f.n_closed);
	tls_context_free(f.tls_context);
	return is_good ? 0 : 1;
}
