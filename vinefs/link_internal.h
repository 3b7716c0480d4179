/* SPDX-License-Identifier: Apache-2.0
 * What the link's files share: link.c (joining, ends, life), link_inputs.c (run and inputs), link_data.c (FETCH), link_hot.c (HOT), link_hold.c (HOLD), link_flow.c (FLOWS), link_report.c (REPLICAS), link_keep.c (KEEP), link_output.c (READ_OUTPUT), link_leave.c (LEAVING), link_profile.c (HOT_SET), link_idle.c (when it is not needed). All of it on the loop's thread. */
#ifndef VINEFS_LINK_INTERNAL_H
#define VINEFS_LINK_INTERNAL_H

#include "common/dial.h"
#include "common/map.h"
#include "common/secret.h"
#include "vinefs/fetch/fetch.h"
#include "vinefs/inputs.h"
#include "vinefs/link.h"
#include "vinefs/peers.h"
#include "vinefs/run/run.h"
#include "vinefs/serve.h"

struct link {
	struct loop *loop;
	const struct settings *settings;
	struct link_offer offer;
	struct link_parts parts;
	uint64_t since_usec; /* its start */
	struct run *run;
	struct dial *dial;
	struct tls_context *tls, *tls_peers; /* NULL: none is needed; there is no secret */
	struct wire_hello hello;
	char node[UUID_TEXT_SIZE], cluster[UUID_TEXT_SIZE];
	char peer_cluster[UUID_TEXT_SIZE]; /* remembered once it has let us join */
	struct call join;
	struct wire_amount *named;
	uint32_t n_named;
	struct list deliveries;
	unsigned n_deliveries;
	char **hidden;      /* link_hidden.c; ends in NULL */
	char *state;        /* the same directory as settings->state, without links */
	struct timer timer; /* the retry, or the end of leaving */
	struct buf heads;
	bool is_listed; /* the keeper has told all it knows */
	bool is_joined, is_leaving, is_refused, is_down, was_ready;
	struct map profiles; /* link_profile.c: how many files vined was told, by tree */
	struct list fresh;
	struct timer profile_timer;
	struct profiles *listing;
	struct call leave; /* link_leave.c */
	bool is_leave_asked;
	/* link_idle.c */
	struct timer idle;
	uint64_t idle_since_usec;
	/* link_output.c */
	struct list outputs;
	unsigned n_outputs;
	/* link_keep.c */
	struct list keeps;
	/* link_data.c; all NULL without parts: then this node has no data */
	struct serve *serve;
	struct peers *peers;
	struct fetch_peers *fetch_peers;
	struct map fetchings;  /* by item */
	struct map held, pins; /* struct held by tree: link_hold.c */
	/* link_hot.c */
	struct map hots; /* struct link_hot by item */
	char *hot_path;
	/* link_flow.c */
	struct list flows;
	unsigned n_flows;
	struct timer flow;
	uint64_t client_size; /* that has come from clients */
	/* link_report.c */
	struct map told; /* by tree */
	struct timer report;
	struct cache_state seen;
	uint64_t listed_usec, list_cost_usec;
};

/* vined's, joined; NULL: not now. */
struct conn *link_conn(const struct link *k);
/* Its end is on its way to vined. */
bool link_is_delivering(const struct link *k, uint64_t attempt);

/* Once the keeper has told all it knows, and this node knows what it can be. */
void link_dial_if_ready(struct link *k);

/* ---- link_hidden.c */
void link_hide(struct link *k);
void link_unhide(struct link *k);
/* As of struct inputs_ops. */
const char *link_why_not(void *owner, const char *real);

/* ---- link_inputs.c: as of struct run_ops */
void link_sizes(void *owner, uint64_t attempt, struct run_sizes *s);
char *link_failure(void *owner, uint64_t attempt);
void link_prepare(void *owner, uint64_t attempt, const struct wire_start *m);
void link_hold(void *owner, uint64_t attempt, const struct wire_start *m);
void link_release(void *owner, uint64_t attempt);
void link_job_done(void *owner, uint64_t job, int error, int status);
void link_listen_to_inputs(struct link *k);

/* ---- link_data.c */
int data_open(struct link *k); /* 0, or -errno after logging why */
void data_close(struct link *k);
void data_fetch(struct link *k, const struct wire_fetch *m);
void data_fellows(struct link *k, const struct wire_fellows *m);
void data_stop(struct link *k, uint64_t item);
bool data_is_coming(void *link, const struct digest *tree); /* from other nodes or a client, now */

/* ---- link_flow.c */
void flow_open(struct link *k);
void flow_close(struct link *k);
/* Before vined hears that the tree is here: who is told so by vined may look at once whence it came. */
void flow_tell(struct link *k, const struct digest *tree);
/* As of struct fetch_peers_settings: bytes came from a node or a client; arg is the link. */
void flow_on_part(void *arg, const char *path, const char *name, uint64_t bytes);
void flow_on_peer(void *arg, const struct digest *tree, const char *name, unsigned origin, uint64_t bytes,
		  uint64_t rest);

/* ---- link_hold.c */
void hold_change(struct link *k, const struct wire_hold *m);
void hold_tree(struct link *k, const struct digest *tree); /* as if it were named there */
/* A person wants it here, and it is. */
void hold_pin(struct link *k, const struct digest *tree);
void hold_open(struct link *k);
void hold_close(struct link *k);

/* ---- link_hot.c */
struct link_hot;
/* Once the index of this tree is here, else nothing; nor if nobody knows what is read first. */
void hot_start(struct link *k, uint64_t item, const struct digest *tree);
void hot_stop(struct link_hot *h); /* NULL: none */
void hot_close(struct link *k);

/* ---- link_report.c */
void report_all(struct link *k);                                  /* vined has just let us join */
void report_soon(struct link *k);                                 /* something has changed, we know */
bool report_has(const struct link *k, const struct digest *tree); /* vined was told that it is here */
void report_stop(struct link *k);                                 /* until the next report_all() */
void report_close(struct link *k);

/* ---- link_keep.c */
void keep_ask(struct link *k, const struct wire_keep *m);
void keep_again(struct link *k); /* vined has just let us join */
void keep_close(struct link *k);

/* ---- link_profile.c */
void profile_read(struct link *k, const struct digest *tree, const uint32_t *nodes, size_t n);
void profile_told(struct link *k, const struct wire_hot_set *m); /* by vined */
void profile_all(struct link *k);                                /* vined has just let us join */
void profile_close(struct link *k);

/* ---- link_leave.c */
/* vined is asked to copy away what only this node has; link_end() comes when that is over, if it does not end at once. */
void leave_begin(struct link *k);
bool leave_is_under_way(const struct link *k);
void leave_stop(struct link *k);
/* All that is left is to say good bye, if the keeper has no tasks any more. */
void link_end(struct link *k);

/* ---- link_idle.c */
void idle_start(struct link *k);
void idle_stop(struct link *k);
bool idle_is_used(const struct link *k); /* by somebody on this machine */

/* ---- link_output.c */
void output_send(struct link *k, struct conn *c, uint64_t id, const struct wire_read_output *m);
void output_close(struct link *k);

#endif
