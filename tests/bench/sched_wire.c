/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/sched_wire.h"
#include "common/conn.h"
#include "common/net.h"

#define ANSWER_SEC 60

struct sched_wire {
	struct loop *loop;
	struct conn *conn;
	struct wire_hello hello;
	const char *run;
	void (*on_result)(void *arg, const struct wire_result *r);
	void *arg;
	struct call call, ack;
	struct buf acks; /* u64 */
	bool is_open, is_answered;
	uint64_t pending;
	int error;
	char reason[256];
};

static void on_acked(struct call *call, int error, uint16_t type, const void *message)
{
	(void)call, (void)type, (void)message;
	if (error)
		sched_fail("DONE: %s", strerror(-error));
}

/* One at a time: what comes meanwhile is in the next. */
static void acknowledge(struct sched_wire *c)
{
	if (!c->acks.n || c->ack.conn)
		return;
	const struct wire_done m = {.tasks = {.at = (const uint64_t *)(const void *)c->acks.at,
					      .n = (uint32_t)(c->acks.n / sizeof(uint64_t))}};
	c->ack = (struct call){.on_reply = on_acked};
	if (call_start(&c->ack, c->conn, WIRE_DONE, &m, 0) < 0)
		sched_fail("DONE cannot be sent");
	buf_fini(&c->acks);
}

static void on_open(struct conn *conn, const struct wire_hello *peer)
{
	struct sched_wire *c = conn_owner(conn);
	assert(peer);
	c->is_open = true;
}

static void on_message(struct conn *conn, const struct wire_head *h, const void *message)
{
	struct sched_wire *c = conn_owner(conn);
	const struct wire_result *r = message;
	if (h->type != WIRE_RESULT)
		return;
	buf_put(&c->acks, &r->task, sizeof r->task);
	if (c->on_result)
		c->on_result(c->arg, r);
}

static void on_close(struct conn *conn, int error, const char *reason)
{
	(void)conn;
	sched_fail("the connection to vined ended: %d %s", error, reason);
}

static void on_answer(struct call *call, int error, uint16_t type, const void *message)
{
	struct sched_wire *c = container_of(call, struct sched_wire, call);
	const struct wire_status *status = message;
	c->is_answered = true;
	c->error = -error;
	if (type == WIRE_ATTACHED && message)
		c->pending = ((const struct wire_attached *)message)->pending;
	snprintf(c->reason, sizeof c->reason, "%s", type == WIRE_STATUS && message ? status->reason : "");
}

static void turn_until(struct sched_wire *c, const bool *is_done, const char *what)
{
	double end_sec = bench_now_sec() + ANSWER_SEC;
	while (!*is_done) {
		if (bench_now_sec() > end_sec)
			sched_fail("no answer to %s within %d s", what, ANSWER_SEC);
		loop_turn(c->loop, 100);
	}
}

static int ask(struct sched_wire *c, uint16_t type, const void *message)
{
	c->is_answered = false;
	c->call = (struct call){.on_reply = on_answer};
	if (call_start(&c->call, c->conn, type, message, 0) < 0)
		sched_fail("%s cannot be sent", wire_name(type));
	turn_until(c, &c->is_answered, wire_name(type));
	return c->error;
}

struct sched_wire *sched_wire_new(const struct sched_world *w, const char *run,
				  void (*on_result)(void *arg, const struct wire_result *r), void *arg)
{
	static const struct conn_ops ops = {.on_open = on_open, .on_message = on_message, .on_close = on_close};
	struct sched_wire *c = NEW(struct sched_wire);
	struct net_address a;
	_free_ char *socket = xasprintf("%s/vined.sock", w->state);
	c->loop = loop_new();
	c->run = run;
	c->on_result = on_result;
	c->arg = arg;
	c->hello = (struct wire_hello){.role = TLS_ROLE_CLIENT, .version = "bench", .name = "bench", .instance = 1};
	int r = net_parse(socket, &a);
	int fd = r < 0 ? r : net_connect(&a);
	if (fd < 0)
		sched_fail("%s: %s", socket, strerror(-fd));
	c->conn = conn_new(c->loop, fd, false,
			   &(struct conn_options){.ops = &ops, .owner = c, .hello = &c->hello, .peer = TLS_ROLE_VINED});
	turn_until(c, &c->is_open, "HELLO");
	const struct wire_attach m = {.run = run, .results = true};
	if (ask(c, WIRE_ATTACH, &m))
		sched_fail("ATTACH: %s", c->reason);
	return c;
}

void sched_wire_free(struct sched_wire *c)
{
	call_stop(&c->ack);
	conn_free(c->conn);
	loop_free(c->loop);
	buf_fini(&c->acks);
	free(c);
}

uint64_t sched_wire_pending(const struct sched_wire *c)
{
	return c->pending;
}

int sched_wire_submit(struct sched_wire *c, const struct wire_task *tasks, uint32_t n, char reason[256])
{
	const struct wire_submit m = {.run = c->run, .tasks = {.at = tasks, .n = n}};
	int error = ask(c, WIRE_SUBMIT, &m);
	snprintf(reason, 256, "%s", c->reason);
	return error;
}

void sched_wire_await(struct sched_wire *c, const uint64_t *n, uint64_t wanted, unsigned limit_sec)
{
	double end_sec = bench_now_sec() + limit_sec;
	while (*n < wanted) {
		if (bench_now_sec() > end_sec)
			sched_fail("%llu results of %llu after %u s", (unsigned long long)*n,
				   (unsigned long long)wanted, limit_sec);
		loop_turn(c->loop, 100);
		acknowledge(c);
	}
	while (c->acks.n || c->ack.conn) {
		acknowledge(c);
		loop_turn(c->loop, 100);
	}
}
