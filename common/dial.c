/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dial.h"
#include "common/conn_internal.h"
#include "common/secret.h"

#include <stdio.h>

#define DIAL_LEAST_USEC 50000u
#define DIAL_MOST_USEC 5000000u

struct dial {
	struct loop *loop;
	struct timer timer;
	struct conn_guard guard;
	struct dial_options options;
	char *address;
	struct conn *conn;
	uint64_t wait_usec; /* before the next try */
	uint64_t opened_usec;
	bool is_calling, is_freed; /* on_fail may free the dial */
};

static void on_timer(struct timer *t);

/* Half of it is chance, so that a thousand nodes do not come back in one moment. */
static uint64_t with_jitter(uint64_t usec)
{
	uint32_t chance;
	secret_random(&chance, sizeof chance);
	return usec - usec / 2 * chance / UINT32_MAX;
}

/* The dial may be gone afterwards. */
static void failed(struct dial *d, int error, const char *reason, bool is_final)
{
	bool again = !is_final;
	assert(!d->conn && !d->is_calling);
	if (d->options.on_fail) {
		d->is_calling = true;
		again = d->options.on_fail(d->options.conn.owner, error, reason, is_final);
		d->is_calling = false;
	}
	if (d->is_freed) {
		free(d);
		return;
	}
	if (!again)
		return;
	timer_start(&d->timer, d->loop, with_jitter(d->wait_usec), on_timer);
	d->wait_usec = min(d->wait_usec * 2, d->options.most_usec);
}

static void on_open(struct conn_guard *g, struct conn *c)
{
	struct dial *d = container_of(g, struct dial, guard);
	assert(d->conn == c);
	d->opened_usec = loop_now_usec(c->loop);
}

static void on_close(struct conn_guard *g, struct conn *c, int error, const char *reason)
{
	struct dial *d = container_of(g, struct dial, guard);
	assert(d->conn == c);
	/* One that opened and broke at once is no success: whoever is turned away does not come faster for it. */
	if (d->opened_usec && loop_now_usec(c->loop) - d->opened_usec > d->wait_usec)
		d->wait_usec = min((uint64_t)DIAL_LEAST_USEC, d->options.most_usec);
	d->conn = NULL;
	d->opened_usec = 0;
	char text[sizeof c->reason];
	snprintf(text, sizeof text, "%s", reason);
	bool is_final = conn_is_final(c);
	conn_free(c);
	failed(d, error, text, is_final);
}

static void on_timer(struct timer *t)
{
	struct dial *d = container_of(t, struct dial, timer);
	struct net_address a;
	char text[192];
	assert(!d->conn);
	int r = net_parse(d->address, &a);
	if (r == 0)
		r = net_connect(&a);
	if (r >= 0) {
		d->conn = conn_new(d->loop, r, false, &d->options.conn);
		r = d->conn ? 0 : -errno;
	}
	if (r < 0) {
		snprintf(text, sizeof text, "%.120s: %s", d->address, strerror(-r));
		failed(d, r, text, r == -EINVAL);
		return;
	}
	conn_guard_set(d->conn, &d->guard);
}

struct dial *dial_new(struct loop *l, const struct dial_options *o)
{
	assert(o->address && o->conn.ops);
	struct dial *d = NEW(struct dial);
	d->loop = l;
	d->options = *o;
	d->address = xstrdup(o->address);
	d->options.address = d->address;
	if (!d->options.most_usec)
		d->options.most_usec = DIAL_MOST_USEC;
	d->wait_usec = min((uint64_t)DIAL_LEAST_USEC, d->options.most_usec);
	d->guard.on_open = on_open;
	d->guard.on_close = on_close;
	/* Not here and now: the caller has no dial yet that a callback could speak of. */
	timer_start(&d->timer, l, 0, on_timer);
	return d;
}

void dial_free(struct dial *d)
{
	if (!d || d->is_freed)
		return;
	timer_stop(&d->timer);
	if (d->conn) {
		conn_guard_set(d->conn, NULL);
		conn_free(steal(d->conn));
	}
	free(d->address);
	d->is_freed = true;
	if (!d->is_calling)
		free(d);
}

struct conn *dial_conn(const struct dial *d)
{
	return d->conn && conn_is_open(d->conn) ? d->conn : NULL;
}
