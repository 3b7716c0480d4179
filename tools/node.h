/* SPDX-License-Identifier: Apache-2.0
 * This machine's node, asked by commands: its vinefs is found at $VINE_NODE or where a node of this user is by default, and started, without a scheduler, if there is
 * none. One request at a time; each function waits. What goes wrong is left in node_error() as one line. */
#ifndef TOOLS_NODE_H
#define TOOLS_NODE_H

#include "common/wire.h"
#include "data/data.h"
#include "tools/tools.h"

struct node;

/* 0 or -errno; *out is never NULL and to be freed. With may_start false a node that does not run is -ENOENT. */
int node_open(struct node **out, bool may_start);
void node_free(struct node *n);
DEFINE_FREEP(struct node, node_free)
const char *node_error(const struct node *n);
/* Of the node: where its sockets are. */
const char *node_directory(const struct node *n);

struct node_ask {
	uint16_t type;
	const void *message;
	uint16_t answer; /* its type; another one is an error */
	/* Bytes that follow the answer; false: enough, -ECANCELED. NULL: none are wanted. */
	bool (*on_data)(void *arg, const void *p, size_t n);
	void (*on_progress)(void *arg, const struct wire_seal_progress *p);
	void *arg;
};

/* *reply, if it is wanted, is to be freed with free(). 0, or -errno: of the STATUS that came instead, too. */
int node_ask(struct node *n, const struct node_ask *a, void **reply);
/* From here on SIGINT and SIGTERM end what is asked, in order. */
int node_catch_signals(struct node *n);

/* The same of a request that names a tree by *word, a field of the message: what is no tree's name may be a path from here, and is tried as that. */
int node_ask_word(struct node *n, const struct node_ask *a, const char **word, void **reply);

/* A tree of the node: its index, and its bytes read through the node. */
struct node_tree {
	struct node *node;
	struct tree *index;
	char *rest; /* the path within it that was asked for */
	struct blob_reader reader;
	/* The blob bytes that were read last. */
	struct buf bytes;
	uint32_t blob;
	uint64_t offset;
};

int node_tree_open(struct node *n, const char *text, struct node_tree *t);
void node_tree_fini(struct node_tree *t);

/* A program of ours that lies beside this one, in a build, or where it was installed; `variable` of the environment overrides. Yours to free; NULL: not found. */
char *node_program(const char *variable, const char *const places[]);

#endif
