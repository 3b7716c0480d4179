/* SPDX-License-Identifier: Apache-2.0
 * The node's door for other nodes of its cluster: a TLS listener of the role node, which gives them what this node has (serve.h). The loop's thread. */
#ifndef VINEFS_PEERS_H
#define VINEFS_PEERS_H

#include "common/conn.h"
#include "vinefs/serve.h"

struct peers;

struct peers_settings {
	struct loop *loop;
	struct serve *serve; /* all borrowed */
	struct tls_context *tls;
	const struct wire_hello *hello;
	const char *cluster; /* may become known later */
	bool is_plain;       /* large pieces may be fetched without encryption, from another port */
	const char *listen;  /* HOST:PORT; "": where vined sees this node, any port; "none" */
	const char *vined;   /* its address */
	const char *
		state; /* directory: which port it was is remembered in its file `port`, so that others find the next process, too */
};

struct peers *peers_new(const struct peers_settings *s);
/* Before serve_free(). */
void peers_free(struct peers *p);
DEFINE_FREEP(struct peers, peers_free)

/* Whenever vined has been reached: listens, if it does not yet. Logs why not, once. */
void peers_listen(struct peers *p);
/* Where others find it; "": nowhere. */
const char *peers_address(const struct peers *p);

/* 0, or -EINVAL: no listen setting. */
int peers_check(const char *listen);

#endif
