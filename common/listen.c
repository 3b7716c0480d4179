/* SPDX-License-Identifier: Apache-2.0 */
#include "common/listen.h"
#include "common/conn_internal.h"
#include "common/log.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#define LISTEN_UNOPENED_MOST 1024
#define LISTEN_PER_TURN 64
#define LISTEN_PAUSE_USEC 100000u /* when descriptors or memory are out */
#define LISTEN_CROWD_USEC 10000u  /* when as many as may wait to open */
#define LISTEN_PATIENCE_USEC (CONN_HANDSHAKE_USEC / 2)
#define LISTEN_LINES_PER_SEC 20

struct listener {
	struct loop *loop;
	struct watch watch;
	struct timer pause;
	struct listener_options options;
	struct list unopened; /* oldest first */
	unsigned n_unopened;
	struct log_limit refused, exhausted, crowded;
};

/* One that has not said who it is. */
struct unopened {
	struct conn_guard guard;
	struct list link;
	struct listener *listener;
	struct conn *conn;
	uint64_t since_usec;
};

static void unopened_free(struct unopened *u)
{
	assert(u->listener->n_unopened > 0);
	u->listener->n_unopened--;
	list_remove(&u->link);
	free(u);
}

static void on_open(struct conn_guard *g, struct conn *c)
{
	conn_guard_set(c, NULL);
	unopened_free(container_of(g, struct unopened, guard));
}

static void on_close(struct conn_guard *g, struct conn *c, int error, const char *reason)
{
	struct unopened *u = container_of(g, struct unopened, guard);
	assert(u->conn == c);
	(void)error;
	log_limited(&u->listener->refused, LISTEN_LINES_PER_SEC, LOG_LEVEL_WARN, "refused %s: %s", conn_peer_name(c),
		    reason);
	unopened_free(u);
	conn_free(c);
}

static bool is_same_user(struct listener *s, int fd)
{
	struct net_address a;
	uid_t uid = 0;
	pid_t pid = 0;
	if (net_own_address(fd, &a) < 0 || !net_is_local(&a))
		return true;
	if (net_peer_user(fd, &uid, &pid) == 0 && uid == geteuid())
		return true;
	log_limited(&s->refused, LISTEN_LINES_PER_SEC, LOG_LEVEL_WARN,
		    "refused uid %u pid %d: another user on the local socket", (unsigned)uid, (int)pid);
	return false;
}

/* In a crowd who waited longer than he would has gone; a handshake with him would only make the next ones wait as long. */
static bool has_gone(const struct listener *s, int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLRDHUP};
	return s->n_unopened > s->options.most_unopened / 2 && poll(&p, 1, 0) > 0 &&
	       (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static void take(struct listener *s, int fd)
{
	if (has_gone(s, fd) || !is_same_user(s, fd)) {
		close_fd(fd);
		return;
	}
	struct conn *c = conn_new(s->loop, fd, true, &s->options.conn);
	if (!c)
		return;
	struct unopened *u = NEW(struct unopened);
	u->guard.on_open = on_open;
	u->guard.on_close = on_close;
	u->listener = s;
	u->conn = c;
	u->since_usec = loop_now_usec(s->loop);
	list_init(&u->link);
	list_append(&s->unopened, &u->link);
	s->n_unopened++;
	conn_guard_set(c, &u->guard);
}

static void on_pause_over(struct timer *t)
{
	struct listener *s = container_of(t, struct listener, pause);
	watch_change(&s->watch, EPOLLIN);
}

static void pause_accepting(struct listener *s, uint64_t usec)
{
	watch_change(&s->watch, 0);
	timer_start(&s->pause, s->loop, usec, on_pause_over);
}

/* A storm of good peers, as after a restart, opens as fast as we can; were it to push out its own oldest, nobody would come through. */
static bool has_room(struct listener *s)
{
	if (s->n_unopened < s->options.most_unopened)
		return true;
	struct unopened *oldest = list_first(&s->unopened, struct unopened, link);
	if (loop_now_usec(s->loop) - oldest->since_usec < LISTEN_PATIENCE_USEC)
		return false;
	conn_abort(oldest->conn, -EBUSY, "too many wait to open, and it has for longest");
	return true;
}

/* The kernel goes on announcing what cannot be accepted: without a pause the loop would spin. */
static void exhausted(struct listener *s, int error)
{
	log_limited(&s->exhausted, 1, LOG_LEVEL_ERROR, "accept: %s; %u wait to open", strerror(error), s->n_unopened);
	pause_accepting(s, LISTEN_PAUSE_USEC);
}

static void crowded(struct listener *s)
{
	log_limited(&s->crowded, 1, LOG_LEVEL_INFO, "%u connections wait to open: others wait to be accepted",
		    s->n_unopened);
	pause_accepting(s, LISTEN_CROWD_USEC);
}

static void on_ready(struct watch *w, uint32_t events)
{
	struct listener *s = container_of(w, struct listener, watch);
	(void)events;
	for (unsigned i = 0; i < s->options.per_turn; i++) {
		if (!has_room(s)) {
			crowded(s);
			return;
		}
		int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			take(s, fd);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			exhausted(s, errno);
			return;
		} else if (errno == EAGAIN) {
			return;
		}
		/* Else it is the network's word on that one connection; the next may be good. */
	}
}

struct listener *listener_new(struct loop *l, int fd, const struct listener_options *o)
{
	assert(fd >= 0 && o->conn.ops && o->conn.ops->on_open);
	struct listener *s = NEW(struct listener);
	s->loop = l;
	s->options = *o;
	if (!s->options.most_unopened)
		s->options.most_unopened = LISTEN_UNOPENED_MOST;
	if (!s->options.per_turn)
		s->options.per_turn = LISTEN_PER_TURN;
	list_init(&s->unopened);
	int r = watch_start(&s->watch, l, fd, EPOLLIN, on_ready);
	if (r < 0) {
		close_fd(fd);
		free(s);
		errno = -r;
		return NULL;
	}
	return s;
}

void listener_free(struct listener *s)
{
	if (!s)
		return;
	int fd = s->watch.fd;
	struct unopened *u;
	while ((u = list_first(&s->unopened, struct unopened, link))) {
		struct conn *c = u->conn;
		conn_guard_set(c, NULL);
		unopened_free(u);
		conn_free(c);
	}
	timer_stop(&s->pause);
	watch_stop(&s->watch);
	close_fd(fd);
	free(s);
}
