/* SPDX-License-Identifier: Apache-2.0
 * A client that speaks to vined's socket by hand and does what none of ours would.
 *
 *   atk SOCKET role N             says HELLO in that role, prints what comes
 *   atk SOCKET outputs TASK N     asks N times for a task's output at once and reads nothing for a while; "M refused" is how
 *                                 many were answered with an error */
#include "common/wire.h"

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define QUIET_MSEC 6000
#define UNREAD_MSEC 500

struct atk {
	int fd;
	struct buf out, in;
	struct wire_arena arena;
	unsigned n_refused, n_data;
};

static int open_socket(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (strlen(path) >= sizeof a.sun_path)
		return -ENAMETOOLONG;
	memcpy(a.sun_path, path, strlen(path));
	return fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0 ? fd : -errno;
}

static void put(struct atk *k, uint16_t type, uint64_t id, const void *message)
{
	int r = wire_encode(&k->out, type, 0, id, message);
	assert(r == 0);
	(void)r;
}

static void take_frame(struct atk *k, const struct wire_head *h)
{
	union {
		struct wire_status status;
		struct wire_bye bye;
		struct wire_hello hello;
	} m;
	const uint8_t *body = k->in.at + WIRE_HEAD_SIZE;
	if (h->type == WIRE_DATA)
		k->n_data++;
	if (h->type == WIRE_STATUS && wire_decode(h->type, body, h->length, &m, &k->arena) == 0)
		k->n_refused += m.status.error != 0;
	if (h->type == WIRE_BYE && wire_decode(h->type, body, h->length, &m, &k->arena) == 0)
		printf("bye: %s\n", m.bye.reason);
}

static void send_only(struct atk *k)
{
	struct pollfd p = {.fd = k->fd, .events = POLLOUT};
	while (k->out.n && poll(&p, 1, QUIET_MSEC) > 0) {
		ssize_t n = send(k->fd, k->out.at, k->out.n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n <= 0)
			return;
		buf_consume(&k->out, (size_t)n);
	}
	poll(NULL, 0, UNREAD_MSEC);
}

/* Sends what there is and takes what comes, until nothing has for a while or the other side closes. */
static void talk(struct atk *k)
{
	for (;;) {
		struct pollfd p = {.fd = k->fd, .events = (short)(POLLIN | (k->out.n ? POLLOUT : 0))};
		if (poll(&p, 1, QUIET_MSEC) <= 0)
			return;
		if (p.revents & POLLOUT) {
			ssize_t n = send(k->fd, k->out.at, k->out.n, MSG_NOSIGNAL | MSG_DONTWAIT);
			if (n > 0)
				buf_consume(&k->out, (size_t)n);
		}
		if (!(p.revents & (POLLIN | POLLHUP)))
			continue;
		ssize_t n = recv(k->fd, buf_reserve(&k->in, 65536), 65536, MSG_DONTWAIT);
		if (n <= 0)
			return;
		buf_grew(&k->in, (size_t)n);
		struct wire_head h;
		while (k->in.n >= WIRE_HEAD_SIZE &&
		       (wire_get_head(k->in.at, &h), k->in.n >= WIRE_HEAD_SIZE + h.length)) {
			take_frame(k, &h);
			buf_consume(&k->in, WIRE_HEAD_SIZE + h.length);
		}
	}
}

int main(int argc, char **argv)
{
	struct atk k = {.fd = argc > 3 ? open_socket(argv[1]) : -EINVAL};
	if (k.fd < 0) {
		fprintf(stderr, "atk: %s\n", strerror(-k.fd));
		return 2;
	}
	bool is_role = streq(argv[2], "role");
	unsigned long n = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
	put(&k, WIRE_HELLO, 0,
	    &(struct wire_hello){.major = WIRE_MAJOR,
				 .role = is_role ? (uint8_t)atoi(argv[3]) : 3,
				 .version = "x",
				 .name = "atk",
				 .instance = (uint64_t)getpid()});
	for (unsigned long i = 0; i < n; i++)
		put(&k, WIRE_READ_OUTPUT, 2 + i,
		    &(struct wire_read_output){.task = strtoull(argv[3], NULL, 10), .which = 1});
	if (!is_role)
		send_only(&k);
	talk(&k);
	printf("%u refused, %u frames of data\n", k.n_refused, k.n_data);
	buf_fini(&k.in);
	buf_fini(&k.out);
	wire_arena_fini(&k.arena);
	close(k.fd);
	return 0;
}
