/* SPDX-License-Identifier: Apache-2.0
 * Bytes on their way through vined, from who has them to who asked: a node's output, a tree that only a node or only a client has. Nothing is
 * kept: who gives the bytes gets credit again when who wants them has taken them, so that no more than one stream's window is held here. */
#ifndef VINED_RELAY_H
#define VINED_RELAY_H

#include "common/conn.h"

#define RELAYS_MOST 32u /* of one connection at once */

struct relay_ask {
	struct list *all; /* of the connection that asked: relay_cancel and relay_stop find it there */
	struct conn *to;
	uint64_t id;
	struct conn *from;
	const char *whom; /* it is, for people */
	uint16_t type;
	const void *message;
	uint64_t timeout_usec; /* of the answer, and of each silence after it */
	/* Bytes come; may be NULL. */
	void (*on_bytes)(void *arg, const struct digest *tree);
	void *arg;
	struct digest tree;
};

/* Asks the one and answers the other, with the answer and the stream behind it, or why there is none. */
void relay_start(const struct relay_ask *ask);
/* Who asked wants it no more. */
void relay_cancel(struct list *all, uint64_t id);
/* Who asked is gone. */
void relay_stop(struct list *all);

#endif
