/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conn_internal.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void conn_on_ready(struct watch *w, uint32_t events);
static void conn_on_tick(struct timer *t);

/* ---- entries and exits */

void conn_enter(struct conn *c)
{
	c->depth++;
}

void conn_leave(struct conn *c)
{
	assert(c->depth > 0);
	if (--c->depth || conn_is_alive(c))
		return;
	buf_fini(&c->in);
	buf_fini(&c->out);
	buf_fini(&c->frame);
	wire_arena_fini(&c->arena);
	if (!c->is_freed)
		return;
	free(c->cluster);
	free(c);
}

/* Takes everything away that the world could hear of or see; idempotent. */
static void conn_stop(struct conn *c)
{
	c->state = CONN_CLOSED;
	watch_stop(&c->watch);
	timer_stop(&c->tick);
	timer_stop(&c->again);
	timer_stop(&c->stall);
	if (c->is_dirty)
		before_sleep_stop(&c->sleeper);
	c->is_dirty = false;
	if (c->tls) {
		tls_shutdown(c->tls);
		tls_free(steal(c->tls));
	}
	c->fd = close_fd(c->fd);
}

void conn_end(struct conn *c, int error, const char *fmt, ...)
{
	char reason[sizeof c->reason];
	va_list args;
	if (!conn_is_alive(c))
		return;
	va_start(args, fmt);
	vsnprintf(reason, sizeof reason, fmt, args); /* the arguments may lie in c->reason */
	va_end(args);
	memcpy(c->reason, reason, sizeof reason);
	conn_enter(c);
	conn_stop(c);
	conn_call_end_all(c, error ? error : -ECONNRESET);
	conn_stream_end_all(c, error ? error : -ECONNRESET);
	if (!c->is_freed && (c->was_open || !c->guard))
		c->ops->on_close(c, error, c->reason);
	struct conn_guard *g = steal(c->guard);
	if (!c->is_freed && g)
		g->on_close(g, c, error, c->reason);
	conn_leave(c);
}

void conn_abort(struct conn *c, int error, const char *reason)
{
	assert(reason);
	conn_end(c, error > 0 ? -error : error, "%s", reason);
}

void conn_free(struct conn *c)
{
	if (!c || c->is_freed)
		return;
	conn_enter(c);
	c->is_freed = true;
	c->guard = NULL;
	conn_stop(c);
	conn_call_end_all(c, -ECANCELED);
	conn_stream_end_all(c, -ECANCELED);
	conn_leave(c);
}

/* The last word to the peer; what is still queued goes before it. */
static void conn_farewell(struct conn *c, int error, const char *reason, bool final)
{
	assert(c->state == CONN_GREETING || c->state == CONN_OPEN);
	struct wire_bye m = {.reason = reason, .final = final};
	conn_put(c, WIRE_BYE, 0, 0, &m);
	snprintf(c->reason, sizeof c->reason, "%s", reason);
	c->state = CONN_CLOSING;
	c->close_error = error;
	timer_start(&c->tick, c->loop, CONN_CLOSE_USEC, conn_on_tick);
}

void conn_close(struct conn *c, const char *reason, bool final)
{
	if (c->state == CONN_CLOSING || !conn_is_alive(c))
		return;
	if (c->state != CONN_OPEN) {
		conn_end(c, 0, "%s", reason);
		return;
	}
	conn_farewell(c, 0, reason, final);
}

/* ---- what is watched */

bool conn_may_read(const struct conn *c)
{
	return c->state == CONN_CLOSING || c->is_relieved || conn_out_size(c) <= CONN_OUT_HIGH;
}

bool conn_is_full(const struct conn *c)
{
	bool is_full = conn_out_size(c) > CONN_OUT_HIGH;
	/* Asking is a promise to be told, which changes nothing that the asker sees. */
	if (is_full)
		((struct conn *)(uintptr_t)c)->is_room_owed = true;
	return is_full;
}

