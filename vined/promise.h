/* SPDX-License-Identifier: Apache-2.0
 * A request that is answered once what it asks for is on disk. It outlives its connection: then nobody is answered. */
#ifndef VINED_PROMISE_H
#define VINED_PROMISE_H

#include "common/conn.h"
#include "common/list.h"

struct promise {
	struct list link;  /* in the list of its connection's owner */
	struct conn *conn; /* NULL once that is gone */
	uint64_t id;
};

/* For the request `id` of `c`; `all` is the list that promise_forget_all gets when the connection is closed. */
struct promise *promise_new(struct list *all, struct conn *c, uint64_t id);
void promise_forget_all(struct list *all);

/* Each answers and frees it; NULL is allowed. */
void promise_keep(struct promise *p, uint16_t type, const void *message);
void promise_status(struct promise *p, int error, const char *fmt, ...) _printf_(3, 4);
/* The answer when a commit has failed (-errno), or 0. */
void promise_stored(struct promise *p, int error);

#endif
