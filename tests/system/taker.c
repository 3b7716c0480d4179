/* SPDX-License-Identifier: Apache-2.0
 * A node that asks another one for much and takes nothing of it.
 *
 *   taker ADDRESS SECRET VTI watch|parts|some|index|chunks CONNECTIONS REQUESTS      until SIGTERM
 *
 * Prints "taker ready" once all of it is asked for; from then on it does not even read. */
#include "common/conn.h"
#include "common/loop.h"
#include "common/secret.h"
#include "data/data.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TURN_MSEC 20
#define QUIET_TURNS 5
#define BATCH 64u

static struct loop *loop;
static unsigned n_refused, n_answers, n_lost;

struct taker {
	struct conn *conn;
	bool is_open, is_gone;
};

static void must(bool is_true, const char *what)
{
	if (is_true)
		return;
	fprintf(stderr, "taker: %s\n", what);
	exit(2);
}

static void on_open(struct conn *c, const struct wire_hello *peer)
{
	struct taker *t = conn_owner(c);
	(void)peer;
	t->is_open = true;
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	(void)c, (void)h, (void)message;
}

static void on_close(struct conn *c, int error, const char *reason)
{
	struct taker *t = conn_owner(c);
	(void)error;
	printf("closed: %s\n", reason);
	n_lost++;
	t->is_gone = true;
}

static void on_reply(struct call *call, int error, uint16_t type, const void *message)
{
	(void)call, (void)type, (void)message;
	n_answers++;
	n_refused += error != 0;
}

/* Held: no credit is given. */
static bool on_data(struct call *call, const void *bytes, size_t n)
{
	(void)call, (void)bytes, (void)n;
	return false;
}

static void on_end(struct call *call, int error)
{
	(void)call, (void)error;
}

static void ask(struct taker *t, const char *what, const char *text, const struct digest *tree,
		const struct digest *layout)
{
	static const uint8_t all[64] = {255, 255, 255, 255, 255, 255, 255, 255};
	const struct wire_watch_chunks watch = {.tree = *tree, .name = "taker", .address = ""};
	const struct wire_read_index_parts parts = {.tree = *tree};
	const struct wire_read_some some = {.tree = *tree, .layout = *layout, .wanted = {all, sizeof all}, .rank = 3};
	const struct wire_read_index index = {.tree = text};
	const struct wire_read_chunks chunks = {.tree = *tree, .n = 1000000};
	const struct {
		const char *what;
		uint16_t type;
		const void *message;
	} known[] = {{"watch", WIRE_WATCH_CHUNKS, &watch},
		     {"parts", WIRE_READ_INDEX_PARTS, &parts},
		     {"some", WIRE_READ_SOME, &some},
		     {"index", WIRE_READ_INDEX, &index},
		     {"chunks", WIRE_READ_CHUNKS, &chunks}};
	size_t i = 0;
	while (i < countof(known) && !streq(known[i].what, what))
		i++;
	must(i < countof(known), "watch, parts, some, index or chunks?");
	struct call *call = NEW(struct call);
	*call = (struct call){.on_reply = on_reply, .on_data = on_data, .on_end = on_end};
	if (!t->is_gone)
		call_start(call, t->conn, known[i].type, known[i].message, 0);
}

int main(int argc, char **argv)
{
	static const struct conn_ops ops = {.on_open = on_open, .on_message = on_message, .on_close = on_close};
	static const struct wire_hello hello = {.role = TLS_ROLE_NODE, .version = "1", .name = "taker", .instance = 5};
	struct conf_error e;
	struct tree *tree;
	char text[DIGEST_TEXT_SIZE];
	struct net_address to;
	uint8_t secret[SECRET_SIZE];
	must(argc == 7, "taker ADDRESS SECRET VTI watch|parts|some|index|chunks CONNECTIONS REQUESTS");
	must(secret_read(argv[2], secret, &e) == 0, "no secret");
	int vti = open(argv[3], O_RDONLY | O_CLOEXEC);
	must(vti >= 0 && tree_read(vti, NULL, &tree) == 0, "no tree");
	digest_text(tree_id(tree), text);
	must(net_parse(argv[1], &to) == 0, "no address");
	struct tls_context *tls = tls_context_new(secret, TLS_ROLE_NODE, 1u << TLS_ROLE_NODE);
	loop = loop_new();
	unsigned n = (unsigned)atoi(argv[5]), n_requests = (unsigned)atoi(argv[6]);
	struct taker *all = xcalloc(n, sizeof *all);
	for (unsigned i = 0; i < n; i++) {
		int fd = net_connect(&to);
		const struct conn_options o = {
			.ops = &ops, .owner = &all[i], .hello = &hello, .tls = tls, .peer = TLS_ROLE_NODE};
		all[i].conn = fd < 0 ? NULL : conn_new(loop, fd, false, &o);
		must(all[i].conn, "no connection");
		for (unsigned turns = 0; !all[i].is_open && !all[i].is_gone && turns < 200; turns++)
			loop_turn(loop, TURN_MSEC);
	}
	for (unsigned k = 0; k < n_requests; k++) {
		for (unsigned i = 0; i < n; i++)
			ask(&all[i], argv[4], text, tree_id(tree), tree_layout_id(tree));
		if (k % BATCH == 0)
			loop_turn(loop, 0);
	}
	for (unsigned i = 0; i < QUIET_TURNS; i++)
		loop_turn(loop, TURN_MSEC);
	printf("taker ready: %u answers, %u refused, %u connections lost\n", n_answers, n_refused, n_lost);
	fflush(stdout);
	pause();
	return 0;
}
