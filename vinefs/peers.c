/* SPDX-License-Identifier: Apache-2.0 */
#include "vinefs/peers.h"

#include "common/listen.h"
#include "common/log.h"
#include "common/net.h"
#include "common/path.h"
#include "vinefs/plain.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#define GUESTS_MOST 512u
#define BACKLOG 128

struct peers {
	struct peers_settings settings;
	struct listener *listener;
	struct plain *plain; /* NULL: all is encrypted */
	char address[NET_TEXT_SIZE];
	struct list guests;
	unsigned n_guests;
	bool is_told; /* why it does not listen */
};

struct guest {
	struct list link;
	struct peers *owner;
	struct conn *conn;
};

/* ---- who asks */

static void guest_free(struct guest *g)
{
	struct peers *p = g->owner;
	assert(p->n_guests);
	p->n_guests--;
	list_remove(&g->link);
	serve_close(p->settings.serve, g->conn);
	conn_free(g->conn);
	free(g);
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	const struct guest *g = conn_owner(c);
	if (!serve_message(g->owner->settings.serve, c, h, message))
		conn_reply_status(c, h->id, ENOSYS, "%s is nothing a node answers another one", wire_name(h->type));
}

static void on_cancel(struct conn *c, uint64_t id)
{
	const struct guest *g = conn_owner(c);
	serve_cancel(g->owner->settings.serve, c, id);
}

static void on_close(struct conn *c, int error, const char *reason)
{
	log_debug("peers: %s has gone: %d %s", conn_peer_name(c), error, reason ?: "");
	guest_free(conn_owner(c));
}

static void on_open(struct conn *c, const struct wire_hello *hello)
{
	static const struct conn_ops ops = {.on_message = on_message, .on_cancel = on_cancel, .on_close = on_close};
	struct peers *p = conn_owner(c);
	struct guest *g = NEW(struct guest);
	g->owner = p;
	g->conn = c;
	list_init(&g->link);
	list_append(&p->guests, &g->link);
	p->n_guests++;
	conn_set(c, &ops, g);
	log_debug("peers: node %s is here", hello->name);
	if (p->n_guests > GUESTS_MOST)
		conn_close(c, "too many nodes ask this one; ask another", false);
}

/* Of one that has not opened: the listener's. */
static void on_stranger_close(struct conn *c, int error, const char *reason)
{
	(void)c;
	log_debug("peers: %d %s", error, reason ?: "");
}

/* ---- where */

/* The address of this node that a packet to vined would bear; nothing is sent. */
static int own_address(const char *vined, struct net_address *own)
{
	struct net_address a;
	int r = net_parse(vined, &a);
	if (r == 0 && net_is_local(&a))
		return net_parse("127.0.0.1:0", own);
	if (r < 0)
		return r;
	_close_ int fd = socket(a.at.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&a.at, a.n) < 0)
		return -errno;
	return net_own_address(fd, own);
}

static in_port_t *port_of(struct net_address *a)
{
	assert(!net_is_local(a));
	return a->at.ss_family == AF_INET6 ? &((struct sockaddr_in6 *)&a->at)->sin6_port
					   : &((struct sockaddr_in *)&a->at)->sin_port;
}

static bool is_any(const struct net_address *a)
{
	if (a->at.ss_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)&a->at)->sin6_addr);
	return ((const struct sockaddr_in *)&a->at)->sin_addr.s_addr == htonl(INADDR_ANY);
}

/* What others are told: of a listener on all interfaces the one that vined sees. */
static int find_address(struct peers *p, int fd)
{
	struct net_address a, own;
	int r = net_own_address(fd, &a);
	if (r == 0 && is_any(&a)) {
		r = own_address(p->settings.vined, &own);
		if (r == 0) {
			*port_of(&own) = *port_of(&a);
			a = own;
		}
	}
	if (r == 0)
		net_text(&a, p->address);
	return r;
}

