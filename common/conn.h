/* SPDX-License-Identifier: Apache-2.0
 * A connection: framed messages over TLS or a Unix socket, from the first byte to the last.
 *
 * 1. Nothing is parsed before the handshake is done (5 s for who was accepted, no buffer of ours); then both sides send HELLO, and on_open
 *    tells the peer's; another MAJOR, a role that was not expected or another cluster closes it with the reason.
 * 2. What is sent in one turn of the loop leaves in one write at its end. Past CONN_OUT_HIGH queued bytes conn_is_full() says so and on_room
 *    tells when there is room again; replies and control messages are always taken. While our own output stands above the
 *    mark nothing more is read from a peer (back-pressure).
 * 3. After on_close nothing more is heard of the connection; every call and stream of it has been ended with an error
 *    before. The owner then frees it (it may do so in on_close).
 * 4. A peer silent for CONN_PING_USEC is pinged, for CONN_SILENT_USEC given up.
 * 5. Unknown message types from a peer are answered STATUS ENOSYS "unknown"; a malformed body closes the connection.
 *
 * One thread: the loop's. */
#ifndef COMMON_CONN_H
#define COMMON_CONN_H

#include "common/list.h"
#include "common/loop.h"
#include "common/net.h"
#include "common/tls.h"
#include "common/wire.h"

#define CONN_HANDSHAKE_USEC 5000000u /* from connecting or accepting on */
#define CONN_WELCOME_USEC 20000000u  /* who has connected may be one of ten thousand that wait to be accepted */
#define CONN_PING_USEC 10000000u
#define CONN_SILENT_USEC 30000000u
#define CONN_OUT_HIGH (1u << 20)
#define CONN_STREAM_WINDOW (1u << 20) /* credit a stream begins with */

struct conn;

struct conn_ops {
	/* Authenticated, and the peer's HELLO is good; `peer` is valid during the call. */
	void (*on_open)(struct conn *c, const struct wire_hello *peer);
	/* A request or notice (never a reply). `message` is decoded and valid during the call; answer by conn_reply with h->id. */
	void (*on_message)(struct conn *c, const struct wire_head *h, const void *message);
	/* The peer cancelled the request with this id: forget it. May be NULL. */
	void (*on_cancel)(struct conn *c, uint64_t id);
	/* Output fell below CONN_OUT_HIGH / 2 after conn_is_full() had said true. May be NULL. */
	void (*on_room)(struct conn *c);
	/* Over: error 0 = closed in order (peer's or our close), else an errno; `reason` names it for people. Always called once, unless conn_free comes first. */
	void (*on_close)(struct conn *c, int error, const char *reason);
};

struct conn_options {
	const struct conn_ops *ops;
	void *owner;             /* conn_owner() */
	struct tls_context *tls; /* NULL: none (Unix socket, tests) */
	const struct wire_hello
		*hello;      /* ours; major and minor are filled in if 0; borrowed for the connection's life */
	enum tls_role peer;  /* whom we connect to; TLS_ROLE_NONE when accepting: whoever the context takes */
	const char *cluster; /* if not NULL or "": refuse a peer that names another one */
	uint64_t ping_usec, silent_usec; /* 0: the defaults above */
};

/* Takes over fd, connected or connecting. */
struct conn *conn_new(struct loop *l, int fd, bool accepted, const struct conn_options *o);
/* At any time, in callbacks too. What calls and streams are left on it end with -ECANCELED; on_close is not called. */
void conn_free(struct conn *c);
DEFINE_FREEP(struct conn, conn_free)

void *conn_owner(const struct conn *c);
void conn_set(struct conn *c, const struct conn_ops *ops, void *owner); /* hand it to another owner */
const char *conn_peer_name(const struct conn *c);                       /* "10.0.0.3:4121 (node w3)", for logs */
enum tls_role conn_peer_role(const struct conn *c); /* proved by TLS; on a Unix socket as its HELLO says */
bool conn_is_open(const struct conn *c);

/* Says BYE, sends what is queued (up to 2 s), then on_close with 0; what still comes is dropped. One that is not open yet
 * ends at once, with on_close before this returns. */
