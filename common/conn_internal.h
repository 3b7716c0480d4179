/* SPDX-License-Identifier: Apache-2.0
 * What the files of a connection share, and what listen.c and dial.c ask of it beyond conn.h. From top to bottom:
 * conn.c (its life: handshake, HELLO, keep-alive, end), conn_call.c (asking), conn_stream.c (answering with bytes),
 * conn_io.c (bytes in and out, frames).
 *
 * Invariants:
 * 1. Callbacks of the owner are made between conn_enter() and conn_leave(); a conn that is freed there goes at the last leave, and
 *    with it what a message under way points into.
 * 2. Callbacks are never made from before_sleep: what they would send might miss the turn. They wait for `again`.
 * 3. `out` holds whole frames, all of them after `frame` and the file bytes that belong to it. */
#ifndef COMMON_CONN_INTERNAL_H
#define COMMON_CONN_INTERNAL_H

#include "common/conn.h"
#include "common/map.h"

#define CONN_BULK_MAX (192u << 10)  /* of stream bytes that a message may have before it */
#define CONN_BULK_LOW (16u << 10)   /* below this streams are asked for more: what is left is moved in memory then */
#define CONN_TURN_SIZE (256u << 10) /* of one connection in one turn */
#define CONN_TURN_MESSAGES 256
#define CONN_READ_LEAST (16u << 10)
#define CONN_READ_MOST (256u << 10)
#define CONN_HELLO_MAX (48u << 10) /* body of what comes before the connection is open */
#define CONN_OUT_HARD (16u << 20)  /* of answers that a peer does not read */
#define CONN_CLOSE_USEC 2000000u
#define CONN_STALL_USEC 100000u

enum conn_state {
	CONN_CONNECTING, /* the kernel's handshake */
	CONN_SECURING,   /* TLS's */
	CONN_GREETING,   /* HELLO sent, none received */
	CONN_OPEN,
	CONN_CLOSING, /* BYE sent; waits until it is out and the peer has gone */
	CONN_CLOSED,
};

/* Who looks after a connection on the owner's behalf; told before the owner of the opening, after him of the end. The end of one
 * that never opened is told to the guard alone. */
struct conn_guard {
	void (*on_open)(struct conn_guard *g, struct conn *c);
	void (*on_close)(struct conn_guard *g, struct conn *c, int error, const char *reason);
};

struct conn {
	struct loop *loop;
	struct watch watch;
	struct timer tick;  /* the deadline of the state; keep-alive when open */
	struct timer again; /* work that no descriptor announces */
	struct timer stall; /* our output is high and nothing moves */
	struct before_sleep sleeper;
	struct conn_guard *guard;
	const struct conn_ops *ops;
	void *owner;
	const struct wire_hello *hello;
	char *cluster;
	struct tls_context *tls_context;
	struct tls *tls;
	int fd;
	enum conn_state state;
	enum tls_role wanted, role;
	unsigned depth;
	bool accepted, is_freed, was_open, is_final;
	bool is_blocked;   /* the socket takes no more */
	bool is_dirty;     /* the sleeper is started */
	bool is_room_owed; /* conn_is_full() has said true */
	bool has_more;     /* whole frames in `in` that the turn's budget left */
	bool is_relieved;  /* read although output is high: both sides may be waiting for each other */
	bool is_shut;      /* all is sent, our direction is closed */
	int write_error;   /* found before sleep, dealt with in the next turn */
	int close_error;

	struct buf in;
	uint32_t want; /* how much to read at once */
	unsigned messages_left;
	uint64_t data_id; /* the DATA frame that is coming in */
	uint32_t data_left;
	bool data_is_ignored;

	struct buf out;
	struct buf frame; /* what is left of the head (or of all) of the frame that a file's bytes complete */
	struct stream *filing;
	uint32_t file_left;

	uint64_t last_id;
	struct map calls_by_id, streams_by_id;
	struct list calls;
	struct list idle, ready; /* streams: without and with something to send and credit for it */
	struct stream *granted;
	size_t grant;

	struct wire_arena arena;
	uint64_t ping_usec, silent_usec, heard_usec, wrote_usec;
	uint64_t pinged_usec; /* since it was last heard, the first time */
	struct conn_counters counters;
	char name[208];
	char reason[200];
};

/* ---- conn.c */
void conn_enter(struct conn *c);
void conn_leave(struct conn *c);
static inline bool conn_is_alive(const struct conn *c)
{
	return c->state != CONN_CLOSED;
}
void conn_guard_set(struct conn *c, struct conn_guard *g);
void conn_end(struct conn *c, int error, const char *fmt, ...) _printf_(3, 4);
/* Something is to be written: at the end of this turn. */
void conn_dirty(struct conn *c);
/* Looks again in the next turn. */
void conn_again(struct conn *c);
/* Sets what the descriptor is watched for; last in every entry from the loop. */
void conn_update(struct conn *c);
bool conn_may_read(const struct conn *c);
/* The first message of the peer, which must be HELLO. */
void conn_greeted(struct conn *c, const struct wire_head *h, const uint8_t *body);

/* ---- conn_call.c */
void conn_call_replied(struct conn *c, const struct wire_head *h, const uint8_t *body);
bool conn_call_is_streaming(struct conn *c, uint64_t id);
void conn_call_data(struct conn *c, uint64_t id, const void *p, size_t n);
void conn_call_ended(struct conn *c, uint64_t id, const struct wire_head *h, const uint8_t *body);
void conn_call_end_all(struct conn *c, int error);
int conn_put(struct conn *c, uint16_t type, uint16_t flags, uint64_t id, const void *message);

/* ---- conn_stream.c */
void conn_stream_credit(struct conn *c, uint64_t id, uint64_t bytes);
bool conn_stream_cancelled(struct conn *c, uint64_t id);
void conn_stream_end_all(struct conn *c, int error);
/* Begins the next frame of a file if it is a file's turn; no callbacks. */
bool conn_stream_file(struct conn *c);
/* Sends bytes of the file that the frame under way consists of; like send(). */
ssize_t conn_stream_sendfile(struct conn *c);
/* Lets the streams that wait fill the output. True if one did something. */
bool conn_stream_pump(struct conn *c);
bool conn_stream_has_work(const struct conn *c);

/* ---- conn_io.c */
void conn_io_read(struct conn *c);
/* 0 = all is out or the budget is used, -EAGAIN, -errno. */
int conn_io_write(struct conn *c);
void conn_io_trim(struct conn *c, bool fully);
static inline size_t conn_out_size(const struct conn *c)
{
	return c->out.n + c->frame.n + c->file_left;
}

#endif
