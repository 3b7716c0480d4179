/* SPDX-License-Identifier: Apache-2.0
 * Inside the library: one background thread runs a loop with the connection (link.c); public calls hand it an `ask` and
 * wait. Files, top to bottom: session.c (open, close, who is inside), post.c, task.c, file.c, event.c, setting.c, query.c (the
 * calls), how.c and value.c (what is set of a task), ready.c (events nobody has taken), ack.c, ask.c (a request and its answer), link.c (the
 * connection), cluster.c (where it is), ids.c, error.c. task.h is what post.c, task.c, file.c, how.c and value.c share.
 * What only this process sees: sealed.c (as a tree), offer.c (on its way to a node); fetch.c and
 * fetch_to.c: what tasks left, on its way here.
 *
 * 1. What stands under "loop" belongs to the loop's thread, what stands under "lock" to who holds it; the rest does not change
 *    after vine_open. The lock is never held across I/O or a user's function.
 * 2. A task's result is put into `ready` once in a session: `seen` remembers every number.
 * 3. A number stays in `acks` until vined has said that it is committed. */
#ifndef CLIENT_H
#define CLIENT_H

#include "common/conn.h"
#include "common/dial.h"
#include "common/map.h"
#include "common/secret.h"
#include "libvineclient/vine.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- error.c: sets vine_error() of this thread, returns -e */
#define ERROR_SIZE 1024
int error_set(int e, const char *fmt, ...) _printf_(2, 3);

/* ---- ids.c: a set of numbers that are mostly near each other, about a bit each */
struct ids {
	struct map pages;
};
bool ids_add(struct ids *s, uint64_t id); /* false if it was there */
bool ids_has(const struct ids *s, uint64_t id);
/* `first` and the n - 1 after it. Returns how many were not there; so many of these are in `also`. */
uint64_t ids_add_range(struct ids *s, uint64_t first, uint64_t n, const struct ids *also, uint64_t *n_also);
void ids_fini(struct ids *s);

/* ---- cluster.c */
struct cluster {
	char *address;
	char *name;    /* for people: "default (/home/u/.local/state/vine/default)" */
	bool is_local; /* a Unix socket: no TLS */
	uint8_t secret[SECRET_SIZE];
};
int cluster_find(struct cluster *c, const char *where);
void cluster_fini(struct cluster *c);

/* ---- ready.c: lock held */
struct vine_event {
	struct vine *v;
	struct list link, by_tag, by_category; /* in `ready`; a notice lies in by_tag among its like */
	struct wire_result *result;            /* one of these two */
	struct wire_event *notice;
	char **texts; /* made when asked for, one a field */
};

struct selector {
	enum { SELECT_ALL, SELECT_TASK, SELECT_TAG, SELECT_CATEGORY, SELECT_NODES } by;
	uint64_t task;
	const char *word; /* borrowed from who asks */
};

struct ready {
	struct list all, notices; /* oldest first */
	size_t n_notices;
	struct map by_task, tags, categories;
	struct list waiters;
	bool has_room; /* vined may take tasks again, after it was full */
	bool is_rung;  /* the descriptor is readable */
};

void ready_init(struct ready *r);
void ready_fini(struct ready *r);
void ready_put(struct vine *v, struct vine_event *e);
void ready_take(struct vine *v, struct vine_event *e);
struct vine_event *ready_find(const struct ready *r, const struct selector *s);
/* The one that has to go before another notice is put; NULL: there is room. */
struct vine_event *ready_surplus(struct ready *r);
/* Until something that the selector takes may have come: 0 or ETIMEDOUT. `until` NULL: as long as it takes. */
int ready_wait(struct vine *v, const struct selector *s, const struct timespec *until);
void ready_wake_all(struct ready *r);
/* Makes vine_fd readable, or not. */
void ready_settle(struct vine *v);
/* Lock not held: who posts again knows that there may be room. */
void ready_quiet(struct vine *v);

struct vine {
	pid_t pid;
	pthread_t thread;
	int event_fd;
	struct cluster cluster;
	struct tls_context *tls;
	struct wire_hello hello;
	char host[256];
	atomic_bool has_run;   /* one is to be made, or attached to */
	atomic_bool has_watch; /* nodes that come and go are to be told */
	bool is_sealing_over;  /* vine_close ends what is being sealed; by __atomic functions */

	pthread_mutex_t lock;
	pthread_cond_t wake; /* `users` or `acks` became fewer */
	/* lock */
	unsigned users;  /* threads inside a public call */
	size_t n_events; /* that the user holds: the last to let go frees the session */
	bool is_closing, is_closed;
	int broken; /* errno once the connection is given up for good */
	char why_broken[ERROR_SIZE];
	char *run;       /* NULL until it has a name; set once, by vine_open or the loop */
	size_t n_open;   /* posted here, without an event yet */
	size_t n_keyed;  /* of n_open, at most: they have keys of the user's, and may be over for long */
	int64_t n_found; /* the same of what the run held before */
	struct ready ready;
	struct buf acks;    /* u64: acknowledged by the user, not by vined */
	bool is_ack_posted; /* ack_post is with the loop */
	struct map offers;  /* by tree id */

