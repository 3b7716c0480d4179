/* SPDX-License-Identifier: Apache-2.0
 * Bytes that come beside a connection, where nothing is encrypted: connected to the giver's plain port -> the ticket is sent -> exactly so many bytes come, or it is over; then the next ticket. What they are worth their digest says.
 */
#include "common/net.h"
#include "vinefs/fetch/pull.h"

#include <sys/epoll.h>
#include <unistd.h>

#define TICKET_MOST 64u
#define OPEN_USEC \
	3000000u /* who does not answer by then may be behind a filter: the bytes come on the connection then */
#define IDLE_USEC 10000000u /* kept so long with no ticket to send */

struct plain {
	struct list link; /* of fetch_peers */
	struct fetch_peers *owner;
	char *address;
	int fd;
	struct watch watch;
	struct timer timer;
	struct some *of; /* NULL: idle */
	uint8_t ticket[TICKET_MOST];
	size_t n_ticket, n_sent;
	bool is_open;
};

static void plain_free(struct plain *x)
{
	watch_stop(&x->watch);
	timer_stop(&x->timer);
	list_remove(&x->link);
	close_fd(x->fd);
	free(x->address);
	free(x);
}

/* x may be gone afterwards. */
static void over(struct plain *x, int error)
{
	struct some *s = steal(x->of);
	if (s)
		s->plain = NULL;
	if (error)
		plain_free(x);
	if (s)
		some_plain_over(s, error);
}

static void on_timer(struct timer *t)
{
	over(container_of(t, struct plain, timer), -ETIMEDOUT);
}

static void be_idle(struct plain *x)
{
	watch_change(&x->watch, EPOLLIN);
	timer_start(&x->timer, x->owner->settings.loop, IDLE_USEC, on_timer);
	over(x, 0);
}

static int send_ticket(struct plain *x)
{
	if (!x->is_open) {
		int r = net_connect_error(x->fd);
		if (r)
			return r;
		x->is_open = true;
		timer_start(&x->timer, x->owner->settings.loop, x->owner->settings.silent_usec, on_timer);
	}
	ssize_t n = send(x->fd, x->ticket + x->n_sent, x->n_ticket - x->n_sent, MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	x->n_sent += (size_t)n;
	if (x->n_sent == x->n_ticket)
		watch_change(&x->watch, EPOLLIN);
	return 0;
}

/* 1: all of it has come. */
static int receive(struct plain *x)
{
	struct some *s = x->of;
	ssize_t n = recv(x->fd, s->bytes + s->have, s->size - s->have, 0);
	if (n == 0)
		return -ECONNRESET;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	s->have += (size_t)n;
	timer_start(&x->timer, x->owner->settings.loop, x->owner->settings.silent_usec, on_timer);
	return s->have == s->size;
}

static void on_ready(struct watch *w, uint32_t events)
{
	struct plain *x = container_of(w, struct plain, watch);
	int r = 0;
	(void)events;
	if (!x->of) /* whoever speaks or goes without being asked */
		r = -ECONNRESET;
	else if (x->n_sent < x->n_ticket)
		r = send_ticket(x);
	else
		r = receive(x);
	if (r < 0)
		over(x, r);
	else if (r > 0)
		be_idle(x);
}

static struct plain *plain_get(struct fetch_peers *f, const char *address)
{
	struct net_address a;
	list_foreach (&f->plains, struct plain, link, x) {
		if (!x->of && streq(x->address, address))
			return x;
	}
	int fd = net_parse(address, &a) == 0 && !net_is_local(&a) ? net_connect(&a) : -1;
	if (fd < 0)
		return NULL;
	struct plain *x = NEW(struct plain);
	x->owner = f;
	x->fd = fd;
	x->address = xstrdup(address);
	list_init(&x->link);
	list_append(&f->plains, &x->link);
	if (watch_start(&x->watch, f->settings.loop, fd, EPOLLOUT, on_ready)) {
		plain_free(x);
		return NULL;
	}
	return x;
}

int pull_plain_start(struct some *s, const char *address, const void *ticket, size_t n)
{
	struct fetch_peers *f = s->pull->owner;
	if (n > TICKET_MOST)
		return -EPROTO;
	struct plain *x = plain_get(f, address);
	if (!x)
		return -EHOSTUNREACH;
	memcpy(x->ticket, ticket, n);
	x->n_ticket = n;
	x->n_sent = 0;
	x->of = s;
	s->plain = x;
	watch_change(&x->watch, EPOLLOUT);
	timer_start(&x->timer, f->settings.loop, x->is_open ? f->settings.silent_usec : OPEN_USEC, on_timer);
	return 0;
}

void pull_plain_stop(struct some *s)
{
	struct plain *x = steal(s->plain);
	if (!x)
		return;
	x->of = NULL;
	plain_free(x);
}

void pull_plains_stop(struct fetch_peers *f)
{
	list_foreach (&f->plains, struct plain, link, x)
		plain_free(x);
}
