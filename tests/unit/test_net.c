/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char long_path[] = "/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789"
				"/0123456789/0123456789/0123456789/01234567"; /* 108 */

TEST(addresses_are_parsed_and_printed)
{
	static const struct {
		const char *text;
		int r;
		const char *printed; /* NULL: as text */
		bool is_loopback, is_local;
	} cases[] = {
		{"127.0.0.1:80", 0, NULL, true, false},
		{"127.9.8.7:0", 0, NULL, true, false},
		{"10.1.2.3:65535", 0, NULL, false, false},
		{"0.0.0.0:1", 0, NULL, false, false},
		{"127.0.0.1:00080", 0, "127.0.0.1:80", true, false},
		{"[::1]:80", 0, NULL, true, false},
		{"[::]:80", 0, NULL, false, false},
		{"[2001:db8::5]:4321", 0, NULL, false, false},
		{"[::ffff:127.0.0.1]:5", 0, NULL, true, false},
		{"[::ffff:10.0.0.1]:5", 0, NULL, false, false},
		{"/run/x.sock", 0, NULL, true, true},
		{"unix:/run/x.sock", 0, "/run/x.sock", true, true},
		{long_path + 1, -EINVAL, NULL, false, false},
		{long_path, -ENAMETOOLONG, NULL, false, false},
		{"", -EINVAL, NULL, false, false},
		{":", -EINVAL, NULL, false, false},
		{":80", -EINVAL, NULL, false, false},
		{"80", -EINVAL, NULL, false, false},
		{"localhost", -EINVAL, NULL, false, false},
		{"localhost:", -EINVAL, NULL, false, false},
		{"localhost:http", -EINVAL, NULL, false, false},
		{"localhost:65536", -EINVAL, NULL, false, false},
		{"localhost:000080", -EINVAL, NULL, false, false},
		{"localhost:-1", -EINVAL, NULL, false, false},
		{"localhost:+1", -EINVAL, NULL, false, false},
		{"localhost: 1", -EINVAL, NULL, false, false},
		{"localhost:1 ", -EINVAL, NULL, false, false},
		{"::1:80", -EINVAL, NULL, false, false},
		{"[]:80", -EINVAL, NULL, false, false},
		{"[::1]80", -EINVAL, NULL, false, false},
		{"[::1:80", -EINVAL, NULL, false, false},
		{"[127.0.0.1]:80", -EINVAL, NULL, false, false},
		{"[localhost]:80", -EINVAL, NULL, false, false},
		{"[:80", -EINVAL, NULL, false, false},
		{"unix:", -EINVAL, NULL, false, false},
		{"unix:x.sock", -EINVAL, NULL, false, false},
		{"unix:@x", -EINVAL, NULL, false, false},
		{"@x", -EINVAL, NULL, false, false},
		{"no.such.name.invalid:80", -EHOSTUNREACH, NULL, false, false},
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct net_address a;
		char text[NET_TEXT_SIZE];
		ASSERT_EQ(net_parse(cases[i].text, &a), cases[i].r);
		if (cases[i].r)
			continue;
		ASSERT_STR(net_text(&a, text), cases[i].printed ? cases[i].printed : cases[i].text);
		ASSERT_EQ(net_is_loopback(&a), cases[i].is_loopback);
		ASSERT_EQ(net_is_local(&a), cases[i].is_local);
	}
}

TEST(the_longest_path_of_a_socket_is_taken_whole)
{
	struct net_address a;
	char path[sizeof long_path], text[NET_TEXT_SIZE];
	snprintf(path, sizeof path, "%s", long_path);
	ASSERT_EQ(strlen(path), 108);
	path[107] = 0;
	ASSERT_EQ(net_parse(path, &a), 0);
	ASSERT_STR(net_text(&a, text), path);
}

TEST(localhost_is_a_name)
{
	struct net_address a;
	ASSERT_EQ(net_parse("localhost:7", &a), 0);
	ASSERT(net_is_loopback(&a));
}

/* Waits until fd is ready, at most 10 s. */
static bool wait_for(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};
	return poll(&p, 1, 10000) == 1;
}

static int option_of(int fd, int level, int option)
{
	int value = -1;
	socklen_t n = sizeof value;
	ASSERT_EQ(getsockopt(fd, level, option, &value, &n), 0);
	return value;
}

