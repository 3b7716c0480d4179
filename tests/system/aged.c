/* SPDX-License-Identifier: Apache-2.0
 * Stands between two of our programs and makes one of them look as if it were of another version.
 *
 *   aged SOCKET TARGET older|newer|major peer|daemon      until SIGTERM
 *
 * Listens on SOCKET and passes frames to and from TARGET, both Unix sockets. `peer`: whoever connects is the odd one; `daemon`: TARGET is.
 *   older   of the last MINOR: it neither says nor is told what came with this one, in fields and messages; a request of a kind that it
 *           does not know is answered so
 *   newer   of the next MINOR: bodies and records have more at their ends, and it asks and tells what nobody knows
 *   major   of the next MAJOR
 * Prints "unknown N" for each message of type N that the older one did not know, "answered" when the other one of the newer one
 * said what it has to say to an unknown request. */
#include "common/net.h"
#include "common/wire_table.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS_MOST 64
#define TURN_MSEC 100 /* so soon SIGTERM is seen */
#define UNKNOWN_TYPE 60000
#define UNKNOWN_ID ((uint64_t)1 << 62)

/* How many fields there were in the last MINOR, where there were fewer. */
static const struct {
	const char *name;
	unsigned n;
} fewer[] = {{"JOIN", 14}, {"ENDED", 20}, {"RESULT", 25}, {"FETCH", 9}, {"pledge", 2}};
_Static_assert(WIRE_MINOR == 4, "with a new minor this table says what it brought");

enum how { OLDER, NEWER, MAJOR };

struct side {
	int fd;
	struct buf in, out;
	bool is_odd;
};

struct pair {
	struct side side[2];
};

struct body {
	const uint8_t *at, *end;
};

static enum how how;
static struct pair *pairs[PAIRS_MOST];
static volatile sig_atomic_t is_over;

static void must(bool is_true, const char *what)
{
	if (is_true)
		return;
	fprintf(stderr, "aged: %s\n", what);
	exit(1);
}

/* ---- bodies */

static const uint8_t *skip(struct body *b, size_t n)
{
	const uint8_t *p = b->at;
	must((size_t)(b->end - p) >= n, "a body ends within a field");
	b->at += n;
	return p;
}

static uint32_t skip_u32(struct body *b)
{
	return get_le32(skip(b, 4));
}

static void skip_field(struct body *b, uint8_t kind)
{
	uint32_t n;
	switch (kind) {
	case WIRE_KIND_boolean:
	case WIRE_KIND_u8:
		skip(b, 1);
		break;
	case WIRE_KIND_u32:
		skip(b, 4);
		break;
	case WIRE_KIND_u64:
	case WIRE_KIND_i64:
		skip(b, 8);
		break;
	case WIRE_KIND_digest:
		skip(b, 33);
		break;
	case WIRE_KIND_text:
	case WIRE_KIND_bytes:
		skip(b, skip_u32(b));
		break;
	case WIRE_KIND_texts:
		for (n = skip_u32(b); n; n--)
			skip(b, skip_u32(b));
		break;
	case WIRE_KIND_u64s:
		skip(b, (size_t)skip_u32(b) * 8);
		break;
	default:
		must(false, "a field of an unknown kind");
	}
}

static unsigned fields_then(const struct wire_layout *l)
{
	for (size_t i = 0; i < countof(fewer); i++) {
		if (streq(fewer[i].name, l->name))
			return fewer[i].n;
	}
	return UINT32_MAX;
}

static void put_u32(struct buf *to, uint32_t n)
{
	uint8_t bytes[4];
	put_le32(bytes, n);
	buf_put(to, bytes, sizeof bytes);
}

/* The body, or record, as the odd one would say or understand it. */
static void alter(struct buf *to, struct body b, const struct wire_layout *l)
{
	unsigned keep = how == OLDER ? fields_then(l) : UINT32_MAX;
	for (const struct wire_field *f = l->fields; f->kind != WIRE_KIND_END && keep && b.at < b.end; f++, keep--) {
		const uint8_t *from = b.at;
		if (f->kind != WIRE_KIND_LIST) {
			skip_field(&b, f->kind);
			buf_put(to, from, (size_t)(b.at - from));
			continue;
		}
		uint32_t n = skip_u32(&b);
		for (put_u32(to, n); n; n--) {
			_cleanup_(buf_fini) struct buf record = {0};
			uint32_t size = skip_u32(&b);
			const uint8_t *at = skip(&b, size);
			alter(&record, (struct body){at, at + size}, f->record);
			put_u32(to, (uint32_t)record.n);
			buf_put(to, record.at, record.n);
		}
	}
	if (how == NEWER)
		buf_put(to, "\xff\xff\xff\xffmore", 8);
}

