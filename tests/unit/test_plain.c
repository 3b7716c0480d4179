/* SPDX-License-Identifier: Apache-2.0
 * Tickets: bytes that nobody encrypts, for who was given the right to them. */
#include "common/path.h"
#include "tests/unit/give_world.h"
#include "tests/unit/unit.h"
#include "vinefs/plain.h"

#include <signal.h>

enum { CODEC_TICKET = 2 };

struct plain_world {
	struct giver g;
	struct client a;
	struct plain *plain;
};

static void open_plain(struct plain_world *w)
{
	_free_ char *path = world_files("tree", 30, 100000, 7); /* packed: chunks of 256 KiB */
	signal(SIGPIPE, SIG_IGN);
	giver_open(&w->g, path);
	client_open(&w->a, &w->g);
	w->plain = plain_new(w->g.world.loop, "127.0.0.1:1");
	ASSERT(w->plain);
	serve_use_plain(w->g.serve, w->plain);
}

static void close_plain(struct plain_world *w)
{
	client_close(&w->a);
	serve_use_plain(w->g.serve, NULL);
	plain_free(w->plain);
	giver_close(&w->g);
}

static int call_on(const char *address)
{
	struct net_address a;
	ASSERT_EQ(net_parse(address, &a), 0);
	int fd = net_connect(&a);
	ASSERT(fd >= 0);
	return fd;
}

/* All n bytes, or as many as came before it was hung up. */
static size_t hear(struct plain_world *w, int fd, uint8_t *to, size_t n)
{
	size_t have = 0;
	for (uint64_t end = real_usec() + UNIT_PATIENCE_USEC; have < n && real_usec() < end;) {
		loop_turn(w->g.world.loop, 1);
		ssize_t got = recv(fd, to + have, n - have, MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno != EAGAIN && errno != ENOTCONN))
			return have;
		have += got > 0 ? (size_t)got : 0;
	}
	return have;
}

static void say(struct plain_world *w, int fd, const void *p, size_t n)
{
	ASSERT(UNTIL(w->g.world.loop, send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)n));
}

static bool is_hung_up(struct plain_world *w, int fd)
{
	uint8_t byte;
	ssize_t n = -1;
	return UNTIL(w->g.world.loop,
		     (n = recv(fd, &byte, 1, MSG_DONTWAIT)) == 0 || (n < 0 && errno != EAGAIN && errno != ENOTCONN)) &&
	       n <= 0;
}

static void get_ticket(struct plain_world *w, struct want *x)
{
	*x = (struct want){.codecs = CODEC_TICKET};
	want_any(x, &w->a, SWARM_BULK);
	ASSERT(UNTIL(w->g.world.loop, x->n_replies));
	ASSERT_EQ(x->error, 0);
	ASSERT_EQ(x->ticket.n, PLAIN_TICKET_SIZE);
	ASSERT_STR(x->address, plain_address(w->plain));
	ASSERT_EQ(x->some.size, w->g.copy.sizes[x->some.chunk]);
}

static bool is_chunk(const struct plain_world *w, const struct want *x, const uint8_t *bytes)
{
	return memcmp(bytes, w->g.copy.chunks[x->some.chunk], x->some.size) == 0;
}

TEST(a_ticket_is_worth_its_chunk_and_the_connection_stays_for_the_next)
{
	struct plain_world w;
	open_plain(&w);
	_free_ uint8_t *bytes = xmalloc(1u << 20);
	_close_ int fd = call_on(plain_address(w.plain));
	for (unsigned i = 0; i < 8; i++) {
		struct want x;
		get_ticket(&w, &x);
		say(&w, fd, x.ticket.at, x.ticket.n);
		ASSERT_EQ(hear(&w, fd, bytes, x.some.size), x.some.size);
		ASSERT(is_chunk(&w, &x, bytes));
		want_fini(&x);
	}
	ASSERT_EQ(plain_n_guests(w.plain), 1);
	close_plain(&w);
}

TEST(a_ticket_is_good_once)
{
	struct plain_world w;
	struct want x;
	open_plain(&w);
	_free_ uint8_t *bytes = xmalloc(1u << 20);
	get_ticket(&w, &x);
	_close_ int fd = call_on(plain_address(w.plain)), again = call_on(plain_address(w.plain));
	say(&w, fd, x.ticket.at, x.ticket.n);
	ASSERT_EQ(hear(&w, fd, bytes, x.some.size), x.some.size);
	say(&w, again, x.ticket.at, x.ticket.n);
	ASSERT(is_hung_up(&w, again));
	say(&w, fd, x.ticket.at, x.ticket.n);
	ASSERT(is_hung_up(&w, fd));
	want_fini(&x);
	close_plain(&w);
}

