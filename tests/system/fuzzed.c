/* SPDX-License-Identifier: Apache-2.0
 * A peer that knows the secret and then sends whatever comes out of a seed: messages of every kind with extreme and senseless
 * values, some of them damaged. What would only make the test useless is not sent: large offers of cores, commands that do something.
 *
 *   fuzzed ADDRESS SECRET_FILE|- client|node SEED CONNECTIONS FRAMES
 *
 * Prints "C connections, F frames, K closed by the daemon, H times it spoke of a task or item". The same seed sends the same, but for
 * the numbers of tasks, attempts and items that it heard of and speaks of. */
#include "common/secret.h"
#include "tests/system/fuzz_body.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MSEC 5000 /* for the daemon to take or send something */
#define LINGER_MSEC 5  /* for what it has to say */

struct peer {
	int fd;
	struct tls *tls; /* NULL on a Unix socket */
	bool is_closed;
	struct buf in;
	struct wire_arena arena;
};

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
	static const uint16_t of_nodes[] = {WIRE_JOIN,     WIRE_JOIN,    WIRE_ENDED, WIRE_ENDED,
					    WIRE_REPLICAS, WIRE_FETCHED, WIRE_HOT};
	static const uint16_t of_clients[] = {WIRE_ATTACH,  WIRE_ATTACH, WIRE_SUBMIT, WIRE_SUBMIT, WIRE_DONE,
					      WIRE_ABANDON, WIRE_QUERY,  WIRE_SET,    WIRE_FORGET, WIRE_READ_OUTPUT};
	size_t n;
	const struct wire_layout *const *all = wire_layouts(&n);
	const struct wire_layout *l;
	if (below(f, 60) == 0)
		return (uint16_t)next(f);
	/* What is taken from such a peer, more often, and what it begins with most of all. */
	if (below(f, 2) == 0)
		return f->role == TLS_ROLE_NODE ? PICK(f, of_nodes) : PICK(f, of_clients);
	do
		l = all[below(f, (uint32_t)n)];
	while (!l->number || l->number == WIRE_HELLO || l->number == WIRE_BYE || l->number == WIRE_DATA);
	return l->number;
}

static void put_frame(struct fuzz *f, struct buf *out)
{
	_cleanup_(buf_fini) struct buf body = {0};
	struct wire_head h = {.type = kind(f), .id = below(f, 4) ? next(f) % 1000 : 0};
	f->about = f->n_known ? below(f, (uint32_t)min(f->n_known, (size_t)KNOWN_MOST)) : 0;
	const struct wire_layout *l = wire_layout(h.type);
	if (l)
		put_body(f, &body, l);
	else
		put_noise(f, &body, below(f, 100));
	/* Rarely: most of it ends the connection, and what comes after it is not heard. */
	if (below(f, 25) == 0)
		damage(f, &body);
	if (is_spoiling(h.type, &body))
		return;
	if (below(f, 50) == 0)
		h.flags = (uint16_t)below(f, 8);
	h.length = below(f, 300) ? (uint32_t)body.n : (uint32_t)next(f);
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

static void learn(struct fuzz *f, uint64_t attempt, uint64_t task, uint64_t item)
{
	f->n_heard++;
	f->known[f->n_known++ % KNOWN_MOST] = (struct known){attempt, task, item};
}

static void learn_from(struct fuzz *f, struct peer *p, const struct wire_head *h, const uint8_t *body)
{
	union {
		struct wire_start start;
		struct wire_fetch fetch;
		struct wire_submitted submitted;
		struct wire_result result;
	} m;
	bool is_of_use =
		h->type == WIRE_START || h->type == WIRE_FETCH || h->type == WIRE_SUBMITTED || h->type == WIRE_RESULT;
	if (!is_of_use || wire_decode(h->type, body, h->length, &m, &p->arena) < 0)
		return;
	if (h->type == WIRE_START)
		learn(f, m.start.attempt, m.start.task, m.start.inputs.n ? m.start.inputs.at[0].item : 1);
	else if (h->type == WIRE_FETCH)
		learn(f, 1, 1, m.fetch.item);
	else if (h->type == WIRE_RESULT)
		learn(f, m.result.attempt, m.result.task, 1);
	else if (m.submitted.ids.n)
		learn(f, 1, m.submitted.ids.at[0], 1);
	wire_arena_reset(&p->arena);
}

static void drain(struct fuzz *f, struct peer *p)
{
	struct wire_head h;
	ssize_t n;
	for (;;) {
		uint8_t *to = buf_reserve(&p->in, 16384);
		n = p->tls ? tls_read(p->tls, to, 16384) : recv(p->fd, to, 16384, MSG_DONTWAIT);
		if (n <= 0)
			break;
		buf_grew(&p->in, (size_t)n);
	}
	if (n == 0 || (p->tls ? n != -EAGAIN : errno != EAGAIN))
		p->is_closed = true;
	while (p->in.n >= WIRE_HEAD_SIZE) {
		wire_get_head(p->in.at, &h);
		if (p->in.n < WIRE_HEAD_SIZE + (size_t)h.length)
			return;
		learn_from(f, p, &h, p->in.at + WIRE_HEAD_SIZE);
		buf_consume(&p->in, WIRE_HEAD_SIZE + (size_t)h.length);
	}
}

static void send_all(struct fuzz *f, struct peer *p, struct buf *b)
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
			drain(f, p);
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
	f->n_known = 0;
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
			send_all(f, &p, &out);
			if (!p.is_closed && below(f, 6) == 0 && wait_for(&p, POLLIN, LINGER_MSEC))
				drain(f, &p);
		}
		f->n_closed += p.is_closed;
	}
	tls_free(p.tls);
	close_fd(p.fd);
	buf_fini(&p.in);
	wire_arena_fini(&p.arena);
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
	printf("%lu connections, %zu frames, %zu closed by the daemon, %zu times it spoke of a task or item\n", i,
	       f.n_frames, f.n_closed, f.n_heard);
	tls_context_free(f.tls_context);
	return is_good ? 0 : 1;
}