static void check_flags(int fd)
{
	ASSERT(fcntl(fd, F_GETFL) & O_NONBLOCK);
	ASSERT(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void check_connection(const char *where)
{
	struct net_address a, own, peer;
	char text[NET_TEXT_SIZE], other[NET_TEXT_SIZE];
	ASSERT_EQ(net_parse(where, &a), 0);
	_close_ int listener = net_listen(&a, 16);
	ASSERT(listener >= 0);
	check_flags(listener);
	ASSERT_EQ(net_accept(listener, NULL), -EAGAIN);
	ASSERT_EQ(net_own_address(listener, &own), 0);
	_close_ int client = net_connect(&own);
	ASSERT(client >= 0);
	check_flags(client);
	ASSERT(wait_for(client, POLLOUT));
	ASSERT_EQ(net_connect_error(client), 0);
	ASSERT(wait_for(listener, POLLIN));
	_close_ int server = net_accept(listener, &peer);
	ASSERT(server >= 0);
	check_flags(server);
	ASSERT_EQ(net_own_address(client, &own), 0);
	ASSERT_STR(net_text(&peer, text), net_text(&own, other));
	ASSERT_EQ(net_peer_address(client, &peer), 0);
	ASSERT_EQ(net_own_address(server, &own), 0);
	ASSERT_STR(net_text(&peer, text), net_text(&own, other));
	uid_t uid = (uid_t)-1;
	pid_t pid = 0;
	if (net_is_local(&a)) {
		ASSERT_EQ(net_peer_user(server, &uid, &pid), 0);
		ASSERT_EQ(uid, getuid());
		ASSERT_EQ(pid, getpid());
	} else {
		ASSERT_EQ(net_peer_user(server, &uid, &pid), -EOPNOTSUPP);
		ASSERT_EQ(option_of(client, IPPROTO_TCP, TCP_NODELAY), 1);
		ASSERT_EQ(option_of(server, IPPROTO_TCP, TCP_NODELAY), 1);
	}
}

TEST(a_connection_over_ipv4_knows_both_ends)
{
	check_connection("127.0.0.1:0");
}

TEST(a_connection_over_ipv6_knows_both_ends)
{
	_close_ int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof in) < 0)
		SKIP("no IPv6 here");
	check_connection("[::1]:0");
}

TEST(a_connection_over_a_unix_socket_knows_both_ends)
{
	_free_ char *path = xasprintf("%s/s", unit_tmpdir());
	check_connection(path);
}

TEST(a_port_in_use_is_refused)
{
	struct net_address a, own;
	ASSERT_EQ(net_parse("127.0.0.1:0", &a), 0);
	_close_ int first = net_listen(&a, 1);
	ASSERT_EQ(net_own_address(first, &own), 0);
	ASSERT_EQ(net_listen(&own, 1), -EADDRINUSE);
}

TEST(a_port_whose_last_owner_just_ended_is_free)
{
	struct net_address a, own;
	ASSERT_EQ(net_parse("127.0.0.1:0", &a), 0);
	int first = net_listen(&a, 1);
	ASSERT_EQ(net_own_address(first, &own), 0);
	_close_ int client = net_connect(&own);
	ASSERT(wait_for(first, POLLIN));
	/* Closed by the server first: its end goes into TIME_WAIT. */
	close(net_accept(first, NULL));
	close(first);
	ASSERT(wait_for(client, POLLIN));
	client = close_fd(client);
	_close_ int second = net_listen(&own, 1);
	ASSERT(second >= 0);
}

TEST(a_port_that_nobody_listens_on_refuses)
{
	struct net_address a, own;
	ASSERT_EQ(net_parse("127.0.0.1:0", &a), 0);
	int first = net_listen(&a, 1);
	ASSERT_EQ(net_own_address(first, &own), 0);
	close(first);
	_close_ int client = net_connect(&own);
	ASSERT(client >= 0);
	ASSERT(wait_for(client, POLLOUT));
	ASSERT_EQ(net_connect_error(client), -ECONNREFUSED);
}

TEST(a_connection_to_itself_counts_as_refused)
{
	struct net_address a, own;
	ASSERT_EQ(net_parse("127.0.0.1:0", &a), 0);
	_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ASSERT_EQ(bind(fd, (struct sockaddr *)&a.at, a.n), 0);
	ASSERT_EQ(net_own_address(fd, &own), 0);
	ASSERT_EQ(connect(fd, (struct sockaddr *)&own.at, own.n), 0);
	ASSERT_EQ(net_connect_error(fd), -ECONNREFUSED);
}