	/* loop */
	struct loop *loop;
	struct dial *dial;
	struct conn *conn;        /* open, else NULL */
	char *cluster_uuid;       /* of the first HELLO; another one is not our cluster */
	char failure[ERROR_SIZE]; /* why there is no connection */
	atomic_uint minor;        /* of who is at its other end; any thread */
	bool is_attached, was_attached, is_stopping;
	bool is_watching; /* the last ATTACH asked for nodes, too */
	struct call attach;
	struct list asks;
	struct ids seen, posted; /* results that came; tasks that were posted here */
	struct call ack;
	size_t n_acking; /* the first so many of `acks` are in `ack` */
	struct timer ack_again;
	struct timer room; /* after "full": when to try again */
	struct list servings;
	struct post ack_post, stop_post, flush_post;
};

/* ---- session.c: every public call is between these. enter: 0 or -EPERM, -ECANCELED with the text set */
int session_enter(struct vine *v);
void session_leave(struct vine *v);
void session_unref_event(struct vine *v);
void session_deadline(struct timespec *at, uint64_t in_usec);
/* Until what was acknowledged is recorded; -ETIMEDOUT after some seconds. */
int session_wait_for_acks(struct vine *v);
void session_cond_init(pthread_cond_t *c); /* its times are session_deadline's */

/* ---- ask.c: a request on its way to vined, on the stack of the thread that waits for it */
struct ask {
	uint16_t type; /* 0: nothing is asked, done when the connection (and the run) is there */
	const void *message;
	bool needs_run;
	bool is_watch; /* the run is attached to anew, if need be, with what is to be told of nodes */
	uint32_t needs_minor;
	const char **run; /* the message's field for its name, which may not be known before */
	uint64_t patience_usec;
	/* The answer, on the loop's thread; copies what it wants. NULL: nothing. */
	void (*on_answer)(struct ask *a, uint16_t type, const void *message);
	void *arg;
	/* A stream that follows; the waiting thread writes it to fd. */
	bool has_stream;
	int fd;
	uint64_t n_written;
	/* In place of fd: it takes the bytes, and -errno ends the request. Such a stream does not go on after a loss: -ECONNRESET. */
	int (*take)(struct ask *a, const void *p, size_t n);
	const uint64_t *n_moved; /* loop: while this rises there is no silence; NULL: nothing moves but the answer */
	/* private */
	struct vine *v;
	struct wire_read_output rest; /* of a stream: from where it goes on after a loss */
	struct list link;
	struct post post, more;
	struct call call;
	struct timer timer, again;
	unsigned n_sent;
	uint64_t n_before; /* what *n_moved was */
	bool is_refused;   /* vined was full, which of a request that is sent again says nothing of the first time */
	pthread_cond_t wake;
	struct buf data;     /* lock: of the stream, not yet written */
	bool is_held;        /* lock: credit is held back until data is taken */
	bool is_more_posted; /* lock */
	bool is_abandoned;   /* lock: the waiting thread cannot write */
	bool is_over;        /* lock */
	int error;
	char text[ERROR_SIZE];
};
/* Sends it, again after every loss, until it is answered. 0 or -errno with the text set (but for what `take` returned). */
int ask_wait(struct vine *v, struct ask *a);
/* The same in two parts, so that several can be under way. */
void ask_begin(struct vine *v, struct ask *a);
int ask_end(struct ask *a);
/* Loop: it is over, by our own decision. */
void ask_fail(struct ask *a, int error, const char *text);
/* Loop: those that wait are sent; all are ended. */
void ask_send_all(struct vine *v);
void ask_end_all(struct vine *v, int error, const char *text);

/* ---- offer.c */
struct sealed;
/* Returns when nodes have all of these trees, which are read out of here meanwhile. 0 or -errno with the text set; -ESTALE: one is not as it was sealed. */
int offer_all(struct vine *v, struct sealed *const s[], size_t n);
/* As vine_query: file, size, sent of each that is under way. */
int offer_list(struct vine *v, vine_row_fn *fn, void *arg);
void offer_free_all(struct vine *v); /* the thread is not there any more */
/* Loop. */
void offer_read_index(struct vine *v, struct conn *c, uint64_t id, const struct wire_read_index *m);
void offer_read_chunks(struct vine *v, struct conn *c, uint64_t id, const struct wire_read_chunks *m);
void offer_lost(struct vine *v); /* the connection, and what the other side knew of it */

/* ---- event.c, loop */
/* Posted: their results are to come, or came before the answer did. is_new[i]: it had no key of the user's. */
void event_expect(struct vine *v, const struct wire_submitted *m, const struct wire_task *tasks, const bool *is_new);
void event_arrived(struct vine *v, const struct wire_result *r);
void event_noticed(struct vine *v, const struct wire_event *m);
void event_drop_all(struct vine *v);

/* ---- ack.c, loop */
void ack_send(struct vine *v);
void ack_on_post(struct post *p);

/* ---- link.c, loop */
int link_start(struct vine *v);
void link_stop(struct vine *v);
void link_attach(struct vine *v); /* as soon as there is a run and a connection */
void link_watch(struct vine *v);  /* again, if has_watch is not what it was then */

#endif
