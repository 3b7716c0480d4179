/* SPDX-License-Identifier: Apache-2.0 */
#include "vined/promise.h"

#include <stdarg.h>
#include <stdio.h>

struct promise *promise_new(struct list *all, struct conn *c, uint64_t id)
{
	struct promise *p = NEW(struct promise);
	assert(c);
	p->conn = c;
	p->id = id;
	list_init(&p->link);
	list_append(all, &p->link);
	return p;
}

/* The store still holds them; it frees each when it has done what was asked. */
void promise_forget_all(struct list *all)
{
	list_foreach (all, struct promise, link, p) {
		p->conn = NULL;
		list_remove(&p->link);
	}
	assert(list_is_empty(all));
}

static void promise_free(struct promise *p)
{
	list_remove(&p->link);
	free(p);
}

void promise_keep(struct promise *p, uint16_t type, const void *message)
{
	if (!p)
		return;
	if (p->conn)
		conn_reply(p->conn, p->id, type, message);
	promise_free(p);
}

void promise_status(struct promise *p, int error, const char *fmt, ...)
{
	char text[512];
	va_list args;
	if (!p)
		return;
	assert(error >= 0);
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	if (p->conn)
		conn_reply_status(p->conn, p->id, error, "%s", text);
	promise_free(p);
}

void promise_stored(struct promise *p, int error)
{
	if (error)
		promise_status(p, -error, "cannot store: %s", strerror(-error));
	else
		promise_status(p, 0, "%s", "");
}
