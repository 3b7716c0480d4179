/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dial.h"
#include "common/listen.h"
#include "tests/unit/ends.h"

struct phone {
	struct ends e;
	struct dial *dial;
	struct net_address at;
	char address[NET_TEXT_SIZE];
	struct listener *listener;
	int place; /* keeps the port from everybody else while nobody listens on it */
	unsigned n_fails;
	int error;
	char reason[256];
	bool is_final, frees_itself, gives_up;
};

static bool phone_on_fail(void *owner, int error, const char *reason, bool is_final)
{
	struct phone *p = container_of((struct end *)owner, struct phone, e.node);
	p->n_fails++;
	p->error = error;
	p->is_final = is_final;
	snprintf(p->reason, sizeof p->reason, "%s", reason);
	if (p->frees_itself)
		dial_free(steal(p->dial));
	return !is_final && !p->gives_up;
}

static void phone_listen(struct phone *p)
{
	int fd = net_listen(&p->at, 16);
	if (fd < 0)
		abort();
	net_own_address(fd, &p->at);
	struct listener_options o = {.conn = p->e.vined_options};
	p->listener = listener_new(p->e.loop, fd, &o);
}

static void phone_init(struct phone *p)
{
	memset(p, 0, sizeof *p);
	ends_init(&p->e, true);
	/* A port that nobody listens on yet. */
	net_parse("127.0.0.1:0", &p->at);
	p->place = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (setsockopt(p->place, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) < 0 ||
	    bind(p->place, (struct sockaddr *)&p->at.at, p->at.n) < 0)
		abort();
	net_own_address(p->place, &p->at);
	net_text(&p->at, p->address);
}

static void phone_dial(struct phone *p)
{
	struct dial_options o = {.conn = p->e.node_options, .address = p->address, .on_fail = phone_on_fail};
	p->dial = dial_new(p->e.loop, &o);
}

static void phone_fini(struct phone *p)
{
	dial_free(p->dial);
	listener_free(p->listener);
	p->e.node.conn = NULL;
	close(p->place);
	ends_fini(&p->e);
}

TEST(a_dial_tries_until_somebody_answers)
{
	struct phone p;
	phone_init(&p);
	phone_dial(&p);
	ASSERT(dial_conn(p.dial) == NULL);
	ASSERT(UNTIL(p.e.loop, p.n_fails == 3));
	ASSERT_EQ(p.error, -ECONNREFUSED);
	ASSERT(!p.is_final);
	/* A connection that never opened tells its owner nothing. */
	ASSERT_EQ(p.e.node.n_closed, 0);
	phone_listen(&p);
	ASSERT(UNTIL(p.e.loop, p.e.node.is_open && p.e.vined.is_open));
	ASSERT(dial_conn(p.dial) == p.e.node.conn);
	phone_fini(&p);
}

TEST(a_lost_connection_is_made_again)
{
	struct phone p;
	phone_init(&p);
	phone_listen(&p);
	phone_dial(&p);
	for (unsigned i = 1; i <= 3; i++) {
		ASSERT(UNTIL(p.e.loop, p.e.node.is_open && p.e.vined.is_open));
		p.e.vined.is_open = false;
		conn_free(steal(p.e.vined.conn));
		ASSERT(UNTIL(p.e.loop, p.e.node.n_closed == i));
		ASSERT_EQ(p.n_fails, i);
		ASSERT(dial_conn(p.dial) == NULL);
	}
	phone_fini(&p);
}

TEST(back_off_doubles_up_to_its_limit)
{
	struct phone p;
	phone_init(&p);
	ends_stand_still();
	phone_dial(&p);
	uint64_t last = 0, limit = 50000;
	for (unsigned i = 1; i <= 12; i++) {
		/* Time goes in steps of a millisecond: what the dial waits for is what passes. */
		uint64_t passed = 0;
		while (p.n_fails < i && passed < 10000000) {
			ends_skipped_usec += 1000;
			passed += 1000;
			loop_turn(p.e.loop, 0);
		}
		ASSERT_EQ(p.n_fails, i);
		if (i > 1) {
			ASSERT(passed + 60000 > limit / 2);
			ASSERT(passed < limit + 60000);
			limit = min(limit * 2, (uint64_t)5000000);
		}
		last = passed;
	}
	ASSERT(last >= 2000000);
	phone_fini(&p);
}