/* ---- frames */

static void put_frame(struct buf *to, struct wire_head h, const void *body, size_t n)
{
	h.length = (uint32_t)n;
	wire_put_head(to, &h);
	buf_put(to, body, n);
}

static void put_hello(struct side *to, bool is_odd, const struct wire_head *h, const uint8_t *body)
{
	_cleanup_(wire_arena_fini) struct wire_arena arena = {0};
	struct wire_hello m;
	must(wire_decode(WIRE_HELLO, body, h->length, &m, &arena) == 0, "a malformed HELLO");
	/* Each compares with its own: to the odd one, which is ahead, the other is behind. */
	m.major += how != MAJOR ? 0 : is_odd ? 1u : -1u;
	m.minor += !is_odd ? 0 : how == NEWER ? 1u : how == OLDER ? -1u : 0;
	wire_encode(&to->out, WIRE_HELLO, h->flags, h->id, &m);
	if (how != NEWER || !is_odd)
		return;
	put_frame(&to->out, (struct wire_head){.type = UNKNOWN_TYPE, .id = UNKNOWN_ID}, "\1\2\3", 3);
	put_frame(&to->out, (struct wire_head){.type = UNKNOWN_TYPE + 1}, "\1\2\3", 3);
}

/* True if it was the answer to our own request. */
static bool take_answer(const struct wire_head *h, const uint8_t *body)
{
	_cleanup_(wire_arena_fini) struct wire_arena arena = {0};
	struct wire_status m;
	if (h->id != UNKNOWN_ID || !(h->flags & WIRE_FLAG_REPLY))
		return false;
	must(h->type == WIRE_STATUS && wire_decode(WIRE_STATUS, body, h->length, &m, &arena) == 0,
	     "an unknown request was not answered by STATUS");
	must(m.error == ENOSYS && strstr(m.reason, "unknown"), "an unknown request was not answered \"unknown\"");
	printf("answered\n");
	return true;
}

static bool is_new(const struct wire_layout *l)
{
	return how == OLDER && l && l->minor >= WIRE_MINOR;
}

static void pass(struct side *from, struct side *to, const struct wire_head *h, const uint8_t *body)
{
	const struct wire_layout *l = wire_layout(h->type);
	_cleanup_(buf_fini) struct buf altered = {0};
	if (take_answer(h, body))
		return;
	if (h->type == WIRE_HELLO) {
		put_hello(to, from->is_odd, h, body);
	} else if (is_new(l)) {
		printf("unknown %u\n", h->type);
		if (h->id)
			wire_encode(&from->out, WIRE_STATUS, WIRE_FLAG_REPLY, h->id,
				    &(struct wire_status){.error = ENOSYS, .reason = "unknown message type"});
	} else if (l && h->type != WIRE_DATA && (how == OLDER || (how == NEWER && from->is_odd))) {
		alter(&altered, (struct body){body, body + h->length}, l);
		put_frame(&to->out, *h, altered.at, altered.n);
	} else {
		put_frame(&to->out, *h, body, h->length);
	}
}

static void pass_all(struct side *from, struct side *to)
{
	struct wire_head h;
	while (from->in.n >= WIRE_HEAD_SIZE) {
		wire_get_head(from->in.at, &h);
		if (from->in.n < WIRE_HEAD_SIZE + (size_t)h.length)
			return;
		pass(from, to, &h, from->in.at + WIRE_HEAD_SIZE);
		buf_consume(&from->in, WIRE_HEAD_SIZE + (size_t)h.length);
	}
	fflush(stdout);
}

/* ---- sockets */

