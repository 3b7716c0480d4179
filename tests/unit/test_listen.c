/* SPDX-License-Identifier: Apache-2.0 */
#include "common/listen.h"
#include "common/log.h"
#include "tests/unit/ends.h"

#include <sys/stat.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

struct door {
	struct ends e;
	struct listener *listener;
	struct net_address at;
	int log;
	struct end *opened[64];
	unsigned n_opened;
};

static struct door *door;

/* Each opened connection becomes an end of its own. */
static void door_on_open(struct conn *c, const struct wire_hello *peer)
{
	struct end *e = NEW(struct end);
	conn_set(c, &end_ops, e);
	e->conn = c;
	e->is_open = true;
	snprintf(e->peer_name, sizeof e->peer_name, "%s", peer->name);
	door->opened[door->n_opened++] = e;
}

static void door_on_close(struct conn *c, int error, const char *reason)
{
	(void)c, (void)error, (void)reason;
	abort(); /* one that never opened is the listener's alone */
}

static const struct conn_ops door_ops = {
	.on_open = door_on_open, .on_message = end_on_message, .on_close = door_on_close};

static void door_open(struct door *d, const char *address, bool tls, unsigned most_unopened)
{
	char path[512];
	memset(d, 0, sizeof *d);
	door = d;
	snprintf(path, sizeof path, "%s/log", unit_tmpdir());
	d->log = open(path, O_CREAT | O_TRUNC | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
	log_init("test", LOG_LEVEL_INFO, d->log, false);
	ends_init(&d->e, tls);
	if (net_parse(address, &d->at) < 0)
		abort();
	int fd = net_listen(&d->at, 128);
	if (fd < 0)
		abort();
	net_own_address(fd, &d->at);
	struct listener_options o = {.conn = d->e.vined_options, .most_unopened = most_unopened};
	o.conn.ops = &door_ops;
	d->listener = listener_new(d->e.loop, fd, &o);
}

static void door_close(struct door *d)
{
	listener_free(d->listener);
	for (unsigned i = 0; i < d->n_opened; i++) {
		conn_free(d->opened[i]->conn);
		free(d->opened[i]);
	}
	ends_fini(&d->e);
	close(d->log);
	log_init("test", LOG_LEVEL_INFO, STDERR_FILENO, false);
}

static int door_socket(struct door *d)
{
	int fd = socket(d->at.at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&d->at.at, d->at.n) < 0)
		abort();
	return fd;
}

/* How often a text was logged. */
static unsigned door_logged(struct door *d, const char *text)
{
	off_t size = lseek(d->log, 0, SEEK_END);
	char *all = xcalloc((size_t)size + 1, 1);
	unsigned n = 0;
	if (pread(d->log, all, (size_t)size, 0) != size)
		abort();
	for (const char *at = all; (at = strstr(at, text)); at++)
		n++;
	free(all);
	return n;
}

static void node_connect(struct door *d)
{
	d->e.node.conn = conn_new(d->e.loop, door_socket(d), false, &d->e.node_options);
}

TEST(a_listener_hands_over_what_has_opened)
{
	for (int kind = 0; kind < 2; kind++) {
		struct door d;
		char address[512];
		snprintf(address, sizeof address, "%s/sock", unit_tmpdir());
		door_open(&d, kind ? address : "127.0.0.1:0", !kind, 0);
		node_connect(&d);
		ASSERT(UNTIL(d.e.loop, d.e.node.is_open && d.n_opened == 1));
		ASSERT_STR(d.opened[0]->peer_name, "w");
		ASSERT_EQ(conn_send(d.e.node.conn, WIRE_STOP, &(struct wire_stop){.attempt = 1}), 0);
		ASSERT(UNTIL(d.e.loop, d.opened[0]->n_messages == 1));
		/* What was handed over outlives the listener. */
		listener_free(steal(d.listener));
		ASSERT_EQ(conn_send(d.e.node.conn, WIRE_STOP, &(struct wire_stop){.attempt = 1}), 0);
		ASSERT(UNTIL(d.e.loop, d.opened[0]->n_messages == 2));
		door_close(&d);
	}
}

TEST(each_refused_peer_is_logged_once_with_address_and_reason)
{
	struct door d;
	struct net_address own;
	char text[NET_TEXT_SIZE], line[NET_TEXT_SIZE + 64];
	door_open(&d, "127.0.0.1:0", true, 0);
	int fd = door_socket(&d);
	net_own_address(fd, &own);
	ASSERT_EQ(send(fd, "GET / HTTP/1.0\r\n\r\n", 18, 0), 18);
	snprintf(line, sizeof line, "refused %s: not TLS", net_text(&own, text));
	ASSERT(UNTIL(d.e.loop, door_logged(&d, line) == 1));
	for (int i = 0; i < 5; i++)
		loop_turn(d.e.loop, 1);
	ASSERT_EQ(door_logged(&d, "refused"), 1);
	ASSERT_EQ(d.n_opened, 0);
	close(fd);
	door_close(&d);
}

TEST(silent_peers_go_after_their_time_and_others_are_served_meanwhile)
{
	struct door d;
	int fd[200];
	door_open(&d, "127.0.0.1:0", true, 0);
	ends_stand_still();
	for (size_t i = 0; i < countof(fd); i++) {
		fd[i] = door_socket(&d);
		loop_turn(d.e.loop, 0);
	}
	node_connect(&d);
	ASSERT(UNTIL(d.e.loop, d.e.node.is_open));
	ASSERT_EQ(door_logged(&d, "refused"), 0);
	ends_skipped_usec += 5500000;
	ASSERT(UNTIL(d.e.loop, door_logged(&d, "no TLS handshake within 5 s") > 0));
	char c;
	for (size_t i = 0; i < countof(fd); i++) {
		ASSERT(UNTIL(d.e.loop, recv(fd[i], &c, 1, MSG_DONTWAIT) == 0));
		close(fd[i]);
	}
	/* The log is not flooded by them. */
	ASSERT(door_logged(&d, "refused") <= 45);
	ASSERT(!d.e.node.is_closed);
	door_close(&d);
}