static uint32_t conn_events(const struct conn *c)
{
	if (c->state == CONN_CONNECTING)
		return EPOLLOUT;
	if (c->state == CONN_SECURING)
		return c->tls ? tls_events(c->tls) : EPOLLIN;
	return (conn_may_read(c) ? EPOLLIN : 0u) | (c->is_blocked ? EPOLLOUT : 0u);
}

static void conn_on_stall(struct timer *t);

void conn_update(struct conn *c)
{
	if (!conn_is_alive(c))
		return;
	watch_change(&c->watch, conn_events(c));
	if (c->state < CONN_GREETING)
		return;
	bool may_read = conn_may_read(c);
	if (may_read && c->has_more)
		conn_again(c);
	if (may_read)
		timer_stop(&c->stall);
	else if (!c->stall.loop)
		timer_start(&c->stall, c->loop, CONN_STALL_USEC, conn_on_stall);
}

/* ---- writing */

static void conn_shut_if_done(struct conn *c)
{
	if (c->state != CONN_CLOSING || c->is_shut || conn_out_size(c))
		return;
	if (c->tls)
		tls_shutdown(c->tls);
	shutdown(c->fd, SHUT_WR);
	c->is_shut = true;
}

/* What the peer said before it went tells more than our own failure to write. */
static void conn_write_failed(struct conn *c, int error)
{
	c->is_relieved = true;
	conn_io_read(c);
	if (c->state == CONN_CLOSING)
		conn_end(c, c->close_error, "%s", c->reason);
	else
		conn_end(c, error, "%s", strerror(-error));
}

/* Writes, lets streams fill up, writes on; callbacks are allowed. */
static void conn_work(struct conn *c)
{
	assert(c->depth > 0);
	int r = 0;
	bool did = true;
	while (did && r == 0 && conn_is_alive(c)) {
		r = conn_io_write(c);
		if (r < 0 && r != -EAGAIN) {
			conn_write_failed(c, r);
			return;
		}
		did = conn_stream_pump(c);
		if (c->is_blocked)
			break;
	}
	if (!conn_is_alive(c))
		return;
	conn_shut_if_done(c);
	if (c->is_room_owed && c->state == CONN_OPEN && conn_out_size(c) < CONN_OUT_HIGH / 2) {
		c->is_room_owed = false;
		if (c->ops->on_room)
			c->ops->on_room(c);
	}
}

static void conn_on_sleep(struct before_sleep *b)
{
	struct conn *c = container_of(b, struct conn, sleeper);
	assert(c->is_dirty && c->state >= CONN_GREETING);
	before_sleep_stop(b);
	c->is_dirty = false;
	int r = c->is_blocked ? -EAGAIN : conn_io_write(c);
	if (r < 0 && r != -EAGAIN)
		c->write_error = r;
	conn_shut_if_done(c);
	bool is_room = c->is_room_owed && conn_out_size(c) < CONN_OUT_HIGH / 2;
	if (c->write_error || is_room || (!c->is_blocked && conn_stream_has_work(c)))
		conn_again(c);
	conn_update(c);
}

void conn_dirty(struct conn *c)
{
	assert(conn_is_alive(c));
	if (c->is_dirty)
		return;
	c->is_dirty = true;
	before_sleep_start(&c->sleeper, c->loop, conn_on_sleep);
}

static void conn_on_again(struct timer *t)
{
	struct conn *c = container_of(t, struct conn, again);
	conn_enter(c);
	if (c->write_error) {
		conn_write_failed(c, c->write_error);
	} else {
		if (c->has_more)
			conn_io_read(c);
		if (conn_is_alive(c))
			conn_work(c);
	}
	conn_update(c);
	conn_leave(c);
}

void conn_again(struct conn *c)
{
	if (!c->again.loop)
		timer_start(&c->again, c->loop, 0, conn_on_again);
}

