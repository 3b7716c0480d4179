/* SPDX-License-Identifier: Apache-2.0
 * Two ends of a connection in one loop, for the tests of what speaks over one. */
#ifndef TESTS_UNIT_ENDS_H
#define TESTS_UNIT_ENDS_H

#include "common/conn.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const uint8_t ends_secret[TLS_SECRET_SIZE] = "the secret of the tests, 32 long";

struct end {
	struct conn *conn;
	bool is_open, is_closed, frees_on_close;
	int error;
	unsigned n_messages, n_closed, n_room, n_cancelled;
	uint64_t cancelled_id;
	bool is_final;
	char reason[256];
	char peer_name[64];
	/* May be NULL. */
	void (*on_open)(struct end *e);
	void (*on_message)(struct end *e, const struct wire_head *h, const void *message);
	void (*on_close)(struct end *e);
	void *arg;
};

static void end_on_open(struct conn *c, const struct wire_hello *peer)
{
	struct end *e = conn_owner(c);
	e->conn = c;
	e->is_open = true;
	snprintf(e->peer_name, sizeof e->peer_name, "%s", peer->name);
	if (e->on_open)
		e->on_open(e);
}

static void end_on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	struct end *e = conn_owner(c);
	e->n_messages++;
	if (e->on_message)
		e->on_message(e, h, message);
}

static void end_on_cancel(struct conn *c, uint64_t id)
{
	struct end *e = conn_owner(c);
	e->n_cancelled++;
	e->cancelled_id = id;
}

static void end_on_room(struct conn *c)
{
	struct end *e = conn_owner(c);
	e->n_room++;
}

static void end_on_close(struct conn *c, int error, const char *reason)
{
	struct end *e = conn_owner(c);
	e->is_closed = true;
	e->is_open = false;
	e->n_closed++;
	e->error = error;
	e->is_final = conn_is_final(c);
	snprintf(e->reason, sizeof e->reason, "%s", reason);
	if (e->on_close)
		e->on_close(e);
	if (e->frees_on_close) {
		e->conn = NULL;
		conn_free(c);
	}
}

static const struct conn_ops end_ops = {
	.on_open = end_on_open,
	.on_message = end_on_message,
	.on_cancel = end_on_cancel,
	.on_room = end_on_room,
	.on_close = end_on_close,
};

static const struct wire_hello hello_vined = {.role = TLS_ROLE_VINED, .version = "1.2.3", .cluster = "c1", .name = "v"};
static const struct wire_hello hello_node = {.role = TLS_ROLE_NODE, .version = "1.2.4", .cluster = "c1", .name = "w"};

static inline uint64_t real_usec(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* A clock that a test moves on; it goes by itself too, unless it stands still since some time. */
static uint64_t ends_skipped_usec, ends_still_usec;

static inline uint64_t ends_clock(void *arg)
{
	(void)arg;
	return (ends_still_usec ? ends_still_usec : real_usec()) + ends_skipped_usec;
}

/* What is due is then due by the test's doing alone, however busy the machine is. */
static inline void ends_stand_still(void)
{
	ends_still_usec = real_usec();
}

/* Turns the loop until the condition holds; its value at the end. */
#define UNTIL(loop, condition)                                                  \
	({                                                                      \
		uint64_t until_end = real_usec() + UNIT_PATIENCE_USEC;          \
		bool until_holds;                                               \
		while (!(until_holds = (condition)) && real_usec() < until_end) \
			loop_turn(loop, 5);                                     \
		until_holds;                                                    \
	})

/* Two connected TCP sockets over loopback. */
static inline void tcp_pair(int fd[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(l, (struct sockaddr *)&a, n) || listen(l, 1) || getsockname(l, (struct sockaddr *)&a, &n))
		abort();
	fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd[0], (struct sockaddr *)&a, n))
		abort();
	fd[1] = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	if (fd[1] < 0)
		abort();
	close(l);
}

static inline void unix_pair(int fd[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
		abort();
}

/* The two ends: `node` connects, `vined` accepts. */
struct ends {
	struct loop *loop;
	struct tls_context *tls_node, *tls_vined;
	struct end node, vined;
	struct conn_options node_options, vined_options;
};

static inline void ends_init(struct ends *e, bool has_tls)
{
	memset(e, 0, sizeof *e);
	ends_skipped_usec = ends_still_usec = 0;
	e->loop = loop_new();
	loop_set_clock(e->loop, ends_clock, NULL);
	if (has_tls) {
		e->tls_node = tls_context_new(ends_secret, TLS_ROLE_NODE, 1u << TLS_ROLE_VINED);
		e->tls_vined =
			tls_context_new(ends_secret, TLS_ROLE_VINED, 1u << TLS_ROLE_NODE | 1u << TLS_ROLE_CLIENT);
	}
	e->node_options = (struct conn_options){.ops = &end_ops,
						.owner = &e->node,
						.tls = e->tls_node,
						.hello = &hello_node,
						.peer = TLS_ROLE_VINED,
						.cluster = "c1"};
	e->vined_options = (struct conn_options){
		.ops = &end_ops, .owner = &e->vined, .tls = e->tls_vined, .hello = &hello_vined, .cluster = "c1"};
}

static inline void ends_connect(struct ends *e)
{
	int fd[2];
	if (e->tls_node)
		tcp_pair(fd);
	else
		unix_pair(fd);
	e->node.conn = conn_new(e->loop, fd[0], false, &e->node_options);
	e->vined.conn = conn_new(e->loop, fd[1], true, &e->vined_options);
}

static inline bool ends_open(struct ends *e)
{
	ends_connect(e);
	return UNTIL(e->loop, (e->node.is_open && e->vined.is_open) || e->node.is_closed || e->vined.is_closed) &&
	       e->node.is_open && e->vined.is_open;
}

static inline void ends_fini(struct ends *e)
{
	conn_free(e->node.conn);
	conn_free(e->vined.conn);
	tls_context_free(e->tls_node);
	tls_context_free(e->tls_vined);
	loop_free(e->loop);
}

#endif
