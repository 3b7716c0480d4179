/* SPDX-License-Identifier: Apache-2.0
 * Says one HELLO of its own choosing on a Unix socket and prints what comes back, message by message, until the daemon
 * closes: shows how versions are compared.
 *
 *   hello SOCKET MAJOR MINOR [UNKNOWN_TYPE]     with UNKNOWN_TYPE: also asks a request of that number */
#include "common/base.h"
#include "common/net.h"
#include "common/wire.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

/* True if a whole frame was there and has been printed. */
static bool print_frame(struct buf *in, struct wire_arena *arena)
{
	union {
		struct wire_hello hello;
		struct wire_status status;
		struct wire_bye bye;
		uint8_t any[1024];
	} message;
	struct wire_head head;
	_cleanup_(buf_fini) struct buf text = {0};

	if (in->n < WIRE_HEAD_SIZE)
		return false;
	wire_get_head(in->at, &head);
	if (in->n < WIRE_HEAD_SIZE + (size_t)head.length)
		return false;
	if (wire_struct_size(head.type) && wire_struct_size(head.type) <= sizeof message &&
	    wire_decode(head.type, in->at + WIRE_HEAD_SIZE, head.length, &message, arena) == 0)
		wire_print(&text, head.type, &message);
	printf("%s\n", text.n ? buf_text(&text) : "?");
	buf_consume(in, WIRE_HEAD_SIZE + head.length);
	return true;
}

int main(int argc, char **argv)
{
	struct net_address to;
	if (argc < 4 || net_parse(argv[1], &to) < 0) {
		fprintf(stderr, "usage: hello SOCKET MAJOR MINOR [UNKNOWN_TYPE]\n");
		return 2;
	}
	_close_ int fd = net_connect(&to);
	if (fd < 0) {
		fprintf(stderr, "hello: %s: %s\n", argv[1], strerror(-fd));
		return 1;
	}
	_cleanup_(buf_fini) struct buf out = {0}, in = {0};
	_cleanup_(wire_arena_fini) struct wire_arena arena = {0};
	struct wire_hello hello = {.major = (uint32_t)atoi(argv[2]),
				   .minor = (uint32_t)atoi(argv[3]),
				   .role = 3,
				   .version = "test",
				   .name = "hello"};
	wire_encode(&out, WIRE_HELLO, 0, 0, &hello);
	if (argc > 4) {
		struct wire_head odd = {.type = (uint16_t)atoi(argv[4]), .length = 0, .id = 77};
		wire_put_head(&out, &odd);
	}
	if (write(fd, out.at, out.n) != (ssize_t)out.n)
		return 1;
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	while (poll(&wait, 1, 1000) == 1) {
		ssize_t n = read(fd, buf_reserve(&in, 65536), 65536);
		if (n <= 0)
			break;
		buf_grew(&in, (size_t)n);
		while (print_frame(&in, &arena))
			fflush(stdout);
	}
	return 0;
}
