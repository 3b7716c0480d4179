/* SPDX-License-Identifier: Apache-2.0
 * Addresses and sockets: TCP by name or number, Unix sockets by path, all non-blocking and close-on-exec. */
#ifndef COMMON_NET_H
#define COMMON_NET_H

#include "common/base.h"

#include <sys/socket.h>
#include <sys/types.h>

struct net_address {
	struct sockaddr_storage at;
	socklen_t n;
};

#define NET_TEXT_SIZE 128

/* "HOST:PORT", "[::1]:PORT", "/path" or "unix:/path". Names are resolved (blocking: at start, or by the caller's choice).
 * 0, -EINVAL (not an address; an abstract socket), -EHOSTUNREACH (the name is unknown), -ENAMETOOLONG (of a path). */
int net_parse(const char *text, struct net_address *a);
/* The inverse, by numbers; NET_TEXT_SIZE always suffices. "unix:" for the nameless end of a
 * Unix socket. A path comes as it is: log.h escapes. */
char *net_text(const struct net_address *a, char text[NET_TEXT_SIZE]);
/* Reached from this machine only: also true of a Unix socket. */
bool net_is_loopback(const struct net_address *a);
bool net_is_local(const struct net_address *a); /* a Unix socket */

/* A listening descriptor, or -errno. A Unix socket is made 0600 and replaces one that nobody listens on; nothing else
 * at that path is touched (-EADDRINUSE). */
int net_listen(const struct net_address *a, int backlog);
/* The next connection, TCP_NODELAY set, or -errno (-EAGAIN: none); `peer` may be NULL. */
int net_accept(int fd, struct net_address *peer);
/* A descriptor whose connect has begun (TCP_NODELAY set), or -errno; writable means done, net_connect_error() then says how:
 * 0 or -errno. On a Unix socket -EAGAIN means that the other end is too busy to queue us. */
int net_connect(const struct net_address *a);
int net_connect_error(int fd);

int net_own_address(int fd, struct net_address *a);
int net_peer_address(int fd, struct net_address *a);
/* uid and pid of the process at the other end of a Unix socket; -EOPNOTSUPP on another. */
int net_peer_user(int fd, uid_t *uid, pid_t *pid);

#endif
