/* SPDX-License-Identifier: Apache-2.0
 * connected -> a ticket has come -> its bytes are sent -> the next ticket. Whoever is late, or wrong, is hung up on. */
#include "vinefs/plain.h"

#include "common/log.h"
#include "common/secret.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#define GUESTS_MOST 512u
#define TICKETS_MOST 512u /* each has a descriptor */
#define BACKLOG 128
#define PER_TURN 64u
#define FIRST_USEC 5000000u /* to say the first */
#define NEXT_USEC 30000000u /* to say another: who has said one is of the cluster */
#define PAUSE_USEC 100000u  /* while nobody can be accepted */

struct plain {
	struct loop *loop;
	int fd;
	char address[NET_TEXT_SIZE];
	struct watch watch;
	struct timer pause;
	struct list guests, tickets; /* those that nobody has said yet: the oldest first */
	unsigned n_guests, n_tickets;
	struct timer timer; /* until the oldest is no good */
	uint64_t gone;      /* with those who left */
};

struct plain_guest {
	struct list link;
	struct plain *owner;
	int fd;
	struct watch watch;
	struct timer timer;
	uint8_t said[PLAIN_TICKET_SIZE];
	size_t n_said;
	struct plain_ticket *ticket; /* NULL: it is awaited */
	uint64_t sent;
};

/* ---- who comes */

static void guest_free(struct plain_guest *g)
{
	struct plain *p = g->owner;
	assert(p->n_guests && !g->ticket);
	p->n_guests--;
	p->gone += g->sent;
	list_remove(&g->link);
	watch_stop(&g->watch);
	timer_stop(&g->timer);
	close_fd(g->fd);
	free(g);
}

static void ticket_end(struct plain_ticket *t)
{
	if (t->guest) {
		t->guest->ticket = NULL;
	} else {
		list_remove(&t->link);
		t->owner->n_tickets--;
	}
	t->guest = NULL;
	t->owner = NULL;
}

static void on_late(struct timer *t)
{
	guest_free(container_of(t, struct plain_guest, timer));
}

/* Every byte is looked at, whatever was guessed. */
static bool is_equal(const uint8_t *a, const uint8_t *b)
{
	uint8_t differs = 0;
	for (size_t i = 0; i < PLAIN_TICKET_SIZE; i++)
		differs |= a[i] ^ b[i];
	return !differs;
}

static struct plain_ticket *find(const struct plain *p, const uint8_t *said)
{
	struct plain_ticket *found = NULL;
	list_foreach (&p->tickets, struct plain_ticket, link, t) {
		if (is_equal(t->secret, said))
			found = t;
	}
	return found && found->until_usec > loop_now_usec(p->loop) ? found : NULL;
}

static void on_ready(struct watch *w, uint32_t events);

static void on_said(struct plain_guest *g)
{
	struct plain *p = g->owner;
	struct plain_ticket *t = find(p, g->said);
	if (!t) {
		log_debug("plain: a ticket that is none, or no more");
		guest_free(g);
		return;
	}
	timer_stop(&g->timer);
	list_remove(&t->link);
	p->n_tickets--;
	g->n_said = 0;
	g->ticket = t;
	t->guest = g;
	watch_change(&g->watch, 0);
	t->on_ready(t);
}

static void listen_to(struct plain_guest *g)
{
	ssize_t n = recv(g->fd, g->said + g->n_said, PLAIN_TICKET_SIZE - g->n_said, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		guest_free(g);
		return;
	}
	g->n_said += (size_t)n;
	if (g->n_said == PLAIN_TICKET_SIZE)
		on_said(g);
}

static void on_ready(struct watch *w, uint32_t events)
{
	struct plain_guest *g = container_of(w, struct plain_guest, watch);
	(void)events;
	if (g->ticket) {
		watch_change(w, 0);
		g->ticket->on_ready(g->ticket);
	} else {
		listen_to(g);
	}
}

static void guest_new(struct plain *p, int fd)
{
	static const int on = 1;
	struct plain_guest *g = NEW(struct plain_guest);
	g->owner = p;
	g->fd = fd;
	/* The last byte of a chunk goes by itself. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	list_init(&g->link);
	list_append(&p->guests, &g->link);
	p->n_guests++;
	timer_start(&g->timer, p->loop, FIRST_USEC, on_late);
	if (watch_start(&g->watch, p->loop, fd, EPOLLIN, on_ready))
		guest_free(g);
}

static void on_pause_over(struct timer *t)
{
	watch_change(&container_of(t, struct plain, pause)->watch, EPOLLIN);
}

static void on_arrival(struct watch *w, uint32_t events)
{
	struct plain *p = container_of(w, struct plain, watch);
	(void)events;
	for (unsigned i = 0; i < PER_TURN; i++) {
		int fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
			/* The kernel goes on announcing them. */
			watch_change(w, 0);
			timer_start(&p->pause, p->loop, PAUSE_USEC, on_pause_over);
		}
		if (fd < 0)
			return;
		if (p->n_guests == GUESTS_MOST)
			close(fd);
		else
			guest_new(p, fd);
	}
}