TEST(any_ipv6_address_does_not_mean_any_ipv4_address)
{
	struct net_address a, own;
	ASSERT_EQ(net_parse("[::]:0", &a), 0);
	_close_ int six = net_listen(&a, 1);
	if (six < 0)
		SKIP("no IPv6 here");
	ASSERT_EQ(option_of(six, IPPROTO_IPV6, IPV6_V6ONLY), 1);
	ASSERT_EQ(net_own_address(six, &own), 0);
}

/* ---- Unix sockets */

static void local_address(struct net_address *a, const char *name)
{
	_free_ char *path = xasprintf("%s/%s", unit_tmpdir(), name);
	ASSERT_EQ(net_parse(path, a), 0);
}

static const char *path_of(const struct net_address *a)
{
	return ((const struct sockaddr_un *)&a->at)->sun_path;
}

TEST(a_unix_socket_is_0600_whatever_the_umask_and_leaves_it_alone)
{
	struct net_address a;
	struct stat s;
	local_address(&a, "s");
	mode_t before = umask(0);
	_close_ int fd = net_listen(&a, 1);
	mode_t after = umask(before);
	ASSERT(fd >= 0);
	ASSERT_EQ(after, 0);
	ASSERT_EQ(lstat(path_of(&a), &s), 0);
	ASSERT(S_ISSOCK(s.st_mode));
	ASSERT_EQ(s.st_mode & 07777, 0600);
}

TEST(a_stale_unix_socket_is_replaced)
{
	struct net_address a;
	local_address(&a, "s");
	close(net_listen(&a, 1));
	struct stat s;
	ASSERT_EQ(lstat(path_of(&a), &s), 0);
	_close_ int fd = net_listen(&a, 1);
	ASSERT(fd >= 0);
	_close_ int client = net_connect(&a);
	ASSERT(client >= 0);
}

TEST(a_unix_socket_that_someone_listens_on_is_not_replaced)
{
	struct net_address a;
	local_address(&a, "s");
	_close_ int first = net_listen(&a, 1);
	ASSERT(first >= 0);
	ASSERT_EQ(net_listen(&a, 1), -EADDRINUSE);
	_close_ int client = net_connect(&a);
	ASSERT(client >= 0);
	ASSERT(wait_for(first, POLLIN));
}

TEST(a_unix_socket_whose_listener_is_too_busy_is_not_replaced)
{
	struct net_address a;
	local_address(&a, "s");
	_close_ int first = net_listen(&a, 0);
	ASSERT(first >= 0);
	int clients[64], n = 0;
	while (n < 64 && (clients[n] = net_connect(&a)) >= 0)
		n++;
	ASSERT(n < 64);
	ASSERT_EQ(clients[n], -EAGAIN);
	ASSERT_EQ(net_listen(&a, 1), -EADDRINUSE);
	while (n)
		close(clients[--n]);
}

TEST(a_file_in_the_place_of_a_unix_socket_is_left_alone)
{
	struct net_address a;
	local_address(&a, "s");
	_close_ int fd = open(path_of(&a), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	ASSERT_EQ(write(fd, "x", 1), 1);
	ASSERT_EQ(net_listen(&a, 1), -EADDRINUSE);
	struct stat s;
	ASSERT_EQ(stat(path_of(&a), &s), 0);
	ASSERT_EQ(s.st_size, 1);
}

TEST(a_link_in_the_place_of_a_unix_socket_is_not_followed)
{
	struct net_address a, target;
	local_address(&a, "s");
	local_address(&target, "t");
	close(net_listen(&target, 1));
	ASSERT_EQ(symlink("t", path_of(&a)), 0);
	ASSERT_EQ(net_listen(&a, 1), -EADDRINUSE);
	struct stat s;
	ASSERT_EQ(lstat(path_of(&target), &s), 0);
}

TEST(a_unix_socket_in_a_missing_directory_is_an_error)
{
	struct net_address a;
	local_address(&a, "none/s");
	ASSERT_EQ(net_listen(&a, 1), -ENOENT);
	ASSERT_EQ(net_connect(&a), -ENOENT);
}
