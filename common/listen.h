/* SPDX-License-Identifier: Apache-2.0
 * A listening socket: accepts within a budget per turn, holds at most so many connections that have not opened yet (the others wait in
 * the kernel; one that has not opened for long goes then), compares the uid on a Unix socket, logs each refused peer once with its address and reason. */
#ifndef COMMON_LISTEN_H
#define COMMON_LISTEN_H

#include "common/conn.h"

struct listener;

struct listener_options {
	struct conn_options
		conn;           /* for what it accepts; ops->on_open decides what becomes of a connection (conn_set) */
	unsigned most_unopened; /* 0: 1024 */
	unsigned per_turn;      /* 0: 64 */
};

/* Takes over fd. A connection that closes before on_open is freed by the listener; one that has opened is the owner's, from on_open on. */
struct listener *listener_new(struct loop *l, int fd, const struct listener_options *o);
void listener_free(struct listener *s);
DEFINE_FREEP(struct listener, listener_free)

#endif