/* The port that this node had before, if it is free; else any. */
static int listen_again(const struct peers *p, struct net_address *a)
{
	_free_ char *path = path_join(p->settings.state, "port");
	size_t n;
	_free_ char *text = path_read(path, 16, &n);
	unsigned long port = text ? strtoul(text, NULL, 10) : 0;
	int fd = -1;
	if (port && port <= UINT16_MAX) {
		*port_of(a) = htons((uint16_t)port);
		fd = net_listen(a, BACKLOG);
	}
	if (fd >= 0)
		return fd;
	*port_of(a) = 0;
	return net_listen(a, BACKLOG);
}

static void remember_port(const struct peers *p)
{
	_free_ char *path = path_join(p->settings.state, "port");
	const char *port = strrchr(p->address, ':') + 1;
	int r = path_write(path, port, strlen(port), 0600, true);
	if (r)
		log_errno(-r, "write %s", path);
}

static int open_listener(struct peers *p)
{
	static const struct conn_ops ops = {.on_open = on_open, .on_close = on_stranger_close};
	const struct peers_settings *s = &p->settings;
	struct net_address a;
	int r = *s->listen ? net_parse(s->listen, &a) : own_address(s->vined, &a);
	int fd = r < 0 ? r : *s->listen ? net_listen(&a, BACKLOG) : listen_again(p, &a);
	if (fd < 0)
		return fd;
	r = find_address(p, fd);
	if (r < 0) {
		close_fd(fd);
		return r;
	}
	if (!*s->listen)
		remember_port(p);
	const struct listener_options o = {
		.conn = {.ops = &ops, .owner = p, .tls = s->tls, .hello = s->hello, .cluster = s->cluster}};
	p->listener = listener_new(s->loop, fd, &o);
	return p->listener ? 0 : -errno;
}

/* Without it nothing is lost but time. */
static void open_plain(struct peers *p)
{
	p->plain = plain_new(p->settings.loop, p->address);
	if (p->plain)
		log_info("data = plain: other nodes fetch large pieces from %s, where nothing is encrypted",
			 plain_address(p->plain));
	else
		log_warn("data = plain: cannot listen beside %s: %s; all is given encrypted", p->address,
			 strerror(errno));
	serve_use_plain(p->settings.serve, p->plain);
}

void peers_listen(struct peers *p)
{
	const char *where = *p->settings.listen ? p->settings.listen : "this node's address towards vined";
	if (p->listener || streq(p->settings.listen, "none"))
		return;
	if (!p->settings.tls) {
		if (!p->is_told)
			log_info("there is no secret: other nodes cannot ask this one for data");
		p->is_told = true;
		return;
	}
	int r = open_listener(p);
	if (r == 0)
		log_info("other nodes find this one at %s", p->address);
	else if (!p->is_told)
		log_warn(
			"cannot listen for other nodes on %s: %s; they get nothing from here. --listen=HOST:PORT names "
			"another address",
			where, strerror(-r));
	if (r)
		*p->address = 0;
	else if (p->settings.is_plain)
		open_plain(p);
	p->is_told = r != 0;
}

const char *peers_address(const struct peers *p)
{
	return p->address;
}

int peers_check(const char *listen)
{
	struct net_address a;
	if (!*listen || streq(listen, "none"))
		return 0;
	/* A name that is not known today may be tomorrow. */
	int r = net_parse(listen, &a);
	return r == -EINVAL || (r == 0 && net_is_local(&a)) ? -EINVAL : 0;
}

/* ---- life */

struct peers *peers_new(const struct peers_settings *s)
{
	struct peers *p = NEW(struct peers);
	p->settings = *s;
	list_init(&p->guests);
	return p;
}

void peers_free(struct peers *p)
{
	if (!p)
		return;
	listener_free(p->listener);
	while (!list_is_empty(&p->guests))
		guest_free(list_first(&p->guests, struct guest, link));
	assert(!p->n_guests);
	if (p->plain)
		serve_use_plain(p->settings.serve, NULL);
	plain_free(p->plain);
	free(p);
}
