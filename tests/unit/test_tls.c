/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/ends.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#define NODE (1u << TLS_ROLE_NODE)
#define VINED (1u << TLS_ROLE_VINED)
#define CLIENT (1u << TLS_ROLE_CLIENT)

struct pair {
	struct tls_context *connecting, *accepting;
	int fd[2];
	struct tls *client, *server;
	int client_result, server_result;
};

static void pair_init(struct pair *p, const uint8_t *secret, enum tls_role own, unsigned taken)
{
	*p = (struct pair){
		.connecting = tls_context_new(secret, own, VINED | NODE),
		.accepting = tls_context_new(ends_secret, TLS_ROLE_VINED, taken),
	};
}

/* What was sent over loopback is there at once, but on a busy machine. */
static void pair_handshake_again(struct pair *p, enum tls_role wanted)
{
	p->client = tls_connect(p->connecting, p->fd[0], wanted);
	p->server = tls_accept(p->accepting, p->fd[1]);
	p->client_result = p->server_result = -EAGAIN;
	uint64_t end = real_usec() + UNIT_PATIENCE_USEC;
	while (real_usec() < end && (p->client_result == -EAGAIN || p->server_result == -EAGAIN)) {
		if (p->client_result == -EAGAIN)
			p->client_result = tls_handshake(p->client);
		if (p->server_result == -EAGAIN)
			p->server_result = tls_handshake(p->server);
		/* As the connections do: whoever failed is gone. */
		if (p->server_result < 0 && p->server_result != -EAGAIN)
			shutdown(p->fd[1], SHUT_WR);
		if (p->client_result < 0 && p->client_result != -EAGAIN)
			shutdown(p->fd[0], SHUT_WR);
	}
}

static void pair_handshake(struct pair *p, enum tls_role wanted)
{
	tcp_pair(p->fd);
	pair_handshake_again(p, wanted);
}

static void pair_hang_up(struct pair *p)
{
	tls_free(p->client);
	tls_free(p->server);
	p->client = p->server = NULL;
	close(p->fd[0]);
	close(p->fd[1]);
}

static void pair_fini(struct pair *p)
{
	pair_hang_up(p);
	tls_context_free(p->connecting);
	tls_context_free(p->accepting);
}

/* Reads what is there, which for a client includes the session ticket. */
static ssize_t read_some(struct tls *t, void *p, size_t n)
{
	ssize_t r = -EAGAIN;
	for (uint64_t end = real_usec() + UNIT_PATIENCE_USEC; real_usec() < end && r == -EAGAIN;)
		r = tls_read(t, p, n);
	return r;
}

/* Tickets come with the first read, before any byte: all of them once nothing is on the way any more. */
static void take_tickets(struct pair *p)
{
	int on_the_way = 1;
	char c;
	for (uint64_t end = real_usec() + UNIT_PATIENCE_USEC; real_usec() < end && on_the_way;)
		ASSERT_EQ(ioctl(p->fd[1], SIOCOUTQ, &on_the_way), 0);
	ASSERT_EQ(on_the_way, 0);
	ASSERT_EQ(tls_read(p->client, &c, 1), -EAGAIN);
	tls_free(p->client);
	tls_free(p->server);
}

TEST(two_ends_with_one_secret_agree_and_know_each_other)
{
	struct pair p;
	char text[8] = "";
	pair_init(&p, ends_secret, TLS_ROLE_NODE, NODE | CLIENT);
	pair_handshake(&p, TLS_ROLE_VINED);
	ASSERT_EQ(p.client_result, 0);
	ASSERT_EQ(p.server_result, 0);
	ASSERT_EQ(tls_peer_role(p.server), TLS_ROLE_NODE);
	ASSERT_EQ(tls_peer_role(p.client), TLS_ROLE_VINED);
	ASSERT(!tls_is_resumed(p.client) && !tls_is_resumed(p.server));
	ASSERT_EQ(tls_write(p.client, "hello", 5), 5);
	ASSERT_EQ(read_some(p.server, text, sizeof text), 5);
	ASSERT(memcmp(text, "hello", 5) == 0);
	ASSERT(!tls_has_pending(p.server));
	tls_shutdown(p.server);
	ASSERT_EQ(read_some(p.client, text, sizeof text), 0);
	pair_fini(&p);
}