/* The peer may be waiting for us to read, as we are for it; then one of us must, and up to a limit we do. */
static void conn_on_stall(struct timer *t)
{
	struct conn *c = container_of(t, struct conn, stall);
	conn_enter(c);
	bool has_moved = loop_now_usec(c->loop) - c->wrote_usec < CONN_STALL_USEC;
	if (!has_moved && conn_out_size(c) < CONN_OUT_HARD) {
		c->is_relieved = true;
		conn_io_read(c);
		c->is_relieved = false;
	}
	conn_update(c);
	conn_leave(c);
}

/* ---- keep-alive and deadlines */

/* It may be this process that was late: the peer must have been asked, had its time, and nothing of it wait unread. */
static bool conn_is_lost(struct conn *c, uint64_t now, uint64_t quiet)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	if (quiet < c->silent_usec)
		return false;
	if (!conn_may_read(c))
		return true;
	bool was_asked = c->pinged_usec > c->heard_usec;
	bool had_time = now - c->pinged_usec + c->ping_usec >= c->silent_usec;
	return was_asked && had_time && poll(&p, 1, 0) <= 0;
}

static void conn_keep_alive(struct conn *c)
{
	uint64_t now = loop_now_usec(c->loop);
	uint64_t alive = conn_may_read(c) ? c->heard_usec : max(c->heard_usec, c->wrote_usec);
	uint64_t quiet = now > alive ? now - alive : 0;
	if (conn_is_lost(c, now, quiet)) {
		conn_end(c, -ETIMEDOUT, "silent for %llu s", (unsigned long long)(quiet / 1000000));
		return;
	}
	if (quiet >= c->ping_usec) {
		conn_put(c, WIRE_PING, 0, ++c->last_id, &(struct wire_ping){});
		if (c->pinged_usec <= c->heard_usec)
			c->pinged_usec = now;
	}
	uint64_t next = quiet >= c->ping_usec ? c->ping_usec : c->ping_usec - quiet;
	if (quiet < c->silent_usec)
		next = min(next, c->silent_usec - quiet);
	conn_io_trim(c, true);
	timer_start(&c->tick, c->loop, max(next, (uint64_t)1000), conn_on_tick);
}

static void conn_on_tick(struct timer *t)
{
	static const char *const what[] = {"no connection", "no TLS handshake", "no HELLO"};
	struct conn *c = container_of(t, struct conn, tick);
	assert(conn_is_alive(c));
	conn_enter(c);
	if (c->state == CONN_OPEN)
		conn_keep_alive(c);
	else if (c->state == CONN_CLOSING)
		conn_end(c, c->close_error, "%s", c->reason);
	else
		conn_end(c, -ETIMEDOUT, "%s within %u s", what[c->state],
			 (c->accepted || c->state == CONN_CONNECTING ? CONN_HANDSHAKE_USEC : CONN_WELCOME_USEC) /
				 1000000);
	conn_update(c);
	conn_leave(c);
}

/* ---- names */

static void conn_name(struct conn *c, const char *peer)
{
	struct net_address a;
	char text[NET_TEXT_SIZE] = "nowhere";
	uid_t uid = 0;
	pid_t pid = 0;
	if (net_peer_address(c->fd, &a) == 0 && !net_is_local(&a))
		net_text(&a, text);
	else if (net_peer_user(c->fd, &uid, &pid) == 0)
		snprintf(text, sizeof text, "uid %u pid %d", (unsigned)uid, (int)pid);
	if (peer)
		snprintf(c->name, sizeof c->name, "%s (%s%s%.64s)", text, tls_role_name(c->role), peer[0] ? " " : "",
			 peer);
	else
		snprintf(c->name, sizeof c->name, "%s", text);
}

const char *conn_peer_name(const struct conn *c)
{
	return c->name;
}

/* ---- greeting */

static uint32_t conn_own_major(const struct conn *c)
{
	return c->hello->major ? c->hello->major : WIRE_MAJOR;
}

