/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/fake_node.h"
#include "common/log.h"
#include "tests/bench/bench.h"

#include <inttypes.h>
#include <signal.h>

#define AGAIN_USEC 1000000u /* after vined could not store an end */

static void attempt_free(struct attempt *a)
{
	timer_stop(&a->timer);
	call_stop(&a->call);
	list_remove(&a->link);
	free(a);
}

static void on_again(struct timer *t);

static void on_taken(struct call *call, int error, uint16_t type, const void *message)
{
	struct attempt *a = container_of(call, struct attempt, call);
	struct world *w = a->node->world;
	(void)message;
	/* A lost connection: it is told again after the next JOIN. */
	if (type != WIRE_STATUS)
		return;
	if (error) {
		timer_start(&a->timer, w->loop, AGAIN_USEC, on_again);
		return;
	}
	w->n_ended++;
	attempt_free(a);
}

static void tell(struct attempt *a)
{
	const struct world *w = a->node->world;
	struct conn *c = a->node->dial ? dial_conn(a->node->dial) : NULL;
	const struct wire_ended m = {.attempt = a->attempt,
				     .task = a->task,
				     .how = a->is_killed ? 2 : 1,
				     .status = a->is_killed ? SIGTERM : 0,
				     .reason = "",
				     .wall_usec = w->usec,
				     .local_size = a->use.local_size,
				     .moved_size = a->use.moved_size,
				     .out_size = w->n_payload,
				     .out = {.at = w->payload, .n = (uint32_t)w->n_payload}};
	timer_stop(&a->timer);
	if (!c || !a->node->is_joined)
		return;
	assert(!a->call.conn && a->is_over);
	a->call = (struct call){.on_reply = on_taken};
	call_start(&a->call, c, WIRE_ENDED, &m, 0);
}

static void on_again(struct timer *t)
{
	tell(container_of(t, struct attempt, timer));
}

static void on_over(struct timer *t)
{
	struct attempt *a = container_of(t, struct attempt, timer);
	a->is_over = true;
	tell(a);
}

static void on_start(struct node *n, const struct wire_start *m)
{
	struct world *w = n->world;
	struct attempt *a = NEW(struct attempt);
	a->node = n;
	a->attempt = m->attempt;
	a->task = m->task;
	list_init(&a->link);
	list_append(&n->attempts, &a->link);
	if (w->rate)
		a->use = cargo_use(&n->cargo, m->inputs.at, m->inputs.n);
	if (!w->n_started++)
		w->first_sec = bench_now_sec();
	if (map_get(&w->begun, m->attempt))
		w->n_doubled++;
	else
		map_put(&w->begun, m->attempt, w);
	if (w->usec)
		timer_start(&a->timer, w->loop, w->usec, on_over);
	else
		on_over(&a->timer);
}

static void on_stop(struct node *n, const struct wire_stop *m)
{
	list_foreach (&n->attempts, struct attempt, link, a) {
		if (a->attempt != m->attempt)
			continue;
		if (m->fenced) {
			attempt_free(a);
		} else if (!a->is_over) {
			timer_stop(&a->timer);
			a->is_killed = true;
			on_over(&a->timer);
		}
		return;
	}
}

static void on_message(struct conn *c, const struct wire_head *h, const void *message)
{
	struct node *n = conn_owner(c);
	if (h->type == WIRE_START)
		on_start(n, message);
	else if (h->type == WIRE_STOP)
		on_stop(n, message);
	else if (h->type == WIRE_FETCH && n->world->rate)
		cargo_fetch(&n->cargo, message);
	else if (h->type == WIRE_FETCH_STOP && n->world->rate)
		cargo_stop(&n->cargo, ((const struct wire_fetch_stop *)message)->item);
	else
		conn_reply_status(c, h->id, ENOSYS, "a fake node has no %s", wire_name(h->type));
}

static void on_here(struct cargo *cargo, const struct wire_fetched *m)
{
	struct node *n = container_of(cargo, struct node, cargo);
	struct conn *c = n->dial ? dial_conn(n->dial) : NULL;
	/* One that is away tells all it has after its next JOIN. */
	if (c && n->is_joined)
		conn_send(c, WIRE_FETCHED, m);
}