TEST(a_wrong_ticket_is_hung_up_on_and_a_part_of_one_waited_for)
{
	struct plain_world w;
	struct want x;
	open_plain(&w);
	_free_ uint8_t *bytes = xmalloc(1u << 20);
	get_ticket(&w, &x);
	_close_ int wrong = call_on(plain_address(w.plain)), slow = call_on(plain_address(w.plain));
	uint8_t other[PLAIN_TICKET_SIZE];
	memcpy(other, x.ticket.at, sizeof other);
	other[PLAIN_TICKET_SIZE - 1] ^= 1;
	say(&w, wrong, other, sizeof other);
	say(&w, slow, x.ticket.at, 10);
	ASSERT(is_hung_up(&w, wrong));
	say(&w, slow, x.ticket.at + 10, x.ticket.n - 10);
	ASSERT_EQ(hear(&w, slow, bytes, x.some.size), x.some.size);
	ASSERT(is_chunk(&w, &x, bytes));
	want_fini(&x);
	close_plain(&w);
}

TEST(a_late_ticket_and_a_silent_guest_are_no_good)
{
	struct plain_world w;
	struct want x;
	open_plain(&w);
	get_ticket(&w, &x);
	_close_ int silent = call_on(plain_address(w.plain));
	ASSERT(UNTIL(w.g.world.loop, plain_n_guests(w.plain) == 1));
	w.g.world.later_usec += 6000000;
	ASSERT(is_hung_up(&w, silent));
	/* By the time it says it, not by when somebody looks. */
	_close_ int late = call_on(plain_address(w.plain));
	ASSERT(UNTIL(w.g.world.loop, plain_n_guests(w.plain) == 1));
	w.g.world.later_usec += 25000000;
	say(&w, late, x.ticket.at, x.ticket.n);
	ASSERT(is_hung_up(&w, late));
	want_fini(&x);
	close_plain(&w);
}

TEST(who_asked_and_has_gone_has_no_ticket_any_more)
{
	struct plain_world w;
	struct want x;
	open_plain(&w);
	get_ticket(&w, &x);
	conn_abort(w.a.near, ECONNRESET, "as told");
	ASSERT(UNTIL(w.g.world.loop, !w.a.far));
	_close_ int fd = call_on(plain_address(w.plain));
	say(&w, fd, x.ticket.at, x.ticket.n);
	ASSERT(is_hung_up(&w, fd));
	want_fini(&x);
	close_plain(&w);
}

TEST(who_leaves_in_the_middle_of_it_keeps_nobody_from_the_rest)
{
	struct plain_world w;
	open_plain(&w);
	for (unsigned i = 0; i < 6; i++) {
		struct want x;
		uint8_t some[1000];
		get_ticket(&w, &x);
		int fd = call_on(plain_address(w.plain));
		say(&w, fd, x.ticket.at, x.ticket.n);
		ASSERT_EQ(hear(&w, fd, some, sizeof some), sizeof some);
		close(fd);
		want_fini(&x);
	}
	struct want x = {.error = 0};
	want_any(&x, &w.a, SWARM_BULK);
	ASSERT(UNTIL(w.g.world.loop, x.n_ends) && want_is_good(&x));
	want_fini(&x);
	close_plain(&w);
}

TEST(a_flood_of_guests_is_bounded_and_ends)
{
	struct plain_world w;
	int fd[600];
	open_plain(&w);
	for (size_t i = 0; i < countof(fd); i++) {
		fd[i] = call_on(plain_address(w.plain));
		loop_turn(w.g.world.loop, 0);
		ASSERT(plain_n_guests(w.plain) <= 512);
	}
	ASSERT(UNTIL(w.g.world.loop, plain_n_guests(w.plain) == 512));
	w.g.world.later_usec += 6000000;
	ASSERT(UNTIL(w.g.world.loop, plain_n_guests(w.plain) == 0));
	for (size_t i = 0; i < countof(fd); i++)
		close(fd[i]);
	struct want x = {.error = 0};
	want_any(&x, &w.a, SWARM_BULK);
	ASSERT(UNTIL(w.g.world.loop, x.n_ends) && want_is_good(&x));
	want_fini(&x);
	close_plain(&w);
}
