/* SPDX-License-Identifier: Apache-2.0
 * What this node has, for whoever may ask on a connection: other nodes, and vined for a client. READ_INDEX and READ_CHUNKS (whole ranges, to one), READ_SOME, WATCH_CHUNKS and READ_INDEX_PARTS (the swarm's) are answered with what is here and verified,
 * nothing else. The loop's thread; the disk is read in the pool. */
#ifndef VINEFS_SERVE_H
#define VINEFS_SERVE_H

#include "common/conn.h"
#include "vinefs/fetch/fetch.h"

struct serve;

/* fetch and cache are borrowed; `name` is the node's, for people. */
struct serve *serve_new(struct loop *l, struct fetch *f, struct cache *c, const char *name);
/* Before fetch_stop(), after the connections were closed. */
void serve_free(struct serve *s);
DEFINE_FREEP(struct serve, serve_free)

/* Who watches a tree here is told to the pulls of these, and what they have of an index is given on. NULL: not any more; before they are freed. */
void serve_use_peers(struct serve *s, struct fetch_peers *p);

/* Who can fetches chunks there, where nothing is encrypted; NULL: nobody any more. Borrowed. */
struct plain;
void serve_use_plain(struct serve *s, struct plain *p);

/* Answers a request, now or later; false: it is none of these. */
bool serve_message(struct serve *s, struct conn *c, const struct wire_head *h, const void *message);
struct serve_numbers {
	uint64_t given_size; /* bytes that were given, since the start */
	unsigned n_queued;   /* requests that wait */
};
void serve_get_numbers(const struct serve *s, struct serve_numbers *out);
/* As on_cancel and on_close tell. */
void serve_cancel(struct serve *s, const struct conn *c, uint64_t id);
void serve_close(struct serve *s, const struct conn *c);

#endif
