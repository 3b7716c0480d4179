/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define NET_HOST_MAX 255

static const struct sockaddr *plain(const struct net_address *a)
{
	assert(a->n <= sizeof a->at);
	return (const struct sockaddr *)&a->at;
}

static const struct sockaddr_un *local(const struct net_address *a)
{
	assert(a->at.ss_family == AF_UNIX);
	return (const struct sockaddr_un *)&a->at;
}

/* ---- text */

static int parse_local(const char *path, struct net_address *a)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&a->at;
	/* Never cut: a shorter path is another path. */
	size_t n = strlen(path);
	/* An abstract socket has neither owner nor mode. */
	if (path[0] != '/')
		return -EINVAL;
	if (n >= sizeof un->sun_path)
		return -ENAMETOOLONG;
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, n + 1);
	a->n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	return 0;
}

/* Not strtol: it takes signs and spaces. */
static int parse_port(const char *text)
{
	int port = 0;
	size_t n = strspn(text, "0123456789");
	if (n == 0 || n > 5 || text[n])
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		port = port * 10 + (text[i] - '0');
	return port <= UINT16_MAX ? port : -EINVAL;
}

/* AI_ADDRCONFIG is left out: it would hide "localhost" on a machine that has nothing but a loopback. */
static int resolve(const char *host, int port, bool is_numeric, struct net_address *a)
{
	struct addrinfo *all = NULL;
	struct addrinfo hints = {.ai_family = is_numeric ? AF_INET6 : AF_UNSPEC,
				 .ai_socktype = SOCK_STREAM,
				 .ai_flags = is_numeric ? AI_NUMERICHOST : 0};
	int r = getaddrinfo(host, NULL, &hints, &all);
	if (r == EAI_MEMORY)
		return -ENOMEM;
	if (r)
		return is_numeric ? -EINVAL : -EHOSTUNREACH;
	assert(all && all->ai_addrlen <= sizeof a->at);
	memcpy(&a->at, all->ai_addr, all->ai_addrlen);
	a->n = all->ai_addrlen;
	freeaddrinfo(all);
	if (a->at.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&a->at)->sin6_port = htons((uint16_t)port);
	else
		((struct sockaddr_in *)&a->at)->sin_port = htons((uint16_t)port);
	return 0;
}

int net_parse(const char *text, struct net_address *a)
{
	*a = (struct net_address){0};
	if (text[0] == '/')
		return parse_local(text, a);
	if (has_prefix(text, "unix:"))
		return parse_local(text + strlen("unix:"), a);
	/* The last colon, as an IPv6 address in brackets has more; without brackets it would be a guess. */
	bool is_bracketed = text[0] == '[';
	const char *colon = strrchr(text, ':');
	if (!colon)
		return -EINVAL;
	int port = parse_port(colon + 1);
	const char *begin = text + is_bracketed, *end = colon - is_bracketed;
	if (port < 0 || end <= begin || end - begin > NET_HOST_MAX)
		return -EINVAL;
	if (is_bracketed && *end != ']')
		return -EINVAL;
	char host[NET_HOST_MAX + 1];
	memcpy(host, begin, (size_t)(end - begin));
	host[end - begin] = 0;
	if (!is_bracketed && strpbrk(host, ":[]"))
		return -EINVAL;
	return resolve(host, port, is_bracketed, a);
}