static void conn_greet(struct conn *c)
{
	struct wire_hello m = *c->hello;
	m.major = conn_own_major(c);
	m.minor = m.minor ? m.minor : WIRE_MINOR;
	c->state = CONN_GREETING;
	conn_put(c, WIRE_HELLO, 0, 0, &m);
}

static void conn_refuse(struct conn *c, int error, const char *fmt, ...) _printf_(3, 4);
static void conn_refuse(struct conn *c, int error, const char *fmt, ...)
{
	char reason[sizeof c->reason];
	va_list args;
	va_start(args, fmt);
	vsnprintf(reason, sizeof reason, fmt, args);
	va_end(args);
	c->is_final = true;
	conn_farewell(c, error, reason, true);
}

static bool conn_is_welcome(struct conn *c, const struct wire_hello *m)
{
	enum tls_role proved = c->tls ? tls_peer_role(c->tls) : (enum tls_role)m->role;
	if (m->role == TLS_ROLE_NONE || m->role > TLS_ROLE_CLIENT || m->role != proved)
		conn_refuse(c, -EPROTO, "wrong role: says it is a %s, proved to be a %s",
			    tls_role_name((enum tls_role)m->role), tls_role_name(proved));
	else if (c->wanted != TLS_ROLE_NONE && m->role != c->wanted)
		conn_refuse(c, -EPROTO, "wrong role: a %s answers where a %s was expected",
			    tls_role_name((enum tls_role)m->role), tls_role_name(c->wanted));
	else if (c->cluster[0] && m->cluster[0] && !streq(c->cluster, m->cluster))
		conn_refuse(c, -EPROTO, "another cluster: %.40s is not %.40s", m->cluster, c->cluster);
	else
		return true;
	return false;
}

void conn_greeted(struct conn *c, const struct wire_head *h, const uint8_t *body)
{
	struct wire_hello m = {.major = 0};
	assert(c->state == CONN_GREETING && h->type == WIRE_HELLO);
	int r = wire_decode(WIRE_HELLO, body, h->length, &m, &c->arena);
	/* Of another MAJOR the first field alone is sure to be where we look. */
	uint32_t major = h->length >= 4 ? get_le32(body) : 0;
	if (major != conn_own_major(c)) {
		conn_refuse(c, -EPROTONOSUPPORT, "speaks protocol %u (version %.32s), not our %u (version %.32s)",
			    major, r == 0 && m.version[0] ? m.version : "unknown", conn_own_major(c),
			    c->hello->version ? c->hello->version : "unknown");
		return;
	}
	if (r < 0) {
		conn_end(c, r, "sent a malformed HELLO");
		return;
	}
	if (!conn_is_welcome(c, &m))
		return;
	c->role = (enum tls_role)m.role;
	conn_name(c, m.name);
	c->state = CONN_OPEN;
	c->was_open = true;
	timer_start(&c->tick, c->loop, c->ping_usec, conn_on_tick);
	if (c->guard)
		c->guard->on_open(c->guard, c);
	if (conn_is_alive(c))
		c->ops->on_open(c, &m);
}

static void conn_secure(struct conn *c)
{
	if (!c->tls)
		c->tls =
			c->accepted ? tls_accept(c->tls_context, c->fd) : tls_connect(c->tls_context, c->fd, c->wanted);
	int r = tls_handshake(c->tls);
	if (r == 0) {
		conn_greet(c);
	} else if (r != -EAGAIN) {
		c->is_final = tls_is_final(c->tls);
		conn_end(c, r, "%s", tls_reason(c->tls)[0] ? tls_reason(c->tls) : "closed without a word");
	}
}

static void conn_connected(struct conn *c)
{
	int r = net_connect_error(c->fd);
	if (r < 0) {
		conn_end(c, r, "%s", strerror(-r));
		return;
	}
	conn_name(c, NULL);
	c->state = CONN_SECURING;
	timer_start(&c->tick, c->loop, CONN_WELCOME_USEC, conn_on_tick);
	if (c->tls_context)
		conn_secure(c);
	else
		conn_greet(c);
}