void conn_close(struct conn *c, const char *reason, bool final);
/* Ends it now: on_close with error is called before this returns. */
void conn_abort(struct conn *c, int error, const char *reason);
/* Coming back would not help: the peer's BYE was final, or role, MAJOR, cluster or secret differ. Known in on_close. */
bool conn_is_final(const struct conn *c);

/* A notice. 0, -EMSGSIZE, -ENOTCONN. */
int conn_send(struct conn *c, uint16_t type, const void *message);
bool conn_is_full(const struct conn *c);

/* Answers the request `id` (0: does nothing). */
int conn_reply(struct conn *c, uint64_t id, uint16_t type, const void *message);
int conn_reply_status(struct conn *c, uint64_t id, int error, const char *fmt, ...) _printf_(4, 5);

/* ---- asking. `call` is the caller's, embedded, not moved until it ended or call_stop. */
struct call {
	struct conn *conn; /* NULL when over */
	struct list link;
	uint64_t id;
	struct timer timer;
	bool is_streaming, is_held;
	uint64_t unreturned; /* bytes delivered for which no credit went back yet */
	uint64_t timeout_usec;
	/* The answer, once: error 0 with type and message, or -errno (-ETIMEDOUT, -ECONNRESET, -ECANCELED; a STATUS with an error arrives as
	 * -its error, with type STATUS and the message). If a stream follows, on_data ... on_end come after. */
	void (*on_reply)(struct call *c, int error, uint16_t type, const void *message);
	/* Bytes of the stream; NULL if no stream is expected. Returns false to hold back credit until call_more(). */
	bool (*on_data)(struct call *c, const void *p, size_t n);
	void (*on_end)(struct call *c, int error);
};

/* Asks; set the callbacks before. timeout_usec 0: as long as the connection lives. 0 or -errno (then no callback comes). The deadline covers
 * the reply, and then each stretch of silence in the stream. */
int call_start(struct call *call, struct conn *c, uint16_t type, const void *message, uint64_t timeout_usec);
void call_more(struct call *call);
/* Forgets it and tells the peer; no callback comes. Safe on one that is over or zeroed. */
void call_stop(struct call *call);

/* ---- answering with bytes. `stream` is the answerer's, embedded. */
struct stream {
	struct conn *conn; /* NULL when over */
	struct list link;
	uint64_t id;
	uint64_t credit;
	int fd; /* of stream_send_file, not owned */
	uint64_t offset, rest;
	bool is_blocked, has_file;
	/* There is credit and room again, or the file has been sent (rest 0). */
	void (*on_room)(struct stream *s);
	/* The peer cancelled or the connection is gone. */
	void (*on_stop)(struct stream *s, int error);
};

/* Replies to `id` with a message and begins the stream; set the callbacks before. 0, -ENOTCONN, -EMSGSIZE, or -EEXIST if the peer has given the
 * id to another stream. Callbacks of a stream never come from within these functions. */
int stream_start(struct stream *s, struct conn *c, uint64_t id, uint16_t type, const void *message);
/* Takes as much as credit and room allow; returns how much. */
size_t stream_send(struct stream *s, const void *p, size_t n);
/* Sends a range of a file by itself (sendfile where there is no TLS), then calls on_room with rest 0. A file that cannot be read to
 * the end of the range ends the stream with on_stop and the errno. */
void stream_send_file(struct stream *s, int fd, uint64_t offset, uint64_t size);
/* Ends it in order (error 0) or with a -errno for the receiver. The struct is free for use again, and the file may be closed.
 * Safe on one that is over or zeroed. */
void stream_end(struct stream *s, int error);

/* ---- counters */
struct conn_counters {
	uint64_t messages_in, messages_out, bytes_in, bytes_out, writes;
};
const struct conn_counters *conn_counters(const struct conn *c);
/* Bytes that the peer's kernel has, since the beginning, and those that were sent and that it does not have yet, as far as ours tells. */
void conn_progress(const struct conn *c, uint64_t *gone, uint64_t *pending);

#endif
