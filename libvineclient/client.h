/* SPDX-License-Identifier: Apache-2.0
 * Inside the library: one background thread runs a loop with the connection (link.c); public calls hand it an `ask` and
 * wait. Files, top to bottom: session.c (open, close, who is inside), task.c, event.c, query.c (the calls), ask.c (a request
 * and its answer), link.c (the connection), cluster.c (where it is), ids.c, error.c.
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

struct vine {
	pid_t pid;
	pthread_t thread;
	int event_fd; /* readable while `ready` is not empty */
	struct cluster cluster;
	struct tls_context *tls;
	struct wire_hello hello;
	char host[256];
	atomic_bool has_run; /* one is to be made, or attached to */

	pthread_mutex_t lock;
	pthread_cond_t wake; /* something under "lock" changed */
	/* lock */
	unsigned users;  /* threads inside a public call */
	size_t n_events; /* that the user holds: the last to let go frees the session */
	bool is_closing, is_closed;
	int broken; /* errno once the connection is given up for good */
	char why_broken[ERROR_SIZE];
	char *run;          /* NULL until it has a name; set once, by vine_open or the loop */
	size_t n_open;      /* posted here, without an event yet */
	size_t n_keyed;     /* of n_open, at most: they have keys of the user's, and may be over for long */
	int64_t n_found;    /* the same of what the run held before */
	struct list ready;  /* events, oldest first */
	struct buf acks;    /* u64: acknowledged by the user, not by vined */
	bool is_ack_posted; /* ack_post is with the loop */

	/* loop */
	struct loop *loop;
	struct dial *dial;
	struct conn *conn;        /* open, else NULL */
	char *cluster_uuid;       /* of the first HELLO; another one is not our cluster */
	char failure[ERROR_SIZE]; /* why there is no connection */
	bool is_attached, was_attached, is_stopping;
	struct call attach;
	struct list asks;
	struct ids seen, posted; /* results that came; tasks that were posted here */
	struct call ack;
	size_t n_acking; /* the first so many of `acks` are in `ack` */
	struct timer ack_again;
	struct post ack_post, stop_post, flush_post;
};

/* ---- session.c: every public call is between these. enter: 0 or -EPERM, -ECANCELED with the text set */
int session_enter(struct vine *v);
void session_leave(struct vine *v);
void session_unref_event(struct vine *v);
void session_deadline(struct timespec *at, uint64_t in_usec);

/* ---- ask.c: a request on its way to vined, on the stack of the thread that waits for it */
struct ask {
	uint16_t type; /* 0: nothing is asked, done when the connection (and the run) is there */
	const void *message;
	bool needs_run;
	const char **run; /* the message's field for its name, which may not be known before */
	uint64_t patience_usec;
	/* The answer, on the loop's thread; copies what it wants. NULL: nothing. */
	void (*on_answer)(struct ask *a, uint16_t type, const void *message);
	void *arg;
	/* A stream that follows; the waiting thread writes it to fd. */
	bool has_stream;
	int fd;
	uint64_t n_written;
	/* private */
	struct vine *v;
	struct wire_read_output rest; /* of a stream: from where it goes on after a loss */
	struct list link;
	struct post post, more;
	struct call call;
	struct timer timer;
	pthread_cond_t wake;
	struct buf data;     /* lock: of the stream, not yet written */
	bool is_held;        /* lock: credit is held back until data is taken */
	bool is_more_posted; /* lock */
	bool is_abandoned;   /* lock: the waiting thread cannot write */
	bool is_over;        /* lock */
	int error;
	char text[ERROR_SIZE];
};
/* Sends it, again after every loss, until it is answered. 0 or -errno with the text set. */
int ask_wait(struct vine *v, struct ask *a);
/* Loop: those that wait are sent; all are ended. */
void ask_send_all(struct vine *v);
void ask_end_all(struct vine *v, int error, const char *text);

/* ---- event.c, loop */
/* Posted: their results are to come, or came before the answer did. is_new[i]: it had no key of the user's. */
void event_expect(struct vine *v, const struct wire_u64s *tasks, const bool *is_new);
void event_arrived(struct vine *v, const struct wire_result *r);
void event_ring(struct vine *v); /* lock held: makes vine_fd readable */
void event_drop_all(struct vine *v);
void event_send_acks(struct vine *v);
void event_on_ack_post(struct post *p);

/* ---- link.c, loop */
int link_start(struct vine *v);
void link_stop(struct vine *v);
void link_attach(struct vine *v); /* as soon as there is a run and a connection */

#endif