char *net_text(const struct net_address *a, char text[NET_TEXT_SIZE])
{
	char host[INET6_ADDRSTRLEN + 32], port[8];
	if (a->at.ss_family == AF_UNIX) {
		/* The connecting end of a Unix socket has no name, or an abstract one. */
		size_t n = a->n - min((size_t)a->n, offsetof(struct sockaddr_un, sun_path));
		const char *path = local(a)->sun_path;
		if (n && path[0] == '/')
			snprintf(text, NET_TEXT_SIZE, "%.*s", (int)strnlen(path, n), path);
		else
			snprintf(text, NET_TEXT_SIZE, "unix:");
		return text;
	}
	int r = getnameinfo(plain(a), a->n, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
	if (r)
		snprintf(text, NET_TEXT_SIZE, "unknown");
	else
		snprintf(text, NET_TEXT_SIZE, a->at.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	return text;
}

bool net_is_loopback(const struct net_address *a)
{
	if (a->at.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&a->at;
		return ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	}
	if (a->at.ss_family == AF_INET6) {
		const struct in6_addr *in = &((const struct sockaddr_in6 *)&a->at)->sin6_addr;
		return IN6_IS_ADDR_LOOPBACK(in) || (IN6_IS_ADDR_V4MAPPED(in) && in->s6_addr[12] == IN_LOOPBACKNET);
	}
	return net_is_local(a);
}

bool net_is_local(const struct net_address *a)
{
	return a->at.ss_family == AF_UNIX;
}

/* ---- sockets */

static int set_option(int fd, int level, int option)
{
	int one = 1;
	return setsockopt(fd, level, option, &one, sizeof one) < 0 ? -errno : 0;
}

/* TCP_NODELAY since connections batch their own writes (conn.h); accepted sockets inherit it. */
static int new_socket(const struct net_address *a)
{
	assert(a->n > 0);
	_close_ int fd = socket(a->at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int r = net_is_local(a) ? 0 : set_option(fd, IPPROTO_TCP, TCP_NODELAY);
	return r < 0 ? r : steal_fd(&fd);
}

/* True if there is a socket of that name that nobody listens on. */
static bool is_stale(const struct net_address *a)
{
	struct stat s;
	/* Ours to remove only if it is a socket: connect() refuses other kinds of files with the same errno. */
	if (lstat(local(a)->sun_path, &s) < 0 || !S_ISSOCK(s.st_mode))
		return false;
	_close_ int fd = new_socket(a);
	return fd >= 0 && connect(fd, plain(a), a->n) < 0 && errno == ECONNREFUSED;
}

static int bind_local(int fd, const struct net_address *a)
{
	/* Linux makes the file with the mode of the socket: so it is never open to others, not even for a
	 * moment, and the umask, which all threads share, stays as it is. */
	if (fchmod(fd, 0600) < 0)
		return -errno;
	if (bind(fd, plain(a), a->n) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return -errno;
	if (!is_stale(a))
		return -EADDRINUSE;
	/* Two who start at once are kept apart by the lock of their state directory, not here. */
	if (unlink(local(a)->sun_path) < 0 && errno != ENOENT)
		return -errno;
	return bind(fd, plain(a), a->n) < 0 ? -errno : 0;
}

/* Without SO_REUSEADDR a daemon could not start again until its old connections' TIME_WAIT is over. */
static int bind_tcp(int fd, const struct net_address *a)
{
	int r = set_option(fd, SOL_SOCKET, SO_REUSEADDR);
	/* [::] would else mean every IPv4 address as well. */
	if (!r && a->at.ss_family == AF_INET6)
		r = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY);
	if (!r && bind(fd, plain(a), a->n) < 0)
		r = -errno;
	return r;
}

int net_listen(const struct net_address *a, int backlog)
{
	_close_ int fd = new_socket(a);
	if (fd < 0)
		return fd;
	int r = net_is_local(a) ? bind_local(fd, a) : bind_tcp(fd, a);
	if (r < 0)
		return r;
	if (listen(fd, backlog) < 0)
		return -errno;
	return steal_fd(&fd);
}

int net_accept(int fd, struct net_address *peer)
{
	struct net_address from = {.n = sizeof from.at};
	int r = accept4(fd, (struct sockaddr *)&from.at, &from.n, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (r < 0)
		return -errno;
	if (peer)
		*peer = from;
	return r;
}

int net_connect(const struct net_address *a)
{
	_close_ int fd = new_socket(a);
	if (fd < 0)
		return fd;
	if (connect(fd, plain(a), a->n) < 0 && errno != EINPROGRESS)
		return -errno;
	return steal_fd(&fd);
}

/* A try to reach a local port that nobody listens on may be given that very port as its own, and then TCP connects it to
 * itself: the daemon that is to come could not have its port. */
static bool is_own_echo(int fd)
{
	struct net_address own, peer;
	if (net_own_address(fd, &own) < 0 || net_peer_address(fd, &peer) < 0)
		return false;
	return !net_is_local(&own) && own.n == peer.n && memcmp(&own.at, &peer.at, own.n) == 0;
}

int net_connect_error(int fd)
{
	int error = 0;
	socklen_t n = sizeof error;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		return -errno;
	assert(n == sizeof error);
	if (!error && is_own_echo(fd))
		error = ECONNREFUSED;
	return -error;
}

int net_own_address(int fd, struct net_address *a)
{
	*a = (struct net_address){.n = sizeof a->at};
	return getsockname(fd, (struct sockaddr *)&a->at, &a->n) < 0 ? -errno : 0;
}

int net_peer_address(int fd, struct net_address *a)
{
	*a = (struct net_address){.n = sizeof a->at};
	return getpeername(fd, (struct sockaddr *)&a->at, &a->n) < 0 ? -errno : 0;
}

int net_peer_user(int fd, uid_t *uid, pid_t *pid)
{
	struct ucred c;
	socklen_t n = sizeof c;
	struct net_address a;
	int r = net_own_address(fd, &a);
	if (r < 0)
		return r;
	/* On other sockets the kernel answers with nobody, not with an error. */
	if (!net_is_local(&a))
		return -EOPNOTSUPP;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n) < 0)
		return -errno;
	assert(n == sizeof c);
	*uid = c.uid;
	*pid = c.pid;
	return 0;
}
