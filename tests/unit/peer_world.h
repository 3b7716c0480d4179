/* SPDX-License-Identifier: Apache-2.0
 * Who is asked for trees, with a loop and a cache of his own, or one that plays and does wrong; and who asks, by TLS. */
#ifndef UNIT_PEER_WORLD_H
#define UNIT_PEER_WORLD_H

#include "common/listen.h"
#include "tests/unit/ends.h"
#include "tests/unit/fetch_world.h"
#include "vinefs/serve.h"

enum fault {
	FAULT_NONE,
	FAULT_LIE,
	FAULT_SHORT,
	FAULT_MORE,
	FAULT_INDEX,
	FAULT_SILENT,
	FAULT_LACKS,
	FAULT_HANGS_UP,
	FAULT_LAYOUT, /* its layout is another */
	FAULT_SLOW,   /* a byte now and then */
	FAULT_LIST    /* its list of the index' parts is wrong */
};

/* Who is asked. */
struct side {
	struct fetch_world *world; /* of the honest one */
	struct serve *serve;
	struct loop *loop;
	struct listener *listener;
	struct tls_context *tls;
	char address[NET_TEXT_SIZE];
	struct conn *conns[256];
	unsigned n_conns, n_index, n_chunks;
	uint64_t n_sent;
	/* Of one that plays. */
	struct world_copy *copy;
	enum fault fault;
	uint64_t n_before; /* chunks that are given before it goes wrong */
	/* Of one that plays and knows the swarm. */
	bool is_swarm, is_packed; /* packed: it gives frames of zstd */
	uint32_t part_size;       /* of the index */
	uint64_t first, end;      /* chunks that it has; end 0: all */
	struct stream watch;
	unsigned n_watches, n_parts, n_lists, n_cancels, n_by_rank[5];
	char watcher[64];   /* who watches: where he can be asked */
	uint64_t parts_end; /* of the index it gives those before this one, and is silent for the others; 0: all */
};

struct pulling {
	struct fetch_pull pull;
	unsigned n_index, n_done;
	int error;
	char reason[256];
};

struct b_side {
	struct fetch_world world;
	struct tls_context *tls;
	struct wire_hello hello;
	struct fetch_peers *peers;
	struct side own; /* where it is asked in turn, if it is opened */
	unsigned n_bad, bad_what;
	char bad[NET_TEXT_SIZE];
	uint64_t n_flow, flow_rest;
};

/* Of pulls of who is opened from here on. */
extern uint64_t peer_patience_usec;
void peer_side_close(struct side *s);
void peer_b_open(struct b_side *b, struct cache_settings cs);
void peer_b_close(struct b_side *b);
/* One that gives what it has, under a name of its own. */
void peer_node_open(struct b_side *b, const char *name);
void peer_node_close(struct b_side *b);
/* One that knows of drafts alone, and has `fault`; on the loop of b. Closed by peer_side_close(). */
void peer_fellow_open(struct side *s, struct b_side *b);
/* Those who may be asked, in this order. */
void peer_start(struct b_side *b, struct pulling *p, const struct digest *id, struct side *const *sides, size_t n);
/* `a`: who lives on a loop of its own; NULL: nobody does. False: it did not end. */
bool peer_pull_until(struct b_side *b, struct side *a, const struct pulling *p);
int peer_pull(struct b_side *b, struct pulling *p, const struct digest *id, struct side *const *sides, size_t n);
unsigned peer_n_absent(struct b_side *b, const struct digest *id);
/* A directory of files in several chunks, and small ones in packs; yours to free. */
char *peer_make_tree(void);
void peer_honest_open(struct side *a, struct fetch_world *w, const char *path, struct digest *id);
void peer_honest_close(struct side *a);
void peer_player_open(struct side *s, struct b_side *b, struct world_copy *copy, enum fault fault, uint64_t n_before);
/* One that knows the swarm, and has chunks [first, end); end 0: all of it. */
void peer_swarm_open(struct side *s, struct b_side *b, struct world_copy *copy, enum fault fault, uint64_t first,
		     uint64_t end);
/* It has more now, and says so. */
void peer_swarm_more(struct side *s, uint64_t end);

#endif