/* Three records, of which the last is cut in two: what one call has taken is known to be there, and that there is no more. */
TEST(records_that_came_together_are_taken_by_one_call)
{
	struct pair p;
	uint8_t taken[256];
	char text[8];
	int fd[2], one = 1;
	pair_init(&p, ends_secret, TLS_ROLE_NODE, NODE);
	pair_handshake(&p, TLS_ROLE_VINED);
	ASSERT_EQ(p.server_result, 0);
	setsockopt(p.fd[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	ASSERT(!tls_is_drained(p.server));
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(tls_write(p.client, "hello", 5), 5);
	/* What is on its way is taken out, and given back in two pieces. */
	tcp_pair(fd);
	ssize_t n = -1;
	for (uint64_t end = real_usec() + UNIT_PATIENCE_USEC; real_usec() < end && n < 3 * 27;)
		n = recv(p.fd[1], taken, sizeof taken, MSG_PEEK | MSG_DONTWAIT);
	ASSERT_EQ(n, 3 * 27);
	ASSERT_EQ(recv(p.fd[1], taken, sizeof taken, MSG_DONTWAIT), n);
	dup2(fd[1], p.fd[1]);
	ASSERT_EQ(send(fd[0], taken, (size_t)n - 1, 0), n - 1);
	ASSERT_EQ(read_some(p.server, text, sizeof text), 5);
	ASSERT(tls_has_pending(p.server) && !tls_is_drained(p.server));
	ASSERT_EQ(read_some(p.server, text, sizeof text), 5);
	ASSERT(tls_has_pending(p.server) && !tls_is_drained(p.server));
	ASSERT_EQ(tls_read(p.server, text, sizeof text), -EAGAIN);
	ASSERT_EQ(send(fd[0], taken + n - 1, 1, 0), 1);
	ASSERT_EQ(read_some(p.server, text, sizeof text), 5);
	ASSERT(memcmp(text, "hello", 5) == 0);
	ASSERT(!tls_has_pending(p.server));
	ASSERT_EQ(tls_read(p.server, text, sizeof text), -EAGAIN);
	ASSERT(tls_is_drained(p.server));
	close(fd[0]);
	close(fd[1]);
	pair_fini(&p);
}

/* The kernel would hold back what more is to follow for 200 ms. */
TEST(the_last_record_of_many_does_not_wait_for_more)
{
	static uint8_t sent[40000], got[sizeof sent];
	struct pair p;
	int n_unsent = -1;
	size_t n_got = 0;
	pair_init(&p, ends_secret, TLS_ROLE_NODE, NODE);
	pair_handshake(&p, TLS_ROLE_VINED);
	ASSERT_EQ(p.server_result, 0);
	for (size_t i = 0; i < sizeof sent; i++)
		sent[i] = (uint8_t)(i * 7);
	for (size_t n_sent = 0; n_sent < sizeof sent;) {
		ssize_t n = tls_write(p.client, sent + n_sent, sizeof sent - n_sent);
		ASSERT(n > 0);
		n_sent += (size_t)n;
	}
	ASSERT_EQ(ioctl(p.fd[0], SIOCOUTQNSD, &n_unsent), 0);
	ASSERT_EQ(n_unsent, 0);
	while (n_got < sizeof got) {
		ssize_t n = tls_read(p.server, got + n_got, sizeof got - n_got);
		ASSERT(n > 0 || n == -EAGAIN);
		n_got += n > 0 ? (size_t)n : 0;
	}
	ASSERT(memcmp(sent, got, sizeof sent) == 0);
	pair_fini(&p);
}

TEST(each_pair_of_roles_has_its_own_key_and_a_failure_says_why)
{
	uint8_t other[TLS_SECRET_SIZE] = "another";
	static const struct {
		bool wrong_secret;
		enum tls_role own;
		unsigned taken;
		enum tls_role wanted;
		const char *server, *client;
	} table[] = {
		{true, TLS_ROLE_NODE, NODE, TLS_ROLE_VINED, "wrong secret", "wrong secret"},
		{false, TLS_ROLE_CLIENT, NODE, TLS_ROLE_VINED, "wrong role", "wrong role"},
		{false, TLS_ROLE_NODE, NODE, TLS_ROLE_NODE, "wrong role", "wrong role"},
		{false, TLS_ROLE_VINED, NODE, TLS_ROLE_VINED, "wrong role", "wrong role"},
	};
	for (size_t i = 0; i < countof(table); i++) {
		struct pair p;
		pair_init(&p, table[i].wrong_secret ? other : ends_secret, table[i].own, table[i].taken);
		pair_handshake(&p, table[i].wanted);
		ASSERT_EQ(p.server_result, -EPROTO);
		ASSERT_EQ(p.client_result, -EPROTO);
		ASSERT(has_prefix(tls_reason(p.server), table[i].server));
		ASSERT(has_prefix(tls_reason(p.client), table[i].client));
		ASSERT(tls_is_final(p.client) && tls_is_final(p.server));
		ASSERT_EQ(tls_peer_role(p.server), TLS_ROLE_NONE);
		pair_fini(&p);
	}
}

TEST(a_session_is_resumed_and_keeps_the_role)
{
	struct pair p;
	pair_init(&p, ends_secret, TLS_ROLE_NODE, NODE | CLIENT);
	pair_handshake(&p, TLS_ROLE_VINED);
	take_tickets(&p);
	/* The peer's address is that of a new port each time, so connect again over the sockets of this pair. */
	pair_handshake_again(&p, TLS_ROLE_VINED);
	ASSERT_EQ(p.client_result, 0);
	ASSERT_EQ(p.server_result, 0);
	ASSERT(tls_is_resumed(p.client));
	ASSERT(tls_is_resumed(p.server));
	ASSERT_EQ(tls_peer_role(p.server), TLS_ROLE_NODE);
	ASSERT_EQ(tls_peer_role(p.client), TLS_ROLE_VINED);
	pair_fini(&p);
}

TEST(a_ticket_of_another_server_falls_back_to_the_key)
{
	struct pair p;
	pair_init(&p, ends_secret, TLS_ROLE_NODE, NODE);
	pair_handshake(&p, TLS_ROLE_VINED);
	take_tickets(&p);
	/* The server was restarted: it has forgotten the key of its tickets. */
	tls_context_free(p.accepting);
	p.accepting = tls_context_new(ends_secret, TLS_ROLE_VINED, NODE);
	pair_handshake_again(&p, TLS_ROLE_VINED);
	ASSERT_EQ(p.client_result, 0);
	ASSERT_EQ(p.server_result, 0);
	ASSERT(!tls_is_resumed(p.client) && !tls_is_resumed(p.server));
	ASSERT_EQ(tls_peer_role(p.server), TLS_ROLE_NODE);
	pair_fini(&p);
}

/* Feeds raw bytes to a server; its final answer. */
static int serve_raw(const void *bytes, size_t n, char reason[128])
{
	struct tls_context *c = tls_context_new(ends_secret, TLS_ROLE_VINED, NODE);
	int fd[2];
	tcp_pair(fd);
	struct tls *t = tls_accept(c, fd[1]);
	if (n && send(fd[0], bytes, n, MSG_NOSIGNAL) != (ssize_t)n)
		abort();
	shutdown(fd[0], SHUT_WR);
	int r = -EAGAIN;
	for (uint64_t end = real_usec() + UNIT_PATIENCE_USEC; real_usec() < end && r == -EAGAIN;)
		r = tls_handshake(t);
	snprintf(reason, 128, "%s", tls_reason(t));
	tls_free(t);
	tls_context_free(c);
	close(fd[0]);
	close(fd[1]);
	return r;
}

TEST(what_is_not_tls_is_named_so)
{
	char reason[128];
	ASSERT_EQ(serve_raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 28, reason), -EPROTO);
	ASSERT_STR(reason, "not TLS");
	ASSERT_EQ(serve_raw("SSH-2.0-OpenSSH_9.2\r\n", 21, reason), -EPROTO);
	ASSERT_STR(reason, "not TLS");
	ASSERT_EQ(serve_raw("", 0, reason), -ECONNRESET);
	ASSERT_STR(reason, "closed without a word");
	/* A handshake message that says it is 16 MiB long makes nobody allocate them. */
	ASSERT_EQ(serve_raw("\x16\x03\x01\x02\x00\x01\xff\xff\xff\x03\x03", 11, reason), -EPROTO);
	ASSERT(has_prefix(reason, "not TLS"));
}

TEST(random_bytes_never_pass_the_handshake)
{
	uint8_t bytes[600];
	char reason[128];
	unsigned seed = 7;
	for (int round = 0; round < 300; round++) {
		for (size_t i = 0; i < sizeof bytes; i++)
			bytes[i] = (uint8_t)(rand_r(&seed) >> 3);
		if (round % 2)
			memcpy(bytes, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11);
		int r = serve_raw(bytes, sizeof bytes, reason);
		ASSERT(r < 0 && r != -EAGAIN);
		ASSERT(reason[0] != 0);
	}
}

TEST(an_echo_of_our_own_bytes_opens_nothing)
{
	struct tls_context *c = tls_context_new(ends_secret, TLS_ROLE_VINED, VINED | NODE);
	uint8_t bytes[4096];
	int fd[2];
	tcp_pair(fd);
	struct tls *t = tls_connect(c, fd[0], TLS_ROLE_VINED);
	int r = tls_handshake(t);
	for (uint64_t end = real_usec() + UNIT_PATIENCE_USEC; real_usec() < end && r == -EAGAIN;) {
		ssize_t n = recv(fd[1], bytes, sizeof bytes, MSG_DONTWAIT);
		if (n > 0)
			send(fd[1], bytes, (size_t)n, MSG_NOSIGNAL);
		r = tls_handshake(t);
	}
	ASSERT_EQ(r, -EPROTO);
	tls_free(t);
	tls_context_free(c);
	close(fd[0]);
	close(fd[1]);
}

TEST(a_recorded_session_played_again_is_refused)
{
	struct pair p;
	uint8_t recorded[16384];
	size_t n = 0;
	char reason[128];
	pair_init(&p, ends_secret, TLS_ROLE_NODE, NODE);
	int front[2], back[2];
	tcp_pair(front);
	tcp_pair(back);
	for (int i = 0; i < 2; i++) {
		fcntl(front[i], F_SETFL, O_NONBLOCK);
		fcntl(back[i], F_SETFL, O_NONBLOCK);
	}
	p.client = tls_connect(p.connecting, front[0], TLS_ROLE_VINED);
	p.server = tls_accept(p.accepting, back[1]);
	int a = -EAGAIN, b = -EAGAIN;
	for (uint64_t end = real_usec() + UNIT_PATIENCE_USEC; real_usec() < end && (a == -EAGAIN || b == -EAGAIN);) {
		uint8_t pass[8192];
		a = a == -EAGAIN ? tls_handshake(p.client) : a;
		ssize_t k = recv(front[1], recorded + n, sizeof recorded - n, 0);
		if (k > 0 && send(back[0], recorded + n, (size_t)k, 0) == k)
			n += (size_t)k;
		b = b == -EAGAIN ? tls_handshake(p.server) : b;
		k = recv(back[0], pass, sizeof pass, 0);
		if (k > 0 && send(front[1], pass, (size_t)k, 0) != k)
			abort();
	}
	ASSERT_EQ(a, 0);
	ASSERT_EQ(b, 0);
	ASSERT(n > 200);
	int r = serve_raw(recorded, n, reason);
	ASSERT(r < 0 && r != -EAGAIN);
	p.fd[0] = front[0];
	p.fd[1] = back[1];
	pair_fini(&p);
	close(front[1]);
	close(back[0]);
}

TEST(bytes_altered_on_the_way_end_the_connection)
{
	struct pair p;
	char text[64];
	pair_init(&p, ends_secret, TLS_ROLE_NODE, NODE);
	pair_handshake(&p, TLS_ROLE_VINED);
	uint8_t forged[40] = {0x17, 3, 3, 0, 35};
	ASSERT_EQ(send(p.fd[0], forged, sizeof forged, 0), (ssize_t)sizeof forged);
	ASSERT_EQ(read_some(p.server, text, sizeof text), -EPROTO);
	ASSERT(has_prefix(tls_reason(p.server), "altered on the way"));
	ASSERT(!tls_is_final(p.server));
	pair_fini(&p);
}