static void tell_replicas(struct node *n)
{
	_cleanup_(buf_fini) struct buf all = {0};
	uint32_t n_all = cargo_list(&n->cargo, &all);
	const struct wire_replicas m = {.trees = {.at = (const struct wire_replica *)(void *)all.at, .n = n_all},
					.is_all = true};
	conn_send(dial_conn(n->dial), WIRE_REPLICAS, &m);
}

static void on_joined(struct call *call, int error, uint16_t type, const void *message)
{
	struct node *n = container_of(call, struct node, join);
	struct world *w = n->world;
	const struct wire_status *status = message;
	if (error) {
		if (type == WIRE_STATUS)
			log_error("%s: %s", n->name, status->reason);
		return;
	}
	n->is_joined = true;
	w->n_joined++;
	if (!n->was_joined && ++w->n_first == w->n_nodes) {
		printf("joined %" PRIu64 " after %.3f s\n", w->n_nodes, bench_now_sec() - w->began_sec);
		fflush(stdout);
	}
	n->was_joined = true;
	if (w->rate)
		tell_replicas(n);
	list_foreach (&n->attempts, struct attempt, link, a)
		if (a->is_over)
			tell(a);
	fake_dial_more(w);
}

static void on_open(struct conn *c, const struct wire_hello *peer)
{
	struct node *n = conn_owner(c);
	const struct world *w = n->world;
	_cleanup_(buf_fini) struct buf held = {0};
	uint32_t n_held = 0;
	assert(peer);
	list_foreach (&n->attempts, struct attempt, link, a) {
		const struct wire_held h = {.attempt = a->attempt, .task = a->task};
		buf_put(&held, &h, sizeof h);
		n_held++;
	}
	const struct wire_join m = {.node = n->uuid,
				    .tier = "plain",
				    .cores = (uint32_t)w->cores,
				    .memory = UINT64_C(64) << 30,
				    .task_limit = (uint32_t)w->limit,
				    .kernel = "none",
				    .has_data = w->rate > 0,
				    .attempts = {.at = (const struct wire_held *)(void *)held.at, .n = n_held}};
	n->join = (struct call){.on_reply = on_joined};
	call_start(&n->join, c, WIRE_JOIN, &m, 0);
}

static void on_close(struct conn *c, int error, const char *reason)
{
	struct node *n = conn_owner(c);
	log_debug("%s: %d %s", n->name, error, reason);
	n->world->n_joined -= n->is_joined;
	n->world->n_lost += n->is_joined;
	n->is_joined = false;
}

void fake_init(struct node *n, struct world *w, uint64_t i)
{
	n->world = w;
	list_init(&n->attempts);
	cargo_init(&n->cargo, w->loop, w->rate, on_here);
	snprintf(n->name, sizeof n->name, "fake%" PRIu64, i);
	snprintf(n->uuid, sizeof n->uuid, "%08x-0000-4000-8000-%012" PRIx64, (unsigned)w->seed, i & 0xffffffffffff);
}

void fake_dial(struct node *n)
{
	static const struct conn_ops ops = {.on_open = on_open, .on_message = on_message, .on_close = on_close};
	struct world *w = n->world;
	n->hello =
		(struct wire_hello){.role = TLS_ROLE_NODE, .version = "fake", .name = n->name, .instance = w->instance};
	const struct dial_options o = {
		.conn = {.ops = &ops, .owner = n, .tls = w->tls, .hello = &n->hello, .peer = TLS_ROLE_VINED},
		.address = w->address,
		.most_usec = w->retry};
	n->dial = dial_new(w->loop, &o);
	if (!n->dial) {
		fprintf(stderr, "fake_nodes: %s: %s\n", w->address, strerror(errno));
		exit(1);
	}
}

void fake_dial_more(struct world *w)
{
	while (w->n_dialled < w->n_nodes && w->n_dialled < w->n_first + w->at_once)
		fake_dial(&w->nodes[w->n_dialled++]);
}

void fake_leave(struct node *n)
{
	assert(n->dial);
	list_foreach (&n->attempts, struct attempt, link, a) {
		call_stop(&a->call);
		if (a->is_over)
			timer_stop(&a->timer);
	}
	call_stop(&n->join);
	n->world->n_joined -= n->is_joined;
	n->is_joined = false;
	dial_free(steal(n->dial));
	n->is_away = true;
}

void fake_forget(struct node *n)
{
	list_foreach (&n->attempts, struct attempt, link, a)
		attempt_free(a);
}
