/* SPDX-License-Identifier: Apache-2.0
 * Acknowledgments, on the loop's thread: what gathers while one DONE is on its way is the next one's. */
#include "libvineclient/client.h"

#define ACK_MOST 65536u
#define ACK_AGAIN_USEC 1000000u

static void on_again(struct timer *t)
{
	ack_send(container_of(t, struct vine, ack_again));
}

static void on_acked(struct call *call, int error, _unused_ uint16_t type, const void *message)
{
	struct vine *v = container_of(call, struct vine, ack);
	size_t n = v->n_acking;
	v->n_acking = 0;
	if (error < 0 && !message)
		return;
	if (error < 0) {
		timer_start(&v->ack_again, v->loop, ACK_AGAIN_USEC, on_again);
		return;
	}
	pthread_mutex_lock(&v->lock);
	assert(v->acks.n >= n * sizeof(uint64_t));
	buf_consume(&v->acks, n * sizeof(uint64_t));
	buf_trim(&v->acks);
	pthread_cond_broadcast(&v->wake);
	pthread_mutex_unlock(&v->lock);
	ack_send(v);
}

void ack_send(struct vine *v)
{
	if (!v->conn || v->ack.conn)
		return;
	pthread_mutex_lock(&v->lock);
	size_t n = min(v->acks.n / sizeof(uint64_t), (size_t)ACK_MOST);
	_free_ uint64_t *tasks = xmemdup(v->acks.at, n * sizeof *tasks);
	pthread_mutex_unlock(&v->lock);
	if (!n)
		return;
	struct wire_done message = {.tasks = {.at = tasks, .n = (uint32_t)n}};
	v->ack = (struct call){.on_reply = on_acked};
	v->n_acking = n;
	if (call_start(&v->ack, v->conn, WIRE_DONE, &message, 0) < 0)
		v->n_acking = 0; /* the next connection takes them */
}

void ack_on_post(struct post *p)
{
	struct vine *v = container_of(p, struct vine, ack_post);
	pthread_mutex_lock(&v->lock);
	v->is_ack_posted = false;
	pthread_mutex_unlock(&v->lock);
	ack_send(v);
}
