/* SPDX-License-Identifier: Apache-2.0
 * Keeps one connection to an address alive: connects, and after a loss again with back-off (50 ms doubling to `most_usec`, each with up to half of jitter). */
#ifndef COMMON_DIAL_H
#define COMMON_DIAL_H

#include "common/conn.h"

struct dial;

struct dial_options {
	struct conn_options
		conn; /* on_open, on_message ... as usual; on_close tells of a loss, the dial frees the conn after it */
	const char *address; /* net_parse; resolved again at each try */
	uint64_t most_usec;  /* 0: 5 s */
	/* A try failed, or the connection was lost: true = try again. NULL: always, unless the peer said BYE final or refused us for good (role, MAJOR, cluster). */
	bool (*on_fail)(void *owner, int error, const char *reason, bool is_final);
};

struct dial *dial_new(struct loop *l, const struct dial_options *o);
void dial_free(struct dial *d);
DEFINE_FREEP(struct dial, dial_free)

/* NULL while there is no open connection. */
struct conn *dial_conn(const struct dial *d);

#endif