TEST(when_too_many_wait_who_has_for_long_goes)
{
	struct door d;
	int fd[10];
	char c;
	door_open(&d, "127.0.0.1:0", true, 4);
	ends_stand_still();
	for (size_t i = 0; i < countof(fd); i++) {
		fd[i] = door_socket(&d);
		loop_turn(d.e.loop, 5);
	}
	for (size_t i = 0; i < 10; i++)
		ASSERT(recv(fd[i], &c, 1, MSG_DONTWAIT) < 0);
	for (size_t round = 0; round < 2; round++) {
		if (round == 1)
			node_connect(&d);
		for (size_t i = 0; i < 10; i++)
			loop_turn(d.e.loop, 5);
		ASSERT(!d.e.node.is_open);
		ends_skipped_usec += CONN_HANDSHAKE_USEC / 2;
		for (size_t i = 0; i < 4; i++)
			ASSERT(UNTIL(d.e.loop, recv(fd[4 * round + i], &c, 1, MSG_DONTWAIT) == 0));
	}
	for (size_t i = 8; i < 10; i++)
		ASSERT(recv(fd[i], &c, 1, MSG_DONTWAIT) < 0);
	ASSERT(UNTIL(d.e.loop, d.e.node.is_open));
	for (size_t i = 0; i < 10; i++)
		close(fd[i]);
	door_close(&d);
}

TEST(of_a_storm_of_good_peers_none_is_refused)
{
	struct door d;
	struct end nodes[40];
	memset(nodes, 0, sizeof nodes);
	door_open(&d, "127.0.0.1:0", true, 4);
	ends_stand_still();
	for (size_t i = 0; i < countof(nodes); i++) {
		struct conn_options o = d.e.node_options;
		o.owner = &nodes[i];
		nodes[i].conn = conn_new(d.e.loop, door_socket(&d), false, &o);
	}
	for (size_t i = 0; i < countof(nodes); i++) {
		/* Each turn takes little of their patience. */
		ASSERT(UNTIL(d.e.loop, (ends_skipped_usec += 100, nodes[i].is_open || nodes[i].is_closed)));
		ASSERT(nodes[i].is_open);
	}
	ASSERT_EQ(d.n_opened, countof(nodes));
	ASSERT_EQ(door_logged(&d, "refused"), 0);
	for (size_t i = 0; i < countof(nodes); i++)
		conn_free(nodes[i].conn);
	door_close(&d);
}

TEST(in_a_crowd_who_has_gone_meanwhile_is_not_greeted)
{
	struct door d;
	int fd[3];
	door_open(&d, "127.0.0.1:0", true, 4);
	ends_stand_still();
	for (size_t i = 0; i < countof(fd); i++)
		fd[i] = door_socket(&d);
	for (size_t i = 0; i < 10; i++)
		loop_turn(d.e.loop, 5);
	for (size_t i = 0; i < 20; i++)
		close(door_socket(&d));
	node_connect(&d);
	ASSERT(UNTIL(d.e.loop, d.e.node.is_open));
	ASSERT_EQ(door_logged(&d, "refused"), 0);
	for (size_t i = 0; i < countof(fd); i++)
		close(fd[i]);
	door_close(&d);
}

TEST(without_descriptors_the_listener_pauses_and_goes_on_later)
{
	struct door d;
	struct rlimit old, none;
	int fd[20];
	door_open(&d, "127.0.0.1:0", true, 0);
	ends_stand_still();
	for (size_t i = 0; i < countof(fd); i++)
		fd[i] = door_socket(&d);
	getrlimit(RLIMIT_NOFILE, &old);
	none = old;
	none.rlim_cur = (rlim_t)fd[countof(fd) - 1] + 3;
	setrlimit(RLIMIT_NOFILE, &none);
	for (int i = 0; i < 20; i++)
		loop_turn(d.e.loop, 1);
	setrlimit(RLIMIT_NOFILE, &old);
	ASSERT_EQ(door_logged(&d, "accept: Too many open files"), 1);
	/* It does not spin: a turn that may sleep does. */
	uint64_t begun = real_usec();
	loop_turn(d.e.loop, 1);
	loop_turn(d.e.loop, 1);
	ASSERT(real_usec() - begun >= 1000);
	ends_skipped_usec += 200000;
	for (size_t i = 0; i < countof(fd); i++)
		close(fd[i]);
	node_connect(&d);
	ASSERT(UNTIL(d.e.loop, d.e.node.is_open));
	door_close(&d);
}

TEST(another_user_is_refused_at_the_local_socket)
{
	struct door d;
	char address[512];
	if (geteuid() != 0)
		SKIP("needs root to become another user");
	snprintf(address, sizeof address, "%s/sock", unit_tmpdir());
	door_open(&d, address, false, 0);
	/* Even where file modes would let him in. */
	chmod(unit_tmpdir(), 0777);
	chmod(address, 0777);
	pid_t pid = fork();
	if (pid == 0) {
		if (setgid(12345) || setuid(12345))
			_exit(2);
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (connect(fd, (struct sockaddr *)&d.at.at, d.at.n) < 0)
			_exit(3);
		char c;
		_exit(recv(fd, &c, 1, 0) <= 0 ? 0 : 1);
	}
	ASSERT(UNTIL(d.e.loop, door_logged(&d, "refused uid 12345") == 1));
	int status = -1;
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
	ASSERT_EQ(d.n_opened, 0);
	door_close(&d);
}