TEST(what_does_not_mend_is_final)
{
	static const struct wire_hello major = {.major = 9, .role = TLS_ROLE_NODE, .version = "9"},
				       cluster = {.role = TLS_ROLE_NODE, .cluster = "c9"};
	for (int i = 0; i < 4; i++) {
		struct phone p;
		uint8_t other[TLS_SECRET_SIZE] = "other";
		phone_init(&p);
		phone_listen(&p);
		if (i == 0)
			p.e.node_options.hello = &major;
		if (i == 1)
			p.e.node_options.hello = &cluster;
		if (i >= 2) {
			tls_context_free(p.e.tls_node);
			p.e.tls_node = i == 2 ? tls_context_new(other, TLS_ROLE_NODE, 1u << TLS_ROLE_VINED)
					      : tls_context_new(ends_secret, TLS_ROLE_VINED, 1u << TLS_ROLE_VINED);
			p.e.node_options.tls = p.e.tls_node;
		}
		phone_dial(&p);
		ASSERT(UNTIL(p.e.loop, p.n_fails == 1));
		ASSERT(p.is_final);
		static const char *const says[] = {"speaks protocol", "another cluster", "wrong secret", "wrong role"};
		ASSERT(strstr(p.reason, says[i]) != NULL);
		ends_skipped_usec += 60000000;
		for (int k = 0; k < 10; k++)
			loop_turn(p.e.loop, 1);
		ASSERT_EQ(p.n_fails, 1);
		if (p.e.vined.is_closed)
			conn_free(steal(p.e.vined.conn));
		phone_fini(&p);
	}
}

TEST(a_bye_that_is_final_is_obeyed)
{
	struct phone p;
	phone_init(&p);
	phone_listen(&p);
	phone_dial(&p);
	ASSERT(UNTIL(p.e.loop, p.e.node.is_open && p.e.vined.is_open));
	conn_close(p.e.vined.conn, "this node was removed", true);
	ASSERT(UNTIL(p.e.loop, p.n_fails == 1));
	ASSERT(p.is_final);
	ASSERT_EQ(p.error, 0);
	ASSERT_STR(p.reason, "this node was removed");
	phone_fini(&p);
}

TEST(a_dial_may_be_freed_when_it_fails)
{
	for (int i = 0; i < 2; i++) {
		struct phone p;
		phone_init(&p);
		if (i)
			phone_listen(&p);
		phone_dial(&p);
		p.frees_itself = true;
		if (i) {
			ASSERT(UNTIL(p.e.loop, p.e.vined.is_open));
			conn_close(p.e.vined.conn, "go", false);
		}
		ASSERT(UNTIL(p.e.loop, p.n_fails == 1));
		for (int k = 0; k < 5; k++)
			loop_turn(p.e.loop, 1);
		ASSERT_EQ(p.n_fails, 1);
		phone_fini(&p);
	}
}

static void free_the_dial(struct end *e)
{
	struct phone *p = container_of(e, struct phone, e.node);
	dial_free(steal(p->dial));
}

TEST(a_dial_may_be_freed_when_its_connection_opens_or_closes)
{
	for (int i = 0; i < 2; i++) {
		struct phone p;
		phone_init(&p);
		phone_listen(&p);
		if (i)
			p.e.node.on_open = free_the_dial;
		else
			p.e.node.on_close = free_the_dial;
		phone_dial(&p);
		ASSERT(UNTIL(p.e.loop, p.e.vined.is_open));
		if (!i)
			conn_close(p.e.vined.conn, "go", false);
		ASSERT(UNTIL(p.e.loop, !p.dial && p.e.vined.is_closed));
		ASSERT_EQ(p.n_fails, 0);
		phone_fini(&p);
	}
}

TEST(what_is_no_address_is_final)
{
	struct phone p;
	phone_init(&p);
	snprintf(p.address, sizeof p.address, "nowhere without a port");
	phone_dial(&p);
	ASSERT(UNTIL(p.e.loop, p.n_fails == 1));
	ASSERT(p.is_final);
	ASSERT(strstr(p.reason, "nowhere without a port") != NULL);
	phone_fini(&p);
}