static void pair_free(size_t i)
{
	for (int k = 0; k < 2; k++) {
		close_fd(pairs[i]->side[k].fd);
		buf_fini(&pairs[i]->side[k].in);
		buf_fini(&pairs[i]->side[k].out);
	}
	free(pairs[i]);
	pairs[i] = NULL;
}

static void pair_new(int fd, const struct net_address *target, bool is_peer_odd)
{
	size_t i = 0;
	while (i < PAIRS_MOST && pairs[i])
		i++;
	must(i < PAIRS_MOST, "too many connections");
	pairs[i] = NEW(struct pair);
	pairs[i]->side[0] = (struct side){.fd = fd, .is_odd = is_peer_odd};
	pairs[i]->side[1] = (struct side){.fd = net_connect(target), .is_odd = !is_peer_odd};
	/* The target may be away just now: then so are we. */
	if (pairs[i]->side[1].fd < 0)
		pair_free(i);
}

/* False: it is over. What the other side sent last still goes out. */
static bool read_side(struct side *from, struct side *to)
{
	ssize_t n = recv(from->fd, buf_reserve(&from->in, 65536), 65536, MSG_DONTWAIT);
	if (n > 0)
		buf_grew(&from->in, (size_t)n);
	pass_all(from, to);
	return n > 0 || (n < 0 && errno == EAGAIN);
}

static void write_side(struct side *s)
{
	ssize_t n = send(s->fd, s->out.at, s->out.n, MSG_NOSIGNAL | MSG_DONTWAIT);
	buf_consume(&s->out, n > 0 ? (size_t)n : n < 0 && errno == EAGAIN ? 0 : s->out.n);
}

static void turn(int listener, const struct net_address *target, bool is_peer_odd)
{
	struct pollfd fds[1 + 2 * PAIRS_MOST] = {{.fd = listener, .events = POLLIN}};
	for (size_t i = 0; i < 2 * PAIRS_MOST; i++) {
		const struct pair *p = pairs[i / 2];
		fds[1 + i].fd = p ? p->side[i % 2].fd : -1;
		fds[1 + i].events = (short)(POLLIN | (p && p->side[i % 2].out.n ? POLLOUT : 0));
	}
	if (poll(fds, countof(fds), TURN_MSEC) <= 0)
		return;
	for (size_t i = 0; i < PAIRS_MOST; i++) {
		bool is_open = true;
		for (size_t k = 0; k < 2 && pairs[i]; k++) {
			struct side *s = &pairs[i]->side[k], *other = &pairs[i]->side[!k];
			if (fds[1 + 2 * i + k].revents & POLLOUT)
				write_side(s);
			if (fds[1 + 2 * i + k].revents & (POLLIN | POLLHUP | POLLERR))
				is_open &= read_side(s, other);
			if (!is_open)
				write_side(other);
		}
		if (!is_open)
			pair_free(i);
	}
	if (fds[0].revents) {
		int fd = net_accept(listener, NULL);
		if (fd >= 0)
			pair_new(fd, target, is_peer_odd);
	}
}

static void on_term(int signo)
{
	(void)signo;
	is_over = 1;
}

static int find(const char *const *names, const char *name)
{
	int i = 0;
	while (names[i] && !streq(names[i], name))
		i++;
	return names[i] ? i : -1;
}

int main(int argc, char **argv)
{
	static const char *const hows[] = {"older", "newer", "major", NULL}, *const whos[] = {"daemon", "peer", NULL};
	struct net_address here, target;
	int h = argc == 5 ? find(hows, argv[3]) : -1, who = argc == 5 ? find(whos, argv[4]) : -1;
	if (h < 0 || who < 0 || net_parse(argv[1], &here) < 0 || net_parse(argv[2], &target) < 0) {
		fprintf(stderr, "usage: aged SOCKET TARGET older|newer|major peer|daemon\n");
		return 2;
	}
	how = (enum how)h;
	_close_ int listener = net_listen(&here, 64);
	must(listener >= 0, "cannot listen");
	sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_term}, NULL);
	printf("aged ready\n");
	fflush(stdout);
	while (!is_over)
		turn(listener, &target, who == 1);
	for (size_t i = 0; i < PAIRS_MOST; i++) {
		if (pairs[i])
			pair_free(i);
	}
	return 0;
}