/* ---- tickets */

static void on_timer(struct timer *timer)
{
	struct plain *p = container_of(timer, struct plain, timer);
	uint64_t now = loop_now_usec(p->loop);
	struct plain_ticket *t;
	while ((t = list_first(&p->tickets, struct plain_ticket, link)) && t->until_usec <= now) {
		ticket_end(t);
		t->on_over(t, -ETIMEDOUT);
	}
	if (t)
		timer_start(timer, p->loop, t->until_usec - now, on_timer);
}

int plain_offer(struct plain *p, struct plain_ticket *t, int fd, uint64_t offset, uint64_t size)
{
	assert(!t->owner && size && t->on_ready && t->on_over);
	if (p->n_tickets == TICKETS_MOST)
		return -EAGAIN;
	t->owner = p;
	t->guest = NULL;
	t->fd = fd;
	t->offset = offset;
	t->rest = size;
	t->until_usec = loop_now_usec(p->loop) + PLAIN_TICKET_USEC;
	secret_random(t->secret, sizeof t->secret);
	list_init(&t->link);
	list_append(&p->tickets, &t->link);
	p->n_tickets++;
	if (!p->timer.loop)
		timer_start(&p->timer, p->loop, PLAIN_TICKET_USEC, on_timer);
	return 0;
}

void plain_revoke(struct plain_ticket *t)
{
	struct plain_guest *g = t->owner ? t->guest : NULL;
	if (t->owner)
		ticket_end(t);
	if (g)
		guest_free(g);
}

ssize_t plain_send(struct plain_ticket *t, uint64_t n)
{
	struct plain_guest *g = t->guest;
	assert(t->owner && g && g->ticket == t && n && n <= t->rest);
	off_t at = (off_t)t->offset;
	ssize_t sent = sendfile(g->fd, t->fd, &at, (size_t)n);
	if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
		watch_change(&g->watch, EPOLLOUT);
		return 0;
	}
	if (sent <= 0) {
		int error = sent < 0 ? -errno : -EIO; /* cut */
		plain_revoke(t);
		return error;
	}
	t->offset += (uint64_t)sent;
	t->rest -= (uint64_t)sent;
	g->sent += (uint64_t)sent;
	if (!t->rest) {
		ticket_end(t);
		timer_start(&g->timer, g->owner->loop, NEXT_USEC, on_late);
		watch_change(&g->watch, EPOLLIN);
	} else if ((uint64_t)sent < n) {
		watch_change(&g->watch, EPOLLOUT);
	}
	return sent;
}

void plain_progress(const struct plain *p, uint64_t *gone, uint64_t *pending)
{
	*gone = p->gone;
	*pending = 0;
	list_foreach (&p->guests, struct plain_guest, link, g) {
		int n = 0;
		if (!g->sent || ioctl(g->fd, SIOCOUTQ, &n) < 0)
			n = 0;
		*gone += g->sent - min(g->sent, (uint64_t)n);
		*pending += (uint64_t)n;
	}
}

unsigned plain_n_guests(const struct plain *p)
{
	return p->n_guests;
}

/* ---- life */

static int listen_beside(const char *address, char found[NET_TEXT_SIZE])
{
	struct net_address a;
	int r = net_parse(address, &a);
	if (r < 0)
		return r;
	if (a.at.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&a.at)->sin6_port = 0;
	else
		((struct sockaddr_in *)&a.at)->sin_port = 0;
	int fd = net_listen(&a, BACKLOG);
	if (fd >= 0 && (r = net_own_address(fd, &a)) == 0)
		net_text(&a, found);
	if (fd >= 0 && r < 0)
		close_fd(fd);
	return r < 0 ? r : fd;
}

struct plain *plain_new(struct loop *l, const char *address)
{
	struct plain *p = NEW(struct plain);
	p->loop = l;
	list_init(&p->guests);
	list_init(&p->tickets);
	p->fd = listen_beside(address, p->address);
	int r = p->fd < 0 ? p->fd : watch_start(&p->watch, l, p->fd, EPOLLIN, on_arrival);
	if (r < 0) {
		plain_free(p);
		errno = -r;
		return NULL;
	}
	return p;
}

void plain_free(struct plain *p)
{
	if (!p)
		return;
	assert(!p->n_tickets);
	while (!list_is_empty(&p->guests))
		guest_free(list_first(&p->guests, struct plain_guest, link));
	watch_stop(&p->watch);
	timer_stop(&p->pause);
	timer_stop(&p->timer);
	close_fd(p->fd);
	free(p);
}

const char *plain_address(const struct plain *p)
{
	return p->address;
}