static void conn_on_ready(struct watch *w, uint32_t events)
{
	struct conn *c = container_of(w, struct conn, watch);
	conn_enter(c);
	if (c->state == CONN_CONNECTING) {
		conn_connected(c);
	} else if (c->state == CONN_SECURING) {
		conn_secure(c);
	} else {
		if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && conn_may_read(c))
			conn_io_read(c);
		if (conn_is_alive(c) && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)))
			conn_work(c);
	}
	conn_update(c);
	conn_leave(c);
}

/* ---- making one */

static void conn_set_socket(int fd)
{
	int one = 1, most_unsent = CONN_BULK_MAX;
	int flags = fcntl(fd, F_GETFL);
	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	/* Both fail on a Unix socket. The second keeps a message from waiting behind megabytes in the kernel. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &most_unsent, sizeof most_unsent);
}

struct conn *conn_new(struct loop *l, int fd, bool accepted, const struct conn_options *o)
{
	assert(fd >= 0 && o->ops && o->hello);
	assert(accepted || !o->tls || o->peer != TLS_ROLE_NONE);
	struct conn *c = NEW(struct conn);
	c->loop = l;
	c->fd = fd;
	c->accepted = accepted;
	c->ops = o->ops;
	c->owner = o->owner;
	c->hello = o->hello;
	c->tls_context = o->tls;
	c->wanted = o->peer;
	c->cluster = xstrdup(o->cluster ? o->cluster : "");
	c->want = CONN_READ_LEAST;
	c->ping_usec = o->ping_usec ? o->ping_usec : CONN_PING_USEC;
	c->silent_usec = o->silent_usec ? o->silent_usec : CONN_SILENT_USEC;
	c->heard_usec = c->wrote_usec = loop_now_usec(l);
	list_init(&c->calls);
	list_init(&c->idle);
	list_init(&c->ready);
	conn_set_socket(fd);
	snprintf(c->name, sizeof c->name, "not connected");
	if (accepted)
		conn_name(c, NULL);
	c->state = accepted ? CONN_SECURING : CONN_CONNECTING;
	int r = watch_start(&c->watch, l, fd, conn_events(c), conn_on_ready);
	if (r < 0) {
		conn_free(c);
		errno = -r;
		return NULL;
	}
	timer_start(&c->tick, l, CONN_HANDSHAKE_USEC, conn_on_tick);
	if (accepted && !c->tls_context)
		conn_greet(c);
	return c;
}

void conn_guard_set(struct conn *c, struct conn_guard *g)
{
	assert(!g || !c->guard);
	c->guard = g;
}

void *conn_owner(const struct conn *c)
{
	return c->owner;
}

void conn_set(struct conn *c, const struct conn_ops *ops, void *owner)
{
	assert(ops && ops->on_message && ops->on_close);
	c->ops = ops;
	c->owner = owner;
}

enum tls_role conn_peer_role(const struct conn *c)
{
	return c->role;
}

bool conn_is_open(const struct conn *c)
{
	return c->state == CONN_OPEN;
}

bool conn_is_final(const struct conn *c)
{
	return c->is_final;
}

const struct conn_counters *conn_counters(const struct conn *c)
{
	return &c->counters;
}

void conn_progress(const struct conn *c, uint64_t *gone, uint64_t *pending)
{
	int n = 0;
	if (c->fd < 0 || ioctl(c->fd, SIOCOUTQ, &n) < 0)
		n = 0;
	/* TLS adds some to what the kernel has: near the beginning that may be more than was sent. */
	*gone = c->counters.bytes_out - min(c->counters.bytes_out, (uint64_t)n);
	*pending = conn_out_size(c) + (uint64_t)n;
}
