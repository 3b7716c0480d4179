/* SPDX-License-Identifier: Apache-2.0
 * A peer that asks one thing after the other over vined's Unix socket, for programs of tests. What goes wrong with that ends the program. */
#ifndef TESTS_SYSTEM_TALK_H
#define TESTS_SYSTEM_TALK_H

#include "common/conn.h"

#include <stdio.h>
#include <stdlib.h>

#define TALK_TURN_MSEC 100
#define TALK_ANSWER_USEC 20000000u

struct talk {
	struct loop *loop;
	struct wire_hello hello;
	struct conn *conn;
	bool is_open, is_answered;
	struct call call;
	int error;
	char reason[600];
	uint64_t n_cells;
};

static inline void talk_on_open(struct conn *c, const struct wire_hello *peer)
{
	struct talk *t = conn_owner(c);
	(void)peer;
	t->is_open = true;
}

static inline void talk_on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	(void)c, (void)h, (void)message;
}

static inline void talk_on_close(struct conn *c, int error, const char *reason)
{
	(void)c, (void)error;
	fprintf(stderr, "the connection is gone: %s\n", reason);
	exit(2);
}

static inline void talk_on_reply(struct call *call, int error, uint16_t type, const void *message)
{
	struct talk *t = container_of(call, struct talk, call);
	t->is_answered = true;
	t->error = error;
	snprintf(t->reason, sizeof t->reason, "%s",
		 type == WIRE_STATUS ? ((const struct wire_status *)message)->reason : "taken");
	if (type == WIRE_ROWS)
		t->n_cells = ((const struct wire_rows *)message)->cells.n;
}

static inline void talk_open(struct talk *t, const char *where, enum tls_role role)
{
	static const struct conn_ops ops = {
		.on_open = talk_on_open, .on_message = talk_on_message, .on_close = talk_on_close};
	t->hello = (struct wire_hello){.role = (uint8_t)role, .version = "1", .name = "test", .instance = 7};
	struct net_address to;
	int fd = net_parse(where, &to);
	if (!fd)
		fd = net_connect(&to);
	t->loop = loop_new();
	t->conn = fd >= 0 && t->loop ? conn_new(t->loop, fd, false,
						&(struct conn_options){.ops = &ops, .owner = t, .hello = &t->hello})
				     : NULL;
	while (t->conn && !t->is_open)
		loop_turn(t->loop, TALK_TURN_MSEC);
	if (!t->conn) {
		fprintf(stderr, "%s: no connection\n", where);
		exit(2);
	}
}

static inline void talk_close(struct talk *t)
{
	conn_free(t->conn);
	loop_free(t->loop);
}

static inline int talk_ask(struct talk *t, uint16_t type, const void *message)
{
	t->is_answered = false;
	t->call = (struct call){.on_reply = talk_on_reply};
	int r = call_start(&t->call, t->conn, type, message, TALK_ANSWER_USEC);
	if (r) {
		fprintf(stderr, "a request cannot be sent: %s\n", strerror(-r));
		exit(2);
	}
	while (!t->is_answered)
		loop_turn(t->loop, TALK_TURN_MSEC);
	return t->error;
}

#endif
